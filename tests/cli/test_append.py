"""``zv-versioned append``"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from _cli import failed, run, run_csv, run_json, run_lines
from _files import level_of


def _table(folder: Path, text: str) -> Path:
    (folder / "more.csv").write_text(text)
    return folder / "more.csv"


def test_files_are_added_to_a_dataset(known: Any, tmp_path: Path) -> None:
    table = _table(tmp_path, "x,y,z,object_id,confidence\n1,2,3,99,0.5\n")
    text = run("append", table, "-d", "synapses", "-r", known.path)
    tip = known.repository.resolve("main")
    assert text == (
        f"Appended 1 file (csv) into 'synapses' as {tip[:8]} on main:\n"
        "1 vertex, 1 object in 1 batch\n"
    )
    assert level_of(known.repository, "synapses").vertex_count == 21
    assert known.repository.log("main")[0].message == "append more.csv (csv) into synapses"


def test_json_says_what_was_done(known: Any, tmp_path: Path) -> None:
    known.repository.create_branch("try")
    table = _table(tmp_path, "x,y,z,object_id\n1,2,3,99\n")
    data = run_json("append", table, "-d", "synapses", "-b", "try", "-m", "x", "-r", known.path)
    assert data["imported"]["created"] is False
    assert (data["imported"]["vertices"], data["imported"]["branch"]) == (1, "try")
    assert known.repository.resolve("main") == known.snapshots[2]
    assert known.repository.log("try")[0].message == "x"


def test_the_other_forms_have_the_same_row(known: Any, tmp_path: Path) -> None:
    table = _table(tmp_path, "x,y,z\n1,2,3\n")
    assert run_lines("append", table, "-d", "synapses", "-r", known.path)[0]["vertices"] == 1
    assert run_csv("append", table, "-d", "synapses", "-r", known.path)[0]["vertices"] == "1"


def test_objects_go_on_with_extend(known: Any, tmp_path: Path) -> None:
    table = _table(tmp_path, "x,y,z,object_id\n1,2,3,10\n")
    arguments = ("append", table, "-d", "synapses", "-r", known.path)
    assert "overlap existing objects" in failed(*arguments, code=11)
    assert run_json(*arguments, "--extend")["imported"]["objects"] == 0
    assert len(level_of(known.repository, "synapses").objects[10]) == 6


def test_bounds_may_grow(known: Any, tmp_path: Path) -> None:
    table = _table(tmp_path, "x,y,z\n1,2,333\n")
    arguments = ("append", table, "-d", "synapses", "-r", known.path)
    assert "outside the bounds" in failed(*arguments, code=11)
    run(*arguments, "--out-of-bounds", "expand")
    assert known.repository.view("main")["synapses"].bounds[1] == (100, 100, 333)


def test_rounding_must_be_meant(known: Any, tmp_path: Path) -> None:
    table = _table(tmp_path, "x,y,z\n0.1,2,3\n")
    arguments = ("append", table, "-d", "synapses", "-r", known.path)
    assert "float32" in failed(*arguments, code=11)
    run(*arguments, "--dtype", "float32")


def test_a_dry_run_changes_nothing(known: Any, tmp_path: Path) -> None:
    table = _table(tmp_path, "x,y,z,label\n1,2,3,x\n")
    data = run_json("append", table, "-d", "synapses", "--dry-run", "-r", known.path)
    assert data["found"]["attributes"] == ["label"]
    assert known.repository.resolve("main") == known.snapshots[2]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["more.csv", "-d", "nope"], 40, "no dataset 'nope'"),
        (["more.csv", "-d", "synapses", "--out-of-bounds", "maybe"], 11, "'maybe'"),
        (["nowhere.csv", "-d", "synapses"], 40, "no file"),
    ],
)
def test_what_cannot_be_appended_changes_nothing(
    arguments: list[str], code: int, said: str, known: Any, tmp_path: Path
) -> None:
    _table(tmp_path, "x,y,z\n1,2,3\n")
    assert said in failed("append", *arguments, "-r", known.path, code=code)
    assert known.repository.resolve("main") == known.snapshots[2]
