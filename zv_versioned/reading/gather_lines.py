"""Lines that are read: put back in the order in which they go, and cut where something is missing.

Cells hold stretches of lines. Each fragment says which object it belongs to,
its rank among the object's fragments and whether a line ends with it; sorted by
these, the stretches make up the lines. Where a vertex was not asked for, or a
fragment, a line has a gap, and what follows is a part of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .._sets import distinct, is_in
from ..errors import IntegrityError
from ..format.batches import FragmentPage
from ..geometry import Geometry
from ..spatial.assign import spans, stable_order
from .asked import Query, WindowValues
from .links import line_value_rows, sources_of
from .reader import LevelReader
from .removed import load_removals, removed_rows
from .selection import Selection


@dataclass(frozen=True)
class Stretches:
    """Fragments of lines, or what was asked for of them; one entry each.

    Parameters
    ----------
    batch : ndarray of int64
        The row of the batch in the table.
    object : ndarray of int64
        The row of the object in the batch.
    rank : ndarray of int64
        The place among the object's fragments in the batch.
    ends : ndarray of bool
        Whether a line ends with the fragment.
    size : ndarray of int64
        Vertices of the whole fragment.
    kept : ndarray of int64
        Vertices that were asked for.
    object_id : ndarray of int64
    """

    batch: np.ndarray
    object: np.ndarray
    rank: np.ndarray
    ends: np.ndarray
    size: np.ndarray
    kept: np.ndarray
    object_id: np.ndarray

    _COLUMNS = ("batch", "object", "rank", "ends", "size", "kept", "object_id")

    @classmethod
    def concatenate(cls, pieces: Sequence[Stretches]) -> Stretches:
        """Several, one after the other."""
        columns = ([getattr(p, name) for p in pieces] for name in cls._COLUMNS)
        return cls(*(np.concatenate(column) for column in columns))

    def take(self, rows: np.ndarray) -> Stretches:
        """Some of them."""
        return Stretches(*(getattr(self, name)[rows] for name in self._COLUMNS))

    def order(self) -> np.ndarray:
        """Sorted by batch, object and rank."""
        if len(self.batch) == 0:
            return np.zeros(0, np.int64)
        objects, ranks = int(self.object.max()) + 1, int(self.rank.max()) + 1
        batches = int(self.batch.max()) + 1
        if batches * objects * ranks >= 1 << 63:
            return np.lexsort((self.rank, self.object, self.batch))
        key = (self.batch * objects + self.object) * ranks + self.rank
        return stable_order(key, batches * objects * ranks)

    def go_on(self) -> np.ndarray:
        """Of sorted ones, whether each is followed, along its line, by the next: (F - 1,)."""
        same = (self.batch[1:] == self.batch[:-1]) & (self.object[1:] == self.object[:-1])
        return np.asarray(same & (self.rank[1:] == self.rank[:-1] + 1) & ~self.ends[:-1])


def stretches_of(row: int, page: FragmentPage, ids: np.ndarray) -> Stretches:
    """The fragments of lines in some cells of one batch.

    Parameters
    ----------
    row : int
        The batch's row in the table.
    page : FragmentPage
    ids : ndarray of int64
        The ids of the batch's objects.
    """
    if page.rank is None or page.ends is None:
        raise IntegrityError(f"batch {row} is of lines, and its fragments have no order")
    owner, size = page.object.astype(np.int64), page.vertices.astype(np.int64)
    batch = np.full(len(owner), row)
    return Stretches(
        batch, owner, page.rank.astype(np.int64), page.ends, size, size, ids[page.object]
    )


@dataclass(frozen=True)
class _Window:
    """What was asked for of one window, as it lies in the level.

    `place` is each vertex's place in its fragment, None where all vertices were
    asked for; `link_values` has a row for each vertex, that of the link to the next
    one, whatever where there is none.
    """

    stretches: Stretches
    place: np.ndarray | None
    positions: np.ndarray
    vertex_ids: np.ndarray
    values: list[np.ndarray]
    link_values: list[np.ndarray]


def gather(
    reader: LevelReader, plan: Sequence[Selection], query: Query, *, whole: bool
) -> Geometry:
    """Read what a plan of lines names; see :func:`._gather.gather`."""
    limit = query.limit
    if limit == 0:
        plan = []
    elif limit is not None and not query.looks_at_vertices:
        plan = _first_cells(reader, plan, limit)
    found: list[_Window] = []
    left = limit
    for window, complete in _windows(reader, plan, whole=whole):
        found.append(_read_window(reader, window, query, whole=whole))
        left = None if left is None else left - len(found[-1].vertex_ids)
        if left is not None and left <= 0 and complete:
            break
    stretches = Stretches.concatenate([w.stretches for w in found])
    order = stretches.order()
    starts = np.cumsum(stretches.kept) - stretches.kept
    stretches = stretches.take(order)
    rows = spans(starts[order], stretches.kept)
    places = [w.place for w in found if w.place is not None]
    linked = _linked(stretches, _column(places, rows) if len(places) == len(found) else None)
    rows = rows[:limit]
    n = len(rows)
    linked = linked[: max(n - 1, 0)]
    sources = np.flatnonzero(linked)
    edges = np.empty((len(sources), 2), np.int64)
    edges[:, 0] = sources
    np.add(sources, 1, out=edges[:, 1])
    begins = np.flatnonzero(~linked) + 1
    return Geometry(
        positions=_column([w.positions for w in found], rows),
        vertex_ids=_column([w.vertex_ids for w in found], rows),
        object_ids=np.repeat(stretches.object_id, stretches.kept)[:limit],
        attributes={
            a.name: _column([w.values[at] for w in found], rows)
            for at, a in enumerate(query.attributes)
        },
        edges=edges,
        parts=np.concatenate(([0], begins, [n])) if n else np.zeros(1, np.int64),
        link_attributes={
            a.name: _column([w.link_values[at] for w in found], rows[sources])
            for at, a in enumerate(query.links)
        },
    )


def _column(pieces: list[np.ndarray], rows: np.ndarray) -> np.ndarray:
    return np.asarray((pieces[0] if len(pieces) == 1 else np.concatenate(pieces))[rows])


def _linked(stretches: Stretches, place: np.ndarray | None) -> np.ndarray:
    """Whether each vertex, but the last, is linked to the next: (N - 1,).

    Parameters
    ----------
    stretches : Stretches
        Sorted.
    place : ndarray of int64, shape (N,), or None
        The place of each vertex in its stretch; None where all of them are there.
    """
    n = int(stretches.kept.sum())
    last = np.cumsum(stretches.kept)[:-1] - 1
    if place is None:
        linked = np.ones(max(n - 1, 0), bool)
        linked[last] = stretches.go_on()
        return linked
    linked = np.asarray(place[1:] == place[:-1] + 1)
    whole = (place[last] == stretches.size[:-1] - 1) & (place[last + 1] == 0)
    linked[last] = stretches.go_on() & whole
    return linked


def _read_window(
    reader: LevelReader, window: Sequence[Selection], query: Query, *, whole: bool
) -> _Window:
    """Read one window of lines."""
    positions, known = reader.read_window(window, query.needed)
    values = WindowValues(reader, window, known)
    tables, pages = reader.ids([s.row for s in window]), reader.fragments(window)
    pieces = [
        stretches_of(s.row, page, ids)
        for s, (ids, _), page in zip(window, tables, pages, strict=True)
    ]
    stretches = Stretches.concatenate(pieces) if pieces else _NONE
    live = reader.live(window)
    rows: np.ndarray | slice = slice(None)
    place = None
    if live is not None or not whole:
        of_vertex = np.repeat(np.arange(len(stretches.size)), stretches.size)
        place = np.arange(len(of_vertex)) - (np.cumsum(stretches.size) - stretches.size)[of_vertex]
        if live is not None:
            of_vertex, place = of_vertex[live], place[live]
        mask = _asked(window, pages)[of_vertex]
        query.narrow(mask, values, positions)
        rows = np.flatnonzero(mask)
        kept = np.bincount(of_vertex[rows], minlength=len(stretches.size))
        stretches = replace(stretches, kept=kept).take(np.flatnonzero(kept))
        place, positions = place[rows], positions.take(rows, axis=0, mode="clip")
    return _Window(
        stretches=stretches,
        place=place,
        positions=positions,
        vertex_ids=reader.vertex_ids_of(window)[rows],
        values=[values.of(a)[rows] for a in query.attributes],
        link_values=[line_value_rows(reader, a, window, pages, live)[rows] for a in query.links],
    )


def _asked(window: Sequence[Selection], pages: Sequence[FragmentPage]) -> np.ndarray:
    """Which fragments are of objects that were asked for."""
    masks = [np.zeros(0, bool)]
    for s, page in zip(window, pages, strict=True):
        if s.object_rows is None:
            masks.append(np.ones(len(page.object), bool))
        else:
            masks.append(is_in(page.object, s.object_rows))
    return np.concatenate(masks)


_EMPTY = np.zeros(0, np.int64)
_NONE = Stretches(_EMPTY, _EMPTY, _EMPTY, np.zeros(0, bool), _EMPTY, _EMPTY, _EMPTY)


def _windows(
    reader: LevelReader, plan: Sequence[Selection], *, whole: bool
) -> Iterator[tuple[Sequence[Selection], bool]]:
    """Windows of a plan, at least one, and whether all of the batch that each ends with is read."""
    windows = [plan] if whole or not plan else [*reader.windows(plan)]
    for window, following in zip(windows, [*windows[1:], []], strict=True):
        yield window, not following or following[0].row != window[-1].row


def _first_cells(reader: LevelReader, plan: Sequence[Selection], limit: int) -> list[Selection]:
    """The cells of a plan that hold its first vertices along the lines."""
    needed: list[Selection] = []
    left = limit
    for s in plan:
        if left <= 0:
            break
        ((ids, _),), (page,) = reader.ids([s.row]), reader.fragments([s])
        wanted = np.ones(len(ids), bool)
        if s.object_rows is not None:
            wanted[:] = False
            wanted[s.object_rows] = True
        wanted[removed_rows(reader, [s.row]).get(s.row, _EMPTY)] = False
        stretches = stretches_of(s.row, page, ids)
        order = stretches.order()
        order = order[wanted[stretches.object[order]]]
        before = np.cumsum(stretches.size[order]) - stretches.size[order]
        order = order[before < left]
        cell = np.repeat(np.arange(len(s.at)), s.head.cell_fragments[s.at])
        needed.append(replace(s, at=s.at[distinct(cell[order])]))
        left -= int(stretches.size[order].sum())
    return needed


def level_line_links(reader: LevelReader) -> np.ndarray:
    """All links of lines, as vertices of the level: (M, 2) int64, in link order."""
    return line_links_of(reader, reader.plan())


def line_links_of(reader: LevelReader, selections: Sequence[Selection]) -> np.ndarray:
    """The links of the lines of whole batches; see :func:`level_line_links`."""
    removals = load_removals(reader, [s.row for s in selections])
    tables, pages = reader.ids([s.row for s in selections]), reader.fragments(selections)
    found = [np.zeros((0, 2), np.int64)]
    for s, (ids, _), page in zip(selections, tables, pages, strict=True):
        stretches = stretches_of(s.row, page, ids)
        order = stretches.order()
        ends = np.cumsum(stretches.size)
        following = np.arange(1, int(ends[-1]) + 1)
        before = order[:-1][~stretches.ends[order[:-1]]]
        after = order[1:][~stretches.ends[order[:-1]]]
        following[ends[before] - 1] = ends[after] - stretches.size[after]
        sources = np.flatnonzero(sources_of(page))
        links = np.stack([sources, following[sources]], axis=1)
        if s.row in removals:
            links = links[~removals[s.row].holds(sources)]
            links = links - removals[s.row].before(links)
        found.append(links + reader.vertex_base[s.row])
    return np.concatenate(found)
