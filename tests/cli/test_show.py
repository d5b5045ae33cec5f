"""``zv-versioned show``"""

from __future__ import annotations

from typing import Any

from _cli import failed, run, run_json, run_lines


def test_it_shows_the_commit_and_the_datasets_of_then(known: Any) -> None:
    text = run("show", "main~1", "-r", known.path)
    assert f"commit {known.snapshots[1]}" in text
    assert "first" in text
    assert "Ada" in text
    assert "synapses: +1 batch, +10 vertices, +2 objects" in text
    assert text.splitlines()[-1].split()[:5] == ["synapses", "0", "point_cloud", "10", "2"]


def test_json_has_the_commit_and_the_datasets(known: Any) -> None:
    data = run_json("show", "-r", known.path)
    assert data["snapshot_id"] == known.snapshots[2]
    assert data["branch"] == "main"
    assert data["datasets"] == [
        {
            "dataset": "synapses",
            "level": 0,
            "kind": "point_cloud",
            "vertices": 20,
            "objects": 4,
            "batches": 2,
            "attributes": ["confidence"],
            "bounds": {"lo": [0, 0, 0], "hi": [100, 100, 100]},
            "units": ["micrometer"] * 3,
        }
    ]
    assert run_lines("show", "-r", known.path) == data["datasets"]


def test_a_commit_that_is_no_tip_has_no_branch(known: Any) -> None:
    data = run_json("show", known.snapshots[0], "-r", known.path)
    assert data["branch"] is None
    assert data["metadata"] == {"run": 7}
    assert "7" in run("show", known.snapshots[0], "-r", known.path)


def test_the_first_commit_can_be_shown(known: Any) -> None:
    assert "no datasets" in run("show", "main~3", "-r", known.path)
    assert run_json("show", "main~3", "-r", known.path)["datasets"] == []


def test_a_missing_ancestor_is_not_found(known: Any) -> None:
    assert "ancestors" in failed("show", "main~9", "-r", known.path, code=40)
