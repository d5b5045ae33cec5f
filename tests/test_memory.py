"""Memory in large pages: as much as was asked for, and nobody else's."""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import sys
from collections import defaultdict, deque
from threading import Thread

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zv_versioned import _memory
from zv_versioned._memory import _LEAST, _PAGE, lent, room


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
    # Dask, for one, sets variables by which a user decides what glibc keeps.
    env = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    kept, given_back = (
        int(subprocess.check_output([sys.executable, "-c", _FAULTS, how], env=env))
        for how in ("kept", "given back")
    )
    assert kept < given_back / 2


@pytest.fixture(autouse=True)
def nothing_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_memory, "_free", defaultdict(deque))


def free() -> int:
    return sum(size * len(blocks) for size, blocks in _memory._free.items())


@given(st.integers(0, 3 << 16))
def test_as_much_is_lent_as_was_asked_for(size: int) -> None:
    found = lent(size)
    assert (found.nbytes, found.format, found.readonly) == (size, "B", False)
    np.frombuffer(found, np.uint8)[:] = 7


def test_what_was_lent_is_lent_again_once_nothing_refers_to_a_part_of_it() -> None:
    first = lent(100_000)
    first[:] = b"a" * 100_000
    part = np.frombuffer(first[10:20], np.uint8)[2:4].view("u2")
    del first
    other = lent(100_000)
    other[:] = b"b" * 100_000
    assert part.tobytes() == b"aa"
    del part
    again = lent(90_000)
    assert bytes(again[:10]) == b"a" * 10
    assert bytes(other[:10]) == b"b" * 10


def test_what_is_kept_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_memory, "_FREE_MOST", 1 << 20)
    held = [lent(1 << 18) for _ in range(7)]
    assert free() == 0
    held.clear()
    assert free() == 1 << 20
    del held
    small, large = lent(_memory._LENT_LEAST - 1), lent(_memory._LENT_MOST + 1)
    del small, large
    gc.collect()
    assert free() == 1 << 20


def test_no_two_threads_are_lent_the_same() -> None:
    wrong = []

    def work(mark: int) -> None:
        for _ in range(500):
            mine = np.frombuffer(lent(70_000), np.uint8)
            mine[::1000] = mark
            if (mine[::1000] != mark).any():
                wrong.append(mark)

    threads = [Thread(target=work, args=(mark,)) for mark in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert free() > 0
