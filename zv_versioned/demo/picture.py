"""Points as a picture of characters: braille dots, or plain ASCII."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

__all__ = ["Picture", "draw"]

# The bits of the 2 x 4 dots of a braille character, row by row.
_BRAILLE_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
_BRAILLE_BLANK = 0x2800
_ASCII_SHADES = np.array(list(" .:+#"))


@dataclass(frozen=True)
class Picture:
    """Rows of characters, and how many points are behind each character."""

    rows: list[str]
    counts: NDArray[np.int64]


def draw(
    points: NDArray[np.float32],
    size: tuple[float, float],
    *,
    columns: int,
    ascii_only: bool = False,
) -> Picture:
    """Draw 2D points that lie between (0, 0), top left, and `size`, bottom right.

    A character is taken to be twice as high as wide, so nothing is distorted.

    Parameters
    ----------
    points : (N, 2) array
        Across and down. Points outside the picture are left out.
    size : (float, float)
        What the picture covers, across and down, in the units of `points`.
    columns : int
        Its width in characters.
    ascii_only : bool
        Use shades of ASCII characters in place of braille dots.
    """
    dot = size[0] / (2 * columns)
    lines = max(1, ceil(size[1] / dot / 4))
    dots, _, _ = np.histogram2d(
        points[:, 1],
        points[:, 0],
        bins=(4 * lines, 2 * columns),
        range=((0, 4 * lines * dot), (0, size[0])),
    )
    tiles = dots.astype(np.int64).reshape(lines, 4, columns, 2)
    counts = tiles.sum(axis=(1, 3))
    if ascii_only:
        # Shade by the dots that are set, as the eye does with braille.
        dots_set = (tiles > 0).sum(axis=(1, 3))
        characters = _ASCII_SHADES[(dots_set + 1) // 2]
    else:
        codes = ((tiles > 0) * _BRAILLE_BITS[None, :, None, :]).sum(axis=(1, 3))
        blank = codes == 0
        characters = np.array([chr(_BRAILLE_BLANK + code) for code in codes.ravel()])
        characters = np.where(blank, " ", characters.reshape(codes.shape))
    return Picture(["".join(row) for row in characters], counts)
