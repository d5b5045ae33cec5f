"""The documents of groups and arrays: Zarr v3, Zarr Vectors 0.9, and our own facts.

Source: Zarr v3 core specification; Zarr Vectors 0.9, chapters on metadata;
OME-NGFF 0.4 (``multiscales``); OME-Zarr RFC 8 (``ome``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import IntegrityError, MetadataError
from ..spatial.boxes import Box
from ..spatial.grid import Grid
from . import batches, table
from .cells import CellCodec

LAYOUT = 1
"""Version of our own layout; a reader refuses a newer one."""

CAPACITY = 65_536
"""Batches that a level has room for; declared once, so no append resizes an array."""

ZV_VERSION = "0.9.2"
KINDS = ("point_cloud",)

_INDEX_CODECS = [
    {"name": "bytes", "configuration": {"endian": "little"}},
    {"name": "crc32c"},
]
_AXIS_RANK = {"time": 0, "channel": 1, "space": 3}


def dumps(document: Mapping[str, Any]) -> bytes:
    """A document as the bytes of ``zarr.json``."""
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()


def group(attributes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A Zarr v3 group."""
    return {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes or {})}


def bytes_array(
    shape: Sequence[int],
    chunk: Sequence[int],
    codecs: list[dict[str, Any]],
    names: Sequence[str],
    attributes: Mapping[str, Any],
) -> dict[str, Any]:
    """An array of variable-length bytes."""
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": "variable_length_bytes",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "",
        "codecs": codecs,
        "dimension_names": list(names),
        "attributes": dict(attributes),
        "storage_transformers": [],
    }


def _sharded(inner: Sequence[int], codec: CellCodec) -> list[dict[str, Any]]:
    configuration = {
        "chunk_shape": list(inner),
        "codecs": codec.to_metadata(),
        "index_codecs": _INDEX_CODECS,
        "index_location": "end",
    }
    return [{"name": "sharding_indexed", "configuration": configuration}]


def parse_axes(axes: Sequence[Any] | None, ndim: int) -> list[dict[str, str]]:
    """Names, types and units of the spatial axes.

    Parameters
    ----------
    axes : sequence of str or of mapping, optional
        Names, or mappings with ``name`` and optionally ``type`` and ``unit``.
        Left out: x, y, z by number; four axes are t, x, y, z.
    ndim : int

    Raises
    ------
    MetadataError
        If the number, a name or a type is wrong.
    """
    if axes is None:
        names = ["x", "y", "z"][:ndim] if ndim < 4 else ["t", "x", "y", "z"]
        axes = [{"name": name, "type": "time" if name == "t" else "space"} for name in names]
    if isinstance(axes, str) or not isinstance(axes, Sequence):
        raise MetadataError(f"axes must be a list of names or mappings, got {axes!r}")
    parsed: list[dict[str, str]] = []
    for axis in axes:
        if not isinstance(axis, str | Mapping):
            raise MetadataError(f"an axis is a name or a mapping with one, got {axis!r}")
        entry = {"name": axis} if isinstance(axis, str) else dict(axis)
        unknown = entry.keys() - {"name", "type", "unit"}
        if unknown or not all(isinstance(v, str) and v for v in entry.values()):
            raise MetadataError(
                f"an axis has a name and may have a type and a unit, all text; got {axis!r}"
            )
        if "name" not in entry:
            raise MetadataError(f"axis {axis!r} has no name")
        parsed.append({"name": entry["name"], "type": entry.get("type", "space"), **entry})
    names = [axis["name"] for axis in parsed]
    if len(parsed) != ndim or len(set(names)) != ndim:
        raise MetadataError(f"bounds have {ndim} axes; axes names {names} must be {ndim}, distinct")
    if "batch" in names:
        raise MetadataError("an axis cannot be called 'batch': that is the axis of appends")
    ranks = [_AXIS_RANK.get(axis["type"], 2) for axis in parsed]
    if ranks != sorted(ranks) or "space" not in (axis["type"] for axis in parsed):
        raise MetadataError(
            f"axes must be in the order time, channel, custom, space and one must be space; got "
            f"{[axis['type'] for axis in parsed]}"
        )
    return parsed


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
    """

    name: str
    kind: str
    bounds: Box
    chunk_shape: tuple[float, ...]
    axes: list[dict[str, str]]
    vertex_dtype: np.dtype[Any]
    metadata: dict[str, Any]

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
        transforms = [
            {"type": "scale", "scale": [1.0] * self.ndim},
            {"type": "translation", "translation": [size / 2 for size in self.chunk_shape]},
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
                "links_convention": "implicit_sequential",
                "object_index_convention": "standard",
                "cross_chunk_strategy": "explicit_links",
            },
            "multiscales": [
                {
                    "version": "0.4",
                    "name": "default",
                    "axes": self.axes,
                    "datasets": [{"path": "0", "coordinateTransformations": transforms}],
                    "metadata": {"format": "zarr_vectors"},
                }
            ],
            "ome": {
                "version": "0.6",
                "type": "collection",
                "name": name,
                "attributes": {"scene": scene},
                "nodes": [{"type": "zv:level", "name": "0"}],
            },
            "zv_dataset": {
                "layout": LAYOUT,
                "kind": self.kind,
                "vertex_dtype": self.vertex_dtype.name,
                "metadata": self.metadata,
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
            )
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise IntegrityError(
                f"the attributes of dataset {name!r} cannot be read: {error!r}"
            ) from error


def check_layout(layout: int, what: str) -> None:
    """Refuse what a newer version of this software wrote."""
    if layout > LAYOUT:
        raise IntegrityError(
            f"{what} has layout {layout}, and this version reads up to {LAYOUT}: update it"
        )


@dataclass(frozen=True)
class AttributeMeta:
    """A vertex attribute: its dtype and the shape of one value."""

    name: str
    dtype: np.dtype[Any]
    row_shape: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        """Bytes of one value."""
        return int(np.prod(self.row_shape, dtype=np.int64)) * self.dtype.itemsize

    def fill(self, n: int) -> np.ndarray:
        """`n` values of an attribute that has none: NaN, smallest int, largest uint, False."""
        return np.full((n, *self.row_shape), fill_value(self.dtype), self.dtype)

    def to_metadata(self) -> dict[str, Any]:
        """As the level's facts have it."""
        return {"dtype": self.dtype.name, "row_shape": list(self.row_shape)}

    @classmethod
    def from_metadata(cls, name: str, document: Mapping[str, Any]) -> AttributeMeta:
        """Read what :meth:`to_metadata` wrote."""
        return cls(name, np.dtype(document["dtype"]), tuple(document["row_shape"]))


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
    max_object_id : int
        The largest id ever used, -1 before the first.
    attributes : dict of str to AttributeMeta
    """

    level: int
    grid: Grid
    slots: int
    vertex_count: int
    num_objects: int
    max_object_id: int
    attributes: dict[str, AttributeMeta]

    def to_attributes(self, axes: Sequence[Mapping[str, str]]) -> dict[str, Any]:
        """The attributes of the level's group."""
        present = ["vertices", "vertex_fragments", "object_index"]
        if self.attributes:
            present.insert(2, "vertex_attributes")
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
            },
            "zv_versioned": {
                "layout": LAYOUT,
                "grid": self.grid.to_metadata(),
                "slots": self.slots,
                "num_objects": self.num_objects,
                "max_object_id": self.max_object_id,
                "attributes": {n: a.to_metadata() for n, a in self.attributes.items()},
            },
        }

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
            return cls(
                level["level"],
                Grid.from_metadata(own["grid"]),
                own["slots"],
                level["vertex_count"],
                own["num_objects"],
                own["max_object_id"],
                {n: AttributeMeta.from_metadata(n, a) for n, a in own["attributes"].items()},
            )
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(
                f"the attributes of level {where!r} cannot be read: {error!r}"
            ) from error


def vertex_codec(dtype: np.dtype[Any]) -> CellCodec:
    """How coordinates and attribute values of `dtype` are compressed."""
    return CellCodec(typesize=dtype.itemsize)


def grid_array(
    grid: Grid, axes: Sequence[Mapping[str, str]], codec: CellCodec, attributes: Mapping[str, Any]
) -> dict[str, Any]:
    """An array of cells: (CAPACITY, *grid), a shard = one batch and one block."""
    ones = [1] * (grid.ndim + 1)
    origin = {"chunk_grid_origin": [0, *grid.origin]} if any(grid.origin) else {}
    return bytes_array(
        [CAPACITY, *grid.shape],
        [1, *grid.block],
        _sharded(ones, codec),
        ["batch", *(axis["name"] for axis in axes)],
        {**origin, **attributes},
    )


def vertices_array(
    grid: Grid, axes: Sequence[Mapping[str, str]], dtype: np.dtype[Any]
) -> dict[str, Any]:
    """The coordinates."""
    facts = {"zv_array": "vertices", "dtype": dtype.name, "encoding": "raw"}
    return grid_array(grid, axes, vertex_codec(dtype), facts)


def attribute_array(
    grid: Grid, axes: Sequence[Mapping[str, str]], attribute: AttributeMeta
) -> dict[str, Any]:
    """The values of one vertex attribute."""
    facts: dict[str, Any] = {
        "zv_array": "attribute",
        "name": attribute.name,
        "dtype": attribute.dtype.name,
        "row_shape": list(attribute.row_shape),
    }
    if attribute.row_shape:
        facts["channel_names"] = [f"ch{i}" for i in range(attribute.row_shape[0])]
    return grid_array(grid, axes, vertex_codec(attribute.dtype), facts)


def index_array() -> dict[str, Any]:
    """``batches/index``: a shard a batch, a place a section."""
    return bytes_array(
        [CAPACITY, batches.SECTIONS],
        [1, batches.SECTIONS],
        _sharded([1, 1], batches.CODEC),
        ["batch", "section"],
        {"zv_array": "batch_index"},
    )


def table_array() -> dict[str, Any]:
    """``batches/table``: a chunk a bucket of rows."""
    return bytes_array(
        [CAPACITY // table.BUCKET],
        [1],
        table.CODEC.to_metadata(),
        ["bucket"],
        {"zv_array": "batch_table"},
    )
