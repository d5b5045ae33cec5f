"""The merge of one level where theirs has only added batches, as nearly every commit does.

The result is the table of ours as it is, with the added rows behind it: of the
rows of ours nothing is looked at but the ids, and of those of the base only that
theirs has them still. That is a small part of what a merge of any three sides
looks at, and many processes that append to one branch wait for it, one after the
other. Whatever is not certain at a glance is left to that merge; where this one
has a result, it is the same.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..format.metadata import FAMILIES, LevelFacts
from ..format.table import INDEX, LINEAGE, REMOVED, BatchTable
from .index import LevelIndex
from .merge_contents import arrays_of
from .merge_level import LevelPlan, check_room, counted
from .merge_rows import Report, Three
from .renumber import count_on
from .rows import find, same_ids
from .runs import IdMap, Runs, overlapping


def merge_added(three: Three, report: Report, links: bool) -> LevelPlan | None:
    """What a level becomes, where theirs has only added batches that need no other.

    Parameters
    ----------
    three : Three
    report : Report
    links : bool
        Whether the dataset has links.

    Returns
    -------
    LevelPlan or None
        None where more has to be looked at.
    """
    added = None if report.options.undo else _added(three)
    if added is None:
        return None
    ids = _ids(three, added)
    if ids is None:
        return None
    changed, top = ids
    ours = three.ours
    slots = ours.facts.slots + np.arange(len(added))
    end = int(slots[-1]) + 1
    check_room(report, end)
    moved = {name: changed.apply(added.scalars[name]) for name in ("id_min", "id_max")}
    rows = added.with_columns({"slot": slots, **moved}, {})
    table = BatchTable.concatenate([ours.table, rows])
    # Equal versions are taken for equal tables, so it must not keep that of ours.
    facts = replace(counted(ours.facts, table, end, top), version=0)
    return LevelPlan(
        LevelIndex(ours.path, facts, table),
        carried=_carried(added, slots, facts, links),
        theirs=changed,
        like_ours=False,
        changed=True,
    )


def _added(three: Three) -> BatchTable | None:
    """The batches that theirs has besides those of the base; None where it did more than that."""
    base, ours, theirs = three.base.facts, three.ours.facts, three.theirs.facts
    before, now = three.base.table, three.theirs.table
    # Where ours has as many as the base, the result may be like theirs.
    if len(now) <= len(before) or len(three.ours.table) == len(before):
        return None
    if base.groups != theirs.groups or any(
        not base.family(name) == ours.family(name) == theirs.family(name) for name in FAMILIES
    ):
        return None
    added = now.take(slice(len(before), None))
    closed = (added.n_new_objects == added.n_objects).all() and not any(
        added.content(path).any() for path in (INDEX, LINEAGE, REMOVED)
    )
    if not closed or now.alike(before) < len(before):
        return None
    # The other side may have the very same batches, by a cherry-pick.
    return None if (find(three.ours.table.uuid, added.uuid) >= 0).any() else added


def _ids(three: Three, added: BatchTable) -> tuple[IdMap, int] | None:
    """What ids of the added batches become, and the largest id; None where that is not plain."""
    mine, its = three.ours, three.theirs
    top = max(mine.facts.max_object_id, its.facts.max_object_id)
    first, last = added.id_min, added.id_max
    near = (mine.table.id_max >= first.min()) & (mine.table.id_min <= last.max())
    at = np.flatnonzero(near)
    if len(at):
        before = three.base.table
        there = find(mine.table.uuid[at], before.uuid)
        known = there >= 0
        # Those that theirs has too, under the same ids, are not in its way.
        known[known] = same_ids(mine.table, at[known], before, there[known])
        at = at[~known]
    if len(at) == 0:
        return IdMap.none(), top
    if not (added.plain.all() and mine.table.plain[at].all()):
        return None
    clash = overlapping(
        first, last, Runs.joined([Runs(mine.table.id_min[at], mine.table.id_max[at], at)])
    )
    if not clash.any():
        return IdMap.none(), top
    if (added.default_ids[clash] != 1).any():
        return None
    begin = 1 + max(mine.facts.max_object_id, int(last[~clash].max(initial=-1)))
    old = Runs(first[clash], last[clash], np.flatnonzero(clash))
    changed, end = count_on(old, begin)
    return changed, max(top, end - 1)


def _carried(
    added: BatchTable, slots: np.ndarray, facts: LevelFacts, links: bool
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By array, the slots of theirs and those that their chunks get."""
    every = np.ones(len(added), bool)
    chosen = {"vertices": every, INDEX: every, "links": (added.n_links > 0) & links}
    for family in FAMILIES:
        for attribute in facts.family(family).values():
            has = added.content(attribute.path) != 0
            chosen.update(dict.fromkeys(arrays_of(attribute), has))
    return {array: (added.slot[at], slots[at]) for array, at in chosen.items() if at.any()}
