"""The index of a snapshot: all that a merge looks at, and never a vertex.

It has the documents of the datasets and levels and the tables of batches. A
batch names nothing outside itself, and whatever may differ of it between two
snapshots has a content id in its row, so two snapshots are compared, and three
are merged, by their indexes alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from .. import _state
from .._groups import load_groups
from .._read import LevelReader
from .._removed import removed_rows
from .._state import LevelState
from ..format.metadata import DatasetMeta, LevelFacts
from ..format.table import BatchTable

if TYPE_CHECKING:
    from zarr.abc.store import Store

    from .._cache import Cache

Uuid = bytes


@dataclass(frozen=True)
class LevelIndex:
    """One level of one dataset.

    Parameters
    ----------
    path : str
        Its group.
    facts : LevelFacts
    table : BatchTable
        All batches, by slot.
    removed : mapping of bytes to ndarray of int64
        Rows of the removed objects of a batch, by its uuid; of those that a merge
        needs.
    ids : mapping of bytes to (ndarray of int64, ndarray of bool)
        Ids of the objects of a batch and which begin there; of those that a merge
        needs.
    groups : mapping of str to ndarray of int64, or None
        Where a merge needs them.
    """

    path: str
    facts: LevelFacts
    table: BatchTable
    removed: Mapping[Uuid, np.ndarray] = field(default_factory=dict)
    ids: Mapping[Uuid, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    groups: Mapping[str, np.ndarray] | None = None

    def rows(self) -> dict[Uuid, int]:
        """The row of each batch in the table, by its uuid."""
        return {bytes(uuid): row for row, uuid in enumerate(self.table.uuid)}


@dataclass(frozen=True)
class DatasetIndex:
    """One dataset: its document, and its levels by number."""

    meta: DatasetMeta
    levels: Mapping[int, LevelIndex]


def same_meta(a: DatasetMeta, b: DatasetMeta) -> bool:
    """Whether the documents of two datasets say the same."""
    return a.to_attributes() == b.to_attributes()


Index = Mapping[str, DatasetIndex]
"""The datasets of a snapshot, by name."""


def counted(facts: LevelFacts, table: BatchTable) -> LevelFacts:
    """The facts of a level with the counts that follow from its table."""
    return replace(
        facts,
        vertex_count=int(table.live_vertices.sum()),
        num_objects=int(table.live_new_objects.sum()),
        link_count=int(table.live_links.sum()),
    )


def load_index(store: Store, names: Iterable[str] | None = None) -> dict[str, DatasetIndex]:
    """Read the index of a snapshot, or that of some of its datasets.

    Parameters
    ----------
    store : zarr.abc.store.Store
        The snapshot's.
    names : iterable of str, optional
        Those that are not there are left out.
    """
    there = _state.dataset_names(_state.root_attributes(store))
    wanted = there if names is None else [name for name in names if name in there]
    return {name: _load_dataset(store, name) for name in wanted}


def _load_dataset(store: Store, name: str) -> DatasetIndex:
    meta = _state.load_dataset(store, name)
    levels = {}
    for number in meta.levels:
        state = _state.load_level(store, meta, number)
        levels[number] = LevelIndex(state.path, state.facts, state.table)
    return DatasetIndex(meta, levels)


def reader_of(store: Store, meta: DatasetMeta, level: LevelIndex, parts: Cache) -> LevelReader:
    """A reader of one level of an index, in the store that it was loaded from."""
    return LevelReader(store, meta, LevelState(level.path, level.facts, level.table), parts)


def with_details(
    store: Store,
    meta: DatasetMeta,
    level: LevelIndex,
    parts: Cache,
    *,
    removed: Iterable[Uuid] = (),
    ids: Iterable[Uuid] = (),
    groups: bool = False,
) -> LevelIndex:
    """A level with what a merge needs beyond the table: see :class:`Needs`."""
    rows = level.rows()
    reader = reader_of(store, meta, level, parts)
    lost = [rows[uuid] for uuid in removed if uuid in rows]
    asked = [rows[uuid] for uuid in ids if uuid in rows]
    name = {row: uuid for uuid, row in rows.items()}
    found = {name[row]: ids for row, ids in removed_rows(reader, lost).items()}
    none = np.zeros(0, np.int64)
    return LevelIndex(
        level.path,
        level.facts,
        level.table,
        {name[row]: found.get(name[row], none) for row in lost},
        {name[row]: pair for row, pair in zip(asked, reader.ids(asked), strict=True)},
        load_groups(store, level.path, level.facts, parts) if groups else None,
    )
