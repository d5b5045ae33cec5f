"""Several batches read whole, at once: their indexes, and the rows of their arrays.

Who reads a thousand small batches pays for what is done for each. So files go one behind
the other into one buffer, tables are read a column of all batches at a time, and cells are
decoded together (:mod:`zv_versioned.format.many`). What is held beside the result is a piece of
bounded size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from .. import _paths, _store
from ..errors import IntegrityError
from ..format import batches, checksums, columns, many, shards
from ..format.batches import FragmentPage
from ..format.cells import HEADER, items
from ..format.table import INDEX
from ..spatial.assign import run_starts, spans
from . import threads
from .fetch import WHOLE_BATCH_BYTES, read_rows
from .wanted import Target, Wanted

if TYPE_CHECKING:
    from .reader import LevelReader

_PIECE_BYTES = 16 << 20
_NEAR_BYTES = 4 << 20
"""Of what lies on a disk so much is read at a time that it stays in the processor's cache."""
_CELLS_AT_ONCE = 1 << 14
"""What is known of so many cells stays in the processor's cache."""


class _Room:
    """Memory that is used again and again: the system takes its time to hand out more."""

    def __init__(self) -> None:
        self._there = np.empty(0, np.uint8)

    def take(self, size: int) -> np.ndarray:
        """So many bytes; what was there is lost."""
        if size > len(self._there):
            self._there = np.empty(size, np.uint8)
        return self._there[:size]


@dataclass(frozen=True)
class _Index:
    """What the indexes of some batches say, one batch after the other; see :class:`Batches`."""

    n_cells: np.ndarray
    cells: np.ndarray
    cell_vertices: np.ndarray
    cell_fragments: np.ndarray
    cell_links: np.ndarray
    fragments: FragmentPage
    ids: np.ndarray
    is_new: np.ndarray


class Batches:
    """Some batches of a level, with all that is in them.

    Parameters
    ----------
    reader : LevelReader
    rows : sequence of int
        Rows of the table, ascending.

    Attributes
    ----------
    n_cells, n_fragments : ndarray of int64, shape (B,)
        How many each batch has.
    cells, cell_vertices, cell_fragments, cell_links : ndarray of int64, shape (C,)
        As in :class:`zv_versioned.format.batches.BatchIndex`, batch after batch.
    fragments : FragmentPage
        In vertex order, batch after batch; ``object`` is a row of the batch.
    ids, is_new : ndarray, shape (O,)
        Of the objects of each batch, batch after batch.

    Raises
    ------
    IntegrityError
        If something is missing or damaged, naming the chunk.
    """

    def __init__(self, reader: LevelReader, rows: Sequence[int]) -> None:
        self.reader = reader
        self.rows = np.array(rows, np.int64)
        table = reader.state.table
        self._slots = table.slot[self.rows]
        self._room = _Room()
        # An index has some 3 bytes a fragment and 20 a cell, and a kilobyte of its own.
        size = 2048 + 8 * table.n_fragments[self.rows] + 24 * table.n_cells[self.rows]
        found = [_read(reader, self.rows[part]) for part in _pieces(size)]
        self.n_cells = np.concatenate([each.n_cells for each in found])
        self.cells = np.concatenate([each.cells for each in found])
        self.cell_vertices = np.concatenate([each.cell_vertices for each in found])
        self.cell_fragments = np.concatenate([each.cell_fragments for each in found])
        self.cell_links = np.concatenate([each.cell_links for each in found])
        self.fragments = FragmentPage.concatenate([each.fragments for each in found])
        self.ids = np.concatenate([each.ids for each in found])
        self.is_new = np.concatenate([each.is_new for each in found])
        self.n_fragments = table.n_fragments[self.rows]
        self.n_objects = table.n_objects[self.rows]

    @cached_property
    def batch_of_cell(self) -> np.ndarray:
        """The number, among these, of the batch that each cell is of: (C,) int64."""
        return np.repeat(np.arange(len(self.rows)), self.n_cells)

    @cached_property
    def _laid(self) -> tuple[np.ndarray, np.ndarray]:
        return self.reader.state.facts.grid.blocks(self.cells)

    def vertex_rows(self, array: str, dtype: np.dtype, row_shape: tuple[int, ...]) -> np.ndarray:
        """Rows of an array of vertices, of those batches that have some: (n, *row_shape)."""
        content = self.reader.state.table.contents.get(array)
        return self._rows(array, dtype, row_shape, self.cell_vertices, content)

    def link_rows(self, array: str, dtype: np.dtype, row_shape: tuple[int, ...]) -> np.ndarray:
        """The same of an array of links, in link order."""
        content = self.reader.state.table.contents.get(array)
        return self._rows(array, dtype, row_shape, self.cell_links, content)

    def _rows(
        self,
        array: str,
        dtype: np.dtype,
        row_shape: tuple[int, ...],
        counts: np.ndarray,
        content: np.ndarray | None,
    ) -> np.ndarray:
        has = counts > 0
        if content is not None:
            has &= (content[self.rows] != 0)[self.batch_of_cell]
        block, place = self._laid
        batch = self.batch_of_cell
        if not has.all():
            block, place, batch, counts = block[has], place[has], batch[has], counts[has]
            numbers = self.cells[has]
        else:
            numbers = self.cells
        row_bytes = dtype.itemsize * int(np.prod(row_shape, dtype=np.int64))
        cells = _Cells(batch, numbers, block, place, counts * row_bytes)
        path = _paths.join(self.reader.state.path, array)
        out = np.empty(HEADER + int(cells.sizes.sum()), np.uint8)
        _Filling(self.reader, self._slots, path, row_bytes, cells, out, self._room).run()
        return out[HEADER:].view(dtype).reshape(-1, *row_shape)


# ---- indexes ------------------------------------------------------------------


def _pieces(sizes: np.ndarray) -> list[slice]:
    """Cut what has so many bytes each into pieces of bounded size, or of one."""
    piece = (np.cumsum(sizes) - sizes) // _PIECE_BYTES
    first = run_starts(piece).tolist()
    return [slice(a, b) for a, b in zip(first, [*first[1:], len(sizes)], strict=True)]


def _read(reader: LevelReader, rows: np.ndarray) -> _Index:
    """Read the indexes of some batches; where something is wrong, find out of which."""
    array = _paths.join(reader.state.path, INDEX)
    slots = reader.state.table.slot[rows].tolist()
    raw, ends = _store.get_wholes(reader.store, array, [(slot, 0) for slot in slots])
    starts = np.append(0, ends[:-1])
    try:
        return _decoded(reader, rows, raw, starts, ends)
    except IntegrityError:
        for at, slot in enumerate(slots):
            one = slice(at, at + 1)
            with _store.damage_in(_paths.shard_key(array, slot, (0,))):
                _decoded(reader, rows[one], raw, starts[one], ends[one])
        raise


def _decoded(
    reader: LevelReader, rows: np.ndarray, raw: np.ndarray, starts: np.ndarray, ends: np.ndarray
) -> _Index:
    table = reader.state.table
    behind = starts + table.head_bytes[rows]
    if (behind > ends).any():
        raise IntegrityError("the index of a batch is shorter than its head")
    head = _unpacked(raw, starts, behind)
    cells, n_cells = head.column("cell")
    directory, n_places = head.column("directory")
    if (n_places != batches.SECTIONS).any() or directory.shape[1:] != (2,):
        raise IntegrityError("a batch's index has no directory, or one of another size")
    directory = directory.reshape(-1, batches.SECTIONS, 2)
    cell_vertices = _as_many(head, "vertices", n_cells)
    cell_fragments = _as_many(head, "fragments", n_cells)
    links, n_links = head.column("links")
    cell_links = np.zeros(len(cells), np.int64)
    cell_links[np.repeat(n_links >= 0, n_cells)] = links
    vertices = _sums(cell_vertices, n_cells)
    if (vertices != table.n_vertices[rows]).any():
        raise IntegrityError(
            f"a batch of {reader.state.path!r} has other vertices in its index than in the table"
        )
    places = range(batches.FRAGMENTS, batches.FRAGMENTS + batches.PAGES)
    at, first, last = _sections(directory, behind, ends, places)
    fragments = _fragments(_unpacked(raw, first, last), len(rows), at, cell_fragments, n_cells)
    ids, is_new = _ids(reader, rows, raw, _sections(directory, behind, ends, [batches.IDS]))
    return _Index(
        n_cells,
        cells.astype(np.int64, copy=False),
        cell_vertices,
        cell_fragments,
        cell_links,
        fragments,
        ids,
        is_new,
    )


def _unpacked(raw: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> columns.Packed:
    out, begins, ends = many.decode(raw, starts, stops)
    return columns.Packed(out, begins.tolist(), ends.tolist())


def _as_many(table: columns.Packed, name: str, counts: np.ndarray) -> np.ndarray:
    """A column that must be there, with so many values of each payload."""
    values, found = table.column(name)
    if (found != counts).any():
        raise IntegrityError(f"a batch's index lacks {name}, or some of them")
    return values.astype(np.int64, copy=False)


def _sums(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The sum of each of some runs of values."""
    before = np.append(0, np.cumsum(values))
    ends = np.cumsum(counts)
    return np.asarray(before[ends] - before[ends - counts])


def _sections(
    directory: np.ndarray, behind: np.ndarray, ends: np.ndarray, places: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Those of some sections that are there: of which batch, and where they lie."""
    offset, size = np.moveaxis(directory[:, list(places)].astype(np.int64), -1, 0)
    batch, place = np.nonzero(size > 0)
    first = behind[batch] + offset[batch, place]
    last = first + size[batch, place]
    if (last > ends[batch]).any() or (first < behind[batch]).any():
        raise IntegrityError("a section of a batch's index lies beyond it")
    return batch, first, last


def _fragments(
    pages: columns.Packed,
    n_batches: int,
    at: np.ndarray,
    cell_fragments: np.ndarray,
    n_cells: np.ndarray,
) -> FragmentPage:
    owner, counts = pages.column("object")
    vertices = _as_many(pages, "vertices", counts)
    rank, n_ranks = pages.column("rank")
    ends, n_ends = pages.column("ends")
    found = np.bincount(at, counts, n_batches).astype(np.int64)
    if (found != _sums(cell_fragments, n_cells)).any():
        raise IntegrityError("a batch's index has other fragments in its pages than in its cells")
    lines = (n_ranks >= 0).all() and len(counts) > 0
    if lines and ((n_ranks != counts).any() or (n_ends != counts).any()):
        raise IntegrityError("a batch's index lacks the rank or the end of a fragment")
    return FragmentPage(
        owner, vertices, rank if lines else None, ends.astype(bool) if lines else None
    )


def _ids(
    reader: LevelReader,
    rows: np.ndarray,
    raw: np.ndarray,
    sections: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Object ids, which are a run where a batch has no list of them, and which begin there."""
    table = reader.state.table
    n_objects = table.n_objects[rows]
    ids = spans(table.id_min[rows], n_objects)
    is_new = np.ones(len(ids), bool)
    at, first, last = sections
    if len(at):
        listed = _unpacked(raw, first, last)
        for name, into in (("id", ids), ("is_new", is_new)):
            values, counts = listed.column(name)
            there = counts >= 0
            if (counts[there] != n_objects[at[there]]).any():
                raise IntegrityError("a batch stores more or fewer ids than it has objects")
            has = np.zeros(len(rows), bool)
            has[at[there]] = True
            into[np.repeat(has, n_objects)] = values
    return ids, is_new


# ---- rows ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Cells:
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

    def __getitem__(self, part: slice | np.ndarray) -> _Cells:
        return _Cells(
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
class _Filling:
    """Rows of one array on their way into one buffer.

    Parameters
    ----------
    reader : LevelReader
    slots : ndarray of int64, shape (B,)
    path : str
    row_bytes : int
    cells : _Cells
    out : ndarray of uint8, shape (8 + total,)
        Filled from byte 8 on, from the end to the beginning: the frame of a cell is
        decompressed along with it, and lies over the end of the cell before.
    room : _Room
        For what is read and decoded before the next is.
    """

    reader: LevelReader
    slots: np.ndarray
    path: str
    row_bytes: int
    cells: _Cells
    out: np.ndarray
    room: _Room

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

    def _fill_large(self, cells: _Cells, begin: int, end: int) -> None:
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

    def _fill_small(self, cells: _Cells, begins: np.ndarray) -> None:
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

    def _fetched(self, cells: _Cells) -> _Shards:
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
    cells : _Cells
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
    cells: _Cells
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
