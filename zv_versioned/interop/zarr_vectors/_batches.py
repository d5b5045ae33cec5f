"""The batches of a level as a reader of Zarr Vectors sees them: cells by address.

A chunk is addressed by its batch's slot and the cell's integers. The arrays
that are handed out are as small as the bounds and the data allow, whatever
margin the stored grid has, so their first index is an address less `origin`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from ..._sets import is_in
from ...errors import IntegrityError
from ...format.batches import BatchHead, FragmentPage
from ...format.table import REMOVED
from ...reading.reader import LevelReader
from ...reading.removed import Removal, load_removals
from ...reading.selection import Selection
from ...spatial.assign import spans
from ._nodes import Index


class Part:
    """One batch without what was removed of it: no removed fragment, no cell that is empty.

    Parameters
    ----------
    reader : LevelReader
    row : int
        The batch's row in the table.
    head : BatchHead
        With what was removed, as it is stored.
    removal : Removal or None

    Attributes
    ----------
    slot : int
    name : tuple
        Names what is there, the same in all snapshots: the batch and its removals.
    removal : Removal or None
        What was removed.
    kept_fragments : ndarray of bool or None
        Which of the stored fragments were not; None where all are there.
    cells : ndarray of int64, shape (C,)
        Numbers of the cells in the stored grid, ascending.
    addresses : ndarray of int64, shape (C, 1 + D)
        The slot and the absolute coordinates of the cells.
    vertices, fragments : ndarray of int64, shape (C,)
        How many each cell has.
    vertex_start, fragment_start : ndarray of int64, shape (C + 1,)
        The first of each cell, within the batch.
    """

    def __init__(
        self, reader: LevelReader, row: int, head: BatchHead, removal: Removal | None
    ) -> None:
        table = reader.state.table
        self.row = row
        self.slot = int(table.slot[row])
        self.name = (bytes(table.uuid[row]), int(table.content(REMOVED)[row]))
        self.head = head
        self.removal = removal
        self.reader = reader
        self._stored_cells: np.ndarray | None = None
        self.kept_fragments: np.ndarray | None = None
        self.cells = head.cells
        self.vertices = head.cell_vertices.astype(np.int64)
        self.fragments = head.cell_fragments.astype(np.int64)
        if removal is not None:
            self._leave_out(removal)
        self.vertex_start = starts_of(self.vertices)
        self.fragment_start = starts_of(self.fragments)

    def _leave_out(self, removal: Removal) -> None:
        head = self.head
        self.kept_fragments = _kept_fragments(self, removal)
        gone = removal.before(head.vertex_start)
        vertices = self.vertices - (gone[1:] - gone[:-1])
        before = starts_of(self.kept_fragments)[head.fragment_start]
        stored = np.flatnonzero(vertices)
        self._stored_cells = stored
        self.cells = head.cells[stored]
        self.vertices = vertices[stored]
        self.fragments = (before[1:] - before[:-1])[stored]

    @cached_property
    def numbers(self) -> list[int]:
        """The numbers of the cells as a list, in which one is found sooner."""
        numbers: list[int] = self.cells.tolist()
        return numbers

    @cached_property
    def addresses(self) -> np.ndarray:
        """The slot and the absolute coordinates of the cells."""
        grid = self.reader.state.facts.grid
        coordinates = grid.coordinates(self.cells) + np.asarray(grid.origin)
        return np.column_stack([np.full(len(self.cells), self.slot), coordinates])

    def stored(self, at: np.ndarray | None = None) -> np.ndarray:
        """Which stored cells these are, by position; all of them where left out."""
        if self._stored_cells is None:
            return np.arange(len(self.cells)) if at is None else at
        return self._stored_cells if at is None else self._stored_cells[at]

    def selection(self, at: np.ndarray | None = None) -> Selection:
        """Some of the cells, by position, or all: as the reader takes them."""
        return Selection(self.row, self.head, self.stored(at))

    def lacks(self, what: str) -> IntegrityError:
        """The error for something that the batch's index should say."""
        return IntegrityError(
            f"the index of batch {self.slot} of {self.reader.state.path!r} lacks {what}"
        )

    def page_of(self, at: int) -> int:
        """The page of the index that has the fragments of a cell, by position."""
        stored = at if self._stored_cells is None else self._stored_cells[at]
        return int(np.searchsorted(self.head.cell_page_end, stored, side="right"))

    def page(self, page: int) -> np.ndarray:
        """The cells, by position, whose fragments are in a page."""
        ends = self.head.cell_page_end
        edges = np.array([ends[page - 1] if page else 0, ends[page]])
        if self._stored_cells is not None:
            edges = np.searchsorted(self._stored_cells, edges)
        return np.arange(*edges.tolist())

    def local(self, fragments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where fragments, by their stored numbers, are: the cell and the number in the cell."""
        if self.kept_fragments is not None:
            fragments = starts_of(self.kept_fragments)[fragments]
        at = np.searchsorted(self.fragment_start, fragments, side="right") - 1
        return at, fragments - self.fragment_start[at]


def stored_fragments(parts: Sequence[Part]) -> list[FragmentPage]:
    """All fragments of some batches, of one reader; removed ones too."""
    whole = [Selection(part.row, part.head, np.arange(len(part.head.cells))) for part in parts]
    return parts[0].reader.fragments(whole) if parts else []


def fragments_in(cells: Sequence[tuple[Part, np.ndarray]]) -> list[FragmentPage]:
    """The fragments of cells of several batches, of one reader."""
    if not cells:
        return []
    reader = cells[0][0].reader
    selections = [part.selection(at) for part, at in cells]
    pages = reader.fragments(selections)
    for number, ((part, _), selection) in enumerate(zip(cells, selections, strict=True)):
        if part.kept_fragments is not None:
            head = part.head
            starts = head.fragment_start[selection.at]
            counts = head.cell_fragments[selection.at].astype(np.int64)
            kept = part.kept_fragments[spans(starts, counts)]
            pages[number] = pages[number].take(np.flatnonzero(kept))
    return pages


def _kept_fragments(part: Part, removal: Removal) -> np.ndarray:
    """Mask of the fragments of a batch that were not removed."""
    key = ("kept fragments", part.name)
    kept: np.ndarray | None = part.reader.parts.get(key)
    if kept is None:
        begins = starts_of(stored_fragments([part])[0].vertices)[:-1]
        kept = ~is_in(begins, removal.start)
        part.reader.parts.put(key, kept, kept.nbytes)
    return kept


def starts_of(counts: np.ndarray) -> np.ndarray:
    """Where each of some runs begins, and where the last ends."""
    return np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))


class Batches:
    """All batches of a level that have vertices, and where their cells lie.

    Parameters
    ----------
    reader : LevelReader
    """

    def __init__(self, reader: LevelReader) -> None:
        self.reader = reader
        self._grid = reader.state.facts.grid
        plan = reader.plan()
        removals = load_removals(reader, [s.row for s in plan])
        self.parts = [Part(reader, s.row, s.head, removals.get(s.row)) for s in plan]
        self.by_slot = {part.slot: part for part in self.parts}
        self.by_row = {part.row: part for part in self.parts}
        size = np.asarray(self._grid.chunk_shape)
        stored = np.asarray(self._grid.origin)
        bounds = reader.meta.bounds
        last_stored = stored + np.asarray(self._grid.shape) - 1
        low = np.clip(np.floor(bounds.lo / size), stored, last_stored).astype(np.int64)
        high = np.clip(np.floor(bounds.hi / size), stored, last_stored).astype(np.int64)
        for part in self.parts:
            low = np.minimum(low, part.addresses[:, 1:].min(axis=0))
            high = np.maximum(high, part.addresses[:, 1:].max(axis=0))
        self.origin = low
        self.shape: tuple[int, ...] = tuple((high - low + 1).tolist())
        # What turns the index of a chunk into the number of its cell in the stored grid.
        self._strides = self._grid.strides.tolist()
        self._first = int((low - stored) @ self._grid.strides)

    @cached_property
    def nonempty(self) -> list[str]:
        """The addresses of all cells as text, in the order of text: so they are looked up."""
        return sorted(text for part in self.parts for text in texts(part.addresses))

    def indices(self) -> Iterator[Index]:
        """The indices of all chunks."""
        shift = np.concatenate(([0], self.origin))
        for part in self.parts:
            yield from map(tuple, (part.addresses - shift).tolist())

    def cell(self, index: Index) -> tuple[Part, int] | None:
        """The batch and the number of the cell that a chunk's index names, if the batch has it."""
        part = self.by_slot.get(index[0])
        if part is None or any(i >= n for i, n in zip(index[1:], self.shape, strict=True)):
            return None
        number = self._first + sum(i * s for i, s in zip(index[1:], self._strides, strict=True))
        at = bisect_left(part.numbers, number)
        if at == len(part.numbers) or part.numbers[at] != number:
            return None
        return part, at


def texts(addresses: np.ndarray) -> list[str]:
    """Addresses as Zarr Vectors writes them: integers with dots between."""
    return [".".join(map(str, address)) for address in addresses.tolist()]
