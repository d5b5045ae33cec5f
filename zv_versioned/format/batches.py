"""What a batch consists of: its cells, its fragments, its objects.

A batch is one append, immutable. Its *index* says in which cells its vertices
lie, which fragments each cell holds, and which fragments make up each object.
Everything that Zarr Vectors keeps in fragment tables and manifests follows
from it, and because it names nothing outside the batch it is carried from one
branch to another as it is, whatever slot it gets there.

On disk the index is one shard of :data:`SECTIONS` places in ``batches/index``:

- place 0, *cells*: per cell its number in the grid, its vertices, its
  fragments and, where there are any, its links; and the directory of the other
  places;
- place 1, *ids*: the object ids, ascending (unless a merge gave some of them
  anew), unless they are a run; and which of them begin here, unless all do;
- the next :data:`PAGES` places, *fragments* in vertex order: the object each
  belongs to (a row of this batch) and its vertices; of lines also its rank in
  the object's order and whether a line ends with it;
- the last :data:`PAGES` places, *objects*: how many fragments each has, and
  which, in the object's own order.

A page ends at the end of a cell or of an object, so that a box or an object
needs few of them however large the batch is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np

from .._sets import distinct
from ..errors import IntegrityError
from . import cells, columns, shards
from .cells import CellCodec

SECTIONS = 64
PAGES = 31
CELLS, IDS, FRAGMENTS, OBJECTS = 0, 1, 2, 2 + PAGES
CODEC = CellCodec(typesize=8, cname="zstd", clevel=1)

_PAGE_ROWS = 1 << 13


def narrow(values: np.ndarray) -> np.ndarray:
    """Return `values` (all non-negative) as int32 where they fit, else as int64."""
    fits = values.size == 0 or int(values.max()) < 1 << 31
    return values.astype("<i4" if fits else "<i8", copy=False)


@dataclass(frozen=True)
class BatchIndex:
    """The index of one batch, whole.

    Parameters
    ----------
    cells : ndarray of int64, shape (C,)
        Numbers of the cells in the grid, ascending.
    cell_vertices, cell_fragments : ndarray of int, shape (C,)
        Vertices and fragments of each cell.
    fragment_object : ndarray of int, shape (F,)
        The row, in this batch, of the object a fragment belongs to; fragments
        are in vertex order.
    fragment_vertices : ndarray of int, shape (F,)
        Vertices of each fragment.
    object_ids : ndarray of int64, shape (O,)
        Ascending, without repeats.
    object_is_new : ndarray of bool, shape (O,)
        False where the object goes on from an earlier batch.
    object_fragments : ndarray of int, shape (O,)
        Fragments of each object.
    order : ndarray of int, shape (F,)
        Fragment numbers, object after object, each in the object's own order.
    cell_links : ndarray of int, shape (C,), optional
        Links (edges or faces) that each cell keeps: those whose first vertex in
        the order of the batch (of lines: whose source) lies in it. Left out
        where there are none.
    fragment_rank : ndarray of int, shape (F,), optional
        Of lines: where each fragment comes among those of its object.
    fragment_ends : ndarray of bool, shape (F,), optional
        Of lines: whether a line ends with the fragment. Where it does not, its
        last vertex is linked to the first of the fragment of the next rank.
    """

    cells: np.ndarray
    cell_vertices: np.ndarray
    cell_fragments: np.ndarray
    fragment_object: np.ndarray
    fragment_vertices: np.ndarray
    object_ids: np.ndarray
    object_is_new: np.ndarray
    object_fragments: np.ndarray
    order: np.ndarray
    cell_links: np.ndarray | None = None
    fragment_rank: np.ndarray | None = None
    fragment_ends: np.ndarray | None = None

    @property
    def vertex_count(self) -> int:
        """Vertices of the batch."""
        return int(self.cell_vertices.sum())


def is_run(ids: np.ndarray) -> bool:
    """Whether ascending ids without repeats are a run ``a, a + 1, …``."""
    return len(ids) > 0 and int(ids[-1]) - int(ids[0]) + 1 == len(ids)


def _page_ends(rows_of_each: np.ndarray) -> np.ndarray:
    """Cut items (cells, objects) into at most PAGES pages of about equal rows.

    Returns
    -------
    ndarray of int64
        ``ends[k]``: one past the last item of page `k`.
    """
    ends = np.cumsum(rows_of_each, dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    pages = min(PAGES, max(1, -(-total // _PAGE_ROWS)))
    goals = (np.arange(1, pages + 1) * total) // pages
    cuts = np.searchsorted(ends, goals, side="left") + 1
    cuts[-1] = len(ends)
    return distinct(np.minimum(cuts, len(ends)))


def encode(index: BatchIndex) -> list[tuple[int, bytes]]:
    """Encode an index as the cells of its shard.

    Returns
    -------
    list of (place, cell)
        In the order in which they are to be laid: place 0 first, so that who
        knows its length reads it, and with it the directory, by one range.
    """
    places: list[tuple[int, bytes]] = []
    ids: dict[str, np.ndarray] = {}
    if not is_run(index.object_ids):
        ids["id"] = index.object_ids.astype("<i8", copy=False)
    if not index.object_is_new.all():
        ids["is_new"] = index.object_is_new.astype("u1")
    if ids:
        places.append((IDS, CODEC.encode(columns.pack(ids))))
    cell_ends = _page_ends(index.cell_fragments)
    object_ends = _page_ends(index.object_fragments)
    fragment_bounds = np.concatenate(([0], np.cumsum(index.cell_fragments, dtype=np.int64)))
    order_bounds = np.concatenate(([0], np.cumsum(index.object_fragments, dtype=np.int64)))
    first = 0
    for page, end in enumerate(cell_ends.tolist()):
        rows = slice(fragment_bounds[first], fragment_bounds[end])
        page_columns = {
            "object": narrow(index.fragment_object[rows]),
            "vertices": narrow(index.fragment_vertices[rows]),
        }
        if index.fragment_rank is not None and index.fragment_ends is not None:
            page_columns["rank"] = narrow(index.fragment_rank[rows])
            page_columns["ends"] = index.fragment_ends[rows].astype("u1")
        places.append((FRAGMENTS + page, CODEC.encode(columns.pack(page_columns))))
        first = end
    first = 0
    for page, end in enumerate(object_ends.tolist()):
        rows = slice(order_bounds[first], order_bounds[end])
        page_columns = {
            "fragments": narrow(index.object_fragments[first:end]),
            "order": narrow(index.order[rows]),
        }
        places.append((OBJECTS + page, CODEC.encode(columns.pack(page_columns))))
        first = end
    directory = np.zeros((SECTIONS, 2), np.int64)
    offset = 0
    for place, cell in places:
        directory[place] = offset, len(cell)
        offset += len(cell)
    head = {
        "cell": index.cells.astype("<i8", copy=False),
        "vertices": narrow(index.cell_vertices),
        "fragments": narrow(index.cell_fragments),
        "cell_page_end": cell_ends.astype("<i8"),
        "object_page_end": object_ends.astype("<i8"),
        "directory": narrow(directory),
    }
    if index.cell_links is not None:
        head["links"] = narrow(index.cell_links)
    return [(CELLS, CODEC.encode(columns.pack(head))), *places]


@dataclass(frozen=True)
class BatchHead:
    """Place 0 of an index: the cells, and where the rest lies.

    Parameters
    ----------
    cells, cell_vertices, cell_fragments
        As in :class:`BatchIndex`.
    cell_page_end, object_page_end : ndarray of int64
        One past the last cell, or object, of each page.
    directory : ndarray of int, shape (SECTIONS, 2)
        Where each place but the first lies after the head, and its bytes; both 0 where absent.
    head_bytes : int
        Bytes of the head as it is stored.
    cell_links : ndarray of int, shape (C,)
        Links that each cell keeps; zeros where the batch has none.

    Attributes
    ----------
    vertex_start, fragment_start, link_start : ndarray of int64, shape (C + 1,)
        The first vertex, fragment and link of each cell, within the batch.
    section_start, section_stop : ndarray of int64, shape (SECTIONS,)
        Byte ranges of the places within the shard; both 0 where absent.
    """

    cells: np.ndarray
    cell_vertices: np.ndarray
    cell_fragments: np.ndarray
    cell_page_end: np.ndarray
    object_page_end: np.ndarray
    directory: np.ndarray
    head_bytes: int
    cell_links: np.ndarray

    # A read of many batches needs few of these.

    @cached_property
    def vertex_start(self) -> np.ndarray:
        return starts_of(self.cell_vertices)

    @cached_property
    def fragment_start(self) -> np.ndarray:
        return starts_of(self.cell_fragments)

    @cached_property
    def link_start(self) -> np.ndarray:
        return starts_of(self.cell_links)

    @cached_property
    def section_start(self) -> np.ndarray:
        offset, size = self.directory.astype(np.int64).T
        return np.where(size > 0, offset + self.head_bytes, 0)

    @cached_property
    def section_stop(self) -> np.ndarray:
        return self.section_start + self.directory[:, 1].astype(np.int64)

    def section(self, place: int) -> tuple[int, int]:
        """The byte range of one place, not of the first, within the shard; (0, 0) where absent."""
        offset, size = self.directory[place].tolist()
        return (offset + self.head_bytes, offset + self.head_bytes + size) if size else (0, 0)


@dataclass(frozen=True)
class FragmentPage:
    """Fragments of one page, or of some cells; columns as in :class:`BatchIndex`.

    Parameters
    ----------
    object, vertices : ndarray of int, shape (F,)
    rank, ends : ndarray, shape (F,), or None
        Of lines alone.
    """

    object: np.ndarray
    vertices: np.ndarray
    rank: np.ndarray | None = None
    ends: np.ndarray | None = None

    def take(self, rows: np.ndarray | slice) -> FragmentPage:
        """Some of the fragments; of a slice views."""
        return FragmentPage(
            self.object[rows],
            self.vertices[rows],
            None if self.rank is None else self.rank[rows],
            None if self.ends is None else self.ends[rows],
        )

    @classmethod
    def concatenate(cls, pages: list[FragmentPage]) -> FragmentPage:
        """Fragments of several pages, one after the other."""
        if len(pages) == 1:
            return pages[0]
        if not pages:
            return cls(np.zeros(0, np.int64), np.zeros(0, np.int64))
        ranks = [p.rank for p in pages if p.rank is not None]
        ends = [p.ends for p in pages if p.ends is not None]
        return cls(
            np.concatenate([p.object for p in pages]),
            np.concatenate([p.vertices for p in pages]),
            np.concatenate(ranks) if len(ranks) == len(pages) else None,
            np.concatenate(ends) if len(ends) == len(pages) else None,
        )


def starts_of(counts: np.ndarray | list[int]) -> np.ndarray:
    """Where each of some runs begins, and the end of the last: of (C,) counts (C + 1,) int64."""
    if isinstance(counts, list):
        return np.array([0, *accumulate(counts)], np.int64)
    starts = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    return starts


def _need(table: Mapping[str, np.ndarray], *names: str) -> list[np.ndarray]:
    missing = [name for name in names if name not in table]
    if missing:
        raise IntegrityError(f"a batch's index lacks {', '.join(missing)}")
    return [table[name] for name in names]


def decode_head(payload: memoryview, head_bytes: int) -> BatchHead:
    """Read place 0; `head_bytes` is its stored length, after which the rest lies."""
    table = columns.unpack(payload)
    cell, vertices, fragments, cell_end, object_end, directory = _need(
        table,
        "cell",
        "vertices",
        "fragments",
        "cell_page_end",
        "object_page_end",
        "directory",
    )
    if directory.shape != (SECTIONS, 2):
        raise IntegrityError(f"a batch's index has a directory of shape {directory.shape}")
    links = table.get("links")
    if links is None:
        links = np.zeros(len(cell), np.int32)
    return BatchHead(
        cells=cell,
        cell_vertices=vertices,
        cell_fragments=fragments,
        cell_page_end=cell_end,
        object_page_end=object_end,
        directory=directory,
        head_bytes=head_bytes,
        cell_links=links,
    )


def decode_ids(
    payload: memoryview | None, n_objects: int, id_min: int
) -> tuple[np.ndarray, np.ndarray]:
    """Object ids and which of them are new, from place 1 (None where it is absent)."""
    table = columns.unpack(payload) if payload is not None else {}
    ids = table.get("id")
    if ids is None:
        ids = np.arange(id_min, id_min + n_objects, dtype=np.int64)
    is_new = table.get("is_new")
    is_new = np.ones(n_objects, bool) if is_new is None else is_new.astype(bool)
    if len(ids) != n_objects or len(is_new) != n_objects:
        raise IntegrityError(f"a batch of {n_objects} objects stores {len(ids)} ids")
    return ids, is_new


def decode_fragments(payload: memoryview) -> FragmentPage:
    """One page of fragments."""
    table = columns.unpack(payload)
    rows, vertices = _need(table, "object", "vertices")
    ends = table.get("ends")
    return FragmentPage(
        rows, vertices, table.get("rank"), None if ends is None else ends.astype(bool)
    )


def decode_objects(payload: memoryview) -> tuple[np.ndarray, np.ndarray]:
    """Fragment counts and the fragments themselves of one page of objects."""
    counts, order = _need(columns.unpack(payload), "fragments", "order")
    return counts, order


def with_ids(shard: memoryview, ids: np.ndarray) -> tuple[bytearray, int]:
    """The shard of an index with other ids for the same objects, and the length of its head.

    Parameters
    ----------
    shard : memoryview
    ids : ndarray of int64, shape (O,)
        By row; they need not be ascending.
    """
    start, stop = shards.read_index(shard, SECTIONS)
    places = np.flatnonzero(start >= 0).tolist()
    stored = {place: shard[start[place] : stop[place]] for place in places}
    head = dict(columns.unpack(cells.decode(stored.pop(CELLS))))
    known = dict(columns.unpack(cells.decode(stored[IDS]))) if IDS in stored else {}
    stored[IDS] = memoryview(CODEC.encode(columns.pack({**known, "id": ids.astype("<i8")})))
    order = sorted(stored)
    sizes = np.array([len(stored[place]) for place in order], np.int64)
    directory = np.zeros((SECTIONS, 2), np.int64)
    directory[order] = np.stack([np.cumsum(sizes) - sizes, sizes], axis=1)
    first = CODEC.encode(columns.pack({**head, "directory": narrow(directory)}))
    parts = [(CELLS, [first]), *((place, [bytes(stored[place])]) for place in order)]
    return shards.pack(SECTIONS, parts), len(first)
