"""What is checked of a merge's result before it is published: write, audit, publish."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from .._groups import load_groups
from .._sets import distinct, is_in, without
from ..format.metadata import FAMILIES
from ..format.table import INDEX, LINEAGE, REMOVED
from .index import DatasetIndex, Index, LevelIndex, reader_of

if TYPE_CHECKING:
    from zarr.abc.store import Store

    from .._cache import Cache


def violations(
    store: Store, parts: Cache, index: Index, levels: Iterable[tuple[str, int]]
) -> list[str]:
    """What would not be sound of some levels, in sentences.

    Parameters
    ----------
    store : zarr.abc.store.Store
        The session, with everything written.
    parts : Cache
    index : mapping of str to DatasetIndex
    levels : iterable of (str, int)
        The levels to look at.

    Notes
    -----
    Links and faces name vertices of their own batch alone, so they stay in range,
    and skeletons stay without cycles, whatever batches come together.
    """
    found: list[str] = []
    for name, number in levels:
        dataset, level = index[name], index[name].levels[number]
        where = f"level {number} of dataset {name!r}"
        found += _attributes(level, where)
        found += _counts(level, where)
        found += _beginnings(store, parts, dataset, level, where)
        found += _members(store, parts, dataset, level, where)
    return found


def _attributes(level: LevelIndex, where: str) -> list[str]:
    """Values only of attributes that there are."""
    known = {a.path for family in FAMILIES for a in level.facts.family(family).values()}
    known |= {REMOVED, INDEX, LINEAGE}
    stray = [p for p, ids in level.table.contents.items() if p not in known and ids.any()]
    return [f"{where} would have values of {path!r}, which it has not" for path in stray]


def _counts(level: LevelIndex, where: str) -> list[str]:
    table, facts = level.table, level.facts
    counted = (table.live_vertices.sum(), table.live_new_objects.sum(), table.live_links.sum())
    said = (facts.vertex_count, facts.num_objects, facts.link_count)
    if tuple(map(int, counted)) != said:
        return [f"{where} would count {said} vertices, objects and links, and have {counted}"]
    slots = table.slot
    if (slots[1:] <= slots[:-1]).any() or len(distinct(table.names)) != len(table):
        return [f"{where} would have a batch or a slot twice"]
    return []


def _beginnings(
    store: Store, parts: Cache, dataset: DatasetIndex, level: LevelIndex, where: str
) -> list[str]:
    """Every object that goes on in a batch has begun in another that is there."""
    table = level.table
    going_on = np.flatnonzero(table.n_new_objects < table.n_objects).tolist()
    if not going_on:
        return []
    reader = reader_of(store, dataset.meta, level, parts)
    asked = [ids[~is_new] for ids, is_new in reader.ids(going_on)]
    wanted = distinct(np.concatenate(asked))
    first = np.searchsorted(wanted, table.id_min)
    last = np.searchsorted(wanted, table.id_max, side="right")
    candidates = np.flatnonzero(last > first).tolist()
    begun = [ids[is_new] for ids, is_new in reader.ids(candidates)]
    lost = without(wanted, np.concatenate(begun)) if begun else wanted
    if len(lost) == 0:
        return []
    slots = [
        int(table.slot[row])
        for row, ids in zip(going_on, asked, strict=True)
        if is_in(ids, lost).any()
    ]
    shown = ", ".join(map(str, lost[:5].tolist())) + (", …" if len(lost) > 5 else "")
    return [
        f"objects {shown} of {where} go on in batches {slots[:5]}, and the batch that they begin "
        "in would not be there"
    ]


def _members(
    store: Store, parts: Cache, dataset: DatasetIndex, level: LevelIndex, where: str
) -> list[str]:
    """Every member of a group is an object that is there."""
    if not level.facts.groups:
        return []
    groups = load_groups(store, level.path, level.facts, parts)
    members = [ids for ids in groups.values() if len(ids)]
    if not members:
        return []
    wanted = distinct(np.concatenate(members))
    reader = reader_of(store, dataset.meta, level, parts)
    there = reader.members(level.table.live_vertices > 0, wanted, strict=False)
    found = [
        ids[rows] for (ids, _), rows in zip(reader.ids(list(there)), there.values(), strict=True)
    ]
    lost = without(wanted, np.concatenate(found)) if found else wanted
    if len(lost) == 0:
        return []
    names = [name for name, ids in groups.items() if is_in(ids, lost).any()]
    shown = ", ".join(map(str, lost[:5].tolist())) + (", …" if len(lost) > 5 else "")
    return [f"groups {names} of {where} would name objects that are not there: {shown}"]
