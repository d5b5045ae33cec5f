"""``zv-versioned branch``"""

from __future__ import annotations

from typing import Any

from _cli import failed, run, run_csv, run_json, run_lines


def test_branches_are_listed_with_their_tips(known: Any) -> None:
    known.repository.create_branch("try", at="main~1")
    assert run("branch", "-r", known.path).splitlines()[2:] == [
        f"main     {known.snapshots[2][:8]}   second ",
        f"try      {known.snapshots[1][:8]}   first  ",
    ]
    rows = run_json("branch", "-r", known.path)["branches"]
    assert [row["name"] for row in rows] == ["main", "try"]
    assert run_lines("branch", "-r", known.path) == rows
    assert run_csv("branch", "-r", known.path)[1]["snapshot_id"] == known.snapshots[1]


def test_a_branch_is_created_at_a_ref(known: Any) -> None:
    data = run_json("branch", "try", "main~1", "-r", known.path)
    assert data == {"created": {"name": "try", "snapshot_id": known.snapshots[1]}}
    assert known.repository.resolve("try") == known.snapshots[1]
    assert run("branch", "other", "-r", known.path) == (
        f"Created branch other at {known.snapshots[2][:8]}\n"
    )


def test_a_branch_is_deleted(known: Any) -> None:
    known.repository.create_branch("try", at="main")
    data = run_json("branch", "-d", "try", "-r", known.path)
    assert data == {"deleted": {"name": "try", "snapshot_id": known.snapshots[2]}}
    assert known.repository.list_branches() == ["main"]


def test_what_cannot_be_done_changes_nothing(known: Any) -> None:
    assert "exists" in failed("branch", "main", "-r", known.path, code=11)
    assert "cannot be deleted" in failed("branch", "-d", "main", "-r", known.path, code=11)
    assert "no branch 'try'" in failed("branch", "-d", "try", "-r", known.path, code=40)
    assert "'nope'" in failed("branch", "try", "nope", "-r", known.path, code=40)
    assert "name the branch" in failed("branch", "-d", "-r", known.path, code=2)
    assert known.repository.list_branches() == ["main"]
