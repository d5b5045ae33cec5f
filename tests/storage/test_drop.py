"""Removing the chunks of slots, or of whole arrays: what is to stay stays, what goes is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zv_versioned as zvv
from tests._rich import BOUNDS, points
from zv_versioned import _io, _store
from zv_versioned._paths import parted
from zv_versioned.storage.carry import SHARES
from zv_versioned.storage.drop import drop_chunks, drop_slots, drops_slots

ARRAYS = ["p/0/vertices", "p/0/batches/index", "p/0/none"]


@pytest.fixture(params=["memory", "disk"])
def repo(request: pytest.FixtureRequest, tmp_path: Path) -> zvv.Repository:
    rng = np.random.default_rng(0)
    repo = zvv.Repository.create("memory://" if request.param == "memory" else tmp_path / "r")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=BOUNDS, chunk_shape=[9.0] * 3)
    for _ in range(5):
        with repo.transaction() as tx:
            tx.writer("p").append_vertices_sync(points(rng, 30))
    return repo


def values(store: Any) -> dict[str, bytes]:
    async def listed() -> list[str]:
        return [key async for key in store.list()]

    keys = sorted(key for key in _io.run(listed()) if "/c/" in key)
    read = _store.get_present(store, [(key, 0, -1) for key in keys])
    return {key: bytes(v) for key, v in zip(keys, read, strict=True) if v is not None}


@pytest.mark.skipif(not SHARES, reason="this icechunk removes chunks one by one")
def test_chunks_of_some_slots_are_removed_and_all_others_stay(repo: zvv.Repository) -> None:
    before = values(repo.view()._store)
    with repo.transaction() as tx:
        session = tx._session
        drop_slots(session.store, ARRAYS, np.array([1, 3]))
        staged = values(session.store)
        session.commit("dropped")
        tx.abort()
    expected = {
        key: value
        for key, value in before.items()
        if not (parted(key)[0] in ARRAYS and parted(key)[1][0] in (1, 3))
    }
    assert len(expected) < len(before) - 10
    assert staged == expected
    assert values(repo.view()._store) == expected


def test_all_chunks_of_arrays_are_removed_and_their_documents_stay(repo: zvv.Repository) -> None:
    before = values(repo.view()._store)
    with repo.transaction() as tx:
        drop_chunks(tx._session.store, ARRAYS)
        left = values(tx._session.store)
        documents = _store.get_documents(tx._session.store, ARRAYS)
        tx.abort()
    assert left == {key: v for key, v in before.items() if parted(key)[0] not in ARRAYS}
    assert [document is None for document in documents] == [False, False, True]


def test_slots_are_emptied_at_once_where_that_takes_less_than_one_by_one() -> None:
    assert drops_slots(100, 100) is SHARES
    assert drops_slots(1, 10) is SHARES
    assert not drops_slots(1, 1000)
