"""Stored cells, decoded to where they belong.

Cells that blosc compressed are decoded one by one, those that are stored as they are
copied; those of many small shards all at once (:mod:`zv_versioned.format.many`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .. import _store
from .._memory import lent
from ..errors import IntegrityError
from ..format import blocks, copied, many
from ..format.cells import HEADER, Decoder, decode_framed
from .wanted import Ranges, Shard, Stored, Target

Found = tuple[Shard, Stored]

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
    for number, target in enumerate(targets):
        mine = [
            (shard, stored)
            for shard, stored in zip(piece, values, strict=True)
            if shard.target == number
        ]
        of = rows[number]
        some = None if of is None else (of[0] * target.row_bytes, of[1] * target.row_bytes)
        # The last ones first, for what is decompressed lays its frame over what lies before it.
        for part, small in reversed(list(_parts(mine, some))):
            if small:
                _decode_small(part, target)
            else:
                _decode_part(part, target.out, some)


def _parts(mine: Sequence[Found], looked_at: Ranges | None) -> Iterator[tuple[list[Found], bool]]:
    """Neighbours that are decoded in the same way, and whether as many small shards at once.

    Shards of one batch may take turns in the buffer, but batches follow each other.
    """
    part: list[Found] = []
    small, cells, until = False, 0, 0
    for shard, stored in mine:
        whole = shard.whole and shard.small
        if whole and looked_at is not None:
            # Of large cells only some blocks are decompressed.
            whole = int(shard.sizes.max(initial=0)) <= blocks.LEAST_BYTES
        turn = len(shard.begins) > 0 and int(shard.begins.min()) < until
        if part and not turn and (whole != small or cells >= _TOGETHER_CELLS):
            yield part, small and len(part) >= _FEW_SHARDS
            part, cells = [], 0
        small = whole and (small or not part)
        part.append((shard, stored))
        cells += len(shard.places)
        until = max(until, int(shard.begins.max(initial=0)) + 1)
    if part:
        yield part, small and len(part) >= _FEW_SHARDS


def _decode_small(part: Sequence[Found], target: Target) -> None:
    """Decode small shards that were fetched whole as if they were one."""
    counts = [len(shard.places) for shard, _ in part]
    raw, shift = _one_behind_the_other([stored.buffers[0] for _, stored in part])
    shifts = np.repeat(shift, counts)
    start = np.concatenate([stored.start for _, stored in part]) + shifts
    stop = np.concatenate([stored.stop for _, stored in part]) + shifts
    begins = np.concatenate([shard.begins for shard, _ in part])
    sizes = np.concatenate([shard.sizes for shard, _ in part])
    first = int(np.argmin(begins))
    others = np.arange(len(begins)) != first if begins[first] > 0 else slice(None)
    into = target.row_bytes, target.out, begins[others]
    try:
        many.unpack(raw, start[others], stop[others], sizes[others], *into)
        if begins[first] > 0:
            # What lies before it may be filled by others at the same time.
            cell = raw[start[first] : stop[first]]
            _decode_aside(cell, target.out, int(begins[first]), int(sizes[first]))
    except IntegrityError:
        _decode_part(part, target.out, None)  # which of them it is
        raise


def _one_behind_the_other(raw: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Buffers in one, unless they are one already, and where each begins there: int64."""
    if all(each is raw[0] for each in raw):
        return raw[0], np.zeros(len(raw), np.int64)
    lengths = np.array(list(map(len, raw)))
    whole = np.frombuffer(lent(int(lengths.sum())), np.uint8)
    return np.concatenate(raw, out=whole), np.cumsum(lengths) - lengths


def _decode_part(mine: Sequence[Found], out: np.ndarray, looked_at: Ranges | None) -> None:
    # Those that are decompressed go first, for each lays its frame over what lies before it.
    alike = [_may_be_copies(shard, stored) for shard, stored in mine]
    _decompress(_Cells.of(mine, alike), out, looked_at, min(int(s.begins.min()) for s, _ in mine))
    again = []
    for (shard, stored), copies in zip(mine, alike, strict=True):
        again += [(shard, stored, at) for at in _decode_copied(shard, stored, copies, out)]
    for shard, stored, at in again:
        _decode_alone(shard, stored, at, out)


@dataclass(frozen=True)
class _Cells:
    """Cells that blosc compressed, the last one first.

    Parameters
    ----------
    keys : list of str
        Of the shards they lie in.
    shard : list of int
        Which of these, for each cell; and all that follows is for each cell, too.
    buffers : list of ndarray of uint8
        What it lies in.
    start, stop : list of int
        Where it does.
    begin, size : list of int
        Where its payload goes, and the bytes of it.
    """

    keys: list[str]
    shard: list[int]
    buffers: list[np.ndarray]
    start: list[int]
    stop: list[int]
    begin: list[int]
    size: list[int]

    @classmethod
    def of(cls, mine: Sequence[Found], copies: Sequence[np.ndarray]) -> _Cells:
        """Those of some shards that cannot be copies."""
        columns: list[np.ndarray] = []
        buffers: list[np.ndarray] = []
        for number, ((shard, stored), may_be) in enumerate(zip(mine, copies, strict=True)):
            at = np.flatnonzero(~may_be)
            if len(at) == 0:
                continue
            found = np.empty((6, len(at)), np.int64)
            found[0] = number
            found[1] = stored.buffer[at] + len(buffers)
            found[2:] = stored.start[at], stored.stop[at], shard.begins[at], shard.sizes[at]
            columns.append(found)
            buffers += stored.buffers
        if not columns:
            return cls([], [], [], [], [], [], [])
        found = np.concatenate(columns, axis=1)
        found = found[:, np.argsort(found[4])[::-1]]
        shards, which, *rest = found.tolist()
        return cls([shard.key for shard, _ in mine], shards, [buffers[n] for n in which], *rest)

    def __iter__(self) -> Iterator[tuple[np.ndarray, int, int, int, int]]:
        return zip(self.buffers, self.start, self.stop, self.begin, self.size, strict=True)


def _decompress(found: _Cells, out: np.ndarray, looked_at: Ranges | None, first: int) -> None:
    """Check and decompress cells, each to where it goes; what begins at `first` by itself.

    What lies before that may be filled by others at the same time.
    """
    decoder = Decoder(out)
    within = None if looked_at is None else _Within(looked_at, found)
    done = 0
    try:
        for raw, start, stop, begin, size in found:
            if begin == first > 0:
                _decode_aside(raw[start:stop], out, begin, size)
            elif within is None or size <= blocks.LEAST_BYTES:
                decoder.decode(raw, start, stop, begin, size)
            else:
                framed = out[begin : begin + size + HEADER]
                blocks.decode_rows(raw[start:stop], framed, within.of(done))
            done += 1
    except IntegrityError:
        with _store.damage_in(found.keys[found.shard[done]]):
            raise


def _decode_aside(cell: np.ndarray, out: np.ndarray, begin: int, size: int) -> None:
    """Decode a cell beside what is there already, nothing of which is touched."""
    framed = np.empty(size + HEADER, np.uint8)
    decode_framed(cell, framed)
    out[begin + HEADER : begin + HEADER + size] = framed[HEADER:]


class _Within:
    """The parts of some ranges of bytes that lie in each of some cells.

    Parameters
    ----------
    ranges : Ranges
    found : _Cells
    """

    def __init__(self, ranges: Ranges, found: _Cells) -> None:
        starts, stops = ranges
        begins = np.array(found.begin, np.int64)
        self._starts, self._stops = starts.tolist(), stops.tolist()
        self._first = stops.searchsorted(begins, "right").tolist()
        self._last = starts.searchsorted(begins + np.array(found.size, np.int64)).tolist()
        self._found = found

    def of(self, number: int) -> list[tuple[int, int]]:
        """Those in one cell, counted from where it begins."""
        begin, size = self._found.begin[number], self._found.size[number]
        part = slice(self._first[number], self._last[number])
        return [
            (max(start - begin, 0), min(stop - begin, size))
            for start, stop in zip(self._starts[part], self._stops[part], strict=True)
        ]


def _may_be_copies(shard: Shard, stored: Stored) -> np.ndarray:
    """Which cells have the length that they have where they are stored as they are."""
    alike: np.ndarray = stored.stop - stored.start == copied.lengths_of(shard.sizes)
    return alike


def _decode_copied(shard: Shard, stored: Stored, alike: np.ndarray, out: np.ndarray) -> list[int]:
    """Copy the cells of a shard that are copies; returns those of their length that are not."""
    left: list[int] = []
    if not alike.any():
        return left
    for number, raw in enumerate(stored.buffers):
        at = np.flatnonzero(alike & (stored.buffer == number))
        if len(at) == 0:
            continue
        start, stop, sizes = stored.start[at], stored.stop[at], shard.sizes[at]
        with _store.damage_in(shard.key):
            done = copied.unpack(raw, start, stop, sizes, out, shard.begins[at] + HEADER)
        left += at[~done].tolist()
    return left


def _decode_alone(shard: Shard, stored: Stored, at: int, out: np.ndarray) -> None:
    """Decode one cell that is no copy after all."""
    cell = stored.buffers[stored.buffer[at]][stored.start[at] : stored.stop[at]]
    with _store.damage_in(shard.key):
        _decode_aside(cell, out, int(shard.begins[at]), int(shard.sizes[at]))
