"""Zarr Vectors stores, read in: any kind, several levels, through zarr alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import zarr

from ..errors import ArrayError, MetadataError, NotFoundError
from ..format.metadata import KINDS, LINES, MESHES, POINTS, fill_value
from ..spatial.boxes import Box
from ._import import ImportOptions, ImportResult, Into, import_source
from ._pieces import BATCH_VERTICES, Coarser, Part, Piece, Source
from ._zv_level import ZVLevel, quiet, texts_of
from ._zv_links import EXPLICIT, Links, in_order, links_of, tree_links

if TYPE_CHECKING:
    from zarr.abc.store import Store

    from ..repository import Repository

__all__ = ["SUFFIXES", "import_zarr_vectors", "is_store", "open_zarr_vectors"]

SUFFIXES = (".zarr", ".zarrvectors", ".zv")
_BRANCHES = "implicit_sequential_with_branches"
_SENTINEL = ""
"""What stands for a missing text among the values of objects."""


def import_zarr_vectors(
    repo: Repository,
    source: str | os.PathLike[str] | Store,
    dataset: str,
    *,
    levels: Sequence[int] | None = None,
    batch_vertices: int = BATCH_VERTICES,
    **options: Unpack[ImportOptions],
) -> ImportResult:
    """Import a Zarr Vectors store: vertices, links, objects, groups and all their attributes.

    Parameters
    ----------
    repo : Repository
    source : path or URL that zarr opens, or zarr.abc.store.Store
        Of the store's root group.
    dataset : str
    levels : sequence of int, optional
        Which resolution levels: 0, 1 and so on without a gap; all where left out. With
        ``append=True`` level 0 alone, and what was coarsened from it is marked stale.
    batch_vertices : int
        Vertices, about, that are read and appended at a time: whole objects, or, of
        points without objects, cells. A store of kind graph, whose links may go from
        object to object, becomes one batch.
    **options
        Those of all imports: :class:`ImportOptions`. Bounds, cells, axes and units are
        those of the store.

    Returns
    -------
    ImportResult

    Raises
    ------
    NotFoundError
        If there is no such store or level.
    ArrayError
        If the store is damaged or not Zarr Vectors, or a link goes from object to
        object where that cannot be. Nothing is committed.
    MetadataError
        If it holds a kind of geometry that is not known.

    Notes
    -----
    Source: Zarr Vectors 0.9. Read with zarr; the ``zarr-vectors`` package is not
    needed. The order of a line is taken from the links between its fragments. Where a
    coarser level has vertices that several objects share, each gets its own. What a
    store is chunked by becomes an attribute of its vertices, but for the batches of
    our own. Attributes of fragments and of groups, and links from level to level, are
    left out.

    Examples
    --------
    >>> import numpy as np, tempfile, zv_versioned as zvv
    >>> repo = zvv.Repository.create("memory://")
    >>> with repo.transaction() as tx:
    ...     ds = tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [9, 9]))
    ...     n = tx.writer("p").append_vertices_sync(np.ones((3, 2), "f4"), object_ids=7)
    >>> folder = tempfile.mkdtemp() + "/p.zarrvectors"
    >>> done = zvv.interop.export_zarr_vectors(repo.view()["p"][0], folder)
    >>> again = zvv.interop.import_zarr_vectors(repo, folder, "again")
    >>> again.vertices, repo.view()["again"][0].object_ids()
    (3, array([7]))
    """
    into = Into(**options)
    if into.append and levels is None:
        levels = [0]
    opened = open_zarr_vectors(source, levels=levels, batch_vertices=batch_vertices)
    return import_source(repo, opened, dataset, into)


def is_store(path: Any) -> bool:
    """Whether a path is a folder with a Zarr Vectors store in it."""
    if not isinstance(path, str | os.PathLike):
        return False
    document = os.path.join(os.fspath(path), "zarr.json")
    if not os.path.isfile(document):
        return False
    with quiet(os.fspath(path)):
        return "zarr_vectors" in zarr.open_group(os.fspath(path), mode="r").attrs


def open_zarr_vectors(
    source: str | os.PathLike[str] | Store,
    *,
    levels: Sequence[int] | None = None,
    batch_vertices: int = BATCH_VERTICES,
) -> Source:
    """Read the documents of a store; parameters as for :func:`import_zarr_vectors`."""
    store = _one(source)
    facts, axes, there, metadata = _root(store)
    wanted = there if levels is None else list(levels)
    if sorted(wanted) != list(range(len(wanted))) or not set(wanted) <= set(there):
        raise NotFoundError(
            f"{store} has the levels {', '.join(map(str, there))}; levels must be of these, 0, 1 "
            f"and so on, got {wanted}"
        )
    kind = facts["geometry_types"][0] if facts.get("geometry_types") else ""
    if kind not in KINDS:
        raise MetadataError(f"{store} holds {kind or 'nothing'!r}; known are {', '.join(KINDS)}")
    convention = facts.get("links_convention", EXPLICIT)
    made = {
        number: _Reader(ZVLevel(store, str(number)), kind, convention) for number in sorted(wanted)
    }
    lo, hi = (np.asarray(side, np.float64) for side in facts["bounds"])
    base = tuple(map(float, facts["chunk_shape"]))
    parts = {number: reader.parts(batch_vertices) for number, reader in made.items()}
    return Source(
        format="zarr_vectors",
        kind=kind,
        ndim=len(lo),
        dtype=made[0].level.dtype,
        parts=parts[0],
        files=[str(store)],
        bounds=Box(lo, hi),
        axes=axes,
        metadata=metadata,
        total=sum(reader.total for reader in made.values()),
        unit="vertices",
        groups=made[0].groups(),
        counted_groups=False,
        chunk_shape=base,
        coarser=[reader.coarser(base, parts[n]) for n, reader in made.items() if n > 0],
    )


def _one(source: Any) -> Any:
    """The store that is meant, as zarr opens it."""
    if isinstance(source, list | tuple):
        if len(source) != 1:
            raise MetadataError(
                f"one Zarr Vectors store is imported at a time, and {len(source)} are given"
            )
        source = source[0]
    return os.path.expanduser(os.fspath(source)) if isinstance(source, str | os.PathLike) else source


def _root(
    store: Any,
) -> tuple[dict[str, Any], list[dict[str, str]] | None, list[int], dict[str, Any]]:
    """What the root says: the store's facts, axes, levels, and the metadata of a dataset of ours."""
    if isinstance(store, str) and "://" not in store and not os.path.exists(store):
        raise NotFoundError(f"there is no store at {store}")
    with quiet(str(store)):
        group = zarr.open_group(store, mode="r")
        facts = group.attrs.get("zarr_vectors")
        if not isinstance(facts, Mapping):
            raise ArrayError("it has no 'zarr_vectors' among its attributes")
        scales = group.attrs.get("multiscales") or [{}]
        levels = sorted(int(name) for name, _ in group.members() if name.isdecimal())
        axes = [_axis(axis) for axis in scales[0].get("axes", [])] or None
        metadata = dict(group.attrs.get("zv_dataset", {}).get("metadata", {}))
        for name in ("bounds", "chunk_shape"):
            if name not in facts:
                raise ArrayError(f"its root says nothing of {name}")
    if 0 not in levels:
        raise ArrayError(f"{store} has no level 0")
    return dict(facts), axes, levels, metadata


def _axis(axis: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(axis[key]) for key in ("name", "type", "unit") if axis.get(key)}


# ---- one level --------------------------------------------------------------


@dataclass(frozen=True)
class _Reader:
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
        cells = np.unique(level.fragments.cell[fragments])
        links = links_of(level, self._sources(cells), 2, names)
        if self.shared:  # then the order of the manifest is all there is
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
        cells = np.unique(level.fragments.cell[fragments])
        found = links_of(level, cells, width, self._link_facts())
        inside = np.isin(found.ends, rows)
        mine = inside.all(axis=1)
        if self.kind != "graph" and (inside.any(axis=1) & ~mine).any():
            raise ArrayError(
                f"{level.where}: a link goes from one object to another, which a {self.kind} cannot "
                'have; import it with kind="graph"'
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
        name = self.chunked_by
        if name is not None and name not in found:
            values = np.asarray(self.level.facts["chunk_attribute_values"])
            found[name] = values[self.level.cells[self.level.cell_of(rows), 0]]
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
                values = np.where(plain == _SENTINEL, None, plain)
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


def _pieces(reader: _Reader, start: int, stop: int) -> Iterator[Piece]:
    yield reader.piece(start, stop)
