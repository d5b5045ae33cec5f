"""Values for vertices, links and objects that are there: whole attributes, written and dropped.

Nothing of a vertex is read: how many each cell has stands in the heads of the
batches' indexes. What is written of a batch is new content under a new id, so
that the table alone says what changed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _paths, _store, _values
from ._cells_io import Blocks, check_payloads, encode_rows
from ._read import LevelReader
from ._removed import Removal, load_removals
from ._stage import LevelStage, attribute_documents
from ._values import Stored, Values
from .errors import ArrayError, NotFoundError
from .format import batches, metadata
from .format.batches import BatchHead
from .format.cells import MAX_PAYLOAD
from .format.metadata import (
    LINK_ATTRIBUTES,
    OBJECT_ATTRIBUTES,
    TEXT,
    VERTEX_ATTRIBUTES,
    AttributeMeta,
)
from .format.table import new_content_id

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
    upload: _store.Uploader,
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
    codec = metadata.vertex_codec(attribute.dtype)
    for block, shard in encode_rows(stored.rows, order, cell_rows, blocks, places, codec):
        upload.put(_paths.shard_key(path, slot, block), shard)
    _put_texts(upload, stage, slot, attribute, stored)


def put_object_rows(
    upload: _store.Uploader, stage: LevelStage, slot: int, attribute: AttributeMeta, stored: Stored
) -> None:
    """Upload the values of the objects that begin in one batch, by ascending id."""
    path = _paths.join(stage.path, attribute.path)
    payload = np.ascontiguousarray(stored.rows).reshape(-1).view(np.uint8).data
    upload.put(_paths.shard_key(path, slot, ()), batches.CODEC.encode(payload))
    _put_texts(upload, stage, slot, attribute, stored)


def _put_texts(
    upload: _store.Uploader, stage: LevelStage, slot: int, attribute: AttributeMeta, stored: Stored
) -> None:
    if stored.texts is not None:
        path = _paths.join(stage.path, attribute.dictionary)
        cell = batches.CODEC.encode(_values.pack_texts(stored.texts))
        upload.put(_paths.shard_key(path, slot, ()), cell)


# ---- whole attributes -------------------------------------------------------


def write_vertex_attribute(
    stage: LevelStage, name: str, values: Any, dtype: Any, verb: str
) -> dict[str, Any]:
    """Write values for all vertices of the level; see :meth:`ZVWriter.add_attribute`."""
    n = stage.facts.vertex_count
    where = f"{verb}({name!r})"
    parsed = _values.parse(where, values, n, f"level vertex count {n}", name, dtype=dtype)
    reader = stage.reader()
    table = reader.state.table
    rows = np.flatnonzero(table.live_vertices > 0)
    _check_cells(reader, rows, parsed.meta)
    with stage.uploading():
        _prepare(stage, parsed.meta)
        upload = _store.Uploader(stage.store)
        done = 0
        for some in _pieces(rows):
            removals = load_removals(reader, some)
            for row, head in zip(some, reader.heads(some), strict=True):
                stop = done + int(table.live_vertices[row])
                stored = parsed.stored(done, stop)
                if row in removals:
                    stored = _with_gaps(stored, parsed.meta, head, removals[row])
                blocks = Blocks.of(head.cells, stage.facts.grid)
                slot = int(table.slot[row])
                put_rows(upload, stage, slot, parsed.meta, stored, None, head.cell_vertices, blocks)
                done = stop
        upload.flush()
    return _record(stage, parsed, rows)


def write_object_attribute(
    stage: LevelStage, name: str, values: Any, dtype: Any, verb: str
) -> dict[str, Any]:
    """Write values for all objects of the level; see :meth:`ZVWriter.add_object_attribute`."""
    n = stage.facts.num_objects
    where = f"{verb}({name!r})"
    parsed = _values.parse(
        where, values, n, f"level object count {n}", name, family=OBJECT_ATTRIBUTES, dtype=dtype
    )
    reader = stage.reader()
    table = reader.state.table
    rows = np.flatnonzero(table.live_new_objects > 0)
    for row in rows.tolist():
        _check_payload(where, int(table.n_new_objects[row]) * parsed.meta.row_bytes)
    with stage.uploading():
        _prepare(stage, parsed.meta)
        upload = _store.Uploader(stage.store)
        done = 0
        for some in _pieces(rows):
            lossy = [row for row in some if table.n_removed_objects[row]]
            ids = dict(zip(lossy, reader.ids(lossy), strict=True))
            live = dict(zip(lossy, reader.beginning(lossy), strict=True))
            for row in some:
                stop = done + int(table.live_new_objects[row])
                stored = parsed.stored(done, stop)
                if row in live:
                    gaps = parsed.meta.fill(int(table.n_new_objects[row]))
                    gaps[live[row][ids[row][1]]] = stored.rows
                    stored = Stored(gaps, stored.texts)
                put_object_rows(upload, stage, int(table.slot[row]), parsed.meta, stored)
                done = stop
        upload.flush()
    return _record(stage, parsed, rows)


def _pieces(rows: np.ndarray) -> list[list[int]]:
    """Rows of the table in pieces of bounded length."""
    return [
        rows[start : start + _BATCHES_AT_ONCE].tolist()
        for start in range(0, len(rows), _BATCHES_AT_ONCE)
    ]


def _with_gaps(
    stored: Stored, attribute: AttributeMeta, head: BatchHead, removal: Removal
) -> Stored:
    """Values of all vertices of a batch, from those of the ones that are there."""
    mask = np.ones(int(head.vertex_start[-1]), bool)
    removal.clear(head, np.arange(len(head.cells)), mask)
    rows = attribute.fill(len(mask))
    rows[mask] = stored.rows
    return Stored(rows, stored.texts)


def _check_cells(reader: LevelReader, rows: np.ndarray, attribute: AttributeMeta) -> None:
    """Refuse values that would make a cell larger than a cell can be."""
    # A batch that fits one cell's payload needs no look at its cells.
    sizes = reader.state.table.n_vertices[rows] * attribute.row_bytes
    for row in rows[sizes > MAX_PAYLOAD].tolist():
        (head,) = reader.heads([row])
        check_payloads(head.cell_vertices, attribute.row_bytes)


def _check_payload(where: str, size: int) -> None:
    if size > MAX_PAYLOAD:
        raise ArrayError(
            f"{where}: the values of one batch take {size:,} bytes, and {MAX_PAYLOAD:,} is the "
            "most; store fewer columns or a smaller dtype"
        )


def _prepare(stage: LevelStage, attribute: AttributeMeta) -> None:
    """The documents of an attribute that is new, or has another dtype or shape than before."""
    known = stage.facts.family(attribute.family).get(attribute.name)
    if known == attribute:
        return
    if known is not None and known.logical == TEXT != attribute.logical:
        _store.delete_tree(stage.store, _paths.join(stage.path, known.dictionary))
    _store.set_many(stage.store, attribute_documents(stage, [attribute]))


def _record(stage: LevelStage, values: Values, rows: np.ndarray) -> dict[str, Any]:
    """Record that some batches (rows of the table) have new content, and the others none."""
    attribute, table = values.meta, stage.table()
    content = np.zeros(len(table), np.int64)
    content[rows] = [new_content_id() for _ in range(len(rows))]
    stage.replaced(table.with_columns({}, {attribute.path: content}))
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
        _store.delete_tree(stage.store, _paths.join(stage.path, attribute.path))
        if attribute.logical == TEXT:
            _store.delete_tree(stage.store, _paths.join(stage.path, attribute.dictionary))
    none = np.zeros(len(table), np.int64)
    stage.replaced(table.with_columns({}, {attribute.path: none}))
    rest = {n: a for n, a in known.items() if n != name}
    stage.facts = stage.facts.with_family(family, rest)
    stage.note("attributes_dropped", attribute.path)
