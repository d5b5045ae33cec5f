"""``zv-versioned merge``"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from _cli import failed, failed_json, in_terminal, run, run_csv, run_json, run_lines
from _files import level_of

import zv_versioned as zvv


def _append(repo: zvv.Repository, branch: str, number: int) -> str:
    with repo.transaction(branch, message=f"append {number}") as tx:
        tx.writer("synapses").append_vertices_sync(np.full((3, 3), number, "f4"), object_ids=number)
    assert tx.result is not None
    return tx.result.snapshot_id


@pytest.fixture
def forked(known: Any) -> Any:
    """An append on main and another on try, which began at the same snapshot."""
    repo = known.repository
    repo.create_branch("try")
    _append(repo, "main", 71)
    _append(repo, "try", 72)
    return known


def _score(repo: zvv.Repository, branch: str, value: float) -> None:
    with repo.transaction(branch, message="score") as tx:
        n = repo.view(branch)["synapses"][0].vertex_count
        tx.writer("synapses").add_attribute_sync("confidence", np.full(n, value, "f4"))


def test_two_branches_become_one(forked: Any) -> None:
    before = forked.repository.resolve("main")
    text = run("merge", "try", "-r", forked.path, "-m", "both")
    repo = forked.repository
    tip = repo.resolve("main")
    assert text.splitlines()[0] == f"main {before[:8]} -> {tip[:8]}"
    assert "synapses: +1 batch, +3 vertices, +1 object" in text
    assert repo.log("main")[0].message == "both"
    assert {71, 72} <= set(level_of(repo, "synapses").object_ids().tolist())


def test_json_says_what_was_done(forked: Any) -> None:
    ours, theirs = (forked.repository.resolve(b) for b in ("main", "try"))
    data = run_json("merge", "try", "-r", forked.path)
    assert (data["kind"], data["ours"], data["theirs"]) == ("merge", ours, theirs)
    assert data["base"] == [forked.snapshots[2]]
    assert data["snapshot_id"] == forked.repository.resolve("main")
    assert data["changes"]["synapses"]["vertices_added"] == 3
    again = run_json("merge", "try", "-r", forked.path)
    assert again["kind"] == "up to date"
    assert "main is as it was" in run("merge", "try", "-r", forked.path)


def test_the_other_forms_have_the_same_row(forked: Any) -> None:
    assert run_lines("merge", "try", "-r", forked.path)[0]["kind"] == "merge"
    assert run_csv("merge", "try", "-r", forked.path)[0]["kind"] == "up to date"


def test_a_dry_run_changes_nothing(forked: Any) -> None:
    before = forked.repository.resolve("main")
    text = run("merge", "try", "--dry-run", "-r", forked.path)
    assert "would change main" in text
    assert "+3 vertices" in text
    assert run_json("merge", "try", "--dry-run", "-r", forked.path)["kind"] == "dry run"
    assert forked.repository.resolve("main") == before


def test_a_branch_that_can_just_move_does_unless_a_commit_is_wanted(known: Any) -> None:
    repo = known.repository
    repo.create_branch("try")
    tip = _append(repo, "try", 72)
    data = run_json("merge", "try", "--ff-only", "-r", known.path)
    assert (data["kind"], data["snapshot_id"]) == ("fast-forward", tip)
    repo.create_branch("more")
    _append(repo, "more", 73)
    assert run_json("merge", "more", "--no-ff", "-r", known.path)["kind"] == "merge"
    assert "exclude each other" in failed("merge", "x", "--no-ff", "--ff-only", code=2)


def test_a_branch_that_cannot_just_move_is_refused_with_ff_only(forked: Any) -> None:
    before = forked.repository.resolve("main")
    error = failed_json("merge", "try", "--ff-only", "-r", forked.path, code=21)
    assert error["details"]["ours"] == before
    assert forked.repository.resolve("main") == before


def test_another_branch_can_be_merged_into(forked: Any) -> None:
    before = forked.repository.resolve("main")
    run("merge", "main", "--into", "try", "-r", forked.path)
    assert forked.repository.resolve("main") == before
    assert {71, 72} <= set(forked.repository.view("try")["synapses"][0].object_ids().tolist())


def test_a_conflict_names_what_both_sides_changed_and_can_be_resolved(known: Any) -> None:
    repo = known.repository
    repo.create_branch("try")
    _score(repo, "main", 0.25)
    _score(repo, "try", 0.75)
    before = repo.resolve("main")
    error = failed_json("merge", "try", "-r", known.path, code=21)
    conflict = error["details"]["conflict"]
    assert (conflict["kind"], conflict["dataset"]) == ("attribute", "synapses")
    assert conflict["key"] == "vertex_attributes/confidence"
    assert len(conflict["batches"]) >= 1
    assert "confidence" in failed("merge", "try", "-r", known.path, code=21)
    assert repo.resolve("main") == before
    text = run("merge", "try", "--on-conflict", "theirs", "-r", known.path)
    assert "resolved for theirs" in text
    assert set(level_of(known.repository, "synapses").attribute("confidence")) == {0.75}


def test_objects_that_were_only_counted_are_numbered_anew(known: Any) -> None:
    repo = known.repository
    repo.create_branch("try")
    for branch in ("main", "try"):
        with repo.transaction(branch) as tx:
            tx.writer("synapses").append_vertices_sync(np.ones((7, 3), "f4"))
    data = run_json("merge", "try", "--dry-run", "-r", known.path)
    ids = data["renumbered"]["synapses"]
    assert (len(ids["old"]), len(ids["new"])) == (7, 7)
    text = run("merge", "try", "-r", known.path)
    assert "7 objects numbered anew" in text
    assert f"{ids['old'][0]} -> {ids['new'][0]}" in text
    assert "and 2 more" in text


@pytest.mark.parametrize("verb", ["merge", "cherry-pick"])
def test_ids_that_both_sides_gave_are_numbered_anew_on_request(known: Any, verb: str) -> None:
    repo = known.repository
    repo.create_branch("try")
    _append(repo, "main", 71)
    _append(repo, "try", 71)
    error = failed_json(verb, "try", "-r", known.path, code=21)
    assert error["details"]["conflict"]["kind"] == "objects"
    data = run_json(verb, "try", "--renumber", "-r", known.path)
    assert data["renumbered"]["synapses"] == {"old": [71], "new": [72]}
    assert {71, 72} <= set(level_of(known.repository, "synapses").object_ids().tolist())


def test_a_merge_is_shown_with_both_parents(forked: Any) -> None:
    ours, theirs = (forked.repository.resolve(b) for b in ("main", "try"))
    run("merge", "try", "-r", forked.path)
    shown = run_json("show", "-r", forked.path)
    assert shown["parents"] == [ours, theirs]
    assert "  merge" in run("show", "-r", forked.path)
    messages = [c["message"] for c in run_json("log", "-r", forked.path)["commits"]]
    assert {"append 71", "append 72"} <= set(messages)


def test_what_cannot_be_merged_changes_nothing(forked: Any) -> None:
    before = forked.repository.resolve("main")
    r = ("-r", forked.path)
    assert "'nope'" in failed("merge", "nope", *r, code=40)
    assert "'nope'" in failed("merge", "try", "--into", "nope", *r, code=40)
    assert "'mine'" in failed("merge", "try", "--on-conflict", "mine", *r, code=11)
    assert forked.repository.resolve("main") == before


@pytest.mark.parametrize("verb", ["merge", "cherry-pick", "revert"])
def test_a_bar_is_shown_in_a_terminal_where_chunks_are_copied(forked: Any, verb: str) -> None:
    """A dataset that the target has not, or no longer has, is copied by any icechunk."""
    repo = forked.repository
    with repo.transaction("try") as tx:
        tx.create_dataset("more", kind="point_cloud", bounds=([0] * 3, [1] * 3))
        tx.writer("more").append_vertices_sync(np.ones((2, 3), "f4"))
    ref = "try"
    if verb == "revert":
        repo.cherry_pick("try")
        ref = repo.revert("main").snapshot_id
        assert repo.view("main").datasets == ["synapses"]
    arguments = (verb, ref, "-r", forked.path)
    assert in_terminal(*arguments, "--dry-run", "--quiet") == ""
    assert "Copying" in in_terminal(*arguments, "--dry-run")
    run(*arguments)  # which is no terminal
    assert level_of(forked.repository, "more").vertex_count == 2
