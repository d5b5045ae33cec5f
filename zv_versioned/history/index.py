"""The index of a snapshot: all that a merge looks at, and never a vertex.

It has the documents of the datasets and levels and the tables of batches. A
batch names nothing outside itself, and whatever may differ of it between two
snapshots has a content id in its row, so two snapshots are compared, and three
are merged, by their indexes alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import _state
from .._read import LevelReader
from .._state import LevelState
from ..format.metadata import FAMILIES, DatasetMeta, LevelFacts
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
    """

    path: str
    facts: LevelFacts
    table: BatchTable

    def rows(self) -> dict[Uuid, int]:
        """The row of each batch in the table, by its uuid."""
        return {bytes(uuid): row for row, uuid in enumerate(self.table.uuid)}

    def same_as(self, other: LevelIndex | None) -> bool:
        """Whether both say the same of the same batches."""
        if other is None or not _same_facts(self.facts, other.facts):
            return False
        if self.facts.version and self.facts.version == other.facts.version:
            return True
        return self.table.same_as(other.table)


@dataclass(frozen=True)
class DatasetIndex:
    """One dataset: its document, and its levels by number."""

    meta: DatasetMeta
    levels: Mapping[int, LevelIndex]

    def same_as(self, other: DatasetIndex | None) -> bool:
        """Whether both are the same in all that is kept of them."""
        return (
            other is not None
            and same_meta(self.meta, other.meta)
            and self.levels.keys() == other.levels.keys()
            and all(level.same_as(other.levels[n]) for n, level in self.levels.items())
        )


def defined_alike(a: LevelFacts, b: LevelFacts) -> bool:
    """Whether two levels have the same cells and the same origin."""
    return a.grid == b.grid and _origin(a) == _origin(b)


def _origin(facts: LevelFacts) -> dict[str, object] | None:
    if facts.coarsened is None:
        return None
    return {key: value for key, value in facts.coarsened.items() if key != "stale"}


def _same_facts(a: LevelFacts, b: LevelFacts) -> bool:
    attributes = all(a.family(name) == b.family(name) for name in FAMILIES)
    return defined_alike(a, b) and attributes and a.groups == b.groups


def same_meta(a: DatasetMeta, b: DatasetMeta) -> bool:
    """Whether the documents of two datasets say the same."""
    return a.to_attributes() == b.to_attributes()


Index = Mapping[str, DatasetIndex]
"""The datasets of a snapshot, by name."""


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
