"""Columns of text: what numbers they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zv_versioned as zvv
from zv_versioned.interop._columns import (
    BOOL,
    EMPTY,
    FLOAT,
    GAPS,
    INT,
    TEXT,
    UNSEEN,
    convert,
    kind_of,
    wider,
)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([], UNSEEN),
        (["", ""], EMPTY),
        (["1", "-2", "9223372036854775807"], INT),
        (["1", "", "2"], GAPS),
        (["1.5", "1e3", "nan", "-inf"], FLOAT),
        (["1.5", ""], FLOAT),
        (["true", "False"], BOOL),
        (["true", ""], TEXT),
        (["true", "yes"], TEXT),
        (["a", ""], TEXT),
        (["007", "1"], TEXT),  # a code, whose zeros count
        (["1_000"], TEXT),  # Python would take it for a number
        (["１２"], TEXT),  # and this
        (["99999999999999999999"], TEXT),  # an id that 64 bits cannot hold
        (["0", "0.5"], FLOAT),
        (["0"], INT),
    ],
)
def test_what_cells_are(cells: list[str], kind: str) -> None:
    assert kind_of(cells) == kind


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (INT, FLOAT, FLOAT),
        (INT, EMPTY, GAPS),
        (EMPTY, EMPTY, EMPTY),
        (FLOAT, EMPTY, FLOAT),
        (BOOL, INT, TEXT),
        (BOOL, BOOL, BOOL),
        (TEXT, INT, TEXT),
        (UNSEEN, INT, INT),
        (INT, UNSEEN, INT),
    ],
)
def test_what_cells_are_together(one: str, other: str, both: str) -> None:
    assert wider(one, other) == both == wider(other, one)


_CELL = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(str),
    st.floats(allow_nan=False).map(repr),
    st.sampled_from(["", "true", "False", "007", "x", "1_0", " 5", "+3", "0x10", "1e5"]),
    st.text(max_size=3),
)


@given(st.lists(_CELL, max_size=8), st.integers(0, 8))
def test_cut_anywhere_a_column_is_the_same(cells: list[str], at: int) -> None:
    """What a column is does not depend on where it is cut into blocks."""
    whole, parts = kind_of(cells), wider(kind_of(cells[:at]), kind_of(cells[at:]))
    # A column of numbers of which some are codes is text, and then so is every part with a code.
    assert parts == whole or {parts, whole} <= {TEXT, FLOAT}


@given(st.lists(_CELL, min_size=1, max_size=8))
def test_what_was_found_can_be_converted(cells: list[str]) -> None:
    kind = kind_of(cells)
    values = convert(cells, kind, str)
    assert len(values) == len(cells)
    for cell, value in zip(cells, values.tolist(), strict=True):
        if kind in (INT, BOOL):
            assert str(value).lower() == cell.strip().lstrip("+").lower() or int(cell) == value
        elif kind in (FLOAT, GAPS):
            assert np.isnan(value) if not cell else float(cell) == value or np.isnan(value)
        else:
            assert value == (cell or None)


@pytest.mark.parametrize(
    ("kind", "said"),
    [(INT, "'x' is not a whole number"), (FLOAT, "'x' is not a number"), (BOOL, "'x' is neither")],
)
def test_a_cell_that_is_something_else_is_named(kind: str, said: str) -> None:
    cells = ["true" if kind == BOOL else "1", "x"]
    with pytest.raises(zvv.ArrayError, match=f"^cell 1: {said}"):
        convert(cells, kind, "cell {}".format)
