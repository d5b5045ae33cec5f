"""``zv-versioned stats``"""

from __future__ import annotations

import json
from typing import Any

import pytest
from _cli import run, run_csv, run_json


def test_it_counts(known: Any) -> None:
    known.repository.create_tag("v1", at="main~1")
    text = run("stats", "-r", known.path)
    assert text.startswith(f"main at {known.snapshots[2][:8]}: 4 commits; 1 branch, 1 tag\n")
    assert text.splitlines()[-1].split()[3:6] == ["20", "4", "2"]


def test_json_counts_as_of_a_ref(known: Any) -> None:
    known.repository.create_tag("v1", at="main~1")
    data = run_json("stats", "v1", "-r", known.path)
    assert data["snapshot_id"] == known.snapshots[1]
    assert (data["commits"], data["branches"], data["tags"]) == (3, ["main"], ["v1"])
    assert data["datasets"][0]["vertices"] == 10


def test_csv_has_a_row_a_level(known: Any) -> None:
    (row,) = run_csv("stats", "-r", known.path)
    assert (row["dataset"], row["level"], row["vertices"]) == ("synapses", "0", "20")


def test_bytes_by_array_and_what_could_be_saved(known: Any) -> None:
    data = run_json("stats", "-r", known.path)
    assert data["storage"] is None
    (sizes,) = data["sizes"]
    assert (sizes["dataset"], sizes["batches_after_compaction"]) == ("synapses", 1)
    assert sizes["bytes"] == sum(sizes["arrays"].values())
    assert sizes["arrays"]["vertex_attributes/confidence"] > 0
    storage = run_json("stats", "--storage", "-r", known.path)["storage"]
    assert storage["total"] == storage["live"] + storage["history"] + storage["unused"]
    assert "needed by nothing" in run("stats", "--storage", "-r", known.path)


@pytest.mark.parametrize("how", ["damaged", "missing"])
def test_commits_before_damage_are_counted_and_the_damage_is_named(known: Any, how: str) -> None:
    if (known.path / "repo").exists():
        pytest.skip("the history is in one file in version 2 of icechunk's format")
    file = known.path / "snapshots" / known.snapshots[0]
    file.write_bytes(b"x" * 99) if how == "damaged" else file.unlink()
    text = run("stats", "-r", known.path, code=23)
    assert text.startswith(f"main at {known.snapshots[2][:8]}: at least 2 commits; 1 branch")
    assert f"snapshots/{known.snapshots[0]} is {how}" in text
    assert text.splitlines()[-1].split()[3:6] == ["20", "4", "2"]
    data = json.loads(run("stats", "-r", known.path, "-o", "json", code=23))["data"]
    assert (data["commits"], data["datasets"][0]["vertices"]) == (2, 20)
    assert f"snapshots/{known.snapshots[0]}" in data["damaged"]
