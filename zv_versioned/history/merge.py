"""The one three-way merge: a pure function of three indexes.

A commit that lost a race, a merge of branches, a cherry-pick and a revert differ
only in what is base, ours and theirs:

==================  ==========================  ==========  ===================
operation           base                        ours        theirs
==================  ==========================  ==========  ===================
commit that lost    where the transaction began the tip     what was staged
merge               the merge base              the tip     the other tip
cherry-pick of s    the parent of s             the tip     s
revert of s         s                           the tip     the parent of s
==================  ==========================  ==========  ===================

Nothing here reads or writes a store. What was taken from theirs is said as
moves, which :mod:`.transplant` carries out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..format.metadata import DatasetMeta
from ..result import stage_name
from .conflicts import Conflict
from .index import DatasetIndex, Index, LevelIndex
from .merge_level import LevelMerge
from .needs import both_changed, same_level
from .outcome import Choose, Context, MergedLevel, Move
from .runs import IdMap


@dataclass(frozen=True)
class Merged:
    """The result of a merge.

    Parameters
    ----------
    index : mapping of str to DatasetIndex
        What is to be published.
    levels : mapping of (str, int) to MergedLevel
        Those that differ from ours.
    conflicts : list of Conflict
        Those that were resolved, each with the choice.
    """

    index: dict[str, DatasetIndex]
    levels: dict[tuple[str, int], MergedLevel]
    conflicts: list[Conflict]

    def renumbered(self) -> dict[str, IdMap]:
        """The objects of theirs that got other ids, by level."""
        return {
            stage_name(*key): level.renumbered
            for key, level in self.levels.items()
            if level.renumbered
        }


# ---- datasets ---------------------------------------------------------------


def merge_index(
    base: Index, ours: Index, theirs: Index, choose: Choose, *, reverting: bool = False
) -> Merged:
    """Merge three indexes.

    Parameters
    ----------
    base, ours, theirs : mapping of str to DatasetIndex
        Levels with the details that :func:`needs` asks for.
    choose : callable
        Resolves a conflict or raises.
    reverting : bool
        Whether theirs is what was before: a batch that it lacks goes, whatever
        values it was given since.

    Returns
    -------
    Merged
    """
    context = Context(choose, reverting)
    index: dict[str, DatasetIndex] = {}
    levels: dict[tuple[str, int], MergedLevel] = {}
    for name in sorted(ours.keys() | theirs.keys()):
        b, o, t = base.get(name), ours.get(name), theirs.get(name)
        merged = _merge_dataset(name, b, o, t, context)
        if merged is None:
            continue
        index[name], changed = merged
        levels.update({(name, level): m for level, m in changed.items()})
    return Merged(index, levels, context.conflicts)


Changed = dict[int, MergedLevel]


def _merge_dataset(
    name: str,
    base: DatasetIndex | None,
    ours: DatasetIndex | None,
    theirs: DatasetIndex | None,
    context: Context,
) -> tuple[DatasetIndex, Changed] | None:
    if ours is None or theirs is None:
        return _one_sided(name, base, ours, theirs, context)
    if base is None and not _same_kind(ours.meta, theirs.meta):
        conflict = Conflict("dataset", name, what=f"dataset {name!r} was created on both sides")
        if context.theirs(conflict):
            return _taken(theirs)
        return ours, {}
    meta = _merge_meta(name, base.meta if base else None, ours.meta, theirs.meta, context)
    levels: dict[int, LevelIndex] = {}
    changed: Changed = {}
    for number in meta.levels:
        before = base.levels.get(number) if base else None
        mine, its = ours.levels.get(number), theirs.levels.get(number)
        if mine is None and its is not None:
            changed[number] = _taken_level(its)
        elif mine is not None and its is not None:
            merged = _merge_level(name, before, mine, its, context)
            if merged is not None:
                changed[number] = merged
        levels[number] = changed[number].index if number in changed else mine  # type: ignore[assignment]
    _mark_stale(levels, changed, ours, theirs)
    return DatasetIndex(meta, levels), changed


def _one_sided(
    name: str,
    base: DatasetIndex | None,
    ours: DatasetIndex | None,
    theirs: DatasetIndex | None,
    context: Context,
) -> tuple[DatasetIndex, Changed] | None:
    """A dataset that one side has not: it is new, or was taken back."""
    there = ours or theirs
    if there is None or (base is not None and _unchanged(base, there)):
        return None
    if base is not None:
        what = f"dataset {name!r} was taken back on one side and changed on the other"
        if context.theirs(Conflict("dataset", name, what=what)) == (theirs is None):
            return None
    return (ours, {}) if ours is not None else _taken(there)


def _unchanged(base: DatasetIndex, now: DatasetIndex) -> bool:
    return (
        base.meta.metadata == now.meta.metadata
        and base.levels.keys() == now.levels.keys()
        and all(same_level(level, now.levels[number]) for number, level in base.levels.items())
    )


def _same_kind(a: DatasetMeta, b: DatasetMeta) -> bool:
    """Whether batches of one dataset could be batches of the other."""
    return (a.kind, a.vertex_dtype, a.shapes, a.axes) == (b.kind, b.vertex_dtype, b.shapes, b.axes)


def _taken(theirs: DatasetIndex) -> tuple[DatasetIndex, Changed]:
    changed = {number: _taken_level(level) for number, level in theirs.levels.items()}
    return theirs, changed


def _taken_level(theirs: LevelIndex) -> MergedLevel:
    """A level that only theirs has: all of it, under the same slots."""
    moves = [
        Move(bytes(uuid), int(slot), int(slot), None)
        for uuid, slot in zip(theirs.table.uuid, theirs.table.slot, strict=True)
    ]
    groups = "theirs" if theirs.facts.groups else None
    return MergedLevel(theirs, moves, groups=groups, created=True)


def _merge_meta(
    name: str,
    base: DatasetMeta | None,
    ours: DatasetMeta,
    theirs: DatasetMeta,
    context: Context,
) -> DatasetMeta:
    # Bounds only ever grow: vertices of a later commit may lie where an earlier one let them.
    bounds = ours.bounds if context.reverting else ours.bounds.union(theirs.bounds)
    merged = replace(ours, bounds=bounds)
    before = base.metadata if base else {}
    user = dict(ours.metadata)
    for key in sorted(before.keys() | user.keys() | theirs.metadata.keys()):
        b, o, t = before.get(key), ours.metadata.get(key), theirs.metadata.get(key)
        take = t != o and o == b
        if both_changed(b, o, t):
            what = f"metadata {key!r} of dataset {name!r}"
            take = context.theirs(Conflict("metadata", name, key=key, what=what, values=(b, o, t)))
        if take and key in theirs.metadata:
            user[key] = theirs.metadata[key]
        elif take:
            user.pop(key, None)
    merged = replace(merged, metadata=user)
    b_levels, o_levels, t_levels = base.coarser if base else (), ours.coarser, theirs.coarser
    if o_levels == b_levels:
        return replace(merged, coarser=t_levels)
    if both_changed(b_levels, o_levels, t_levels):
        what = f"the resolution levels of dataset {name!r}"
        values = (b_levels, o_levels, t_levels)
        if context.theirs(Conflict("levels", name, what=what, values=values)):
            return replace(merged, coarser=t_levels)
    return merged


def _mark_stale(
    levels: dict[int, LevelIndex], changed: Changed, ours: DatasetIndex, theirs: DatasetIndex
) -> None:
    """Let coarser levels be stale whose finer level is as neither maker of them had it."""
    for number in sorted(levels):
        facts = levels[number].facts
        if facts.coarsened is None or facts.coarsened["stale"] or facts.slots == 0:
            continue
        finer = levels[facts.coarsened["from"]]
        sides = [s.levels for s in (ours, theirs) if number in s.levels]
        fresh = any(
            side[number].facts == facts
            and facts.coarsened["from"] in side
            and side[facts.coarsened["from"]].table.same_as(finer.table)
            for side in sides
        )
        if not fresh:
            stale = replace(facts, coarsened={**facts.coarsened, "stale": True})
            old = changed.get(number) or MergedLevel(levels[number])
            changed[number] = replace(old, index=replace(old.index, facts=stale))
            levels[number] = changed[number].index


# ---- levels -----------------------------------------------------------------


def _merge_level(
    name: str,
    base: LevelIndex | None,
    ours: LevelIndex,
    theirs: LevelIndex,
    context: Context,
) -> MergedLevel | None:
    """One level that both sides have; None where ours stays as it is."""
    if base is not None and same_level(base, theirs):
        return None
    if same_level(ours, theirs):
        return None
    if ours.facts.grid != theirs.facts.grid:
        what = f"level {ours.facts.level} of dataset {name!r} was made anew, with other cells"
        conflict = Conflict("levels", name, ours.facts.level, what=what)
        return _taken_level(theirs) if context.theirs(conflict) else None
    result = LevelMerge(name, base, ours, theirs, context).result()
    return result if result.written or not same_level(ours, result.index) else None
