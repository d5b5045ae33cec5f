"""The log: what was committed, by whom and when, and how it is shown."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tests._profiles  # noqa: F401
import zv_versioned as zvv
from zv_versioned.history.log import CommitInfo, CommitLog, encode_own, read_log

CLOUD: dict[str, Any] = {"kind": "point_cloud", "bounds": ([0, 0], [10, 10])}


@pytest.fixture(scope="module")
def shared() -> zvv.Repository:
    """A repository with two datasets that tests append to."""
    repo = zvv.Repository.create("memory://")
    for name in ("p", ""):
        with repo.transaction() as tx:
            tx.create_dataset(name, **CLOUD)
    return repo


def append(repo: zvv.Repository, n: int = 1, name: str = "p", **arguments: Any) -> str:
    with repo.transaction(**arguments) as tx:
        tx.writer(name).append_vertices_sync(np.ones((n, 2), "f4"), object_ids=None)
    assert tx.result is not None
    return tx.result.snapshot_id


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


@settings(max_examples=50)
@given(
    message=texts,
    author=texts.filter(str.strip),
    metadata=st.dictionaries(
        texts.filter(lambda key: key != "zv_versioned"), json_values, max_size=4
    ),
)
def test_message_author_and_metadata_come_back_as_they_were_given(
    shared: zvv.Repository, message: str, author: str, metadata: dict[str, Any]
) -> None:
    snapshot_id = append(shared, message=message, author=author, metadata=metadata)
    newest = shared.log(limit=1)[0]
    assert (newest.snapshot_id, newest.message, newest.author) == (snapshot_id, message, author)
    assert newest.metadata == metadata
    assert shared.view().info == newest


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"message": 5}, ["message", "5"]),
        ({"message": b"x"}, ["message", "b'x'"]),
        ({"message": "a\ud800"}, ["message"]),
        ({"author": ""}, ["author", "''"]),
        ({"author": " "}, ["author", "' '"]),
        ({"author": 5}, ["author", "5"]),
        ({"author": "a\ud800"}, ["author"]),
        ({"metadata": [1]}, ["metadata"]),
        ({"metadata": "x"}, ["metadata"]),
        ({"metadata": {1: 2}}, ["metadata", "1", "text"]),
        ({"metadata": {"a": {1, 2}}}, ["metadata", "JSON"]),
        ({"metadata": {"a": np.zeros(2)}}, ["metadata", "JSON"]),
        ({"metadata": {"a": float("inf")}}, ["metadata", "JSON"]),
        ({"metadata": {"a": 2**64}}, ["metadata", str(2**64), "64 bits"]),
        ({"metadata": {"zv_versioned": 1}}, ["'zv_versioned'", "choose another"]),
        ({"metadata": {"a": "\ud800"}}, ["metadata"]),
        ({"metadata": {"\ud800": 1}}, ["metadata"]),
    ],
    ids=ascii,
)
def test_what_a_log_cannot_keep_is_refused_before_anything_is_staged(
    shared: zvv.Repository, wrong: dict[str, Any], words: list[str]
) -> None:
    tip = shared.resolve("main")
    with pytest.raises(zvv.MetadataError) as caught:
        shared.transaction(**wrong)
    assert [word for word in words if word not in str(caught.value)] == []
    assert shared.resolve("main") == tip


@pytest.mark.parametrize("message", [5, "a\ud800"], ids=ascii)
def test_a_message_of_a_commit_that_is_none_leaves_the_transaction_open(
    shared: zvv.Repository, message: Any
) -> None:
    tx = shared.transaction()
    tx.writer("p").append_vertices_sync(np.ones((1, 2), "f4"))
    with pytest.raises(zvv.MetadataError, match="message"):
        tx.commit(message)
    assert tx.commit("right").message == shared.log()[0].message == "right"


def test_without_a_message_the_log_says_what_was_done() -> None:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", **CLOUD)
        tx.create_dataset("", **CLOUD)
    assert repo.log()[0].message == "create p; create the root dataset"
    with repo.transaction() as tx:
        tx.writer("p").append_vertices_sync(np.ones((1234, 2), "f4"), object_ids=5)
        tx.writer("p").append_vertices_sync(np.ones((1, 2), "f4"))
        tx.writer("").append_vertices_sync(np.ones((2, 2), "f4"))
    assert repo.log()[0].message == (
        "append 1,235 vertices in 2 new objects to p; "
        "append 2 vertices in 2 new objects to the root dataset"
    )
    assert tx.result is not None
    assert tx.result.message == repo.log()[0].message


def test_the_message_of_the_commit_goes_before_that_of_the_transaction(
    shared: zvv.Repository,
) -> None:
    tx = shared.transaction(message="first")
    tx.writer("p").append_vertices_sync(np.ones((1, 2), "f4"))
    tx.commit("second")
    assert shared.log()[0].message == "second"


def test_the_author_is_the_environments_or_the_login(
    shared: zvv.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZV_VERSIONED_AUTHOR", "ann@lab")
    append(shared)
    monkeypatch.delenv("ZV_VERSIONED_AUTHOR")
    append(shared)
    append(shared, author="bob")
    assert [info.author for info in shared.log(limit=3)] == ["bob", getpass.getuser(), "ann@lab"]


def test_a_log_leads_from_the_newest_to_the_first() -> None:
    repo = zvv.Repository.create("memory://")
    began = datetime.now(UTC) - timedelta(seconds=1)
    with repo.transaction() as tx:
        tx.create_dataset("p", **CLOUD)
    snapshots = [append(repo, n) for n in (3, 4)]
    log = repo.log()
    assert isinstance(log, CommitLog)
    assert [info.snapshot_id for info in log[1::-1]] == snapshots
    assert [info.parents for info in log] == [*((i.snapshot_id,) for i in log[1:]), ()]
    assert [info.vertices_added for info in log] == [4, 3, 0, 0]
    assert log[0].summary == {
        "created": [],
        "changes": {"p": {"batches_added": 1, "vertices_added": 4, "objects_added": 4}},
    }
    assert log[2].summary["created"] == ["p"]
    assert (log[3].author, log[3].metadata) == ("", {})
    times = [info.time for info in log]
    assert times == sorted(times, reverse=True)
    assert all(began < moment < datetime.now(UTC) + timedelta(seconds=1) for moment in times)


@pytest.mark.parametrize("limit", [0, 1, 2, 100, np.int64(2)])
def test_a_log_may_be_cut_short(shared: zvv.Repository, limit: int) -> None:
    whole = shared.log()
    assert list(shared.log(limit=limit)) == list(whole)[:limit]
    assert list(shared.log("main~1", limit=limit)) == list(whole)[1:][:limit]


@pytest.mark.parametrize("limit", [-1, 1.5, "3", True])
def test_a_limit_that_is_none_is_refused(shared: zvv.Repository, limit: Any) -> None:
    with pytest.raises(zvv.MetadataError, match=f"limit.*{limit!r}"):
        shared.log(limit=limit)


def test_a_limit_does_not_walk_further_than_it_must() -> None:
    seen = []

    def snapshots() -> Any:
        for number in range(1000):
            seen.append(number)
            yield _snapshot(str(number))

    assert len(read_log(snapshots(), 3)) == 3
    assert len(seen) <= 4


class _Snapshot:
    def __init__(self, name: str, message: str, metadata: dict[str, Any]) -> None:
        self.id, self.message, self.metadata = name, message, metadata
        self.parent_id = None
        self.written_at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def _snapshot(name: str, message: str = "m", metadata: dict[str, Any] | None = None) -> _Snapshot:
    return _Snapshot(name, message, metadata or {})


def test_a_commit_that_others_made_with_icechunk_is_shown_too() -> None:
    info = CommitInfo.from_snapshot(_snapshot("A", "by hand", {"x": 1}))
    assert (info.author, info.metadata, info.vertices_added) == ("", {"x": 1}, 0)
    assert "by hand" in str(info)


def test_a_log_is_a_table_in_a_notebook_and_lines_in_a_terminal() -> None:
    own = {"author": "<ann>", "changes": {"p": {"vertices_added": 12345}}}
    log = read_log(
        [_snapshot("A" * 20, "<b>one</b>", {"zv_versioned": encode_own(own)}), _snapshot("B")], None
    )
    html = log._repr_html_()
    assert [w for w in ("AAAAAAAA", "&lt;ann&gt;", "&lt;b&gt;one", "12,345") if w not in html] == []
    assert "<ann>" not in html
    assert "<b>one" not in html
    lines = repr(log).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("A" * 20)
    assert "<ann>" in lines[0]
    assert repr(CommitLog()) == "<no commits>"
    assert "<table" in CommitLog()._repr_html_()


def test_a_message_of_many_lines_takes_one_line_of_the_log() -> None:
    log = read_log([_snapshot("A", "title\n\nbody\x1b[2J"), _snapshot("B")], None)
    assert len(repr(log).splitlines()) == 2
    assert "\x1b" not in repr(log)


@pytest.mark.parametrize("wrong", ["1", None, 2.5, True, [1, 2], [], -1])
def test_the_history_of_what_is_no_object_is_refused(shared: zvv.Repository, wrong: Any) -> None:
    append(shared)
    with pytest.raises(zvv.ArrayError):
        shared.history(wrong, dataset="p")


def test_the_history_says_which_dataset_or_level_there_is_not(shared: zvv.Repository) -> None:
    append(shared)
    with pytest.raises(zvv.NotFoundError, match="no dataset 'nope'"):
        shared.history(0, dataset="nope")
    with pytest.raises(zvv.NotFoundError, match=r"level .* got 'x'"):
        shared.history(0, dataset="p", level="x")  # type: ignore[arg-type]
