"""Values for vertices, links and objects that are there: whole attributes, written and dropped.

Nothing of a vertex is read: how many each cell has stands in the heads of the
batches' indexes. What is written of a batch is new content under a new id, so
that the table alone says what changed.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from . import _checks, _paths, _store, _values
from ._cells_io import Blocks, encode_rows
from ._read import LevelReader
from ._read_links import inside_cells, live_links
from ._removed import load_removals
from ._stage import LevelStage
from ._values import Stored, Values
from .errors import ArrayError, MetadataError, NotFoundError
from .format import batches, metadata
from .format.cells import MAX_PAYLOAD
from .format.metadata import (
    LINK_ATTRIBUTES,
    MESHES,
    OBJECT_ATTRIBUTES,
    POINTS,
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
    table = stage.table()
    return _write(stage, where, parsed, _OfVertices(), table.live_vertices, table.n_vertices)


def write_object_attribute(
    stage: LevelStage, name: str, values: Any, dtype: Any, verb: str
) -> dict[str, Any]:
    """Write values for all objects of the level; see :meth:`ZVWriter.add_object_attribute`."""
    n = stage.facts.num_objects
    where, counted = f"{verb}({name!r})", f"level object count {n}"
    parsed = _values.parse(where, values, n, counted, name, family=OBJECT_ATTRIBUTES, dtype=dtype)
    table = stage.table()
    return _write(stage, where, parsed, _OfObjects(), table.live_new_objects, table.n_new_objects)


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
    table = stage.table()
    return _write(stage, where, parsed, _OfLinks(), table.live_links, table.n_links)


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
    of: _Of = _OfLinks()
    counted, table = f"level face count {n}", stage.table()
    counts = table.live_links
    if given.ndim and len(given) != n:
        reader = stage.reader()
        rows = np.flatnonzero(counts > 0)
        inside = _faces_inside(reader, rows.tolist())
        of = _OfFacesInside(inside)
        counts = np.zeros(len(table), np.int64)
        counts[rows] = [int(inside[row].sum()) for row in rows.tolist()]
        n = int(counts.sum())
        counted = f"{counted}, nor {n}, the faces inside one cell"
    parsed = _values.parse(where, values, n, counted, name, family=LINK_ATTRIBUTES, dtype=dtype)
    return _write(stage, where, parsed, of, counts, table.n_links)


def _faces_inside(reader: LevelReader, rows: list[int]) -> dict[int, np.ndarray]:
    """The faces of some batches that are there and lie in one cell: masks."""
    live = live_links(reader, rows)
    masks = dict(zip(rows, inside_cells(reader, rows), strict=True))
    return {row: mask & live[row] if row in live else mask for row, mask in masks.items()}


class _Of(Protocol):
    """What values are of: which of a batch's rows they are for, and how they are kept."""

    def masks(self, reader: LevelReader, rows: list[int]) -> dict[int, np.ndarray]:
        """For those of some batches of which not all rows get a value, which do."""
        ...

    def largest(self, reader: LevelReader, row: int) -> int:
        """Rows that go into one cell at most."""
        ...

    def put(
        self,
        upload: _store.Uploader,
        stage: LevelStage,
        reader: LevelReader,
        row: int,
        attribute: AttributeMeta,
        stored: Stored,
    ) -> None:
        """Upload the values of one batch, all its rows."""
        ...


class _OfVertices:
    def masks(self, reader: LevelReader, rows: list[int]) -> dict[int, np.ndarray]:
        masks = {}
        for row, removal in load_removals(reader, rows).items():
            (head,) = reader.heads([row])
            masks[row] = np.ones(int(head.vertex_start[-1]), bool)
            removal.clear(head, np.arange(len(head.cells)), masks[row])
        return masks

    def largest(self, reader: LevelReader, row: int) -> int:
        return int(reader.heads([row])[0].cell_vertices.max())

    def put(
        self,
        upload: _store.Uploader,
        stage: LevelStage,
        reader: LevelReader,
        row: int,
        attribute: AttributeMeta,
        stored: Stored,
    ) -> None:
        (head,) = reader.heads([row])
        slot, blocks = int(reader.state.table.slot[row]), Blocks.of(head.cells, stage.facts.grid)
        put_rows(upload, stage, slot, attribute, stored, None, head.cell_vertices, blocks)


class _OfLinks:
    def masks(self, reader: LevelReader, rows: list[int]) -> dict[int, np.ndarray]:
        return live_links(reader, rows)

    def largest(self, reader: LevelReader, row: int) -> int:
        return int(reader.heads([row])[0].cell_links.max())

    def put(
        self,
        upload: _store.Uploader,
        stage: LevelStage,
        reader: LevelReader,
        row: int,
        attribute: AttributeMeta,
        stored: Stored,
    ) -> None:
        (head,) = reader.heads([row])
        has = head.cell_links > 0
        blocks = Blocks.of(head.cells[has], stage.facts.grid)
        slot = int(reader.state.table.slot[row])
        put_rows(upload, stage, slot, attribute, stored, None, head.cell_links[has], blocks)


class _OfFacesInside(_OfLinks):
    def __init__(self, inside: dict[int, np.ndarray]) -> None:
        self._inside = inside

    def masks(self, reader: LevelReader, rows: list[int]) -> dict[int, np.ndarray]:
        return {row: self._inside[row] for row in rows}


class _OfObjects:
    def masks(self, reader: LevelReader, rows: list[int]) -> dict[int, np.ndarray]:
        lossy = [row for row in rows if reader.state.table.n_removed_objects[row]]
        live = reader.beginning(lossy)
        begins = (is_new for _, is_new in reader.ids(lossy))
        return {r: mask[new] for r, mask, new in zip(lossy, live, begins, strict=True)}

    def largest(self, reader: LevelReader, row: int) -> int:
        return int(reader.state.table.n_new_objects[row])

    def put(
        self,
        upload: _store.Uploader,
        stage: LevelStage,
        reader: LevelReader,
        row: int,
        attribute: AttributeMeta,
        stored: Stored,
    ) -> None:
        put_object_rows(upload, stage, int(reader.state.table.slot[row]), attribute, stored)


def _write(
    stage: LevelStage,
    where: str,
    values: Values,
    of: _Of,
    counts: np.ndarray,
    all_rows: np.ndarray,
) -> dict[str, Any]:
    """Upload values batch by batch, and record that they are there.

    Parameters
    ----------
    where : str
        What an error begins with.
    counts, all_rows : ndarray of int64, shape (B,)
        How many values each batch gets, and how many rows it has.
    """
    attribute, reader = values.meta, stage.reader()
    rows = np.flatnonzero(counts > 0)
    for row in rows[all_rows[rows] * attribute.row_bytes > MAX_PAYLOAD].tolist():
        _check_payload(where, of.largest(reader, row) * attribute.row_bytes)
    with stage.uploading():
        _prepare(stage, attribute)
        upload = _store.Uploader(stage.store)
        done = 0
        for start in range(0, len(rows), _BATCHES_AT_ONCE):
            some = rows[start : start + _BATCHES_AT_ONCE].tolist()
            reader.heads(some)  # in one call, to be known when they are asked for one by one
            masks = of.masks(reader, some)
            for row in some:
                stop = done + int(counts[row])
                stored = values.stored(done, stop)
                if row in masks:
                    gaps = attribute.fill(len(masks[row]))
                    gaps[masks[row]] = stored.rows
                    stored = Stored(gaps, stored.texts)
                of.put(upload, stage, reader, row, attribute, stored)
                done = stop
        upload.flush()
    return _record(stage, values, rows)


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
        _store.delete_tree(stage.store, _paths.join(stage.path, known.dictionary))
    _store.set_many(stage.store, stage.documents_of([attribute]))


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
