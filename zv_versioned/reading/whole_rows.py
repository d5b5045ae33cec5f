"""Rows of batches that are read whole: small ones many at a time, as whole shards.

Files go one behind the other into one buffer, and their cells are decoded together
(:mod:`zv_versioned.format.many`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from .. import _paths, _store
from ..errors import IntegrityError
from ..format import checksums, many, shards
from ..format.cells import HEADER, items
from ..spatial.assign import run_starts, spans
from ..spatial.grid import Grid
from . import threads
from .fetch import WHOLE_BATCH_BYTES, read_rows
from .wanted import Target, Wanted

if TYPE_CHECKING:
    from zarr.abc.store import Store

    from .reader import LevelReader

_PIECE_BYTES = 16 << 20
_NEAR_BYTES = 4 << 20
"""Of what lies on a disk so much is read at a time that it stays in the processor's cache."""
_CELLS_AT_ONCE = 1 << 14
"""What is known of so many cells stays there, too."""
_CELLS_OF_A_PIECE = 1 << 19
"""Of an object store more is read at a time, and no more cells than these."""


class Room:
    """Memory that is used again and again: the system takes its time to hand out more."""

    def __init__(self) -> None:
        self._there = np.empty(0, np.uint8)

    def take(self, size: int) -> np.ndarray:
        """So many bytes; what was there is lost."""
        if size > len(self._there):
            self._there = np.empty(size, np.uint8)
        return self._there[:size]


def bytes_at_once(store: Store) -> int:
    """How much of small files is read before it is decoded."""
    return min(_NEAR_BYTES, _PIECE_BYTES) if _store.is_local(store) else _PIECE_BYTES


@dataclass(frozen=True)
class _Cells:
    """Cells that are read together, by batch and shard.

    Parameters
    ----------
    sizes, begins : ndarray of int64, shape (C,)
        Bytes of each, and where they go.
    place : ndarray of int64, shape (C,)
        Which cell of its shard each is.
    first : ndarray of int64, shape (S,)
        The first cell of each shard.
    batch : ndarray of int64, shape (S,)
        The number of its batch.
    block : ndarray of int64, shape (S, D)
    """

    sizes: np.ndarray
    begins: np.ndarray
    place: np.ndarray
    first: np.ndarray
    batch: np.ndarray
    block: np.ndarray

    @classmethod
    def by_shard(
        cls, grid: Grid, batch: np.ndarray, cells: np.ndarray, sizes: np.ndarray, begin: int
    ) -> _Cells:
        """Cells batch after batch, of which the first goes to `begin`."""
        begins = np.cumsum(sizes) - sizes + begin
        block, place = grid.blocks(cells)
        apart = batch[1:] != batch[:-1]
        differ = (block[1:] != block[:-1]).any(axis=1)
        if (differ & ~apart).any():
            order = np.lexsort((*block.T[::-1], batch))
            batch, block, place = batch[order], block[order], place[order]
            sizes, begins = sizes[order], begins[order]
            apart = batch[1:] != batch[:-1]
            differ = (block[1:] != block[:-1]).any(axis=1)
        first = np.append(0, np.flatnonzero(apart | differ) + 1)
        return cls(sizes, begins, place, first, batch[first], block[first])

    def part(self, shards: slice) -> _Cells:
        """The cells of some of the shards."""
        cut = np.append(self.first, len(self.sizes))
        cells = slice(int(cut[shards.start]), int(cut[shards.stop]))
        return _Cells(
            self.sizes[cells],
            self.begins[cells],
            self.place[cells],
            self.first[shards] - cells.start,
            self.batch[shards],
            self.block[shards],
        )

    @property
    def counts(self) -> np.ndarray:
        """Cells of each shard: (S,) int64."""
        return np.diff(self.first, append=len(self.sizes))

    def pieces(self, size: np.ndarray, most: int) -> Iterator[slice]:
        """Cut the shards where batches end, from the end on, into pieces of bounded size.

        Cells of a batch may lie in its shards in another order than they go to, so what is
        decoded later must not begin amid it.
        """
        before = np.cumsum(size) - size
        piece = before[np.searchsorted(self.batch, self.batch)] // most
        return (slice(a, b) for a, b in reversed(list(_runs(piece))))


@dataclass(frozen=True)
class Filling:
    """Rows of one array on their way into one buffer.

    Parameters
    ----------
    reader : LevelReader
    path : str
    row_bytes : int
    slots, rows : ndarray of int64, shape (B,)
        Of each batch that has some.
    first, n_cells : ndarray of int64, shape (B,)
        Which of the cells are those of each.
    cells, counts : ndarray of int64, shape (C,)
        Cell numbers, and how many rows each has.
    out : ndarray of uint8, shape (8 + total,)
        Filled from byte 8 on, from the end to the beginning: the frame of a cell is
        decompressed along with it, and lies over the end of the cell before.
    room : Room
        For what is read and decoded before the next is.
    """

    reader: LevelReader
    path: str
    row_bytes: int
    slots: np.ndarray
    rows: np.ndarray
    first: np.ndarray
    n_cells: np.ndarray
    cells: np.ndarray
    counts: np.ndarray
    out: np.ndarray
    room: Room

    def run(self) -> None:
        """Fill the buffer."""
        if len(self.slots) == 0:
            return
        small = self.rows * self.row_bytes <= WHOLE_BATCH_BYTES
        for first, stop in reversed(list(_runs(small))):
            if small[first]:
                self._fill_small(first, stop)
            else:
                self._fill_large(first, stop)

    @cached_property
    def _begins(self) -> np.ndarray:
        """Where the rows of each batch begin, and the last ones end: (B + 1,) int64."""
        return np.append(0, np.cumsum(self.rows)) * self.row_bytes

    def _fill_large(self, first: int, stop: int) -> None:
        out = self.out[self._begins[first] : self._begins[stop] + HEADER]
        kept = out[:HEADER].copy()
        wanted = []
        for batch in range(first, stop):
            of = slice(self.first[batch], self.first[batch] + self.n_cells[batch])
            there = np.flatnonzero(self.counts[of])
            cells, rows = self.cells[of][there], self.counts[of][there]
            total = int(self.rows[batch])
            wanted.append(Wanted(int(self.slots[batch]), cells, rows, len(rows), total))
        reader = self.reader
        target = Target(self.path, self.row_bytes, wanted, out)
        read_rows(reader.store, reader.state.facts.grid, [target], reader.shard_indexes)
        out[:HEADER] = kept

    def _fill_small(self, first: int, stop: int) -> None:
        if _store.is_local(self.reader.store):
            # Small files are read and decoded in Python, which runs one thread at a time.
            for cells in self._pieces(first, stop, _CELLS_AT_ONCE):
                self._unpack(cells, *self._fetch(cells))
            return
        pieces = list(self._pieces(first, stop, _CELLS_OF_A_PIECE))[::-1]
        last = len(pieces) - 1

        def begin() -> None:
            fill(last, self._fetch(pieces[last]))

        def fill(number: int, fetched: tuple[np.ndarray, np.ndarray]) -> None:
            self._unpack(pieces[number], *fetched)

        if last:
            threads.one_ahead(lambda number: self._fetch(pieces[number]), fill, begin, last)
        else:
            begin()

    def _pieces(self, first: int, stop: int, most_cells: int) -> Iterator[_Cells]:
        """The cells of some batches in pieces that are read at once, the last ones first."""
        grid, n_cells = self.reader.state.facts.grid, self.n_cells[first:stop]
        most = bytes_at_once(self.reader.store)
        runs = _runs((np.cumsum(n_cells) - n_cells) // most_cells)
        for start, end in reversed([(first + a, first + b) for a, b in runs]):
            cells = self._cells_of(start, end)
            size = np.add.reduceat(cells.sizes, cells.first) + shards.index_size(grid.places)
            for part in cells.pieces(size, most):
                yield cells.part(part)

    def _cells_of(self, start: int, end: int) -> _Cells:
        batch = np.repeat(np.arange(start, end), self.n_cells[start:end])
        ends = self.first[start:end] + self.n_cells[start:end]
        if int(ends[-1] - self.first[start]) == len(batch):
            which: slice | np.ndarray = slice(self.first[start], ends[-1])
        else:  # there are batches between them that have no such rows
            which = spans(self.first[start:end], self.n_cells[start:end])
        cells, sizes = self.cells[which], self.counts[which] * self.row_bytes
        there = sizes > 0
        if not there.all():
            batch, cells, sizes = batch[there], cells[there], sizes[there]
        grid, begin = self.reader.state.facts.grid, int(self._begins[start])
        return _Cells.by_shard(grid, batch, cells, sizes, begin)

    def _keys(self, cells: _Cells) -> list[tuple[int, ...]]:
        return list(map(tuple, np.column_stack([self.slots[cells.batch], cells.block]).tolist()))

    def _fetch(self, cells: _Cells) -> tuple[np.ndarray, np.ndarray]:
        # Only of a disk there is no next one on its way meanwhile: it takes the same memory.
        return _store.get_wholes(self.reader.store, self.path, self._keys(cells), self.room.take)

    def _unpack(self, cells: _Cells, raw: np.ndarray, ends: np.ndarray) -> None:
        """Check and decode the cells; where one is damaged, find out in which shard."""
        stops = np.append(0, ends)
        try:
            for part in cells.pieces(cells.counts, _CELLS_AT_ONCE):
                self._decode(cells.part(part), raw, stops[part.start : part.stop + 1])
        except IntegrityError:
            for at, key in enumerate(self._keys(cells)):
                with _store.damage_in(_paths.chunk_key(self.path, key)):
                    self._decode(cells.part(slice(at, at + 1)), raw, stops[at : at + 2])
            raise

    def _decode(self, cells: _Cells, raw: np.ndarray, cut: np.ndarray) -> None:
        """Check and decode cells of shards that lie side by side between the cuts."""
        starts, ends, counts = cut[:-1], cut[1:], cells.counts
        tables = ends - shards.index_size(self.reader.state.facts.grid.places)
        if (tables < starts).any():
            raise IntegrityError("a shard is shorter than its index: it was cut")
        if not checksums.fit(raw, tables, ends):
            raise shards.damaged_index()
        at = np.repeat(tables, counts) + 16 * cells.place
        entries = items(raw, "V16")[at].view("<u8").reshape(-1, 2)
        room = np.repeat((tables - starts).astype(np.uint64), counts)
        offset, length = entries.T
        if (offset > room).any() or (length > room - offset).any():
            raise IntegrityError("a shard lacks cells that its batch's index names")
        first = np.repeat(starts, counts) + offset.astype(np.int64)
        last = first + length.astype(np.int64)
        many.unpack(raw, first, last, cells.sizes, self.row_bytes, self.out, cells.begins)


def _runs(values: np.ndarray) -> Iterator[tuple[int, int]]:
    """Where runs of equal values begin and end; at least one value."""
    first = run_starts(values).tolist()
    return zip(first, [*first[1:], len(values)], strict=True)
