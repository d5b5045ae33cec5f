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

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..format.metadata import CAPACITY, FAMILIES, AttributeMeta, DatasetMeta, LevelFacts
from ..format.table import INDEX, REMOVED, BatchTable, new_content_id
from .conflicts import Conflict
from .index import DatasetIndex, Index, LevelIndex, Uuid
from .runs import IdMap

Choose = Callable[[Conflict], str]
"""Given a conflict, says "ours" or "theirs"; raises where it is not to be resolved."""

_REMOVED_COLUMNS = ("n_removed_vertices", "n_removed_objects", "n_removed_links")
_INDEX_COLUMNS = ("id_min", "id_max", "head_bytes", "default_ids")


@dataclass(frozen=True)
class Move:
    """Cells of one batch that are to be carried over.

    Parameters
    ----------
    uuid : bytes
    source, target : int
        The slot in theirs and the slot that it has in the result.
    content : str or None
        The array; None for the whole batch.
    """

    uuid: Uuid
    source: int
    target: int
    content: str | None


@dataclass(frozen=True)
class MergedLevel:
    """A level of the result, and what has to be done for it.

    Parameters
    ----------
    index : LevelIndex
        Its facts are right but for the counts of removed vertices and links where
        `recount` names a batch.
    moves : list of Move
    deleted : list of bytes
        Batches that ours has and the result has not.
    emptied : list of (bytes, str)
        Contents that ours has of a batch and the result has not.
    removed : mapping of bytes to ndarray of int64
        Rows of removed objects that neither side has just so.
    groups : mapping of str to ndarray, "theirs", or None
        The groups to write, or whose; None where ours stay.
    renumbered : IdMap
        Ids of objects of theirs that became others.
    created : bool
        Whether the level is new to ours.
    """

    index: LevelIndex
    moves: list[Move] = field(default_factory=list)
    deleted: list[Uuid] = field(default_factory=list)
    emptied: list[tuple[Uuid, str]] = field(default_factory=list)
    removed: dict[Uuid, np.ndarray] = field(default_factory=dict)
    groups: Mapping[str, np.ndarray] | str | None = None
    renumbered: IdMap = field(default_factory=IdMap.none)
    created: bool = False

    @property
    def written(self) -> bool:
        """Whether there is anything to be carried, deleted or written."""
        return bool(
            self.moves or self.deleted or self.emptied or self.removed or self.groups is not None
        )


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
        if _both(before, int(gone[1][o[uuid]]), int(gone[2][t[uuid]])):
            removed.add(uuid)
    new_o = [
        row for uuid, row in o.items() if not _same_ids(ours.table, row, theirs.table, t, uuid)
    ]
    new_t = [row for uuid, row in t.items() if uuid not in o]
    ids = _overlapping(ours, new_o, theirs, new_t)
    begun = base.facts.groups if base else 0
    return Needs(removed, ids, _both(begun, ours.facts.groups, theirs.facts.groups))


def _same_ids(
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


def _both(base: Any, ours: Any, theirs: Any) -> bool:
    """Whether both sides changed something, to different things."""
    return bool(ours != theirs and ours != base and theirs != base)


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
    context = _Context(choose, reverting)
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


@dataclass
class _Context:
    choose: Choose
    reverting: bool
    conflicts: list[Conflict] = field(default_factory=list)

    def theirs(self, conflict: Conflict) -> bool:
        """Whether a conflict is resolved for theirs."""
        choice = self.choose(conflict)
        self.conflicts.append(replace(conflict, choice=choice))
        return choice == "theirs"


Changed = dict[int, MergedLevel]


def _merge_dataset(
    name: str,
    base: DatasetIndex | None,
    ours: DatasetIndex | None,
    theirs: DatasetIndex | None,
    context: _Context,
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
            merged = _merge_level(name, meta, before, mine, its, context)
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
    context: _Context,
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
        and all(_same(level, now.levels[number]) for number, level in base.levels.items())
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
    context: _Context,
) -> DatasetMeta:
    # Bounds only ever grow: vertices of a later commit may lie where an earlier one let them.
    bounds = ours.bounds if context.reverting else ours.bounds.union(theirs.bounds)
    merged = replace(ours, bounds=bounds)
    before = base.metadata if base else {}
    user = dict(ours.metadata)
    for key in sorted(before.keys() | user.keys() | theirs.metadata.keys()):
        b, o, t = before.get(key), ours.metadata.get(key), theirs.metadata.get(key)
        take = t != o and o == b
        if _both(b, o, t):
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
    if _both(b_levels, o_levels, t_levels):
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
    meta: DatasetMeta,
    base: LevelIndex | None,
    ours: LevelIndex,
    theirs: LevelIndex,
    context: _Context,
) -> MergedLevel | None:
    """One level that both sides have; None where ours stays as it is."""
    if base is not None and _same(base, theirs):
        return None
    if _same(ours, theirs):
        return None
    if ours.facts.grid != theirs.facts.grid:
        what = f"level {ours.facts.level} of dataset {name!r} was made anew, with other cells"
        conflict = Conflict("levels", name, ours.facts.level, what=what)
        return _taken_level(theirs) if context.theirs(conflict) else None
    result = _LevelMerge(name, meta, base, ours, theirs, context).result()
    return result if result.written or not _same(ours, result.index) else None


def _same(a: LevelIndex, b: LevelIndex) -> bool:
    return a.facts == b.facts and a.table.same_as(b.table)


class _LevelMerge:
    """The merge of one level, step by step."""

    def __init__(
        self,
        name: str,
        meta: DatasetMeta,
        base: LevelIndex | None,
        ours: LevelIndex,
        theirs: LevelIndex,
        context: _Context,
    ) -> None:
        self.name, self.meta, self.context = name, meta, context
        self.base, self.ours, self.theirs = base, ours, theirs
        self.rows = base.rows() if base else {}, ours.rows(), theirs.rows()
        none = BatchTable.empty(ours.table.lo.shape[1])
        self.tables = (base.table if base else none, ours.table, theirs.table)
        self.paths = sorted(set().union(*(table.contents for table in self.tables)))
        self.moves: list[Move] = []
        self.deleted: list[Uuid] = []
        self.emptied: list[tuple[Uuid, str]] = []
        self.removed: dict[Uuid, np.ndarray] = {}
        self.scalars = {n: c.copy() for n, c in ours.table.scalars.items()}
        self.contents = {path: ours.table.content(path).copy() for path in self.paths}

    def result(self) -> MergedLevel:
        """Merge definitions, rows that are there, rows that go and rows that come."""
        facts = self._definitions()
        keep = self._deletions()
        self._common(keep, facts)
        table = self.ours.table.with_columns(self.scalars, self.contents).take(np.flatnonzero(keep))
        added, renumbered = self._additions(facts)
        table = BatchTable.concatenate([table, added])
        order = np.argsort(table.slot, kind="stable")
        table = table.take(order)
        groups, groups_id = self._groups(table, renumbered)
        facts = replace(
            facts,
            slots=max(self.ours.facts.slots, int(table.slot[-1]) + 1 if len(table) else 0),
            vertex_count=int(table.live_vertices.sum()),
            num_objects=int(table.live_new_objects.sum()),
            link_count=int(table.live_links.sum()),
            max_object_id=self._max_id(table),
            groups=groups_id,
        )
        index = LevelIndex(self.ours.path, facts, table)
        return MergedLevel(
            index, self.moves, self.deleted, self.emptied, self.removed, groups, renumbered
        )

    def _max_id(self, table: BatchTable) -> int:
        known = max(self.ours.facts.max_object_id, self.theirs.facts.max_object_id)
        return max(known, int(table.id_max.max())) if len(table) else known

    def _conflict(self, kind: str, what: str, **more: Any) -> bool:
        level = self.ours.facts.level
        return self.context.theirs(Conflict(kind, self.name, level, what=what, **more))

    # -- attributes ----------------------------------------------------------

    def _definitions(self) -> LevelFacts:
        """Which attributes there are, and of which dtype."""
        facts = self.ours.facts
        for family in FAMILIES:
            b = self.base.facts.family(family) if self.base else {}
            o, t = self.ours.facts.family(family), self.theirs.facts.family(family)
            merged = dict(o)
            for name in sorted(b.keys() | o.keys() | t.keys()):
                if self._takes_theirs(family, name, b.get(name), o.get(name), t.get(name)):
                    if name in t:
                        merged[name] = t[name]
                    else:
                        merged.pop(name, None)
            facts = facts.with_family(family, merged)
        mine, its = facts.coarsened, self.theirs.facts.coarsened
        if mine is not None and its is not None:
            facts = replace(facts, coarsened={**mine, "stale": mine["stale"] or its["stale"]})
        return facts

    def _takes_theirs(
        self,
        family: str,
        name: str,
        b: AttributeMeta | None,
        o: AttributeMeta | None,
        t: AttributeMeta | None,
    ) -> bool:
        if o == t:
            return False
        path = f"{family}/{name}"
        if o == b:
            # One side drops it or makes it another: what the other writes meanwhile would be lost.
            if o is not None and self._written(path, 1):
                if t is None and self.context.reverting:
                    return False  # others have come to use it
                return self._definition_conflict(family, name, (b, o, t))
            return True
        if t == b:
            if t is not None and self._written(path, 2):
                if o is None and self.context.reverting:
                    return True  # what comes back has values of it
                return self._definition_conflict(family, name, (b, o, t))
            return False
        return self._definition_conflict(family, name, (b, o, t))

    def _written(self, path: str, side: int) -> bool:
        """Whether a side wrote values of an attribute that base has not."""
        before = {bytes(u): int(c) for u, c in self._contents(0, path)}
        return any(c and before.get(bytes(u)) != c for u, c in self._contents(side, path))

    def _contents(self, side: int, path: str) -> Iterable[tuple[np.ndarray, Any]]:
        table = self.tables[side]
        return zip(table.uuid, table.content(path).tolist(), strict=True)

    def _definition_conflict(self, family: str, name: str, values: tuple[Any, ...]) -> bool:
        what = (
            f"{family.removesuffix('s').replace('_', ' ')} {name!r} of dataset {self.name!r} was "
            "made, changed or dropped on one side, and written or made otherwise on the other"
        )
        return self._conflict("definition", what, key=f"{family}/{name}", values=values)

    # -- batches that are there ----------------------------------------------

    def _deletions(self) -> np.ndarray:
        """Which rows of ours stay."""
        b, o, t = self.rows
        keep = np.ones(len(self.ours.table), bool)
        for uuid, row in o.items():
            if uuid in b and uuid not in t:
                changed = self._changed(uuid, 0, 1)
                if changed and not self.context.reverting:
                    slot = int(self.ours.table.slot[row])
                    what = (
                        f"batch {slot} of dataset {self.name!r} was taken back on one side, and on "
                        f"the other {', '.join(changed)} changed"
                    )
                    if not self._conflict("batch", what, batches=(uuid,)):
                        continue
                keep[row] = False
                self.deleted.append(uuid)
        return keep

    def _changed(self, uuid: Uuid, base: int, side: int) -> list[str]:
        """The contents of a batch that differ between two sides."""
        rows = self.rows[base][uuid], self.rows[side][uuid]
        tables = self.tables[base], self.tables[side]
        return [
            path
            for path in self.paths
            if path != INDEX
            and tables[0].content(path)[rows[0]] != tables[1].content(path)[rows[1]]
        ]

    def _common(self, keep: np.ndarray, facts: LevelFacts) -> None:
        """Contents of the batches that both sides have."""
        b, o, t = self.rows
        common = [uuid for uuid, row in o.items() if uuid in t and keep[row]]
        if not common:
            return
        at_o = np.array([o[uuid] for uuid in common])
        at_t = np.array([t[uuid] for uuid in common])
        at_b = np.array([b.get(uuid, -1) for uuid in common])
        there = _paths_of(facts)
        for path in self.paths:
            before = np.append(self.tables[0].content(path), 0)[at_b]
            mine, its = self.tables[1].content(path)[at_o], self.tables[2].content(path)[at_t]
            if path not in there:
                self.contents[path][at_o] = 0  # the attribute is dropped, with all its values
                continue
            take = (mine != its) & (mine == before)
            both = (mine != its) & (mine != before) & (its != before)
            for i in np.flatnonzero(both).tolist():
                if path == REMOVED:
                    self._removed_by_both(common[i], int(at_o[i]))
            # Where ids were given anew on both sides, ours are as good as theirs.
            if path not in (REMOVED, INDEX) and both.any():
                uuids = tuple(common[i] for i in np.flatnonzero(both))
                if self._content_conflict(path, uuids):
                    take |= both
            self._take(path, [common[i] for i in np.flatnonzero(take)])

    def _content_conflict(self, path: str, uuids: tuple[Uuid, ...]) -> bool:
        slots = [int(self.ours.table.slot[self.rows[1][uuid]]) for uuid in uuids]
        shown = ", ".join(map(str, slots[:5])) + (", …" if len(slots) > 5 else "")
        family, _, name = path.partition("/")
        what = (
            f"{family.removesuffix('s').replace('_', ' ')} {name!r} of dataset {self.name!r} was "
            f"written on both sides, over batches {shown}"
        )
        return self._conflict("attribute", what, key=path, batches=uuids)

    def _take(self, path: str, uuids: list[Uuid]) -> None:
        """Take the content of some batches from theirs."""
        columns = {REMOVED: _REMOVED_COLUMNS, INDEX: _INDEX_COLUMNS}.get(path, ())
        for uuid in uuids:
            mine, its = self.rows[1][uuid], self.rows[2][uuid]
            content = int(self.tables[2].content(path)[its])
            self.contents[path][mine] = content
            for column in columns:
                self.scalars[column][mine] = self.tables[2].scalars[column][its]
            if content or path == INDEX:
                slots = int(self.tables[2].slot[its]), int(self.tables[1].slot[mine])
                self.moves.append(Move(uuid, *slots, path))
            else:
                self.emptied.append((uuid, path))

    def _removed_by_both(self, uuid: Uuid, row: int) -> None:
        """Objects removed on both sides: what either removed, without what either brought back."""
        none = np.zeros(0, np.int64)
        b = self.base.removed.get(uuid, none) if self.base else none
        o, t = self.ours.removed[uuid], self.theirs.removed[uuid]
        kept = np.intersect1d(o, t)
        merged = np.union1d(kept, np.union1d(np.setdiff1d(o, b), np.setdiff1d(t, b)))
        self.removed[uuid] = merged.astype(np.int64)

    # -- batches that come ---------------------------------------------------

    def _additions(self, facts: LevelFacts) -> tuple[BatchTable, IdMap]:
        """Batches of theirs that ours has not, under slots of their own, with ids of their own."""
        b, o, t = self.rows
        come = []
        for uuid, row in t.items():
            if uuid in o:
                continue
            if uuid in b:
                if self.context.reverting:
                    continue  # it is gone already, with what is to be undone
                changed = self._changed(uuid, 0, 2)
                slot = int(self.theirs.table.slot[row])
                what = (
                    f"batch {slot} of dataset {self.name!r} was taken back on one side, and on the "
                    f"other {', '.join(changed)} changed"
                )
                if not changed or not self._conflict("batch", what, batches=(uuid,)):
                    continue
            come.append(row)
        table = self.theirs.table.take(np.array(come, np.int64))
        if not come:
            return table, IdMap.none()
        slots = self._free_slots(table)
        for uuid, source, target in zip(table.uuid, table.slot, slots, strict=True):
            self.moves.append(Move(bytes(uuid), int(source), int(target), None))
        table, renumbered = self._renumber(table)
        none = np.zeros(len(table), np.int64)
        dropped = {path: none for path in table.contents if path not in _paths_of(facts)}
        return table.with_columns({"slot": slots}, dropped), renumbered

    def _free_slots(self, table: BatchTable) -> np.ndarray:
        """The old slot of a batch that comes back, where nobody has it; else the next ones."""
        taken = set(self.ours.table.slot.tolist())
        following = self.ours.facts.slots
        slots = np.empty(len(table), np.int64)
        for i, slot in enumerate(table.slot.tolist()):
            if self.context.reverting and slot < self.ours.facts.slots and slot not in taken:
                slots[i] = slot
            else:
                slots[i] = following
                following += 1
        if following > CAPACITY:
            raise OverflowError(f"{self.ours.path!r} would have {following:,} batches")
        return slots

    def _renumber(self, table: BatchTable) -> tuple[BatchTable, IdMap]:
        """New ids for objects that got theirs by default and clash with ours.

        Such ids are a run that stands in the table alone; the new content of the
        index, of the same bytes, tells a later merge that they are others now.
        """
        clashes = self._clashes(table)
        scalars = {"id_min": table.id_min.copy(), "id_max": table.id_max.copy()}
        following = max(self.ours.facts.max_object_id, self.theirs.facts.max_object_id) + 1
        maps = []
        index = table.content(INDEX).copy()
        for row, ids in clashes.items():
            if not table.default_ids[row]:
                shown = ", ".join(map(str, ids[:5].tolist())) + (", …" if len(ids) > 5 else "")
                what = (
                    f"objects {shown} of dataset {self.name!r} were begun on both sides, with ids "
                    "that were given"
                )
                uuid = bytes(table.uuid[row])
                self._conflict("objects", what, batches=(uuid,), values=(None, ids, ids))
                continue
            n = int(table.n_objects[row])
            old = np.array([table.id_min[row], table.id_max[row]])
            maps.append(IdMap(old[:1], old[1:], np.array([following])))
            scalars["id_min"][row], scalars["id_max"][row] = following, following + n - 1
            index[row] = new_content_id()
            following += n
        renumbered = IdMap.joined(maps)
        self._refuse_extended(table, renumbered)
        return table.with_columns(scalars, {INDEX: index}), renumbered

    def _clashes(self, table: BatchTable) -> dict[int, np.ndarray]:
        """For batches that come, the ids of new objects that ours has begun, too."""
        _, o, t = self.rows
        now = self.ours.table.with_columns(self.scalars, self.contents)
        mine = [
            ids[begins]
            for uuid, (ids, begins) in self.ours.ids.items()
            if uuid in o and not _same_ids(now, o[uuid], self.theirs.table, t, uuid)
        ]
        if not mine:
            return {}
        taken = np.sort(np.concatenate(mine))
        found = {}
        for row, uuid in enumerate(table.uuid):
            if bytes(uuid) in self.theirs.ids:
                ids, begins = self.theirs.ids[bytes(uuid)]
                both = np.intersect1d(ids[begins], taken, assume_unique=True)
                if len(both):
                    found[row] = both
        return found

    def _refuse_extended(self, table: BatchTable, renumbered: IdMap) -> None:
        """An object that goes on in another batch cannot get another id without its index."""
        if not renumbered:
            return
        for row, uuid in enumerate(table.uuid):
            ids, begins = self.theirs.ids.get(bytes(uuid), (None, None))
            if ids is None or begins is None or begins.all():
                continue
            if renumbered.domain.contains(ids[~begins]).any():
                what = (
                    f"objects of dataset {self.name!r} that were given ids by default go on in "
                    f"batch {int(table.slot[row])}, and somebody else has those ids by now"
                )
                self._conflict("objects", what, batches=(bytes(uuid),))

    # -- groups --------------------------------------------------------------

    def _groups(
        self, table: BatchTable, renumbered: IdMap
    ) -> tuple[Mapping[str, np.ndarray] | str | None, int]:
        begun = self.base.facts.groups if self.base else 0
        mine, its = self.ours.facts.groups, self.theirs.facts.groups
        if its in (mine, begun):
            return None, mine
        if mine == begun:
            return ("theirs" if its else {}), its
        base = (self.base.groups or {}) if self.base else {}
        return _merge_groups(base, self.ours.groups or {}, self.theirs.groups or {}), -1


def _paths_of(facts: LevelFacts) -> set[str]:
    """The contents that batches of a level may have."""
    attributes = {a.path for family in FAMILIES for a in facts.family(family).values()}
    return attributes | {REMOVED, INDEX}


def _merge_groups(
    base: Mapping[str, np.ndarray], ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Groups as sets of (group, member): what either side added, without what either took out."""
    none = np.zeros(0, np.int64)
    merged = {}
    for name in sorted(ours.keys() | theirs.keys()):
        if name in base and (name not in ours or name not in theirs):
            kept = ours.get(name, theirs.get(name, none))
            if len(kept) == len(base[name]) and (kept == base[name]).all():
                continue  # taken out on one side, as it was on the other
        b, o, t = (side.get(name, none) for side in (base, ours, theirs))
        kept = np.intersect1d(o, t)
        merged[name] = np.union1d(kept, np.union1d(np.setdiff1d(o, b), np.setdiff1d(t, b)))
    return merged
