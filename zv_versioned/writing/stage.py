"""What a transaction has staged on one level: nothing of it is visible.

A stage is the level as the transaction sees it: its facts, the batches that
were added, and the table of those that were there, where something of them was
changed. What is written to it (vertices, attributes, removals) lies in modules
of its own; each uploads its chunks and then records here what they are. The
table and the level's facts are written by :meth:`LevelStage.documents`, when
the transaction commits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _paths
from .._ids import Ids, KnownIds
from .._sets import distinct, is_in
from .._state import LevelState, load_table, table_key
from .._upload import Uploader
from ..format import arrays, metadata
from ..format.metadata import DatasetMeta, LevelFacts
from ..format.table import BUCKET, BatchRow, BatchTable, new_content_id
from ..reading.reader import LevelReader
from ..spatial.grid import Grid
from ..storage import snapshot_of

if TYPE_CHECKING:
    from zarr.abc.store import Store

    from .._cache import Cache


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
    origin : int
        The number of the transaction.
    hold : int
        Bytes up to which nothing is uploaded before it is asked for or committed.
    base_store : callable, optional
        Gives a store of the snapshot that the transaction began at.

    Attributes
    ----------
    parts
        What was read of batches, and never changes.
    upload : Uploader
        Takes the chunks; :attr:`store` waits for it.
    meta, facts
        The dataset and the level as the transaction sees them now.
    new_ids : list of Ids
        Of the objects that begin in this transaction, batch by batch.
    changes : dict of str to int or list
        What the commit's metadata says of this level.
    broken : bool
        True while something is half uploaded, and for ever where that failed.
    """

    def __init__(
        self,
        store: Store,
        meta: DatasetMeta,
        facts: LevelFacts,
        known_ids: KnownIds,
        parts: Cache,
        tail: BatchTable | None = None,
        origin: int = 0,
        hold: int = 0,
        base_store: Callable[[], Store] | None = None,
    ) -> None:
        self._store = store
        self._base_store = base_store or (lambda: store)
        self.upload = Uploader(store, hold=hold)
        self.base = facts
        self._tail = tail
        self.origin = origin
        self.known_ids = known_ids
        self.parts = parts
        self._ids: list[Ids] = []
        self._uuids: list[np.ndarray] = []
        self.new_ids: list[Ids] = []
        self.base_snapshot_id = snapshot_of(store)
        self.meta = meta
        self.facts = facts
        # Batches added since `_whole`, the table with all changes before them, was made.
        self._added: list[BatchRow] = []
        self._whole: BatchTable | None = None
        # The open buckets, and how many added batches they have: made once for a commit.
        self._open: tuple[int, BatchTable] | None = None
        self._base_reader: LevelReader | None = None
        self.changes: dict[str, Any] = {}
        # Ids of objects that this transaction removed: retired, though it may have begun them.
        self.removed_ids: list[np.ndarray] = []
        # How often something was changed here; who looks twice sees whether it was in between.
        self.edits = 0
        self.broken = False
        self.path = _paths.level_path(meta.name, facts.level)

    @contextmanager
    def uploading(self) -> Iterator[None]:
        """Around what must be done whole: where it fails, the transaction cannot be published."""
        # What is held back may have to be written on the way.
        outside, self.broken = self.broken, True
        yield
        self.broken = outside

    # -- what is written -----------------------------------------------------

    @property
    def store(self) -> Store:
        """The transaction's own, with everything that was staged."""
        self.finish()
        return self._store

    def finish(self) -> None:
        """Wait for what is being uploaded."""
        with self.uploading():
            self.upload.finish()

    # -- the level as it is seen here ----------------------------------------

    @property
    def base_reader(self) -> LevelReader:
        """The level as the transaction began."""
        if self._base_reader is None:
            store = self._base_store()
            table = load_table(store, self.path, self.base, self.meta.ndim, parts=self.parts)
            state = LevelState(self.path, self.base, table)
            self._base_reader = LevelReader(store, self.meta, state, self.parts)
        return self._base_reader

    def table(self) -> BatchTable:
        """All batches, with everything that was staged."""
        return self.table_after(None)

    def table_after(self, base: BatchTable | None) -> BatchTable:
        """The same, where the table as the transaction began is known (the session may not
        have it any more).
        """
        before = self._whole
        if before is None and self.base.slots == 0:
            # Also a level that was made anew, whatever there was under its number.
            before = BatchTable.empty(self.meta.ndim)
        if before is None:
            before = self.base_reader.state.table if base is None else base
        if not self._added:
            return before
        return BatchTable.concatenate([before, BatchTable.from_rows(self._added, self.meta.ndim)])

    def reader(self) -> LevelReader:
        """The level with everything that was staged."""
        state = LevelState(self.path, self.facts, self.table())
        return LevelReader(self.store, self.meta, state, self.parts)

    # -- recording -----------------------------------------------------------

    def added(self, row: BatchRow, ids: np.ndarray, new_ids: np.ndarray) -> None:
        """Record a batch that is uploaded, with the ids of its objects."""
        self._added.append(row)
        self._uuids.append(row.uuid)
        self._ids.append(Ids.of(ids))
        if len(new_ids):
            self.new_ids.append(Ids.of(new_ids))
        self.facts = replace(
            self.facts,
            slots=row.slot + 1,
            vertex_count=self.facts.vertex_count + row.n_vertices,
            num_objects=self.facts.num_objects + row.n_new_objects,
            link_count=self.facts.link_count + row.n_links,
            max_object_id=max(self.facts.max_object_id, row.id_max),
        )
        self.count(
            batches_added=1,
            vertices_added=row.n_vertices,
            objects_added=row.n_new_objects,
            **({"links_added": row.n_links} if row.n_links else {}),
        )

    def replaced(self, table: BatchTable) -> None:
        """Record the table with changes to batches that were there; all batches, by slot."""
        self._whole, self._added = table, []

    def removed(self, table: BatchTable, ids: np.ndarray, lost: dict[str, int]) -> None:
        """Record the table after objects were removed, and what each of its columns lost."""
        self.replaced(table)
        self.removed_ids.append(ids)
        self.facts = replace(
            self.facts,
            vertex_count=self.facts.vertex_count - lost["n_removed_vertices"],
            num_objects=self.facts.num_objects - lost["n_removed_objects"],
            link_count=self.facts.link_count - lost["n_removed_links"],
        )
        self.count(
            objects_removed=lost["n_removed_objects"],
            vertices_removed=lost["n_removed_vertices"],
            **({"links_removed": lost["n_removed_links"]} if lost["n_removed_links"] else {}),
        )

    def regrouped(self, content_id: int) -> None:
        """Record that the groups of objects are written anew."""
        self.facts = replace(self.facts, groups=content_id)
        self.count(groups_written=1)

    def count(self, **changes: int) -> None:
        """Add to the numbers of what was changed."""
        self.edits += 1
        for name, number in changes.items():
            self.changes[name] = self.changes.get(name, 0) + number

    def note(self, what: str, name: str) -> None:
        """Add a name to a list of what was changed."""
        self.edits += 1
        names = self.changes.setdefault(what, [])
        if name not in names:
            names.append(name)

    def mark_stale(self) -> None:
        """Say that the level this one was made from has changed; an empty one is never stale."""
        coarsened = self.facts.coarsened
        if coarsened is None or coarsened["stale"] or self.facts.slots == 0:
            return
        self.facts = replace(self.facts, coarsened={**coarsened, "stale": True})
        self.changes["stale"] = True

    def documents_of(self, attributes: Sequence[metadata.AttributeMeta]) -> list[tuple[str, bytes]]:
        """The documents of attributes that are new to the level or change."""
        return attribute_documents(self.path, self.facts.grid, self.meta.axes, attributes)

    # -- publishing ----------------------------------------------------------

    def ready(self) -> None:
        """Wait for what is being uploaded, but for what is held, and know what a commit needs."""
        with self.uploading():
            self.upload.wait()
        if self._whole is None and self._added:
            self._open_buckets()

    def begun(self) -> list[Ids]:
        """Ids of the objects that begin in this transaction and are there at its end."""
        if not self.removed_ids:
            return self.new_ids
        removed = np.concatenate(self.removed_ids)
        arrays = [ids.array() for ids in self.new_ids]
        left = [ids[~is_in(ids, removed)] for ids in arrays]
        return [Ids.of(ids) for ids in left if len(ids)]

    def committed_counts(self) -> tuple[int, int]:
        """Vertices and objects that are new with this transaction and there at its end."""
        if not self.removed_ids:
            return self.changes.get("vertices_added", 0), self.changes.get("objects_added", 0)
        table = self.table()
        added = table.slot >= self.base.slots
        return int(table.live_vertices[added].sum()), int(table.live_new_objects[added].sum())

    @property
    def changed(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self.changes)

    def committed(self, snapshot_id: str) -> None:
        """Let the next transaction know the ids of this one without reading them."""
        self.known_ids.committed(self.base_snapshot_id, snapshot_id, self._uuids, self._ids)

    def state(self) -> tuple[DatasetMeta, LevelFacts, BatchTable]:
        """What the next transaction needs to know of the level: facts and the last bucket."""
        table = self._open_buckets()
        last = table.slot >= self.facts.slots // BUCKET * BUCKET
        return self.meta, self.facts, table if last.all() else table.take(last)

    def _open_buckets(self) -> BatchTable:
        """The rows of the last bucket and of those after it."""
        first = self.base.slots // BUCKET * BUCKET
        if self._whole is not None:
            table = self.table()
            # A compaction may have left fewer slots than there were.
            first = min(first, self.facts.slots // BUCKET * BUCKET)
            return table.take(table.slot >= first)
        if self._open is not None and self._open[0] == len(self._added):
            return self._open[1]
        table = BatchTable.from_rows(self._added, self.meta.ndim)
        if self.base.slots % BUCKET:
            if self._tail is None:
                self._tail = self._from_bucket(first // BUCKET)
            table = BatchTable.concatenate([self._tail, table])
        self._open = len(self._added), table
        return table

    def _from_bucket(self, first: int) -> BatchTable:
        """The table as the transaction began, from a bucket on."""
        if self._base_reader is not None:
            table = self._base_reader.state.table
            return table.take(table.slot >= first * BUCKET)
        return load_table(
            self._base_store(), self.path, self.base, self.meta.ndim, first, parts=self.parts
        )

    def base_table(self) -> BatchTable:
        """The table as the transaction began, whatever is held."""
        if self._tail is not None and self.base.slots < BUCKET:
            return self._tail
        return self._from_bucket(0)

    def _buckets(self) -> Iterator[tuple[int, BatchTable]]:
        """The buckets that a commit has to write."""
        if self._whole is None:
            table, written = self._open_buckets(), None
            if not self._added:
                return
        else:
            table, written = self.table(), self.base_reader.state.table
        bucket_of = table.slot // BUCKET
        numbers = bucket_of if written is None else np.append(bucket_of, written.slot // BUCKET)
        buckets = distinct(numbers).tolist()
        for bucket in buckets:
            rows = table if len(buckets) == 1 else table.take(bucket_of == bucket)
            before = None if written is None else written.take(written.slot // BUCKET == bucket)
            if before is None or not rows.same_as(before):
                yield bucket, rows

    def renew(self) -> None:
        """Give what was staged a version of its own: equal ones are taken to be the same."""
        self.facts = replace(self.facts, version=new_content_id())

    def documents(self) -> list[tuple[str, bytes]]:
        """What a commit has to write: buckets of the table and the level's facts."""
        items = [(table_key(self.path, bucket), rows.encode()) for bucket, rows in self._buckets()]
        document = metadata.group(self.facts.to_attributes(self.meta.axes))
        items.append((f"{self.path}/zarr.json", metadata.dumps(document)))
        return items

    def summary(self) -> dict[str, Any]:
        """What the commit's metadata says of this level."""
        none = {"batches_added": 0, "vertices_added": 0, "objects_added": 0}
        return {**none, **self.changes}


def attribute_documents(
    level: str,
    grid: Grid,
    axes: Sequence[Mapping[str, str]],
    attributes: Sequence[metadata.AttributeMeta],
) -> list[tuple[str, bytes]]:
    """The documents of attributes that are new to a level or change, and of their groups."""
    nodes: dict[str, dict[str, Any]] = {}
    for attribute in attributes:
        nodes[attribute.family] = metadata.group()
        if attribute.family == metadata.OBJECT_ATTRIBUTES:
            nodes[attribute.path] = arrays.object_attribute_array(attribute)
        else:
            nodes[attribute.path] = arrays.attribute_array(grid, axes, attribute)
        if attribute.logical == metadata.TEXT:
            nodes["dictionaries"] = nodes[f"dictionaries/{attribute.family}"] = metadata.group()
            nodes[attribute.dictionary] = arrays.dictionary_array(attribute)
    return [
        (f"{_paths.join(level, path)}/zarr.json", metadata.dumps(document))
        for path, document in nodes.items()
    ]
