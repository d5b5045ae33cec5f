"""Appending a batch: checked, sorted by cell and fragment, uploaded, recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _checks, _paths, _store, _values
from ._attributes import put_rows
from ._cells_io import Blocks, check_payloads, encode_rows
from ._stage import LevelStage, attribute_documents
from ._values import Values
from .errors import ArrayError, MetadataError
from .format import batches, metadata, shards
from .format.batches import BatchIndex
from .format.metadata import CAPACITY, VERTEX_ATTRIBUTES, DatasetMeta
from .format.table import BatchRow, new_content_id, new_uuid
from .spatial.assign import Assignment, assign, object_rows, stable_order
from .spatial.boxes import Box

_OUT_OF_BOUNDS = ("raise", "expand")


@dataclass(frozen=True)
class _Objects:
    """The objects of one append: ids ascending, which are new, and whether they were counted on."""

    ids: np.ndarray
    is_new: np.ndarray
    by_default: bool


def append_points(
    stage: LevelStage,
    positions: Any,
    object_ids: Any,
    dtype: Any,
    attributes: Mapping[str, Any] | None,
    out_of_bounds: str,
) -> dict[str, Any]:
    """Check, sort and upload one batch; see :meth:`ZVWriter.append_vertices`."""
    if out_of_bounds not in _OUT_OF_BOUNDS:
        raise MetadataError(f'out_of_bounds must be "raise" or "expand", got {out_of_bounds!r}')
    array = _checks.positions(positions, stage.meta.ndim, stage.meta.vertex_dtype, dtype)
    values = _values.appended(attributes, len(array), stage.facts.attributes)
    if object_ids is not None:
        object_ids = _checks.object_ids(object_ids, len(array))
    if len(array) == 0:
        ids = np.zeros(0, np.int64)
        return _summary(0, 0, 0, ids)
    if stage.facts.slots >= CAPACITY:
        raise ArrayError(
            f"level {stage.path!r} has {CAPACITY:,} batches, all that it has room for; append "
            "more vertices at a time"
        )
    box = _checks.box_of_finite(array)
    meta = _grown(stage, array, box, out_of_bounds)
    objects, rows = _objects(stage, object_ids, len(array))
    plan = assign(array, box, rows, len(objects.ids), stage.facts.grid)
    del rows
    for row_bytes in (
        array.dtype.itemsize * stage.meta.ndim,
        *(value.meta.row_bytes for value in values),
    ):
        check_payloads(plan.cell_vertices, row_bytes)
    with stage.uploading():
        row = _upload(stage, array, box, values, objects, plan)
    known = {**stage.facts.attributes, **{v.meta.name: v.meta for v in values}}
    stage.meta = meta
    stage.facts = stage.facts.with_family(VERTEX_ATTRIBUTES, known)
    stage.added(row, objects.ids, objects.ids[objects.is_new])
    new = int(objects.is_new.sum())
    return _summary(len(array), new, len(plan.cells), objects.ids)


def _grown(stage: LevelStage, array: np.ndarray, box: Box, out_of_bounds: str) -> DatasetMeta:
    if out_of_bounds == "raise":
        _checks.within(array, box, stage.meta.bounds)
    stage.facts.grid.check_within(box)
    if out_of_bounds == "raise" or stage.meta.bounds.contains(box):
        return stage.meta
    return stage.meta.with_bounds(stage.meta.bounds.union(box))


# ---- objects ----------------------------------------------------------------


def _objects(stage: LevelStage, given: np.ndarray | None, n: int) -> tuple[_Objects, np.ndarray]:
    """The objects of an append of `n` vertices, and the row of each vertex's object."""
    if given is None:
        first = stage.facts.max_object_id + 1
        if first + n - 1 > _checks.MAX_ID:
            raise ArrayError(
                f"the level's largest object id is {first - 1}: no {n:,} ids are left after "
                "it; pass object_ids"
            )
        ids = np.arange(first, first + n, dtype=np.int64)
        return _Objects(ids, np.ones(n, bool), True), np.arange(n)
    ids, rows = object_rows(given)
    is_new = np.ones(len(ids), bool)
    if int(ids[0]) <= stage.facts.max_object_id:
        for removed in stage.removed_ids:
            _refuse(stage, ids[np.isin(ids, removed)], "were removed from")
        for begun in stage.new_ids:
            is_new &= ~begun.among(ids)
        _refuse_taken(stage, ids[is_new & (ids <= stage.base.max_object_id)])
    return _Objects(ids, is_new, False), rows


def _refuse_taken(stage: LevelStage, ids: np.ndarray) -> None:
    """Refuse ids that objects of earlier commits have."""
    if len(ids) == 0:
        return
    taken = stage.known_ids.among(
        ids,
        stage.base_snapshot_id,
        lambda: stage.base_reader.state.table,
        lambda rows: stage.base_reader.ids(rows),
    )
    _refuse(stage, taken, "overlap existing objects of")


def _refuse(stage: LevelStage, taken: np.ndarray, why: str) -> None:
    if len(taken):
        shown = ", ".join(map(str, taken[:5].tolist())) + (", …" if len(taken) > 5 else "")
        raise ArrayError(
            f"{len(taken):,} object ids {why} {stage.path!r}: {shown}. Each id is used once; leave "
            "object_ids out to have new ones given, or use ids that the level does not have"
        )


# ---- bytes ------------------------------------------------------------------


def _upload(
    stage: LevelStage,
    array: np.ndarray,
    box: Box,
    values: list[Values],
    objects: _Objects,
    plan: Assignment,
) -> BatchRow:
    slot, grid = stage.facts.slots, stage.facts.grid
    fresh = [v.meta for v in values if v.meta.name not in stage.facts.attributes]
    _store.set_many(stage.store, attribute_documents(stage, fresh))
    upload = _store.Uploader(stage.store)
    blocks = Blocks.of(plan.cells, grid)
    path, vertex_bytes = _paths.join(stage.path, "vertices"), 0
    codec = metadata.vertex_codec(array.dtype)
    for block, shard in encode_rows(
        array, plan.order, plan.cell_vertices, blocks, grid.places, codec
    ):
        upload.put(_paths.shard_key(path, slot, block), shard)
        vertex_bytes += len(shard)
    for value in values:
        stored = value.stored()
        put_rows(upload, stage, slot, value.meta, stored, plan.order, plan.cell_vertices, blocks)
    index, head_bytes = _encode_index(objects, plan)
    path = _paths.join(stage.path, "batches", "index")
    upload.put(_paths.shard_key(path, slot, (0,)), index)
    upload.flush()
    return BatchRow(
        uuid=new_uuid(),
        slot=slot,
        n_vertices=len(array),
        n_objects=len(objects.ids),
        n_new_objects=int(objects.is_new.sum()),
        n_fragments=len(plan.fragment_object),
        n_cells=len(plan.cells),
        id_min=int(objects.ids[0]),
        id_max=int(objects.ids[-1]),
        head_bytes=head_bytes,
        vertex_bytes=vertex_bytes,
        lo=box.lo,
        hi=box.hi,
        default_ids=int(objects.by_default),
        contents={value.meta.path: new_content_id() for value in values},
    )


def _summary(vertices: int, new: int, chunks: int, ids: np.ndarray) -> dict[str, Any]:
    return {
        "vertices_added": vertices,
        "new_objects": new,
        "chunks_touched": chunks,
        "object_ids": ids,
    }


def _encode_index(objects: _Objects, plan: Assignment) -> tuple[bytearray, int]:
    """The shard of a batch's index, and the length of its head."""
    n = len(objects.ids)
    index = BatchIndex(
        cells=plan.cells,
        cell_vertices=plan.cell_vertices,
        cell_fragments=plan.cell_fragments,
        fragment_object=plan.fragment_object,
        fragment_vertices=plan.fragment_vertices,
        object_ids=objects.ids,
        object_is_new=objects.is_new,
        object_fragments=np.bincount(plan.fragment_object, minlength=n),
        # A point cloud's objects have no order of their own: that of the cells.
        order=stable_order(plan.fragment_object, n),
    )
    encoded = batches.encode(index)
    shard = shards.pack(batches.SECTIONS, [(place, [cell]) for place, cell in encoded])
    return shard, len(encoded[0][1])
