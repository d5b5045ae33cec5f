"""``zv-versioned cherry-pick``"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from _cli import failed, failed_json, run, run_csv, run_json, run_lines
from _files import level_of


@pytest.fixture
def tried(known: Any) -> Any:
    """Two appends on try: of object 71, then of 72."""
    known.repository.create_branch("try")
    for number in (71, 72):
        with known.repository.transaction("try", message=f"append {number}") as tx:
            tx.writer("synapses").append_vertices_sync(
                np.full((3, 3), number, "f4"), object_ids=number
            )
    return known


def test_what_one_commit_did_is_done_again(tried: Any) -> None:
    text = run("cherry-pick", "try", "-r", tried.path)
    ids = level_of(tried.repository, "synapses").object_ids().tolist()
    assert 72 in ids
    assert 71 not in ids
    assert "synapses: +1 batch, +3 vertices, +1 object" in text
    assert "append 72" in tried.repository.log("main")[0].message


def test_json_says_what_was_done(tried: Any) -> None:
    data = run_json("cherry-pick", "try~1", "-r", tried.path, "-m", "again")
    assert data["theirs"] == tried.repository.resolve("try~1")
    assert (data["message"], data["branch"]) == ("again", "main")
    of = run_json("log", "-n", 1, "-r", tried.path)["commits"][0]["summary"]["of"]
    assert of == tried.repository.resolve("try~1")


def test_the_other_forms_have_the_same_row(tried: Any) -> None:
    arguments = ("cherry-pick", "try", "--dry-run", "-r", tried.path)
    assert run_lines(*arguments)[0]["kind"] == "dry run"
    assert run_csv(*arguments)[0]["kind"] == "dry run"
    assert tried.repository.resolve("main") == tried.snapshots[2]


def test_another_branch_can_be_meant(tried: Any) -> None:
    tried.repository.create_branch("other", at="main")
    run("cherry-pick", "try", "--branch", "other", "-r", tried.path)
    assert tried.repository.view("other")["synapses"][0].vertex_count == 23
    assert tried.repository.resolve("main") == tried.snapshots[2]


def test_a_conflict_changes_nothing(tried: Any) -> None:
    repo = tried.repository
    for branch, value in (("main", 0.25), ("try", 0.75)):
        with repo.transaction(branch) as tx:
            n = repo.view(branch)["synapses"][0].vertex_count
            tx.writer("synapses").add_attribute_sync("confidence", np.full(n, value, "f4"))
    before = repo.resolve("main")
    failed_json("cherry-pick", "try", "-r", tried.path, code=21)
    assert tried.repository.resolve("main") == before
    run("cherry-pick", "try", "--on-conflict", "ours", "-r", tried.path)


def test_what_is_not_there_is_not_found(tried: Any) -> None:
    assert "'nope'" in failed("cherry-pick", "nope", "-r", tried.path, code=40)
    said = failed("cherry-pick", "try", "--parent", 7, "-r", tried.path, code=11)
    assert "parent must be 1, for" in said
