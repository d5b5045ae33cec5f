"""Cells of a batch, and the numbers of what lies in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..format.batches import BatchHead, FragmentPage
from .wanted import Ranges


@dataclass(frozen=True)
class Selection:
    """Cells of one batch.

    Parameters
    ----------
    row : int
        The batch's row in the table.
    head : BatchHead
    at : ndarray of int64, shape (C,)
        Which of the batch's cells, ascending.
    object_rows : ndarray of int64 or None
        The objects asked for, as rows of the batch; None for all.
    """

    row: int
    head: BatchHead
    at: np.ndarray
    object_rows: np.ndarray | None = None

    @property
    def vertex_count(self) -> int:
        """Vertices in the cells, as they are stored: removed ones too."""
        return int(self.head.cell_vertices[self.at].sum())


def rows_of_objects(
    selections: Sequence[Selection], fragments: Sequence[FragmentPage], n_objects: np.ndarray
) -> list[Ranges]:
    """Where the vertices of the objects asked for lie, among all in the cells of each selection.

    Parameters
    ----------
    selections : sequence of Selection
        Objects are asked for in each.
    fragments : sequence of FragmentPage
        All in these cells.
    n_objects : ndarray of int, shape (B,)
        Objects of each batch.
    """
    found = []
    for s, pieces in zip(selections, fragments, strict=True):
        asked = np.zeros(n_objects[s.row], bool)
        asked[s.object_rows] = True
        stops = np.cumsum(pieces.vertices, dtype=np.int64)
        at = np.flatnonzero(asked[pieces.object] & (pieces.vertices > 0))
        found.append((stops[at] - pieces.vertices[at], stops[at]))
    return found


def laid(selections: Sequence[Selection], rows: Sequence[Ranges], there: np.ndarray) -> Ranges:
    """Rows of each selection, where those of the batches that have some lie in one buffer.

    Parameters
    ----------
    selections : sequence of Selection
    rows : sequence of Ranges
        Of each, from its own first vertex on.
    there : ndarray of int, shape (B,)
        Not 0 for the batches that have rows.
    """
    none = np.zeros(0, np.int64)
    starts, stops, before = [none], [none], 0
    for s, (start, stop) in zip(selections, rows, strict=True):
        if there[s.row]:
            starts.append(start + before)
            stops.append(stop + before)
            before += s.vertex_count
    return np.concatenate(starts), np.concatenate(stops)


def cell_of(head: BatchHead, fragments: np.ndarray) -> np.ndarray:
    """The position, among a batch's cells, of the cell that each fragment lies in."""
    return np.searchsorted(head.fragment_start, fragments, side="right") - 1
