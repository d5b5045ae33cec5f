"""The batches of a level as a reader of Zarr Vectors sees them: cells by address.

A chunk is addressed by its batch's slot and the cell's integers. The arrays
that are handed out are as small as the bounds and the data allow, whatever
margin the stored grid has, so their first index is an address less `origin`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..._read import LevelReader, Selection
from ...format.batches import BatchHead
from ._nodes import Index


@dataclass(frozen=True)
class Part:
    """One batch.

    Parameters
    ----------
    row : int
        Its row in the table.
    slot : int
    uuid : bytes
    head : BatchHead
    """

    row: int
    slot: int
    uuid: bytes
    head: BatchHead

    @property
    def cells(self) -> np.ndarray:
        """Numbers of the cells in the stored grid, ascending."""
        return self.head.cells

    @cached_property
    def numbers(self) -> list[int]:
        """The same as a list, in which one is found sooner."""
        numbers: list[int] = self.cells.tolist()
        return numbers

    def selection(self, at: np.ndarray) -> Selection:
        """Some of its cells, by position."""
        return Selection(self.row, self.head, at)


class Batches:
    """All batches of a level that have vertices, and where their cells lie.

    Parameters
    ----------
    reader : LevelReader
    """

    def __init__(self, reader: LevelReader) -> None:
        self.reader = reader
        table, self._grid = reader.state.table, reader.state.facts.grid
        self.parts = [
            Part(s.row, int(table.slot[s.row]), bytes(table.uuid[s.row]), s.head)
            for s in reader.plan()
        ]
        self.by_slot = {part.slot: part for part in self.parts}
        self.by_row = {part.row: part for part in self.parts}
        size = np.asarray(self._grid.chunk_shape)
        stored = np.asarray(self._grid.origin)
        bounds = reader.meta.bounds
        last_stored = stored + np.asarray(self._grid.shape) - 1
        low = np.clip(np.floor(bounds.lo / size), stored, last_stored).astype(np.int64)
        high = np.clip(np.floor(bounds.hi / size), stored, last_stored).astype(np.int64)
        for addresses in self.addresses:
            low = np.minimum(low, addresses[:, 1:].min(axis=0))
            high = np.maximum(high, addresses[:, 1:].max(axis=0))
        self.origin = low
        self.shape: tuple[int, ...] = tuple((high - low + 1).tolist())
        # What turns the index of a chunk into the number of its cell in the stored grid.
        self._strides = self._grid.strides.tolist()
        self._first = int((low - stored) @ self._grid.strides)

    @cached_property
    def addresses(self) -> list[np.ndarray]:
        """For each batch, its cells as (slot, absolute coordinates): (C, 1 + D) int64."""
        origin = np.asarray(self._grid.origin)
        return [
            np.column_stack(
                [
                    np.full(len(part.cells), part.slot),
                    self._grid.coordinates(part.cells) + origin,
                ]
            )
            for part in self.parts
        ]

    @cached_property
    def nonempty(self) -> list[str]:
        """The addresses of all cells as text, in the order of text: so they are looked up."""
        return sorted(texts(np.concatenate(self.addresses))) if self.parts else []

    def indices(self) -> Iterator[Index]:
        """The indices of all chunks."""
        shift = np.concatenate(([0], self.origin))
        for part in self.addresses:
            yield from map(tuple, (part - shift).tolist())

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
