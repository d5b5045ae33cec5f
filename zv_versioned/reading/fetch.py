"""Cells of arrays, fetched and decoded, each to where it belongs in one buffer.

Small batches, and batches all of whose cells are wanted, are fetched as whole
shards; of others the ranges of the cells, joined over small gaps. All that is
asked for at the same time, several arrays too, goes into one call: first the
indexes of the shards that are not known yet, then the bytes. What is large is
cut into pieces. Of large cells each thread fetches and decodes a piece; of small
ones a piece is decoded while the next is on its way. So a read needs its result
and a piece a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from zarr.abc.store import Store

from .. import _paths, _store
from .._cache import Cache
from .._cells_io import Blocks
from ..errors import IntegrityError
from ..format import shards
from ..spatial.grid import Grid
from . import threads
from .decode import decode
from .wanted import Ranges, Shard, Stored, Target

WHOLE_BATCH_BYTES = 512 << 10
_GAP_BYTES = 64 << 10
_PIECE_BYTES = 16 << 20
# Of what several threads read from a disk, so that each has its share.
_LANE_BYTES = 8 << 20
# A request is read from beginning to end; several at the same time are faster than a long one.
RANGE_BYTES = 4 << 20
_ALONE_BYTES = 1 << 20
_FEW_CELLS = 4096
_MANY_SHARDS = 256

Index = tuple[np.ndarray, np.ndarray]


def read_rows(
    store: Store,
    grid: Grid,
    targets: Sequence[Target],
    indexes: Cache,
    more: Sequence[_store.Request] = (),
    fetched: Callable[[list[_store.Part]], Sequence[Ranges | None] | None] | None = None,
    *,
    alone: bool = False,
) -> None:
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
    fetched : callable, optional
        Is given the values of `more`, once and before anything is decoded. It may say
        which rows of each target's buffer are looked at: the others may stay undefined.
        None for all of a target, or of all targets.
    alone : bool, optional
        Whether to decode in one thread alone: of a few rows there is too little to do.

    Raises
    ------
    IntegrityError
        If something is missing or damaged, naming the chunk.
    """
    aside = not alone and threads.LANES > 1 and _store.is_local(store) and _are_large(targets)
    pieces = list(_pieces(targets, grid, _LANE_BYTES if aside else _PIECE_BYTES))
    known, extra = _indexes(store, grid.places, pieces, indexes, more)
    some: Sequence[Ranges | None] = [None] * len(targets)

    def fetch(number: int) -> list[Stored]:
        return _fetch(store, pieces[number], grid.places, known, ())[0]

    def fill(number: int, cells: list[Stored]) -> None:
        decode(pieces[number], cells, targets, some)

    held, left, along = [], len(pieces) - 1, more if extra is None else ()
    if pieces:
        cells, values = _fetch(store, pieces[left], grid.places, known, along)
        held.append(cells)
        del cells  # not held any longer than until it is decoded
    else:
        values = _store.get_parts(store, along)
    if fetched is not None:
        some = fetched(values if extra is None else extra) or some

    def first() -> None:
        fill(left, held.pop())

    if left > 0 and aside:
        threads.each(lambda number: fill(number, fetch(number)), first, left)
    elif left > 0 and not (_store.is_local(store) and max(map(len, pieces)) > _MANY_SHARDS):
        threads.one_ahead(fetch, fill, first, left)
    elif pieces:
        # Many small files are read and decoded in Python, which runs one thread at a time.
        first()
        for number in range(left - 1, -1, -1):
            fill(number, fetch(number))


def _are_large(targets: Sequence[Target]) -> bool:
    """Whether the cells, and all of them, are so large that threads are faster than one."""
    cells = sum(len(want.cells) for target in targets for want in target.wanted)
    least = max(threads.LARGE_READ, threads.LARGE_CELL * cells)
    return sum(len(target.out) for target in targets) >= least


# ---- what is fetched at once ---------------------------------------------------


def _pieces(targets: Sequence[Target], grid: Grid, most: int) -> Iterator[list[Shard]]:
    """Cut what is wanted into pieces of so many bytes, in the order of the buffers."""
    piece: list[Shard] = []
    room = most
    index_bytes = shards.index_size(grid.places)
    # Attributes are wanted of the same cells as the vertices.
    blocks = _blocks(targets, grid)
    for number, target in enumerate(targets):
        if not target.wanted:
            continue
        sizes = np.concatenate([want.cell_rows for want in target.wanted]).astype(np.int64)
        sizes *= target.row_bytes
        ends = np.cumsum(sizes)
        begins = ends - sizes
        lasts = np.cumsum([len(want.cells) for want in target.wanted])
        after = np.append(0, ends)[lasts].tolist()
        first = offset = 0
        for want, last, until in zip(target.wanted, lasts.tolist(), after, strict=True):
            small = want.batch_rows * target.row_bytes <= WHOLE_BATCH_BYTES
            whole = small or (last - first == want.batch_cells and until - offset <= RANGE_BYTES)
            done = first
            while done < last:
                before, stop, behind = offset, last, until
                if not whole and until - before > room:
                    stop = int(np.searchsorted(ends, before + room, side="right"))
                    stop = min(max(stop, done + 1), last)
                    behind = int(ends[stop - 1])
                found = blocks.get(id(want.cells))
                if found is None or stop - done < len(want.cells):
                    found = Blocks.of(want.cells[done - first : stop - first], grid)
                begin, size = begins[done:stop], sizes[done:stop]
                for block, rows, places in zip(found.keys, found.rows, found.places, strict=True):
                    key = _paths.shard_key(target.array, want.slot, block)
                    if len(found.keys) == 1:
                        piece.append(Shard(key, places, begin, size, whole, small, number))
                    else:
                        piece.append(
                            Shard(key, places, begin[rows], size[rows], whole, small, number)
                        )
                room -= behind - before
                if whole:
                    room -= len(found.keys) * index_bytes
                done, offset = stop, behind
                if room <= 0:
                    yield piece
                    piece, room = [], most
            first = last
    if piece:
        yield piece


def _blocks(targets: Sequence[Target], grid: Grid) -> dict[int, Blocks]:
    """The shards that the cells of small batches lie in, by the identity of the cells."""
    cells = {
        id(want.cells): want.cells
        for target in targets
        for want in target.wanted
        if 0 < len(want.cells) <= _FEW_CELLS
    }
    if len(cells) < 2:
        return {number: Blocks.of(each, grid) for number, each in cells.items()}
    each = list(cells.values())
    blocks = Blocks.of_each(np.concatenate(each), list(map(len, each)), grid)
    return dict(zip(cells, blocks, strict=True))


def _indexes(
    store: Store,
    places: int,
    pieces: Sequence[Sequence[Shard]],
    indexes: Cache,
    more: Sequence[_store.Request],
) -> tuple[dict[str, Index], list[_store.Part] | None]:
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
    parts = _store.get_parts(store, [*requests, *more])
    for key, (raw, start, stop) in zip(missing, parts, strict=False):
        known[key] = keep_index(key, raw.data[start:stop], places, indexes)
    return known, parts[len(missing) :]


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
        self.buffers: list[np.ndarray] = []
        """What all of it lies in."""
        self._parts: list[_store.Part] = []
        self._number: dict[int, int] = {}

    def add(self, request: _store.Request, *, large: bool) -> int:
        """Ask for something; by the number that is returned :meth:`part` finds it."""
        requests = self._alone if large else self._batched
        requests.append(request)
        return -len(requests) if large else len(requests) - 1

    def run(self, store: Store, more: Sequence[_store.Request]) -> list[_store.Part]:
        """Fetch all of it; return what `more` asked for."""
        n = len(self._batched)
        self._alone.reverse()
        parts = _store.get_parts(store, [*self._batched, *more], self._alone)
        extra = parts[n : n + len(more)]
        del parts[n : n + len(more)]
        self._parts = parts
        each = {id(raw): raw for raw, _, _ in parts}
        self.buffers = list(each.values())
        self._number = dict(zip(each, range(len(each)), strict=True))
        return extra

    def part(self, number: int) -> _store.Part:
        """What came back."""
        return self._parts[number]

    def places(self, numbers: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """In which of the buffers some of it lies, and from where on: two of int64."""
        parts = [self._parts[number] for number in numbers]
        which = [self._number[id(raw)] for raw, _, _ in parts]
        return np.array(which, np.int64), np.array([start for _, start, _ in parts], np.int64)


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

    def stored(self, call: _Call) -> Stored:
        """The cells, in what was fetched."""
        which, first = call.places(self.numbers)
        first = first[self.request]
        return Stored(call.buffers, which[self.request], self.start + first, self.stop + first)


def _cut(shard: Shard, index: Index, call: _Call) -> _Cut:
    """Ask for the ranges of some cells of a shard."""
    start, stop = _ranges(index, shard.places, shard.key)
    request, ranges = _joined(start, stop)
    numbers = [call.add((shard.key, a, b), large=b - a >= _ALONE_BYTES) for a, b in ranges.tolist()]
    first = ranges[request, 0]
    return _Cut(numbers, request, start - first, stop - first)


def _fetch(
    store: Store,
    piece: Sequence[Shard],
    places: int,
    known: Mapping[str, Index],
    more: Sequence[_store.Request],
) -> tuple[list[Stored], list[_store.Part]]:
    """The stored bytes of cells, for each shard in the order of its places; and of `more`."""
    call = _Call()
    asked = [
        call.add((shard.key, 0, -1), large=not shard.small)
        if shard.whole
        else _cut(shard, known[shard.key], call)
        for shard in piece
    ]
    extra = call.run(store, more)
    wholes = [
        (shard, call.part(cut))
        for shard, cut in zip(piece, asked, strict=True)
        if isinstance(cut, int)
    ]
    of_wholes = _in_wholes(wholes, places)
    found = [cut.stored(call) if isinstance(cut, _Cut) else next(of_wholes) for cut in asked]
    return found, extra


def _in_wholes(wholes: Sequence[tuple[Shard, _store.Part]], places: int) -> Iterator[Stored]:
    """Where the cells lie of shards that were fetched as they are."""
    if not wholes:
        return
    tables = []
    for shard, (raw, first, last) in wholes:
        with _store.damage_in(shard.key):
            tables.append(shards.read_entries(raw.data[first:last], places))
    counts = [len(shard.places) for shard, _ in wholes]
    at = np.concatenate([shard.places for shard, _ in wholes])
    at += np.repeat(np.arange(len(wholes)) * places, counts)
    start, stop = shards.ranges(np.concatenate(tables).take(at, axis=0))
    del tables
    lacking = len(start) > 0 and int(start.min()) < 0
    one = np.zeros(max(counts), np.int64)
    done = 0
    for (shard, (raw, first, _)), n in zip(wholes, counts, strict=True):
        part = slice(done, done + n)
        if lacking:
            _check_there(start[part], shard.key)
        yield Stored([raw], one[:n], start[part] + first, stop[part] + first)
        done += n


def _ranges(index: Index, at: np.ndarray, key: str) -> Index:
    start, stop = index[0][at], index[1][at]
    _check_there(start, key)
    return start, stop


def _check_there(start: np.ndarray, key: str) -> None:
    if len(start) and start.min() < 0:
        raise IntegrityError(
            f"shard {key!r} lacks {int((start < 0).sum())} cells that its batch's index names"
        )


def _joined(start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Join byte ranges over small gaps, up to a size.

    Returns
    -------
    request : ndarray of int64, shape (C,)
        The joined range that each cell is in.
    ranges : ndarray of int64, shape (R, 2)
    """
    order = np.argsort(start, kind="stable")
    firsts, lasts = start[order].tolist(), stop[order].tolist()
    # Of one shard there are some hundred cells at most.
    ranges: list[list[int]] = []
    group = []
    for first, last in zip(firsts, lasts, strict=True):
        if not ranges or first - ranges[-1][1] > _GAP_BYTES or last - ranges[-1][0] > RANGE_BYTES:
            ranges.append([first, last])
        else:
            ranges[-1][1] = max(ranges[-1][1], last)
        group.append(len(ranges) - 1)
    request = np.empty(len(start), np.int64)
    request[order] = group
    return request, np.array(ranges, np.int64).reshape(-1, 2)
