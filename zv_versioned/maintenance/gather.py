"""Several batches of a level as one: read, put one after the other, and sorted anew.

What comes out is what an append of the same vertices would be, so the order of
the new batch is by cell, object, source and row, and along the lines. Vertices,
links and values of removed objects are left behind; only their ids stay, so that
they are never given again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .. import _checks
from .._beside import beside
from ..format.batches import is_run
from ..format.metadata import LINES, TEXT, AttributeMeta
from ..reading.batches import VERTICES, Batches
from ..reading.links import ENDS, LINKS, sources_of
from ..reading.reader import LevelReader
from ..reading.removed import removed_rows
from ..reading.values import object_values, spread
from ..spatial.assign import Assignment, assign_fragments, spans
from ..spatial.lines import Walk, assign_lines
from ..spatial.links import LinkPlan, place_line_links, place_links
from ..writing.append import Batch, Vertices
from ..writing.objects import Objects
from ..writing.values import Values


@dataclass(frozen=True)
class _Objects:
    """The objects of several batches together.

    Parameters
    ----------
    ids : ndarray of int64, shape (O,)
        Ascending.
    is_new, retired : ndarray of bool, shape (O,)
    row : ndarray of int64
        For the objects of each batch, one batch after the other, their rows among these;
        -1 for one that is left behind.
    live : ndarray of bool
        Which of them were not removed.
    """

    ids: np.ndarray
    is_new: np.ndarray
    retired: np.ndarray
    row: np.ndarray
    live: np.ndarray


class Merging:
    """Some batches (rows of the table, ascending, with a vertex left) on their way to be one.

    Parameters
    ----------
    reader : LevelReader
    rows : sequence of int

    Attributes
    ----------
    vertices : Vertices
    plan : Assignment
        Where they go.
    retired : ndarray of int64
        Rows of the objects that have nothing left but their id, ascending.
    """

    def __init__(self, reader: LevelReader, rows: Sequence[int]) -> None:
        self._reader, self._rows = reader, list(rows)
        self._whole = whole = Batches(reader, rows)
        self._objects = _objects(whole)
        self._pieces = pieces = _Pieces.of(whole, self._objects)
        self.retired = np.flatnonzero(self._objects.retired)
        self._walk: Walk | None = None
        if reader.meta.kind in LINES:
            self._walk = _walk(whole, pieces)
            self.vertices = self._read_vertices()
            array, box = self.vertices.array, self.vertices.box
            self.plan = assign_lines(array, box, self._walk, reader.state.facts.grid)
        else:
            # Their cells are known: where they go follows from the indexes alone.
            with beside(int(pieces.vertices.sum()), self._assigned) as planned:
                self.vertices = self._read_vertices()
            self.plan = planned()

    def _read_vertices(self) -> Vertices:
        meta = self._reader.meta
        rows = self._whole.vertex_rows(VERTICES, meta.vertex_dtype, (meta.ndim,))
        positions = _those(rows, self._pieces.live)
        return Vertices(positions, _checks.box_of_finite(positions), meta)

    def _assigned(self) -> Assignment:
        whole, pieces = self._whole, self._pieces
        fragments = pieces.of_cells(whole.cell_fragments)
        grid, n_objects = self._reader.state.facts.grid, len(self._objects.ids)
        return assign_fragments(
            whole.cells, fragments, pieces.owner, pieces.vertices, n_objects, grid
        )

    def batch(self) -> Batch:
        """All of it: what is not known yet is read."""
        reader, rows, whole, objects = self._reader, self._rows, self._whole, self._objects
        live = self._pieces.live
        facts = reader.state.facts
        links, live_links = self._links()
        wanted = [a for a in facts.attributes.values() if _has_any(reader, a, rows)]
        return Batch(
            self.vertices,
            Objects(objects.ids, objects.is_new, _by_default(reader, rows, objects), _NOTHING),
            self.plan,
            links,
            [_values(a, _vertex_values(whole, a, live)) for a in wanted],
            _link_values(whole, live_links),
            _object_values(reader, rows, whole, objects),
        )

    def _links(self) -> tuple[LinkPlan | None, np.ndarray | None]:
        """Where the links go, and which of all those that are stored are there."""
        reader, whole, live = self._reader, self._whole, self._pieces.live
        if self._walk is not None:
            ordered = bool(reader.state.facts.link_attributes)
            kept = None if live is None else live[sources_of(whole.fragments)]
            return place_line_links(self._walk, self.plan, ordered=ordered), kept
        if not reader.meta.link_width:
            return None, None
        ends, kept = _links(whole, live)
        return place_links(ends, self.plan), kept


_NOTHING = np.zeros(0, np.int64)


def _those(rows: np.ndarray, live: np.ndarray | None) -> np.ndarray:
    return rows if live is None else rows[live]


# ---- objects and fragments --------------------------------------------------


def _objects(whole: Batches) -> _Objects:
    first = np.cumsum(whole.n_objects) - whole.n_objects
    live = np.ones(len(whole.ids), bool)
    gone = removed_rows(whole.reader, whole.rows.tolist())
    for row, place in zip(whole.rows.tolist(), first.tolist(), strict=True):
        if row in gone:
            live[place + gone[row]] = False
    ids, inverse = np.unique(whole.ids, return_inverse=True)
    inverse = inverse.reshape(-1)
    is_new = np.bincount(inverse, whole.is_new, len(ids)) > 0
    is_live = np.bincount(inverse, live, len(ids)) > 0
    # The id of a removed object that began elsewhere is kept there.
    kept = is_live | is_new
    row_of = np.where(kept, np.cumsum(kept) - 1, -1)
    return _Objects(ids[kept], is_new[kept], ~is_live[kept], row_of[inverse], live)


def _by_default(reader: LevelReader, rows: Sequence[int], objects: _Objects) -> bool:
    """Whether a merge may count all ids anew: they were never given, and are a run."""
    return bool(reader.state.table.default_ids[list(rows)].all()) and is_run(objects.ids)


@dataclass(frozen=True)
class _Pieces:
    """The fragments of several batches that were not removed.

    Parameters
    ----------
    there : ndarray of bool, shape (F,), or None
        Which of all fragments these are; None for all.
    owner, vertices : ndarray of int64
        The object of each, as a row of the merged batch, and its vertices.
    live : ndarray of bool or None
        Which of all vertices are in them; None for all.
    """

    there: np.ndarray | None
    owner: np.ndarray
    vertices: np.ndarray
    live: np.ndarray | None

    @classmethod
    def of(cls, whole: Batches, objects: _Objects) -> _Pieces:
        """The fragments of some batches."""
        first = np.cumsum(whole.n_objects) - whole.n_objects
        which = whole.fragments.object + np.repeat(first, whole.n_fragments)
        owner, sizes = objects.row[which], whole.fragments.vertices
        if objects.live.all():
            return cls(None, owner, sizes, None)
        there = objects.live[which]
        return cls(there, owner[there], sizes[there], np.repeat(there, sizes))

    def of_cells(self, cell_fragments: np.ndarray) -> np.ndarray:
        """How many each cell has, of which it is known how many it has in all."""
        if self.there is None:
            return cell_fragments
        before = np.append(0, np.cumsum(self.there))
        ends = np.cumsum(cell_fragments)
        return np.asarray(before[ends] - before[ends - cell_fragments])


def _walk(whole: Batches, pieces: _Pieces) -> Walk:
    """Along the lines: object after object, and of each those of one batch after the other."""
    page = whole.fragments
    if page.rank is None or page.ends is None:
        raise AssertionError("fragments of lines have a rank and an end")
    batch = np.repeat(np.arange(len(whole.rows)), whole.n_fragments)
    batch = _those(batch, pieces.there)
    rank, ends = _those(page.rank, pieces.there), _those(page.ends, pieces.there)
    owner, sizes = pieces.owner, pieces.vertices
    order = np.lexsort((rank, batch, owner))
    starts = np.cumsum(sizes) - sizes
    last = np.flatnonzero(ends[order])
    line_ends = np.cumsum(sizes[order])[last]
    return Walk(
        spans(starts[order], sizes[order]), np.diff(line_ends, prepend=0), owner[order][last]
    )


# ---- links ------------------------------------------------------------------


def _links(whole: Batches, live: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """The stored links that are there, as vertices that are there, and which of all those are."""
    first = np.cumsum(whole.cell_vertices) - whole.cell_vertices
    links = whole.link_rows(LINKS, ENDS, (whole.reader.meta.link_width,)).astype(np.int64)
    links += np.repeat(first, whole.cell_links)[:, None]
    if live is None:
        return links, None
    kept = np.asarray(live[links].all(axis=1))
    return (np.cumsum(live) - 1)[links[kept]], kept


# ---- values -----------------------------------------------------------------


def _has_any(reader: LevelReader, attribute: AttributeMeta, rows: Sequence[int]) -> bool:
    return bool(reader.state.table.content(attribute.path)[list(rows)].any())


def _values(attribute: AttributeMeta, read: np.ndarray) -> Values:
    """Values as they are read, to be stored again."""
    stored = read if attribute.logical in ("", TEXT) else read.view(attribute.dtype)
    return Values(attribute, stored)


def _vertex_values(whole: Batches, attribute: AttributeMeta, live: np.ndarray | None) -> np.ndarray:
    stored = whole.vertex_rows(attribute.path, attribute.dtype, attribute.row_shape)
    counts = whole.reader.state.table.n_vertices[whole.rows]
    parts = list(zip(whole.rows.tolist(), counts.tolist(), strict=True))
    return _those(spread(whole.reader, attribute, parts, stored), live)


def _link_values(whole: Batches, live: np.ndarray | None) -> list[Values]:
    reader = whole.reader
    counts = reader.state.table.n_links[whole.rows]
    parts = list(zip(whole.rows.tolist(), counts.tolist(), strict=True))
    found = []
    for a in reader.state.facts.link_attributes.values():
        if _has_any(reader, a, whole.rows.tolist()):
            stored = whole.link_rows(a.path, a.dtype, a.row_shape)
            found.append(_values(a, _those(spread(reader, a, parts, stored), live)))
    return found


def _object_values(
    reader: LevelReader, rows: Sequence[int], whole: Batches, objects: _Objects
) -> list[Values]:
    """Of the objects that begin here, by ascending id; missing where they were removed."""
    wanted = [
        attribute
        for attribute in reader.state.facts.object_attributes.values()
        if _has_any(reader, attribute, rows)
    ]
    if not wanted:
        return []
    place = np.cumsum(objects.is_new) - 1
    at = place[objects.row[whole.is_new & objects.live]]
    n, found = int(objects.is_new.sum()), []
    for attribute in wanted:
        read = object_values(reader, attribute, rows)
        values = np.full((n, *attribute.row_shape), None, object)
        if attribute.logical != TEXT:
            values = attribute.fill(n)
            values = values.view(attribute.logical) if attribute.logical else values
        values[at] = read
        found.append(_values(attribute, values))
    return found
