"""Several batches read whole, at once: their indexes, and the rows of their arrays.

Who reads a thousand small batches pays for what is done for each. So files go one behind
the other into one buffer, tables are read a column of all batches at a time, and cells are
decoded together (:mod:`zv_versioned.format.many`). What is held beside the result is a piece of
bounded size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .. import _paths, _store
from .._memory import room
from ..errors import IntegrityError
from ..format import batches, columns, many
from ..format.batches import FragmentPage
from ..format.cells import HEADER
from ..format.metadata import LINES
from ..format.table import INDEX
from ..spatial.assign import run_starts, spans
from .links import LINKS
from .whole_rows import Filling, Room, bytes_at_once

if TYPE_CHECKING:
    from .reader import LevelReader

VERTICES = "vertices"


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
        self.n_cells = table.n_cells[self.rows]
        self.n_fragments = table.n_fragments[self.rows]
        self.n_objects = table.n_objects[self.rows]
        self._room = Room()
        n_cells, n_fragments = int(self.n_cells.sum()), int(self.n_fragments.sum())
        n_objects = int(self.n_objects.sum())
        lines = reader.meta.kind in LINES
        self.cells = _column(n_cells)
        self.cell_vertices = _column(n_cells)
        self.cell_fragments = _column(n_cells)
        self.cell_links = np.zeros(n_cells, np.int64)
        self.fragments = FragmentPage(
            _column(n_fragments),
            _column(n_fragments),
            _column(n_fragments) if lines else None,
            np.empty(n_fragments, bool) if lines else None,
        )
        self.ids, self.is_new = np.empty(n_objects, np.int64), np.ones(n_objects, bool)
        self._read()

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
        table = self.reader.state.table
        rows, first = _sums(counts, self.n_cells), np.cumsum(self.n_cells) - self.n_cells
        has = rows > 0
        if array not in (VERTICES, LINKS):
            has &= table.content(array)[self.rows] != 0
        row_bytes = dtype.itemsize * int(np.prod(row_shape, dtype=np.int64))
        out = room(HEADER + int(rows[has].sum()) * row_bytes)
        Filling(
            reader=self.reader,
            path=_paths.join(self.reader.state.path, array),
            row_bytes=row_bytes,
            slots=table.slot[self.rows[has]],
            rows=rows[has],
            first=first[has],
            n_cells=self.n_cells[has],
            cells=self.cells,
            counts=counts,
            out=out,
            room=self._room,
        ).run()
        return out[HEADER:].view(dtype).reshape(-1, *row_shape)

    # ---- indexes --------------------------------------------------------------

    def _read(self) -> None:
        """Read the indexes; where something is wrong, find out of which batch."""
        array = _paths.join(self.reader.state.path, INDEX)
        table = self.reader.state.table
        # An index has some 3 bytes a fragment and 20 a cell, and a kilobyte of its own.
        size = 2048 + 8 * self.n_fragments + 24 * self.n_cells
        for part in _pieces(size, bytes_at_once(self.reader.store)):
            slots = table.slot[self.rows[part]].tolist()
            keys = [(slot, 0) for slot in slots]
            raw, ends = _store.get_wholes(self.reader.store, array, keys, self._room.take)
            starts = np.append(0, ends[:-1])
            try:
                self._decode(part, raw, starts, ends)
            except IntegrityError:
                for at, slot in enumerate(slots):
                    one, number = slice(at, at + 1), part.start + at
                    with _store.damage_in(_paths.shard_key(array, slot, (0,))):
                        self._decode(slice(number, number + 1), raw, starts[one], ends[one])
                raise

    def _decode(self, part: slice, raw: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> None:
        """Read what the indexes of some of the batches say, and put it where it belongs."""
        table, rows = self.reader.state.table, self.rows[part]
        n_cells = self.n_cells[part]
        behind = starts + table.head_bytes[rows]
        if (behind > ends).any():
            raise IntegrityError("the index of a batch is shorter than its head")
        head = _unpacked(raw, starts, behind)
        at = _span(self.n_cells, part)
        vertices, fragments = self.cell_vertices[at], self.cell_fragments[at]
        head.fill("cell", self.cells[at], n_cells)
        head.fill("vertices", vertices, n_cells)
        head.fill("fragments", fragments, n_cells)
        links, n_links = head.column("links")
        if (n_links[n_links >= 0] != n_cells[n_links >= 0]).any():
            raise IntegrityError("a batch's index has links for more or fewer cells than it has")
        self.cell_links[at][np.repeat(n_links >= 0, n_cells)] = links
        directory, n_places = head.column("directory")
        if (n_places != batches.SECTIONS).any() or directory.shape[1:] != (2,):
            raise IntegrityError("a batch's index has no directory, or one of another size")
        directory = directory.reshape(-1, batches.SECTIONS, 2)
        if (_sums(vertices, n_cells) != table.n_vertices[rows]).any():
            raise IntegrityError(
                f"a batch of {self.reader.state.path!r} has other vertices in its index than in "
                "the table"
            )
        if (_sums(fragments, n_cells) != self.n_fragments[part]).any():
            raise IntegrityError("a batch has other fragments in its index than in the table")
        places = range(batches.FRAGMENTS, batches.FRAGMENTS + batches.PAGES)
        self._decode_fragments(part, raw, *_sections(directory, behind, ends, places))
        self._decode_ids(part, raw, *_sections(directory, behind, ends, [batches.IDS]))

    def _decode_fragments(
        self, part: slice, raw: np.ndarray, at: np.ndarray, first: np.ndarray, last: np.ndarray
    ) -> None:
        pages = _unpacked(raw, first, last)
        counts = pages.counts("object")
        n_fragments = self.n_fragments[part]
        found = np.bincount(at, counts, len(n_fragments))
        if (found != n_fragments).any():
            raise IntegrityError("a batch has other fragments in its pages than in its cells")
        these = self.fragments.take(_span(self.n_fragments, part))
        pages.fill("object", these.object, counts)
        pages.fill("vertices", these.vertices, counts)
        if these.rank is not None and these.ends is not None:
            pages.fill("rank", these.rank, counts)
            pages.fill("ends", these.ends, counts)

    def _decode_ids(
        self, part: slice, raw: np.ndarray, at: np.ndarray, first: np.ndarray, last: np.ndarray
    ) -> None:
        """Object ids, which are a run where a batch has no list of them, and which begin there."""
        n_objects, span = self.n_objects[part], _span(self.n_objects, part)
        ids, is_new = self.ids[span], self.is_new[span]
        ids[:] = spans(self.reader.state.table.id_min[self.rows[part]], n_objects)
        if len(at) == 0:
            return
        listed = _unpacked(raw, first, last)
        for name, into in (("id", ids), ("is_new", is_new)):
            values, counts = listed.column(name)
            there = counts >= 0
            if (counts[there] != n_objects[at[there]]).any():
                raise IntegrityError("a batch stores more or fewer ids than it has objects")
            has = np.zeros(len(n_objects), bool)
            has[at[there]] = True
            into[np.repeat(has, n_objects)] = values


def _column(count: int) -> np.ndarray:
    return room(8 * count).view(np.int64)


def _pieces(sizes: np.ndarray, most: int) -> list[slice]:
    """Cut what has so many bytes each into pieces of bounded size, or of one."""
    piece = (np.cumsum(sizes) - sizes) // most
    first = run_starts(piece).tolist()
    return [slice(a, b) for a, b in zip(first, [*first[1:], len(sizes)], strict=True)]


def _span(counts: np.ndarray, part: slice) -> slice:
    """Where what some batches have lies, of which it is known how much each has."""
    start = int(counts[: part.start].sum())
    return slice(start, start + int(counts[part].sum()))


def _unpacked(raw: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> columns.Packed:
    out, begins, ends = many.decode(raw, starts, stops)
    return columns.Packed(out, begins.tolist(), ends.tolist())


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
