"""LAS and LAZ files: points, as they come from laser scanners.

Coordinates become float64, whole multiples of the file's scale as before, and
all other dimensions become attributes under their names. The header, with the
coordinate reference system and all other records, is kept in the dataset's
metadata, so that a file can be written again as it was.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from ..errors import ArrayError, MetadataError
from ..spatial.boxes import Box
from ._export import ExportOptions, ExportResult, Part, Selected
from ._extras import need
from ._files import Paths, files_of, ids_of, made, reading
from ._import import ImportResult, import_source
from ._into import ImportOptions, Into
from ._pieces import BATCH_VERTICES, Piece, Source
from ._tables import OBJECT_ID, Mapped, map_columns, no_columns, one_id, points_only

if TYPE_CHECKING:
    from ..geometry import Geometry
    from ..level import Level
    from ..repository import Repository

__all__ = ["export_las", "import_las", "open_las"]

SUFFIXES = (".las", ".laz")
_AXES = ("X", "Y", "Z")
_FORMATS = (6, 7, 8)
"""Point formats of LAS 1.4 to choose from: plain, with colours, with infrared as well."""


def _laspy(verb: str) -> Any:
    return need("laspy", "las", f"{verb} LAS and LAZ files")


def import_las(
    repo: Repository,
    source: Paths,
    dataset: str,
    *,
    object_id: str | None = None,
    attributes: Sequence[str] | Mapping[str, str] | None = None,
    objects: str | int | None = "file",
    batch_vertices: int = BATCH_VERTICES,
    **options: Unpack[ImportOptions],
) -> ImportResult:
    """Import points from LAS or LAZ files.

    Parameters
    ----------
    repo : Repository
    source : path, or sequence of paths
        Files, folders or patterns.
    dataset : str
    object_id : str, optional
        The dimension with the object of each point; ``object_id`` where left out, if
        there is one.
    attributes : sequence of str, or mapping of str to str, optional
        Dimensions that become attributes, and under what names; all where left out.
    objects : {"file", "each"} or int
        Where there is no dimension with it: a file is an object (under the number
        that is its name where all are numbers, else counted on), or every point is,
        or all of them are one.
    batch_vertices : int
        Points that are read and appended at a time.
    **options
        Those of all imports: :class:`ImportOptions`. Bounds come from the headers.

    Returns
    -------
    ImportResult

    Raises
    ------
    NotFoundError
        If a file or a dimension is not there.
    MissingExtraError
        If laspy is not installed.
    ArrayError
        If a file cannot be read, or has fewer points than its header says. Nothing
        is committed.

    Notes
    -----
    Source: ASPRS LAS 1.0 to 1.4, read with laspy.
    """
    opened = open_las(
        source,
        object_id=object_id,
        attributes=attributes,
        objects=objects,
        batch_vertices=batch_vertices,
    )
    return import_source(repo, opened, dataset, Into(**options))


def open_las(
    source: Paths,
    *,
    object_id: str | None = None,
    attributes: Sequence[str] | Mapping[str, str] | None = None,
    objects: str | int | None = "file",
    batch_vertices: int = BATCH_VERTICES,
) -> Source:
    """Read the headers of LAS files; parameters as for :func:`import_las`."""
    paths = files_of(source, SUFFIXES)
    headers = [_header(path) for path in paths]
    names = list(headers[0].point_format.dimension_names)
    if attributes is None:
        attributes = [n for n in names if n not in _AXES and n not in (object_id, OBJECT_ID)]
    mapped = map_columns(
        names, str(paths[0]), positions=_AXES, object_id=object_id, attributes=attributes
    )
    for path, header in zip(paths, headers, strict=True):
        there = list(header.point_format.dimension_names)
        lacking = [name for name in mapped.columns if name not in there]
        if lacking:
            raise no_columns(str(path), lacking, there)
    numbers, counted = ids_of(paths)
    if objects != "file":
        numbers, counted = [one_id(objects, path) for path in paths], False  # type: ignore[misc]
    bounds: Box | None = None
    for header in headers:
        if header.point_count:
            box = Box(np.array(header.mins, np.float64), np.array(header.maxs, np.float64))
            bounds = box if bounds is None else bounds.union(box)
    return Source(
        format="las",
        kind="point_cloud",
        ndim=3,
        dtype=np.dtype(np.float64),
        parts=[
            partial(_pieces, path, start, batch_vertices, mapped, number, counted)
            for path, header, number in zip(paths, headers, numbers, strict=True)
            for start in range(0, max(header.point_count, 1), batch_vertices)
        ],
        files=[path.name for path in paths],
        bounds=bounds,
        metadata={"las": _kept(headers[0], paths[0])},
        total=sum(header.point_count for header in headers),
        unit="points",
        vertices=sum(header.point_count for header in headers),
    )


def _header(path: Path) -> Any:
    with reading(path, "LAS"), _laspy("reading").open(path) as file:
        return file.header


def _kept(header: Any, path: Path) -> dict[str, Any]:
    """What a header says, as JSON; ``header`` is a LAS file without points, in base64."""
    laspy, empty = _laspy("reading"), io.BytesIO()
    with reading(path, "LAS"):
        header.vlrs.extract("LasZipVlr")
        laspy.LasData(header).write(empty, do_compress=False)
    return {
        "version": str(header.version),
        "point_format": int(header.point_format.id),
        "scales": [float(scale) for scale in header.scales],
        "offsets": [float(offset) for offset in header.offsets],
        "system_identifier": str(header.system_identifier),
        "generating_software": str(header.generating_software),
        "header": base64.b64encode(empty.getvalue()).decode(),
    }


def _pieces(
    path: Path, start: int, count: int, mapped: Mapped, number: int | None, counted: bool
) -> Iterator[Piece]:
    """Points of one file, from `start` on, in one piece."""
    with reading(path, "LAS"), _laspy("reading").open(path) as file:
        expected = min(count, file.header.point_count - start)
        if start:
            file.seek(start)
        points = file.read_points(expected)
        if len(points) < expected:
            raise ArrayError(
                f"{path} is cut short: its header says {file.header.point_count:,} points, and "
                f"after {start + len(points):,} there are no more"
            )
        positions = np.stack([np.asarray(points[axis.lower()], np.float64) for axis in _AXES], 1)
        values = {name: np.asarray(points[column]) for column, name in mapped.attributes.items()}
        ids: Any = number
        if mapped.object_id is not None:
            ids = np.asarray(points[mapped.object_id])
    where = f"{path}, point {start:,} and after"
    yield Piece(
        positions,
        ids,
        attributes=values,
        name=where,
        weight=len(positions),
        counted=counted and mapped.object_id is None,
    )


# ---- export -----------------------------------------------------------------


def export_las(
    level: Level,
    target: str | os.PathLike[str],
    *,
    scale: float | Sequence[float] | None = None,
    vertices_only: bool = False,
    **options: Unpack[ExportOptions],
) -> ExportResult:
    """Export points to a LAS or, by its suffix, LAZ file.

    What came from a LAS file is written under the header that it had. Attributes
    with the names of standard dimensions go there, others become extra dimensions.
    Where the level has several objects, ``object_id`` is one.

    Parameters
    ----------
    level : Level
        Of any snapshot; three axes.
    target : path
    scale : float or sequence of float, optional
        What coordinates are rounded to whole multiples of. Left out, that of the
        header, or, where there is none, the smallest power of ten from 1e-9 up with
        which the bounds fit.
    vertices_only : bool
        Says that lines, graphs or meshes are to lose their links.
    **options
        Those of all exports: :class:`ExportOptions`. Text and dates are left out, and
        so are values of more than three columns.

    Returns
    -------
    ExportResult

    Raises
    ------
    MetadataError
        If the target is there already, links would be lost, or there are not three
        axes.
    ArrayError
        If a coordinate or a value does not fit the file's types.
    MissingExtraError
        If laspy is not installed.
    """
    laspy = _laspy("writing")
    part = Part(**options)
    points_only(level, "LAS", vertices_only)
    facts = level._reader.state.facts.attributes
    if level._reader.meta.ndim != 3:
        raise MetadataError(f"LAS files have three axes, and the level {level._reader.meta.ndim}")
    chosen = Selected(level, part, lambda name: _fits(facts[name]))
    header = _new_header(laspy, level, chosen.names, scale)
    if level.num_objects == 1 and OBJECT_ID not in header.point_format.dimension_names:
        chosen.named(target, int(level.object_ids()[0]))
    compress = str(target).lower().endswith(".laz")
    with (
        made(target, overwrite=part.overwrite, folder=False) as path,
        path.open("wb") as file,
        laspy.open(file, mode="w", header=header, do_compress=compress, closefd=False) as writer,
    ):
        for found in chosen.windows():
            writer.write_points(_record(laspy, header, found))
    return chosen.result("las", target, 1)


def _fits(attribute: Any) -> bool:
    columns = attribute.row_shape[0] if attribute.row_shape else 1
    return not attribute.logical and columns <= 3 and len(attribute.name.encode()) <= 32


def _new_header(
    laspy: Any, level: Level, names: Sequence[str], scale: float | Sequence[float] | None
) -> Any:
    """The header that the dataset came with, or a new one; with a place for every attribute."""
    header = _stored_header(laspy, level)
    if header is None:
        by_format = [laspy.LasHeader(version="1.4", point_format=f) for f in _FORMATS]
        missing = [len(set(names) - set(h.point_format.dimension_names)) for h in by_format]
        header = by_format[int(np.argmin(missing))]
        lo, hi = (np.asarray(side) for side in level._dataset.bounds)
        header.offsets = np.floor(lo)
        powers = 10.0 ** np.arange(-9, 10)
        reach = (hi - header.offsets)[:, None] / powers
        header.scales = powers[np.argmax(reach < 2**31 - 1, axis=1)]
    if scale is not None:
        scales = np.broadcast_to(np.asarray(scale, np.float64), 3)
        if not (np.isfinite(scales).all() and (scales > 0).all()):
            raise MetadataError(f"a scale is a positive number, got {scale!r}")
        header.scales = scales
    facts = level._reader.state.facts.attributes
    there = set(header.point_format.dimension_names)
    extra = [
        laspy.ExtraBytesParams(
            name=name,
            type=_extra_type(facts[name].dtype, facts[name].row_shape),
        )
        for name in names
        if name not in there
    ]
    if level.num_objects > 1 and OBJECT_ID not in there:
        extra.append(laspy.ExtraBytesParams(name=OBJECT_ID, type=np.dtype("i8")))
    if extra:
        header.add_extra_dims(extra)
    return header


def _extra_type(dtype: np.dtype[Any], row_shape: tuple[int, ...]) -> Any:
    plain = np.dtype("u1") if dtype.kind == "b" else dtype
    if plain == np.float16:
        plain = np.dtype("f4")
    return f"{row_shape[0]}{plain.str[1:]}" if row_shape and row_shape[0] > 1 else plain


def _stored_header(laspy: Any, level: Level) -> Any:
    kept = level._dataset.metadata.get("las")
    if not isinstance(kept, dict) or "header" not in kept:
        return None
    try:
        raw = base64.b64decode(kept["header"], validate=True)
        with laspy.open(io.BytesIO(raw)) as file:
            return file.header
    except (laspy.LaspyException, binascii.Error, ValueError, TypeError) as error:
        raise MetadataError(
            f"the dataset's metadata 'las' has no header that can be read ({error}); correct it "
            "with set_metadata"
        ) from error


def _record(laspy: Any, header: Any, found: Geometry) -> Any:
    """Points as the file has them; what would not fit is an error."""
    record = laspy.ScaleAwarePointRecord.zeros(len(found), header=header)
    raw = np.rint((found.positions - header.offsets) / header.scales)
    if len(raw) and (abs(raw) > 2**31 - 1).any():
        raise ArrayError(
            f"coordinates do not fit 32 bits at the scale {list(header.scales)}; give a larger one"
        )
    for at, axis in enumerate(_AXES):
        record[axis] = raw[:, at].astype(np.int32)
    dims = set(header.point_format.dimension_names)
    values = dict(found.attributes)
    if OBJECT_ID in dims and OBJECT_ID not in values:
        values[OBJECT_ID] = found.object_ids
    for name, column in values.items():
        try:
            record[name] = column.reshape(len(column)) if column.shape[1:] == (1,) else column
        except (OverflowError, ValueError, TypeError) as error:
            raise ArrayError(
                f"attribute {name!r} does not fit its LAS dimension: {error}"
            ) from error
        written = np.asarray(record[name])
        same = (written == column.reshape(written.shape)) | (written != written)
        if not same.all():
            raise ArrayError(
                f"attribute {name!r} does not fit its LAS dimension: "
                f"{column.reshape(written.shape)[~same].flat[0]} would become "
                f"{written[~same].flat[0]}"
            )
    return record
