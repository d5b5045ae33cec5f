"""Pickled and opened again: by name, without secrets, in any process that can reach the place."""

from __future__ import annotations

import copy
import functools
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import _s3
import icechunk
import numpy as np
import pytest

import zv_versioned as zvv
from zv_versioned import _reopen

POINTS = np.random.default_rng(0).uniform(0, 10, (50, 3)).astype("f4")


def some_credentials() -> Any:
    return icechunk.S3StaticCredentials(_s3.KEY, _s3.SECRET)


def filled(location: str, **options: Any) -> zvv.Repository:
    repo = zvv.Repository.create(location, **options)
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0] * 3, [10] * 3))
        tx.writer("p").append_vertices_sync(POINTS, object_ids=np.arange(50) // 10)
    return repo


@pytest.fixture(autouse=True)
def _nothing_open() -> None:
    _reopen._views._forget()
    _reopen._repositories._forget()


def in_another_process(sent: bytes, ask: str, **environment: str) -> Any:
    """What `ask`, about `it`, gives in a new interpreter."""
    code = (
        "import sys, pickle\n"
        "it = pickle.load(sys.stdin.buffer)\n"
        f"sys.stdout.buffer.write(pickle.dumps({ask}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=sent,
        capture_output=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr.decode()
    return pickle.loads(done.stdout)


def test_a_level_is_read_in_another_process_at_the_same_snapshot(local_location: str) -> None:
    repo = filled(local_location)
    level = repo.view()["p"][0]
    sent = pickle.dumps(level)
    with repo.transaction() as tx:
        tx.writer("p").append_vertices_sync(POINTS)
    there = in_another_process(sent, "(it.positions(), it._dataset._view.branch)")
    np.testing.assert_array_equal(there[0], level.positions())
    assert there[1] == "main"
    assert repo.view()["p"][0].vertex_count == 100


def test_a_repository_opened_by_a_relative_path_is_found_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sent = pickle.dumps(filled("here"))
    monkeypatch.chdir("/")
    assert in_another_process(sent, "it.view()['p'][0].vertex_count") == 50


@pytest.mark.parametrize("part", ["view", "dataset", "level", "objects"])
def test_every_part_of_a_view_can_be_sent(local_location: str, part: str) -> None:
    view = filled(local_location).view()
    parts = {"view": view, "dataset": view["p"], "level": view["p"][0]}
    it = {**parts, "objects": view["p"][0].objects}[part]
    again = pickle.loads(pickle.dumps(it))
    assert repr(again) == repr(it)
    assert again is not it


def test_what_comes_in_is_opened_once(local_location: str) -> None:
    view = filled(local_location).view()
    first, second = (pickle.loads(pickle.dumps(view["p"][0])) for _ in range(2))
    assert first is second
    other = pickle.loads(pickle.dumps(zvv.Repository.open(local_location).view(view.snapshot_id)))
    assert other.branch is None
    assert other._repository is first._dataset._view._repository


def test_few_of_what_came_in_stay_open() -> None:
    recent = _reopen._Recent(2)
    opened: list[int] = []
    for key in (1, 2, 1, 3, 1, 2):
        recent.get(key, lambda key=key: opened.append(key))
    assert opened == [1, 2, 3, 2]


def test_secrets_are_not_sent_and_come_from_the_environment_over_there(
    s3_location: tuple[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    location, options = s3_location
    sent = pickle.dumps(filled(location, **options).view()["p"][0])
    assert _s3.SECRET.encode() not in sent
    assert _s3.KEY.encode() not in sent
    assert options["endpoint_url"].encode() in sent
    keys = {"AWS_ACCESS_KEY_ID": _s3.KEY, "AWS_SECRET_ACCESS_KEY": _s3.SECRET}
    there = in_another_process(sent, "it.positions()", **keys)
    assert sorted(map(tuple, there)) == sorted(map(tuple, POINTS))
    address = _reopen.Address("s3://nowhere-at-all/x", withheld=("access_key_id",))

    def refuse(*_: Any, **__: Any) -> zvv.Repository:
        raise zvv.StorageError("403")

    monkeypatch.setattr(zvv.Repository, "open", refuse)
    with pytest.raises(
        zvv.StorageError, match=r"403\. It was opened with access_key_id, which are"
    ):
        _reopen.repository(address)


def test_a_function_that_gives_credentials_is_sent_by_name(
    s3_location: tuple[str, dict[str, Any]],
) -> None:
    location, options = s3_location
    kept = {k: v for k, v in options.items() if k not in ("access_key_id", "secret_access_key")}
    repo = filled(location, **kept, get_credentials=some_credentials)
    address = repo._backend.address()
    assert dict(address.options)["get_credentials"] is some_credentials
    assert address.withheld == ()
    hidden = zvv.Repository.open(
        location, **kept, get_credentials=functools.partial(some_credentials)
    )
    assert hidden._backend.address().withheld == ("get_credentials",)


def test_a_password_in_an_endpoint_is_not_sent() -> None:
    from zv_versioned.storage.address import address_of
    from zv_versioned.storage.location import resolve

    place = resolve(
        "s3://b/p", {"endpoint_url": "http://me:hush@host", "region": "r", "anonymous": True}
    )
    address = address_of(place, 5.0)
    assert address.withheld == ("endpoint_url",)
    assert address.options == (("anonymous", True), ("region", "r"))
    assert "hush" not in repr((address, place))


def test_the_storage_account_is_sent_that_came_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from zv_versioned.storage.address import address_of
    from zv_versioned.storage.location import resolve

    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "mine")
    address = address_of(resolve("az://c/p", {"access_key": "aGk="}), 5.0)
    assert address.options == (("account", "mine"),)
    assert address.withheld == ("access_key",)


@pytest.mark.parametrize("location", ["memory://", "memory://named-for-pickling"])
def test_what_is_in_memory_cannot_be_pickled(location: str) -> None:
    repo = filled(location)
    for it in (repo, repo.view(), repo.view()["p"], repo.view()["p"][0]):
        with pytest.raises(
            zvv.StorageError, match=r"this process alone.*a path or an object store"
        ):
            pickle.dumps(it)


def test_a_storage_object_cannot_be_pickled_unless_it_is_a_folder(
    s3_location: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    location, options = s3_location
    filled(location, **options)
    bucket, prefix = location.removeprefix("s3://").split("/")
    storage = icechunk.s3_storage(bucket=bucket, prefix=prefix, **options)
    view = zvv.Repository.open(storage).view()
    with pytest.raises(zvv.StorageError, match="Open it by its location") as caught:
        pickle.dumps(view)
    assert _s3.SECRET not in str(caught.value)
    filled(str(tmp_path / "local"))
    folder = icechunk.local_filesystem_storage(str(tmp_path / "local"))
    again = pickle.loads(pickle.dumps(zvv.Repository.open(folder).view()))
    assert again["p"][0].vertex_count == 50


def test_a_place_that_is_gone_says_so(local_location: str) -> None:
    sent = pickle.dumps(filled(local_location).view())
    os.rename(local_location, local_location + "-moved")
    with pytest.raises(zvv.NotFoundError, match="no repository at"):
        pickle.loads(sent)


def test_a_deep_copy_is_the_same_view_also_in_memory() -> None:
    repo = filled("memory://")
    view = repo.view()
    for it in (repo, view, view["p"], view["p"][0]):
        assert copy.deepcopy(it) is it
    assert copy.deepcopy([view["p"][0]])[0] is view["p"][0]
