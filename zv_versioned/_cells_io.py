"""Rows of an array of cells, encoded as shards.

Rows are the coordinates of vertices or the values of an attribute, in vertex
order. They are encoded shard after shard, so that what is encoded can be
uploaded and forgotten. :mod:`.reading.fetch` reads them back.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from ._begun import Begun
from ._beside import threads
from .errors import ArrayError
from .format import copied, shards
from .format.cells import HEADER, MAX_PAYLOAD, CellCodec
from .spatial.assign import spans
from .spatial.grid import Grid

# Compressing leaves the interpreter to others; a thread takes longer than a small cell does.
_LARGE_CELL = 64 << 10
_MANY_BYTES = 4 << 20
_LARGEST_CELL = 16 << 20
"""Each thread holds a cell, and some are encoded and waiting."""
_THREADS = min(4, os.cpu_count() or 1)


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
        return cls.grouped(*grid.blocks(cells))

    @classmethod
    def grouped(cls, block: np.ndarray, place: np.ndarray) -> Blocks:
        """Group cells of which the block and the place in it are known: (C, D) and (C,)."""
        if len(place) == 0 or (block == block[0]).all():
            keys = [tuple(block[0].tolist())] if len(place) else []
            return cls(keys, [np.arange(len(place))] * len(keys), [place] * len(keys))
        order = np.lexsort(block.T[::-1])
        ascending = block[order]
        begins = np.flatnonzero((ascending[1:] != ascending[:-1]).any(axis=1)) + 1
        rows = np.split(order, begins)
        keys = [tuple(key) for key in ascending[np.append(0, begins)].tolist()]
        return cls(keys, rows, [place[r] for r in rows])

    @classmethod
    def of_each(cls, cells: np.ndarray, counts: Sequence[int], grid: Grid) -> list[Blocks]:
        """The same for several runs of cells, one after the other, at less cost for each.

        Parameters
        ----------
        cells : ndarray of int64, shape (C,)
        counts : sequence of int
            Cells of each run, at least one.
        grid : Grid
        """
        block, place = grid.blocks(cells)
        ends = np.cumsum(counts)
        starts = ends - counts
        changes = np.zeros(len(cells) + 1, np.int64)
        np.cumsum((block[1:] != block[:-1]).any(axis=1), out=changes[2:])
        alone = (changes[ends] == changes[starts + 1]).tolist()
        keys = list(map(tuple, block[starts].tolist()))
        rows = np.arange(max(counts))
        return [
            cls([key], [rows[: stop - start]], [place[start:stop]])
            if one
            else cls.grouped(block[start:stop], place[start:stop])
            for key, one, start, stop in zip(
                keys, alone, starts.tolist(), ends.tolist(), strict=True
            )
        ]


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
    cell_bytes = np.asarray(cell_vertices, np.int64) * row_bytes
    if copied.fits(rows.reshape(-1).view(np.uint8), cell_bytes, codec):
        yield from _encode_copied(rows, order, cell_vertices, blocks, places, codec)
        return
    largest = int(cell_bytes.max())
    own = threading.local()

    def encoded(cell: int) -> list[bytes]:
        scratch: np.ndarray | None = getattr(own, "scratch", None)
        if scratch is None:
            scratch = own.scratch = np.empty(HEADER + largest, np.uint8)
        start, stop = starts[cell], stops[cell]
        body = scratch[HEADER:].view(rows.dtype).reshape(-1, *rows.shape[1:])[: stop - start]
        if order is None:
            body[:] = rows[start:stop]
        else:
            # "clip" skips a check that costs as much as the copy; the order is ours.
            rows.take(order[start:stop], axis=0, out=body, mode="clip")
        return codec.encode_framed(scratch[: HEADER + (stop - start) * row_bytes])

    in_threads = int(cell_bytes.sum()) >= _MANY_BYTES and cell_bytes.mean() >= _LARGE_CELL
    in_threads &= largest <= _LARGEST_CELL
    with _mapping(in_threads) as each:
        for block, cells, at in zip(blocks.keys, blocks.rows, blocks.places, strict=True):
            parts = zip(at.tolist(), each(encoded, cells.tolist()), strict=True)
            yield block, shards.pack(places, parts)


_Mapping = Callable[[Callable[[int], list[bytes]], list[int]], Iterable[list[bytes]]]


@contextmanager
def _mapping(in_threads: bool) -> Iterator[_Mapping]:
    """How to encode cells in their order: one after the other, or some at a time."""
    if not in_threads:
        yield map
        return
    with threads(_THREADS) as pool:

        def some_ahead(
            encode: Callable[[int], list[bytes]], cells: list[int]
        ) -> Iterator[list[bytes]]:
            going: deque[Begun[list[bytes]]] = deque()
            try:
                for cell in cells:
                    going.append(pool.submit(encode, cell))
                    if len(going) > 2 * _THREADS:
                        yield going.popleft().result()
                while going:
                    yield going.popleft().result()
            finally:
                for one in going:
                    one.is_wanted = False

        yield some_ahead


def _encode_copied(
    rows: np.ndarray,
    order: np.ndarray | None,
    cell_vertices: np.ndarray,
    blocks: Blocks,
    places: int,
    codec: CellCodec,
) -> Iterator[tuple[tuple[int, ...], bytearray]]:
    """Encode rows whose cells are stored as they are; see :func:`encode_rows`."""
    row_bytes = rows.dtype.itemsize * int(np.prod(rows.shape[1:], dtype=np.int64))
    counts = np.asarray(cell_vertices, np.int64)
    starts = np.cumsum(counts) - counts
    for block, members, cell_places in zip(blocks.keys, blocks.rows, blocks.places, strict=True):
        part = spans(starts[members], counts[members])
        if order is not None:
            part = order[part]
        payload = rows.take(part, axis=0, mode="clip").reshape(-1).view(np.uint8)
        yield block, copied.pack(places, cell_places, counts[members] * row_bytes, payload, codec)
