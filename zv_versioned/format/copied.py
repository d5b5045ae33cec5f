"""Shards of cells that are stored as they are, made and read all at once.

A cell that blosc does not compress is a header and a copy, and the header follows
from its size. So the cells of a shard can be laid side by side, and read again, in
a loop of copies and checksums: a microsecond a cell, where blosc needs seven; and of
those that are short, all of one size at once. What is under 128 bytes blosc stores so
itself; small cells that would shrink little are stored so too (docs/design/010).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import google_crc32c
import numpy as np

from . import checksums
from .cells import COPIED, COPIED_HEAD, CRC, HEADER, UNCOMPRESSED, CellCodec, damaged, items
from .shards import index_of

_SMALL = 1024
_SHRINKS = 0.75
"""Cells that have fewer bytes on average are copied, unless they shrink to less than this."""

_ALIKE = 16
"""Cells of one size are worth to be taken together where there are so many for each byte of one."""


def fits(rows: np.ndarray, cell_bytes: np.ndarray, codec: CellCodec) -> bool:
    """Whether cells are to be stored as they are.

    Parameters
    ----------
    rows : ndarray of uint8, shape (sum of bytes,)
        What goes into them, in any order: a sample is compressed.
    cell_bytes : ndarray of int64, shape (C,)
        Bytes of each payload.
    codec : CellCodec
    """
    if not codec.knows_copies:
        return False
    if int(cell_bytes.max()) + HEADER < UNCOMPRESSED:
        return True
    if len(rows) >= _SMALL * len(cell_bytes):
        return False
    sample = rows[:_SMALL]
    return len(codec.compress(sample)) >= _SHRINKS * len(sample)


def pack(
    places: int, cell_places: np.ndarray, sizes: np.ndarray, payload: np.ndarray, codec: CellCodec
) -> bytearray:
    """Lay cells side by side and put the index behind them.

    Parameters
    ----------
    places : int
        How many cells the block has room for.
    cell_places : ndarray of int64, shape (C,)
    sizes : ndarray of int64, shape (C,)
        Bytes of each payload.
    payload : ndarray of uint8, shape (sum of sizes,)
        The payloads, one after the other.
    codec : CellCodec

    Returns
    -------
    bytearray
        The shard.
    """
    before = COPIED_HEAD.itemsize
    heads = codec.copied_heads(sizes).view(f"V{before}").reshape(-1)
    lengths = sizes + before + CRC
    stops = np.cumsum(lengths)
    starts, ends = stops - lengths, stops - CRC
    begins = np.cumsum(sizes) - sizes
    raw = np.empty(int(stops[-1]), np.uint8)
    items(raw, heads.dtype)[starts] = heads
    seals = np.empty(len(sizes), "<u4")
    alike, others = _alike(heads, sizes)
    for size, at in alike:
        kind = f"V{size}"
        bodies = items(payload, kind)[begins[at]]
        items(raw, kind)[starts[at] + before] = bodies
        seals[at] = _seals(heads[at[0]], bodies)
    into, out_of = raw.data, payload.data
    for row, start, end, begin, until in _each(others, starts, ends, begins, begins + sizes):
        into[start + before : end] = out_of[begin:until]
        seals[row] = google_crc32c.value(raw[start:end])
    items(raw, "<u4")[ends] = seals
    shard = bytearray(raw.data)
    shard += index_of(places, cell_places, starts, lengths)
    return shard


def _each(rows: np.ndarray, *columns: np.ndarray) -> Iterator[tuple[int, ...]]:
    """Some rows of columns, one by one, each after its number."""
    return zip(rows.tolist(), *(column[rows].tolist() for column in columns), strict=True)


def _alike(heads: np.ndarray, sizes: np.ndarray) -> tuple[list[tuple[int, np.ndarray]], np.ndarray]:
    """Short cells of which several have the same head: the size, and which; and all others."""
    found = []
    short = np.flatnonzero((sizes > 0) & (sizes <= checksums.LONGEST - COPIED_HEAD.itemsize))
    short = short[np.argsort(sizes[short], kind="stable")]
    left = np.ones(len(sizes), bool)
    for at in np.split(short, np.flatnonzero(np.diff(sizes[short])) + 1):
        if len(at) and len(at) >= _ALIKE * int(sizes[at[0]]):
            at = at[heads[at] == heads[at[0]]]
            found.append((int(sizes[at[0]]), at))
            left[at] = False
    return found, np.flatnonzero(left)


def _seals(head: np.ndarray, bodies: np.ndarray) -> np.ndarray:
    """The checksums of cells with the same head."""
    rows = bodies.view(np.uint8).reshape(len(bodies), -1)
    return checksums.of_each(head.tobytes(), rows)


def lengths_of(sizes: np.ndarray) -> np.ndarray:
    """Bytes of the cells whose payloads have so many, where they are stored as they are."""
    return sizes + COPIED_HEAD.itemsize + CRC


def unpack(
    raw: np.ndarray,
    starts: np.ndarray,
    stops: np.ndarray,
    sizes: np.ndarray,
    out: np.ndarray,
    begins: np.ndarray,
) -> np.ndarray:
    """Check and copy the payloads of cells that are stored as they are.

    Parameters
    ----------
    raw : ndarray of uint8
        What the cells lie in.
    starts, stops : ndarray of int64, shape (C,)
        Where each does.
    sizes : ndarray of int64, shape (C,)
        Bytes that each payload must have.
    out : ndarray of uint8
    begins : ndarray of int64, shape (C,)
        Where in `out` each payload goes.

    Returns
    -------
    ndarray of bool, shape (C,)
        Which of them were read. The others are not stored as they are, or are not
        what they must be: :func:`zv_versioned.format.cells.decode_framed` says.

    Raises
    ------
    IntegrityError
        If a checksum does not fit.
    """
    before = COPIED_HEAD.itemsize
    done: np.ndarray = (stops - starts == lengths_of(sizes)) & (stops <= len(raw))
    at = np.flatnonzero(done)
    stored = items(raw, f"V{before}")[starts[at]]
    heads, framed = stored.view(COPIED_HEAD), sizes[at] + HEADER
    plain = heads["start"][:, 2] & COPIED != 0
    plain &= (heads["size"] == framed) & (heads["total"] == framed + before - HEADER)
    plain &= (heads["items"] == 1) & (heads["length"] == sizes[at])
    done[at] = plain
    at, stored = at[plain], stored[plain]
    starts, ends, begins, sizes = starts[at], stops[at] - CRC, begins[at], sizes[at]
    seals = np.empty(len(at), "<u4")
    alike, others = _alike(stored, sizes)
    for size, rows in alike:
        bodies = items(raw, f"V{size}")[starts[rows] + before]
        items(out, bodies.dtype)[begins[rows]] = bodies
        seals[rows] = _seals(stored[rows[0]], bodies)
    if len(others):
        seals[others] = _copy(raw, starts[others], ends[others], out, begins[others])
    if (items(raw, "<u4")[ends] != seals).any():
        raise damaged()
    return done


def _copy(
    raw: np.ndarray, starts: np.ndarray, ends: np.ndarray, out: np.ndarray, begins: np.ndarray
) -> np.ndarray:
    """Copy payloads of cells that end, but for their checksums, at `ends`; these must be returned.

    Of cells one by one no more is made than a checksum and a view; those that belong side by
    side are put there together.
    """
    bodies = starts + COPIED_HEAD.itemsize
    view = raw.data
    parts = [view[a:b] for a, b in zip(bodies.tolist(), ends.tolist(), strict=True)]
    untils = begins + (ends - bodies)
    cuts = [0, *(np.flatnonzero(begins[1:] != untils[:-1]) + 1).tolist(), len(parts)]
    for first, last in pairwise(cuts):
        joined = b"".join(parts[first:last])
        out[begins[first] : untils[last - 1]] = np.frombuffer(joined, np.uint8)
    found = [
        google_crc32c.value(raw[a:b]) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)
    ]
    return np.array(found, np.uint32)
