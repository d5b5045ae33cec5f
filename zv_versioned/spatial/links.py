"""Links to cells: which cell keeps an edge or a face, and in which order.

A link is kept by the cell of its smallest vertex in the order of the batch, and
its ends are counted from that cell's first vertex, so that nothing in it names
a number that a later batch or another branch could change. Of lines no link is
stored; theirs follow from the order of the vertices, and only their number and
order matter, for the attributes of links.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .assign import Assignment, stable_order
from .lines import Walk


@dataclass(frozen=True)
class LinkPlan:
    """Where the links of one append go.

    Parameters
    ----------
    cell_links : ndarray of int64, shape (C,)
        Links that each of the batch's cells keeps.
    order : ndarray of int64, shape (M,), or None
        The given links in link order; None where nobody asked.
    rows : ndarray of int32, shape (M, L), or None
        What is stored, in link order; None for lines.
    """

    cell_links: np.ndarray
    order: np.ndarray | None
    rows: np.ndarray | None = None

    def __len__(self) -> int:
        return int(self.cell_links.sum())


def place_links(links: np.ndarray, plan: Assignment) -> LinkPlan:
    """Sort links by the fragment of their smallest vertex, then as given.

    Parameters
    ----------
    links : ndarray of int64, shape (M, L)
        Input rows of vertices.
    plan : Assignment
    """
    number = np.empty(len(plan.order), np.int32)
    number[plan.order] = np.arange(len(plan.order), dtype=np.int32)
    ends = number[links]
    first = ends[:, 0].copy()
    for column in ends.T[1:]:
        np.minimum(first, column, out=first)
    fragments = len(plan.fragment_vertices)
    fragment = np.repeat(np.arange(fragments), plan.fragment_vertices)[first]
    order = stable_order(fragment, fragments)
    cell_of = np.repeat(np.arange(len(plan.cells)), plan.cell_fragments)
    cell = cell_of[fragment[order]]
    start = plan.vertex_start.astype(np.int32)
    rows = ends[order] - start[cell][:, None]
    return LinkPlan(np.bincount(cell, minlength=len(plan.cells)), order, rows)


def place_line_links(walk: Walk, plan: Assignment, *, ordered: bool) -> LinkPlan:
    """The links of lines: each from a vertex that is not the last of its line, to the next.

    They are given line after line, in the order of the lines.

    Parameters
    ----------
    walk : Walk
    plan : Assignment
    ordered : bool
        Whether their order is wanted; it takes 24 bytes a vertex to make.
    """
    n = len(plan.order)
    last = np.cumsum(walk.line_vertices) - 1
    if walk.line_order is not None:
        counts = np.empty_like(walk.line_vertices)
        counts[walk.line_order] = walk.line_vertices
        last = np.cumsum(counts) - 1
    elif walk.order is not None:
        last = walk.order[last]
    is_source = np.ones(n, bool)
    is_source[last] = False
    sources = is_source[plan.order]
    counts = np.add.reduceat(sources, plan.vertex_start, dtype=np.int64)
    if not ordered:
        return LinkPlan(counts, None)
    number = np.cumsum(is_source) - 1
    return LinkPlan(counts, number[plan.order[sources]])
