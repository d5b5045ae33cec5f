"""CRC-32C of many short messages of one length, all at once.

A call for each costs 0.3 µs whatever its length, and what it is given as much again.
The checksum is linear: each byte adds, by exclusive or, what a table says of it at its
distance from the end, so a table a byte serves all messages together.

Source: G. Castagnoli and others, Optimization of cyclic redundancy-check codes with 24 and 32
parity bits, 1993; RFC 3720, section 12.1.
"""

from __future__ import annotations

from functools import cache

import google_crc32c
import numpy as np

LONGEST = 128
"""Bytes up to which this is faster than a call for each message."""

_REVERSED = np.uint32(0x82F63B78)
_AT_ONCE = 4096


@cache
def _tables() -> np.ndarray:
    """What each byte adds, by how many bytes follow it: (LONGEST, 256) uint32."""
    tables = np.empty((LONGEST, 256), np.uint32)
    step = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        step = np.where(step & 1, step >> 1 ^ _REVERSED, step >> 1)
    tables[0] = step
    for after in range(1, LONGEST):
        before = tables[after - 1]
        tables[after] = step[before & 0xFF] ^ before >> 8
    return tables


def of_each(head: bytes, bodies: np.ndarray) -> np.ndarray:
    """The checksums of messages that begin alike.

    Parameters
    ----------
    head : bytes
        What all begin with.
    bodies : ndarray of uint8, shape (N, L)
        What comes after it; L is no more than :data:`LONGEST`.

    Returns
    -------
    ndarray of uint32, shape (N,)

    Examples
    --------
    >>> from zv_versioned.format import checksums
    >>> found = checksums.of_each(b"1234", np.frombuffer(b"56789", np.uint8).reshape(1, 5))
    >>> hex(found[0])
    '0xe3069283'
    """
    count, length = bodies.shape
    found = np.full(count, google_crc32c.value(head + bytes(length)), np.uint32)
    tables = _tables()[:length][::-1]
    for first in range(0, count, _AT_ONCE):
        part = found[first : first + _AT_ONCE]
        columns = np.ascontiguousarray(bodies[first : first + _AT_ONCE].T)
        for table, column in zip(tables, columns, strict=True):
            part ^= table.take(column)
    return found
