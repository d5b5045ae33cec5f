"""Garbage is removed, and nothing else, whoever is at work meanwhile."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _processes import new_processes
from _story import Story

import zv_versioned as zvv
from zv_versioned.errors import IntegrityError, MetadataError, StorageError
from zv_versioned.storage.presence import LEASES
from zv_versioned.storage.writers import writers

POINTS = np.ones((50, 2), "f4")


@pytest.fixture
def story(tmp_path: Path) -> Story:
    made = Story(tmp_path / "r")
    for number in range(5):
        made.append(f"m{number}")
    return made


def old_enough() -> None:
    time.sleep(0.06)


def size_of(repo: zvv.Repository) -> int:
    return sum(p.stat().st_size for p in Path(repo.location).rglob("*") if p.is_file())


def chunks(repo: zvv.Repository) -> int:
    return len(list(Path(repo.location, "chunks").iterdir()))


def abandon(repo: zvv.Repository, branch: str = "main") -> None:
    """Stage something, and think better of it."""
    tx = repo.transaction(branch)
    tx.writer("p").append_vertices_sync(
        np.random.default_rng(0).uniform(0, 9, (5000, 2)), dtype="f4"
    )
    tx._stages[("p", 0)].upload.finish()
    tx.abort()


def test_what_was_abandoned_is_removed_and_bytes_are_told(story: Story) -> None:
    repo = story.repo
    abandon(repo)
    old_enough()
    there = chunks(repo)
    planned = repo.gc()
    assert planned.dry_run
    assert planned.bytes_removed > 10_000
    assert (chunks(repo), planned.bytes_before) == (there, size_of(repo))
    done = repo.gc(dry_run=False)
    assert done.removed["chunks"] == planned.removed["chunks"] > 0
    assert chunks(repo) == there - done.removed["chunks"]
    assert done.bytes_after == size_of(repo)
    assert done.bytes_before is not None
    assert done.bytes_after < done.bytes_before - 10_000
    assert repo.view()["p"][0].vertex_count == 10
    assert repo.fsck().findings == []
    again = repo.gc(dry_run=False)
    assert {kind: n for kind, n in again.removed.items() if n and kind != "overwritten"} == {}


def test_the_branch_that_was_deleted_goes_and_a_check_agrees(story: Story) -> None:
    repo = story.repo
    repo.create_branch("try")
    story.append("t0", "try")
    repo.delete_branch("try")
    noted = {finding.place for finding in repo.fsck().notes}
    assert {"snapshots", "chunks", "manifests"} <= noted
    old_enough()
    done = repo.gc(dry_run=False)
    assert done.removed["snapshots"] == 1
    assert repo.fsck().findings == []
    assert story.append("later")


def test_who_goes_back_to_a_young_snapshot_finds_it_whole(story: Story) -> None:
    """Its transaction staged long before it committed; a collection must not take one alone."""
    repo = story.repo
    with repo.transaction() as tx:
        tx.writer("p").append_vertices_sync(POINTS)
        tx._stages[("p", 0)].upload.finish()
        time.sleep(0.2)
    assert tx.result is not None
    snapshot = tx.result.snapshot_id
    repo.reset_branch(to="main~1")
    time.sleep(0.05)
    made = Path(repo.location, "snapshots", snapshot).stat().st_mtime
    repo.gc(datetime.fromtimestamp(made - 0.05, UTC), dry_run=False)
    repo.reset_branch(to=snapshot)
    assert zvv.Repository.open(repo.location).view()["p"][0].positions().shape == (60, 2)
    assert repo.fsck().ok


def test_earlier_states_of_repo_and_what_was_never_finished_go(story: Story) -> None:
    repo = story.repo
    folder = Path(repo.location)
    (folder / "chunks" / "0123456789ABCDEFGHJK#1").write_bytes(b"half")
    old_enough()
    done = repo.gc(dry_run=False)
    assert done.removed["unfinished"] == 1
    if (folder / "repo").exists():
        assert done.removed["overwritten"] > 3
        assert len(list((folder / "overwritten").iterdir())) <= 3
    assert not (folder / "chunks" / "0123456789ABCDEFGHJK#1").exists()
    assert repo.fsck().findings == []
    for number in range(3):
        story.append(f"later {number}")
    assert zvv.Repository.open(folder).fsck().findings == []


def test_seals_of_what_is_gone_are_forgotten(story: Story) -> None:
    repo = story.repo
    repo.expire(keep_last=1, dry_run=False)
    old_enough()
    repo.gc(dry_run=False)
    folder = Path(repo.location)
    lines = (folder / "zv_versioned.seals").read_text().splitlines()
    paths = [line.split(" ", 3)[3] for line in lines]
    assert [path for path in paths if not (folder / path).exists()] == []
    assert len(paths) == len(set(paths))
    assert story.append("later")
    assert repo.fsck().findings == []


def test_an_open_transaction_keeps_what_it_staged(story: Story) -> None:
    repo = story.repo
    other = zvv.Repository.open(repo.location)
    began = datetime.now(UTC)
    with repo.transaction() as tx:
        tx.writer("p").append_vertices_sync(POINTS)
        tx._stages[("p", 0)].upload.finish()
        old_enough()
        with pytest.raises(StorageError, match=rf"process {os.getpid()} on host .*'main'"):
            other.gc(datetime.now(UTC), dry_run=False)
        assert other.gc(dry_run=False).older_than <= began
    assert repo.view()["p"][0].positions().shape == (60, 2)
    assert repo.fsck().ok
    assert other.gc(dry_run=False).older_than > began
    assert writers(Path(repo.location)) == []


def unseen(repo: zvv.Repository) -> zvv.Transaction:
    """A transaction with something staged, whose note somebody has removed."""
    tx = repo.transaction()
    tx.writer("p").append_vertices_sync(POINTS)
    tx._stages[("p", 0)].upload.finish()
    for note in Path(repo.location, LEASES).glob("writer.*"):
        note.unlink()
    return tx


def test_a_transaction_that_nobody_saw_is_refused_rather_than_lost(story: Story) -> None:
    repo = story.repo
    tx = unseen(repo)
    old_enough()
    repo.gc(dry_run=False)
    with pytest.raises(StorageError, match="while this transaction"):
        tx.commit()
    assert repo.view()["p"][0].positions().shape == (10, 2)
    assert repo.fsck().ok
    assert story.append("later")


def test_one_that_lost_the_race_is_refused_as_well(story: Story) -> None:
    repo = story.repo
    tx = unseen(repo)
    story.append("faster")
    old_enough()
    repo.gc(dry_run=False)
    with pytest.raises(StorageError, match="while this transaction"):
        tx.commit()
    assert repo.view()["p"][0].positions().shape == (12, 2)
    assert repo.fsck().ok


def test_a_transaction_that_was_dropped_or_aborted_is_over(story: Story) -> None:
    repo = story.repo
    tx = repo.transaction()
    assert len(writers(Path(repo.location))) == 1
    tx.abort()
    tx = repo.transaction()
    del tx
    assert writers(Path(repo.location)) == []


def test_where_damage_hides_what_is_needed_nothing_is_removed(story: Story) -> None:
    repo = story.repo
    folder = Path(repo.location)
    abandon(repo)
    old_enough()
    file = folder / "snapshots" / repo.resolve("main~1")
    whole = file.read_bytes()
    before = chunks(repo)
    for damaged in (whole[:-1], None):
        file.unlink() if damaged is None else file.write_bytes(damaged)
        for dry_run in (True, False):
            with pytest.raises(IntegrityError, match=file.name):
                repo.gc(dry_run=dry_run)
    assert chunks(repo) == before
    file.write_bytes(whole)
    assert repo.gc(dry_run=False).removed["chunks"]


def test_a_bad_cutoff_is_refused(story: Story) -> None:
    for bad in ("now", 3, datetime(2999, 1, 1, tzinfo=UTC)):
        with pytest.raises(MetadataError, match="older_than"):
            story.repo.gc(bad)  # type: ignore[arg-type]
    abandon(story.repo)
    old_enough()
    assert story.repo.gc(timedelta(hours=1)).files_removed == 0
    assert story.repo.gc(timedelta()).files_removed > 0


def killed(location: str, ready: Any) -> None:
    tx = zvv.Repository.open(location).transaction()
    tx.writer("p").append_vertices_sync(POINTS)
    tx._stages[("p", 0)].upload.finish()
    ready.send(True)
    time.sleep(60)


def test_what_a_killed_process_staged_is_removed_and_no_more_waited_for(story: Story) -> None:
    context = new_processes()
    here, there = context.Pipe()
    process = context.Process(target=killed, args=(story.repo.location, there))  # type: ignore[attr-defined]
    process.start()
    assert here.poll(60)
    old_enough()
    with pytest.raises(StorageError, match=f"process {process.pid} on host"):
        story.repo.gc(timedelta(), dry_run=False)
    process.kill()
    process.join()
    assert "writers" not in story.repo.gc().removed or story.repo.gc().removed["writers"] == 1
    done = story.repo.gc(timedelta(), dry_run=False)
    assert (done.removed["writers"], done.removed["chunks"] > 0) == (1, True)
    assert story.repo.fsck().findings == []


# ---- beside others -----------------------------------------------------------


def write(location: str, number: int, commits: int, done: Any) -> None:
    repo = zvv.Repository.open(location)
    kept = []
    for turn in range(commits):
        ids = 1000 * (number + 1) + 10 * turn + np.arange(10)
        with repo.transaction() as tx:
            tx.writer("p").append_vertices_sync(np.ones((10, 2), "f4"), object_ids=ids)
        kept += ids.tolist()
    done.send(kept)


def read(location: str, until: float, done: Any) -> None:
    repo = zvv.Repository.open(location)
    turns = 0
    while time.time() < until or turns < 3:
        view = repo.view()
        try:
            lease = view.lease(ttl=60)
        except zvv.NotFoundError:
            continue  # it expired between the two
        with lease:
            level = view["p"][0]
            for _ in range(3):
                assert len(level.positions()) == level.vertex_count
                assert len(level.object_ids()) == level.vertex_count
                time.sleep(0.02)
        turns += 1
    done.send(turns)


def beside_each_other(story: Story, each: int, commits: int) -> None:
    context = new_processes()
    location, until = story.repo.location, time.time() + 2
    pipes, processes = [], []
    for number in range(2 * each):
        here, there = context.Pipe()
        args: tuple[Any, ...] = (location, number, commits, there)
        target: Any = write
        if number >= each:
            target, args = read, (location, until, there)
        process = context.Process(target=target, args=args)  # type: ignore[attr-defined]
        process.start()
        pipes.append(here)
        processes.append(process)
    while any(process.is_alive() for process in processes):
        story.repo.expire(keep_last=1, dry_run=False)
        story.repo.gc(dry_run=False)
    for process in processes:
        process.join()
        assert process.exitcode == 0
    kept = [identity for pipe in pipes[:each] for identity in pipe.recv()]
    level = story.repo.view()["p"][0]
    assert set(kept) <= set(level.object_ids().tolist())
    assert len(level.positions()) == 10 + len(kept)
    assert all(pipe.recv() >= 3 for pipe in pipes[each:])
    old_enough()
    story.repo.expire(keep_last=1, dry_run=False)
    story.repo.gc(dry_run=False)
    assert story.repo.fsck().findings == []


def test_beside_two_writers_and_two_readers_nothing_is_lost(story: Story) -> None:
    beside_each_other(story, 2, 8)


@pytest.mark.long
def test_beside_eight_writers_and_eight_readers_nothing_is_lost(story: Story) -> None:
    beside_each_other(story, 8, 40)


# ---- elsewhere ---------------------------------------------------------------


def test_on_an_object_store(
    s3_location: tuple[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (
        "maintenance.gc",
        "maintenance.expire",
        "storage.presence",
        "history.operations",
    ):
        monkeypatch.setattr(f"zv_versioned.{module}.LONGEST", timedelta(seconds=4))
        if module in ("maintenance.gc", "maintenance.expire"):
            monkeypatch.setattr(f"zv_versioned.{module}.SKEW", timedelta())
    location, options = s3_location
    story = Story(location, **options)
    repo = story.repo
    story.append("a")
    repo.create_branch("try")
    story.append("b", "try")
    story.append("c")
    story.merge("d", "try")
    abandon(repo)
    with pytest.raises(StorageError, match="on an object store"):
        repo.gc(timedelta(seconds=1), dry_run=False)
    assert repo.gc().files_removed == 0
    late = repo.transaction()
    late.writer("p").append_vertices_sync(POINTS)
    leased = repo.transaction()
    leased.writer("p").append_vertices_sync(2 * POINTS)
    with leased.lease(ttl=60) as lease:
        time.sleep(4.2)
        story.append("e")
        lease.renew()
        with pytest.raises(StorageError, match="holds a lease until"):
            repo.gc(timedelta(seconds=4.1), dry_run=False)
        with pytest.raises(StorageError, match="nobody had to keep"):
            late.lease()
        with pytest.raises(StorageError, match="nobody had to keep"):
            late.commit()
        leased.commit()
    done = repo.expire(keep_last=1, dry_run=False)
    assert story.ids["a"] in done.expired
    assert repo._backend._repository.list_branches() >= {"main", "try"}
    collected = repo.gc(dry_run=False)
    assert collected.removed["chunks"] > 0
    assert (collected.bytes_before, collected.bytes_after) == (None, None)
    fresh = zvv.Repository.open(location, **options)
    assert fresh.view()["p"][0].positions().shape == (58, 2)
    assert fresh.fsck().ok
    story.count = 500
    story.append("f", "try")
    assert fresh.merge("try", into="main").base == (story.ids["b"],)
    assert fresh.fsck().ok
