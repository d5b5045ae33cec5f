"""Chunks that go ahead of a merge: where they belong, or taken back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from _stores import Failing, contents
from zarr.storage import MemoryStore

import zv_versioned as zvv
from zv_versioned import _store
from zv_versioned.errors import ConflictError, StorageError
from zv_versioned.history import ahead
from zv_versioned.history.ahead import Ahead, Items
from zv_versioned.history.index import Index, load_index

BOX = ([0.0, 0.0], [8.0, 8.0])
VERTICES, IDS, TAG = "p/0/vertices/c", "p/0/batches/index/c", "p/0/vertex_attributes/tag/c"


def append(repo: zvv.Repository, first: int, **attributes: Any) -> None:
    with repo.transaction() as tx:
        stage(tx, first, **attributes)


def stage(tx: zvv.Transaction, first: int, n: int = 10, **attributes: Any) -> None:
    positions = np.random.default_rng(first).uniform(0, 8, (n, 2)).astype("f4")
    ids = np.arange(n) + first
    tx.writer("p").append_vertices_sync(positions, object_ids=ids, attributes=attributes or None)


@pytest.fixture
def repo() -> zvv.Repository:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=BOX, chunk_shape=(4.0, 4.0))
    append(repo, 0, tag=np.arange(10.0))
    return repo


def index_of(repo: zvv.Repository) -> Index:
    return load_index(repo._backend.view_store(repo.resolve("main")), repo._parts)


@pytest.fixture
def sides(repo: zvv.Repository) -> tuple[Index, Index]:
    """What a transaction began at, with one batch, and the tip, which has two more."""
    base = index_of(repo)
    append(repo, 100)
    append(repo, 200)
    return base, index_of(repo)


def sent(chunks: Mapping[str, bytes], sides: tuple[Index, Index]) -> dict[str, bytes]:
    store = MemoryStore()
    with Ahead(store, chunks, *sides):
        pass
    return contents(store)


def test_chunks_of_new_batches_go_behind_those_of_the_tip(sides: tuple[Index, Index]) -> None:
    chunks = {f"{VERTICES}/1/0/0": b"a", f"{VERTICES}/2/0/1": b"b", f"{IDS}/1/0": b"i"}
    chunks[f"{TAG}/2/0/1"] = b"t"
    assert sent(chunks, sides) == {
        f"{VERTICES}/3/0/0": b"a",
        f"{VERTICES}/4/0/1": b"b",
        f"{IDS}/3/0": b"i",
        f"{TAG}/4/0/1": b"t",
    }


def test_what_belongs_to_batches_that_were_there_does_not_go_ahead(
    sides: tuple[Index, Index],
) -> None:
    assert sent({f"{TAG}/0/0/0": b"t", "p/0/batches/removed/c/0": b"r"}, sides) == {}


def test_what_the_tip_has_not_in_the_same_form_does_not_go_ahead(repo: zvv.Repository) -> None:
    base = index_of(repo)
    with repo.transaction() as tx:
        tx.writer("p").drop_attribute_sync("tag")
        tx.create_dataset("q", kind="point_cloud", bounds=BOX)
    chunks = {f"{TAG}/1/0/0": b"t", "q/0/vertices/c/0/0/0": b"q", "gone/0/vertices/c/1/0": b"g"}
    assert sent(chunks, (base, index_of(repo))) == {}


def test_a_level_without_room_gets_nothing_ahead(
    sides: tuple[Index, Index], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "CAPACITY", 4)
    chunks = {f"{VERTICES}/1/0/0": b"a", f"{VERTICES}/2/0/0": b"b"}
    assert sent(chunks, sides) == {f"{VERTICES}/3/0/0": b"a"}


def test_what_belongs_elsewhere_is_taken_back_and_the_rest_is_told(
    sides: tuple[Index, Index],
) -> None:
    a, b, c = b"aa", b"bb", b"cc"
    store = MemoryStore()
    chunks = {f"{VERTICES}/1/0/0": a, f"{VERTICES}/2/0/0": b, f"{IDS}/1/0": c}
    with Ahead(store, chunks, *sides) as sent:
        # The second comes first, and the first nowhere.
        wanted: Items = [(f"{VERTICES}/3/0/0", b), (f"{IDS}/3/0", c), ("p/0/zarr.json", b"{}")]
        rest = sent.rest(wanted)
        assert dict(rest) == {"p/0/zarr.json": b"{}", f"{VERTICES}/3/0/0": b}
    assert contents(store) == {f"{IDS}/3/0": c}


def test_a_write_that_fails_is_told_unless_there_is_another_error(
    sides: tuple[Index, Index],
) -> None:
    chunks = {f"{VERTICES}/1/0/0": b"a"}
    bad = {f"{VERTICES}/3/0/0": OSError("disk full")}
    with pytest.raises(StorageError, match="disk full"), Ahead(Failing(bad), chunks, *sides):
        pass
    with pytest.raises(KeyError, match="mine"), Ahead(Failing(bad), chunks, *sides):
        raise KeyError("mine")


@pytest.fixture
def rests(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What was left to be written of each commit that lost the race."""
    seen: list[list[str]] = []
    rest = Ahead.rest

    def tell(self: Ahead, items: Items) -> Items:
        left = rest(self, items)
        seen.append([key for key, _ in left])
        return left

    monkeypatch.setattr(Ahead, "rest", tell)
    return seen


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_an_append_that_lost_the_race_has_gone_ahead_whole(
    where: str, rests: list[list[str]], tmp_path: Any
) -> None:
    repo = zvv.Repository.create("memory://" if where == "memory" else tmp_path / "r")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=BOX, chunk_shape=(4.0, 4.0))
        stage(tx, 0, tag=np.arange(10.0))
    tx = repo.transaction()
    stage(tx, 100, tag=np.arange(10.0))
    stage(tx, 200, 3)
    append(repo, 300)
    tx.commit()
    assert rests == [[]]
    level = repo.view()["p"][0]
    ids = sorted([*range(10), *range(100, 110), *range(200, 203), *range(300, 310)])
    assert sorted(level.object_ids().tolist()) == ids
    tag = level.read(attributes=["tag"], objects=range(100, 110)).attributes["tag"]
    assert sorted(tag.tolist()) == list(range(10))
    assert repo.fsck().ok


def test_after_a_conflict_nothing_that_went_ahead_is_in_the_tip(repo: zvv.Repository) -> None:
    tx = repo.transaction()
    stage(tx, 100)
    append(repo, 105)
    tip = repo.resolve("main")
    with pytest.raises(ConflictError):
        tx.commit()
    assert repo.resolve("main") == tip
    store = repo._backend.view_store(tip)
    assert "2" not in _store.children(store, "p/0/vertices")
    append(repo, 100_000)
    assert repo.view()["p"][0].vertex_count == 30
    assert repo.fsck().ok
