"""Values of attributes: what is accepted, what is stored for them, and what comes back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tests._profiles  # noqa: F401
import zv_versioned as zvv
from zv_versioned.errors import IntegrityError
from zv_versioned.format.metadata import AttributeMeta
from zv_versioned.writing import values as _values


def parse(values: Any, n: int | None = None, **options: Any) -> _values.Values:
    n = len(values) if n is None else n
    return _values.parse("add_attribute('x')", values, n, f"count {n}", "x", **options)


# ---- text --------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@given(st.lists(st.none() | TEXT, max_size=30), st.sampled_from([1, 3, 1 << 16]))
def test_texts_come_back_from_codes_and_dictionary(texts: list[str | None], block: int) -> None:
    before, _values._BLOCK_VALUES = _values._BLOCK_VALUES, block
    try:
        parsed = parse(np.array(texts, object))
        stored = parsed.stored()
    finally:
        _values._BLOCK_VALUES = before
    assert stored.texts == sorted({text for text in texts if text is not None})
    assert (stored.rows.dtype, parsed.meta.logical) == (np.dtype("i4"), "str")
    dictionary = _values.unpack_texts(memoryview(_values.pack_texts(stored.texts)))
    assert _values.decode_texts(stored.rows, dictionary).tolist() == texts


@given(st.lists(TEXT, min_size=1, max_size=20), st.integers(0, 20), st.integers(0, 20))
def test_a_part_of_texts_has_a_dictionary_of_its_own(texts: list[str], a: int, b: int) -> None:
    stored = parse(np.array(texts, object)).stored(a, b)
    assert stored.texts is not None
    assert [stored.texts[code] for code in stored.rows.tolist()] == texts[a:b]
    assert stored.texts == sorted(set(texts[a:b]))


@pytest.mark.parametrize(
    "values",
    [
        np.array(["a", "bb", "a"]),
        ["a", "bb", "a"],
        ("a", "bb", "a"),
        np.array(["a", "bb", "a"], np.dtypes.StringDType()),
        pd.Series(["a", "bb", "a"]),
        pd.Series(["a", "bb", "a"], dtype="string"),
        pd.Series(["a", "bb", "a"], dtype="category"),
        np.array(["a", "bb", "a"], object)[::-1],
    ],
    ids=lambda v: f"{type(v).__name__} {getattr(v, 'dtype', '')}",
)
def test_text_in_any_form_is_stored_alike(values: Any) -> None:
    stored = parse(values).stored()
    assert (stored.texts, stored.rows.tolist()) == (["a", "bb"], [0, 1, 0])


@pytest.mark.parametrize("missing", [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT])
def test_what_stands_for_a_missing_text_is_missing(missing: Any) -> None:
    stored = parse(np.array([missing, "a", missing], object)).stored()
    assert (stored.texts, stored.rows.tolist()) == (["a"], [-1, 0, -1])


def test_a_code_that_the_dictionary_lacks_is_damage() -> None:
    dictionary = _values.unpack_texts(memoryview(_values.pack_texts(["a", "b"])))
    assert _values.decode_texts(np.array([1, -1, 0]), dictionary).tolist() == ["b", None, "a"]
    for code in (2, -2):
        with pytest.raises(IntegrityError, match="dictionary has 2"):
            _values.decode_texts(np.array([0, code]), dictionary)


def test_more_text_than_a_dictionary_can_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_values, "_MAX_TEXT", 100)
    assert parse(["ab"] * 1000).stored().texts == ["ab"]
    with pytest.raises(zvv.ArrayError, match="100 bytes of different texts"):
        parse([str(i) for i in range(1000)])


# ---- dates and spans ---------------------------------------------------------------------------

UNITS = ("s", "ms", "us", "ns", "D", "h", "25s", "W")


@given(
    st.lists(st.integers(-(2**40), 2**40) | st.none(), max_size=10),
    st.sampled_from(["M8", "m8"]),
    st.sampled_from(UNITS),
    st.sampled_from(UNITS),
)
def test_times_are_converted_exactly_or_refused(
    ticks: list[int | None], kind: str, unit: str, stored: str
) -> None:
    values = np.array([-(2**63) if t is None else t for t in ticks]).astype("i8")
    values = values.view(f"{kind}[{unit}]")
    target = np.dtype(f"{kind}[{stored}]")
    known = AttributeMeta("x", np.dtype("i8"), (), logical=target.name)
    second = 10**9
    nanoseconds = {"ns": 1, "us": 1000, "ms": 10**6, "s": second, "25s": 25 * second}
    nanoseconds |= {"h": 3600 * second, "D": 86400 * second, "W": 7 * 86400 * second}
    here, there = nanoseconds[unit], nanoseconds[stored]
    exact = [None if t is None else divmod(t * here, there) for t in ticks]
    fits = all(e is None or (e[1] == 0 and abs(e[0]) < 2**63) for e in exact)
    if fits:
        found = parse(values, known=known).stored().rows.tolist()
        assert found == [-(2**63) if e is None else e[0] for e in exact]
    else:
        with pytest.raises(zvv.ArrayError, match=r"would change|cannot become"):
            parse(values, known=known)


def test_cutting_times_off_must_be_meant() -> None:
    values = np.array(["2020-01-01T12", "NaT"], "M8[h]")
    kept = parse(values, dtype="M8[D]")
    assert kept.meta.logical == "datetime64[D]"
    assert kept.given.view("M8[D]")[0] == np.datetime64("2020-01-01")
    assert np.isnat(kept.given.view("M8[D]")[1])
    with pytest.raises(zvv.ArrayError, match=r"cannot become|would change"):
        parse(np.array([2**40], "M8[D]"), dtype="M8[ns]")


# ---- dtype= ------------------------------------------------------------------------------------


def test_the_dtype_that_is_asked_for_is_stored_and_rounding_is_meant() -> None:
    assert parse([0.1, 1e-50], dtype="f4").given.tolist() == np.array([0.1, 0], "f4").tolist()
    assert parse([1.0, 2.0], dtype="i2").given.dtype == np.dtype("i2")
    assert parse([1, 2], dtype=np.float16).meta.dtype == np.dtype("f2")
    assert parse([1, 2], dtype=">f8").meta.dtype == np.dtype("<f8")
    for dtype in (str, object, "U5", np.dtypes.StringDType()):
        assert parse(["a"], dtype=dtype).meta.logical == "str"


@pytest.mark.parametrize(
    ("values", "dtype", "words"),
    [
        ([1e300], "f4", "1e[+]300"),
        ([0.5], "i2", "0.5"),
        ([300], "u1", "300"),
        ([np.nan], "i8", "nan"),
        ([True], "i8", r"bool \(such as True\); convert the values first"),
        ([1], "?", r"int64 \(such as 1\); convert the values first"),
        (["1"], "i8", "convert the values first"),
        ([1], str, "is text in this level, got int64"),
        (["2020"], "M8[D]", "convert the values first"),
        ([1], "M8[s]", "convert the values first"),
        ([1], "c16", "complex128"),
        ([1], "M8", "without a unit"),
        ([1], "S5", "bytes40|S5"),
        ([1], "f16", "float128|longdouble"),
        ([1], "no such", "'no such' is no dtype"),
        ([1], [("a", "f4")], "void"),
    ],
)
def test_what_cannot_be_stored_as_asked_is_refused(values: Any, dtype: Any, words: str) -> None:
    with pytest.raises(zvv.ArrayError, match=words):
        parse(values, dtype=dtype)


# ---- what is refused ---------------------------------------------------------------------------


class Thing:
    pass


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([b"a"], "decode"),
        (np.array([b"a", "b"], object), "b'a'"),
        ([1j], "real and the imaginary"),
        (np.zeros(1, "V4"), "V4"),
        (np.zeros(1, np.longdouble), "float128|longdouble"),
        (np.array([Thing()], object), "Thing"),
        (np.array([1, "a"], object), "value 1"),
        ([1, "a"], "value 1"),
        (["a", 2.5], "value 2.5"),
        (np.array([[1], [2, 3]], object), "neither text"),
        (["\ud800"], "Unicode"),
        (np.zeros((1, 0)), r"\(1, 0\)"),
        (np.zeros((1, 1, 1)), r"\(1, 1, 1\)"),
        (5, r"got shape \(\)"),
        (pd.Series(pd.date_range("2020", periods=1, tz="UTC")), "Timestamp"),
        (np.ma.masked_equal([1, 2], 2), "masked"),
    ],
)
def test_what_is_no_value_is_refused_with_what_to_do(values: Any, words: str) -> None:
    with pytest.raises(zvv.ArrayError, match=words) as caught:
        parse(values, n=1)
    assert str(caught.value).startswith("add_attribute('x')")


@pytest.mark.filterwarnings("ignore:The 'generic' unit:DeprecationWarning")
@pytest.mark.parametrize("dtype", ["m8", "M8"])
def test_a_time_without_a_unit_is_refused(dtype: str) -> None:
    with pytest.raises(zvv.ArrayError, match=r"without a unit.*\[s\]"):
        parse(np.array(["NaT"], dtype))


@pytest.mark.parametrize("name", ["", "a/b", "..", "zarr.json", 5, None, " a"])
def test_a_name_that_no_array_can_have_is_refused(name: Any) -> None:
    with pytest.raises(zvv.MetadataError):
        _values.parse("x", [1], 1, "1", name)
