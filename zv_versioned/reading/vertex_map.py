"""Which vertex of an earlier snapshot is which of a later one, also across compactions.

A compacted batch is sorted by cell, object, source and row (of lines: along the
line), so where each vertex of its sources lies follows from both indexes. No
vertex is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .._sets import is_in
from ..errors import MetadataError
from ..format.metadata import LINES
from ..spatial.assign import spans
from .lineage import load_lineage
from .links import whole
from .reader import LevelReader
from .removed import load_removals, removed_rows

_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True)
class _Fragments:
    """Fragments that are there; one entry each."""

    source: np.ndarray
    cell: np.ndarray
    object_id: np.ndarray
    rank: np.ndarray
    start: np.ndarray
    size: np.ndarray

    def take(self, order: np.ndarray) -> _Fragments:
        """Some of them."""
        return _Fragments(*(column[order] for column in self.__dict__.values()))


def vertex_map(old: LevelReader, new: LevelReader) -> np.ndarray:
    """See :meth:`.level.Level.vertex_map`."""
    result = np.full(int(old.vertex_base[-1]), -1, np.int64)
    rows = {bytes(uuid): row for row, uuid in enumerate(old.state.table.uuid)}
    table = new.state.table
    lineage = load_lineage(new, range(len(table)))
    for row, uuid in enumerate(table.uuid):
        same = rows.get(bytes(uuid))
        sources = [rows[u] for u in lineage.get(row, ()) if u in rows]
        if same is not None:
            _same_batch(old, same, new, row, result)
        elif sources:
            _compacted(old, sources, new, row, result)
    return result


def _live(reader: LevelReader, row: int) -> np.ndarray:
    (head,) = reader.heads([row])
    mask = np.ones(int(head.vertex_start[-1]), bool)
    for removal in load_removals(reader, [row]).values():
        removal.clear(head, np.arange(len(head.cells)), mask)
    return mask


def _same_batch(
    old: LevelReader, old_row: int, new: LevelReader, new_row: int, result: np.ndarray
) -> None:
    before, now = _live(old, old_row), _live(new, new_row)
    numbers = np.where(now, np.cumsum(now) - 1 + new.vertex_base[new_row], -1)
    first = int(old.vertex_base[old_row])
    result[first : first + int(before.sum())] = numbers[before]


def _compacted(
    old: LevelReader, sources: Sequence[int], new: LevelReader, row: int, result: np.ndarray
) -> None:
    _refuse_renumbered(old, sources, new, row)
    before, now = _fragments(old, sources), _fragments(new, [row])
    before = before.take(np.flatnonzero(is_in(before.object_id, now.object_id)))
    now = now.take(np.flatnonzero(is_in(now.object_id, before.object_id)))
    if len(before.size) == 0:
        return
    if old.meta.kind in LINES:
        before = before.take(np.lexsort((before.rank, before.source, before.object_id)))
        now = now.take(np.lexsort((now.rank, now.object_id)))
        if not (
            np.array_equal(before.object_id, now.object_id)
            and np.array_equal(before.size, now.size)
        ):
            raise _incomplete(old)
        start = now.start
    else:
        before = before.take(np.lexsort((before.source, before.object_id, before.cell)))
        now = now.take(np.lexsort((now.object_id, now.cell)))
        # Both are in one order: what comes one after the other there does so here.
        if int(before.size.sum()) != int(now.size.sum()):
            raise _incomplete(old)
        at = np.searchsorted(
            np.cumsum(now.size), np.cumsum(before.size) - before.size, side="right"
        )
        if (now.cell[at] != before.cell).any() or (now.object_id[at] != before.object_id).any():
            raise _incomplete(old)
        within = (np.cumsum(before.size) - before.size) - (np.cumsum(now.size) - now.size)[at]
        start = now.start[at] + within
    result[spans(before.start, before.size)] = spans(start, before.size)


def _fragments(reader: LevelReader, rows: Sequence[int]) -> _Fragments:
    """The fragments of some batches without those of removed objects, with level numbers."""
    selections, gone = whole(reader, rows), removed_rows(reader, rows)
    found = []
    tables, pages = reader.ids(rows), reader.fragments(selections)
    for number, (s, (ids, _), page) in enumerate(zip(selections, tables, pages, strict=True)):
        cell = np.repeat(s.head.cells, s.head.cell_fragments)
        live = ~is_in(page.object, gone.get(s.row, _NONE))
        size = page.vertices[live].astype(np.int64)
        start = np.cumsum(size) - size + reader.vertex_base[s.row]
        rank = np.zeros(len(size), np.int64) if page.rank is None else page.rank[live]
        source = np.full(len(size), number)
        found.append((source, cell[live], ids[page.object[live]], rank, start, size))
    return _Fragments(*(np.concatenate(columns) for columns in zip(*found, strict=True)))


def _refuse_renumbered(
    old: LevelReader, sources: Sequence[int], new: LevelReader, row: int
) -> None:
    ((there, _),) = new.ids([row])
    for ids, begins in old.ids(sources):
        if not is_in(ids[begins], there).all():
            raise MetadataError(
                "objects of the old view got other ids in a merge since, before their batches were "
                "compacted; take the map from a view of this branch"
            )


def _incomplete(old: LevelReader) -> MetadataError:
    return MetadataError(
        f"objects of {old.state.path!r} went on after the old view was taken, in batches that were "
        "then compacted with theirs; take the map from a later view, such as the one before the "
        "compaction"
    )
