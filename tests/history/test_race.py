"""Commits that lost the race: what they held is written once, where it belongs."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zv_versioned as zvv
from zv_versioned._paths import chunk_key, parted
from zv_versioned._writes import Value
from zv_versioned.history.race import Race
from zv_versioned.storage import Backend
from zv_versioned.storage.lock import LOCK_FILE
from zv_versioned.transaction import Transaction

BOX = ([0.0, 0.0], [8.0, 8.0])


@pytest.fixture
def repo(tmp_path: Path) -> zvv.Repository:
    repo = zvv.Repository.create(tmp_path / "r")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=BOX, chunk_shape=(2.0, 2.0))
        append(tx, 0)
    return repo


def points(seed: int, n: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 8, (n, 2)).astype("f4")


def append(tx: zvv.Transaction, seed: int, n: int = 40) -> None:
    ids = np.arange(n) + 1_000_000 * seed
    tx.writer("p").append_vertices_sync(points(seed, n), object_ids=ids)


def chunk_files(repo: zvv.Repository) -> set[str]:
    return {path.name for path in Path(repo.location, "chunks").iterdir()}


def lost(repo: zvv.Repository, change: Callable[[zvv.Transaction], None]) -> zvv.CommitResult:
    """A change that was begun before another append, and committed after it."""
    tx = repo.transaction()
    change(tx)
    with repo.transaction() as other:
        append(other, 7)
    return tx.commit()


def test_nothing_of_a_small_append_is_written_before_its_commit(repo: zvv.Repository) -> None:
    before = chunk_files(repo)
    tx = repo.transaction()
    append(tx, 1, 2000)
    assert chunk_files(repo) == before
    tx.commit()
    assert chunk_files(repo) > before


def test_a_large_append_is_uploaded_while_it_is_made(repo: zvv.Repository) -> None:
    before = chunk_files(repo)
    tx = repo.transaction()
    append(tx, 1, 200_000)
    tx._stages["p", 0].upload.wait()
    assert chunk_files(repo) > before
    tx.commit()


@pytest.mark.parametrize("n", [2_000, 200_000])
def test_what_lost_the_race_reads_back_whole(repo: zvv.Repository, n: int) -> None:
    result = lost(repo, lambda tx: append(tx, 1, n))
    assert result.vertices_committed == n
    level = repo.view()["p"][0]
    assert level.vertex_count == 80 + n
    for seed, count in ((0, 40), (7, 40), (1, n)):
        found = level.read(objects=np.arange(count) + 1_000_000 * seed)
        order = np.argsort(found.object_ids, kind="stable")
        np.testing.assert_array_equal(found.positions[order], points(seed, count))
    assert repo.fsck().ok


def test_a_small_append_that_lost_the_race_is_written_once(repo: zvv.Repository) -> None:
    lost(repo, lambda tx: append(tx, 1, 2_000))
    assert [f.kind for f in repo.fsck().notes] == []  # no chunk that nothing refers to


def test_values_and_removals_that_were_held_go_where_the_others_left_room(
    repo: zvv.Repository,
) -> None:
    def change(tx: zvv.Transaction) -> None:
        writer = tx.writer("p")
        append(tx, 1)
        writer.add_attribute_sync("weight", np.arange(80.0))
        writer.remove_objects_sync([3, 1_000_003])
        writer.add_group_sync("some", [1, 1_000_001])

    lost(repo, change)
    level = repo.view()["p"][0]
    assert level.vertex_count == 118
    weight = dict(zip(level.object_ids().tolist(), level.attribute("weight").tolist(), strict=True))
    before = repo.view(repo.log()[1].snapshot_id)["p"][0]
    assert 3 in before.object_ids()
    assert 3 not in weight
    assert np.isnan([weight[i] for i in range(7_000_000, 7_000_040)]).all()
    assert len({weight[i] for i in (*range(3), *range(4, 40), *range(1_000_000, 1_000_003))}) == 42
    assert level.groups["some"].tolist() == [1, 1_000_001]
    assert repo.fsck().ok


def test_a_level_that_was_made_anew_is_not_taken_for_the_one_before(repo: zvv.Repository) -> None:
    with repo.transaction() as tx:
        tx.create_level("p", 1)
        tx.writer("p", level=1).append_vertices_sync(points(3), object_ids=np.arange(40))

    def change(tx: zvv.Transaction) -> None:
        tx.delete_level("p", 1)
        tx.create_level("p", 1, chunk_shape=(4.0, 4.0))
        tx.writer("p", level=1).append_vertices_sync(points(4, 8), object_ids=np.arange(8))

    lost(repo, change)
    level = repo.view()["p"][1]
    assert level.vertex_count == 8
    assert repo.view()["p"][0].vertex_count == 80
    assert repo.fsck().ok


def test_more_than_a_bucket_of_batches_came_in_between(repo: zvv.Repository) -> None:
    tx = repo.transaction()
    append(tx, 999)
    for seed in range(1, 70):
        with repo.transaction() as other:
            append(other, seed, 2)
    tx.commit()
    again = repo.transaction()
    append(again, 998)
    with repo.transaction() as other:
        append(other, 997)
    again.commit()
    level = repo.view()["p"][0]
    assert len(level.batches) == 73
    assert level.vertex_count == 40 + 69 * 2 + 3 * 40
    assert repo.fsck().ok


def test_an_interrupt_right_after_the_commit_is_told_as_one(
    repo: zvv.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    tx, commit = repo.transaction(), Backend._commit
    append(tx, 1)
    with repo.transaction() as other:
        append(other, 2)

    def interrupted(self: Backend, *args: Any) -> str:
        commit(self, *args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Backend, "_commit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tx.commit()
        with pytest.raises(KeyboardInterrupt):
            repo.revert(repo.resolve("main"))
    assert repo.log()[0].message.startswith("revert")
    assert repo.view()["p"][0].vertex_count == 80
    assert repo.fsck().ok


def test_others_need_not_wait_for_checks_of_the_user(repo: zvv.Repository) -> None:
    seen = []

    def check(view: zvv.View) -> None:
        if not seen:  # another commit while this one is looked at
            seen.append(view["p"][0].vertex_count)
            with zvv.Repository.open(repo.location).transaction() as other:
                append(other, 5)

    repo.add_check(check)
    with repo.transaction() as tx:
        append(tx, 1)
    assert seen == [80]
    assert repo.view()["p"][0].vertex_count == 120


@pytest.mark.skipif(sys.platform == "win32", reason="nobody waits in turn there")
@pytest.mark.parametrize("n", [40, 40_000], ids=["held", "uploaded"])
@pytest.mark.parametrize("moved", [True, False], ids=["moved", "as it was"])
def test_what_was_prepared_in_the_queue_lands_whether_the_branch_moved_or_not(
    repo: zvv.Repository, moved: bool, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    prepared = threading.Event()
    prepare = Transaction._race

    def tell(tx: Transaction, held: Sequence[tuple[str, Value]]) -> Race:
        race = prepare(tx, held)
        prepared.set()
        return race

    monkeypatch.setattr(Transaction, "_race", tell)
    tx = repo.transaction()
    append(tx, 1, n)
    if moved:
        with repo.transaction() as other:
            append(other, 2)
    with (Path(repo.location) / LOCK_FILE).open("rb+") as file, ThreadPoolExecutor(1) as pool:
        fcntl.flock(file, fcntl.LOCK_EX)  # as another process does
        commit = pool.submit(tx.commit)
        assert prepared.wait(60)
        assert not commit.done()
        fcntl.flock(file, fcntl.LOCK_UN)
        assert commit.result(60).vertices_committed == n
    level = repo.view()["p"][0]
    assert level.vertex_count == 40 + n + 40 * moved
    assert len(level.positions()) == level.vertex_count
    assert repo.fsck().ok


@pytest.mark.parametrize("array", ["a/0/vertices", "a/0/vertex_attributes/c", "c/0/x/5"])
def test_the_key_of_a_chunk_says_its_array_and_place(array: str) -> None:
    assert parted(chunk_key(array, (5, 0, 12))) == (array, (5, 0, 12))
