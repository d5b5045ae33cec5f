"""Named columns in one payload.

Layout, little-endian: ``b"ZVC1"``, ``u32`` length of a JSON header, the header
``[[name, dtype, [shape...]], ...]`` padded with spaces so that what follows is
aligned to 8 bytes, then each column's raw bytes, each padded to 8 bytes.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from ..errors import IntegrityError

_MAGIC = b"ZVC1"
_PREFIX = struct.Struct("<4sI")


def _pad(size: int) -> int:
    return -size % 8


def pack(columns: Mapping[str, np.ndarray]) -> bytes:
    """Put columns into one payload, in their order."""
    arrays = {name: np.ascontiguousarray(column) for name, column in columns.items()}
    head = json.dumps(
        [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()],
        separators=(",", ":"),
    ).encode()
    head += b" " * _pad(_PREFIX.size + len(head))
    parts: list[bytes | memoryview] = [_PREFIX.pack(_MAGIC, len(head)), head]
    for array in arrays.values():
        parts.append(array.reshape(-1).view(np.uint8).data)
        parts.append(b"\0" * _pad(array.nbytes))
    return b"".join(parts)


def unpack(payload: memoryview) -> dict[str, np.ndarray]:
    """Read what :func:`pack` wrote; the arrays are views of `payload`.

    Raises
    ------
    IntegrityError
        If the payload is not of this layout or is cut short.
    """
    try:
        magic, length = _PREFIX.unpack_from(payload)
        if magic != _MAGIC:
            raise ValueError(f"it begins with {bytes(magic)!r}, not {_MAGIC!r}")
        start = _PREFIX.size + length
        layout, size = _parsed(bytes(payload[_PREFIX.size : start]))
        if layout and start + size > len(payload):
            raise ValueError(_too_long(layout, len(payload) - start))
        return {
            name: np.ndarray(shape, dtype, payload, start + offset)
            for name, dtype, shape, offset in layout
        }
    except (struct.error, ValueError, TypeError) as error:
        raise IntegrityError(f"a table of columns cannot be read: {error}") from error


_Column = tuple[str, np.dtype, tuple[int, ...], int]
"""Name, dtype and shape of a column, and where it begins after the header."""


@lru_cache(1024)  # small batches have many headers that are the same
def _parsed(head: bytes) -> tuple[tuple[_Column, ...], int]:
    """The columns, and where the last of them ends."""
    columns, offset, end = [], 0, 0
    for name, dtype, shape in json.loads(head):
        if min(shape, default=0) < 0:
            raise ValueError(f"column {name!r} has shape {shape}")
        kind = np.dtype(dtype)
        if kind.hasobject:
            raise ValueError(f"column {name!r} is of dtype {dtype}")
        columns.append((name, kind, tuple(shape), offset))
        end = offset + math.prod(shape) * kind.itemsize
        offset = end + _pad(end)
    return tuple(columns), end


def _too_long(layout: tuple[_Column, ...], room: int) -> str:
    """Which of some columns does not fit into so many bytes."""
    wrong = [
        f"column {name!r} of shape {shape}"
        for name, dtype, shape, offset in layout
        if offset + math.prod(shape) * dtype.itemsize > room
    ]
    return f"{', '.join(wrong)} does not fit"
