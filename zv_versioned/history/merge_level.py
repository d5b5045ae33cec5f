"""The merge of one level, put together: its table, its facts, and what has to be done for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from .._sets import is_in
from ..errors import ArrayError
from ..format.metadata import CAPACITY, FAMILIES, AttributeMeta, LevelFacts
from ..format.table import INDEX, LINEAGE, REMOVED, BatchTable
from .index import LevelIndex
from .merge_contents import Contents, arrays_of
from .merge_groups import MergedGroups
from .merge_objects import ObjectValues
from .merge_rows import Report, Rows, Three
from .renumber import Numbering, Rewrite
from .rows import Groups
from .runs import IdMap


@dataclass(frozen=True)
class LevelPlan:
    """What one level becomes, and how it is made from ours.

    Parameters
    ----------
    index : LevelIndex
        The result.
    carried : mapping of str to (ndarray, ndarray)
        By array, slots of theirs and the slots that their chunks get.
    cleared : mapping of str to ndarray
        By array, slots of ours whose chunks go.
    dropped : list of AttributeMeta
        Of ours: their arrays go, before others are made.
    rewrites : list of (Rewrite, int)
        Indexes that get other ids, and their slots, after everything was carried.
    removed : mapping of int to ndarray
        By slot, the removed objects of batches that both sides took some from.
    objects : list of (int, ObjectValues)
        Slots, and values of objects that are neither side's.
    groups : Groups or None
        To be written, where they are neither side's.
    ours, theirs : IdMap
        Ids that clashed and were counted anew, on either side.
    whole : bool
        Whether the level is theirs as it is.
    like_ours, like_theirs : bool
        Whether the batches and their contents are those of a side.
    changed : bool
        Whether the level is not as ours has it.
    """

    index: LevelIndex
    carried: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    cleared: Mapping[str, np.ndarray] = field(default_factory=dict)
    dropped: list[AttributeMeta] = field(default_factory=list)
    rewrites: list[tuple[Rewrite, int]] = field(default_factory=list)
    removed: Mapping[int, np.ndarray] = field(default_factory=dict)
    objects: list[tuple[int, ObjectValues]] = field(default_factory=list)
    groups: Groups | None = None
    ours: IdMap = field(default_factory=IdMap.none)
    theirs: IdMap = field(default_factory=IdMap.none)
    whole: bool = False
    like_ours: bool = True
    like_theirs: bool = False
    changed: bool = False


def check_room(report: Report, slots: int) -> None:
    """Refuse a result with more slots than a level has room for."""
    if slots > CAPACITY:
        raise ArrayError(
            f"level {report.level} of dataset {report.dataset!r} would have {slots:,} batches, and "
            f"has room for {CAPACITY:,}; compact it first"
        )


def counted(facts: LevelFacts, table: BatchTable, slots: int, max_object_id: int) -> LevelFacts:
    """The facts of a level, once it has the batches of a table."""
    return replace(
        facts,
        slots=slots,
        vertex_count=int(table.live_vertices.sum()),
        num_objects=int(table.live_new_objects.sum()),
        link_count=int(table.live_links.sum()),
        max_object_id=max_object_id,
    )


@dataclass(frozen=True)
class LevelMerge:
    """Puts the result of a level together."""

    three: Three
    rows: Rows
    contents: Contents
    numbering: Numbering
    groups: MergedGroups
    report: Report
    links: bool

    def plan(self) -> LevelPlan:
        """What the level becomes, and how."""
        slots, facts_slots = self._slots()
        order = np.argsort(slots, kind="stable")
        table = self._table(slots).take(order)
        carried = self._carried(slots)
        cleared = {array: slots[rows] for array, rows in self.contents.cleared.items() if len(rows)}
        for array, gone in self._gone().items():
            cleared[array] = np.concatenate([cleared.get(array, gone[:0]), gone])
        rewrites = [(r, int(slots[r.row])) for r in self.numbering.rewrites]
        index = LevelIndex(self.three.ours.path, self._facts(table, facts_slots), table)
        ours = self.three.ours
        changed = index.facts != ours.facts or not table.same_as(ours.table)
        if changed:
            # Equal versions are taken for equal tables, so it must not keep that of ours.
            index = replace(index, facts=replace(index.facts, version=0))
        return LevelPlan(
            index,
            carried=carried,
            cleared=cleared,
            dropped=self.contents.dropped,
            rewrites=rewrites,
            removed={int(slots[row]): rows for row, rows in self.contents.removed.items()},
            objects=[(int(slots[row]), one) for (_, row), one in self.contents.objects.items()],
            groups=self.groups.groups if self.groups.written else None,
            ours=self.numbering.ours_anew,
            theirs=self.numbering.theirs_anew,
            changed=changed,
            like_ours=self._like(table, self.three.ours.table),
            like_theirs=self._like(table, self.three.theirs.table),
        )

    def _slots(self) -> tuple[np.ndarray, int]:
        """The slot of each batch: ours keep theirs, what is added goes behind."""
        ours, theirs = self.three.ours, self.three.theirs
        added = np.flatnonzero(self.rows.ours < 0)
        slots = np.empty(len(self.rows.ours), np.int64)
        kept = self.rows.ours >= 0
        slots[kept] = ours.table.slot[self.rows.ours[kept]]
        wanted = theirs.table.slot[self.rows.theirs[added]]
        back = np.zeros(len(added), bool)
        if self.report.options.undo:
            # What comes back does so where it was.
            back = ~is_in(wanted, ours.table.slot) & (wanted < ours.facts.slots)
        new = ours.facts.slots + np.arange(int((~back).sum()))
        slots[added[back]], slots[added[~back]] = wanted[back], new
        end = int(new[-1]) + 1 if len(new) else ours.facts.slots
        check_room(self.report, end)
        return slots, end

    def _table(self, slots: np.ndarray) -> BatchTable:
        kept = self.rows.ours >= 0
        whole = BatchTable.concatenate(
            [
                self.three.ours.table.take(self.rows.ours[kept]),
                self.three.theirs.table.take(self.rows.theirs[~kept]),
            ]
        )
        scalars = {"slot": slots, **self.contents.scalars, **self.numbering.columns}
        contents = {**self.contents.columns, INDEX: self.numbering.content}
        ranges = self._ranges(whole, contents)
        return replace(whole.with_columns(scalars, {}, ranges), contents=contents)

    def _ranges(
        self, table: BatchTable, contents: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Smallest and largest values of contents that batches of ours have from theirs."""
        both = np.flatnonzero(self.rows.both)
        ranges = {}
        for path, its in self.three.theirs.table.ranges.items():
            if path in contents:
                column = table.ranges.get(path, np.zeros((len(table), 3), np.int64)).copy()
                taken = both[contents[path][both] == its[self.rows.theirs[both], 0]]
                column[taken] = its[self.rows.theirs[taken]]
                ranges[path] = column
        return ranges

    def _facts(self, table: BatchTable, slots: int) -> LevelFacts:
        facts = counted(self.three.ours.facts, table, slots, self.numbering.max_object_id)
        facts = replace(facts, groups=self.groups.content)
        for family in FAMILIES:
            facts = facts.with_family(family, self.contents.attributes[family])
        return facts

    def _carried(self, slots: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        its = self.three.theirs.table
        added = np.flatnonzero(self.rows.ours < 0)
        index = np.flatnonzero(
            self.numbering.side
            & (self.numbering.content != 0)
            & (self.rows.ours >= 0)
            & (self.numbering.content != self.three.content(self.rows, INDEX)[1])
        )
        linked = added[its.n_links[self.rows.theirs[added]] > 0]
        chosen = {"vertices": added, "links": linked[: None if self.links else 0]}
        chosen[INDEX] = np.concatenate([added, index])
        chosen.update(self.contents.carried)
        carried = {
            array: (its.slot[self.rows.theirs[rows]], slots[rows])
            for array, rows in chosen.items()
            if len(rows)
        }
        if self.groups.carried:
            carried["groups"] = np.zeros(1, np.int64), np.zeros(1, np.int64)
        return carried

    def _gone(self) -> dict[str, np.ndarray]:
        """By array, the slots of batches of ours that are not in the result."""
        table = self.three.ours.table
        gone = np.ones(len(table), bool)
        gone[self.rows.ours[self.rows.ours >= 0]] = False
        if not gone.any():
            return {}
        lost = table.take(gone)
        found = {"vertices": lost.slot, INDEX: lost.slot}
        if self.links and lost.n_links.any():
            found["links"] = lost.slot[lost.n_links > 0]
        for path in (REMOVED, LINEAGE):
            if lost.content(path).any():
                found[path] = lost.slot[lost.content(path) != 0]
        for family in FAMILIES:
            for attribute in self.three.ours.facts.family(family).values():
                has = lost.content(attribute.path) != 0
                if has.any() and attribute not in self.contents.dropped:
                    found.update(dict.fromkeys(arrays_of(attribute), lost.slot[has]))
        return found

    def _like(self, table: BatchTable, side: BatchTable) -> bool:
        if len(table) != len(side):
            return False
        mine, its = (np.argsort(t.names, kind="stable") for t in (table, side))
        names = (table.contents.keys() | side.contents.keys()) - {INDEX}
        return bool((table.uuid[mine] == side.uuid[its]).all()) and all(
            (table.content(name)[mine] == side.content(name)[its]).all() for name in names
        )
