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

    Examples
    --------
    >>> import numpy as np
    >>> len(encode_ranges(np.array([3, 1])))
    60
    """
    return encode_tables(counts, np.array([len(counts)]))[0]


def encode_tables(counts: np.ndarray, cell_fragments: np.ndarray) -> list[bytes]:
    """Encode the fragment tables of several cells at once.

    Parameters
    ----------
    counts : ndarray of int, shape (F,)
        Rows of each fragment, cell after cell.
    cell_fragments : ndarray of int, shape (C,)
        Fragments of each cell.

    Returns
    -------
    list of bytes, length C
    """
    ends = np.cumsum(cell_fragments, dtype=np.int64)
    starts = ends - cell_fragments
    pairs = np.empty((len(counts), 2), "<i8")
    pairs[:, 1] = counts
    before = np.concatenate(([0], np.cumsum(pairs[:, 1])))
    pairs[:, 0] = before[:-1] - np.repeat(before[starts], cell_fragments)
    raw = pairs.tobytes()
    return [
        b"".join((_HEADER.pack(_MAGIC, 1, 0, n, n), _bitmap(n), raw[16 * a : 16 * b], b"\0\0\0\0"))
        if n
        else _HEADER.pack(_MAGIC, 1, 0, 0, 0)
        for a, b, n in zip(starts.tolist(), ends.tolist(), cell_fragments.tolist(), strict=True)
    ]


def _bitmap(n: int) -> bytes:
    """`n` bits that are set, least significant first, padded to 8 bytes."""
    size = -(-n // 8)
    return ((1 << n) - 1).to_bytes(size + -size % 8, "little")
