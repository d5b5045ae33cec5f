"""Boxes: the smallest and the largest coordinates of something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ArrayError, MetadataError

_WIDE = 64
MOST_EXPECTED = 10**12
"""Vertices that anybody can expect of a dataset."""


@dataclass(frozen=True, eq=False)
class Box:
    """A box in D dimensions.

    Bounds of a dataset are closed: a vertex may lie on either side. A query
    (:meth:`select`) is half open, ``lo <= coordinate < hi``, so that boxes laid
    side by side select each vertex once.

    Parameters
    ----------
    lo, hi : ndarray of float64, shape (D,)
        Smallest and largest coordinates.
    """

    lo: np.ndarray
    hi: np.ndarray

    def __str__(self) -> str:
        return f"({_numbers(self.lo)} to {_numbers(self.hi)})"

    def contains(self, other: Box) -> bool:
        """Whether `other` lies within this box, sides included."""
        return bool((self.lo <= other.lo).all() and (other.hi <= self.hi).all())

    def union(self, other: Box) -> Box:
        """The smallest box around both."""
        return Box(np.minimum(self.lo, other.lo), np.maximum(self.hi, other.hi))

    def select(self, positions: np.ndarray) -> np.ndarray:
        """Mask of the vertices in the half-open box: (N, D) to (N,) bool."""
        lo, hi = _least_from(self.lo, positions.dtype), _least_from(self.hi, positions.dtype)
        mask = np.ones(len(positions), bool)
        for axis in range(positions.shape[1]):
            column = positions[:, axis]
            mask &= column >= lo[axis]
            mask &= column < hi[axis]
        return mask


def _least_from(bound: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """The least numbers of a float dtype that are not below `bound`.

    Comparing with them in that dtype is as exact as comparing with `bound` in
    float64, and twice as fast. Integers are compared in float64.
    """
    if dtype.kind != "f":
        return bound
    with np.errstate(over="ignore"):
        rounded = bound.astype(dtype)
        up = np.nextafter(rounded, dtype.type(np.inf))
    return np.where(rounded.astype(np.float64) < bound, up, rounded)


def _numbers(values: np.ndarray) -> str:
    return "[" + ", ".join(f"{value:.10g}" for value in values.tolist()) + "]"


def parse_bounds(bounds: object) -> Box:
    """Read the bounds of a new dataset.

    Parameters
    ----------
    bounds : (lo, hi)
        Two sequences of D finite numbers, ``lo <= hi``, D from 1 to 4.

    Raises
    ------
    MetadataError
        Saying which number is wrong.
    """
    box = _parse(bounds, "bounds", MetadataError)
    if not 1 <= len(box.lo) <= 4:
        raise MetadataError(f"bounds have {len(box.lo)} axes; 1 to 4 are supported")
    if not (np.isfinite(box.lo).all() and np.isfinite(box.hi).all()):
        raise MetadataError(f"bounds must be finite, got {box}")
    return box


def parse_bbox(bbox: object, ndim: int) -> Box:
    """Read a query box of `ndim` axes; infinite sides are fine.

    Raises
    ------
    ArrayError
        If it is not (lo, hi) of `ndim` numbers each, or reversed.
    """
    box = _parse(bbox, "bbox", ArrayError)
    if len(box.lo) != ndim:
        raise ArrayError(
            f"bbox has {len(box.lo)} axes, the level has {ndim}: give its two corners, of {ndim} "
            "numbers each"
        )
    return box


def _parse(value: object, name: str, error: type[ArrayError] | type[MetadataError]) -> Box:
    try:
        lo, hi = (np.asarray(side, np.float64) for side in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError) as cause:
        raise error(
            f"{name} must be a pair (lo, hi) of sequences of numbers, such as ([0, 0], [9, 9]), "
            f"got {value!r}"
        ) from cause
    if lo.ndim != 1 or lo.shape != hi.shape or len(lo) == 0:
        raise error(
            f"{name} must be two sequences of the same length, such as ([0, 0], [9, 9]), got "
            f"{value!r}"
        )
    if np.isnan(lo).any() or np.isnan(hi).any():
        axis = int(np.argmax(np.isnan(lo) | np.isnan(hi)))
        raise error(f"{name} has NaN on axis {axis}: {Box(lo, hi)}; give numbers, lo <= hi")
    if (lo > hi).any():
        axis = int(np.argmax(lo > hi))
        raise error(
            f"{name} is reversed on axis {axis}: lo {lo[axis]:g} > hi {hi[axis]:g}; "
            "give (smallest, largest)"
        )
    return Box(lo, hi)


def parse_chunk_shape(chunk_shape: ArrayLike | Sequence[float], ndim: int) -> tuple[float, ...]:
    """Read a chunk shape of `ndim` positive, finite numbers.

    Raises
    ------
    MetadataError
        If it is anything else.
    """
    try:
        shape = np.asarray(chunk_shape, np.float64)
    except (TypeError, ValueError) as cause:
        raise MetadataError(f"chunk_shape must be {ndim} numbers, got {chunk_shape!r}") from cause
    if shape.shape != (ndim,):
        raise MetadataError(
            f"chunk_shape must be {ndim} numbers, one an axis of bounds, got {chunk_shape!r}"
        )
    if not (np.isfinite(shape).all() and (shape > 0).all()):
        raise MetadataError(f"chunk_shape must be positive and finite, got {chunk_shape!r}")
    return tuple(shape.tolist())


def parse_expected_vertices(expected: object, chunk_shape: object) -> int | None:
    """Read how many vertices are expected, which is said in place of a chunk shape.

    Raises
    ------
    MetadataError
        If it is no positive integer, or both are given.
    """
    if expected is None:
        return None
    if chunk_shape is not None:
        raise MetadataError(
            f"expected_vertices={expected!r} and chunk_shape={chunk_shape!r} both say how large a "
            "cell is; give one of them"
        )
    if isinstance(expected, bool) or not isinstance(expected, int | np.integer) or expected < 1:
        raise MetadataError(f"expected_vertices must be a positive integer, got {expected!r}")
    if expected > MOST_EXPECTED:
        raise MetadataError(
            f"expected_vertices must be at most {MOST_EXPECTED:,}, got {expected:,}: there is a "
            "cell for every 2,500, and what is there in fact would be read cell by cell"
        )
    return int(expected)


def box_of(positions: np.ndarray) -> Box:
    """The box of at least one vertex; NaN where any coordinate is NaN.

    Rows are folded 64 wide first: numpy reduces long contiguous runs ten times
    faster than short ones.
    """
    n, ndim = positions.shape
    whole = n - n % _WIDE
    lo = hi = None
    if whole:
        wide = positions[:whole].reshape(-1, _WIDE * ndim)
        lo = wide.min(axis=0).reshape(_WIDE, ndim).min(axis=0)
        hi = wide.max(axis=0).reshape(_WIDE, ndim).max(axis=0)
    if whole < n:
        rest = positions[whole:]
        lo = rest.min(axis=0) if lo is None else np.minimum(lo, rest.min(axis=0))
        hi = rest.max(axis=0) if hi is None else np.maximum(hi, rest.max(axis=0))
    return Box(np.asarray(lo, np.float64), np.asarray(hi, np.float64))
