"""Rows of batches that are read whole: small ones many at a time, as whole shards.

Files go one behind the other into one buffer, and their cells are decoded together
(:mod:`zv_versioned.format.many`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .. import _paths, _store
from ..errors import IntegrityError
from ..format import checksums, many, shards
from ..format.cells import HEADER, items
from ..spatial.assign import run_starts
from . import threads
from .fetch import WHOLE_BATCH_BYTES, read_rows
from .wanted import Target, Wanted

if TYPE_CHECKING:
    from .reader import LevelReader

_PIECE_BYTES = 16 << 20
_NEAR_BYTES = 4 << 20
"""Of what lies on a disk so much is read at a time that it stays in the processor's cache."""
_CELLS_AT_ONCE = 1 << 14
"""What is known of so many cells stays there, too."""


class Room:
    """Memory that is used again and again: the system takes its time to hand out more."""

    def __init__(self) -> None:
        self._there = np.empty(0, np.uint8)

    def take(self, size: int) -> np.ndarray:
        """So many bytes; what was there is lost."""
        if size > len(self._there):
            self._there = np.empty(size, np.uint8)
        return self._there[:size]


@dataclass(frozen=True)
class Cells:
    """Cells whose rows are wanted, batch after batch and ascending.

    Parameters
    ----------
    batch, numbers, place, sizes : ndarray of int64, shape (C,)
        The number of its batch, the cell's own, its place in its shard, and its bytes.
    block : ndarray of int64, shape (C, D)
    """

    batch: np.ndarray
    numbers: np.ndarray
    block: np.ndarray
    place: np.ndarray
    sizes: np.ndarray

    def __getitem__(self, part: slice | np.ndarray) -> Cells:
        return Cells(
            self.batch[part],
            self.numbers[part],
            self.block[part],
            self.place[part],
            self.sizes[part],
        )

    def shards(self) -> tuple[np.ndarray, np.ndarray]:
        """The order of the cells by shard, and where in it each shard begins."""
        batch, block = self.batch, self.block
        order = np.arange(len(batch))
        apart = batch[1:] != batch[:-1]
        differ = (block[1:] != block[:-1]).any(axis=1)
        if (differ & ~apart).any():
            order = np.lexsort((*block.T[::-1], batch))
            batch, block = batch[order], block[order]
            apart = batch[1:] != batch[:-1]
            differ = (block[1:] != block[:-1]).any(axis=1)
        return order, np.append(0, np.flatnonzero(apart | differ) + 1)


@dataclass(frozen=True)
class Filling:
    """Rows of one array on their way into one buffer.

    Parameters
    ----------
    reader : LevelReader
    slots : ndarray of int64, shape (B,)
    path : str
    row_bytes : int
    cells : Cells
    out : ndarray of uint8, shape (8 + total,)
        Filled from byte 8 on, from the end to the beginning: the frame of a cell is
        decompressed along with it, and lies over the end of the cell before.
    room : Room
        For what is read and decoded before the next is.
    """

    reader: LevelReader
    slots: np.ndarray
    path: str
    row_bytes: int
    cells: Cells
    out: np.ndarray
    room: Room

    def run(self) -> None:
        """Fill the buffer."""
        if len(self.cells.batch) == 0:
            return
        ends = np.cumsum(self.cells.sizes)
        begins = ends - self.cells.sizes
        small = self._small()
        for first, stop in reversed(list(_runs(small))):
            cells, where = self.cells[first:stop], begins[first:stop]
            if small[first]:
                self._fill_small(cells, where)
            else:
                self._fill_large(cells, int(where[0]), int(ends[stop - 1]))

    def _small(self) -> np.ndarray:
        """Mask of the cells of small batches, which are read as whole shards."""
        per_batch = np.bincount(self.cells.batch, self.cells.sizes, len(self.slots))
        return np.asarray((per_batch <= WHOLE_BATCH_BYTES)[self.cells.batch])

    def _fill_large(self, cells: Cells, begin: int, end: int) -> None:
        out = self.out[begin : end + HEADER]
        kept = out[:HEADER].copy()
        wanted = []
        for first, stop in _runs(cells.batch):
            rows = cells.sizes[first:stop] // self.row_bytes
            slot = int(self.slots[cells.batch[first]])
            one = Wanted(slot, cells.numbers[first:stop], rows, len(rows), int(rows.sum()))
            wanted.append(one)
        reader = self.reader
        target = Target(self.path, self.row_bytes, wanted, out)
        read_rows(reader.store, reader.state.facts.grid, [target], reader.shard_indexes)
        out[:HEADER] = kept

    def _fill_small(self, cells: Cells, begins: np.ndarray) -> None:
        index_bytes = shards.index_size(self.reader.state.facts.grid.places)
        order, first = cells.shards()
        room = np.bincount(cells.batch, cells.sizes, len(self.slots))
        room += index_bytes * np.bincount(cells.batch[order[first]], minlength=len(self.slots))
        # A piece has whole batches, so that what is decoded later never begins amid it.
        near = _store.is_local(self.reader.store)
        most = min(_NEAR_BYTES, _PIECE_BYTES) if near else _PIECE_BYTES
        piece = ((np.cumsum(room) - room) // most)[cells.batch]
        parts = list(_runs(piece))

        def fetch(number: int) -> tuple[_Shards, np.ndarray]:
            part = slice(*parts[number])
            return self._fetched(cells[part]), begins[part]

        def fill(number: int, fetched: tuple[_Shards, np.ndarray]) -> None:
            found, where = fetched
            found.unpack(self.row_bytes, self.out, where)

        last = len(parts) - 1
        held = [fetch(last)]

        def begin() -> None:
            fill(last, held.pop())

        if last and not near:
            threads.one_ahead(fetch, fill, begin, last)
        else:
            # Small files are read and decoded in Python, which runs one thread at a time.
            begin()
            for number in range(last - 1, -1, -1):
                fill(number, fetch(number))

    def _fetched(self, cells: Cells) -> _Shards:
        order, first = cells.shards()
        cells = cells[order]
        places = np.column_stack([self.slots[cells.batch[first]], cells.block[first]])
        keys = list(map(tuple, places.tolist()))
        # Only of a disk there is no next one on its way meanwhile: it takes the same memory.
        raw, ends = _store.get_wholes(self.reader.store, self.path, keys, self.room.take)
        return _Shards(self.path, keys, raw, ends, first, order, cells, self._places)

    @property
    def _places(self) -> int:
        return self.reader.state.facts.grid.places


def _runs(values: np.ndarray) -> Iterator[tuple[int, int]]:
    """Where runs of equal values begin and end; at least one value."""
    first = run_starts(values).tolist()
    return zip(first, [*first[1:], len(values)], strict=True)


@dataclass(frozen=True)
class _Shards:
    """Shards that were fetched whole, one behind the other.

    Parameters
    ----------
    path : str
    keys : list of tuple of int
        Their coordinates.
    raw : ndarray of uint8
    ends : ndarray of int64, shape (S,)
        One past the last byte of each.
    first : ndarray of int64, shape (S,)
        The first cell of each.
    order : ndarray of int64, shape (C,)
        Where each cell came in the order of the batches.
    cells : Cells
        By shard.
    places : int
        Cells of a block.
    """

    path: str
    keys: list[tuple[int, ...]]
    raw: np.ndarray
    ends: np.ndarray
    first: np.ndarray
    order: np.ndarray
    cells: Cells
    places: int

    def unpack(self, row_bytes: int, out: np.ndarray, begins: np.ndarray) -> None:
        """Check and decode the cells; where one is damaged, find out in which shard."""
        begins = begins[self.order]
        cut = np.append(self.first, len(begins))
        batch = self.cells.batch[self.first]
        before = cut[:-1][np.searchsorted(batch, batch)]
        try:
            for first, stop in reversed(list(_runs(before // _CELLS_AT_ONCE))):
                self._unpack(row_bytes, out, begins, slice(first, stop), cut)
        except IntegrityError:
            for at, key in enumerate(self.keys):
                with _store.damage_in(_paths.chunk_key(self.path, key)):
                    self._unpack(row_bytes, out, begins, slice(at, at + 1), cut)
            raise

    def _unpack(
        self,
        row_bytes: int,
        out: np.ndarray,
        begins: np.ndarray,
        which: slice,
        cut: np.ndarray,
    ) -> None:
        part = slice(int(cut[which.start]), int(cut[which.stop]))
        counts = np.diff(cut[which.start : which.stop + 1])
        ends = self.ends[which]
        starts = np.append(0, self.ends)[which]
        tables = ends - shards.index_size(self.places)
        if (tables < starts).any():
            raise IntegrityError("a shard is shorter than its index: it was cut")
        if not checksums.fit(self.raw, tables, ends):
            raise shards.damaged_index()
        at = np.repeat(tables, counts) + 16 * self.cells.place[part]
        entries = items(self.raw, "V16")[at].view("<u8").reshape(-1, 2)
        room = np.repeat((tables - starts).astype(np.uint64), counts)
        offset, length = entries.T
        if (offset > room).any() or (length > room - offset).any():
            raise IntegrityError("a shard lacks cells that its batch's index names")
        first = np.repeat(starts, counts) + offset.astype(np.int64)
        last = first + length.astype(np.int64)
        sizes = self.cells.sizes[part]
        many.unpack(self.raw, first, last, sizes, row_bytes, out, begins[part])
