"""Vertices to cells, against the definition: floor(coordinate / edge) in float64, one by one."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zv_versioned.errors import MetadataError
from zv_versioned.spatial import assign as module
from zv_versioned.spatial.assign import (
    Assignment,
    assign,
    assign_fragments,
    cell_numbers,
    object_rows,
    stable_order,
)
from zv_versioned.spatial.boxes import Box, box_of
from zv_versioned.spatial.grid import Grid

INF = float("inf")
FLOAT_EDGES = [1.0, 0.1, 1 / 3, 0.7, 8.0, 1e-3, 1e5, 2.0**-20, 1e-30, 1e30, 1e-300, 1e300, 1e-310]
INT_EDGES = [1.0, 2.5, 0.3, 16.0, 1000.0]


@st.composite
def appends(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, Grid]:
    """Vertices on cells' boundaries, one ulp beside them and between; rows of objects; a grid."""
    dtype = np.dtype(draw(st.sampled_from(["f4", "f8", "i1", "i2", "i4", "u1", "u2", "u4"])))
    ndim, n = draw(st.integers(1, 4)), draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    if dtype.kind == "f":
        choice = [e for e in FLOAT_EDGES if dtype.itemsize == 8 or 1e-36 < e < 1e36]
        size = np.array([draw(st.sampled_from(choice)) for _ in range(ndim)])
        middle = np.array([draw(st.sampled_from([0, 0, -7, 1000, -(10**6)])) for _ in range(ndim)])
        whole = middle + rng.integers(-4, 5, (n, ndim))
        part = np.where(rng.random((n, ndim)) < 0.3, rng.random((n, ndim)), 0)
        positions = ((whole + part) * size).astype(dtype)
        beside = np.nextafter(positions, rng.choice([-INF, INF], (n, ndim)).astype(dtype))
        positions = np.where(rng.random((n, ndim)) < 0.5, beside, positions)
    else:
        size = np.array([draw(st.sampled_from(INT_EDGES)) for _ in range(ndim)])
        info = np.iinfo(dtype)
        around = draw(st.integers(info.min + 10, info.max - 10))
        positions = rng.integers(around - 10, around + 10, (n, ndim)).astype(dtype)
    rows = rng.integers(0, draw(st.integers(1, 12)), n)
    spread = Box(box_of(positions).lo, box_of(positions).hi)
    return positions, rows, Grid.for_bounds(spread, size.tolist())


def by_definition(positions: np.ndarray, rows: np.ndarray, grid: Grid) -> dict[str, list]:
    cells: dict[tuple[int, ...], dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for i, (vertex, row) in enumerate(zip(positions.tolist(), rows.tolist(), strict=True)):
        key = tuple(math.floor(v / s) for v, s in zip(vertex, grid.chunk_shape, strict=True))
        cells[key][row].append(i)
    fragments = [(row, here[row]) for _, here in sorted(cells.items()) for row in sorted(here)]
    return {
        "addresses": [list(key) for key in sorted(cells)],
        "order": [i for _, members in fragments for i in members],
        "cell_vertices": [sum(map(len, h.values())) for _, h in sorted(cells.items())],
        "cell_fragments": [len(here) for _, here in sorted(cells.items())],
        "fragment_object": [row for row, _ in fragments],
        "fragment_vertices": [len(members) for _, members in fragments],
    }


def assert_is_by_definition(
    positions: np.ndarray, rows: np.ndarray, grid: Grid, n_objects: int | None = None
) -> None:
    n = int(rows.max()) + 1 if n_objects is None else n_objects
    plan = assign(positions, box_of(positions), rows, n, grid)
    expected = by_definition(positions, rows, grid)
    assert (np.diff(plan.cells) > 0).all()
    absolute = grid.coordinates(plan.cells) + np.array(grid.origin)
    assert absolute.tolist() == expected.pop("addresses")
    for name, values in expected.items():
        assert getattr(plan, name).tolist() == values, name


@given(case=appends(), block=st.sampled_from([7, 1 << 16]))
def test_every_vertex_is_in_the_cell_that_the_definition_gives_it(
    case: tuple[np.ndarray, np.ndarray, Grid], block: int
) -> None:
    positions, rows, grid = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK_ROWS", block)
        assert_is_by_definition(positions, rows, grid)
        before = positions.copy()
        numbers, (first, counts) = cell_numbers(positions, box_of(positions), grid)
    assert numbers.min() >= 0
    assert numbers.max() < math.prod(counts.tolist())
    assert (first >= 0).all()
    assert (positions == before).all()


def test_denormal_coordinates_have_a_cell() -> None:
    tiny = 5e-324
    positions = np.array([[-tiny], [0.0], [-0.0], [tiny], [3 * tiny], [-3 * tiny]])
    for size in (1.0, 1e-300, 2 * tiny):
        grid = Grid.for_bounds(box_of(positions), [size])
        assert_is_by_definition(positions, np.zeros(6, int), grid)


def test_more_objects_and_cells_than_one_key_can_hold_are_still_told_apart() -> None:
    rng = np.random.default_rng(0)
    positions = rng.integers(0, 40_000, (300, 3)).astype("f8")
    positions[:100] = positions[200:]
    rows = rng.integers(0, 4, 300) * (2**40 // 4)
    grid = Grid.for_bounds(box_of(positions), [1.0] * 3)
    assert_is_by_definition(positions, rows, grid, n_objects=2**40)


@pytest.mark.parametrize(("ndim", "extent"), [(2, 1e6), (3, 3e5), (3, 1e6), (4, 2e4), (4, 1e6)])
def test_cells_far_apart_are_told_from_each_other_or_the_grid_is_refused(
    ndim: int, extent: float
) -> None:
    far = extent - 1000
    positions = np.array([[0.0] * ndim, [far] * ndim, [far] * (ndim - 1) + [far - 1]])
    try:
        grid = Grid.for_bounds(Box(np.zeros(ndim), np.full(ndim, extent)), [1.0] * ndim)
    except MetadataError:
        return
    assert_is_by_definition(positions, np.zeros(3, int), grid)


# --- objects ------------------------------------------------------------------------------------

few = st.integers(0, 30)
sparse = st.sampled_from([0, 5, 5813024015, 2**62, 2**62 + 1, 2**63 - 2, 2**63 - 1])
some_ids = st.one_of(
    st.lists(few, min_size=1, max_size=80),
    st.lists(sparse, min_size=1, max_size=80),
    st.lists(few, min_size=1, max_size=80).map(sorted),
    st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=20).map(lambda ids: ids * 3),
    st.lists(st.tuples(sparse, st.integers(1, 9)), min_size=1, max_size=9).map(
        lambda runs: [i for i, n in runs for _ in range(n)]
    ),
    st.lists(few.map(lambda i: i + 2**63 - 31), min_size=1, max_size=80),
)


@given(ids=some_ids)
def test_objects_are_the_distinct_ids_and_rows_point_at_them(ids: list[int]) -> None:
    array = np.array(ids, np.int64)
    expected, inverse = np.unique(array, return_inverse=True)
    found, rows = object_rows(array)
    assert found.tolist() == expected.tolist()
    assert rows.tolist() == inverse.tolist()
    assert found.dtype == rows.dtype == np.int64
    assert array.tolist() == ids


# --- sorting ------------------------------------------------------------------------------------


@given(
    data=st.data(),
    bound=st.sampled_from([1, 2, 3, 255, 2**31, 2**40, 2**57, 2**60, 2**62, 2**63 - 1]),
    n=st.sampled_from([0, 1, 2, 3, 64, 65, 300]),
)
def test_the_order_is_that_of_a_stable_sort(data: st.DataObject, bound: int, n: int) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    keys = rng.integers(0, bound, n, dtype=np.int64)
    if n:
        keys[rng.integers(0, n, n // 2)] = keys[0]
        keys[-1] = bound - 1
    before = keys.copy()
    order = stable_order(keys, bound)
    assert order.tolist() == np.argsort(keys, kind="stable").tolist()
    assert (keys == before).all()


def cut(plan: Assignment, cuts: np.ndarray) -> tuple[np.ndarray, ...]:
    """The vertices of a plan as if they had come in several batches, each in its own order.

    Returns what :func:`assign_fragments` takes, and the input row of each vertex.
    """
    cell_of = np.repeat(plan.cells, plan.cell_vertices)
    row_of = np.repeat(plan.fragment_object, plan.fragment_vertices)
    batch = np.searchsorted(cuts, plan.order, side="right")
    order = np.argsort(batch, kind="stable")
    keys = np.stack([batch, cell_of, row_of])[:, order]
    apart = np.append(True, (keys[:, 1:] != keys[:, :-1]).any(axis=0))
    new_cell = np.append(True, (keys[:2, 1:] != keys[:2, :-1]).any(axis=0))
    first, cells = np.flatnonzero(apart), np.flatnonzero(new_cell)
    return (
        keys[1, cells],
        np.diff(np.searchsorted(first, cells), append=len(first)),
        keys[2, first],
        np.diff(first, append=len(order)),
        plan.order[order],
    )


def assert_fragments_are_assigned_as_vertices_are(
    positions: np.ndarray, rows: np.ndarray, grid: Grid, cuts: np.ndarray, n_objects: int
) -> None:
    plan = assign(positions, box_of(positions), rows, n_objects, grid)
    cells, cell_fragments, owners, sizes, given_rows = cut(plan, cuts)
    found = assign_fragments(cells, cell_fragments, owners, sizes, n_objects, grid)
    assert given_rows[found.order].tolist() == plan.order.tolist()
    for name in (
        "cells", "cell_vertices", "cell_fragments",
        "fragment_object", "fragment_vertices", "object_order",
    ):  # fmt: skip
        assert getattr(found, name).tolist() == getattr(plan, name).tolist(), name


@given(case=appends(), data=st.data())
def test_fragments_of_several_batches_are_sorted_as_their_vertices_would_be(
    case: tuple[np.ndarray, np.ndarray, Grid], data: st.DataObject
) -> None:
    positions, rows, grid = case
    cuts = np.sort(np.array(data.draw(st.lists(st.integers(1, len(rows)), max_size=5)), np.int64))
    n_objects = int(rows.max()) + 1
    assert_fragments_are_assigned_as_vertices_are(positions, rows, grid, cuts, n_objects)


def test_fragments_of_more_objects_and_cells_than_one_key_can_hold_are_sorted() -> None:
    rng = np.random.default_rng(0)
    positions = rng.integers(0, 40_000, (300, 3)).astype("f8")
    positions[:100] = positions[200:]
    rows = rng.integers(0, 4, 300) * (2**40 // 4)
    grid = Grid.for_bounds(box_of(positions), [1.0] * 3)
    cuts = np.array([50, 120, 250])
    assert_fragments_are_assigned_as_vertices_are(positions, rows, grid, cuts, 2**40)


def test_cells_beyond_the_grid_have_no_coordinates() -> None:
    grid = Grid.for_bounds(Box(np.zeros(2), np.ones(2)), [1.0, 1.0])
    for cells in ([0, -1], [math.prod(grid.shape)]):
        with pytest.raises(ValueError, match="cells"):
            grid.coordinates(np.array(cells))
