"""Reads the geometry of one level of a Zarr Vectors store, objects after objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from .._sets import distinct, is_in
from ..errors import ArrayError
from ..format.metadata import LINES, MESHES, POINTS, fill_value
from ._pieces import Coarser, Part, Piece
from ._zv_level import ZVLevel, quiet, texts_of
from ._zv_links import Links, in_order, links_of, tree_links

__all__ = ["LevelPieces"]

_BRANCHES = "implicit_sequential_with_branches"
_SENTINEL = ""
"""What stands for a missing text among the values of objects."""


@dataclass(frozen=True)
class LevelPieces:
    """Reads the geometry of one level, objects after objects."""

    level: ZVLevel
    kind: str
    convention: str

    @property
    def vertices(self) -> int:
        """How many the level has."""
        return int(self.level.row_start[-1])

    @cached_property
    def sizes(self) -> np.ndarray:
        """How many vertices each object has, or, where there are none, each cell."""
        objects = self.level.objects
        if objects is None:
            return np.diff(self.level.row_start)
        counts = np.append(self.level.fragments.count[objects.fragments], 0)
        return np.add.reduceat(counts, objects.start[:-1]) if len(objects.ids) else counts[:0]

    @property
    def total(self) -> int:
        """How many an import has to bring."""
        return int(self.sizes.sum())

    @property
    def shared(self) -> bool:
        """Whether objects share vertices."""
        return self.total > self.vertices

    @property
    def chunked_by(self) -> str | None:
        """The attribute by whose values the store is chunked; batches of our own are none."""
        name = self.level.facts.get("chunk_attribute_name")
        return None if "zv_versioned" in self.level.group.attrs else name

    def coarser(self, base: tuple[float, ...], parts: Sequence[Part]) -> Coarser:
        """What is to be known of it as a coarser level."""
        facts = self.level.facts
        number = int(self.level.path)
        parent = facts.get("parent_level")
        return Coarser(
            number,
            tuple(map(float, facts.get("chunk_shape") or base)),
            number - 1 if parent is None else int(parent),
            str(facts.get("coarsening_method") or "unknown"),
            parts,
        )

    def groups(self) -> dict[str, np.ndarray]:
        """Groups of objects by name, or by number where they have none."""
        if not self.level.has("groups"):
            return {}
        array = self.level.array("groups")
        with quiet(f"{self.level.where}, groups"):
            members = [np.frombuffer(blob, "<i8") for blob in array[:].tolist()]
        names = array.attrs.get("group_names") or [str(i) for i in range(len(members))]
        return {name: ids.astype(np.int64) for name, ids in zip(names, members, strict=True)}

    def parts(self, batch: int) -> list[Part]:
        """Runs of objects, or of cells, of about `batch` vertices."""
        objects, sizes = self.level.objects, self.sizes
        if self.total < self.vertices:
            raise ArrayError(
                f"{self.level.where}: {self.vertices - self.total:,} vertices belong to no object; "
                "each must belong to one"
            )
        if self.shared and self.kind not in (*POINTS, *LINES):
            raise ArrayError(
                f"{self.level.where}: objects share vertices, which a {self.kind} cannot do here; "
                "leave the level out with levels"
            )
        whole = self.kind == "graph" or (objects is None and self.kind not in POINTS)
        ends = np.cumsum(sizes)
        parts: list[Part] = []
        start = 0
        while start < len(sizes):
            before = int(ends[start - 1]) if start else 0
            stop = max(int(np.searchsorted(ends, before + batch, side="right")), start + 1)
            stop = len(sizes) if whole else stop
            parts.append(partial(_pieces, self, start, stop))
            start = stop
        return parts

    # -- pieces --------------------------------------------------------------

    def piece(self, start: int, stop: int) -> Piece:
        """Some objects, or, where there are none, some cells."""
        level, objects = self.level, self.level.objects
        where = f"{level.where}, {'cell' if objects is None else 'object'} {start:,} and after"
        if objects is None:
            fragments = np.arange(level.fragments.start[start], level.fragments.start[stop])
            owner, ids = np.zeros(len(fragments), np.int64), None
        else:
            fragments = objects.fragments[objects.start[start] : objects.start[stop]]
            owner = np.repeat(np.arange(stop - start), np.diff(objects.start[start : stop + 1]))
            ids = objects.ids[start:stop]
        if self.kind in LINES:
            return self._lines(where, fragments, owner, ids, start, stop)
        rows = level.rows_of(fragments)
        per_row = np.repeat(owner, level.fragments.count[fragments])
        links = (
            Links(np.zeros((0, 2), np.int64))
            if self.kind in POINTS
            else self._links(fragments, rows)
        )
        return Piece(
            self._positions(rows),
            None if ids is None else ids[per_row],
            links=None if self.kind in POINTS else self._local(links, rows),
            attributes=self._attributes(rows),
            link_attributes=links.values,
            object_attributes=self._of_objects(start, stop),
            name=where,
            weight=len(rows),
        )

    def _lines(
        self,
        where: str,
        fragments: np.ndarray,
        owner: np.ndarray,
        ids: np.ndarray | None,
        start: int,
        stop: int,
    ) -> Piece:
        level = self.level
        names = self._link_facts()
        cells = distinct(level.fragments.cell[fragments])
        links = links_of(level, self._sources(cells), 2, names)
        sizes = level.fragments.count[fragments]
        if self.kind == "line":
            # Of two vertices each, in the order of the manifest. zarr-vectors 0.9.2 links the
            # wrong ones where another line lies in the same cell as a whole.
            begins = (np.cumsum(sizes) - sizes) % 2 == 0
        elif self.shared:  # then the order of the manifest is all there is
            begins = np.append(True, owner[1:] != owner[:-1])
        else:
            order, begins = in_order(level, owner, fragments, links)
            fragments, owner = fragments[order], owner[order]
        counts = level.fragments.count[fragments]
        rows = level.rows_of(fragments)
        at = np.cumsum(counts) - counts
        offsets = np.append(at[begins], len(rows))
        return Piece(
            self._positions(rows),
            None if ids is None else ids[owner[begins]],
            offsets=offsets,
            attributes=self._attributes(rows),
            link_attributes=_of_steps(links, rows, offsets, names),
            object_attributes=self._of_objects(start, stop),
            name=where,
            weight=len(rows),
        )

    def _sources(self, cells: np.ndarray) -> np.ndarray:
        """The cells that may keep links of some cells: the smallest end's keeps a link."""
        return np.arange(len(self.level.cells)) if len(cells) else cells

    def _links(self, fragments: np.ndarray, rows: np.ndarray) -> Links:
        """The links between some rows, all ends of which are among them."""
        level, width = self.level, 3 if self.kind in MESHES else 2
        cells = distinct(level.fragments.cell[fragments])
        found = links_of(level, cells, width, self._link_facts())
        inside = is_in(found.ends, rows)
        mine = inside.all(axis=1)
        if self.kind != "graph" and (inside.any(axis=1) & ~mine).any():
            raise ArrayError(
                f"{level.where}: a link goes from one object to another, which a {self.kind} "
                "cannot have; give what is linked the same object id, or write it as a graph"
            )
        found = Links(found.ends[mine], {n: v[mine] for n, v in found.values.items()})
        if self.convention == _BRANCHES and width == 2:
            return tree_links(level, fragments, found)
        return found

    def _local(self, links: Links, rows: np.ndarray) -> np.ndarray:
        """Links by places among the rows of a piece."""
        order = np.argsort(rows)
        return np.asarray(order[np.searchsorted(rows[order], links.ends)])

    # -- values --------------------------------------------------------------

    def _positions(self, rows: np.ndarray) -> np.ndarray:
        dtype = self.level.dtype
        ndim = self._ndim()
        return self.level.read_rows("vertices", dtype, (ndim,), rows)

    def _ndim(self) -> int:
        """Numbers of a coordinate: the axes of a cell, but for that of the batch."""
        extra = 1 if self.level.facts.get("chunk_attribute_name") else 0
        return int(self.level.cells.shape[1]) - extra

    def _attributes(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        found = {}
        for name in self.level.names("vertex_attributes"):
            path = f"vertex_attributes/{name}"
            facts = _facts(dict(self.level.array(path).attrs))
            dtype, shape = np.dtype(facts["dtype"]), tuple(facts["row_shape"])
            values = self.level.read_rows(path, dtype, shape, rows, fill=facts["fill"])
            found[name] = texts_of(values, facts) if "categories" in facts else values
        by = self.chunked_by
        if by is not None and by not in found:
            values = np.asarray(self.level.facts["chunk_attribute_values"])
            found[by] = values[self.level.cells[self.level.cell_of(rows), 0]]
        return found

    def _link_facts(self) -> dict[str, dict[str, Any]]:
        """What is said of the attributes of links, by name."""
        found = {}
        for family in ("link_attributes", "face_attributes"):
            for name in self.level.names(family):
                path = f"{family}/{name}"
                if family == "link_attributes":
                    segments = self.level.names(f"{path}/0")
                    if not segments:
                        continue
                    path = f"{path}/0/{segments[0]}"
                found[name] = _facts(dict(self.level.array(path).attrs))
        return found

    def _of_objects(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """Values of the attributes of some objects."""
        objects = self.level.objects
        if objects is None:
            return {}
        found: dict[str, np.ndarray] = {}
        for name in self.level.names("object_attributes"):
            array = self.level.array(f"object_attributes/{name}")
            rows = objects.row[start:stop]
            low, high = int(rows.min()), int(rows.max()) + 1
            with quiet(f"{self.level.where}, object_attributes/{name}"):
                values = np.asarray(array[low:high])[rows - low]
            if values.dtype.kind in "OTU":
                plain = np.asarray(values, object)
                values = plain.copy()
                values[plain == _SENTINEL] = None
            found[name] = values
        return found


def _facts(attributes: dict[str, Any]) -> dict[str, Any]:
    """What the document of an array of values says, with what stands for a missing one."""
    dtype = np.dtype(attributes["dtype"])
    plain = np.dtype("i8") if dtype.kind in "mM" else dtype
    fill: Any = fill_value(plain)
    if "categories" in attributes:
        fill = attributes.get("_FillValue", np.iinfo(dtype).max)
    if dtype.kind in "mM":
        fill = dtype.type("NaT")
    return {"row_shape": [], **attributes, "fill": fill}


def _of_steps(
    links: Links, rows: np.ndarray, offsets: np.ndarray, names: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Values of the steps of lines, of values by link."""
    if not names:
        return {}
    steps = np.ones(len(rows), bool)
    steps[offsets[1:] - 1] = False
    at = np.flatnonzero(steps)
    pairs = np.stack([rows[at], rows[at + 1]], axis=1) if len(at) else np.zeros((0, 2), np.int64)
    scale = int(max(rows.max(initial=0), links.ends.max(initial=0))) + 1
    known = links.ends[:, 0] * scale + links.ends[:, 1]
    order = np.argsort(known)
    asked = pairs[:, 0] * scale + pairs[:, 1]
    place = np.minimum(np.searchsorted(known[order], asked), max(len(known) - 1, 0))
    there = np.zeros(len(asked), bool)
    if len(known):
        there = known[order[place]] == asked
    found = {}
    for name, facts in names.items():
        text = "categories" in facts
        fill = None if text else facts["fill"]
        dtype = np.dtype(object if text else facts["dtype"])
        values = np.full((len(asked), *facts["row_shape"]), fill, dtype)
        values[there] = links.values[name][order[place[there]]] if len(known) else fill
        found[name] = values
    return found


def _pieces(reader: LevelPieces, start: int, stop: int) -> Iterator[Piece]:
    yield reader.piece(start, stop)
