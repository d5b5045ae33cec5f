"""Some blocks of a cell, decompressed without the others.

Blosc compresses a large buffer as blocks, each by itself, and a table behind its
header says where each begins. So blocks that are wanted, with a header and a table
of their own before them, are a buffer that blosc decompresses. The checksum is that
of the whole cell, and is checked as always.

Source: c-blosc, README_CHUNK_FORMAT.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from operator import lt

import numpy as np

from . import inflate
from .cells import BLOSC_HEADER, COPIED, CRC, HEADER, checked_body, decode_framed, payload_size

_HEAD = BLOSC_HEADER.size
_NOT_SPLIT = 0x10
LEAST_BYTES = 1 << 16
"""Cells with smaller payloads are one block."""


def decode_rows(cell: np.ndarray, framed: np.ndarray, ranges: Sequence[tuple[int, int]]) -> None:
    """Check a cell, and decompress at least some bytes of its payload.

    Parameters
    ----------
    cell : ndarray of uint8
        The stored bytes.
    framed : ndarray of uint8, shape (8 + n,)
        Where frame and payload go; its size must be the cell's. What is not wanted
        is left as it is, or filled.
    ranges : sequence of (start, stop)
        The bytes of the payload that are wanted: ascending, none empty.

    Raises
    ------
    IntegrityError
        If the checksum, the size or the frame is not what was written.
    """
    if payload_size(cell) + HEADER != len(framed):
        decode_framed(cell, framed)  # which says what is wrong
    version, inner, flags, typesize, size, block, total = BLOSC_HEADER.unpack_from(cell.data, 0)
    n = -(-size // block) if block else 0
    bounds = None
    # Blocks are few, and numpy's calls cost more than they do.
    if 1 < n < len(cell) and len(ranges) < n and total == len(cell) - CRC and not flags & COPIED:
        bounds = _bounds(cell, n, total)
    if bounds is None:
        decode_framed(cell, framed)
        return
    body, place = checked_body(cell).data, inflate.address(framed)
    for first, last in _runs(ranges, block):
        here, until = bounds[first], bounds[last]
        taken = min(last * block, size) - first * block
        ahead = _HEAD + 4 * (last - first)
        bits, length = flags, block
        if taken < block:
            # The last one alone, which is shorter: blosc never splits it, and it is all there is.
            bits, length = flags | _NOT_SPLIT, taken
        made = ahead + until - here
        head = BLOSC_HEADER.pack(version, inner, bits, typesize, taken, length, made)
        begins = [at + ahead - here for at in bounds[first:last]]
        table = struct.pack(f"<{last - first}i", *begins)
        part = b"".join((head, table, body[here:until]))
        if inflate.call(part, place + first * block, taken, 1) != taken:
            raise inflate.broken()


def _bounds(cell: np.ndarray, n: int, total: int) -> list[int] | None:
    """Where the blocks of a cell begin, and the end; None where they are not in a row."""
    if _HEAD + 4 * n > total:
        return None
    bounds = [*struct.unpack_from(f"<{n}i", cell.data, _HEAD), total]
    in_a_row = bounds[0] == _HEAD + 4 * n and all(map(lt, bounds, bounds[1:]))
    return bounds if in_a_row else None


def _runs(ranges: Sequence[tuple[int, int]], block: int) -> list[tuple[int, int]]:
    """Runs of blocks that some bytes of a payload lie in: the first, and one after the last."""
    runs: list[tuple[int, int]] = []
    for start, stop in ranges:
        first, last = (start + HEADER) // block, (stop + HEADER - 1) // block + 1
        if runs and first <= runs[-1][1]:
            runs[-1] = runs[-1][0], max(last, runs[-1][1])
        else:
            runs.append((first, last))
    return runs
