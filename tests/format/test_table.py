"""The table of batches."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zv_versioned.errors import IntegrityError
from zv_versioned.format import cells, columns, table
from zv_versioned.format.table import BatchRow, BatchTable

int64 = st.integers(-(2**63), 2**63 - 1)
SCALARS = ("slot", "n_vertices", "n_objects", "n_new_objects", "n_fragments", "n_cells")
SCALARS += ("id_min", "id_max", "head_bytes", "vertex_bytes", "n_links", "default_ids")
SCALARS += ("n_removed_vertices", "n_removed_objects", "n_removed_links")


@st.composite
def rows(draw: st.DrawFn, ndim: int) -> BatchRow:
    box = st.lists(st.floats(allow_nan=False), min_size=ndim, max_size=ndim).map(np.array)
    return BatchRow(
        uuid=np.frombuffer(draw(st.binary(min_size=16, max_size=16)), np.uint8),
        lo=draw(box),
        hi=draw(box),
        contents=draw(st.dictionaries(st.text(min_size=1, max_size=5), st.integers(1, 2**63 - 1))),
        **{name: draw(int64) for name in SCALARS},
    )


tables_of_rows = st.integers(1, 4).flatmap(
    lambda ndim: st.tuples(st.just(ndim), st.lists(rows(ndim), max_size=6))
)


def assert_is(found: BatchTable, expected: list[BatchRow], ndim: int) -> None:
    assert len(found) == len(expected)
    assert found.lo.shape == found.hi.shape == (len(expected), ndim)
    names = {name for row in expected for name in row.contents}
    assert set(found.contents) >= names
    for at, row in enumerate(expected):
        assert bytes(found.uuid[at]) == bytes(row.uuid)
        assert found.lo[at].tolist() == row.lo.tolist()
        assert found.hi[at].tolist() == row.hi.tolist()
        assert {name: int(getattr(found, name)[at]) for name in SCALARS} == {
            name: getattr(row, name) for name in SCALARS
        }
        here = {name: int(ids[at]) for name, ids in found.contents.items() if ids[at]}
        assert here == dict(row.contents)


@given(case=tables_of_rows)
def test_a_bucket_comes_back_as_it_was(case: tuple[int, list[BatchRow]]) -> None:
    ndim, expected = case
    made = BatchTable.from_rows(iter(expected), ndim)
    assert_is(made, expected, ndim)
    found = BatchTable.decode(cells.decode(memoryview(made.encode())))
    assert_is(found, expected, ndim)


@given(case=tables_of_rows, data=st.data())
def test_buckets_laid_end_to_end_are_the_table(
    case: tuple[int, list[BatchRow]], data: st.DataObject
) -> None:
    ndim, expected = case
    cut = data.draw(st.integers(0, len(expected)))
    parts = [BatchTable.from_rows(part, ndim) for part in (expected[:cut], expected[cut:])]
    together = BatchTable.concatenate(parts)
    assert_is(together, expected, ndim)
    assert_is(together.take(slice(cut, None)), expected[cut:], ndim)
    chosen = data.draw(st.lists(st.integers(0, max(len(expected) - 1, 0)), max_size=4))
    if expected:
        assert_is(together.take(np.array(chosen, int)), [expected[i] for i in chosen], ndim)


@given(case=tables_of_rows, data=st.data())
def test_tables_are_alike_up_to_the_first_row_that_differs(
    case: tuple[int, list[BatchRow]], data: st.DataObject
) -> None:
    ndim, expected = case
    whole = BatchTable.from_rows(expected, ndim)
    assert whole.alike(whole) == len(expected)
    assert whole.same_as(whole)
    if not expected:
        return
    at = data.draw(st.integers(0, len(expected) - 1))
    assert whole.take(slice(at)).alike(whole) == at
    assert not whole.take(slice(at)).same_as(whole)
    row = expected[at]
    others = [
        replace(row, uuid=row.uuid ^ 1),
        replace(row, head_bytes=row.head_bytes ^ 1),
        replace(row, contents={**row.contents, "of another name": 1}),
    ]
    for other in others:
        changed = BatchTable.from_rows([*expected[:at], other, *expected[at + 1 :]], ndim)
        assert changed.alike(whole) == whole.alike(changed) == at
        assert not whole.same_as(changed)


@pytest.mark.parametrize("wrong", [np.zeros(3, np.int64), np.zeros(0), np.zeros(0, "S3")])
def test_a_bucket_with_a_column_that_does_not_fit_is_damaged(wrong: np.ndarray) -> None:
    whole = columns.unpack(cells.decode(memoryview(BatchTable.empty(2).encode())))
    with pytest.raises(IntegrityError, match="column"):
        BatchTable.decode(memoryview(columns.pack({**whole, "n_cells": wrong})))


@pytest.mark.parametrize("lost", ["uuid", "lo", "slot", "vertex_bytes"])
def test_a_bucket_without_one_of_its_columns_is_damaged(lost: str) -> None:
    raw = cells.decode(memoryview(BatchTable.empty(2).encode()))
    whole = columns.unpack(raw)
    del whole[lost]
    with pytest.raises(IntegrityError, match=f"lacks {lost}"):
        BatchTable.decode(memoryview(columns.pack(whole)))


def test_a_column_that_there_is_not_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="n_faces"):
        _ = BatchTable.empty(1).n_faces


def test_a_table_can_be_copied_and_pickled() -> None:
    empty = BatchTable.empty(3)
    assert len(copy.deepcopy(empty)) == len(pickle.loads(pickle.dumps(empty))) == 0


def test_names_of_batches_are_not_given_twice() -> None:
    names = {bytes(table.new_uuid()) for _ in range(1000)}
    assert len(names) == 1000
    assert {len(name) for name in names} == {16}


@pytest.mark.parametrize("bits", [0, 1, 2**63 - 1])
def test_a_content_id_is_never_zero_and_always_fits(
    bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drawn(k: int) -> int:
        return min(bits, 2**k - 1)

    monkeypatch.setattr(table.secrets, "randbits", drawn)
    assert np.array([table.new_content_id()], "<i8")[0] > 0
