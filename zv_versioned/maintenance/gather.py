"""Several batches of a level as one: read, put one after the other, and sorted anew.

What comes out is what an append of the same vertices would be, so the order of
the new batch is by cell, object, source and row, and along the lines. Vertices,
links and values of removed objects are left behind; only their ids stay, so that
they are never given again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .. import _checks
from ..format.batches import FragmentPage, is_run
from ..format.metadata import LINES, TEXT, AttributeMeta
from ..reading.links import link_values_of, links_of, live_links, whole
from ..reading.reader import LevelReader
from ..reading.removed import load_removals, removed_rows
from ..reading.selection import Selection
from ..reading.values import object_values
from ..spatial.assign import assign, spans
from ..spatial.lines import Walk, assign_lines
from ..spatial.links import LinkPlan, place_line_links, place_links
from ..writing.append import Batch, Vertices
from ..writing.objects import Objects
from ..writing.values import Values


@dataclass(frozen=True)
class Merged:
    """Several batches as one, not yet uploaded.

    Parameters
    ----------
    batch : Batch
    retired : ndarray of int64
        Rows of the objects that have nothing left but their id, ascending.
    """

    batch: Batch
    retired: np.ndarray


@dataclass(frozen=True)
class _Objects:
    """The objects of several batches together.

    Parameters
    ----------
    ids : ndarray of int64, shape (O,)
        Ascending.
    is_new, retired : ndarray of bool, shape (O,)
    row : ndarray of int64
        For the objects of each batch, one batch after the other, their rows among these;
        -1 for one that is left behind.
    live : ndarray of bool
        Which of them were not removed.
    first : ndarray of int64, shape (B,)
        Where those of each batch begin.
    """

    ids: np.ndarray
    is_new: np.ndarray
    retired: np.ndarray
    row: np.ndarray
    live: np.ndarray
    first: np.ndarray


def merged(reader: LevelReader, rows: Sequence[int]) -> Merged:
    """Read some batches (rows of the table, ascending, with a vertex left) as one."""
    selections = whole(reader, rows)
    objects = _objects(reader, rows)
    pages = reader.fragments(selections)
    wanted = [a for a in reader.state.facts.attributes.values() if _has_any(reader, a, rows)]
    positions, values = reader.read_window(selections, wanted, fragments=False)
    box = _checks.box_of_finite(positions)
    owner, sizes, is_live = _fragments(objects, pages)
    grid = reader.state.facts.grid
    links: LinkPlan | None = None
    if reader.meta.kind in LINES:
        walk = _walk(pages, owner, sizes, is_live)
        plan = assign_lines(positions, box, walk, grid)
        links = place_line_links(walk, plan, ordered=bool(reader.state.facts.link_attributes))
    else:
        rows_of_vertices = np.repeat(owner[is_live], sizes[is_live])
        plan = assign(positions, box, rows_of_vertices, len(objects.ids), grid)
        del rows_of_vertices
        if reader.meta.link_width:
            links = place_links(_links(reader, rows, selections), plan)
    batch = Batch(
        Vertices(positions, box, reader.meta),
        Objects(objects.ids, objects.is_new, _by_default(reader, rows, objects), _NOTHING),
        plan,
        links,
        [_values(attribute, values[attribute.name]) for attribute in wanted],
        _link_values(reader, rows, selections),
        _object_values(reader, rows, objects),
    )
    return Merged(batch, np.flatnonzero(objects.retired))


_NOTHING = np.zeros(0, np.int64)


# ---- objects and fragments --------------------------------------------------


def _objects(reader: LevelReader, rows: Sequence[int]) -> _Objects:
    table, at = reader.state.table, list(rows)
    counts = table.n_objects[at]
    first = np.cumsum(counts) - counts
    live = np.ones(int(counts.sum()), bool)
    gone = removed_rows(reader, rows)
    for row, place in zip(at, first.tolist(), strict=True):
        if row in gone:
            live[place + gone[row]] = False
    if table.plain[at].all():
        all_ids, begins = spans(table.id_min[at], counts), np.ones(len(live), bool)
    else:
        tables = reader.ids(rows)
        all_ids = np.concatenate([ids for ids, _ in tables])
        begins = np.concatenate([is_new for _, is_new in tables])
    ids, inverse = np.unique(all_ids, return_inverse=True)
    inverse = inverse.reshape(-1)
    is_new = np.bincount(inverse, begins, len(ids)) > 0
    is_live = np.bincount(inverse, live, len(ids)) > 0
    # The id of a removed object that began elsewhere is kept there.
    kept = is_live | is_new
    row_of = np.where(kept, np.cumsum(kept) - 1, -1)
    return _Objects(ids[kept], is_new[kept], ~is_live[kept], row_of[inverse], live, first)


def _by_default(reader: LevelReader, rows: Sequence[int], objects: _Objects) -> bool:
    """Whether a merge may count all ids anew: they were never given, and are a run."""
    return bool(reader.state.table.default_ids[list(rows)].all()) and is_run(objects.ids)


def _fragments(
    objects: _Objects, pages: Sequence[FragmentPage]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of all fragments the object's row, the vertices, and whether they are there."""
    which = np.concatenate([p.object for p in pages]).astype(np.int64)
    which += np.repeat(objects.first, [len(p.object) for p in pages])
    sizes = np.concatenate([p.vertices for p in pages]).astype(np.int64)
    return objects.row[which], sizes, objects.live[which]


def _walk(
    pages: Sequence[FragmentPage], owner: np.ndarray, sizes: np.ndarray, is_live: np.ndarray
) -> Walk:
    """Along the lines: object after object, and of each those of one batch after the other."""
    page = FragmentPage.concatenate(list(pages))
    if page.rank is None or page.ends is None:
        raise AssertionError("fragments of lines have a rank and an end")
    batch = np.repeat(np.arange(len(pages)), [len(p.object) for p in pages])
    owner, sizes, batch = owner[is_live], sizes[is_live], batch[is_live]
    rank, ends = page.rank[is_live], page.ends[is_live]
    order = np.lexsort((rank, batch, owner))
    starts = np.cumsum(sizes) - sizes
    last = np.flatnonzero(ends[order])
    line_ends = np.cumsum(sizes[order])[last]
    return Walk(
        spans(starts[order], sizes[order]), np.diff(line_ends, prepend=0), owner[order][last]
    )


# ---- links ------------------------------------------------------------------


def _links(reader: LevelReader, rows: Sequence[int], selections: Sequence[Selection]) -> np.ndarray:
    """The stored links that are there, as vertices that are there, counted from the first batch."""
    removals = load_removals(reader, rows)
    first = np.cumsum(reader.state.table.live_vertices[list(rows)])
    first -= reader.state.table.live_vertices[list(rows)]
    found = []
    for s, base, links in zip(selections, first, links_of(reader, selections), strict=True):
        if s.row in removals:
            removal = removals[s.row]
            links = links[~removal.holds(links).any(axis=1)]
            links = links - removal.before(links)
        found.append(links + base)
    return np.concatenate(found)


# ---- values -----------------------------------------------------------------


def _has_any(reader: LevelReader, attribute: AttributeMeta, rows: Sequence[int]) -> bool:
    return bool(reader.state.table.content(attribute.path)[list(rows)].any())


def _values(attribute: AttributeMeta, read: np.ndarray) -> Values:
    """Values as they are read, to be stored again."""
    stored = read if attribute.logical in ("", TEXT) else read.view(attribute.dtype)
    return Values(attribute, stored)


def _link_values(
    reader: LevelReader, rows: Sequence[int], selections: Sequence[Selection]
) -> list[Values]:
    wanted = [
        attribute
        for attribute in reader.state.facts.link_attributes.values()
        if _has_any(reader, attribute, rows)
    ]
    if not wanted:
        return []
    masks = live_links(reader, rows)
    counts = reader.state.table.n_links
    live = np.concatenate(
        [masks[row] if row in masks else np.ones(int(counts[row]), bool) for row in rows]
    )
    return [_values(a, link_values_of(reader, a, selections)[live]) for a in wanted]


def _object_values(reader: LevelReader, rows: Sequence[int], objects: _Objects) -> list[Values]:
    """Of the objects that begin here, by ascending id; missing where they were removed."""
    wanted = [
        attribute
        for attribute in reader.state.facts.object_attributes.values()
        if _has_any(reader, attribute, rows)
    ]
    if not wanted:
        return []
    masks = reader.beginning(rows)
    place = np.cumsum(objects.is_new) - 1
    at = place[objects.row[np.concatenate(masks)]]
    n, found = int(objects.is_new.sum()), []
    for attribute in wanted:
        read = object_values(reader, attribute, rows)
        values = np.full((n, *attribute.row_shape), None, object)
        if attribute.logical != TEXT:
            values = attribute.fill(n)
            values = values.view(attribute.logical) if attribute.logical else values
        values[at] = read
        found.append(_values(attribute, values))
    return found
