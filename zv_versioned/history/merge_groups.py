"""The merge of groups: sets of names and members, which never conflict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .lookup import Lookup
from .merge_rows import content_of, merge_sets
from .renumber import Numbering
from .rows import Groups
from .runs import IdMap

_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True)
class MergedGroups:
    """The groups of a result.

    Parameters
    ----------
    content : int
    groups : Groups or None
        What they are; None where nobody had to look.
    carried : bool
        Whether they are those of theirs, as they are.
    written : bool
        Whether they are neither side's.
    """

    content: int
    groups: Groups | None = None
    carried: bool = False
    written: bool = False


def merge_groups(look: Lookup, ids: Numbering) -> MergedGroups:
    """Merge the groups of a level; members follow their objects to new ids."""
    three = look.three
    base, ours, theirs = (s.facts.groups for s in (three.base, three.ours, three.theirs))
    if theirs in (base, ours) and not (ours and ids.ours):
        return MergedGroups(ours)
    if ours == base and not (theirs and ids.theirs):
        return MergedGroups(theirs, carried=theirs != 0)
    sides = {"base": look.groups("base"), "ours": look.groups("ours")}
    sides["theirs"] = look.groups("theirs")
    # What the base called an object is what one of the sides still calls it.
    of_base = IdMap.joined(
        [_without(ids.ours, ids.ours_anew), _without(ids.theirs, ids.theirs_anew)]
    )
    before = _renamed(sides["base"], of_base)
    mine, its = _renamed(sides["ours"], ids.ours), _renamed(sides["theirs"], ids.theirs)
    merged: dict[str, np.ndarray] = {}
    for name in sorted({*before, *mine, *its}):
        there = (name in its) if (name in mine) == (name in before) else (name in mine)
        found = merge_sets(*(side.get(name, _NONE) for side in (before, mine, its)))
        if there or len(found):
            merged[name] = found
    if _same(merged, sides["ours"]):
        return MergedGroups(ours, merged)
    if _same(merged, sides["theirs"]):
        return MergedGroups(theirs, merged, carried=theirs != 0)
    names = [np.frombuffer(name.encode(), np.uint8) for name in merged]
    parts = [part for pair in zip(names, merged.values(), strict=True) for part in pair]
    return MergedGroups(content_of(b"groups", *parts), merged, written=True)


def _renamed(groups: Groups, changed: IdMap) -> dict[str, np.ndarray]:
    return {name: np.sort(changed.apply(ids)) for name, ids in groups.items()}


def _without(whole: IdMap, part: IdMap) -> IdMap:
    keep = ~part.domain.contains(whole.first)
    return IdMap(whole.first[keep], whole.last[keep], whole.new[keep])


def _same(a: Groups, b: Groups) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)
