"""Shards: cells laid side by side, with an index behind them.

The index has 16 bytes a place, offset and length as little-endian uint64, both
all ones where there is no cell, in C order of the block, and a CRC-32C.

Source: Zarr v3 core specification, chapter on the sharding codec.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import google_crc32c
import numpy as np

from ..errors import IntegrityError
from .cells import CRC, checked

_ABSENT = np.uint64(0xFFFFFFFFFFFFFFFF)


def index_size(places: int) -> int:
    """Size in bytes of the index of a shard with `places` places."""
    return 16 * places + 4


def pack(places: int, cells: Iterable[tuple[int, Sequence[bytes]]]) -> bytearray:
    """Lay cells side by side and put the index behind them.

    Parameters
    ----------
    places : int
        How many cells the block has room for.
    cells : iterable of (place, parts)
        The cells that exist, each as parts to be joined, in the order in which
        their bytes are laid. They may come one by one: no cell is held twice.

    Returns
    -------
    bytearray
        The shard.
    """
    index = np.full((places, 2), _ABSENT, "<u8")
    shard = bytearray()
    for place, cell in cells:
        offset = len(shard)
        for part in cell:
            shard += part
        index[place] = offset, len(shard) - offset
    shard += _sealed(index)
    return shard


def index_of(
    places: int, cell_places: np.ndarray, starts: np.ndarray, lengths: np.ndarray
) -> bytes:
    """The index of a shard, from where each of its cells lies.

    Parameters
    ----------
    places : int
    cell_places, starts, lengths : ndarray of int64, shape (C,)
    """
    index = np.full((places, 2), _ABSENT, "<u8")
    index[cell_places, 0], index[cell_places, 1] = starts, lengths
    return _sealed(index)


def _sealed(index: np.ndarray) -> bytes:
    table = index.tobytes()
    seal: bytes = google_crc32c.value(table).to_bytes(4, "little")
    return table + seal


def read_index(tail: memoryview, places: int) -> tuple[np.ndarray, np.ndarray]:
    """Read the index at the end of a shard.

    Parameters
    ----------
    tail : memoryview
        The shard, or at least its last ``index_size(places)`` bytes.
    places : int
        How many cells the block has room for.

    Returns
    -------
    start, stop : ndarray of int64, shape (places,)
        Byte ranges of the cells; -1 where there is none.

    Raises
    ------
    IntegrityError
        If the index is cut short or its checksum does not fit.
    """
    return ranges(read_entries(tail, places))


def read_entries(tail: memoryview, places: int) -> np.ndarray:
    """The index at the end of a shard as it is stored: (places, 2) uint64; see `read_index`."""
    size = index_size(places)
    if len(tail) < size:
        raise IntegrityError(f"a shard of {len(tail)} bytes is shorter than its index of {size}")
    table = np.frombuffer(tail[-size:-4], np.uint8)
    if google_crc32c.value(table) != int.from_bytes(tail[-4:], "little"):
        raise damaged_index()
    return table.view("<u8").reshape(places, 2)


def damaged_index() -> IntegrityError:
    """The error for an index whose checksum does not fit."""
    return IntegrityError(
        "the index of a shard is damaged: its checksum does not fit. Restore the file from a "
        "copy; zv-versioned fsck says which it is"
    )


def ranges(entries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the cells of some entries of indexes start and stop; -1 where there is none."""
    absent = entries[:, 0] == _ABSENT
    start = np.where(absent, -1, entries[:, 0].astype(np.int64))
    stop = np.where(absent, -1, start + entries[:, 1].astype(np.int64))
    return start, stop


def check(shard: memoryview, places: int) -> int:
    """Check every byte of a shard against its checksums; returns how many cells it has.

    Raises
    ------
    IntegrityError
        If a checksum does not fit, or if cells and index do not fill the shard.
    """
    start, stop = read_index(shard, places)
    there = np.flatnonzero(start >= 0)
    there = there[np.argsort(start[there], kind="stable")]
    edges = np.concatenate((stop[there], [len(shard) - index_size(places)]))
    if (np.concatenate((start[there], edges[-1:])) != np.concatenate(([0], edges[:-1]))).any():
        raise IntegrityError("the cells of a shard do not fill it: it was cut or put together")
    for a, b in zip(start[there].tolist(), stop[there].tolist(), strict=True):
        if b - a < CRC:
            raise IntegrityError(f"a cell of {b - a} bytes is too short to be one")
        checked(shard[a:b])
    return len(there)
