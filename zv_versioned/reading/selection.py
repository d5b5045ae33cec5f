"""Cells of a batch, and the numbers of what lies in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..format.batches import BatchHead


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


def cell_of(head: BatchHead, fragments: np.ndarray) -> np.ndarray:
    """The position, among a batch's cells, of the cell that each fragment lies in."""
    return np.searchsorted(head.fragment_start, fragments, side="right") - 1
