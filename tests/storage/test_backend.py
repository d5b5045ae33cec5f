"""Locations, references, publishing: an icechunk repository behind one surface."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import icechunk
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

import zv_versioned
from tests._processes import new_processes
from zv_versioned.errors import (
    ConflictError,
    IntegrityError,
    MetadataError,
    NotFoundError,
    ReadOnlyError,
    StorageError,
    ZVError,
)
from zv_versioned.storage import Backend, translated
from zv_versioned.storage import location as location_module
from zv_versioned.storage.lock import RepositoryLock

context = new_processes()
PROJECT = Path(zv_versioned.__file__).parents[1]
AnyLocation = tuple[str, dict[str, Any]]


def write(backend: Backend, key: str, value: Any, branch: str = "main") -> icechunk.Session:
    session = backend.begin(branch)
    zarr.open_group(session.store, mode="a").attrs[key] = value
    return session


def commit(backend: Backend, key: str, value: Any, branch: str = "main") -> str:
    return backend.publish(write(backend, key, value, branch), branch, f"{key}", {key: value})


def attributes(backend: Backend, snapshot_id: str) -> dict[str, Any]:
    return dict(zarr.open_group(backend.read_store(snapshot_id), mode="r").attrs)


# --- create, open, exists -----------------------------------------------------------------------


def test_what_was_created_can_be_opened(any_location: AnyLocation) -> None:
    location, options = any_location
    assert not Backend.exists(location, **options)
    created = Backend.create(location, **options)
    snapshot_id = commit(created, "x", 1)
    assert Backend.exists(location, **options)
    opened = Backend.open(location, **options)
    assert opened.branches() == ["main"]
    assert opened.tags() == []
    assert opened.branch_tip("main") == snapshot_id
    assert attributes(opened, snapshot_id) == {"x": 1}
    assert opened.location == location
    assert opened.is_local is ("://" not in location)


def test_creating_a_second_time_is_refused_and_harms_nothing(any_location: AnyLocation) -> None:
    location, options = any_location
    backend = Backend.create(location, **options)
    snapshot_id = commit(backend, "x", 1)
    with pytest.raises(MetadataError, match=r"there is a repository at .* already"):
        Backend.create(location, **options)
    assert backend.branch_tip("main") == snapshot_id


def test_opening_nothing_is_told_apart_from_a_failure(any_location: AnyLocation) -> None:
    location, options = any_location
    with pytest.raises(NotFoundError, match=f"no repository at {re.escape(location)}"):
        Backend.open(location, **options)


def test_opening_or_asking_for_an_absent_path_creates_nothing(tmp_path: Path) -> None:
    assert not Backend.exists(tmp_path / "a" / "b")
    with pytest.raises(NotFoundError):
        Backend.open(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(MetadataError, match=r"not empty.*'thesis.tex'"):
        Backend.create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    assert not Backend.exists(tmp_path)


def test_a_file_is_no_place_for_a_repository(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(MetadataError, match="is a file"):
        Backend.create(tmp_path / "file")
    assert not Backend.exists(tmp_path / "file")
    with pytest.raises(NotFoundError):
        Backend.open(tmp_path / "file")
    with pytest.raises(StorageError, match=r"cannot|Not a directory"):
        Backend.create(tmp_path / "file" / "below")


def test_an_empty_folder_may_become_a_repository_in_place(tmp_path: Path) -> None:
    before = tmp_path.stat().st_ino
    Backend.create(tmp_path)
    assert tmp_path.stat().st_ino == before
    assert Backend.open(tmp_path).branches() == ["main"]


def test_a_creation_that_was_interrupted_can_be_repeated(tmp_path: Path) -> None:
    interrupted = tmp_path / ".zv_versioned.creating" / "snapshots"
    interrupted.mkdir(parents=True)
    (interrupted / "half").write_text("x")
    (tmp_path / "zv_versioned.lock").touch()
    assert not Backend.exists(tmp_path)
    backend = Backend.create(tmp_path)
    commit(backend, "x", 1)
    assert not (tmp_path / ".zv_versioned.creating").exists()


def halfway(folder: Path) -> Path:
    """Put a new repository where it is when it has been moved up in part; the rest of it."""
    Backend.create(folder)
    (folder / "zv_versioned.seals").unlink()
    inside = folder / ".zv_versioned.creating"
    inside.mkdir()
    last = "repo" if (folder / "repo").exists() else "refs"
    (folder / last).rename(inside / last)
    return inside


def test_a_creation_that_was_interrupted_at_its_end_can_be_repeated(tmp_path: Path) -> None:
    halfway(tmp_path)
    assert not Backend.exists(tmp_path)
    backend = Backend.create(tmp_path)
    commit(backend, "x", 1)
    assert Backend.open(tmp_path).branches() == ["main"]
    assert not (tmp_path / ".zv_versioned.creating").exists()


def test_who_comes_while_one_is_created_is_told_that_it_is_there(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        inside = halfway(tmp_path)
        with RepositoryLock(tmp_path).hold("create the repository"):
            other = pool.submit(_create, str(tmp_path), {})
            with pytest.raises(TimeoutError):
                other.result(timeout=0.3)
            for path in inside.iterdir():
                path.rename(tmp_path / path.name)
            inside.rmdir()
    assert "already" in other.result()


def test_what_was_put_beside_a_creation_that_was_interrupted_stays(tmp_path: Path) -> None:
    halfway(tmp_path)
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(MetadataError, match="not empty"):
        Backend.create(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "x"


def _create(location: str, options: dict[str, Any]) -> str:
    try:
        Backend.create(location, **options)
    except MetadataError as error:
        return str(error)
    return "created"


def test_of_many_that_create_at_once_one_succeeds(local_location: str) -> None:
    with context.Pool(4) as pool:
        results = pool.starmap(_create, [(local_location, {})] * 8, chunksize=1)
    assert results.count("created") == 1
    assert all("already" in result for result in results if result != "created")
    commit(Backend.open(local_location), "x", 1)


# --- locations ----------------------------------------------------------------------------------


def test_paths_are_made_absolute_and_home_is_expanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert Backend.create("~/a b").location == str(tmp_path / "a b")
    assert Backend.open("a b").location == str(tmp_path / "a b")
    assert Backend.open(Path("a b")).location == str(tmp_path / "a b")
    assert Backend.open((tmp_path / "a b").as_uri()).location == str(tmp_path / "a b")
    assert Backend.open(f"file://localhost{tmp_path}/a%20b").is_local


def test_unnamed_memory_is_private(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Backend.create("memory://"), Backend.create("memory://")
    commit(first, "x", 1)
    assert first.branch_tip("main") != second.branch_tip("main")
    assert not Backend.exists("memory://")
    with pytest.raises(NotFoundError, match="memory://name"):
        Backend.open("memory://")


def test_an_icechunk_storage_is_taken_as_it_is(tmp_path: Path) -> None:
    memory = icechunk.in_memory_storage()
    assert not Backend.create(memory).is_local
    assert Backend.open(memory).branches() == ["main"]
    folder = tmp_path / "with (brackets), and spaces"
    local = Backend.create(icechunk.local_filesystem_storage(str(folder)))
    assert local.is_local
    assert local.location == str(folder)
    assert Backend.open(folder).branches() == ["main"]


def test_an_icechunk_storage_on_s3_has_a_printable_location(s3_location: AnyLocation) -> None:
    location, options = s3_location
    bucket, _, prefix = location.removeprefix("s3://").partition("/")
    storage = icechunk.s3_storage(bucket=bucket, prefix=prefix, **options)
    backend = Backend.create(storage)
    assert not backend.is_local
    assert backend.location == f"icechunk.Storage {bucket}/{prefix}"
    commit(backend, "x", 1)
    assert Backend.open(location, **options).branch_tip("main") == backend.branch_tip("main")


@pytest.mark.parametrize(
    ("location", "options", "message"),
    [
        ("", {}, "give a path"),
        ("  ", {}, "give a path"),
        (None, {}, "give a path"),
        (7, {}, "give a path"),
        (b"/tmp/x", {}, "give a path"),
        ("caf\udce9", {}, "not valid UTF-8"),
        ("a\0b", {}, "give a path"),
        ("ftp://host/x", {}, "'ftp://' is not known"),
        ("https://host/x", {}, "s3://bucket/prefix"),
        ("s3:/bucket/x", {}, "lost a slash"),
        (Path("s3://bucket/x"), {}, "lost a slash"),
        ("file://host/x", {}, "no absolute path"),
        ("file://", {}, "no absolute path"),
        ("s3:///prefix", {}, "names no bucket"),
        ("s3://bucket", {}, "names no prefix"),
        ("gs://bucket/", {}, "names no prefix"),
        ("az://container/prefix", {}, "AZURE_STORAGE_ACCOUNT_NAME"),
        ("s3://bucket/x", {"regoin": "eu"}, "'regoin'.*accepted are: .*region"),
        ("s3://bucket/x", {"bucket": "other"}, "'bucket' is no storage option"),
        ("gcs://bucket/x", {"region": "eu"}, "accepted are: .*service_account_file"),
        ("s3://bucket/x", {"region": 5}, "do not fit"),
        ("s3://bucket/x", {"access_key_id": "only"}, "do not fit"),
        ("some/path", {"region": "eu"}, "a local path takes no storage options, but got region"),
        ("memory://", {"region": "eu"}, "memory:// takes no storage options"),
        (icechunk.in_memory_storage(), {"region": "eu"}, "takes no storage options"),
    ],
)
def test_a_bad_location_or_option_is_refused_by_name(
    location: Any,
    options: dict[str, Any],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(MetadataError, match=message):
        Backend.create(location, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "location", ["s3://key:pa55word@bucket/x", "s3://bucket/x?secret=pa55word"]
)
def test_credentials_in_a_location_are_refused_without_being_shown(location: str) -> None:
    with pytest.raises(MetadataError) as caught:
        Backend.open(location)
    assert "pa55word" not in str(caught.value)


def test_credentials_never_show(s3_location: AnyLocation) -> None:
    location, options = s3_location
    backend = Backend.create(location, **options)
    shown = [backend.location, repr(backend), str(vars(backend))]
    with pytest.raises(NotFoundError) as absent:
        backend.branch_tip("absent")
    with pytest.raises(MetadataError) as unknown:
        Backend.open(location, **options, wrong=1)
    shown += [str(absent.value), str(unknown.value)]
    assert not any(options["secret_access_key"] in text for text in shown)


@pytest.mark.parametrize("variable", ["AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"])
def test_cloud_locations_resolve_without_touching_the_network(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "account")
    assert location_module.resolve("az://box/a/b/", {}).location == "az://box/a/b"
    assert location_module.resolve("gcs://box/a", {"bearer_token": "t"}).location == "gs://box/a"
    assert location_module.resolve("S3://box//a", {"anonymous": True}).location == "s3://box/a"


@given(st.text(), st.dictionaries(st.text(), st.integers(), max_size=2))
def test_any_text_is_a_place_or_is_refused(text: str, options: dict[str, Any]) -> None:
    try:
        place = location_module.resolve(text, options)
    except MetadataError:
        return
    assert place.location


# --- references ---------------------------------------------------------------------------------


def test_branches_and_tags_live_and_die(any_location: AnyLocation) -> None:
    location, options = any_location
    backend = Backend.create(location, **options)
    first = commit(backend, "x", 1)
    second = commit(backend, "x", 2)
    backend.create_branch("try-1", first)
    backend.create_branch("_hidden.x", second)
    backend.create_tag("paper+v1", first)
    assert backend.branches() == ["_hidden.x", "main", "try-1"]
    assert backend.tags() == ["paper+v1"]
    assert backend.branch_tip("try-1") == backend.tag_target("paper+v1") == first
    backend.reset_branch("try-1", second)
    assert backend.branch_tip("try-1") == second
    backend.delete_branch("try-1")
    backend.delete_tag("paper+v1")
    assert backend.branches() == ["_hidden.x", "main"]
    assert backend.tags() == []


def test_what_exists_cannot_be_created(any_location: AnyLocation) -> None:
    location, options = any_location
    backend = Backend.create(location, **options)
    tip = backend.branch_tip("main")
    backend.create_tag("v1", tip)
    with pytest.raises(MetadataError, match="branch 'main' exists already"):
        backend.create_branch("main", tip)
    with pytest.raises(MetadataError, match="tag 'v1' exists already"):
        backend.create_tag("v1", tip)
    backend.delete_tag("v1")
    with pytest.raises(MetadataError, match="tag 'v1' was deleted, for good"):
        backend.create_tag("v1", tip)
    backend.create_branch("again", tip)
    backend.delete_branch("again")
    backend.create_branch("again", tip)


def test_what_is_absent_is_named_with_what_there_is(any_location: AnyLocation) -> None:
    location, options = any_location
    backend = Backend.create(location, **options)
    tip = backend.branch_tip("main")
    with pytest.raises(NotFoundError, match=r"no branch 'mian' .*did you mean 'main'"):
        backend.branch_tip("mian")
    with pytest.raises(NotFoundError, match=r"no branch 'zzz' .*there are 'main'"):
        backend.begin("zzz")
    with pytest.raises(NotFoundError, match=r"no tag 'v1' .*there are none"):
        backend.tag_target("v1")
    for absent in ("nonsense", "ZZZZZZZZZZZZZZZZZZZ0", ""):
        for use in (
            backend.snapshot,
            backend.ancestry,
            backend.read_store,
            lambda id_: backend.create_branch("b", id_),
            lambda id_: backend.create_tag("t", id_),
            lambda id_: backend.reset_branch("main", id_),
        ):
            with pytest.raises(NotFoundError, match=f"no snapshot '{absent}'"):
                use(absent)
    for call in (backend.delete_branch, lambda name: backend.reset_branch(name, tip)):
        with pytest.raises(NotFoundError, match="no branch 'gone'"):
            call("gone")
    with pytest.raises(NotFoundError, match="no tag 'gone'"):
        backend.delete_tag("gone")
    assert backend.branches() == ["main"]
    assert backend.branch_tip("main") == tip


@pytest.mark.parametrize(
    "name",
    ["", "a/b", "a b", "-x", ".", "..", "x\n", "é", "x" * 201, "a\\b", "%41", None, 3, b"main"],
)
def test_a_bad_name_is_refused(memory_location: str, name: Any) -> None:
    backend = Backend.create(memory_location)
    tip = backend.branch_tip("main")
    with pytest.raises(MetadataError, match="name"):
        backend.create_branch(name, tip)
    with pytest.raises(MetadataError, match="name"):
        backend.create_tag(name, tip)
    assert backend.branches() == ["main"]
    assert backend.tags() == []
    for call in (backend.branch_tip, backend.tag_target, backend.delete_branch, backend.begin):
        with pytest.raises((MetadataError, NotFoundError)):
            call(name)


def test_every_good_name_comes_back_as_it_was(local_location: str) -> None:
    backend = Backend.create(local_location)
    names = ["a", "A.b", "v1.0+x", "a=b@c", "_x", "0", "x" * 200, "a.b", "x.-"]
    for name in names:
        backend.create_branch(name, backend.branch_tip("main"))
        backend.create_tag(name, backend.branch_tip("main"))
    assert backend.branches() == sorted([*names, "main"])
    assert backend.tags() == sorted(names)


def test_main_cannot_be_deleted(memory_location: str) -> None:
    backend = Backend.create(memory_location)
    with pytest.raises(MetadataError, match="'main' cannot be deleted"):
        backend.delete_branch("main")
    assert backend.branches() == ["main"]


# --- snapshots and publishing -------------------------------------------------------------------


def test_a_snapshot_knows_its_story(any_location: AnyLocation) -> None:
    location, options = any_location
    backend = Backend.create(location, **options)
    root = backend.branch_tip("main")
    metadata = {"n": 2**53 + 1, "none": None, "deep": [1, {"é": -0.5}], "yes": True}
    snapshot_id = backend.publish(write(backend, "x", 1), "main", "what I did — ✓", metadata)
    info = backend.snapshot(snapshot_id)
    assert (info.id, info.parent_id, info.message) == (snapshot_id, root, "what I did — ✓")
    assert info.metadata == metadata
    assert info.written_at.tzinfo is not None
    assert abs(info.written_at - datetime.now(UTC)) < timedelta(minutes=5)
    assert backend.snapshot(root).parent_id is None


def test_ancestry_is_newest_first_and_whole(any_location: AnyLocation) -> None:
    location, options = any_location
    backend = Backend.create(location, **options)
    ids = [backend.branch_tip("main")] + [commit(backend, "x", n) for n in range(5)]
    infos = list(backend.ancestry(ids[-1]))
    assert [info.id for info in infos] == ids[::-1]
    assert [info.parent_id for info in infos] == [*ids[-2::-1], None]
    assert [info.id for info in backend.ancestry(ids[2])] == ids[2::-1]


def test_a_read_store_never_changes_and_cannot_be_written(any_location: AnyLocation) -> None:
    location, options = any_location
    backend = Backend.create(location, **options)
    first = commit(backend, "x", 1)
    store = backend.read_store(first)
    commit(backend, "x", 2)
    assert store.read_only
    assert zarr.open_group(store, mode="r").attrs["x"] == 1


def test_of_two_sessions_the_later_publication_conflicts(any_location: AnyLocation) -> None:
    location, options = any_location
    backend, other = Backend.create(location, **options), Backend.open(location, **options)
    began = commit(backend, "x", 0)
    mine, theirs = write(backend, "x", 1), write(other, "x", 2)
    tip = other.publish(theirs, "main", "theirs", {})
    with pytest.raises(ConflictError, match="moved") as caught:
        backend.publish(mine, "main", "mine", {})
    error = caught.value
    assert (error.what, error.where, error.ours, error.theirs) == ("branch", "main", tip, began)
    assert backend.branch_tip("main") == tip
    assert attributes(backend, tip) == {"x": 2}
    assert mine.has_uncommitted_changes


def test_branches_do_not_stand_in_each_others_way(memory_location: str) -> None:
    backend = Backend.create(memory_location)
    backend.create_branch("try", commit(backend, "x", 0))
    on_main, on_try = write(backend, "x", 1), write(backend, "x", 2, branch="try")
    backend.publish(on_main, "main", "", {})
    assert attributes(backend, backend.publish(on_try, "try", "", {})) == {"x": 2}


def test_publishing_to_a_branch_that_was_deleted_says_so(any_location: AnyLocation) -> None:
    location, options = any_location
    backend = Backend.create(location, **options)
    backend.create_branch("try", commit(backend, "x", 0))
    session = write(backend, "x", 1, branch="try")
    backend.delete_branch("try")
    with pytest.raises(NotFoundError, match="try"):
        backend.publish(session, "try", "late", {})


def test_a_session_that_cannot_be_published_is_refused(memory_location: str) -> None:
    backend = Backend.create(memory_location)
    tip = backend.branch_tip("main")
    with pytest.raises(MetadataError, match="changed nothing"):
        backend.publish(backend.begin("main"), "main", "empty", {})
    session = write(backend, "x", 1)
    with pytest.raises(MetadataError, match="began on branch 'main', not 'other'"):
        backend.publish(session, "other", "m", {})
    with pytest.raises(MetadataError, match="message"):
        backend.publish(session, "main", None, {})  # type: ignore[arg-type]
    for bad in ({"x": object()}, {1: 2}, {"x": float("nan")}, {"x": 2**64}, {"x": b""}, 5):
        with pytest.raises(MetadataError, match="commit metadata"):
            backend.publish(session, "main", "m", bad)  # type: ignore[arg-type]
    assert backend.branch_tip("main") == tip
    backend.publish(session, "main", "m", {})
    with pytest.raises(ReadOnlyError, match="published already"):
        backend.publish(session, "main", "m", {})


def _publish_many(location: str, worker: int, times: int) -> tuple[list[str], int]:
    backend, acknowledged, conflicts = Backend.open(location), [], 0
    for number in range(times):
        # Half of them begin outside the lock, and so lose races.
        early = backend.begin("main") if number % 2 else None
        while True:
            try:
                with backend.mutation("count"):
                    session = early or backend.begin("main")
                    group = zarr.open_group(session.store, mode="a")
                    group.attrs[f"{worker}-{number}"] = True
                    acknowledged.append(backend.publish(session, "main", "m", {"worker": worker}))
                break
            except ConflictError:
                conflicts, early = conflicts + 1, None
    return acknowledged, conflicts


def test_no_acknowledged_commit_of_eight_processes_is_lost(local_location: str) -> None:
    backend = Backend.create(local_location)
    with context.Pool(8) as pool:
        results = pool.starmap(
            _publish_many, [(local_location, worker, 10) for worker in range(8)], chunksize=1
        )
    acknowledged = [snapshot_id for ids, _ in results for snapshot_id in ids]
    assert len(set(acknowledged)) == 80
    tip = backend.branch_tip("main")
    assert set(acknowledged) <= {info.id for info in backend.ancestry(tip)}
    assert len(attributes(backend, tip)) == 80


def test_threads_share_a_backend(any_location: AnyLocation) -> None:
    location, options = any_location
    backend = Backend.create(location, **options)
    acknowledged: list[str] = []

    def work(worker: int) -> None:
        for number in range(3):
            while True:
                try:
                    acknowledged.append(commit(backend, f"{worker}-{number}", 1))
                    break
                except ConflictError:
                    continue

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tip = backend.branch_tip("main")
    assert len(acknowledged) == 9
    assert set(acknowledged) <= {info.id for info in backend.ancestry(tip)}


def test_everything_works_inside_a_running_event_loop(local_location: str) -> None:
    async def work() -> int:
        backend = Backend.create(local_location)
        session = backend.begin("main")
        await asyncio.to_thread(lambda: zarr.open_group(session.store, mode="a").attrs.update(x=1))
        tip = backend.publish(session, "main", "m", {})
        backend.create_branch("try", tip)
        return len(list(backend.ancestry(backend.branch_tip("try"))))

    assert asyncio.run(work()) == 2


def test_a_held_lock_keeps_mutations_out_but_not_readers(local_location: str) -> None:
    holder = Backend.create(local_location)
    tip = commit(holder, "x", 1)
    outcome: list[Any] = []

    def other() -> None:
        backend = Backend.open(local_location, lock_timeout=0.05)
        outcome.append(attributes(backend, backend.branch_tip("main")))
        for mutate in (
            lambda: backend.create_branch("b", tip),
            lambda: backend.create_tag("t", tip),
            lambda: backend.reset_branch("main", tip),
            lambda: backend.delete_tag("t"),
            lambda: backend.delete_branch("b"),
            lambda: commit(backend, "x", 2),
        ):
            try:
                mutate()
            except StorageError as error:
                outcome.append(str(error))

    with holder.mutation("compact main"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(30)
    assert outcome[0] == {"x": 1}
    assert len(outcome) == 7
    assert all('to "compact main"' in message for message in outcome[1:])
    assert holder.branch_tip("main") == tip


def test_a_repository_that_was_removed_does_not_come_back_empty(local_location: str) -> None:
    backend = Backend.create(local_location)
    shutil.rmtree(local_location)
    with (
        pytest.raises(StorageError, match=r"its folder was moved or removed|its folder is gone"),
        backend.mutation("commit"),
    ):
        pass
    assert not Path(local_location).exists()


def test_icechunks_garbage_collection_leaves_the_lock_alone(local_location: str) -> None:
    backend = Backend.create(local_location)
    tip = commit(backend, "x", 1)
    with backend.mutation("collect garbage"):
        backend._repository.garbage_collect(datetime.now(UTC) + timedelta(days=1))
        assert Path(local_location, "zv_versioned.lock").exists()
    assert attributes(Backend.open(local_location), tip) == {"x": 1}


def test_reading_takes_no_lock_and_writes_no_file(local_location: str) -> None:
    backend = Backend.create(local_location)
    tip = commit(backend, "x", 1)
    for name in ("zv_versioned.lock", "zv_versioned.holder"):
        Path(local_location, name).unlink()
    before = sorted(Path(local_location).rglob("*"))
    reader = Backend.open(local_location)
    assert attributes(reader, tip) == {"x": 1}
    assert len(list(reader.ancestry(tip))) == 2
    assert reader.branches() == ["main"]
    assert sorted(Path(local_location).rglob("*")) == before


# --- configuration ------------------------------------------------------------------------------


def _manifests(backend: Backend, snapshot_id: str) -> dict[str, int]:
    shown: Any = backend._repository.inspect_snapshot(snapshot_id)
    nodes = (json.loads(shown) if isinstance(shown, str) else shown)["nodes"]
    return {node["path"]: len(node["manifest_refs"]) for node in nodes if "manifest_refs" in node}


@pytest.mark.parametrize("reopened", [False, True])
def test_the_first_axis_alone_splits_manifests_whatever_its_name(
    local_location: str, reopened: bool
) -> None:
    backend = Backend.create(local_location)
    if reopened:
        backend = Backend.open(local_location)
    session = backend.begin("main")
    group = zarr.open_group(session.store, mode="a")
    shapes: dict[str, tuple[str, ...] | None] = {
        "batch": ("batch", "x"),
        "bucket": ("bucket", "x"),
        "plain": None,
    }
    for name, dimensions in shapes.items():
        array = group.create_array(
            name, shape=(65536, 300), chunks=(1, 1), dtype="u1", dimension_names=dimensions
        )
        for row, column in ((0, 0), (255, 299), (256, 0), (600, 0)):
            array[row, column] = 1
    snapshot_id = backend.publish(session, "main", "m", {})
    assert _manifests(backend, snapshot_id) == {f"/{name}": 3 for name in shapes}
    assert zarr.open_array(backend.read_store(snapshot_id), path="batch", mode="r")[600, 0] == 1


def test_the_settings_are_in_force(any_location: AnyLocation) -> None:
    location, options = any_location
    Backend.create(location, **options)
    backend = Backend.open(location, **options)
    config = backend._repository.config
    assert config.inline_chunk_threshold_bytes == 512
    assert config.manifest is not None
    assert config.manifest.preload is not None
    assert config.manifest.preload.max_total_refs == 0
    if hasattr(icechunk.RepositoryConfig, "num_updates_per_repo_info_file"):
        assert config.num_updates_per_repo_info_file == 100
        assert config.manifest.max_concurrent_manifest_fetches_during_commit == 16
    if backend.is_local:
        assert config.storage is not None
        assert config.storage.concurrency is not None
        assert config.storage.concurrency.max_concurrent_requests_for_object == 1


def test_a_local_repository_copied_to_s3_is_safe_there(
    local_location: str, s3_location: AnyLocation
) -> None:
    boto3 = pytest.importorskip("boto3")
    tip = commit(Backend.create(local_location), "x", 1)
    location, options = s3_location
    bucket, _, prefix = location.removeprefix("s3://").partition("/")
    client = boto3.client(
        "s3",
        endpoint_url=options["endpoint_url"],
        region_name=options["region"],
        aws_access_key_id=options["access_key_id"],
        aws_secret_access_key=options["secret_access_key"],
    )
    for path in Path(local_location).rglob("*"):
        if path.is_file():
            key = f"{prefix}/{path.relative_to(local_location).as_posix()}"
            client.upload_file(str(path), bucket, key)
    backend = Backend.open(location, **options)
    assert backend.branch_tip("main") == tip
    settings = backend._repository.config.storage
    assert settings is not None
    assert settings.unsafe_use_conditional_update is True
    assert settings.unsafe_use_conditional_create is True
    mine, theirs = write(backend, "x", 2), write(backend, "x", 3)
    backend.publish(theirs, "main", "theirs", {})
    with pytest.raises(ConflictError):
        backend.publish(mine, "main", "mine", {})


# --- errors and processes -----------------------------------------------------------------------


def test_damage_is_reported_as_ours_with_icechunks_report_as_cause(local_location: str) -> None:
    backend = Backend.create(local_location)
    tip = commit(backend, "x", 1)
    for folder in ("snapshots", "refs"):
        shutil.rmtree(Path(local_location, folder), ignore_errors=True)
    Path(local_location, "repo").unlink(missing_ok=True)
    fresh = [lambda: Backend.open(local_location), lambda: backend.begin("main")]
    for call in [*fresh, lambda: backend.create_branch("b", tip)]:
        with pytest.raises(ZVError) as caught:
            call()
        assert local_location in str(caught.value)
        assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ref not found `x`", NotFoundError),
        ("  \u00d7 snapshot not found: `x`\n  | context", NotFoundError),
        ("  x tag already exists, tags are immutable: `t`", MetadataError),
        ("session error: Read only sessions cannot modify the repository", ReadOnlyError),
        ("object store error Object at location /x not found: No such file", StorageError),
        ("deserialization error: bad flatbuffer", IntegrityError),
        ("something new", StorageError),
        ("", StorageError),
    ],
)
def test_each_of_icechunks_errors_has_one_of_ours(text: str, expected: type[ZVError]) -> None:
    original = icechunk.IcechunkError(text)
    with pytest.raises(ZVError) as caught, translated("s3://bucket/x"):
        raise original
    assert type(caught.value) is expected
    assert caught.value.__cause__ is original
    assert str(caught.value).startswith("s3://bucket/x: ")
    assert "\n" not in str(caught.value)


def test_other_exceptions_pass_through_untouched() -> None:
    with pytest.raises(KeyError, match="mine"), translated("x"):
        raise KeyError("mine")


def _run(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {k: v for k, v in os.environ.items() if k != "ICECHUNK_LOG"} | environment
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script), *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=PROJECT,
        env=variables,
    )


_QUIET = """
    import sys, zarr
    from zv_versioned.storage import Backend
    backend = Backend.create(sys.argv[1])
    backend = Backend.open(sys.argv[1])
    session = backend.begin("main")
    zarr.open_group(session.store, mode="a").attrs["x"] = 1
    backend.publish(session, "main", "m", {})
"""


def test_nothing_is_written_to_stderr(local_location: str) -> None:
    done = _run(_QUIET, local_location)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_users_log_setting_is_respected(local_location: str) -> None:
    done = _run(_QUIET, local_location, ICECHUNK_LOG="warn")
    assert done.returncode == 0
    assert "LocalFileSystem" in done.stdout + done.stderr


def test_a_branch_is_moved_on_only_from_where_it_is_believed_to_be(
    any_location: AnyLocation,
) -> None:
    backend = Backend.create(any_location[0], **any_location[1])
    first = commit(backend, "a", 1)
    backend.create_branch("try", first)
    second = commit(backend, "a", 2, "try")
    backend.fast_forward("main", second, first)
    assert backend.branch_tip("main") == second
    third = commit(backend, "a", 3)
    with pytest.raises(ConflictError) as caught:
        backend.fast_forward("main", first, second)
    assert (caught.value.ours, caught.value.theirs) == (third, second)
    assert backend.branch_tip("main") == third


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_fails_at_once_and_is_told_to_spawn(local_location: str) -> None:
    script = """
        import os, sys, zarr
        from datetime import UTC, datetime
        from zv_versioned.errors import StorageError
        from zv_versioned.storage import Backend
        location = sys.argv[1]
        backend = Backend.create(location)
        tip = backend.branch_tip("main")
        session = backend.begin("main")
        zarr.open_group(session.store, mode="a").attrs["x"] = 1
        ancestry = backend.ancestry(tip)
        calls = dict(
            create=lambda: Backend.create(location + "2"), open=lambda: Backend.open(location),
            exists=lambda: Backend.exists(location), branches=backend.branches, tags=backend.tags,
            branch_tip=lambda: backend.branch_tip("main"),
            tag_target=lambda: backend.tag_target("t"), lost=lambda: backend.lost("tag"),
            create_branch=lambda: backend.create_branch("b", tip),
            delete_branch=lambda: backend.delete_branch("b"),
            create_tag=lambda: backend.create_tag("t", tip),
            delete_tag=lambda: backend.delete_tag("t"),
            reset_branch=lambda: backend.reset_branch("main", tip),
            fast_forward=lambda: backend.fast_forward("main", tip, tip),
            snapshot=lambda: backend.snapshot(tip), ancestry=lambda: backend.ancestry(tip),
            read_store=lambda: backend.read_store(tip), view_store=lambda: backend.view_store(tip),
            base_store=lambda: backend.base_store(session), begin=lambda: backend.begin("main"),
            publish=lambda: backend.publish(session, "main", "m", {}),
            mutation=lambda: backend.mutation("x"), holding=lambda: backend.holding("x"),
                check_process=backend.check_process,
            address=backend.address, seal=backend.seal,
                deleting=lambda: backend.deleting("branch.main").__enter__(),
            require=lambda: backend.require(tip),
            expire=lambda: backend.expire(datetime.now(UTC)),
            collect=lambda: backend.collect(datetime.now(UTC), dry_run=True),
            stored_chunks=backend.stored_chunks,
        )
        public = {name for name in dir(Backend) if not name.startswith("_")}
        assert public == set(calls), public ^ set(calls)
        child = os.fork()
        if child == 0:
            for name, call in calls.items():
                try:
                    call()
                except StorageError as error:
                    assert "spawn" in str(error), error
                else:
                    print(name, "went through", flush=True)
            print("done", flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        backend.publish(session, "main", "m", {})
        print(backend.branch_tip("main") != tip)
    """
    done = _run(script, local_location)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\nTrue\n", "")
