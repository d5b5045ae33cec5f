"""The front door: formats by name, options, extras, and what is public."""

from __future__ import annotations

import builtins
import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _files import NAVIS, TRACTS, level_of, memory

import zv_versioned as zvv
from zv_versioned import interop
from zv_versioned.interop import FORMATS, export_file, import_file, scan_file

NAMES = [
    "FORMATS",
    "ExportOptions",
    "ExportResult",
    "FileInfo",
    "Format",
    "ImportOptions",
    "ImportResult",
    "Progress",
    "export_csv",
    "export_file",
    "export_geojson",
    "export_las",
    "export_meshes",
    "export_parquet",
    "export_streamlines",
    "export_swc",
    "export_zarr_vectors",
    "import_csv",
    "import_distributed",
    "import_file",
    "import_geojson",
    "import_las",
    "import_meshes",
    "import_parquet",
    "import_streamlines",
    "import_swc",
    "import_zarr_vectors",
    "scan_file",
]
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "files.md").read_text(encoding="utf-8")


def _small(repo: zvv.Repository) -> dict[str, zvv.Level]:
    """A small level for each format."""
    box: Any = ([0, 0, 0], [8, 8, 8])
    nodes = np.array([[1, 1, 1], [2, 2, 2], [7, 1, 1]], "f4")
    with repo.transaction() as tx:
        for kind in ("point_cloud", "polyline", "skeleton", "mesh"):
            tx.create_dataset(kind, kind=kind, bounds=box)
        tx.writer("point_cloud").append_vertices_sync(nodes, object_ids=5)
        tx.writer("polyline").append_polylines_sync([nodes], object_ids=[0])
        tx.writer("skeleton").append_graph_sync(nodes, [[1, 0], [2, 0]], object_ids=5)
        tx.writer("mesh").append_mesh_sync(nodes, [[0, 1, 2]], object_ids=5)
    points, lines = level_of(repo, "point_cloud"), level_of(repo, "polyline")
    tables = dict.fromkeys(("csv", "parquet", "las", "geojson"), points)
    tracts = dict.fromkeys(("trk", "tck", "trx"), lines)
    meshes = dict.fromkeys(("obj", "ply", "stl"), level_of(repo, "mesh"))
    others = {"swc": level_of(repo, "skeleton"), "zarr_vectors": points}
    return {**tables, **tracts, **meshes, **others}


# ---- what is public ----------------------------------------------------------


def test_the_public_names_are_these() -> None:
    assert interop.__all__ == NAMES
    assert [name for name in NAMES if not hasattr(interop, name)] == []
    assert zvv.interop is interop


@pytest.mark.parametrize("name", NAMES[1:])
def test_everything_public_is_explained(name: str) -> None:
    assert inspect.getdoc(getattr(interop, name))


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith(("import_", "export_"))])
def test_every_function_takes_the_same_first_arguments(name: str) -> None:
    parameters = list(inspect.signature(getattr(interop, name)).parameters.values())
    expected = ["repo", "source", "dataset"] if name.startswith("import_") else ["level", "target"]
    assert [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD] == expected
    assert parameters[-1].name == "options"


def test_every_common_option_is_explained() -> None:
    for options in (interop.ImportOptions, interop.ExportOptions):
        text = inspect.getdoc(options) or ""
        assert [n for n in options.__annotations__ if not re.search(rf"\b{n}\b", text)] == []


# ---- formats -----------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_goes_out_and_comes_in(name: str, tmp_path: Path) -> None:
    repo = memory()
    level = _small(repo)[name]
    target = tmp_path / f"5{FORMATS[name].suffixes[0]}"
    out = export_file(level, target)
    assert out.format == name
    info = scan_file(target)
    done = import_file(repo, target, "again")
    assert (info.format, info.kind, info.vertices) == (name, done.kind, 3)
    assert (done.vertices, done.links) == (out.vertices, out.links)
    assert level_of(repo, "again").vertex_count == 3


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_refuses_what_is_empty(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"5{FORMATS[name].suffixes[0]}"
    path.write_bytes(b"")
    repo = memory()
    with pytest.raises(zvv.ZVError, match=f"5{FORMATS[name].suffixes[0]}"):
        import_file(repo, path, "x")
    assert repo.view("main").datasets == []


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_refuses_another_ones_files(name: str, tmp_path: Path) -> None:
    """A tractogram, or text, under the name of a file of this format."""
    repo = memory()
    for raw in (TRACTS.read_bytes()[:5000], b"hello\n"):
        path = tmp_path / f"5{FORMATS[name].suffixes[0]}"
        path.write_bytes(raw)
        with pytest.raises(zvv.ZVError, match=f"5{FORMATS[name].suffixes[0]}"):
            import_file(repo, path, "x")
    assert repo.view("main").datasets == []


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_in_the_docs(name: str) -> None:
    assert f"`{name}`" in PAGE
    for suffix in FORMATS[name].suffixes:
        assert f"`{suffix}`" in PAGE
    for option in (*FORMATS[name].import_options, *FORMATS[name].export_options):
        assert f"`{option}" in PAGE, option


def test_a_format_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "table.txt"
    path.write_text("x,y\n1,2\n")
    repo = memory()
    with pytest.raises(zvv.MetadataError, match=r"'table\.txt' has the suffix of no known format"):
        import_file(repo, path, "p")
    assert import_file(repo, path, "p", format="csv").vertices == 1
    with pytest.raises(zvv.MetadataError, match="'xlsx' is unknown; choose one of csv, "):
        import_file(repo, path, "q", format="xlsx")
    assert export_file(level_of(repo, "p"), tmp_path / "out.txt", format="csv").vertices == 1
    with pytest.raises(zvv.MetadataError, match="'xlsx' is unknown"):
        export_file(level_of(repo, "p"), tmp_path / "out.txt", format="xlsx")


def test_a_folder_has_the_format_of_its_files(tmp_path: Path) -> None:
    repo = memory()
    assert import_file(repo, NAVIS / "swc", "s").format == "swc"
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "a.swc").write_text("1 1 0 0 0 1 -1\n")
    with pytest.raises(zvv.MetadataError, match="several formats: csv, swc"):
        import_file(repo, tmp_path, "x")
    (tmp_path / "none").mkdir()
    with pytest.raises(zvv.NotFoundError, match="no file of a known format"):
        import_file(repo, tmp_path / "none", "x")


def test_an_option_that_a_format_lacks_is_said(tmp_path: Path) -> None:
    repo = memory()
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    with pytest.raises(zvv.MetadataError, match=r"importing csv has no option 'scale'; it has: "):
        import_file(repo, tmp_path / "a.csv", "p", scale=1)
    import_file(repo, tmp_path / "a.csv", "p")
    with pytest.raises(zvv.MetadataError, match="exporting csv has no option 'append'"):
        export_file(level_of(repo, "p"), tmp_path / "b.csv", append=True)
    with pytest.raises(zvv.MetadataError, match="no option 'branch'"):
        scan_file(tmp_path / "a.csv", branch="main")


# ---- extras ------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n, f in FORMATS.items() if f.extra])
def test_what_is_not_installed_is_said_with_the_line_that_installs_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = memory()
    level = _small(repo)[name]
    target = tmp_path / f"5{FORMATS[name].suffixes[0]}"
    export_file(level, target)
    real = builtins.__import__
    missing = {"arrow": "pyarrow", "las": "laspy", "meshes": "trimesh", "streamlines": "nibabel"}
    package = "trx" if name == "trx" else missing[FORMATS[name].extra]

    def without(module: str, *arguments: Any, **more: Any) -> Any:
        if module.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        return real(module, *arguments, **more)

    monkeypatch.setattr("zv_versioned.interop._extras.import_module", without)
    line = rf"python -m pip install 'zv-versioned\[{FORMATS[name].extra}\]'"
    with pytest.raises(zvv.MissingExtraError, match=line):
        import_file(repo, target, "x")
    if name not in ("obj", "ply", "stl", "trx"):  # these are written without help
        with pytest.raises(zvv.MissingExtraError, match=line):
            export_file(level, tmp_path / f"6.{name}")


def test_every_extra_is_one_of_the_project() -> None:
    text = (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    for format in FORMATS.values():
        assert not format.extra or f"\n{format.extra} = [" in text


# ---- scan --------------------------------------------------------------------


def test_a_scan_tells_what_an_import_would_be(tmp_path: Path) -> None:
    info = scan_file(NAVIS / "swc")
    assert (info.format, info.kind, info.files, info.vertices) == ("swc", "skeleton", 5, 23_221)
    assert info.attributes == ("node_id", "radius", "type")
    assert (info.ndim, info.dtype, info.batches) == (3, "float64", 1)
    repo = memory()
    done = import_file(repo, NAVIS / "swc", "s")
    assert (done.vertices, done.batches) == (info.vertices, info.batches)
    assert repo.view()["s"].bounds == info.bounds


def test_a_scan_finds_what_is_broken(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n3\n")
    with pytest.raises(zvv.ArrayError, match="row 3"):
        scan_file(tmp_path / "a.csv")
