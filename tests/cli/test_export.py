"""``zv-versioned export``"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from _cli import failed, failed_json, run, run_csv, run_json, run_lines
from _files import NAVIS, level_of, rows


def _csv_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_dataset_goes_to_a_file(known: Any, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    text = run("export", out, "-r", known.path)
    assert text == (
        f"Exported 'synapses' at {known.snapshots[2][:8]} to {out} (csv, 1 file):\n"
        "20 vertices, 4 objects\n"
    )
    assert len(_csv_rows(out)) == 20


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
    assert len(_csv_rows(out)) == 10


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
    rows = _csv_rows(out)
    assert list(rows[0]) == ["object_id", "x", "y", "z"]
    assert {row["object_id"] for row in rows} == {"11", "30"}
    assert [float(row["x"]) for row in rows] == [16, 17, 18, 19, 30, 31, 32]


def test_a_target_is_replaced_only_where_that_is_said(known: Any, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("mine")
    assert "there already" in failed("export", out, "-r", known.path, code=11)
    assert out.read_text() == "mine"
    run("export", out, "--overwrite", "-r", known.path)
    assert len(_csv_rows(out)) == 20


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


def _files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


def test_a_zarr_vectors_store_goes_out_and_comes_back_in(known: Any, tmp_path: Path) -> None:
    out = tmp_path / "out.zv"
    r = ("-r", known.path)
    text = run("export", out, "-d", "synapses", *r)
    assert f"to {out} (zarr_vectors, {_files(out)} files):" in text
    assert "20 vertices, 4 objects" in text
    text = run("import", out, "-d", "back", *r)
    assert "Imported 1 file" in text
    repo = known.repository
    before, after = level_of(repo, "synapses"), level_of(repo, "back")
    assert rows(after, "confidence") == rows(before, "confidence")
    assert repo.view("main")["back"].kind == "point_cloud"


def test_a_zarr_vectors_store_is_told_of_in_json(known: Any, tmp_path: Path) -> None:
    out = tmp_path / "out.zarrvectors"
    r = ("-r", known.path)
    data = run_json("export", out, "-d", "synapses", "--ref", "main~1", *r)
    assert (data["format"], data["target"]) == ("zarr_vectors", str(out))
    assert data["files"] == _files(out)
    assert (data["vertices"], data["objects"], data["snapshot_id"]) == (10, 2, known.snapshots[1])
    data = run_json("import", out, "-d", "back", "--dry-run", *r)
    assert (data["found"]["kind"], data["imported"]) == ("point_cloud", None)
    data = run_json("import", out, "-d", "back", *r)
    assert (data["imported"]["vertices"], data["imported"]["objects"]) == (10, 2)
    assert level_of(known.repository, "back").object_ids().tolist() == [10, 11]


def test_a_broken_zarr_vectors_store_changes_nothing(known: Any, tmp_path: Path) -> None:
    out = tmp_path / "out.zv"
    r = ("-r", known.path)
    run("export", out, "-d", "synapses", *r)
    (out / "0" / "zarr.json").write_text("{")
    before = known.repository.resolve("main")
    error = failed_json("import", out, "-d", "back", *r, code=11)
    assert str(out) in error["message"]
    assert known.repository.resolve("main") == before
