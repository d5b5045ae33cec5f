"""Shards of cells that are stored as they are, made and read all at once.

A cell that blosc does not compress is a header and a copy, and the header follows
from its size. So the cells of a shard can be laid side by side, and read again, in
a loop of copies and checksums: a microsecond a cell, where blosc needs seven. What
is under 128 bytes blosc stores so itself; small cells that would shrink little are
stored so too (docs/design/010).
"""

from __future__ import annotations

import google_crc32c
import numpy as np

from .cells import COPIED, COPIED_HEAD, CRC, HEADER, UNCOMPRESSED, CellCodec, damaged
from .shards import index_of

_SMALL = 1024
_SHRINKS = 0.75
"""Cells that have fewer bytes on average are copied, unless they shrink to less than this."""


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
    heads = codec.copied_heads(sizes)
    before = heads.shape[1]
    lengths = sizes + before + CRC
    stops = np.cumsum(lengths)
    starts, ends = stops - lengths, stops - CRC
    after = np.cumsum(sizes)
    raw = np.empty(int(stops[-1]), np.uint8)
    raw[starts[:, None] + np.arange(before)] = heads
    into, out_of, seals = raw.data, payload.data, []
    for start, end, first, last in zip(
        starts.tolist(), ends.tolist(), (after - sizes).tolist(), after.tolist(), strict=True
    ):
        into[start + before : end] = out_of[first:last]
        seals.append(google_crc32c.value(raw[start:end]))
    raw[ends[:, None] + np.arange(CRC)] = np.array(seals, "<u4").view(np.uint8).reshape(-1, CRC)
    shard = bytearray(raw.data)
    shard += index_of(places, cell_places, starts, lengths)
    return shard


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
    heads = raw[starts[at, None] + np.arange(before)].view(COPIED_HEAD).reshape(-1)
    framed = sizes[at] + HEADER
    plain = heads["start"][:, 2] & COPIED != 0
    plain &= (heads["size"] == framed) & (heads["total"] == framed + before - HEADER)
    plain &= (heads["items"] == 1) & (heads["length"] == sizes[at])
    done[at] = plain
    at = at[plain]
    starts, ends, begins = starts[at], stops[at] - CRC, begins[at]
    into, out_of, seals = out.data, raw.data, []
    for start, end, begin, until in zip(
        starts.tolist(), ends.tolist(), begins.tolist(), (begins + sizes[at]).tolist(), strict=True
    ):
        seals.append(google_crc32c.value(raw[start:end]))
        into[begin:until] = out_of[start + before : end]
    if (raw[ends[:, None] + np.arange(CRC)].view("<u4").reshape(-1) != seals).any():
        raise damaged()
    return done
