"""Many cells of one buffer, checked and decoded all at once.

Where a thousand small files are read, what is done for each cell is the cost. So the
checksums of cells that lie side by side are checked together, headers are compared as
columns, payloads that are stored as they are are moved row by row of all cells at once,
and a cell that blosc compressed costs little more than the call that decompresses it.
"""

from __future__ import annotations

import numpy as np

from ..errors import IntegrityError
from . import checksums, inflate
from .cells import BLOSC_HEADER, COPIED, COPIED_HEAD, CRC, FRAME, HEADER, damaged, items, no_frame

_SHORT_ROWS = 24
"""Rows of a cell, on average, up to which moving each by itself is faster than a slice a cell."""


def decode(
    raw: np.ndarray, starts: np.ndarray, stops: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Check and decode cells, whatever their size.

    Parameters
    ----------
    raw : ndarray of uint8
        What the cells lie in.
    starts, stops : ndarray of int64, shape (C,)
        Where each does.

    Returns
    -------
    out : ndarray of uint8
    begins, ends : ndarray of int64, shape (C,)
        Where each payload lies in there, aligned to 8 bytes.

    Raises
    ------
    IntegrityError
        If a cell is not as it was written; it is not said which.
    """
    heads = _checked_heads(raw, starts, stops)
    sizes = heads["size"].astype(np.int64) - HEADER
    if len(sizes) and int(sizes.min()) < 0:
        raise IntegrityError("a cell claims fewer bytes than its own frame has")
    room = HEADER + sizes + -sizes % 8
    frames = np.cumsum(room) - room
    out = np.empty(int(room.sum()), np.uint8)
    _unpack(raw, heads, starts, stops, sizes, 8, out, frames)
    return out, frames + HEADER, frames + HEADER + sizes


def unpack(
    raw: np.ndarray,
    starts: np.ndarray,
    stops: np.ndarray,
    sizes: np.ndarray,
    row_bytes: int,
    out: np.ndarray,
    begins: np.ndarray,
) -> None:
    """Check and decode cells.

    Parameters
    ----------
    raw : ndarray of uint8
        What the cells lie in.
    starts, stops : ndarray of int64, shape (C,)
        Where each does.
    sizes : ndarray of int64, shape (C,)
        Bytes that each payload must have.
    row_bytes : int
        What each payload consists of, as a rule.
    out : ndarray of uint8
    begins : ndarray of int64, shape (C,)
        Where in `out` the frame of each begins; its payload goes 8 bytes further. The 8
        bytes before a payload may be overwritten, unless a payload of these goes there.

    Raises
    ------
    IntegrityError
        If a cell is not as it was written; it is not said which.
    """
    _unpack(raw, _checked_heads(raw, starts, stops), starts, stops, sizes, row_bytes, out, begins)


def _unpack(
    raw: np.ndarray,
    heads: np.ndarray,
    starts: np.ndarray,
    stops: np.ndarray,
    sizes: np.ndarray,
    row_bytes: int,
    out: np.ndarray,
    begins: np.ndarray,
) -> None:
    """As :func:`unpack`, of cells whose checksums fit and which have these headers."""
    total = stops - starts - CRC
    if (heads["total"] != total).any() or (heads["size"] != sizes + HEADER).any():
        raise IntegrityError("a cell has another size than its batch's index says")
    copies = heads["start"][:, 2] & COPIED != 0
    copies &= total == sizes + COPIED_HEAD.itemsize
    # Those that are decompressed go first, the last of them before the others: each lays its
    # frame over what lies before it.
    at = np.flatnonzero(~copies)
    at = at[np.argsort(begins[at], kind="stable")[::-1]]
    _decompress(raw, starts[at], out, begins[at], sizes[at])
    at = np.flatnonzero(copies)
    whole = len(at) == len(copies)
    if not whole:
        heads, starts, sizes, begins = heads[at], starts[at], sizes[at], begins[at]
    if (heads["items"] != 1).any() or (heads["length"] != sizes).any():
        raise no_frame()
    _move(raw, starts + COPIED_HEAD.itemsize, sizes, row_bytes, out, begins + HEADER)


def _checked_heads(raw: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """The headers, and what would be the frames, of cells whose checksums fit: COPIED_HEAD."""
    least, room = BLOSC_HEADER.size + CRC, len(raw) - COPIED_HEAD.itemsize
    if len(starts) and (
        int(starts.min()) < 0
        or int((stops - starts).min()) < least
        or int(stops.max()) > len(raw)
        or int(starts.max()) > room
    ):
        raise IntegrityError("a cell is too short to be one, or lies beyond its shard")
    if not checksums.fit(raw, starts, stops):
        raise damaged()
    # A void item is moved as it is, wherever it lies.
    stored = items(raw, f"V{COPIED_HEAD.itemsize}")[starts]
    return np.asarray(stored.view(COPIED_HEAD))


def _decompress(
    raw: np.ndarray, starts: np.ndarray, out: np.ndarray, begins: np.ndarray, sizes: np.ndarray
) -> None:
    """Decompress cells whose checksums and sizes fit."""
    source, target, made, call = inflate.address(raw), inflate.address(out), out.data, inflate.call
    if len(begins) and (int(begins.min()) < 0 or int((begins + sizes).max()) + HEADER > len(out)):
        raise ValueError("a payload does not fit into its buffer")
    for start, begin, size in zip(starts.tolist(), begins.tolist(), sizes.tolist(), strict=True):
        n = size + HEADER
        if call(source + start, target + begin, n, 1) != n:
            raise inflate.broken()
        if FRAME.unpack_from(made, begin) != (1, size):
            raise no_frame()


def _move(
    raw: np.ndarray,
    bodies: np.ndarray,
    sizes: np.ndarray,
    row_bytes: int,
    out: np.ndarray,
    places: np.ndarray,
) -> None:
    """Move payloads to their places."""
    rows = sizes // row_bytes
    count = int(rows.sum())
    if count > _SHORT_ROWS * len(rows) or (rows * row_bytes != sizes).any():
        source, target = raw.data, out.data
        for body, size, place in zip(bodies.tolist(), sizes.tolist(), places.tolist(), strict=True):
            target[place : place + size] = source[body : body + size]
        return
    moved = items(raw, f"V{row_bytes}")[_each_row(bodies, rows, row_bytes)]
    if (places[1:] == places[:-1] + sizes[:-1]).all():
        first = int(places[0]) if count else 0
        out[first : first + count * row_bytes] = moved.view(np.uint8)
    else:
        items(out, moved.dtype)[_each_row(places, rows, row_bytes)] = moved


def _each_row(begins: np.ndarray, rows: np.ndarray, row_bytes: int) -> np.ndarray:
    """Where each row begins of runs of rows, of which it is known where they begin."""
    before = np.cumsum(rows) - rows
    found = np.arange(int(rows.sum()), dtype=np.int64)
    found *= row_bytes
    found += np.repeat(begins - before * row_bytes, rows)
    return found
