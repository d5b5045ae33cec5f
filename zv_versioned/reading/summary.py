"""What is asked about each object: its vertices, between what they lie, and how long it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._sets import is_in
from ..format.metadata import GRAPHS, LINES
from . import query
from .gather_lines import line_links_of
from .links import level_links_of, whole
from .reader import LevelReader
from .selection import Selection

# Runs of so many vertices are reduced by themselves, shorter ones vertex by vertex.
_LONG_RUNS = 4


def summary(reader: LevelReader, objects: query.Ids | None) -> dict[str, np.ndarray]:
    """Vertices, extent and length by object; see :meth:`Objects.summary`."""
    asked = None if objects is None else query.object_ids(reader, objects)
    there = reader.object_ids()
    ids = there if asked is None else there[is_in(there, asked)]
    rows_of = _Rows(reader, ids)
    extents = _Extents(len(ids), reader.meta.ndim, reader.meta.vertex_dtype)
    plan = reader.plan(object_ids=asked)
    for window in reader.windows(plan):
        positions, _ = reader.read_window(window, ())
        extents.add(*rows_of.fragments(window), positions)
    columns = {"object_id": ids, **extents.columns()}
    if reader.meta.kind in (*LINES, *GRAPHS):
        length = np.zeros(len(ids))
        for row in dict.fromkeys(s.row for s in plan):
            rows, lengths = _link_lengths(reader, row, rows_of)
            length += np.bincount(rows, lengths, len(ids)) if len(ids) else 0
        columns["length"] = length
    return columns


class _Rows:
    """Where the objects of batches stand in a list of ids.

    An object is looked for once a batch, not once a fragment.

    Parameters
    ----------
    reader : LevelReader
    ids : ndarray of int64, shape (O,)
        In any order, without repeats.
    """

    def __init__(self, reader: LevelReader, ids: np.ndarray) -> None:
        self._reader = reader
        self._order = np.argsort(ids, kind="stable")
        self._ascending = ids[self._order]
        self._of: tuple[int, np.ndarray] = -1, self._order

    def _of_batch(self, row: int) -> np.ndarray:
        """Rows of the objects of a batch; -1 of those that are not listed."""
        if self._of[0] != row:
            ((ids, _),) = self._reader.ids([row])
            rows = np.full(len(ids), -1)
            place = np.searchsorted(self._ascending, ids)
            found = np.flatnonzero(place < len(self._ascending))
            found = found[self._ascending[place[found]] == ids[found]]
            rows[found] = self._order[place[found]]
            self._of = row, rows
        return self._of[1]

    def fragments(self, selections: Sequence[Selection]) -> tuple[np.ndarray, np.ndarray]:
        """The fragments in some cells that were not removed: the row of each, and its vertices."""
        pieces = self._reader.live_fragments(selections)
        rows, sizes = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for s, (owner, size) in zip(selections, pieces, strict=True):
            rows.append(self._of_batch(s.row)[owner])
            sizes.append(size)
        return np.concatenate(rows), np.concatenate(sizes)


class _Extents:
    """Vertices and extents of objects, added up.

    Parameters
    ----------
    n, ndim : int
        Objects, and axes.
    dtype : dtype
        Of coordinates.
    """

    def __init__(self, n: int, ndim: int, dtype: np.dtype) -> None:
        least, most = _ends(dtype)
        self._vertices = np.zeros(n, np.int64)
        # An array for each axis, of the dtype of the coordinates: of others `at` is a hundred times
        # as slow.
        self._lo, self._hi = np.full((ndim, n), most, dtype), np.full((ndim, n), least, dtype)

    def add(self, rows: np.ndarray, sizes: np.ndarray, positions: np.ndarray) -> None:
        """Add vertices, run by run; -1 for runs that are left out.

        Parameters
        ----------
        rows, sizes : ndarray of int64, shape (F,)
        positions : ndarray, shape (sum of sizes, D)
        """
        rows, sizes = rows[sizes > 0], sizes[sizes > 0]
        kept = rows >= 0
        np.add.at(self._vertices, rows[kept], sizes[kept])
        if not kept.all():
            positions = positions[np.repeat(kept, sizes)]
            rows, sizes = rows[kept], sizes[kept]
        reduced = len(positions) > _LONG_RUNS * len(rows)
        starts = np.cumsum(sizes) - sizes
        if not reduced:
            rows = np.repeat(rows, sizes)
        for axis, (lo, hi) in enumerate(zip(self._lo, self._hi, strict=True)):
            column = positions[:, axis]
            for into, extreme in ((lo, np.minimum), (hi, np.maximum)):
                extreme.at(into, rows, extreme.reduceat(column, starts) if reduced else column)

    def columns(self) -> dict[str, np.ndarray]:
        """The sums; without vertices the extent is from infinity to minus infinity."""
        lo, hi = (np.ascontiguousarray(c.T, np.float64) for c in (self._lo, self._hi))
        lo[self._vertices == 0], hi[self._vertices == 0] = np.inf, -np.inf
        return {"vertices": self._vertices, "lo": lo, "hi": hi}


def _ends(dtype: np.dtype) -> tuple[float, float]:
    if dtype.kind == "f":
        return -np.inf, np.inf
    return np.iinfo(dtype).min, np.iinfo(dtype).max


def _link_lengths(reader: LevelReader, row: int, rows_of: _Rows) -> tuple[np.ndarray, np.ndarray]:
    """The row and the length of each link of one batch, of the objects that are listed."""
    cells = whole(reader, [row])
    if reader.meta.kind in LINES:
        links = line_links_of(reader, cells)
    else:
        links = level_links_of(reader, cells)[0]
    links = links - reader.vertex_base[row]
    owners = np.repeat(*rows_of.fragments(cells))[links[:, 0]]
    kept = owners >= 0
    owners, links = owners[kept], links[kept]
    positions = reader.positions_of(cells)
    squares = np.zeros(len(links))
    for axis in range(positions.shape[1]):
        column = positions[:, axis].astype(np.float64)
        step = column[links[:, 1]] - column[links[:, 0]]
        squares += step * step
    return owners, np.sqrt(squares)
