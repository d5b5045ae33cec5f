"""Which cells of a level a read needs, and of which objects.

A read is planned from the table of batches and the heads of their indexes,
both small; the store is never listed. What cannot match is left out batch by
batch (box, ids), then cell by cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from zarr.abc.store import Store

from .. import _paths, _store
from .._cache import Cache
from .._sets import is_in
from .._state import LevelState
from ..errors import NotFoundError
from ..format import shards
from ..format.metadata import AttributeMeta, DatasetMeta
from ..spatial.balls import Ball
from ..spatial.boxes import Box
from .batch_indexes import BatchIndexes, joined
from .fetch import RANGE_BYTES, WHOLE_BATCH_BYTES, keep_index
from .removed import removed_rows
from .selection import Selection

_AHEAD_BLOCKS = 8
_AHEAD_SHARDS = 128


class Planner(BatchIndexes):
    """Knows which cells of a level have what is asked for; parameters as for its base class."""

    def __init__(self, store: Store, meta: DatasetMeta, state: LevelState, parts: Cache) -> None:
        super().__init__(store, meta, state, parts)
        self.shard_indexes = Cache(64 << 20)
        self.vertex_base = np.concatenate(([0], np.cumsum(state.table.live_vertices)))

    @property
    def position_bytes(self) -> int:
        """Bytes of one vertex's coordinates."""
        return self.meta.vertex_dtype.itemsize * self.meta.ndim

    def object_ids(self) -> np.ndarray:
        """Ids of all objects that are there: by batch, then ascending."""
        rows = range(len(self.state.table))
        return joined(
            [
                ids[begins]
                for (ids, _), begins in zip(self.ids(rows), self.beginning(rows), strict=True)
            ]
        )

    def beginning(self, rows: Sequence[int]) -> list[np.ndarray]:
        """For some batches, which of their objects begin there and were not removed: masks."""
        removed = removed_rows(self, rows)
        masks = [is_new.copy() for _, is_new in self.ids(rows)]
        for row, mask in zip(rows, masks, strict=True):
            if row in removed:
                mask[removed[row]] = False
        return masks

    def plan(
        self,
        rows: np.ndarray | None = None,
        box: Box | None = None,
        object_ids: np.ndarray | None = None,
        *,
        ball: Ball | None = None,
        fitting: np.ndarray | None = None,
        attributes: Sequence[AttributeMeta] = (),
    ) -> list[Selection]:
        """The cells that a read has to look at, batch by batch in slot order.

        Parameters
        ----------
        rows : ndarray of int64, optional
            Rows of the table; all where left out.
        box : Box, optional
            A half-open query.
        object_ids : ndarray of int64, ascending, optional
        ball : Ball, optional
        fitting : ndarray of bool, shape (B,), optional
            The batches that can have what is asked for besides.
        attributes : sequence of AttributeMeta, optional
            What will be read besides positions; a read may be a round trip shorter
            where it is known.
        """
        table, boxes = self.state.table, [box] if box is not None else []
        if ball is not None:
            boxes.append(ball.box())
        keep = table.live_vertices > 0
        if rows is not None:
            asked = np.zeros(len(table), bool)
            asked[rows] = True
            keep &= asked
        near = np.ones(len(table), bool) if fitting is None else fitting.copy()
        for around in boxes:
            near &= ((table.hi >= around.lo) & (table.lo < around.hi)).all(axis=1)
        may = keep & near
        if object_ids is not None:
            first, last = self._among(object_ids)
            may &= last > first
        whole = not boxes and object_ids is None
        self._look_ahead(np.flatnonzero(may).tolist(), boxes, attributes, whole=whole)
        members: dict[int, np.ndarray] = {}
        if object_ids is not None:
            members = self.members(keep, object_ids, strict=rows is None)
            keep[:] = False
            keep[list(members)] = True
        chosen = np.flatnonzero(keep & near).tolist()
        heads = self.heads(chosen)
        if members:
            of_rows = zip(chosen, heads, strict=True)
            self.know_objects([(row, head, members[row]) for row, head in of_rows])
        selections = []
        for row, head in zip(chosen, heads, strict=True):
            wanted = members.get(row)
            at = np.arange(len(head.cells))
            if wanted is not None:
                at = self.object_cells(row, head, wanted)
            selections.append(Selection(row, head, at, wanted))
        if boxes:
            selections = self._touching(selections, boxes, ball)
        return [s for s in selections if len(s.at)]

    def _touching(
        self, selections: Sequence[Selection], boxes: Sequence[Box], ball: Ball | None
    ) -> list[Selection]:
        """The same, without the cells that cannot have vertices in all boxes and the ball."""
        grid = self.state.facts.grid
        cells = joined([s.head.cells[s.at] for s in selections])
        mask = np.ones(len(cells), bool)
        for box in boxes:
            mask &= grid.touching(box, cells)
        if ball is not None:
            mask[mask] = ball.touching(grid, cells[mask])
        cuts = np.cumsum([len(s.at) for s in selections])[:-1]
        masks = np.split(mask, cuts) if selections else []
        return [replace(s, at=s.at[m]) for s, m in zip(selections, masks, strict=True)]

    def _look_ahead(
        self,
        rows: Sequence[int],
        boxes: Sequence[Box],
        attributes: Sequence[AttributeMeta],
        *,
        whole: bool,
    ) -> None:
        """Fetch, with heads of batches that are not known, the indexes of shards needed next.

        Which shards there are stands in the heads. Where the batch can be in a few
        only, or the box, they are asked for all the same, and it is no harm where
        one is not there: a round trip is saved. From a disk each comes by itself.
        """
        if _store.is_local(self.store):
            return
        table, grid = self.state.table, self.state.facts.grid
        arrays = [("vertices", self.position_bytes, table.n_vertices)]
        arrays += [(a.path, a.row_bytes, table.content(a.path)) for a in attributes]
        least = RANGE_BYTES if whole else WHOLE_BATCH_BYTES
        keys: list[str] = []
        lacking, n = self.lacking(rows), table.n_vertices
        large = [row for row in lacking if any(t[row] and n[row] * b > least for _, b, t in arrays)]
        lo, hi = table.lo[large], table.hi[large]
        for box in boxes:
            lo, hi = np.maximum(lo, box.lo), np.minimum(hi, box.hi)
        for row, blocks in zip(large, grid.blocks_of(Box(lo, hi), _AHEAD_BLOCKS), strict=True):
            for path, row_bytes, there in arrays:
                if there[row] and n[row] * row_bytes > least:
                    array = _paths.join(self.state.path, path)
                    keys += [_paths.shard_key(array, int(table.slot[row]), b) for b in blocks]
        if not 0 < len(keys) <= _AHEAD_SHARDS:
            return
        size = shards.index_size(grid.places)
        _, tails = self.fetch_heads(lacking, [(key, -size, -1) for key in keys])
        for key, tail in zip(keys, tails, strict=True):
            if tail is not None:
                keep_index(key, tail, grid.places, self.shard_indexes)

    def _among(self, object_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each batch, which of the objects lie between its smallest and largest: two (B,)."""
        table = self.state.table
        first = np.searchsorted(object_ids, table.id_min)
        return first, np.searchsorted(object_ids, table.id_max, side="right")

    def members(
        self, among: np.ndarray, object_ids: np.ndarray, *, strict: bool
    ) -> dict[int, np.ndarray]:
        """For each batch (row) that has some of the objects, their rows in it.

        Parameters
        ----------
        among : ndarray of bool, shape (B,)
            The batches to look in.
        object_ids : ndarray of int64, ascending
        strict : bool
            Whether it is an error that one is in none of them, or was removed.
        """
        table = self.state.table
        first, last = self._among(object_ids)
        candidates = np.flatnonzero(among & (last > first)).tolist()
        removed = removed_rows(self, candidates)
        plain = table.plain
        rest = [row for row in candidates if not plain[row]]
        tables = dict(zip(rest, self.ids(rest), strict=True))
        seen = np.zeros(len(object_ids), bool)
        members = {}
        for row in candidates:
            which = np.arange(first[row], last[row])
            at = object_ids[which] - table.id_min[row]
            if row in tables:
                ids = tables[row][0]
                order = _ascending(ids)
                place = np.searchsorted(ids, object_ids[which], sorter=order)
                inside = place < len(ids)
                which, place = which[inside], place[inside]
                at = place if order is None else order[place]
                there = ids[at] == object_ids[which]
                which, at = which[there], at[there]
            if row in removed:
                left = ~is_in(at, removed[row])
                which, at = which[left], at[left]
            if len(at):
                members[row] = np.sort(at)
                seen[which] = True
        if strict and not seen.all():
            absent = object_ids[~seen]
            raise NotFoundError(
                f"no object {', '.join(map(str, absent[:5].tolist()))} in {self.state.path!r}"
                + (f", and {len(absent) - 5:,} more" if len(absent) > 5 else "")
                + "; was it removed, or is it of another snapshot?"
            )
        return members


def _ascending(ids: np.ndarray) -> np.ndarray | None:
    """The order in which ids ascend; None where they do."""
    return None if (ids[1:] > ids[:-1]).all() else np.argsort(ids, kind="stable")
