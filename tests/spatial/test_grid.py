"""The grid: where its cells are, how they are numbered, and which ones a box can concern."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from zv_versioned.errors import ArrayError, MetadataError
from zv_versioned.spatial.boxes import Box
from zv_versioned.spatial.grid import (
    BLOCK_CELLS,
    CELL_VERTICES,
    MARGIN,
    MAX_CELLS_PER_AXIS,
    Grid,
    default_chunk_shape,
    expected,
)

INF = float("inf")
edges = st.one_of(
    st.sampled_from([1.0, 0.1, 1 / 3, 8.0, 1e-3, 1e5, 2.0**-40, 2.0**40, 1e300]),
    st.floats(1e-3, 1e3),
)


def box(lo: object, hi: object) -> Box:
    return Box(np.asarray(lo, np.float64), np.asarray(hi, np.float64))


def cell_of(vertex: list[float], grid: Grid) -> tuple[int, ...]:
    """The absolute address of a vertex's cell, by the definition."""
    return tuple(math.floor(v / s) for v, s in zip(vertex, grid.chunk_shape, strict=True))


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    ndim = draw(st.integers(1, 4))
    size = np.array([draw(edges) for _ in range(ndim)])
    # Far from 0 a boundary's coordinate is rounded, and so is the division that finds the cell.
    where = st.integers(-40, 40) | st.integers(-2_000_000, 2_000_000)
    first = np.array([draw(where) for _ in range(ndim)])
    count = np.array([draw(st.integers(0, 30)) for _ in range(ndim)])
    return Grid.for_bounds(Box(first * size, (first + count) * size), size.tolist())


@st.composite
def near_boundaries(draw: st.DrawFn, grid: Grid) -> list[float]:
    """A coordinate an axis: on a boundary of cells, one ulp beside it, or anywhere."""
    found = []
    for size, origin in zip(grid.chunk_shape, grid.origin, strict=True):
        value = (origin + MARGIN + draw(st.integers(-2, 12))) * size
        kind = draw(st.sampled_from(["on", "above", "below", "between"]))
        if kind == "above":
            value = float(np.nextafter(value, INF))
        elif kind == "below":
            value = float(np.nextafter(value, -INF))
        elif kind == "between":
            value += draw(st.floats(0, 1)) * size
        found.append(value)
    return found


# --- laid out -----------------------------------------------------------------------------------


@given(data=st.data(), ndim=st.integers(1, 4))
def test_a_grid_covers_its_bounds_and_a_margin_in_whole_blocks(
    data: st.DataObject, ndim: int
) -> None:
    size = np.array([data.draw(edges) for _ in range(ndim)])
    lo = np.array([data.draw(st.floats(-50, 50)) for _ in range(ndim)]) * size
    hi = lo + np.array([data.draw(st.floats(0, 50)) for _ in range(ndim)]) * size
    grid = Grid.for_bounds(Box(lo, hi), size.tolist())
    first, last = np.array(cell_of(lo.tolist(), grid)), np.array(cell_of(hi.tolist(), grid))
    origin, shape, block = map(np.array, (grid.origin, grid.shape, grid.block))
    assert (first - origin >= MARGIN).all()
    assert (origin + shape - 1 - last >= MARGIN).all()
    assert (shape % block == 0).all()
    assert ((first - origin) % block == 0).all()
    assert grid.places == block.prod() <= BLOCK_CELLS
    # No larger than it need be.
    assert (first - origin < MARGIN + block).all()
    assert (origin + shape - 1 - last < MARGIN + block).all()


@pytest.mark.parametrize(
    ("counts", "block"),
    [((1,), 1), ((8, 8, 8), 512), ((100, 100, 100), 512), ((1, 1, 1000), 512), ((2000,), 512),
     ((3, 3), 16), ((8, 8, 8, 8), 512)],
)  # fmt: skip
def test_a_block_is_as_large_as_it_may_and_the_bounds_fill(
    counts: tuple[int, ...], block: int
) -> None:
    grid = Grid.for_bounds(box([0] * len(counts), np.array(counts) - 0.5), [1.0] * len(counts))
    assert grid.places == block
    assert max(grid.block) <= 2 * max(counts)


@given(data=st.data(), grid=grids())
def test_numbers_of_cells_and_places_in_blocks_are_in_c_order(
    data: st.DataObject, grid: Grid
) -> None:
    index = [tuple(data.draw(st.integers(0, n - 1)) for n in grid.shape) for _ in range(5)]
    numbers = np.array(index) @ grid.strides
    assert grid.coordinates(numbers).tolist() == [list(i) for i in index]
    by_index = sorted(range(5), key=index.__getitem__)
    assert numbers[by_index].tolist() == sorted(numbers.tolist())
    blocks, places = grid.blocks(numbers)
    for i, block, place in zip(index, blocks.tolist(), places.tolist(), strict=True):
        inner = np.unravel_index(place, grid.block)
        assert tuple(b * n + k for b, n, k in zip(block, grid.block, inner, strict=True)) == i


@given(grid=grids())
def test_a_grid_reaches_as_far_as_its_cells_do(grid: Grid) -> None:
    size = np.array(grid.chunk_shape)
    np.testing.assert_allclose(grid.extent.lo, np.array(grid.origin) * size)
    np.testing.assert_allclose(
        grid.extent.hi, (np.array(grid.origin) + np.array(grid.shape)) * size
    )


@pytest.mark.parametrize(
    ("lo", "hi", "size"),
    [(0, 1e7, 1.0), (-1e300, 1e300, 1.0), (0, 1, 1e-300), (1e17, 1e17 + 64, 1.0), (0, 1, 5e-324)],
)
def test_cells_that_are_too_many_to_address_are_refused(lo: float, hi: float, size: float) -> None:
    with pytest.raises(MetadataError, match="Use larger chunks"):
        Grid.for_bounds(box([lo], [hi]), [size])


@pytest.mark.parametrize(("ndim", "extent"), [(2, 1e6), (3, 1e6), (3, 3e5), (4, 1e6), (4, 6e4)])
def test_cells_of_a_grid_have_different_numbers_or_the_grid_is_refused(
    ndim: int, extent: float
) -> None:
    try:
        grid = Grid.for_bounds(box([0] * ndim, [extent] * ndim), [1.0] * ndim)
    except MetadataError:
        return
    last = np.array(grid.shape) - 1
    numbers = last @ grid.strides
    assert numbers > 0
    assert grid.coordinates(np.array([numbers])).tolist() == [last.tolist()]


# --- boxes --------------------------------------------------------------------------------------


@st.composite
def boxes_and_vertices(draw: st.DrawFn) -> tuple[Grid, Box, list[list[float]]]:
    grid = draw(grids())
    a, b = draw(near_boundaries(grid)), draw(near_boundaries(grid))
    lo = np.array([draw(st.sampled_from([v, v, v, -INF])) for v in np.minimum(a, b).tolist()])
    hi = np.array([draw(st.sampled_from([v, v, v, INF])) for v in np.maximum(a, b).tolist()])
    vertices = [draw(near_boundaries(grid)) for _ in range(6)]
    vertices += [np.clip(v, lo, hi).tolist() for v in vertices]
    return grid, Box(lo, hi), vertices


@given(case=boxes_and_vertices())
def test_no_cell_with_a_vertex_in_the_box_is_left_out_and_none_is_taken_whole_wrongly(
    case: tuple[Grid, Box, list[list[float]]],
) -> None:
    grid, query, vertices = case
    cells = np.array([cell_of(v, grid) for v in vertices]) - np.array(grid.origin)
    numbers = cells @ grid.strides
    selected = query.select(np.array(vertices))
    touched, inside = grid.touching(query, numbers), grid.inside(query, numbers)
    assert (touched >= selected).all()
    assert (inside <= selected).all()
    assert (inside <= touched).all()


@pytest.mark.parametrize(("size", "cell"), [(0.1, 282_688), (0.7, 721_824), (0.1, -591_064)])
def test_a_vertex_whose_division_is_rounded_up_is_not_taken_for_one_in_the_box(
    size: float, cell: int
) -> None:
    below = float(np.nextafter(cell * size, -INF))
    assert math.floor(below / size) == cell  # though it lies below the cell's own edge
    grid = Grid.for_bounds(box([below], [below + 9 * size]), [size])
    query = box([cell * size], [INF])
    assert not query.select(np.array([[below]]))[0]
    assert not grid.inside(query, np.array([cell - grid.origin[0]]))[0]
    assert grid.inside(query, np.array([cell - grid.origin[0] + 2]))[0]


@pytest.mark.parametrize(("size", "cell"), [(0.1, -1_608_790), (1 / 3, 1_677_441)])
def test_a_vertex_whose_division_is_rounded_down_is_not_taken_for_one_in_the_box(
    size: float, cell: int
) -> None:
    on_the_edge = (cell + 1) * size
    assert math.floor(on_the_edge / size) == cell
    grid = Grid.for_bounds(box([on_the_edge - 9 * size], [on_the_edge]), [size])
    query = box([-INF], [on_the_edge])
    assert not query.select(np.array([[on_the_edge]]))[0]
    assert not grid.inside(query, np.array([cell - grid.origin[0]]))[0]


@given(case=boxes_and_vertices())
def test_cells_beside_the_box_are_left_out_and_cells_deep_in_it_taken_whole(
    case: tuple[Grid, Box, list[list[float]]],
) -> None:
    grid, query, vertices = case
    cells = np.array([cell_of(v, grid) for v in vertices])
    numbers = (cells - np.array(grid.origin)) @ grid.strides
    size = np.array(grid.chunk_shape)
    away = ((cells + 1.001) * size < query.lo) | ((cells - 0.001) * size > query.hi)
    deep = ((cells - 1.001) * size > query.lo) & ((cells + 2.001) * size < query.hi)
    assert not grid.touching(query, numbers)[away.any(axis=1)].any()
    assert grid.inside(query, numbers)[deep.all(axis=1)].all()


@pytest.mark.parametrize("far", [INF, 1e308, 1e30])
def test_a_box_around_everything_touches_all_and_holds_all(far: float) -> None:
    grid = Grid.for_bounds(box([0, 0], [1, 1]), [0.1, 0.1])
    cells = np.array([0, 1, np.prod(grid.shape) - 1])
    assert grid.touching(box([-far] * 2, [far] * 2), cells).all()
    assert grid.inside(box([-far] * 2, [far] * 2), cells).all()
    assert not grid.touching(box([far] * 2, [far] * 2), cells[:2]).any()


@given(grid=grids(), data=st.data())
def test_vertices_are_within_the_grid_exactly_where_it_has_a_cell_for_them(
    grid: Grid, data: st.DataObject
) -> None:
    vertex = data.draw(near_boundaries(grid))
    axis = data.draw(st.integers(0, grid.ndim - 1))
    side = data.draw(st.sampled_from([0, grid.shape[axis]]))
    edge = (grid.origin[axis] + side) * grid.chunk_shape[axis]
    for value in (edge, float(np.nextafter(edge, INF)), float(np.nextafter(edge, -INF))):
        vertex[axis] = value
        cell = np.array(cell_of(vertex, grid)) - np.array(grid.origin)
        there_is_one = ((cell >= 0) & (cell < grid.shape)).all()
        if there_is_one:
            grid.check_within(box(vertex, vertex))
        else:
            with pytest.raises(ArrayError, match=r"beyond .* Check the unit"):
                grid.check_within(box(vertex, vertex))


@pytest.mark.parametrize("far", [1e30, 1e308])
def test_vertices_absurdly_far_away_are_refused_like_any_other(far: float) -> None:
    grid = Grid.for_bounds(box([0], [1]), [0.1])
    with pytest.raises(ArrayError, match="Check the unit"):
        grid.check_within(box([0], [far]))
    with pytest.raises(ArrayError, match="Check the unit"):
        grid.check_within(box([-far], [0]))


# --- default cells ------------------------------------------------------------------------------


def cells_by_default(lo: float, hi: float) -> int:
    bounds = box([lo], [hi])
    (size,) = default_chunk_shape(bounds)
    assert 0 < size < INF
    assert Grid.for_bounds(bounds, (size,)).ndim == 1
    return math.floor(hi / size) - math.floor(lo / size) + 1


@given(
    lo=st.one_of(st.floats(-1e15, 1e15), st.integers(-(10**6), 10**6).map(float)),
    extent=st.one_of(st.floats(0, 1e15), st.integers(0, 10**6).map(float)),
)
def test_by_default_there_are_at_most_eight_cells_an_axis(lo: float, extent: float) -> None:
    hi = lo + extent
    assume(hi == lo or hi - lo >= 2.0**-40 * max(abs(lo), abs(hi)))
    assert cells_by_default(lo, hi) <= 8


@given(extent=st.floats(1e-300, 1e15), part=st.floats(0, 1))
def test_by_default_cells_are_not_much_larger_than_an_eighth(extent: float, part: float) -> None:
    lo = -extent * part
    (size,) = default_chunk_shape(box([lo], [lo + extent]))
    assert size <= extent / 6 * 1.001


@pytest.mark.parametrize("lo", [0.0, 1.0, -3.5, 1e15, -1e15, 1e300])
def test_without_any_extent_there_is_one_cell(lo: float) -> None:
    assert cells_by_default(lo, lo) == 1


@given(lo=st.floats(1.0, 1e15), ulps=st.integers(1, 1000), negative=st.booleans())
def test_bounds_a_few_ulps_wide_have_cells_by_default(lo: float, ulps: int, negative: bool) -> None:
    hi = lo + ulps * math.ulp(lo)
    lo, hi = (-hi, -lo) if negative else (lo, hi)
    assert cells_by_default(lo, hi) <= 8


@pytest.mark.parametrize(
    ("lo", "hi"),
    [(0.0, 5e-324), (-5e-324, 5e-324), (0.0, 1e-310), (-1.7e308, 1.7e308), (0.0, 1.7e308)],
)
def test_the_narrowest_and_the_widest_bounds_have_cells_by_default(lo: float, hi: float) -> None:
    assert cells_by_default(lo, hi) <= 8


# --- cells for so many vertices -------------------------------------------------------------------


@example(ndim=1, vertices=1_310_720_001, extent=1.0, lo=1.0)
@given(
    ndim=st.integers(1, 4),
    vertices=st.integers(1, 10**13),
    extent=st.floats(1e-6, 1e9),
    lo=st.floats(-1e6, 1e6),
)
def test_cells_fit_the_vertices_that_are_expected(
    ndim: int, vertices: int, extent: float, lo: float
) -> None:
    bounds = box([lo] * ndim, [lo + extent] * ndim)
    assume(extent >= 2.0**-20 * abs(lo))
    sizes = default_chunk_shape(bounds, vertices)
    # Not more than half of those that an axis can have: bounds may grow.
    wanted = min(math.ceil((vertices / CELL_VERTICES) ** (1 / ndim)), MAX_CELLS_PER_AXIS // 2)
    a_side = [
        math.floor(b / size) - math.floor(a / size) + 1
        for a, b, size in zip(bounds.lo, bounds.hi, sizes, strict=True)
    ]
    assert Grid.for_bounds(bounds, sizes).ndim == ndim
    for count, size in zip(a_side, sizes, strict=True):
        # Cells are counted from the zero of the axis, which can lie within the bounds' only one.
        assert count <= max(wanted, 2)
        # As many as that, or one less where the bounds begin within a cell.
        assert extent / size >= max(wanted - 1.001, 0.999)


def test_a_flat_axis_has_one_cell_and_the_others_all_that_are_needed() -> None:
    sizes = default_chunk_shape(box([0, 0, 5], [100, 100, 5]), 16 * CELL_VERTICES)
    assert [round(size) for size in sizes] == [25, 25, 1]


def test_the_default_suits_a_million_vertices_in_a_volume() -> None:
    bounds = box([0] * 3, [1000] * 3)
    assert default_chunk_shape(bounds, 1_000_000) == default_chunk_shape(bounds)


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_what_is_there_already_never_makes_cells_larger_than_by_default(ndim: int) -> None:
    usual = 8**ndim * CELL_VERTICES
    assert expected(ndim, None) is None
    assert expected(ndim, usual) is None
    assert expected(ndim, 2 * usual) == 2 * usual
