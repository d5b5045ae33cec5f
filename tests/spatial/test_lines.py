"""Lines and links to cells, against the definition written out vertex by vertex."""

from __future__ import annotations

import math
from itertools import groupby
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zv_versioned.spatial.assign import Assignment, assign, object_rows, spans
from zv_versioned.spatial.boxes import box_of
from zv_versioned.spatial.grid import Grid
from zv_versioned.spatial.lines import Walk, assign_lines
from zv_versioned.spatial.links import place_line_links, place_links


@st.composite
def some_lines(draw: st.DrawFn) -> dict[str, Any]:
    """Lines that wander, jump far, come back and lie on sides of cells; objects of one or more."""
    ndim, n_lines = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = rng.choice([1.0, 0.5, 1 / 3, 7.0], ndim)
    counts = rng.integers(1, draw(st.sampled_from([2, 4, 30])), n_lines)
    steps = rng.choice([-1.0, -0.5, -0.25, 0.0, 0.0, 0.25, 0.5, 1.0], (counts.sum(), ndim))
    far = rng.random(len(steps)) < draw(st.sampled_from([0.0, 0.1]))
    steps[far] *= 50
    first = np.cumsum(counts) - counts
    steps[first] = rng.integers(-3, 3, (n_lines, ndim))
    walk = np.cumsum(steps, axis=0)
    walk -= np.repeat(walk[first] - steps[first], counts, axis=0)
    positions = (walk * size).astype(draw(st.sampled_from(["f4", "f8"])))
    ids = rng.integers(0, draw(st.sampled_from([1, 3, 10**9])), n_lines)
    grid = Grid.for_bounds(box_of(positions), size.tolist())
    return {"positions": positions, "counts": counts, "ids": ids, "grid": grid}


def cell_of(vertex: np.ndarray, grid: Grid) -> tuple[int, ...]:
    return tuple(math.floor(v / s) for v, s in zip(vertex.tolist(), grid.chunk_shape, strict=True))


def by_definition(case: dict[str, Any]) -> dict[str, Any]:
    """Walk object by object, line by line; cut; sort the pieces."""
    positions, grid = case["positions"], case["grid"]
    ids, of_line = np.unique(case["ids"], return_inverse=True)
    starts = np.cumsum(case["counts"]) - case["counts"]
    fragments = []
    for row in range(len(ids)):
        rank = 0
        for line in np.flatnonzero(of_line == row):
            rows = range(starts[line], starts[line] + case["counts"][line])
            pieces = [(c, [*g]) for c, g in groupby(rows, lambda i: cell_of(positions[i], grid))]
            for at, (cell, members) in enumerate(pieces):
                ends = at == len(pieces) - 1
                fragments.append({"cell": cell, "object": row, "rank": rank, "ends": ends})
                fragments[-1]["rows"] = members
                rank += 1
    fragments.sort(key=lambda f: (f["cell"], f["object"], f["rank"]))
    order = sorted(
        range(len(fragments)), key=lambda i: (fragments[i]["object"], fragments[i]["rank"])
    )
    return {"fragments": fragments, "object_order": order}


def planned(case: dict[str, Any]) -> tuple[Walk, Assignment]:
    ids, of_line = np.unique(case["ids"], return_inverse=True)
    walk = Walk.of_lines(case["counts"], of_line.reshape(-1), len(ids))
    positions = case["positions"]
    return walk, assign_lines(positions, box_of(positions), walk, case["grid"])


@given(case=some_lines())
def test_lines_are_cut_where_they_cross_and_sorted_by_cell_object_and_rank(
    case: dict[str, Any],
) -> None:
    _, plan = planned(case)
    expected = by_definition(case)
    fragments = expected["fragments"]
    assert plan.order.tolist() == [i for f in fragments for i in f["rows"]]
    assert plan.fragment_object.tolist() == [f["object"] for f in fragments]
    assert plan.fragment_vertices.tolist() == [len(f["rows"]) for f in fragments]
    assert plan.fragment_rank is not None
    assert plan.fragment_ends is not None
    assert plan.fragment_rank.tolist() == [f["rank"] for f in fragments]
    assert plan.fragment_ends.tolist() == [f["ends"] for f in fragments]
    assert plan.object_order.tolist() == expected["object_order"]
    cells = [(cell, [*group]) for cell, group in groupby(fragments, lambda f: f["cell"])]
    grid = case["grid"]
    found = grid.coordinates(plan.cells) + np.array(grid.origin)
    assert found.tolist() == [list(cell) for cell, _ in cells]
    assert (np.diff(plan.cells) > 0).all()
    assert plan.cell_fragments.tolist() == [len(group) for _, group in cells]
    assert plan.cell_vertices.tolist() == [sum(len(f["rows"]) for f in g) for _, g in cells]


@given(case=some_lines())
def test_the_links_of_lines_are_kept_by_their_sources(case: dict[str, Any]) -> None:
    walk, plan = planned(case)
    links = place_line_links(walk, plan, ordered=True)
    n, counts = len(case["positions"]), case["counts"]
    last = set((np.cumsum(counts) - 1).tolist())
    number = {row: at for at, row in enumerate(i for i in range(n) if i not in last)}
    sources = [row for row in plan.order.tolist() if row not in last]
    assert links.order is not None
    assert links.order.tolist() == [number[row] for row in sources]
    assert len(links) == len(sources)
    cells = np.repeat(np.arange(len(plan.cells)), plan.cell_vertices)
    kept = np.bincount(
        [cells[at] for at, row in enumerate(plan.order.tolist()) if row not in last],
        minlength=len(plan.cells),
    )
    assert links.cell_links.tolist() == kept.tolist()
    assert links.rows is None


@given(case=some_lines(), shuffle=st.booleans())
def test_vertices_with_ids_are_one_line_an_object_in_the_order_given(
    case: dict[str, Any], shuffle: bool
) -> None:
    rng = np.random.default_rng(len(case["positions"]))
    ids = np.repeat(case["ids"], case["counts"])
    if shuffle:
        ids = rng.permutation(ids)
    distinct, rows = object_rows(ids)
    walk = Walk.of_vertices(rows, len(distinct))
    positions = case["positions"]
    plan = assign_lines(positions, box_of(positions), walk, case["grid"])
    in_order = np.argsort(rows, kind="stable")
    alike = {
        **case,
        "positions": positions[in_order],
        "counts": np.bincount(rows),
        "ids": distinct,
    }
    _, expected = planned(alike)
    assert plan.order.tolist() == in_order[expected.order].tolist()
    assert plan.fragment_rank is not None
    assert expected.fragment_rank is not None
    assert plan.fragment_rank.tolist() == expected.fragment_rank.tolist()
    links = place_line_links(walk, plan, ordered=True)
    last = {int(np.flatnonzero(rows == row)[-1]) for row in range(len(distinct))}
    sources = [row for row in range(len(rows)) if row not in last]
    kept = [row for row in plan.order.tolist() if row not in last]
    assert links.order is not None
    assert [sources[at] for at in links.order.tolist()] == kept


@given(case=some_lines(), width=st.sampled_from([2, 3]), n_links=st.sampled_from([0, 1, 5, 200]))
def test_a_link_is_kept_by_the_cell_of_its_smallest_vertex_and_counted_from_there(
    case: dict[str, Any], width: int, n_links: int
) -> None:
    positions = case["positions"]
    _, rows = object_rows(np.repeat(case["ids"], case["counts"]))
    plan = assign(positions, box_of(positions), rows, int(rows.max()) + 1, case["grid"])
    rng = np.random.default_rng(n_links)
    links = rng.integers(0, len(positions), (n_links, width))
    placed = place_links(links, plan)
    assert placed.rows is not None
    assert placed.rows.dtype == np.int32
    number = {row: at for at, row in enumerate(plan.order.tolist())}
    fragment = np.repeat(np.arange(len(plan.fragment_object)), plan.fragment_vertices)
    smallest = [min(number[v] for v in link) for link in links.tolist()]
    expected = sorted(range(n_links), key=lambda i: (fragment[smallest[i]], i))
    assert placed.order is not None
    assert placed.order.tolist() == expected
    cells = np.repeat(np.arange(len(plan.cells)), plan.cell_vertices)
    owner = [int(cells[smallest[i]]) for i in expected]
    assert placed.cell_links.tolist() == np.bincount(owner, minlength=len(plan.cells)).tolist()
    back = placed.rows.astype(np.int64) + plan.vertex_start[owner][:, None]
    assert plan.order[back].tolist() == links[expected].tolist()
    assert (placed.rows >= 0).all()


def test_a_line_between_cells_too_far_apart_for_one_key_is_cut_all_the_same() -> None:
    rng = np.random.default_rng(0)
    positions = rng.integers(0, 900_000, (70_000, 3)).astype("f8")
    positions[::2] = positions[0]
    case = {"positions": positions, "counts": np.array([50_000, 20_000]), "ids": np.array([3, 3])}
    grid = Grid.for_bounds(box_of(positions), [1.0] * 3)
    _, plan = planned({**case, "grid": grid})
    address = grid.coordinates(plan.cells) + np.array(grid.origin)
    cells = np.repeat(address, plan.cell_vertices, axis=0)
    assert (cells == positions[plan.order]).all()
    assert sorted(plan.order.tolist()) == [*range(70_000)]
    assert plan.fragment_rank is not None
    assert plan.fragment_rank[plan.object_order].tolist() == [*range(len(plan.object_order))]


@pytest.mark.parametrize("counts", [[], [0], [3], [0, 2, 0, 1]])
def test_spans_are_ranges_one_after_the_other(counts: list[int]) -> None:
    starts = [7, 0, 3, 100][: len(counts)]
    found = spans(np.array(starts, np.int64), np.array(counts, np.int64))
    assert found.tolist() == [
        i for a, c in zip(starts, counts, strict=True) for i in range(a, a + c)
    ]
