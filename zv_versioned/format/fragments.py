"""The Zarr Vectors encoding of a cell's fragment table.

``<IHHII`` = magic, version 1, flags 0, F fragments, R ranges; a bitmap of one
bit a fragment (1 = range, least significant first) padded to 8 bytes; R pairs
of int64 (start, count); then uint32 offsets and int64 rows of the fragments
that are no range. Here every fragment is a range, so that part is one zero.

Source: Zarr Vectors 0.9, chapter on fragment indexes.
"""

from __future__ import annotations

import struct

import numpy as np

_HEADER = struct.Struct("<IHHII")
_MAGIC = 0x5A564647


def encode_ranges(counts: np.ndarray) -> bytes:
    """Encode fragments that follow each other without a gap.

    Parameters
    ----------
    counts : ndarray of int, shape (F,)
        Rows of each fragment.

    Returns
    -------
    bytes
        The blob; for no fragments the header alone.
    """
    n = len(counts)
    header = _HEADER.pack(_MAGIC, 1, 0, n, n)
    if n == 0:
        return header
    bitmap = np.packbits(np.ones(n, bool), bitorder="little").tobytes()
    pairs = np.empty((n, 2), "<i8")
    pairs[:, 1] = counts
    pairs[:, 0] = np.cumsum(pairs[:, 1]) - pairs[:, 1]
    return b"".join((header, bitmap, b"\0" * (-len(bitmap) % 8), pairs.tobytes(), b"\0\0\0\0"))
