"""``zv-versioned reset``"""

from __future__ import annotations

from typing import Any

from _cli import failed, run, run_json


def test_the_branch_goes_back_and_what_left_it_is_listed(known: Any) -> None:
    data = run_json("reset", "main~2", "-r", known.path)
    assert (data["before"], data["after"]) == (known.snapshots[2], known.snapshots[0])
    assert [commit["message"] for commit in data["left"]] == ["second", "first"]
    assert known.repository.resolve("main") == known.snapshots[0]
    # and forward again, by full id
    text = run("reset", known.snapshots[2], "-r", known.path)
    assert text == f"main points to {known.snapshots[2][:8]} (was {known.snapshots[0]})\n"
    assert known.repository.resolve("main") == known.snapshots[2]


def test_a_dry_run_changes_nothing(known: Any) -> None:
    text = run("reset", "main~1", "--dry-run", "-r", known.path)
    assert f"main would point to {known.snapshots[1][:8]}" in text
    assert "1 commit would leave it" in text
    assert "second" in text
    assert known.repository.resolve("main") == known.snapshots[2]


def test_another_branch_can_be_meant(known: Any) -> None:
    known.repository.create_branch("try", at="main")
    run_json("reset", "main~1", "--branch", "try", "-r", known.path)
    assert known.repository.resolve("try") == known.snapshots[1]
    assert known.repository.resolve("main") == known.snapshots[2]


def test_what_is_not_there_is_not_found(known: Any) -> None:
    assert "'nope'" in failed("reset", "nope", "-r", known.path, code=40)
    assert "'nope'" in failed("reset", "main", "-b", "nope", "-r", known.path, code=40)
