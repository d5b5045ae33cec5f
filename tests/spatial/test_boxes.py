"""Boxes: read from what users give, taken of vertices, and asked which vertices they hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from zv_versioned.errors import ArrayError, MetadataError
from zv_versioned.spatial.boxes import Box, box_of, parse_bbox, parse_bounds, parse_chunk_shape

POSITIONS = ["f4", "f8", "i1", "i2", "i4", "u1", "u2", "u4"]
INF = float("inf")

positions = st.builds(
    lambda dtype, n, ndim: (np.dtype(dtype), (n, ndim)),
    st.sampled_from(POSITIONS),
    st.sampled_from([1, 2, 63, 64, 65, 128, 200]),
    st.integers(1, 4),
).flatmap(lambda case: hnp.arrays(case[0], case[1], fill=st.nothing()))


@given(array=positions)
def test_the_box_of_vertices_is_their_minimum_and_maximum(array: np.ndarray) -> None:
    # Of floats, also NaN and infinite ones: NaN in an axis makes both of its sides NaN.
    box = box_of(array)
    assert box.lo.dtype == box.hi.dtype == np.float64
    np.testing.assert_array_equal(box.lo, array.min(axis=0))
    np.testing.assert_array_equal(box.hi, array.max(axis=0))


@pytest.mark.parametrize("at", [0, 63, 64, 129])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_bad_coordinate_is_seen_wherever_it_is(value: float, at: int) -> None:
    array = np.zeros((130, 3), "f4")
    array[at, 1] = value
    box = box_of(array)
    assert np.isfinite(box.lo).all() < np.isfinite([0]).all() or not np.isfinite(box.hi).all()
    assert np.isfinite(box.lo[[0, 2]]).all()
    assert np.isfinite(box.hi[[0, 2]]).all()


# --- asking ------------------------------------------------------------------------------------


@st.composite
def vertices_and_sides(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Vertices, and sides that lie on them, one ulp beside them, or anywhere."""
    dtype = np.dtype(draw(st.sampled_from(POSITIONS)))
    elements = hnp.from_dtype(dtype, allow_nan=False, allow_infinity=False)
    array = draw(hnp.arrays(dtype, (draw(st.integers(1, 12)), draw(st.integers(1, 4)))
                            , elements=elements))  # fmt: skip
    sides = []
    for column in array.T:
        value = float(column[draw(st.integers(0, len(column) - 1))])
        with np.errstate(over="ignore"):
            near = [value, np.nextafter(value, INF), np.nextafter(value, -INF), INF, -INF]
            if dtype.kind == "f":
                one = dtype.type(value)
                near += [float(np.nextafter(one, dtype.type(s))) for s in (INF, -INF)]
        anywhere = st.one_of(st.sampled_from(near), st.floats(allow_nan=False))
        sides.append(sorted([draw(anywhere), draw(anywhere)]))
    return array, np.array(sides, float).T


@given(case=vertices_and_sides())
def test_a_box_is_half_open_and_compared_exactly(case: tuple[np.ndarray, np.ndarray]) -> None:
    array, (lo, hi) = case
    # Python compares its integers and floats exactly.
    expected = [
        all(a <= v < b for v, a, b in zip(vertex, lo.tolist(), hi.tolist(), strict=True))
        for vertex in array.tolist()
    ]
    assert Box(lo, hi).select(array).tolist() == expected


@given(case=vertices_and_sides())
def test_boxes_side_by_side_hold_each_vertex_once(case: tuple[np.ndarray, np.ndarray]) -> None:
    array, (cut, _) = case
    everywhere = np.full(len(cut), INF)
    count = np.zeros(len(array), int)
    for corner in np.ndindex(*(2,) * len(cut)):
        above = np.array(corner, bool)
        box = Box(np.where(above, cut, -everywhere), np.where(above, everywhere, cut))
        count += box.select(array)
    assert (count == 1).all()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("largest", [np.finfo("f4").max, np.finfo("f8").max, 1e39])
def test_the_largest_number_there_is_will_do_for_a_side(dtype: str, largest: float) -> None:
    array = np.array([[0.0], [np.finfo(dtype).max], [-np.finfo(dtype).max]], dtype)
    side = np.array([float(largest)])
    expected = [True, float(array[1, 0]) < side[0], float(array[2, 0]) >= -side[0]]
    assert Box(-side, side).select(array).tolist() == expected


def test_a_box_contains_itself_and_what_lies_in_it_and_a_union_contains_both() -> None:
    a, b = Box(np.array([0.0, 1]), np.array([2.0, 3])), Box(np.array([1.0, 1]), np.array([2.0, 2]))
    assert a.contains(a)
    assert a.contains(b)
    assert not b.contains(a)
    c = Box(np.array([-1.0, 2]), np.array([1.0, 9]))
    assert a.union(c).contains(a)
    assert a.union(c).contains(c)
    assert str(a.union(c)) == "([-1, 1] to [2, 9])"


# --- reading -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_bounds_and_boxes_are_read_from_any_pair_of_sequences(ndim: int) -> None:
    lo, hi = [-1] * ndim, (2.5,) * ndim
    for given_box in [(lo, hi), [np.array(lo, "f4"), np.array(hi, "f4")], np.array([lo, hi])]:
        for box in (parse_bounds(given_box), parse_bbox(given_box, ndim)):
            assert box.lo.dtype == box.hi.dtype == np.float64
            assert (box.lo.tolist(), box.hi.tolist()) == (list(lo), list(hi))


def test_bounds_may_have_no_extent_and_boxes_may_be_infinite() -> None:
    assert parse_bounds(([1, 2], [1, 2])).lo.tolist() == [1, 2]
    assert parse_bbox(([-INF], [INF]), 1).hi.tolist() == [INF]


WRONG: list[tuple[Any, str]] = [
    (None, "pair"),
    (5, "pair"),
    ("ab", "pair"),
    (([0, 0],), "pair"),
    (([0], [1], [2]), "pair"),
    ((["a", "b"], [1, 2]), "pair"),
    (([0, [1]], [1, 2]), "pair"),
    ((0, 1), "same length"),
    (([], []), "same length"),
    (([0, 0], [1, 1, 1]), "same length"),
    (([[0, 0]], [[1, 1]]), "same length"),
    (([0, np.nan], [1, 1]), "NaN"),
    (([0, 2], [1, 1]), "reversed on axis 1"),
]


@pytest.mark.parametrize(("value", "message"), WRONG)
def test_what_is_no_box_is_refused(value: Any, message: str) -> None:
    with pytest.raises(MetadataError, match=f"bounds .*{message}|bounds.*{message}"):
        parse_bounds(value)
    with pytest.raises(ArrayError, match=f"bbox.*{message}"):
        parse_bbox(value, 2)


def test_bounds_must_be_finite_and_have_one_to_four_axes() -> None:
    with pytest.raises(MetadataError, match="finite"):
        parse_bounds(([0], [INF]))
    with pytest.raises(MetadataError, match="5 axes"):
        parse_bounds(([0] * 5, [1] * 5))


def test_a_box_of_another_dimension_is_refused() -> None:
    with pytest.raises(ArrayError, match="bbox has 2 axes, the level has 3"):
        parse_bbox(([0, 0], [1, 1]), 3)


def test_a_chunk_shape_is_read() -> None:
    assert parse_chunk_shape(np.array([1, 2.5]), 2) == (1.0, 2.5)


@pytest.mark.parametrize(
    "value", [None, 1, [1], [1, 2, 3], "ab", [1, "x"], [1, 0], [1, -1], [1, np.nan], [1, INF]],
    ids=str,
)  # fmt: skip
def test_what_is_no_chunk_shape_is_refused(value: Any) -> None:
    with pytest.raises(MetadataError, match="chunk_shape must be"):
        parse_chunk_shape(value, 2)
