"""Reading a level: the vertices and values in the cells that a plan names.

Cells are read in windows of bounded size, so that a filtered read needs its
result and a window. See :mod:`.planner` for the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from .. import _paths
from .._store import Part
from ..format.batches import FragmentPage
from ..format.metadata import TEXT, AttributeMeta
from ..spatial.assign import spans
from .batch_indexes import Section, joined
from .fetch import read_rows
from .planner import Planner
from .removed import load_removals, removed_rows
from .selection import Selection, laid, rows_of_objects
from .values import spread
from .wanted import Ranges, Target, Wanted, has_blocks

WINDOW_VERTICES = 1 << 20
_ASKED_BYTES = 48 << 20
"""A window may have so many where some objects are looked at: few bytes of it are filled."""


class LevelReader(Planner):
    """Reads one level of one snapshot; parameters as for its base class."""

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

    def _target(
        self, array: str, row_bytes: int, wanted: Sequence[Wanted], *, brief: bool = False
    ) -> Target:
        return Target.empty(_paths.join(self.state.path, array), row_bytes, wanted, brief=brief)

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
        looked_at: Callable[[], list[Ranges | None]] | None = None,
        brief: bool = False,
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Positions and values of all vertices in the selected cells that were not removed.

        All is fetched at the same time.

        Parameters
        ----------
        selections : sequence of Selection
        attributes : sequence of AttributeMeta
        fragments : bool
            Whether to fetch with it the fragments of these cells, which are known afterwards.
        looked_at : callable, optional
            Says, once the fragments are known, which rows are looked at, of the positions
            and of each attribute, None for all: what stands for the others may be
            anything. It is not asked where it would spare nothing.
        brief : bool
            Whether all of it is soon dropped: some of it is copied, and nothing kept.

        Returns
        -------
        positions : ndarray, shape (n, D)
        values : dict of str to ndarray
            By the names of the attributes.
        """
        wanted = self._wanted(selections)
        targets = [self._target("vertices", self.position_bytes, wanted, brief=brief)]
        for a in attributes:
            there = self.state.table.content(a.path)
            has = [want for want, s in zip(wanted, selections, strict=True) if there[s.row]]
            targets.append(self._target(a.path, a.row_bytes, has, brief=brief))
        sections: list[Section] = []
        if fragments:
            sections = self.pages_of(selections) + self.ids_sections([s.row for s in selections])
        wanting, requests, _ = self.unknown(sections)
        partly = looked_at is not None and any(map(has_blocks, targets))

        def fetched(found: list[Part]) -> list[Ranges | None] | None:
            self.keep(wanting, found)
            return looked_at() if partly and looked_at is not None else None

        grid, known = self.state.facts.grid, self.shard_indexes
        read_rows(self.store, grid, targets, known, requests, fetched, alone=partly)
        live = self.live(selections)
        parts = [(s.row, s.vertex_count) for s in selections] if attributes else []
        values = {
            a.name: _those(spread(self, a, parts, target.rows(a.dtype, a.row_shape)), live)
            for a, target in zip(attributes, targets[1:], strict=True)
        }
        positions = targets[0].rows(self.meta.vertex_dtype, (self.meta.ndim,))
        return _those(positions, live), values

    def rows_looked_at(
        self,
        selections: Sequence[Selection],
        pages: Sequence[FragmentPage],
        attributes: Sequence[AttributeMeta],
    ) -> list[Ranges | None]:
        """Rows of objects that were asked for: of the positions and each attribute.

        Parameters
        ----------
        selections : sequence of Selection
            Objects are asked for in each.
        pages : sequence of FragmentPage
            The fragments in the cells of each.
        attributes : sequence of AttributeMeta
        """
        table = self.state.table
        found = rows_of_objects(selections, pages, table.n_objects)
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
        self, selections: Sequence[Selection], pages: Sequence[FragmentPage] | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each selection the fragments that were not removed: the object of each, as a row of
        the batch, and its vertices. `pages` are its fragments, where they are at hand."""
        removed = removed_rows(self, [s.row for s in selections])
        pages = self.fragments(selections) if pages is None else pages
        for s, fragments in zip(selections, pages, strict=True):
            owner, size = fragments.object, fragments.vertices.astype(np.int64)
            if s.row in removed:
                live = np.ones(self.state.table.n_objects[s.row], bool)
                live[removed[s.row]] = False
                owner, size = owner[live[owner]], size[live[owner]]
            yield owner, size

    def fragments_of(
        self, selections: Sequence[Selection], pages: Sequence[FragmentPage] | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """The fragments in the selected cells that were not removed.

        Parameters
        ----------
        selections : sequence of Selection
        pages : sequence of FragmentPage, optional
            All fragments in the cells of each, where they are at hand.

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
        live = self.live_fragments(selections, pages)
        for s, (owner, size) in zip(selections, live, strict=True):
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

    def asked_windows(
        self, selections: Sequence[Selection], attributes: Sequence[AttributeMeta]
    ) -> Iterator[list[Selection]]:
        """The windows of a read that looks at nothing but the objects that were asked for."""
        row_bytes = self.position_bytes + sum(a.row_bytes for a in attributes)
        return self.windows(selections, max(WINDOW_VERTICES, _ASKED_BYTES // row_bytes))

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


def counts_before(rows: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """How many of some ascending rows lie before each end, and not before the one before it."""
    return np.diff(np.searchsorted(rows, ends), prepend=0)


def _those(rows: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    return rows if mask is None else rows[mask]
