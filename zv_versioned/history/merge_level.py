"""The three-way merge of one level: attributes, batches that are there, that go and that come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..format.metadata import CAPACITY, FAMILIES, AttributeMeta, LevelFacts
from ..format.table import INDEX, REMOVED, BatchTable, new_content_id
from .conflicts import Conflict
from .index import LevelIndex, Uuid, counted
from .needs import same_ids
from .outcome import Context, MergedLevel, Move
from .runs import IdMap
from .sets import merge_groups, merge_sets

_REMOVED_COLUMNS = ("n_removed_vertices", "n_removed_objects", "n_removed_links")
_INDEX_COLUMNS = ("id_min", "id_max", "head_bytes", "default_ids")


class LevelMerge:
    """The merge of one level, step by step."""

    def __init__(
        self,
        name: str,
        base: LevelIndex | None,
        ours: LevelIndex,
        theirs: LevelIndex,
        context: Context,
    ) -> None:
        self.name, self.context = name, context
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
            max_object_id=self._max_id(table),
            groups=groups_id,
        )
        index = LevelIndex(self.ours.path, counted(facts, table), table)
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
                    if not self._taken_back(uuid, slot, changed):
                        continue
                keep[row] = False
                self.deleted.append(uuid)
        return keep

    def _taken_back(self, uuid: Uuid, slot: int, changed: list[str]) -> bool:
        """A batch that one side took back and the other wrote to: whether theirs is taken."""
        what = (
            f"batch {slot} of dataset {self.name!r} was taken back on one side, and on the other "
            f"{', '.join(changed)} changed"
        )
        return self._conflict("batch", what, batches=(uuid,))

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
            if path == REMOVED:
                for i in np.flatnonzero(both).tolist():
                    self._removed_by_both(common[i])
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

    def _removed_by_both(self, uuid: Uuid) -> None:
        """Objects removed on both sides: what either removed, without what either brought back."""
        none = np.zeros(0, np.int64)
        b = self.base.removed.get(uuid, none) if self.base else none
        o, t = self.ours.removed[uuid], self.theirs.removed[uuid]
        self.removed[uuid] = merge_sets(b, o, t)

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
                if not changed or not self._taken_back(uuid, slot, changed):
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
            if uuid in o and not same_ids(now, o[uuid], self.theirs.table, t, uuid)
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
            if renumbered.contains(ids[~begins]).any():
                what = (
                    f"objects of dataset {self.name!r} that were given ids by default go on in "
                    f"batch {int(table.slot[row])}, and somebody else has those ids by now"
                )
                self._conflict("objects", what, batches=(bytes(uuid),))

    # -- groups --------------------------------------------------------------

    def _groups(
        self, table: BatchTable, renumbered: IdMap
    ) -> tuple[Mapping[str, np.ndarray] | str | None, int]:
        """The groups, whose members follow where their ids became others."""
        begun = self.base.facts.groups if self.base else 0
        mine, its = self.ours.facts.groups, self.theirs.facts.groups
        sides = (self.base, self.ours, self.theirs)
        maps = [self._moved_ids(number, table) for number in range(3)]
        maps[2] = IdMap.joined([maps[2], renumbered])
        if not any(maps[1:]):
            if its in (mine, begun):
                return None, mine
            if mine == begun:
                return ("theirs" if its else {}), its
        elif not mine and not its:
            return None, mine
        groups = [
            {name: np.sort(ids.apply(members)) for name, members in (side.groups or {}).items()}
            if side
            else {}
            for side, ids in zip(sides, maps, strict=True)
        ]
        return merge_groups(*groups), -1

    def _moved_ids(self, number: int, table: BatchTable) -> IdMap:
        """What the ids of one side became, of batches that the result has of ours.

        Only ids that were given by default become others, and they are a run.
        """
        rows, side = self.rows[number], self.tables[number]
        maps = []
        for row, uuid in enumerate(table.uuid):
            its = rows.get(bytes(uuid))
            if its is None or bytes(uuid) not in self.rows[1]:
                continue
            if side.id_min[its] != table.id_min[row]:
                at = slice(its, its + 1)
                maps.append(IdMap(side.id_min[at], side.id_max[at], table.id_min[row : row + 1]))
        return IdMap.joined(maps)


def _paths_of(facts: LevelFacts) -> set[str]:
    """The contents that batches of a level may have."""
    attributes = {a.path for family in FAMILIES for a in facts.family(family).values()}
    return attributes | {REMOVED, INDEX}
