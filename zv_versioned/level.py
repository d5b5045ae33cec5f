"""One resolution level of a dataset at one snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np

from . import _checks, _reopen
from ._groups import Groups, load_groups
from ._twins import twin
from ._words import counted
from .errors import MetadataError, ReadOnlyError
from .format.metadata import (
    LINK_ATTRIBUTES,
    OBJECT_ATTRIBUTES,
    POINTS,
    VERTEX_ATTRIBUTES,
)
from .geometry import Geometry, html_table
from .maintenance import digest
from .objects import Batch, Objects
from .reading import query
from .reading.conversions import Conversions
from .reading.gather import gather
from .reading.level_values import LevelValues
from .reading.measures import Measures
from .reading.reader import LevelReader
from .reading.removed import removed_rows
from .reading.vertex_map import vertex_map

if TYPE_CHECKING:
    from .view import Dataset, View
    from .writer import ZVWriter


class Level(Conversions, LevelValues, Measures):
    """One resolution level of a dataset, at the view's snapshot."""

    _dataset: Dataset
    _reader: LevelReader

    def __init__(self, dataset: Dataset, number: int, reader: LevelReader) -> None:
        self._dataset = dataset
        self._reader: LevelReader = reader
        self.number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen.level, (self._dataset, self.number)

    def __deepcopy__(self, memo: dict[int, Any]) -> Level:
        return self

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return (*self._dataset.__dask_tokenize__(), self.number)

    @property
    def vertex_count(self) -> int:
        """Number of vertices."""
        return self._reader.state.facts.vertex_count

    @property
    def num_objects(self) -> int:
        """Number of objects."""
        return self._reader.state.facts.num_objects

    @property
    def attribute_names(self) -> list[str]:
        """Names of the vertex attributes, sorted."""
        return sorted(self._reader.state.facts.attributes)

    @property
    def object_attribute_names(self) -> list[str]:
        """Names of the object attributes, sorted."""
        return sorted(self._reader.state.facts.object_attributes)

    @property
    def link_attribute_names(self) -> list[str]:
        """Names of the attributes of links (of a mesh: of faces), sorted."""
        return sorted(self._reader.state.facts.link_attributes)

    @property
    def link_count(self) -> int:
        """Number of links: of edges, of faces, or of a line's steps from vertex to vertex."""
        return self._reader.state.facts.link_count

    @property
    def coarsened_from(self) -> int | None:
        """The level that this one was made from; None of level 0."""
        coarsened = self._reader.state.facts.coarsened
        return None if coarsened is None else int(coarsened["from"])

    @property
    def coarsening_method(self) -> str | None:
        """How this level was made from a finer one, in its maker's words; None of level 0."""
        coarsened = self._reader.state.facts.coarsened
        return None if coarsened is None else str(coarsened["method"])

    @property
    def stale(self) -> bool:
        """Whether the level that this one was made from has changed since."""
        coarsened = self._reader.state.facts.coarsened
        return coarsened is not None and bool(coarsened["stale"])

    @property
    def chunk_shape(self) -> tuple[float, ...]:
        """Edges of a cell, in the units of the coordinates."""
        return self._reader.state.facts.grid.chunk_shape

    @property
    def batches(self) -> list[Batch]:
        """The batches that the level consists of, by slot."""
        table = self._reader.state.table
        removed = removed_rows(self._reader, range(len(table)))
        return [
            Batch(
                slot=int(table.slot[row]),
                uuid=UUID(bytes=bytes(table.uuid[row])),
                vertex_count=int(table.live_vertices[row]),
                object_count=int(table.n_objects[row]) - len(removed.get(row, ())),
                bounds=(tuple(table.lo[row].tolist()), tuple(table.hi[row].tolist())),
            )
            for row in range(len(table))
        ]

    @property
    def objects(self) -> Objects:
        """The objects by id."""
        return Objects(self)

    @property
    def groups(self) -> Groups:
        """Groups of objects, by name: ``level.read(objects=level.groups["left"])``."""
        reader = self._reader
        found = load_groups(reader.store, reader.state.path, reader.state.facts, reader.parts)
        return Groups(found, repr(self))

    # -- reading -------------------------------------------------------------

    def read(
        self,
        *,
        bbox: query.BBox | None = None,
        near: query.Near | None = None,
        objects: query.Ids | None = None,
        where: query.Where | None = None,
        attributes: query.Names = (),
        link_attributes: query.Names = (),
        batches: int | Sequence[int] | None = None,
        limit: int | None = None,
    ) -> Geometry:
        """Read vertices with their links.

        Points, graphs and meshes come in the order of the level: by slot, cell (C
        order), object, and the row in its append; it never changes as long as
        nothing is removed or compacted. Lines come as they go, one after the
        other: by slot, object, line, and along the line; where a vertex was not
        asked for a line has a gap, and what follows it is a line of its own. A
        link is there where all its ends are.

        Parameters
        ----------
        bbox : (lo, hi), optional
            Half open: ``lo <= coordinate < hi`` on every axis, compared exactly, so
            that boxes side by side share no vertex. Infinite sides are fine.
        near : (point, radius), optional
            Vertices no farther than `radius` from `point`, in the units of the
            coordinates: ``numpy.linalg.norm(positions - point, axis=1) <= radius``.
        objects : int or sequence of int, optional
            Ids of objects; vertices of others are left out.
        where : mapping or sequence, optional
            Conditions, all of which have to hold: ``{name: value}``,
            ``{name: (operator, value)}`` or ``[(name, operator, value), …]``, on an attribute,
            a coordinate by the name of its axis, or ``object_id``, with an operator ``==``,
            ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``in`` or ``not in``. They are compared as
            numpy compares the stored values with the given one; a vertex without a value (NaN,
            NaT, None) matches nothing.
        attributes : sequence of str, or "all"
            Which attributes to read; none by default. Where a batch has no values
            they are missing, as in :meth:`attribute`.
        link_attributes : sequence of str, or "all"
            Which attributes of links (of a mesh: of faces) to read, in the same way.
        batches : int or sequence of int, optional
            Slots of the batches to read.
        limit : int, optional
            At most so many vertices, the first ones of the result.

        Returns
        -------
        Geometry

        Raises
        ------
        ArrayError
            If the box, the ball, an id, a condition or the limit is not acceptable.
        NotFoundError
            If there is no such object, attribute or batch.
        IntegrityError
            If stored bytes are damaged.

        Examples
        --------
        >>> import numpy as np, zv_versioned as zvv
        >>> repo = zvv.Repository.create("memory://")
        >>> with repo.transaction() as tx:
        ...     ds = tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [10, 10]))
        ...     n = tx.writer("p").append_vertices_sync(np.array([[1, 1], [5, 5]], "f4"))
        >>> repo.view()["p"][0].read(bbox=([0, 0], [5, 5])).positions
        array([[1., 1.]], dtype=float32)
        >>> repo.view()["p"][0].read(near=([5, 6], 1)).positions
        array([[5., 5.]], dtype=float32)
        """
        request = query.parse(
            self._reader,
            bbox=bbox,
            near=near,
            objects=objects,
            where=where,
            attributes=attributes,
            link_attributes=link_attributes,
            batches=batches,
            limit=limit,
        )
        return gather(self._reader, request.plan, request.query, whole=request.whole)

    def vertex_map(self, old: View) -> np.ndarray:
        """Where the vertices of an earlier view are in this one.

        Appends number no vertex anew; removals and :meth:`Repository.compact` do.

        Parameters
        ----------
        old : View
            A view that has this level.

        Returns
        -------
        ndarray of int64, shape (vertex_count of the old level,)
            The number of each in this level; -1 where it is not there any more.
            ``new_values[found >= 0]`` are then ``values[found[found >= 0]]``.

        Raises
        ------
        NotFoundError
            If the old view has no such dataset or level.
        MetadataError
            If `old` is no view, or it cannot be told: an object went on after the old view
            and was compacted with what came later, or got another id in a merge before.
        """
        if not isinstance(old, type(self._dataset._view)):
            raise MetadataError(
                f"vertex_map wants an earlier view, such as repo.view('v1.0'), not {old!r}"
            )
        before = old[self._dataset.name][self.number]
        return vertex_map(before._reader, self._reader)

    def positions(self) -> np.ndarray:
        """Coordinates of all vertices, shape (vertex_count, D), in the order of the level."""
        return self._reader.positions_of(self._reader.plan())

    def digest(self, objects: Any = None, *, recompute: bool = False) -> str:
        """A hash of the content, the same however it was batched; see :meth:`Repository.digest`.

        Parameters
        ----------
        objects : int or sequence of int, optional
            As if these objects were all that there is.
        recompute : bool
            Read everything, rather than rely on what was kept at commits.

        Raises
        ------
        NotFoundError
            If one of `objects` is not there.
        MetadataError
            If `recompute` is neither True nor False.
        """
        _checks.flags(recompute=recompute)
        if objects is not None:
            return digest.of_objects(self._reader, _checks.ids_asked_for(objects))
        return digest.of_level(self._reader, recompute=recompute)

    def object_ids(self) -> np.ndarray:
        """Ids of all objects, int64, shape (num_objects,): by batch, then ascending."""
        return self._reader.object_ids()

    # -- the same, awaited ---------------------------------------------------

    aread = twin(read)
    apositions = twin(positions)
    aobject_ids = twin(object_ids)
    adigest = twin(digest)
    avertex_map = twin(vertex_map)

    # -- writing -------------------------------------------------------------

    def writer(
        self,
        *,
        message: str | None = None,
        author: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> ZVWriter:
        """A writer of this level with a transaction of its own, on the view's branch.

        It begins at the branch's tip. Leaving its ``with`` block commits.

        Raises
        ------
        ReadOnlyError
            If the view is pinned to a tag or a snapshot and so has no branch.
        """
        view = self._dataset._view
        if view.branch is None:
            raise ReadOnlyError(
                f"this view is pinned to snapshot {view.snapshot_id} and has no branch to write "
                "to; take one of a branch, repo.view('main'), or begin repo.transaction(branch)"
            )
        transaction = view._repository.transaction(
            view.branch, message=message, author=author, metadata=metadata
        )
        writer = transaction.writer(self._dataset.name, self.number)
        writer._owns = True
        return writer

    def _told(self) -> str:
        """The level in a few words."""
        vertices = counted(self.vertex_count, "vertex", "vertices")
        told = f"{vertices}, {counted(self.num_objects, 'object')}"
        if self.coarsened_from is not None:
            told += f", coarsened from level {self.coarsened_from}"
        return told + (", which has changed since: stale" if self.stale else "")

    def __repr__(self) -> str:
        return (
            f"<Level {self.number} of {self._dataset.name!r} at {self._dataset._view.snapshot_id}: "
            f"{self._told()}>"
        )

    def _repr_html_(self) -> str:
        facts = self._reader.state.facts
        rows = [
            ("snapshot", self._dataset._view.snapshot_id),
            ("vertices", f"{self.vertex_count:,}"),
            ("objects", f"{self.num_objects:,}"),
            ("batches", f"{len(self._reader.state.table):,}"),
        ]
        if self.coarsened_from is not None:
            was = " (stale: it has changed since)" if self.stale else ""
            made = f"level {self.coarsened_from}, {self.coarsening_method}{was}"
            rows.append(("coarsened from", made))
        links = "faces" if self._reader.meta.link_width == 3 else "links"
        if self._dataset.kind not in POINTS:
            rows.insert(2, (links, f"{self.link_count:,}"))
        for family, of in (
            (VERTEX_ATTRIBUTES, ""),
            (LINK_ATTRIBUTES, f" of {links}"),
            (OBJECT_ATTRIBUTES, " of objects"),
        ):
            for name, attribute in sorted(facts.family(family).items()):
                shape = f" × {attribute.row_shape[0]}" if attribute.row_shape else ""
                dtype = attribute.logical or attribute.dtype
                rows.append((f"attribute {name!r}{of}", f"{dtype}{shape}"))
        return html_table(f"Level {self.number} of {self._dataset.name!r}", rows)
