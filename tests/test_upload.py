"""Writing while the caller goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from _stores import contents
from zarr.storage import MemoryStore

from zv_versioned._upload import Uploader
from zv_versioned.errors import StorageError


class Slow(MemoryStore):
    """Writes late, and refuses keys that begin with an x."""

    async def set(self, key: str, value: Any, byte_range: Any = None) -> None:
        await asyncio.sleep(0.002)
        if key.startswith("x"):
            raise OSError("disk full")
        await super().set(key, value, byte_range)


def test_an_uploader_has_no_more_on_its_way_than_its_limit() -> None:
    store = Slow()
    uploader = Uploader(store, limit=100)
    for i in range(10):
        uploader.put(str(i), bytes(60))
        assert 60 * (i + 1) - 60 * len(contents(store)) <= 100
    uploader.finish()
    assert len(contents(store)) == 10
    uploader.finish()


def test_an_uploader_goes_on_while_it_writes_and_keeps_what_is_small_for_later() -> None:
    store = Slow()
    uploader = Uploader(store)
    uploader.put("a", bytes(1 << 20))
    uploader.put("b", b"1")
    assert "b" not in contents(store)
    uploader.finish()
    assert contents(store) == {"a": bytes(1 << 20), "b": b"1"}


@pytest.mark.parametrize("then", ["put", "finish"])
def test_a_write_that_failed_is_told_by_what_comes_next_and_nothing_goes_on(then: str) -> None:
    store = Slow()
    uploader = Uploader(store, limit=100)
    for key in ("x", "a"):
        uploader.put(key, bytes(50))
    with pytest.raises(StorageError, match=r"'x' failed: .*disk full"):
        uploader.finish() if then == "finish" else uploader.put("b", bytes(100))
    before = contents(store)
    uploader.finish()
    assert contents(store) == before


def test_an_uploader_holds_what_is_little_until_it_is_asked() -> None:
    store = Slow()
    uploader = Uploader(store, hold=100)
    for key in "ab":
        uploader.put(key, bytes(50))
        uploader.start()
    uploader.wait()
    assert contents(store) == {}
    assert uploader.take() == [("a", bytes(50)), ("b", bytes(50))]
    uploader.put("c", bytes(100))
    uploader.finish()
    assert contents(store) == {"c": bytes(100)}
    uploader.put("d", bytes(101))
    uploader.start()
    assert uploader.take() == []
    uploader.wait()
    assert contents(store) == {"c": bytes(100), "d": bytes(101)}


def test_an_uploader_that_is_stopped_writes_nothing_later() -> None:
    store = Slow()
    uploader = Uploader(store)
    uploader.put("a", bytes(1 << 20))
    uploader.put("b", b"1")
    uploader.stop()
    before = contents(store)
    uploader.finish()
    assert contents(store) == before
    assert "b" not in before
