"""Links as they are stored, which of them are there, and the values that they have.

Of graphs and meshes a link is kept by the cell of its smallest vertex in the
order of the batch. Of lines none is stored: each vertex that is not the last
of its line is linked to the next. *Link order* is by batch, cell, fragment, row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .. import _paths
from ..format.batches import FragmentPage
from ..format.metadata import LINES, AttributeMeta
from .fetch import read_rows
from .removed import load_removals
from .selection import Selection
from .values import spread
from .wanted import Target, Wanted

if TYPE_CHECKING:
    from .reader import LevelReader
    from .removed import Removal

LINKS = "links"
ENDS = np.dtype("i4")


def whole(reader: LevelReader, rows: Sequence[int]) -> list[Selection]:
    """All cells of some batches."""
    return [
        Selection(row, head, np.arange(len(head.cells)))
        for row, head in zip(rows, reader.heads(rows), strict=True)
    ]


def link_count(selection: Selection) -> int:
    """Links that the selected cells keep."""
    return int(selection.head.cell_links[selection.at].sum())


def link_rows_of(
    reader: LevelReader,
    array: str,
    dtype: np.dtype,
    row_shape: tuple[int, ...],
    selections: Sequence[Selection],
) -> np.ndarray:
    """All rows of an array of links in the selected cells: (n, *row_shape), in link order."""
    wanted = []
    for s in selections:
        counts = s.head.cell_links[s.at]
        has = counts > 0
        if has.any():
            slot = int(reader.state.table.slot[s.row])
            in_batch = int((s.head.cell_links > 0).sum()), int(s.head.link_start[-1])
            wanted.append(Wanted(slot, s.head.cells[s.at][has], counts[has], *in_batch))
    row_bytes = dtype.itemsize * int(np.prod(row_shape, dtype=np.int64))
    target = Target.empty(_paths.join(reader.state.path, array), row_bytes, wanted)
    read_rows(reader.store, reader.state.facts.grid, [target], reader.shard_indexes)
    return target.rows(dtype, row_shape)


def links_of(reader: LevelReader, selections: Sequence[Selection]) -> list[np.ndarray]:
    """The stored links in the selected cells, batch by batch, as vertices of the batch.

    Returns
    -------
    list of ndarray of int64, shape (M, L)
        Removed ones too.
    """
    width = reader.meta.link_width
    rows = link_rows_of(reader, LINKS, ENDS, (width,), selections)
    found, done = [], 0
    for s in selections:
        n = link_count(s)
        first = np.repeat(s.head.vertex_start[s.at], s.head.cell_links[s.at])
        found.append(rows[done : done + n] + first[:, None])
        done += n
    return found


def level_links_of(
    reader: LevelReader, selections: Sequence[Selection]
) -> tuple[np.ndarray, np.ndarray | None]:
    """The stored links in the selected cells, as vertices of the level.

    Returns
    -------
    links : ndarray of int64, shape (M, L)
        Those whose ends were not removed.
    live : ndarray of bool or None
        Which of the stored ones those are; None for all.
    """
    removals = load_removals(reader, [s.row for s in selections])
    found, masks = [], []
    for s, links in zip(selections, links_of(reader, selections), strict=True):
        live = np.ones(len(links), bool)
        if s.row in removals:
            removal = removals[s.row]
            live = np.asarray(~removal.holds(links).any(axis=1))
            links = links[live]
            links = links - removal.before(links)
        found.append(links + reader.vertex_base[s.row])
        masks.append(live)
    width = reader.meta.link_width
    links = np.concatenate(found) if found else np.zeros((0, width), np.int64)
    return links, np.concatenate(masks) if removals else None


def link_values_of(
    reader: LevelReader, attribute: AttributeMeta, selections: Sequence[Selection]
) -> np.ndarray:
    """Values of an attribute for all links that the selected cells keep, removed ones too."""
    present = reader.state.table.content(attribute.path)
    has = [s for s in selections if present[s.row]]
    stored = link_rows_of(reader, attribute.path, attribute.dtype, attribute.row_shape, has)
    return spread(reader, attribute, [(s.row, link_count(s)) for s in selections], stored)


def line_value_rows(
    reader: LevelReader,
    attribute: AttributeMeta,
    selections: Sequence[Selection],
    pages: Sequence[FragmentPage],
    live: np.ndarray | None,
) -> np.ndarray:
    """Values of the links of lines by their sources: a row for each vertex that is there.

    Where a vertex is the last of its line, any value stands.

    Parameters
    ----------
    reader : LevelReader
    attribute : AttributeMeta
    selections : sequence of Selection
    pages : sequence of FragmentPage
        Their fragments.
    live : ndarray of bool or None
        The vertices in them that were not removed; None for all.
    """
    values = link_values_of(reader, attribute, selections)
    sources = [sources_of(page) for page in pages]
    number = np.cumsum(np.concatenate(sources)) if sources else np.zeros(0, np.int64)
    if live is not None:
        number = number[live]
    if len(values) == 0:
        return np.empty((len(number), *attribute.row_shape), values.dtype)
    return np.asarray(values[np.maximum(number - 1, 0)])


def sources_of(page: FragmentPage) -> np.ndarray:
    """Which vertices of some fragments of lines have a link to the next: a mask."""
    is_source = np.ones(int(page.vertices.sum()), bool)
    if page.ends is not None:
        is_source[np.cumsum(page.vertices, dtype=np.int64)[page.ends] - 1] = False
    return is_source


def live_links(
    reader: LevelReader, rows: Sequence[int], removals: dict[int, Removal] | None = None
) -> dict[int, np.ndarray]:
    """For those of some batches that lost vertices, which of their links have all ends: masks.

    Parameters
    ----------
    reader : LevelReader
    rows : sequence of int
        Rows of the table.
    removals : dict of int to Removal, optional
        What was removed, where it is not what the table says.
    """
    if removals is None:
        removals = load_removals(reader, rows)
    selections = whole(reader, [row for row in rows if row in removals])
    if not selections:
        return {}
    live = {}
    for s in selections:
        live[s.row] = np.ones(int(s.head.vertex_start[-1]), bool)
        removals[s.row].clear(s.head, s.at, live[s.row])
    if reader.meta.kind in LINES:
        pages = reader.fragments(selections)
        for s, page in zip(selections, pages, strict=True):
            live[s.row] = live[s.row][sources_of(page)]
        return live
    for s, links in zip(selections, links_of(reader, selections), strict=True):
        live[s.row] = live[s.row][links].all(axis=1)
    return live


def inside_cells(reader: LevelReader, rows: Sequence[int]) -> list[np.ndarray]:
    """Which of the stored links of some batches have all ends in one cell: masks."""
    selections = whole(reader, rows)
    width = reader.meta.link_width
    stored = link_rows_of(reader, LINKS, ENDS, (width,), selections)
    masks, done = [], 0
    for s in selections:
        n = link_count(s)
        room = np.repeat(s.head.cell_vertices[s.at], s.head.cell_links[s.at])
        # The smallest end lies in the cell that keeps the link, and ends are counted from it.
        masks.append(stored[done : done + n].max(axis=1) < room)
        done += n
    return masks


def link_values(reader: LevelReader, attribute: AttributeMeta) -> np.ndarray:
    """Values of a link attribute for all links of the level, in link order."""
    table = reader.state.table
    rows = np.flatnonzero(table.live_links > 0).tolist()
    present = table.content(attribute.path)
    has = whole(reader, [row for row in rows if present[row]])
    stored = link_rows_of(reader, attribute.path, attribute.dtype, attribute.row_shape, has)
    values = spread(reader, attribute, [(row, int(table.n_links[row])) for row in rows], stored)
    live = live_links(reader, rows)
    if not live:
        return values
    masks = [live[row] if row in live else np.ones(int(table.n_links[row]), bool) for row in rows]
    return np.asarray(values[np.concatenate(masks)])
