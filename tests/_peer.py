"""What tests of the Zarr Vectors store share: comparing what the peer reads with what we read."""

from __future__ import annotations

from typing import Any

import numpy as np

import zv_versioned as zvv


def comparable(values: np.ndarray) -> np.ndarray:
    """Values as numbers or fixed text, so that rows of them can be compared as bytes."""
    values = np.asarray(values)
    if values.dtype.kind in "OUT":
        return np.array([repr(v) for v in values.reshape(-1).tolist()], "U40").reshape(values.shape)
    return values


def rows_of(positions: np.ndarray, *columns: np.ndarray) -> list[bytes]:
    """Vertices with all that belongs to them, as bytes, in an order of their own."""
    n = len(positions)
    if n == 0:
        return []
    parts = [
        np.ascontiguousarray(comparable(c)).reshape(n, -1).view(np.uint8)
        for c in (positions, *columns)
    ]
    return sorted(bytes(row) for row in np.concatenate(parts, axis=1))


def kind_of(values: np.ndarray) -> str:
    """The dtype of values, all text being alike."""
    return "text" if values.dtype.kind in "OUT" else values.dtype.name


def assert_same(found: Any, expected: zvv.Geometry, names: list[str], objects: bool) -> None:
    """The peer found the same vertices with the same attributes, and objects where it has them."""
    assert found.vertex_count == len(expected)
    if len(expected) == 0:
        return
    assert found.positions.dtype == expected.positions.dtype
    assert set(found.attributes) == set(names)
    assert {n: kind_of(found.attributes[n]) for n in names} == {
        n: kind_of(expected.attributes[n]) for n in names
    }
    theirs = [found.attributes[name] for name in names]
    mine = [expected.attributes[name] for name in names]
    if objects:
        theirs.append(found.object_ids.astype(np.int64))
        mine.append(expected.object_ids)
    assert rows_of(found.positions, *theirs) == rows_of(expected.positions, *mine)
