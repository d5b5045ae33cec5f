"""OBJ, PLY and STL: meshes, an object a file."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _files import NAVIS, NEURONS, cut, level_of, memory, points, triangles

import zv_versioned as zvv
from zv_versioned.interop import export_meshes, import_meshes

REAL = NAVIS / "obj"
VOLUME = NAVIS / "volumes" / "lh.obj"


@pytest.fixture
def repo() -> zvv.Repository:
    return memory()


def _cube(repo: zvv.Repository, dtype: str = "float32") -> zvv.Level:
    """A cube over several cells, with values of vertices and of faces; object 7."""
    corners = np.array([[x, y, z] for x in (1, 7) for y in (1, 7) for z in (1, 7)], dtype)
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [t for a, b, c, d in sides for t in ((a, b, c), (a, c, d))]
    with repo.transaction() as tx:
        tx.create_dataset(
            "cube", kind="mesh", bounds=([0, 0, 0], [8, 8, 8]), chunk_shape=(4, 4, 4),
            vertex_dtype=dtype, axes=[{"name": n, "unit": "micrometer"} for n in "xyz"],
        )  # fmt: skip
        tx.writer("cube").append_mesh_sync(
            corners,
            faces,
            object_ids=7,
            attributes={"score": np.linspace(0, 1, 8, dtype="f4"), "id": np.arange(8, dtype="i8")},
            face_attributes={"side": np.arange(12, dtype="u2"), "note": ["x"] * 12},
        )
    return level_of(repo, "cube")


def _by_face(level: zvv.Level, name: str) -> list[tuple[Any, ...]]:
    found = level.read(link_attributes=[name])
    at = found.positions[found.faces].tolist()
    values = found.link_attributes[name].tolist()
    return sorted((sorted(map(tuple, corners)), v) for corners, v in zip(at, values, strict=True))


# ---- real files --------------------------------------------------------------


def test_real_meshes_go_out_and_come_in_the_same_in_every_format(
    repo: zvv.Repository, tmp_path: Path
) -> None:
    done = import_meshes(repo, REAL, "meshes", dtype="float32", unit="nanometer")
    assert (done.files, done.vertices, done.links, done.objects) == (5, 33_202, 68_555, 5)
    level = level_of(repo, "meshes")
    assert sorted(level.object_ids().tolist()) == sorted(NEURONS)
    expected = {number: triangles(level.objects[number]) for number in NEURONS}
    for format in ("obj", "ply", "stl"):
        out = export_meshes(level, tmp_path / format, format=format)
        assert (out.files, out.vertices, out.links) == (5, 33_202, 68_555)
        dtype: Any = {"dtype": "float32"} if format == "obj" else {}
        import_meshes(repo, tmp_path / format, format, **dtype)
        again = level_of(repo, format)
        assert again.vertex_count == 33_202
        for number in NEURONS:
            assert triangles(again.objects[number]) == expected[number]


def test_vertices_are_those_of_the_file(repo: zvv.Repository) -> None:
    import_meshes(repo, VOLUME, "lh")
    lines = VOLUME.read_text().splitlines()
    expected = [tuple(map(float, s.split()[1:])) for s in lines if s.startswith("v ")]
    level = level_of(repo, "lh")
    assert points(level.read()) == sorted(expected)
    assert level.object_attribute("name").tolist() == ["lh"]
    assert repo.view()["lh"].vertex_dtype == np.float64


# ---- what formats hold -------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ply_keeps_values_of_vertices_and_faces_the_unit_and_the_dtype(
    dtype: str, repo: zvv.Repository, tmp_path: Path
) -> None:
    level = _cube(repo, dtype)
    done = export_meshes(level, tmp_path / "7.ply")
    assert done.left_out == ("id", "faces: note")
    import_meshes(repo, tmp_path / "7.ply", "again")
    again = level_of(repo, "again")
    assert triangles(again.read()) == triangles(level.read())
    assert again.positions().dtype == dtype
    assert again.attribute("score").dtype == np.float32
    assert again.link_attribute("side").dtype == np.uint16
    assert _by_face(again, "side") == _by_face(level, "side")
    assert [axis["unit"] for axis in repo.view()["again"].axes] == ["micrometer"] * 3
    assert repo.view()["again"].metadata == {"ply": {"comments": ["unit micrometer"]}}


@pytest.mark.parametrize("format", ["obj", "stl"])
def test_the_others_say_what_they_leave_out(
    format: str, repo: zvv.Repository, tmp_path: Path
) -> None:
    done = export_meshes(_cube(repo), tmp_path / f"7.{format}")
    assert done.left_out == ("id", "score", "faces: note", "faces: side")
    import_meshes(repo, tmp_path / f"7.{format}", "again")
    assert triangles(level_of(repo, "again").read()) == triangles(level_of(repo, "cube").read())


def test_an_attribute_that_cannot_be_held_is_refused_where_it_is_asked_for(
    repo: zvv.Repository, tmp_path: Path
) -> None:
    with pytest.raises(zvv.MetadataError, match="cannot hold the attributes 'id'"):
        export_meshes(_cube(repo), tmp_path / "7.ply", attributes=["id"])


def test_a_box_keeps_the_faces_that_lie_in_it(repo: zvv.Repository, tmp_path: Path) -> None:
    level = _cube(repo)
    box = ([0, 0, 0], [8, 8, 4])
    done = export_meshes(level, tmp_path / "part.ply", bbox=box)
    assert (done.vertices, done.links) == (4, len(level.read(bbox=box).faces))
    import_meshes(repo, tmp_path / "part.ply", "part", bounds=([0, 0, 0], [8, 8, 8]))
    assert points(level_of(repo, "part").read()) == points(level.read(bbox=box))


# ---- formats as others write them --------------------------------------------


def _ply(folder: Path, head: str, body: bytes, name: str = "a.ply") -> Path:
    (folder / name).write_bytes(f"ply\n{head}end_header\n".encode() + body)
    return folder / name


_VERTEX = "element vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
_FACE = "element face 2\nproperty list uchar int vertex_indices\n"
_SQUARE = [0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 1, 0]


@pytest.mark.parametrize("endian", ["little", "big"])
def test_binary_ply_is_read_in_either_order_of_bytes(
    endian: str, repo: zvv.Repository, tmp_path: Path
) -> None:
    sign = "<" if endian == "little" else ">"
    body = struct.pack(f"{sign}12f", *_SQUARE)
    body += struct.pack(f"{sign}B3iB3i", 3, 0, 1, 2, 3, 0, 2, 3)
    head = f"format binary_{endian}_endian 1.0\n{_VERTEX}{_FACE}"
    import_meshes(repo, _ply(tmp_path, head, body), "m")
    assert triangles(level_of(repo, "m").read()) == [
        ((0, 0, 0), (1, 0, 0), (1, 1, 0)),
        ((0, 0, 0), (1, 1, 0), (0, 1, 0)),
    ]


def test_ascii_ply_is_read_with_its_properties(repo: zvv.Repository, tmp_path: Path) -> None:
    head = "format ascii 1.0\ncomment made by hand\nelement vertex 3\nproperty double x\n"
    head += "property double y\nproperty double z\nproperty uchar red\nelement face 1\n"
    head += "property list uchar int vertex_index\nproperty short label\n"
    body = b"0 0 0 1\n1 0 0 2\n1 1 0 3\n3 0 1 2 -7\n"
    import_meshes(repo, _ply(tmp_path, head, body), "m")
    level = level_of(repo, "m")
    assert level.positions().dtype == np.float64
    assert sorted(level.attribute("red")) == [1, 2, 3]
    assert level.link_attribute("label").tolist() == [-7]
    assert repo.view()["m"].metadata == {"ply": {"comments": ["made by hand"]}}
    import_meshes(repo, tmp_path / "a.ply", "bare", attributes=[])
    assert level_of(repo, "bare").attribute_names == []


def test_ply_without_faces_is_points(repo: zvv.Repository, tmp_path: Path) -> None:
    head = "format ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\n"
    head += "property float z\nproperty float score\n"
    done = import_meshes(repo, _ply(tmp_path, head, b"0 0 0 0.5\n1 2 3 0.25\n", "9.ply"), "p")
    assert (done.kind, done.vertices) == ("point_cloud", 2)
    assert points(level_of(repo, "p").objects[9]) == [(0, 0, 0), (1, 2, 3)]


def test_polygons_become_triangles(repo: zvv.Repository, tmp_path: Path) -> None:
    (tmp_path / "1.obj").write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf 1/1 2/2 3/3 4/4\n")
    done = import_meshes(repo, tmp_path / "1.obj", "m")
    assert (done.vertices, done.links) == (4, 2)


def test_texture_does_not_split_vertices(repo: zvv.Repository, tmp_path: Path) -> None:
    text = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 1\nvt 0 1\nvt 1 0\n"
    (tmp_path / "1.obj").write_text(text + "f 1/1 2/2 3/3\nf 1/2 3/3 4/4\n")
    done = import_meshes(repo, tmp_path / "1.obj", "m")
    assert (done.vertices, done.links) == (4, 2)


def test_values_of_polygons_are_refused_or_left_out(repo: zvv.Repository, tmp_path: Path) -> None:
    head = f"format ascii 1.0\n{_VERTEX}element face 1\n"
    head += "property list uchar int vertex_indices\nproperty short label\n"
    path = _ply(tmp_path, head, b"0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3 -7\n")
    with pytest.raises(zvv.ArrayError, match="polygons of more than three corners"):
        import_meshes(repo, path, "m")
    assert import_meshes(repo, path, "m", attributes=[]).links == 2


def test_corners_of_stl_at_one_place_are_one_vertex(repo: zvv.Repository, tmp_path: Path) -> None:
    text = "solid x\n"
    for corners in ("0 0 0|1 0 0|1 1 0", "-0 0 0|1 1 0|0 1 0"):
        vertices = "\n".join(f"vertex {c}" for c in corners.split("|"))
        text += f"facet normal 0 0 1\nouter loop\n{vertices}\nendloop\nendfacet\n"
    (tmp_path / "1.stl").write_text(text + "endsolid x\n")
    done = import_meshes(repo, tmp_path / "1.stl", "m")
    assert (done.vertices, done.links) == (4, 2)


def test_stl_has_normals_that_point_outward(repo: zvv.Repository, tmp_path: Path) -> None:
    import trimesh

    export_meshes(_cube(repo), tmp_path / "7.stl")
    mesh = trimesh.load(tmp_path / "7.stl")
    raw = np.frombuffer((tmp_path / "7.stl").read_bytes()[84:], [("n", "<f4", 3), ("_", "V38")])
    np.testing.assert_allclose(raw["n"], mesh.face_normals, atol=1e-6)


# ---- broken files ------------------------------------------------------------


@pytest.mark.parametrize("format", ["ply", "stl"])
@pytest.mark.parametrize("keep", [0, 50, 200, 3000, -1, -30])
def test_a_file_that_is_cut_short_is_refused(
    format: str, keep: int, repo: zvv.Repository, tmp_path: Path
) -> None:
    import_meshes(repo, VOLUME, "lh", dtype="float32")
    export_meshes(level_of(repo, "lh"), tmp_path / f"whole.{format}")
    broken = cut(tmp_path / f"whole.{format}", tmp_path / f"7.{format}", keep=keep)
    with pytest.raises(zvv.ArrayError, match=rf"7\.{format}"):
        import_meshes(repo, broken, "broken")
    assert repo.view("main").datasets == ["lh"]


@pytest.mark.parametrize("keep", [0, 100, 5004, 12_003])
def test_a_real_obj_that_is_cut_within_a_line_is_refused(
    keep: int, repo: zvv.Repository, tmp_path: Path
) -> None:
    broken = cut(VOLUME, tmp_path / "7.obj", keep=keep)
    with pytest.raises(zvv.ArrayError, match=r"7\.obj"):
        import_meshes(repo, broken, "m")
    assert repo.view("main").datasets == []


@pytest.mark.parametrize(
    "text",
    [
        "v 0 0 0\nv 1 0 0\nv 1 1 0\nf 1 2 3\nf 1 2\n",
        "v 0 0 0\nv 1 0 0\nv 1 1 0\nf 1 2 9\n",
        "v 0 0 0\nv 1 0 0\nv 1 1\n",
        "v 0 0 0\nv 1 0 0\nv 1 1 0\n",
        "v 0 0 nan\nv 1 0 0\nv 1 1 0\nf 1 2 3\n",
        "f 1 2 3\n",
        "x,y,z\n1,2,3\n",
    ],
)
def test_what_is_no_mesh_is_refused(text: str, repo: zvv.Repository, tmp_path: Path) -> None:
    (tmp_path / "7.obj").write_text(text)
    with pytest.raises(zvv.ArrayError, match=r"7\.obj"):
        import_meshes(repo, tmp_path / "7.obj", "m")
    assert repo.view("main").datasets == []


def test_formats_are_not_mixed(repo: zvv.Repository, tmp_path: Path) -> None:
    export_meshes(_cube(repo), tmp_path / "7.stl")
    export_meshes(_cube(memory()), tmp_path / "8.ply")
    with pytest.raises(zvv.MetadataError, match="several formats"):
        import_meshes(repo, tmp_path, "m")
    with pytest.raises(zvv.MetadataError, match="is none of obj, ply and stl"):
        export_meshes(level_of(repo, "cube"), tmp_path / "out", format="off")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0, 0], [1, 1, 1]))
    with pytest.raises(zvv.MetadataError, match="'point_cloud'"):
        export_meshes(level_of(repo, "p"), tmp_path / "p.ply")


@pytest.mark.parametrize("suffix", ["obj", "ply", "stl"])
def test_faces_that_name_a_vertex_twice_go_out_and_come_in(
    repo: zvv.Repository, tmp_path: Path, suffix: str
) -> None:
    corners = np.array([[0, 0, 0], [4, 0, 0], [0, 4, 0], [4, 4, 0]], "f4")
    faces = [[0, 1, 2], [1, 3, 3], [2, 1, 3], [3, 3, 3]]
    with repo.transaction() as tx:
        tx.create_dataset("m", kind="mesh", bounds=([0] * 3, [9] * 3), chunk_shape=[3] * 3)
        tx.writer("m").append_mesh_sync(corners, faces)
    level = repo.view()["m"][0]
    export_meshes(level, tmp_path / f"a.{suffix}")
    import_meshes(repo, tmp_path / f"a.{suffix}", "again", bounds=([0] * 3, [9] * 3))
    again = repo.view()["again"][0]

    def shape(level: zvv.Level) -> list[list[list[float]]]:
        return sorted(level.positions()[level.faces()].tolist())

    assert shape(level) == sorted(corners[faces].tolist())
    assert shape(again) == shape(level)
    repo.compact()
    assert shape(repo.view()["m"][0]) == shape(level)
    assert repo.fsck().ok
