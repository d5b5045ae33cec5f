"""The bounded memory of what was read."""

from __future__ import annotations

import itertools
import threading
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from tests._interrupts import interrupted_at
from zv_versioned import _cache
from zv_versioned._cache import Cache


def test_what_was_put_is_found_and_what_was_not_is_none() -> None:
    cache = Cache(100)
    cache.put("a", [1], 10)
    cache.put(("b", 2), None, 10)
    assert cache.get("a") == [1]
    assert cache.get(("b", 2)) is None
    assert cache.get("c") is None


def test_the_least_used_is_forgotten_first() -> None:
    cache = Cache(40)
    for name in "abcd":
        cache.put(name, name, 10)
    cache.get("a")
    cache.put("e", "e", 10)
    assert [cache.get(name) for name in "abcde"] == ["a", None, "c", "d", "e"]


def test_what_lies_in_the_same_memory_is_used_and_forgotten_together() -> None:
    cache = Cache(40)
    cache.put_together(["a", "b"], [1, 2], 10)
    for name in "cde":
        cache.put(name, name, 10)
    assert cache.get("b") == 2  # and "a" with it
    cache.put("f", "f", 10)
    assert [cache.get(name) for name in "abcdef"] == [1, 2, None, "d", "e", "f"]
    for name in "cgh":
        cache.put(name, name, 10)
    assert [cache.get(name) for name in "ab"] == [None, None]


def test_memory_counts_as_long_as_anything_in_it_is_kept() -> None:
    cache = Cache(40)
    cache.put_together(["a", "b"], [1, 2], 10)
    cache.put("a", 3, 10)
    cache.put("c", "c", 10)
    cache.put("d", "d", 10)
    assert [cache.get(name) for name in "acdb"] == [3, "c", "d", 2]
    cache.put("b", 4, 10)  # the memory of the first two is free now
    assert [cache.get(name) for name in "abcd"] == [3, 4, "c", "d"]


def test_what_is_put_twice_at_once_is_kept_once() -> None:
    cache = Cache(40)
    cache.put_together(["a", "b", "a"], [1, 2, 3], 10)
    assert [cache.get(name) for name in "ab"] == [3, 2]
    cache.put("c", "c", 10)
    cache.put_together(["a", "b"], [4, 5], 10)
    assert [cache.get(name) for name in "abc"] == [4, 5, "c"]


def test_what_would_push_out_too_much_is_not_kept() -> None:
    cache = Cache(40)
    cache.put("a", "a", 10)
    cache.put("huge", "huge", 11)
    assert cache.get("huge") is None
    assert cache.get("a") == "a"


def test_putting_the_same_again_takes_no_more_room() -> None:
    cache = Cache(40)
    for _ in range(100):
        cache.put("a", "a", 10)
    for name in "bcd":
        cache.put(name, name, 10)
    assert [cache.get(name) for name in "abcd"] == ["a", "b", "c", "d"]


@given(steps=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30)), max_size=60))
def test_it_never_holds_more_than_its_limit_and_never_a_stale_value(
    steps: list[tuple[int, int]],
) -> None:
    cache, sizes = Cache(100), {}
    for key, size in steps:
        cache.put(key, size, size)
        if size <= 25:
            sizes[key] = size
        found = {k: cache.get(k) for k in range(10)}
        held = {k: v for k, v in found.items() if v is not None}
        assert sum(held.values()) <= 100
        assert held.items() <= sizes.items()
        if size <= 25:
            assert held[key] == size


def test_many_threads_may_use_it_at_once() -> None:
    cache, wrong = Cache(1000), []

    def work(seed: int) -> None:
        for i in range(3000):
            key = (seed * 7 + i) % 150
            value = cache.get(key)
            if value is not None and value != key:
                wrong.append((key, value))
            cache.put(key, key, 10)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert sum(cache.get(key) is not None for key in range(150)) == 100


def test_after_an_interrupt_anywhere_it_goes_on_and_keeps_to_its_bound() -> None:
    for moment in itertools.count(1):
        cache = Cache(40)
        for number in range(3):
            cache.put(number, number, 10)
        with interrupted_at(moment, _cache) as came, suppress(KeyboardInterrupt):
            for number in range(4):
                cache.put_together([number, number + 1], ["x", "y"], 10)
        if came.where is None:
            break
        for number in range(8):
            cache.put(number, number, 10)
            assert cache.get(number) == number
        assert sum(cache.get(number) is not None for number in range(8)) <= 4
    assert moment > 20
