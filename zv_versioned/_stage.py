"""What a transaction has staged on one level: batches uploaded, nothing visible.

An append checks everything, sorts the vertices, uploads the shards one after
the other under the batch's slot, and remembers a row for the table. The table
and the level's facts are written by :meth:`LevelStage.documents`, when the
transaction commits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _checks, _paths, _store
from ._cells_io import Blocks, check_payloads, encode_rows
from ._ids import Ids, KnownIds
from ._read import LevelReader
from ._state import LevelState, load_table, table_key
from .errors import ArrayError, MetadataError
from .format import batches, metadata, shards
from .format.batches import BatchIndex
from .format.metadata import CAPACITY, AttributeMeta, DatasetMeta, LevelFacts
from .format.table import BUCKET, BatchRow, BatchTable, new_content_id, new_uuid
from .spatial.assign import Assignment, assign, object_rows, stable_order
from .spatial.boxes import Box
from .storage import snapshot_of

if TYPE_CHECKING:
    from zarr.abc.store import Store

    from ._cache import Cache

_OUT_OF_BOUNDS = ("raise", "expand")


@dataclass(frozen=True)
class _Objects:
    """The objects of one append: ids ascending, and which are new."""

    ids: np.ndarray
    is_new: np.ndarray


class LevelStage:
    """The staged side of one level.

    Parameters
    ----------
    store : zarr.abc.store.Store
        The transaction's own.
    meta : DatasetMeta
        The dataset as the transaction sees it.
    facts : LevelFacts
        The level as the transaction began.
    known_ids : KnownIds
    parts : Cache
    tail : BatchTable, optional
        The last bucket of the level's table, where it is known already.

    Attributes
    ----------
    new_ids : list of Ids
        Of the objects that begin in this transaction, batch by batch.
    """

    def __init__(
        self,
        store: Store,
        meta: DatasetMeta,
        facts: LevelFacts,
        known_ids: KnownIds,
        parts: Cache,
        tail: BatchTable | None = None,
    ) -> None:
        self._store = store
        self._base = facts
        self._base_meta = meta
        self._tail = tail
        self._known_ids = known_ids
        self._parts = parts
        self._ids: list[Ids] = []
        self.new_ids: list[Ids] = []
        self._base_snapshot_id = snapshot_of(store)
        self.meta = meta
        self.facts = facts
        self.rows: list[BatchRow] = []
        # True while a batch is half uploaded, and for ever where that failed.
        self.broken = False
        self.path = _paths.level_path(meta.name, facts.level)

    def append(
        self,
        positions: Any,
        object_ids: Any,
        dtype: Any,
        attributes: Mapping[str, Any] | None,
        out_of_bounds: str,
    ) -> dict[str, Any]:
        """Check, sort and upload one batch; see :meth:`ZVWriter.append_vertices`."""
        if out_of_bounds not in _OUT_OF_BOUNDS:
            raise MetadataError(f'out_of_bounds must be "raise" or "expand", got {out_of_bounds!r}')
        array = _checks.positions(positions, self.meta.ndim, self.meta.vertex_dtype, dtype)
        values = _checks.attributes(attributes, len(array), self.facts.attributes)
        if object_ids is not None:
            object_ids = _checks.object_ids(object_ids, len(array))
        if len(array) == 0:
            ids = np.zeros(0, np.int64)
            return _summary(0, 0, 0, ids)
        if self.facts.slots >= CAPACITY:
            raise ArrayError(
                f"level {self.path!r} has {CAPACITY:,} batches, all that it has room for; append "
                "more vertices at a time"
            )
        box = _checks.box_of_finite(array)
        meta = self._grown(array, box, out_of_bounds)
        objects, rows = self._objects(object_ids, len(array))
        plan = assign(array, box, rows, len(objects.ids), self.facts.grid)
        del rows
        for row_bytes in (
            array.dtype.itemsize * self.meta.ndim,
            *(attribute.row_bytes for attribute, _ in values),
        ):
            check_payloads(plan.cell_vertices, row_bytes)
        self.broken = True
        row = self._upload(array, box, values, objects, plan)
        self.broken = False
        self._remember(row, meta, values, objects)
        new = int(objects.is_new.sum())
        return _summary(len(array), new, len(plan.cells), objects.ids)

    def _grown(self, array: np.ndarray, box: Box, out_of_bounds: str) -> DatasetMeta:
        if out_of_bounds == "raise":
            _checks.within(array, box, self.meta.bounds)
        self.facts.grid.check_within(box)
        if out_of_bounds == "raise" or self.meta.bounds.contains(box):
            return self.meta
        return self.meta.with_bounds(self.meta.bounds.union(box))

    # -- objects -------------------------------------------------------------

    def _objects(self, given: np.ndarray | None, n: int) -> tuple[_Objects, np.ndarray]:
        """The objects of an append of `n` vertices, and the row of each vertex's object."""
        if given is None:
            first = self.facts.max_object_id + 1
            if first + n - 1 > _checks.MAX_ID:
                raise ArrayError(
                    f"the level's largest object id is {first - 1}: no {n:,} ids are left after "
                    "it; pass object_ids"
                )
            ids = np.arange(first, first + n, dtype=np.int64)
            return _Objects(ids, np.ones(n, bool)), np.arange(n)
        ids, rows = object_rows(given)
        is_new = np.ones(len(ids), bool)
        if int(ids[0]) <= self.facts.max_object_id:
            for begun in self.new_ids:
                is_new &= ~begun.among(ids)
            self._refuse_taken(ids[is_new & (ids <= self._base.max_object_id)])
        return _Objects(ids, is_new), rows

    def _refuse_taken(self, ids: np.ndarray) -> None:
        """Refuse ids that objects of earlier commits have."""
        if len(ids) == 0:
            return
        taken = self._known_ids.among(
            ids,
            self._base_snapshot_id,
            lambda: self._base_reader.state.table,
            lambda rows: self._base_reader.ids(rows),
        )
        if len(taken):
            shown = ", ".join(map(str, taken[:5].tolist())) + (", …" if len(taken) > 5 else "")
            raise ArrayError(
                f"{len(taken):,} object ids overlap existing objects of {self.path!r}: {shown}. "
                "Each id is used once; leave object_ids out to have new ones given, or use "
                "ids that the level does not have"
            )

    @cached_property
    def _base_reader(self) -> LevelReader:
        """The level as the transaction began."""
        table = load_table(self._store, self.path, self._base, self.meta.ndim)
        state = LevelState(self.path, self._base, table)
        return LevelReader(self._store, self.meta, state, self._parts)

    # -- bytes ---------------------------------------------------------------

    def _upload(
        self,
        array: np.ndarray,
        box: Box,
        values: list[tuple[AttributeMeta, np.ndarray]],
        objects: _Objects,
        plan: Assignment,
    ) -> BatchRow:
        slot, grid = self.facts.slots, self.facts.grid
        upload = _store.Uploader(self._store)
        self._create_attributes([a for a, _ in values if a.name not in self.facts.attributes])
        blocks = Blocks.of(plan.cells, grid)
        arrays = [("vertices", array), *(("vertex_attributes/" + a.name, v) for a, v in values)]
        sizes = []
        for name, rows in arrays:
            path, size = _paths.join(self.path, name), 0
            codec = metadata.vertex_codec(rows.dtype)
            for block, shard in encode_rows(
                rows, plan.order, plan.cell_vertices, blocks, grid.places, codec
            ):
                upload.put(_paths.shard_key(path, slot, block), shard)
                size += len(shard)
            sizes.append(size)
        index, head_bytes = _encode_index(objects, plan)
        path = _paths.join(self.path, "batches", "index")
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
            vertex_bytes=sizes[0],
            lo=box.lo,
            hi=box.hi,
            attributes={attribute.name: new_content_id() for attribute, _ in values},
        )

    def _create_attributes(self, fresh: list[AttributeMeta]) -> None:
        items = []
        group = _paths.join(self.path, "vertex_attributes")
        if fresh and not self.facts.attributes:
            items.append((f"{group}/zarr.json", metadata.dumps(metadata.group())))
        for attribute in fresh:
            document = metadata.attribute_array(self.facts.grid, self.meta.axes, attribute)
            items.append((f"{group}/{attribute.name}/zarr.json", metadata.dumps(document)))
        _store.set_many(self._store, items)

    def _remember(
        self,
        row: BatchRow,
        meta: DatasetMeta,
        values: list[tuple[AttributeMeta, np.ndarray]],
        objects: _Objects,
    ) -> None:
        self.meta = meta
        self.rows.append(row)
        ids = Ids.of(objects.ids)
        self._ids.append(ids)
        if objects.is_new.all():
            self.new_ids.append(ids)
        elif objects.is_new.any():
            self.new_ids.append(Ids.of(objects.ids[objects.is_new]))
        self.facts = replace(
            self.facts,
            slots=row.slot + 1,
            vertex_count=self.facts.vertex_count + row.n_vertices,
            num_objects=self.facts.num_objects + row.n_new_objects,
            max_object_id=max(self.facts.max_object_id, row.id_max),
            attributes={**self.facts.attributes, **{a.name: a for a, _ in values}},
        )

    # -- publishing ----------------------------------------------------------

    @property
    def bounds_grew(self) -> bool:
        """Whether an append let the dataset's bounds grow."""
        return self.meta is not self._base_meta

    def committed(self, snapshot_id: str) -> None:
        """Let the next transaction know the ids of this one without reading them."""
        uuids = [row.uuid for row in self.rows]
        self._known_ids.committed(self._base_snapshot_id, snapshot_id, uuids, self._ids)

    def state(self) -> tuple[DatasetMeta, LevelFacts, BatchTable]:
        """What the next transaction needs to know of the level: facts and the last bucket."""
        table = self._table()
        return self.meta, self.facts, table.take(table.slot >= self.facts.slots // BUCKET * BUCKET)

    def _table(self) -> BatchTable:
        """The rows of the buckets that a commit writes."""
        table = BatchTable.from_rows(self.rows, self.meta.ndim)
        if self._base.slots % BUCKET == 0:
            return table
        if self._tail is None:
            first = self._base.slots // BUCKET
            self._tail = load_table(self._store, self.path, self._base, self.meta.ndim, first)
        return BatchTable.concatenate([self._tail, table])

    def documents(self) -> list[tuple[str, bytes]]:
        """What a commit has to write: buckets of the table and the level's facts."""
        table = self._table()
        bucket_of = table.slot // BUCKET
        items = [
            (table_key(self.path, int(bucket)), table.take(bucket_of == bucket).encode())
            for bucket in np.unique(bucket_of)
        ]
        document = metadata.group(self.facts.to_attributes(self.meta.axes))
        items.append((f"{self.path}/zarr.json", metadata.dumps(document)))
        return items

    def summary(self) -> dict[str, int]:
        """What the commit's metadata says of this level."""
        return {
            "batches_added": len(self.rows),
            "vertices_added": sum(row.n_vertices for row in self.rows),
            "objects_added": sum(row.n_new_objects for row in self.rows),
        }


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
