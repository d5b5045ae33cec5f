"""Reading by vertex number: a range or some of them, and no cell besides those they lie in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ._read import LevelReader, Selection

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
    rows = range(first, last) if start < stop else range(0)
    selections: list[Selection] = []
    skip = 0
    for row, head in zip(rows, reader.heads(rows), strict=True):
        lo = max(start - int(base[row]), 0)
        hi = min(stop, int(base[row + 1])) - int(base[row])
        if lo >= hi:
            continue
        begin = int(np.searchsorted(head.vertex_start, lo, side="right")) - 1
        end = int(np.searchsorted(head.vertex_start, hi, side="left"))
        if not selections:
            skip = lo - int(head.vertex_start[begin])
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
        size = sum(s.vertex_count for s in window)
        first, last = np.searchsorted(among, (offset, offset + size))
        pieces.append(read(window)[among[first:last] - offset])
        offset += size
    return np.concatenate(pieces) if pieces else read([])


def _cells_of(reader: LevelReader, vertices: np.ndarray) -> tuple[list[Selection], np.ndarray]:
    """The cells of ascending vertices, and where each vertex is among all rows of these."""
    base = reader.vertex_base
    batch_of = np.searchsorted(base, vertices, side="right") - 1
    rows, begins = np.unique(batch_of, return_index=True)
    cuts = np.append(begins, len(vertices)).tolist()
    selections, among = [], []
    offset = 0
    heads = reader.heads(rows.tolist())
    for row, head, begin, end in zip(rows.tolist(), heads, cuts[:-1], cuts[1:], strict=True):
        local = vertices[begin:end] - base[row]
        cell = np.searchsorted(head.vertex_start, local, side="right") - 1
        at, rank = np.unique(cell, return_inverse=True)
        sizes = head.cell_vertices[at].astype(np.int64)
        starts = offset + np.cumsum(sizes) - sizes
        selections.append(Selection(row, head, at))
        among.append(starts[rank.reshape(-1)] + local - head.vertex_start[cell])
        offset += int(sizes.sum())
    return selections, np.concatenate(among) if among else np.zeros(0, np.int64)


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
    for row, head in zip(large, reader.heads(large), strict=True):
        marks.append(base[row] + head.vertex_start)
    ends = np.unique(np.concatenate(marks))
    found = [0]
    while found[-1] < ends[-1]:
        # The last mark that is near enough, or else the next one.
        at = int(np.searchsorted(ends, found[-1] + size, side="right")) - 1
        found.append(int(ends[max(at, int(np.searchsorted(ends, found[-1], side="right")))]))
    return np.array(found, np.int64)
