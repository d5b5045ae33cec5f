"""The links of one batch: which there are, and which chunk is the source of each.

Links of graphs and meshes are stored by the cell of their smallest vertex. Of
lines they follow from the fragments: from vertex to vertex within one, and from
the last of one to the first of the next. The former go without saying in Zarr
Vectors; they are made only where they have values.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...format.batches import FragmentPage
from ...reading.selection import cell_of
from ...spatial.assign import spans
from ._batches import Part, starts_of

PAGE_LINKS = 1 << 15
"""Links that are made together, about."""


@dataclass(frozen=True)
class Links:
    """Links of a batch.

    Parameters
    ----------
    ends : ndarray of int64, shape (M, L)
        Vertices of the batch, numbered without those that were removed.
    cell : ndarray of int64, shape (M,)
        The stored cell, by position, that keeps each link, and its values.
    row : ndarray of int64, shape (M,)
        Which of the links stored there.
    """

    ends: np.ndarray
    cell: np.ndarray
    row: np.ndarray

    @classmethod
    def concatenate(cls, parts: Sequence[Links]) -> Links:
        """Some links and others."""
        return cls(
            np.concatenate([p.ends for p in parts]),
            np.concatenate([p.cell for p in parts]),
            np.concatenate([p.row for p in parts]),
        )


class PartLinks(ABC):
    """The links of one batch, by pages of cells that are their sources.

    Parameters
    ----------
    part : Part
    """

    def __init__(self, part: Part) -> None:
        self.part = part

    @property
    @abstractmethod
    def weights(self) -> np.ndarray:
        """About how many links each cell is the source of: (C,) int64."""

    @abstractmethod
    def needs(self, at: np.ndarray) -> np.ndarray:
        """The stored cells whose links must be read to know those of some cells."""

    @abstractmethod
    def links(self, at: np.ndarray, stored: np.ndarray) -> Links:
        """The links whose sources are cells `at`, which follow each other; `stored` was read."""

    @cached_property
    def page_end(self) -> np.ndarray:
        """One past the last cell, by position, of each page."""
        weights = self.weights
        before = np.cumsum(weights) - weights
        return np.flatnonzero(np.diff(before // PAGE_LINKS, append=-1)) + 1


def cells_of_page(page_end: np.ndarray, page: int) -> np.ndarray:
    """The cells of a page, by position, of pages that end after certain cells."""
    return np.arange(page_end[page - 1] if page else 0, page_end[page])


class StoredLinks(PartLinks):
    """The links of a graph or a mesh."""

    @property
    def weights(self) -> np.ndarray:
        """Links of each cell, removed ones too."""
        return np.asarray(self.part.head.cell_links[self.part.stored()], np.int64)

    def needs(self, at: np.ndarray) -> np.ndarray:
        """The same cells: they keep their links."""
        return self.part.stored(at)

    def links(self, at: np.ndarray, stored: np.ndarray) -> Links:
        """The links whose sources are some cells."""
        head, removal = self.part.head, self.part.removal
        kept_by = self.part.stored(at)
        counts = head.cell_links[kept_by].astype(np.int64)
        cell = np.repeat(kept_by, counts)
        row = spans(np.zeros(len(counts), np.int64), counts)
        ends = stored.astype(np.int64) + head.vertex_start[cell][:, None]
        if removal is not None:
            there = ~removal.holds(ends).any(axis=1)
            ends, cell, row = ends[there], cell[there], row[there]
            ends = ends - removal.before(ends)
        return Links(ends, cell, row)


class LineLinks(PartLinks):
    """The links of lines.

    Parameters
    ----------
    part : Part
    page : FragmentPage
        All fragments of the batch, removed ones too.
    within : bool
        Whether to make those within a cell too.
    """

    def __init__(self, part: Part, page: FragmentPage, *, within: bool) -> None:
        super().__init__(part)
        self._within = within
        if page.rank is None or page.ends is None:
            raise part.lacks("the order of its lines")
        there = part.kept_fragments
        kept = np.arange(len(page.vertices)) if there is None else np.flatnonzero(there)
        sizes = page.vertices.astype(np.int64)
        stored_cell = cell_of(part.head, np.arange(len(sizes)))
        # Where the links of a fragment begin among those that its cell keeps.
        links_of = sizes - page.ends
        before = starts_of(links_of)[:-1]
        first_of_cell = part.head.fragment_start[stored_cell]
        first_row = before - before[first_of_cell]
        self._size = sizes[kept]
        self._start = starts_of(self._size)[:-1]
        self._stored_cell = stored_cell[kept]
        self._first_row = first_row[kept]
        self._cell = np.searchsorted(part.fragment_start, np.arange(len(kept)), side="right") - 1
        self._join(page.object[kept], page.rank[kept], page.ends[kept])

    def _join(self, owner: np.ndarray, rank: np.ndarray, ends: np.ndarray) -> None:
        """Find the bridges from fragment to fragment, and sort them by source."""
        order = np.lexsort((rank, owner))
        goes_on = ~ends[order]
        if len(order) and (goes_on[-1] or (np.diff(owner[order])[goes_on[:-1]] != 0).any()):
            raise self.part.lacks("the end of a line")
        at = np.flatnonzero(goes_on)
        one, other = order[at], order[at + 1]
        self._source = np.minimum(self._cell[one], self._cell[other])
        by_source = np.argsort(self._source, kind="stable")
        self._source = self._source[by_source]
        self._one, self._other = one[by_source], other[by_source]

    @property
    def weights(self) -> np.ndarray:
        """Links that each cell is the source of."""
        cells = len(self.part.cells)
        weights = np.bincount(self._source, minlength=cells)
        if self._within:
            weights = weights + self.part.vertices - self.part.fragments
        return weights

    def needs(self, at: np.ndarray) -> np.ndarray:
        """None: everything follows from the fragments."""
        return at[:0]

    def links(self, at: np.ndarray, stored: np.ndarray) -> Links:
        """The links whose sources are some cells."""
        first, stop = np.searchsorted(self._source, [at[0], at[-1] + 1]).tolist()
        one, other = self._one[first:stop], self._other[first:stop]
        last = self._size[one] - 1
        bridges = Links(
            np.column_stack([self._start[one] + last, self._start[other]]),
            self._stored_cell[one],
            self._first_row[one] + last,
        )
        return Links.concatenate([self._inside(at), bridges]) if self._within else bridges

    def _inside(self, at: np.ndarray) -> Links:
        """The links within fragments of some cells."""
        fragments = slice(self.part.fragment_start[at[0]], self.part.fragment_start[at[-1] + 1])
        counts = self._size[fragments] - 1
        vertex = spans(self._start[fragments], counts)
        return Links(
            np.column_stack([vertex, vertex + 1]),
            np.repeat(self._stored_cell[fragments], counts),
            spans(self._first_row[fragments], counts),
        )
