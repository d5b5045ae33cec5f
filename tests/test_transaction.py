"""Transactions: all or nothing, once, in whatever thread or loop, and never a deadlock."""

from __future__ import annotations

import asyncio
import faulthandler
import itertools
import pickle
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import icechunk
import numpy as np
import pytest

import zv_versioned as zvv

POINTS = np.array([[1, 1], [5, 5], [9, 9]], "f4")
CLOUD: dict[str, Any] = {"kind": "point_cloud", "bounds": ([0, 0], [10, 10])}


def finishes(function: Callable[[], Any], seconds: float = 60) -> Any:
    """Call it in a thread of its own; where that hangs, show all stacks and fail."""
    outcome: list[Any] = []

    def call() -> None:
        try:
            outcome.append((function(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        faulthandler.dump_traceback(sys.__stderr__)
        pytest.fail(f"still not done after {seconds} s: a deadlock")
    value, error = outcome[0]
    if error is not None:
        raise error
    return value


@pytest.fixture(params=["memory", "local"])
def repo(request: pytest.FixtureRequest, tmp_path: Path) -> zvv.Repository:
    location = "memory://" if request.param == "memory" else str(tmp_path / "r")
    repo = zvv.Repository.create(location)
    with repo.transaction() as tx:
        tx.create_dataset("p", **CLOUD)
    return repo


def count(repo: zvv.Repository, ref: str = "main", name: str = "p") -> int:
    return repo.view(ref)[name][0].vertex_count


# ---- beginning and ending ----------------------------------------------------------------------


def test_nothing_is_visible_before_the_commit_and_all_of_it_after(repo: zvv.Repository) -> None:
    tip = repo.resolve("main")
    with repo.transaction() as tx:
        assert tx.base_snapshot_id == tip
        for _ in range(3):
            tx.writer("p").append_vertices_sync(POINTS)
        assert (repo.resolve("main"), count(repo), tx.result) == (tip, 0, None)
    assert tx.result is not None
    assert tx.result.snapshot_id == repo.resolve("main") != tip
    assert count(repo) == 9
    assert len(repo.log()) == 3


def test_an_exception_abandons_everything(repo: zvv.Repository) -> None:
    tip = repo.resolve("main")
    with pytest.raises(KeyboardInterrupt), repo.transaction() as tx:  # noqa: PT012
        tx.create_dataset("q", **CLOUD)
        tx.writer("p").append_vertices_sync(POINTS)
        raise KeyboardInterrupt
    assert (repo.resolve("main"), tx.result, count(repo)) == (tip, None, 0)
    assert repo.view().datasets == ["p"]


@pytest.mark.parametrize("end", ["commit", "abort"])
def test_what_is_over_stays_over(repo: zvv.Repository, end: str) -> None:
    tx = repo.transaction()
    writer = tx.writer("p")
    writer.append_vertices_sync(POINTS)
    getattr(tx, end)()
    tip = repo.resolve("main")
    said = "was committed" if end == "commit" else "was abandoned"
    for again in (
        lambda: writer.append_vertices_sync(POINTS),
        lambda: asyncio.run(writer.append_vertices(POINTS)),
        writer.commit_sync,
        tx.commit,
        lambda: tx.writer("p"),
        lambda: tx.create_dataset("q", **CLOUD),
    ):
        with pytest.raises(zvv.ReadOnlyError, match=rf"{said}.*repo\.transaction\('main'\)"):
            again()
    tx.abort()
    assert said in repr(tx)
    assert said in repr(writer)
    assert repo.resolve("main") == tip


def test_a_commit_or_an_abort_inside_the_block_is_final(repo: zvv.Repository) -> None:
    with repo.transaction() as tx:
        tx.writer("p").append_vertices_sync(POINTS)
        first = tx.commit(message="early")
    assert tx.result is first
    assert repo.log()[0].message == "early"
    with repo.transaction() as tx:
        tx.writer("p").append_vertices_sync(POINTS)
        tx.abort()
    assert count(repo) == 3


def test_where_nothing_was_staged_there_is_no_new_snapshot(repo: zvv.Repository) -> None:
    tip = repo.resolve("main")
    with repo.transaction(message="nothing") as tx:
        tx.writer("p").append_vertices_sync(np.zeros((0, 2), "f4"))
    assert tx.result is not None
    assert (tx.result.snapshot_id, tx.result.committed) == (tip, True)
    assert (tx.result.vertices_committed, tx.result.object_ids) == (0, {})
    assert repo.resolve("main") == tip


def test_what_is_written_as_it_was_is_no_error(repo: zvv.Repository) -> None:
    """Values of no vertices, put in the place of values of no vertices."""
    for _ in range(2):
        with repo.transaction() as tx:
            tx.writer("p").add_attribute_sync("a", np.zeros(0, "f4"))
        assert tx.result is not None
        assert tx.result.snapshot_id == repo.resolve("main")
    assert repo.view()["p"][0].attribute_names == ["a"]


def test_a_lost_race_to_the_very_same_change_is_no_conflict(repo: zvv.Repository) -> None:
    transactions = [repo.transaction(), repo.transaction()]
    for tx in transactions:
        tx.writer("p").add_group_sync("g", [])
    _, lost = [tx.commit() for tx in transactions]
    assert lost.snapshot_id == repo.resolve("main")
    assert repo.view()["p"][0].groups.keys() == {"g"}


def test_a_writer_of_its_own_commits_where_its_block_ends(repo: zvv.Repository) -> None:
    with repo.view()["p"][0].writer(message="mine", author="ann", metadata={"n": 1}) as writer:
        writer.append_vertices_sync(POINTS)
    newest = repo.log()[0]
    assert (newest.message, newest.author, newest.metadata) == ("mine", "ann", {"n": 1})
    with pytest.raises(zvv.ReadOnlyError):
        writer.append_vertices_sync(POINTS)
    with pytest.raises(ZeroDivisionError), repo.view()["p"][0].writer() as writer:  # noqa: PT012
        writer.append_vertices_sync(POINTS)
        raise ZeroDivisionError
    writer = repo.view()["p"][0].writer()
    writer.append_vertices_sync(POINTS)
    writer.abort_sync()
    assert count(repo) == 3


def test_a_writer_of_a_transaction_leaves_the_commit_to_it(repo: zvv.Repository) -> None:
    with repo.transaction() as tx:
        with tx.writer("p") as writer:
            writer.append_vertices_sync(POINTS)
        assert count(repo) == 0
        tx.writer("p").append_vertices_sync(POINTS)
    assert count(repo) == 6


@pytest.mark.parametrize("level", ["0", 0.0, False, np.int64(0)])
def test_there_is_one_way_to_name_a_level_or_all_ways_lead_to_it(
    repo: zvv.Repository, level: Any
) -> None:
    appended = 1
    with repo.transaction() as tx:
        first = tx.writer("p", 0)
        try:
            second = tx.writer("p", level)
        except zvv.NotFoundError:
            second = None
        first.append_vertices_sync(POINTS)
        if second is not None:
            second.append_vertices_sync(POINTS)
            appended += 1
    assert count(repo) == len(POINTS) * appended


# ---- races -------------------------------------------------------------------------------------


def test_a_commit_that_lost_the_race_to_the_same_thing_changes_nothing(
    repo: zvv.Repository,
) -> None:
    winner, loser = repo.transaction(), repo.transaction()
    for tx in (winner, loser):
        tx.writer("p").append_vertices_sync(POINTS, object_ids=4)
    won = winner.commit()
    with pytest.raises(zvv.ConflictError, match="objects 4 of dataset 'p'") as caught:
        loser.commit()
    error = caught.value
    assert (error.what, error.where) == ("objects", "p")
    assert error.conflict.kind == "objects"
    assert (repo.resolve("main"), count(repo)) == (won.snapshot_id, 3)
    assert loser.result is None
    with pytest.raises(zvv.ReadOnlyError):
        loser.commit()
    with repo.transaction() as again:
        again.writer("p").append_vertices_sync(POINTS, object_ids=5)
    assert count(repo) == 6


@pytest.mark.parametrize("event", ["reset", "deleted"])
def test_a_branch_that_went_away_meanwhile_is_said_to(repo: zvv.Repository, event: str) -> None:
    repo.create_branch("try")
    tx = repo.transaction("try")
    tx.writer("p").append_vertices_sync(POINTS)
    if event == "reset":
        repo.reset_branch("try", to="main~1")
        with pytest.raises(zvv.ConflictError, match="moved"):
            tx.commit()
    else:
        repo.delete_branch("try")
        with pytest.raises(zvv.NotFoundError, match=r"branch.*try"):
            tx.commit()
    assert tx.result is None
    assert count(repo) == 0


def test_transactions_on_two_branches_do_not_meet(repo: zvv.Repository) -> None:
    repo.create_branch("try")
    with repo.transaction() as one, repo.transaction("try") as other:
        one.writer("p").append_vertices_sync(POINTS, object_ids=1)
        other.writer("p").append_vertices_sync(POINTS[:2], object_ids=1)
    assert (count(repo), count(repo, "try")) == (3, 2)


# ---- threads and loops -------------------------------------------------------------------------


def test_appends_from_many_threads_all_arrive(repo: zvv.Repository) -> None:
    tx = repo.transaction()
    writer = tx.writer("p")

    def append(number: int) -> None:
        writer.append_vertices_sync(POINTS, object_ids=number, attributes={"n": [number] * 3})

    threads = [threading.Thread(target=append, args=(n,), daemon=True) for n in range(12)]
    for thread in threads:
        thread.start()
    finishes(lambda: [thread.join() for thread in threads])
    tx.commit()
    level = repo.view()["p"][0]
    assert sorted(level.object_ids().tolist()) == list(range(12))
    got = level.read(attributes="all")
    np.testing.assert_array_equal(got.object_ids, got.attributes["n"])


def test_two_threads_that_commit_the_same_transaction_commit_once(repo: zvv.Repository) -> None:
    tx = repo.transaction()
    tx.writer("p").append_vertices_sync(POINTS)
    outcomes: list[str] = []

    def commit() -> None:
        try:
            outcomes.append(tx.commit().snapshot_id)
        except zvv.ReadOnlyError:
            outcomes.append("refused")

    threads = [threading.Thread(target=commit, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    finishes(lambda: [thread.join() for thread in threads])
    assert sorted(outcomes) == sorted([repo.resolve("main"), *["refused"] * 3])


def test_many_async_appends_at_once_in_one_loop(repo: zvv.Repository) -> None:
    async def main() -> None:
        async with repo.transaction(message="gathered") as tx:
            writer = tx.writer("p")
            results = await asyncio.gather(*(writer.append_vertices(POINTS) for _ in range(40)))
            assert sum(result["vertices_added"] for result in results) == 120
            async with tx.writer("p") as other:
                await other.append_vertices(POINTS)
        with pytest.raises(zvv.ReadOnlyError):
            await writer.append_vertices(POINTS)

    finishes(lambda: asyncio.run(main()))
    assert count(repo) == 123
    assert repo.log()[0].message == "gathered"


def test_an_exception_in_an_async_block_abandons_everything(repo: zvv.Repository) -> None:
    async def main() -> None:
        async with repo.transaction() as tx:
            await tx.writer("p").append_vertices(POINTS)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        finishes(lambda: asyncio.run(main()))
    assert count(repo) == 0


def test_a_task_that_is_cancelled_abandons_its_transaction(repo: zvv.Repository) -> None:
    async def load() -> None:
        async with repo.transaction() as tx:
            while True:
                await tx.writer("p").append_vertices(POINTS)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(load(), 0.1)

    finishes(lambda: asyncio.run(main()))
    assert (count(repo), len(repo.log())) == (0, 2)


def test_the_names_for_scripts_work_inside_a_running_loop(repo: zvv.Repository) -> None:
    async def main() -> None:
        with repo.transaction() as tx:
            tx.writer("p").append_vertices_sync(POINTS)
        with repo.view()["p"][0].writer() as writer:
            writer.append_vertices_sync(POINTS)
            writer.commit_sync()
        async with repo.view()["p"][0].writer() as writer:
            await writer.append_vertices(POINTS)
            assert (await writer.commit())["objects_committed"] == 3
        writer = repo.view()["p"][0].writer()
        await writer.abort()
        assert repo.view()["p"][0].positions().shape == (9, 2)

    finishes(lambda: asyncio.run(main()))


# ---- a storage that fails ----------------------------------------------------------------------


class Fault:
    """Lets the n-th write fail, counted from when it is armed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = -1
        real = icechunk.IcechunkStore.set

        async def write(store: Any, key: str, value: Any, *more: Any) -> None:
            self.left -= 1
            if self.left == 0:
                raise OSError("no space left on device")
            await real(store, key, value, *more)

        monkeypatch.setattr(icechunk.IcechunkStore, "set", write)


def test_a_write_that_fails_at_any_moment_leaves_the_branch_as_it_was(
    repo: zvv.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    tip = repo.resolve("main")
    fault = Fault(monkeypatch)
    where: list[str] = []
    messages: list[str] = []
    for n in itertools.count(1):
        tx = repo.transaction()
        writer = tx.writer("p")
        writer.append_vertices_sync(POINTS)
        fault.left = n
        try:
            step = "create"
            tx.create_dataset("q", **CLOUD)
            step = "append"
            writer.append_vertices_sync(POINTS, attributes={"a": [1, 2, 3]})
            step = "commit"
            tx.commit()
        except zvv.StorageError as error:
            messages.append(str(error))
            fault.left = -1
        else:
            break
        where.append(step)
        said = "was abandoned" if step == "commit" else "can only be abandoned"
        with pytest.raises(zvv.ReadOnlyError, match=said):
            writer.append_vertices_sync(POINTS)
        with pytest.raises(zvv.ReadOnlyError, match=said):
            tx.commit()
        assert (repo.resolve("main"), repo.view().datasets) == (tip, ["p"])
        tx.abort()
        with pytest.raises(zvv.ReadOnlyError, match="was abandoned"):
            tx.commit()
    assert [text for text in messages if "no space left on device" not in text] == []
    # At least the documents; then a shard, an index, the table and the facts, of which those that
    # are uploaded while the caller goes on may fail in the next step.
    assert where.count("create") >= 2
    assert where.count("append") + where.count("commit") >= 4
    assert where.count("commit") >= 2
    assert (count(repo), repo.view().datasets) == (6, ["p", "q"])


def test_a_block_whose_append_failed_cannot_end_in_a_commit(
    repo: zvv.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = Fault(monkeypatch)
    tx = repo.transaction()
    writer = tx.writer("p")
    fault.left = 1
    # Its chunks are uploaded while the caller goes on; a new attribute waits for them.
    writer.append_vertices_sync(POINTS)
    with pytest.raises(zvv.StorageError, match="no space left"):
        writer.append_vertices_sync(POINTS, attributes={"a": [1, 2, 3]})
    with pytest.raises(zvv.ReadOnlyError, match="can only be abandoned"), tx:
        pass
    assert (count(repo), tx.result) == (0, None)
    with repo.transaction() as tx:
        tx.writer("p").append_vertices_sync(POINTS)
    assert count(repo) == 3


def test_an_upload_that_failed_behind_an_append_fails_the_commit(
    repo: zvv.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    tip = repo.resolve("main")
    fault = Fault(monkeypatch)
    tx = repo.transaction()
    fault.left = 1
    tx.writer("p").append_vertices_sync(POINTS)
    with pytest.raises(zvv.StorageError, match="no space left"), tx:
        pass
    assert (repo.resolve("main"), count(repo), tx.result) == (tip, 0, None)
    with pytest.raises(zvv.ReadOnlyError, match="was abandoned"):
        tx.commit()


# ---- the dataset's metadata, and compact -------------------------------------------------------


def test_metadata_is_set_and_deleted_key_by_key() -> None:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0], [9]), metadata={"a": 1, "b": 2})
        assert tx.writer("p").set_metadata_sync({"c": [3]}) == {"a": 1, "b": 2, "c": [3]}
    before = repo.view()["p"]
    with repo.transaction() as tx:
        assert tx.writer("p").set_metadata_sync({"a": None, "c": {"d": 4}, "x": None}) == {
            "b": 2,
            "c": {"d": 4},
        }
    assert repo.view()["p"].metadata == {"b": 2, "c": {"d": 4}}
    assert before.metadata == {"a": 1, "b": 2, "c": [3]}
    commit = repo.log("main")[0]
    assert commit.message == "change the metadata of p"
    assert commit.summary["changes"] == {"p": {"metadata_changed": ["a", "c", "x"]}}


@pytest.mark.parametrize("mapping", [None, 5, {5: 1}, {"a": float("nan")}, {"a": object()}])
def test_metadata_that_json_cannot_keep_is_refused(mapping: Any) -> None:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0], [9]), metadata={"a": 1})
        with pytest.raises(zvv.MetadataError):
            tx.writer("p").set_metadata_sync(mapping)
    assert repo.view()["p"].metadata == {"a": 1}


def test_metadata_that_stays_as_it_is_makes_no_commit() -> None:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("", kind="point_cloud", bounds=([0], [9]), metadata={"a": 1})
    tip = repo.resolve("main")
    with repo.transaction() as tx:
        tx.writer("").set_metadata_sync({"a": 1, "b": None})
    assert repo.resolve("main") == tip
    with repo.transaction() as tx:
        tx.writer("").set_metadata_sync({"b": 1})
    assert repo.view().datasets == [""]
    assert repo.view()[""].metadata == {"a": 1, "b": 1}


def test_compact_commits_what_is_pending_and_says_what_there_is() -> None:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [9, 9]))
        tx.writer("p").append_vertices_sync(np.ones((5, 2), "f4"))
    writer = repo.view()["p"][0].writer()
    writer.append_vertices_sync(np.ones((3, 2), "f4"), object_ids=[9, 9, 8])
    writer.remove_objects_sync([0])
    assert writer.compact_sync() == {
        "compacted": True,
        "num_objects": 6,
        "vertex_count": 7,
        "batches_before": 2,
        "batches_after": 1,
        "snapshot_id": repo.resolve("main"),
        "objects_committed": 2,
    }
    assert repo.view()["p"][0].vertex_count == 7
    with pytest.raises(zvv.ReadOnlyError, match="was committed"):
        writer.compact_sync()


def test_what_began_and_was_removed_in_one_transaction_is_no_result_of_it() -> None:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", **CLOUD)
        writer = tx.writer("p")
        writer.append_vertices_sync(POINTS, object_ids=[5, 5, 6])
        writer.append_vertices_sync(POINTS, object_ids=[7, 8, 5])
        writer.remove_objects_sync([5, 8])
        result = writer.commit_sync()
    assert (result.objects_committed, result.vertices_committed) == (2, 2)
    assert result.object_ids.tolist() == [6, 7]
    assert repo.view()["p"][0].object_ids().tolist() == [6, 7]


def test_compact_tells_of_what_others_committed_too() -> None:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", **CLOUD)
    writer = repo.view()["p"][0].writer()
    writer.append_vertices_sync(POINTS)
    with repo.transaction() as tx:
        tx.writer("p").append_vertices_sync(POINTS)
    result = writer.compact_sync()
    assert (result["vertex_count"], result["num_objects"], result["batches_after"]) == (6, 6, 1)
    assert repo.view()["p"][0].vertex_count == 6


def test_a_transaction_and_its_writers_say_that_they_cannot_be_pickled() -> None:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [9, 9]))
        for one in (tx, tx.writer("p")):
            with pytest.raises(TypeError, match=r"cannot be pickled.*repo\.transaction\('main'\)"):
                pickle.dumps(one)


@pytest.mark.parametrize(
    ("value", "said"), [(np.int64(3), r"'run' is .*3.*value\.item\(\)"), (np.nan, "'run' is nan")]
)
def test_metadata_that_is_no_json_is_named_with_its_key(value: object, said: str) -> None:
    repo = zvv.Repository.create("memory://")
    with pytest.raises(zvv.MetadataError, match=said):
        repo.transaction(metadata={"fine": 1, "run": value})


@pytest.mark.parametrize("end", ["commit", "abort"])
def test_a_block_of_a_transaction_that_is_over_is_refused(end: str) -> None:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [9, 9]))
    tx = repo.transaction()
    writer = tx.writer("p")
    writer.append_vertices_sync(np.ones((2, 2), "f4"))
    getattr(tx, end)()
    said = {"commit": "was committed", "abort": "was abandoned"}[end]
    for over in (tx, writer):
        with pytest.raises(zvv.ReadOnlyError, match=said), over:
            raise AssertionError("the block was entered")

        async def enter(over: Any = over) -> None:
            async with over:
                raise AssertionError("the block was entered")

        with pytest.raises(zvv.ReadOnlyError, match=said):
            asyncio.run(enter())
    with repo.view().lease() as lease:
        pass
    with pytest.raises(zvv.ReadOnlyError, match="was released"), lease:
        raise AssertionError("the block was entered")


# --- how large cells are -------------------------------------------------------------------------


def test_a_dataset_for_ten_million_vertices_has_sixteen_cells_an_axis() -> None:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset(
            "p", kind="point_cloud", bounds=([0] * 3, [160] * 3), expected_vertices=10_000_000
        )
    assert repo.view()["p"].chunk_shape == pytest.approx((10, 10, 10))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"expected_vertices": 0}, "positive integer, got 0"),
        ({"expected_vertices": True}, "positive integer, got True"),
        ({"expected_vertices": 1e6}, "positive integer, got 1000000.0"),
        ({"expected_vertices": 10**13}, "at most 1,000,000,000,000, got 10,000,000,000,000"),
        ({"expected_vertices": 9, "chunk_shape": [1, 1]}, "give one of them"),
    ],
)
def test_what_is_no_number_of_vertices_is_refused(options: dict[str, Any], words: str) -> None:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx, pytest.raises(zvv.MetadataError, match=words):
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [1, 1]), **options)
