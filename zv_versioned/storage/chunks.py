"""Chunks and documents of a snapshot on the local filesystem, read where they lie.

icechunk hands over a local chunk in pieces of 8 KB, each by a task of its own:
0.1 ms a request and 20 µs a piece, twenty times what reading the file takes. So
what is written once and for ever is read directly: a snapshot names the
manifests of its arrays, a manifest the file and the range of each chunk. Files
of formats that are not known here are left to icechunk.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from .._memory import lent
from .._paths import chunk_key, parted
from ..errors import IntegrityError
from . import damage, files
from .lookup import Chunk, Chunks, Nodes, chunks_in

KNOWN_FORMATS = (1, 2)
Request = tuple[str, int, int]
"""A key and a byte range, as in :mod:`.._store`."""

_MOST_OPEN = 64
"""Files that stay open at a time, for more parts of them: a process may have few left."""

_READS_INTO = hasattr(os, "preadv")
_ATTRIBUTE = "_zv_versioned_chunks"


def attach(store: Any, folder: Path, snapshot_id: str) -> None:
    """Let the chunks of a read-only store of a local snapshot be read directly."""
    if hasattr(os, "pread"):
        setattr(store, _ATTRIBUTE, LocalChunks(folder, snapshot_id))


def wrong_with(store: Any) -> damage.Damage | None:
    """What is wrong with the file of a local snapshot that a store could not read."""
    chunks: LocalChunks | None = getattr(store, _ATTRIBUTE, None)
    return None if chunks is None else chunks.wrong()


def chunks_of(store: Any) -> LocalChunks | None:
    """What reads the chunks of a store directly; None where icechunk has to.

    Raises
    ------
    IntegrityError, OSError
        If the snapshot's file is damaged or cannot be read.
    """
    chunks: LocalChunks | None = getattr(store, _ATTRIBUTE, None)
    return chunks if chunks is not None and chunks.readable else None


class LocalChunks:
    """The chunks of one snapshot of a repository on the local filesystem.

    Parameters
    ----------
    folder : Path
        The repository.
    snapshot_id : str
    """

    def __init__(self, folder: Path, snapshot_id: str) -> None:
        self._folder = folder
        self._snapshot_id = snapshot_id
        self._folder_of_chunks = f"{folder}/chunks/"
        self._lock = Lock()
        self._nodes: Nodes | None = None
        self._known = True
        self._arrays: dict[str, list[Chunks]] = {}

    @property
    def readable(self) -> bool:
        """Whether the repository's files are of a format that is known here."""
        with self._lock:
            if self._nodes is None and self._known:
                path = f"snapshots/{self._snapshot_id}"
                raw = self._read(path)
                with self._naming():
                    self._known = files.version(raw, path) in KNOWN_FORMATS
                    if self._known:
                        self._nodes = Nodes(raw, path)
            return self._known

    def wrong(self) -> damage.Damage | None:
        """What is wrong with the snapshot's file; None where it can be read, or the disk fails."""
        return damage.of_snapshot(self._folder, self._snapshot_id, known=True)

    def _read(self, path: str) -> bytes:
        return files.read_file(f"{self._folder}/{path}")

    def _array(self, path: str) -> list[Chunks]:
        """Where the chunks of an array lie, by its manifests."""
        with self._lock:
            found = self._arrays.get(path)
            if found is None:
                assert self._nodes is not None
                with self._naming():
                    node = self._nodes.find(path)
                found = self._arrays[path] = [] if node is None else self._chunks(node)
            return found

    def _chunks(self, node: files.Node) -> list[Chunks]:
        found = []
        for path in (f"manifests/{name}" for name in node.manifests or ()):
            raw = self._read(path)
            with self._naming():
                found.append(chunks_in(raw, node.id, path))
        return [chunks for chunks in found if chunks is not None]

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Let the error of a file that is damaged, which names it, say what to do."""
        try:
            yield
        except IntegrityError as error:
            wrong = damage.Damage(self._folder, str(error))
            raise wrong.error(f"reading {self._folder} failed") from error

    def documents(self, paths: Sequence[str]) -> list[bytes | None]:
        """The ``zarr.json`` of groups and arrays; None where there is none.

        Raises
        ------
        IntegrityError
            If the snapshot's file is damaged.
        """
        with self._lock, self._naming():
            assert self._nodes is not None
            nodes = [self._nodes.find(path) for path in paths]
        return [None if node is None else node.document for node in nodes]

    def files_of(self, keys: Sequence[str]) -> dict[str, Chunk]:
        """Where chunks lie that are files, or parts of some; files never change."""
        return {key: at for key, at in self._each(keys).items() if isinstance(at, Chunk)}

    def get(self, requests: Sequence[Request]) -> list[memoryview | None]:
        """Values or parts of values; None where there is none.

        Raises
        ------
        IntegrityError
            If a manifest is damaged, or a file ends early.
        OSError
            If a file cannot be read.
        """
        found = self._each([key for key, _, _ in requests])
        opened: dict[str, int] = {}
        values: list[memoryview | None] = []
        try:
            for key, start, stop in requests:
                there = found[key]
                if isinstance(there, Chunk):
                    if start == 0 and stop < 0:
                        values.append(self._read_whole(key, there))
                    else:
                        values.append(self._read_part(key, there, start, stop, opened))
                elif there is None:
                    values.append(None)
                else:
                    values.append(memoryview(there)[_slice(len(there), start, stop)])
        finally:
            _close(opened)
        return values

    def together(self, requests: Sequence[Request]) -> tuple[np.ndarray, list[int]] | None:
        """Values or parts of values, one behind the other in one piece of memory, which is lent.

        Returns
        -------
        raw : ndarray of uint8
        ends : list of int
            One past the last byte of each.
            None for both where one of the values is not there.

        Raises
        ------
        IntegrityError
            If a manifest is damaged, or a file ends early.
        OSError
            If a file cannot be read.
        """
        found = self._each([key for key, _, _ in requests])
        parts, ends, end = [], [], 0
        for key, start, stop in requests:
            there = found[key]
            if there is None:
                return None
            size = there.length if isinstance(there, Chunk) else len(there)
            part = _slice(size, start, stop)
            end += max(part.stop - part.start, 0)
            parts.append((key, there, part))
            ends.append(end)
        room = lent(end)
        opened: dict[str, int] = {}
        end = 0
        try:
            for (key, there, part), until in zip(parts, ends, strict=True):
                into = room[end:until]
                end = until
                if not isinstance(there, Chunk):
                    into[:] = there[part]
                    continue
                descriptor = self._kept_open(there, opened)
                if descriptor is None:
                    return None
                if _read_into(descriptor, into, there.offset + part.start) < len(into):
                    raise _cut_short(key, there, part.stop)
        finally:
            _close(opened)
        return np.frombuffer(room, np.uint8), ends

    def whole(
        self,
        path: str,
        places: Sequence[tuple[int, ...]],
        room_of: Callable[[int], np.ndarray],
    ) -> tuple[np.ndarray, list[int]] | None:
        """Many chunks of one array, one behind the other in one piece of memory.

        Parameters
        ----------
        path : str
        places : sequence of tuple of int
            Their coordinates.
        room_of : callable
            Gives memory of so many bytes for them.

        Returns
        -------
        raw : ndarray of uint8
        ends : list of int
            One past the last byte of each.
            None for both where one of the chunks is not there.

        Raises
        ------
        IntegrityError
            If a manifest is damaged, or a file ends early.
        OSError
            If a file cannot be read.
        """
        found = [chunk for chunk in self._all_at(path, places) if chunk is not None]
        if len(found) < len(places):
            return None
        ends = list(accumulate([c[2] if isinstance(c, Chunk) else len(c) for c in found]))
        raw = room_of(ends[-1] if ends else 0)
        room, start, folder = raw.data, 0, self._folder_of_chunks
        for number, (chunk, end) in enumerate(zip(found, ends, strict=True)):
            part = room[start:end]
            start = end
            if not isinstance(chunk, Chunk):
                part[:] = chunk
                continue
            name, offset, length = chunk
            try:
                descriptor = os.open(folder + name, os.O_RDONLY)
            except FileNotFoundError:
                return None
            try:
                got = _read_into(descriptor, part, offset)
            finally:
                os.close(descriptor)
            if got < length:
                raise _cut_short(chunk_key(path, places[number]), chunk, length)
        return raw, ends

    def _all_at(self, path: str, places: Sequence[tuple[int, ...]]) -> list[Chunk | bytes | None]:
        """Where many chunks of an array lie, or their bytes where they are in a manifest."""
        found: list[Chunk | bytes | None] = [None] * len(places)
        left = list(range(len(places)))
        with self._naming():
            for chunks in self._arrays.get(path) or self._array(path):
                if not left:
                    break
                for at, chunk in zip(left, chunks.find_all([places[n] for n in left]), strict=True):
                    found[at] = chunk
                left = [at for at in left if found[at] is None]
        return found

    def _each(self, keys: Iterable[str]) -> dict[str, Chunk | bytes | None]:
        """The same, by key, of which several may be the same."""
        arrays: dict[str, dict[str, tuple[int, ...]]] = {}
        for key in keys:
            path, at = parted(key)
            arrays.setdefault(path, {})[key] = at
        found: dict[str, Chunk | bytes | None] = {}
        for path, places in arrays.items():
            found.update(zip(places, self._all_at(path, list(places.values())), strict=True))
        return found

    def _open(self, chunk: Chunk) -> int | None:
        try:
            return os.open(self._folder_of_chunks + chunk.file, os.O_RDONLY)
        except FileNotFoundError:
            return None

    def _kept_open(self, chunk: Chunk, opened: dict[str, int]) -> int | None:
        """The file of a chunk, which stays open for the next part of it; None where it is gone."""
        descriptor = opened.get(chunk.file)
        if descriptor is None:
            if len(opened) == _MOST_OPEN:
                _close(opened)
            descriptor = self._open(chunk)
            if descriptor is not None:
                opened[chunk.file] = descriptor
        return descriptor

    def _read_whole(self, key: str, chunk: Chunk) -> memoryview | None:
        descriptor = self._open(chunk)
        if descriptor is None:
            return None
        try:
            return _read(key, chunk, descriptor, 0, chunk.length)
        finally:
            os.close(descriptor)

    def _read_part(
        self, key: str, chunk: Chunk, start: int, stop: int, opened: dict[str, int]
    ) -> memoryview | None:
        """Part of a chunk, the file of which stays open for the next."""
        descriptor = self._kept_open(chunk, opened)
        if descriptor is None:
            return None
        wanted = _slice(chunk.length, start, stop)
        return _read(key, chunk, descriptor, wanted.start, wanted.stop)


def _read(key: str, chunk: Chunk, descriptor: int, start: int, stop: int) -> memoryview:
    """Bytes of a chunk; IntegrityError where the file ends early."""
    value = memoryview(os.pread(descriptor, stop - start, chunk.offset + start))
    if len(value) < stop - start:
        raise _cut_short(key, chunk, stop)
    return value


def _read_into(descriptor: int, room: memoryview, offset: int) -> int:
    """Fill some memory from a file; returns how many bytes there were."""
    if _READS_INTO:
        return os.preadv(descriptor, (room,), offset)
    value = os.pread(descriptor, len(room), offset)
    room[: len(value)] = value
    return len(value)


def _cut_short(key: str, chunk: Chunk, stop: int) -> IntegrityError:
    return IntegrityError(
        f"chunk {key!r} ends before byte {stop}: its file {chunk.file} is cut "
        "short. Restore it from a copy"
    )


def _close(opened: dict[str, int]) -> None:
    while opened:
        os.close(opened.popitem()[1])


def _slice(length: int, start: int, stop: int) -> slice:
    """The part of a value that is asked for: in bounds, as icechunk hands it out."""
    if stop < 0:
        return slice(max(length + start, 0) if start < 0 else 0, length)
    return slice(min(start, length), min(stop, length))
