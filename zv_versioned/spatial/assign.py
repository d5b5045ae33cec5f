"""Vertices to cells and fragments: the order in which a batch is stored."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .boxes import Box
from .grid import Grid

_BLOCK_ROWS = 1 << 16


@dataclass(frozen=True)
class Assignment:
    """Where the vertices of one append go.

    Parameters
    ----------
    order : ndarray of int64 or uint32, shape (N,)
        Input rows in vertex order: by cell, object, input row.
    cells : ndarray of int64, shape (C,)
        Numbers of the cells that have vertices, ascending.
    cell_vertices, cell_fragments : ndarray of int64, shape (C,)
    fragment_object : ndarray of int64, shape (F,)
        Object row of each fragment, in vertex order.
    fragment_vertices : ndarray of int64, shape (F,)
    object_order : ndarray of int64, shape (F,)
        Fragment numbers, object after object, each in its own order: of lines
        along the line, else that of the cells.
    fragment_rank, fragment_ends : ndarray or None, shape (F,)
        Of lines: each fragment's place among those of its object (int64), and
        whether a line ends with it (bool).
    """

    order: np.ndarray
    cells: np.ndarray
    cell_vertices: np.ndarray
    cell_fragments: np.ndarray
    fragment_object: np.ndarray
    fragment_vertices: np.ndarray
    object_order: np.ndarray
    fragment_rank: np.ndarray | None = None
    fragment_ends: np.ndarray | None = None

    @property
    def vertex_start(self) -> np.ndarray:
        """The first vertex of each cell, in vertex order: (C,) int64."""
        return np.asarray(np.cumsum(self.cell_vertices) - self.cell_vertices)


def spans(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """``concatenate([arange(s, s + c) for s, c in zip(starts, counts)])``."""
    total = int(counts.sum())
    shift = np.repeat(starts - (np.cumsum(counts) - counts), counts)
    return np.asarray(shift + np.arange(total, dtype=np.int64))


def run_starts(values: np.ndarray) -> np.ndarray:
    """Where each run of equal values begins; at least one value."""
    return np.concatenate(([0], np.flatnonzero(values[1:] != values[:-1]) + 1))


def cell_numbers(positions: np.ndarray, box: Box, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """The cell of each vertex, numbered within the cells that the vertices span.

    The division is done in float64 by the cell's edge itself: multiplying by
    its inverse, or dividing in float32, puts vertices on a cell's boundary into
    the wrong cell.

    Parameters
    ----------
    positions : ndarray, shape (N, D)
        Finite, within the grid.
    box : Box
        The smallest box around them.
    grid : Grid

    Returns
    -------
    numbers : ndarray of int32 or (many cells) int64, shape (N,)
        In C order of the spanned cells, so in the order of the grid's own.
    span : ndarray of int64, shape (2, D)
        Index (from 0) of the first spanned cell, and spanned cells on each axis.
    """
    size = np.asarray(grid.chunk_shape)
    first = np.floor(box.lo / size)
    counts = (np.floor(box.hi / size) - first).astype(np.int64) + 1
    strides = np.cumprod([1, *counts[:0:-1]])[::-1].copy()
    # Whole numbers below 2**53 are exact in float64.
    spanned = math.prod(counts.tolist())
    dtype = np.float64 if spanned < 1 << 53 else np.int64
    numbers = np.empty(len(positions), np.int32 if spanned < 1 << 31 else np.int64)
    for start in range(0, len(positions), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        total = np.zeros(len(positions[rows]), dtype)
        # Axis by axis: numpy is three times slower along rows of two or three.
        for axis, stride in enumerate(strides.tolist()):
            index = np.divide(positions[rows, axis], size[axis], dtype=np.float64)
            np.floor(index, out=index)
            index -= first[axis]
            whole = index.astype(dtype, copy=False)
            if stride != 1:
                whole *= stride
            total += whole
        numbers[rows] = total
    return numbers, np.stack([first.astype(np.int64) - np.asarray(grid.origin), counts])


def object_rows(object_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct ids, ascending, and the row of each vertex's id among them.

    Parameters
    ----------
    object_ids : ndarray of int64, shape (N,)

    Returns
    -------
    ids : ndarray of int64, shape (O,)
    rows : ndarray of int64, shape (N,)
    """
    if (object_ids[1:] >= object_ids[:-1]).all():
        rows = np.zeros(len(object_ids), np.int64)
        np.cumsum(object_ids[1:] != object_ids[:-1], out=rows[1:])
        return object_ids[run_starts(object_ids)], rows
    lo, hi = int(object_ids.min()), int(object_ids.max())
    if hi - lo < 4 * len(object_ids) + 1024:
        present = np.zeros(hi - lo + 1, bool)
        present[object_ids - lo] = True
        ids = np.flatnonzero(present) + lo
        row_of = np.cumsum(present, dtype=np.int64) - 1
        return ids, row_of[object_ids - lo]
    # Ids often come in runs: sort one of each run, not every vertex.
    starts = run_starts(object_ids)
    ids, run_rows = np.unique(object_ids[starts], return_inverse=True)
    lengths = np.diff(starts, append=len(object_ids))
    return ids, np.repeat(run_rows.astype(np.int64), lengths)


def stable_order(keys: np.ndarray, bound: int) -> np.ndarray:
    """A stable argsort of keys from 0 up to `bound`.

    Key and row are packed into one number and sorted as such: several times
    faster than an argsort.
    """
    return _ordered(keys, bound)[0]


def _ordered(keys: np.ndarray, bound: int) -> tuple[np.ndarray, np.ndarray]:
    """The same, and the keys in that order."""
    row_bits = _row_bits(len(keys))
    bits = bound.bit_length() + row_bits
    if bits > 63:
        order = np.argsort(keys, kind="stable")
        return order, keys[order]
    dtype = np.dtype(np.uint32 if bits <= 32 else np.uint64)
    packed = _sorted_with_rows(keys, dtype)
    ordered = packed >> dtype.type(row_bits)
    packed &= dtype.type((1 << row_bits) - 1)
    if bits <= 32:
        return packed.astype(np.int64), ordered.astype(np.int64)
    return packed.view(np.int64), ordered.view(np.int64)


def _row_bits(n: int) -> int:
    return max(1, (n - 1).bit_length())


def _sorted_with_rows(keys: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Keys, each with its row in the lowest bits, sorted."""
    packed = keys.astype(dtype)
    packed <<= dtype.type(_row_bits(len(keys)))
    packed |= np.arange(len(keys), dtype=dtype)
    packed.sort()
    return packed


def assign(
    positions: np.ndarray, box: Box, rows: np.ndarray, n_objects: int, grid: Grid
) -> Assignment:
    """Sort vertices by cell, then object, then input row.

    Parameters
    ----------
    positions : ndarray, shape (N, D)
        N at least 1; finite, within the grid.
    box : Box
        The smallest box around them.
    rows : ndarray of int64, shape (N,)
        Object row of each vertex, from 0.
    n_objects : int
    grid : Grid
    """
    numbers, (first, counts) = cell_numbers(positions, box, grid)
    spanned = math.prod(counts.tolist())
    distinct = None
    if _fits_narrow(spanned, len(rows)) and (rows[1:] >= rows[:-1]).all():
        order, vertex_cell, vertex_object = _sorted_by_cell(numbers, rows)
        changes = vertex_cell[1:] != vertex_cell[:-1]
        changes |= vertex_object[1:] != vertex_object[:-1]
        fragment_first = np.concatenate(([0], np.flatnonzero(changes) + 1))
        fragment_cell = vertex_cell[fragment_first].astype(np.int64)
        fragment_object = vertex_object[fragment_first]
    else:
        object_bits = max(1, (n_objects - 1).bit_length())
        if object_bits + spanned.bit_length() > 63:
            # So large a span of cells that they must be made dense to fit a key.
            distinct, numbers = np.unique(numbers, return_inverse=True)
            spanned = len(distinct)
        numbers = numbers.astype(np.int64, copy=False) << object_bits
        numbers |= rows
        order, keys = _ordered(numbers, 1 << (object_bits + spanned.bit_length()))
        del numbers
        fragment_first = run_starts(keys)
        fragment_keys = keys[fragment_first]
        fragment_cell = fragment_keys >> object_bits
        fragment_object = fragment_keys & ((1 << object_bits) - 1)
    cell_first = run_starts(fragment_cell)
    cells = fragment_cell[cell_first]
    if distinct is not None:
        cells = distinct[cells]
    fragment_vertices = np.diff(fragment_first, append=len(order))
    return Assignment(
        order=order,
        cells=grid_numbers(cells, first, counts, grid),
        cell_vertices=np.add.reduceat(fragment_vertices, cell_first),
        cell_fragments=np.diff(cell_first, append=len(fragment_cell)),
        fragment_object=fragment_object,
        fragment_vertices=fragment_vertices,
        object_order=stable_order(fragment_object, n_objects),
    )


def assign_fragments(
    cells: np.ndarray,
    cell_fragments: np.ndarray,
    rows: np.ndarray,
    vertices: np.ndarray,
    n_objects: int,
    grid: Grid,
) -> Assignment:
    """As :func:`assign`, of vertices of which the cells are known: they come in fragments.

    Parameters
    ----------
    cells : ndarray of int64, shape (C,)
        Numbers in the grid, in any order and as often as it is; at least one.
    cell_fragments : ndarray of int64, shape (C,)
        The fragments of each, which follow those of the cell before.
    rows : ndarray of int64, shape (F,)
        The object row of each fragment, from 0; at least one fragment.
    vertices : ndarray of int64, shape (F,)
        Vertices of each, at least one, which follow those of the fragment before.
    n_objects : int
    grid : Grid
    """
    numbers, first, counts = _spanned(grid.coordinates(cells))
    spanned, distinct = math.prod(counts.tolist()), None
    object_bits = max(1, (n_objects - 1).bit_length())
    if object_bits + spanned.bit_length() > 63:
        # So large a span of cells that they must be made dense to fit a key.
        distinct, numbers = np.unique(cells, return_inverse=True)
        spanned = len(distinct)
    keys = np.repeat(numbers << object_bits, cell_fragments)
    keys |= rows
    single = int(vertices.sum()) < 2 * len(vertices)
    if single:  # vertices are hardly more, and one by one they need no looking up
        keys = np.repeat(keys, vertices)
    order, keys = _ordered(keys, 1 << (object_bits + spanned.bit_length()))
    fragment_first = run_starts(keys)
    fragment_keys = keys[fragment_first]
    fragment_cell = fragment_keys >> object_bits
    fragment_object = fragment_keys & ((1 << object_bits) - 1)
    cell_first = run_starts(fragment_cell)
    if single:
        fragment_vertices = np.diff(fragment_first, append=len(order))
    else:
        sizes = vertices[order]
        fragment_vertices = np.add.reduceat(sizes, fragment_first)
        order = spans((np.cumsum(vertices) - vertices)[order], sizes)
    dense = fragment_cell[cell_first]
    return Assignment(
        order=order,
        cells=grid_numbers(dense, first, counts, grid) if distinct is None else distinct[dense],
        cell_vertices=np.add.reduceat(fragment_vertices, cell_first),
        cell_fragments=np.diff(cell_first, append=len(fragment_cell)),
        fragment_object=fragment_object,
        fragment_vertices=fragment_vertices,
        object_order=stable_order(fragment_object, n_objects),
    )


def _spanned(index: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells, given by their indices, numbered within those that they span; see `cell_numbers`."""
    first = index.min(axis=0)
    counts = index.max(axis=0) - first + 1
    numbers = np.zeros(len(index), np.int64)
    for axis, count in enumerate(counts.tolist()):
        numbers *= count
        numbers += index[:, axis]
        numbers -= first[axis]
    return numbers, first, counts


def _fits_narrow(spanned: int, n: int) -> bool:
    """Whether the number of a cell and a row fit 32 bits together."""
    return (spanned - 1).bit_length() + _row_bits(n) <= 32


def _sorted_by_cell(
    numbers: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices of which the objects ascend already, sorted by cell: half the bytes to sort.

    Parameters
    ----------
    numbers, rows : ndarray of int, shape (N,)
        The cell and the object row of each vertex, see :func:`_fits_narrow`.

    Returns
    -------
    order : ndarray of uint32, shape (N,)
    vertex_cell, vertex_object : ndarray, shape (N,)
        In that order.
    """
    cells = _sorted_with_rows(numbers, np.dtype(np.uint32))
    bits = _row_bits(len(numbers))
    order = cells & np.uint32((1 << bits) - 1)
    cells >>= np.uint32(bits)
    return order, cells, rows.take(order, mode="clip")


def grid_numbers(
    cells: np.ndarray, first: np.ndarray, counts: np.ndarray, grid: Grid
) -> np.ndarray:
    """Numbers in the grid of cells that are numbered within a span, see :func:`cell_numbers`."""
    index = np.stack(np.unravel_index(cells, counts.tolist()), axis=-1) + first
    return np.asarray(index @ grid.strides)
