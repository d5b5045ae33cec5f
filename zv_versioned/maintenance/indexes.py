"""Batch indexes, read whole and checked: what a batch consists of, without its data.

Readers take a few sections of an index and rely on the table for the rest. Here
every section is decoded, and what the table says is counted again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import IntegrityError
from ..format import batches, cells, columns, shards
from ..format.batches import BatchHead, FragmentPage
from ..spatial.assign import spans
from ..spatial.grid import Grid


@dataclass(frozen=True)
class WholeIndex:
    """A batch's index, all of it.

    Parameters
    ----------
    head : BatchHead
    head_bytes : int
        Stored length of its place.
    ids : ndarray of int64, or None
        None where they are a run, which the table alone knows.
    is_new : ndarray of bool, or None
        None where all objects are new.
    page : FragmentPage
        All fragments.
    counts, order : ndarray of int
        Fragments of each object, and which.
    """

    head: BatchHead
    head_bytes: int
    ids: np.ndarray | None
    is_new: np.ndarray | None
    page: FragmentPage
    counts: np.ndarray
    order: np.ndarray

    def scalars(self) -> dict[str, int]:
        """What the table has to say of the batch, as far as the index tells."""
        n_objects = len(self.counts)
        found = {
            "n_vertices": int(self.head.vertex_start[-1]),
            "n_objects": n_objects,
            "n_new_objects": n_objects if self.is_new is None else int(self.is_new.sum()),
            "n_fragments": int(self.head.fragment_start[-1]),
            "n_cells": len(self.head.cells),
            "n_links": int(self.head.link_start[-1]),
            "head_bytes": self.head_bytes,
        }
        if self.ids is not None and len(self.ids):
            found |= {"id_min": int(self.ids.min()), "id_max": int(self.ids.max())}
        return found


def read_whole(raw: memoryview) -> WholeIndex:
    """Decode every section of the shard of an index.

    Raises
    ------
    IntegrityError
        If a section is missing, damaged, or lies elsewhere than the head says.
    """
    start, stop = shards.read_index(raw, batches.SECTIONS)
    if start[batches.CELLS] != 0:
        raise IntegrityError("the shard of a batch's index does not begin with its head")
    head_bytes = int(stop[batches.CELLS])
    head = batches.decode_head(cells.decode(raw[:head_bytes]), head_bytes)
    there = start >= 0
    there[batches.CELLS] = False
    if (np.where(there, start, 0) != head.section_start).any() or (
        np.where(there, stop, 0) != head.section_stop
    ).any():
        raise IntegrityError("the head of a batch's index does not say where its sections lie")

    def section(place: int) -> memoryview:
        if start[place] < 0:
            raise IntegrityError(f"section {place} of a batch's index is missing")
        return cells.decode(raw[int(start[place]) : int(stop[place])])

    pages = [
        batches.decode_fragments(section(batches.FRAGMENTS + page))
        for page in range(len(head.cell_page_end))
    ]
    objects = [
        batches.decode_objects(section(batches.OBJECTS + page))
        for page in range(len(head.object_page_end))
    ]
    table = columns.unpack(section(batches.IDS)) if start[batches.IDS] >= 0 else {}
    is_new = table.get("is_new")
    return WholeIndex(
        head,
        head_bytes,
        table.get("id"),
        None if is_new is None else is_new.astype(bool),
        FragmentPage.concatenate(pages),
        np.concatenate([counts for counts, _ in objects]) if objects else np.zeros(0, np.int64),
        np.concatenate([order for _, order in objects]) if objects else np.zeros(0, np.int64),
    )


def index_faults(
    index: WholeIndex, said: Mapping[str, int], grid: Grid, lines: bool
) -> Iterator[str]:
    """What is wrong with an index, in itself and beside the table, in sentences.

    Parameters
    ----------
    index : WholeIndex
    said : mapping of str to int
        The batch's row of the table.
    grid : Grid
        Of the level.
    lines : bool
        Whether the kind of geometry is one of lines.
    """
    for name, counted in index.scalars().items():
        if said[name] != counted:
            yield f"the table says {name} {said[name]:,}, and the index has {counted:,}"
    yield from _cell_faults(index.head, grid)
    yield from _fragment_faults(index, lines)
    yield from _object_faults(index, said)


def _cell_faults(head: BatchHead, grid: Grid) -> Iterator[str]:
    if len(head.cells) == 0:
        yield "it has no cells"
        return
    if (np.diff(head.cells) <= 0).any():
        yield "its cells do not ascend"
    if int(head.cells[0]) < 0 or int(head.cells[-1]) >= int(np.prod(grid.shape, dtype=object)):
        yield "a cell lies outside the grid"
    if (head.cell_vertices <= 0).any() or (head.cell_fragments <= 0).any():
        yield "a cell has no vertices, or no fragments"
    if (head.cell_links < 0).any():
        yield "a cell keeps less than no links"
    for ends, count in ((head.cell_page_end, len(head.cells)),):
        if len(ends) == 0 or (np.diff(ends) <= 0).any() or int(ends[-1]) != count:
            yield "its pages of fragments do not cover its cells"


def _fragment_faults(index: WholeIndex, lines: bool) -> Iterator[str]:
    head, page, n_objects = index.head, index.page, len(index.counts)
    if len(page.object) != int(head.fragment_start[-1]):
        yield f"it has {len(page.object):,} fragments, and its cells {head.fragment_start[-1]:,}"
        return
    if len(page.object) == 0:
        return
    if int(page.object.min()) < 0 or int(page.object.max()) >= n_objects:
        yield "a fragment belongs to no object of the batch"
        return
    if (page.vertices <= 0).any():
        yield "a fragment has no vertices"
    if (head.cell_fragments > 0).all():
        sums = np.add.reduceat(page.vertices.astype(np.int64), head.fragment_start[:-1])
        if (sums != head.cell_vertices).any():
            yield "the fragments of a cell do not add up to its vertices"
    if lines != (page.rank is not None) or lines != (page.ends is not None):
        yield "fragments have ranks and ends in lines, and in lines alone"


def _object_faults(index: WholeIndex, said: Mapping[str, int]) -> Iterator[str]:
    page, counts, order = index.page, index.counts, index.order
    ends = index.head.object_page_end
    if len(ends) == 0 or (np.diff(ends) <= 0).any() or int(ends[-1]) != len(counts):
        yield "its pages of objects do not cover its objects"
    # Of removed objects a compaction keeps the ids alone.
    if (counts < 0).any() or int((counts == 0).sum()) > said["n_removed_objects"]:
        yield "an object has no fragments"
    if len(order) != len(page.object) or int(counts.sum()) != len(order):
        yield "its objects do not have all its fragments"
        return
    if (np.bincount(np.clip(order, 0, len(order)), minlength=len(order)) != 1).any():
        yield "a fragment belongs to an object twice, or to none"
        return
    if (page.object[order] != np.repeat(np.arange(len(counts)), counts)).any():
        yield "an object's list has a fragment of another"
    if page.rank is not None:
        starts = np.cumsum(counts, dtype=np.int64) - counts
        ranks = spans(np.zeros(len(counts), np.int64), counts.astype(np.int64))
        if (page.rank[order] != ranks).any():
            yield "the fragments of an object are not in the order of their ranks"
        last = starts + counts - 1
        if page.ends is not None and not page.ends[order[last]].all():
            yield "the last line of an object does not end"
    ids = index.ids
    if ids is None:
        if said["id_max"] - said["id_min"] + 1 != len(counts):
            yield f"its ids are a run, but {said['id_min']} to {said['id_max']} are not as many"
        return
    if len(ids) != len(counts) or (index.is_new is not None and len(index.is_new) != len(counts)):
        yield f"it has {len(ids):,} ids for {len(counts):,} objects"
        return
    # After a merge that gave some anew they need not ascend.
    ordered = np.sort(ids)
    if int(ordered[0]) < 0 or (np.diff(ordered) <= 0).any():
        yield "an object id is below 0 or there twice"
