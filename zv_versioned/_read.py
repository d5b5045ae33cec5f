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

from . import _paths, _store
from ._cache import Cache
from ._cells_io import Wanted, read_rows
from ._read_values import spread
from ._removed import load_removals, removed_rows
from ._selection import Selection, cell_of
from ._state import LevelState
from .errors import IntegrityError, NotFoundError
from .format import batches, cells
from .format.batches import BatchHead, FragmentPage
from .format.cells import HEADER
from .format.metadata import AttributeMeta, DatasetMeta
from .format.table import INDEX
from .spatial.assign import spans
from .spatial.balls import Ball
from .spatial.boxes import Box

WINDOW_VERTICES = 1 << 20


class LevelReader:
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
        self.store = store
        self.meta = meta
        self.state = state
        self._parts = parts
        self.shard_indexes = Cache(64 << 20)
        self.vertex_base = np.concatenate(([0], np.cumsum(state.table.live_vertices)))

    # -- batch indexes -------------------------------------------------------

    @property
    def parts(self) -> Cache:
        """What was read of batches, and never changes; shared by all snapshots."""
        return self._parts

    def _key(self, row: int) -> str:
        slot = int(self.state.table.slot[row])
        return _paths.shard_key(_paths.join(self.state.path, "batches", "index"), slot, (0,))

    def _uuid(self, row: int) -> tuple[bytes, int]:
        """What an index is known under: its batch, and whether its ids were given anew."""
        table = self.state.table
        return bytes(table.uuid[row]), int(table.content(INDEX)[row])

    def heads(self, rows: Sequence[int]) -> list[BatchHead]:
        """The heads of some batches; those not known yet in one batched call."""
        known = {row: self._parts.get((self._uuid(row), batches.CELLS)) for row in rows}
        wanting = [row for row, head in known.items() if head is None]
        sizes = self.state.table.head_bytes
        values = _store.get_many(self.store, [(self._key(r), 0, int(sizes[r])) for r in wanting])
        for row, value in zip(wanting, values, strict=True):
            with _store.damage_in(self._key(row)):
                head = batches.decode_head(cells.decode(value), int(sizes[row]))
            if head.vertex_start[-1] != self.state.table.n_vertices[row]:
                raise IntegrityError(
                    f"batch {row} of {self.state.path!r} has {head.vertex_start[-1]} vertices in "
                    f"its index and {self.state.table.n_vertices[row]} in the table"
                )
            known[row] = head
            self._parts.put((self._uuid(row), batches.CELLS), head, 48 * len(head.cells) + 2048)
        return [known[row] for row in rows]

    def _sections(self, wanted: Sequence[tuple[int, BatchHead, int]]) -> list[memoryview | None]:
        """Payloads of sections of indexes; None where a batch has no such section."""
        found: dict[tuple[int, int], memoryview | None] = {}
        requests: list[_store.Request] = []
        asked: list[tuple[int, int]] = []
        for row, head, section in wanted:
            start, stop = int(head.section_start[section]), int(head.section_stop[section])
            found[row, section] = self._parts.get((self._uuid(row), section)) if stop else None
            if stop and found[row, section] is None:
                requests.append((self._key(row), start, stop))
                asked.append((row, section))
        for (row, section), value in zip(asked, _store.get_many(self.store, requests), strict=True):
            with _store.damage_in(self._key(row)):
                payload = cells.decode(value)
            found[row, section] = payload
            self._parts.put((self._uuid(row), section), payload, len(payload))
        return [found[row, section] for row, _, section in wanted]

    def ids(self, rows: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Object ids, by row, and which of them begin there, of some batches.

        Ascending, unless a merge has given some of a batch's ids anew.
        """
        table = self.state.table
        plain = table.plain
        wanted = [row for row in rows if not plain[row]]
        heads = self.heads(wanted)
        payloads = dict(
            zip(
                wanted,
                self._sections(
                    [(r, head, batches.IDS) for r, head in zip(wanted, heads, strict=True)]
                ),
                strict=True,
            )
        )
        return [
            batches.decode_ids(payloads.get(row), int(table.n_objects[row]), int(table.id_min[row]))
            for row in rows
        ]

    def object_ids(self) -> np.ndarray:
        """Ids of all objects that are there: by batch, then ascending."""
        rows = range(len(self.state.table))
        return _joined(
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

    def fragments(self, selections: Sequence[Selection]) -> list[FragmentPage]:
        """The fragments in the selected cells."""
        wanted: list[tuple[int, BatchHead, int]] = []
        pages: list[np.ndarray] = []
        for s in selections:
            page_of = np.searchsorted(s.head.cell_page_end, s.at, side="right")
            pages.append(page_of)
            wanted += [(s.row, s.head, batches.FRAGMENTS + int(p)) for p in np.unique(page_of)]
        payloads = iter(self._sections(wanted))
        result = []
        for s, page_of in zip(selections, pages, strict=True):
            found = []
            for page in np.unique(page_of).tolist():
                first_cell = int(s.head.cell_page_end[page - 1]) if page else 0
                payload = _present(next(payloads), self._key(s.row))
                fragments = batches.decode_fragments(payload)
                at = s.at[page_of == page]
                if len(at) < s.head.cell_page_end[page] - first_cell:
                    start = s.head.fragment_start[at] - s.head.fragment_start[first_cell]
                    counts = s.head.cell_fragments[at].astype(np.int64)
                    fragments = fragments.take(spans(start, counts))
                found.append(fragments)
            result.append(FragmentPage.concatenate(found))
        return result

    def know_objects(self, wanted: Sequence[tuple[int, BatchHead, np.ndarray]]) -> None:
        """Read at once what :meth:`object_fragments` will need of some batches, one by one."""
        pages = [
            (row, head, batches.OBJECTS + int(page))
            for row, head, object_rows in wanted
            for page in np.unique(np.searchsorted(head.object_page_end, object_rows, side="right"))
        ]
        self._sections(pages)

    def object_fragments(
        self, row: int, head: BatchHead, object_rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fragments of some objects of a batch, in each object's own order.

        Parameters
        ----------
        row : int
        head : BatchHead
        object_rows : ndarray of int64, ascending

        Returns
        -------
        counts : ndarray of int64
            Fragments of each object.
        fragments : ndarray of int64
            Their numbers in the batch, objects one after the other.
        """
        page_of = np.searchsorted(head.object_page_end, object_rows, side="right")
        pages = np.unique(page_of)
        payloads = self._sections([(row, head, batches.OBJECTS + int(p)) for p in pages])
        picked, picked_counts = [], []
        for page, payload in zip(pages.tolist(), payloads, strict=True):
            counts, order = batches.decode_objects(_present(payload, self._key(row)))
            first = int(head.object_page_end[page - 1]) if page else 0
            local = object_rows[page_of == page] - first
            starts = np.cumsum(counts, dtype=np.int64) - counts
            picked_counts.append(counts[local].astype(np.int64))
            picked.append(order[spans(starts[local], picked_counts[-1])])
        return _joined(picked_counts), _joined(picked)

    def object_cells(self, row: int, head: BatchHead, object_rows: np.ndarray) -> np.ndarray:
        """Positions of the cells that hold some objects of a batch, ascending."""
        _, fragments = self.object_fragments(row, head, object_rows)
        return np.unique(cell_of(head, fragments))

    # -- planning ------------------------------------------------------------

    def plan(
        self,
        rows: np.ndarray | None = None,
        box: Box | None = None,
        object_ids: np.ndarray | None = None,
        *,
        ball: Ball | None = None,
        fitting: np.ndarray | None = None,
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
        """
        table, boxes = self.state.table, [box] if box is not None else []
        if ball is not None:
            boxes.append(ball.box())
        keep = table.live_vertices > 0
        if rows is not None:
            asked = np.zeros(len(table), bool)
            asked[rows] = True
            keep &= asked
        members: dict[int, np.ndarray] = {}
        if object_ids is not None:
            members = self.members(keep, object_ids, strict=rows is None)
            keep[:] = False
            keep[list(members)] = True
        for around in boxes:
            keep &= ((table.hi >= around.lo) & (table.lo < around.hi)).all(axis=1)
        if fitting is not None:
            keep &= fitting
        chosen = np.flatnonzero(keep).tolist()
        selections = []
        for row, head in zip(chosen, self.heads(chosen), strict=True):
            wanted = members.get(row)
            if wanted is None:
                at = np.arange(len(head.cells))
            else:
                at = self.object_cells(row, head, wanted)
            for around in boxes:
                at = at[self.state.facts.grid.touching(around, head.cells[at])]
            if ball is not None:
                at = at[ball.touching(self.state.facts.grid, head.cells[at])]
            if len(at):
                selections.append(Selection(row, head, at, wanted))
        return selections

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
        first = np.searchsorted(object_ids, table.id_min)
        last = np.searchsorted(object_ids, table.id_max, side="right")
        candidates = np.flatnonzero(among & (last > first)).tolist()
        removed = removed_rows(self, candidates)
        unseen = np.ones(len(object_ids), bool)
        members = {}
        for row, (ids, _) in zip(candidates, self.ids(candidates), strict=True):
            at = np.flatnonzero(np.isin(ids, object_ids, assume_unique=True))
            if row in removed:
                at = np.setdiff1d(at, removed[row], assume_unique=True)
            if len(at):
                members[row] = at
                unseen &= ~np.isin(object_ids, ids[at], assume_unique=True)
        if strict and unseen.any():
            absent = object_ids[unseen]
            raise NotFoundError(
                f"no object {', '.join(map(str, absent[:5].tolist()))} in {self.state.path!r}"
                + (f", and {len(absent) - 5:,} more" if len(absent) > 5 else "")
            )
        return members

    # -- reading -------------------------------------------------------------

    def rows_of(
        self,
        array: str,
        dtype: np.dtype,
        row_shape: tuple[int, ...],
        selections: Sequence[Selection],
    ) -> np.ndarray:
        """All rows of an array in the selected cells, also of removed vertices: (n, *row_shape)."""
        row_bytes = dtype.itemsize * int(np.prod(row_shape, dtype=np.int64))
        total = sum(s.vertex_count for s in selections)
        out = np.empty(HEADER + total * row_bytes, np.uint8)
        wanted = [
            Wanted(
                int(self.state.table.slot[s.row]),
                s.head.cells[s.at],
                s.head.cell_vertices[s.at],
                len(s.head.cells),
                int(s.head.vertex_start[-1]),
            )
            for s in selections
        ]
        grid = self.state.facts.grid
        path = _paths.join(self.state.path, array)
        read_rows(self.store, path, grid, wanted, row_bytes, self.shard_indexes, out)
        return out[HEADER:].view(dtype).reshape(total, *row_shape)

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

    def vertex_ids_of(self, selections: Sequence[Selection]) -> np.ndarray:
        """Numbers, within the level, of the vertices in the selected cells."""
        removals = load_removals(self, [s.row for s in selections])
        found = []
        for s in selections:
            first, stop = s.head.vertex_start[s.at], s.head.vertex_start[s.at + 1]
            if s.row in removals:
                first, stop = (at - removals[s.row].before(at) for at in (first, stop))
            found.append(spans(first + self.vertex_base[s.row], stop - first))
        return _joined(found)

    def object_ids_of(
        self, selections: Sequence[Selection]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The object of the vertices in the selected cells, and a mask of those asked for."""
        tables = self.ids([s.row for s in selections])
        found, masks = [], []
        for s, (ids, _), fragments in zip(
            selections, tables, self.fragments(selections), strict=True
        ):
            found.append(np.repeat(ids[fragments.object], fragments.vertices))
            if s.object_rows is not None:
                asked = np.zeros(len(ids), bool)
                asked[s.object_rows] = True
                masks.append(np.repeat(asked[fragments.object], fragments.vertices))
        live = self.live(selections)
        return (
            _those(_joined(found), live),
            _those(np.concatenate(masks), live) if masks else None,
        )

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


def _those(rows: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    return rows if mask is None else rows[mask]


def _present(payload: memoryview | None, key: str) -> memoryview:
    if payload is None:
        raise IntegrityError(f"the batch index {key!r} lacks a section that its head implies")
    return payload


def _joined(arrays: list[np.ndarray]) -> np.ndarray:
    if len(arrays) == 1:
        return arrays[0]
    return np.concatenate(arrays) if arrays else np.zeros(0, np.int64)
