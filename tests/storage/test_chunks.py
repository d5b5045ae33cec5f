"""Local chunks read where they lie: the bytes are those of icechunk, damage is an error of ours."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zv_versioned as zvv
from zv_versioned import _io, _store
from zv_versioned._paths import chunk_key, parted
from zv_versioned.errors import IntegrityError, ZVError
from zv_versioned.storage import chunks, files, lookup

BOUNDS = ([0.0] * 3, [100.0] * 3)


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> zvv.Repository:
    """Large and small batches, chunks in manifests and in files, and a second branch."""
    rng = np.random.default_rng(0)
    repo = zvv.Repository.create(tmp_path_factory.mktemp("chunks") / "r")
    with repo.transaction() as tx:
        tx.create_dataset("c/c", kind="point_cloud", bounds=BOUNDS)
    for n in (4000, 3, 700):
        with repo.transaction() as tx:
            tx.writer("c/c").append_vertices_sync(
                rng.uniform(0, 100, (n, 3)).astype("f4"), attributes={"a": rng.random(n)}
            )
        if n == 3:
            with repo.transaction() as tx:  # which objects these are is small enough for a manifest
                tx.writer("c/c").remove_objects_sync([1, 5])
    repo.create_branch("other", at=repo.log()[1].snapshot_id)
    return repo


def keys_of(store: Any) -> list[str]:
    async def listed() -> list[str]:
        return [key async for key in store.list()]

    return sorted(key for key in _io.run(listed()) if "/c/" in key and not key.endswith(".json"))


def by_icechunk(store: Any, key: str, start: int, stop: int) -> bytes | None:
    value = _io.run(_store._get_alone(store, (key, start, stop)))
    return None if value is None else bytes(value)


def same(value: memoryview | None) -> bytes | None:
    return None if value is None else bytes(value)


@pytest.mark.parametrize("ref", ["main", "other"])
def test_every_chunk_is_the_one_that_icechunk_has(repo: zvv.Repository, ref: str) -> None:
    view = repo.view(ref)
    local = chunks.chunks_of(view._store)
    assert local is not None
    keys = keys_of(view._store)
    assert len(keys) > 6
    whole = local.get([(key, 0, -1) for key in keys])
    for key, value in zip(keys, whole, strict=True):
        assert same(value) == by_icechunk(view._store, key, 0, -1)
    lists = [one for found in local._arrays.values() for one in found]
    kinds = {type(one.find(at)) for one in lists for at in one}
    assert kinds == {lookup.Chunk, bytes}
    assert local.get([("c/c/0/vertices/c/9/9/9/9", 0, -1), ("no/such/c/0", 0, 4)]) == [None, None]


@given(data=st.data(), start=st.integers(-300, 300), size=st.integers(1, 300))
def test_a_part_of_a_chunk_is_the_same_part(
    repo: zvv.Repository, data: st.DataObject, start: int, size: int
) -> None:
    store = repo.view()._store
    local = chunks.chunks_of(store)
    assert local is not None
    key = data.draw(st.sampled_from(keys_of(store)))
    whole = by_icechunk(store, key, 0, -1)
    assert whole is not None
    request = (key, start, -1) if start < 0 else (key, start, start + size)
    (found,) = local.get([request])
    expected = whole[max(len(whole) + start, 0) :] if start < 0 else whole[start : start + size]
    assert same(found) == expected


@given(data=st.data())
def test_parts_that_are_read_together_are_the_same_parts(
    repo: zvv.Repository, data: st.DataObject
) -> None:
    store = repo.view()._store
    local = chunks.chunks_of(store)
    assert local is not None
    part = st.tuples(
        st.sampled_from(keys_of(store)), st.integers(-300, 300), st.integers(1, 900)
    ).map(lambda p: (p[0], p[1], -1 if p[1] < 0 else p[1] + p[2]))
    whole = st.tuples(st.sampled_from(keys_of(store)), st.just(0), st.just(-1))
    requests = data.draw(st.lists(part | whole, max_size=8))
    found = local.together(requests)
    assert found is not None
    raw, ends = found
    parts = [bytes(raw[a:b]) for a, b in zip([0, *ends], ends, strict=False)]
    assert parts == list(map(same, local.get(requests)))


def test_where_one_of_those_read_together_is_missing_there_is_none(repo: zvv.Repository) -> None:
    local = chunks.chunks_of(repo.view()._store)
    assert local is not None
    there = keys_of(repo.view()._store)[0]
    assert local.together([(there, 0, -1), ("c/c/0/vertices/c/9/9/9/9", 0, -1)]) is None


def test_views_of_local_repositories_alone_are_read_directly(repo: zvv.Repository) -> None:
    memory = zvv.Repository.create("memory://")
    assert chunks.chunks_of(memory.view()._store) is None
    assert chunks.chunks_of(repo._backend.read_store(repo.resolve("main"))) is None


def test_files_of_a_format_that_is_not_known_are_left_to_icechunk(
    repo: zvv.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = repo.view()["c/c"][0].positions()
    monkeypatch.setattr(chunks, "KNOWN_FORMATS", ())
    view = repo.view()
    assert chunks.chunks_of(view._store) is None
    assert view["c/c"][0].positions().tobytes() == expected.tobytes()


def largest(folder: Path) -> Path:
    return max((folder / "chunks").iterdir(), key=lambda path: path.stat().st_size)


@pytest.fixture
def damaged(tmp_path: Path) -> tuple[zvv.Repository, Path]:
    """A repository of its own, with a view's worth of data, and its largest chunk."""
    repo = zvv.Repository.create(tmp_path / "r")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=BOUNDS)
        points = np.random.default_rng(1).uniform(0, 100, (5000, 3)).astype("f4")
        tx.writer("p").append_vertices_sync(points, object_ids=7)
    return repo, largest(tmp_path / "r")


def test_a_chunk_whose_file_is_gone_is_named(damaged: tuple[zvv.Repository, Path]) -> None:
    repo, path = damaged
    level = repo.view()["p"][0]
    path.unlink()
    with pytest.raises(IntegrityError, match=r"missing: p/0/vertices/c/0"):
        level.positions()


def test_a_chunk_whose_file_is_cut_short_is_named(damaged: tuple[zvv.Repository, Path]) -> None:
    repo, path = damaged
    level = repo.view()["p"][0]
    os.truncate(path, path.stat().st_size - 100)
    with pytest.raises(IntegrityError, match=r"p/0/vertices/c/0.* cut short"):
        level.positions()


def by_array(keys: list[str]) -> dict[str, list[tuple[int, ...]]]:
    found: dict[str, list[tuple[int, ...]]] = {}
    for path, at in map(parted, keys):
        found.setdefault(path, []).append(at)
    return found


@pytest.mark.parametrize("locally", [True, False])
def test_chunks_that_are_read_one_behind_the_other_are_those_that_icechunk_has(
    repo: zvv.Repository, locally: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = repo.view()._store
    if not locally:
        monkeypatch.setattr(store, chunks._ATTRIBUTE, None)
    for array, places in by_array(keys_of(store)).items():
        for some in (places, places[::-1], places[:1] * 3, []):
            raw, ends = _store.get_wholes(store, array, some)
            parts = np.split(raw, ends[:-1]) if some else []
            assert len(raw) == (ends[-1] if some else 0)
            for at, part in zip(some, parts, strict=True):
                assert part.tobytes() == by_icechunk(store, chunk_key(array, at), 0, -1)


@pytest.mark.parametrize(("how", "told"), [("gone", "missing: "), ("cut", "")])
def test_of_chunks_read_one_behind_the_other_a_damaged_one_is_named(
    damaged: tuple[zvv.Repository, Path], how: str, told: str
) -> None:
    repo, path = damaged
    store = repo.view()._store
    if how == "gone":
        path.unlink()
    else:
        os.truncate(path, path.stat().st_size - 100)
    keys = [key for key in keys_of(store) if key.startswith("p/0/vertices/")]
    ((array, places),) = by_array(keys).items()
    with pytest.raises(IntegrityError, match=told + r".*p/0/vertices/c/0"):
        _store.get_wholes(store, array, places)


@pytest.mark.parametrize("folder", ["snapshots", "manifests"])
@pytest.mark.parametrize("how", ["gone", "cut", "zeros"])
def test_files_that_lead_to_chunks_and_are_damaged_are_an_error(
    damaged: tuple[zvv.Repository, Path], folder: str, how: str
) -> None:
    repo, _ = damaged
    view = repo.view()
    fresh = chunks.LocalChunks(Path(repo.location), view.snapshot_id)
    setattr(view._store, chunks._ATTRIBUTE, fresh)
    level = view["p"][0]
    setattr(
        view._store, chunks._ATTRIBUTE, chunks.LocalChunks(Path(repo.location), view.snapshot_id)
    )
    for path in (Path(repo.location) / folder).iterdir():
        raw = path.read_bytes()
        if how == "gone":
            path.unlink()
        else:
            path.write_bytes(raw[:-9] if how == "cut" else bytes(len(raw)))
    with pytest.raises(ZVError):
        level.positions()


def test_a_read_in_a_running_loop_and_in_threads_is_the_same(repo: zvv.Repository) -> None:
    level = repo.view()["c/c"][0]
    expected = level.positions().tobytes()

    async def inside() -> list[bytes]:
        fresh = repo.view()["c/c"][0]
        at_once = await asyncio.gather(*(asyncio.to_thread(fresh.positions) for _ in range(4)))
        return [fresh.positions().tobytes(), *(found.tobytes() for found in at_once)]

    assert set(asyncio.run(inside())) == {expected}


def test_versions_of_the_format_are_told_and_other_files_refused(repo: zvv.Repository) -> None:
    path = Path(repo.location) / "snapshots" / repo.resolve("main")
    assert files.version(path.read_bytes(), "it") in (1, 2)
    for raw in (b"", b"x" * 100, path.read_bytes()[:20]):
        with pytest.raises(IntegrityError, match="it does not begin"):
            files.version(raw, "it")


def test_more_files_than_may_be_open_are_read_one_after_the_other(
    repo: zvv.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = repo._backend.view_store(repo.resolve("main"))
    local = chunks.chunks_of(store)
    assert local is not None
    keys = keys_of(store)
    # A file stays open where a part of it is read, for the next part.
    wanted = [(key, -1 << 30, -1) for key in keys + keys[::-1]]
    all_at_once = list(map(same, local.get(wanted)))
    is_open: set[int] = set()
    most = 0
    begin, end = os.open, os.close

    def opening(*args: Any, **kwargs: Any) -> int:
        nonlocal most
        descriptor = begin(*args, **kwargs)
        is_open.add(descriptor)
        most = max(most, len(is_open))
        return descriptor

    def closing(descriptor: int) -> None:
        end(descriptor)
        is_open.discard(descriptor)

    monkeypatch.setattr(chunks, "_MOST_OPEN", 2)
    monkeypatch.setattr(os, "open", opening)
    monkeypatch.setattr(os, "close", closing)
    assert list(map(same, local.get(wanted))) == all_at_once
    assert most == 2
    assert not is_open
