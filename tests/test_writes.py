"""Writes to a store: complete, or an error that names the key, and nothing left running."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from _stores import Failing, contents
from zarr.storage import MemoryStore

from zv_versioned._writes import set_many
from zv_versioned.errors import ReadOnlyError, StorageError, ZVError


def test_what_was_written_is_there() -> None:
    store, items = MemoryStore(), [(f"c/{i}", bytes([i])) for i in range(100)]
    set_many(store, items)
    assert contents(store) == dict(items)


def test_a_write_that_fails_stops_the_others_and_none_goes_on_afterwards() -> None:
    store = Failing({"3": OSError("disk full")})
    store.delay = 0.05
    with pytest.raises(StorageError, match="disk full") as caught:
        set_many(store, [(str(i), b"x") for i in range(40)])
    assert type(caught.value) is StorageError
    begun, ended = list(store.begun), dict(contents(store))
    time.sleep(0.2)
    assert (store.begun, contents(store)) == (begun, ended)
    assert len(begun) < 40


def test_a_write_that_fails_names_its_chunk() -> None:
    store = Failing({"p/0/vertices/c/7": OSError("disk full")})
    with pytest.raises(StorageError, match="p/0/vertices/c/7"):
        set_many(store, [("a", b"1"), ("p/0/vertices/c/7", b"2")])


def test_writes_that_fail_in_different_ways_at_once_are_still_one_error() -> None:
    store = Failing({"a": OSError("disk full"), "b": ReadOnlyError("closed")})
    with pytest.raises(ZVError):
        set_many(store, [("a", b"1"), ("b", b"2")])


def test_writes_at_once_are_bounded() -> None:
    class Counting(MemoryStore):
        now = most = 0

        async def set(self, key: str, value: Any, byte_range: Any = None) -> None:
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.001)
            self.now -= 1

    store = Counting()
    set_many(store, [(str(i), b"") for i in range(200)])
    assert 1 < store.most <= 64
