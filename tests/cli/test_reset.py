"""``zv-versioned reset``"""

from __future__ import annotations

from typing import Any

import pytest
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


@pytest.mark.parametrize("how", ["cut", "deleted"])
def test_a_branch_whose_tip_is_damaged_is_rescued(known: Any, how: str) -> None:
    whole, tip = known.snapshots[1:]
    file = known.path / "snapshots" / tip
    if how == "cut":
        file.write_bytes(file.read_bytes()[:40])
    else:
        file.unlink()
    dry = run_json("reset", whole, "--dry-run", "-r", known.path)
    assert (dry["before"], dry["after"]) == (tip, whole)
    text = run("reset", whole, "-r", known.path)
    assert text.startswith(f"main points to {whole[:8]} (was {tip})\n")
    assert known.repository.view().snapshot_id == whole
    assert len(known.repository.view()["synapses"][0].positions()) == 10


def test_a_beginning_of_an_id_that_damage_hides_is_asked_for_whole(known: Any) -> None:
    file = known.path / "snapshots" / known.snapshots[2]
    lost = known.path / "snapshots" / known.snapshots[1]
    for path in (file, lost):
        path.write_bytes(path.read_bytes()[:40])
    if (known.path / "repo").exists():  # icechunk 2 knows the ids from there
        run("reset", known.snapshots[0][:6], "-r", known.path)
    else:
        said = failed("reset", known.snapshots[0][:6], "-r", known.path, code=23)
        assert "Give the whole id" in said
    assert run_json("reset", known.snapshots[0], "-r", known.path)["after"] == known.snapshots[0]
