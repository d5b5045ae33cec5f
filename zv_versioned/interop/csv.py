"""CSV files: points, a row each.

A file has a head with the names of its columns. Which are coordinates, which is
the object and which are attributes is told, or found by their names. What the
columns are (whole numbers, numbers, true and false, or text) is found by looking
through all of them first, so that it does not depend on the first rows.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import IO, TYPE_CHECKING, Any, Unpack

import numpy as np

from ..errors import ArrayError, MetadataError
from ._columns import FLOAT, INT, TEXT, UNSEEN, convert, first_other, kind_of, wider
from ._csv_rows import Block, Range, blocks_of, place_of, ranges_of
from ._export import ExportOptions, ExportResult, Part, Selected
from ._files import Paths, files_of, made
from ._import import ImportResult, import_source
from ._into import ImportOptions, Into
from ._pieces import BATCH_VERTICES, Piece, Scan, Source, grouped
from ._progress import Progress
from ._tables import Mapped, map_columns, no_columns, one_id, points_only

if TYPE_CHECKING:
    from ..geometry import Geometry
    from ..level import Level
    from ..repository import Repository

__all__ = ["export_csv", "import_csv", "open_csv"]

SUFFIXES = (".csv", ".tsv")


@dataclass(frozen=True)
class _Looked:
    """What looking through a range has told: the scan of it, and what its columns are."""

    scan: Scan
    kinds: dict[str, str]
    others: dict[str, str]
    """Of columns that are no numbers, or no whole ones for ids: the first cell that is none."""


def import_csv(
    repo: Repository,
    source: Paths,
    dataset: str,
    *,
    positions: Sequence[str] | None = None,
    object_id: str | None = None,
    attributes: Sequence[str] | Mapping[str, str] | None = None,
    objects: str | int | None = None,
    delimiter: str | None = None,
    batch_vertices: int = BATCH_VERTICES,
    **options: Unpack[ImportOptions],
) -> ImportResult:
    """Import points from CSV files.

    Parameters
    ----------
    repo : Repository
    source : path, or sequence of paths
        Files, folders or patterns.
    dataset : str
    positions : sequence of str, optional
        The columns of the coordinates; x, y and z, as many of them as there are,
        where left out. They are kept as float64 unless ``dtype`` says otherwise.
    object_id : str, optional
        The column with the object of each point; ``object_id`` where left out, if
        there is one.
    attributes : sequence of str, or mapping of str to str, optional
        Columns that become attributes, and under what names; all others where left
        out.
    objects : {"each", "file"} or int, optional
        Where there is no column with it: every point an object of its own (the
        default), a file an object (under the number that is its name), or all of them one.
    delimiter : str, optional
        Tab for ``.tsv`` files, else a comma.
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
    ArrayError
        If a row has too few or too many cells, or a cell is no number where one
        must be. Nothing is committed.

    Notes
    -----
    Source: RFC 4180, read with Python's csv. A column of whole numbers becomes
    int64, one of numbers float64, one of ``true`` and ``false`` bool, others text.
    An empty cell is NaN among numbers and missing among texts.

    Examples
    --------
    >>> import pathlib, tempfile, zv_versioned as zvv
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> n = (folder / "p.csv").write_text("x,y,object_id,score\\n1,2,7,0.5\\n3,4,7,\\n")
    >>> repo = zvv.Repository.create("memory://")
    >>> done = zvv.interop.import_csv(repo, folder / "p.csv", "points")
    >>> done.vertices, done.objects
    (2, 1)
    >>> repo.view()["points"][0].attribute("score")
    array([0.5, nan])
    """
    into = Into(**options)
    opened = open_csv(
        source,
        positions=positions,
        object_id=object_id,
        attributes=attributes,
        objects=objects,
        delimiter=delimiter,
        batch_vertices=batch_vertices,
        report=into.report,
    )
    return import_source(repo, opened, dataset, into)


def open_csv(
    source: Paths,
    *,
    positions: Sequence[str] | None = None,
    object_id: str | None = None,
    attributes: Sequence[str] | Mapping[str, str] | None = None,
    objects: str | int | None = None,
    delimiter: str | None = None,
    batch_vertices: int = BATCH_VERTICES,
    report: Callable[[Progress], None] = lambda progress: None,
    mapper: Callable[[Callable[[Range], _Looked], list[Range]], Iterable[_Looked]] = map,
) -> Source:
    """Look through CSV files; parameters as for :func:`import_csv`.

    Parameters
    ----------
    report : callable
        Told how far it is.
    mapper : callable
        Looks through the ranges of the files, in place of :func:`map`.

    Returns
    -------
    Source
    """
    paths = files_of(source, SUFFIXES)
    ranges = [r for path in paths for r in ranges_of(path, delimiter)]
    columns = ranges[0].names
    mapped = map_columns(
        columns, str(paths[0]), positions=positions, object_id=object_id, attributes=attributes
    )
    for one in ranges:
        lacking = [name for name in mapped.columns if name not in one.names]
        if lacking:
            raise no_columns(str(one.path), lacking, one.names)
    total, done = sum(path.stat().st_size for path in paths), 0
    found, kinds = Scan(None, 0, 0), dict.fromkeys(mapped.columns, UNSEEN)
    others: dict[str, str] = {}
    look = partial(_look, mapped=mapped)
    for one, looked in zip(ranges, mapper(look, ranges), strict=True):
        found |= looked.scan
        kinds = {name: wider(kind, looked.kinds[name]) for name, kind in kinds.items()}
        others = {**looked.others, **others}
        done += one.stop - one.start
        report(Progress("scan", done, total, "bytes"))
    if mapped.object_id is not None and kinds[mapped.object_id] not in (INT, UNSEEN):
        raise ArrayError(
            f"column {mapped.object_id!r} of {paths[0]} has cells that are no whole numbers "
            "from 0 to 9223372036854775807, and those cannot be object ids: "
            f"{others.get(mapped.object_id, 'some are empty')}"
        )
    return Source(
        format="csv",
        kind="point_cloud",
        ndim=len(mapped.positions),
        dtype=np.dtype(np.float64),
        parts=[partial(_pieces, one, mapped, kinds, objects, batch_vertices) for one in ranges],
        files=[path.name for path in paths],
        bounds=found.box,
        axes=[{"name": name, "type": "space"} for name in mapped.positions],
        total=total,
        texts={name: others[c] for c, name in mapped.attributes.items() if c in others},
        vertices=found.vertices,
    )


# ---- points -----------------------------------------------------------------


def _positions(of: Range, mapped: Mapped, block: Block) -> np.ndarray:
    for name in mapped.positions:
        if "" in block.cells[name]:
            where = _cell(of, block, name, block.cells[name].index(""))
            raise ArrayError(
                f"{where} is empty, and a point needs all of its coordinates; correct the file, "
                "nothing was imported"
            )
    return np.stack([_column(of, block, name, FLOAT) for name in mapped.positions], axis=1)


def _column(of: Range, block: Block, name: str, kind: str) -> np.ndarray:
    return convert(block.cells[name], kind, partial(_cell, of, block, name))


def _cell(of: Range, block: Block, name: str, at: int) -> str:
    return f"{place_of(of, block.row + at)}, column {name!r}"


def _look(of: Range, mapped: Mapped) -> _Looked:
    """Look through a range: its box, and what its columns are."""
    found, kinds = Scan(None, 0, 0), dict.fromkeys(mapped.columns, UNSEEN)
    numbers: dict[str, str] = {}
    others = [n for n in mapped.columns if n in mapped.attributes or n == mapped.object_id]
    for block in blocks_of(of, mapped.columns):
        for name in others:
            if kinds[name] != TEXT:
                kinds[name] = wider(kinds[name], kind_of(block.cells[name]))
                wanted = INT if name == mapped.object_id else FLOAT
                if name not in numbers and wider(kinds[name], wanted) != wanted:
                    at = first_other(block.cells[name], wanted)
                    if at >= 0:
                        numbers[name] = f"{_cell(of, block, name, at)} is {block.cells[name][at]!r}"
        piece = Piece(_positions(of, mapped, block), name=f"{place_of(of, block.row)} and after")
        found |= piece.scan()
    return _Looked(found, kinds, numbers)


def _pieces(
    of: Range, mapped: Mapped, kinds: Mapping[str, str], objects: Any, batch: int
) -> Iterator[Piece]:
    """All points of a range, `batch` at a time."""
    pieces = (_piece(of, mapped, kinds, objects, block) for block in blocks_of(of, mapped.columns))
    return grouped(pieces, batch)


def _piece(
    of: Range, mapped: Mapped, kinds: Mapping[str, str], objects: Any, block: Block
) -> Piece:
    ids: Any = one_id(objects, of.path)
    if mapped.object_id is not None:
        ids = _column(of, block, mapped.object_id, INT)
    return Piece(
        _positions(of, mapped, block),
        ids,
        attributes={
            name: _column(of, block, column, kinds[column])
            for column, name in mapped.attributes.items()
        },
        name=f"{place_of(of, block.row)} and after",
        weight=block.weight,
    )


# ---- export -----------------------------------------------------------------


def export_csv(
    level: Level,
    target: str | os.PathLike[str],
    *,
    delimiter: str | None = None,
    vertices_only: bool = False,
    **options: Unpack[ExportOptions],
) -> ExportResult:
    """Export points to a CSV file: object_id, the axes, then the attributes.

    Parameters
    ----------
    level : Level
        Of any snapshot.
    target : path
    delimiter : str, optional
        Tab for a ``.tsv`` file, else a comma.
    vertices_only : bool
        Says that lines, graphs or meshes are to lose their links.
    **options
        Those of all exports: :class:`ExportOptions`.

    Returns
    -------
    ExportResult

    Raises
    ------
    MetadataError
        If the target is there already, or links would be lost.

    Notes
    -----
    Numbers are written so that reading them as the same dtype gives the same
    value. A missing text is an empty cell.
    """
    part = Part(**options)
    points_only(level, "csv", vertices_only)
    chosen = Selected(level, part)
    if delimiter is None:
        delimiter = "\t" if str(target).lower().endswith(".tsv") else ","
    axes = [axis["name"] for axis in level._dataset.axes]
    with (
        made(target, overwrite=part.overwrite, folder=False) as path,
        path.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(_Lines(file), delimiter=delimiter)
        head: list[str] | None = None
        for found in chosen.windows():
            columns = _out_columns(found, axes)
            if head is None:
                head = list(columns)
                writer.writerow(head)
            writer.writerows(zip(*(_texts(column) for column in columns.values()), strict=True))
    return chosen.result("csv", target, 1)


class _Lines:
    """Rows as csv writes them, ended as Unix does.

    csv quotes a cell with a carriage return only where its rows end with one.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, row: str) -> int:
        return self._file.write(row.removesuffix("\r\n") + "\n")


def _out_columns(found: Geometry, axes: Sequence[str]) -> dict[str, np.ndarray]:
    columns = {"object_id": found.object_ids}
    columns.update({axis: found.positions[:, at] for at, axis in enumerate(axes)})
    for name, values in found.attributes.items():
        parts = (
            {name: values}
            if values.ndim == 1
            else {f"{name}_{at}": values[:, at] for at in range(values.shape[1])}
        )
        for key, column in parts.items():
            if key in columns:
                raise MetadataError(
                    f"there would be two columns {key!r}; leave the attribute {name!r} out by "
                    f"naming the others, attributes={[n for n in found.attributes if n != name]!r}"
                )
            columns[key] = column
    return columns


def _texts(column: np.ndarray) -> list[Any]:
    """A column as csv writes it: the shortest text that reads as the same value of its dtype."""
    kind = column.dtype.kind
    listed: list[Any]
    if kind == "b":
        listed = np.where(column, "true", "false").tolist()
    elif kind in "iuO" or column.dtype == np.float64:
        listed = column.tolist()
    else:
        listed = column.astype(str).tolist()
    if kind == "f" and np.isnan(column).any():
        return [
            "" if missing else value
            for value, missing in zip(listed, np.isnan(column).tolist(), strict=True)
        ]
    if kind in "mM":
        return ["" if value == "NaT" else value for value in listed]
    return listed
