"""Words for snapshots: branches, tags, ids and their beginnings, ways back, and times."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import zv_versioned as zvv
from zv_versioned.storage import Backend


def commit(repo: zvv.Repository) -> str:
    with repo.transaction() as tx:
        name = f"p{len(repo.view().datasets)}"
        tx.create_dataset(name, kind="point_cloud", bounds=([0, 0], [10, 10]))
    assert tx.result is not None
    return tx.result.snapshot_id


@pytest.fixture
def repo() -> zvv.Repository:
    return zvv.Repository.create("memory://")


@pytest.fixture
def grown(repo: zvv.Repository) -> tuple[zvv.Repository, list[str]]:
    """A repository of four commits, and all snapshots from the oldest on."""
    return repo, [repo.resolve("main"), *(commit(repo) for _ in range(4))]


def test_a_snapshot_has_many_names(grown: tuple[zvv.Repository, list[str]]) -> None:
    repo, snapshots = grown
    repo.create_tag("v1", at=snapshots[3])
    tip = snapshots[-1]
    for word in ("main", "main~0", tip, tip.lower(), tip[:8], tip[:8].lower(), f"{tip[:8]}~0"):
        assert repo.resolve(word) == tip
    for word in ("main~", "main~1", "v1", "v1~0", f"{tip}~1"):
        assert repo.resolve(word) == snapshots[3]
    for word in ("main~2", "main~~", "main~1~1", "v1~", f"{snapshots[3][:9]}~1"):
        assert repo.resolve(word) == snapshots[2]
    for word in ("main^^", "main^1~", "main~1^", "main~2^0"):
        assert repo.resolve(word) == snapshots[2]
    assert repo.resolve("main~4") == snapshots[0]


@pytest.mark.parametrize("word", ["", 5, None, b"main"])
def test_a_word_that_is_no_word_is_refused(repo: zvv.Repository, word: Any) -> None:
    with pytest.raises(zvv.MetadataError, match="text"):
        repo.resolve(word)
    if word is not None:
        with pytest.raises(zvv.MetadataError, match="text"):
            repo.view(word)


@pytest.mark.parametrize(
    "word",
    ["main~x", "~1", "~", "abc", "MAIN", "main~-1", "main~" + "9" * 5000, "main^2", "main^x"],
)
def test_a_word_that_stands_for_nothing_is_said_to(repo: zvv.Repository, word: str) -> None:
    with pytest.raises(zvv.NotFoundError):
        repo.resolve(word)


def test_a_parent_that_there_is_not_is_told_with_how_many_there_are(repo: zvv.Repository) -> None:
    first = repo.resolve("main")
    with pytest.raises(zvv.NotFoundError, match=rf"'main\^1': {first} has no parent$"):
        repo.resolve("main^1")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [1, 1]))
    with pytest.raises(zvv.NotFoundError, match=r"'main\^2': \w+ has one parent$"):
        repo.resolve("main^2")


def test_a_beginning_of_several_snapshots_is_refused_with_a_list(
    repo: zvv.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = "ABCD" + "0" * 16, "ABCD" + "1" * 16
    infos = [
        type("Info", (), {"id": name, "written_at": datetime.now(UTC)})()
        for name in (first, second)
    ]

    def ancestry(backend: Backend, snapshot_id: str) -> Iterator[Any]:
        return iter(infos)

    monkeypatch.setattr(Backend, "ancestry", ancestry)
    with pytest.raises(zvv.NotFoundError) as caught:
        repo.resolve("ABCD")
    assert first in str(caught.value)
    assert second in str(caught.value)
    assert "give more of it" in str(caught.value)
    assert repo.resolve("abcd0") == first
    assert repo.resolve("ABCD1") == second


def test_a_view_at_a_time_is_of_the_newest_commit_that_is_not_younger(repo: zvv.Repository) -> None:
    for _ in range(3):
        time.sleep(0.01)
        commit(repo)
    log = repo.log()
    for info in log:
        for moment in (info.time, info.time + timedelta(milliseconds=2)):
            assert repo.view(as_of=moment).snapshot_id == info.snapshot_id
    naive = log[1].time.astimezone().replace(tzinfo=None)
    assert repo.view("main", as_of=naive).snapshot_id == log[1].snapshot_id
    assert repo.view(branch="main", as_of=datetime.now(UTC)).snapshot_id == log[0].snapshot_id
    assert repo.view(as_of=log[0].time).branch is None
    with pytest.raises(zvv.NotFoundError, match="2001-01-01"):
        repo.view(as_of=datetime(2001, 1, 1, tzinfo=UTC))
    for wrong in ("2001-01-01", 5.0):
        with pytest.raises(zvv.MetadataError, match="datetime"):
            repo.view(as_of=wrong)  # type: ignore[arg-type]
