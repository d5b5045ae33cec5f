"""What is written to what is there: from anywhere, in any way, and never half."""

from __future__ import annotations

import asyncio
import faulthandler
import itertools
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import icechunk
import numpy as np
import pytest

import zv_versioned as zvv

N = 3000
IDS = np.arange(N) // 10


@pytest.fixture(params=["memory", "local"])
def repo(request: pytest.FixtureRequest, tmp_path: Path) -> zvv.Repository:
    """Two batches over about a thousand cells."""
    location = "memory://" if request.param == "memory" else str(tmp_path / "r")
    repo = zvv.Repository.create(location)
    points = np.random.default_rng(0).uniform(0, 100, (N, 3)).astype("f4")
    with repo.transaction() as tx:
        tx.create_dataset(
            "p", kind="point_cloud", bounds=([0] * 3, [100] * 3), chunk_shape=[10] * 3
        )
        for half in (slice(0, N // 2), slice(N // 2, N)):
            tx.writer("p").append_vertices_sync(points[half], object_ids=IDS[half])
    return repo


def level(repo: zvv.Repository) -> zvv.Level:
    return repo.view()["p"][0]


def finishes(function: Callable[[], Any], seconds: float = 60) -> None:
    """Call it in a thread of its own; where that hangs, show all stacks and fail."""
    failed: list[BaseException] = []

    def call() -> None:
        try:
            function()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        faulthandler.dump_traceback(sys.__stderr__)
        pytest.fail(f"still not done after {seconds} s: a deadlock")
    if failed:
        raise failed[0]


def everything(writer: zvv.ZVWriter, number: int) -> None:
    """Write of every kind, with the verbs for scripts."""
    writer.add_attribute_sync(f"a{number}", np.full(N, number, "f4"))
    writer.add_node_attribute_sync(f"t{number}", np.full(N, str(number)))
    writer.add_object_attribute_sync(f"o{number}", np.arange(N // 10) + number)
    writer.add_group_sync(f"g{number}", [number])


def check(repo: zvv.Repository, numbers: range) -> None:
    now = level(repo)
    for number in numbers:
        assert (now.attribute(f"a{number}", missing="raise") == number).all()
        assert set(now.attribute(f"t{number}").tolist()) == {str(number)}
        assert now.object_attribute(f"o{number}").tolist() == [*range(number, number + N // 10)]
        assert now.groups[f"g{number}"].tolist() == [number]


# ---- from anywhere -----------------------------------------------------------------------------


def test_the_verbs_for_scripts_work_inside_a_running_loop(repo: zvv.Repository) -> None:
    async def main() -> None:
        with repo.transaction() as tx:
            everything(tx.writer("p"), 1)

    finishes(lambda: asyncio.run(main()))
    check(repo, range(1, 2))


def test_the_coroutines_work_under_asyncio_run_all_at_once(repo: zvv.Repository) -> None:
    async def main() -> None:
        async with repo.transaction() as tx:
            writer = tx.writer("p")
            work = []
            for number in range(5):
                work += [
                    writer.add_attribute(f"a{number}", np.full(N, number, "f4")),
                    writer.add_node_attribute(f"t{number}", np.full(N, str(number))),
                    writer.add_object_attribute(f"o{number}", np.arange(N // 10) + number),
                    writer.add_group(f"g{number}", [number]),
                ]
            await asyncio.gather(*work)
            assert await writer.set_metadata({"unit": "nm"}) == {"unit": "nm"}
            await writer.remove_group("g4")
            await writer.drop_attribute("a4")
            assert (await writer.remove_objects([299]))["objects_removed"] == 1

    finishes(lambda: asyncio.run(main()))
    now = level(repo)
    assert sorted(now.groups) == ["g0", "g1", "g2", "g3"]
    assert now.attribute_names == [*(f"a{n}" for n in range(4)), *(f"t{n}" for n in range(5))]
    assert now.num_objects == N // 10 - 1
    assert repo.view()["p"].metadata == {"unit": "nm"}


def test_threads_write_side_by_side_to_one_transaction(repo: zvv.Repository) -> None:
    with repo.transaction() as tx:
        writer = tx.writer("p")
        threads = [threading.Thread(target=everything, args=(writer, n)) for n in range(4)]
        for thread in threads:
            thread.start()
        finishes(lambda: [thread.join() for thread in threads])
    check(repo, range(4))


def test_a_compaction_is_a_coroutine_too(repo: zvv.Repository) -> None:
    writer = level(repo).writer()
    writer.add_attribute_sync("a", np.zeros(N))
    result = asyncio.run(writer.compact())
    assert (result["compacted"], result["num_objects"]) == (True, N // 10)
    assert level(repo).attribute_names == ["a"]


# ---- what is read and written ------------------------------------------------------------------


def test_no_vertex_is_read_or_written(
    repo: zvv.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    written: list[str] = []
    real_get, real_many = icechunk.IcechunkStore.get, icechunk.IcechunkStore.get_partial_values
    real_set = icechunk.IcechunkStore.set

    async def get(store: Any, key: str, *more: Any) -> Any:
        read.append(key)
        return await real_get(store, key, *more)

    async def get_partial_values(store: Any, prototype: Any, ranges: Any) -> Any:
        ranges = list(ranges)
        read.extend(key for key, _ in ranges)
        return await real_many(store, prototype, ranges)

    async def write(store: Any, key: str, *more: Any) -> None:
        written.append(key)
        await real_set(store, key, *more)

    monkeypatch.setattr(icechunk.IcechunkStore, "get", get)
    monkeypatch.setattr(icechunk.IcechunkStore, "get_partial_values", get_partial_values)
    monkeypatch.setattr(icechunk.IcechunkStore, "set", write)
    again = repo.view()._repository
    again._parts._items.clear()
    with repo.transaction() as tx:
        everything(tx.writer("p"), 1)
        tx.writer("p").remove_objects_sync([7])
        tx.writer("p").add_attribute_sync("left", np.zeros(N - 10))
    assert [key for key in read if "/batches/index/c/" in key]
    assert [key for key in written if "/vertex_attributes/a1/c/" in key]
    assert [key for key in (*read, *written) if "/vertices/" in key] == []
    assert [key for key in written if "/batches/index/" in key] == []


# ---- never half --------------------------------------------------------------------------------


def test_an_exception_in_the_block_leaves_nothing_of_it(repo: zvv.Repository) -> None:
    tip = repo.resolve("main")

    def work() -> None:
        with repo.transaction() as tx:
            everything(tx.writer("p"), 1)
            tx.writer("p").remove_objects_sync([1])
            tx.create_level("p", 1)
            tx.writer("p").set_metadata_sync({"a": 1})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert repo.resolve("main") == tip
    now = level(repo)
    assert (now.attribute_names, now.object_attribute_names, dict(now.groups)) == ([], [], {})
    assert (now.vertex_count, repo.view()["p"].levels, repo.view()["p"].metadata) == (N, [0], {})


STEPS: dict[str, Callable[[zvv.Transaction], Any]] = {
    "values": lambda tx: tx.writer("p").add_attribute_sync("a", np.zeros(N, "f4")),
    "text": lambda tx: tx.writer("p").add_attribute_sync("t", np.full(N, "x")),
    "objects": lambda tx: tx.writer("p").add_object_attribute_sync("o", np.zeros(N // 10)),
    "group": lambda tx: tx.writer("p").add_group_sync("g", [3]),
    "remove": lambda tx: tx.writer("p").remove_objects_sync([3, 250]),
    "level": lambda tx: tx.create_level("p", 1),
    "replace": lambda tx: tx.writer("p").add_attribute_sync("t", np.zeros((N - 20, 2))),
    "metadata": lambda tx: tx.writer("p").set_metadata_sync({"a": 1}),
}


def test_a_storage_that_fails_at_any_moment_leaves_the_branch_as_it_was(
    repo: zvv.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = -1
    real = icechunk.IcechunkStore.set

    async def write(store: Any, key: str, value: Any, *more: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise OSError("no space left on device")
        await real(store, key, value, *more)

    monkeypatch.setattr(icechunk.IcechunkStore, "set", write)
    tip = repo.resolve("main")
    failed: list[str] = []
    messages: list[str] = []
    for n in itertools.count(1):
        left, step = n, "none"
        tx = repo.transaction()
        try:
            for step, do in STEPS.items():  # noqa: B007
                do(tx)
            step = "commit"
            tx.commit()
            break
        except zvv.StorageError as error:
            messages.append(str(error))
        left = -1
        failed.append(step)
        with pytest.raises(zvv.ReadOnlyError):
            STEPS["values"](tx)
        with pytest.raises(zvv.ReadOnlyError):
            tx.commit()
        assert repo.resolve("main") == tip
        tx.abort()
    assert [text for text in messages if "no space left on device" not in text] == []
    # Nothing is uploaded for metadata before the commit.
    assert set(failed) == {*STEPS, "commit"} - {"metadata"}
    now = level(repo)
    assert (now.vertex_count, now.attribute_names) == (N - 20, ["a", "t"])
    assert now.attribute("t").shape == (N - 20, 2)
    assert repo.view()["p"].levels == [0, 1]
