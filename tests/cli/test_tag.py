"""``zv-versioned tag``"""

from __future__ import annotations

from typing import Any

import pytest
from _cli import failed, run, run_csv, run_json, run_lines

import zv_versioned as zvv
from zv_versioned.cli._naming import listed


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


@pytest.mark.parametrize("kind", ["tag", "branch"])
@pytest.mark.parametrize("how", ["damaged", "missing"])
def test_one_that_is_damaged_is_listed_with_its_file_beside_the_others(
    known: Any, kind: str, how: str
) -> None:
    file = known.path / f"refs/{kind}.a1/ref.json"
    for name in ("a1", "b2"):
        getattr(known.repository, f"create_{kind}")(name, at="main~1")
    if not file.exists():
        pytest.skip("icechunk 2 has them all in the file that leads to everything")
    plural = {"tag": "tags", "branch": "branches"}[kind]
    before = run_json(kind, "-r", known.path)[plural]
    file.unlink() if how == "missing" else file.write_bytes(file.read_bytes()[:30])
    damaged, *others = run_json(kind, "-r", known.path, code=23)[plural]
    assert others == before[1:]
    assert [damaged[name] for name in ("name", "snapshot_id", "time")] == ["a1", None, None]
    assert f"refs/{kind}.a1/ref.json is {how}" in damaged["damaged"]
    text = run(kind, "-r", known.path, code=23)
    assert f"refs/{kind}.a1/ref.json is {how}" in text
    assert "b2" in text
    rows = run_csv(kind, "-r", known.path, code=23)
    assert [row["name"] for row in rows if row["damaged"]] == ["a1"]
    with pytest.raises(zvv.IntegrityError, match=f"refs/{kind}.a1/ref.json is {how}"):
        known.repository.view(**{kind: "a1"})
    for command in (["log", "a1"], ["read", "--ref", "a1"], ["merge", "a1"]):
        assert f"refs/{kind}.a1/ref.json is {how}" in failed(*command, "-r", known.path, code=23)
    if how == "missing":
        getattr(known.repository, f"create_{kind}")("a1", at=known.snapshots[1])
        assert run_json(kind, "-r", known.path)[plural] == before
        getattr(known.repository, f"delete_{kind}")("a1")
        assert [row["name"] for row in run_json(kind, "-r", known.path)[plural]] == [
            row["name"] for row in before[1:]
        ]


def test_one_whose_commit_is_damaged_is_listed_with_what_it_points_to() -> None:
    def commit(snapshot_id: str) -> Any:
        raise zvv.IntegrityError(f"snapshots/{snapshot_id} is damaged")

    answer = listed("tag", "tags", ["v1"], lambda name: f"S{name}", commit)
    assert answer.exit_code == 23
    (row,) = answer.rows or ()
    assert (row["snapshot_id"], row["damaged"]) == ("Sv1", "snapshots/Sv1 is damaged")
