"""What must hold of the result of a merge, checked by its index alone.

A batch is closed: its links, faces and manifests name nothing outside it, so
that they are in range and free of cycles wherever it is carried. What can go
wrong lies between batches: an object that goes on and began in a batch that is
gone, or was removed by the other side; a group whose members are gone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._sets import distinct, is_in, without
from ..format.table import LINEAGE, REMOVED
from .lookup import Lookup
from .merge_contents import Contents
from .merge_groups import MergedGroups
from .renumber import Numbering
from .rows import Groups, Ids, Side
from .runs import Runs, overlapping, shown

_NONE = np.zeros(0, np.int64)
_OTHER: dict[Side, Side] = {"ours": "theirs", "theirs": "ours"}
_LOST = {
    "extension": "the batch that they began in is gone, and a later one goes on with them; take "
    "that one back too",
    "removed": "they were removed on one side, and the other goes on with them; remove them there "
    "too",
}


@dataclass(frozen=True)
class Soundness:
    """Checks of the merge of one level; see :meth:`violations`."""

    look: Lookup
    contents: Contents
    numbering: Numbering
    groups: MergedGroups
    where: str

    def violations(self) -> list[str]:
        """What would not be sound, and what to do."""
        found: list[str] = []
        lost: list[Runs] = []
        sides: tuple[Side, Side] = ("ours", "theirs")
        for side in sides:
            gone, removed = self._gone(side), self._removed(side)
            found += self._extensions(side, "extension", gone)
            found += self._extensions(side, "removed", removed)
            changed = self.numbering.ours if side == "ours" else self.numbering.theirs
            lost += [gone, Runs.of(changed.apply(removed.ids()))]
        return found + self._members(Runs.union(lost))

    # -- what is no longer there ---------------------------------------------

    def _gone(self, side: Side) -> Runs:
        """Ids of the objects that began in batches of a side that are gone."""
        stays = np.zeros(len(self.look.table(side)), bool)
        rows = self.look.of(side)
        stays[rows[rows >= 0]] = True
        gone = np.flatnonzero(~stays)
        if len(gone) == 0:
            return Runs.none()
        lost = self.look.begun(side, gone, gone)
        at = self._compacted(side)
        if len(at) == 0 or len(lost) == 0:
            return lost
        other = _OTHER[side]
        began = self.look.begun(other, self.look.of(other)[at], at)
        ids = lost.ids()
        return Runs.of(ids[~began.contains(ids)])

    def _compacted(self, side: Side) -> np.ndarray:
        """Rows of the result that a compaction of the other side made of batches of both."""
        other = self.look.of(_OTHER[side])
        at = np.flatnonzero((self.look.of(side) < 0) & (other >= 0))
        made = self.look.table(_OTHER[side]).content(LINEAGE)[other[at]] != 0
        return np.asarray(at[made])

    def _removed(self, side: Side) -> Runs:
        """Ids of the objects that a side still has, or a compaction made less of, and that are
        removed in the result.
        """
        rows, now = self.look.of(side), self.contents.columns[REMOVED]
        before = self.look.table(side).content(REMOVED)
        at = np.flatnonzero(rows >= 0)
        at = at[(now[at] != 0) & (now[at] != before[rows[at]])]
        lost = [
            ids[without(self._removed_rows(row), self.look.removed(side, rows[row]))]
            for row, (ids, _) in zip(at.tolist(), self.look.ids(side, rows[at]), strict=True)
        ]
        # A compaction keeps the ids of what was removed, and nothing else of it.
        at = self._compacted(side)
        at = at[now[at] != 0]
        compacted = self.look.ids(_OTHER[side], self.look.of(_OTHER[side])[at])
        lost += [
            ids[self._removed_rows(row)]
            for row, (ids, _) in zip(at.tolist(), compacted, strict=True)
        ]
        return Runs.of(distinct(np.concatenate([_NONE, *lost])))

    def _removed_rows(self, row: int) -> np.ndarray:
        """The removed objects of a batch of the result, as rows."""
        if row in self.contents.removed:
            return self.contents.removed[row]
        ours, theirs = self.look.rows.ours[row], self.look.rows.theirs[row]
        now = self.contents.columns[REMOVED][row]
        if ours >= 0 and self.look.table("ours").content(REMOVED)[ours] == now:
            return self.look.removed("ours", ours)
        return self.look.removed("theirs", theirs)

    # -- what needs it -------------------------------------------------------

    def _extensions(self, side: Side, what: str, lost: Runs) -> list[str]:
        """Batches of a side that go on with objects which are no longer there."""
        if len(lost) == 0:
            return []
        table, rows = self.look.table(side), self.look.of(side)
        at = np.flatnonzero(rows >= 0)
        at = at[table.n_new_objects[rows[at]] < table.n_objects[rows[at]]]
        at = at[overlapping(table.id_min[rows[at]], table.id_max[rows[at]], lost)]
        batches = zip(at.tolist(), self.look.ids(side, rows[at]), strict=True)
        ids = distinct(np.concatenate([_NONE, *(self._goes_on(row, i) for row, i in batches)]))
        bad = ids[lost.contains(ids)]
        if len(bad) == 0:
            return []
        return [f"objects {shown(bad)} of {self.where}: {_LOST[what]}"]

    def _goes_on(self, row: int, ids: Ids) -> np.ndarray:
        """Ids of the objects that go on in a batch of the result and are not removed from it."""
        goes_on = ~ids[1]
        if self.contents.columns[REMOVED][row]:
            goes_on[self._removed_rows(row)] = False
        return ids[0][goes_on]

    def _members(self, lost: Runs) -> list[str]:
        """Groups with members that are no longer there."""
        if self.groups.content == 0 or len(lost) == 0:
            return []
        found = []
        for name, ids in self._groups().items():
            bad = ids[lost.contains(ids)]
            bad = bad[~self._there(bad)]
            if len(bad):
                found.append(
                    f"group {name!r} of {self.where} would name objects that are not there: "
                    f"{shown(bad)}, which one side removed, or the batch they began in; take them "
                    "out of it on the other side first"
                )
        return found

    def _groups(self) -> Groups:
        if self.groups.groups is not None:
            return self.groups.groups
        return self.look.groups("theirs" if self.groups.carried else "ours")

    def _there(self, ids: np.ndarray) -> np.ndarray:
        """Mask of the ids that some batch of the result has, and not removed."""
        there = np.zeros(len(ids), bool)
        columns = self.numbering.columns
        asked = Runs.of(ids)
        near = overlapping(columns["id_min"], columns["id_max"], asked) & (len(ids) > 0)
        sides: tuple[Side, Side] = ("ours", "theirs")
        for side in sides:
            changed = self.numbering.ours if side == "ours" else self.numbering.theirs
            at = np.flatnonzero(near & (self.numbering.side == (side == "theirs")))
            rows = self.look.of(side)[at]
            for row, (of_batch, begins) in zip(at.tolist(), self.look.ids(side, rows), strict=True):
                kept = begins.copy()
                if self.contents.columns[REMOVED][row]:
                    kept[self._removed_rows(row)] = False
                there |= is_in(ids, changed.apply(of_batch[kept]))
        return there
