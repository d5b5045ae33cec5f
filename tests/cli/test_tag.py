"""``zv-versioned tag``"""

from __future__ import annotations

from typing import Any

from _cli import failed, run, run_csv, run_json, run_lines


def test_tags_are_listed(known: Any) -> None:
    assert run("tag", "-r", known.path) == "no tags\n"
    known.repository.create_tag("v1", at="main~1")
    assert run("tag", "-r", known.path).splitlines()[2].split() == [
        "v1",
        known.snapshots[1][:8],
        "first",
    ]
    (row,) = run_json("tag", "-r", known.path)["tags"]
    assert (row["name"], row["snapshot_id"]) == ("v1", known.snapshots[1])
    assert run_lines("tag", "-r", known.path) == [row]
    assert run_csv("tag", "-r", known.path)[0]["message"] == "first"


def test_a_tag_is_created_and_deleted_for_good(known: Any) -> None:
    data = run_json("tag", "v1", "main~1", "-r", known.path)
    assert data == {"created": {"name": "v1", "snapshot_id": known.snapshots[1]}}
    assert known.repository.view(tag="v1").snapshot_id == known.snapshots[1]
    assert (
        run("tag", "-d", "v1", "-r", known.path) == f"Deleted tag v1 at {known.snapshots[1][:8]}\n"
    )
    assert known.repository.list_tags() == []
    assert "deleted" in failed("tag", "v1", "-r", known.path, code=11)


def test_what_cannot_be_done_changes_nothing(known: Any) -> None:
    known.repository.create_tag("v1", at="main")
    assert "exists" in failed("tag", "v1", "main~1", "-r", known.path, code=11)
    assert "no tag 'v2'" in failed("tag", "-d", "v2", "-r", known.path, code=40)
    assert "name the tag" in failed("tag", "-d", "-r", known.path, code=2)
    assert known.repository.view(tag="v1").snapshot_id == known.snapshots[2]
