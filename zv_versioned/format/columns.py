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
from typing import Any

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
        head = json.loads(bytes(payload[_PREFIX.size : _PREFIX.size + length]))
        return _cut(payload, head, _PREFIX.size + length)
    except (struct.error, ValueError, TypeError) as error:
        raise IntegrityError(f"a table of columns cannot be read: {error}") from error


def _cut(payload: memoryview, head: list[Any], offset: int) -> dict[str, np.ndarray]:
    columns: dict[str, np.ndarray] = {}
    for name, dtype, shape in head:
        count = math.prod(shape)
        size = count * np.dtype(dtype).itemsize
        if min(shape, default=0) < 0 or offset + size > len(payload):
            raise ValueError(f"column {name!r} of shape {shape} does not fit")
        columns[name] = np.frombuffer(payload, dtype, count, offset).reshape(shape)
        offset += size + _pad(size)
    return columns
