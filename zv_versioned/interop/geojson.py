"""GeoJSON files: points or lines on a map, a feature at a time.

A file may be one FeatureCollection, or have a feature a line (``.geojsonl``). It
is read feature by feature, whatever its size. Coordinates are longitude and
latitude in degrees (WGS 84), and a height in metres where there is one.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Unpack

import numpy as np

from .. import _checks
from .._sets import distinct
from ..errors import ArrayError, MetadataError
from ..format.metadata import LINES, POINTS
from ._export import ExportOptions, ExportResult, Part, Selected, lookup
from ._features import Feature, features, values_of
from ._files import Paths, files_of, made, reading
from ._import import ImportResult, import_source
from ._into import ImportOptions, Into
from ._pieces import BATCH_VERTICES, Piece, Scan, Source, grouped
from ._progress import Progress

if TYPE_CHECKING:
    from ..geometry import Geometry
    from ..level import Level
    from ..repository import Repository

__all__ = ["export_geojson", "import_geojson", "open_geojson"]

SUFFIXES = (".geojson", ".geojsonl", ".geojsons")
_LINES_SUFFIXES = (".geojsonl", ".geojsons")
_AT_ONCE = 4096
_WGS84 = ("CRS84", "EPSG::4326", "EPSG:4326")
_KINDS = {
    "Point": "point_cloud",
    "MultiPoint": "point_cloud",
    "LineString": "polyline",
    "MultiLineString": "polyline",
    "Polygon": "polyline",
    "MultiPolygon": "polyline",
}


@dataclass
class _Looked:
    """What looking through a file has told.

    Parameters
    ----------
    scan : Scan
    kind : str
        Of the geometry; empty where there is none.
    ndim : int
    properties : dict of str to Counter
        How often the values are of which type, by name.
    ids : list of ndarray, or None
        Of the features; None once one has no id that an object can have.
    features : int
    facts : dict
        What the first collection says beyond its features.
    """

    scan: Scan = field(default_factory=lambda: Scan(None, 0, 0))
    kind: str = ""
    ndim: int = 0
    properties: dict[str, Counter[type]] = field(default_factory=dict)
    ids: list[np.ndarray] | None = field(default_factory=list)
    features: int = 0
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def own_ids(self) -> bool:
        """Whether the features' ids can be those of the objects: they differ."""
        if self.ids is None:
            return False
        ids = np.concatenate([np.zeros(0, np.int64), *self.ids])
        return len(distinct(ids)) == len(ids)


def import_geojson(
    repo: Repository,
    source: Paths,
    dataset: str,
    *,
    outlines: bool = False,
    batch_vertices: int = BATCH_VERTICES,
    **options: Unpack[ImportOptions],
) -> ImportResult:
    """Import points or lines from GeoJSON files.

    Parameters
    ----------
    repo : Repository
    source : path, or sequence of paths
        Files, folders or patterns.
    dataset : str
        Of points, or of kind polyline.
    outlines : bool
        Whether polygons are to come as their outlines; they are refused otherwise.
    batch_vertices : int
        Vertices, about, that are appended at a time.
    **options
        Those of all imports: :class:`ImportOptions`. Coordinates are kept as
        float64 unless ``dtype`` says otherwise.

    Returns
    -------
    ImportResult

    Raises
    ------
    NotFoundError
        If a file is not there.
    ArrayError
        If a file is not GeoJSON, has points as well as lines, or coordinates of
        different length. Nothing is committed.

    Notes
    -----
    Source: RFC 7946, RFC 8142. A feature is an object, under its id where all have
    one that is a whole number, else counted on. Properties become object
    attributes; what is no number, text or truth value becomes text, as JSON. A
    feature without geometry is left out.
    """
    into = Into(**options)
    opened = open_geojson(
        source, outlines=outlines, batch_vertices=batch_vertices, report=into.report
    )
    return import_source(repo, opened, dataset, into)


def open_geojson(
    source: Paths,
    *,
    outlines: bool = False,
    batch_vertices: int = BATCH_VERTICES,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Source:
    """Look through GeoJSON files; parameters as for :func:`import_geojson`."""
    _checks.flags(outlines=outlines)
    paths = files_of(source, SUFFIXES)
    total, done, looked = sum(path.stat().st_size for path in paths), 0, _Looked()
    first = []
    for path in paths:
        first.append(looked.features)
        _look(path, looked, outlines)
        done += path.stat().st_size
        report(Progress("scan", done, total, "bytes"))
    if not looked.kind:
        raise ArrayError(f"{paths[0]}: no point and no line is in it")
    kinds = {name: _kind(types, looked.features) for name, types in looked.properties.items()}
    own = looked.own_ids
    return Source(
        format="geojson",
        kind=looked.kind,
        ndim=looked.ndim,
        dtype=np.dtype(np.float64),
        parts=[
            partial(_pieces, path, number, looked.kind, kinds, own, batch_vertices)
            for path, number in zip(paths, first, strict=True)
        ],
        files=[path.name for path in paths],
        bounds=looked.scan.box,
        axes=_axes(looked),
        metadata={"geojson": looked.facts} if looked.facts else {},
        total=total,
        vertices=looked.scan.vertices,
    )


def _axes(looked: _Looked) -> list[dict[str, str]] | None:
    """Degrees and metres, unless a file of the old kind says that they are not."""
    if looked.ndim not in (2, 3):
        return None
    names = ("longitude", "latitude", "height")[: looked.ndim]
    axes = [{"name": name, "type": "space"} for name in names]
    crs = json.dumps(looked.facts.get("crs", _WGS84[0]))
    if not any(name in crs for name in _WGS84):
        return [{**axis, "name": name} for axis, name in zip(axes, "xyz", strict=False)]
    units = ("degree", "degree", "meter")
    return [{**axis, "unit": unit} for axis, unit in zip(axes, units, strict=False)]


# ---- reading ----------------------------------------------------------------


def _look(path: Path, looked: _Looked, outlines: bool) -> None:
    for block in _blocks(path, looked.facts):
        for feature in block:
            _look_at(path, looked, feature, outlines)
        looked.scan |= Piece(_points(path, block, looked.ndim), name=str(path)).scan()
        if looked.ids is not None:
            own = all(feature.has_id for feature in block)
            looked.ids = [*looked.ids, _ids(block)] if own else None


def _look_at(path: Path, looked: _Looked, feature: Feature, outlines: bool) -> None:
    kind = _KINDS.get(feature.type)
    if kind is None or (feature.type.endswith("Polygon") and not outlines):
        remedy = "; outlines=True takes their outlines" if kind else ""
        raise ArrayError(
            f"{path}: feature {looked.features:,} is a {feature.type}, and points and lines can be "
            f"imported{remedy}"
        )
    looked.kind = looked.kind or kind
    if kind != looked.kind:
        raise ArrayError(
            f"{path} has points as well as lines (feature {looked.features:,} is a "
            f"{feature.type}); a dataset has one kind: import them from two files"
        )
    looked.ndim = looked.ndim or feature.ndim
    looked.features += 1
    for name, value in feature.properties.items():
        looked.properties.setdefault(name, Counter())[_type(value)] += 1


def _ids(block: list[Feature]) -> np.ndarray:
    return np.fromiter((feature.id for feature in block), np.int64, len(block))


def _blocks(path: Path, facts: dict[str, Any]) -> Iterator[list[Feature]]:
    """The features of a file that have a geometry, some thousands at a time."""
    with reading(path, "GeoJSON"), path.open(encoding="utf-8-sig") as file:
        found = features(file, facts, by_line=path.suffix.lower() in _LINES_SUFFIXES)
        while block := list(islice(found, _AT_ONCE)):
            yield block


def _points(path: Path, block: list[Feature], ndim: int) -> np.ndarray:
    rows = [row for feature in block for line in feature.lines for row in line]
    if set(map(len, rows)) - {ndim}:
        raise ArrayError(
            f"{path}: some positions have {len(next(r for r in rows if len(r) != ndim))} numbers "
            f"and others {ndim}; make them the same"
        )
    try:
        return np.array(rows, np.float64).reshape(-1, ndim)
    except (TypeError, ValueError) as error:
        raise ArrayError(f"{path}: a coordinate is no number: {error}") from error


def _pieces(
    path: Path,
    first: int,
    kind: str,
    kinds: Mapping[str, str],
    ids: bool,
    batch: int,
) -> Iterator[Piece]:
    def pieces() -> Iterator[Piece]:
        number, weight = first, path.stat().st_size
        for block in _blocks(path, {}):
            yield _piece(path, block, number, kind, kinds, ids, weight)
            # What a block weighs is not known; the first one stands for the file.
            number, weight = number + len(block), 0

    return grouped(pieces(), batch)


def _piece(
    path: Path,
    block: list[Feature],
    number: int,
    kind: str,
    kinds: Mapping[str, str],
    ids: bool,
    weight: int,
) -> Piece:
    points = _points(path, block, block[0].ndim)
    objects = _ids(block) if ids else np.arange(number, number + len(block))
    counts = [len(line) for feature in block for line in feature.lines]
    lines = np.repeat(objects, [len(feature.lines) for feature in block])
    return Piece(
        points,
        lines if kind in LINES else np.repeat(lines, counts),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        if kind in LINES
        else None,
        object_attributes={
            name: values_of([feature.properties.get(name) for feature in block], of)
            for name, of in kinds.items()
        },
        name=f"{path}, feature {number:,} and after",
        weight=weight,
        counted=not ids,
    )


def _type(value: Any) -> type:
    """The type of a value; of a whole number that 64 bits cannot hold, that of a list."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return list
    return type(value)


def _kind(types: Counter[type], total: int) -> str:
    """What all values of a property are."""
    known = set(types) - {type(None)}
    complete = sum(types[kind] for kind in known) == total
    if known == {bool} and complete:
        return "bool"
    if known == {int} and complete:
        return "int"
    if known and known <= {int, float}:
        return "float"
    return "text" if known <= {str} else "json"


# ---- export -----------------------------------------------------------------


def export_geojson(
    level: Level, target: str | os.PathLike[str], **options: Unpack[ExportOptions]
) -> ExportResult:
    """Export points or lines to a GeoJSON file.

    Parameters
    ----------
    level : Level
        Of any snapshot; of points or lines in two or three axes, which are taken to
        be longitude, latitude and height.
    target : path
        With the suffix ``.geojsonl``, a feature a line; else a FeatureCollection.
    **options
        Those of all exports: :class:`ExportOptions`. Properties are the object
        attributes, and of points the attributes of the vertex as well.

    Returns
    -------
    ExportResult

    Raises
    ------
    MetadataError
        If the target is there already, or the dataset has no points or lines in two
        or three axes.

    Notes
    -----
    Each point is a feature, and so are all lines of an object; the feature's id is
    that of the object. NaN and infinity, which JSON does not have, are null.
    Coordinates are written as they are stored: nothing is projected.
    """
    part = Part(**options)
    kind, ndim = level._dataset.kind, level._reader.meta.ndim
    if kind not in (*POINTS, *LINES) or ndim not in (2, 3):
        raise MetadataError(
            f"points and lines in two or three axes are exported to GeoJSON; dataset "
            f"{level._dataset.name!r} is of kind {kind!r} and has {ndim} axes"
        )
    facts = level._reader.state.facts
    chosen = Selected(level, part, lambda name: kind in POINTS and _holds(facts.attributes[name]))
    of_objects = sorted(facts.object_attributes)
    kept = [name for name in of_objects if _holds(facts.object_attributes[name])]
    chosen.left_out += [f"objects: {name}" for name in of_objects if name not in kept]
    chosen.left_out += [f"links: {name}" for name in sorted(facts.link_attributes)]
    stored = level._dataset.metadata.get("geojson", {})
    by_line = os.fspath(target).lower().endswith(_LINES_SUFFIXES)
    with (
        made(target, overwrite=part.overwrite, folder=False) as path,
        path.open("w", encoding="utf-8") as file,
    ):
        _write(file, _out(chosen, kept, kind in POINTS), stored, by_line=by_line)
    return chosen.result("geojson", target, 1)


def _holds(attribute: Any) -> bool:
    return attribute.logical in ("", "str")


def _write(file: IO[str], found: Iterator[dict[str, Any]], facts: Any, *, by_line: bool) -> None:
    between = "\n" if by_line else ",\n"
    if not by_line:
        head = {"type": "FeatureCollection", **(facts if isinstance(facts, dict) else {})}
        file.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "features": [\n')
    for number, feature in enumerate(found):
        file.write(between if number else "")
        file.write(json.dumps(feature, ensure_ascii=False, allow_nan=False))
    file.write("\n" if by_line else "\n]}\n")


def _out(chosen: Selected, kept: Sequence[str], points: bool) -> Iterator[dict[str, Any]]:
    """The features to write."""
    ids, values = chosen.object_values()
    for found in chosen.windows() if points else chosen.objects():
        if points:
            of_rows = {name: lookup(ids, values[name], found.object_ids) for name in kept}
            yield from _points_out(found, {**of_rows, **found.attributes})
        else:
            yield from _lines_out(found, ids, {name: values[name] for name in kept})


def _points_out(found: Geometry, values: Mapping[str, np.ndarray]) -> Iterator[dict[str, Any]]:
    columns = {name: _listed(column) for name, column in values.items()}
    rows = zip(found.object_ids.tolist(), _exact(found.positions), strict=True)
    for at, (number, position) in enumerate(rows):
        yield _feature(number, "Point", position, {n: c[at] for n, c in columns.items()})


def _lines_out(
    found: Geometry, ids: np.ndarray, values: Mapping[str, np.ndarray]
) -> Iterator[dict[str, Any]]:
    parts = found.parts if found.parts is not None else np.zeros(1, np.int64)
    owner = found.object_ids[parts[:-1]]
    order = np.argsort(owner, kind="stable")
    objects, starts = np.unique(owner[order], return_index=True)
    columns = {name: _listed(lookup(ids, column, objects)) for name, column in values.items()}
    positions = _exact(found.positions)
    for at, (a, b) in enumerate(pairwise([*starts.tolist(), len(order)])):
        lines = [positions[parts[p] : parts[p + 1]] for p in order[a:b].tolist()]
        kind = "LineString" if len(lines) == 1 else "MultiLineString"
        coordinates = lines[0] if len(lines) == 1 else lines
        properties = {name: column[at] for name, column in columns.items()}
        yield _feature(int(objects[at]), kind, coordinates, properties)


def _feature(number: int, kind: str, coordinates: Any, properties: Any) -> dict[str, Any]:
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "id": number, "geometry": geometry, "properties": properties}


def _exact(positions: np.ndarray) -> list[list[float]]:
    """Coordinates that read as the same numbers of their dtype, and are not longer than that."""
    if positions.dtype == np.float32:
        positions = positions.astype(str).astype(np.float64)
    listed: list[list[float]] = positions.tolist()
    return listed


def _listed(column: np.ndarray) -> list[Any]:
    """Values as JSON has them."""
    listed: list[Any]
    if column.dtype.kind != "f":
        listed = column.tolist()
        return listed
    finite = np.where(np.isfinite(column), column, 0)
    plain = finite.astype(str).astype(np.float64) if column.dtype == np.float32 else finite
    values = plain.astype(object)
    values[~np.isfinite(column)] = None
    listed = values.tolist()
    return listed
