"""Reading by vertex number: a range or some of them, and no cell besides those they lie in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .._sets import distinct
from .reader import LevelReader
from .removed import load_removals
from .selection import Selection

Read = Callable[[Sequence[Selection]], np.ndarray]
"""Reads something of all vertices in cells, such as ``reader.positions_of``."""


def read_range(reader: LevelReader, read: Read, start: int, stop: int) -> np.ndarray:
    """Rows of the vertices `start` to `stop`, of which only the cells are read.

    Parameters
    ----------
    reader : LevelReader
    read : callable
    start, stop : int
        ``0 <= start <= stop <= vertex_count``.

    Returns
    -------
    ndarray, shape (stop - start, ...)
    """
    base = reader.vertex_base
    first = int(np.searchsorted(base, start, side="right")) - 1
    last = int(np.searchsorted(base, stop, side="left"))
    rows = [row for row in range(first, last) if base[row] < base[row + 1] and start < stop]
    selections: list[Selection] = []
    skip = 0
    for row, head, starts in zip(rows, reader.heads(rows), cell_starts(reader, rows), strict=True):
        lo = max(start - int(base[row]), 0)
        hi = min(stop, int(base[row + 1])) - int(base[row])
        begin = int(np.searchsorted(starts, lo, side="right")) - 1
        end = int(np.searchsorted(starts, hi, side="left"))
        if not selections:
            skip = lo - int(starts[begin])
        selections.append(Selection(row, head, np.arange(begin, end)))
    return read(selections)[skip : skip + stop - start]


def read_some(reader: LevelReader, read: Read, vertices: np.ndarray) -> np.ndarray:
    """Rows of some vertices, in any order and with repeats.

    Cells are read in windows of bounded size, so that this needs its result and
    a window, however far apart the vertices lie.

    Parameters
    ----------
    reader : LevelReader
    read : callable
    vertices : ndarray of int64, shape (N,)
        Numbers in the level, from 0.

    Returns
    -------
    ndarray, shape (N, ...)
    """
    vertices = np.asarray(vertices, np.int64)
    if len(vertices) > 1 and (vertices[1:] <= vertices[:-1]).any():
        distinct, back = np.unique(vertices, return_inverse=True)
        return read_some(reader, read, distinct)[back.reshape(-1)]
    selections, among = _cells_of(reader, vertices)
    pieces = []
    offset = 0
    for window in reader.windows(selections):
        found = read(window)
        first, last = np.searchsorted(among, (offset, offset + len(found)))
        pieces.append(found[among[first:last] - offset])
        offset += len(found)
    return np.concatenate(pieces) if pieces else read([])


def _cells_of(reader: LevelReader, vertices: np.ndarray) -> tuple[list[Selection], np.ndarray]:
    """The cells of ascending vertices, and where each vertex is among all rows of these."""
    base = reader.vertex_base
    batch_of = np.searchsorted(base, vertices, side="right") - 1
    rows, begins = np.unique(batch_of, return_index=True)
    cuts = np.append(begins, len(vertices)).tolist()
    chosen = rows.tolist()
    selections, among = [], []
    offset = 0
    for number, (row, head, starts) in enumerate(
        zip(chosen, reader.heads(chosen), cell_starts(reader, chosen), strict=True)
    ):
        local = vertices[cuts[number] : cuts[number + 1]] - base[row]
        cell = np.searchsorted(starts, local, side="right") - 1
        at, rank = np.unique(cell, return_inverse=True)
        sizes = starts[at + 1] - starts[at]
        begin = offset + np.cumsum(sizes) - sizes
        selections.append(Selection(row, head, at))
        among.append(begin[rank.reshape(-1)] + local - starts[cell])
        offset += int(sizes.sum())
    return selections, np.concatenate(among) if among else np.zeros(0, np.int64)


def cell_starts(reader: LevelReader, rows: Sequence[int]) -> list[np.ndarray]:
    """For some batches, the first vertex of each cell, of those that were not removed; and all."""
    removals = load_removals(reader, rows)
    starts = [head.vertex_start for head in reader.heads(rows)]
    return [
        start - removals[row].before(start) if row in removals else start
        for row, start in zip(rows, starts, strict=True)
    ]


def edges(reader: LevelReader, size: int) -> np.ndarray:
    """Cut the level into pieces of about `size` vertices.

    Small batches are put together and large ones cut at the ends of cells; a
    cell that is larger stays whole.

    Parameters
    ----------
    reader : LevelReader
    size : int
        From 1 up.

    Returns
    -------
    ndarray of int64, shape (P + 1,)
        Piece `p` has the vertices ``edges[p]`` to ``edges[p + 1]``; strictly
        ascending, ``[0]`` of a level without vertices.
    """
    base = reader.vertex_base
    large = np.flatnonzero(np.diff(base) > size).tolist()
    marks = [base]
    for row, starts in zip(large, cell_starts(reader, large), strict=True):
        marks.append(base[row] + starts)
    return cut(np.concatenate(marks), size)


def cut(marks: np.ndarray, size: int) -> np.ndarray:
    """Choose marks, in any order, so that pieces between them are at most `size` where they can."""
    ends = distinct(marks)
    found = [0]
    while found[-1] < ends[-1]:
        # The last mark that is near enough, or else the next one.
        at = int(np.searchsorted(ends, found[-1] + size, side="right")) - 1
        found.append(int(ends[max(at, int(np.searchsorted(ends, found[-1], side="right")))]))
    return np.array(found, np.int64)
