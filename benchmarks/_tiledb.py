"""TileDB, for measure: a sparse array over (x, y, z) in Hilbert order, `object_id` an attribute.

A write is one fragment with its own time stamp, and the array can be opened as of then: a version
for every append, without branches. Byte shuffle and lz4 on coordinates and ids, as on our side; the
tile capacity is the default; duplicates are allowed, so that no write has to look at older ones.
There is no index on an attribute: objects are found by a query condition. Nothing is consolidated.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tiledb
from _harness import EXTENT, Points, peeked


def _filters() -> tiledb.FilterList:
    return tiledb.FilterList([tiledb.ByteShuffleFilter(), tiledb.LZ4Filter()])


def _add(uri: str, points: Points) -> None:
    with tiledb.open(uri, "w") as array:
        x, y, z = points.positions.T
        given = {"object_id": points.object_ids}
        array[x, y, z] = given if points.values is None else {**given, "value": points.values}


def _positions(result: Any) -> np.ndarray:
    positions = np.empty((len(result["x"]), 3), np.float32)
    for axis, name in enumerate("xyz"):
        positions[:, axis] = result[name]
    return positions


def _from(bound: float) -> np.float32:
    """The smallest float32 that is not below a bound: TileDB's ranges are closed."""
    value = np.float32(bound)
    return value if value >= bound else np.nextafter(value, np.float32(np.inf))


def _below(bound: float) -> np.float32:
    """The largest float32 below a bound."""
    value = np.float32(bound)
    return value if value < bound else np.nextafter(value, np.float32(-np.inf))


class Reader:
    """All fragments up to now."""

    def __init__(self, path: Path) -> None:
        self._array = tiledb.open(str(path))

    def _query(self, **options: Any) -> Any:
        return self._array.query(dims=["x", "y", "z"], attrs=[], order="U", **options)

    def whole(self) -> np.ndarray:
        return _positions(self._query()[:])

    def valued(self) -> tuple[np.ndarray, np.ndarray]:
        query = self._array.query(dims=["x", "y", "z"], attrs=["value"], order="U")
        found = query[:]
        return _positions(found), found["value"]

    def box(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        x, y, z = (slice(_from(a), _below(b)) for a, b in zip(low, high, strict=True))
        return _positions(self._query().multi_index[x, y, z])

    def objects(self, ids: np.ndarray) -> np.ndarray:
        return _positions(self._query(cond=f"object_id in {ids.tolist()}")[:])


class Side:
    label = "TileDB"
    streams = True
    append_takes_seconds = False

    def version(self) -> str:
        return f"TileDB-Py {tiledb.__version__}"

    def write(self, path: Path, batches: Iterable[Points]) -> None:
        axes = [
            tiledb.Dim(name=name, domain=(0.0, EXTENT), tile=None, dtype=np.float32)
            for name in "xyz"
        ]
        valued, batches = peeked(batches)
        attributes = [tiledb.Attr(name="object_id", dtype=np.int64, filters=_filters())]
        if valued:
            attributes.append(tiledb.Attr(name="value", dtype=np.float32, filters=_filters()))
        schema = tiledb.ArraySchema(
            domain=tiledb.Domain(*axes),
            attrs=attributes,
            cell_order="hilbert",
            sparse=True,
            allows_duplicates=True,
            coords_filters=_filters(),
        )
        tiledb.Array.create(str(path), schema)
        for points in batches:
            _add(str(path), points)

    def open(self, path: Path) -> Any:
        return str(path)

    def append(self, handle: Any, points: Points) -> None:
        _add(handle, points)

    def count(self, path: Path) -> int:
        return int(sum(tiledb.array_fragments(str(path)).cell_num))

    def reader(self, path: Path) -> Reader:
        return Reader(path)
