"""The regular grid of a level.

A cell is addressed by absolute integers, ``floor(coordinate / chunk_shape)``
taken in float64, as Zarr Vectors has it. Arrays are indexed from 0, so a grid
has an *origin*, the absolute address of its first cell. The declared grid is
larger than the bounds by a margin on every side: an array without chunks costs
nothing, and bounds can grow without moving a single stored chunk.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from ..errors import ArrayError, MetadataError
from .boxes import Box

MARGIN = 1024
"""Cells that the grid reaches beyond the bounds it was made for, each way."""

MAX_CELLS_PER_AXIS = 1 << 20
MAX_CELLS = 1 << 62
BLOCK_CELLS = 512
"""Most cells of a shard."""
CELL_VERTICES = 2_500
"""Vertices that a cell should have: with more, what lies in few places is read along with much
else; with fewer, reading all of it takes longer."""

_CELLS_PER_AXIS = 8
_EXACT = 2.0**52
_TINY = float(np.finfo(np.float64).tiny)


def _cells(corner: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Absolute addresses of the cells that a corner lies in, as floats; infinite where too far."""
    with np.errstate(over="ignore"):
        return np.asarray(np.floor(corner / size))


@dataclass(frozen=True)
class Grid:
    """The grid of one level; it never changes once made.

    Parameters
    ----------
    chunk_shape : tuple of float
        Edge lengths of a cell, in the units of the coordinates.
    origin : tuple of int
        Absolute address of the first cell.
    shape : tuple of int
        Cells on each axis.
    block : tuple of int
        Cells of a shard on each axis; divides `shape`.
    """

    chunk_shape: tuple[float, ...]
    origin: tuple[int, ...]
    shape: tuple[int, ...]
    block: tuple[int, ...]

    @classmethod
    def for_bounds(cls, bounds: Box, chunk_shape: Sequence[float]) -> Grid:
        """Lay out a grid for `bounds`, with the margin around it.

        Raises
        ------
        MetadataError
            If the cells would be too many or their addresses not exact.
        """
        size = np.asarray(chunk_shape, np.float64)
        first, last = _cells(bounds.lo, size), _cells(bounds.hi, size)
        with np.errstate(invalid="ignore"):
            counts = last - first + 1
        if not (
            (np.maximum(abs(first), abs(last)) <= _EXACT).all()
            and (counts <= MAX_CELLS_PER_AXIS).all()
            and math.prod(2 * (MARGIN + BLOCK_CELLS) + c for c in counts.tolist()) < MAX_CELLS
        ):
            raise MetadataError(
                f"chunk_shape {tuple(size.tolist())} makes {[f'{c:.3g}' for c in counts]} cells "
                f"over bounds {bounds}; at most {MAX_CELLS_PER_AXIS:,} an axis, and 2**62 in "
                "all, can be addressed. Use larger chunks"
            )
        block = _block_shape(counts.astype(np.int64))
        low_margin = -(-MARGIN // block) * block
        shape = -(-(counts.astype(np.int64) + low_margin + MARGIN) // block) * block
        origin = first.astype(np.int64) - low_margin
        return cls(
            tuple(size.tolist()),
            tuple(origin.tolist()),
            tuple(shape.tolist()),
            tuple(block.tolist()),
        )

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.shape)

    @property
    def places(self) -> int:
        """Cells of one block."""
        return math.prod(self.block)

    @cached_property
    def strides(self) -> np.ndarray:
        """What one step on each axis adds to a cell's number (C order)."""
        return np.cumprod([1, *self.shape[:0:-1]])[::-1].astype(np.int64)

    @cached_property
    def extent(self) -> Box:
        """The space that the grid can ever cover; bounds grow no further."""
        size = np.asarray(self.chunk_shape)
        lo = np.asarray(self.origin) * size
        return Box(lo, lo + np.asarray(self.shape) * size)

    def coordinates(self, cells: np.ndarray) -> np.ndarray:
        """Indices, from 0, of cells given by number: (C,) to (C, D) int64."""
        if len(cells) and (int(cells.min()) < 0 or int(cells.max()) >= math.prod(self.shape)):
            raise ValueError(f"cells {cells.min()} to {cells.max()} of {math.prod(self.shape)}")
        # A division by one number is a multiplication; unravel_index takes eight times as long.
        found, left = np.empty((self.ndim, len(cells)), np.int64), cells
        for axis, stride in enumerate(self.strides.tolist()):
            np.floor_divide(left, stride, out=found[axis])
            left = left - found[axis] * stride
        return found.T

    def blocks(self, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The block each cell lies in and its place there.

        Parameters
        ----------
        cells : ndarray of int64, shape (C,)
            Cell numbers.

        Returns
        -------
        block : ndarray of int64, shape (C, D)
            Block indices: what a shard's key has after the slot.
        place : ndarray of int64, shape (C,)
            The cell's number within the block, in C order.
        """
        index = self.coordinates(cells).T
        block, place = np.empty_like(index), np.zeros(len(cells), np.int64)
        for axis, side in enumerate(self.block):
            np.floor_divide(index[axis], side, out=block[axis])
            place *= side
            place += index[axis] - block[axis] * side
        return block.T, place

    def _reach(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the first and the last cell of a box, which may lie outside."""
        size = np.asarray(self.chunk_shape)
        origin = np.asarray(self.origin)
        # An infinite side is clamped before it becomes an integer.
        low = np.clip(_cells(box.lo, size) - origin, -1, self.shape).astype(np.int64)
        high = np.clip(_cells(box.hi, size) - origin, -1, self.shape).astype(np.int64)
        return low, high

    def blocks_of(self, boxes: Box, most: int) -> list[list[tuple[int, ...]]]:
        """The blocks that each of some boxes can have vertices in.

        Parameters
        ----------
        boxes : Box
            Its corners are (B, D): a row a box.
        most : int
            A box of more blocks than this is said to have none.
        """
        low, high = self._reach(boxes)
        last, block = np.asarray(self.shape) - 1, np.asarray(self.block)
        first = (np.clip(low, 0, last) // block).tolist()
        stop = (np.clip(high, 0, last) // block + 1).tolist()
        found = []
        for corner, opposite in zip(first, stop, strict=True):
            sides = [range(a, b) for a, b in zip(corner, opposite, strict=True)]
            found.append(list(product(*sides)) if math.prod(map(len, sides)) <= most else [])
        return found

    def touching(self, box: Box, cells: np.ndarray) -> np.ndarray:
        """Mask of the cells (by number) that a half-open box can have vertices in."""
        low, high = self._reach(box)
        index = self.coordinates(cells)
        return np.asarray(((index >= low) & (index <= high)).all(axis=1))

    def inside(self, box: Box, cells: np.ndarray) -> np.ndarray:
        """Mask of the cells (by number) that lie wholly in a half-open box.

        A vertex's cell follows from a rounded division, so a cell at the edge
        of the box is never called inside: one cell of slack on both sides.
        """
        size = np.asarray(self.chunk_shape)
        absolute = self.coordinates(cells) + np.asarray(self.origin)
        within = ((absolute - 1) * size >= box.lo) & ((absolute + 2) * size <= box.hi)
        return np.asarray(within.all(axis=1))

    def to_metadata(self) -> dict[str, Any]:
        """The grid as a level's document has it."""
        return {
            "chunk_shape": list(self.chunk_shape),
            "origin": list(self.origin),
            "shape": list(self.shape),
            "block": list(self.block),
        }

    @classmethod
    def from_metadata(cls, document: dict[str, Any]) -> Grid:
        """Read what :meth:`to_metadata` wrote."""
        return cls(
            tuple(document["chunk_shape"]),
            tuple(document["origin"]),
            tuple(document["shape"]),
            tuple(document["block"]),
        )

    def check_within(self, box: Box) -> None:
        """Refuse coordinates that no cell of the grid can hold.

        Raises
        ------
        ArrayError
            Naming how far the grid reaches.
        """
        size = np.asarray(self.chunk_shape)
        first, last = _cells(box.lo, size), _cells(box.hi, size)
        origin = np.asarray(self.origin)
        if (first < origin).any() or (last >= origin + np.asarray(self.shape)).any():
            raise ArrayError(
                f"vertices reach {box}, beyond {self.extent}, as far as the grid of this level can "
                f"grow ({MARGIN:,} cells around its first bounds). Check the unit of the "
                "coordinates, or create a dataset with wider bounds"
            )


def _block_shape(counts: np.ndarray) -> np.ndarray:
    """A block of at most BLOCK_CELLS cells, as even as the grid allows."""
    block = np.ones(len(counts), np.int64)
    while True:
        # Grow the shortest side that the grid still has room for.
        for axis in np.argsort(block, kind="stable"):
            if block[axis] < counts[axis]:
                side = min(block[axis] * 2, max(8, int(block[axis])) * 2)
                if np.prod(block) // block[axis] * side <= BLOCK_CELLS:
                    block[axis] = side
                    break
        else:
            return block


def default_chunk_shape(bounds: Box, expected_vertices: int | None = None) -> tuple[float, ...]:
    """Cell edges that give as many cells an axis over closed `bounds`, 8 at most.

    Parameters
    ----------
    bounds : Box
    expected_vertices : int, optional
        How many there will be, about, spread evenly: as many cells as fit them then.
    """
    most = _CELLS_PER_AXIS
    if expected_vertices is not None:
        most = _cells_per_axis(max(int((bounds.lo < bounds.hi).sum()), 1), expected_vertices)
    counts = [most, most - 1]
    while counts[-1] > 1:
        counts.append(counts[-1] // 2)
    sizes = []
    for lo, hi in zip(bounds.lo.tolist(), bounds.hi.tolist(), strict=True):
        # Not so small that a cell's address would be inexact, or the edge itself be zero.
        least = max(max(abs(lo), abs(hi)) * 2.0**-40, _TINY)
        if lo == hi:
            sizes.append(max(1.0, least))
            continue
        for count in filter(None, counts):
            # A hair more than the share, so that the upper bound is in the last cell.
            size = max((hi / count - lo / count) * (1 + 2.0**-30), least)
            if np.floor(hi / size) - np.floor(lo / size) < most:
                break
        sizes.append(size)
    return tuple(sizes)


def _cells_per_axis(axes: int, expected_vertices: int) -> int:
    count = math.ceil(float((expected_vertices / CELL_VERTICES) ** (1 / axes)))
    return min(max(count, 1), MAX_CELLS_PER_AXIS // 2)


def expected(axes: int, vertices: int | None) -> int | None:
    """Vertices to expect of a dataset that begins with so many, and may have more later.

    None where the cells that there are by default are enough for them, or it is not known.
    """
    if vertices is None or _cells_per_axis(axes, vertices) <= _CELLS_PER_AXIS:
        return None
    return vertices
