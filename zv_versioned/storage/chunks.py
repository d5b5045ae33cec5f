"""Chunks of a snapshot on the local filesystem, read where they lie.

icechunk hands over a local chunk in pieces of 8 KB, each by a task of its own:
0.1 ms a request and 20 µs a piece, twenty times what reading the file takes. So
what is written once and for ever is read directly: a snapshot names the
manifests of its arrays, a manifest the file and the range of each chunk. Files
of formats that are not known here are left to icechunk.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from ..errors import IntegrityError
from . import files

KNOWN_FORMATS = (1, 2)
Request = tuple[str, int, int]
"""A key and a byte range, as in :mod:`.._store`."""

_Place = tuple[bytes, int, int]
"""The id of a file, and the range of a chunk in it."""
_ATTRIBUTE = "_zv_versioned_chunks"


def attach(store: Any, folder: Path, snapshot_id: str) -> None:
    """Let the chunks of a read-only store of a local snapshot be read directly."""
    if hasattr(os, "pread"):
        setattr(store, _ATTRIBUTE, LocalChunks(folder, snapshot_id))


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
        self._lock = Lock()
        self._nodes: Mapping[str, files.Node] | None = None
        self._known = True
        self._places: dict[str, dict[tuple[int, ...], _Place | bytes]] = {}

    @property
    def readable(self) -> bool:
        """Whether the repository's files are of a format that is known here."""
        with self._lock:
            if self._nodes is None and self._known:
                path = f"snapshots/{self._snapshot_id}"
                raw = self._read(path)
                self._known = files.version(raw, path) in KNOWN_FORMATS
                if self._known:
                    self._nodes = {node.path: node for node in files.snapshot(raw, path).nodes}
            return self._known

    def _read(self, path: str) -> bytes:
        return (self._folder / path).read_bytes()

    def _array(self, path: str) -> dict[tuple[int, ...], _Place | bytes]:
        """Where the chunks of an array lie, or their bytes, by their coordinates."""
        with self._lock:
            found = self._places.get(path)
            if found is None:
                assert self._nodes is not None
                node = self._nodes.get(path)
                found = {}
                for name in (node.manifests or ()) if node is not None else ():
                    self._add(found, node.id if node else b"", f"manifests/{name}")
                self._places[path] = found
            return found

    def _add(
        self, places: dict[tuple[int, ...], _Place | bytes], node: bytes, manifest: str
    ) -> None:
        refs = files.manifest(self._read(manifest), manifest)[1].get(node)
        if refs is None:
            return
        rows = zip(
            map(tuple, refs.index.tolist()),
            refs.native.tolist(),
            refs.chunk,
            refs.inline,
            refs.offset.tolist(),
            refs.length.tolist(),
            strict=True,
        )
        for index, native, chunk, inline, offset, length in rows:
            if native:
                places[index] = bytes(chunk), offset, length
            elif inline is not None:
                places[index] = inline

    def get(self, requests: Sequence[Request]) -> list[memoryview | None]:
        """Values or parts of values; None where there is none.

        Raises
        ------
        IntegrityError
            If a manifest is damaged, or a file ends early.
        OSError
            If a file cannot be read.
        """
        opened: dict[str, int] = {}
        try:
            return [self._get(request, opened) for request in requests]
        finally:
            for descriptor in opened.values():
                os.close(descriptor)

    def _get(self, request: Request, opened: dict[str, int]) -> memoryview | None:
        key, start, stop = request
        path, _, index = key.rpartition("/c/")
        place = self._array(path).get(tuple(map(int, index.split("/"))))
        if place is None:
            return None
        if isinstance(place, bytes):
            return memoryview(place)[_slice(len(place), start, stop)]
        file, offset, length = place
        wanted, name = _slice(length, start, stop), files.object_id(file)
        descriptor = opened.get(name)
        if descriptor is None:
            try:
                descriptor = os.open(self._folder / "chunks" / name, os.O_RDONLY)
            except FileNotFoundError:
                return None
            opened[name] = descriptor
        size = wanted.stop - wanted.start
        value = os.pread(descriptor, size, offset + wanted.start)
        if len(value) < size:
            raise IntegrityError(
                f"chunk {key!r} ends before byte {wanted.stop}: its file {name} is cut short. "
                "Restore it from a copy"
            )
        return memoryview(value)


def _slice(length: int, start: int, stop: int) -> slice:
    """The part of a value that is asked for: in bounds, as icechunk hands it out."""
    if stop < 0:
        return slice(max(length + start, 0) if start < 0 else 0, length)
    return slice(min(start, length), min(stop, length))
