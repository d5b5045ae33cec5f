"""Checking what a snapshot says against what it has: documents, tables, indexes, data.

Whether bytes are those that were written is asked elsewhere, of files. Here
they are decoded, through the store, wherever it lies, and compared with each
other: every count, every box, every length, every link.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .. import _paths, _state, _store
from .._cache import Cache
from .._sets import distinct
from .._state import LevelState
from ..errors import IntegrityError, ZVError
from ..format.metadata import LINES, TEXT, AttributeMeta, DatasetMeta, fill_value
from ..format.table import REMOVED, SCALARS, range_of
from ..reading.links import link_rows_of, links_of, live_links
from ..reading.reader import LevelReader
from ..reading.removed import load_removals, removed_rows
from ..reading.selection import Selection
from ..reading.values import load_dictionaries, object_values
from .chunk_files import in_subset
from .indexes import WholeIndex, index_faults, read_whole
from .levels import document_faults, fact_faults, faults_together
from .report import DAMAGED, INCONSISTENT

if TYPE_CHECKING:
    from zarr.abc.store import Store

_GROUP_BATCHES = 64
_UNREADABLE = (ZVError, IndexError, ValueError, KeyError, OverflowError)
"""What readers raise where bytes are sound, and what they say is not."""
_GROUP_VERTICES = 1 << 20


@dataclass
class Fault:
    """Something that is wrong, and where: a level, or a batch of it."""

    where: str
    what: str
    kind: str = INCONSISTENT


@dataclass
class ContentCheck:
    """Checks snapshots one after the other, and each batch once.

    Parameters
    ----------
    read_data : bool
        Whether to read vertices, attributes and links, not only what is said of them.
    subset : (n, m), optional
        Which part of the batches to read.

    Attributes
    ----------
    snapshots, batches, vertices, bytes_read : int
        What was checked so far.
    """

    read_data: bool = True
    subset: tuple[int, int] | None = None
    snapshots: int = 0
    batches: int = 0
    vertices: int = 0
    bytes_read: int = 0
    _seen: set[bytes] = field(default_factory=set)

    def snapshot(self, store: Store) -> Iterator[Fault]:
        """What is inconsistent in a snapshot; what was said already is not said again."""
        self.snapshots += 1
        try:
            names = _state.dataset_names(_state.root_attributes(store))
        except ZVError as error:
            yield Fault("the repository's root", str(error), DAMAGED)
            return
        for name in names:
            try:
                meta = _state.load_dataset(store, name)
            except ZVError as error:
                yield Fault(f"dataset {name!r}", str(error), DAMAGED)
                continue
            for number in meta.levels:
                yield from self._level(store, meta, number)

    def _level(self, store: Store, meta: DatasetMeta, number: int) -> Iterator[Fault]:
        where = f"level {number} of dataset {meta.name!r}"
        try:
            state = _state.load_level(store, meta, number)
        except ZVError as error:
            yield Fault(where, str(error), DAMAGED)
            return
        reader = LevelReader(store, meta, state, Cache(64 << 20))
        fresh = [row for row in range(len(state.table)) if self._is_fresh(state, row)]
        for text in fact_faults(state.facts, state.table):
            yield Fault(where, text)
        sound = True
        for fault in self._batches(reader, fresh, where):
            sound = False
            yield fault
        try:
            if sound:
                yield from (Fault(where, text) for text in faults_together(reader, number))
            yield from (Fault(where, text) for text in document_faults(store, meta, state))
        except ZVError as error:
            yield Fault(where, str(error), DAMAGED)

    def _is_fresh(self, state: LevelState, row: int) -> bool:
        table = state.table
        parts = [state.path.encode(), bytes(table.uuid[row])]
        parts += [
            int(table.scalars[name][row]).to_bytes(8, "little", signed=True) for name in SCALARS
        ]
        parts += [
            f"{path}={int(ids[row])}".encode()
            for path, ids in sorted(table.contents.items())
            if ids[row]
        ]
        parts += [
            path.encode() + of[row].tobytes()
            for path, of in sorted(table.ranges.items())
            if of[row, 0]
        ]
        key = b"\0".join(parts)
        if key in self._seen:
            return False
        self._seen.add(key)
        return True

    # -- batches -------------------------------------------------------------

    def _batches(self, reader: LevelReader, rows: list[int], where: str) -> Iterator[Fault]:
        table = reader.state.table
        for group in _grouped(rows, table.n_vertices):
            whole: list[int] = []
            for row, index in self._indexes(reader, group):
                self.batches += 1
                place = f"{where}, batch {int(table.slot[row])}"
                if isinstance(index, str):
                    yield Fault(place, index, DAMAGED)
                    continue
                said = {name: int(table.scalars[name][row]) for name in SCALARS}
                faults = list(
                    index_faults(index, said, reader.state.facts.grid, reader.meta.kind in LINES)
                )
                yield from (Fault(place, text) for text in faults)
                if not faults:
                    whole.append(row)
            yield from self._data(reader, whole, where)

    def _indexes(
        self, reader: LevelReader, rows: list[int]
    ) -> Iterator[tuple[int, WholeIndex | str]]:
        path = _paths.join(reader.state.path, "batches", "index")
        keys = [_paths.shard_key(path, int(reader.state.table.slot[row]), (0,)) for row in rows]
        for row, key in zip(rows, keys, strict=True):
            try:
                (raw,) = _store.get_many(reader.store, [(key, 0, -1)])
                self.bytes_read += len(raw)
                yield row, read_whole(raw)
            except ZVError as error:
                yield row, f"its index cannot be read: {error}"

    def _data(self, reader: LevelReader, rows: list[int], where: str) -> Iterator[Fault]:
        """Check the data of batches together, and one by one where something is wrong."""
        table = reader.state.table
        chosen = [r for r in rows if in_subset(bytes(table.uuid[r]).hex(), self.subset)]
        if not chosen:
            return
        try:
            faults = self._data_faults(reader, chosen)
        except _UNREADABLE as error:
            if len(chosen) == 1:
                place = f"{where}, batch {int(table.slot[chosen[0]])}"
                yield Fault(place, str(error), DAMAGED)
                return
            for row in chosen:
                yield from self._data(reader, [row], where)
            return
        for row, text in faults:
            yield Fault(f"{where}, batch {int(table.slot[row])}", text)

    def _data_faults(self, reader: LevelReader, rows: list[int]) -> list[tuple[int, str]]:
        found: list[tuple[int, str]] = []
        if self.read_data:
            found += link_faults(reader, rows)
            found += self._vertex_faults(reader, rows)
        stray = {row for row, _ in found}
        found += removal_faults(reader, [row for row in rows if row not in stray])
        if self.read_data:
            for attribute in reader.state.facts.object_attributes.values():
                object_values(reader, attribute, rows)
            self.vertices += int(reader.state.table.n_vertices[rows].sum())
        return found

    def _vertex_faults(self, reader: LevelReader, rows: list[int]) -> list[tuple[int, str]]:
        facts, table = reader.state.facts, reader.state.table
        plan = [
            Selection(row, head, np.arange(len(head.cells)))
            for row, head in zip(rows, reader.heads(rows), strict=True)
        ]
        found: list[tuple[int, str]] = []
        lo = {row: np.full(reader.meta.ndim, np.inf) for row in rows}
        hi = {row: np.full(reader.meta.ndim, -np.inf) for row in rows}
        beyond: set[tuple[int, str]] = set()
        for window in reader.windows(plan):
            positions = reader.rows_of(
                "vertices", reader.meta.vertex_dtype, (reader.meta.ndim,), window
            )
            self.bytes_read += positions.nbytes
            low, high, wrong = cell_boxes(reader, window, positions)
            found += [(row, "a vertex lies outside its cell, or is not finite") for row in wrong]
            done = 0
            for s in window:
                part = slice(done, done + len(s.at))
                done += len(s.at)
                lo[s.row] = np.minimum(lo[s.row], low[part].min(axis=0))
                hi[s.row] = np.maximum(hi[s.row], high[part].max(axis=0))
            for attribute in facts.attributes.values():
                stray = self._values(reader, attribute, window)
                beyond.update((row, attribute.name) for row in stray)
            for attribute in facts.link_attributes.values():
                self._link_values(reader, attribute, window)
        for row in rows:
            if (lo[row] != table.lo[row]).any() or (hi[row] != table.hi[row]).any():
                found.append((row, "its box in the table is not that of its vertices"))
        for row, name in sorted(beyond):
            found.append((row, f"values of {name!r} lie outside the range that the table says"))
        return found

    def _values(
        self, reader: LevelReader, attribute: AttributeMeta, window: list[Selection]
    ) -> list[int]:
        """Read the values of vertices; returns the batches whose ranges they exceed.

        Raises where they are not as many as they should be, or their codes stray.
        """
        present = reader.state.table.content(attribute.path)
        has = [s for s in window if present[s.row]]
        values = reader.rows_of(attribute.path, attribute.dtype, attribute.row_shape, has)
        self.bytes_read += values.nbytes
        if attribute.logical == TEXT:
            check_codes(reader, attribute, [(s.row, s.vertex_count) for s in has], values)
        return range_faults(reader, attribute, has, values)

    def _link_values(
        self, reader: LevelReader, attribute: AttributeMeta, window: list[Selection]
    ) -> None:
        present = reader.state.table.content(attribute.path)
        has = [s for s in window if present[s.row]]
        values = link_rows_of(reader, attribute.path, attribute.dtype, attribute.row_shape, has)
        self.bytes_read += values.nbytes
        if attribute.logical == TEXT:
            parts = [(s.row, int(s.head.cell_links[s.at].sum())) for s in has]
            check_codes(reader, attribute, parts, values)


def _grouped(rows: list[int], n_vertices: np.ndarray) -> Iterator[list[int]]:
    group: list[int] = []
    room = _GROUP_VERTICES
    for row in rows:
        group.append(row)
        room -= int(n_vertices[row])
        if room <= 0 or len(group) == _GROUP_BATCHES:
            yield group
            group, room = [], _GROUP_VERTICES
    if group:
        yield group


def cell_boxes(
    reader: LevelReader, window: list[Selection], positions: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Smallest and largest coordinates of each cell, and the batches with vertices outside.

    A cell's vertices all lie in it if their smallest and largest coordinates do.
    """
    grid = reader.state.facts.grid
    counts = np.concatenate([s.head.cell_vertices[s.at] for s in window]).astype(np.int64)
    starts = np.cumsum(counts) - counts
    low = np.minimum.reduceat(positions, starts, axis=0).astype(np.float64)
    high = np.maximum.reduceat(positions, starts, axis=0).astype(np.float64)
    at = np.concatenate([grid.coordinates(s.head.cells[s.at]) for s in window])
    at += np.asarray(grid.origin)
    size = np.asarray(grid.chunk_shape)
    with np.errstate(invalid="ignore"):
        inside = ((np.floor(low / size) == at) & (np.floor(high / size) == at)).all(axis=1)
    owner = np.repeat([s.row for s in window], [len(s.at) for s in window])
    return low, high, distinct(owner[~inside]).tolist()


def range_faults(
    reader: LevelReader, attribute: AttributeMeta, window: list[Selection], values: np.ndarray
) -> list[int]:
    """Batches with values outside what the table says that they lie between."""
    lo, hi = reader.state.table.range(attribute.path)
    live, done = reader.live(window), 0
    stray = []
    for s in window:
        part = slice(done, done + s.vertex_count)
        done = part.stop
        if np.isneginf(lo[s.row]) and np.isposinf(hi[s.row]):
            continue  # nothing is said of it
        rows = values[part] if live is None else values[part][live[part]]
        missing = fill_value(attribute.dtype) if attribute.logical else None
        low, high = range_of(rows, missing)
        if low < lo[s.row] or high > hi[s.row]:
            stray.append(s.row)
    return stray


def check_codes(
    reader: LevelReader,
    attribute: AttributeMeta,
    parts: list[tuple[int, int]],
    codes: np.ndarray,
) -> None:
    """Refuse codes that a batch's dictionary does not have.

    Raises
    ------
    IntegrityError
    """
    dictionaries = load_dictionaries(reader, attribute, sorted({row for row, _ in parts}))
    done = 0
    for row, n in parts:
        part = codes[done : done + n]
        done += n
        known = len(dictionaries[row])
        if n and (int(part.min()) < -1 or int(part.max()) >= known):
            raise IntegrityError(
                f"attribute {attribute.name!r} has a code outside its dictionary of {known} texts"
            )


def removal_faults(reader: LevelReader, rows: list[int]) -> Iterator[tuple[int, str]]:
    """Batches whose removed objects are not as many as the table says."""
    table = reader.state.table
    content = table.content(REMOVED)
    removals = load_removals(reader, rows)
    removed = removed_rows(reader, rows)
    lossy = [row for row in rows if row in removed]
    ids = dict(zip(lossy, reader.ids(lossy), strict=True))
    masks = live_links(reader, lossy, removals) if lossy else {}
    for row in rows:
        objects = links = 0
        if row in removed:
            objects = int(ids[row][1][removed[row]].sum())
            links = int((~masks[row]).sum()) if row in masks else 0
        said = int(table.n_removed_objects[row]), int(table.n_removed_links[row])
        if (objects, links) != said:
            yield row, f"{objects:,} objects and {links:,} links are removed, the table says {said}"
        if not content[row] and table.n_removed_vertices[row]:
            yield row, "the table counts removed vertices, but nothing says which"


def link_faults(reader: LevelReader, rows: list[int]) -> Iterator[tuple[int, str]]:
    """Batches with links that name vertices which they do not have, or lie in a wrong cell."""
    if not reader.meta.link_width:
        return
    plan = [
        Selection(row, head, np.arange(len(head.cells)))
        for row, head in zip(rows, reader.heads(rows), strict=True)
    ]
    for window in reader.windows(plan):
        for s, links in zip(window, links_of(reader, window), strict=True):
            if len(links) == 0:
                continue
            first = links.min(axis=1)
            start = np.repeat(s.head.vertex_start[s.at], s.head.cell_links[s.at])
            stop = np.repeat(s.head.vertex_start[s.at + 1], s.head.cell_links[s.at])
            if int(links.max()) >= int(s.head.vertex_start[-1]) or (first < start).any():
                yield s.row, "a link names a vertex that the batch does not have"
            elif (first >= stop).any():
                yield s.row, "a link is kept by another cell than that of its smallest vertex"
