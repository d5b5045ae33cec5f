"""Appending lines, graphs and meshes: what is told, what is refused, and how objects go on."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zv_versioned as zvv
from zv_versioned import _checks_links
from zv_versioned.reading import reader as _read

KINDS = ("point_cloud", "line", "polyline", "streamline", "graph", "skeleton", "mesh")
SQUARE = np.array([[1, 1], [5, 1], [5, 5], [1, 5]], "f4")
EDGES = np.array([[1, 0], [2, 1], [3, 2]])


def repository(kind: str, **settings: Any) -> zvv.Repository:
    repo = zvv.Repository.create("memory://")
    arguments = {"bounds": ([0, 0], [10, 10]), "chunk_shape": (2, 2), **settings}
    with repo.transaction() as tx:
        tx.create_dataset("g", kind=kind, **arguments)
    return repo


def append(repo: zvv.Repository, verb: str, *given: Any, **options: Any) -> dict[str, Any]:
    with repo.transaction() as tx:
        return getattr(tx.writer("g"), f"append_{verb}_sync")(*given, **options)


def level(repo: zvv.Repository) -> zvv.Level:
    return repo.view()["g"][0]


# ---- every kind --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_dataset_of_every_kind_can_be_made_and_takes_vertices(kind: str) -> None:
    repo = repository(kind)
    told = append(repo, "vertices", SQUARE)
    assert told["new_objects"] == told["vertices_added"] == 4
    append(repo, "vertices", SQUARE, object_ids=9)
    assert (level(repo).vertex_count, level(repo).num_objects) == (8, 5)
    is_line = kind in ("line", "polyline", "streamline")
    assert level(repo).link_count == (3 if is_line else 0)
    read = level(repo).objects[9]
    assert (read.parts is not None) == is_line
    assert (read.faces is not None) == (kind == "mesh")
    assert (read.edges is not None) == (is_line or kind in ("graph", "skeleton"))
    if is_line:
        np.testing.assert_array_equal(read.positions, SQUARE)
    convention = repo.view()["g"]._meta.to_attributes()["zarr_vectors"]["links_convention"]
    explicit = kind in ("graph", "skeleton", "mesh")
    assert convention == ("explicit" if explicit else "implicit_sequential")


VERBS: dict[str, tuple[tuple[Any, ...], tuple[str, ...]]] = {
    "polylines": (([SQUARE[:2]],), ("line", "polyline", "streamline")),
    "lines": ((SQUARE.reshape(2, 2, 2),), ("line", "polyline", "streamline")),
    "graph": ((SQUARE, EDGES), ("graph", "skeleton")),
    "mesh": ((SQUARE, [[0, 1, 2]]), ("mesh",)),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_verb_is_taken_by_its_kinds_and_refused_by_the_others(kind: str, verb: str) -> None:
    given, kinds = VERBS[verb]
    repo = repository(kind)
    if kind in kinds:
        told = append(repo, verb, *given)
        assert told.keys() == {
            "vertices_added", "new_objects", "chunks_touched", "object_ids", "links_added",
        }  # fmt: skip
        assert told["links_added"] == level(repo).link_count > 0
        return
    with pytest.raises(zvv.MetadataError, match=rf"kind '{kind}' and takes no .* use append_"):
        append(repo, verb, *given)
    assert level(repo).vertex_count == 0


@pytest.mark.parametrize("verb", VERBS)
def test_the_async_twin_does_the_same_inside_a_running_loop(verb: str) -> None:
    given, kinds = VERBS[verb]
    repo = repository(kinds[-1])

    async def work() -> dict[str, Any]:
        async with repo.transaction() as tx:
            writer = tx.writer("g")
            first = await getattr(writer, f"append_{verb}")(*given, object_ids=7)
            second = getattr(writer, f"append_{verb}_sync")(*given, object_ids=8)
            assert first["links_added"] == second["links_added"]
            return dict(first)

    assert asyncio.run(work())["object_ids"].tolist() == [7]
    assert level(repo).object_ids().tolist() == [7, 8]


@pytest.mark.parametrize("verb", VERBS)
def test_an_append_of_nothing_adds_nothing_and_checks_what_comes_with_it(verb: str) -> None:
    nothing: dict[str, tuple[Any, ...]] = {
        "polylines": ([],),
        "lines": (np.zeros((0, 2, 2)),),
        "graph": (np.zeros((0, 2)), []),
        "mesh": (np.zeros((0, 2)), np.zeros((0, 3), int)),
    }
    repo = repository(VERBS[verb][1][-1])
    told = append(repo, verb, *nothing[verb], attributes={"a": []}, object_attributes={"b": []})
    assert told["object_ids"].tolist() == []
    assert (told["vertices_added"], told["links_added"]) == (0, 0)
    for name in ("attributes", "link_attributes", "object_attributes"):
        with pytest.raises(zvv.ArrayError, match="values length 1 != 0"):
            append(repo, verb, *nothing[verb], **{name: {"a": [1]}})
    assert level(repo).batches == []
    with pytest.raises(zvv.ArrayError, match="name vertices"):
        append(repository("graph"), "graph", np.zeros((0, 2)), [[0, 1]])


# ---- what is refused ---------------------------------------------------------------------------

NAN = np.array([[1, 1], [np.nan, 1]], "f4")
BAD_LINES: list[tuple[str, Any, dict[str, Any], str]] = [
    ("empty line", [SQUARE, np.zeros((0, 2)), SQUARE, []], {}, r"line 1 is empty, and 1 more"),
    ("flat line", [SQUARE, [1, 2, 3]], {}, r"line 1 must have shape \(n, 2\).*\(3,\)"),
    ("wide line", [np.zeros((2, 3))], {}, r"line 0 must have shape \(n, 2\).*\(2, 3\)"),
    ("number in the list", [3], {}, r"line 0 is empty|must have shape"),
    ("ragged line", [[[1, 2], [3]]], {}, r"a line"),
    ("bare points", SQUARE, {}, r"list of arrays of shape \(n, 2\).*offsets"),
    ("text", "lines", {}, "list of arrays"),
    ("number", 5, {}, "list of arrays"),
    ("none", None, {}, "list of arrays"),
    ("mapping", {"a": SQUARE}, {}, "list of arrays"),
    ("text in a line", [np.array([["a", "b"]])], {}, "numbers"),
    ("NaN", [NAN], {}, "NaN or infinite .* vertex 1"),
    ("outside", [SQUARE * 3], {}, "outside the bounds"),
    ("rounding", [SQUARE.astype("f8") + 0.1], {}, "would change as float32"),
    ("masked", [np.ma.masked_less(SQUARE, 2)], {}, "masked"),
    ("offsets without points", [SQUARE], {"offsets": [0]}, r"points of shape \(N, 2\)"),
    ("offsets too late", SQUARE, {"offsets": [1, 2]}, "begin with 0"),
    ("no offsets", SQUARE, {"offsets": []}, "begin with 0"),
    ("offsets repeat", SQUARE, {"offsets": [0, 2, 2]}, "line 1 is empty"),
    ("offsets descend", SQUARE, {"offsets": [0, 3, 1]}, r"ascend; entry 2 is 1 after 3"),
    ("offsets beyond", SQUARE, {"offsets": [0, 5]}, "from 0 to 4"),
    ("offsets below", SQUARE, {"offsets": [-1, 2]}, "from 0 to 4"),
    ("offsets of float", SQUARE, {"offsets": [0.0, 2.0]}, "whole numbers"),
    ("offsets of two axes", SQUARE, {"offsets": [[0, 2]]}, "whole numbers"),
    ("offsets past int64", SQUARE, {"offsets": np.array([0, 2**64 - 1], "u8")}, "from 0 to 4"),
    ("too few ids", [SQUARE, SQUARE], {"object_ids": [1]}, r"shape \(2,\), one a line"),
    ("ids by vertex", [SQUARE], {"object_ids": [1] * 4}, "one a line"),
    ("negative id", [SQUARE], {"object_ids": [-1]}, "0 or more"),
    ("attribute", [SQUARE], {"attributes": {"a": [1]}}, "length 1 != 4 vertices appended"),
    ("link", [SQUARE], {"link_attributes": {"a": [1] * 4}}, "length 4 != 3 links appended"),
    ("object", [SQUARE], {"object_attributes": {"a": [1, 2]}}, "length 2 != 1 objects appended"),
    ("name", [SQUARE], {"link_attributes": {"a/b": [1] * 3}}, "cannot be the name"),
    ("dtype", [SQUARE], {"dtype": "f8"}, "this level stores 'float32'"),
    ("bounds", [SQUARE], {"out_of_bounds": "clip"}, "raise"),
    ("streamlines", [SQUARE], {"streamlines": True}, "kind 'polyline'"),
]  # fmt: skip


@pytest.mark.parametrize("case", BAD_LINES, ids=lambda case: case[0])
def test_lines_that_do_not_fit_are_refused_before_anything_is_staged(
    case: tuple[str, Any, dict[str, Any], str],
) -> None:
    _, lines, options, match = case
    repo = repository("polyline")
    with repo.transaction() as tx:
        writer = tx.writer("g")
        with pytest.raises((zvv.ArrayError, zvv.MetadataError), match=match):
            writer.append_polylines_sync(lines, **options)
        writer.append_polylines_sync([SQUARE], object_ids=5)
    assert level(repo).vertex_count == 4
    assert level(repo).link_attribute_names == level(repo).object_attribute_names == []


BAD_EDGES: list[tuple[str, Any, str, str]] = [
    ("three columns", [[0, 1, 2]], "graph", r"edges must have shape \(M, 2\).*\(1, 3\)"),
    ("flat", [0, 1], "graph", r"edges must have shape \(M, 2\)"),
    ("floats", [[0.0, 1.0]], "graph", "whole numbers"),
    ("booleans", [[True, False]], "graph", "whole numbers"),
    ("ragged", [[0, 1], [2]], "graph", "edges"),
    ("below", [[0, 1], [-1, 0]], "graph", r"1 of 2 edges .* edge 1: \[-1, 0\].*from 0 to 3"),
    ("beyond", [[0, 4]], "graph", r"edge 0: \[0, 4\]"),
    ("beyond int64", np.array([[0, 2**63]], "u8"), "graph", "edge 0"),
    ("loop", [[0, 1], [2, 2]], "graph", r"from a vertex to itself, .* edge 1: \[2, 2\]"),
    ("loop in a tree", [[1, 1]], "skeleton", "from a vertex to itself"),
    ("two parents", [[1, 0], [1, 2]], "skeleton", r"vertex 1, with 2; .*\(child, parent\)"),
    ("the same edge twice", [[1, 0], [1, 0]], "skeleton", "more than one parent"),
    ("there and back", [[1, 0], [0, 1]], "skeleton", "in a circle"),
    ("a circle", [[1, 0], [2, 1], [0, 2]], "skeleton", "in a circle: .* vertex [012] never"),
    ("a tail to a circle", [[3, 1], [1, 0], [0, 2], [2, 1]], "skeleton", "in a circle"),
    ("quads", [[0, 1, 2, 3]], "mesh", r"faces must have shape \(M, 3\).*triangles"),
    ("pairs", [[0, 1]], "mesh", r"faces must have shape \(M, 3\)"),
    ("face beyond", [[0, 1, 2], [1, 2, 9]], "mesh", r"1 of 2 faces .* face 1: \[1, 2, 9\]"),
]  # fmt: skip


@pytest.mark.parametrize("case", BAD_EDGES, ids=lambda case: case[0])
def test_links_that_do_not_fit_are_refused_before_anything_is_staged(
    case: tuple[str, Any, str, str],
) -> None:
    _, links, kind, match = case
    repo = repository(kind)
    verb = "mesh" if kind == "mesh" else "graph"
    with pytest.raises(zvv.ArrayError, match=match):
        append(repo, verb, SQUARE, links)
    assert repo.view()["g"][0].batches == []


def test_edges_between_objects_are_for_graphs_alone() -> None:
    ids = [1, 1, 2, 2]
    for kind in ("skeleton", "mesh"):
        given = (EDGES,) if kind == "skeleton" else ([[0, 1, 2]],)
        with pytest.raises(zvv.ArrayError, match=r"between different objects, .* of objects \["):
            append(repository(kind), VERBS_OF[kind], SQUARE, *given, object_ids=ids)
    repo = repository("graph")
    append(repo, "graph", SQUARE, EDGES, object_ids=ids)
    assert level(repo).link_count == 3
    assert len(level(repo).objects[1].edges) == len(level(repo).objects[2].edges) == 1
    assert len(level(repo).objects[[1, 2]].edges) == 3


VERBS_OF = {"skeleton": "graph", "graph": "graph", "mesh": "mesh"}


def test_a_graph_may_be_asked_to_be_a_tree_and_a_skeleton_cannot_be_excused() -> None:
    circle = [[0, 1], [1, 2], [2, 0]]
    repo = repository("graph")
    append(repo, "graph", SQUARE, circle)
    append(repo, "graph", SQUARE, EDGES, tree=True)
    with pytest.raises(zvv.ArrayError, match="in a circle"):
        append(repo, "graph", SQUARE, circle, tree=True)
    with pytest.raises(zvv.MetadataError, match="a skeleton is a tree"):
        append(repository("skeleton"), "graph", SQUARE, EDGES, tree=False)


def test_an_object_of_a_skeleton_may_have_several_roots() -> None:
    repo = repository("skeleton")
    assert append(repo, "graph", SQUARE, [[1, 0], [3, 2]])["new_objects"] == 1
    assert append(repo, "graph", SQUARE, [])["links_added"] == 0
    assert level(repo).num_objects == 2


def test_a_face_may_name_a_vertex_twice() -> None:
    repo = repository("mesh")
    append(repo, "mesh", SQUARE, [[0, 0, 1], [3, 3, 3]])
    read = level(repo).read()
    found = read.positions[read.faces]
    assert found.tolist() == SQUARE[[[0, 0, 1], [3, 3, 3]]].tolist()


@given(
    n=st.integers(1, 300),
    seed=st.integers(0, 2**32),
    roots=st.sampled_from([1, 3, 100]),
    breaks=st.booleans(),
)
def test_trees_numbered_in_any_order_are_told_from_circles(
    n: int, seed: int, roots: int, breaks: bool
) -> None:
    rng = np.random.default_rng(seed)
    name = rng.permutation(n)
    child = np.arange(min(roots, n), n)
    # Long chains and bushes both: a parent close behind, or anywhere before.
    near = rng.random(len(child)) < rng.random()
    parent = np.where(near, child - 1, (rng.random(len(child)) * child).astype(int))
    edges = np.stack([name[child], name[parent]], axis=1)
    edges = rng.permutation(edges)
    if not breaks or len(edges) == 0:
        _checks_links.tree(edges, n)
        return
    # Let an ancestor that has no parent descend from one of its own.
    up = {int(c): int(p) for c, p in edges.tolist()}
    start = top = int(edges[rng.integers(0, len(edges)), 0])
    while top in up:
        top = up[top]
    edges = np.concatenate([edges, [[top, start]]])
    with pytest.raises(zvv.ArrayError, match="in a circle"):
        _checks_links.tree(edges, n)


# ---- objects and their values ------------------------------------------------------------------


def test_lines_without_ids_are_objects_of_their_own_and_graphs_one_an_append() -> None:
    lines, skeletons = repository("polyline"), repository("skeleton")
    for first in (0, 2):
        told = append(lines, "polylines", [SQUARE, SQUARE])
        assert told["object_ids"].tolist() == [first, first + 1]
    for number in range(2):
        told = append(skeletons, "graph", SQUARE, [[1, 0]])
        assert told["object_ids"].tolist() == [number]


def test_values_of_objects_are_in_the_order_in_which_their_ids_first_appear() -> None:
    repo = repository("polyline")
    append(
        repo,
        "polylines",
        [SQUARE] * 5,
        object_ids=[30, 10, 30, 20, 10],
        object_attributes={"name": ["thirty", "ten", "twenty"], "xy": [[3, 3], [1, 1], [2, 2]]},
    )
    assert level(repo).object_ids().tolist() == [10, 20, 30]
    assert level(repo).object_attribute("name").tolist() == ["ten", "twenty", "thirty"]
    assert level(repo).object_attribute("xy").tolist() == [[1, 1], [2, 2], [3, 3]]
    mesh = repository("mesh")
    options = {"object_ids": [8, 8, 3, 3], "object_attributes": {"n": [88, 33]}}
    append(mesh, "mesh", SQUARE, [], **options)
    assert level(mesh).object_attribute("n").tolist() == [33, 88]
    points = repository("point_cloud")
    append(points, "vertices", SQUARE, **options)
    assert level(points).object_attribute("n").tolist() == [33, 88]


def test_an_object_goes_on_where_that_is_said_and_only_there() -> None:
    repo = repository("polyline")
    back = SQUARE[::-1]
    append(repo, "polylines", [SQUARE], object_ids=[5])
    with pytest.raises(zvv.ArrayError, match=r"overlap existing objects .*: 5\..*extend=True"):
        append(repo, "polylines", [back, back], object_ids=[5, 6])
    told = append(repo, "polylines", [back, back, SQUARE], object_ids=[5, 6, 5], extend=True)
    assert told["object_ids"].tolist() == [5, 6]
    assert told["new_objects"] == 1
    lines = level(repo).objects[5].lines()
    assert [line.tolist() for line in lines] == [a.tolist() for a in (SQUARE, back, SQUARE)]
    assert level(repo).object_ids().tolist() == [5, 6]
    assert level(repo).num_objects == 2


@pytest.mark.parametrize("kind", ["point_cloud", "graph", "mesh"])
def test_an_object_of_any_kind_may_go_on(kind: str) -> None:
    repo = repository(kind)
    append(repo, "vertices", SQUARE, object_ids=[1, 1, 2, 2])
    append(repo, "vertices", SQUARE, object_ids=[2, 3, 3, 2], extend=True)
    assert level(repo).object_ids().tolist() == [1, 2, 3]
    assert len(level(repo).objects[2]) == 4
    if kind != "point_cloud":
        links = [[0, 1]] if kind == "graph" else [[0, 1, 2]]
        append(repo, VERBS_OF[kind], SQUARE, links, object_ids=2, extend=True)
        assert len(level(repo).objects[2]) == 8


def test_what_was_removed_cannot_go_on() -> None:
    repo = repository("polyline")
    append(repo, "polylines", [SQUARE] * 3, object_ids=[1, 2, 3])
    with level(repo).writer() as writer:
        writer.remove_objects_sync([2])
        with pytest.raises(zvv.ArrayError, match=r"were removed from .*: 2\."):
            writer.append_polylines_sync([SQUARE], object_ids=[2], extend=True)
    with pytest.raises(zvv.ArrayError, match=r"were removed from .*: 2\."):
        append(repo, "polylines", [SQUARE] * 2, object_ids=[1, 2], extend=True)
    append(repo, "polylines", [SQUARE] * 2, object_ids=[1, 3], extend=True)
    assert level(repo).vertex_count == 16


def test_values_for_objects_that_were_there_before_are_refused() -> None:
    repo = repository("graph")
    append(repo, "graph", SQUARE, EDGES, object_ids=4, object_attributes={"a": [1]})
    with pytest.raises(zvv.ArrayError, match=r"4 were there before; .*add_object_attribute"):
        append(
            repo, "graph", SQUARE, EDGES, object_ids=[4, 4, 5, 5], extend=True,
            object_attributes={"a": [1, 2]},
        )  # fmt: skip
    append(repo, "graph", SQUARE, EDGES, object_ids=[4, 4, 5, 5], extend=True)
    assert level(repo).object_attribute("a").tolist() == [1, np.iinfo("i8").min]


# ---- forms -------------------------------------------------------------------------------------


def test_the_same_lines_in_any_form_are_stored_alike() -> None:
    forms: list[tuple[Any, dict[str, Any]]] = [
        ([SQUARE, SQUARE[:2]], {}),
        ((SQUARE.tolist(), SQUARE[:2].tolist()), {}),
        ((line for line in (SQUARE, SQUARE[:2])), {}),
        (np.array([SQUARE, SQUARE[:2]], object), {}),
        ([SQUARE.astype("f8"), SQUARE[:2].astype("i2")], {}),
        (np.concatenate([SQUARE, SQUARE[:2]]), {"offsets": [0, 4]}),
        (np.concatenate([SQUARE, SQUARE[:2]]), {"offsets": np.array([0, 4, 6], ">u4")}),
        (np.concatenate([SQUARE, SQUARE[:2]]).tolist(), {"offsets": (0, 4)}),
    ]
    for lines, options in forms:
        repo = repository("polyline")
        append(repo, "polylines", lines, **options)
        found = level(repo).read().lines()
        assert [line.tolist() for line in found] == [SQUARE.tolist(), SQUARE[:2].tolist()]


def test_lines_of_equal_length_may_come_as_one_array() -> None:
    repo = repository("streamline")
    told = append(repo, "polylines", np.stack([SQUARE, SQUARE + 1]), streamlines=True)
    assert told["new_objects"] == 2
    np.testing.assert_array_equal(level(repo).objects[1].positions, SQUARE + 1)
    with pytest.raises(zvv.MetadataError, match="streamlines=False"):
        append(repo, "polylines", [SQUARE], streamlines=False)


def test_values_of_endpoints_come_by_line_or_by_vertex() -> None:
    ends = SQUARE.reshape(2, 2, 2)
    repo = repository("line")
    append(
        repo,
        "lines",
        ends,
        object_ids=[7, 3],
        attributes={"a": [[1, 2], [3, 4]], "b": [1, 2, 3, 4], "c": np.ones((2, 2, 3))},
        link_attributes={"w": [70, 30]},
    )
    read = level(repo).read(attributes="all", link_attributes="all")
    assert read.attributes["a"].tolist() == read.attributes["b"].tolist() == [3, 4, 1, 2]
    assert read.attributes["c"].shape == (4, 3)
    assert read.link_attributes["w"].tolist() == [30, 70]
    assert [line.tolist() for line in read.lines()] == ends[::-1].tolist()
    for bad in (SQUARE, np.zeros((2, 3, 2)), 5):
        with pytest.raises(zvv.ArrayError, match=r"endpoints must have shape \(P, 2, D\)"):
            append(repo, "lines", bad)
    with pytest.raises(zvv.ArrayError, match=r"line 1 has 3 vertices; .* kind 'line'"):
        append(repo, "polylines", [SQUARE[:2], SQUARE[:3]])


def test_values_of_faces_go_by_either_name_not_by_both() -> None:
    repo = repository("mesh")
    faces = [[0, 1, 2], [0, 2, 3]]
    append(repo, "mesh", SQUARE, faces, face_attributes={"w": [1, 2]})
    append(repo, "mesh", SQUARE, faces, link_attributes={"w": [3, 4]})
    assert sorted(level(repo).face_attribute("w").tolist()) == [1, 2, 3, 4]
    with pytest.raises(zvv.ArrayError, match="two names of one thing"):
        append(repo, "mesh", SQUARE, faces, face_attributes={"w": [1, 2]}, link_attributes={})


def test_what_is_given_is_neither_changed_nor_needs_to_be_writable() -> None:
    rng = np.random.default_rng(1)
    points, ids = rng.uniform(0, 10, (300, 2)), np.repeat(rng.integers(0, 30, 100), 3)
    given = [points, np.arange(300).reshape(-1, 3)[:, ::-1].copy(), ids, rng.random(100)]
    before = [array.copy() for array in given]
    for array in given:
        array.flags.writeable = False
    repo = repository("mesh", vertex_dtype="float64")
    append(repo, "mesh", *given[:2], object_ids=ids, face_attributes={"w": given[3]})
    for array, copy in zip(given, before, strict=True):
        np.testing.assert_array_equal(array, copy)
    read = level(repo).read(link_attributes="w")
    order = np.argsort(given[3])
    found = read.positions[read.faces][np.argsort(read.link_attributes["w"])]
    np.testing.assert_array_equal(found, points[given[1]][order])


def test_lines_may_let_the_bounds_grow_and_lie_below_zero() -> None:
    repo = repository("polyline", bounds=([-3, -3], [3, 3]))
    far = np.array([[-50, 0], [50, 0], [-50, 0], [50, 0.5]], "f4")
    append(repo, "polylines", [far], out_of_bounds="expand", object_ids=[1])
    assert repo.view()["g"].bounds == ((-50, -3), (50, 3))
    read = level(repo).read()
    np.testing.assert_array_equal(read.positions, far)
    assert read.edges.tolist() == [[0, 1], [1, 2], [2, 3]]
    assert level(repo).read(bbox=([-60, -1], [0, 1])).parts.tolist() == [0, 1, 2]


def test_no_warning_comes_of_any_kind() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for verb, (given, kinds) in VERBS.items():
            repo = repository(kinds[0])
            append(repo, verb, *given)
            level(repo).read(bbox=([0, 0], [3, 3]))
            repr(level(repo).read())
            level(repo).read()._repr_html_()


# ---- what the peer gets wrong -------------------------------------------------------------------


def test_a_line_that_goes_there_and_back_keeps_its_order() -> None:
    repo = repository("polyline")
    x = np.array([1, 3, 5, 7, 9, 7.5, 5.5, 3.5, 1.5, 9.5])
    line = np.stack([x, np.full(10, 5)], axis=1)
    append(repo, "polylines", [line], dtype="f4")
    np.testing.assert_array_equal(level(repo).read().positions[:, 0], x)
    inside = level(repo).read(bbox=([2, 0], [8, 10]))
    assert [piece[:, 0].tolist() for piece in inside.lines()] == [[3, 5, 7], [7.5, 5.5, 3.5]]


def test_values_of_the_edges_of_a_skeleton_stay_with_their_edges() -> None:
    rng = np.random.default_rng(0)
    repo = repository("skeleton")
    points = rng.uniform(0, 10, (400, 2)).astype("f4")
    child = np.arange(1, 400)
    edges = rng.permutation(np.stack([child, rng.integers(0, child)], axis=1))
    length = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    append(repo, "graph", points, edges, link_attributes={"length": length})
    for query in ({}, {"bbox": ([0, 0], [6, 7])}, {"limit": 200}):
        read = level(repo).read(**query, link_attributes="length")
        ends = read.positions[read.edges]
        found = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)
        np.testing.assert_array_equal(read.link_attributes["length"], found)
        assert len(found) > 20
    ends = level(repo).positions()[level(repo).links()]
    found = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)
    np.testing.assert_array_equal(level(repo).link_attribute("length"), found)


@pytest.mark.parametrize("kind", ["polyline", "graph", "mesh"])
def test_an_append_over_thousands_of_cells_ends_inside_a_running_loop(kind: str) -> None:
    repo = repository(kind, chunk_shape=(0.1, 0.1))
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 10, (5_000, 2)).astype("f4")
    rows = np.arange(4_998)
    given = {
        "polyline": ([points],),
        "graph": (points, np.stack([rows, rows + 1], axis=1)),
        "mesh": (points, np.stack([rows, rows + 1, rows + 2], axis=1)),
    }[kind]
    verb = {"polyline": "polylines"}.get(kind, kind)

    async def work() -> dict[str, Any]:
        async with repo.transaction() as tx:
            writer = tx.writer("g")
            twin = getattr(writer, f"append_{verb}")(*given, object_ids=1)
            told: dict[str, Any] = getattr(writer, f"append_{verb}_sync")(*given, object_ids=2)
            await twin
            return told

    told = asyncio.run(asyncio.wait_for(work(), 60))
    assert told["chunks_touched"] > 3_000
    assert level(repo).vertex_count == 10_000
    assert len(level(repo).objects[1]) == len(level(repo).objects[2]) == 5_000


def test_the_first_vertices_of_lines_are_read_from_the_cells_that_hold_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    repo = repository("polyline", chunk_shape=(0.5, 0.5))
    rng = np.random.default_rng(0)
    lines = np.cumsum(rng.normal(0, 0.02, (50, 100, 2)), axis=1) + rng.uniform(3, 7, (50, 1, 2))
    append(repo, "polylines", lines, dtype="f4")
    whole = level(repo).read()
    read_cells = []
    of_reader = _read.LevelReader.positions_of

    def noting(reader: Any, selections: Any) -> np.ndarray:
        read_cells.append(sum(len(s.at) for s in selections))
        return of_reader(reader, selections)

    monkeypatch.setattr(_read.LevelReader, "positions_of", noting)
    first = level(repo).read(limit=150)
    np.testing.assert_array_equal(first.positions, whole.positions[:150])
    assert first.parts.tolist() == [0, 100, 150]
    assert sum(read_cells) < 20


def test_the_first_vertices_of_a_mesh_are_read_from_the_first_cells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    repo = repository("mesh", chunk_shape=(0.5, 0.5))
    rng = np.random.default_rng(0)
    append(
        repo, "mesh", rng.uniform(0, 10, (2_000, 2)), rng.integers(0, 2_000, (9_000, 3)), dtype="f4"
    )
    faces = level(repo).faces()
    read_cells = []
    of_reader = _read.LevelReader.positions_of

    def noting(reader: Any, selections: Any) -> np.ndarray:
        read_cells.append(sum(len(s.at) for s in selections))
        return of_reader(reader, selections)

    monkeypatch.setattr(_read.LevelReader, "positions_of", noting)
    first = level(repo).read(limit=600)
    assert first.vertex_ids.tolist() == [*range(600)]
    assert first.faces.tolist() == faces[(faces < 600).all(axis=1)].tolist()
    assert len(first.faces) > 100
    assert sum(read_cells) < 150


def test_a_coarser_level_takes_lines_and_meshes_too() -> None:
    for kind, verb, what in (
        ("polyline", "polylines", ([SQUARE],)),
        ("mesh", "mesh", (SQUARE, [[0, 1, 2]])),
    ):
        repo = repository(kind)
        with repo.transaction() as tx:
            tx.create_level("g", 1, method="as it is")
            told = getattr(tx.writer("g", level=1), f"append_{verb}_sync")(*what)
            assert told["links_added"] == {"polyline": 3, "mesh": 1}[kind]
        coarse = repo.view()["g"][1]
        assert (coarse.vertex_count, coarse.link_count) == (4, told["links_added"])
        assert level(repo).vertex_count == 0


# ---- views -------------------------------------------------------------------------------------


def test_what_there_is_none_of_says_so() -> None:
    points, mesh = repository("point_cloud"), repository("mesh")
    append(points, "vertices", SQUARE)
    assert level(points).links().shape == (0, 2)
    with pytest.raises(zvv.ArrayError, match="no lines"):
        level(points).read().lines()
    with pytest.raises(zvv.MetadataError, match="has no faces"):
        level(points).faces()
    with pytest.raises(zvv.NotFoundError, match="no link attribute 'w'"):
        level(mesh).read(link_attributes=["w"])
    assert level(mesh).faces().shape == (0, 3)
    assert level(mesh).read().faces.shape == (0, 3)


def test_an_abandoned_append_leaves_nothing() -> None:
    repo = repository("mesh")
    tx = repo.transaction()
    tx.writer("g").append_mesh_sync(SQUARE, [[0, 1, 2]], face_attributes={"w": [1]})
    tx.abort()
    assert level(repo).vertex_count == level(repo).link_count == 0
    assert level(repo).link_attribute_names == []
