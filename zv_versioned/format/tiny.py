"""Shards of small cells, made all at once.

What blosc does not compress, a header and a copy, follows from the sizes
alone. So the cells of a shard that are all that small are laid side by side
with a few array operations, instead of a call each. The bytes are the same.
"""

from __future__ import annotations

import google_crc32c
import numpy as np

from .cells import CRC, HEADER, TINY, CellCodec
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
