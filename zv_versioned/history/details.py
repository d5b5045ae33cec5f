"""What a merge asks beyond the tables, read from the stores where it lies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .. import _paths, _store, _writes
from .._cells_io import Blocks
from .._groups import load_groups
from ..errors import IntegrityError
from ..format.batches import BatchHead
from ..format.metadata import FAMILIES, LINK_ATTRIBUTES, VERTEX_ATTRIBUTES, AttributeMeta
from ..format.table import INDEX, REMOVED
from ..reading.lineage import load_lineage
from ..reading.links import live_links
from ..reading.reader import LevelReader
from ..reading.removed import removals_of, removed_rows
from ..reading.values import begun_values
from .index import Index, LevelIndex, reader_of
from .merge import Merged
from .merge_contents import arrays_of
from .rows import Groups, Ids, Side

if TYPE_CHECKING:
    from .._cache import Cache

_NONE = np.zeros(0, np.int64)
_AT_ONCE = 8


class Origin(Protocol):
    """One side, where it may be merged itself: what is asked of a base."""

    def removed(self, dataset: str, level: int, row: int) -> np.ndarray:
        """Rows of the removed objects of a batch."""
        ...

    def object_values(
        self, dataset: str, level: int, attribute: AttributeMeta, row: int
    ) -> np.ndarray | None:
        """Values of all objects that begin in one batch; None where nobody knows them."""
        ...

    def lineage(self, dataset: str, level: int, row: int) -> tuple[bytes, ...]:
        """What a compaction made a batch of."""
        ...

    def groups(self, dataset: str, level: int) -> Groups:
        """The groups of a level."""
        ...


class Source:
    """Where the chunks of one side are.

    Parameters
    ----------
    store : icechunk.IcechunkStore
    branch : str, optional
        Whose tip it may be.
    """

    def __init__(self, store: Any, branch: str | None = None) -> None:
        self._store = store
        self.branch = branch

    @property
    def store(self) -> Any:
        """The store, with all the chunks."""
        return self._store

    @property
    def unwritten(self) -> Mapping[str, _writes.Value] | None:
        """The chunks, where none is in the store yet."""
        return None


class Held(Source):
    """Chunks that a transaction still holds, and that are its only changes.

    They are written where they belong in the end; to :attr:`store` only where
    somebody has to read them there.
    """

    def __init__(self, store: Any, chunks: Sequence[tuple[str, _writes.Value]]) -> None:
        super().__init__(store)
        self._chunks: dict[str, _writes.Value] | None = dict(chunks)

    @property
    def store(self) -> Any:
        """The store, to which all the chunks are written now."""
        if self._chunks is not None:
            _writes.set_many(self._store, list(self._chunks.items()))
            self._chunks = None
        return self._store

    @property
    def unwritten(self) -> Mapping[str, _writes.Value] | None:
        """The chunks, where none is in the store yet."""
        return self._chunks


@dataclass
class Snapshot:
    """One snapshot, or what a session has staged.

    Parameters
    ----------
    index : mapping of str to DatasetIndex
    source : Source
    parts : Cache
    """

    index: Index
    source: Source
    parts: Cache
    _readers: dict[tuple[str, int], LevelReader] = field(default_factory=dict)

    @property
    def store(self) -> Any:
        """The store of its chunks."""
        return self.source.store

    def reader(self, dataset: str, level: int) -> LevelReader:
        """A reader of a level."""
        key = dataset, level
        if key not in self._readers:
            known = self.index[dataset]
            reader = reader_of(self.store, known.meta, known.levels[level], self.parts)
            self._readers[key] = reader
        return self._readers[key]

    def removed(self, dataset: str, level: int, row: int) -> np.ndarray:
        """Rows of the removed objects of a batch."""
        return removed_rows(self.reader(dataset, level), [row]).get(row, _NONE)

    def object_values(
        self, dataset: str, level: int, attribute: AttributeMeta, row: int
    ) -> np.ndarray | None:
        """Values of all objects that begin in one batch."""
        return begun_values(self.reader(dataset, level), attribute, [row])

    def lineage(self, dataset: str, level: int, row: int) -> tuple[bytes, ...]:
        """What a compaction made a batch of."""
        return load_lineage(self.reader(dataset, level), [row])[row]

    def groups(self, dataset: str, level: int) -> Groups:
        """The groups of a level; none where it is not there."""
        if dataset not in self.index or level not in self.index[dataset].levels:
            return {}
        known = self.index[dataset].levels[level]
        return load_groups(self.store, known.path, known.facts, self.parts)


class Nothing:
    """A base that has nothing."""

    def removed(self, dataset: str, level: int, row: int) -> np.ndarray:
        """No objects."""
        return _NONE

    def object_values(
        self, dataset: str, level: int, attribute: AttributeMeta, row: int
    ) -> np.ndarray | None:
        """No values."""
        return None

    def lineage(self, dataset: str, level: int, row: int) -> tuple[bytes, ...]:
        """Of nothing."""
        return ()

    def groups(self, dataset: str, level: int) -> Groups:
        """No groups."""
        return {}


@dataclass
class Virtual:
    """A base that is itself the merge of two: nothing of it is stored, it is only compared with.

    Parameters
    ----------
    merged : Merged
    details : StoredDetails
        Those that it was merged with.
    """

    merged: Merged
    details: StoredDetails

    def removed(self, dataset: str, level: int, row: int) -> np.ndarray:
        """Rows of the removed objects of a batch."""
        plan = self.merged.datasets[dataset].levels[level]
        table = plan.index.table
        slot, content = int(table.slot[row]), int(table.content(REMOVED)[row])
        if slot in plan.removed:
            return plan.removed[slot]
        for side, at in self._sides(dataset, level, row):
            if self._content(side, dataset, level, REMOVED, at) == content:
                return self.details.removed(side, dataset, level, at)
        return _NONE

    def object_values(
        self, dataset: str, level: int, attribute: AttributeMeta, row: int
    ) -> np.ndarray | None:
        """Values of all objects that begin in one batch."""
        plan = self.merged.datasets[dataset].levels[level]
        table = plan.index.table
        slot, content = int(table.slot[row]), int(table.content(attribute.path)[row])
        for where, found in plan.objects:
            if where == slot and found.attribute.path == attribute.path:
                return found.values
        for side, at in self._sides(dataset, level, row):
            if self._content(side, dataset, level, attribute.path, at) == content:
                return self.details.object_values(side, dataset, level, attribute, at)
        return None

    def lineage(self, dataset: str, level: int, row: int) -> tuple[bytes, ...]:
        """What a compaction made a batch of."""
        for side, at in self._sides(dataset, level, row):
            return self.details.lineage(side, dataset, level, at)
        uuid = bytes(self.merged.datasets[dataset].levels[level].index.table.uuid[row])
        raise IntegrityError(f"batch {uuid.hex()} of a merge base is on neither side of it")

    def _sides(self, dataset: str, level: int, row: int) -> Iterator[tuple[Side, int]]:
        """The sides that have a batch, ours first, and its row there."""
        uuid = bytes(self.merged.datasets[dataset].levels[level].index.table.uuid[row])
        sides: tuple[Side, Side] = ("ours", "theirs")
        for side in sides:
            known = self.details.level(side, dataset, level)
            at = -1 if known is None else known.rows().get(uuid, -1)
            if at >= 0:
                yield side, at

    def _content(self, side: Side, dataset: str, level: int, path: str, at: int) -> int:
        known = self.details.level(side, dataset, level)
        return 0 if known is None else int(known.table.content(path)[at])

    def groups(self, dataset: str, level: int) -> Groups:
        """The groups of a level."""
        plan = self.merged.datasets[dataset].levels[level]
        if plan.groups is not None:
            return plan.groups
        if plan.index.facts.groups == 0:
            return {}
        ours = self.details.level("ours", dataset, level)
        mine = ours is not None and ours.facts.groups == plan.index.facts.groups
        return self.details.groups("ours" if mine else "theirs", dataset, level)


@dataclass
class StoredDetails:
    """The details of a merge of snapshots; see :class:`.rows.Details`."""

    base: Origin
    ours: Snapshot
    theirs: Snapshot

    def _side(self, side: Side) -> Snapshot:
        return self.ours if side == "ours" else self.theirs

    def level(self, side: Side, dataset: str, level: int) -> LevelIndex | None:
        """A level of one side."""
        known = self._side(side).index.get(dataset)
        return None if known is None else known.levels.get(level)

    def ids(self, side: Side, dataset: str, level: int, rows: Sequence[int]) -> list[Ids]:
        """The ids of some batches."""
        return self._side(side).reader(dataset, level).ids(rows)

    def removed(self, side: Side, dataset: str, level: int, row: int) -> np.ndarray:
        """Rows of the removed objects of a batch."""
        if side == "base":
            return self.base.removed(dataset, level, row)
        return self._side(side).removed(dataset, level, row)

    def object_values(
        self, side: Side, dataset: str, level: int, attribute: AttributeMeta, row: int
    ) -> np.ndarray | None:
        """Values of all objects that begin in one batch."""
        if side == "base":
            return self.base.object_values(dataset, level, attribute, row)
        return self._side(side).object_values(dataset, level, attribute, row)

    def lost(
        self, side: Side, dataset: str, level: int, row: int, removed: np.ndarray
    ) -> tuple[int, int, int]:
        """Vertices, links, and objects that begin there, that a batch loses with some objects."""
        reader = self._side(side).reader(dataset, level)
        removal = removals_of(reader, {row: removed})[row]
        ((_, begins),) = reader.ids([row])
        links = 0
        if reader.state.table.n_links[row]:
            links = int((~live_links(reader, [row], {row: removal})[row]).sum())
        return int(removal.total[-1]), links, int(begins[removed].sum())

    def lineage(self, side: Side, dataset: str, level: int, row: int) -> tuple[bytes, ...]:
        """What a compaction made a batch of."""
        if side == "base":
            return self.base.lineage(dataset, level, row)
        return self._side(side).lineage(dataset, level, row)

    def groups(self, side: Side, dataset: str, level: int) -> Groups:
        """The groups of a level."""
        if side == "base":
            return self.base.groups(dataset, level)
        return self._side(side).groups(dataset, level)

    def equal(self, dataset: str, level: int, path: str, ours: int, theirs: int) -> bool:
        """Whether a content of one batch is the same on both sides, byte by byte."""
        pairs = [
            self._chunks(side, dataset, level, path, row)
            for side, row in ((self.ours, ours), (self.theirs, theirs))
        ]
        for first in range(0, len(pairs[0]), _AT_ONCE):
            mine, its = (
                # A batch without a vertex left has a content and no chunk.
                _store.get_present(
                    side.store, [], [(key, 0, -1) for key in keys[first : first + _AT_ONCE]]
                )
                for side, keys in zip((self.ours, self.theirs), pairs, strict=True)
            )
            if mine != its:
                return False
        return True

    def _chunks(self, side: Snapshot, dataset: str, level: int, path: str, row: int) -> list[str]:
        index = side.index[dataset].levels[level]
        (head,) = side.reader(dataset, level).heads([row])
        attributes = [a for family in FAMILIES for a in index.facts.family(family).values()]
        arrays = next((arrays_of(a) for a in attributes if a.path == path), [path])
        return [key for array in arrays for key in chunk_keys(index, array, row, head)]


def chunk_keys(level: LevelIndex, path: str, row: int, head: BatchHead) -> list[str]:
    """The chunks that a batch has in an array of its level."""
    slot, array = int(level.table.slot[row]), _paths.join(level.path, path)
    if path == INDEX:
        return [_paths.shard_key(array, slot, (0,))]
    if path in ("vertices", "links") or path.startswith((VERTEX_ATTRIBUTES, LINK_ATTRIBUTES)):
        kept = path == "links" or path.startswith(LINK_ATTRIBUTES)
        cells = head.cells[head.cell_links > 0] if kept else head.cells
        blocks = Blocks.of(cells, level.facts.grid)
        return [_paths.shard_key(array, slot, key) for key in blocks.keys]
    return [_paths.shard_key(array, slot, ())]
