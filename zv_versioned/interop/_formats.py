"""Which formats there are, and the way to each by the names of files."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MetadataError, NotFoundError
from . import csv, geojson, las, meshes, parquet, streamlines, swc
from ._export import ExportOptions, ExportResult
from ._files import Paths, files_of
from ._import import ImportResult
from ._into import ImportOptions
from ._pieces import Scan, Source
from .zarr_vectors_export import export_zarr_vectors
from .zarr_vectors_import import SUFFIXES, import_zarr_vectors, is_store, open_zarr_vectors

if TYPE_CHECKING:
    from ..level import Level
    from ..repository import Repository

__all__ = [
    "FORMATS",
    "FileInfo",
    "Format",
    "export_file",
    "format_of",
    "import_file",
    "scan_file",
]


@dataclass(frozen=True)
class Format:
    """A format of files.

    Attributes
    ----------
    name : str
    holds : str
        What is in such a file, in words.
    suffixes : tuple of str
    extra : str
        The extra of this package that it needs; empty where it needs none.
    opens, imports, exports : callable
    """

    name: str
    holds: str
    suffixes: tuple[str, ...]
    extra: str
    opens: Callable[..., Source]
    imports: Callable[..., ImportResult]
    exports: Callable[..., ExportResult]

    @property
    def import_options(self) -> list[str]:
        """Names of its own options when it is read, beside :class:`ImportOptions`."""
        return _own(self.imports, 3)

    @property
    def open_options(self) -> list[str]:
        """Names of the options that only looking at its files takes."""
        return _own(self.opens, 1)

    @property
    def export_options(self) -> list[str]:
        """Names of its own options when it is written, beside :class:`ExportOptions`."""
        return _own(self.exports, 2)


def _own(function: Callable[..., Any], first: int) -> list[str]:
    parameters = list(inspect.signature(function).parameters.values())[first:]
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]


def _mesh(name: str) -> Format:
    return Format(
        name,
        "meshes, an object a file",
        (f".{name}",),
        "meshes",
        meshes.open_meshes,
        meshes.import_meshes,
        meshes.export_meshes,
    )


def _tracts(name: str) -> Format:
    return Format(
        name,
        "streamlines, an object each",
        (f".{name}",),
        "streamlines",
        streamlines.open_streamlines,
        streamlines.import_streamlines,
        streamlines.export_streamlines,
    )


FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        Format("csv", "points", csv.SUFFIXES, "", csv.open_csv, csv.import_csv, csv.export_csv),
        Format(
            "parquet",
            "points",
            parquet.SUFFIXES,
            "arrow",
            parquet.open_parquet,
            parquet.import_parquet,
            parquet.export_parquet,
        ),
        Format("las", "points", las.SUFFIXES, "las", las.open_las, las.import_las, las.export_las),
        Format(
            "geojson",
            "points or lines",
            geojson.SUFFIXES,
            "",
            geojson.open_geojson,
            geojson.import_geojson,
            geojson.export_geojson,
        ),
        Format(
            "swc",
            "skeletons, an object a file",
            swc.SUFFIXES,
            "",
            swc.open_swc,
            swc.import_swc,
            swc.export_swc,
        ),
        *map(_mesh, ("obj", "ply", "stl")),
        *map(_tracts, ("trk", "tck", "trx")),
        Format(
            "zarr_vectors",
            "a store of any kind of geometry, with all its levels",
            SUFFIXES,
            "",
            open_zarr_vectors,
            import_zarr_vectors,
            export_zarr_vectors,
        ),
    )
}
"""The formats by name."""


def format_of(source: Paths, format: str | None = None) -> Format:
    """The format that is asked for, or that files have by their names.

    Parameters
    ----------
    source : path, or sequence of paths
        As for the imports; a folder has the format of the files in it.
    format : str, optional

    Raises
    ------
    MetadataError
        If it is none that is known, or the files are of several.
    """
    if format is not None:
        if format not in FORMATS:
            raise MetadataError(f"format {format!r} is unknown; choose one of {', '.join(FORMATS)}")
        return FORMATS[format]
    stores = [source] if isinstance(source, str | os.PathLike) else source
    if any(map(is_store, stores)):
        return FORMATS["zarr_vectors"]
    known = tuple(suffix for f in FORMATS.values() for suffix in f.suffixes)
    try:
        paths = files_of(source, known)
    except NotFoundError:
        if not isinstance(source, str | os.PathLike) or not Path(os.fspath(source)).is_dir():
            raise
        raise NotFoundError(
            f"the folder {os.fspath(source)} has no file of a known format"
        ) from None
    return _by_suffix([path.name for path in paths])


def _by_suffix(names: Sequence[str]) -> Format:
    found: dict[str, Format] = {}
    for name in names:
        fitting = [f for f in FORMATS.values() if name.lower().endswith(f.suffixes)]
        if not fitting:
            raise MetadataError(
                f"{name!r} has the suffix of no known format; say which it is with format=, one of "
                f"{', '.join(FORMATS)}"
            )
        found[fitting[0].name] = fitting[0]
    if len(found) > 1:
        raise MetadataError(
            f"the files are of several formats: {', '.join(found)}; give those of one, or say "
            "which with format="
        )
    return next(iter(found.values()))


def check_options(
    format: Format, verb: str, own: Sequence[str], common: type, given: Mapping[str, Any]
) -> None:
    """Refuse options that a format does not have.

    Raises
    ------
    MetadataError
    """
    known = [*own, *getattr(common, "__annotations__", ())]
    unknown = [name for name in given if name not in known]
    if unknown:
        raise MetadataError(
            f"{verb} {format.name} has no option {', '.join(map(repr, unknown))}; it has: "
            f"{', '.join(known)}"
        )


def import_file(
    repo: Repository,
    source: Paths,
    dataset: str,
    *,
    format: str | None = None,
    workers: int | None = None,
    **options: Any,
) -> ImportResult:
    """Import files of any known format, by their names.

    Parameters
    ----------
    repo : Repository
    source : path, or sequence of paths
        Files, folders or patterns with ``*``; all of one format.
    dataset : str
        Created, unless ``append=True``.
    format : str, optional
        One of :data:`FORMATS`; by the suffix where left out.
    workers : int, optional
        Import with so many processes: :func:`import_distributed`.
    **options
        Those of all imports (:class:`ImportOptions`), and those of the format's own
        function, such as :func:`import_csv`.

    Returns
    -------
    ImportResult

    Raises
    ------
    MetadataError
        If the format is unknown, or has no such option.
    NotFoundError, ArrayError, ConflictError
        As the format's own function. Nothing is committed.

    Examples
    --------
    >>> import pathlib, tempfile, zv_versioned as zvv
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "7.swc"
    >>> n = file.write_text("1 1 0 0 0 5 -1\\n2 0 9 9 9 1 1\\n")
    >>> repo = zvv.Repository.create("memory://")
    >>> zvv.interop.import_file(repo, file, "skeletons", unit="micrometer").vertices
    2
    >>> repo.view()["skeletons"][0].object_ids().tolist()
    [7]
    """
    if workers is not None:
        from .distributed import import_distributed

        return import_distributed(repo, source, dataset, workers=workers, format=format, **options)
    found = format_of(source, format)
    check_options(found, "importing", found.import_options, ImportOptions, options)
    return found.imports(repo, source, dataset, **options)


def export_file(
    level: Level,
    target: str | os.PathLike[str],
    *,
    format: str | None = None,
    **options: Any,
) -> ExportResult:
    """Export a level, or part of it, to a file or a folder of any known format.

    Parameters
    ----------
    level : Level
        Of any snapshot.
    target : path
        Made whole or not at all. Formats with an object a file take the name of a
        folder, or of one file for one object.
    format : str, optional
        One of :data:`FORMATS`; by the suffix where left out.
    **options
        Those of all exports (:class:`ExportOptions`), and those of the format's own
        function, such as :func:`export_csv`.

    Returns
    -------
    ExportResult

    Raises
    ------
    MetadataError
        If the format is unknown, has no such option, or cannot hold such geometry,
        or the target is there already.
    """
    found = (
        FORMATS[format]
        if format in FORMATS
        else _by_suffix([os.fspath(target)])
        if format is None
        else format_of(target, format)
    )
    check_options(found, "exporting", found.export_options, ExportOptions, options)
    if "format" in found.export_options:
        options["format"] = found.name
    return found.exports(level, target, **options)


@dataclass(frozen=True)
class FileInfo:
    """What files hold.

    Parameters
    ----------
    format, kind : str
    files : int
    vertices, batches : int
        What an import would add.
    ndim : int
    dtype : str
        Of the coordinates.
    bounds : (lo, hi), or None
        None where there is no vertex.
    axes : list of dict, or None
        With units, where the files say.
    attributes, link_attributes, object_attributes : tuple of str
    """

    format: str
    kind: str
    files: int
    vertices: int
    batches: int
    ndim: int
    dtype: str
    bounds: tuple[tuple[float, ...], tuple[float, ...]] | None
    axes: list[dict[str, str]] | None
    attributes: tuple[str, ...]
    link_attributes: tuple[str, ...]
    object_attributes: tuple[str, ...]


def scan_file(source: Paths, *, format: str | None = None, **options: Any) -> FileInfo:
    """Look through files: what an import of them would be, and whether they are whole.

    Parameters
    ----------
    source : path, or sequence of paths
        As for :func:`import_file`.
    format : str, optional
    **options
        Those of the format's own function, such as :func:`import_csv`.

    Returns
    -------
    FileInfo

    Raises
    ------
    ArrayError
        If a file cannot be read, or a coordinate is not finite.
    """
    found = format_of(source, format)
    unknown = [name for name in options if name not in found.import_options]
    if unknown:
        check_options(found, "importing", found.import_options, dict, options)
    opened = found.opens(source, **options)
    names: tuple[set[str], set[str], set[str]] = (set(), set(), set())
    told = Scan(None, 0, 0)
    for part in opened.parts:
        for piece in part():
            told |= piece.scan()
            of_piece = (piece.attributes, piece.link_attributes, piece.object_attributes)
            for known, new in zip(names, of_piece, strict=True):
                known.update(new)
    attributes, links, objects = (tuple(sorted(known)) for known in names)
    box = told.box
    return FileInfo(
        format=opened.format,
        kind=opened.kind,
        files=len(opened.files),
        vertices=told.vertices,
        batches=told.pieces,
        ndim=opened.ndim,
        dtype=opened.dtype.name,
        bounds=None if box is None else (tuple(box.lo.tolist()), tuple(box.hi.tolist())),
        axes=opened.axes,
        attributes=attributes,
        link_attributes=links,
        object_attributes=objects,
    )
