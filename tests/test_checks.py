"""What is accepted of the user's arrays, names and settings, and what is said where it is not."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tests._profiles  # noqa: F401
import zv_versioned as zvv
from zv_versioned import _checks, _paths
from zv_versioned.format.metadata import AttributeMeta
from zv_versioned.spatial.boxes import Box
from zv_versioned.writing import values as _values

POSITION_DTYPES = ["f4", "f8", "i1", "i2", "i4", "u1", "u2", "u4"]
VALUE_DTYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]
EDGES = [0, 0.1, 0.5, -1, 127, 128, 255, 256, 32767, 65535, 2**24 + 1, 2**31, 2**53 + 1, 2**63 - 1]
EDGES += [2**64 - 1, -(2**31), -(2**53) - 1, -(2**63), 1e30, 1e300, np.nan, np.inf]


def holds(dtype: str, value: float) -> bool:
    """Whether a dtype holds a number exactly; Python compares whole numbers and floats exactly."""
    kind = np.dtype(dtype)
    if value != value or abs(value) == np.inf:
        return kind.kind == "f"
    if kind.kind == "f":
        with np.errstate(over="ignore"):
            return float(np.float64(value).astype(kind)) == value
    return int(value) == value and np.iinfo(kind).min <= value <= np.iinfo(kind).max


def same(kept: list[Any], values: list[Any]) -> bool:
    return all(a == b or (a != a and b != b) for a, b in zip(kept, values, strict=True))


def values_of(dtype: str) -> st.SearchStrategy[list[Any]]:
    """Values that a dtype holds, those at the edges of other dtypes among them."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        number: st.SearchStrategy[Any] = st.floats(width=8 * kind.itemsize)  # type: ignore[arg-type]
    else:
        number = st.integers(int(np.iinfo(kind).min), int(np.iinfo(kind).max))
    edges = [v for v in EDGES if holds(dtype, v)]
    return st.lists(number | st.sampled_from(edges), min_size=1, max_size=4)


@pytest.mark.filterwarnings("error")
@given(st.data(), st.sampled_from(VALUE_DTYPES), st.sampled_from(POSITION_DTYPES))
def test_coordinates_are_stored_as_given_or_refused(
    data: st.DataObject, given_dtype: str, stored: str
) -> None:
    values = data.draw(values_of(given_dtype))
    array = np.array(values, given_dtype)[:, None]
    if all(holds(stored, v) for v in values):
        kept = _checks.positions(array, 1, np.dtype(stored))
        assert kept.dtype == np.dtype(stored)
        assert same(kept[:, 0].tolist(), values)
    else:
        with pytest.raises(zvv.ArrayError, match=f"would change as {np.dtype(stored).name}"):
            _checks.positions(array, 1, np.dtype(stored))


def appended(array: np.ndarray, known: AttributeMeta) -> _values.Values:
    (values,) = _values.appended({"a": array}, len(array), {"a": known})
    return values


@pytest.mark.filterwarnings("error")
@given(st.data(), st.sampled_from(VALUE_DTYPES), st.sampled_from(VALUE_DTYPES))
def test_attribute_values_are_stored_as_given_or_refused(
    data: st.DataObject, given_dtype: str, stored: str
) -> None:
    values = data.draw(values_of(given_dtype))
    array = np.array(values, given_dtype)
    known = AttributeMeta("a", np.dtype(stored), ())
    if all(holds(stored, v) for v in values):
        kept = appended(array, known).given
        assert kept.dtype == np.dtype(stored)
        assert same(kept.tolist(), values)
    else:
        with pytest.raises(zvv.ArrayError, match=f"'a': .* change as {np.dtype(stored).name}"):
            appended(array, known)


@pytest.mark.parametrize(
    ("given_dtype", "value", "stored"),
    [("i1", -1, "u1"), ("u1", 200, "i1"), ("i8", -1, "u8"), ("i2", -1, "u4"), ("u4", 2**31, "i4")],
)
def test_a_whole_number_never_wraps_around(given_dtype: str, value: int, stored: str) -> None:
    known = AttributeMeta("a", np.dtype(stored), ())
    with pytest.raises(zvv.ArrayError, match=str(value)):
        appended(np.array([value], given_dtype), known)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("stored", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
def test_no_whole_number_stands_for_infinity_or_nan(stored: str, value: float) -> None:
    known = AttributeMeta("a", np.dtype(stored), ())
    for given_dtype in ("f2", "f4", "f8"):
        with pytest.raises(zvv.ArrayError, match=r"inf|nan"):
            appended(np.array([value], given_dtype), known)


def test_the_remedy_for_an_attribute_that_would_be_rounded_is_one_that_helps() -> None:
    known = AttributeMeta("a", np.dtype("f4"), ())
    with pytest.raises(zvv.ArrayError, match=r"0\.1") as caught:
        appended(np.array([0.1]), known)
    # dtype= of an append is about coordinates.
    assert "pass dtype=" not in str(caught.value)


def test_whole_numbers_that_float64_cannot_hold_are_refused() -> None:
    for dtype, value in (("i8", 2**53 + 1), ("u8", 2**64 - 1)):
        with pytest.raises(zvv.ArrayError, match=str(value)):
            _checks.positions(np.array([[value]], dtype), 1, np.dtype("f8"))


def test_rounding_that_is_meant_still_refuses_what_overflows() -> None:
    kept = _checks.positions(np.array([[0.1]]), 1, np.dtype("f4"), "float32")
    assert kept.tolist() == [[float(np.float32(0.1))]]
    with pytest.raises(zvv.ArrayError, match=r"1e\+300"):
        _checks.positions(np.array([[0.1], [1e300]]), 1, np.dtype("f4"), "float32")
    with pytest.raises(zvv.ArrayError, match=r"as int16 .*0\.5"):
        _checks.positions(np.array([[0.5]]), 1, np.dtype("i2"), "int16")


def test_the_count_of_rows_that_would_change_is_right_beyond_one_block() -> None:
    array = np.zeros((200_000, 2))
    array[[5, 70_000, 199_999], 1] = 0.1
    with pytest.raises(zvv.ArrayError, match="in 3 of 200,000 rows"):
        _checks.positions(array, 2, np.dtype("f4"))


def test_what_was_given_in_the_right_form_is_not_copied() -> None:
    array = np.zeros((5, 3), "f4")
    assert np.shares_memory(_checks.positions(array, 3, np.dtype("f4")), array)


@given(
    st.lists(st.integers(-5, 2**63 + 5), min_size=1, max_size=5),
    st.sampled_from(["list", "u8", "i8", "object"]),
)
def test_ids_are_kept_exactly_or_refused(ids: list[int], form: str) -> None:
    lo, hi = min(ids), max(ids)
    given_ids: Any = ids
    if lo >= 0 and (form == "u8" or (form == "i8" and hi < 2**63)):
        given_ids = np.array(ids, form)
    elif form == "object":
        given_ids = np.array(ids, object)
    try:
        kept = _checks.object_ids(given_ids, len(ids))
    except zvv.ArrayError:
        assert form == "object" or lo < 0 or hi > 2**63 - 1
    else:
        assert kept.dtype == np.int64
        assert kept.tolist() == ids


@pytest.mark.parametrize(
    ("dtype", "lo", "hi", "good", "bad"),
    [
        ("f4", 0.1, 0.3, [0.1, 0.3], [0.0999, 0.3001]),
        ("f8", 0.1, 0.3, [0.1, 0.3], [np.nextafter(0.1, 0), np.nextafter(0.3, 1)]),
        ("i2", 0.5, 3.5, [1, 3], [0, 4]),
        ("f4", -1e300, 1e300, [0, -3e38, 3e38], []),
    ],
)
@pytest.mark.filterwarnings("error")
def test_bounds_are_closed_in_the_dtype_of_the_coordinates(
    dtype: str, lo: float, hi: float, good: list[float], bad: list[float]
) -> None:
    bounds = Box(np.array([lo]), np.array([hi]))
    for value in good + bad:
        array = np.array([[value]], dtype)
        box = _checks.box_of_finite(array)
        if value in good:
            _checks.within(array, box, bounds)
        else:
            with pytest.raises(zvv.ArrayError, match='out_of_bounds="expand"'):
                _checks.within(array, box, bounds)


# ---- names -------------------------------------------------------------------------------------


@given(st.text(st.characters(), max_size=12))
def test_a_name_is_accepted_or_refused_by_our_own_error(name: str) -> None:
    for check in (lambda: _paths.check_name(name, "attribute"), lambda: _paths.check_dataset(name)):
        try:
            check()
        except zvv.MetadataError:
            continue
        assert name.encode("utf-8").decode("utf-8") == name
        assert not any(unicodedata.category(c) == "Cc" for c in name)
        assert ".." not in name


@pytest.mark.parametrize("character", ["\0", "\n", "\x1b", "\x7f", "\x80", "\x85", "\x9f"])
def test_a_name_has_no_control_characters(character: str) -> None:
    with pytest.raises(zvv.MetadataError, match="control characters"):
        _paths.check_name(f"a{character}b", "attribute")


def test_a_name_that_is_no_text_in_utf8_is_refused_like_any_other() -> None:
    with pytest.raises(zvv.MetadataError):
        _paths.check_name("a\ud800", "attribute")


def test_names_that_people_have_are_accepted() -> None:
    for name in ["confidence", "größe in nm", "a:b", "x.y", "c", "0", "uuid", "attribute:a", "点"]:
        assert _paths.check_name(name, "attribute") == name
    for name in ["", "synapses", "brain/left/synapses", "a b", "v1"]:
        assert _paths.check_dataset(name) == name


# ---- new datasets ------------------------------------------------------------------------------

GOOD: dict[str, Any] = {"kind": "point_cloud", "bounds": ([0, 0], [9, 9])}
BAD_DATASETS: list[tuple[str, dict[str, Any], Sequence[str]]] = [
    ("bounds reversed", {"bounds": ([0, 9], [9, 0])}, ["reversed on axis 1", "lo 9 > hi 0"]),
    ("bounds NaN", {"bounds": ([0, np.nan], [9, 9])}, ["bounds", "nan", "axis 1"]),
    ("bounds infinite", {"bounds": ([0, 0], [9, np.inf])}, ["finite", "inf"]),
    (
        "bounds of two lengths",
        {"bounds": ([0, 0], [9])},
        ["same length", "([0, 0], [9])", "([0, 0], [9, 9])"],
    ),
    ("bounds without axes", {"bounds": ([], [])}, ["bounds"]),
    ("bounds of five axes", {"bounds": ([0] * 5, [1] * 5)}, ["5 axes", "1 to 4"]),
    ("bounds None", {"bounds": None}, ["pair (lo, hi)", "None"]),
    ("bounds of text", {"bounds": (["a", "b"], ["c", "d"])}, ["pair (lo, hi)"]),
    ("bounds three", {"bounds": ([0], [1], [2])}, ["pair (lo, hi)"]),
    ("bounds flat", {"bounds": (0, 9)}, ["same length", "(0, 9)"]),
    ("chunk zero", {"chunk_shape": (1, 0)}, ["chunk_shape", "positive", "(1, 0)"]),
    ("chunk negative", {"chunk_shape": (-1, 1)}, ["chunk_shape", "positive", "(-1, 1)"]),
    ("chunk NaN", {"chunk_shape": (np.nan, 1)}, ["chunk_shape", "finite", "nan"]),
    ("chunk infinite", {"chunk_shape": (np.inf, 1)}, ["chunk_shape", "finite", "inf"]),
    ("chunk of three", {"chunk_shape": (1, 1, 1)}, ["chunk_shape", "2 numbers", "(1, 1, 1)"]),
    ("chunk of text", {"chunk_shape": "ab"}, ["chunk_shape", "'ab'"]),
    ("chunk too small", {"chunk_shape": (1e-6, 1)}, ["9e+06", "larger chunks"]),
    ("chunk vanishing", {"chunk_shape": (5e-324, 1)}, ["larger chunks"]),
    ("kind unknown", {"kind": "cloud"}, ["'cloud'", "point_cloud"]),
    ("kind None", {"kind": None}, ["None", "point_cloud"]),
    ("dtype half", {"vertex_dtype": "f2"}, ["float16", "float32"]),
    ("dtype int64", {"vertex_dtype": "i8"}, ["int64", "int32"]),
    ("dtype nonsense", {"vertex_dtype": "float33"}, ["'float33'"]),
    ("dtype broken", {"vertex_dtype": ","}, ["','"]),
    ("dtype text", {"vertex_dtype": "U4"}, ["str", "float32"]),
    ("axes too few", {"axes": ["x"]}, ["2 axes", "['x']"]),
    ("axes twice", {"axes": ["x", "x"]}, ["distinct", "['x', 'x']"]),
    ("axes called batch", {"axes": ["batch", "x"]}, ["'batch'"]),
    ("axes without name", {"axes": [{"type": "space"}, "x"]}, ["no name"]),
    ("axes unknown key", {"axes": [{"name": "x", "colour": "red"}, "y"]}, ["colour"]),
    ("axes out of order", {"axes": ["x", {"name": "t", "type": "time"}]}, ["order", "time"]),
    ("axes number", {"axes": 5}, ["5"]),
    ("axes of numbers", {"axes": [5, 6]}, ["5"]),
    ("metadata NaN", {"metadata": {"a": float("nan")}}, ["metadata", "JSON"]),
    ("metadata key", {"metadata": {1: 2}}, ["metadata", "1", "text"]),
    ("metadata object", {"metadata": {"a": object()}}, ["metadata", "JSON"]),
    ("metadata large", {"metadata": {"a": 2**70}}, ["metadata", str(2**70), "64 bits"]),
    ("metadata list", {"metadata": [1]}, ["metadata"]),
    ("name number", {"name": "a/0"}, ["'a/0'", "levels"]),
    ("name of a level", {"name": "7"}, ["'7'", "levels"]),
    ("name dots", {"name": "a/.."}, ["'..'"]),
    ("name empty part", {"name": "a//b"}, ["empty"]),
    ("name absolute", {"name": "/a"}, ["empty"]),
    ("name control", {"name": "a\nb"}, [r"'a\nb'", "control characters"]),
    ("name backslash", {"name": "a\\b"}, ["'a\\\\b'"]),
    ("name padded", {"name": " a"}, ["' a'"]),
    ("name number type", {"name": 5}, ["text", "5"]),
    ("name long", {"name": "x" * 256}, ["256 bytes", "255"]),
    ("name exists", {"name": "p"}, ["'p' exists", "tx.writer('p')"]),
    ("name staged", {"name": "staged"}, ["'staged' exists"]),
    ("name inside another", {"name": "p/q"}, ["'p/q'", "'p'", "another name"]),
    ("name around another", {"name": "deep"}, ["'deep'", "'deep/er'", "another name"]),
]


@pytest.mark.parametrize(
    ("wrong", "words"), [case[1:] for case in BAD_DATASETS], ids=[case[0] for case in BAD_DATASETS]
)
def test_a_refused_dataset_says_why_and_nothing_is_written(
    wrong: dict[str, Any], words: Sequence[str]
) -> None:
    repo = zvv.Repository.create("memory://")
    for name in ("p", "deep/er"):
        with repo.transaction() as tx:
            tx.create_dataset(name, **GOOD)
    tip = repo.resolve("main")
    arguments = {"name": "new", **GOOD, **wrong}
    with repo.transaction() as tx:
        tx.create_dataset("staged", **GOOD)
        with pytest.raises(zvv.MetadataError) as caught:
            tx.create_dataset(**arguments)
        assert repo.resolve("main") == tip
        tx.create_dataset("after", **GOOD)
        tx.writer("after").append_vertices_sync(np.ones((1, 2), "f4"))
    text = str(caught.value)
    assert [word for word in words if word not in text] == []
    view = repo.view()
    assert set(view) == {"after", "deep/er", "p", "staged"}
    assert view["after"][0].vertex_count == 1
    with pytest.raises(zvv.MetadataError), repo.transaction() as tx:  # noqa: PT012
        tx.create_dataset("first", **GOOD)
        tx.create_dataset(**arguments)
    assert repo.view().datasets == view.datasets


def test_a_grid_that_cannot_be_addressed_is_refused_when_it_is_made() -> None:
    repo = zvv.Repository.create("memory://")
    tx = repo.transaction()
    with pytest.raises(zvv.MetadataError, match="larger chunks"):
        tx.create_dataset(
            "p", kind="point_cloud", bounds=([0] * 4, [1e6] * 4), chunk_shape=(1, 1, 1, 1)
        )


def test_one_commit_may_make_and_fill_several_datasets() -> None:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", **GOOD)
    points = np.array([[1, 1], [5, 5], [9, 9]], "f4")
    names = ["", "a", "b/c", "b/d/e"]
    with repo.transaction() as tx:
        for number, name in enumerate(names):
            meta = tx.create_dataset(name, metadata={"number": number}, **GOOD)
            assert (meta.name, meta.kind) == (name, "point_cloud")
            tx.writer(name).append_vertices_sync(points[:number], object_ids=number + 7)
        tx.writer("p").append_vertices_sync(points)
    assert tx.result is not None
    assert (tx.result.vertices_committed, tx.result.objects_committed) == (9, 6)
    ids = {name: ids.tolist() for name, ids in tx.result.object_ids.items()}
    assert ids == {"a": [8], "b/c": [9], "b/d/e": [10], "p": [0, 1, 2]}
    view = repo.view()
    assert view.datasets == ["", "a", "b/c", "b/d/e", "p"]
    assert len(view) == 5
    for number, name in enumerate(names):
        assert view[name].metadata == {"number": number}
        np.testing.assert_array_equal(view[name][0].positions(), points[:number])
    assert repo.view("main~1").datasets == ["p"]


def test_the_bounds_of_the_root_dataset_survive_a_dataset_made_beside_it() -> None:
    repo = zvv.Repository.create("memory://")
    far = np.array([[20, 5]], "f4")
    with repo.transaction() as tx:
        tx.create_dataset("", metadata={"mine": 1}, **GOOD)
        tx.writer("").append_vertices_sync(far, out_of_bounds="expand")
        tx.create_dataset("q", **GOOD)
    with repo.transaction() as tx:
        tx.create_dataset("r", **GOOD)
        tx.writer("").append_vertices_sync(-far, out_of_bounds="expand")
        tx.create_dataset("s", **GOOD)
    root = repo.view()[""]
    assert (root.bounds, root.metadata) == (((-20, -5), (20, 9)), {"mine": 1})
    assert set(repo.view()) == {"", "q", "r", "s"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"object_ids": 2**64}, "18446744073709551616"),
        ({"object_ids": [1.0, 2.0]}, r"such as 1\.0\).*astype\('int64'\)"),
        ({"object_ids": ["a", "b"]}, "such as 'a'"),
        ({"extend": "yes"}, "extend must be True or False, got 'yes'"),
        ({"dtype": "foo"}, "dtype='foo' is no dtype; this level stores dtype='float32'"),
    ],
)
def test_what_an_append_refuses_is_said_with_the_value_and_what_to_do(
    given: dict[str, Any], said: str
) -> None:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [9, 9]))
        with pytest.raises(zvv.ArrayError, match=said):
            tx.writer("p").append_vertices_sync(np.eye(2, dtype="f4"), **given)
