"""A side that only added batches: merged at a glance, and as any three sides are."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import pytest
from _worlds import NAME, World, empty, grow, merge, name
from hypothesis import event, given
from hypothesis import strategies as st

from zv_versioned.history import merge as merging
from zv_versioned.history.merge import Merged
from zv_versioned.history.merge_level import LevelPlan


def both_ways(base: World, ours: World, theirs: World, **options: bool) -> tuple[Any, Any, bool]:
    """What comes of a merge, of one in which nothing is seen at a glance, and whether it was."""
    plans: list[LevelPlan | None] = []
    real = merging.merge_added

    def seen(*given: Any) -> LevelPlan | None:
        plans.append(real(*given))
        return plans[-1]

    with mock.patch.object(merging, "merge_added", seen):
        one, _ = merge(base, ours, theirs, **options)
    with mock.patch.object(merging, "merge_added", return_value=None):
        other, _ = merge(base, ours, theirs, **options)
    return said(one), said(other), any(plan is not None for plan in plans)


def said(merged: Merged) -> dict[str, Any]:
    """All that a merge says of a level."""
    plan = merged.datasets[NAME].levels[0]
    table = plan.index.table
    nothing = np.zeros(len(table), np.int64)
    contents = {path: ids.tolist() for path, ids in table.contents.items() if ids.any()}
    carried = {
        array: sorted(zip(source.tolist(), target.tolist(), strict=True))
        for array, (source, target) in plan.carried.items()
    }
    return {
        "conflicts": [conflict.what for conflict in merged.conflicts],
        "violations": merged.violations,
        "facts": plan.index.facts,
        "scalars": {n: column.tolist() for n, column in table.scalars.items()},
        "uuids": table.uuid.tolist(),
        "box": (table.lo.tolist(), table.hi.tolist()),
        "contents": contents,
        "ranges": [table.ranges.get(path, nothing).tolist() for path in sorted(contents)],
        "carried": carried,
        "others": [
            len(some)
            for some in (plan.cleared, plan.dropped, plan.rewrites, plan.removed, plan.objects)
        ],
        "groups": None if plan.groups is None else {n: g.tolist() for n, g in plan.groups.items()},
        "ids": [[ids.tolist() for ids in changed.pairs()] for changed in (plan.ours, plan.theirs)],
        "like": (plan.whole, plan.like_ours, plan.like_theirs, plan.changed),
    }


@given(st.data())
def test_what_is_seen_at_a_glance_is_what_any_merge_finds(data: st.DataObject) -> None:
    base = grow(empty(), data, 0, data.draw(st.integers(0, 4)))
    ours = grow(base, data, 100, data.draw(st.integers(0, 4)))
    only = data.draw(st.sampled_from(["append", "give", ""]))
    theirs = grow(base, data, 200, data.draw(st.integers(1, 3)), only)
    one, other, glance = both_ways(base, ours, theirs, renumber=data.draw(st.booleans()))
    event("at a glance" if glance else "compared")
    assert one == other


START = empty().append(name(1), 3, attributes=["a"]).append(name(2), 2)


def test_appends_of_both_sides_are_merged_at_a_glance() -> None:
    ours = START.append(name(10), 4, attributes=["a"]).append(name(11), 1)
    theirs = START.append(name(20), 2).append(name(21), 5, attributes=["a"])
    one, other, glance = both_ways(START, ours, theirs)
    assert glance
    assert one == other
    assert one["ids"][1] == [list(range(5, 12)), list(range(10, 17))]
    assert one["carried"]["vertices"] == [(2, 4), (3, 5)]
    assert one["carried"]["vertex_attributes/a"] == [(3, 5)]


def test_what_ours_did_to_its_batches_does_not_matter() -> None:
    ours = START.append(name(10), 4).remove([(name(1), 0)]).write("a", [1]).drop([1])
    ours = ours.append(name(11), 1).append(name(12), 1)
    one, other, glance = both_ways(START, ours, START.append(name(20), 2))
    assert glance
    assert one == other


@pytest.mark.parametrize(
    "theirs",
    [
        START.append(name(20), 2).remove([(name(1), 0)]),
        START.append(name(20), 2).write("a", [1]),
        START.append(name(20), 2, goes_on=[(name(1), 0)]),
        START.append(name(20), 2, attributes=["b"]),
        START.append(name(20), ids=[6, 9]),
        START.append(name(10), 4),
    ],
    ids=["removes", "writes", "goes on", "defines", "gives ids that are taken", "has the same"],
)
def test_where_theirs_did_more_the_sides_are_compared(theirs: World) -> None:
    ours = START.append(name(10), 4).append(name(11), 1)
    assert not both_ways(START, ours, theirs)[2]


def test_a_revert_looks_for_the_old_slots() -> None:
    without = START.drop([1])
    ours = without.append(name(10), 1).append(name(11), 1)
    assert not both_ways(without, ours, START, undo=True)[2]
