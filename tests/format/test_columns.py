"""Named columns in one payload."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from zv_versioned.errors import IntegrityError
from zv_versioned.format import columns

dtypes = st.sampled_from(["<i8", "<i4", "u1", "<u8", "<f4", ">f8", "?", "<i2"]).map(np.dtype)
arrays = dtypes.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=3, min_side=0))
)
tables = st.dictionaries(st.text(max_size=12), arrays, max_size=5)


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return list(a) == list(b) and all(
        a[n].dtype == b[n].dtype and a[n].shape == b[n].shape and a[n].tobytes() == b[n].tobytes()
        for n in a
    )


@given(table=tables)
def test_columns_come_back_as_they_were_and_in_their_order(table: dict[str, np.ndarray]) -> None:
    assert same(columns.unpack(memoryview(columns.pack(table))), table)


@given(table=tables)
def test_columns_lie_aligned_to_eight_bytes(table: dict[str, np.ndarray]) -> None:
    payload = memoryview(columns.pack(table))
    assert len(payload) % 8 == 0
    base = np.frombuffer(payload, np.uint8).__array_interface__["data"][0]
    for column in columns.unpack(payload).values():
        assert (column.__array_interface__["data"][0] - base) % 8 == 0


def test_columns_that_do_not_lie_in_one_piece_come_back_as_they_were() -> None:
    table = {"a": np.arange(20).reshape(4, 5)[::2, ::-2], "b": np.asfortranarray(np.eye(3))}
    assert same(
        columns.unpack(memoryview(columns.pack(table))),
        {name: np.ascontiguousarray(column) for name, column in table.items()},
    )


@given(table=tables, data=st.data())
def test_a_payload_cut_short_is_an_error_unless_only_padding_is_lost(
    table: dict[str, np.ndarray], data: st.DataObject
) -> None:
    payload = columns.pack(table)
    stop = data.draw(st.integers(0, len(payload) - 1))
    try:
        found = columns.unpack(memoryview(payload[:stop]))
    except IntegrityError:
        return
    assert same(found, table)


@given(raw=st.binary(max_size=64))
def test_arbitrary_bytes_are_an_integrity_error(raw: bytes) -> None:
    with pytest.raises(IntegrityError):
        columns.unpack(memoryview(raw))


@pytest.mark.parametrize(
    "head",
    [
        {"a": 1},
        [["a", "<i8"]],
        [["a", "no dtype", [1]]],
        [["a", "<i8", [-1]]],
        [["a", "<i8", "x"]],
        [["a", "O", [1]]],
        [["a", "<i8", [2**62]]],
        3,
    ],
    ids=str,
)
def test_a_header_that_says_nonsense_is_an_integrity_error(head: object) -> None:
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    payload = struct.pack("<4sI", b"ZVC1", len(text)) + text + bytes(64)
    with pytest.raises(IntegrityError):
        columns.unpack(memoryview(payload))


# ---- many payloads at once -----------------------------------------------------


def laid(payloads: list[bytes]) -> tuple[np.ndarray, list[int], list[int]]:
    stops = np.cumsum([len(payload) for payload in payloads]).tolist()
    starts = [0, *stops[:-1]]
    return np.frombuffer(b"".join(payloads), np.uint8), starts, stops


numbers = st.sampled_from(["<i4", "<i8"]).flatmap(
    lambda dtype: hnp.arrays(dtype, st.integers(0, 6), elements=st.integers(0, 1000))
)
batches_of_columns = st.lists(
    st.fixed_dictionaries({"always": numbers}, optional={"sometimes": numbers}), min_size=1
)


@given(tables=batches_of_columns)
def test_a_column_of_many_payloads_is_that_of_each_one_after_the_other(
    tables: list[dict[str, np.ndarray]],
) -> None:
    packed = columns.Packed(*laid([columns.pack(table) for table in tables]))
    for name in ("always", "sometimes", "never"):
        values, counts = packed.column(name)
        assert counts.tolist() == [len(t[name]) if name in t else -1 for t in tables]
        assert values.tolist() == [
            v for t in tables for v in t.get(name, np.zeros(0, int)).tolist()
        ]


def test_rows_of_many_payloads_keep_their_shape() -> None:
    tables = [{"d": np.arange(n * 2).reshape(n, 2)} for n in (3, 0, 5)]
    values, counts = columns.Packed(*laid([columns.pack(t) for t in tables])).column("d")
    assert counts.tolist() == [3, 0, 5]
    assert values.tolist() == np.concatenate([t["d"] for t in tables]).tolist()


def test_many_payloads_of_which_one_is_cut_or_is_none_are_an_integrity_error() -> None:
    good = columns.pack({"a": np.arange(9)})
    for bad in (good[:-9], b"ZVC2" + good[4:], b"ZV", b""):
        with pytest.raises(IntegrityError):
            columns.Packed(*laid([good, bad]))
        with pytest.raises(IntegrityError):
            columns.Packed(*laid([bad, good]))


def test_rows_that_differ_in_shape_are_an_integrity_error() -> None:
    packed = columns.Packed(
        *laid([columns.pack({"a": np.zeros((2, 2), "i8")}), columns.pack({"a": np.zeros(4, "i8")})])
    )
    with pytest.raises(IntegrityError, match="shapes"):
        packed.column("a")
