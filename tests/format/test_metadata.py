"""What the documents of groups say."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zv_versioned.errors import IntegrityError
from zv_versioned.format import metadata
from zv_versioned.format.axes import parse_axes
from zv_versioned.format.metadata import AttributeMeta, DatasetMeta, LevelFacts
from zv_versioned.spatial.boxes import Box
from zv_versioned.spatial.grid import Grid

POSITIONS = ["float32", "float64", "int8", "int16", "int32", "uint8", "uint16", "uint32"]
VALUES = [*POSITIONS, "bool", "int64", "uint64", "float16"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
attributes = st.builds(
    AttributeMeta,
    name=st.text(min_size=1),
    dtype=st.sampled_from(VALUES).map(np.dtype),
    row_shape=st.sampled_from([(), (1,), (3,), (12,)]),
)


def through_json(document: dict[str, Any]) -> dict[str, Any]:
    return json.loads(metadata.dumps(document))


@st.composite
def datasets(draw: st.DrawFn) -> DatasetMeta:
    ndim = draw(st.integers(1, 4))
    finite = st.floats(-1e300, 1e300)
    sides = np.sort(np.array([[draw(finite) for _ in range(ndim)] for _ in "lh"]), axis=0)
    edges = st.floats(1e-300, 1e300)
    return DatasetMeta(
        name=draw(st.sampled_from(["", "a", "cells/somas", "größe"])),
        kind="point_cloud",
        bounds=Box(*sides),
        chunk_shape=tuple(draw(edges) for _ in range(ndim)),
        axes=parse_axes(None, ndim),
        vertex_dtype=np.dtype(draw(st.sampled_from(POSITIONS))),
        metadata=draw(st.dictionaries(st.text(), json_values, max_size=3)),
    )


@given(meta=datasets())
def test_a_dataset_comes_back_from_its_document(meta: DatasetMeta) -> None:
    found = DatasetMeta.from_attributes(meta.name, through_json(meta.to_attributes()))
    for name in ("name", "kind", "chunk_shape", "axes", "vertex_dtype", "metadata", "ndim"):
        assert getattr(found, name) == getattr(meta, name)
    assert found.bounds.lo.tolist() == meta.bounds.lo.tolist()
    assert found.bounds.hi.tolist() == meta.bounds.hi.tolist()


@given(
    ndim=st.integers(1, 4),
    counts=st.tuples(*[st.integers(0, 2**53)] * 4),
    known=st.lists(attributes, max_size=3, unique_by=lambda a: a.name),
    lo=st.floats(-1e6, 1e6),
    edge=st.floats(0.01, 1e6),
)
def test_a_level_comes_back_from_its_document(
    ndim: int, counts: tuple[int, ...], known: list[AttributeMeta], lo: float, edge: float
) -> None:
    grid = Grid.for_bounds(Box(np.full(ndim, lo), np.full(ndim, lo + 3 * edge)), [edge] * ndim)
    slots, vertices, objects, largest = counts
    facts = LevelFacts(0, grid, slots, vertices, objects, largest, {a.name: a for a in known})
    document = through_json(facts.to_attributes(parse_axes(None, ndim)))
    assert LevelFacts.from_attributes("x", document) == facts
    assert ("vertex_attributes" in document["zarr_vectors_level"]["arrays_present"]) == bool(known)


DATASET = DatasetMeta(
    "d", "point_cloud", Box(np.zeros(2), np.ones(2)), (1.0, 1.0), parse_axes(None, 2),
    np.dtype("f4"), {},
)  # fmt: skip
LEVEL = LevelFacts(0, Grid.for_bounds(DATASET.bounds, (1.0, 1.0)), 0, 0, 0, -1, {})


def without(document: dict[str, Any], path: str) -> dict[str, Any]:
    copy = through_json(document)
    *parents, last = path.split(".")
    inner = copy
    for name in parents:
        inner = inner[name]
    del inner[last]
    return copy


@pytest.mark.parametrize(
    "lost",
    ["zarr_vectors", "zv_dataset", "zarr_vectors.bounds", "zarr_vectors.chunk_shape", "multiscales",
     "zv_dataset.layout", "zv_dataset.kind", "zv_dataset.vertex_dtype", "zv_dataset.metadata"],
)  # fmt: skip
def test_a_dataset_s_document_that_lacks_something_is_damaged(lost: str) -> None:
    document = without(DATASET.to_attributes(), lost)
    with pytest.raises(IntegrityError, match="dataset 'd' cannot be read"):
        DatasetMeta.from_attributes("d", document)


@pytest.mark.parametrize(
    "lost",
    ["zarr_vectors_level", "zv_versioned", "zv_versioned.layout", "zv_versioned.grid.origin",
     "zv_versioned.slots", "zarr_vectors_level.vertex_count", "zv_versioned.vertex_attributes"],
)  # fmt: skip
def test_a_level_s_document_that_lacks_something_is_damaged(lost: str) -> None:
    document = without(LEVEL.to_attributes(DATASET.axes), lost)
    with pytest.raises(IntegrityError, match="level 'd/0' cannot be read"):
        LevelFacts.from_attributes("d/0", document)


def test_what_a_newer_version_wrote_is_refused_with_the_remedy() -> None:
    document = through_json(DATASET.to_attributes())
    document["zv_dataset"]["layout"] = metadata.LAYOUT + 1
    with pytest.raises(IntegrityError, match=r"layout 2, and .* reads up to 1: update"):
        DatasetMeta.from_attributes("d", document)
    document = through_json(LEVEL.to_attributes(DATASET.axes))
    document["zv_versioned"]["layout"] = metadata.LAYOUT + 1
    with pytest.raises(IntegrityError, match="update"):
        LevelFacts.from_attributes("d/0", document)


def test_a_document_that_json_cannot_say_is_never_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        metadata.dumps({"x": float("nan")})


# --- attributes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", VALUES)
def test_the_fill_value_is_the_one_that_stands_for_nothing(dtype: str) -> None:
    values = AttributeMeta("a", np.dtype(dtype), (2,)).fill(3)
    assert values.shape == (3, 2)
    assert values.dtype == dtype
    if values.dtype.kind == "f":
        assert np.isnan(values).all()
    elif dtype == "bool":
        assert not values.any()
    else:
        info = np.iinfo(dtype)
        assert (values == (info.min if values.dtype.kind == "i" else info.max)).all()


@given(attribute=attributes)
def test_a_row_of_an_attribute_has_as_many_bytes_as_it_takes(attribute: AttributeMeta) -> None:
    assert attribute.row_bytes * 7 == attribute.fill(7).nbytes
