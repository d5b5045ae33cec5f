"""TRK, TCK and TRX files: streamlines of tractography, an object each.

TRK and TCK are read and written with nibabel, streamline by streamline; TRX is
read with trx-python, from the arrays that it consists of. Coordinates are in
millimetres, in the scanner's axes (RAS+). Headers are kept in the dataset's
metadata, so that a file can be written again in the space of its image.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from ..errors import ArrayError, MetadataError
from ..format.metadata import LINES
from ._export import OBJECT_IDS, ExportOptions, ExportResult, Part, Selected, lookup
from ._extras import need
from ._files import Paths, files_of, made, reading
from ._import import ImportResult, import_source
from ._into import ImportOptions, Into
from ._pieces import BATCH_VERTICES, Piece, Source, grouped
from ._trx import TrxWriter, open_trx

if TYPE_CHECKING:
    from ..geometry import Geometry
    from ..level import Level
    from ..repository import Repository

__all__ = ["export_streamlines", "import_streamlines", "open_streamlines"]

SUFFIXES = (".trk", ".tck", ".trx")
_AXES = [{"name": name, "type": "space", "unit": "millimeter"} for name in "xyz"]
_AT_ONCE = 4096
_TRK_NAME = 18
"""Bytes of the name of a TRK scalar, without the two that say how many columns it has."""
_TRK_VALUES = 10
# What nibabel makes by itself when it writes.
_MADE = ("nb_streamlines", "endianness", "_offset_data", "file", "count", "datatype", "hdr_size")
_MADE_TRK = (
    "magic_number", "version", "nb_scalars_per_point", "scalar_name",
    "nb_properties_per_streamline", "property_name",
)  # fmt: skip


def _nibabel(verb: str) -> Any:
    return need("nibabel.streamlines", "streamlines", f"{verb} TRK and TCK files")


def import_streamlines(
    repo: Repository,
    source: Paths,
    dataset: str,
    *,
    empty: str = "raise",
    batch_vertices: int = BATCH_VERTICES,
    **options: Unpack[ImportOptions],
) -> ImportResult:
    """Import streamlines from TRK, TCK or TRX files.

    Parameters
    ----------
    repo : Repository
    source : path, or sequence of paths
        Files, folders or patterns, all of one format.
    dataset : str
        Of kind streamline, or polyline.
    empty : {"raise", "skip"}
        What to do with a streamline without points.
    batch_vertices : int
        Points, about, that are appended at a time.
    **options
        Those of all imports: :class:`ImportOptions`. The unit is millimeter.

    Returns
    -------
    ImportResult

    Raises
    ------
    NotFoundError
        If a file is not there.
    MissingExtraError
        If what reads it is not installed.
    ArrayError
        If a file cannot be read or is cut short, a coordinate is not finite, or a
        streamline has no points. Nothing is committed.

    Notes
    -----
    Source: TrackVis TRK 2, MRtrix TCK, TRX 0.0.1. What a file has for each point
    becomes a vertex attribute, what it has for each streamline an object attribute;
    the groups of a TRX file become groups of objects. Ids are counted on, unless a
    TRX file has ``object_id`` for each streamline. The header of the first file is
    kept in the dataset's metadata, under ``trk``, ``tck`` or ``trx``.
    """
    opened = open_streamlines(source, empty=empty, batch_vertices=batch_vertices)
    return import_source(repo, opened, dataset, Into(**options))


def open_streamlines(
    source: Paths, *, empty: str = "raise", batch_vertices: int = BATCH_VERTICES
) -> Source:
    """Read the heads of files; parameters as for :func:`import_streamlines`."""
    if empty not in ("raise", "skip"):
        raise MetadataError(f'empty must be "raise" or "skip", got {empty!r}')
    paths = files_of(source, SUFFIXES)
    formats = {path.suffix.lower() for path in paths}
    if len(formats) > 1:
        raise MetadataError(f"the files are of several formats: {', '.join(sorted(formats))}")
    if formats == {".trx"}:
        return open_trx(paths, empty == "skip", batch_vertices, _AXES)
    if not formats <= set(SUFFIXES):
        raise MetadataError(f"{paths[0].name}: streamlines are read from {', '.join(SUFFIXES)}")
    format = formats.pop().removeprefix(".")
    headers = [_header(path) for path in paths]
    counts = [_count(header) for header in headers]
    return Source(
        format=format,
        kind="streamline",
        ndim=3,
        dtype=np.dtype(np.float32),
        parts=[partial(_pieces, path, empty == "skip", batch_vertices) for path in paths],
        files=[path.name for path in paths],
        axes=_AXES,
        metadata={format: _plain_header(headers[0])},
        total=sum(counts) if all(counts) else None,  # type: ignore[arg-type]
        unit="streamlines",
    )


def _header(path: Path) -> dict[str, Any]:
    with reading(path, path.suffix[1:].upper()):
        return dict(_nibabel("reading").load(path, lazy_load=True).header)


def _count(header: Mapping[str, Any]) -> int | None:
    """How many streamlines the header says there are; None where it does not."""
    for key in ("nb_streamlines", "count"):
        said = str(header.get(key, "")).strip()
        if said.isdigit():
            return int(said) or None
    return None


def _plain_header(header: Mapping[str, Any]) -> dict[str, Any]:
    """A header as JSON: bytes as Latin 1, arrays as lists."""
    return {
        str(key): _plain(value)
        for key, value in header.items()
        if key not in _MADE and not str(key).startswith("_")
    }


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value.item() if isinstance(value, np.generic) else value


# ---- reading ----------------------------------------------------------------


def _pieces(path: Path, skip: bool, batch: int) -> Iterator[Piece]:
    return grouped(_read(path, skip), batch)


def _read(path: Path, skip: bool) -> Iterator[Piece]:
    """The streamlines of a TRK or TCK file, some thousands at a time."""
    with reading(path, path.suffix[1:].upper()):
        file = _nibabel("reading").load(path, lazy_load=True)
        items, done = iter(file.tractogram), 0
        # The end of a TCK file is marked, and nibabel misses the mark; its count is a remark.
        expected = _count(file.header) if path.suffix.lower() == ".trk" else None
        affine = _affine(path, file)
        while True:
            some = list(islice(items, _AT_ONCE))
            if not some:
                break
            yield _piece(path, done, some, affine, skip)
            done += len(some)
        if expected is not None and done != expected:
            raise ArrayError(
                f"{path} is cut short: its header says {expected:,} streamlines, and {done:,} are "
                "there"
            )


def _affine(path: Path, file: Any) -> np.ndarray | None:
    """What takes the streamlines, as they come one by one, to RAS+ millimetres.

    nibabel 5 applies it to ``file.streamlines``, and not to what it yields with
    values. Whether this one does is seen from the first streamline.
    """
    first = next(iter(file.streamlines), None)
    if first is None or path.suffix.lower() != ".trk":
        return None
    item = next(iter(file.tractogram))
    if np.array_equal(first, item.streamline):
        return None
    trk = need("nibabel.streamlines.trk", "streamlines", "reading TRK files")
    return np.asarray(trk.get_affine_trackvis_to_rasmm(file.header))


def _piece(
    path: Path, first: int, items: list[Any], affine: np.ndarray | None, skip: bool
) -> Piece:
    read = len(items)
    items, counts = _filled(path, first, items, [len(item.streamline) for item in items], skip)
    names = items[0].data_for_points if items else ()
    of_lines = items[0].data_for_streamline if items else ()
    points = np.concatenate(
        [np.zeros((0, 3), np.float32), *(_native(item.streamline) for item in items)]
    )
    if affine is not None:
        apply = need("nibabel.affines", "streamlines", "reading TRK files").apply_affine
        points = apply(affine, points).astype(np.float32)
    return Piece(
        points,
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        attributes={
            str(n): _column(np.concatenate([_native(i.data_for_points[n]) for i in items]))
            for n in names
        },
        object_attributes={
            str(n): _column(np.stack([_native(i.data_for_streamline[n]) for i in items]))
            for n in of_lines
        },
        name=f"{path}, streamline {first:,} and after",
        weight=read,
    )


def _filled(
    path: Path, first: int, items: list[Any], counts: list[int], skip: bool
) -> tuple[list[Any], list[int]]:
    """The streamlines that have points; others are refused, or left out."""
    if 0 in counts:
        if not skip:
            raise ArrayError(
                f"{path}: streamline {first + counts.index(0):,} has no points; leave such ones "
                'out with empty="skip"'
            )
        items = [item for item, n in zip(items, counts, strict=True) if n]
        counts = [n for n in counts if n]
    return items, counts


def _native(values: Any) -> np.ndarray:
    array = np.asarray(values)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _column(values: np.ndarray) -> np.ndarray:
    """Values of one column as (N,)."""
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


# ---- export -----------------------------------------------------------------


def export_streamlines(
    level: Level,
    target: str | os.PathLike[str],
    *,
    format: str | None = None,
    **options: Unpack[ExportOptions],
) -> ExportResult:
    """Export lines to a TRK, TCK or TRX file.

    Parameters
    ----------
    level : Level
        Of any snapshot; of kind streamline, polyline or line, in three axes.
    target : path
    format : {"trk", "tck", "trx"}, optional
        By the suffix of the target where left out.
    **options
        Those of all exports: :class:`ExportOptions`. A line that a box cuts comes as
        its pieces. TCK holds no attributes; TRK those that float32 holds (float32,
        integers of up to two bytes, bool), ten columns of points and ten of
        streamlines at most; TRX all numbers, groups, and ``object_id`` where ids are
        not just counted.

    Returns
    -------
    ExportResult

    Raises
    ------
    MetadataError
        If the target is there already, or the dataset has no lines in three axes.

    Notes
    -----
    The header that the dataset came with is used; without one the space of the
    image is unknown, and the file has voxels of 1 mm. TRK and TCK round coordinates
    to float32, and those of TRK go through the affine of the image and back, which
    may change the last digit.
    """
    part = Part(**options)
    kind, ndim = level._dataset.kind, level._reader.meta.ndim
    if kind not in LINES or ndim != 3:
        raise MetadataError(
            f"lines in three axes are exported; dataset {level._dataset.name!r} is of kind "
            f"{kind!r} and has {ndim}"
        )
    format = format or os.path.splitext(os.fspath(target))[1].lower().removeprefix(".")
    if f".{format}" not in SUFFIXES:
        raise MetadataError(f"{target}: streamlines are written as {', '.join(SUFFIXES)}")
    facts = level._reader.state.facts
    chosen = Selected(level, part, lambda name: _fits(format, facts.attributes[name]))
    of_objects = sorted(facts.object_attributes)
    kept = [name for name in of_objects if _fits(format, facts.object_attributes[name])]
    chosen.left_out += [f"objects: {name}" for name in of_objects if name not in kept]
    chosen.left_out += [f"links: {name}" for name in sorted(facts.link_attributes)]
    if format != "trx":
        chosen.left_out += [OBJECT_IDS, *(f"groups: {name}" for name in sorted(level.groups))]
    if format == "trk":
        _check_columns([facts.attributes[name] for name in chosen.names], "points")
        _check_columns([facts.object_attributes[name] for name in kept], "streamlines")
    with made(target, overwrite=part.overwrite, folder=False) as path:
        if format == "trx":
            _write_trx(chosen, kept, path)
        else:
            _write(chosen, kept, format, path)
    return chosen.result(format, target, 1)


def _fits(format: str, attribute: Any) -> bool:
    if attribute.logical or format == "tck":
        return False
    if format == "trx":
        return "." not in attribute.name
    small = attribute.dtype.itemsize <= (4 if attribute.dtype.kind == "f" else 2)
    return small and len(attribute.name.encode()) <= _TRK_NAME


def _check_columns(attributes: list[Any], of: str) -> None:
    columns = sum(a.row_shape[0] if a.row_shape else 1 for a in attributes)
    if columns > _TRK_VALUES or len(attributes) > _TRK_VALUES:
        raise MetadataError(
            f"a TRK file has room for {_TRK_VALUES} values of {of}, and there are {columns}; name "
            "fewer attributes, or export to TRX"
        )


def _lines(
    chosen: Selected, kept: list[str]
) -> Iterator[tuple[Geometry, np.ndarray, dict[str, np.ndarray]]]:
    """Lines, where each begins, and the values of their objects, line by line."""
    ids, values = chosen.object_values()
    for found in chosen.objects():
        parts = found.parts if found.parts is not None else np.zeros(1, np.int64)
        of_lines = found.object_ids[parts[:-1]]
        yield found, parts, {name: lookup(ids, values[name], of_lines) for name in kept}


@dataclass(frozen=True)
class _Line:
    """One line, and what belongs to it."""

    points: np.ndarray
    of_line: dict[str, np.ndarray]
    of_points: dict[str, np.ndarray]


class _Feed:
    """Lines for nibabel, which asks for points and for each of their values apart.

    It asks in turns, a line at a time, so that one look at the level serves all.
    It begins twice, once to see what there is.
    """

    def __init__(self, chosen: Selected, kept: list[str]) -> None:
        self._chosen = chosen
        self._kept = kept
        self._line: _Line | None = None

    def points(self) -> Iterator[np.ndarray]:
        """The points of line after line."""
        self._chosen.vertices = self._chosen.links = 0
        for found, parts, values in _lines(self._chosen, self._kept):
            of_points = {n: _two(found.attributes[n]) for n in self._chosen.names}
            of_lines = {n: _two(v) for n, v in values.items()}
            positions = found.positions.astype(np.float32, copy=False)
            for at, (a, b) in enumerate(pairwise(parts.tolist())):
                self._line = _Line(
                    positions[a:b],
                    {n: v[at] for n, v in of_lines.items()},
                    {n: v[a:b] for n, v in of_points.items()},
                )
                yield self._line.points

    def values(self, name: str, *, of_points: bool) -> Iterator[np.ndarray]:
        """The values of the line that was given out last, again and again."""
        while self._line is not None:
            yield (self._line.of_points if of_points else self._line.of_line)[name]


def _write(chosen: Selected, kept: list[str], format: str, path: Path) -> None:
    streamlines = _nibabel("writing")
    feed = _Feed(chosen, kept)
    tractogram = streamlines.LazyTractogram(
        feed.points,
        {name: partial(feed.values, name, of_points=False) for name in kept},
        {name: partial(feed.values, name, of_points=True) for name in chosen.names},
        affine_to_rasmm=np.eye(4),
    )
    stored = chosen.level._dataset.metadata.get(format)
    header = _trk_header(stored) if format == "trk" else _tck_header(stored)
    kinds = {"trk": streamlines.TrkFile, "tck": streamlines.TckFile}
    with path.open("wb") as file:
        kinds[format](tractogram, header=header).save(file)


def _two(values: np.ndarray) -> np.ndarray:
    """Values as (N, C) float32."""
    return values.reshape(len(values), -1).astype(np.float32)


def _trk_header(stored: Any) -> dict[str, Any]:
    """A header as nibabel takes it."""
    header: dict[str, Any] = {}
    dtype = need("nibabel.streamlines.trk", "streamlines", "writing").header_2_dtype
    for key, value in (stored if isinstance(stored, dict) else {}).items():
        if key not in dtype.names or key in _MADE_TRK:
            continue
        kind = dtype[key]
        try:
            if kind.base.kind == "S":
                header[key] = value.encode("latin-1")
            else:
                header[key] = np.array(value, kind.base).reshape(kind.shape)
        except (AttributeError, TypeError, ValueError) as error:
            raise MetadataError(
                f"the dataset's metadata 'trk' has {value!r} as {key!r}, which is none: {error}"
            ) from error
    if not header:
        header["voxel_to_rasmm"] = np.eye(4, dtype=np.float32)
        header["voxel_order"] = b"RAS"
    return header


def _tck_header(stored: Any) -> dict[str, Any]:
    kept = stored if isinstance(stored, dict) else {}
    return {k: v for k, v in kept.items() if isinstance(v, str) and k != "magic_number"}


def _write_trx(chosen: Selected, kept: list[str], path: Path) -> None:
    level = chosen.level
    stored = level._dataset.metadata.get("trx")
    with TrxWriter(path, stored if isinstance(stored, dict) else {}) as writer:
        for found, parts, values in _lines(chosen, kept):
            of_lines = found.object_ids[parts[:-1]]
            writer.add(
                found.positions,
                np.diff(parts),
                of_lines,
                {name: found.attributes[name] for name in chosen.names},
                values,
            )
        groups = {name: level.groups[name] for name in level.groups}
        writer.finish(groups)
