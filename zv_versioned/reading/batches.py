"""Several batches read whole, at once: their indexes, and the rows of their arrays.

Who reads a thousand small batches pays for what is done for each. So files go one behind
the other into one buffer, tables are read a column of all batches at a time, and cells are
decoded together (:mod:`zv_versioned.format.many`). What is held beside the result is a piece of
bounded size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from .. import _paths, _store
from ..errors import IntegrityError
from ..format import batches, columns, many
from ..format.batches import FragmentPage
from ..format.cells import HEADER
from ..format.table import INDEX
from ..spatial.assign import run_starts, spans
from .links import LINKS
from .whole_rows import Cells, Filling, Room

if TYPE_CHECKING:
    from .reader import LevelReader

VERTICES = "vertices"
_PIECE_BYTES = 16 << 20


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
        self._room = Room()
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
        return self._rows(array, dtype, row_shape, self.cell_vertices)

    def link_rows(self, array: str, dtype: np.dtype, row_shape: tuple[int, ...]) -> np.ndarray:
        """The same of an array of links, in link order."""
        return self._rows(array, dtype, row_shape, self.cell_links)

    def _rows(
        self,
        array: str,
        dtype: np.dtype,
        row_shape: tuple[int, ...],
        counts: np.ndarray,
    ) -> np.ndarray:
        has = counts > 0
        if array not in (VERTICES, LINKS):
            content = self.reader.state.table.content(array)
            has &= (content[self.rows] != 0)[self.batch_of_cell]
        block, place = self._laid
        batch = self.batch_of_cell
        if not has.all():
            block, place, batch, counts = block[has], place[has], batch[has], counts[has]
            numbers = self.cells[has]
        else:
            numbers = self.cells
        row_bytes = dtype.itemsize * int(np.prod(row_shape, dtype=np.int64))
        cells = Cells(batch, numbers, block, place, counts * row_bytes)
        path = _paths.join(self.reader.state.path, array)
        out = np.empty(HEADER + int(cells.sizes.sum()), np.uint8)
        Filling(self.reader, self._slots, path, row_bytes, cells, out, self._room).run()
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
