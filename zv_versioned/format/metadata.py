"""What the documents of groups say: of a dataset, a level, an attribute.

Source: Zarr v3 core specification; Zarr Vectors 0.9, chapters on metadata;
OME-NGFF 0.4 (``multiscales``); OME-Zarr RFC 8 (``ome``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import IntegrityError
from ..spatial.boxes import Box
from ..spatial.grid import Grid

LAYOUT = 1
"""Version of our own layout; a reader refuses a newer one."""

CAPACITY = 65_536
"""Batches that a level has room for; declared once, so no append resizes an array."""

ZV_VERSION = "0.9.2"
POINTS = ("point_cloud",)
LINES = ("line", "polyline", "streamline")
"""Kinds whose links follow from the order of the vertices of an object."""
GRAPHS = ("graph", "skeleton")
"""Kinds whose links are stored, as pairs."""
MESHES = ("mesh",)
"""Kinds whose links are stored, as triples: faces."""
KINDS = (*POINTS, *LINES, *GRAPHS, *MESHES)
_LINK_WIDTH = {**dict.fromkeys(GRAPHS, 2), **dict.fromkeys(MESHES, 3)}

VERTEX_ATTRIBUTES = "vertex_attributes"
LINK_ATTRIBUTES = "link_attributes"
OBJECT_ATTRIBUTES = "object_attributes"
FAMILIES = (VERTEX_ATTRIBUTES, LINK_ATTRIBUTES, OBJECT_ATTRIBUTES)
TEXT = "str"
"""What :attr:`AttributeMeta.logical` says of text."""


def dumps(document: Mapping[str, Any]) -> bytes:
    """A document as the bytes of ``zarr.json``."""
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()


def group(attributes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A Zarr v3 group."""
    return {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes or {})}


@dataclass(frozen=True)
class DatasetMeta:
    """What is said once of a dataset.

    Parameters
    ----------
    name : str
        Its group path, "" for the root.
    kind : str
    bounds : Box
    chunk_shape : tuple of float
    axes : list of dict
    vertex_dtype : numpy.dtype
    metadata : dict
        The user's own, JSON.
    coarser : tuple of tuple of float
        Edges of a cell of the levels 1, 2, ….
    """

    name: str
    kind: str
    bounds: Box
    chunk_shape: tuple[float, ...]
    axes: list[dict[str, str]]
    vertex_dtype: np.dtype[Any]
    metadata: dict[str, Any]
    coarser: tuple[tuple[float, ...], ...] = ()

    @property
    def shapes(self) -> tuple[tuple[float, ...], ...]:
        """Edges of a cell of each level."""
        return (self.chunk_shape, *self.coarser)

    @property
    def levels(self) -> tuple[int, ...]:
        """Numbers of the levels: from 0, without gaps."""
        return tuple(range(len(self.shapes)))

    @property
    def link_width(self) -> int:
        """Vertices of a stored link: 2 for graphs, 3 for meshes, 0 where none are stored."""
        return _LINK_WIDTH.get(self.kind, 0)

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.chunk_shape)

    def with_bounds(self, bounds: Box) -> DatasetMeta:
        """The same with other bounds."""
        return replace(self, bounds=bounds)

    def to_attributes(self) -> dict[str, Any]:
        """The attributes of the dataset's group."""
        lo, hi = self.bounds.lo.tolist(), self.bounds.hi.tolist()
        images = [
            {"path": str(level), "coordinateTransformations": _transforms(shape, self.chunk_shape)}
            for level, shape in enumerate(self.shapes)
        ]
        scene = {
            "coordinateSystems": [{"name": "world", "axes": self.axes}],
            "coordinateTransformations": [],
        }
        name = self.name.rsplit("/", 1)[-1] or "root"
        return {
            "zarr_vectors": {
                "zv_version": ZV_VERSION,
                "format_capabilities": [],
                "chunk_shape": list(self.chunk_shape),
                "bounds": [lo, hi],
                "geometry_types": [self.kind],
                "base_bin_shape": list(self.chunk_shape),
                "links_convention": "explicit" if self.link_width else "implicit_sequential",
                "object_index_convention": "standard",
                "cross_chunk_strategy": "explicit_links",
            },
            "multiscales": [
                {
                    "version": "0.4",
                    "name": "default",
                    "axes": self.axes,
                    "datasets": images,
                    "metadata": {"format": "zarr_vectors"},
                }
            ],
            "ome": {
                "version": "0.6",
                "type": "collection",
                "name": name,
                "attributes": {"scene": scene},
                "nodes": [{"type": "zv:level", "name": str(level)} for level in self.levels],
            },
            "zv_dataset": {
                "layout": LAYOUT,
                "kind": self.kind,
                "vertex_dtype": self.vertex_dtype.name,
                "metadata": self.metadata,
                "coarser": [list(shape) for shape in self.coarser],
            },
        }

    @classmethod
    def from_attributes(cls, name: str, attributes: Mapping[str, Any]) -> DatasetMeta:
        """Read what :meth:`to_attributes` wrote.

        Raises
        ------
        IntegrityError
            If something is missing, or the layout is newer than this software.
        """
        try:
            zv, own = attributes["zarr_vectors"], attributes["zv_dataset"]
            check_layout(own["layout"], f"dataset {name!r}")
            lo, hi = (np.asarray(side, np.float64) for side in zv["bounds"])
            return cls(
                name,
                own["kind"],
                Box(lo, hi),
                tuple(zv["chunk_shape"]),
                attributes["multiscales"][0]["axes"],
                np.dtype(own["vertex_dtype"]),
                own["metadata"],
                tuple(tuple(shape) for shape in own["coarser"]),
            )
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise IntegrityError(
                f"the attributes of dataset {name!r} cannot be read: {error!r}"
            ) from error


def _transforms(shape: Sequence[float], base: Sequence[float]) -> list[dict[str, Any]]:
    """How a level's cells lie in those of level 0."""
    scale = [float(edge / one) for edge, one in zip(shape, base, strict=True)]
    return [
        {"type": "scale", "scale": scale},
        {"type": "translation", "translation": [edge / 2 for edge in shape]},
    ]


def check_layout(layout: int, what: str) -> None:
    """Refuse what a newer version of this software wrote."""
    if layout > LAYOUT:
        raise IntegrityError(
            f"{what} has layout {layout}, and this version reads up to {LAYOUT}: update it"
        )


@dataclass(frozen=True)
class AttributeMeta:
    """An attribute: what is stored for each vertex, link or object.

    Parameters
    ----------
    name : str
    dtype : numpy.dtype
        Of the stored numbers.
    row_shape : tuple of int
        Of one value: ``()`` or ``(C,)``.
    family : str
        The group it lies in: ``vertex_attributes``, ``link_attributes`` or
        ``object_attributes``.
    logical : str
        What the numbers stand for, where it is not themselves: ``"str"`` (codes
        of the batch's own dictionary, -1 for a missing one), or the name of a
        numpy datetime or timedelta dtype, such as ``"datetime64[ns]"``.
    """

    name: str
    dtype: np.dtype[Any]
    row_shape: tuple[int, ...]
    family: str = VERTEX_ATTRIBUTES
    logical: str = ""

    @property
    def path(self) -> str:
        """The array's path in the level; also the name of its content in the table."""
        return f"{self.family}/{self.name}"

    @property
    def logical_dtype(self) -> np.dtype[Any]:
        """The dtype that values are read as: objects for text, else numbers or times."""
        return np.dtype(object if self.logical == TEXT else self.logical or self.dtype)

    @property
    def dictionary(self) -> str:
        """The path in the level of the array of dictionaries that text is coded with."""
        return f"dictionaries/{self.path}"

    @property
    def row_bytes(self) -> int:
        """Bytes of one value."""
        return int(np.prod(self.row_shape, dtype=np.int64)) * self.dtype.itemsize

    def fill(self, n: int) -> np.ndarray:
        """`n` stored values of an attribute that has none.

        NaN, the smallest signed integer (which as a time is NaT), the largest
        unsigned one, False, and -1 as the code of a text.
        """
        missing = -1 if self.logical == TEXT else fill_value(self.dtype)
        return np.full((n, *self.row_shape), missing, self.dtype)

    def to_metadata(self) -> dict[str, Any]:
        """As the level's facts have it."""
        document: dict[str, Any] = {"dtype": self.dtype.name, "row_shape": list(self.row_shape)}
        return {**document, "logical": self.logical} if self.logical else document

    @classmethod
    def from_metadata(
        cls, name: str, document: Mapping[str, Any], family: str = VERTEX_ATTRIBUTES
    ) -> AttributeMeta:
        """Read what :meth:`to_metadata` wrote."""
        return cls(
            name,
            np.dtype(document["dtype"]),
            tuple(document["row_shape"]),
            family,
            document.get("logical", ""),
        )


def fill_value(dtype: np.dtype[Any]) -> Any:
    """What stands for a missing value of `dtype`."""
    if dtype.kind in "fc":
        return dtype.type("nan")
    if dtype.kind == "b":
        return False
    info = np.iinfo(dtype)
    return info.min if dtype.kind == "i" else info.max


@dataclass(frozen=True)
class LevelFacts:
    """What a level's document says; small, and rewritten by each commit that appends.

    Parameters
    ----------
    level : int
    grid : Grid
    slots : int
        Batches ever added on this branch; the next one's slot.
    vertex_count, num_objects : int
        Of what is there: removed objects do not count.
    max_object_id : int
        The largest id ever used, -1 before the first.
    attributes : dict of str to AttributeMeta
        Of vertices, by name.
    link_attributes, object_attributes : dict of str to AttributeMeta
        Of links (edges or faces) and of objects.
    link_count : int
        Edges or faces.
    groups : int
        Content id of the table of groups; 0 where there is none.
    coarsened : dict, optional
        Of a coarser level: ``from`` (the level), ``method``, ``ratio`` (how many
        cells of level 0 its cells are wide, on each axis), and ``stale``, true
        once the level it was made from has changed.
    version : int
        Another number with each commit that changes anything of the level: equal
        numbers mean equal levels. 0 of a level that was just made.
    """

    level: int
    grid: Grid
    slots: int
    vertex_count: int
    num_objects: int
    max_object_id: int
    attributes: dict[str, AttributeMeta]
    link_attributes: dict[str, AttributeMeta] = field(default_factory=dict)
    object_attributes: dict[str, AttributeMeta] = field(default_factory=dict)
    link_count: int = 0
    groups: int = 0
    coarsened: dict[str, Any] | None = None
    version: int = 0

    @property
    def source(self) -> int:
        """The level that this one was made from; -1 of level 0."""
        return -1 if self.coarsened is None else int(self.coarsened["from"])

    def family(self, name: str) -> dict[str, AttributeMeta]:
        """The attributes of one of :data:`FAMILIES`, by name."""
        return {
            VERTEX_ATTRIBUTES: self.attributes,
            LINK_ATTRIBUTES: self.link_attributes,
            OBJECT_ATTRIBUTES: self.object_attributes,
        }[name]

    def with_family(self, name: str, attributes: dict[str, AttributeMeta]) -> LevelFacts:
        """The same with other attributes in one family."""
        if name == VERTEX_ATTRIBUTES:
            return replace(self, attributes=attributes)
        if name == LINK_ATTRIBUTES:
            return replace(self, link_attributes=attributes)
        return replace(self, object_attributes=attributes)

    def to_attributes(self, axes: Sequence[Mapping[str, str]]) -> dict[str, Any]:
        """The attributes of the level's group."""
        present = ["vertices", "vertex_fragments", "object_index"]
        if self.attributes:
            present.insert(2, "vertex_attributes")
        coarse = {} if self.coarsened is None else self._coarse(self.coarsened)
        return {
            "zarr_vectors_level": {
                "level": self.level,
                "vertex_count": self.vertex_count,
                "arrays_present": present,
                "object_sparsity": 1.0,
                "coarsening_method": "none",
                "parent_level": None,
                "fragments_tile": True,
                "chunk_dims": ["batch", *(axis["name"] for axis in axes)],
                "chunk_attribute_name": "batch",
                **coarse,
            },
            "zv_versioned": {
                "layout": LAYOUT,
                "grid": self.grid.to_metadata(),
                "slots": self.slots,
                "num_objects": self.num_objects,
                "max_object_id": self.max_object_id,
                "link_count": self.link_count,
                "groups": self.groups,
                "coarsened": self.coarsened,
                "version": self.version,
                **{
                    family: {n: a.to_metadata() for n, a in self.family(family).items()}
                    for family in FAMILIES
                },
            },
        }

    def _coarse(self, coarsened: Mapping[str, Any]) -> dict[str, Any]:
        """What Zarr Vectors wants to know of a coarser level."""
        shape = list(self.grid.chunk_shape)
        finer = {"coarsening_method": coarsened["method"], "parent_level": coarsened["from"]}
        ratio = list(map(float, coarsened["ratio"]))
        own_cells = {"chunk_shape": shape} if max(ratio) > 1 else {}
        return {**finer, "bin_shape": shape, "bin_ratio": ratio, **own_cells}

    @classmethod
    def from_attributes(cls, where: str, attributes: Mapping[str, Any]) -> LevelFacts:
        """Read what :meth:`to_attributes` wrote.

        Raises
        ------
        IntegrityError
            If something is missing, or the layout is newer than this software.
        """
        try:
            level, own = attributes["zarr_vectors_level"], attributes["zv_versioned"]
            check_layout(own["layout"], f"level {where!r}")
            vertex, link, of_object = (
                {n: AttributeMeta.from_metadata(n, a, family) for n, a in own[family].items()}
                for family in FAMILIES
            )
            return cls(
                level["level"],
                Grid.from_metadata(own["grid"]),
                own["slots"],
                level["vertex_count"],
                own["num_objects"],
                own["max_object_id"],
                vertex,
                link,
                of_object,
                own["link_count"],
                own["groups"],
                own["coarsened"],
                own["version"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(
                f"the attributes of level {where!r} cannot be read: {error!r}"
            ) from error
