"""``zv-versioned read``"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from _cli import failed, run, run_csv, run_json, run_lines

import zv_versioned as zvv


def test_text_shows_the_first_vertices_and_says_how_many_there_are(known: Any) -> None:
    with known.repository.transaction("main") as tx:
        tx.writer("synapses").append_vertices_sync(np.zeros((5, 3), "f4"), object_ids=1)
    lines = run("read", "synapses", "-r", known.path).splitlines()
    assert lines[0].split() == ["vertex_id", "object_id", "x", "y", "z", "confidence"]
    assert lines[2].split() == ["0", "10", "10", "5", "2.5", "0"]
    assert len(lines) == 2 + 20 + 2
    assert lines[-1].startswith("20 vertices of 25 in 'synapses'")
    assert "-o csv for all" in lines[-1]


def test_json_has_every_vertex_with_what_belongs_to_it(known: Any) -> None:
    data = run_json("read", "-r", known.path)
    found = known.repository.view("main")["synapses"][0].read(attributes="all")
    assert data["axes"] == ["x", "y", "z"]
    assert data["snapshot_id"] == known.snapshots[2]
    vertices = data["vertices"]
    assert [v["position"] for v in vertices] == found.positions.tolist()
    assert [v["object_id"] for v in vertices] == found.object_ids.tolist()
    assert [v["vertex_id"] for v in vertices] == list(range(20))
    np.testing.assert_array_equal(
        np.array([v["attributes"]["confidence"] for v in vertices], "f4"),
        found.attributes["confidence"],
    )
    assert run_lines("read", "-r", known.path) == vertices


def test_csv_has_a_column_a_coordinate_and_attribute(known: Any) -> None:
    rows = run_csv("read", "synapses", "-r", known.path)
    found = known.repository.view("main")["synapses"][0].read(attributes="all")
    assert list(rows[0]) == ["vertex_id", "object_id", "x", "y", "z", "confidence"]
    positions = np.array([[row[axis] for axis in "xyz"] for row in rows], "f4")
    np.testing.assert_array_equal(positions, found.positions)


def test_an_attribute_named_like_an_axis_keeps_its_own_column(known: Any) -> None:
    with known.repository.transaction("main") as tx:
        tx.writer("synapses").append_vertices_sync(
            np.ones((1, 3), "f4"), object_ids=99, attributes={"x": np.array([7], "i4")}
        )
    row = run_csv("read", "-r", known.path, "--objects", "99")[0]
    assert (row["x"], row["attributes.x"]) == ("1.0", "7")


def test_a_part_is_a_box_some_objects_some_attributes_some_vertices(
    known: Any, tmp_path: Path
) -> None:
    level = known.repository.view("main")["synapses"][0]
    boxed = run_json("read", "-r", known.path, "--bbox", "12,0,0:32,100,100")["vertices"]
    expected = level.read(bbox=([12, 0, 0], [32, 100, 100]))
    assert [v["vertex_id"] for v in boxed] == expected.vertex_ids.tolist()
    assert 0 < len(boxed) < 20
    (tmp_path / "ids.txt").write_text("31\n10,\n")
    for words in ("31,10", f"@{tmp_path / 'ids.txt'}"):
        some = run_json("read", "-r", known.path, "--objects", words)["vertices"]
        assert {v["object_id"] for v in some} == {10, 31}
    bare = run_json("read", "-r", known.path, "--attributes", "", "-n", "3")["vertices"]
    assert [v["attributes"] for v in bare] == [{}, {}, {}]


def test_balls_and_conditions_choose_vertices(known: Any) -> None:
    level = known.repository.view("main")["synapses"][0]
    r = ("-r", known.path)
    data = run_json("read", *r, "--near", "12,6,3:2.5", "--where", "confidence >= 0.2")
    expected = level.read(near=([12, 6, 3], 2.5), where={"confidence": (">=", 0.2)})
    assert [v["vertex_id"] for v in data["vertices"]] == expected.vertex_ids.tolist()
    assert 0 < len(expected) < level.count(near=([12, 6, 3], 2.5))
    both = ("--where", "confidence>0.2", "--where", "confidence<0.5")
    assert run_json("read", *r, *both, "--count")["count"] == 6
    listed = run_json("read", *r, "--where", "confidence in 0, 1", "--count")
    assert listed == {
        "dataset": "synapses",
        "level": 0,
        "snapshot_id": known.snapshots[2],
        "count": 4,
    }
    assert run_json("read", *r, "--where", "confidence not in 0,1", "--count")["count"] == 16
    assert run("read", *r, "--count", "-n", "7").startswith("7 vertices of 20 in 'synapses'")
    assert run_csv("read", *r, "--count")[0]["count"] == "20"


def test_text_is_compared_with_text(known: Any) -> None:
    with known.repository.transaction("main") as tx:
        words = [*"ab" * 9, "5", None]
        tx.writer("synapses").add_attribute_sync("word", np.array(words, object))
    r = ("-r", known.path, "--count")
    for condition, count in (
        ("word==a", 9),
        ('word=="5"', 1),
        ("word in a,b", 18),
        ("word!=a", 10),
    ):
        assert run_json("read", *r, "--where", condition)["count"] == count
    assert "compared with text" in failed("read", *r, "--where", "word==5", code=11)


def test_a_sample_is_drawn_by_its_seed(known: Any) -> None:
    def drawn(*options: str) -> list[int]:
        data = run_json("read", "-r", known.path, "--sample", "5", *options)
        return [v["vertex_id"] for v in data["vertices"]]

    level = known.repository.view("main")["synapses"][0]
    assert drawn() == drawn("--seed", "0") == level.sample(5, 0).vertex_ids.tolist()
    assert drawn("--seed", "1") == level.sample(5, 1).vertex_ids.tolist() != drawn()
    assert drawn("--objects", "10") == [0, 1, 2, 3, 4]


def test_an_old_snapshot_reads_as_it_was(known: Any) -> None:
    assert len(run_json("read", "--ref", "main~1", "-r", known.path)["vertices"]) == 10
    assert run_json("read", "--ref", "main~2", "-r", known.path)["vertices"] == []
    assert "0 vertices of 0" in run("read", "--ref", "main~2", "-r", known.path)


def test_missing_values_are_null(known: Any) -> None:
    with known.repository.transaction("main") as tx:
        tx.writer("synapses").append_vertices_sync(np.ones((1, 3), "f4"), object_ids=99)
    (vertex,) = run_json("read", "-r", known.path, "--objects", "99")["vertices"]
    assert vertex["attributes"] == {"confidence": None}
    assert run_csv("read", "-r", known.path, "--objects", "99")[0]["confidence"] == ""


def test_a_dataset_must_be_named_where_there_are_several(known: Any) -> None:
    with known.repository.transaction("main") as tx:
        tx.create_dataset("other", kind="point_cloud", bounds=([0, 0], [1, 1]))
    assert "'other', 'synapses'" in failed("read", "-r", known.path, code=2)


def test_conditions_go_for_coordinates_and_ids_of_objects_too(known: Any) -> None:
    whole = known.repository.view()["synapses"][0].read()
    middle, some = float(np.median(whole.positions[:, 0])), int(whole.object_ids[0])
    r = ("read", "-r", known.path)
    found = run_json(*r, "--where", f"x>{middle}", "-n", "1000")["vertices"]
    assert len(found) == (whole.positions[:, 0] > middle).sum()
    found = run_json(*r, "--where", f"object_id=={some}", "-n", "1000")["vertices"]
    assert len(found) == (whole.object_ids == some).sum()


def test_what_is_not_there_is_said_in_one_line(known: Any) -> None:
    r = ("-r", known.path)
    assert "no dataset 'nope'" in failed("read", "nope", *r, code=40)
    assert "no object 5" in failed("read", *r, "--objects", "5", code=40)
    assert "no attribute 'x'" in failed("read", *r, "--attributes", "x", code=40)
    assert "has no level 3" in failed("read", *r, "--level", "3", code=40)
    assert "whole numbers" in failed("read", *r, "--objects", "a", code=2)
    assert "missing.txt" in failed("read", *r, "--objects", "@missing.txt", code=2)
    for near in ("5,5,2", "5,5,2:", "5,5,2:a", "5,5,2:1,2"):
        assert "--near" in failed("read", *r, "--near", near, code=2)
    assert "3 numbers" in failed("read", *r, "--near", "1,2:3", code=11)
    assert "an operator" in failed("read", *r, "--where", "confidence", code=2)
    assert "no attribute 'nope'" in failed("read", *r, "--where", "nope>1", code=40)
    for word in ("=>", "=<", "<>", ">>", "<=>", "!<"):
        said = failed("read", *r, "--where", f"confidence{word}1", code=2)
        assert f"{word!r} is no operator" in said
        assert "==, !=, <, <=, >, >=, in, not in" in " ".join(said.split())
    assert "no attribute 'a='" in failed("read", *r, "--where", "a= > 1", code=40)
    assert "--limit" in failed("read", *r, "--sample", "3", "-n", "3", code=2)
    assert "axes" in failed("read", *r, "--bbox", "0,0:1,1", code=11).lower()


def test_a_large_read_in_every_form_agrees(tmp_path: Path) -> None:
    repo = zvv.Repository.create(tmp_path / "r")
    points = np.random.default_rng(0).uniform(0, 1, (3_000, 2))
    with repo.transaction("main") as tx:
        tx.create_dataset("", kind="point_cloud", bounds=([0, 0], [1, 1]), vertex_dtype="float64")
        tx.writer("").append_vertices_sync(points)
    rows = run_csv("read", "-r", tmp_path / "r")
    stored = repo.view()[""][0].positions()
    np.testing.assert_array_equal(np.array([[r["x"], r["y"]] for r in rows], "f8"), stored)
