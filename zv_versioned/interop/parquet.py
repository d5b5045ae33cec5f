"""Parquet files: points, a row each.

Columns are found as in CSV files; they have their types already. Coordinates
are two or three columns, or one column of lists of fixed length. Units and the
names of axes are kept in the file's own metadata, under ``zv_versioned``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from ..errors import ArrayError, MetadataError
from ..format.metadata import fill_value
from ..spatial.boxes import Box
from ._export import ExportOptions, ExportResult, Part, Selected
from ._extras import need
from ._files import Paths, files_of, made, reading
from ._import import ImportResult, import_source
from ._into import ImportOptions, Into
from ._pieces import BATCH_VERTICES, Piece, Source, grouped
from ._tables import OBJECT_ID, Mapped, map_columns, no_columns, one_id, points_only

if TYPE_CHECKING:
    from ..geometry import Geometry
    from ..level import Level
    from ..repository import Repository

__all__ = ["export_parquet", "import_parquet", "open_parquet"]

SUFFIXES = (".parquet", ".pq")
_KEY = b"zv_versioned"


def _parquet(verb: str) -> Any:
    return need("pyarrow.parquet", "arrow", f"{verb} Parquet files")


@dataclass(frozen=True)
class _Opened:
    """What a file's head says."""

    path: Path
    schema: Any
    groups: tuple[int, ...]
    facts: dict[str, Any]
    box: Box | None


def import_parquet(
    repo: Repository,
    source: Paths,
    dataset: str,
    *,
    positions: Sequence[str] | None = None,
    object_id: str | None = None,
    attributes: Sequence[str] | Mapping[str, str] | None = None,
    objects: str | int | None = None,
    batch_vertices: int = BATCH_VERTICES,
    **options: Unpack[ImportOptions],
) -> ImportResult:
    """Import points from Parquet files.

    Parameters
    ----------
    repo : Repository
    source : path, or sequence of paths
        Files, folders or patterns.
    dataset : str
    positions : sequence of str, optional
        The columns of the coordinates, or one column of lists of fixed length; x, y
        and z, or ``position``, where left out.
    object_id, attributes, objects
        As for :func:`import_csv`.
    batch_vertices : int
        Rows that are read and appended at a time.
    **options
        Those of all imports: :class:`ImportOptions`.

    Returns
    -------
    ImportResult

    Raises
    ------
    NotFoundError
        If a file or a column is not there.
    MissingExtraError
        If pyarrow is not installed.
    ArrayError
        If a file cannot be read, or a column is of no type that is kept. Nothing
        is committed.

    Notes
    -----
    Source: Apache Parquet, read with pyarrow; checksums of pages are verified where
    there are some. A null is NaN among floats, missing
    among texts, and the fill value of a missing attribute (the smallest signed, the
    largest unsigned number) among whole numbers; among booleans it is an error.
    """
    into = Into(**options)
    opened = open_parquet(
        source,
        positions=positions,
        object_id=object_id,
        attributes=attributes,
        objects=objects,
        batch_vertices=batch_vertices,
    )
    return import_source(repo, opened, dataset, into)


def open_parquet(
    source: Paths,
    *,
    positions: Sequence[str] | None = None,
    object_id: str | None = None,
    attributes: Sequence[str] | Mapping[str, str] | None = None,
    objects: str | int | None = None,
    batch_vertices: int = BATCH_VERTICES,
) -> Source:
    """Read the heads of Parquet files; parameters as for :func:`import_parquet`."""
    paths = files_of(source, SUFFIXES)
    first = _open(paths[0], None)
    names = list(first.schema.names)
    if positions is None and "position" in names and "x" not in map(str.lower, names):
        positions = ["position"]
    mapped = map_columns(
        names, str(paths[0]), positions=positions, object_id=object_id, attributes=attributes
    )
    dtype, ndim = _coordinates(first, mapped)
    files = [_open(path, mapped) for path in paths]
    for file in files:
        lacking = [name for name in mapped.columns if name not in file.schema.names]
        if lacking:
            raise no_columns(str(file.path), lacking, file.schema.names)
        for name in mapped.columns:
            if file.schema.field(name).type != first.schema.field(name).type:
                raise ArrayError(
                    f"column {name!r} is {file.schema.field(name).type} in {file.path} and "
                    f"{first.schema.field(name).type} in {first.path}; make them the same"
                )
    boxes = [file.box for file in files]
    bounds = boxes[0]
    for box in boxes[1:]:
        bounds = None if box is None or bounds is None else bounds.union(box)
    axes = first.facts.get("axes")
    if axes is None and len(mapped.positions) == ndim:
        axes = [{"name": name, "type": "space"} for name in mapped.positions]
    return Source(
        format="parquet",
        kind="point_cloud",
        ndim=ndim,
        dtype=dtype,
        parts=[
            partial(_pieces, file.path, group, mapped, objects, batch_vertices)
            for file in files
            for group in range(len(file.groups))
        ],
        files=[path.name for path in paths],
        bounds=bounds,
        axes=axes if axes is not None and len(axes) == ndim else None,
        metadata=first.facts.get("metadata", {}),
        total=sum(sum(file.groups) for file in files),
        unit="rows",
        vertices=sum(sum(file.groups) for file in files),
    )


def _open(path: Path, mapped: Mapped | None) -> _Opened:
    parquet = _parquet("reading")
    with (
        reading(path, "Parquet"),
        parquet.ParquetFile(path, page_checksum_verification=True) as file,
    ):
        groups = tuple(
            file.metadata.row_group(g).num_rows for g in range(file.metadata.num_row_groups)
        )
        schema = file.schema_arrow
        box = None if mapped is None else _known_box(file.metadata, mapped.positions)
    raw = (schema.metadata or {}).get(_KEY)
    try:
        facts = {} if raw is None else json.loads(raw)
    except ValueError as error:
        raise ArrayError(f"{path}: its metadata {_KEY.decode()!r} is no JSON: {error}") from error
    return _Opened(path, schema, groups, facts, box)


def _known_box(metadata: Any, positions: Sequence[str]) -> Box | None:
    """The box of the coordinates by the statistics of the row groups, where all have them."""
    columns = {metadata.schema.column(i).path: i for i in range(metadata.num_columns)}
    lo, hi = [], []
    for name in positions:
        if name not in columns or metadata.num_row_groups == 0:
            return None
        found = [
            metadata.row_group(g).column(columns[name]).statistics
            for g in range(metadata.num_row_groups)
        ]
        if any(s is None or not s.has_min_max or s.null_count for s in found):
            return None
        lo.append(float(min(s.min for s in found)))
        hi.append(float(max(s.max for s in found)))
    box = Box(np.array(lo), np.array(hi))
    return box if np.isfinite(box.lo).all() and np.isfinite(box.hi).all() else None


def _coordinates(file: _Opened, mapped: Mapped) -> tuple[np.dtype[Any], int]:
    """The dtype of the coordinates, and how many axes there are."""
    types = need("pyarrow", "arrow", "reading Parquet files").types
    kinds = [file.schema.field(name).type for name in mapped.positions]
    ndim = len(kinds)
    if types.is_fixed_size_list(kinds[0]) and ndim == 1:
        kinds, ndim = [kinds[0].value_type], kinds[0].list_size
    dtypes = [np.dtype(kind.to_pandas_dtype()) for kind in kinds if types.is_primitive(kind)]
    if len(dtypes) < len(kinds) or any(dtype.kind not in "iuf" for dtype in dtypes):
        raise ArrayError(
            f"{file.path}: the columns {', '.join(map(repr, mapped.positions))} are of type "
            f"{', '.join(map(str, kinds))}, and coordinates are numbers (or one list of fixed "
            "length)"
        )
    dtype = np.result_type(*dtypes)
    if dtype == np.float16:
        dtype = np.dtype(np.float32)
    return np.dtype(np.float64) if dtype.itemsize == 8 else dtype, ndim


# ---- rows -------------------------------------------------------------------


def _pieces(path: Path, group: int, mapped: Mapped, objects: Any, batch: int) -> Iterator[Piece]:
    """The points of one row group."""

    def pieces() -> Iterator[Piece]:
        parquet, row = _parquet("reading"), 0
        with (
            reading(path, "Parquet"),
            parquet.ParquetFile(path, page_checksum_verification=True) as file,
        ):
            batches = file.iter_batches(
                batch_size=batch, row_groups=[group], columns=list(mapped.columns)
            )
            for rows in batches:
                yield _piece(path, group, row, rows, mapped, objects)
                row += len(rows)

    return grouped(pieces(), batch)


def _piece(path: Path, group: int, row: int, rows: Any, mapped: Mapped, objects: Any) -> Piece:
    where = f"{path}, row {row:,} of row group {group} and after"
    columns = {name: _values(rows.column(name), f"{where}: {name!r}") for name in mapped.columns}
    positions = [columns[name] for name in mapped.positions]
    ids: Any = one_id(objects, path)
    if mapped.object_id is not None:
        if rows.column(mapped.object_id).null_count:
            raise ArrayError(f"{where}: {mapped.object_id!r} has nulls, and every point needs one")
        ids = columns[mapped.object_id]
    return Piece(
        positions[0] if positions[0].ndim == 2 else np.stack(positions, axis=1),
        ids,
        attributes={name: columns[column] for column, name in mapped.attributes.items()},
        name=where,
        weight=len(rows),
    )


def _values(column: Any, where: str) -> np.ndarray:
    """A column as an array: (N,), or (N, C) of lists of fixed length."""
    types = need("pyarrow", "arrow", "reading Parquet files").types
    kind = column.type
    if types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if types.is_fixed_size_list(kind):
        if column.null_count:
            raise ArrayError(f"{where} has nulls among its lists; fill them first")
        return _values(column.flatten(), where).reshape(len(column), kind.list_size)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return np.asarray(column.to_numpy(zero_copy_only=False), object)
    if not column.null_count:
        if not (types.is_primitive(kind) or types.is_boolean(kind)):
            raise ArrayError(f"{where} is of type {kind}, which is no number, text, date or list")
        array: np.ndarray = column.to_numpy(zero_copy_only=False)
        return array.astype(np.float32) if array.dtype == np.float16 else array
    if types.is_floating(kind) or types.is_temporal(kind):
        return np.asarray(column.to_numpy(zero_copy_only=False))
    if not types.is_integer(kind):
        raise ArrayError(
            f"{where} is of type {kind} and has nulls, which are kept of numbers, "
            "texts and dates alone; fill them first"
        )
    return np.asarray(
        column.fill_null(fill_value(np.dtype(kind.to_pandas_dtype()))).to_numpy(
            zero_copy_only=False
        )
    )


# ---- export -----------------------------------------------------------------


def export_parquet(
    level: Level,
    target: str | os.PathLike[str],
    *,
    vertices_only: bool = False,
    compression: str = "zstd",
    **options: Unpack[ExportOptions],
) -> ExportResult:
    """Export points to a Parquet file: object_id, the axes, then the attributes.

    Parameters
    ----------
    level : Level
        Of any snapshot.
    target : path
    vertices_only : bool
        Says that lines, graphs or meshes are to lose their links.
    compression : str
        As pyarrow has it.
    **options
        Those of all exports: :class:`ExportOptions`.

    Returns
    -------
    ExportResult

    Raises
    ------
    MetadataError
        If the target is there already, or links would be lost.
    MissingExtraError
        If pyarrow is not installed.
    """
    arrow = need("pyarrow", "arrow", "writing Parquet files")
    parquet = _parquet("writing")
    part = Part(**options)
    points_only(level, "parquet", vertices_only)
    chosen = Selected(level, part)
    dataset = level._dataset
    facts = {"axes": dataset.axes, "metadata": dataset.metadata}
    metadata = {_KEY: json.dumps(facts).encode()}
    writer = None
    with made(target, overwrite=part.overwrite, folder=False) as path:
        try:
            for found in chosen.windows():
                table = _table(arrow, found, [axis["name"] for axis in dataset.axes])
                if writer is None:
                    schema = table.schema.with_metadata(metadata)
                    writer = parquet.ParquetWriter(
                        path, schema, compression=compression, write_page_checksum=True
                    )
                writer.write_table(table.replace_schema_metadata(metadata))
        finally:
            if writer is not None:
                writer.close()
    return chosen.result("parquet", target, 1)


def _table(arrow: Any, found: Geometry, axes: Sequence[str]) -> Any:
    columns: dict[str, Any] = {OBJECT_ID: arrow.array(found.object_ids)}
    for at, axis in enumerate(axes):
        columns[axis] = arrow.array(np.ascontiguousarray(found.positions[:, at]))
    for name, values in found.attributes.items():
        if name in columns:
            raise MetadataError(
                f"there would be two columns {name!r}; leave the attribute out, or rename it"
            )
        kind = arrow.string() if values.dtype == object else None
        flat = arrow.array(np.ascontiguousarray(values).reshape(-1), kind)
        if values.ndim == 2:
            flat = arrow.FixedSizeListArray.from_arrays(flat, values.shape[1])
        columns[name] = flat
    return arrow.table(columns)
