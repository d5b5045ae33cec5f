"""The repository: opening, branches and tags, words for snapshots, and how it shows itself."""

from __future__ import annotations

import multiprocessing
import random
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zv_versioned as zvv
from zv_versioned.storage import refs

CLOUD: dict[str, Any] = {"kind": "point_cloud", "bounds": ([0, 0], [10, 10])}


def append(repo: zvv.Repository, n: int = 1, branch: str = "main", **arguments: Any) -> str:
    with repo.transaction(branch, **arguments) as tx:
        if not tx._repository.view(branch).datasets:
            tx.create_dataset("p", **CLOUD)
        tx.writer("p").append_vertices_sync(np.ones((n, 2), "f4"))
    assert tx.result is not None
    return tx.result.snapshot_id


def count(view: zvv.View) -> int:
    return view["p"][0].vertex_count


@pytest.fixture
def repo() -> zvv.Repository:
    return zvv.Repository.create("memory://")


@pytest.fixture
def grown(repo: zvv.Repository) -> tuple[zvv.Repository, list[str]]:
    """A repository of four commits, and all snapshots from the oldest on."""
    return repo, [repo.resolve("main"), *(append(repo, n) for n in range(1, 5))]


# ---- opening -----------------------------------------------------------------------------------


def test_a_repository_is_created_once_and_opened_often(
    any_location: tuple[str, dict[str, Any]],
) -> None:
    location, options = any_location
    repository = zvv.Repository
    assert not repository.exists(location, **options)
    with pytest.raises(zvv.NotFoundError, match="no repository"):
        repository.open(location, **options)
    tip = append(repository.create(location, **options), 5)
    assert repository.exists(location, **options)
    with pytest.raises(zvv.MetadataError, match="already"):
        repository.create(location, **options)
    for again in (repository.open, repository.open_or_create):
        repo = again(location, **options)
        assert (repo.location, repo.resolve("main"), count(repo.view())) == (location, tip, 5)


def test_open_or_create_creates_where_nothing_is(any_location: tuple[str, dict[str, Any]]) -> None:
    location, options = any_location
    repo = zvv.Repository.open_or_create(location, **options)
    assert (repo.list_branches(), repo.list_tags(), repo.view().datasets) == (["main"], [], [])


def test_open_or_create_leaves_a_folder_of_something_else_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(zvv.MetadataError, match=r"thesis\.tex"):
        zvv.Repository.open_or_create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("location", ["", "ftp://host/x", 5, None])
def test_a_location_that_is_none_is_refused(location: Any) -> None:
    for ask in (zvv.Repository.create, zvv.Repository.open, zvv.Repository.exists):
        with pytest.raises(zvv.MetadataError, match="location"):
            ask(location)


def test_two_handles_see_each_others_commits(tmp_path: Path) -> None:
    one = zvv.Repository.create(tmp_path / "r")
    other = zvv.Repository.open(tmp_path / "r")
    for number in range(4):
        append(one if number % 2 else other, 2)
        assert count(one.view()) == count(other.view()) == 2 * number + 2


# ---- branches and tags -------------------------------------------------------------------------


def test_a_branch_grows_on_its_own(grown: tuple[zvv.Repository, list[str]]) -> None:
    repo, snapshots = grown
    assert repo.create_branch("try", at="main~1") == snapshots[-2]
    append(repo, 10, "try")
    assert repo.list_branches() == ["main", "try"]
    assert (count(repo.view("main")), count(repo.view("try"))) == (10, 16)
    repo.delete_branch("try")
    assert repo.list_branches() == ["main"]
    with pytest.raises(zvv.NotFoundError, match="'try'"):
        repo.view("try")


def test_a_tag_stays_where_it_was_put(grown: tuple[zvv.Repository, list[str]]) -> None:
    repo, snapshots = grown
    assert repo.create_tag("v1", at=snapshots[2][:10]) == snapshots[2]
    append(repo)
    assert repo.list_tags() == ["v1"]
    assert repo.resolve("v1") == repo.view(tag="v1").snapshot_id == snapshots[2]
    with pytest.raises(zvv.MetadataError, match="'v1'"):
        repo.create_tag("v1")
    repo.delete_tag("v1")
    assert repo.list_tags() == []
    with pytest.raises(zvv.MetadataError, match="'v1'"):
        repo.create_tag("v1")


def test_reset_takes_back_and_pinned_views_stay(
    grown: tuple[zvv.Repository, list[str]],
) -> None:
    repo, snapshots = grown
    pinned = repo.view("main")
    repo.create_tag("before")
    assert repo.reset_branch("main", to="main~2") == snapshots[2]
    assert (repo.resolve("main"), count(repo.view())) == (snapshots[2], 3)
    assert [info.snapshot_id for info in repo.log()] == snapshots[2::-1]
    assert np.array_equal(pinned["p"][0].positions(), np.ones((10, 2)))
    assert (count(repo.view("before")), count(repo.view(snapshots[3]))) == (10, 6)
    append(repo, 100)
    assert (count(repo.view()), count(pinned)) == (103, 10)
    repo.reset_branch("main", to="before")
    assert repo.resolve("main") == snapshots[-1]


@pytest.mark.parametrize("name", ["", "a/b", "a b", "-a", "a~1", "ü", "x" * 201, 5, None])
def test_a_name_that_no_branch_or_tag_can_have_is_refused(repo: zvv.Repository, name: Any) -> None:
    for create in (repo.create_branch, repo.create_tag):
        with pytest.raises(zvv.MetadataError) as caught:
            create(name)
        assert repr(name) in str(caught.value)
    assert (repo.list_branches(), repo.list_tags()) == (["main"], [])


def test_what_is_not_there_is_named_with_what_is(grown: tuple[zvv.Repository, list[str]]) -> None:
    repo, snapshots = grown
    repo.create_tag("v1")
    tip = repo.resolve("main")
    absent = "Z" * 20
    for ask, words in (
        (lambda: repo.transaction("mian"), ["'mian'", "main"]),
        (lambda: repo.view(branch="mian"), ["'mian'", "main"]),
        (lambda: repo.view(tag="v2"), ["'v2'", "v1"]),
        (lambda: repo.view(snapshot_id=absent), [absent]),
        (lambda: repo.view(snapshot_id=snapshots[1][:8]), [snapshots[1][:8]]),
        (lambda: repo.view("nothing"), ["'nothing'", "main", "v1"]),
        (lambda: repo.resolve(absent), [absent]),
        (lambda: repo.log("nothing"), ["'nothing'", "main"]),
        (lambda: repo.create_branch("b", at="nothing"), ["'nothing'"]),
        (lambda: repo.create_tag("t", at="nothing"), ["'nothing'"]),
        (lambda: repo.reset_branch("main", to="nothing"), ["'nothing'"]),
        (lambda: repo.reset_branch("mian", to="main"), ["'mian'", "main"]),
        (lambda: repo.delete_branch("mian"), ["'mian'", "main"]),
        (lambda: repo.delete_tag("v2"), ["'v2'", "v1"]),
        (lambda: repo.resolve("main~9"), ["'main~9'", "4"]),
    ):
        with pytest.raises(zvv.NotFoundError) as caught:
            ask()
        assert [word for word in words if word not in str(caught.value)] == []
    with pytest.raises(zvv.MetadataError, match="'main' cannot be deleted"):
        repo.delete_branch("main")
    assert (repo.resolve("main"), repo.list_branches(), repo.list_tags()) == (tip, ["main"], ["v1"])


def test_a_view_is_asked_for_in_one_way(grown: tuple[zvv.Repository, list[str]]) -> None:
    repo, snapshots = grown
    repo.create_tag("v1")
    now = datetime.now(UTC)
    for ways in (
        {"ref": "main", "tag": "v1"},
        {"branch": "main", "snapshot_id": snapshots[0]},
        {"tag": "v1", "as_of": now},
        {"snapshot_id": snapshots[0], "as_of": now},
    ):
        with pytest.raises(zvv.MetadataError, match="one of"):
            repo.view(**ways)


# ---- shown -------------------------------------------------------------------------------------


def test_everything_shows_itself_in_a_terminal_and_a_notebook(tmp_path: Path) -> None:
    evil = "<b>&amp;"
    repo = zvv.Repository.create(tmp_path / "a<&b")
    with repo.transaction(message=evil, author=evil) as tx:
        tx.create_dataset("<i>p", axes=[{"name": "<x>", "unit": "<nm>"}, "y"], **CLOUD)
        writer = tx.writer("<i>p")
        writer.append_vertices_sync(np.ones((1234, 2), "f4"), attributes={"<u>": np.zeros(1234)})
        assert (
            repr(tx)
            == f"<Transaction on 'main' from {tx.base_snapshot_id}: is open, 1 batch staged>"
        )
        assert "'<i>p' level 0" in repr(writer)
    repo.create_tag("v1")
    view = repo.view()
    level = view["<i>p"][0]
    assert tx.result is not None
    shown: dict[str, tuple[Any, list[str]]] = {
        "Repository": (repo, ["main", "v1", "a&lt;&amp;b"]),
        "View": (view, [view.snapshot_id, "main", "&lt;i&gt;p", "1,234"]),
        "Dataset": (view["<i>p"], ["point_cloud", "&lt;x&gt;", "&lt;nm&gt;", "1,234"]),
        "Level": (level, ["1,234", "&lt;u&gt;", "float64", view.snapshot_id]),
        "Geometry": (level.read(attributes="all"), ["1,234", "float32", "&lt;u&gt;"]),
        "CommitLog": (repo.log(), [view.snapshot_id[:8], "&lt;b&gt;&amp;amp;", "1,234"]),
        "CommitResult": (tx.result, [view.snapshot_id, "&lt;b&gt;&amp;amp;", "1,234"]),
    }
    for kind, (thing, words) in shown.items():
        html = thing._repr_html_()
        assert [kind, *(word for word in words if word not in html)] == [kind]
        assert [kind, *(tag for tag in ("<b>&", "<i>", "<x>", "<nm>", "<u>") if tag in html)] == [
            kind
        ]
        assert "&amp;lt;" not in html, f"{kind} is escaped twice"
        text = repr(thing)
        assert text
        assert "object at 0x" not in text
    assert "1,234" in repr(tx.result)
    assert repr(repo) == f"<Repository {tmp_path}/a<&b: branches main; tags v1>"
    assert "1,234 objects" in repr(level.objects)
    empty = zvv.Repository.create("memory://")
    assert "empty" in repr(empty.view())
    assert "tags none" in repr(empty)
    assert "memory://" in empty._repr_html_()


def test_a_transaction_shows_itself_in_a_notebook(repo: zvv.Repository) -> None:
    append(repo)
    tx = repo.transaction()
    tx.writer("p").append_vertices_sync(np.ones((1234, 2), "f4"))
    html = tx._repr_html_()  # type: ignore[attr-defined]
    assert [w for w in ("Transaction", "main", tx.base_snapshot_id, "1,234") if w not in html] == []


# ---- processes ---------------------------------------------------------------------------------


def _commit_five(location: str, number: int, results: Any) -> None:
    repo = zvv.Repository.open(location)
    for commit in range(5):
        object_id = 1_000 * number + commit
        while True:
            tx = repo.transaction(message=f"object {object_id}")
            points = np.full((10, 2), object_id % 10, "f4")
            tx.writer("p").append_vertices_sync(points, object_ids=object_id)
            try:
                results.put((tx.commit().snapshot_id, object_id))
                break
            except zvv.ConflictError:
                time.sleep(random.uniform(0.001, 0.02))


def test_four_processes_lose_no_commit(tmp_path: Path) -> None:
    location = str(tmp_path / "r")
    repo = zvv.Repository.create(location)
    with repo.transaction() as tx:
        tx.create_dataset("p", **CLOUD)
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    processes = [
        spawn.Process(target=_commit_five, args=(location, number, results)) for number in range(4)
    ]
    for process in processes:
        process.start()
    acknowledged = dict(results.get(timeout=60) for _ in range(20))
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * 4
    log = repo.log()
    assert {info.snapshot_id: info.message for info in log[:20]} == {
        snapshot_id: f"object {object_id}" for snapshot_id, object_id in acknowledged.items()
    }
    assert len(log) == 22
    level = repo.view()["p"][0]
    order = [int(info.message.split()[1]) for info in log[19::-1]]
    assert level.object_ids().tolist() == order
    got = level.read()
    np.testing.assert_array_equal(got.object_ids, np.repeat(order, 10))
    np.testing.assert_array_equal(got.positions[:, 0], np.repeat(order, 10) % 10)


def test_a_memory_repository_with_a_name_is_shared_and_one_without_is_not() -> None:
    name = f"memory://{uuid.uuid4().hex}"
    append(zvv.Repository.create(name), 3)
    assert count(zvv.Repository.open(name).view()) == 3
    append(zvv.Repository.create("memory://"), 3)
    assert zvv.Repository.create("memory://").view().datasets == []


# ---- one word, one meaning; what cannot be taken along -------------------------------------------


def test_a_branch_and_a_tag_cannot_have_the_same_name() -> None:
    repo = zvv.Repository.create("memory://")
    repo.create_tag("paper")
    with pytest.raises(zvv.MetadataError, match="'paper' is a tag already"):
        repo.create_branch("paper")
    with pytest.raises(zvv.MetadataError, match="'main' is a branch already"):
        repo.create_tag("main")
    assert (repo.list_branches(), repo.list_tags()) == (["main"], ["paper"])


def test_a_repository_whose_folder_was_moved_says_so(tmp_path: Path) -> None:
    repo = zvv.Repository.create(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    for ask in (repo.view, repo.log, repo.transaction, repo.list_branches, repo.fsck):
        with pytest.raises(zvv.StorageError, match="any more: its folder was moved"):
            ask()
    assert "any more: its folder was moved" in repr(repo)
    assert "any more: its folder was moved" in repo._repr_html_()
    assert zvv.Repository.open(tmp_path / "there").list_branches() == ["main"]


@pytest.mark.parametrize("kind", ["branch", "tag"])
def test_a_new_name_cannot_be_taken_for_a_range(repo: zvv.Repository, kind: str) -> None:
    create = repo.create_branch if kind == "branch" else repo.create_tag
    with pytest.raises(zvv.MetadataError, match=rf"'a\.\.b' is no good {kind} name: .*'a-b'"):
        create("a..b")
    create("a.b")


@pytest.mark.parametrize("kind", ["branch", "tag"])
@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("try.", "try"),
        ("try-.", "try"),
        ("2.0.lock", "2.0-lock"),
        ("a.LOCK", "a-lock"),
        ("a/b", "a-b"),
        ("a/", "a"),
        ("/a", "a"),
        ("a//b", "a-b"),
        ("a\n", "a"),
        ("a\x00b", "a-b"),
        ("a b", "a-b"),
        (".a", "a"),
        ("--force", "force"),
        ("a~1", "a-1"),
        ("x" * 201, "x" * 200),
        ("...", None),
        ("/", None),
    ],
)
def test_a_new_name_that_a_filesystem_or_a_ref_takes_otherwise_is_refused_with_another(
    kind: str, name: str, instead: str | None
) -> None:
    repo = zvv.Repository.create("memory://")
    create = repo.create_branch if kind == "branch" else repo.create_tag
    listed = repo.list_branches if kind == "branch" else repo.list_tags
    before = listed()
    with pytest.raises(zvv.MetadataError) as caught:
        create(name)
    said = str(caught.value)
    assert said.startswith(f"{name!r} is no good {kind} name: ")
    assert listed() == before
    if instead is None:
        assert "would do" not in said
    else:
        assert said.endswith(f"{instead!r} would do")
        create(instead)
        assert instead in listed()


@given(st.text(max_size=30))
def test_the_name_that_is_proposed_is_a_good_one(name: str) -> None:
    would = refs._proposal(name)
    assert would == "" or refs._unfit(would) is None


def test_a_branch_that_has_such_a_name_already_can_be_used_and_deleted(tmp_path: Path) -> None:
    repo = zvv.Repository.create(tmp_path / "r")
    tip = repo.resolve("main")
    handle = repo._backend._repository
    handle.create_branch("old.", tip)
    handle.create_tag("v1.lock", tip)
    assert (repo.resolve("old."), repo.resolve("v1.lock")) == (tip, tip)
    repo.delete_branch("old.")
    repo.delete_tag("v1.lock")
    assert (repo.list_branches(), repo.list_tags()) == (["main"], [])


def test_no_repository_is_made_inside_another(tmp_path: Path) -> None:
    outer = zvv.Repository.create(tmp_path / "outer")
    for inner in ("inner", "a/b"):
        with pytest.raises(zvv.MetadataError, match=r"lies inside the repository .*outer;"):
            zvv.Repository.create(tmp_path / "outer" / inner)
    assert outer.fsck().ok
    assert not (tmp_path / "outer" / "a").exists()
    zvv.Repository.create(tmp_path / "outer2")


def test_a_time_is_told_with_an_example(repo: zvv.Repository) -> None:
    with pytest.raises(zvv.MetadataError, match=r"such as datetime\(.*got '2020-01-01'"):
        repo.view(as_of="2020-01-01")  # type: ignore[arg-type]
    with pytest.raises(zvv.MetadataError, match=r"such as timedelta\(days=90\), got '90d'"):
        repo.expire("90d")  # type: ignore[arg-type]


def test_flags_are_true_or_false(tmp_path: Path) -> None:
    with pytest.raises(zvv.MetadataError, match="durable must be True or False, got 'yes'"):
        zvv.Repository.create(tmp_path / "a", durable="yes")  # type: ignore[arg-type]
    assert not (tmp_path / "a").exists()
    zvv.Repository.create(tmp_path / "a")
    with pytest.raises(zvv.MetadataError, match="durable must be True or False, got 1"):
        zvv.Repository.open(tmp_path / "a", durable=1)  # type: ignore[arg-type]
