"""Exports, whatever the format: any snapshot, box or objects; a file whole or not at all."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from _files import level_of, memory

import zv_versioned as zvv
from zv_versioned.interop import Progress, export_csv, export_swc
from zv_versioned.interop._export import Part, Selected


@pytest.fixture
def level() -> zvv.Level:
    """Two batches of points, of objects 0 to 9, with an attribute and a text."""
    repo = memory()
    rng = np.random.default_rng(0)
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [8, 8]), chunk_shape=(2, 2))
        for first in (0, 5):
            tx.writer("p").append_vertices_sync(
                rng.uniform(0, 8, (100, 2)).astype("f4"),
                object_ids=first + np.arange(100) // 20,
                attributes={
                    "score": rng.random(100).astype("f4"),
                    "kind": rng.choice(["a", "b"], 100),
                },
            )
    return level_of(repo, "p")


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_whole_level_comes_in_its_order(level: zvv.Level, tmp_path: Path) -> None:
    done = export_csv(level, tmp_path / "p.csv")
    rows = _read(tmp_path / "p.csv")
    whole = level.read(attributes="all")
    assert [int(r["object_id"]) for r in rows] == whole.object_ids.tolist()
    np.testing.assert_array_equal([np.float32(r["x"]) for r in rows], whole.positions[:, 0])
    np.testing.assert_array_equal([np.float32(r["score"]) for r in rows], whole.attributes["score"])
    assert [r["kind"] for r in rows] == whole.attributes["kind"].tolist()
    assert (done.vertices, done.objects, done.files) == (200, 10, 1)


def test_a_box_and_objects_choose_a_part(level: zvv.Level, tmp_path: Path) -> None:
    box = ([1, 1], [5, 6])
    done = export_csv(level, tmp_path / "p.csv", bbox=box, objects=[2, 7], attributes=["score"])
    expected = level.read(bbox=box, objects=[2, 7])
    rows = _read(tmp_path / "p.csv")
    assert list(rows[0]) == ["object_id", "x", "y", "score"]
    assert [int(r["object_id"]) for r in rows] == expected.object_ids.tolist()
    assert done.vertices == len(expected) > 0
    assert done.objects == len(np.unique(expected.object_ids))


def test_an_old_snapshot_comes_as_it_was(level: zvv.Level, tmp_path: Path) -> None:
    repo = level._dataset._view._repository
    with repo.transaction() as tx:
        tx.writer("p").remove_objects_sync([0, 1, 2])
    now = export_csv(level_of(repo, "p"), tmp_path / "now.csv")
    then = export_csv(level, tmp_path / "then.csv")
    assert (now.vertices, now.objects, now.snapshot_id) == (140, 7, repo.resolve("main"))
    assert (then.vertices, then.objects, then.snapshot_id) == (200, 10, repo.resolve("main~1"))


def test_a_target_that_is_there_is_kept_unless_it_is_to_be_replaced(
    level: zvv.Level, tmp_path: Path
) -> None:
    target = tmp_path / "p.csv"
    target.write_text("mine")
    with pytest.raises(zvv.MetadataError, match="there already"):
        export_csv(level, target)
    assert target.read_text() == "mine"
    export_csv(level, target, overwrite=True)
    assert len(_read(target)) == 200


def test_an_export_that_fails_leaves_the_target_and_no_rubbish(
    level: zvv.Level, tmp_path: Path
) -> None:
    target = tmp_path / "p.csv"
    target.write_text("mine")

    def fail(progress: Progress) -> None:
        raise RuntimeError("no room")

    with pytest.raises(RuntimeError):
        export_csv(level, target, overwrite=True, progress=fail)
    assert [path.name for path in tmp_path.iterdir()] == ["p.csv"]
    assert target.read_text() == "mine"


def test_what_is_not_there_is_said_before_a_file_is_made(level: zvv.Level, tmp_path: Path) -> None:
    target = tmp_path / "p.csv"
    with pytest.raises(zvv.NotFoundError, match="no object 99"):
        export_csv(level, target, objects=[99])
    with pytest.raises(zvv.NotFoundError, match="no attribute 'x'"):
        export_csv(level, target, attributes=["x"])
    with pytest.raises(zvv.NotFoundError, match="no folder"):
        export_csv(level, tmp_path / "nowhere" / "p.csv")
    with pytest.raises(zvv.MetadataError, match="is a folder"):
        export_csv(level, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_part_is_an_empty_file(level: zvv.Level, tmp_path: Path) -> None:
    done = export_csv(level, tmp_path / "p.csv", bbox=([7.9999, 7.9999], [8, 8]))
    assert (done.vertices, done.objects) == (0, 0)
    assert (tmp_path / "p.csv").read_text() == "object_id,x,y,kind,score\n"


def test_progress_counts_vertices(level: zvv.Level, tmp_path: Path) -> None:
    told: list[Progress] = []
    export_csv(level, tmp_path / "p.csv", progress=told.append)
    assert told[-1] == Progress("export", 200, 200, "vertices")


# ---- windows and objects -----------------------------------------------------


@pytest.mark.parametrize("at_once", [1, 30, 45, 10_000])
def test_objects_come_whole_however_few_at_a_time(level: zvv.Level, at_once: int) -> None:
    chosen = Selected(level, Part())
    seen: list[int] = []
    for found in chosen.objects(at_once):
        ids = np.unique(found.object_ids)
        assert len(found) == 20 * len(ids)
        assert len(found) <= max(at_once, 20)
        seen += ids.tolist()
    assert sorted(seen) == list(range(10))
    assert chosen.vertices == 200


def test_sizes_count_what_is_there_and_not_what_was_removed(level: zvv.Level) -> None:
    repo = level._dataset._view._repository
    with repo.transaction() as tx:
        writer = tx.writer("p")
        writer.remove_objects_sync([3])
        writer.append_vertices_sync(np.ones((7, 2), "f4"), object_ids=4, extend=True)
    ids, sizes = Selected(level_of(repo, "p"), Part()).sizes()
    assert dict(zip(ids.tolist(), sizes.tolist(), strict=True)) == {
        **{i: 20 for i in range(10) if i not in (3, 4)},
        4: 27,
    }


def test_windows_are_of_bounded_size(level: zvv.Level, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zv_versioned.reading.reader.WINDOW_VERTICES", 40)
    pieces = list(Selected(level, Part()).windows())
    whole = level.read()
    assert max(map(len, pieces)) < 100
    np.testing.assert_array_equal(np.concatenate([p.positions for p in pieces]), whole.positions)


# ---- folders -----------------------------------------------------------------


@pytest.fixture
def skeletons() -> zvv.Level:
    repo = memory()
    with repo.transaction() as tx:
        tx.create_dataset("s", kind="skeleton", bounds=([0, 0, 0], [8, 8, 8]))
        for number in (5, 6):
            tx.writer("s").append_graph_sync(
                np.array([[1, 1, 1], [2, 2, number]], "f4"), [[1, 0]], object_ids=number
            )
    return level_of(repo, "s")


def test_a_folder_is_made_or_filled_where_it_is_empty(skeletons: zvv.Level, tmp_path: Path) -> None:
    for name in ("new", "empty"):
        if name == "empty":
            (tmp_path / name).mkdir()
        done = export_swc(skeletons, tmp_path / name)
        assert sorted(p.name for p in (tmp_path / name).iterdir()) == ["5.swc", "6.swc"]
        assert (done.files, done.objects) == (2, 2)


def test_a_folder_with_something_in_it_is_replaced_only_where_that_is_said(
    skeletons: zvv.Level, tmp_path: Path
) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "thesis.txt").write_text("chapter 1")
    with pytest.raises(zvv.MetadataError, match="there already"):
        export_swc(skeletons, target)
    assert [p.name for p in target.iterdir()] == ["thesis.txt"]
    export_swc(skeletons, target, overwrite=True, objects=[5])
    assert [p.name for p in target.iterdir()] == ["5.swc"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_one_file_for_several_objects_is_refused(skeletons: zvv.Level, tmp_path: Path) -> None:
    with pytest.raises(zvv.MetadataError, match="several skeletons"):
        export_swc(skeletons, tmp_path / "x.swc")
    assert list(tmp_path.iterdir()) == []
    assert export_swc(skeletons, tmp_path / "x.swc", objects=6).files == 1
    with pytest.raises(zvv.MetadataError, match="no object"):
        export_swc(skeletons, tmp_path / "y.swc", bbox=([7, 7, 7], [8, 8, 8]))
    assert [p.name for p in tmp_path.iterdir()] == ["x.swc"]
