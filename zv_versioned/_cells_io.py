"""Rows of an array of cells: written as shards, read back by cell.

Rows are the coordinates of vertices or the values of an attribute, in vertex
order. Writing yields shard after shard, so that what is encoded can be
uploaded and forgotten; reading fetches whole shards where they are small or
all wanted, else the ranges of the cells that are, and decodes each cell to
where it belongs in one buffer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from zarr.abc.store import Store

from . import _paths, _store
from ._cache import Cache
from .errors import ArrayError, IntegrityError
from .format import cells as cell_format
from .format import shards, tiny
from .format.cells import HEADER, MAX_PAYLOAD, CellCodec
from .spatial.assign import spans
from .spatial.grid import Grid

_WHOLE_SHARD_BYTES = 512 * 1024
_GAP_BYTES = 64 * 1024
_GROUP_BYTES = 32 << 20


@dataclass(frozen=True)
class Blocks:
    """Cells (ascending numbers) by the shards that they lie in.

    Parameters
    ----------
    keys : list of tuple of int
        The block of each shard.
    rows : list of ndarray of int64
        For each shard, which of the cells.
    places : list of ndarray of int64
        For each shard, the places of those cells in it.
    """

    keys: list[tuple[int, ...]]
    rows: list[np.ndarray]
    places: list[np.ndarray]

    @classmethod
    def of(cls, cells: np.ndarray, grid: Grid) -> Blocks:
        """Group cells by block."""
        block, place = grid.blocks(cells)
        if len(cells) == 0 or (block == block[0]).all():
            keys = [tuple(block[0].tolist())] if len(cells) else []
            return cls(keys, [np.arange(len(cells))] * len(keys), [place] * len(keys))
        distinct, inverse = np.unique(block, axis=0, return_inverse=True)
        order = np.argsort(inverse.reshape(-1), kind="stable")
        cuts = np.cumsum(np.bincount(inverse.reshape(-1)))[:-1]
        rows = np.split(order, cuts)
        return cls([tuple(key) for key in distinct.tolist()], rows, [place[r] for r in rows])


def check_payloads(cell_vertices: np.ndarray, row_bytes: int) -> None:
    """Refuse an append that would put more into one cell than a cell can hold."""
    largest = int(cell_vertices.max()) * row_bytes
    if largest > MAX_PAYLOAD:
        raise ArrayError(
            f"one cell would get {largest:,} bytes from this append, and a cell holds "
            f"{MAX_PAYLOAD:,} of one append at most; append in several calls, or create the "
            "dataset with a smaller chunk_shape"
        )


def encode_rows(
    rows: np.ndarray,
    order: np.ndarray | None,
    cell_vertices: np.ndarray,
    blocks: Blocks,
    places: int,
    codec: CellCodec,
) -> Iterator[tuple[tuple[int, ...], bytearray]]:
    """Encode rows as shards.

    Parameters
    ----------
    rows : ndarray, shape (N, ...)
        C-contiguous rows, in any order.
    order : ndarray of int64, shape (N,), or None
        Which row comes where in vertex order; None where they are in it.
    cell_vertices : ndarray of int, shape (C,)
    blocks : Blocks
        The cells by shard.
    places : int
        Cells of a block.
    codec : CellCodec

    Yields
    ------
    block, shard
    """
    stops = np.cumsum(cell_vertices)
    starts = (stops - cell_vertices).tolist()
    stops = stops.tolist()
    row_bytes = rows.dtype.itemsize * int(np.prod(rows.shape[1:], dtype=np.int64))
    largest = int(np.max(cell_vertices)) * row_bytes
    if tiny.fits(largest, codec):
        yield from _encode_tiny(rows, order, cell_vertices, blocks, places, codec)
        return
    scratch = np.empty(HEADER + largest, np.uint8)
    body = scratch[HEADER:].view(rows.dtype).reshape(-1, *rows.shape[1:])

    def cells(members: np.ndarray, cell_places: np.ndarray) -> Iterator[tuple[int, list[bytes]]]:
        for cell, place in zip(members.tolist(), cell_places.tolist(), strict=True):
            start, stop = starts[cell], stops[cell]
            if order is None:
                body[: stop - start] = rows[start:stop]
            else:
                # "clip" skips a check that costs as much as the copy; the order is ours.
                rows.take(order[start:stop], axis=0, out=body[: stop - start], mode="clip")
            yield place, codec.encode_framed(scratch[: HEADER + (stop - start) * row_bytes])

    for block, members, cell_places in zip(blocks.keys, blocks.rows, blocks.places, strict=True):
        yield block, shards.pack(places, cells(members, cell_places))


def _encode_tiny(
    rows: np.ndarray,
    order: np.ndarray | None,
    cell_vertices: np.ndarray,
    blocks: Blocks,
    places: int,
    codec: CellCodec,
) -> Iterator[tuple[tuple[int, ...], bytearray]]:
    """Encode rows of which no cell has many; see :func:`encode_rows`."""
    row_bytes = rows.dtype.itemsize * int(np.prod(rows.shape[1:], dtype=np.int64))
    counts = np.asarray(cell_vertices, np.int64)
    starts = np.cumsum(counts) - counts
    for block, members, cell_places in zip(blocks.keys, blocks.rows, blocks.places, strict=True):
        part = spans(starts[members], counts[members])
        if order is not None:
            part = order[part]
        payload = rows.take(part, axis=0, mode="clip").reshape(-1).view(np.uint8)
        yield block, tiny.pack(places, cell_places, counts[members] * row_bytes, payload, codec)


@dataclass(frozen=True)
class Wanted:
    """Cells of one batch that are to be read.

    Parameters
    ----------
    slot : int
    cells : ndarray of int64, shape (C,)
        Their numbers, ascending.
    cell_vertices : ndarray of int, shape (C,)
    batch_cells, batch_vertices : int
        How many there are in the whole batch.
    """

    slot: int
    cells: np.ndarray
    cell_vertices: np.ndarray
    batch_cells: int
    batch_vertices: int


def read_rows(
    store: Store,
    array: str,
    grid: Grid,
    wanted: Sequence[Wanted],
    row_bytes: int,
    indexes: Cache,
    out: np.ndarray,
) -> None:
    """Read cells of an array into one buffer, one after the other.

    Parameters
    ----------
    store : zarr.abc.store.Store
    array : str
        The array's path.
    grid : Grid
    wanted : sequence of Wanted
    row_bytes : int
        Bytes of one row.
    indexes : Cache
        Shard indexes that are known already.
    out : ndarray of uint8, shape (8 + total,)
        Filled from byte 8 on. A cell is decompressed with its frame, which lies
        over the end of the cell before it; therefore the last goes first.
    """
    groups: list[list[_Shard]] = []
    offset, room = 0, 0
    for want in wanted:
        sizes = want.cell_vertices.astype(np.int64) * row_bytes
        begins = offset + np.cumsum(sizes) - sizes
        size = int(sizes.sum())
        offset += size
        blocks = Blocks.of(want.cells, grid)
        small = want.batch_vertices * row_bytes <= _WHOLE_SHARD_BYTES
        whole = small or len(want.cells) == want.batch_cells
        if room < size or not groups:
            groups.append([])
            room = _GROUP_BYTES
        room -= size
        for block, members, places in zip(blocks.keys, blocks.rows, blocks.places, strict=True):
            key = _paths.shard_key(array, want.slot, block)
            target = np.stack([begins[members], sizes[members]], axis=1)
            groups[-1].append(_Shard(key, places, target, whole, alone=whole and not small))

    def fetch(group: list[_Shard]) -> list[list[memoryview]]:
        return _fetch_cells(store, group, grid.places, indexes)

    if len(groups) < 2:
        for group in groups:
            _decode_cells(group, fetch(group), out)
        return
    # While one group is decoded, the next one, which lies before it, is on its way.
    with ThreadPoolExecutor(1, "zv-versioned-read") as ahead:
        coming = ahead.submit(fetch, groups[-1])
        for number in range(len(groups) - 1, -1, -1):
            values = coming.result()
            if number:
                coming = ahead.submit(fetch, groups[number - 1])
            _decode_cells(groups[number], values, out)


@dataclass(frozen=True)
class _Shard:
    """Cells that are wanted of one shard.

    Parameters
    ----------
    key : str
    places : ndarray of int64, shape (C,)
    target : ndarray of int64, shape (C, 2)
        Where each cell's payload begins in the buffer, and its size.
    whole : bool
        Whether to read the shard as a whole, rather than its index and ranges.
    alone : bool
        Whether it is so large that a request of its own is faster than a batched one.
    """

    key: str
    places: np.ndarray
    target: np.ndarray
    whole: bool
    alone: bool


def _decode_cells(group: list[_Shard], values: list[list[memoryview]], out: np.ndarray) -> None:
    cells = [
        (begin, size, value, shard.key)
        for shard, found in zip(group, values, strict=True)
        for (begin, size), value in zip(shard.target.tolist(), found, strict=True)
    ]
    cells.sort(key=lambda cell: cell[0], reverse=True)
    for begin, size, value, key in cells:
        with _store.damage_in(key):
            cell_format.decode_framed(value, out[begin : begin + size + HEADER])


def _fetch_cells(
    store: Store, group: list[_Shard], places: int, indexes: Cache
) -> list[list[memoryview]]:
    """The stored bytes of cells, for each shard in the order of its places."""
    first: list[_store.Request] = []
    # A shard may come several times, for cells of it that are apart; its index is read once.
    known: dict[str, tuple[np.ndarray, np.ndarray] | None] = {}
    for shard in group:
        if shard.whole and not shard.alone:
            first.append((shard.key, 0, -1))
        elif not shard.whole and shard.key not in known:
            known[shard.key] = indexes.get(shard.key)
            if known[shard.key] is None:
                first.append((shard.key, -shards.index_size(places), -1))
    batched = iter(_store.get_many(store, first))
    alone = iter(_store.get_large(store, [shard.key for shard in group if shard.alone]))
    found: list[list[memoryview]] = []
    later: list[_store.Request] = []
    cuts: list[tuple[int, np.ndarray, np.ndarray, np.ndarray]] = []
    for shard in group:
        if shard.whole:
            raw = next(alone if shard.alone else batched)
            with _store.damage_in(shard.key):
                index = shards.read_index(raw, places)
            start, stop = _ranges(index, shard.places, shard.key)
            found.append([raw[a:b] for a, b in zip(start.tolist(), stop.tolist(), strict=True)])
            continue
        own = known[shard.key]
        if own is None:
            with _store.damage_in(shard.key):
                own = known[shard.key] = shards.read_index(next(batched), places)
            indexes.put(shard.key, own, 16 * places)
        start, stop = _ranges(own, shard.places, shard.key)
        request, ranges = _joined(start, stop)
        cuts.append((len(found), start, stop, request))
        found.append([])
        later.extend((shard.key, a, b) for a, b in ranges.tolist())
    values = _store.get_many(store, later)
    base = 0
    for number, start, stop, request in cuts:
        for a, b, r in zip(start.tolist(), stop.tolist(), request.tolist(), strict=True):
            origin = later[base + r][1]
            found[number].append(values[base + r][a - origin : b - origin])
        base += int(request.max()) + 1
    return found


def _ranges(
    index: tuple[np.ndarray, np.ndarray], at: np.ndarray, key: str
) -> tuple[np.ndarray, np.ndarray]:
    start, stop = index[0][at], index[1][at]
    if (start < 0).any():
        raise IntegrityError(
            f"shard {key!r} lacks {int((start < 0).sum())} cells that its batch's index names"
        )
    return start, stop


def _joined(start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Join byte ranges over small gaps.

    Returns
    -------
    request : ndarray of int64, shape (C,)
        The joined range that each cell is in.
    ranges : ndarray of int64, shape (R, 2)
    """
    order = np.argsort(start, kind="stable")
    gaps = start[order][1:] - stop[order][:-1]
    group = np.concatenate(([0], np.cumsum(gaps > _GAP_BYTES)))
    request = np.empty(len(start), np.int64)
    request[order] = group
    first = np.flatnonzero(np.diff(group, prepend=-1))
    last = np.append(first[1:], len(start)) - 1
    return request, np.stack([start[order][first], stop[order][last]], axis=1)
