"""What a merge decided, done: chunks carried over, tables and documents written.

Nothing is visible before the session is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .. import _groups, _paths, _state, _store, _writes
from .._sets import distinct
from ..format import arrays, batches, metadata
from ..format.metadata import FAMILIES, DatasetMeta, LevelFacts
from ..format.table import BUCKET, INDEX, LINEAGE, REMOVED, BatchTable, new_content_id
from ..reading.removed import encode_rows
from ..storage.carry import Move, carry
from ..writing.attributes import object_cells
from ..writing.levels import level_documents
from ..writing.stage import attribute_documents
from .details import Source, StoredDetails, chunk_keys
from .index import Index, LevelIndex, same_meta
from .merge import Merged
from .merge_contents import arrays_of
from .merge_level import LevelPlan
from .renumber import Rewrite
from .rows import Side, find, pick

if TYPE_CHECKING:
    from ..storage import Backend


Report: TypeAlias = Callable[[str, int, int], None]
"""Told what is being done, how much of it, and of how much."""

_SIDES: tuple[Side, Side] = ("ours", "theirs")


def transplant(
    backend: Backend,
    session: Any,
    source: Source,
    details: StoredDetails,
    merged: Merged,
    *,
    copy: bool = False,
    carried: bool = False,
    others: Set[str] = frozenset(),
    root: Mapping[str, Any] | None = None,
    progress: Report | None = None,
) -> Index:
    """Write the result of a merge into a session at the tip of ours.

    Parameters
    ----------
    backend : Backend
    session : icechunk.Session
    source : Source
        Of theirs.
    details : StoredDetails
        Those that it was merged with.
    merged : Merged
    copy : bool
        Copy chunks even where they could be shared.
    carried : bool
        Whether the chunks are in the session already, with documents and tables of
        those who staged them, so that all of these are written anew.
    others : set of str
        Datasets of the snapshot that are left as they are.
    root : mapping, optional
        The attributes of the root group at the tip of ours, where they are known.
    progress : callable, optional
        Told ``("copy", done, total)`` as chunks are copied.

    Returns
    -------
    mapping of str to DatasetIndex
        What was written.
    """
    store, ours = session.store, details.ours.index
    before = _state.root_attributes(store) if root is None else root
    levels = merged.levels
    if carried:
        # Of what was staged nothing may stay, also where it came to nothing.
        levels = {(n, i): plan for n, d in merged.datasets.items() for i, plan in d.levels.items()}
    else:
        for path in _trees_to_delete(ours, merged):
            _writes.delete_tree(store, path)
    _writes.set_many(store, list(_documents(ours, merged, levels, before, others, anew=carried)))
    items: list[tuple[str, _writes.Value]] = []
    if carried:
        _put_back(store, details, levels)
    elif source.unwritten is not None:
        items += placed(source.unwritten, all_carries(merged))
    else:
        moves = all_carries(merged)
        carry(
            backend, source.store, session, moves, branch=source.branch, copy=copy,
            progress=None if progress is None else partial(progress, "copy"),
        )  # fmt: skip
    if any(plan.rewrites for plan in levels.values()):
        # What is rewritten is read first.
        _writes.set_many(store, items)
        items = []
    index = dict(merged.index)
    for (name, number), plan in levels.items():
        meta = merged.index[name].meta
        mine = _mine(ours, name, number, plan)
        if mine is not None:
            _clear(store, details, name, mine, plan)
        finished = _finish(store, plan)
        items += _table(finished, None if carried else mine)
        items.append(_facts_document(meta, finished.path, finished.facts))
        index[name] = replace(index[name], levels={**index[name].levels, number: finished})
    _writes.set_many(store, items)
    return index


def stamp(store: Any, name: str) -> None:
    """Let a commit that changes nothing else be one: note its name in the root group."""
    root = _state.root_attributes(store)
    root["zv_repository"] = {**root["zv_repository"], "merged": name}
    _writes.set_many(store, [("zarr.json", metadata.dumps(metadata.group(root)))])


def placed(
    chunks: Mapping[str, _writes.Value], moves: Sequence[Move]
) -> list[tuple[str, _writes.Value]]:
    """Chunks that are not written yet, under the keys that they get; without those of no move."""
    slots = {move.array: move.slots for move in moves}
    found = []
    for key, value in chunks.items():
        array, at = _paths.parted(key)
        target = slots.get(array, {}).get(at[0])
        if target is not None:
            found.append((_paths.shard_key(array, target, at[1:]), value))
    return found


def _mine(ours: Index, name: str, number: int, plan: LevelPlan) -> LevelIndex | None:
    """What ours has of a level of the result; None where nothing of it stays."""
    dataset = ours.get(name)
    return None if dataset is None or plan.whole else dataset.levels.get(number)


# ---- documents --------------------------------------------------------------


def _documents(
    ours: Index,
    merged: Merged,
    levels: Mapping[tuple[str, int], LevelPlan],
    before: Mapping[str, Any],
    others: Set[str],
    *,
    anew: bool,
) -> Iterator[tuple[str, bytes]]:
    """Groups and arrays that are new to ours or changed, before any chunk is written."""
    for name, dataset in merged.index.items():
        mine = ours.get(name)
        if mine is None:
            for parent in _paths.parents(name):
                yield _paths.join(parent, "zarr.json"), metadata.dumps(metadata.group())
        if name and (anew or mine is None or not same_meta(mine.meta, dataset.meta)):
            document = metadata.group(dataset.meta.to_attributes())
            yield _paths.join(name, "zarr.json"), metadata.dumps(document)
    root = _root(before, others, merged)
    if anew or root != before:
        yield "zarr.json", metadata.dumps(metadata.group(root))
    for (name, number), plan in levels.items():
        meta = merged.index[name].meta
        mine_level = _mine(ours, name, number, plan)
        if mine_level is None:
            for path, document in level_documents(meta, plan.index.facts).items():
                yield _paths.join(path, "zarr.json"), metadata.dumps(document)
        yield from _array_documents(meta, mine_level, plan.index)


def _root(before: Mapping[str, Any], others: Set[str], merged: Merged) -> dict[str, Any]:
    """The attributes of the repository's root group."""
    names = sorted({*merged.index, *others})
    root = dict(before) if "" in others else {}
    root["zv_repository"] = {"datasets": names}
    if "" in merged.index:
        root.update(merged.index[""].meta.to_attributes())
    return root


def _array_documents(
    meta: DatasetMeta, mine: LevelIndex | None, level: LevelIndex
) -> Iterator[tuple[str, bytes]]:
    facts, path = level.facts, level.path
    for family in FAMILIES:
        known = {} if mine is None else mine.facts.family(family)
        fresh = [a for n, a in facts.family(family).items() if known.get(n) != a]
        yield from attribute_documents(path, facts.grid, meta.axes, fresh)
    for array, document in (
        (REMOVED, arrays.batch_array("removed")),
        (LINEAGE, arrays.batch_array("lineage")),
        ("groups", _groups.array_document()),
    ):
        if _has(level, array) and not (mine is not None and _has(mine, array)):
            yield f"{_paths.join(path, array)}/zarr.json", metadata.dumps(document)


def _has(level: LevelIndex, array: str) -> bool:
    if array == "groups":
        return level.facts.groups != 0
    return bool(level.table.content(array).any())


def _trees_to_delete(ours: Index, merged: Merged) -> Iterator[str]:
    """Datasets, levels and attributes that ours has and the result has not, or has anew."""
    for name, dataset in ours.items():
        now = merged.datasets.get(name)
        if now is None or now.whole:
            yield from [name] if name else map(str, dataset.meta.levels)
            continue
        for number, before in dataset.levels.items():
            plan = now.levels.get(number)
            if plan is None or plan.whole:
                yield _paths.level_path(name, number)
                continue
            for attribute in plan.dropped:
                yield from (_paths.join(before.path, array) for array in arrays_of(attribute))


def _facts_document(meta: DatasetMeta, path: str, facts: LevelFacts) -> tuple[str, bytes]:
    return f"{path}/zarr.json", metadata.dumps(metadata.group(facts.to_attributes(meta.axes)))


# ---- chunks -----------------------------------------------------------------


def all_carries(merged: Merged) -> list[Move]:
    """All chunks that a merge takes from theirs."""
    return [
        Move(_paths.join(plan.index.path, array), source, target)
        for dataset in merged.datasets.values()
        for plan in dataset.levels.values()
        for array, (source, target) in _carried(plan, dataset.meta).items()
    ]


def _carried(plan: LevelPlan, meta: DatasetMeta) -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
    if not plan.whole:
        return plan.carried
    table, facts = plan.index.table, plan.index.facts
    slots = {"vertices": table.slot, INDEX: table.slot}
    if meta.link_width:
        slots["links"] = table.slot[table.n_links > 0]
    for path in (REMOVED, LINEAGE):
        slots[path] = table.slot[table.content(path) != 0]
    for family in FAMILIES:
        for attribute in facts.family(family).values():
            has = table.slot[table.content(attribute.path) != 0]
            slots.update(dict.fromkeys(arrays_of(attribute), has))
    if facts.groups:
        slots["groups"] = np.zeros(1, np.int64)
    return {array: (at, at) for array, at in slots.items() if len(at)}


def _clear(
    store: Any, details: StoredDetails, name: str, mine: LevelIndex, plan: LevelPlan
) -> None:
    """Delete the chunks of batches and contents that the result has not."""
    if not plan.cleared:
        return
    slots = distinct(np.concatenate(list(plan.cleared.values())))
    rows = np.searchsorted(mine.table.slot, slots).tolist()
    reader = details.ours.reader(name, mine.facts.level)
    heads = dict(zip(slots.tolist(), zip(rows, reader.heads(rows), strict=True), strict=True))
    keys = [
        key
        for array, gone in plan.cleared.items()
        for slot in gone.tolist()
        for key in chunk_keys(mine, array, *heads[slot])
    ]
    _writes.delete_many(store, keys)


def _put_back(
    store: Any, details: StoredDetails, levels: Mapping[tuple[str, int], LevelPlan]
) -> None:
    """Let what was staged and came to nothing make way for what ours has there.

    Removals and groups are merged as sets, so that the result may be that of ours
    though theirs has staged one of its own.
    """
    keys = []
    for (name, number), plan in levels.items():
        mine, its = (details.level(side, name, number) for side in _SIDES)
        if mine is None or its is None or plan.whole:
            continue
        ours, theirs, table = mine.table, its.table, plan.index.table
        at = find(theirs.uuid, ours.uuid)
        there = np.flatnonzero(at >= 0)
        at = at[there]
        staged = theirs.content(REMOVED)[there] != ours.content(REMOVED)[at]
        at = at[staged & (ours.content(REMOVED)[at] != 0)]
        result = find(ours.uuid[at], table.uuid)
        same = pick(table.content(REMOVED), result) == ours.content(REMOVED)[at]
        array = _paths.join(mine.path, REMOVED)
        keys += [_paths.shard_key(array, slot, ()) for slot in ours.slot[at[same]].tolist()]
        if mine.facts.groups and mine.facts.groups == plan.index.facts.groups != its.facts.groups:
            keys.append(_groups.key_of(mine.path))
    _writes.copy_many(details.ours.store, store, [(key, key) for key in keys])


# ---- what neither side has just so -------------------------------------------


def _finish(store: Any, plan: LevelPlan) -> LevelIndex:
    """Write indexes, removals and groups that neither side has so; the level as it is then."""
    index = plan.index
    items = [
        (
            _paths.shard_key(_paths.join(index.path, REMOVED), slot, ()),
            batches.CODEC.encode(encode_rows(rows)),
        )
        for slot, rows in plan.removed.items()
        if len(rows)
    ]
    for slot, found in plan.objects:
        cells = object_cells(found.attribute, found.as_values().stored())
        items += [
            (_paths.shard_key(_paths.join(index.path, array), slot, ()), cell)
            for array, cell in cells.items()
        ]
    if plan.groups is not None and index.facts.groups:
        cell = batches.CODEC.encode(_groups.encode_groups(plan.groups))
        items.append((_groups.key_of(index.path), cell))
    _writes.set_many(store, items)
    table = _rewrite(store, index, plan.rewrites) if plan.rewrites else index.table
    facts = replace(index.facts, version=new_content_id()) if plan.changed else index.facts
    return LevelIndex(index.path, facts, table)


def _rewrite(store: Any, index: LevelIndex, rewrites: Sequence[tuple[Rewrite, int]]) -> BatchTable:
    """Write the indexes of batches whose objects got other ids; only their ids change."""
    table = index.table
    lengths = table.head_bytes.copy()
    path = _paths.join(index.path, INDEX)
    for rewrite, slot in rewrites:
        key = _paths.shard_key(path, slot, (0,))
        (shard,) = _store.get_many(store, [(key, 0, -1)])
        with _store.damage_in(key):
            new, head = batches.with_ids(shard, rewrite.ids)
        _writes.set_many(store, [(key, new)])
        lengths[np.searchsorted(table.slot, slot)] = head
    return table.with_columns({"head_bytes": lengths}, {})


def _table(level: LevelIndex, mine: LevelIndex | None) -> Iterator[tuple[str, bytes]]:
    """The buckets of the table that are not as ours has them."""
    before = mine.table if mine is not None else BatchTable.empty(level.table.lo.shape[1])
    had = mine.facts.slots if mine is not None else 0
    buckets, now, then = -(-level.facts.slots // BUCKET), level.table.slot, before.slot
    # Both are by slot, so that each bucket is a part, and those before what differs are the same.
    same = level.table.alike(before)
    differs = [slots[same] for slots in (now, then) if len(slots) > same]
    first = min([*differs, had]) // BUCKET
    bounds = np.arange(first, buckets + 1) * BUCKET
    begin, began = np.searchsorted(now, bounds).tolist(), np.searchsorted(then, bounds).tolist()
    for at, bucket in enumerate(range(first, buckets)):
        rows = level.table.take(slice(begin[at], begin[at + 1]))
        old = before.take(slice(began[at], began[at + 1]))
        if bucket >= -(-had // BUCKET) or not rows.same_as(old):
            yield _state.table_key(level.path, bucket), rows.encode()
