"""Appending a batch: checked, sorted by cell and fragment, uploaded, recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _checks, _checks_links, _paths, _writes
from .._beside import beside
from .._cells_io import Blocks, check_payloads, encode_rows
from .._upload import Uploader
from ..errors import ArrayError, MetadataError
from ..format import arrays, batches, digest, shards
from ..format.batches import BatchIndex
from ..format.metadata import CAPACITY, LINES, LINK_ATTRIBUTES, OBJECT_ATTRIBUTES, DatasetMeta
from ..format.table import BatchRow, new_content_id, new_uuid
from ..reading.links import LINKS
from ..spatial.assign import Assignment, assign
from ..spatial.boxes import Box
from ..spatial.lines import Walk, assign_lines
from ..spatial.links import LinkPlan, place_line_links, place_links
from . import digest as _digest
from . import values as _values
from .attributes import put_object_rows, put_rows
from .objects import Objects, object_values, objects_of
from .stage import LevelStage
from .values import Values

_OUT_OF_BOUNDS = ("raise", "expand")


@dataclass(frozen=True)
class Given:
    """What every append may be given, as the writer has it."""

    object_ids: Any = None
    dtype: Any = None
    attributes: Mapping[str, Any] | None = None
    link_attributes: Mapping[str, Any] | None = None
    object_attributes: Mapping[str, Any] | None = None
    out_of_bounds: str = "raise"
    extend: bool = False

    def __post_init__(self) -> None:
        _checks.flag(self.extend, "extend", ArrayError)


@dataclass(frozen=True)
class Vertices:
    """The vertices of one append, checked: as given, with their box and the bounds they need."""

    array: np.ndarray
    box: Box
    meta: DatasetMeta


@dataclass(frozen=True)
class Batch:
    """All of one append, sorted and not yet uploaded."""

    vertices: Vertices
    objects: Objects
    plan: Assignment
    links: LinkPlan | None = None
    values: Sequence[Values] = ()
    link_values: Sequence[Values] = ()
    object_values: Sequence[Values] = ()
    sums: digest.Sums = digest.NOTHING

    @property
    def all_values(self) -> list[Values]:
        """Of vertices, links and objects."""
        return [*self.values, *self.link_values, *self.object_values]


# ---- what is appended -------------------------------------------------------


def append_points(stage: LevelStage, positions: Any, given: Given) -> dict[str, Any]:
    """Check, sort and upload vertices; see :meth:`ZVWriter.append_vertices`."""
    array = _positions(stage, positions, given)
    n = len(array)
    values = _values.appended(given.attributes, n, stage.facts.attributes)
    ids = None if given.object_ids is None else _checks.object_ids(given.object_ids, n)
    if n == 0:
        _no_objects(stage, given)
        return _summary(None)
    vertices = _placed(stage, array, given)
    objects = objects_of(stage, ids, n, extend=given.extend)
    of_objects = object_values(stage, given.object_attributes, objects)
    grid, values = stage.facts.grid, [value.once() for value in values]
    if stage.meta.kind in LINES:
        walk = Walk.of_vertices(objects.rows, len(objects.ids))
        given_lines = array, objects.ids, walk, values, walk.line_vertices, ()
        with beside(n, _digest.of_lines, *given_lines) as sums:
            plan = assign_lines(array, vertices.box, walk, grid)
            links: LinkPlan | None = place_line_links(walk, plan, ordered=False)
    else:
        links = None
        with beside(n, _digest.of_points, array, objects, values) as sums:
            plan = assign(array, vertices.box, objects.rows, len(objects.ids), grid)
    objects = objects.without_rows()
    return _publish(stage, Batch(vertices, objects, plan, links, values, (), of_objects, sums()))


def append_lines(
    stage: LevelStage, lines: Any, offsets: Any, streamlines: bool | None, given: Given
) -> dict[str, Any]:
    """Check, cut, sort and upload lines; see :meth:`ZVWriter.append_polylines`."""
    kind = stage.meta.kind
    if kind not in LINES:
        raise _other_kind("lines", stage.meta)
    told = None if streamlines is None else _checks.flag(streamlines, "streamlines")
    if told is not None and told != (kind == "streamline"):
        raise MetadataError(
            f"streamlines={streamlines!r}, but dataset {stage.meta.name!r} is of kind {kind!r}; "
            'create one with kind="streamline" for streamlines'
        )
    points, counts = _checks_links.lines(lines, offsets, stage.meta.ndim)
    array = _positions(stage, points, given)
    if kind == "line" and (counts != 2).any():
        wrong = int(np.argmax(counts != 2))
        raise ArrayError(
            f"line {wrong} has {counts[wrong]} vertices; in a dataset of kind 'line' a line has "
            'two. Create one with kind="polyline" for longer ones'
        )
    n, n_links = len(array), len(array) - len(counts)
    values = _values.appended(given.attributes, n, stage.facts.attributes)
    of_links = _link_values(stage, given.link_attributes, n_links)
    ids = given.object_ids
    ids = None if ids is None else _checks.object_ids(ids, len(counts), "line")
    if n == 0:
        _no_objects(stage, given)
        return _summary(None, links=True)
    vertices = _placed(stage, array, given)
    objects = objects_of(stage, ids, len(counts), extend=given.extend)
    of_objects = object_values(stage, given.object_attributes, objects)
    walk = Walk.of_lines(counts, objects.rows, len(objects.ids))
    values, of_links = [v.once() for v in values], [v.once() for v in of_links]
    given_lines = array, objects.ids, walk, values, counts, of_links
    with beside(n, _digest.of_lines, *given_lines) as sums:
        plan = assign_lines(array, vertices.box, walk, stage.facts.grid)
        links = place_line_links(walk, plan, ordered=bool(of_links))
    objects = objects.without_rows()
    batch = Batch(vertices, objects, plan, links, values, of_links, of_objects, sums())
    return _publish(stage, batch, links=True)


def append_links(
    stage: LevelStage, positions: Any, links: Any, width: int, tree: bool | None, given: Given
) -> dict[str, Any]:
    """Check, sort and upload a graph or a mesh; see :meth:`ZVWriter.append_graph`."""
    meta = stage.meta
    if meta.link_width != width:
        raise _other_kind("faces" if width == 3 else "edges", meta)
    if tree is not None:
        _checks.flag(tree, "tree")
    array = _positions(stage, positions, given)
    n = len(array)
    ends = _checks_links.links(links, meta.link_width, n)
    if meta.link_width == 2:
        _check_edges(ends, n, tree, meta)
    values = _values.appended(given.attributes, n, stage.facts.attributes)
    of_links = _link_values(stage, given.link_attributes, len(ends))
    ids = None if given.object_ids is None else _checks.object_ids(given.object_ids, n)
    if n == 0:
        _no_objects(stage, given)
        return _summary(None, links=True)
    vertices = _placed(stage, array, given)
    objects = objects_of(stage, ids, n, extend=given.extend, together=True)
    if meta.kind != "graph" and len(objects.ids) > 1:
        _checks_links.within_objects(ends, objects.rows, objects.ids, meta.kind)
    of_objects = object_values(stage, given.object_attributes, objects)
    values, of_links = [v.once() for v in values], [v.once() for v in of_links]
    with beside(n, _digest.of_links, array, objects, values, ends, of_links) as sums:
        plan = assign(array, vertices.box, objects.rows, len(objects.ids), stage.facts.grid)
        placed = place_links(ends, plan)
    objects = objects.without_rows()
    batch = Batch(vertices, objects, plan, placed, values, of_links, of_objects, sums())
    return _publish(stage, batch, links=True)


# ---- checks -----------------------------------------------------------------


def _other_kind(what: str, meta: DatasetMeta) -> MetadataError:
    method = {0: "append_vertices", 2: "append_graph", 3: "append_mesh"}[meta.link_width]
    if meta.kind in LINES:
        method = "append_polylines or append_lines"
    return MetadataError(
        f"dataset {meta.name!r} is of kind {meta.kind!r} and takes no {what}: use {method}, or "
        "create a dataset of the right kind"
    )


def _check_edges(edges: np.ndarray, n: int, tree: bool | None, meta: DatasetMeta) -> None:
    _checks_links.no_self_loops(edges)
    skeleton = meta.kind == "skeleton"
    if skeleton and tree is not None and not tree:
        raise MetadataError(
            f"dataset {meta.name!r} is of kind 'skeleton', and a skeleton is a tree: leave tree "
            'out, or create the dataset with kind="graph"'
        )
    if skeleton or tree:
        _checks_links.tree(edges, n)


def _link_values(stage: LevelStage, given: Mapping[str, Any] | None, n: int) -> list[Values]:
    counted = "faces appended" if stage.meta.link_width == 3 else "links appended"
    return _values.appended(given, n, stage.facts.link_attributes, LINK_ATTRIBUTES, counted)


def _no_objects(stage: LevelStage, given: Given) -> None:
    """Check what is given for the objects of an append of nothing."""
    known = stage.facts.object_attributes
    _values.appended(given.object_attributes, 0, known, OBJECT_ATTRIBUTES, "objects appended")


def _positions(stage: LevelStage, positions: Any, given: Given) -> np.ndarray:
    if given.out_of_bounds not in _OUT_OF_BOUNDS:
        raise MetadataError(
            f'out_of_bounds must be "raise" or "expand", got {given.out_of_bounds!r}'
        )
    return _checks.positions(positions, stage.meta.ndim, stage.meta.vertex_dtype, given.dtype)


def _placed(stage: LevelStage, array: np.ndarray, given: Given) -> Vertices:
    """The vertices, at least one, with room for them made sure of."""
    if stage.facts.slots >= CAPACITY:
        raise ArrayError(
            f"level {stage.path!r} has {CAPACITY:,} batches, all that it has room for; append "
            "more vertices at a time"
        )
    box, meta = _checks.box_of_finite(array), stage.meta
    if given.out_of_bounds == "raise":
        _checks.within(array, box, meta.bounds)
    stage.facts.grid.check_within(box)
    if given.out_of_bounds == "expand" and not meta.bounds.contains(box):
        meta = meta.with_bounds(meta.bounds.union(box))
    return Vertices(array, box, meta)


# ---- bytes ------------------------------------------------------------------


def _publish(stage: LevelStage, batch: Batch, *, links: bool = False) -> dict[str, Any]:
    """Upload a batch and record it."""
    for counts, row_bytes in _payloads(stage, batch):
        check_payloads(counts, row_bytes)
    with stage.uploading():
        row = upload_batch(stage, batch, stage.facts.slots)
    stage.meta = batch.vertices.meta
    for value in batch.all_values:
        family = value.meta.family
        known = {**stage.facts.family(family), value.meta.name: value.meta}
        stage.facts = stage.facts.with_family(family, known)
    stage.added(row, batch.objects.ids, batch.objects.ids[batch.objects.is_new])
    return _summary(batch, links=links)


def _payloads(stage: LevelStage, batch: Batch) -> Iterator[tuple[np.ndarray, int]]:
    """Rows of each cell, and bytes of a row, of all that is to be stored by cell."""
    counts = batch.plan.cell_vertices
    yield counts, stage.meta.vertex_dtype.itemsize * stage.meta.ndim
    yield from ((counts, value.meta.row_bytes) for value in batch.values)
    if batch.links is not None:
        yield batch.links.cell_links, 4 * stage.meta.link_width
        yield from ((batch.links.cell_links, v.meta.row_bytes) for v in batch.link_values)


def upload_vertices(stage: LevelStage, vertices: Vertices, plan: Assignment, slot: int) -> int:
    """Upload the coordinates of a batch; returns their stored length."""
    blocks = Blocks.of(plan.cells, stage.facts.grid)
    array, counts = vertices.array, plan.cell_vertices
    return _put(stage.upload, stage, slot, "vertices", array, plan.order, counts, blocks)


def upload_batch(
    stage: LevelStage, batch: Batch, slot: int, vertex_bytes: int | None = None
) -> BatchRow:
    """Upload a batch under a slot; returns its row, which is not recorded yet.

    Parameters
    ----------
    stage : LevelStage
    batch : Batch
    slot : int
    vertex_bytes : int, optional
        What :func:`upload_vertices` returned, where it was called already.
    """
    if vertex_bytes is None:
        vertex_bytes = upload_vertices(stage, batch.vertices, batch.plan, slot)
    metas = [value.meta for value in batch.all_values]
    fresh = [meta for meta in metas if meta.name not in stage.facts.family(meta.family)]
    if fresh:
        _writes.set_many(stage.store, stage.documents_of(fresh))
    upload = stage.upload
    plan = batch.plan
    blocks = Blocks.of(plan.cells, stage.facts.grid)
    for value in batch.values:
        stored = value.stored()
        put_rows(upload, stage, slot, value.meta, stored, plan.order, plan.cell_vertices, blocks)
    if batch.links is not None and len(batch.links):
        _put_links(upload, stage, slot, batch, batch.links)
    for value in batch.object_values:
        put_object_rows(upload, stage, slot, value.meta, value.stored())
    index, head_bytes = _encode_index(batch)
    path = _paths.join(stage.path, "batches", "index")
    upload.put(_paths.shard_key(path, slot, (0,)), index)
    upload.start()
    objects = batch.objects
    # Of no links nothing is stored.
    contents = {value.meta.path: new_content_id() for value in batch.all_values if len(value)}
    return BatchRow(
        uuid=new_uuid(),
        slot=slot,
        n_vertices=len(batch.vertices.array),
        n_objects=len(objects.ids),
        n_new_objects=int(objects.is_new.sum()),
        n_fragments=len(plan.fragment_object),
        n_cells=len(plan.cells),
        n_links=0 if batch.links is None else len(batch.links),
        id_min=int(objects.ids[0]),
        id_max=int(objects.ids[-1]),
        head_bytes=head_bytes,
        vertex_bytes=vertex_bytes,
        lo=batch.vertices.box.lo,
        hi=batch.vertices.box.hi,
        default_ids=int(objects.by_default),
        origin=stage.origin,
        digest_a=digest.signed(batch.sums[0]),
        digest_b=digest.signed(batch.sums[1]),
        digest_of=digest.made_of(contents, int(objects.ids[0]), int(objects.ids[-1])),
        contents=contents,
        ranges={v.meta.path: r for v in batch.values if (r := v.range()) is not None},
    )


def _put(
    upload: Uploader,
    stage: LevelStage,
    slot: int,
    array: str,
    rows: np.ndarray,
    order: np.ndarray | None,
    cell_rows: np.ndarray,
    blocks: Blocks,
) -> int:
    """Upload the rows of one array; return their stored length."""
    path, size = _paths.join(stage.path, array), 0
    codec, places = arrays.vertex_codec(rows.dtype), stage.facts.grid.places
    for block, shard in encode_rows(rows, order, cell_rows, blocks, places, codec):
        upload.put(_paths.shard_key(path, slot, block), shard)
        size += len(shard)
    return size


def _put_links(
    upload: Uploader, stage: LevelStage, slot: int, batch: Batch, links: LinkPlan
) -> None:
    """Upload links and what was given for them; cells that keep none get none."""
    has = links.cell_links > 0
    counts, blocks = links.cell_links[has], Blocks.of(batch.plan.cells[has], stage.facts.grid)
    if links.rows is not None:
        _put(upload, stage, slot, LINKS, links.rows, None, counts, blocks)
    for value in batch.link_values:
        stored = value.stored()
        put_rows(upload, stage, slot, value.meta, stored, links.order, counts, blocks)


def _summary(batch: Batch | None, *, links: bool = False) -> dict[str, Any]:
    """What an append tells; None for one of nothing."""
    ids = np.zeros(0, np.int64) if batch is None else batch.objects.ids
    told: dict[str, Any] = {
        "vertices_added": 0 if batch is None else len(batch.vertices.array),
        "new_objects": 0 if batch is None else int(batch.objects.is_new.sum()),
        "chunks_touched": 0 if batch is None else len(batch.plan.cells),
        "object_ids": ids,
    }
    if links:
        told["links_added"] = 0 if batch is None or batch.links is None else len(batch.links)
    return told


def _encode_index(batch: Batch) -> tuple[bytearray, int]:
    """The shard of a batch's index, and the length of its head."""
    objects, plan = batch.objects, batch.plan
    index = BatchIndex(
        cells=plan.cells,
        cell_vertices=plan.cell_vertices,
        cell_fragments=plan.cell_fragments,
        fragment_object=plan.fragment_object,
        fragment_vertices=plan.fragment_vertices,
        object_ids=objects.ids,
        object_is_new=objects.is_new,
        object_fragments=np.bincount(plan.fragment_object, minlength=len(objects.ids)),
        order=plan.object_order,
        cell_links=batch.links.cell_links if batch.links is not None and len(batch.links) else None,
        fragment_rank=plan.fragment_rank,
        fragment_ends=plan.fragment_ends,
    )
    encoded = batches.encode(index)
    shard = shards.pack(batches.SECTIONS, [(place, [cell]) for place, cell in encoded])
    return shard, len(encoded[0][1])
