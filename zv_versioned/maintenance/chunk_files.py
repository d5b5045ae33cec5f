"""Checking the files of chunks: is each there, as long as it was, and whole in every byte?

icechunk checks next to nothing of this. A chunk has a CRC-32C in each cell and in each
shard's index, and between them these cover every byte.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import IntegrityError
from ..format import cells, shards
from ..format.cells import CellCodec
from ..storage.files import Node, object_id
from .inventory import Inventory, chunk_ids
from .report import DAMAGED, MISSING, Progress
from .unused import STAGING

__all__ = ["BadChunk", "ChunkFiles", "Wanted", "in_subset"]


def in_subset(name: str, subset: tuple[int, int] | None) -> bool:
    """Whether something belongs to the n-th of m parts of all data."""
    return subset is None or zlib.crc32(name.encode()) % subset[1] == subset[0] - 1


@dataclass(frozen=True)
class Wanted:
    """Which chunks are read, and not only looked up.

    Parameters
    ----------
    any : bool
        Whether there are such.
    subset : (n, m), optional
        Which part of them.
    only : set of str, optional
        Their files, where not all of the part.
    """

    any: bool
    subset: tuple[int, int] | None = None
    only: frozenset[str] | None = None

    def covers(self, path: str) -> bool:
        if self.only is not None:
            return self.any and path in self.only
        return self.any and in_subset(path, self.subset)


class BadChunk(NamedTuple):
    """A chunk whose file is missing or damaged, why, and " (of ARRAY)" where that is known."""

    kind: str
    why: str
    of: str


class ChunkFiles:
    """All chunks that manifests name, and the files of all others.

    Parameters
    ----------
    folder : Path
    inventory : Inventory
        Damage within its manifests is added to it.
    wanted : Wanted
    progress : callable
        Told what is done, how much of it, and of how much.

    Attributes
    ----------
    needed : set of bytes
        Those that manifests which are needed name.
    bytes_read : int
    """

    def __init__(
        self, folder: Path, inventory: Inventory, wanted: Wanted, progress: Progress
    ) -> None:
        self._folder, self._inventory = folder, inventory
        self._wanted, self._progress = wanted, progress
        self._named: dict[bytes, tuple[int, bytes]] = {}
        self.needed: set[bytes] = set()
        self.bytes_read = 0

    def read_manifests(self, needed: Set[str]) -> None:
        """Learn what chunks there are to be; `needed` are the manifests that are needed."""
        names = [path.removeprefix("manifests/") for path in self._inventory.below("manifests/")]
        for number, name in enumerate(names):
            arrays = self._inventory.manifest(name)
            for node, refs in (arrays or {}).items():
                ids, ends = chunk_ids(refs)
                if name in needed:
                    self.needed.update(ids)
                for chunk, end in zip(ids, ends.tolist(), strict=True):
                    self._named[chunk] = max(end, self._named.get(chunk, (0, b""))[0]), node
                for raw in refs.inline:
                    if raw is not None and self._wanted.any:
                        self._check_inline(name, node, raw)
            if number % 64 == 0:
                self._progress("manifests", number, len(names))

    def _check_inline(self, manifest: str, node: bytes, raw: bytes) -> None:
        try:
            _check(memoryview(raw), self._inventory.nodes.get(node))
        except IntegrityError as error:
            path = f"manifests/{manifest}"
            self._inventory.unreadable.setdefault(path, f"a chunk in it is damaged: {error}")

    def bad(self) -> dict[bytes, BadChunk]:
        """The chunks that manifests name and that are not whole."""
        found: dict[bytes, BadChunk] = {}
        for number, (chunk, (end, node)) in enumerate(self._named.items()):
            array = self._inventory.nodes.get(node)
            wrong = self._wrong(f"chunks/{object_id(chunk)}", end, array)
            if wrong is not None:
                found[chunk] = BadChunk(*wrong, f" (of {array.path})" if array else "")
            if number % 64 == 0:
                self._progress("chunks", number, len(self._named))
        return found

    def _wrong(self, path: str, end: int, array: Node | None) -> tuple[str, str] | None:
        size = self._inventory.sizes.get(path)
        if size is None:
            return MISSING, "the file is not there"
        if size != end:
            return DAMAGED, f"it has {size:,} bytes, and {end:,} were written"
        why = self._why_not_whole(path, [array]) if self._wanted.covers(path) else None
        return None if why is None else (DAMAGED, why)

    def damaged_unnamed(self) -> Iterator[tuple[str, str]]:
        """Files of chunks that no manifest names and that are not whole, and why."""
        known = {f"chunks/{object_id(chunk)}" for chunk in self._named}
        kinds = {_places(node): node for node in self._inventory.nodes.values()}
        for path in self._inventory.below("chunks/"):
            if path not in known and not STAGING.search(path) and self._wanted.covers(path):
                why = self._why_not_whole(path, [None, *kinds.values()])
                if why is not None:
                    yield path, why

    def _why_not_whole(self, path: str, nodes: Iterable[Node | None]) -> str | None:
        """Why a chunk's file is not whole, as one of these arrays' at least; None where it is."""
        why: str | None = None
        try:
            raw = _mapped(self._folder / path)
            self.bytes_read += len(raw)
            for node in nodes:
                try:
                    _check(raw, node)
                    return None
                except IntegrityError as error:
                    why = str(error)
        except OSError as error:
            return f"it cannot be read: {error}"
        return why


def _check(raw: memoryview, node: Node | None) -> None:
    """Check every byte of a chunk: a shard, or a single cell where `node` does not say otherwise.

    Raises
    ------
    IntegrityError
        If a checksum does not fit.
    """
    places = _places(node)
    if places is None:
        return
    if places:
        shards.check(raw, places)
    else:
        if len(raw) < cells.CRC:
            raise IntegrityError(f"a cell of {len(raw)} bytes is too short to be one")
        cells.checked(raw)


_known: dict[bytes, int | None] = {}


def _places(node: Node | None) -> int | None:
    """Places of an array's shards; 0 where a chunk is one cell, None where it is none of ours."""
    if node is None:
        return 0
    if node.document not in _known:
        _known[node.document] = _places_of(node.document)
    return _known[node.document]


def _places_of(document: bytes) -> int | None:
    try:
        parsed = json.loads(document)
        codecs = parsed["codecs"]
        outer = parsed["chunk_grid"]["configuration"]["chunk_shape"]
        if codecs[0]["name"] == "sharding_indexed":
            inner = codecs[0]["configuration"]
            CellCodec.from_metadata(inner["codecs"])
            return int(math.prod(outer) // math.prod(inner["chunk_shape"]))
        CellCodec.from_metadata(codecs)
    except (ValueError, KeyError, IndexError, TypeError, IntegrityError):
        return None  # an array that somebody else put here
    return 0


def _mapped(path: Path) -> memoryview:
    """A file's bytes, not read before they are looked at."""
    if path.stat().st_size == 0:
        return memoryview(b"")
    return np.memmap(path, np.uint8, "r").data
