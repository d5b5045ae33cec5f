"""SWC files: skeletons of neurons, an object a file.

A row is a node: its number, its type, x, y, z, its radius and the number of its
parent, -1 at a root. Numbers, types and radii become the vertex attributes
``node_id``, ``type`` and ``radius``; comments are kept.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from .. import _checks_links
from .._sets import distinct
from ..errors import ArrayError, MetadataError
from ..format.metadata import GRAPHS
from ._export import ExportOptions, ExportResult, Part, Selected, lookup
from ._files import Paths, files_of, given_ids, made, reading
from ._import import ImportResult, import_source
from ._into import ImportOptions, Into
from ._objects import one_by_one
from ._pieces import BATCH_VERTICES, Piece, Source, grouped

if TYPE_CHECKING:
    from ..geometry import Geometry
    from ..level import Level
    from ..repository import Repository

__all__ = ["export_swc", "import_swc", "open_swc", "parse_swc"]

SUFFIXES = (".swc",)
COMMENTS = "comments"
NAME = "name"
_COLUMNS = 7
_FILES_A_PART = 256
_UNIT = "# unit: "


def import_swc(
    repo: Repository,
    source: Paths,
    dataset: str,
    *,
    object_ids: Sequence[int] | Mapping[str, int] | None = None,
    batch_vertices: int = BATCH_VERTICES,
    **options: Unpack[ImportOptions],
) -> ImportResult:
    """Import skeletons from SWC files.

    Parameters
    ----------
    repo : Repository
    source : path, or sequence of paths
        Files, folders or patterns.
    dataset : str
        Of kind skeleton, or graph.
    object_ids : sequence of int, or mapping of str to int, optional
        The id of each file, in their order or by name. Left out, the numbers that
        the files are called; where not all are numbers, ids are counted on, and the
        object attribute ``name`` has the names.
    batch_vertices : int
        Nodes, about, that are appended at a time.
    **options
        Those of all imports: :class:`ImportOptions`. Coordinates are kept as
        float64 unless ``dtype`` says otherwise. SWC files have no unit but for the
        comment that :func:`export_swc` writes: give ``unit``.

    Returns
    -------
    ImportResult

    Raises
    ------
    NotFoundError
        If a file is not there.
    ArrayError
        If a file is not SWC, a parent is not there, or a tree is none. Nothing is
        committed.

    Notes
    -----
    Source: Cannon et al., J. Neurosci. Methods 84, 1998. Comments are kept in the
    dataset's metadata, ``swc: {comments: […]}``, where they are the same in all
    files, else in the object attribute ``comments``.
    """
    opened = open_swc(source, object_ids=object_ids, batch_vertices=batch_vertices)
    return import_source(repo, opened, dataset, Into(**options))


def open_swc(
    source: Paths,
    *,
    object_ids: Sequence[int] | Mapping[str, int] | None = None,
    batch_vertices: int = BATCH_VERTICES,
) -> Source:
    """Find SWC files; parameters as for :func:`import_swc`."""
    paths = files_of(source, SUFFIXES)
    ids, counted = given_ids(paths, object_ids)
    same = _shared_comments(paths)
    units = {line[len(_UNIT) :].strip() for line in same or () if line.startswith(_UNIT)}
    axes = None
    if len(units) == 1:
        axes = [{"name": name, "type": "space", "unit": next(iter(units))} for name in "xyz"]
    parts = [
        partial(
            _pieces,
            paths[start : start + _FILES_A_PART],
            ids[start : start + _FILES_A_PART],
            counted,
            same is None,
            batch_vertices,
        )
        for start in range(0, len(paths), _FILES_A_PART)
    ]
    return Source(
        format="swc",
        kind="skeleton",
        ndim=3,
        dtype=np.dtype(np.float64),
        parts=parts,
        files=[path.name for path in paths],
        axes=axes,
        metadata={"swc": {COMMENTS: same}} if same else {},
        total=sum(path.stat().st_size for path in paths),
    )


def _shared_comments(paths: Sequence[Path]) -> list[str] | None:
    """The comments that all files have; None where they differ."""
    same: list[str] | None = None
    for path in paths:
        with reading(path, "SWC"), path.open(encoding="utf-8") as file:
            found = [line.rstrip() for line in file if line.startswith("#")]
        if same is None:
            same = found
        elif same != found:
            return None
    return same


def parse_swc(text: str, name: str = "SWC") -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Read one SWC file.

    Parameters
    ----------
    text : str
        All of it.
    name : str
        What an error calls it.

    Returns
    -------
    positions : ndarray of float64, shape (N, 3)
    edges : ndarray of int64, shape (M, 2)
        Rows of `positions`: (child, parent).
    attributes : dict of str to ndarray
        ``node_id`` (int64), ``type`` (int32) and ``radius`` (float64).

    Raises
    ------
    ArrayError
        Saying which row is wrong.

    Examples
    --------
    >>> from zv_versioned.interop.swc import parse_swc
    >>> positions, edges, attributes = parse_swc("# soma\\n1 1 0 0 0 5 -1\\n2 0 9 0 0 1 1\\n")
    >>> edges.tolist(), attributes["radius"].tolist()
    ([[1, 0]], [5.0, 1.0])
    """
    lines = text.splitlines()
    rows = [row.split() for row in lines if row.strip() and not row.lstrip().startswith("#")]
    if not rows:
        raise ArrayError(f"{name}: no node is in it")
    if set(map(len, rows)) != {_COLUMNS}:
        wrong = next(row for row in rows if len(row) != _COLUMNS)
        raise ArrayError(
            f"{name}: the row {' '.join(wrong)!r} has {len(wrong)} columns, and SWC has seven; is "
            "the file cut short?"
        )
    columns = list(zip(*rows, strict=True))
    numbers = [_numbers(columns[at], name) for at in range(_COLUMNS)]
    node, kind, parent = (_whole(numbers[at], columns[at], name) for at in (0, 1, 6))
    if abs(kind).max() > np.iinfo(np.int32).max:
        raise ArrayError(f"{name}: the type {kind[np.argmax(abs(kind))]} of a node is no type")
    edges = _edges(node, parent, name)
    attributes = {"node_id": node, "type": kind.astype(np.int32), "radius": numbers[5]}
    return np.stack(numbers[2:5], axis=1), edges, attributes


def _numbers(cells: Sequence[str], name: str) -> np.ndarray:
    try:
        return np.fromiter(map(float, cells), np.float64, len(cells))
    except ValueError as error:
        raise ArrayError(f"{name}: {error}; SWC has numbers in all columns") from error


def _whole(values: np.ndarray, cells: Sequence[str], name: str) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        whole = values.astype(np.int64)
    wrong = ~(whole == values) | (abs(values) > 2.0**53)
    if wrong.any():
        raise ArrayError(f"{name}: {cells[int(np.argmax(wrong))]!r} must be a whole number")
    return whole


def _edges(node: np.ndarray, parent: np.ndarray, name: str) -> np.ndarray:
    """Edges from each node to its parent; a parent below 0 is none."""
    order = np.argsort(node, kind="stable")
    ascending = node[order]
    twice = np.flatnonzero(ascending[1:] == ascending[:-1])
    if len(twice):
        raise ArrayError(f"{name}: two nodes have the number {ascending[twice[0]]}")
    child = np.flatnonzero(parent >= 0)
    at = np.minimum(np.searchsorted(ascending, parent[child]), len(node) - 1)
    lost = ascending[at] != parent[child]
    if lost.any():
        one = child[np.argmax(lost)]
        raise ArrayError(
            f"{name}: node {node[one]} has the parent {parent[one]}, which is not there; is the "
            "file cut short?"
        )
    edges = np.stack([child, order[at]], axis=1)
    try:
        _checks_links.no_self_loops(edges)
        _checks_links.tree(edges, len(node))
    except ArrayError as error:
        raise ArrayError(f"{name}: {error}") from error
    return edges


def _pieces(
    paths: Sequence[Path], ids: Sequence[int], counted: bool, comments: bool, batch: int
) -> Iterator[Piece]:
    pieces = (
        _piece(path, number, counted, comments) for path, number in zip(paths, ids, strict=True)
    )
    return grouped(pieces, batch)


def _piece(path: Path, number: int, counted: bool, comments: bool) -> Piece:
    with reading(path, "SWC"):
        text = path.read_text(encoding="utf-8")
        positions, edges, attributes = parse_swc(text, str(path))
    facts: dict[str, Any] = {NAME: path.stem} if counted else {}
    if comments:
        kept = [line.rstrip() for line in text.splitlines() if line.startswith("#")]
        facts[COMMENTS] = "\n".join(kept)
    return Piece(
        positions,
        number,
        links=edges,
        attributes=attributes,
        object_attributes={key: np.array([value], object) for key, value in facts.items()},
        name=str(path),
        weight=path.stat().st_size,
        counted=counted,
    )


# ---- export -----------------------------------------------------------------


def export_swc(
    level: Level, target: str | os.PathLike[str], **options: Unpack[ExportOptions]
) -> ExportResult:
    """Export skeletons to SWC files.

    Parameters
    ----------
    level : Level
        Of any snapshot; of kind skeleton, or of a graph whose objects are trees.
    target : path
        A name with the suffix ``.swc`` for one object; else a folder, which gets a
        file for each, called by its id.
    **options
        Those of all exports: :class:`ExportOptions`. SWC holds the attributes
        ``node_id``, ``type`` and ``radius`` alone.

    Returns
    -------
    ExportResult

    Raises
    ------
    MetadataError
        If the target is there already, the dataset has no such geometry, or one
        file would have several objects.

    Notes
    -----
    Nodes keep the numbers in ``node_id`` where these differ within the object, and
    are written in their order; else they are numbered from 1, parents first. What
    has no radius or type gets 0. Comments come back as they were, and the unit in
    one of our own.
    """
    part = Part(**options)
    _writable(level)
    chosen = Selected(level, part, lambda name: name in ("node_id", "type", "radius"))
    head = _head(level)
    single = str(target).lower().endswith(SUFFIXES)
    ids, values = chosen.object_values()
    files = 0
    with made(target, overwrite=part.overwrite, folder=not single) as path:
        for found in chosen.objects():
            for number, one in one_by_one(found):
                if single and files:
                    raise MetadataError(
                        f"{target} would have several skeletons; name one with objects, or a folder"
                    )
                if single:
                    chosen.named(target, number)
                comments = head
                if COMMENTS in values:
                    own = lookup(ids, values[COMMENTS], np.array([number]))[0]
                    comments = head if own is None else own.splitlines()
                text = _text(one, comments)
                (path if single else path / f"{number}.swc").write_text(text, encoding="utf-8")
                files += 1
        if single and not files:
            raise MetadataError(f"no object is in what is asked for, so there is no {target}")
    return chosen.result("swc", target, files)


def _writable(level: Level) -> None:
    kind, ndim = level._dataset.kind, level._reader.meta.ndim
    if kind not in GRAPHS or ndim != 3:
        raise MetadataError(
            f"SWC files hold skeletons in three axes; dataset {level._dataset.name!r} is of kind "
            f"{kind!r} and has {ndim}"
        )


def _head(level: Level) -> list[str]:
    kept = level._dataset.metadata.get("swc")
    lines = kept.get(COMMENTS, []) if isinstance(kept, dict) else []
    units = {axis.get("unit") for axis in level._dataset.axes}
    unit = next(iter(units))
    if len(units) == 1 and unit is not None and not any(s.startswith(_UNIT) for s in lines):
        lines = [*lines, f"{_UNIT}{unit}"]
    return list(lines)


def _text(one: Geometry, comments: Sequence[str]) -> str:
    n = len(one)
    parent = np.full(n, -1, np.int64)
    edges = one.edges if one.edges is not None else np.zeros((0, 2), np.int64)
    if len(distinct(edges[:, 0])) < len(edges):
        raise MetadataError(
            f"object {one.object_ids[0]} is no tree: a node has two parents, which SWC cannot say"
        )
    parent[edges[:, 0]] = edges[:, 1]
    numbers = one.attributes.get("node_id")
    if numbers is None or (numbers < 0).any() or len(distinct(numbers)) < n:
        order = np.argsort(_depths(parent, int(one.object_ids[0])), kind="stable")
        numbers = np.empty(n, np.int64)
        numbers[order] = np.arange(1, n + 1)
    else:
        order = np.argsort(numbers, kind="stable")
    kinds = _filled(one.attributes.get("type"), n)
    radius = _filled(one.attributes.get("radius"), n)
    columns = [
        numbers[order].astype(str),
        kinds[order].astype(str),
        *(one.positions[order, axis].astype(str) for axis in range(3)),
        radius[order].astype(str),
        np.where(parent < 0, -1, numbers[parent])[order].astype(str),
    ]
    rows = map(" ".join, zip(*(column.tolist() for column in columns), strict=True))
    return "\n".join([*comments, *rows]) + "\n"


def _filled(values: np.ndarray | None, n: int) -> np.ndarray:
    """Values with 0 where they are missing."""
    if values is None:
        return np.zeros(n, np.int64)
    if values.dtype.kind == "f":
        return np.where(np.isnan(values), values.dtype.type(0), values)
    return np.where(values == np.iinfo(values.dtype).min, 0, values)


def _depths(parent: np.ndarray, number: int) -> np.ndarray:
    """How far each node is from its root, by steps that double."""
    n = len(parent)
    above = np.append(np.where(parent < 0, n, parent), n)
    depth = np.append((parent >= 0).astype(np.int64), 0)
    for _ in range(n.bit_length() + 1):
        if (above[:n] == n).all():
            return depth[:n]
        depth = depth + depth[above]
        above = above[above]
    raise MetadataError(f"object {number} is no tree: its edges lead in a circle")
