"""Balls: all that lies within a distance of a point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ArrayError
from .boxes import Box
from .grid import Grid


@dataclass(frozen=True, eq=False)
class Ball:
    """A closed ball in D dimensions.

    Parameters
    ----------
    center : ndarray of float64, shape (D,)
    radius : float
    """

    center: np.ndarray
    radius: float

    def __str__(self) -> str:
        return f"(within {self.radius:.10g} of {self.center.tolist()})"

    @property
    def _slack(self) -> np.ndarray:
        """More than rounding can do to a distance along each axis."""
        return np.asarray((np.abs(self.center) + self.radius) * 2.0**-48)

    def box(self) -> Box:
        """A half-open box around the ball, a hair larger."""
        with np.errstate(over="ignore"):
            reach = self.radius + self._slack
            return Box(self.center - reach, np.nextafter(self.center + reach, np.inf))

    def select(self, positions: np.ndarray) -> np.ndarray:
        """Mask of the vertices in the ball: (N, D) to (N,) bool.

        It is ``numpy.linalg.norm(positions - center, axis=1) <= radius``, in float64.
        """
        total = np.zeros(len(positions))
        with np.errstate(over="ignore"):
            for axis, coordinate in enumerate(self.center.tolist()):
                difference = positions[:, axis].astype(np.float64)
                difference -= coordinate
                difference *= difference
                total += difference
            return np.asarray(np.sqrt(total, out=total) <= self.radius)

    def touching(self, grid: Grid, cells: np.ndarray) -> np.ndarray:
        """Mask of the cells (by number) that the ball can have vertices in."""
        size = np.asarray(grid.chunk_shape)
        low = (grid.coordinates(cells) + np.asarray(grid.origin)) * size
        # A vertex's cell follows from a rounded division: it may lie a hair outside.
        hair = (np.abs(low) + size) * 2.0**-48 + self._slack
        with np.errstate(over="ignore"):
            away = np.maximum(low - self.center, self.center - (low + size)) - hair
            away = np.maximum(away, 0)
            return np.asarray(np.sqrt((away * away).sum(axis=1)) <= self.radius * (1 + 2.0**-40))


def parse_near(near: object, ndim: int) -> Ball:
    """Read ``(point, radius)``.

    Raises
    ------
    ArrayError
        If it is anything but `ndim` finite numbers and a radius from 0 up.
    """
    try:
        pair: Any = near
        point, given = pair
        if isinstance(given, str | bytes):
            raise TypeError("a text is no radius")
        center = np.asarray(point, np.float64)
        radius = float(given)
    except (TypeError, ValueError) as cause:
        raise ArrayError(f"near must be (point, radius), got {near!r}") from cause
    if center.shape != (ndim,):
        raise ArrayError(
            f"near={near!r}: the point needs {ndim} numbers, one an axis, and has shape "
            f"{center.shape}"
        )
    if not np.isfinite(center).all():
        raise ArrayError(f"near={near!r}: the point must be finite")
    if not radius >= 0:
        raise ArrayError(f"near={near!r}: the radius must be a number from 0 up")
    return Ball(center, radius)
