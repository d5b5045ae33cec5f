"""Single nodes of a snapshot: those that all of them together have, or an error of ours."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zv_versioned as zvv
from zv_versioned import _io, _state, _store
from zv_versioned._cache import Cache
from zv_versioned.errors import IntegrityError
from zv_versioned.storage import files, lookup

NAMES = ["c/c", "b", "a-b", "a", "zz/é", "a.b", "A"]


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> zvv.Repository:
    """Datasets whose paths sort in another way by parts than by bytes."""
    repo = zvv.Repository.create(tmp_path_factory.mktemp("lookup") / "r")
    with repo.transaction() as tx:
        for name in NAMES:
            tx.create_dataset(name, kind="point_cloud", bounds=([0.0] * 3, [9.0] * 3))
            tx.writer(name).append_vertices_sync(
                np.ones((5, 3), "f4"), attributes={"q": np.arange(5)}
            )
    return repo


def file_of(repo: zvv.Repository) -> Path:
    return Path(repo.location, "snapshots", repo.resolve("main"))


def test_every_node_is_found_and_no_other(repo: zvv.Repository) -> None:
    raw = file_of(repo).read_bytes()
    nodes = lookup.Nodes(raw, "it")
    whole = files.snapshot(raw, "it").nodes
    assert len(whole) > 40
    for node in whole:
        assert nodes.find(node.path) == node
    for absent in ("", "nothing", "c", "c/c/0/x", "zz/é/0/vertices/more", "é"):
        there = next((node for node in whole if node.path == absent), None)
        assert nodes.find(absent) == there


def test_a_node_is_found_in_whatever_order_they_stand(
    repo: zvv.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = file_of(repo).read_bytes()
    monkeypatch.setattr(lookup.Nodes, "_sought", lambda self, path: None)
    nodes = lookup.Nodes(raw, "it")
    for node in files.snapshot(raw, "it").nodes:
        assert nodes.find(node.path) == node
    assert nodes.find("nothing") is None


def test_documents_are_those_that_icechunk_has(repo: zvv.Repository) -> None:
    store = repo.view()._store
    paths = [node.path for node in files.snapshot(file_of(repo).read_bytes(), "it").nodes]
    found = _store.get_documents(store, [*paths, "nothing"])
    for path, document in zip(paths, found[:-1], strict=True):
        key = f"{path}/zarr.json" if path else "zarr.json"
        value = _io.run(_store.get(store, key))
        assert value is not None
        assert document == json.loads(bytes(value))
    assert found[-1] is None


@given(data=st.data())
def test_damage_is_an_error_or_changes_nothing_else(
    repo: zvv.Repository, data: st.DataObject
) -> None:
    raw = bytearray(file_of(repo).read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(IntegrityError):
        nodes = lookup.Nodes(bytes(raw), "it")
        for name in NAMES:
            nodes.find(f"{name}/0")


def test_a_bucket_of_a_table_that_was_decoded_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = zvv.Repository.create(tmp_path / "r")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0.0] * 3, [9.0] * 3))
        for _ in range(150):
            tx.writer("p").append_vertices_sync(np.ones((1, 3), "f4"))
    parts = Cache(1 << 20)
    asked: list[int] = []
    get_many = _store.get_many

    def counted(store: object, requests: list[_store.Request]) -> list[memoryview]:
        asked.append(len(requests))
        return get_many(store, requests)  # type: ignore[arg-type]

    def load() -> int:
        store = repo._backend.view_store(repo.resolve("main"))
        meta = _state.load_dataset(store, "p")
        _, facts = _state.load_facts(store, "p", 0, meta)
        return len(_state.load_table(store, "p/0", facts, 3, parts=parts))

    monkeypatch.setattr(_store, "get_many", counted)
    assert load() == 150
    first = asked[-1]
    assert first > 1
    assert load() == 150
    assert asked[-1] == 0
    with repo.transaction() as tx:
        tx.writer("p").append_vertices_sync(np.ones((1, 3), "f4"))
    assert load() == 151
    assert asked[-1] == 1
