"""Named columns in one payload.

Layout, little-endian: ``b"ZVC1"``, ``u32`` length of a JSON header, the header
``[[name, dtype, [shape...]], ...]`` padded with spaces so that what follows is
aligned to 8 bytes, then each column's raw bytes, each padded to 8 bytes.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..errors import IntegrityError

_MAGIC = b"ZVC1"
_PREFIX = struct.Struct("<4sI")


def _pad(size: int) -> int:
    return -size % 8


def pack(columns: Mapping[str, np.ndarray]) -> bytes:
    """Put columns into one payload, in their order."""
    arrays = {name: np.ascontiguousarray(column) for name, column in columns.items()}
    head = _head(tuple((name, array.dtype.str, array.shape) for name, array in arrays.items()))
    parts: list[bytes | memoryview] = [_PREFIX.pack(_MAGIC, len(head)), head]
    for array in arrays.values():
        parts.append(array.data)
        if missing := _pad(array.nbytes):
            parts.append(bytes(missing))
    return b"".join(parts)


@lru_cache(64)  # the buckets of one table have the same columns
def _head(columns: tuple[tuple[str, str, tuple[int, ...]], ...]) -> bytes:
    """What a payload says of its columns, padded."""
    head = json.dumps([[*column] for column in columns], separators=(",", ":")).encode()
    return head + b" " * _pad(_PREFIX.size + len(head))


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


class Packed:
    """Many payloads of columns in one buffer: a column is read of all of them at once.

    Parameters
    ----------
    raw : ndarray of uint8
    starts, stops : sequence of int
        Where each payload lies.

    Raises
    ------
    IntegrityError
        If one is not of this layout or is cut short.
    """

    def __init__(self, raw: np.ndarray, starts: Sequence[int], stops: Sequence[int]) -> None:
        self._raw = raw.data
        self._layouts: list[tuple[_Column, ...]] = []
        self._bodies: list[int] = []
        prefix = _PREFIX.size
        try:
            for start, stop in zip(starts, stops, strict=True):
                magic, length = _PREFIX.unpack_from(self._raw, start)
                body = start + prefix + length
                if magic != _MAGIC or body > stop:
                    raise ValueError(f"it begins with {bytes(magic)!r} and a header of {length}")
                layout, size = _parsed(bytes(self._raw[start + prefix : body]))
                if body + size > stop:
                    raise ValueError(_too_long(layout, stop - body))
                self._layouts.append(layout)
                self._bodies.append(body)
        except (struct.error, ValueError, TypeError) as error:
            raise IntegrityError(f"a table of columns cannot be read: {error}") from error

    def counts(self, name: str) -> np.ndarray:
        """How many values each payload has in a column: int64, -1 where it has no such column."""
        return np.array([-1 if of is None else of.length for of in self._places(name)], np.int64)

    def column(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """One column of all payloads, one after the other.

        Returns
        -------
        values : ndarray
            Of the widest of their types; of more than one axis as their rows.
        counts : ndarray of int64
            As :meth:`counts` has them.
        """
        there = self._places(name)
        kinds = {(of.dtype, of.row) for of in there if of is not None}
        if len({row for _, row in kinds}) > 1:
            raise IntegrityError(f"column {name!r} has rows of different shapes")
        raw = self._raw
        found = []
        for dtype, row in kinds:
            parts = [
                raw[body + of.offset : body + of.offset + of.size]
                for of, body in zip(there, self._bodies, strict=True)
                if of is not None and of.dtype == dtype
            ]
            found.append(np.frombuffer(b"".join(parts), dtype).reshape(-1, *row))
        if len(found) <= 1:
            return (found[0] if found else np.zeros(0, np.int64)), self.counts(name)
        return self._mixed(there, found, [dtype for dtype, _ in kinds]), self.counts(name)

    def fill(self, name: str, out: np.ndarray, counts: np.ndarray) -> None:
        """Put one column of all payloads, one after the other, into an array.

        Parameters
        ----------
        name : str
        out : ndarray, shape (sum of counts,)
        counts : ndarray of int64
            How many values each payload must have.

        Raises
        ------
        IntegrityError
            If one has more or fewer, or no such column.
        """
        values, found = self.column(name)
        if (found != counts).any() or values.ndim != 1:
            raise IntegrityError(f"a batch's index lacks {name}, or some of them")
        out[:] = values

    def _places(self, name: str) -> list[_Place | None]:
        layouts = {id(layout): layout for layout in self._layouts}
        known = {number: _find(layout, name) for number, layout in layouts.items()}
        return [known[id(layout)] for layout in self._layouts]

    def _mixed(
        self, there: list[_Place | None], found: list[np.ndarray], kinds: list[np.dtype]
    ) -> np.ndarray:
        """The same in the order of the payloads, where these have several types."""
        left = dict.fromkeys(kinds, 0)
        values = dict(zip(kinds, found, strict=True))
        parts = []
        for of in there:
            if of is not None:
                parts.append(values[of.dtype][left[of.dtype] : left[of.dtype] + of.length])
                left[of.dtype] += of.length
        return np.concatenate(parts)


class _Place(NamedTuple):
    """Where a column lies after the header, and what it is."""

    offset: int
    size: int
    dtype: np.dtype
    length: int
    row: tuple[int, ...]


def _find(layout: tuple[_Column, ...], name: str) -> _Place | None:
    for column, dtype, shape, offset in layout:
        if column == name:
            if not shape:
                raise IntegrityError(f"column {name!r} is a single value")
            size = math.prod(shape) * dtype.itemsize
            return _Place(offset, size, dtype, shape[0], shape[1:])
    return None
