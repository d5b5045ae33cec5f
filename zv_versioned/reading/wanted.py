"""What is to be read: cells of batches, the buffers they go to, and their stored bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .._memory import lent, room
from ..format.blocks import LEAST_BYTES
from ..format.cells import HEADER

Ranges = tuple[np.ndarray, np.ndarray]
"""First rows, and ends, of ranges of rows: int64, ascending, none of them empty."""


@dataclass(frozen=True)
class Wanted:
    """Cells of one batch that are to be read.

    Parameters
    ----------
    slot : int
    cells : ndarray of int64, shape (C,)
        Their numbers, ascending.
    cell_rows : ndarray of int, shape (C,)
        Rows in each: vertices or links.
    batch_cells, batch_rows : int
        How many there are in the whole batch.
    """

    slot: int
    cells: np.ndarray
    cell_rows: np.ndarray
    batch_cells: int
    batch_rows: int


@dataclass(frozen=True)
class Target:
    """Cells of one array, and the buffer that they go to, one after the other.

    Parameters
    ----------
    array : str
        The array's path.
    row_bytes : int
        Bytes of one row.
    wanted : sequence of Wanted
    out : ndarray of uint8, shape (8 + total,)
        Filled from byte 8 on. A cell is decompressed with its frame, which lies
        over the end of the cell before it; therefore the last goes first.
    """

    array: str
    row_bytes: int
    wanted: Sequence[Wanted]
    out: np.ndarray

    @classmethod
    def empty(
        cls, array: str, row_bytes: int, wanted: Sequence[Wanted], *, brief: bool = False
    ) -> Target:
        """A target with room for all that is wanted; `brief` where what is read is soon dropped."""
        size = HEADER + count(wanted) * row_bytes
        out = np.frombuffer(lent(size), np.uint8) if brief else room(size)
        return cls(array, row_bytes, wanted, out)

    def rows(self, dtype: np.dtype, row_shape: tuple[int, ...]) -> np.ndarray:
        """What was read: (n, *row_shape)."""
        return self.out[HEADER:].view(dtype).reshape(count(self.wanted), *row_shape)


def has_blocks(target: Target) -> bool:
    """Whether a cell of a target can be of several blocks, of which some may do."""
    least = LEAST_BYTES // target.row_bytes
    return any(len(w.cell_rows) > 0 and w.cell_rows.max() > least for w in target.wanted)


def count(wanted: Sequence[Wanted]) -> int:
    """How many rows are wanted in all."""
    if len(wanted) == 0:
        return 0
    return int(np.concatenate([want.cell_rows for want in wanted]).sum(dtype=np.int64))


class Shard(NamedTuple):
    """Cells that are wanted of one shard.

    Parameters
    ----------
    key : str
    places : ndarray of int64, shape (C,)
    begins, sizes : ndarray of int64, shape (C,)
        Where each cell's payload begins in the buffer, and its size.
    whole : bool
        Whether to fetch the shard as a whole, rather than ranges of it.
    small : bool
        Whether it is best fetched along with others.
    target : int
        Which of the targets it is for.
    """

    key: str
    places: np.ndarray
    begins: np.ndarray
    sizes: np.ndarray
    whole: bool
    small: bool
    target: int


@dataclass(frozen=True)
class Stored:
    """The stored bytes of the cells of one shard, in the order of its places.

    Parameters
    ----------
    buffers : list of ndarray of uint8
    buffer, start, stop : ndarray of int64, shape (C,)
        In which of these each cell lies, and where.
    """

    buffers: list[np.ndarray]
    buffer: np.ndarray
    start: np.ndarray
    stop: np.ndarray
