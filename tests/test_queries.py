"""Any mix of filters finds what numpy finds in the whole level, for every kind."""

from __future__ import annotations

import datetime
import operator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_link_attributes import drawn

import zv_versioned as zvv
from zv_versioned.reading import query as _query
from zv_versioned.reading import reader as _read
from zv_versioned.reading import where as _where
from zv_versioned.reading.reader import LevelReader

WORDS = ["ax", "pyramidal", "ünter", ""]
DAYS = np.arange("2020-01-01", "2020-01-11", dtype="datetime64[D]")


def values_of(rng: np.random.Generator, n: int) -> dict[str, Any]:
    weights = rng.integers(0, 8, n).astype("f4") / 4
    weights[rng.random(n) < 0.1] = np.nan
    words = np.array([*WORDS, None], object)[rng.integers(0, 5, n)]
    days = DAYS[rng.integers(0, 10, n)]
    days[rng.random(n) < 0.1] = "NaT"
    return {
        "weight": weights,
        "layer": rng.integers(-3, 4, n).astype("i2"),
        "word": words,
        "day": days,
        "good": rng.random(n) < 0.5,
        "color": rng.random((n, 3)),
    }


def filled(kind: str) -> zvv.Repository:
    """Four batches; the third has no values, and of all of them objects were removed."""
    rng = np.random.default_rng(11)
    if kind != "point_cloud":
        repo, _ = drawn(kind)
        level = repo.view()["p"][0]
        with repo.transaction() as tx:
            tx.writer("p").add_attribute_sync(
                "weight", values_of(rng, level.vertex_count)["weight"]
            )
            tx.writer("p").remove_objects_sync(level.object_ids()[[1, 10]])
        return repo
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind=kind, bounds=([0] * 3, [80] * 3), chunk_shape=[10] * 3)
        for number, n in enumerate((300, 40, 100, 200)):
            tx.writer("p").append_vertices_sync(
                np.round(rng.uniform(0, 80, (n, 3)) * 2).astype("f4") / 2,
                object_ids=rng.integers(0, 12, n) + 50 * number,
                attributes=values_of(rng, n) if number != 2 else None,
            )
    with repo.transaction() as tx:
        tx.writer("p").remove_objects_sync(repo.view()["p"][0].object_ids()[[2, 20, 30]])
    return repo


class Whole:
    """A level, and all of it in arrays."""

    def __init__(self, kind: str) -> None:
        self.level = filled(kind).view()["p"][0]
        read = self.level.read(attributes="all")
        self.read = read
        bases = np.cumsum([0, *(b.vertex_count for b in self.level.batches)])
        self.slot = np.searchsorted(bases, read.vertex_ids, side="right") - 1
        lacking = self.level._reader.state.table.content("vertex_attributes/layer") == 0
        self.has_values = ~lacking[self.slot]


@pytest.fixture(scope="module", params=["point_cloud", "streamline", "graph", "mesh"])
def whole(request: pytest.FixtureRequest) -> Whole:
    return Whole(request.param)


@pytest.fixture(scope="module")
def points() -> Whole:
    return Whole("point_cloud")


OPERATORS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def expected_where(values: np.ndarray, op: str, value: Any) -> np.ndarray:
    """What a condition means, one value after the other."""
    found = []
    for item in values.tolist() if values.dtype != "M8[D]" else values:
        missing = item is None or item != item
        if op in OPERATORS:
            found.append(not missing and bool(OPERATORS[op](item, value)))
        else:
            found.append(not missing and (item in value) == (op == "in"))
    return np.array(found, bool)


coordinates = st.integers(-2, 164).map(lambda i: i / 2)
boxes = st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=3).map(
    lambda sides: tuple(map(list, zip(*map(sorted, sides), strict=True)))
)
balls = st.tuples(st.lists(coordinates, min_size=3, max_size=3), st.integers(0, 80))
weights = st.tuples(
    st.just("weight"), st.sampled_from(sorted(OPERATORS)), st.integers(-1, 8).map(lambda i: i / 4)
)
conditions = st.one_of(
    weights,
    st.tuples(st.just("layer"), st.sampled_from(sorted(OPERATORS)), st.integers(-40000, 40000)),
    st.tuples(st.just("layer"), st.sampled_from(["<", ">="]), st.floats(-4, 4)),
    st.tuples(st.just("layer"), st.sampled_from(["in", "not in"]), st.lists(st.integers(-4, 4))),
    st.tuples(st.just("word"), st.sampled_from(sorted(OPERATORS)), st.sampled_from([*WORDS, "b"])),
    st.tuples(
        st.just("word"), st.sampled_from(["in", "not in"]), st.lists(st.sampled_from([*WORDS, "b"]))
    ),
    st.tuples(st.just("day"), st.sampled_from(sorted(OPERATORS)), st.sampled_from(list(DAYS))),
    st.tuples(st.just("good"), st.sampled_from(["==", "!="]), st.booleans()),
)


PLACES = [-0.5, 0.0, 0.1, 7, 10.0, 19.999999, 20, 40, 79.5, 80, 1e300, -(10**400), 10**400]
places = st.one_of(
    st.tuples(
        st.sampled_from(["x", "y", "z", "object_id"]),
        st.sampled_from(sorted(OPERATORS)),
        st.one_of(coordinates, st.sampled_from(PLACES), st.integers(-1, 60)),
    ),
    st.tuples(
        st.sampled_from(["x", "y", "z", "object_id"]),
        st.sampled_from(["in", "not in"]),
        st.lists(st.one_of(st.integers(-1, 60), coordinates), max_size=4),
    ),
)


def column(read: zvv.Geometry, name: str) -> np.ndarray:
    """What a condition of a name compares."""
    if name == "object_id":
        return read.object_ids
    return (
        read.positions[:, "xyz".index(name)] if name in ("x", "y", "z") else read.attributes[name]
    )


def draw_query(data: st.DataObject, whole: Whole) -> tuple[dict[str, Any], np.ndarray]:
    """Filters, and the rows of the whole that they leave."""
    read, query = whole.read, {}
    rows = np.ones(len(read), bool)
    if data.draw(st.booleans(), "a box?"):
        lo, hi = query["bbox"] = data.draw(boxes)
        rows &= ((read.positions >= lo) & (read.positions < hi)).all(axis=1)
    if data.draw(st.booleans(), "a ball?"):
        center, radius = query["near"] = data.draw(balls)
        rows &= np.linalg.norm(read.positions - np.array(center), axis=1) <= radius
    if data.draw(st.booleans(), "objects?"):
        there = sorted(set(read.object_ids.tolist()))
        query["objects"] = data.draw(st.lists(st.sampled_from(there)))
        rows &= np.isin(read.object_ids, query["objects"])
    if data.draw(st.booleans(), "batches?"):
        slots = sorted(set(whole.slot.tolist()))
        query["batches"] = data.draw(st.lists(st.sampled_from(slots)))
        rows &= np.isin(whole.slot, query["batches"])
    if data.draw(st.booleans(), "conditions?"):
        full = "word" in read.attributes
        of_values = conditions if full else weights
        query["where"] = data.draw(st.lists(st.one_of(of_values, places), max_size=3))
        for name, op, value in query["where"]:
            rows &= expected_where(column(read, name), op, value)
            if full and name in read.attributes:
                rows &= whole.has_values
    found = np.flatnonzero(rows)
    if data.draw(st.booleans(), "a limit?"):
        query["limit"] = data.draw(st.integers(0, 60))
        found = found[: query["limit"]]
    return query, found


@settings(max_examples=60)
@given(data=st.data(), window=st.sampled_from([20, 1 << 20]))
def test_any_mix_of_filters_finds_what_numpy_finds(
    whole: Whole, data: st.DataObject, window: int
) -> None:
    query, rows = draw_query(data, whole)
    names = data.draw(st.lists(st.sampled_from(whole.level.attribute_names)), "attributes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_read, "WINDOW_VERTICES", window)
        found = whole.level.read(attributes=names, **query)
    expected = whole.read
    np.testing.assert_array_equal(found.vertex_ids, expected.vertex_ids[rows])
    np.testing.assert_array_equal(found.positions, expected.positions[rows])
    np.testing.assert_array_equal(found.object_ids, expected.object_ids[rows])
    assert list(found.attributes) == list(dict.fromkeys(names))
    for name, values in found.attributes.items():
        np.testing.assert_array_equal(values, expected.attributes[name][rows])
        assert values.dtype == expected.attributes[name].dtype


# ---- conditions --------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["==", "!=", "<", "<=", ">", ">="])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tenth", np.array(0.1)),
        ("tenth", 0.1),
        ("tenth", np.float64(0.1)),
        ("tenth", np.float32(0.1)),
        ("large", np.int64(2**24 + 1)),
        ("large", 2**24 + 1),
        ("whole", np.float64(1.5)),
        ("whole", np.int64(2)),
        ("x", np.float64(0.1)),
    ],
)
def test_numbers_are_compared_as_numpy_compares_them(op: str, name: str, value: Any) -> None:
    columns = {
        "tenth": np.array([0.1, 0.1, 0.7], "f4"),
        "large": np.array([2**24, 2**24 + 2, 5], "f4"),
        "whole": np.array([1, 2, 3], "i4"),
    }
    points = np.array([[0.1, 0.5], [0.1, 0.6], [0.9, 0.7]], "f4")
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [1, 1]))
        tx.writer("p").append_vertices_sync(points, attributes=columns)
    level = repo.view()["p"][0]
    stored = level.attribute(name) if name in columns else level.positions()[:, 0]
    compare = {
        "==": np.equal,
        "!=": np.not_equal,
        "<": np.less,
        "<=": np.less_equal,
        ">": np.greater,
        ">=": np.greater_equal,
    }[op]
    expected = np.flatnonzero(compare(stored, value)).tolist()
    assert level.read(where={name: (op, value)}).vertex_ids.tolist() == expected


@pytest.mark.parametrize(
    "where",
    [
        {"weight": (">=", 0.5), "layer": 2},
        {"weight": [(">=", 0.5), ("<=", 9)], "layer": ("==", 2)},
        [("weight", ">=", 0.5), ("layer", "==", np.int64(2))],
        ({"layer": ("in", {2}), "weight": (">=", np.float32(0.5))}),
        [["weight", ">=", 0.5], ["layer", "in", np.array([2, 200])]],
    ],
)
def test_conditions_are_said_in_several_ways(points: Whole, where: Any) -> None:
    values = points.read.attributes
    rows = (values["weight"] >= 0.5) & (values["layer"] == 2)
    assert rows.sum() > 5
    found = points.level.read(where=where)
    np.testing.assert_array_equal(found.vertex_ids, points.read.vertex_ids[rows])


def test_times_are_given_in_any_unit_and_as_text(points: Whole) -> None:
    wanted = points.read.vertex_ids[points.read.attributes["day"] >= DAYS[4]]
    assert len(wanted) > 5
    for value in (DAYS[4], "2020-01-05", "2020-01-05T00:00:00", datetime.date(2020, 1, 5)):
        found = points.level.read(where={"day": (">=", value)}).vertex_ids
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("where", "error", "words"),
    [
        (5, zvv.ArrayError, ["mapping such as", "5"]),
        ("weight > 1", zvv.ArrayError, ["mapping such as"]),
        (("weight", ">", 1), zvv.ArrayError, ["(name, operator, value)", "into a list"]),
        ([("weight", ">")], zvv.ArrayError, ["(name, operator, value)"]),
        ({"nothing": 1}, zvv.NotFoundError, ["no attribute 'nothing'", "'weight'"]),
        ([(5, "==", 1)], zvv.NotFoundError, ["no attribute 5"]),
        (
            [("weight", "~", 1)],
            zvv.ArrayError,
            ["'weight' ~ 1", "==, !=, <, <=, >, >=, in, not in"],
        ),
        ([("weight", None, 1)], zvv.ArrayError, ["one of"]),
        ({"color": (">", 1)}, zvv.ArrayError, ["'color'", "3 values for each vertex"]),
        ({"weight": "heavy"}, zvv.ArrayError, ["'heavy'", "a number"]),
        ({"weight": np.nan}, zvv.ArrayError, ["NaN"]),
        ({"weight": True}, zvv.ArrayError, ["a number"]),
        ({"weight": None}, zvv.ArrayError, ["a number"]),
        ({"weight": [1, 2]}, zvv.ArrayError, ["[1, 2]", "a number"]),
        ({"weight": ("in", 3)}, zvv.ArrayError, ["in takes a list"]),
        ({"word": ("in", "ax")}, zvv.ArrayError, ["in takes a list"]),
        ({"word": ("in", ["ax", 5])}, zvv.ArrayError, ["text"]),
        ({"word": None}, zvv.ArrayError, ["text", "matches nothing"]),
        ({"word": 5}, zvv.ArrayError, ["text"]),
        ({"good": 1}, zvv.ArrayError, ["True or False"]),
        ({"day": "tomorrow"}, zvv.ArrayError, ["'tomorrow'", "no time"]),
        ({"day": 5}, zvv.ArrayError, ["5"]),
        ({"day": np.datetime64("NaT", "D")}, zvv.ArrayError, ["NaT"]),
    ],
    ids=str,
)
def test_a_condition_that_is_none_is_refused(
    points: Whole, where: Any, error: type[Exception], words: list[str]
) -> None:
    with pytest.raises(error) as caught:
        points.level.read(where=where)
    assert [word for word in words if word not in str(caught.value)] == []


def test_batches_without_values_are_not_read(
    points: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    read_window = LevelReader.read_window

    def watched(self: LevelReader, selections: Any, attributes: Any, **options: Any) -> Any:
        read.extend(s.row for s in selections)
        return read_window(self, selections, attributes, **options)

    monkeypatch.setattr(LevelReader, "read_window", watched)
    points.level.read(where={"good": True}, attributes=["good"])
    assert set(read) == {0, 1, 3}


@pytest.fixture(scope="module")
def ranged() -> zvv.Level:
    """Ten batches whose values lie apart, of every dtype that has an order."""
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0] * 3, [80] * 3))
        for number in range(10):
            steps = np.arange(20) % 10 + 10 * number
            tx.writer("p").append_vertices_sync(
                np.full((20, 3), number, "f4"),
                attributes={
                    "i": steps.astype("i4"),
                    "large": steps + (1 << 53),
                    "u": steps.astype("u8") + np.uint64(1 << 63),
                    "f": np.where(steps % 10 == 9, np.nan, steps).astype("f4") / 10,
                    "half": (steps / 8).astype("f2"),
                    "day": steps.astype("M8[D]"),
                    "took": steps.astype("m8[ms]"),
                    "good": steps >= 50,
                },
            )
    return repo.view()["p"][0]


numbers = st.integers(-20, 120)
ranged_values = {
    "i": st.one_of(numbers, numbers.map(lambda i: i / 2), st.sampled_from([-(10**400), 10**30])),
    "large": numbers.map(lambda i: i + (1 << 53)) | st.just(float(1 << 53)),
    "u": numbers.map(lambda i: i + (1 << 63)),
    "f": numbers.map(lambda i: i / 10) | st.sampled_from([1e300, -(10**400)]),
    "half": numbers.map(lambda i: i / 8) | st.floats(0, 10),
    "day": st.one_of(
        numbers.map(lambda i: np.datetime64(i, "D")),
        numbers.map(lambda i: np.datetime64(i * 25, "h")),
        st.integers(-1, 4).map(lambda i: np.datetime64(i, "M")),
    ),
    "took": numbers.map(lambda i: np.timedelta64(i * 900, "us")),
    "good": st.booleans(),
}


@settings(max_examples=50)
@given(data=st.data(), name=st.sampled_from(sorted(ranged_values)))
def test_what_is_left_out_by_its_smallest_and_largest_values_matches_nothing(
    ranged: zvv.Level, data: st.DataObject, name: str
) -> None:
    op = data.draw(st.sampled_from(_where.OPERATORS))
    value = data.draw(ranged_values[name])
    if op in ("in", "not in"):
        value = [value, data.draw(ranged_values[name])]
    condition = {name: (op, value)}
    found = ranged.read(where=condition).vertex_ids
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_where.Condition, "rows", lambda self, reader: np.ones(10, bool))
        expected = ranged.read(where=condition).vertex_ids
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("where", "batches"),
    [
        ({"i": 35}, [3]),
        ({"i": (">=", 75)}, [7, 8, 9]),
        ({"i": ("<", 9.5)}, [0]),
        ({"i": ("in", [5, 95])}, [0, 9]),
        ({"f": [(">", 2.05), ("<=", 4.0)]}, [2, 3, 4]),
        ({"day": ("<", "1970-01-15")}, [0, 1]),
        ({"took": (">", np.timedelta64(80, "ms"))}, [8, 9]),
        ({"good": True}, [5, 6, 7, 8, 9]),
        ({"i": 1000}, []),
        ([("i", "<", 30), ("good", "==", True)], []),
    ],
    ids=str,
)
def test_batches_whose_values_cannot_match_are_not_read(
    ranged: zvv.Level, where: Any, batches: list[int]
) -> None:
    assert {s.row for s in _query.parse(ranged._reader, where=where).plan} == set(batches)


def test_smallest_and_largest_values_follow_what_is_written_merged_and_removed() -> None:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0], [9]))
        for number in range(3):
            values = {"i": [10 * number, 10 * number + 1]}
            tx.writer("p").append_vertices_sync([[1.0], [2.0]], attributes=values)
    repo.create_branch("side", at="main")
    with repo.transaction("side") as tx:
        tx.writer("p").add_attribute_sync("i", np.arange(100, 106))
    with repo.transaction("main") as tx:
        tx.writer("p").append_vertices_sync([[3.0]], attributes={"i": [7]})
    with repo.transaction("main") as tx:
        tx.writer("p").remove_objects_sync([0])

    def rows(where: Any) -> list[int]:
        level = repo.view()["p"][0]
        plan = _query.parse(level._reader, where=where).plan
        every = level.attribute("i")
        op, value = where["i"]
        assert level.count(where=where) == OPERATORS[op](every, value).sum()
        return [s.row for s in plan]

    assert rows({"i": ("<", 9)}) == [0, 3]
    repo.merge("side", into="main")
    assert rows({"i": (">=", 104)}) == [2]
    assert rows({"i": ("<", 9)}) == [3]
    repo.revert("main", branch="main", parent=1)
    assert rows({"i": ("<", 9)}) == [0, 3]
    with repo.transaction("main") as tx:
        tx.writer("p").drop_attribute_sync("i")
        tx.writer("p").add_attribute_sync("i", np.arange(6) / 4)
    assert rows({"i": (">", 1.1)}) == [3]


def test_an_attribute_that_is_asked_for_and_compared_is_read_once(
    points: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    target = LevelReader._target

    def watched(self: LevelReader, array: str, *rest: Any, **options: Any) -> Any:
        read.append(array)
        return target(self, array, *rest, **options)

    monkeypatch.setattr(LevelReader, "_target", watched)
    points.level.read(where=[("layer", ">", 0), ("layer", "<", 3)], attributes=["layer"])
    assert sorted(read) == ["vertex_attributes/layer", "vertices"]


def test_the_operators_are_those_that_are_documented() -> None:
    said = zvv.Level.read.__doc__ or ""
    assert [op for op in _where.OPERATORS if f"``{op}``" not in said] == []


@pytest.mark.parametrize("where", [{"c": ("=", 1)}, {"c": [("=", 1)]}, [("c", "=", 1)]])
def test_an_operator_that_is_unknown_is_said_with_those_that_there_are(where: Any) -> None:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [9, 9]))
        tx.writer("p").append_vertices_sync(np.eye(2, dtype="f4"), attributes={"c": [1.0, 2.0]})
    with pytest.raises(zvv.ArrayError, match=r"'c' = 1: the operator must be one of ==, .*not in"):
        repo.view()["p"][0].read(where=where)


# ---- coordinates and ids -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def row_of_batches() -> zvv.Level:
    """Ten batches of 32 points, each in a tenth of the first axis and with four objects."""
    repo = zvv.Repository.create("memory://")
    rng = np.random.default_rng(1)
    with repo.transaction() as tx:
        bounds = ([0, 0, 0], [80, 80, 80])
        tx.create_dataset("p", kind="point_cloud", bounds=bounds, chunk_shape=(8, 80, 80))
        for i in range(10):
            points = rng.uniform([8 * i, 0, 0], [8 * i + 8, 8, 8], (32, 3)).astype("f4")
            tx.writer("p").append_vertices_sync(points, object_ids=4 * i + np.arange(32) % 4)
    return repo.view()["p"][0]


@pytest.mark.parametrize(
    ("where", "batches"),
    [
        ([("x", "<", 16)], [0, 1]),
        ([("x", ">", 75)], [9]),
        ([("x", ">", 30), ("x", "<=", 31)], [3]),
        ([("x", ">", 31), ("x", "<", 30)], []),
        ({"x": ("in", [1, 3])}, [0]),
        ({"x": ("in", [])}, []),
        ({"x": ("!=", 1)}, list(range(10))),
        ({"object_id": 13}, [3]),
        ({"object_id": ("in", [0, 39])}, [0, 9]),
        ([("object_id", ">=", 36), ("x", "<", 40)], []),
        ({"object_id": 10**30}, []),
    ],
    ids=str,
)
def test_batches_whose_coordinates_or_ids_cannot_match_are_not_read(
    row_of_batches: zvv.Level, where: Any, batches: list[int]
) -> None:
    plan = _query.parse(row_of_batches._reader, where=where).plan
    assert [s.row for s in plan] == batches


def test_cells_whose_coordinates_cannot_match_are_not_read() -> None:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [8, 8]), chunk_shape=(1, 1))
        points = np.stack(np.meshgrid(np.arange(8), np.arange(8)), -1).reshape(-1, 2) + 0.5
        tx.writer("p").append_vertices_sync(points.astype("f4"))
    level = repo.view()["p"][0]
    request = _query.parse(level._reader, bbox=([0, 0], [8, 2]), where={"x": ("<", 3)})
    assert sum(len(s.at) for s in request.plan) <= 4 * 3
    assert level.count(bbox=([0, 0], [8, 2]), where={"x": ("<", 3)}) == 3 * 2


def test_coordinates_and_ids_are_told_by_all_that_takes_conditions(
    row_of_batches: zvv.Level,
) -> None:
    level, where = row_of_batches, [("y", "<", 4), ("object_id", "not in", [0, 1, 2])]
    read = level.read()
    rows = (read.positions[:, 1] < 4) & (read.object_ids > 2)
    assert level.count(where=where) == rows.sum()
    lo, hi = level.bounds(where=where) or ((), ())
    np.testing.assert_array_equal(lo, read.positions[rows].min(axis=0))
    np.testing.assert_array_equal(hi, read.positions[rows].max(axis=0))
    sampled = level.sample(10_000, where=where)
    np.testing.assert_array_equal(sampled.vertex_ids, np.flatnonzero(rows))


def test_an_attribute_goes_before_an_axis_and_before_the_id_of_the_object() -> None:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [8, 8]), chunk_shape=(8, 8))
        mine = {"x": np.array([5, 6]), "object_id": np.array(["a", "b"])}
        tx.writer("p").append_vertices_sync(np.eye(2, dtype="f4"), attributes=mine)
    level = repo.view()["p"][0]
    assert level.read(where={"x": 6}).vertex_ids.tolist() == [1]
    assert level.read(where={"object_id": "a"}).vertex_ids.tolist() == [0]
    assert level.read(where={"y": 0}).vertex_ids.tolist() == [0]


def test_axes_go_by_their_own_names_and_objects_that_are_not_there_stay_an_error() -> None:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        axes = [{"name": name, "type": "space"} for name in ("row", "depth")]
        tx.create_dataset(
            "p", kind="point_cloud", bounds=([0, 0], [8, 8]), chunk_shape=(8, 8), axes=axes
        )
        tx.writer("p").append_vertices_sync(np.eye(2, dtype="f4"))
    level = repo.view()["p"][0]
    assert level.read(where={"depth": 1}).vertex_ids.tolist() == [1]
    with pytest.raises(zvv.NotFoundError, match=r"no attribute 'x'.*'row', 'depth', 'object_id'"):
        level.read(where={"x": 1})
    with pytest.raises(zvv.ArrayError, match="'depth' is compared with a number"):
        level.read(where={"depth": "deep"})
    for nothing in ({"row": ("<", -1)}, [("row", "<", 0), ("row", ">", 1)]):
        with pytest.raises(zvv.NotFoundError, match="no object 77"):
            level.read(objects=[77], where=nothing)


def test_objects_may_be_a_set(points: Whole) -> None:
    ids = points.level.object_ids()[:3].tolist()
    for asked in (set(ids), frozenset(ids), dict.fromkeys(ids).keys()):
        found = points.level.read(objects=asked)
        assert set(found.object_ids.tolist()) == set(ids)
    assert len(points.level.read(objects=set()).positions) == 0
    with pytest.raises(zvv.ArrayError, match="from 0 to 9223372036854775807"):
        points.level.read(objects=[2**64])
