"""FlatBuffers, read only: as much of them as icechunk's own files need.

A table is a row of optional fields; where each lies is said by a small vtable
that many tables share. Single tables are read one field at a time, vectors of
many tables (a manifest has one for every chunk) by column, with numpy.

Source: the FlatBuffers documentation, "FlatBuffer internals".
"""

from __future__ import annotations

import struct

import numpy as np

from .._sets import distinct

_U32 = struct.Struct("<I")
_I32 = struct.Struct("<i")
_U16 = struct.Struct("<H")
_U64 = struct.Struct("<Q")
_MOST = 1 << 31
"""No buffer is larger: offsets are 32 bits wide, and signed in some places."""
FEW = 32
"""Of fewer tables each is sooner read by itself than all of them by column."""


class Buffer:
    """One finished FlatBuffer.

    What does not lie in the buffer raises ``ValueError``, ``IndexError`` or
    ``struct.error``: damaged bytes never lead outside it.
    """

    def __init__(self, raw: bytes) -> None:
        if len(raw) > _MOST:
            raise ValueError(f"a FlatBuffer of {len(raw)} bytes")
        self.raw = raw
        self.bytes = np.frombuffer(raw, np.uint8)
        self._vtables: dict[int, tuple[int, ...]] = {}

    def root(self) -> Table:
        """The table that the buffer is about."""
        return Table(self, self.offset(0))

    def offset(self, at: int) -> int:
        """Where the offset that lies at `at` leads."""
        return at + int(_U32.unpack_from(self.raw, at)[0])

    def span(self, start: int, size: int) -> bytes:
        """Some bytes, all of which must be there."""
        if start < 0 or size < 0 or start + size > len(self.raw):
            raise ValueError(f"bytes {start} to {start + size} of {len(self.raw)}")
        return self.raw[start : start + size]

    def u16(self, at: int) -> int:
        """A number of 2 bytes."""
        if at < 0:
            raise ValueError(f"a number at {at}")
        return int(_U16.unpack_from(self.raw, at)[0])

    def steps(self, vtable: int) -> tuple[int, ...]:
        """How far each field lies from the start of its table, 0 where it is absent."""
        known = self._vtables.get(vtable)
        if known is None:
            count = max(0, self.u16(vtable) - 4) // 2
            known = self._vtables[vtable] = struct.unpack_from(f"<{count}H", self.raw, vtable + 4)
        return known

    def gather(self, starts: np.ndarray, size: int) -> np.ndarray:
        """`size` bytes from each of many places: (n, size) uint8."""
        if len(starts) and (int(starts.min()) < 0 or int(starts.max()) + size > len(self.raw)):
            raise ValueError("an offset leads out of the buffer")
        return self.bytes[starts[:, None] + np.arange(size)]

    def numbers(self, starts: np.ndarray, dtype: str) -> np.ndarray:
        """A number from each of many places, as int64."""
        kind = np.dtype(dtype)
        size = kind.itemsize
        if len(starts) and int(starts.min()) >= 0 and not (starts & (size - 1)).any():
            # As a finished buffer has them: they lie in it like the items of one array.
            items = np.frombuffer(self.raw, kind, len(self.raw) // size)
            return np.asarray(items[starts // size], np.int64)
        found = np.ascontiguousarray(self.gather(starts, kind.itemsize)).view(kind)
        return found.reshape(-1).astype(np.int64)


class Table:
    """One table of a buffer."""

    def __init__(self, buffer: Buffer, at: int) -> None:
        self._buffer = buffer
        self._at = at
        self._steps = buffer.steps(at - int(_I32.unpack_from(buffer.raw, at)[0]))

    def _place(self, field: int) -> int | None:
        step = self._steps[field] if field < len(self._steps) else 0
        return self._at + step if step else None

    def u8(self, field: int) -> int:
        """A byte; 0 where it is absent."""
        place = self._place(field)
        return 0 if place is None else self._buffer.span(place, 1)[0]

    def u32(self, field: int) -> int:
        """A number of 4 bytes; 0 where it is absent."""
        place = self._place(field)
        return 0 if place is None else int(_U32.unpack_from(self._buffer.raw, place)[0])

    def i32(self, field: int) -> int:
        """A signed number of 4 bytes; 0 where it is absent."""
        place = self._place(field)
        return 0 if place is None else int(_I32.unpack_from(self._buffer.raw, place)[0])

    def u64(self, field: int) -> int:
        """A number of 8 bytes; 0 where it is absent."""
        place = self._place(field)
        return 0 if place is None else int(_U64.unpack_from(self._buffer.raw, place)[0])

    def struct(self, field: int, size: int) -> bytes | None:
        """The bytes of a struct, which lies in the table itself."""
        place = self._place(field)
        return None if place is None else self._buffer.span(place, size)

    def table(self, field: int) -> Table | None:
        """A table that the field refers to."""
        place = self._place(field)
        return None if place is None else Table(self._buffer, self._buffer.offset(place))

    def _vector(self, field: int) -> tuple[int, int]:
        """Where a vector's items begin, and how many there are."""
        place = self._place(field)
        if place is None:
            return 0, 0
        at = self._buffer.offset(place)
        return at + 4, int(_U32.unpack_from(self._buffer.raw, at)[0])

    def blob(self, field: int) -> bytes | None:
        """A vector of bytes, or a text as bytes; None where it is absent."""
        place = self._place(field)
        if place is None:
            return None
        at = self._buffer.offset(place)
        return self._buffer.span(at + 4, int(_U32.unpack_from(self._buffer.raw, at)[0]))

    def text(self, field: int) -> str:
        """A text; empty where it is absent."""
        return (self.blob(field) or b"").decode()

    def structs(self, field: int, size: int) -> np.ndarray:
        """A vector of structs: (n, size) uint8."""
        start, count = self._vector(field)
        raw = self._buffer.span(start, count * size)
        return np.frombuffer(raw, np.uint8).reshape(count, size)

    def _starts(self, field: int) -> np.ndarray:
        start, count = self._vector(field)
        steps = np.frombuffer(self._buffer.span(start, 4 * count), "<u4").astype(np.int64)
        return start + 4 * np.arange(count, dtype=np.int64) + steps

    def u32s(self, field: int) -> tuple[int, ...]:
        """A vector of numbers of 4 bytes."""
        start, count = self._vector(field)
        return struct.unpack(f"<{count}I", self._buffer.span(start, 4 * count))

    def length(self, field: int) -> int:
        """How many items a vector has."""
        return self._vector(field)[1]

    def item(self, field: int, number: int) -> Table:
        """One table of a vector of tables."""
        start, count = self._vector(field)
        if not 0 <= number < count:
            raise IndexError(f"table {number} of {count}")
        return Table(self._buffer, self._buffer.offset(start + 4 * number))

    def tables(self, field: int) -> list[Table]:
        """A vector of tables, one by one."""
        start, _ = self._vector(field)
        steps = enumerate(self.u32s(field))
        return [Table(self._buffer, start + 4 * number + step) for number, step in steps]

    def columns(self, field: int) -> Columns:
        """A vector of tables, by column."""
        return Columns(self._buffer, self._starts(field))

    def texts(self, field: int) -> list[str]:
        """A vector of texts."""
        raw = self._buffer
        sizes = [(at + 4, int(_U32.unpack_from(raw.raw, at)[0])) for at in self._starts(field)]
        return [raw.span(start, size).decode() for start, size in sizes]


class Columns:
    """Many tables of one kind, their fields read as columns."""

    def __init__(self, buffer: Buffer, at: np.ndarray) -> None:
        self._buffer = buffer
        self._at = at
        # Tables with the same fields share a vtable, so that there are few.
        vtable = at - buffer.numbers(at, "<i4")
        kinds = distinct(vtable)
        self._kind = np.searchsorted(kinds, vtable)
        self._vtables = [(v, buffer.u16(v)) for v in kinds.tolist()]

    def __len__(self) -> int:
        return len(self._at)

    def _places(self, field: int) -> np.ndarray:
        """Where the field of each table lies; -1 where it is absent."""
        entry, read = 4 + 2 * field, self._buffer.u16
        steps = [read(v + entry) if entry + 2 <= size else 0 for v, size in self._vtables]
        if all(steps) and len(set(steps)) == 1:
            return self._at + steps[0]
        if not any(steps):
            return np.full(len(self._at), -1, np.int64)
        found = np.array(steps, np.int64)[self._kind]
        return np.where(found > 0, self._at + found, -1)

    def has(self, field: int) -> np.ndarray:
        """Which tables have the field: (n,) bool."""
        return self._places(field) >= 0

    def u64(self, field: int) -> np.ndarray:
        """Numbers of 8 bytes, as int64; 0 where absent."""
        places = self._places(field)
        found = np.zeros(len(places), np.int64)
        has = places >= 0
        found[has] = self._buffer.numbers(places[has], "<u8")
        return found

    def structs(self, field: int, size: int) -> np.ndarray:
        """Structs: (n, size) uint8; zeros where absent."""
        places = self._places(field)
        found = np.zeros((len(places), size), np.uint8)
        has = places >= 0
        found[has] = self._buffer.gather(places[has], size)
        return found

    def u32_vectors(self, field: int) -> np.ndarray:
        """Vectors of numbers of 4 bytes, all of one length: (n, length) int64."""
        places = self._places(field)
        if len(places) == 0:
            return np.zeros((0, 0), np.int64)
        starts = places + self._buffer.numbers(places, "<u4")
        lengths = self._buffer.numbers(starts, "<u4")
        length = int(lengths[0])
        if (lengths != length).any():
            raise ValueError("vectors of different lengths where one is expected")
        raw = np.ascontiguousarray(self._buffer.gather(starts + 4, 4 * length))
        return raw.view("<u4").astype(np.int64)

    def blobs(self, field: int) -> list[bytes | None]:
        """Vectors of bytes; None where absent."""
        found: list[bytes | None] = []
        for place in self._places(field).tolist():
            if place < 0:
                found.append(None)
                continue
            at = self._buffer.offset(place)
            found.append(self._buffer.span(at + 4, int(_U32.unpack_from(self._buffer.raw, at)[0])))
        return found
