"""Reading a level piece by piece, for the formats to write."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from .. import _checks
from .._sets import is_in, union
from ..errors import ArrayError, MetadataError
from ..format.metadata import VERTEX_ATTRIBUTES
from ..reading.asked import Query
from ..reading.gather import gather
from ..reading.query import names
from ..reading.removed import removed_rows
from ..reading.selection import Selection
from ..reading.values import object_values
from ..spatial.boxes import Box, parse_bbox
from ._pieces import BATCH_VERTICES
from ._progress import Progress, Report, silent

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ..geometry import Geometry
    from ..level import Level

__all__ = ["OBJECT_IDS", "ExportOptions", "ExportResult", "Part", "Selected"]

OBJECT_IDS = "object ids"
"""What a result lists as left out where the format has no place for them."""


class ExportOptions(TypedDict, total=False):
    """The keyword arguments that all exports have in common.

    Attributes
    ----------
    bbox : (lo, hi)
        Only vertices within, half open, and links whose ends all are.
    objects : sequence of int
        Only these objects.
    attributes : sequence of str, or "all"
        Which attributes of vertices; all that the format can hold where left out.
        The result says which it could not. A name that it cannot hold is an error
        where it is asked for.
    overwrite : bool
        Whether the target may be there already.
    progress : callable
        Called with a :class:`Progress` again and again.
    """

    bbox: tuple[ArrayLike, ArrayLike] | None
    objects: int | Sequence[int] | np.ndarray | None
    attributes: str | Sequence[str] | None
    overwrite: bool
    progress: Report | None


@dataclass(frozen=True)
class Part:
    """What :class:`ExportOptions` say, checked for names."""

    bbox: Any = None
    objects: Any = None
    attributes: Any = None
    overwrite: bool = False
    progress: Report | None = None

    def __post_init__(self) -> None:
        _checks.flag(self.overwrite, "overwrite")


@dataclass(frozen=True)
class ExportResult:
    """What an export did.

    Parameters
    ----------
    format, dataset, snapshot_id, target : str
    level : int
    files, vertices, links, objects : int
        What was written.
    left_out : tuple of str
        What the format cannot hold: names of vertex attributes; ``objects: name``,
        ``links: name``, ``faces: name`` for attributes of these; ``groups: name``; and
        ``object ids``.
    """

    format: str
    dataset: str
    level: int
    snapshot_id: str
    target: str
    files: int
    vertices: int
    links: int
    objects: int
    left_out: tuple[str, ...] = ()


@dataclass
class Selected:
    """The part of a level that is exported.

    Parameters
    ----------
    level : Level
    part : Part
    holds : callable or None
        Which attributes of vertices the format can hold; None for all.
    """

    level: Level
    part: Part
    holds: Any = None
    names: list[str] = field(init=False)
    left_out: list[str] = field(init=False)
    vertices: int = 0
    links: int = 0

    def __post_init__(self) -> None:
        known = self.level.attribute_names
        holds = self.holds or (lambda name: True)
        asked = self.part.attributes
        if asked is None or asked == "all":
            self.names = [name for name in known if holds(name)]
            self.left_out = [name for name in known if not holds(name)]
        else:
            reader, family = self.level._reader, VERTEX_ATTRIBUTES
            self.names, self.left_out = names(reader, asked, family), []
            bad = [name for name in self.names if not holds(name)]
            if bad:
                raise MetadataError(
                    f"the format cannot hold the attributes {', '.join(map(repr, bad))}; leave "
                    "them out, or export to another format"
                )
        reader = self.level._reader
        bbox = self.part.bbox
        self.box: Box | None = None if bbox is None else parse_bbox(bbox, reader.meta.ndim)
        ids = self.part.objects
        self.ids = None if ids is None else _checks.ids_asked_for(ids)
        # Planned now: what is not there is an error before a file is made.
        self.plan = reader.plan(box=self.box, object_ids=self.ids)
        self.total = self._count()
        self._seen = np.zeros(0, np.int64)

    def _count(self) -> int | None:
        """How many vertices there are, where that is known before they are read."""
        if self.box is not None or self.ids is not None:
            return None
        return self.level.vertex_count

    @property
    def report(self) -> Report:
        """Where progress goes."""
        return self.part.progress or silent

    def counted(self, found: Geometry) -> Geometry:
        """Count what is about to be written, and tell."""
        self.vertices += len(found)
        links = found.faces if found.faces is not None else found.edges
        self.links += 0 if links is None else len(links)
        if self.box is not None:
            self._seen = union(self._seen, found.object_ids)
        self.report(Progress("export", self.vertices, self.total, "vertices"))
        return found

    # -- vertices, in the order of the level ---------------------------------

    def windows(self) -> Iterator[Geometry]:
        """Vertices in the order of the level, a window at a time; links are left out."""
        reader = self.level._reader
        attributes = [reader.state.facts.attributes[name] for name in self.names]
        query = Query(attributes, [], self.box, None)
        whole = self.box is None and self.ids is None
        for window in reader.windows(self.plan) if self.plan else [[]]:
            yield self.counted(gather(reader, window, query, whole=whole))

    # -- whole objects -------------------------------------------------------

    def objects(self, at_once: int = BATCH_VERTICES) -> Iterator[Geometry]:
        """Whole objects with their links, about `at_once` vertices at a time.

        Of each geometry that is given out all objects are complete. An object in
        several batches comes with the first of them.
        """
        ids, sizes = self.sizes()
        ends = np.cumsum(sizes)
        start = 0
        while start < len(ids):
            before = ends[start - 1] if start else 0
            stop = max(int(np.searchsorted(ends, before + at_once, side="right")), start + 1)
            yield self.counted(
                self.level.read(
                    bbox=self.part.bbox,
                    objects=ids[start:stop],
                    attributes=self.names,
                    link_attributes="all",
                )
            )
            start = stop

    def sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """Ids of the objects, in the order of the level, and how many vertices each has.

        With a box, that of the cells that it touches: not fewer than it has there.
        """
        reader = self.level._reader
        ids = [np.zeros(0, np.int64)]
        sizes = [np.zeros(0, np.int64)]
        for selection in self.plan:
            of_batch, counts = _object_sizes(reader, selection)
            ids.append(of_batch)
            sizes.append(counts)
        every, counts = np.concatenate(ids), np.concatenate(sizes)
        distinct, first, row = np.unique(every, return_index=True, return_inverse=True)
        total = np.zeros(len(distinct), np.int64)
        np.add.at(total, row, counts)
        order = np.argsort(first, kind="stable")
        return distinct[order], total[order]

    def object_values(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Ids of all objects of the level, ascending, and the values of their attributes."""
        reader = self.level._reader
        ids = self.level.object_ids()
        order = np.argsort(ids, kind="stable")
        facts = reader.state.facts.object_attributes
        values = {name: object_values(reader, facts[name])[order] for name in sorted(facts)}
        return ids[order], values

    def named(self, target: str | os.PathLike[str], number: int) -> None:
        """Note that a file is that of one object alone, which it has the id of by its name."""
        if Path(target).stem != str(number):
            self.left_out.append(OBJECT_IDS)

    @property
    def object_count(self) -> int:
        """How many objects were written, in whole or in part."""
        if self.box is not None:
            return len(self._seen)
        return self.level.num_objects if self.ids is None else len(self.ids)

    def result(self, format: str, target: Any, files: int) -> ExportResult:
        """What was done."""
        dataset = self.level._dataset
        return ExportResult(
            format=format,
            dataset=dataset.name,
            level=self.level.number,
            snapshot_id=dataset._view.snapshot_id,
            target=str(target),
            files=files,
            vertices=self.vertices,
            links=self.links,
            objects=self.object_count,
            left_out=tuple(self.left_out),
        )


def _object_sizes(reader: Any, selection: Selection) -> tuple[np.ndarray, np.ndarray]:
    """Ids of the objects in the cells of one batch that are wanted, and their vertices there."""
    ((ids, _),) = reader.ids([selection.row])
    (fragments,) = reader.fragments([selection])
    counts = np.bincount(fragments.object, weights=fragments.vertices, minlength=len(ids))
    rows = np.flatnonzero(counts)
    if selection.object_rows is not None:
        rows = rows[is_in(rows, selection.object_rows)]
    removed = removed_rows(reader, [selection.row]).get(selection.row)
    if removed is not None:
        rows = rows[~is_in(rows, removed)]
    return ids[rows], counts[rows].astype(np.int64)


def lookup(ids: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Values of some objects, of ids that ascend."""
    at = np.searchsorted(ids, wanted)
    if len(wanted) and (at.max() >= len(ids) or (ids[at] != wanted).any()):
        raise ArrayError("an object was read that the level does not list")
    return np.asarray(values[at])
