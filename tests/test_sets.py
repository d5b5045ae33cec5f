"""Sets of numbers as arrays are what numpy's own functions make of them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from zv_versioned._sets import common, distinct, is_in, union, without

NUMBERS = st.integers(-8, 8) | st.sampled_from([-(2**63), 2**63 - 1, 2**62])
ARRAYS = hnp.arrays(np.int64, st.integers(0, 12), elements=NUMBERS)


@given(ARRAYS, ARRAYS)
def test_they_agree_with_numpy(a: np.ndarray, b: np.ndarray) -> None:
    for mine, its in (
        (distinct(a), np.unique(a)),
        (is_in(a, b), np.isin(a, b)),
        (without(a, b), np.setdiff1d(a, b)),
        (union(a, b), np.union1d(a, b)),
        (common(a, b), np.intersect1d(a, b)),
    ):
        assert mine.dtype == its.dtype
        assert mine.tolist() == its.tolist()


@given(hnp.arrays(np.uint64, (3, 2), elements=st.integers(0, 2**64 - 1)))
def test_values_of_any_shape_and_type_are_told_apart(a: np.ndarray) -> None:
    assert distinct(a).tolist() == np.unique(a).tolist()
    assert is_in(a, a[1]).tolist() == np.isin(a, a[1]).tolist()
