"""Compaction: small batches of a level become larger ones, in one commit.

Nothing of what objects are changes, only how it lies: fewer batches are fewer
ranges to read and fewer rows in the table. A transaction of its own stages it,
so it is published like any other: beside appends it is merged, and where somebody
wrote to a batch that was being merged, it begins anew.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _memory, _paths, _state, _writes
from .._beside import beside
from .._words import counted
from ..errors import ConflictError, MetadataError
from ..format import arrays, batches, digest, metadata
from ..format.table import LINEAGE, REMOVED, BatchRow, BatchTable, new_content_id
from ..geometry import html_table
from ..reading import lineage as _lineage
from ..reading import removed
from ..reading.reader import LevelReader
from ..result import stage_name
from ..storage.drop import drop_chunks, drop_slots, drops_slots
from ..writing.append import upload_batch, upload_vertices
from ..writing.stage import LevelStage
from . import policy
from .digest import all_kept_sums
from .gather import Merging
from .keys import arrays_of_batches, keys_of_batches
from .report import Progress

if TYPE_CHECKING:
    from ..repository import Repository
    from ..transaction import Transaction

_TRIES = 8
_OTHERS_WROTE = ("compaction", "batch", "attribute", "definition", "branch")


@dataclass(frozen=True)
class LevelCompaction:
    """What a compaction does to one level.

    Parameters
    ----------
    batches_before, batches_after : int
    batches_merged : int
        How many of those before are read and written anew.
    vertices : int
        Their vertices, without removed ones.
    vertices_dropped : int
        Vertices of removed objects, which are gone for good.
    """

    batches_before: int
    batches_after: int
    batches_merged: int
    vertices: int
    vertices_dropped: int

    def to_dict(self) -> dict[str, int]:
        """As plain values, for JSON."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class Compaction:
    """What :meth:`Repository.compact` did, or would do.

    Parameters
    ----------
    snapshot_id : str
        The new snapshot; the branch's tip where nothing was to be done.
    branch : str
    dry_run : bool
    levels : mapping of str to LevelCompaction
        Those that change, by their dataset (and ``dataset/level`` beyond level 0).
    """

    snapshot_id: str
    branch: str
    dry_run: bool
    levels: Mapping[str, LevelCompaction] = field(default_factory=dict)

    @property
    def batches_merged(self) -> int:
        """Over all levels."""
        return sum(level.batches_merged for level in self.levels.values())

    def to_dict(self) -> dict[str, Any]:
        """The result as plain values, for JSON."""
        return {
            "snapshot_id": self.snapshot_id,
            "branch": self.branch,
            "dry_run": self.dry_run,
            "levels": {name: level.to_dict() for name, level in self.levels.items()},
        }

    def _facts(self) -> list[tuple[str, str]]:
        facts = [("snapshot", self.snapshot_id), ("branch", self.branch)]
        for name, level in self.levels.items():
            told = f"{counted(level.batches_before, 'batch', 'batches')} to {level.batches_after:,}"
            if level.vertices_dropped:
                dropped = counted(level.vertices_dropped, "removed vertex", "removed vertices")
                told += f", {dropped} dropped"
            facts.append((f"level {name!r}", told))
        return facts

    def __repr__(self) -> str:
        name = "Compaction, dry run" if self.dry_run else "Compaction"
        return f"<{name}: " + ", ".join(f"{k} {v}" for k, v in self._facts()) + ">"

    def _repr_html_(self) -> str:
        return html_table("Compaction", self._facts())


# ---- the verb ---------------------------------------------------------------


def compact(
    repository: Repository,
    branch: str,
    *,
    dataset: str | None,
    level: int | None,
    target_vertices: int,
    max_batches: int | None,
    dry_run: bool,
    message: str | None,
    author: str | None,
    progress: Progress | None,
) -> Compaction:
    """Merge small batches; see :meth:`Repository.compact`."""
    policy.check(target_vertices, max_batches)
    if level is not None and dataset is None:
        raise MetadataError(f"level {level!r} is of which dataset? Say dataset=…, too")
    if dry_run:
        return _plan(repository, branch, dataset, level, target_vertices, max_batches)
    for left in range(_TRIES - 1, -1, -1):
        tx = repository.transaction(branch, message=message, author=author)
        tx._operation = "compact"
        try:
            levels = {}
            for name, number in _levels(tx._session.store, dataset, level):
                with tx._changing():
                    stage = tx._stage(name, number)
                    done = _compact_level(tx, stage, target_vertices, max_batches, progress)
                if done is not None:
                    levels[stage_name(name, number)] = done
            result = tx.commit()
        except ConflictError as error:
            if left == 0 or error.what not in _OTHERS_WROTE:
                raise
        except BaseException:
            tx.abort()
            raise
        else:
            return Compaction(result.snapshot_id, branch, False, levels)
    raise AssertionError("the last try returns or raises")


def _levels(store: Any, dataset: str | None, level: int | None) -> Iterator[tuple[str, int]]:
    """The levels to look at.

    Raises
    ------
    NotFoundError
        If one that is asked for is not there.
    """
    names = _state.dataset_names(_state.root_attributes(store)) if dataset is None else [dataset]
    for name in names:
        meta = _state.load_dataset(store, name)
        numbers = meta.levels if level is None else [_state.check_level(meta, level)]
        yield from ((name, number) for number in numbers)


def _plan(
    repository: Repository,
    branch: str,
    dataset: str | None,
    level: int | None,
    target_vertices: int,
    max_batches: int | None,
) -> Compaction:
    snapshot = repository._backend.branch_tip(branch)
    store = repository._backend.view_store(snapshot)
    levels = {}
    for name, number in _levels(store, dataset, level):
        meta = _state.load_dataset(store, name)
        state = _state.load_level(store, meta, number)
        groups = policy.groups(meta, state.facts, state.table, target_vertices, max_batches)
        if groups:
            levels[stage_name(name, number)] = _told(state.table, groups)
    return Compaction(snapshot, branch, True, levels)


def _told(table: BatchTable, groups: list[np.ndarray]) -> LevelCompaction:
    rows = np.concatenate(groups)
    return LevelCompaction(
        batches_before=len(table),
        batches_after=len(table) - len(rows) + len(groups),
        batches_merged=len(rows),
        vertices=int(table.live_vertices[rows].sum()),
        vertices_dropped=int(table.n_removed_vertices[rows].sum()),
    )


# ---- one level --------------------------------------------------------------


def _compact_level(
    tx: Transaction,
    stage: LevelStage,
    target_vertices: int,
    max_batches: int | None,
    progress: Progress | None,
) -> LevelCompaction | None:
    """Stage the compaction of one level; None where there is nothing to be done."""
    # Nothing is staged yet: the snapshot has it all, and is read faster than a session.
    backend = tx._repository._backend
    state = _state.LevelState(stage.path, stage.facts, stage.table())
    store = backend.view_store(tx.base_snapshot_id)
    reader = LevelReader(store, stage.meta, state, stage.parts)
    table = state.table
    groups = policy.groups(stage.meta, stage.facts, table, target_vertices, max_batches)
    if not groups:
        return None
    _memory.keep()
    total, done = sum(map(len, groups)), 0
    made: list[BatchRow] = []
    try:
        with stage.uploading():
            free = _make_room(stage, reader, groups)
            _prepare(stage, reader, groups)
            for rows in groups:
                made.append(_merge(stage, reader, rows, heapq.heappop(free)))
                done += len(rows)
                if progress is not None:
                    progress(f"compact {stage.path}", done, total)
    finally:
        if stage.broken:
            tx._state = "failed"
    kept = np.ones(len(table), bool)
    kept[np.concatenate(groups)] = False
    after = BatchTable.concatenate(
        [table.take(np.flatnonzero(kept)), BatchTable.from_rows(made, stage.meta.ndim)]
    )
    after = after.take(np.argsort(after.slot, kind="stable"))
    stage.replaced(after)
    stage.facts = replace(
        stage.facts,
        slots=int(after.slot[-1]) + 1,
        vertex_count=int(after.live_vertices.sum()),
        num_objects=int(after.live_new_objects.sum()),
        link_count=int(after.live_links.sum()),
    )
    told = _told(table, groups)
    stage.count(batches_merged=told.batches_merged, batches_made=len(groups))
    if told.vertices_dropped:
        stage.count(vertices_dropped=told.vertices_dropped)
    return told


def _prepare(stage: LevelStage, reader: LevelReader, groups: list[np.ndarray]) -> None:
    """The documents of the arrays that are written, where they may not be there yet."""
    documents = []
    if not reader.state.table.content(LINEAGE).any():
        documents.append((LINEAGE, arrays.batch_array("lineage")))
    rows = np.concatenate(groups)
    lost = (reader.state.table.n_removed_objects[rows] > 0).any()
    if lost and not reader.state.table.content(REMOVED).any():
        documents.append((REMOVED, arrays.batch_array("removed")))
    items = [
        (f"{_paths.join(stage.path, path)}/zarr.json", metadata.dumps(document))
        for path, document in documents
    ]
    _writes.set_many(stage.store, items)


def _make_room(stage: LevelStage, reader: LevelReader, groups: list[np.ndarray]) -> list[int]:
    """Delete the chunks of all batches that are merged: the snapshot is read, not the session.

    Returns
    -------
    list of int
        The slots that are free then, as a heap.
    """
    table, rows = reader.state.table, np.concatenate(groups)
    left = len(table) - len(rows)
    if left == 0:
        drop_chunks(stage.store, arrays_of_batches(reader))
    elif drops_slots(len(rows), left):
        drop_slots(stage.store, arrays_of_batches(reader), table.slot[rows])
    else:
        for some in groups:
            _writes.delete_many(stage.store, list(keys_of_batches(reader, some.tolist())))
    return sorted(set(range(stage.facts.slots)) - set(np.delete(table.slot, rows).tolist()))


def _merge(stage: LevelStage, reader: LevelReader, rows: np.ndarray, slot: int) -> BatchRow:
    """Make one batch of several, in a slot that is free."""
    sources = rows.tolist()
    merging = Merging(reader, sources)
    vertices, plan = merging.vertices, merging.plan
    with beside(len(vertices.array), upload_vertices, stage, vertices, plan, slot) as uploaded:
        batch = merging.batch()
        lineage = _lineage.encode_lineage(_lineage.flattened(reader, sources))
        sums = _sums(reader, sources)
    row = upload_batch(stage, replace(batch, sums=sums or digest.NOTHING), slot, uploaded())
    contents = {**row.contents, LINEAGE: new_content_id()}
    cells = [(LINEAGE, lineage)]
    if len(merging.retired):
        contents[REMOVED] = new_content_id()
        cells.append((REMOVED, batches.CODEC.encode(removed.encode_rows(merging.retired))))
    _writes.set_many(
        stage.store,
        [(_paths.shard_key(_paths.join(stage.path, p), slot, ()), cell) for p, cell in cells],
    )
    if sums is None:  # its digest is taken from what is stored, when somebody asks for it
        row = replace(row, digest_of=0)
    return replace(row, n_removed_objects=len(merging.retired), contents=contents)


def _sums(reader: LevelReader, rows: list[int]) -> digest.Sums | None:
    """The digest's sums over some batches, where they are known of all."""
    total = digest.NOTHING
    for kept in all_kept_sums(reader, rows):
        if kept is None:
            return None
        total = digest.add(total, kept)
    return total
