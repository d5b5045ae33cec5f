"""Imports, whatever the format: one commit, all of it or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _files import level_of, memory, points

import zv_versioned as zvv
from zv_versioned.interop import Progress, import_csv, import_file, import_swc


@pytest.fixture
def repo() -> zvv.Repository:
    return memory()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "p.csv"
    path.write_text("x,y,z,object_id\n1,2,3,7\n4,5,6,8\n7,8,10,8\n")
    return path


def _same(repo: zvv.Repository, before: str) -> None:
    """The branch is where it was."""
    assert repo.resolve("main") == before


# ---- one commit --------------------------------------------------------------


def test_an_import_is_one_commit_with_one_dataset(repo: zvv.Repository, table: Path) -> None:
    done = import_csv(repo, table, "points", author="Ada", metadata={"run": 7})
    log = repo.log("main")
    assert len(log) == 2
    assert done.snapshot_id == log[0].snapshot_id
    assert log[0].message == "import p.csv (csv) into points"
    assert (log[0].author, log[0].metadata) == ("Ada", {"run": 7})
    assert (done.created, done.vertices, done.objects, done.batches) == (True, 3, 2, 1)


def test_the_message_can_be_the_users(repo: zvv.Repository, table: Path) -> None:
    import_csv(repo, table, "points", message="synapses of batch 7")
    assert repo.log("main")[0].message == "synapses of batch 7"


def test_an_import_goes_to_the_branch_that_is_named(repo: zvv.Repository, table: Path) -> None:
    repo.create_branch("try")
    import_csv(repo, table, "points", branch="try")
    assert repo.view("main").datasets == []
    assert repo.view("try").datasets == ["points"]


def test_what_is_broken_in_the_last_file_leaves_nothing_of_the_first(
    repo: zvv.Repository, table: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "q.csv"
    bad.write_text("x,y,z,object_id\n1,2,3,9\nnot,a,number,9\n")
    before = repo.resolve("main")
    # With bounds and without: in the second case nothing is looked through beforehand.
    for options in ({}, {"bounds": ([0, 0, 0], [9, 9, 99])}):
        with pytest.raises(zvv.ArrayError, match=r"q\.csv.*'not' is not a number"):
            import_csv(repo, [table, bad], "points", **options)  # type: ignore[arg-type]
        _same(repo, before)


def test_ids_that_are_taken_leave_the_dataset_as_it_was(repo: zvv.Repository, table: Path) -> None:
    import_csv(repo, table, "points")
    before = repo.resolve("main")
    with pytest.raises(zvv.ArrayError, match=r"p\.csv.*overlap existing objects"):
        import_csv(repo, table, "points", append=True)
    _same(repo, before)


def test_an_interrupt_leaves_the_branch_as_it_was(repo: zvv.Repository, table: Path) -> None:
    before = repo.resolve("main")

    def interrupt(progress: Progress) -> None:
        if progress.phase == "import" and progress.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_csv(repo, table, "points", progress=interrupt)
    _same(repo, before)
    import_csv(repo, table, "points")  # and nothing stands in the way


# ---- new and old datasets ----------------------------------------------------


def test_a_dataset_that_is_there_is_appended_to_only_where_that_is_said(
    repo: zvv.Repository, table: Path
) -> None:
    import_csv(repo, table, "points")
    with pytest.raises(zvv.MetadataError, match="exists"):
        import_csv(repo, table, "points")
    with pytest.raises(zvv.NotFoundError, match="'other'"):
        import_csv(repo, table, "other", append=True)


def test_an_append_adds_a_batch(repo: zvv.Repository, table: Path, tmp_path: Path) -> None:
    import_csv(repo, table, "points")
    more = tmp_path / "more.csv"
    more.write_text("x,y,z,object_id\n2,2,3,70\n")
    done = import_csv(repo, more, "points", append=True)
    assert (done.created, done.vertices) == (False, 1)
    level = level_of(repo, "points")
    assert (level.vertex_count, len(level.batches)) == (4, 2)
    assert repo.log("main")[0].message == "append more.csv (csv) into points"


def test_objects_go_on_only_where_that_is_said(
    repo: zvv.Repository, table: Path, tmp_path: Path
) -> None:
    import_csv(repo, table, "points")
    more = tmp_path / "more.csv"
    more.write_text("x,y,z,object_id\n2,2,3,8\n")
    done = import_csv(repo, more, "points", append=True, extend=True)
    assert (done.vertices, done.objects) == (1, 0)
    assert len(level_of(repo, "points").objects[8]) == 3


def test_an_object_may_go_over_several_batches(repo: zvv.Repository, tmp_path: Path) -> None:
    table = tmp_path / "p.csv"
    table.write_text("x,y,object_id\n" + "".join(f"{i},{i},{i % 3}\n" for i in range(200_000)))
    done = import_csv(repo, table, "points", batch_vertices=70_000)
    level = level_of(repo, "points")
    assert (done.batches, done.objects, level.num_objects) == (2, 3, 3)
    assert len(level.objects[1]) == 66_667


def test_ids_that_are_only_counted_go_on_from_the_largest(
    repo: zvv.Repository, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.swc").write_text("1 1 0 0 0 1 -1\n2 0 9 9 9 1 1\n")
    import_swc(repo, tmp_path / "a.swc", "s")
    done = import_swc(repo, [tmp_path / "b.swc"], "s", append=True)
    level = level_of(repo, "s")
    assert done.objects == 1
    assert level.object_ids().tolist() == [0, 1]
    assert level.object_attribute("name").tolist() == ["a", "b"]


def test_a_dataset_of_another_kind_is_refused(
    repo: zvv.Repository, table: Path, tmp_path: Path
) -> None:
    (tmp_path / "7.swc").write_text("1 1 0 0 0 1 -1\n2 0 9 9 9 1 1\n")
    import_csv(repo, table, "points")
    with pytest.raises(zvv.MetadataError, match=r"'skeleton'.*'point_cloud' cannot take it"):
        import_swc(repo, tmp_path / "7.swc", "points", append=True)
    with pytest.raises(zvv.MetadataError, match="'mesh' cannot take it"):
        import_swc(repo, tmp_path / "7.swc", "s", kind="mesh")
    import_swc(repo, tmp_path / "7.swc", "g", kind="graph")
    assert repo.view()["g"].kind == "graph"
    with pytest.raises(zvv.MetadataError, match="'graph', not 'skeleton'"):
        import_swc(repo, tmp_path / "7.swc", "g", kind="skeleton", append=True)


def test_a_dataset_with_other_axes_is_refused(
    repo: zvv.Repository, table: Path, tmp_path: Path
) -> None:
    import_csv(repo, table, "points")
    flat = tmp_path / "flat.csv"
    flat.write_text("x,y\n1,2\n")
    with pytest.raises(zvv.MetadataError, match=r"3 axes, and flat\.csv has 2"):
        import_csv(repo, flat, "points", append=True)


# ---- bounds, dtype, unit -----------------------------------------------------


def test_the_bounds_are_those_of_the_files_unless_they_are_given(
    repo: zvv.Repository, table: Path
) -> None:
    import_csv(repo, table, "found")
    assert repo.view()["found"].bounds == ((1, 2, 3), (7, 8, 10))
    import_csv(repo, table, "given", bounds=([0, 0, 0], [16, 16, 16]), chunk_shape=(4, 4, 8))
    dataset = repo.view()["given"]
    assert (dataset.bounds, dataset.chunk_shape) == (((0, 0, 0), (16, 16, 16)), (4, 4, 8))


def test_cells_fit_the_vertices_that_were_counted_or_are_expected(
    repo: zvv.Repository, tmp_path: Path
) -> None:
    long = tmp_path / "7.csv"
    long.write_text("x\n" + "\n".join(map(str, range(25_001))) + "\n")
    line: Any = {"positions": ["x"], "objects": "file"}
    import_csv(repo, long, "counted", **line)
    assert repo.view()["counted"].chunk_shape == pytest.approx((25_000 / 11,))
    import_csv(repo, long, "expected", expected_vertices=50_000, **line)
    assert repo.view()["expected"].chunk_shape == pytest.approx((1250,))
    import_csv(repo, long, "wide", bounds=([0], [110_000]), **line)
    assert repo.view()["wide"].chunk_shape == pytest.approx((10_000,))
    with pytest.raises(zvv.MetadataError, match="give one of them"):
        import_csv(repo, long, "both", expected_vertices=9, chunk_shape=[1], **line)


def test_what_is_out_of_bounds_is_refused_or_makes_them_grow(
    repo: zvv.Repository, table: Path
) -> None:
    narrow: Any = ([0, 0, 0], [5, 5, 6])
    with pytest.raises(zvv.ArrayError, match=r"p\.csv.*1 of 3 vertices are outside"):
        import_csv(repo, table, "points", bounds=narrow)
    import_csv(repo, table, "points", bounds=narrow, out_of_bounds="expand")
    assert repo.view()["points"].bounds == ((0, 0, 0), (7, 8, 10))


def test_points_in_a_plane_have_bounds(repo: zvv.Repository, tmp_path: Path) -> None:
    flat = tmp_path / "flat.csv"
    flat.write_text("x,y,z\n1,2,5\n3,4,5\n")
    assert import_csv(repo, flat, "flat").vertices == 2
    assert points(level_of(repo, "flat").read()) == [(1, 2, 5), (3, 4, 5)]


def test_rounding_has_to_be_meant(repo: zvv.Repository, tmp_path: Path) -> None:
    table = tmp_path / "p.csv"
    table.write_text("x,y\n0.1,0.2\n")
    import_csv(repo, table, "exact")
    assert repo.view()["exact"].vertex_dtype == np.float64
    import_csv(repo, table, "rounded", dtype="float32")
    assert level_of(repo, "rounded").positions().dtype == np.float32
    with pytest.raises(zvv.ArrayError, match="would change as float32"):
        import_csv(repo, table, "rounded", append=True)
    import_csv(repo, table, "rounded", append=True, dtype="float32")


def test_the_unit_goes_to_the_axes(repo: zvv.Repository, table: Path) -> None:
    import_csv(repo, table, "points", unit="nanometer")
    assert [axis["unit"] for axis in repo.view()["points"].axes] == ["nanometer"] * 3


def test_coordinates_that_are_not_finite_are_named_and_nothing_is_committed(
    repo: zvv.Repository, tmp_path: Path
) -> None:
    table = tmp_path / "p.csv"
    table.write_text("x,y\n1,2\nnan,3\n4,inf\n")
    before = repo.resolve("main")
    for options in ({}, {"bounds": ([0, 0], [9, 9])}):
        with pytest.raises(zvv.ArrayError, match=r"p\.csv.*2 of 3 vertices.*vertex 1"):
            import_csv(repo, table, "points", **options)  # type: ignore[arg-type]
    _same(repo, before)


def test_files_without_a_vertex_make_an_empty_dataset_only_with_bounds(
    repo: zvv.Repository, tmp_path: Path
) -> None:
    table = tmp_path / "p.csv"
    table.write_text("x,y,score\n")
    with pytest.raises(zvv.ArrayError, match="no vertex is in it"):
        import_csv(repo, table, "points")
    done = import_csv(repo, table, "points", bounds=([0, 0], [1, 1]))
    assert (done.vertices, level_of(repo, "points").vertex_count) == (0, 0)
    before = repo.resolve("main")
    with pytest.raises(zvv.ArrayError, match=r"^p\.csv: no vertex is in it; is it whole"):
        import_csv(repo, table, "points", append=True)
    _same(repo, before)


@pytest.mark.parametrize("append", [False, True])
def test_a_file_without_a_vertex_among_others_is_named(
    append: bool, repo: zvv.Repository, tmp_path: Path
) -> None:
    for name, rows in (("a", "1,2\n"), ("b", ""), ("c", "2,3\n")):
        (tmp_path / f"{name}.csv").write_text("x,y\n" + rows)
    import_csv(repo, tmp_path / "c.csv", "points", bounds=([0, 0], [9, 9]))
    before = repo.resolve("main")
    with pytest.raises(zvv.ArrayError, match=r"^b\.csv: no vertex is in it; is it whole"):
        import_csv(repo, tmp_path, "points" if append else "new", append=append)
    _same(repo, before)


# ---- progress ----------------------------------------------------------------


def test_progress_goes_up_and_ends_with_publishing(repo: zvv.Repository, tmp_path: Path) -> None:
    for name in range(5):
        text = "".join(f"{name},{i}\n" for i in range(100))
        (tmp_path / f"{name}.csv").write_text("x,y\n" + text)
    told: list[Progress] = []
    import_csv(repo, tmp_path, "points", progress=told.append)
    phases = list(dict.fromkeys(p.phase for p in told))
    assert phases == ["scan", "import", "publish"]
    for phase in phases:
        done = [p.done for p in told if p.phase == phase]
        assert done == sorted(done)
        assert all(p.share is not None and 0 <= p.share <= 1 for p in told)
    assert len([p for p in told if p.phase == "import"]) == 6


def test_an_error_of_the_report_ends_the_import(repo: zvv.Repository, table: Path) -> None:
    before = repo.resolve("main")

    def report(progress: Progress) -> None:
        if progress.phase == "publish":
            raise RuntimeError("the window was closed")

    with pytest.raises(RuntimeError, match="the window was closed"):
        import_csv(repo, table, "points", progress=report)
    _same(repo, before)


# ---- files -------------------------------------------------------------------


def test_files_come_from_folders_patterns_and_lists_in_natural_order(
    repo: zvv.Repository, tmp_path: Path
) -> None:
    for number in (10, 9, 2):
        (tmp_path / f"{number}.csv").write_text(f"x,y\n{number},0\n")
    (tmp_path / "notes.txt").write_text("not a table")
    (tmp_path / ".hidden.csv").write_text("not a table")
    sources: list[Any] = [tmp_path, tmp_path / "*.csv", [tmp_path / "2.csv", tmp_path / "9.csv"]]
    for at, source in enumerate(sources):
        import_csv(repo, source, f"p{at}", objects="file")
    assert level_of(repo, "p0").object_ids().tolist() == [2, 9, 10]
    assert level_of(repo, "p2").object_ids().tolist() == [2, 9]
    with pytest.raises(zvv.MetadataError, match="given twice"):
        import_csv(repo, [tmp_path / "2.csv", tmp_path / "2.csv"], "twice")


@pytest.mark.parametrize("source", ["nowhere.csv", "nothing/*.csv", "*.csv"])
def test_files_that_are_not_there_are_not_found(
    source: str, repo: zvv.Repository, tmp_path: Path
) -> None:
    with pytest.raises(zvv.NotFoundError):
        import_file(repo, tmp_path / source, "points", format="csv")
    with pytest.raises(zvv.NotFoundError, match="has no files"):
        import_csv(repo, tmp_path, "points")
