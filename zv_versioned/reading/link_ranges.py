"""Reading by link number: a range of links, and no batch besides those they lie in.

Of graphs and meshes only the cells that keep these links are read. Lines store
no links, and which links of a batch are there is known only when all of them
are looked at where some were removed; there a whole batch is read.
"""

from __future__ import annotations

import numpy as np

from ..format.metadata import LINES, AttributeMeta
from .gather_lines import line_links_of
from .links import level_links_of, link_count, link_values_of, live_links, whole
from .ranges import cut
from .reader import LevelReader
from .selection import Selection


def read_links(reader: LevelReader, start: int, stop: int) -> np.ndarray:
    """The links `start` to `stop` of a level, as vertices of the level.

    Parameters
    ----------
    reader : LevelReader
    start, stop : int
        ``0 <= start <= stop <= link_count``.

    Returns
    -------
    ndarray of int64, shape (stop - start, L)
    """
    if reader.meta.kind in LINES:
        selections, skip = _cells_of(reader, start, stop, whole_batches=True)
        links = line_links_of(reader, selections)
    else:
        selections, skip = _cells_of(reader, start, stop, whole_batches=False)
        links = level_links_of(reader, selections)[0]
    return links[skip : skip + stop - start]


def read_link_values(
    reader: LevelReader, attribute: AttributeMeta, start: int, stop: int
) -> np.ndarray:
    """Values of an attribute for the links `start` to `stop`; see :func:`read_links`."""
    selections, skip = _cells_of(reader, start, stop, whole_batches=False)
    values = link_values_of(reader, attribute, selections)
    removed = reader.state.table.n_removed_links
    live = live_links(reader, [s.row for s in selections if removed[s.row]])
    if live:
        masks = [live[s.row] if s.row in live else np.ones(link_count(s), bool) for s in selections]
        values = values[np.concatenate(masks)]
    return values[skip : skip + stop - start]


def link_bases(reader: LevelReader) -> np.ndarray:
    """The first link of each batch, and the number of links: (B + 1,) int64."""
    return np.concatenate(([0], np.cumsum(reader.state.table.live_links)))


def link_edges(reader: LevelReader, size: int) -> np.ndarray:
    """Cut the links of a level into pieces of about `size`; see :func:`._ranges.edges`."""
    base = link_bases(reader)
    marks = [base]
    if reader.meta.kind not in LINES:
        plain = (np.diff(base) > size) & (reader.state.table.n_removed_links == 0)
        large = np.flatnonzero(plain).tolist()
        for row, head in zip(large, reader.heads(large), strict=True):
            marks.append(base[row] + head.link_start)
    return cut(np.concatenate(marks), size)


def _cells_of(
    reader: LevelReader, start: int, stop: int, *, whole_batches: bool
) -> tuple[list[Selection], int]:
    """Cells that keep some links, and how many links of theirs come before."""
    base = link_bases(reader)
    rows = np.flatnonzero((base[:-1] < stop) & (base[1:] > start) & (start < stop)).tolist()
    if not rows:
        return [], 0
    selections = whole(reader, rows)
    skip = start - int(base[rows[0]])
    for at, s in enumerate(selections):
        if whole_batches or reader.state.table.n_removed_links[s.row]:
            continue
        starts = base[s.row] + s.head.link_start
        begin = int(np.searchsorted(starts, start, side="right")) - 1 if at == 0 else 0
        end = int(np.searchsorted(starts, min(stop, int(starts[-1])), side="left"))
        if at == 0:
            skip = start - int(starts[begin])
        selections[at] = Selection(s.row, s.head, np.arange(begin, end))
    return selections, skip
