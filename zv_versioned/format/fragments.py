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

from ..errors import IntegrityError

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


def decode_table(blob: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Read the fragment table of one cell, also as others write it.

    Parameters
    ----------
    blob : bytes

    Returns
    -------
    first, count : ndarray of int64, shape (F,)
        Of a range its first row and how many; of any other fragment its first place
        among `rows` and how many.
    is_range : ndarray of bool, shape (F,)
    rows : ndarray of int64
        The rows of the fragments that are no range.

    Raises
    ------
    IntegrityError
        If it is none.

    Examples
    --------
    >>> import numpy as np
    >>> first, count, is_range, rows = decode_table(encode_ranges(np.array([3, 1])))
    >>> first.tolist(), count.tolist(), is_range.tolist()
    ([0, 3], [3, 1], [True, True])
    """
    try:
        magic, version, _, n, ranges = _HEADER.unpack_from(blob)
        if magic != _MAGIC or version != 1 or ranges > n:
            raise ValueError("it does not begin as one")
        at = _HEADER.size
        if n == 0:
            none = np.zeros(0, np.int64)
            return none, none, np.zeros(0, bool), none
        size = -(-n // 8)
        size += -size % 8
        bits = np.unpackbits(np.frombuffer(blob, "u1", size, at), bitorder="little")
        is_range = bits[:n].astype(bool)
        at += size
        pairs = np.frombuffer(blob, "<i8", 2 * ranges, at).reshape(-1, 2)
        at += pairs.nbytes
        offsets = np.frombuffer(blob, "<u4", n - ranges + 1, at).astype(np.int64)
        at += 4 * len(offsets)
        rows = np.frombuffer(blob, "<i8", int(offsets[-1]), at).astype(np.int64)
        first, count = np.empty(n, np.int64), np.empty(n, np.int64)
        first[is_range], count[is_range] = pairs.T
        first[~is_range], count[~is_range] = offsets[:-1], np.diff(offsets)
    except (struct.error, ValueError) as error:
        raise IntegrityError(f"no fragment table can be read: {error}") from error
    return first, count, is_range, rows
