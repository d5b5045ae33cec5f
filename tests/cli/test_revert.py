"""``zv-versioned revert``"""

from __future__ import annotations

from typing import Any

import numpy as np
from _cli import failed, failed_json, run, run_csv, run_json, run_lines
from _files import level_of


def test_what_one_commit_did_is_undone_and_what_came_after_stays(known: Any) -> None:
    text = run("revert", "main~1", "-r", known.path, "-m", "wrong unit")
    repo = known.repository
    assert repo.log("main")[0].message == "wrong unit"
    assert level_of(repo, "synapses").object_ids().tolist() == [30, 31]
    assert text.splitlines()[0] == f"main {known.snapshots[2][:8]} -> {repo.resolve('main')[:8]}"
    assert "-10 vertices" in text
    assert "-10" in run("log", "-r", known.path).splitlines()[2]


def test_json_says_what_was_done(known: Any) -> None:
    data = run_json("revert", "main~1", "-r", known.path)
    assert data["changes"]["synapses"]["objects_added"] == -2
    assert data["snapshot_id"] == known.repository.resolve("main")
    commit = run_json("log", "-n", 1, "-r", known.path)["commits"][0]
    assert commit["vertices_added"] == -10
    assert commit["summary"]["of"] == known.snapshots[1]
    assert f"revert of {known.snapshots[1][:8]}" in run("show", "-r", known.path)


def test_the_other_forms_have_the_same_row(known: Any) -> None:
    assert run_lines("revert", "main", "--dry-run", "-r", known.path)[0]["kind"] == "dry run"
    assert run_csv("revert", "main", "--dry-run", "-r", known.path)[0]["branch"] == "main"


def test_a_dry_run_changes_nothing(known: Any) -> None:
    text = run("revert", "main~1", "--dry-run", "-r", known.path)
    assert f"revert {known.snapshots[1][:8]}: would change main" in text
    assert known.repository.resolve("main") == known.snapshots[2]


def test_it_can_be_done_on_another_branch(known: Any) -> None:
    known.repository.create_branch("try")
    run("revert", "main", "--branch", "try", "-r", known.path)
    assert known.repository.resolve("main") == known.snapshots[2]
    assert known.repository.view("try")["synapses"][0].vertex_count == 10


def test_a_merge_needs_to_be_told_which_side(known: Any) -> None:
    repo = known.repository
    repo.create_branch("try")
    for branch, number in (("main", 71), ("try", 72)):
        with repo.transaction(branch) as tx:
            tx.writer("synapses").append_vertices_sync(np.full((3, 3), 1, "f4"), object_ids=number)
    repo.merge("try")
    assert "--parent 1 or --parent 2" in failed("revert", "main", "-r", known.path, code=11)
    run("revert", "main", "--parent", 1, "-r", known.path)
    ids = level_of(known.repository, "synapses").object_ids().tolist()
    assert 71 in ids
    assert 72 not in ids


def test_what_was_changed_since_is_a_conflict(known: Any) -> None:
    repo = known.repository
    for value in (0.25, 0.75):
        with repo.transaction("main") as tx:
            tx.writer("synapses").add_attribute_sync("confidence", np.full(20, value, "f4"))
    before = repo.resolve("main")
    error = failed_json("revert", "main~1", "-r", known.path, code=21)
    assert error["details"]["conflict"]["key"] == "vertex_attributes/confidence"
    assert known.repository.resolve("main") == before
    run("revert", "main~1", "--on-conflict", "ours", "-r", known.path)


def test_what_others_need_cannot_be_taken_away(known: Any) -> None:
    with known.repository.transaction("main") as tx:
        tx.writer("synapses").append_vertices_sync(
            np.ones((1, 3), "f4"), object_ids=10, extend=True
        )
    before = known.repository.resolve("main")
    error = failed_json("revert", known.snapshots[1], "-r", known.path, code=22)
    assert len(error["details"]["violations"]) >= 1
    assert known.repository.resolve("main") == before


def test_what_is_not_there_is_not_found(known: Any) -> None:
    assert "'nope'" in failed("revert", "nope", "-r", known.path, code=40)
    assert "first commit" in failed("revert", "main~3", "-r", known.path, code=11)
