"""The datasets of a transaction: made, given levels, changed; each change staged, none visible."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .. import _paths, _state, _store, _writes
from .._checks import parse_vertex_dtype
from .._json import json_object
from ..errors import MetadataError
from ..format import metadata as documents
from ..format.axes import parse_axes
from ..format.metadata import KINDS, DatasetMeta, LevelFacts
from ..format.table import BatchTable
from ..result import stage_name
from ..spatial.boxes import parse_bounds, parse_chunk_shape, parse_expected_vertices
from ..spatial.grid import Grid, default_chunk_shape
from .levels import level_documents, new_level, without_last
from .stage import LevelStage

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


def new_dataset(
    name: str,
    *,
    kind: str,
    bounds: tuple[Sequence[float], Sequence[float]],
    chunk_shape: Sequence[float] | None = None,
    expected_vertices: int | None = None,
    vertex_dtype: DTypeLike = "float32",
    axes: Sequence[Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> tuple[DatasetMeta, LevelFacts]:
    """A dataset and its level 0 as :meth:`Transaction.create_dataset` makes them.

    Raises
    ------
    MetadataError
        If anything is not acceptable, wherever it is to be made.
    """
    _paths.check_dataset(name)
    if kind not in KINDS:
        raise MetadataError(f"kind {kind!r} is unknown; choose one of {', '.join(KINDS)}")
    box = parse_bounds(bounds)
    ndim = len(box.lo)
    expected = parse_expected_vertices(expected_vertices, chunk_shape)
    shape = (
        default_chunk_shape(box, expected)
        if chunk_shape is None
        else parse_chunk_shape(chunk_shape, ndim)
    )
    parsed_axes = parse_axes(axes, ndim)
    dtype = parse_vertex_dtype(vertex_dtype)
    user = json_object(metadata, "metadata of a dataset")
    meta = DatasetMeta(name, kind, box, shape, parsed_axes, dtype, user)
    return meta, LevelFacts(0, Grid.for_bounds(box, shape), 0, 0, 0, -1, {})


class StagesDatasets(ABC):
    """What :class:`Transaction` can do with whole datasets and levels.

    Parameters
    ----------
    session : icechunk.Session
        Where everything is staged.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self._state = "open"
        self._stages: dict[tuple[str, int], LevelStage] = {}
        # Each dataset as it is seen here, and as its document in the session says.
        self._metas: dict[str, DatasetMeta] = {}
        self._written: dict[str, DatasetMeta] = {}
        # What was changed of datasets and levels beyond what their stages count.
        self._notes: dict[str, dict[str, Any]] = {}
        self._created: list[str] = []
        self._root: dict[str, Any] | None = None

    @abstractmethod
    def _changing(self) -> AbstractContextManager[None]:
        """Around every change: one after the other, and only while the transaction is open."""

    @abstractmethod
    def _stage_of(
        self, meta: DatasetMeta, facts: LevelFacts, tail: BatchTable | None = None
    ) -> LevelStage:
        """A stage of one level."""

    def create_dataset(
        self,
        name: str,
        *,
        kind: str,
        bounds: tuple[Sequence[float], Sequence[float]],
        chunk_shape: Sequence[float] | None = None,
        expected_vertices: int | None = None,
        vertex_dtype: DTypeLike = "float32",
        axes: Sequence[Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> DatasetMeta:
        """Create a dataset, with level 0.

        Parameters
        ----------
        name : str
            Its group path; "" for the repository's root.
        kind : str
            The kind of geometry: ``"point_cloud"``; ``"line"`` (of two vertices),
            ``"polyline"`` or ``"streamline"``, whose links follow from the order
            of the vertices; ``"graph"`` or ``"skeleton"`` (trees), which have
            edges; ``"mesh"``, which has triangles.
        bounds : (lo, hi)
            Smallest and largest coordinates, D = 1 to 4 numbers each. Closed: a
            vertex may lie on either.
        chunk_shape : sequence of float, optional
            Edges of a cell, in the units of the coordinates; left out, at most 8
            cells an axis, or what `expected_vertices` says. It cannot be changed later.
        expected_vertices : int, optional
            In place of `chunk_shape`: how many vertices there will be in the end, about.
            There are as many cells, on every axis the same, as give each some 2,500
            where the vertices are spread evenly.
        vertex_dtype : dtype-like
            Of the coordinates: float32, float64 or an integer of up to 4 bytes.
        axes : sequence of str or mapping, optional
            Names, or mappings with ``name``, ``type`` ("space", "time", …) and
            ``unit`` (UDUNITS-2, such as "nanometer"); x, y, z by default, and t
            before them where there are four.
        metadata : mapping, optional
            Facts of your own, JSON.

        Returns
        -------
        DatasetMeta

        Raises
        ------
        MetadataError
            If anything is not acceptable or the dataset exists.

        Notes
        -----
        Source: Zarr Vectors 0.9, chapter on root metadata.
        """
        meta, facts = new_dataset(
            name,
            kind=kind,
            bounds=bounds,
            chunk_shape=chunk_shape,
            expected_vertices=expected_vertices,
            vertex_dtype=vertex_dtype,
            axes=axes,
            metadata=metadata,
        )
        with self._changing():
            self._refuse_overlap(name)
            items = self._dataset_documents(meta, facts)
            with self._half_done():
                _writes.set_many(self._session.store, items)
            self._created.append(name)
            self._metas[name] = self._written[name] = meta
            self._stages[name, 0] = self._stage_of(meta, facts)
        return meta

    def _refuse_overlap(self, name: str) -> None:
        there = _state.dataset_names(self._root_attributes())
        if name in there:
            raise MetadataError(
                f"dataset {name!r} exists; open a writer on it with tx.writer({name!r}), or choose "
                "another name"
            )
        for other in there:
            if other and name and (other.startswith(name + "/") or name.startswith(other + "/")):
                raise MetadataError(
                    f"dataset {name!r} and dataset {other!r} would lie in each other; choose "
                    "another name"
                )

    def _root_attributes(self) -> dict[str, Any]:
        if self._root is None:
            self._root = _state.root_attributes(self._session.store)
        return self._root

    def _dataset_documents(self, meta: DatasetMeta, facts: LevelFacts) -> list[tuple[str, bytes]]:
        groups: dict[str, dict[str, Any]] = {path: {} for path in _paths.parents(meta.name)}
        names = [*_state.dataset_names(self._root_attributes()), meta.name]
        root = {**self._root_attributes(), "zv_repository": {"datasets": sorted(names)}}
        if meta.name == "":
            root.update(meta.to_attributes())
        else:
            groups[meta.name] = meta.to_attributes()
        self._root = root
        groups[""] = root
        nodes = {path: documents.group(attributes) for path, attributes in groups.items()}
        return _encoded({**nodes, **level_documents(meta, facts)})

    def create_level(
        self,
        dataset: str,
        level: int,
        *,
        chunk_shape: Sequence[float] | None = None,
        coarsened_from: int | None = None,
        method: str = "manual",
    ) -> LevelFacts:
        """Create a coarser resolution level of a dataset; it is empty, and written like any other.

        Parameters
        ----------
        dataset : str
        level : int
            The next number: levels have no gaps.
        chunk_shape : sequence of float, optional
            Edges of a cell: a whole multiple of level 0's on each axis. Left out,
            twice those of the level it is made from.
        coarsened_from : int, optional
            The level that it is made from, the one before it by default. Whatever
            changes that one once there is something in this one makes it stale:
            :attr:`Level.stale`. Delete it and create it anew to make it afresh.
        method : str
            How it is made, in your words.

        Returns
        -------
        LevelFacts

        Raises
        ------
        MetadataError
            If an argument is not acceptable, or there is such a level.
        NotFoundError
            If there is no such dataset.

        Notes
        -----
        Source: Zarr Vectors 0.9, chapter on resolution levels.

        Examples
        --------
        >>> import numpy as np, zv_versioned as zvv
        >>> repo = zvv.Repository.create("memory://")
        >>> points = np.random.default_rng(0).random((1000, 2))
        >>> with repo.transaction() as tx:
        ...     ds = tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [1, 1]))
        ...     n = tx.writer("p").append_vertices_sync(points, dtype="float32")
        ...     facts = tx.create_level("p", 1, method="every tenth")
        ...     n = tx.writer("p", level=1).append_vertices_sync(points[::10], dtype="float32")
        >>> repo.view()["p"].levels
        [0, 1]
        """
        with self._changing():
            meta, facts = new_level(self._meta(dataset), level, chunk_shape, coarsened_from, method)
            with self._half_done():
                _writes.set_many(self._session.store, _encoded(level_documents(meta, facts)))
            self._metas[dataset] = meta
            self._stages[dataset, facts.level] = self._stage_of(meta, facts)
            self._note(stage_name(dataset, facts.level), level_created=True)
        return facts

    def delete_level(self, dataset: str, level: int) -> None:
        """Delete the coarsest level of a dataset; earlier snapshots keep it.

        Parameters
        ----------
        dataset : str
        level : int
            The last one: levels have no gaps, and level 0 is the dataset itself.

        Raises
        ------
        NotFoundError
            If there is no such dataset or level.
        MetadataError
            If it is not the last level.
        """
        with self._changing():
            before = self._meta(dataset)
            level = _state.check_level(before, level)
            meta = without_last(before, level)
            with self._half_done():
                stage = self._stages.pop((dataset, level), None)
                if stage is not None:
                    stage.finish()
                _writes.delete_tree(self._session.store, _paths.level_path(dataset, level))
            self._metas[dataset] = meta
            self._notes.pop(stage_name(dataset, level), None)
            self._note(stage_name(dataset, level), level_deleted=True)

    def _set_metadata(self, dataset: str, mapping: Mapping[str, Any]) -> dict[str, Any]:
        """Change the user's own metadata of a dataset; see :meth:`ZVWriter.set_metadata`."""
        with self._changing():
            meta = self._meta(dataset)
            if mapping is None:
                raise MetadataError("metadata of a dataset is changed by a mapping, got None")
            given = json_object(mapping, "metadata of a dataset")
            merged = {**meta.metadata, **given}
            kept = {key: value for key, value in merged.items() if value is not None}
            if kept != meta.metadata:
                self._metas[dataset] = replace(meta, metadata=kept)
                before = self._notes.get(dataset, {}).get("metadata_changed", [])
                self._note(dataset, metadata_changed=sorted({*before, *given}))
            return kept

    def _meta(self, dataset: str) -> DatasetMeta:
        """The dataset as it is seen here."""
        if dataset not in self._metas:
            meta = _state.load_dataset(self._session.store, dataset)
            self._metas[dataset] = self._written[dataset] = meta
        return self._metas[dataset]

    def _note(self, name: str, **changes: Any) -> None:
        self._notes.setdefault(name, {}).update(changes)

    @contextmanager
    def _half_done(self) -> Iterator[None]:
        """Around writes that must never be published where one of them fails."""
        self._state = "failed"
        yield
        self._state = "open"

    def _dataset_changes(self) -> list[tuple[str, bytes]]:
        """Documents of the datasets whose bounds, levels or metadata changed."""
        items = []
        for name, meta in self._metas.items():
            if meta is not self._written[name]:
                document = _store.get_json(self._session.store, name) or documents.group()
                document["attributes"].update(meta.to_attributes())
                items.append((_paths.join(name, "zarr.json"), documents.dumps(document)))
        return items


def _encoded(nodes: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, bytes]]:
    return [(_paths.join(path, "zarr.json"), documents.dumps(d)) for path, d in nodes.items()]
