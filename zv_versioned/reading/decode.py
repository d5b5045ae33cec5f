"""Stored cells, decoded to where they belong.

Cells that blosc compressed are decoded one by one; those that are stored as they
are, and of small shards all at once, are copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .. import _store
from ..errors import IntegrityError
from ..format import blocks, copied
from ..format.cells import HEADER, decode_framed
from .wanted import Ranges, Shard, Stored, Target

_FEW_SHARDS = 8
_TOGETHER_CELLS = 1 << 14


def decode(
    piece: Sequence[Shard],
    values: list[Stored],
    targets: Sequence[Target],
    rows: Sequence[Ranges | None],
) -> None:
    """Decode the cells of one piece.

    Parameters
    ----------
    piece : sequence of Shard
    values : list of Stored
        The stored bytes of each.
    targets : sequence of Target
    rows : sequence of Ranges or None
        For each target the rows of its buffer that are looked at; None for all. Of
        large cells no more than the blocks that hold them are decompressed.
    """
    some = [
        None if of is None else (of[0] * target.row_bytes, of[1] * target.row_bytes)
        for of, target in zip(rows, targets, strict=True)
    ]
    if len(piece) < _FEW_SHARDS:
        _decode_each(piece, values, targets, some)
        return
    try:
        _decode_each(*_together(piece, values), targets, some)
    except IntegrityError:
        _decode_each(piece, values, targets, some)  # which of them it is
        raise


def _together(piece: Sequence[Shard], values: Sequence[Stored]) -> tuple[list[Shard], list[Stored]]:
    """Small shards that were fetched whole, those of a target as if they were one."""
    shards_of: list[Shard] = []
    stored_of: list[Stored] = []
    groups: list[list[tuple[Shard, Stored]]] = []
    room, target = 0, -1
    for shard, stored in zip(piece, values, strict=True):
        if not (shard.whole and shard.small):
            shards_of.append(shard)
            stored_of.append(stored)
            continue
        if room <= 0 or shard.target != target:
            groups.append([])
            room, target = _TOGETHER_CELLS, shard.target
        groups[-1].append((shard, stored))
        room -= len(shard.places)
    for both in groups:
        raw = [stored.buffers[0] for _, stored in both]
        counts = [len(shard.places) for shard, _ in both]
        lengths = np.array(list(map(len, raw)))
        shift = np.repeat(np.cumsum(lengths) - lengths, counts)
        start = np.concatenate([stored.start for _, stored in both]) + shift
        stop = np.concatenate([stored.stop for _, stored in both]) + shift
        shards_of.append(
            both[0][0]._replace(
                places=np.concatenate([shard.places for shard, _ in both]),
                begins=np.concatenate([shard.begins for shard, _ in both]),
                sizes=np.concatenate([shard.sizes for shard, _ in both]),
            )
        )
        stored_of.append(Stored([np.concatenate(raw)], np.zeros(len(start), np.int64), start, stop))
    return shards_of, stored_of


def _decode_each(
    piece: Sequence[Shard],
    values: Sequence[Stored],
    targets: Sequence[Target],
    some: Sequence[Ranges | None],
) -> None:
    # Those that are decompressed go first, for each lays its frame over what lies before it.
    for number, begin, size, cell, key in sorted(
        _compressed(piece, values), key=lambda cell: cell[:2], reverse=True
    ):
        framed = targets[number].out[begin : begin + size + HEADER]
        with _store.damage_in(key):
            looked_at = some[number] if size > blocks.LEAST_BYTES else None
            if looked_at is None:
                decode_framed(cell, framed)
            else:
                blocks.decode_rows(cell, framed, _within(looked_at, begin, size))
    again = []
    for shard, stored in zip(piece, values, strict=True):
        again += _decode_copied(shard, stored, targets[shard.target].out)
    for shard, stored, at in again:
        _decode_alone(shard, stored, at, targets[shard.target].out)


def _within(ranges: Ranges, begin: int, size: int) -> list[tuple[int, int]]:
    """The parts of some ranges of bytes that lie in one cell, counted from where it begins."""
    starts, stops = ranges
    first = int(stops.searchsorted(begin, "right"))
    last = int(starts.searchsorted(begin + size))
    parts = zip(starts[first:last].tolist(), stops[first:last].tolist(), strict=True)
    return [(max(start - begin, 0), min(stop - begin, size)) for start, stop in parts]


def _may_be_copies(shard: Shard, stored: Stored) -> np.ndarray:
    """Which cells have the length that they have where they are stored as they are."""
    alike: np.ndarray = stored.stop - stored.start == copied.lengths_of(shard.sizes)
    return alike


def _compressed(
    piece: Sequence[Shard], values: Sequence[Stored]
) -> Iterator[tuple[int, int, int, np.ndarray, str]]:
    """Cells that blosc compressed: the target, where each goes, its size, its bytes, its key."""
    for shard, stored in zip(piece, values, strict=True):
        at = np.flatnonzero(~_may_be_copies(shard, stored))
        for begin, size, buffer, start, stop in zip(
            shard.begins[at].tolist(),
            shard.sizes[at].tolist(),
            stored.buffer[at].tolist(),
            stored.start[at].tolist(),
            stored.stop[at].tolist(),
            strict=True,
        ):
            yield shard.target, begin, size, stored.buffers[buffer][start:stop], shard.key


def _decode_copied(
    shard: Shard, stored: Stored, out: np.ndarray
) -> list[tuple[Shard, Stored, int]]:
    """Copy the cells of a shard that are copies; returns those of their length that are not."""
    alike = _may_be_copies(shard, stored)
    left = []
    for number, raw in enumerate(stored.buffers):
        at = np.flatnonzero(alike & (stored.buffer == number))
        if len(at) == 0:
            continue
        start, stop, sizes = stored.start[at], stored.stop[at], shard.sizes[at]
        with _store.damage_in(shard.key):
            done = copied.unpack(raw, start, stop, sizes, out, shard.begins[at] + HEADER)
        left += [(shard, stored, one) for one in at[~done].tolist()]
    return left


def _decode_alone(shard: Shard, stored: Stored, at: int, out: np.ndarray) -> None:
    """Decode one cell that is no copy after all, beside what is decoded already."""
    begin, size = int(shard.begins[at]), int(shard.sizes[at])
    cell = stored.buffers[stored.buffer[at]][stored.start[at] : stored.stop[at]]
    framed = np.empty(size + HEADER, np.uint8)
    with _store.damage_in(shard.key):
        decode_framed(cell, framed)
    out[begin + HEADER : begin + HEADER + size] = framed[HEADER:]
