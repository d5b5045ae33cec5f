"""The documents of the arrays of a level: shapes, chunks and codecs.

Source: Zarr v3 core specification; Zarr Vectors 0.9, chapters on metadata.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..spatial.grid import Grid
from . import batches, table
from .cells import CellCodec
from .metadata import CAPACITY, AttributeMeta

_INDEX_CODECS = [
    {"name": "bytes", "configuration": {"endian": "little"}},
    {"name": "crc32c"},
]


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
    """The values of one attribute of vertices or links."""
    facts = {"zv_array": "attribute", "name": attribute.name, **attribute.to_metadata()}
    if attribute.row_shape:
        facts["channel_names"] = [f"ch{i}" for i in range(attribute.row_shape[0])]
    return grid_array(grid, axes, vertex_codec(attribute.dtype), facts)


def links_array(grid: Grid, axes: Sequence[Mapping[str, str]], width: int) -> dict[str, Any]:
    """The links of graphs (pairs) and meshes (triples), as int32 counted from the cell."""
    dtype = np.dtype("i4")
    facts = {"zv_array": "batch_links", "dtype": dtype.name, "link_width": width}
    return grid_array(grid, axes, vertex_codec(dtype), facts)


def batch_array(kind: str, attributes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """An array with one cell a batch: what its objects have, or which are removed."""
    return bytes_array(
        [CAPACITY],
        [1],
        batches.CODEC.to_metadata(),
        ["batch"],
        {"zv_array": kind, **(attributes or {})},
    )


def object_attribute_array(attribute: AttributeMeta) -> dict[str, Any]:
    """The values of one object attribute: a cell a batch, a row an object that begins there."""
    return batch_array("object_attribute", {"name": attribute.name, **attribute.to_metadata()})


def dictionary_array(attribute: AttributeMeta) -> dict[str, Any]:
    """The dictionaries of an attribute of text: a cell a batch."""
    return batch_array("dictionary", {"of": attribute.path})


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
