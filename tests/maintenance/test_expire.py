"""Old snapshots go, and what is left of the history is right."""

from __future__ import annotations

import functools
import itertools
import os
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _story import Story
from hypothesis import given, settings
from hypothesis import strategies as st

import tests._profiles  # noqa: F401
import zv_versioned as zvv
from zv_versioned.errors import MetadataError, NotFoundError
from zv_versioned.history.graph import History
from zv_versioned.maintenance import expire as expire_module
from zv_versioned.storage import hidden
from zv_versioned.storage.notes import is_idle, read_note
from zv_versioned.storage.presence import LEASES


@pytest.fixture
def story(tmp_path: Path) -> Story:
    """Eight commits on main, a tag, and a branch that was merged and went on."""
    made = Story(tmp_path / "r")
    for number in range(8):
        made.append(f"m{number}")
        if number == 1:
            made.repo.create_tag("paper")
        if number == 2:
            made.repo.create_branch("try")
            made.append("t0", "try")
            made.append("t1", "try")
        if number == 4:
            made.merge("merge", "try")
            made.append("t2", "try")
    return made


def time_of(story: Story, name: str) -> datetime:
    return story.repo.log(story.ids[name], limit=1)[0].time


def collect(repo: zvv.Repository) -> None:
    """Remove what was let go of, and see that all is sound."""
    time.sleep(0.06)
    repo.gc(dry_run=False)
    report = repo.fsck()
    assert report.ok, report
    assert not any("snapshots" in finding.what for finding in report.findings)


def test_by_default_it_only_says_what_it_would_do(story: Story) -> None:
    before = story.log("main")
    planned = story.repo.expire(keep_last=1)
    assert planned.dry_run
    assert story.named(planned.expired) == {
        "begin", "m0", "m2", "m3", "m4", "m5", "m6", "merge", "t0",
    }  # fmt: skip
    assert story.log("main") == before
    done = story.repo.expire(keep_last=1, dry_run=False)
    assert (done.expired, done.kept, done.lines) == (planned.expired, planned.kept, planned.lines)
    assert "9 snapshots" in repr(done)
    assert done.to_dict()["expired"] == list(done.expired)


def test_by_count(story: Story) -> None:
    story.repo.expire(keep_last=3, dry_run=False)
    collect(story.repo)
    fresh = zvv.Repository.open(story.repo.location)
    for repo in (story.repo, fresh):
        story.repo = repo
        assert story.log("main") == ["m7", "m6", "m5", "t1", "t0", "m1", "root"]
        assert story.log("try") == ["t2", "t1", "t0", "m1", "root"]
        assert story.log("paper") == ["m1", "root"]
        assert story.parents("m5") == ["m1", "t1"]
        assert story.parents("t0") == ["m1"]
        assert repo.resolve("main~3") == story.ids["m1"]
        assert repo.view("paper")["p"][0].vertex_count == 4
        assert repo.view("main")["p"][0].vertex_count == 20
        with pytest.raises(NotFoundError):
            repo.view(story.ids["m3"])


def test_by_age(story: Story) -> None:
    done = story.repo.expire(time_of(story, "m6"), dry_run=False)
    assert story.named(done.expired) == {
        "begin", "m0", "m2", "m3", "m4", "m5", "merge", "t0",
    }  # fmt: skip
    collect(story.repo)
    assert story.log("main") == ["m7", "m6", "t1", "m1", "root"]
    assert story.repo.expire(timedelta(days=1), dry_run=False).expired == ()


def test_with_both_what_either_keeps_stays(story: Story) -> None:
    done = story.repo.expire(time_of(story, "m7"), keep_last=2)
    assert not {"m7", "m6", "t2", "t1"} & story.named(done.expired)
    assert {"m5", "m4"} <= story.named(done.expired)


def test_by_ref_what_leads_to_another_branch_stays(story: Story) -> None:
    done = story.repo.expire(keep_last=1, refs="main", dry_run=False)
    assert story.named(done.expired) == {"m3", "m4", "m5", "m6", "merge"}
    collect(story.repo)
    assert story.log("try") == ["t2", "t1", "t0", "m2", "m1", "m0", "begin", "root"]
    assert story.log("main") == ["m7", "t1", "t0", "m2", "m1", "m0", "begin", "root"]


def test_branches_merge_afterwards_as_before(story: Story, tmp_path: Path) -> None:
    repo = story.repo
    with repo.transaction("try", message="values") as tx:
        count = repo.view("try")["p"][0].vertex_count
        tx.writer("p").add_node_attribute_sync("score", np.arange(count, dtype="f4"))
    expected = repo.merge("try", into="main", dry_run=True)
    repo.expire(keep_last=1, dry_run=False)
    collect(repo)
    done = repo.merge("try", into="main", message="again")
    assert (done.base, done.changes) == (expected.base, expected.changes)
    assert done.base == (story.ids["t1"],)
    assert repo.view()["p"][0].vertex_count == 22
    assert repo.fsck().ok


def test_the_second_parent_of_a_merge_goes_with_the_merge(story: Story) -> None:
    repo = story.repo
    repo.delete_branch("try")
    repo.expire(keep_last=4, dry_run=False)
    assert hidden.kept_parents(repo._backend) == [story.ids["t1"]]
    assert story.parents("merge") == ["m1", "t1"]
    repo.expire(keep_last=2, dry_run=False)
    assert hidden.kept_parents(repo._backend) == []
    collect(repo)
    assert story.log("main") == ["m7", "m6", "m1", "root"]


def test_again_and_again(story: Story) -> None:
    for number, last in enumerate((6, 5, 5, 3, 2, 1)):
        story.repo.expire(keep_last=last, dry_run=False)
        assert story.log("try")[:2] == ["t2", "t1"]
        assert (story.log("paper")[0], story.log("paper")[-1]) == ("m1", "root")
        assert story.repo.merge("try", into="main", dry_run=True).base == (story.ids["t1"],)
        if number % 2:
            story.repo = zvv.Repository.open(story.repo.location)
    collect(story.repo)
    story.append("later")
    story.repo.expire(keep_last=1, dry_run=False)
    collect(story.repo)
    assert story.log("main") == ["later", "t1", "m1", "root"]


def test_one_who_had_the_repository_open_goes_on(story: Story) -> None:
    other = zvv.Repository.open(story.repo.location)
    assert len(other.log()) == len(story.repo.log())
    view = other.view()
    story.repo.expire(keep_last=2, dry_run=False)
    collect(story.repo)
    assert [c.snapshot_id for c in other.log()] == [c.snapshot_id for c in story.repo.log()]
    assert view["p"][0].positions().shape == (20, 2)
    with pytest.raises(NotFoundError):
        other.create_branch("back", at=story.ids["m3"])


def test_what_a_commit_alone_did_is_not_guessed(story: Story) -> None:
    story.repo.expire(keep_last=2, dry_run=False)
    for verb in (story.repo.revert, story.repo.cherry_pick):
        with pytest.raises(NotFoundError, match="the commit before it has expired"):
            verb(story.ids["m6"])
    assert story.repo.revert(story.ids["m7"]).kind == "merge"
    assert story.repo.view()["p"][0].vertex_count == 18


def test_what_an_open_transaction_began_at_stays(story: Story) -> None:
    repo = story.repo
    other = zvv.Repository.open(repo.location)
    with repo.transaction(message="slow") as tx:
        tx.writer("p").append_vertices_sync(np.ones((1, 2), "f4"))
        for number in range(3):
            with other.transaction(message=f"fast {number}") as fast:
                fast.writer("p").append_vertices_sync(np.ones((1, 2), "f4"))
        done = other.expire(keep_last=1, dry_run=False)
        assert story.ids["m7"] not in done.expired
        other.gc(dry_run=False)
    assert repo.view()["p"][0].vertex_count == 24
    assert repo.fsck().ok
    assert story.ids["m7"] in repo.expire(keep_last=1, dry_run=False).expired


def test_what_would_need_too_many_lines_is_kept_back(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zv_versioned.maintenance.retention.plan.__defaults__", (2,))
    done = story.repo.expire(keep_last=1, dry_run=False)
    assert done.kept_back
    assert done.lines <= 2
    assert "kept back" in repr(done)
    assert story.log("paper") == ["m1", "m0", "begin", "root"] or done.lines


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "needs older_than, keep_last"),
        ({"keep_last": 0}, "keep_last is a number from 1 up, got 0"),
        ({"keep_last": True}, "keep_last"),
        ({"older_than": "yesterday"}, "'yesterday'"),
        ({"older_than": datetime(2999, 1, 1, tzinfo=UTC)}, "in the future"),
        ({"older_than": timedelta(days=-1)}, "in the future"),
        ({"keep_last": 1, "refs": []}, "refs are names of branches"),
        ({"keep_last": 1, "refs": ["paper"]}, "is a tag"),
    ],
)
def test_bad_arguments_are_refused(story: Story, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(MetadataError, match=says):
        story.repo.expire(**arguments)


def test_a_branch_that_is_not_there_is_not_found(story: Story) -> None:
    with pytest.raises(NotFoundError, match="nobody"):
        story.repo.expire(keep_last=1, refs=["main", "nobody"])


# ---- one round is enough ----------------------------------------------------

_STEPS = st.lists(
    st.tuples(st.sampled_from(["commit", "merge", "tag"]), st.integers(0, 2), st.integers(0, 2)),
    min_size=6,
    max_size=14,
)
_BRANCHES = ("main", "x", "y")


def play(location: Path, steps: list[tuple[str, int, int]]) -> Story:
    """Commits, merges and tags on three branches that begin at one commit."""
    story = Story(location)
    for name in _BRANCHES[1:]:
        story.repo.create_branch(name)
    for number, (what, one, other) in enumerate(steps):
        if what == "tag":
            story.repo.create_tag(f"t{number}", at=_BRANCHES[one])
        elif what == "merge" and one != other:
            story.merge(f"merge {number}", _BRANCHES[other], _BRANCHES[one])
        else:
            story.append(f"append {number}", _BRANCHES[one])
    return story


def all_bases(repo: zvv.Repository) -> dict[tuple[str, str], list[str]]:
    history, refs = History(repo._backend), [*_BRANCHES, *repo.list_tags()]
    tips = {ref: repo.resolve(ref) for ref in refs}
    return {
        (a, b): history.merge_bases(tips[a], tips[b]) for a, b in itertools.combinations(refs, 2)
    }


@given(steps=_STEPS, last=st.integers(1, 3))
@settings(max_examples=settings().max_examples // 10)
def test_whatever_was_merged_one_expiry_lets_go_of_all_that_it_says_and_of_nothing_else(
    steps: list[tuple[str, int, int]], last: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        repo = play(Path(folder) / "r", steps).repo
        bases = all_bases(repo)
        done = repo.expire(keep_last=last, dry_run=False)
        left = {c.snapshot_id for ref in (*_BRANCHES, *repo.list_tags()) for c in repo.log(ref)}
        assert len(left) == done.kept
        assert left.isdisjoint(done.expired)
        assert all_bases(repo) == bases
        time.sleep(0.06)
        repo.gc(dry_run=False)
        assert {path.name for path in Path(folder, "r", "snapshots").iterdir()} == left
        assert all_bases(zvv.Repository.open(Path(folder) / "r")) == bases


@pytest.mark.parametrize("step", range(1, 5))
def test_an_expiry_that_was_interrupted_loses_no_merge_base_and_is_done_by_the_next(
    tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = [("commit", 1, 0), ("commit", 2, 0), ("merge", 0, 1), ("merge", 0, 2)]
    repo = play(tmp_path / "r", [*steps * 3, ("commit", 0, 0), ("commit", 0, 0)]).repo
    bases = all_bases(repo)
    calls = itertools.count(1)

    def interrupted(real: Any, *arguments: Any) -> Any:
        if next(calls) == step:
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as patch:
        for where, name in ((hidden, "forget_parent"), (repo._backend, "expire")):
            patch.setattr(where, name, functools.partial(interrupted, getattr(where, name)))
        with pytest.raises(KeyboardInterrupt):
            repo.expire(keep_last=1, dry_run=False)
    done = repo.expire(keep_last=1, dry_run=False)
    assert all_bases(repo) == bases
    collect(repo)
    left = {path.name for path in (tmp_path / "r" / "snapshots").iterdir()}
    assert len(left) == done.kept
    assert repo.expire(keep_last=1).expired == ()


def test_what_was_merged_by_a_commit_that_a_reset_took_from_the_branch_can_expire(
    tmp_path: Path,
) -> None:
    story = Story(tmp_path / "r")
    story.repo.create_branch("try")
    story.append("t0", "try")
    before = story.append("m0")
    story.merge("merge", "try")
    story.repo.delete_branch("try")
    story.repo.reset_branch("main", to=before)
    assert story.named(story.repo.expire(keep_last=2, dry_run=False).expired) == {"t0"}
    assert hidden.kept_parents(story.repo._backend) == []
    collect(story.repo)
    assert story.log("main") == ["m0", "begin", "root"]


def test_notes_of_transactions_are_read_only_where_something_expires(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Path] = []
    real = expire_module.writers
    monkeypatch.setattr(expire_module, "writers", lambda f: looked.append(f) or real(f))
    assert story.repo.expire(timedelta(days=1), dry_run=False).expired == ()
    assert looked == []
    assert story.repo.expire(keep_last=1).expired
    assert len(looked) == 1


def test_of_a_transaction_whose_note_is_damaged_all_stays_that_it_may_have_begun_at(
    story: Story,
) -> None:
    repo = story.repo
    other = zvv.Repository.open(repo.location)
    with repo.transaction(message="slow") as tx:
        tx.writer("p").append_vertices_sync(np.ones((1, 2), "f4"))
        notes = Path(repo.location, LEASES).glob("writer.*")
        (note,) = [path for path in notes if not is_idle(read_note(path.read_bytes()) or {})]
        at = note.stat()
        raw = bytearray(note.read_bytes())
        raw[20] ^= 1
        note.write_bytes(raw)
        os.utime(note, ns=(at.st_atime_ns, at.st_mtime_ns))
        for number in range(3):
            with other.transaction(message=f"fast {number}") as fast:
                fast.writer("p").append_vertices_sync(np.ones((1, 2), "f4"))
        done = other.expire(keep_last=1, dry_run=False)
        assert story.ids["m3"] in done.expired
        assert story.ids["m7"] not in done.expired
        other.gc(dry_run=False)
    assert repo.view()["p"][0].vertex_count == 24
