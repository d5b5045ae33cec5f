"""``zv-versioned export``"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from _cli import failed, run, run_csv, run_json, run_lines
from _files import NAVIS


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_dataset_goes_to_a_file(known: Any, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    text = run("export", out, "-r", known.path)
    assert text == (
        f"Exported 'synapses' at {known.snapshots[2][:8]} to {out} (csv, 1 file):\n"
        "20 vertices, 4 objects\n"
    )
    assert len(_rows(out)) == 20


def test_json_says_what_was_written(known: Any, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    data = run_json("export", out, "-d", "synapses", "--ref", "main~1", "-r", known.path)
    assert data == {
        "format": "csv",
        "dataset": "synapses",
        "level": 0,
        "snapshot_id": known.snapshots[1],
        "target": str(out),
        "files": 1,
        "vertices": 10,
        "links": 0,
        "objects": 2,
        "left_out": [],
    }
    assert len(_rows(out)) == 10


def test_the_other_forms_have_the_same_row(known: Any, tmp_path: Path) -> None:
    assert run_lines("export", tmp_path / "a.csv", "-r", known.path)[0]["vertices"] == 20
    assert run_csv("export", tmp_path / "b.csv", "-r", known.path)[0]["vertices"] == "20"


def test_a_part_is_a_box_objects_and_attributes(known: Any, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    (tmp_path / "ids.txt").write_text("11\n30\n")
    run(
        *("export", out, "-r", known.path, "--bbox", "16,0,0:33,100,100"),
        *("--objects", f"@{tmp_path / 'ids.txt'}", "--attributes", "", "--level", "0"),
    )
    rows = _rows(out)
    assert list(rows[0]) == ["object_id", "x", "y", "z"]
    assert {row["object_id"] for row in rows} == {"11", "30"}
    assert [float(row["x"]) for row in rows] == [16, 17, 18, 19, 30, 31, 32]


def test_a_target_is_replaced_only_where_that_is_said(known: Any, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("mine")
    assert "there already" in failed("export", out, "-r", known.path, code=11)
    assert out.read_text() == "mine"
    run("export", out, "--overwrite", "-r", known.path)
    assert len(_rows(out)) == 20


def test_formats_with_an_object_a_file_go_to_a_folder(known: Any, tmp_path: Path) -> None:
    run("import", NAVIS / "swc", "-d", "skeletons", "-r", known.path)
    arguments = ("-d", "skeletons", "--objects", "722817260,754534424", "-r", known.path)
    text = run("export", tmp_path / "out", "--format", "swc", *arguments)
    assert "(swc, 2 files)" in text
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["722817260.swc", "754534424.swc"]


def test_what_a_format_cannot_hold_is_said(known: Any, tmp_path: Path) -> None:
    run("import", NAVIS / "volumes" / "lh.obj", "-d", "lh", "--dtype", "float32", "-r", known.path)
    with known.repository.transaction("main") as tx:
        tx.writer("lh").add_attribute_sync("score", range(380))
    text = run("export", tmp_path / "lh.stl", "-d", "lh", "-r", known.path)
    assert "left out, since stl cannot hold them: score" in text


def test_options_of_the_format_are_passed_on(known: Any, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    run("export", out, "--option", "delimiter=;", "-r", known.path)
    assert out.read_text().splitlines()[0] == "object_id;x;y;z;confidence"


def test_what_cannot_be_exported_leaves_no_file(known: Any, tmp_path: Path) -> None:
    r = ("-r", known.path)
    before = set(tmp_path.iterdir())
    assert "suffix of no known format" in failed("export", tmp_path / "x.doc", *r, code=11)
    assert "'point_cloud'" in failed("export", tmp_path / "x.swc", *r, code=11)
    assert "no object 5" in failed("export", tmp_path / "x.csv", "--objects", 5, *r, code=40)
    assert "no dataset 'nope'" in failed("export", tmp_path / "x.csv", "-d", "nope", *r, code=40)
    assert "no option 'x'" in failed("export", tmp_path / "x.csv", "-X", "x=1", *r, code=11)
    assert set(tmp_path.iterdir()) == before
