"""The index of a snapshot: all that a merge looks at, and never a vertex.

It has the documents of the datasets and levels and the tables of batches. A
batch names nothing outside itself, and whatever may differ of it between two
snapshots has a content id in its row, so two snapshots are compared, and three
are merged, by their indexes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

from .. import _paths, _state, _store
from .._state import LevelState
from ..format.metadata import FAMILIES, DatasetMeta, LevelFacts
from ..format.table import BatchTable
from ..reading.reader import LevelReader

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
    known : BatchTable or callable
        All batches, by slot; or what reads them, once somebody asks for :attr:`table`.
    """

    path: str
    facts: LevelFacts
    known: BatchTable | Callable[[], BatchTable]

    @property
    def table(self) -> BatchTable:
        """All batches, by slot."""
        return self.known if isinstance(self.known, BatchTable) else self.known()

    def rows(self) -> dict[Uuid, int]:
        """The row of each batch in the table, by its uuid."""
        return {bytes(uuid): row for row, uuid in enumerate(self.table.uuid)}

    def same_as(self, other: LevelIndex | None) -> bool:
        """Whether both say the same of the same batches."""
        if other is None or not _same_facts(self.facts, other.facts):
            return False
        return self.same_batches(other)

    def same_batches(self, other: LevelIndex) -> bool:
        """Whether both have the same batches with the same contents."""
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
    return a is b or a.to_attributes() == b.to_attributes()


Index = Mapping[str, DatasetIndex]
"""The datasets of a snapshot, by name."""


def load_index(
    store: Store,
    parts: Cache,
    names: Iterable[str] | None = None,
    documents: _state.Documents | None = None,
) -> dict[str, DatasetIndex]:
    """Read the index of a snapshot, or that of some of its datasets.

    Tables are read when they are asked for: a merge, or a diff, asks for those of
    levels whose versions differ.

    Parameters
    ----------
    store : zarr.abc.store.Store
        The snapshot's.
    parts : Cache
        Has the tables of levels that were read before, by the levels' versions.
    names : iterable of str, optional
        Those that are not there are left out.
    documents : Documents, optional
        Those of the store.
    """
    documents = documents or _state.Documents(store)
    there = _state.dataset_names(documents.root_attributes())
    wanted = there if names is None else [name for name in there if name in set(names)]
    documents.expect(_paths.level_path(name, 0) for name in wanted)  # most have that one alone
    metas = _state.load_datasets(documents, wanted)
    levels = [(meta, number) for meta in metas for number in meta.levels]
    found: dict[str, dict[int, LevelIndex]] = {meta.name: {} for meta in metas}
    known = _state.load_all_facts(documents, levels)
    for (meta, number), facts in zip(levels, known, strict=True):
        path = _paths.level_path(meta.name, number)
        table = cache(partial(_whole_table, store, meta, path, facts, parts, documents.chunks))
        found[meta.name][number] = LevelIndex(path, facts, table)
    return {meta.name: DatasetIndex(meta, found[meta.name]) for meta in metas}


def likely_documents(store: Store, like: Index, since: Index | None = None) -> _state.Documents:
    """The documents of a snapshot that is probably much like another one, to be read at once.

    Parameters
    ----------
    store : zarr.abc.store.Store
        The snapshot's.
    like : mapping of str to DatasetIndex
    since : mapping of str to DatasetIndex, optional
        Where given, the tables of the levels that have changed from this one to `like` come
        along: they will be asked for. Where chunks are read directly, it does not matter when.
    """
    paths, chunks = [""], []
    for name, dataset in like.items():
        paths.append(name)
        before = since.get(name) if since is not None else None
        for number, level in dataset.levels.items():
            paths.append(level.path)
            known = None if before is None else before.levels.get(number)
            changed = known is None or known.facts.version != level.facts.version
            if since is not None and changed and not _store.is_local(store):
                chunks += _state.table_keys(level.path, level.facts.slots)
    return _state.Documents(store, paths, chunks)


def _whole_table(
    store: Store,
    meta: DatasetMeta,
    path: str,
    facts: LevelFacts,
    parts: Cache,
    chunks: Mapping[str, memoryview],
) -> BatchTable:
    """A level's table of batches, unless it was read before; see :func:`._state.load_table`."""
    key = "table", facts.version
    table: BatchTable | None = parts.get(key) if facts.version else None
    if table is None:
        table = _state.load_table(store, path, facts, meta.ndim, parts=parts, chunks=chunks)
        if facts.version:
            parts.put(
                key, table, 512 + len(table) * (160 + 16 * meta.ndim + 8 * len(table.contents))
            )
    return table


def reader_of(store: Store, meta: DatasetMeta, level: LevelIndex, parts: Cache) -> LevelReader:
    """A reader of one level of an index, in the store that it was loaded from."""
    return LevelReader(store, meta, LevelState(level.path, level.facts, level.table), parts)
