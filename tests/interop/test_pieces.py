"""Pieces: joined without changing what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zv_versioned as zvv
from zv_versioned.geometry import Geometry
from zv_versioned.interop._objects import one_by_one
from zv_versioned.interop._pieces import Piece, Scan, grouped, joined


def _graph(number: int, n: int, *, counted: bool = False) -> Piece:
    """A way over `n` nodes, of one object; node k of it lies at (number, k)."""
    positions = np.stack([np.full(n, number), np.arange(n)], axis=1).astype("f8")
    links = np.stack([np.arange(1, n), np.arange(n - 1)], axis=1).reshape(-1, 2)
    return Piece(
        positions,
        number,
        links=links,
        attributes={"k": np.arange(n)},
        link_attributes={"to": np.arange(1, n)},
        object_attributes={"n": np.array([n])},
        name=f"{number}.swc",
        weight=n,
        counted=counted,
    )


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8), st.integers(1, 12))
def test_graphs_that_are_grouped_say_what_they_said(sizes: list[int], batch: int) -> None:
    pieces = [_graph(number, n) for number, n in enumerate(sizes)]
    made = list(grouped(pieces, batch))
    assert sum(piece.weight for piece in made) == sum(sizes)
    assert all(len(piece.positions) >= batch for piece in made[:-1])
    found = []
    for piece in made:
        ids = np.broadcast_to(piece.object_ids, (len(piece.positions),))
        assert ids.tolist() == piece.positions[:, 0].tolist()
        assert piece.attributes["k"].tolist() == piece.positions[:, 1].tolist()
        at = piece.positions[piece.links]
        assert (at[:, 0, 0] == at[:, 1, 0]).all()
        assert (at[:, 0, 1] == at[:, 1, 1] + 1).all()
        assert piece.link_attributes["to"].tolist() == at[:, 0, 1].tolist()
        found += piece.object_attributes["n"].tolist()
    assert found == sizes


@given(st.lists(st.lists(st.integers(1, 4), max_size=3), min_size=1, max_size=5))
def test_lines_that_are_joined_begin_where_they_began(counts: list[list[int]]) -> None:
    pieces = [
        Piece(
            np.zeros((sum(lines), 2)),
            np.arange(len(lines)) + 10 * at,
            offsets=np.concatenate([[0], np.cumsum(lines)]).astype(np.int64),
        )
        for at, lines in enumerate(counts)
    ]
    made = joined(pieces)
    flat = [n for lines in counts for n in lines]
    assert made.offsets is not None
    assert np.diff(made.offsets).tolist() == flat
    assert len(made.object_ids) == len(flat)


def test_what_has_other_attributes_is_not_joined() -> None:
    one, other = _graph(1, 3), _graph(2, 3)
    less = Piece(other.positions, 2, links=other.links, name="less")
    assert [p.name for p in grouped([one, other, less, one], 100)] == [
        "1.swc to 2.swc",
        "less",
        "1.swc",
    ]
    assert len(list(grouped([one, _graph(2, 3, counted=True)], 100))) == 2


def test_ids_stay_left_out_or_one_where_they_are() -> None:
    bare = Piece(np.zeros((2, 2)))
    assert joined([bare, bare]).object_ids is None
    one = Piece(np.zeros((2, 2)), 7)
    assert joined([one, one]).object_ids == 7


def test_a_scan_names_what_is_not_finite() -> None:
    positions = np.zeros((4, 2))
    positions[2, 1] = np.inf
    with pytest.raises(
        zvv.ArrayError, match=r"^a\.csv: .* in 1 of 4 vertices.*vertex 2: \[0\.0, inf\]"
    ):
        Piece(positions, name="a.csv").scan()


def test_scans_add_up() -> None:
    empty = Scan(None, 0, 0)
    one = Piece(np.array([[1.0, 5.0]])).scan()
    both = empty | one | Piece(np.array([[3.0, 2.0]])).scan() | Piece(np.zeros((0, 2))).scan()
    assert both.box is not None
    assert (both.box.lo.tolist(), both.box.hi.tolist()) == ([1, 2], [3, 5])
    assert (both.pieces, both.vertices) == (3, 2)


@given(data=st.data())
def test_the_objects_of_a_geometry_come_apart(data: Any) -> None:
    n = data.draw(st.integers(0, 12))
    ids = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)), np.int64)
    width = data.draw(st.sampled_from([2, 3]))
    rows = [np.flatnonzero(ids == number).tolist() for number in range(4)]
    some = [r for r in rows if len(r) >= width]
    links = [
        data.draw(st.permutations(data.draw(st.sampled_from(some))))[:width]
        for _ in range(data.draw(st.integers(0, 5)) if some else 0)
    ]
    array = np.array(links, np.int64).reshape(-1, width)
    found = Geometry(
        positions=np.arange(n, dtype="f8")[:, None],
        vertex_ids=np.arange(n),
        object_ids=ids,
        attributes={"a": np.arange(n) * 2},
        edges=array if width == 2 else None,
        faces=array if width == 3 else None,
        link_attributes={"l": np.arange(len(links))},
    )
    seen = []
    for number, one in one_by_one(found):
        assert one.positions[:, 0].tolist() == rows[number]
        assert one.attributes["a"].tolist() == [2 * row for row in rows[number]]
        inside = one.edges if width == 2 else one.faces
        for link, value in zip(inside.tolist(), one.link_attributes["l"].tolist(), strict=True):
            assert [int(one.positions[v, 0]) for v in link] == links[value]
            seen.append(value)
    assert sorted(seen) == list(range(len(links)))
