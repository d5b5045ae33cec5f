"""TRK, TCK and TRX: streamlines, an object each."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from _files import NIBABEL, TRACTS, cut, level_of, lines, memory

import zv_versioned as zvv
from zv_versioned.interop import export_streamlines, import_streamlines

FORMATS = ("trk", "tck", "trx")


@pytest.fixture
def repo() -> zvv.Repository:
    return memory()


def _nibabel(path: Path) -> Any:
    """What nibabel itself reads, all at once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nibabel.streamlines.load(path)


def _trx(path: Path) -> Any:
    from trx.trx_file_memmap import load

    return load(str(path))


def _bundle(repo: zvv.Repository, *, ids: list[int] | None = None) -> zvv.Level:
    """Three lines over several cells, one of them there and back, with values and groups."""
    rng = np.random.default_rng(0)
    some = [rng.uniform(0, 8, (n, 3)).astype("f4") for n in (5, 2, 40)]
    some[1] = np.array([[1, 1, 1], [7, 7, 7]], "f4")
    with repo.transaction() as tx:
        tx.create_dataset("b", kind="streamline", bounds=([0] * 3, [8] * 3), chunk_shape=(3, 3, 3))
        tx.writer("b").append_polylines_sync(
            some,
            object_ids=ids,
            attributes={
                "fa": rng.random(47).astype("f4"),
                "rgb": np.arange(141).reshape(47, 3) % 255,
            },
            object_attributes={"length": np.array([1.5, 2, 3], "f4"), "name": ["a", "b", None]},
        )
        tx.writer("b").add_group_sync("left", [0, 2] if ids is None else ids[::2])
    return level_of(repo, "b")


# ---- real files --------------------------------------------------------------


def test_a_real_tractogram_is_what_nibabel_reads(repo: zvv.Repository) -> None:
    done = import_streamlines(repo, TRACTS, "t")
    assert (done.kind, done.vertices, done.objects) == ("streamline", 14_576, 300)
    expected = [s.tolist() for s in _nibabel(TRACTS).streamlines]
    assert lines(level_of(repo, "t")) == expected
    dataset = repo.view()["t"]
    assert [axis["unit"] for axis in dataset.axes] == ["millimeter"] * 3
    assert dataset.metadata["trk"]["dimensions"] == [50, 50, 50]


@pytest.mark.parametrize("format", FORMATS)
def test_a_real_tractogram_goes_out_and_comes_in_the_same(
    format: str, repo: zvv.Repository, tmp_path: Path
) -> None:
    import_streamlines(repo, TRACTS, "t")
    out = tmp_path / f"out.{format}"
    done = export_streamlines(level_of(repo, "t"), out)
    assert (done.vertices, done.links, done.objects) == (14_576, 14_276, 300)
    import_streamlines(repo, out, "again")
    assert lines(level_of(repo, "again")) == lines(level_of(repo, "t"))


def test_the_header_of_a_trk_file_survives(repo: zvv.Repository, tmp_path: Path) -> None:
    for path in (TRACTS, NIBABEL / "standard.LPS.trk", NIBABEL / "standard.trk"):
        name = path.name.replace(".", "_")
        import_streamlines(repo, path, name)
        export_streamlines(level_of(repo, name), tmp_path / f"{name}.trk")
        before, after = _nibabel(path), _nibabel(tmp_path / f"{name}.trk")
        for key, value in before.header.items():
            np.testing.assert_array_equal(value, after.header[key], err_msg=key)
        for one, other in zip(before.streamlines, after.streamlines, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_header_of_a_tck_file_survives(repo: zvv.Repository, tmp_path: Path) -> None:
    path = NIBABEL / "multiline_header_field.tck"
    import_streamlines(repo, path, "t")
    export_streamlines(level_of(repo, "t"), tmp_path / "t.tck")
    before, after = _nibabel(path), _nibabel(tmp_path / "t.tck")
    theirs = {"file", "_offset_data", "count", "datatype", "_dtype", "nb_streamlines"}
    for key in before.header.keys() - theirs:
        np.testing.assert_array_equal(before.header[key], after.header[key], err_msg=key)


# ---- edge cases --------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "simple.trk",
        "simple.tck",
        "simple_big_endian.tck",
        "standard.trk",
        "standard.tck",
        "standard.LPS.trk",
        "complex.trk",
        "complex_big_endian.trk",
        "matlab_nan.tck",
        "multiline_header_field.tck",
    ],
)
def test_nibabels_own_files_are_read_as_nibabel_reads_them(name: str, repo: zvv.Repository) -> None:
    import_streamlines(repo, NIBABEL / name, "t")
    level = level_of(repo, "t")
    expected = _nibabel(NIBABEL / name).tractogram
    for mine, theirs in zip(lines(level), expected.streamlines, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    assert level.attribute_names == sorted(expected.data_per_point)
    assert level.object_attribute_names == sorted(expected.data_per_streamline)
    found = level.read(attributes="all")
    for key, values in expected.data_per_point.items():
        got = found.attributes[key].reshape(len(found), -1)
        np.testing.assert_array_equal(got, values.get_data())
        assert got.dtype == np.float32
    for key, values in expected.data_per_streamline.items():
        got = level.object_attribute(key)
        np.testing.assert_array_equal(got.reshape(len(values), -1), values)


@pytest.mark.parametrize("name", ["empty.trk", "empty.tck"])
def test_an_empty_file_is_said_to_be_empty(name: str, repo: zvv.Repository) -> None:
    with pytest.raises(zvv.ArrayError, match=f"{name}: no vertex is in it"):
        import_streamlines(repo, NIBABEL / name, "t")
    done = import_streamlines(repo, NIBABEL / name, "t", bounds=([0] * 3, [9] * 3))
    assert (done.vertices, done.objects) == (0, 0)


@pytest.mark.parametrize(
    "name", ["no_header_end.tck", "no_header_end_eof.tck", "no_magic_number.tck"]
)
def test_a_file_without_a_proper_header_is_refused(name: str, repo: zvv.Repository) -> None:
    with pytest.raises(zvv.ArrayError, match=f"{name} cannot be read as TCK"):
        import_streamlines(repo, NIBABEL / name, "t")
    assert repo.view("main").datasets == []


@pytest.mark.parametrize("format", FORMATS)
def test_coordinates_that_are_no_number_are_refused(
    format: str, repo: zvv.Repository, tmp_path: Path
) -> None:
    level, path = _bundle(repo), tmp_path / f"a.{format}"
    export_streamlines(level, path)
    raw, stored = path.read_bytes(), level.read(objects=[2]).positions[1]
    if format == "trk":
        stored += np.float32(0.5)  # TrackVis counts from the corner of a voxel, of 1 mm here
    spoilt = stored.copy()
    spoilt[1] = np.nan
    assert raw.count(stored.tobytes()) == 1
    path.write_bytes(raw.replace(stored.tobytes(), spoilt.tobytes()))
    with pytest.raises(zvv.ArrayError, match=rf"a\.{format}.*NaN or infinite"):
        import_streamlines(repo, path, "t")
    assert repo.view("main").datasets == ["b"]


def test_lines_without_points_are_refused_or_left_out(repo: zvv.Repository, tmp_path: Path) -> None:
    export_streamlines(_bundle(repo), tmp_path / "b.trk", attributes=[])
    head = bytearray((tmp_path / "b.trk").read_bytes()[:1000])
    head[238:240] = bytes(2)  # no properties
    head[988:992] = np.int32(3).tobytes()
    counts = [
        np.concatenate([np.array([n], "<i4").view("<f4"), np.ones(3 * n, "<f4")]) for n in (2, 0, 3)
    ]
    (tmp_path / "a.trk").write_bytes(bytes(head) + np.concatenate(counts).tobytes())
    with pytest.raises(zvv.ArrayError, match="streamline 1 has no points"):
        import_streamlines(repo, tmp_path / "a.trk", "t")
    done = import_streamlines(repo, tmp_path / "a.trk", "t", empty="skip")
    assert done.objects == 2
    with pytest.raises(zvv.MetadataError, match="'maybe'"):
        import_streamlines(repo, tmp_path / "a.trk", "u", empty="maybe")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("keep", [0, 10, 500, -1, -4, -200, -420])
def test_a_file_that_is_cut_short_is_refused(
    format: str, keep: int, repo: zvv.Repository, tmp_path: Path
) -> None:
    export_streamlines(_bundle(repo), tmp_path / f"whole.{format}")
    broken = cut(tmp_path / f"whole.{format}", tmp_path / f"7.{format}", keep=keep)
    with pytest.raises(zvv.ArrayError, match=rf"7\.{format}"):
        import_streamlines(repo, broken, "t")
    assert repo.view("main").datasets == ["b"]


@pytest.mark.parametrize("format", FORMATS)
def test_another_format_is_refused(format: str, repo: zvv.Repository, tmp_path: Path) -> None:
    (tmp_path / f"7.{format}").write_text("x,y,z\n1,2,3\n" * 100)
    with pytest.raises(zvv.ArrayError, match=rf"7\.{format} cannot be read"):
        import_streamlines(repo, tmp_path / f"7.{format}", "t")


# ---- what formats hold -------------------------------------------------------


def test_trx_keeps_values_groups_and_ids(repo: zvv.Repository, tmp_path: Path) -> None:
    level = _bundle(repo, ids=[70, 60, 50])
    done = export_streamlines(level, tmp_path / "b.trx")
    assert done.left_out == ("objects: name",)
    theirs = _trx(tmp_path / "b.trx")
    assert len(theirs.streamlines) == 3
    assert theirs.data_per_streamline["object_id"].ravel().tolist() == [50, 60, 70]
    theirs.close()
    import_streamlines(repo, tmp_path / "b.trx", "again")
    again = level_of(repo, "again")
    for number in (50, 60, 70):
        one, other = level.objects[number], again.objects[number]
        assert one.lines()[0].tolist() == other.lines()[0].tolist()
        for name in ("fa", "rgb"):
            np.testing.assert_array_equal(one.attributes[name], other.attributes[name])
    assert again.object_attribute("length").tolist() == level.object_attribute("length").tolist()
    assert {n: again.groups[n].tolist() for n in again.groups} == {"left": [50, 70]}


def test_trx_parts_are_read_apart(repo: zvv.Repository, tmp_path: Path) -> None:
    import_streamlines(repo, TRACTS, "t")
    export_streamlines(level_of(repo, "t"), tmp_path / "t.trx")
    done = import_streamlines(repo, tmp_path / "t.trx", "again", batch_vertices=1000)
    assert done.batches > 10
    assert lines(level_of(repo, "again")) == lines(level_of(repo, "t"))


def test_trk_keeps_what_float32_holds(repo: zvv.Repository, tmp_path: Path) -> None:
    level = _bundle(repo)
    done = export_streamlines(level, tmp_path / "b.trk")
    assert done.left_out == ("rgb", "objects: name", "object ids", "groups: left")
    theirs = _nibabel(tmp_path / "b.trk").tractogram
    assert list(theirs.data_per_point) == ["fa"]
    assert theirs.data_per_streamline["length"].ravel().tolist() == [1.5, 2, 3]
    import_streamlines(repo, tmp_path / "b.trk", "again")
    again = level_of(repo, "again")
    np.testing.assert_array_equal(
        level.read(attributes=["fa"]).attributes["fa"],
        again.read(attributes=["fa"]).attributes["fa"],
    )


def test_tck_says_that_it_holds_no_values(repo: zvv.Repository, tmp_path: Path) -> None:
    level = _bundle(repo)
    done = export_streamlines(level, tmp_path / "b.tck")
    assert done.left_out == (
        *("fa", "rgb", "objects: length", "objects: name", "object ids", "groups: left"),
    )
    with pytest.raises(zvv.MetadataError, match="cannot hold the attributes 'fa'"):
        export_streamlines(level, tmp_path / "c.tck", attributes=["fa"])


def test_trk_has_room_for_ten_values(repo: zvv.Repository, tmp_path: Path) -> None:
    with repo.transaction() as tx:
        tx.create_dataset("b", kind="streamline", bounds=([0] * 3, [8] * 3))
        tx.writer("b").append_polylines_sync(
            [np.ones((2, 3), "f4")],
            attributes={f"v{i}": np.zeros((2, 3), "f4") for i in range(4)},
        )
    with pytest.raises(zvv.MetadataError, match="room for 10 values of points, and there are 12"):
        export_streamlines(level_of(repo, "b"), tmp_path / "b.trk")
    export_streamlines(level_of(repo, "b"), tmp_path / "b.trk", attributes=["v0", "v1", "v2"])


def test_an_object_of_several_lines_stays_one_in_trx(repo: zvv.Repository, tmp_path: Path) -> None:
    with repo.transaction() as tx:
        tx.create_dataset("b", kind="polyline", bounds=([0] * 3, [8] * 3))
        tx.writer("b").append_polylines_sync(
            [np.full((n, 3), n, "f4") for n in (2, 3, 4)],
            object_ids=[5, 6, 5],
            object_attributes={"w": np.array([1.0, 2.0])},
        )
    export_streamlines(level_of(repo, "b"), tmp_path / "b.trx")
    done = import_streamlines(repo, tmp_path / "b.trx", "again", kind="polyline")
    level = level_of(repo, "again")
    assert (done.objects, level.object_attribute("w").tolist()) == (2, [1, 2])
    assert sorted(map(len, level.objects[5].lines())) == [2, 4]


@pytest.mark.parametrize("format", FORMATS)
def test_a_part_can_be_exported(format: str, repo: zvv.Repository, tmp_path: Path) -> None:
    import_streamlines(repo, TRACTS, "t")
    level = level_of(repo, "t")
    lo, hi = (np.asarray(side) for side in level._dataset.bounds)
    box = (lo, lo + (hi - lo) * 0.8)
    done = export_streamlines(level, tmp_path / f"p.{format}", bbox=box, objects=range(200))
    expected = level.read(bbox=box, objects=range(200))
    assert 0 < len(expected) < 14_576
    assert (done.vertices, done.links) == (len(expected), len(expected.edges))
    import_streamlines(repo, tmp_path / f"p.{format}", "part")
    got = sorted(lines(level_of(repo, "part")))
    assert got == sorted(line.tolist() for line in expected.lines())


def test_nothing_is_no_trx_file_but_an_empty_trk(repo: zvv.Repository, tmp_path: Path) -> None:
    level = _bundle(repo)
    box = ([7.9999] * 3, [8] * 3)
    with pytest.raises(zvv.MetadataError, match="no line"):
        export_streamlines(level, tmp_path / "n.trx", bbox=box)
    assert list(tmp_path.iterdir()) == []
    for format in ("trk", "tck"):
        export_streamlines(level, tmp_path / f"n.{format}", bbox=box)
        assert len(_nibabel(tmp_path / f"n.{format}").streamlines) == 0


def test_what_is_no_line_is_refused(repo: zvv.Repository, tmp_path: Path) -> None:
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0] * 3, [8] * 3))
    with pytest.raises(zvv.MetadataError, match="'point_cloud'"):
        export_streamlines(level_of(repo, "p"), tmp_path / "p.trk")
    with pytest.raises(zvv.MetadataError, match="streamlines are written as"):
        export_streamlines(_bundle(repo), tmp_path / "p.vtk")


def test_a_header_that_was_spoilt_is_said(repo: zvv.Repository, tmp_path: Path) -> None:
    import_streamlines(repo, TRACTS, "t")
    with repo.transaction() as tx:
        tx.writer("t").set_metadata_sync({"trk": {"dimensions": ["a", "b"]}})
    with pytest.raises(zvv.MetadataError, match="'dimensions', which is none"):
        export_streamlines(level_of(repo, "t"), tmp_path / "t.trk")
