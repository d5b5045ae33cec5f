"""Values for vertices, links and objects that are there: whole attributes, written and dropped.

Nothing of a vertex is read: how many each cell has stands in the heads of the
batches' indexes. What is written of a batch is new content under a new id, so
that the table alone says what changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import _checks, _paths, _writes
from .._cells_io import Blocks, encode_rows
from .._upload import Uploader
from ..errors import ArrayError, MetadataError, NotFoundError
from ..format import arrays, batches
from ..format.cells import MAX_PAYLOAD
from ..format.metadata import (
    LINK_ATTRIBUTES,
    MESHES,
    OBJECT_ATTRIBUTES,
    POINTS,
    TEXT,
    VERTEX_ATTRIBUTES,
    AttributeMeta,
)
from ..format.table import EVERYTHING, new_content_id, ranges_of
from ..reading.links import inside_cells, live_links
from ..reading.reader import LevelReader
from ..reading.removed import load_removals
from . import values as _values
from .stage import LevelStage
from .values import Stored, Values

_BATCHES_AT_ONCE = 256

FAMILY_OF = {
    "vertex": VERTEX_ATTRIBUTES,
    "link": LINK_ATTRIBUTES,
    "face": LINK_ATTRIBUTES,
    "object": OBJECT_ATTRIBUTES,
}
"""What values belong to, in the words of the field, and the family that they are kept in."""


# ---- bytes ------------------------------------------------------------------


def put_rows(
    upload: Uploader,
    stage: LevelStage,
    slot: int,
    attribute: AttributeMeta,
    stored: Stored,
    order: np.ndarray | None,
    cell_rows: np.ndarray,
    blocks: Blocks,
) -> None:
    """Upload the values of one batch: of its vertices or of its links.

    Parameters
    ----------
    upload : Uploader
    stage : LevelStage
    slot : int
    attribute : AttributeMeta
    stored : Stored
        N rows.
    order : ndarray of int64, shape (N,), or None
        Which row comes where in the order of the batch; None where they are in it.
    cell_rows : ndarray of int, shape (C,)
        Rows of each cell, none of them 0.
    blocks : Blocks
        Those cells by shard.
    """
    path, places = _paths.join(stage.path, attribute.path), stage.facts.grid.places
    codec = arrays.vertex_codec(attribute.dtype)
    for block, shard in encode_rows(stored.rows, order, cell_rows, blocks, places, codec):
        upload.put(_paths.shard_key(path, slot, block), shard)
    _put_texts(upload, stage, slot, attribute, stored)


def put_object_rows(
    upload: Uploader, stage: LevelStage, slot: int, attribute: AttributeMeta, stored: Stored
) -> None:
    """Upload the values of the objects that begin in one batch, by ascending id."""
    for array, cell in object_cells(attribute, stored).items():
        upload.put(_paths.shard_key(_paths.join(stage.path, array), slot, ()), cell)


def object_cells(attribute: AttributeMeta, stored: Stored) -> dict[str, bytes]:
    """The cells, by array, that the values of the objects of one batch are stored in."""
    payload = np.ascontiguousarray(stored.rows).reshape(-1).view(np.uint8).data
    return {attribute.path: batches.CODEC.encode(payload), **_text_cells(attribute, stored)}


def _text_cells(attribute: AttributeMeta, stored: Stored) -> dict[str, bytes]:
    if stored.texts is None:
        return {}
    return {attribute.dictionary: batches.CODEC.encode(_values.pack_texts(stored.texts))}


def _put_texts(
    upload: Uploader, stage: LevelStage, slot: int, attribute: AttributeMeta, stored: Stored
) -> None:
    for array, cell in _text_cells(attribute, stored).items():
        upload.put(_paths.shard_key(_paths.join(stage.path, array), slot, ()), cell)


# ---- whole attributes -------------------------------------------------------


def write_vertex_attribute(
    stage: LevelStage, name: str, values: Any, dtype: Any, verb: str
) -> dict[str, Any]:
    """Write values for all vertices of the level; see :meth:`ZVWriter.add_attribute`."""
    n = stage.facts.vertex_count
    where = f"{verb}({name!r})"
    parsed = _values.parse(where, values, n, f"level vertex count {n}", name, dtype=dtype)
    return _write(stage, where, parsed, _vertex_places, stage.table().live_vertices)


def write_object_attribute(
    stage: LevelStage, name: str, values: Any, dtype: Any, verb: str
) -> dict[str, Any]:
    """Write values for all objects of the level; see :meth:`ZVWriter.add_object_attribute`."""
    n = stage.facts.num_objects
    where, counted = f"{verb}({name!r})", f"level object count {n}"
    parsed = _values.parse(where, values, n, counted, name, family=OBJECT_ATTRIBUTES, dtype=dtype)
    return _write(stage, where, parsed, _object_places, stage.table().live_new_objects)


def write_link_attribute(
    stage: LevelStage, name: str, values: Any, dtype: Any, verb: str
) -> dict[str, Any]:
    """Write values for all links of the level; see :meth:`ZVWriter.add_link_attribute`."""
    where, n = f"{verb}({name!r})", stage.facts.link_count
    if stage.meta.kind in POINTS:
        raise MetadataError(
            f"{where}: dataset {stage.meta.name!r} is of kind {stage.meta.kind!r} and has no "
            "links; use add_attribute for values of its vertices"
        )
    counted = f"level link count {n}"
    parsed = _values.parse(where, values, n, counted, name, family=LINK_ATTRIBUTES, dtype=dtype)
    return _write(stage, where, parsed, _link_places, stage.table().live_links)


def write_face_attribute(
    stage: LevelStage, name: str, values: Any, dtype: Any, verb: str
) -> dict[str, Any]:
    """Write values for faces of the level; see :meth:`ZVWriter.add_face_attribute`."""
    where, n = f"{verb}({name!r})", stage.facts.link_count
    if stage.meta.kind not in MESHES:
        raise MetadataError(
            f"{where}: dataset {stage.meta.name!r} is of kind {stage.meta.kind!r} and has no "
            "faces; use add_link_attribute for values of its links"
        )
    given = _checks.as_array(values, where)
    counted, places, counts = f"level face count {n}", _link_places, stage.table().live_links
    if given.ndim and len(given) != n:
        places, counts = _inside_places, _faces_inside(stage.reader())
        n = int(counts.sum())
        counted = f"{counted}, nor {n}, the faces inside one cell"
    parsed = _values.parse(where, values, n, counted, name, family=LINK_ATTRIBUTES, dtype=dtype)
    return _write(stage, where, parsed, places, counts)


@dataclass(frozen=True)
class _Place:
    """Where the values of one batch go.

    Parameters
    ----------
    mask : ndarray of bool, shape (n,), or None
        Which of its rows get a value; None for all.
    cells : ndarray of int64, shape (C,), or None
        The cells that have rows; None where the batch is one cell.
    cell_rows : ndarray of int, shape (C,)
        How many rows each has.
    """

    mask: np.ndarray | None
    cells: np.ndarray | None
    cell_rows: np.ndarray


_Places = Callable[[LevelReader, list[int]], list[_Place]]


def _vertex_places(reader: LevelReader, rows: list[int]) -> list[_Place]:
    removals = load_removals(reader, rows)
    places = []
    for row, head in zip(rows, reader.heads(rows), strict=True):
        mask = None
        if row in removals:
            mask = np.ones(int(head.vertex_start[-1]), bool)
            removals[row].clear(head, np.arange(len(head.cells)), mask)
        places.append(_Place(mask, head.cells, head.cell_vertices))
    return places


def _link_places(reader: LevelReader, rows: list[int]) -> list[_Place]:
    live = live_links(reader, rows)
    places = []
    for row, head in zip(rows, reader.heads(rows), strict=True):
        has = head.cell_links > 0
        places.append(_Place(live.get(row), head.cells[has], head.cell_links[has]))
    return places


def _inside_places(reader: LevelReader, rows: list[int]) -> list[_Place]:
    return [
        replace(place, mask=mask if place.mask is None else mask & place.mask)
        for place, mask in zip(_link_places(reader, rows), inside_cells(reader, rows), strict=True)
    ]


def _object_places(reader: LevelReader, rows: list[int]) -> list[_Place]:
    table = reader.state.table
    lossy = [row for row in rows if table.n_removed_objects[row]]
    begins = zip(lossy, reader.beginning(lossy), reader.ids(lossy), strict=True)
    masks = {row: live[is_new] for row, live, (_, is_new) in begins}
    return [_Place(masks.get(row), None, table.n_new_objects[[row]]) for row in rows]


def _faces_inside(reader: LevelReader) -> np.ndarray:
    """How many faces of each batch are there and lie in one cell: (B,) int64."""
    table = reader.state.table
    counts = np.zeros(len(table), np.int64)
    rows = np.flatnonzero(table.live_links > 0)
    for some in _pieces(rows):
        counts[some] = [p.mask.sum() for p in _inside_places(reader, some) if p.mask is not None]
    return counts


def _pieces(rows: np.ndarray) -> list[list[int]]:
    """Rows of the table in pieces of bounded length."""
    starts = range(0, len(rows), _BATCHES_AT_ONCE)
    return [rows[start : start + _BATCHES_AT_ONCE].tolist() for start in starts]


def _write(
    stage: LevelStage, where: str, values: Values, places: _Places, counts: np.ndarray
) -> dict[str, Any]:
    """Upload values batch by batch, and record that they are there.

    Parameters
    ----------
    where : str
        What an error begins with.
    places : callable
        Where the values of some batches go.
    counts : ndarray of int64, shape (B,)
        How many values each batch gets.
    """
    attribute, reader = values.meta, stage.reader()
    rows, table = np.flatnonzero(counts > 0), reader.state.table
    largest = np.maximum(table.n_vertices, np.maximum(table.n_links, table.n_new_objects))
    for row in rows[largest[rows] * attribute.row_bytes > MAX_PAYLOAD].tolist():
        (place,) = places(reader, [row])
        _check_payload(where, int(place.cell_rows.max()) * attribute.row_bytes)
    with stage.uploading():
        _prepare(stage, attribute)
        upload = stage.upload
        done = 0
        ranges: list[tuple[float, float] | None] = []
        for some in _pieces(rows):
            for row, place in zip(some, places(reader, some), strict=True):
                stop = done + int(counts[row])
                ranges.append(values.range(done, stop))
                stored = _with_gaps(values.stored(done, stop), attribute, place.mask)
                _put(upload, stage, int(table.slot[row]), attribute, stored, place)
                done = stop
        upload.start()
    return _record(stage, values, rows, ranges)


def _with_gaps(stored: Stored, attribute: AttributeMeta, mask: np.ndarray | None) -> Stored:
    """Values of all rows of a batch, from those of the ones that get one."""
    if mask is None:
        return stored
    rows = attribute.fill(len(mask))
    rows[mask] = stored.rows
    return Stored(rows, stored.texts)


def _put(
    upload: Uploader,
    stage: LevelStage,
    slot: int,
    attribute: AttributeMeta,
    stored: Stored,
    place: _Place,
) -> None:
    if place.cells is None:
        put_object_rows(upload, stage, slot, attribute, stored)
    else:
        blocks = Blocks.of(place.cells, stage.facts.grid)
        put_rows(upload, stage, slot, attribute, stored, None, place.cell_rows, blocks)


def _check_payload(where: str, size: int) -> None:
    if size > MAX_PAYLOAD:
        raise ArrayError(
            f"{where}: one cell would get {size:,} bytes of one batch, and it holds "
            f"{MAX_PAYLOAD:,} at most; store fewer columns or a smaller dtype"
        )


def _prepare(stage: LevelStage, attribute: AttributeMeta) -> None:
    """The documents of an attribute that is new, or has another dtype or shape than before."""
    known = stage.facts.family(attribute.family).get(attribute.name)
    if known == attribute:
        return
    if known is not None and known.logical == TEXT != attribute.logical:
        _writes.delete_tree(stage.store, _paths.join(stage.path, known.dictionary))
    _writes.set_many(stage.store, stage.documents_of([attribute]))


def _record(
    stage: LevelStage,
    values: Values,
    rows: np.ndarray,
    ranges: Sequence[tuple[float, float] | None],
) -> dict[str, Any]:
    """Record that some batches (rows of the table) have new content, and the others none."""
    attribute, table = values.meta, stage.table()
    content = np.zeros(len(table), np.int64)
    content[rows] = [new_content_id() for _ in range(len(rows))]
    lo_hi = np.full((len(table), 2), EVERYTHING)
    found = [EVERYTHING if known is None else known for known in ranges]
    lo_hi[rows] = np.array(found, np.float64).reshape(-1, 2)  # of no batches, too
    of_contents = {attribute.path: ranges_of(content, lo_hi)}
    stage.replaced(table.with_columns({}, {attribute.path: content}, of_contents))
    known = {**stage.facts.family(attribute.family), attribute.name: attribute}
    stage.facts = stage.facts.with_family(attribute.family, known)
    stage.note("attributes_written", attribute.path)
    return {
        "attribute": attribute.name,
        "values_written": len(values),
        "batches_touched": len(rows),
        "dtype": attribute.logical or attribute.dtype.name,
    }


# ---- dropping ---------------------------------------------------------------


def drop_attribute(stage: LevelStage, name: str, of: str) -> None:
    """Drop an attribute; see :meth:`ZVWriter.drop_attribute`."""
    if of not in FAMILY_OF:
        raise ArrayError(f"of must be one of {', '.join(map(repr, FAMILY_OF))}, got {of!r}")
    family = FAMILY_OF[of]
    known = stage.facts.family(family)
    if not isinstance(name, str) or name not in known:
        there = ", ".join(map(repr, sorted(known))) or "none"
        raise NotFoundError(
            f"no {of} attribute {name!r} in level {stage.path!r}; there are: {there}"
        )
    attribute = known[name]
    table = stage.table()
    with stage.uploading():
        _writes.delete_tree(stage.store, _paths.join(stage.path, attribute.path))
        if attribute.logical == TEXT:
            _writes.delete_tree(stage.store, _paths.join(stage.path, attribute.dictionary))
    none = np.zeros(len(table), np.int64)
    stage.replaced(table.with_columns({}, {attribute.path: none}))
    rest = {n: a for n, a in known.items() if n != name}
    stage.facts = stage.facts.with_family(family, rest)
    stage.note("attributes_dropped", attribute.path)
