"""One cell: a framed payload, compressed, with a checksum behind it.

The bytes are what zarr's codec chain ``vlen-bytes``, ``blosc``, ``crc32c``
makes of an array of shape (1,) that holds the payload; they are made here
directly, because going through zarr's array indexing costs up to a millisecond
a cell.

Source: Zarr v3 core specification, chapters on the blosc and crc32c codecs;
numcodecs' vlen-bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
from numcodecs import blosc

from ..errors import IntegrityError
from . import inflate

HEADER = 8
"""Bytes of the vlen-bytes frame before the payload: item count, item length."""

CRC = 4
MAX_PAYLOAD = blosc.MAX_BUFFERSIZE - HEADER
"""The largest payload of one cell, in bytes: blosc's limit on one buffer."""

# Cells are small, and blosc's threads cost more than they bring; deciding it per call would cost
# a look at the process and the thread each time. zarr's own codec sets the same.
blosc.use_threads = False

FRAME = struct.Struct("<II")
_UINT = struct.Struct("<I")
_BLOCK_BYTES = 1 << 16
_MOST_SPLIT = 16
"""Items of so many bytes, at most, blosc takes apart, and counts a block by one of the parts."""
_TOGETHER_BYTES = 4 << 20
"""What is decoded together has so many at most, unless it is one cell: it is forgotten together."""
UNCOMPRESSED = 128
"""Buffers of fewer bytes blosc stores as they are."""
COPIED = 0x02
"""The flag of blosc's for a buffer that is stored as it is."""
BLOSC_HEADER = struct.Struct("<BBBBIII")
_SIZES = struct.Struct("<4xI4xI")
"""Of the same, the bytes of what is compressed, and of all."""
COPIED_HEAD = np.dtype(
    [
        ("start", "u1", 4),
        ("size", "<u4"),
        ("block", "<u4"),
        ("total", "<u4"),
        ("items", "<u4"),
        ("length", "<u4"),
    ]
)
"""What comes before a payload that is stored as it is: blosc's header, and the frame."""
# The codec's number, "do not split blocks", "this is a copy", and how bytes would be shuffled.
_COPIED_FLAGS = {"lz4": 1 << 5 | 0x10 | COPIED}
_COPIED_SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 4}
_SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}


@dataclass(frozen=True)
class CellCodec:
    """How the payloads of one array are compressed.

    Parameters
    ----------
    typesize : int
        Item size in bytes for the shuffle filter.
    cname, clevel, shuffle
        Blosc's settings, in zarr's words.
    """

    typesize: int
    cname: str = "lz4"
    clevel: int = 5
    shuffle: str = "shuffle"

    def to_metadata(self) -> list[dict[str, Any]]:
        """Return the codec chain as a Zarr v3 array document has it."""
        settings = {
            "typesize": self.typesize,
            "cname": self.cname,
            "clevel": self.clevel,
            "shuffle": self.shuffle,
            "blocksize": 0,
        }
        return [
            {"name": "vlen-bytes", "configuration": {}},
            {"name": "blosc", "configuration": settings},
            {"name": "crc32c"},
        ]

    @classmethod
    def from_metadata(cls, codecs: list[dict[str, Any]]) -> CellCodec:
        """Read a codec chain that :meth:`to_metadata` wrote.

        Raises
        ------
        IntegrityError
            If the chain is another one.
        """
        if [codec.get("name") for codec in codecs] != ["vlen-bytes", "blosc", "crc32c"]:
            raise IntegrityError(
                f"an array's codecs are {codecs!r}, not vlen-bytes, blosc, crc32c: it was not "
                "written by zv_versioned"
            )
        settings = codecs[1]["configuration"]
        return cls(settings["typesize"], settings["cname"], settings["clevel"], settings["shuffle"])

    def encode_framed(self, framed: np.ndarray) -> list[bytes]:
        """Compress a buffer whose first 8 bytes are left free for the frame.

        Parameters
        ----------
        framed : ndarray of uint8, shape (8 + n,)
            The payload from byte 8 on; the frame is written in place.

        Returns
        -------
        list of bytes
            The parts of the cell, to be joined by the caller.
        """
        FRAME.pack_into(framed.data, 0, 1, len(framed) - HEADER)
        if len(framed) < UNCOMPRESSED and self.knows_copies:
            packed = self._encode_copied(framed)
        else:
            packed = self.compress(framed)
        return [packed, google_crc32c.value(packed).to_bytes(CRC, "little")]

    def compress(self, raw: np.ndarray) -> bytes:
        """What blosc makes of some bytes."""
        shuffle = _SHUFFLES[self.shuffle]
        packed: bytes = blosc.compress(
            raw, self.cname.encode(), self.clevel, shuffle, self._block, self.typesize
        )
        return packed

    @property
    def _block(self) -> int:
        """How large blosc's blocks are to be, in its own count; 0 where it decides.

        Rows are read a few of a cell at a time, and a block is the least that can be
        decompressed; the sections of an index are read whole.
        """
        if self.cname != "lz4":
            return 0
        return _BLOCK_BYTES // self.typesize if self.typesize <= _MOST_SPLIT else _BLOCK_BYTES

    @property
    def knows_copies(self) -> bool:
        """Whether it is known here how blosc stores buffers that it does not compress."""
        return self.cname in _COPIED_FLAGS

    def copied_heads(self, sizes: np.ndarray) -> np.ndarray:
        """What comes before payloads that are stored as they are: blosc's header and the frame.

        Parameters
        ----------
        sizes : ndarray of int, shape (C,)
            Bytes of each payload.

        Returns
        -------
        ndarray of uint8, shape (C, 24)
        """
        heads = np.empty(len(sizes), COPIED_HEAD)
        flags = _COPIED_FLAGS[self.cname] | _COPIED_SHUFFLES[self.shuffle]
        framed = sizes + HEADER
        heads["start"] = 2, 1, flags, self.typesize
        heads["size"] = framed
        heads["block"] = np.maximum(1, framed - framed % self.typesize)
        heads["total"] = framed + BLOSC_HEADER.size
        heads["items"], heads["length"] = 1, sizes
        return heads.view(np.uint8).reshape(-1, COPIED_HEAD.itemsize)

    def _encode_copied(self, framed: np.ndarray) -> bytes:
        """What blosc makes of a buffer that is too small for it to compress: a header and a copy.

        A call of blosc takes ten times as long, and what is written in many small appends
        consists of such cells.
        """
        n = len(framed)
        flags = _COPIED_FLAGS[self.cname] | _COPIED_SHUFFLES[self.shuffle]
        block = max(1, n - n % self.typesize)
        head = BLOSC_HEADER.pack(2, 1, flags, self.typesize, n, block, n + BLOSC_HEADER.size)
        return head + framed.tobytes()

    def encode(self, payload: bytes | memoryview) -> bytes:
        """Frame, compress and seal one payload."""
        framed = np.empty(HEADER + len(payload), np.uint8)
        framed[HEADER:] = np.frombuffer(payload, np.uint8)
        return b"".join(self.encode_framed(framed))


def payload_size(cell: np.ndarray) -> int:
    """Size in bytes of a cell's payload, from the compressed cell's own header.

    Raises
    ------
    IntegrityError
        If it is none.
    """
    if len(cell) < BLOSC_HEADER.size + CRC:
        raise IntegrityError(f"a cell of {len(cell)} bytes is too short to be one")
    size: int = _UINT.unpack_from(cell.data, 4)[0]
    if size < HEADER:
        raise IntegrityError(f"a cell claims {size} bytes, less than its own frame")
    return size - HEADER


def decode_framed(cell: np.ndarray, framed: np.ndarray) -> None:
    """Check and decompress one cell into `framed`, frame included.

    Parameters
    ----------
    cell : ndarray of uint8
        The stored bytes.
    framed : ndarray of uint8, shape (8 + n,)
        Where the frame and the payload go; its size must be the cell's.

    Raises
    ------
    IntegrityError
        If the checksum, the size or the frame is not what was written.
    """
    size = payload_size(cell)
    if size + HEADER != len(framed):
        raise IntegrityError(
            f"a cell holds {size} bytes where {len(framed) - HEADER} belong: its batch's index and "
            "its data disagree"
        )
    _unpack(checked_body(cell), framed)


def _unpack(body: np.ndarray, framed: np.ndarray) -> None:
    inflate.inflate(body, framed)
    if FRAME.unpack_from(framed.data, 0) != (1, len(framed) - HEADER):
        raise no_frame()


def no_frame() -> IntegrityError:
    """The error for what decompresses to something else than a payload in its frame."""
    return IntegrityError("a cell's frame is not that of a single item")


class Decoder:
    """Checks and decompresses many cells into one buffer, with as little as can be for each.

    Parameters
    ----------
    out : ndarray of uint8
    """

    def __init__(self, out: np.ndarray) -> None:
        self._out = out
        self._made = out.data
        self._place = inflate.address(out)
        self._raw = np.zeros(0, np.uint8)
        self._stored = self._raw.data
        self._source = 0

    def decode(self, raw: np.ndarray, start: int, stop: int, begin: int, size: int) -> None:
        """Decode one cell, frame included; as :func:`decode_framed`.

        Parameters
        ----------
        raw : ndarray of uint8
            What the cell lies in; cells of the same one follow each other at best.
        start, stop : int
            Where it does.
        begin : int
            Where in the buffer its frame begins.
        size : int
            Bytes that its payload must have.
        """
        if raw is not self._raw:
            self._raw, self._stored, self._source = raw, raw.data, inflate.address(raw)
        n, end = size + HEADER, stop - CRC
        if (
            0 <= start <= end - BLOSC_HEADER.size
            and stop <= len(raw)
            and 0 <= begin <= len(self._out) - n
            and _SIZES.unpack_from(self._stored, start) == (n, end - start)
        ):
            if google_crc32c.value(raw[start:end]) != _UINT.unpack_from(self._stored, end)[0]:
                raise damaged()
            if inflate.call(self._source + start, self._place + begin, n, 1) == n and (
                FRAME.unpack_from(self._made, begin) == (1, size)
            ):
                return
        decode_framed(raw[max(start, 0) : max(stop, 0)], np.empty(max(n, 0), np.uint8))
        # Which has said what is wrong with the cell, unless nothing is.
        raise ValueError(f"{n} bytes do not fit into {len(self._out)} from {begin} on")


Stored = tuple[np.ndarray, int, int]
"""Some bytes (uint8), and where in them a cell begins and ends."""


def decode_each(
    stored: Sequence[Stored], room_of: Callable[[int], memoryview]
) -> Iterator[tuple[list[memoryview], int]]:
    """Check and decompress cells of any sizes, some megabytes of them into one piece of memory.

    Parameters
    ----------
    stored : sequence of Stored
    room_of : callable
        Gives memory of so many bytes.

    Yields
    ------
    payloads : list of memoryview
        Of the next of the cells: those that lie in one piece.
    held : int
        Bytes of that.

    Raises
    ------
    IntegrityError
        If one is damaged; :func:`decode` says of each whether it is.
    """
    sizes = []
    for raw, start, stop in stored:
        cell = raw[start:stop]
        sizes.append(payload_size(cell))
        checked_body(cell)  # before its size is believed, and memory taken for it
    first, end = 0, 0
    begins: list[int] = []
    for number, size in enumerate(sizes):
        room = HEADER + size + -size % HEADER
        if end > 0 and end + room > _TOGETHER_BYTES:
            yield _decoded(stored[first:number], sizes[first:number], begins, room_of(end)), end
            first, end, begins = number, 0, []
        begins.append(end)
        end += room
    if begins:
        yield _decoded(stored[first:], sizes[first:], begins, room_of(end)), end


def _decoded(
    stored: Sequence[Stored], sizes: Sequence[int], begins: Sequence[int], out: memoryview
) -> list[memoryview]:
    """Decompress cells that are checked, each to where its frame begins."""
    place = inflate.address(np.frombuffer(out, np.uint8))
    before, source = None, 0
    payloads = []
    for (raw, start, _), begin, size in zip(stored, begins, sizes, strict=True):
        if raw is not before:
            before, source = raw, inflate.address(raw)
        n = size + HEADER
        if inflate.call(source + start, place + begin, n, 1) != n:
            raise inflate.broken()
        if FRAME.unpack_from(out, begin) != (1, size):
            raise no_frame()
        payloads.append(out[begin + HEADER : begin + n])
    return payloads


def items(raw: np.ndarray, kind: np.dtype | str) -> np.ndarray:
    """What begins at each byte of a buffer: items that lie over each other."""
    dtype = np.dtype(kind)
    return np.ndarray(max(0, len(raw) - dtype.itemsize + 1), dtype, raw.data, 0, (1,))


def checked_body(cell: np.ndarray) -> np.ndarray:
    """A cell without its checksum, which fits; as long as its header says."""
    body = cell[:-CRC]
    if google_crc32c.value(body) != _UINT.unpack_from(cell.data, len(body))[0]:
        raise damaged()
    if len(body) < BLOSC_HEADER.size:
        raise IntegrityError(f"a cell of {len(cell)} bytes is too short to be one")
    total = _UINT.unpack_from(cell.data, 12)[0]
    if total != len(body):
        raise IntegrityError(f"a cell claims {total + CRC} bytes where it has {len(cell)}")
    return body


def damaged() -> IntegrityError:
    """The error for a cell whose checksum does not fit."""
    return IntegrityError(
        "a cell's checksum does not fit its bytes: the stored data is damaged. Restore the "
        "file from a copy (zv-versioned fsck says which it is), or read a snapshot that does not "
        "use it"
    )


def checked(cell: memoryview) -> memoryview:
    """A cell without its checksum, which fits.

    Raises
    ------
    IntegrityError
        If it does not.
    """
    checked_body(np.frombuffer(cell, np.uint8))
    return cell[:-CRC]


def decode(cell: bytes | memoryview) -> memoryview:
    """Check and decompress one cell; return its payload."""
    stored = np.frombuffer(cell, np.uint8)
    size = payload_size(stored)
    body = checked_body(stored)  # before its size is believed, and memory taken for it
    framed = np.empty(size + HEADER, np.uint8)
    _unpack(body, framed)
    return framed.data[HEADER:]
