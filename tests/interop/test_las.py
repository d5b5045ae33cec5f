"""LAS and LAZ: points of laser scanners."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import laspy
import numpy as np
import pytest
from _files import cut, level_of, memory, points

import zv_versioned as zvv
from zv_versioned.interop import export_las, import_las


@pytest.fixture
def repo() -> zvv.Repository:
    return memory()


def _scan(path: Path, n: int = 500, *, point_format: int = 3, seed: int = 0, **header: Any) -> Path:
    """A scan with colours, returns, a record of the user's, and an extra dimension."""
    rng = np.random.default_rng(seed)
    made = laspy.LasHeader(point_format=point_format, version="1.4" if point_format > 5 else "1.2")
    made.scales, made.offsets = [0.01, 0.01, 0.001], [100, 200, 0]
    made.add_extra_dim(laspy.ExtraBytesParams(name="planarity", type=np.float32))
    made.vlrs.append(laspy.VLR("somebody", 17, "a note", b"kept as it is"))
    for name, value in header.items():
        setattr(made, name, value)
    las = laspy.LasData(made)
    las.x = rng.uniform(100, 150, n)
    las.y = rng.uniform(200, 260, n)
    las.z = rng.uniform(0, 5, n)
    las.intensity = rng.integers(0, 65_536, n)
    las.classification = rng.integers(0, 5, n)
    las.return_number = rng.integers(1, 5, n)
    las.planarity = rng.random(n).astype("f4")
    if point_format == 3:
        las.red = rng.integers(0, 65_536, n)
    las.gps_time = rng.random(n)
    las.write(path)
    return path


@pytest.mark.parametrize("suffix", ["las", "laz"])
@pytest.mark.parametrize("point_format", [3, 6])
def test_a_scan_goes_out_as_it_came_in(
    suffix: str, point_format: int, repo: zvv.Repository, tmp_path: Path
) -> None:
    path = _scan(tmp_path / f"a.{suffix}", point_format=point_format)
    done = import_las(repo, path, "scan", batch_vertices=150)
    assert (done.vertices, done.objects, done.batches) == (500, 1, 4)
    out = export_las(level_of(repo, "scan"), tmp_path / f"out.{suffix}")
    assert out.left_out == ("object ids",)  # a LAS file is an object by its name
    before, after = laspy.read(path), laspy.read(tmp_path / f"out.{suffix}")
    np.testing.assert_array_equal(np.sort(before.points.array), np.sort(after.points.array))
    for name in ("scales", "offsets", "mins", "maxs"):
        np.testing.assert_array_equal(getattr(before.header, name), getattr(after.header, name))
    for name in ("version", "point_format", "system_identifier", "point_count"):
        assert getattr(before.header, name) == getattr(after.header, name)
    kept = [v for v in after.header.vlrs if getattr(v, "user_id", "") == "somebody"]
    assert [v.record_data for v in kept] == [b"kept as it is"]


def test_dimensions_become_attributes_of_their_type(repo: zvv.Repository, tmp_path: Path) -> None:
    path = _scan(tmp_path / "a.las")
    import_las(repo, path, "scan")
    found = level_of(repo, "scan").read(attributes="all")
    las = laspy.read(path)
    order, other = np.lexsort(found.positions.T), np.lexsort(np.stack([las.x, las.y, las.z]))
    np.testing.assert_array_equal(found.positions[order], las.xyz[other])
    for name, dtype in (("intensity", "u2"), ("return_number", "u1"), ("planarity", "f4")):
        assert found.attributes[name].dtype == dtype
        np.testing.assert_array_equal(found.attributes[name][order], np.asarray(las[name])[other])
    assert repo.view()["scan"].metadata["las"]["point_format"] == 3


def test_attributes_can_be_chosen_and_renamed(repo: zvv.Repository, tmp_path: Path) -> None:
    path = _scan(tmp_path / "a.las")
    import_las(repo, path, "some", attributes=["intensity"])
    import_las(repo, path, "named", attributes={"classification": "class"})
    assert level_of(repo, "some").attribute_names == ["intensity"]
    assert level_of(repo, "named").attribute_names == ["class"]
    with pytest.raises(zvv.NotFoundError, match="no column 'x'"):
        import_las(repo, path, "none", attributes=["x"])


def test_a_file_is_an_object_under_its_number(repo: zvv.Repository, tmp_path: Path) -> None:
    for number in (12, 7):
        _scan(tmp_path / f"{number}.las", 50, seed=number)
    import_las(repo, tmp_path, "scan")
    level = level_of(repo, "scan")
    assert level.object_ids().tolist() == [7, 12]
    assert len(level.objects[7]) == 50
    export_las(level, tmp_path / "both.las")
    import_las(repo, tmp_path / "both.las", "again")
    again = level_of(repo, "again")
    assert sorted(again.object_ids().tolist()) == [7, 12]
    assert points(again.objects[12]) == points(level.objects[12])


@pytest.mark.parametrize(("objects", "count"), [("each", 50), (4, 1)])
def test_points_may_be_objects(
    objects: Any, count: int, repo: zvv.Repository, tmp_path: Path
) -> None:
    import_las(repo, _scan(tmp_path / "a.las", 50), "scan", objects=objects)
    assert level_of(repo, "scan").num_objects == count


def test_what_never_was_a_scan_gets_a_header_of_its_own(
    repo: zvv.Repository, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    positions = rng.uniform(-1000, 1000, (200, 3)).astype("f4")
    values = {
        "intensity": rng.integers(0, 1000, 200).astype("u2"),
        "score": rng.random(200),
        "good": rng.random(200) > 0.5,
        "normal": rng.random((200, 3)).astype("f4"),
        "note": rng.choice(["a", "b"], 200),
        "matrix": np.zeros((200, 9)),
    }
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([-1000] * 3, [1000] * 3))
        tx.writer("p").append_vertices_sync(positions, object_ids=1, attributes=values)
    level = level_of(repo, "p")
    done = export_las(level, tmp_path / "p.laz")
    assert done.left_out == ("matrix", "note", "object ids")
    las = laspy.read(tmp_path / "p.laz")
    assert abs(np.sort(las.x) - np.sort(positions[:, 0])).max() <= las.header.scales[0] / 2
    assert las.header.scales[0] <= 1e-6
    order = np.lexsort(np.stack([las.x, las.y, las.z]))
    mine = np.lexsort(positions.T)
    for name in ("intensity", "score", "good", "normal"):
        np.testing.assert_array_equal(np.asarray(las[name])[order], values[name][mine])
    with pytest.raises(zvv.MetadataError, match="cannot hold the attributes 'note'"):
        export_las(level, tmp_path / "q.las", attributes=["note"])


def test_what_does_not_fit_is_refused(repo: zvv.Repository, tmp_path: Path) -> None:
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0] * 3, [1e4] * 3))
        tx.writer("p").append_vertices_sync(
            np.full((1, 3), 1e4, "f4"), attributes={"intensity": np.array([70_000])}
        )
    level = level_of(repo, "p")
    with pytest.raises(zvv.ArrayError, match=r"'intensity' does not fit.*70000"):
        export_las(level, tmp_path / "p.las")
    with pytest.raises(zvv.ArrayError, match="do not fit 32 bits"):
        export_las(level, tmp_path / "p.las", scale=1e-9, attributes=[])
    with pytest.raises(zvv.MetadataError, match="positive number"):
        export_las(level, tmp_path / "p.las", scale=0)
    assert list(tmp_path.iterdir()) == []


def test_there_must_be_three_axes(repo: zvv.Repository, tmp_path: Path) -> None:
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [1, 1]))
    with pytest.raises(zvv.MetadataError, match="three axes"):
        export_las(level_of(repo, "p"), tmp_path / "p.las")


@pytest.mark.parametrize("suffix", ["las", "laz"])
@pytest.mark.parametrize("keep", [0, 3, 100, 400, 3000, -1, -40])
def test_a_file_that_is_cut_short_is_refused(
    suffix: str, keep: int, repo: zvv.Repository, tmp_path: Path
) -> None:
    broken = cut(_scan(tmp_path / f"a.{suffix}"), tmp_path / f"b.{suffix}", keep=keep)
    with pytest.raises(zvv.ArrayError, match=rf"b\.{suffix}"):
        import_las(repo, broken, "p")
    assert repo.view("main").datasets == []


def test_a_file_with_fewer_points_than_it_says_is_refused(
    repo: zvv.Repository, tmp_path: Path
) -> None:
    path = _scan(tmp_path / "a.las")
    size = laspy.read(path).header.point_format.size
    with pytest.raises(zvv.ArrayError, match=r"500 points|cut short"):
        import_las(repo, cut(path, tmp_path / "b.las", keep=-10 * size), "p")
    assert repo.view("main").datasets == []


def test_another_format_is_no_las(repo: zvv.Repository, tmp_path: Path) -> None:
    (tmp_path / "a.las").write_text("x,y,z\n1,2,3\n")
    with pytest.raises(zvv.ArrayError, match=r"a\.las cannot be read as LAS"):
        import_las(repo, tmp_path / "a.las", "p")


def test_an_empty_scan_is_said_to_be_empty(repo: zvv.Repository, tmp_path: Path) -> None:
    path = _scan(tmp_path / "a.las", 0)
    with pytest.raises(zvv.ArrayError, match="no vertex"):
        import_las(repo, path, "p")


def test_a_header_that_was_spoilt_is_said(repo: zvv.Repository, tmp_path: Path) -> None:
    import_las(repo, _scan(tmp_path / "a.las"), "p")
    with repo.transaction() as tx:
        tx.writer("p").set_metadata_sync({"las": {"header": "bm90IGE="}})
    with pytest.raises(zvv.MetadataError, match="'las' has no header"):
        export_las(level_of(repo, "p"), tmp_path / "b.las")
