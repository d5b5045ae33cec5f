"""How the sides of a merge compare, and what has to be read of them beyond their tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..format.table import INDEX, REMOVED, BatchTable
from .index import LevelIndex, Uuid


@dataclass(frozen=True)
class Needs:
    """What of a level has to be known beyond its tables before it can be merged."""

    removed: set[Uuid] = field(default_factory=set)
    ids: set[Uuid] = field(default_factory=set)
    groups: bool = False

    def __bool__(self) -> bool:
        return bool(self.removed or self.ids or self.groups)


def needs(base: LevelIndex | None, ours: LevelIndex, theirs: LevelIndex) -> Needs:
    """What :func:`merge_index` will ask of the three sides of a level."""
    b, o, t = base.rows() if base else {}, ours.rows(), theirs.rows()
    none = BatchTable.empty(ours.table.lo.shape[1])
    base_table = base.table if base else none
    removed = set()
    gone = [side.content(REMOVED) for side in (base_table, ours.table, theirs.table)]
    for uuid in o.keys() & t.keys():
        before = int(gone[0][b[uuid]]) if uuid in b else 0
        if both_changed(before, int(gone[1][o[uuid]]), int(gone[2][t[uuid]])):
            removed.add(uuid)
    new_o = [row for uuid, row in o.items() if not same_ids(ours.table, row, theirs.table, t, uuid)]
    new_t = [row for uuid, row in t.items() if uuid not in o]
    ids = _overlapping(ours, new_o, theirs, new_t)
    begun = base.facts.groups if base else 0
    grouped = both_changed(begun, ours.facts.groups, theirs.facts.groups)
    # Groups name objects by id: where ids may become others, their members have to follow.
    moved = bool(ids) or any(
        not same_ids(ours.table, row, theirs.table, t, uuid) for uuid, row in o.items() if uuid in t
    )
    named = bool(ours.facts.groups or theirs.facts.groups)
    return Needs(removed, ids, grouped or (moved and named))


def same_ids(
    ours: BatchTable, row: int, theirs: BatchTable, rows: Mapping[Uuid, int], uuid: Uuid
) -> bool:
    """Whether theirs has a batch of ours, too, and with the same ids.

    Then nothing that is theirs can clash with it.
    """
    its = rows.get(uuid)
    return its is not None and bool(
        ours.id_min[row] == theirs.id_min[its]
        and ours.id_max[row] == theirs.id_max[its]
        and ours.content(INDEX)[row] == theirs.content(INDEX)[its]
    )


def _overlapping(ours: LevelIndex, a: list[int], theirs: LevelIndex, b: list[int]) -> set[Uuid]:
    """New batches of both sides whose ranges of ids meet."""
    if not a or not b:
        return set()
    lo, hi = ours.table.id_min[a], ours.table.id_max[a]
    found: set[Uuid] = set()
    for row in b:
        meets = (lo <= theirs.table.id_max[row]) & (hi >= theirs.table.id_min[row])
        if meets.any():
            found.add(bytes(theirs.table.uuid[row]))
            found.update(bytes(ours.table.uuid[a[i]]) for i in np.flatnonzero(meets))
    return found


def both_changed(base: Any, ours: Any, theirs: Any) -> bool:
    """Whether both sides changed something, to different things."""
    return bool(ours != theirs and ours != base and theirs != base)


def same_level(a: LevelIndex, b: LevelIndex) -> bool:
    """Whether two levels say the same."""
    return a.facts == b.facts and a.table.same_as(b.table)
