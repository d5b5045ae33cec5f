"""Cells of arrays, fetched and decoded, each to where it belongs in one buffer.

Small batches, and batches all of whose cells are wanted, are fetched as whole
shards; of others the ranges of the cells, joined over small gaps. All that is
asked for at the same time, several arrays too, goes into one call: first the
indexes of the shards that are not known yet, then the bytes. What is large is
cut into pieces, of which one is decoded while the next is on its way, so that a
read needs its result and two pieces.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from zarr.abc.store import Store

from .. import _paths, _store
from .._cache import Cache
from .._cells_io import Blocks
from ..errors import IntegrityError
from ..format import copied, shards
from ..format.cells import HEADER, decode_framed
from ..spatial.grid import Grid

WHOLE_BATCH_BYTES = 512 << 10
_GAP_BYTES = 64 << 10
_PIECE_BYTES = 16 << 20
# A request is read from beginning to end; several at the same time are faster than a long one.
RANGE_BYTES = 4 << 20
_ALONE_BYTES = 1 << 20

Index = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Wanted:
    """Cells of one batch that are to be read.

    Parameters
    ----------
    slot : int
    cells : ndarray of int64, shape (C,)
        Their numbers, ascending.
    cell_rows : ndarray of int, shape (C,)
        Rows in each: vertices or links.
    batch_cells, batch_rows : int
        How many there are in the whole batch.
    """

    slot: int
    cells: np.ndarray
    cell_rows: np.ndarray
    batch_cells: int
    batch_rows: int


@dataclass(frozen=True)
class Target:
    """Cells of one array, and the buffer that they go to, one after the other.

    Parameters
    ----------
    array : str
        The array's path.
    row_bytes : int
        Bytes of one row.
    wanted : sequence of Wanted
    out : ndarray of uint8, shape (8 + total,)
        Filled from byte 8 on. A cell is decompressed with its frame, which lies
        over the end of the cell before it; therefore the last goes first.
    """

    array: str
    row_bytes: int
    wanted: Sequence[Wanted]
    out: np.ndarray

    @classmethod
    def empty(cls, array: str, row_bytes: int, wanted: Sequence[Wanted]) -> Target:
        """A target with room for all that is wanted."""
        size = HEADER + _count(wanted) * row_bytes
        return cls(array, row_bytes, wanted, np.empty(size, np.uint8))

    def rows(self, dtype: np.dtype, row_shape: tuple[int, ...]) -> np.ndarray:
        """What was read: (n, *row_shape)."""
        return self.out[HEADER:].view(dtype).reshape(_count(self.wanted), *row_shape)


def _count(wanted: Sequence[Wanted]) -> int:
    return sum(int(want.cell_rows.sum(dtype=np.int64)) for want in wanted)


@dataclass(frozen=True)
class _Shard:
    """Cells that are wanted of one shard.

    Parameters
    ----------
    key : str
    places : ndarray of int64, shape (C,)
    begins, sizes : ndarray of int64, shape (C,)
        Where each cell's payload begins in the buffer, and its size.
    whole : bool
        Whether to fetch the shard as a whole, rather than ranges of it.
    small : bool
        Whether it is best fetched along with others.
    target : int
        Which of the targets it is for.
    """

    key: str
    places: np.ndarray
    begins: np.ndarray
    sizes: np.ndarray
    whole: bool
    small: bool
    target: int


def read_rows(
    store: Store,
    grid: Grid,
    targets: Sequence[Target],
    indexes: Cache,
    more: Sequence[_store.Request] = (),
) -> list[memoryview]:
    """Fill the buffers of some targets.

    Parameters
    ----------
    store : zarr.abc.store.Store
    grid : Grid
    targets : sequence of Target
    indexes : Cache
        Shard indexes that are known already.
    more : sequence of Request
        What else is to be fetched along with them.

    Returns
    -------
    list of memoryview
        The values of `more`.

    Raises
    ------
    IntegrityError
        If something is missing or damaged, naming the chunk.
    """
    pieces = list(_pieces(targets, grid))
    known, extra = _indexes(store, grid.places, pieces, indexes, more)
    if extra is None and not pieces:
        extra = _store.get_many(store, more)

    def fetch(number: int) -> list[_Stored]:
        nonlocal extra
        along = more if extra is None else ()
        cells, values = _fetch(store, pieces[number], grid.places, known, along)
        if extra is None:
            extra = values
        return cells

    def decode(number: int, cells: list[_Stored]) -> None:
        _decode(pieces[number], cells, targets)

    if len(pieces) < 2:
        for number in range(len(pieces)):
            decode(number, fetch(number))
    else:
        # While one piece is decoded, the next one, which lies before it, is on its way.
        with ThreadPoolExecutor(1, "zv-versioned-read") as ahead:
            coming = ahead.submit(fetch, len(pieces) - 1)
            for number in range(len(pieces) - 1, -1, -1):
                cells = coming.result()
                if number:
                    coming = ahead.submit(fetch, number - 1)
                decode(number, cells)
    return extra or []


# ---- what is fetched at once ---------------------------------------------------


def _pieces(targets: Sequence[Target], grid: Grid) -> Iterator[list[_Shard]]:
    """Cut what is wanted into pieces of bounded size, in the order of the buffers."""
    piece: list[_Shard] = []
    room = _PIECE_BYTES
    # Attributes are wanted of the same cells as the vertices.
    where = _where({id(w.cells): w.cells for target in targets for w in target.wanted}, grid)
    blocks: dict[tuple[int, int, int], Blocks] = {}
    for number, target in enumerate(targets):
        offset = 0
        for want in target.wanted:
            sizes = want.cell_rows.astype(np.int64) * target.row_bytes
            ends = np.cumsum(sizes)
            total = int(ends[-1]) if len(ends) else 0
            small = want.batch_rows * target.row_bytes <= WHOLE_BATCH_BYTES
            whole = small or (len(want.cells) == want.batch_cells and total <= RANGE_BYTES)
            done = 0
            while done < len(ends):
                before = int(ends[done - 1]) if done else 0
                stop = len(ends)
                if not whole and total - before > room:
                    stop = max(int(np.searchsorted(ends, before + room, side="right")), done + 1)
                part = slice(done, stop)
                cells = (id(want.cells), done, stop)
                if cells not in blocks:
                    their_blocks, places = where[id(want.cells)]
                    blocks[cells] = Blocks.grouped(their_blocks[part], places[part])
                found = blocks[cells]
                begins = offset + ends[part] - sizes[part]
                for block, rows, places in zip(found.keys, found.rows, found.places, strict=True):
                    key = _paths.shard_key(target.array, want.slot, block)
                    piece.append(
                        _Shard(key, places, begins[rows], sizes[part][rows], whole, small, number)
                    )
                room -= int(ends[stop - 1]) - before
                done = stop
                if room <= 0:
                    yield piece
                    piece, room = [], _PIECE_BYTES
            offset += total
    if piece:
        yield piece


def _where(cells: Mapping[int, np.ndarray], grid: Grid) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """For several lists of cells, all at once, the block of each cell and its place there."""
    if not cells:
        return {}
    cuts = np.cumsum([len(some) for some in cells.values()])[:-1]
    block, place = grid.blocks(np.concatenate(list(cells.values())))
    pairs = zip(np.split(block, cuts), np.split(place, cuts), strict=True)
    return dict(zip(cells, pairs, strict=True))


def _indexes(
    store: Store,
    places: int,
    pieces: Sequence[Sequence[_Shard]],
    indexes: Cache,
    more: Sequence[_store.Request],
) -> tuple[dict[str, Index], list[memoryview] | None]:
    """The indexes of shards of which ranges are wanted.

    Those not known yet are fetched in one call, and `more` along with them; where
    all are known nothing is fetched, and None stands for `more`.
    """
    known: dict[str, Index] = {}
    missing: dict[str, None] = {}
    for piece in pieces:
        for shard in piece:
            if not shard.whole and shard.key not in known:
                index = indexes.get(shard.key)
                if index is None:
                    missing[shard.key] = None
                else:
                    known[shard.key] = index
    if not missing:
        return known, None
    requests = [(key, -shards.index_size(places), -1) for key in missing]
    values = _store.get_many(store, [*requests, *more])
    for key, value in zip(missing, values, strict=False):
        known[key] = keep_index(key, value, places, indexes)
    return known, values[len(missing) :]


def keep_index(key: str, tail: memoryview, places: int, indexes: Cache) -> Index:
    """Read the index at the end of a shard, and keep it."""
    with _store.damage_in(key):
        index = shards.read_index(tail, places)
    indexes.put(key, index, 16 * places)
    return index


class _Call:
    """Requests that go out together, and what came back."""

    def __init__(self) -> None:
        self._batched: list[_store.Request] = []
        self._alone: list[_store.Request] = []
        self._values: list[np.ndarray] = []

    def add(self, request: _store.Request, *, large: bool) -> int:
        """Ask for something; by the number that is returned :meth:`value` gives it."""
        requests = self._alone if large else self._batched
        requests.append(request)
        return -len(requests) if large else len(requests) - 1

    def run(self, store: Store, more: Sequence[_store.Request]) -> list[memoryview]:
        """Fetch all of it; return the values of `more`."""
        n = len(self._batched)
        self._alone.reverse()
        values = _store.get_many(store, [*self._batched, *more], self._alone)
        extra = values[n : n + len(more)]
        del values[n : n + len(more)]
        self._values = [np.frombuffer(value, np.uint8) for value in values]
        return extra

    def value(self, number: int) -> np.ndarray:
        """What came back."""
        return self._values[number]


@dataclass(frozen=True)
class _Cut:
    """Where the cells of one shard are among what is fetched.

    Parameters
    ----------
    numbers : list of int
        Requests.
    request : ndarray of int64, shape (C,)
        Which of these each cell is in.
    start, stop : ndarray of int64, shape (C,)
        Where it is in there.
    """

    numbers: list[int]
    request: np.ndarray
    start: np.ndarray
    stop: np.ndarray


@dataclass(frozen=True)
class _Stored:
    """The stored bytes of the cells of one shard, in the order of its places.

    Parameters
    ----------
    buffers : list of ndarray of uint8
    buffer, start, stop : ndarray of int64, shape (C,)
        In which of these each cell lies, and where.
    """

    buffers: list[np.ndarray]
    buffer: np.ndarray
    start: np.ndarray
    stop: np.ndarray


def _cut(shard: _Shard, index: Index, call: _Call) -> _Cut:
    """Ask for the ranges of some cells of a shard."""
    start, stop = _ranges(index, shard.places, shard.key)
    request, ranges = _joined(start, stop)
    numbers = [call.add((shard.key, a, b), large=b - a >= _ALONE_BYTES) for a, b in ranges.tolist()]
    return _Cut(numbers, request, start - ranges[request, 0], stop - ranges[request, 0])


def _fetch(
    store: Store,
    piece: Sequence[_Shard],
    places: int,
    known: Mapping[str, Index],
    more: Sequence[_store.Request],
) -> tuple[list[_Stored], list[memoryview]]:
    """The stored bytes of cells, for each shard in the order of its places; and of `more`."""
    call = _Call()
    asked = [
        call.add((shard.key, 0, -1), large=not shard.small)
        if shard.whole
        else _cut(shard, known[shard.key], call)
        for shard in piece
    ]
    extra = call.run(store, more)
    found = []
    for shard, cut in zip(piece, asked, strict=True):
        if isinstance(cut, _Cut):
            read = [call.value(number) for number in cut.numbers]
            found.append(_Stored(read, cut.request, cut.start, cut.stop))
        else:
            whole = call.value(cut)
            with _store.damage_in(shard.key):
                index = shards.read_index(whole.data, places)
            start, stop = _ranges(index, shard.places, shard.key)
            found.append(_Stored([whole], np.zeros(len(start), np.int64), start, stop))
    return found, extra


def _ranges(index: Index, at: np.ndarray, key: str) -> Index:
    start, stop = index[0][at], index[1][at]
    if (start < 0).any():
        raise IntegrityError(
            f"shard {key!r} lacks {int((start < 0).sum())} cells that its batch's index names"
        )
    return start, stop


def _joined(start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Join byte ranges over small gaps, up to a size.

    Returns
    -------
    request : ndarray of int64, shape (C,)
        The joined range that each cell is in.
    ranges : ndarray of int64, shape (R, 2)
    """
    order = np.argsort(start, kind="stable")
    first, last = start[order], stop[order]
    apart = np.zeros(len(order), bool)
    apart[1:] = first[1:] - last[:-1] > _GAP_BYTES
    if len(order) and int(last[-1]) - int(first[0]) > RANGE_BYTES:
        # The bytes from the first cell on, counted in whole ranges, step where one is full.
        apart[1:] |= np.diff((last - first[0]) // RANGE_BYTES) > 0
    group = np.cumsum(apart)
    request = np.empty(len(start), np.int64)
    request[order] = group
    begin = np.flatnonzero(np.diff(group, prepend=-1))
    end = np.append(begin[1:], len(start)) - 1
    return request, np.stack([first[begin], last[end]], axis=1)


# ---- decoding ------------------------------------------------------------------


def _decode(piece: Sequence[_Shard], values: list[_Stored], targets: Sequence[Target]) -> None:
    """Decode the cells of one piece."""
    # Those that are decompressed go first, for each lays its frame over what lies before it.
    for number, begin, size, cell, key in sorted(
        _compressed(piece, values), key=lambda cell: cell[:2], reverse=True
    ):
        with _store.damage_in(key):
            decode_framed(cell, targets[number].out[begin : begin + size + HEADER])
    again = []
    for shard, stored in zip(piece, values, strict=True):
        again += _decode_copied(shard, stored, targets[shard.target].out)
    for shard, stored, at in again:
        _decode_alone(shard, stored, at, targets[shard.target].out)


def _may_be_copies(shard: _Shard, stored: _Stored) -> np.ndarray:
    """Which cells have the length that they have where they are stored as they are."""
    alike: np.ndarray = stored.stop - stored.start == copied.lengths_of(shard.sizes)
    return alike


def _compressed(
    piece: Sequence[_Shard], values: Sequence[_Stored]
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
    shard: _Shard, stored: _Stored, out: np.ndarray
) -> list[tuple[_Shard, _Stored, int]]:
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


def _decode_alone(shard: _Shard, stored: _Stored, at: int, out: np.ndarray) -> None:
    """Decode one cell that is no copy after all, beside what is decoded already."""
    begin, size = int(shard.begins[at]), int(shard.sizes[at])
    cell = stored.buffers[stored.buffer[at]][stored.start[at] : stored.stop[at]]
    framed = np.empty(size + HEADER, np.uint8)
    with _store.damage_in(shard.key):
        decode_framed(cell, framed)
    out[begin + HEADER : begin + HEADER + size] = framed[HEADER:]
