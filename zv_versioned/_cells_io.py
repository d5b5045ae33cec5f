"""Rows of an array of cells: written as shards, read back by cell.

Rows are the coordinates of vertices or the values of an attribute, in vertex
order. Writing yields shard after shard, so that what is encoded can be
uploaded and forgotten; reading fetches whole shards where they are small or
all wanted, else the ranges of the cells that are, and decodes each cell to
where it belongs in one buffer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from zarr.abc.store import Store

from . import _paths, _store
from ._cache import Cache
from .errors import ArrayError, IntegrityError
from .format import cells as cell_format
from .format import shards
from .format.cells import HEADER, MAX_PAYLOAD, CellCodec
from .spatial.grid import Grid

_WHOLE_SHARD_BYTES = 512 * 1024
_GAP_BYTES = 64 * 1024


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
    order: np.ndarray,
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
    order : ndarray of int64, shape (N,)
        Which row comes where in vertex order.
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
    scratch = np.empty(HEADER + int(np.max(cell_vertices)) * row_bytes, np.uint8)
    body = scratch[HEADER:].view(rows.dtype).reshape(-1, *rows.shape[1:])

    def cells(members: np.ndarray, cell_places: np.ndarray) -> Iterator[tuple[int, list[bytes]]]:
        for cell, place in zip(members.tolist(), cell_places.tolist(), strict=True):
            start, stop = starts[cell], stops[cell]
            # "clip" skips a check that costs as much as the copy; the order is ours.
            rows.take(order[start:stop], axis=0, out=body[: stop - start], mode="clip")
            yield place, codec.encode_framed(scratch[: HEADER + (stop - start) * row_bytes])

    for block, members, cell_places in zip(blocks.keys, blocks.rows, blocks.places, strict=True):
        yield block, shards.pack(places, cells(members, cell_places))


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
    shard_places: list[tuple[str, np.ndarray]] = []
    targets: list[np.ndarray] = []
    whole: list[bool] = []
    offset = 0
    for want in wanted:
        sizes = want.cell_vertices.astype(np.int64) * row_bytes
        begins = offset + np.cumsum(sizes) - sizes
        offset += int(sizes.sum())
        blocks = Blocks.of(want.cells, grid)
        small = want.batch_vertices * row_bytes <= _WHOLE_SHARD_BYTES
        complete = len(want.cells) == want.batch_cells
        for block, members, places in zip(blocks.keys, blocks.rows, blocks.places, strict=True):
            shard_places.append((_paths.shard_key(array, want.slot, block), places))
            targets.append(np.stack([begins[members], sizes[members]], axis=1))
            whole.append(small or complete)
    values = _fetch_cells(store, shard_places, whole, grid.places, indexes)
    cells = [
        (begin, size, value, key)
        for (key, _), target, shard in zip(shard_places, targets, values, strict=True)
        for (begin, size), value in zip(target.tolist(), shard, strict=True)
    ]
    if len(shard_places) > 1:
        cells.sort(key=lambda cell: cell[0])
    for begin, size, value, key in reversed(cells):
        with _store.damage_in(key):
            cell_format.decode_framed(value, out[begin : begin + size + HEADER])


def _fetch_cells(
    store: Store,
    shard_places: Sequence[tuple[str, np.ndarray]],
    whole: Sequence[bool],
    places: int,
    indexes: Cache,
) -> list[list[memoryview]]:
    """The stored bytes of cells, for each shard in the order of its places."""
    first: list[_store.Request] = []
    for (key, _), all_of_it in zip(shard_places, whole, strict=True):
        if all_of_it:
            first.append((key, 0, -1))
        elif indexes.get(key) is None:
            first.append((key, -shards.index_size(places), -1))
    fetched = iter(_store.get_many(store, first))
    found: list[list[memoryview]] = []
    later: list[_store.Request] = []
    cuts: list[tuple[int, np.ndarray, np.ndarray, np.ndarray]] = []
    for (key, at), all_of_it in zip(shard_places, whole, strict=True):
        if all_of_it:
            shard = next(fetched)
            with _store.damage_in(key):
                index = shards.read_index(shard, places)
            start, stop = _ranges(index, at, key)
            found.append([shard[a:b] for a, b in zip(start.tolist(), stop.tolist(), strict=True)])
            continue
        index = indexes.get(key)
        if index is None:
            with _store.damage_in(key):
                index = shards.read_index(next(fetched), places)
            indexes.put(key, index, 16 * places)
        start, stop = _ranges(index, at, key)
        request, begin = _joined(start, stop)
        cuts.append((len(found), start, stop, request))
        found.append([])
        later.extend((key, a, b) for a, b in begin.tolist())
    ranges = _store.get_many(store, later)
    base = 0
    for number, start, stop, request in cuts:
        for a, b, r in zip(start.tolist(), stop.tolist(), request.tolist(), strict=True):
            origin = later[base + r][1]
            found[number].append(ranges[base + r][a - origin : b - origin])
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
