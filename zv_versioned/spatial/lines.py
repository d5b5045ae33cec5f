"""Lines to cells: cut where they cross a cell's side, in the order in which a batch is stored.

A fragment of a line is a stretch of consecutive vertices in one cell. Walking
the objects one after the other, and each along its lines, a stretch ends where
the cell changes or the line does; sorting the stretches (not the vertices) by
cell gives the order of the batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .assign import Assignment, cell_numbers, grid_numbers, run_starts, spans, stable_order
from .boxes import Box
from .grid import Grid


@dataclass(frozen=True)
class Walk:
    """The lines of an append, object after object.

    Parameters
    ----------
    order : ndarray of int64, shape (N,), or None
        Input rows along the walk; None where they are in that order already.
    line_vertices : ndarray of int64, shape (P,)
        Vertices of each line, at least one, in the order of the walk.
    line_object : ndarray of int64, shape (P,)
        The row of each line's object, ascending.
    line_order : ndarray of int64, shape (P,), or None
        Which of the given lines comes where; None where they are in that order.
    """

    order: np.ndarray | None
    line_vertices: np.ndarray
    line_object: np.ndarray
    line_order: np.ndarray | None = None

    @classmethod
    def of_lines(cls, line_vertices: np.ndarray, line_object: np.ndarray, n_objects: int) -> Walk:
        """Walk along lines that are given one after the other, each with its object."""
        if (line_object[1:] >= line_object[:-1]).all():
            return cls(None, line_vertices, line_object)
        order = stable_order(line_object, n_objects)
        starts = np.cumsum(line_vertices) - line_vertices
        rows = spans(starts[order], line_vertices[order])
        return cls(rows, line_vertices[order], line_object[order], order)

    @classmethod
    def of_vertices(cls, rows: np.ndarray, n_objects: int) -> Walk:
        """Walk along vertices with the row of their object: each object is one line."""
        order = None if (rows[1:] >= rows[:-1]).all() else stable_order(rows, n_objects)
        return cls(order, np.bincount(rows, minlength=n_objects), np.arange(n_objects))


def assign_lines(positions: np.ndarray, box: Box, walk: Walk, grid: Grid) -> Assignment:
    """Cut lines into fragments and sort these by cell, then object, then along the line.

    Parameters
    ----------
    positions : ndarray, shape (N, D)
        N at least 1; finite, within the grid; in the order given.
    box : Box
        The smallest box around them.
    walk : Walk
    grid : Grid
    """
    numbers, (first, counts) = cell_numbers(positions, box, grid)
    if walk.order is not None:
        numbers = numbers[walk.order]
    n = len(numbers)
    begins = np.empty(n, bool)
    np.not_equal(numbers[1:], numbers[:-1], out=begins[1:])
    line_ends = np.cumsum(walk.line_vertices)
    begins[0] = True
    begins[line_ends[:-1]] = True
    starts = np.flatnonzero(begins)
    lengths = np.diff(starts, append=n)
    ends = np.zeros(len(starts), bool)
    # The stretch before the one that begins a line ends the line before.
    ends[np.searchsorted(starts, line_ends) - 1] = True
    line_stretches = np.diff(np.flatnonzero(ends), prepend=-1)
    owner = np.repeat(walk.line_object, line_stretches)
    rank = np.arange(len(starts)) - np.repeat(
        run_starts(owner), np.diff(run_starts(owner), append=len(owner))
    )
    cell = numbers[starts]
    del numbers, begins
    order = stable_order(cell, math.prod(counts.tolist()))
    cell = cell[order]
    cell_first = run_starts(cell)
    vertices = spans(starts[order], lengths[order])
    object_order = np.empty(len(order), np.int64)
    object_order[order] = np.arange(len(order))
    return Assignment(
        order=vertices if walk.order is None else walk.order[vertices],
        cells=grid_numbers(cell[cell_first], first, counts, grid),
        cell_vertices=np.add.reduceat(lengths[order], cell_first),
        cell_fragments=np.diff(cell_first, append=len(cell)),
        fragment_object=owner[order],
        fragment_vertices=lengths[order],
        object_order=object_order,
        fragment_rank=rank[order],
        fragment_ends=ends[order],
    )
