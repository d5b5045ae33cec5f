"""Digests of objects, levels, datasets and snapshots: equal content, equal digest.

What appends added is kept in the table of batches; a batch that changed since
(values were written, objects removed, ids renumbered) is read and summed anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .. import _paths, _store
from .._groups import load_groups
from .._sets import is_in
from ..format import cells, columns, digest
from ..format.digest import NOTHING, Column, Owners, Sums, add
from ..format.metadata import FAMILIES, LINES, TEXT, AttributeMeta, DatasetMeta
from ..reading.links import link_rows_of, links_of, sources_of
from ..reading.reader import LevelReader
from ..reading.removed import load_removals
from ..reading.selection import Selection
from ..reading.values import stored_object_values
from ..spatial.assign import spans
from ..writing.digest import POSITION, column_of

# ---- what is cited -----------------------------------------------------------


def of_snapshot(datasets: Mapping[str, str]) -> str:
    """The digest of a snapshot, from those of all its datasets, by their names."""
    return digest.final(_json(dict(datasets)))


def of_dataset(
    meta: DatasetMeta, readers: Mapping[int, LevelReader], *, recompute: bool = False
) -> str:
    """The digest of a dataset: its kind, axes and metadata, and its levels.

    Its cells, bounds and batches do not count: they say how it is stored.
    """
    levels = {str(n): of_level(reader, recompute=recompute) for n, reader in readers.items()}
    document = {
        "kind": meta.kind,
        "vertex_dtype": meta.vertex_dtype.name,
        "axes": meta.axes,
        "metadata": meta.metadata,
        "levels": levels,
    }
    return digest.final(_json(document))


def of_level(reader: LevelReader, *, recompute: bool = False) -> str:
    """The digest of a level: vertices, links, attributes, objects and groups."""
    facts, table = reader.state.facts, reader.state.table
    rows = np.flatnonzero(table.live_vertices > 0).tolist()
    began = np.flatnonzero(table.live_new_objects > 0).tolist()
    sums = NOTHING
    fresh = []
    for row in rows:
        kept = None if recompute else kept_sums(reader, row)
        if kept is None:
            fresh.append(row)
        else:
            sums = add(sums, kept)
    for row in fresh:
        sums = add(sums, batch_sums(reader, row))
    for attribute in facts.object_attributes.values():
        sums = add(sums, object_value_sums(reader, attribute, began))
    groups = load_groups(reader.store, reader.state.path, facts, reader.parts)
    counts = facts.vertex_count, facts.num_objects, facts.link_count
    return _final(reader, counts, sums, groups)


def of_objects(reader: LevelReader, ids: np.ndarray) -> str:
    """The digest of some objects alone (ids ascending): as if the level had no others.

    Raises
    ------
    NotFoundError
        If one of them is not there.
    """
    facts, table = reader.state.facts, reader.state.table
    members = reader.members(table.live_vertices > 0, ids, strict=True)
    sums, vertices, links = NOTHING, 0, 0
    for row, of_batch in members.items():
        part, n, m = _batch_sums(reader, row, of_batch)
        sums, vertices, links = add(sums, part), vertices + n, links + m
    for attribute in facts.object_attributes.values():
        sums = add(sums, object_value_sums(reader, attribute, list(members), ids))
    return _final(reader, (vertices, len(ids), links), sums, {})


def _final(
    reader: LevelReader,
    counts: tuple[int, int, int],
    sums: Sums,
    groups: Mapping[str, np.ndarray],
) -> str:
    facts, meta = reader.state.facts, reader.meta
    document = {
        "kind": meta.kind,
        "vertex_dtype": meta.vertex_dtype.name,
        "ndim": meta.ndim,
        "attributes": {
            attribute.path: attribute.to_metadata()
            for family in FAMILIES
            for attribute in facts.family(family).values()
        },
        "counts": [*counts],
        "groups": {name: [len(ids), *_group_sums(ids)] for name, ids in groups.items()},
    }
    return digest.final(_json(document), *(part.to_bytes(8, "little") for part in sums))


def _json(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _group_sums(ids: np.ndarray) -> Sums:
    return digest.items("member", len(ids), None, [Column("object", ids)])


# ---- batches -----------------------------------------------------------------


def kept_sums(reader: LevelReader, row: int) -> Sums | None:
    """What was kept of a batch when it was appended; None where it has changed since."""
    return next(all_kept_sums(reader, [row]))


def all_kept_sums(reader: LevelReader, rows: Sequence[int]) -> Iterator[Sums | None]:
    """The same of several batches, at less cost for each."""
    table, at = reader.state.table, list(rows)
    paths, mask = digest.counted(table.contents), (1 << 64) - 1
    contents = np.array([table.contents[path][at] for path in paths], np.int64)
    contents = contents.reshape(len(paths), len(at))
    columns = ("digest_of", "digest_a", "digest_b", "id_min", "id_max")
    parts = (getattr(table, name)[at].tolist() for name in columns)
    for of, *rest in zip(contents.T.tolist(), *parts, strict=True):
        made, a, b, low, high = rest
        known = made == digest.made_of_counted(paths, of, low, high)
        yield (a & mask, b & mask) if known else None


def batch_sums(reader: LevelReader, row: int) -> Sums:
    """The sums over what is there of a batch, from its data."""
    return _batch_sums(reader, row, None)[0]


def _batch_sums(reader: LevelReader, row: int, only: np.ndarray | None) -> tuple[Sums, int, int]:
    """The sums over a batch, or over some of its objects; vertices and links in them."""
    (head,) = reader.heads([row])
    at = np.arange(len(head.cells)) if only is None else reader.object_cells(row, head, only)
    selection = Selection(row, head, at)
    if reader.meta.kind in LINES:
        return _line_sums(reader, selection, only)
    if reader.meta.link_width:
        return _linked_sums(reader, selection, only)
    total, vertices = NOTHING, 0
    for window in reader.windows([selection]):
        for piece in window:
            part = _Vertices(reader, piece, only)
            total = add(total, digest.items("vertex", part.count, part.owners(), part.columns()))
            vertices += part.count
    return total, vertices, 0


class _Vertices:
    """The vertices of some cells of a batch, with what is hashed of them."""

    def __init__(self, reader: LevelReader, piece: Selection, only: np.ndarray | None) -> None:
        self.reader, self.piece = reader, piece
        ((self.ids, _),) = reader.ids([piece.row])
        (self.page,) = reader.fragments([piece])
        self.rows = np.repeat(self.page.object, self.page.vertices)
        keep = np.ones(len(self.rows), bool)
        removal = load_removals(reader, [piece.row]).get(piece.row)
        if removal is not None:
            removal.clear(piece.head, piece.at, keep)
        if only is not None:
            asked = np.zeros(len(self.ids), bool)
            asked[only] = True
            keep &= asked[self.rows]
        self.keep = keep
        # The vertices to take, in their order; lines set another.
        self.order: np.ndarray | None = None if keep.all() else np.flatnonzero(keep)

    @property
    def count(self) -> int:
        return len(self.rows) if self.order is None else len(self.order)

    def owners(self) -> Owners:
        rows = self.rows if self.order is None else self.rows[self.order]
        return Owners(self.ids, rows)

    def columns(self) -> list[Column]:
        reader, meta = self.reader, self.reader.meta
        positions = reader.rows_of("vertices", meta.vertex_dtype, (meta.ndim,), [self.piece])
        found = [Column(POSITION, positions, order=self.order)]
        for attribute in present(reader, reader.state.facts.attributes, self.piece.row):
            stored = reader.rows_of(
                attribute.path, attribute.dtype, attribute.row_shape, [self.piece]
            )
            texts = text_hashes(reader, attribute, self.piece.row)
            found.append(column_of(attribute, stored, texts, self.order))
        return found


def present(
    reader: LevelReader, attributes: Mapping[str, AttributeMeta], row: int
) -> Iterator[AttributeMeta]:
    """The attributes that a batch has values of."""
    for attribute in attributes.values():
        if reader.state.table.content(attribute.path)[row]:
            yield attribute


def text_hashes(reader: LevelReader, attribute: AttributeMeta, row: int) -> np.ndarray | None:
    """What stands for the codes of an attribute of text in a batch; None for numbers."""
    if attribute.logical != TEXT:
        return None
    path = _paths.join(reader.state.path, attribute.dictionary)
    key = _paths.shard_key(path, int(reader.state.table.slot[row]), ())
    (raw,) = _store.get_many(reader.store, [(key, 0, -1)])
    with _store.damage_in(key):
        table = columns.unpack(cells.decode(raw))
    return digest.hash_texts(table["end"], table["text"])


def _link_columns(
    reader: LevelReader, selection: Selection, order: np.ndarray | None
) -> list[Column]:
    found = []
    for attribute in present(reader, reader.state.facts.link_attributes, selection.row):
        stored = link_rows_of(
            reader, attribute.path, attribute.dtype, attribute.row_shape, [selection]
        )
        texts = text_hashes(reader, attribute, selection.row)
        found.append(column_of(attribute, stored, texts, order))
    return found


def _linked_sums(
    reader: LevelReader, selection: Selection, only: np.ndarray | None
) -> tuple[Sums, int, int]:
    if only is not None:
        # An edge of another object may name a vertex of these: all cells of the batch are read.
        selection = Selection(selection.row, selection.head, np.arange(len(selection.head.cells)))
    part = _Vertices(reader, selection, only)
    (links,) = links_of(reader, [selection])
    live = part.keep[links].all(axis=1)
    number = np.cumsum(part.keep) - 1
    order = None if live.all() else np.flatnonzero(live)
    sums = digest.linked(
        part.count,
        part.owners(),
        part.columns(),
        number[links[live]],
        _link_columns(reader, selection, order),
    )
    return sums, part.count, int(live.sum())


def _line_sums(
    reader: LevelReader, selection: Selection, only: np.ndarray | None
) -> tuple[Sums, int, int]:
    """Lines are put together from their fragments, by rank."""
    head = selection.head
    whole = Selection(selection.row, head, np.arange(len(head.cells)))
    part = _Vertices(reader, whole, only)
    page = part.page
    objects = np.arange(len(part.ids))
    _, order = reader.object_fragments(selection.row, head, objects)
    counts = page.vertices.astype(np.int64)
    starts = np.cumsum(counts) - counts
    kept = order[part.keep[starts[order]]]
    part.order = spans(starts[kept], counts[kept])
    ends = np.asarray(page.ends)[kept]
    stops = np.cumsum(counts[kept])[ends]
    line_vertices = np.diff(stops, prepend=0)
    owners = Owners(part.ids, page.object[kept][ends])
    number = np.maximum(np.cumsum(sources_of(page)) - 1, 0)[part.order]
    links = _link_columns(reader, whole, number)
    sums = digest.lines(owners, line_vertices, part.columns(), links)
    return sums, len(part.order), len(part.order) - len(line_vertices)


# ---- objects -----------------------------------------------------------------


def object_value_sums(
    reader: LevelReader,
    attribute: AttributeMeta,
    rows: Sequence[int],
    only: np.ndarray | None = None,
) -> Sums:
    """The sums over the values of an object attribute, those that are not missing.

    Parameters
    ----------
    reader : LevelReader
    attribute : AttributeMeta
    rows : sequence of int
        Of the table: the batches to look at.
    only : ndarray of int64, optional
        The ids of the objects that count; left out, all.
    """
    present = reader.state.table.content(attribute.path)
    rows = [row for row in rows if present[row]]
    stored = stored_object_values(reader, attribute, rows)
    masks = reader.beginning(rows)
    total = NOTHING
    for row, values, (ids, is_new), begins in zip(
        rows, stored, reader.ids(rows), masks, strict=True
    ):
        owners, there = ids[is_new], begins[is_new]
        if only is not None:
            there = there & is_in(owners, only)
        column = column_of(attribute, values, text_hashes(reader, attribute, row))
        missing = digest.words_of(attribute.fill(1))
        there = there & (digest.words_of(values) != missing).any(axis=1)
        who = Owners(owners, np.arange(len(owners)))
        total = add(total, digest.present("object", len(owners), who, column, there))
    return total
