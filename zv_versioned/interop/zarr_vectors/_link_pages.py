"""Links as chunks of families, made a page of cells at a time and all families at once.

Which families there are, and which chunks of them, is known once all links have
been looked at. What was found of a batch is kept, for all snapshots.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np

from ...format.fragments import encode_tables
from ...format.link_families import encode_across, is_within, place
from ...reading.links import ENDS, LINKS, link_rows_of
from ...reading.selection import Selection
from ._batches import Batches, Part, fragments_in, stored_fragments
from ._links import LineLinks, PartLinks, StoredLinks, cells_of_page
from ._nodes import Loaded, Source, Unit, frame

Segment = tuple[tuple[int, ...], ...]
"""The offsets of all ends but the first."""

FRAGMENT_TABLES = "link_fragments"
_AT_ONCE_LINKS = 1 << 19


@dataclass(frozen=True)
class Group:
    """The links of one chunk of one family: from `start` to `stop` of a page."""

    segment: Segment
    at: int
    start: int
    stop: int


@dataclass(frozen=True)
class Page:
    """The links whose sources are some cells of a batch, sorted by family and chunk.

    Parameters
    ----------
    groups : list of Group
    rows : ndarray of int64, shape (M, L)
        Numbers within the chunks.
    code : ndarray of int64, shape (M,)
    first : ndarray of int64, shape (M,)
        The smallest vertex of each link, within the batch.
    cell, row : ndarray of int64, shape (M,)
        Where each is stored, as in :class:`Links`.
    """

    groups: list[Group]
    rows: np.ndarray
    code: np.ndarray
    first: np.ndarray
    cell: np.ndarray
    row: np.ndarray

    @classmethod
    def of(cls, part_links: PartLinks, at: np.ndarray, stored: np.ndarray) -> Page:
        """Sort the links of some cells; within a chunk they stay in the order they are in."""
        part, links = part_links.part, part_links.links(at, stored)
        placed = place(links.ends, part.vertex_start, part.addresses)
        cells = len(part.cells)
        key = placed.segment * cells + placed.source
        order = np.argsort(key, kind="stable")
        key = key[order]
        starts = np.flatnonzero(np.diff(key, prepend=-1))
        segments, sources = np.divmod(key[starts], cells)
        bounds = zip(
            segments.tolist(),
            sources.tolist(),
            starts.tolist(),
            np.append(starts, len(key))[1:].tolist(),
            strict=True,
        )
        return cls(
            [Group(placed.segments[s], a, start, stop) for s, a, start, stop in bounds],
            placed.rows[order],
            placed.code[order],
            links.ends.min(axis=1)[order],
            links.cell[order],
            links.row[order],
        )

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return self.rows.nbytes + 4 * self.code.nbytes + 240 * len(self.groups) + 512


@dataclass(frozen=True)
class Census:
    """Which chunks of which families a batch has.

    Parameters
    ----------
    chunks : mapping of Segment to ndarray of int64
        Cells, by position, ascending.
    page_end : ndarray of int64
        One past the last cell of each page.
    page_links : ndarray of int64
        Links of each page.
    """

    chunks: Mapping[Segment, np.ndarray]
    page_end: np.ndarray
    page_links: np.ndarray

    @classmethod
    def of(cls, page_end: np.ndarray, pages: Sequence[Page]) -> Census:
        """Count the links of all pages of a batch."""
        chunks: dict[Segment, list[int]] = {}
        for page in pages:
            for group in page.groups:
                chunks.setdefault(group.segment, []).append(group.at)
        return cls(
            {segment: np.array(at, np.int64) for segment, at in chunks.items()},
            page_end,
            np.array([len(page.rows) for page in pages], np.int64),
        )

    def page_of(self, at: int) -> int:
        """The page that a cell is in."""
        return int(np.searchsorted(self.page_end, at, side="right"))

    def cells(self, page: int) -> np.ndarray:
        """The cells of a page, by position."""
        return cells_of_page(self.page_end, page)

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        chunks = sum(at.nbytes + 512 for at in self.chunks.values())
        return chunks + 2 * self.page_end.nbytes + 512


class LinkPages(Source):
    """The chunks of all families and of ``link_fragments``; members are (segment, cell).

    Parameters
    ----------
    batches : Batches
    within : bool
        Of lines: whether to make the links within cells.
    """

    def __init__(self, batches: Batches, *, within: bool) -> None:
        super().__init__("links")
        self._batches = batches
        self._within = within
        self._width = batches.reader.meta.link_width
        self._parts: dict[int, PartLinks] = {}

    def _prepare(self, rows: Sequence[int]) -> None:
        """Make known how the links of some batches lie, with one read."""
        fresh = [self._batches.by_row[row] for row in dict.fromkeys(rows) if row not in self._parts]
        if self._width:
            self._parts.update((part.row, StoredLinks(part)) for part in fresh)
            return
        for part, page in zip(fresh, stored_fragments(fresh), strict=True):
            self._parts[part.row] = LineLinks(part, page, within=self._within)

    def pages(self, units: Sequence[Unit]) -> list[Page]:
        """Pages, those that are not known made with one read."""
        cache = self._batches.reader.parts
        split = [cast("tuple[int, int]", unit) for unit in units]
        names = [
            ("links", self._batches.by_row[row].name, self._within, page) for row, page in split
        ]
        found: list[Page | None] = [cache.get(name) for name in names]
        wanting = [i for i, page in enumerate(found) if page is None]
        self._prepare([split[i][0] for i in wanting])
        cells = []
        for i in wanting:
            links = self._parts[split[i][0]]
            at = cells_of_page(links.page_end, split[i][1])
            cells.append((links, at, links.needs(at)))
        stored = np.zeros((0, self._width), ENDS)
        if self._width:
            needed = [
                Selection(links.part.row, links.part.head, needs) for links, _, needs in cells
            ]
            stored = link_rows_of(self._batches.reader, LINKS, ENDS, (self._width,), needed)
        taken = 0
        for i, (links, at, needs) in zip(wanting, cells, strict=True):
            n = int(links.part.head.cell_links[needs].sum())
            page = found[i] = Page.of(links, at, stored[taken : taken + n])
            taken += n
            cache.put(names[i], page, page.size)
        return [page for page in found if page is not None]

    @cached_property
    def census(self) -> dict[int, Census]:
        """What each batch (row) has; this looks at all links that were not looked at before."""
        cache = self._batches.reader.parts
        names = {
            part.row: ("census of links", part.name, self._within) for part in self._batches.parts
        }
        found: dict[int, Census] = {}
        wanting = []
        for row, name in names.items():
            known: Census | None = cache.get(name)
            if known is None:
                wanting.append(row)
            else:
                found[row] = known
        for rows in self._in_groups(wanting):
            self._prepare(rows)
            ends = {row: self._parts[row].page_end for row in rows}
            units = [(row, page) for row in rows for page in range(len(ends[row]))]
            pages = iter(self.pages(units))
            for row, page_end in ends.items():
                found[row] = Census.of(page_end, [next(pages) for _ in page_end])
                cache.put(names[row], found[row], found[row].size)
        return found

    def _in_groups(self, rows: Sequence[int]) -> Iterator[list[int]]:
        """Batches, as many at a time as have a certain number of links."""
        group: list[int] = []
        room = _AT_ONCE_LINKS
        for row in rows:
            group.append(row)
            room -= int(self._batches.by_row[row].head.link_start[-1]) + 1
            if room <= 0:
                yield group
                group, room = [], _AT_ONCE_LINKS
        if group:
            yield group

    # -- as a source ---------------------------------------------------------

    def weight(self, unit: Unit) -> int:
        """About how many bytes a unit takes."""
        row, page = cast("tuple[int, int]", unit)
        return 32 * int(self.census[row].page_links[page]) + 1024

    def load(self, units: Sequence[Unit]) -> list[Loaded]:
        """Make units."""
        made: list[Loaded] = []
        for unit, page in zip(units, self.pages(units), strict=True):
            row, number = cast("tuple[int, int]", unit)
            chunks: dict[Hashable, bytes] = {
                (group.segment, group.at): frame(_payload(page, group)) for group in page.groups
            }
            at = self.census[row].cells(number)
            tables = _fragment_tables(self._batches.by_row[row], at, page)
            made.append({**chunks, **tables})
        return made


def _payload(page: Page, group: Group) -> bytes:
    rows = page.rows[group.start : group.stop]
    if is_within(group.segment):
        return rows.astype("<i8", copy=False).tobytes()
    return encode_across(rows, page.code[group.start : group.stop])


def _fragment_tables(part: Part, at: np.ndarray, page: Page) -> Loaded:
    """For the chunks with links within, how many of these begin in each vertex fragment."""
    within = [group for group in page.groups if is_within(group.segment)]
    if not within:
        return {}
    (fragments,) = fragments_in([(part, at)])
    starts = part.vertex_start[at[0]] + np.cumsum(fragments.vertices) - fragments.vertices
    first = np.concatenate([page.first[group.start : group.stop] for group in within])
    of = np.searchsorted(starts, first, side="right") - 1
    counts = np.bincount(of, minlength=len(starts))
    # Only chunks that have links have a table.
    there = np.array([group.at for group in within])
    shift = part.fragment_start[at[0]]
    begins = part.fragment_start[there] - shift
    numbers = part.fragments[there]
    kept = np.concatenate(
        [counts[a : a + n] for a, n in zip(begins.tolist(), numbers.tolist(), strict=True)]
    )
    tables = encode_tables(kept, numbers)
    return {
        (FRAGMENT_TABLES, cell): frame(table)
        for cell, table in zip(there.tolist(), tables, strict=True)
    }
