"""Reading in several threads: the same answer as in one, and errors that come through."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zv_versioned as zvv
from zv_versioned.errors import IntegrityError
from zv_versioned.reading import fetch, reader, threads

N = 12_000


@pytest.fixture(autouse=True)
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "LANES", 3)


def test_all_numbers_are_worked_on_once_and_by_several_threads() -> None:
    begun = threading.Barrier(3, timeout=20)
    done: list[int] = []

    def work(number: int) -> None:
        if number >= 5:
            begun.wait()
        done.append(number)

    threads.each(work, begun.wait, 7)
    assert sorted(done) == list(range(7))


@pytest.mark.parametrize("fails", ["first", 99, 50, 0])
def test_an_error_in_any_thread_ends_the_work_and_is_raised(fails: int | str) -> None:
    done: list[int] = []

    def work(number: int) -> None:
        if number == fails:
            raise IntegrityError(f"number {number}")
        done.append(number)
        time.sleep(0.0002)

    def first() -> None:
        if fails == "first":
            raise IntegrityError("the first")

    with pytest.raises(IntegrityError, match=r"number \d+|the first"):
        threads.each(work, first, 100)
    assert fails not in done
    assert len(done) < (60 if fails == 99 else 101)


def test_one_is_fetched_while_another_is_used() -> None:
    both = threading.Barrier(2, timeout=20)
    order: list[int] = []

    def fetch(number: int) -> int:
        both.wait()
        return number

    def fill(number: int, found: int) -> None:
        assert number == found
        order.append(number)
        if number:
            both.wait()

    threads.one_ahead(fetch, fill, lambda: order.append(both.wait() * 0 + 9), 4)
    assert order == [9, 3, 2, 1, 0]


# ---- reads -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Points in three batches, the second of which has cells that are stored as they are."""
    place = tmp_path_factory.mktemp("threads") / "repo"
    rng = np.random.default_rng(3)
    repo = zvv.Repository.create(str(place))
    with repo.transaction() as tx:
        shape = {"bounds": ([0] * 3, [40] * 3), "chunk_shape": (10,) * 3}
        tx.create_dataset("p", kind="point_cloud", **shape)
        for number, n in enumerate((N, 500, N // 2)):
            tx.writer("p").append_vertices_sync(
                rng.uniform(0, 40, (n, 3)).astype("f4"),
                object_ids=np.sort(rng.integers(0, 90, n)) + 100 * number,
                attributes={"a": rng.integers(0, 9, n), "name": [f"n{k % 7}" for k in range(n)]},
            )
        tx.writer("p").remove_objects_sync([5, 6, 7])
    return place


asked = st.fixed_dictionaries(
    {},
    optional={
        "bbox": st.tuples(st.integers(0, 20), st.integers(21, 40)).map(
            lambda ends: ([ends[0]] * 3, [ends[1]] * 3)
        ),
        "objects": st.lists(st.sampled_from([0, 3, 80, 101, 150, 230, 280]), min_size=1),
        "where": st.sampled_from([{"a": 3}, {"a": ("<", 5)}]),
        "attributes": st.sampled_from(["all", ["a"], ["name"]]),
        "limit": st.integers(0, 3_000),
    },
)


@settings(max_examples=40)
@given(
    asked=asked,
    piece=st.sampled_from([1 << 13, 1 << 15, 1 << 22]),
    window=st.sampled_from([1_500, 5_000, 1 << 20]),
)
def test_a_read_is_the_same_in_several_threads(
    place: Path, asked: dict[str, Any], piece: int, window: int
) -> None:
    alone = zvv.Repository.open(str(place)).view()["p"][0].read(**asked)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "LARGE_CELL", 0)
        patch.setattr(threads, "LARGE_READ", 0)
        patch.setattr(fetch, "_LANE_BYTES", piece)
        patch.setattr(fetch, "RANGE_BYTES", piece // 2)
        patch.setattr(fetch, "WHOLE_BATCH_BYTES", 1 << 12)
        patch.setattr(reader, "_ASKED_BYTES", 12 * window)
        patch.setattr(reader, "WINDOW_VERTICES", window)
        level = zvv.Repository.open(str(place)).view()["p"][0]
        found = level.read(**asked)
        assert level.positions().tobytes() == level.read().positions.tobytes()
    for name in ("positions", "vertex_ids", "object_ids"):
        assert getattr(found, name).tobytes() == getattr(alone, name).tobytes()
    for name, values in alone.attributes.items():
        assert found.attributes[name].tolist() == values.tolist()


@pytest.mark.parametrize("objects", [None, [3]])
def test_damage_is_found_by_whichever_thread_reads_it(
    place: Path, tmp_path: Path, objects: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "LARGE_CELL", 0)
    monkeypatch.setattr(threads, "LARGE_READ", 0)
    monkeypatch.setattr(fetch, "_LANE_BYTES", 1 << 12)
    monkeypatch.setattr(fetch, "RANGE_BYTES", 1 << 12)
    monkeypatch.setattr(fetch, "WHOLE_BATCH_BYTES", 1 << 12)
    shutil.copytree(place, tmp_path / "repo")
    file = max((tmp_path / "repo" / "chunks").iterdir(), key=lambda one: one.stat().st_size)
    sound = file.read_bytes()
    file.chmod(0o644)
    for place_of in range(200, len(sound) - 20_000, len(sound) // 5):
        raw = bytearray(sound)
        raw[place_of : place_of + 3_000] = bytes(3_000)
        file.write_bytes(raw)
        level = zvv.Repository.open(str(tmp_path / "repo")).view()["p"][0]
        with pytest.raises(IntegrityError, match="chunk 'p/0/"):
            level.read(objects=objects)
