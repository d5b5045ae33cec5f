"""Shards of small cells, made and read all at once.

What blosc does not compress, a header and a copy, follows from the sizes
alone. So the cells of a shard that are all that small are laid side by side
with a few array operations, instead of a call each, and read again so. The
bytes are the same.
"""

from __future__ import annotations

import google_crc32c
import numpy as np

from .cells import COPIED, CRC, HEADER, TINY, TINY_HEAD, CellCodec, damaged
from .shards import index_of


def fits(largest: int, codec: CellCodec) -> bool:
    """Whether cells whose payloads have at most so many bytes can be made here."""
    return largest + HEADER < TINY and codec.copies_tiny


def pack(
    places: int, cell_places: np.ndarray, sizes: np.ndarray, payload: np.ndarray, codec: CellCodec
) -> bytearray:
    """Lay small cells side by side and put the index behind them.

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
        What :func:`zv_versioned.format.shards.pack` makes of the same cells.
    """
    heads = codec.tiny_heads(sizes)
    before = heads.shape[1]
    lengths = sizes + before + CRC
    ends = np.cumsum(lengths)
    starts = ends - lengths
    cells = np.empty(int(ends[-1]), np.uint8)
    cells[starts[:, None] + np.arange(before)] = heads
    from_start = np.arange(len(payload)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    cells[np.repeat(starts + before, sizes) + from_start] = payload
    raw = cells.tobytes()
    bodies = zip(starts.tolist(), (ends - CRC).tolist(), strict=True)
    seals = np.fromiter((google_crc32c.value(raw[a:b]) for a, b in bodies), "<u4", len(sizes))
    cells[(ends - CRC)[:, None] + np.arange(CRC)] = seals.view(np.uint8).reshape(-1, CRC)
    return bytearray(cells.tobytes()) + index_of(places, cell_places, starts, lengths)


def unpack(
    raw: np.ndarray,
    starts: np.ndarray,
    stops: np.ndarray,
    sizes: np.ndarray,
    out: np.ndarray,
    begins: np.ndarray,
) -> np.ndarray:
    """Check and copy the payloads of cells that blosc stored as they are.

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
    head = TINY_HEAD.itemsize
    done: np.ndarray = (stops - starts == sizes + head + CRC) & (stops <= len(raw))
    at = np.flatnonzero(done)
    heads = raw[starts[at, None] + np.arange(head)].view(TINY_HEAD).reshape(-1)
    framed = sizes[at] + HEADER
    plain = heads["start"][:, 2] & COPIED != 0
    plain &= (heads["size"] == framed) & (heads["total"] == framed + head - HEADER)
    plain &= (heads["items"] == 1) & (heads["length"] == sizes[at])
    done[at] = plain
    at = at[plain]
    starts, ends, sizes, begins = starts[at], stops[at] - CRC, sizes[at], begins[at]
    bodies = zip(starts.tolist(), ends.tolist(), strict=True)
    seals = np.fromiter((google_crc32c.value(raw[a:b]) for a, b in bodies), "<u4", len(at))
    if (raw[ends[:, None] + np.arange(CRC)].view("<u4").reshape(-1) != seals).any():
        raise damaged()
    before = np.cumsum(sizes) - sizes
    bytes_of = np.arange(int(sizes.sum()))
    out[np.repeat(begins - before, sizes) + bytes_of] = raw[
        np.repeat(starts + head - before, sizes) + bytes_of
    ]
    return done
