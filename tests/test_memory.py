"""Memory in large pages: as much as was asked for, and nobody else's."""

from __future__ import annotations

import platform
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zv_versioned._memory import _LEAST, _PAGE, room


@given(st.one_of(st.integers(0, 5000), st.integers(_LEAST - 9, 3 * _PAGE + 9)))
def test_there_is_as_much_room_as_was_asked_for_and_all_of_it_can_be_filled(size: int) -> None:
    found = room(size)
    assert (found.dtype, found.shape, found.flags["C_CONTIGUOUS"]) == (np.uint8, (size,), True)
    found[:] = 7
    assert size == 0 or (found[0], found[-1]) == (7, 7)


@pytest.mark.parametrize("size", [_LEAST, _PAGE, _PAGE + 1, 3 * _PAGE - 1])
def test_what_is_large_begins_where_a_page_does_and_has_whole_ones(size: int) -> None:
    found = room(size)
    whole = found.base
    assert isinstance(whole, np.ndarray)
    assert found.ctypes.data % _PAGE == 0
    behind = whole.ctypes.data + whole.nbytes - found.ctypes.data
    assert behind >= -(-size // _PAGE) * _PAGE


def test_two_rooms_share_nothing() -> None:
    one, other = room(_PAGE), room(_PAGE)
    one[:], other[:] = 1, 2
    assert one.max() == 1
    assert not np.shares_memory(one, other)


_FAULTS = """
import resource, sys
import numpy as np
from zv_versioned._memory import keep
if sys.argv[1] == "kept":
    keep()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for size in range(1, 8):
    np.ones(size << 19, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is another")
def test_memory_that_is_given_back_is_there_for_what_comes_next() -> None:
    kept, given_back = (
        int(subprocess.check_output([sys.executable, "-c", _FAULTS, how]))
        for how in ("kept", "given back")
    )
    assert kept < given_back / 2
