"""Reading a level: which cells, which bytes, which vertices.

A read is planned from the table of batches and the heads of their indexes,
both small; the store is never listed. What cannot match is left out batch by
batch (box, ids), then cell by cell, then vertex by vertex. Cells are read in
windows of bounded size, so that a filtered read needs its result and a window.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from zarr.abc.store import Store

from .. import _paths
from .._cache import Cache
from .._state import LevelState
from ..errors import NotFoundError
from ..format import shards
from ..format.metadata import TEXT, AttributeMeta, DatasetMeta
from ..spatial.assign import spans
from ..spatial.balls import Ball
from ..spatial.boxes import Box
from .batch_indexes import BatchIndexes, Section, joined
from .fetch import RANGE_BYTES, WHOLE_BATCH_BYTES, keep_index, read_rows
from .removed import load_removals, removed_rows
from .selection import Selection, laid, rows_of_objects
from .values import spread
from .wanted import Ranges, Target, Wanted

WINDOW_VERTICES = 1 << 20
_AHEAD_BLOCKS = 4
_AHEAD_SHARDS = 128


class LevelReader(BatchIndexes):
    """Reads one level of one snapshot.

    Parameters
    ----------
    store : zarr.abc.store.Store
        The snapshot.
    meta : DatasetMeta
    state : LevelState
    parts : Cache
        Parts of batch indexes, by batch; shared by all snapshots.
    """

    def __init__(self, store: Store, meta: DatasetMeta, state: LevelState, parts: Cache) -> None:
        super().__init__(store, meta, state, parts)
        self.shard_indexes = Cache(64 << 20)
        self.vertex_base = np.concatenate(([0], np.cumsum(state.table.live_vertices)))

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

    # -- planning ------------------------------------------------------------

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
        one is not there: a round trip is saved.
        """
        table, grid = self.state.table, self.state.facts.grid
        arrays = [("vertices", self._position_bytes, table.n_vertices)]
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
                left = ~np.isin(at, removed[row], assume_unique=True)
                which, at = which[left], at[left]
            if len(at):
                members[row] = np.sort(at)
                seen[which] = True
        if strict and not seen.all():
            absent = object_ids[~seen]
            raise NotFoundError(
                f"no object {', '.join(map(str, absent[:5].tolist()))} in {self.state.path!r}"
                + (f", and {len(absent) - 5:,} more" if len(absent) > 5 else "")
            )
        return members

    # -- reading -------------------------------------------------------------

    @property
    def _position_bytes(self) -> int:
        return self.meta.vertex_dtype.itemsize * self.meta.ndim

    def _wanted(self, selections: Sequence[Selection]) -> list[Wanted]:
        table, rows = self.state.table, [s.row for s in selections]
        found = []
        for s, slot, n in zip(
            selections, table.slot[rows].tolist(), table.n_vertices[rows].tolist(), strict=True
        ):
            cells, counts = s.head.cells, s.head.cell_vertices
            total = len(cells)
            if len(s.at) < total:
                cells, counts = cells[s.at], counts[s.at]
            found.append(Wanted(slot, cells, counts, total, n))
        return found

    def _target(self, array: str, row_bytes: int, wanted: Sequence[Wanted]) -> Target:
        return Target.empty(_paths.join(self.state.path, array), row_bytes, wanted)

    def rows_of(
        self,
        array: str,
        dtype: np.dtype,
        row_shape: tuple[int, ...],
        selections: Sequence[Selection],
    ) -> np.ndarray:
        """All rows of an array in the selected cells, also of removed vertices: (n, *row_shape)."""
        row_bytes = dtype.itemsize * int(np.prod(row_shape, dtype=np.int64))
        target = self._target(array, row_bytes, self._wanted(selections))
        read_rows(self.store, self.state.facts.grid, [target], self.shard_indexes)
        return target.rows(dtype, row_shape)

    def read_window(
        self,
        selections: Sequence[Selection],
        attributes: Sequence[AttributeMeta],
        *,
        fragments: bool = True,
        asked_only: bool = False,
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Positions and values of all vertices in the selected cells that were not removed.

        All is fetched at the same time.

        Parameters
        ----------
        selections : sequence of Selection
        attributes : sequence of AttributeMeta
        fragments : bool
            Whether to fetch with it the fragments of these cells, which are known afterwards.
        asked_only : bool, optional
            Whether nothing but the vertices of objects that were asked for is looked
            at: what stands for the others may be anything.

        Returns
        -------
        positions : ndarray, shape (n, D)
        values : dict of str to ndarray
            By the names of the attributes.
        """
        wanted = self._wanted(selections)
        targets = [self._target("vertices", self._position_bytes, wanted)]
        for a in attributes:
            there = self.state.table.content(a.path)
            has = [want for want, s in zip(wanted, selections, strict=True) if there[s.row]]
            targets.append(self._target(a.path, a.row_bytes, has))
        sections: list[Section] = []
        if fragments:
            sections = self.pages_of(selections) + self.ids_sections([s.row for s in selections])
        wanting, requests, _ = self.unknown(sections)
        grid = self.state.facts.grid
        kept = False

        def rows(found: list[memoryview]) -> list[Ranges | None]:
            nonlocal kept
            self.keep(wanting, found)
            kept = True
            return self._looked_at(selections, attributes)

        only = rows if asked_only and all(s.object_rows is not None for s in selections) else None
        found = read_rows(self.store, grid, targets, self.shard_indexes, requests, only)
        if not kept:
            self.keep(wanting, found)
        live = self.live(selections)
        parts = [(s.row, s.vertex_count) for s in selections] if attributes else []
        values = {
            a.name: _those(spread(self, a, parts, target.rows(a.dtype, a.row_shape)), live)
            for a, target in zip(attributes, targets[1:], strict=True)
        }
        positions = targets[0].rows(self.meta.vertex_dtype, (self.meta.ndim,))
        return _those(positions, live), values

    def _looked_at(
        self, selections: Sequence[Selection], attributes: Sequence[AttributeMeta]
    ) -> list[Ranges | None]:
        """Rows of objects that were asked for: of the positions and each attribute."""
        table = self.state.table
        found = rows_of_objects(selections, self.fragments(selections), table.n_objects)
        # A text is looked up by its code, and what is no code would be an error.
        return [laid(selections, found, table.n_vertices)] + [
            None if a.logical == TEXT else laid(selections, found, table.content(a.path))
            for a in attributes
        ]

    def live(self, selections: Sequence[Selection]) -> np.ndarray | None:
        """Mask of the vertices in the selected cells that were not removed; None for all."""
        removals = load_removals(self, [s.row for s in selections])
        if not removals:
            return None
        mask = np.ones(sum(s.vertex_count for s in selections), bool)
        offset = 0
        for s in selections:
            n = s.vertex_count
            if s.row in removals:
                removals[s.row].clear(s.head, s.at, mask[offset : offset + n])
            offset += n
        return mask

    def positions_of(self, selections: Sequence[Selection]) -> np.ndarray:
        """Coordinates of the vertices in the selected cells: (n, D)."""
        rows = self.rows_of("vertices", self.meta.vertex_dtype, (self.meta.ndim,), selections)
        return _those(rows, self.live(selections))

    def attribute_of(self, attribute: AttributeMeta, selections: Sequence[Selection]) -> np.ndarray:
        """Values of an attribute in the selected cells; missing where a batch has none."""
        present = self.state.table.content(attribute.path)
        has = [s for s in selections if present[s.row]]
        values = self.rows_of(attribute.path, attribute.dtype, attribute.row_shape, has)
        parts = [(s.row, s.vertex_count) for s in selections]
        return _those(spread(self, attribute, parts, values), self.live(selections))

    def vertex_ids_of(
        self, selections: Sequence[Selection], rows: np.ndarray | None = None
    ) -> np.ndarray:
        """Numbers, within the level, of the vertices in the selected cells.

        Parameters
        ----------
        selections : sequence of Selection
        rows : ndarray of int64, ascending, optional
            Which of them; all where left out.
        """
        removals = load_removals(self, [s.row for s in selections])
        firsts, sizes = [], []
        for s in selections:
            first, stop = s.head.vertex_start[s.at], s.head.vertex_start[s.at + 1]
            if s.row in removals:
                first, stop = (at - removals[s.row].before(at) for at in (first, stop))
            firsts.append(first + self.vertex_base[s.row])
            sizes.append(stop - first)
        first, size = joined(firsts), joined(sizes)
        if rows is None:
            return spans(first, size)
        ends = np.cumsum(size)
        return np.asarray(rows + np.repeat(first - (ends - size), counts_before(rows, ends)))

    def live_fragments(
        self, selections: Sequence[Selection]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each selection the fragments that were not removed: the object of each, as a row of
        the batch, and its vertices."""
        removed = removed_rows(self, [s.row for s in selections])
        for s, fragments in zip(selections, self.fragments(selections), strict=True):
            owner, size = fragments.object, fragments.vertices.astype(np.int64)
            if s.row in removed:
                live = np.ones(self.state.table.n_objects[s.row], bool)
                live[removed[s.row]] = False
                owner, size = owner[live[owner]], size[live[owner]]
            yield owner, size

    def fragments_of(
        self, selections: Sequence[Selection]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """The fragments in the selected cells that were not removed.

        Returns
        -------
        object_ids : ndarray of int64, shape (F,)
        sizes : ndarray of int64, shape (F,)
            Vertices of each.
        asked : ndarray of bool, shape (F,), or None
            Which are of objects that were asked for; None where none in particular were.
        """
        rows, table = [s.row for s in selections], self.state.table
        plain = table.plain
        rest = [row for row in dict.fromkeys(rows) if not plain[row]]
        tables = dict(zip(rest, self.ids(rest), strict=True))
        found, sizes, masks = [], [], []
        for s, (owner, size) in zip(selections, self.live_fragments(selections), strict=True):
            # Ids that are a run need no list of them.
            ids = tables[s.row][0][owner] if s.row in tables else owner + table.id_min[s.row]
            found.append(ids)
            sizes.append(size)
            if s.object_rows is not None:
                asked = np.zeros(table.n_objects[s.row], bool)
                asked[s.object_rows] = True
                masks.append(asked[owner])
        return joined(found), joined(sizes), np.concatenate(masks) if masks else None

    def object_ids_of(
        self, selections: Sequence[Selection]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The object of the vertices in the selected cells, and a mask of those asked for."""
        ids, sizes, asked = self.fragments_of(selections)
        return np.repeat(ids, sizes), None if asked is None else np.repeat(asked, sizes)

    def windows(
        self, selections: Sequence[Selection], size: int | None = None
    ) -> Iterator[list[Selection]]:
        """Cut a plan into pieces of about `size` (or WINDOW_VERTICES) vertices, in order."""
        piece: list[Selection] = []
        room = size = WINDOW_VERTICES if size is None else size
        for s in selections:
            ends = np.cumsum(s.head.cell_vertices[s.at])
            done = 0
            while done < len(s.at):
                before = int(ends[done - 1]) if done else 0
                stop = max(int(np.searchsorted(ends, before + room, side="right")), done + 1)
                part = replace(s, at=s.at[done:stop])
                piece.append(part)
                room -= part.vertex_count
                done = stop
                if room <= 0 or done < len(s.at):
                    yield piece
                    piece, room = [], size
        if piece:
            yield piece


def _ascending(ids: np.ndarray) -> np.ndarray | None:
    """The order in which ids ascend; None where they do."""
    return None if (ids[1:] > ids[:-1]).all() else np.argsort(ids, kind="stable")


def counts_before(rows: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """How many of some ascending rows lie before each end, and not before the one before it."""
    return np.diff(np.searchsorted(rows, ends), prepend=0)


def _those(rows: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    return rows if mask is None else rows[mask]
