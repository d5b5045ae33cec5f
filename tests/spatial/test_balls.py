"""Balls: exact for vertices, and never short for cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zv_versioned.errors import ArrayError
from zv_versioned.spatial.balls import Ball, parse_near
from zv_versioned.spatial.boxes import Box
from zv_versioned.spatial.grid import Grid

numbers = st.one_of(
    st.integers(-8, 8).map(lambda i: i / 4), st.floats(-2, 2, allow_subnormal=False, width=32)
)
radii = st.one_of(st.integers(0, 12).map(lambda i: i / 4), st.floats(0, 4, allow_subnormal=False))


@given(
    points=st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=30),
    center=st.tuples(numbers, numbers, numbers),
    radius=radii,
    dtype=st.sampled_from(["f4", "f8"]),
    size=st.sampled_from([0.25, 0.1, 1.0, 7.0]),
)
def test_a_ball_has_what_numpy_says_and_its_cells_and_box_have_that(
    points: list[Any], center: Any, radius: float, dtype: str, size: float
) -> None:
    positions = np.array(points, dtype)
    ball = Ball(np.array(center, "f8"), radius)
    inside = np.linalg.norm(positions - ball.center, axis=1) <= radius
    np.testing.assert_array_equal(ball.select(positions), inside)
    assert ball.box().select(positions[inside]).all()
    grid = Grid.for_bounds(Box(np.full(3, -2.0), np.full(3, 2.0)), (size,) * 3)
    index = np.floor(positions.astype("f8") / size).astype("i8") - np.asarray(grid.origin)
    cells = index @ grid.strides
    assert ball.touching(grid, cells[inside]).all()


def test_cells_far_from_a_ball_are_left_out() -> None:
    grid = Grid.for_bounds(Box(np.zeros(2), np.full(2, 10.0)), (1.0, 1.0))
    index = np.stack(np.meshgrid(np.arange(10), np.arange(10), indexing="ij"), -1).reshape(-1, 2)
    cells = (index - np.asarray(grid.origin)) @ grid.strides
    touched = Ball(np.array([5.5, 5.5]), 1.0).touching(grid, cells)
    # The cell of the point and its four neighbours; corners are 0.7 away, their far ends more.
    near = np.abs(index - 5).max(axis=1) <= 1
    np.testing.assert_array_equal(touched, near)
    assert Ball(np.array([5.5, 5.5]), 0.6).touching(grid, cells).sum() == 5
    assert Ball(np.array([0.0, 0.0]), np.inf).touching(grid, cells).all()


def test_numbers_at_the_end_of_what_floats_can_be_are_no_trouble() -> None:
    positions = np.array([[1e300, 0.0], [0.0, 0.0]])
    assert Ball(np.zeros(2), 1.0).select(positions).tolist() == [False, True]
    assert Ball(np.zeros(2), np.inf).select(positions).tolist() == [True, True]
    box = Ball(np.full(2, 1e308), 1e308).box()
    assert np.isinf(box.hi).all()


@pytest.mark.parametrize(
    ("near", "words"),
    [
        (5, "(point, radius), got 5"),
        (([0, 0], 1, 2), "(point, radius)"),
        (("ab", 1), "(point, radius)"),
        (([0, 0], "x"), "(point, radius)"),
        (([0, 0], "1"), "(point, radius)"),
        (([0, 0, 0], 1), "needs 2 numbers"),
        ((0, 1), "needs 2 numbers"),
        (([0, np.nan], 1), "must be finite"),
        (([0, 0], -1), "from 0 up"),
        (([0, 0], np.nan), "from 0 up"),
    ],
)
def test_what_is_no_ball_is_refused(near: Any, words: str) -> None:
    with pytest.raises(ArrayError) as caught:
        parse_near(near, 2)
    assert words in str(caught.value)
