"""What a merge decided, done: chunks carried over, tables and documents written.

Nothing is visible before the session is committed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _groups, _paths, _state, _store
from .._cells_io import Blocks
from .._levels import level_documents
from .._read_links import live_links
from .._removed import encode_rows, removals_of
from .._stage import attribute_documents
from ..format import arrays, batches, metadata
from ..format.metadata import FAMILIES, OBJECT_ATTRIBUTES, TEXT, DatasetMeta, LevelFacts
from ..format.table import BUCKET, INDEX, REMOVED, BatchTable, new_content_id
from ..storage.carry import Move as Carry
from ..storage.carry import carry
from .index import Index, LevelIndex, Uuid, counted, reader_of, same_meta
from .merge import Merged
from .outcome import MergedLevel, Move

if TYPE_CHECKING:
    from .._cache import Cache
    from ..storage import Backend


@dataclass(frozen=True)
class Source:
    """Where theirs come from.

    Parameters
    ----------
    store : icechunk.IcechunkStore
    branch : str or None
        Whose tip it may be.
    """

    store: Any
    branch: str | None = None


def transplant(
    backend: Backend,
    parts: Cache,
    session: Any,
    source: Source,
    ours: Index,
    merged: Merged,
    *,
    copy: bool = False,
    carried: bool = False,
    others: Set[str] = frozenset(),
) -> Index:
    """Write the result of a merge into a session at the tip of ours.

    Parameters
    ----------
    backend : Backend
    parts : Cache
    session : icechunk.Session
    source : Source
        Of theirs.
    ours : mapping of str to DatasetIndex
    merged : Merged
    copy : bool
        Copy chunks even where they could be shared.
    carried : bool
        Whether the chunks are in the session already, with documents and tables of
        those who staged them, so that all of these are written anew.
    others : set of str
        Datasets of the snapshot that are left as they are.

    Returns
    -------
    mapping of str to DatasetIndex
        What was written: as merged, with all counts.
    """
    store = session.store
    root = _root(_state.root_attributes(store), others, merged)
    _store.set_many(store, list(_documents(ours, merged, root, anew=carried)))
    for path in _trees_to_delete(ours, merged):
        _store.delete_tree(store, path)
    if not carried:
        moves = all_carries(merged)
        carry(backend, source.store, session, moves, branch=source.branch, copy=copy)
    index = dict(merged.index)
    for (name, number), level in merged.levels.items():
        meta = merged.index[name].meta
        mine = ours[name].levels.get(number) if name in ours else None
        if mine is not None and not level.created:
            _delete_cells(store, parts, meta, mine, level)
        finished = _finish(store, parts, meta, level)
        known = None if carried else mine
        items = [*_table(finished, known), _facts_document(meta, finished.path, finished.facts)]
        _store.set_many(store, items)
        index[name] = replace(index[name], levels={**index[name].levels, number: finished})
    return index


# ---- documents --------------------------------------------------------------


def _documents(
    ours: Index, merged: Merged, root: dict[str, Any], *, anew: bool
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
    yield "zarr.json", metadata.dumps(metadata.group(root))
    for (name, number), level in merged.levels.items():
        meta = merged.index[name].meta
        mine_level = ours[name].levels.get(number) if name in ours else None
        if mine_level is None or level.created:
            for path, document in level_documents(meta, level.index.facts).items():
                yield _paths.join(path, "zarr.json"), metadata.dumps(document)
        yield from _array_documents(meta, mine_level, level)


def _root(before: dict[str, Any], others: Set[str], merged: Merged) -> dict[str, Any]:
    """The attributes of the repository's root group."""
    names = sorted({*merged.index, *others})
    root = dict(before) if "" in others else {}
    root["zv_repository"] = {"datasets": names}
    if "" in merged.index:
        root.update(merged.index[""].meta.to_attributes())
    return root


def _array_documents(
    meta: DatasetMeta, mine: LevelIndex | None, level: MergedLevel
) -> Iterator[tuple[str, bytes]]:
    facts, path = level.index.facts, level.index.path
    for family in FAMILIES:
        known = mine.facts.family(family) if mine is not None and not level.created else {}
        fresh = [a for n, a in facts.family(family).items() if known.get(n) != a]
        yield from attribute_documents(path, facts.grid, meta.axes, fresh)
    for array, document in (
        (REMOVED, arrays.batch_array("removed")),
        ("groups", _groups.array_document()),
    ):
        there = mine is not None and not level.created and _has(mine, array)
        if _has(level.index, array) and not there:
            yield f"{_paths.join(path, array)}/zarr.json", metadata.dumps(document)


def _has(level: LevelIndex, array: str) -> bool:
    if array == "groups":
        return level.facts.groups != 0
    return bool(level.table.content(array).any())


def _trees_to_delete(ours: Index, merged: Merged) -> Iterator[str]:
    """Datasets, levels and attributes that ours has and the result has not."""
    for name, dataset in ours.items():
        if name not in merged.index:
            yield from [name] if name else map(str, dataset.meta.levels)
            continue
        now = merged.index[name]
        for number in dataset.levels.keys() - now.levels.keys():
            yield _paths.level_path(name, number)
        for number in dataset.levels.keys() & now.levels.keys():
            before, after = dataset.levels[number], now.levels[number]
            for family in FAMILIES:
                left = after.facts.family(family)
                for attribute in before.facts.family(family).values():
                    if attribute.name not in left:
                        yield _paths.join(before.path, attribute.path)
                    kept = left.get(attribute.name)
                    if attribute.logical == TEXT and (kept is None or kept.logical != TEXT):
                        yield _paths.join(before.path, attribute.dictionary)


def _facts_document(meta: DatasetMeta, path: str, facts: LevelFacts) -> tuple[str, bytes]:
    return f"{path}/zarr.json", metadata.dumps(metadata.group(facts.to_attributes(meta.axes)))


# ---- chunks -----------------------------------------------------------------


def all_carries(merged: Merged) -> list[Carry]:
    """All chunks that a merge takes from theirs."""
    return [
        move
        for (name, _), level in merged.levels.items()
        for move in carries(level, merged.index[name].meta)
    ]


def carries(level: MergedLevel, meta: DatasetMeta) -> list[Carry]:
    """The moves of a level, array by array."""
    by_array: dict[str, list[Move]] = defaultdict(list)
    table, rows = level.index.table, level.index.rows()
    logical = {a.path: a for family in FAMILIES for a in level.index.facts.family(family).values()}
    for move in level.moves:
        if move.content is None:
            row = rows[move.uuid]
            arrays = ["vertices", INDEX]
            arrays += ["links"] if meta.link_width and table.n_links[row] else []
            arrays += [p for p, ids in table.contents.items() if ids[row] and p != INDEX]
        else:
            arrays = [move.content]
        for array in arrays:
            by_array[array].append(move)
            if array in logical and logical[array].logical == TEXT:
                by_array[logical[array].dictionary].append(move)
    if level.groups == "theirs":
        by_array["groups"].append(Move(b"", 0, 0, "groups"))
    return [
        Carry(
            _paths.join(level.index.path, array),
            np.array([move.source for move in moves], np.int64),
            np.array([move.target for move in moves], np.int64),
        )
        for array, moves in by_array.items()
    ]


def _delete_cells(
    store: Any, parts: Cache, meta: DatasetMeta, mine: LevelIndex, level: MergedLevel
) -> None:
    """Delete the cells of batches and contents that the result has not."""
    rows = mine.rows()
    there = {a.path for f in FAMILIES for a in level.index.facts.family(f).values()}
    wanted: list[tuple[int, str]] = []
    for uuid in level.deleted:
        row = rows[uuid]
        contents = [path for path, ids in mine.table.contents.items() if ids[row]]
        kept = [p for p in contents if p in there or p == REMOVED]
        wanted += [(row, path) for path in ("vertices", INDEX, *kept)]
        if meta.link_width and mine.table.n_links[row]:
            wanted.append((row, "links"))
    wanted += [
        (rows[uuid], path) for uuid, path in level.emptied if path in there or path == REMOVED
    ]
    # Where a batch that comes takes the place of one that goes, its chunks are the ones to stay.
    taken = {move.target for move in level.moves if move.content is None}
    wanted = [(row, path) for row, path in wanted if int(mine.table.slot[row]) not in taken]
    if wanted:
        reader = reader_of(store, meta, mine, parts)
        some = sorted({row for row, _ in wanted})
        heads = dict(zip(some, reader.heads(some), strict=True))
        keys = [key for row, path in wanted for key in _keys(mine, path, row, heads[row])]
        _store.delete_many(store, keys)


def _keys(level: LevelIndex, path: str, row: int, head: batches.BatchHead) -> Iterable[str]:
    """The chunks that a batch has in an array."""
    slot, array = int(level.table.slot[row]), _paths.join(level.path, path)
    if path == INDEX:
        return [_paths.shard_key(array, slot, (0,))]
    if path == REMOVED or path.startswith(OBJECT_ATTRIBUTES):
        return [_paths.shard_key(array, slot, ())]
    cells = head.cells
    if path == "links" or path.startswith("link_attributes"):
        cells = cells[head.cell_links > 0]
    return [_paths.shard_key(array, slot, key) for key in Blocks.of(cells, level.facts.grid).keys]


# ---- what neither side has just so -------------------------------------------


def _finish(store: Any, parts: Cache, meta: DatasetMeta, level: MergedLevel) -> LevelIndex:
    """Write removals and groups that had to be merged themselves; the level with right counts."""
    index = level.index
    if level.removed:
        index = _write_removals(store, parts, meta, index, level.removed)
    if level.groups is not None and not isinstance(level.groups, str):
        content = new_content_id() if level.groups else 0
        cell = batches.CODEC.encode(_groups.encode_groups(level.groups))
        _store.set_many(store, [(_groups.key_of(index.path), cell)])
        index = replace(index, facts=replace(index.facts, groups=content))
    return index


def _write_removals(
    store: Any, parts: Cache, meta: DatasetMeta, index: LevelIndex, removed: dict[Uuid, np.ndarray]
) -> LevelIndex:
    rows = index.rows()
    names = ("n_removed_vertices", "n_removed_objects", "n_removed_links")
    columns = {name: index.table.scalars[name].copy() for name in names}
    content = index.table.content(REMOVED).copy()
    reader = reader_of(store, meta, index, parts)
    removals = removals_of(reader, {rows[uuid]: objects for uuid, objects in removed.items()})
    upload = _store.Uploader(store)
    for uuid, objects in removed.items():
        row = rows[uuid]
        removal = removals[row]
        ((_, begins),) = reader.ids([row])
        columns["n_removed_vertices"][row] = removal.total[-1]
        columns["n_removed_objects"][row] = begins[objects].sum()
        if index.table.n_links[row]:
            live = live_links(reader, [row], {row: removal})[row]
            columns["n_removed_links"][row] = int((~live).sum())
        content[row] = new_content_id()
        key = _paths.shard_key(_paths.join(index.path, REMOVED), int(index.table.slot[row]), ())
        upload.put(key, batches.CODEC.encode(encode_rows(objects)))
    upload.flush()
    table = index.table.with_columns(columns, {REMOVED: content})
    return replace(index, facts=counted(index.facts, table), table=table)


def _table(level: LevelIndex, mine: LevelIndex | None) -> Iterator[tuple[str, bytes]]:
    """The buckets of the table that are not as ours has them."""
    before = mine.table if mine is not None else BatchTable.empty(level.table.lo.shape[1])
    had = mine.facts.slots if mine is not None else 0
    for bucket in range(-(-level.facts.slots // BUCKET)):
        rows = level.table.take(level.table.slot // BUCKET == bucket)
        old = before.take(before.slot // BUCKET == bucket)
        if bucket >= -(-had // BUCKET) or not rows.same_as(old):
            yield _state.table_key(level.path, bucket), rows.encode()
