"""OBJ, PLY and STL files: meshes, an object a file.

They are read with trimesh. They are written here, since trimesh keeps neither
comments nor the values of faces, and PLY can hold both.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Unpack

import numpy as np

from ..errors import ArrayError, MetadataError
from ..format.metadata import MESHES
from ._export import ExportOptions, ExportResult, Part, Selected
from ._extras import need
from ._files import Paths, files_of, given_ids, made, reading
from ._import import ImportResult, import_source
from ._into import ImportOptions, Into
from ._objects import one_by_one
from ._pieces import BATCH_VERTICES, Piece, Source, grouped

if TYPE_CHECKING:
    from ..geometry import Geometry
    from ..level import Level
    from ..repository import Repository

__all__ = ["export_meshes", "import_meshes", "open_meshes"]

SUFFIXES = (".obj", ".ply", ".stl")
_FILES_A_PART = 16
_PLY_TYPES = {
    "i1": "char", "u1": "uchar", "i2": "short", "u2": "ushort",
    "i4": "int", "u4": "uint", "f4": "float", "f8": "double",
}  # fmt: skip
_STL_FACE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("flags", "<u2")])
_UNIT = "unit "


def import_meshes(
    repo: Repository,
    source: Paths,
    dataset: str,
    *,
    object_ids: Sequence[int] | Mapping[str, int] | None = None,
    attributes: Sequence[str] | None = None,
    batch_vertices: int = BATCH_VERTICES,
    **options: Unpack[ImportOptions],
) -> ImportResult:
    """Import meshes from OBJ, PLY or STL files; PLY files without faces are points.

    Parameters
    ----------
    repo : Repository
    source : path, or sequence of paths
        Files, folders or patterns, all of one format. A file is held in memory as
        a whole.
    dataset : str
    object_ids : sequence of int, or mapping of str to int, optional
        The id of each file, in their order or by name. Left out, the numbers that
        the files are called; where not all are numbers, ids are counted on, and the
        object attribute ``name`` has the names.
    attributes : sequence of str, optional
        Which properties of a PLY file's vertices and faces become attributes; all
        where left out.
    batch_vertices : int
        Vertices, about, that are appended at a time.
    **options
        Those of all imports: :class:`ImportOptions`. Coordinates of PLY and STL files
        keep their dtype, those of OBJ files are float64 unless ``dtype`` says
        otherwise.

    Returns
    -------
    ImportResult

    Raises
    ------
    NotFoundError
        If a file is not there.
    MissingExtraError
        If trimesh is not installed.
    ArrayError
        If a file cannot be read, is cut short, or a face names a vertex that is not
        there. Nothing is committed.

    Notes
    -----
    Polygons become triangles. Of OBJ files groups, materials and textures are left
    out; of STL files corners at the very same place become one vertex, and normals,
    which follow from the corners, are left out. Comments of the first PLY file are
    kept in the dataset's metadata, ``ply: {comments: […]}``; one that says
    ``unit nanometer`` gives the unit.
    """
    opened = open_meshes(
        source, object_ids=object_ids, attributes=attributes, batch_vertices=batch_vertices
    )
    return import_source(repo, opened, dataset, Into(**options))


def open_meshes(
    source: Paths,
    *,
    object_ids: Sequence[int] | Mapping[str, int] | None = None,
    attributes: Sequence[str] | None = None,
    batch_vertices: int = BATCH_VERTICES,
) -> Source:
    """Find mesh files, and read the first; parameters as for :func:`import_meshes`."""
    need("trimesh", "meshes", "reading meshes")
    paths = files_of(source, SUFFIXES)
    formats = {path.suffix.lower() for path in paths}
    if len(formats) > 1:
        raise MetadataError(f"the files are of several formats: {', '.join(sorted(formats))}")
    format = formats.pop().removeprefix(".")
    if f".{format}" not in SUFFIXES:
        raise MetadataError(f"{paths[0].name}: meshes are read from {', '.join(SUFFIXES)} files")
    ids, counted = given_ids(paths, object_ids)
    first = _read(paths[0], attributes)
    comments = _ply_comments(paths[0]) if format == "ply" else []
    units = [c.removeprefix(_UNIT).strip() for c in comments if c.startswith(_UNIT)]
    axes = None
    if units:
        axes = [{"name": name, "type": "space", "unit": units[0]} for name in "xyz"]
    parts = [
        partial(
            _pieces,
            paths[start : start + _FILES_A_PART],
            ids[start : start + _FILES_A_PART],
            counted,
            attributes,
            batch_vertices,
        )
        for start in range(0, len(paths), _FILES_A_PART)
    ]
    return Source(
        format=format,
        kind="point_cloud" if first.links is None else "mesh",
        ndim=3,
        dtype=first.positions.dtype,
        parts=parts,
        files=[path.name for path in paths],
        axes=axes,
        metadata={"ply": {"comments": comments}} if comments else {},
        total=sum(path.stat().st_size for path in paths),
    )


def _pieces(
    paths: Sequence[Path],
    ids: Sequence[int],
    counted: bool,
    attributes: Sequence[str] | None,
    batch: int,
) -> Iterator[Piece]:
    return grouped(
        (_piece(p, n, counted, attributes) for p, n in zip(paths, ids, strict=True)), batch
    )


def _piece(path: Path, number: int, counted: bool, attributes: Sequence[str] | None) -> Piece:
    read = _read(path, attributes)
    named = {"name": np.array([path.stem], object)} if counted else {}
    return Piece(
        read.positions,
        number,
        links=read.links,
        attributes=read.attributes,
        link_attributes=read.link_attributes,
        object_attributes=named,
        name=str(path),
        weight=path.stat().st_size,
        counted=counted,
    )


# ---- reading ----------------------------------------------------------------


def _read(path: Path, attributes: Sequence[str] | None) -> Piece:
    """The mesh of one file; without links where it has points alone."""
    trimesh = need("trimesh", "meshes", "reading meshes")
    format = path.suffix.lower().removeprefix(".")
    # Given open, since trimesh would also follow what a name may refer to.
    with reading(path, format.upper()), path.open("rb") as file:
        mesh = trimesh.load(
            file, file_type=format, process=False, maintain_order=True, skip_materials=True
        )
    vertices = getattr(mesh, "vertices", None)
    if vertices is None or len(vertices) == 0:
        raise ArrayError(
            f"{path}: no vertex can be read from it; is it {format.upper()}, and whole?"
        )
    positions = np.asarray(vertices, np.float64)
    if positions.ndim != 2 or positions.shape[1] != 3:
        raise ArrayError(f"{path}: its vertices do not have three coordinates; is it cut short?")
    faces = getattr(mesh, "faces", None)
    links = None if faces is None else np.asarray(faces, np.int64).reshape(-1, 3)
    if format == "stl":
        return _merged(positions.astype(np.float32), links, path)
    if format == "obj":
        _check_obj(path, len(positions), 0 if links is None else len(links))
        if links is None or len(links) == 0:
            raise ArrayError(f"{path}: no face is in it; is it cut short? Points can come as PLY")
        return Piece(positions, links=links)
    with reading(path, "PLY"):
        return _of_ply(path, mesh, positions, links, attributes)


def _merged(positions: np.ndarray, faces: np.ndarray | None, path: Path) -> Piece:
    """A mesh whose corners at the very same place are one vertex, in the order they come."""
    if faces is None or len(faces) == 0:
        raise ArrayError(f"{path}: no triangle can be read from it; is it cut short?")
    # Minus zero is at the place of zero.
    rows = np.ascontiguousarray(positions + np.float32(0)).view([("", "<f4")] * 3).reshape(-1)
    _, first, inverse = np.unique(rows, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return Piece(positions[first[order]], links=place[inverse.reshape(-1)][faces])


def _check_obj(path: Path, vertices: int, triangles: int) -> None:
    """Refuse a file of which a line was not understood."""
    found = expected = 0
    last = b""
    with path.open("rb") as file:
        for line in file:
            if line.startswith(b"v "):
                found, last = found + 1, line
            elif line.startswith(b"f "):
                corners, last = len(line.split()) - 1, line
                expected += corners - 2
                if corners < 3:
                    raise _cut_obj(path, line)
    if found != vertices or expected != triangles:
        raise ArrayError(
            f"{path} has {found:,} vertices and {expected:,} triangles, and {vertices:,} and "
            f"{triangles:,} were understood; is it cut short?"
        )
    if last.startswith(b"v ") and len(last.split()) < 4:
        raise _cut_obj(path, last)


def _cut_obj(path: Path, line: bytes) -> ArrayError:
    return ArrayError(f"{path}: the line {line.strip().decode(errors='replace')!r} is cut short")


def _of_ply(
    path: Path,
    mesh: Any,
    positions: np.ndarray,
    links: np.ndarray | None,
    attributes: Sequence[str] | None,
) -> Piece:
    """A mesh with the dtype and the properties that the file has."""
    raw = mesh.metadata.get("_ply_raw", {})
    vertex, face = raw.get("vertex", {}), raw.get("face", {})
    faces = 0 if links is None else len(links)
    if vertex.get("length", 0) != len(positions) or face.get("length", 0) > faces:
        raise ArrayError(
            f"{path} should have {vertex.get('length', 0):,} vertices and "
            f"{face.get('length', 0):,} faces, and {len(positions):,} and {faces:,} were read; is "
            "it cut short?"
        )
    of_vertices = _properties(path, vertex, attributes, ("x", "y", "z"))
    of_faces: dict[str, np.ndarray] = {}
    if links is not None:
        of_faces = _properties(path, face, attributes, ("vertex_indices", "vertex_index"))
    if of_faces and face["length"] != faces:
        raise ArrayError(
            f"{path} has values for polygons of more than three corners; make them triangles "
            "first, or leave the values out with attributes"
        )
    dtype = np.result_type(*(np.dtype(vertex["properties"][axis]) for axis in "xyz"))
    dtype = np.dtype(np.float64) if dtype.kind != "f" else dtype.newbyteorder("=")
    return Piece(
        positions.astype(dtype), links=links, attributes=of_vertices, link_attributes=of_faces
    )


def _properties(
    path: Path, element: Mapping[str, Any], wanted: Sequence[str] | None, other: Sequence[str]
) -> dict[str, np.ndarray]:
    found = {}
    for name, kind in element.get("properties", {}).items():
        if name in other or (wanted is not None and name not in wanted) or "," in kind:
            continue
        column = np.asarray(element["data"][name]).reshape(-1)
        if len(column) != element["length"]:
            raise ArrayError(
                f"{path}: property {name!r} has {len(column):,} values; is it cut short?"
            )
        found[name] = column.astype(np.dtype(kind).newbyteorder("="))
    return found


def _ply_comments(path: Path) -> list[str]:
    comments = []
    with reading(path, "PLY"), path.open("rb") as file:
        for line in file:
            text = line.decode("utf-8", "replace").rstrip()
            if text.startswith("comment "):
                comments.append(text.removeprefix("comment "))
            if text == "end_header":
                break
    return comments


# ---- export -----------------------------------------------------------------


def export_meshes(
    level: Level,
    target: str | os.PathLike[str],
    *,
    format: str | None = None,
    **options: Unpack[ExportOptions],
) -> ExportResult:
    """Export meshes to OBJ, PLY or STL files.

    Parameters
    ----------
    level : Level
        Of any snapshot; of kind mesh, in three axes.
    target : path
        A name with the suffix ``.obj``, ``.ply`` or ``.stl`` for one object; else a
        folder, which gets a file for each, called by its id.
    format : {"obj", "ply", "stl"}, optional
        By the suffix of the target; of a folder "ply".
    **options
        Those of all exports: :class:`ExportOptions`. PLY holds numbers of up to four
        bytes and float64, for vertices and faces, and comments and the unit; OBJ and
        STL hold no attributes. STL rounds coordinates to float32.

    Returns
    -------
    ExportResult

    Raises
    ------
    MetadataError
        If the target is there already, the dataset has no such geometry, or one
        file would have several objects.
    """
    part = Part(**options)
    kind, ndim = level._dataset.kind, level._reader.meta.ndim
    if kind not in MESHES or ndim != 3:
        raise MetadataError(
            f"meshes in three axes are exported; dataset {level._dataset.name!r} is of kind "
            f"{kind!r} and has {ndim}"
        )
    suffix = os.path.splitext(os.fspath(target))[1].lower()
    single = suffix in SUFFIXES
    format = format or (suffix.removeprefix(".") if single else "ply")
    if f".{format}" not in SUFFIXES or (single and suffix != f".{format}"):
        raise MetadataError(f"format {format!r} is none of obj, ply and stl, or not {target}'s")
    facts = level._reader.state.facts.attributes
    chosen = Selected(level, part, lambda name: format == "ply" and _fits(facts[name]))
    links = level._reader.state.facts.link_attributes
    of_faces = [name for name in sorted(links) if format == "ply" and _fits(links[name])]
    chosen.left_out += [f"faces: {name}" for name in sorted(links) if name not in of_faces]
    comments = _comments(level)
    files = 0
    with made(target, overwrite=part.overwrite, folder=not single) as path:
        for found in chosen.objects():
            for number, one in one_by_one(found):
                if single and files:
                    raise MetadataError(
                        f"{target} would have several meshes; name one with objects, or a folder"
                    )
                if single:
                    chosen.named(target, number)
                with ExitStack() as stack:
                    name = path if single else path / f"{number}.{format}"
                    _write(stack.enter_context(name.open("wb")), format, one, of_faces, comments)
                files += 1
        if single and not files:
            raise MetadataError(f"no object is in what is asked for, so there is no {target}")
    return chosen.result(format, target, files)


def _fits(attribute: Any) -> bool:
    kind = np.dtype(attribute.dtype).str[1:]
    known = kind in _PLY_TYPES or attribute.dtype.kind == "b"
    return known and not attribute.logical and not attribute.row_shape and " " not in attribute.name


def _comments(level: Level) -> list[str]:
    kept = level._dataset.metadata.get("ply")
    comments = list(kept.get("comments", [])) if isinstance(kept, dict) else []
    units = {axis.get("unit") for axis in level._dataset.axes}
    unit = next(iter(units))
    if len(units) == 1 and unit is not None and not any(c.startswith(_UNIT) for c in comments):
        comments.append(f"{_UNIT}{unit}")
    return comments


def _write(
    file: IO[bytes], format: str, one: Geometry, of_faces: Sequence[str], comments: Sequence[str]
) -> None:
    faces = one.faces if one.faces is not None else np.zeros((0, 3), np.int64)
    if format == "obj":
        _write_rows(file, b"v", one.positions)
        _write_rows(file, b"f", faces + 1)
    elif format == "stl":
        file.write(_stl(one.positions, faces))
    else:
        _write_ply(file, one, faces, of_faces, comments)


def _write_rows(file: IO[bytes], word: bytes, rows: np.ndarray) -> None:
    columns: Iterable[list[str]] = (rows[:, at].astype(str).tolist() for at in range(3))
    for cells in zip(*columns, strict=True):
        file.write(word + b" " + " ".join(cells).encode() + b"\n")


def _stl(positions: np.ndarray, faces: np.ndarray) -> bytes:
    records = np.zeros(len(faces), _STL_FACE)
    corners = positions[faces].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    records["normal"] = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)
    records["corners"] = corners
    head = b"zv_versioned".ljust(80, b"\0")
    return head + np.uint32(len(faces)).tobytes() + records.tobytes()


def _write_ply(
    file: IO[bytes],
    one: Geometry,
    faces: np.ndarray,
    of_faces: Sequence[str],
    comments: Sequence[str],
) -> None:
    axes = {axis: one.positions[:, at] for at, axis in enumerate("xyz")}
    vertex = _records({**axes, **one.attributes})
    values = {name: one.link_attributes[name] for name in of_faces}
    corners = [("n", "u1"), ("corners", "<i4", 3)]
    face = np.zeros(len(faces), [*corners, *_records(values).dtype.descr] if values else corners)
    face["n"], face["corners"] = 3, faces
    for name, column in values.items():
        face[name] = column
    lines = ["ply", "format binary_little_endian 1.0"]
    lines += [f"comment {' '.join(comment.splitlines())}" for comment in comments]
    lines.append(f"element vertex {len(vertex)}")
    lines += [f"property {_PLY_TYPES[d[1][1:]]} {d[0]}" for d in vertex.dtype.descr]
    lines += [f"element face {len(face)}", "property list uchar int vertex_indices"]
    lines += [f"property {_PLY_TYPES[d[1][1:]]} {d[0]}" for d in face.dtype.descr[2:]]
    file.write("\n".join([*lines, "end_header", ""]).encode())
    file.write(vertex.tobytes())
    file.write(face.tobytes())


def _records(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    kinds = [
        (name, "u1" if column.dtype.kind == "b" else column.dtype.newbyteorder("<").str)
        for name, column in columns.items()
    ]
    records = np.zeros(len(next(iter(columns.values()), ())), kinds)
    for name, column in columns.items():
        records[name] = column
    return records
