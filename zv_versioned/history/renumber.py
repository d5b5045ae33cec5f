"""Object ids in a merge: each is used once, and whoever goes on follows who began.

Each side has numbered its new objects by itself. Of a batch that both have,
under different ids, one numbering stays. Of new objects under ids that the
other side has given too, ours keep theirs; the others are counted anew where
their ids were counted in the first place, and are a conflict where they were
given. Whatever names such an object later (a batch that extends it, a group)
is changed along with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._sets import distinct, is_in
from ..errors import ArrayError
from ..format.table import INDEX
from .lookup import Lookup
from .merge_rows import content_of, rows_name
from .rows import Side, pick, same_ids
from .runs import IdMap, Runs, overlapping, reach

_MAX_ID = 2**63 - 1


@dataclass(frozen=True)
class Rewrite:
    """A batch whose index is to be written anew, with other ids.

    Parameters
    ----------
    row : int
        Of the result.
    side : str
        Where its index is read.
    ids : ndarray of int64
        The new ids of its objects, by row; they need not be ascending.
    content : int
        The new content id of the index.
    """

    row: int
    side: Side
    ids: np.ndarray
    content: int


@dataclass
class Numbering:
    """The ids of the result.

    Parameters
    ----------
    side : ndarray of bool, shape (R,)
        Whether a batch has the ids that theirs gave it, rather than ours.
    columns : dict of str to ndarray of int64, shape (R,)
        ``id_min``, ``id_max``, ``head_bytes``.
    content : ndarray of int64, shape (R,)
        Content ids of the indexes.
    rewrites : list of Rewrite
    ours, theirs : IdMap
        What ids of each side became.
    ours_anew, theirs_anew : IdMap
        Ids that clashed, and what they became; parts of `ours` and `theirs`.
    max_object_id : int
    """

    side: np.ndarray
    columns: dict[str, np.ndarray]
    content: np.ndarray
    rewrites: list[Rewrite]
    ours: IdMap
    theirs: IdMap
    ours_anew: IdMap
    theirs_anew: IdMap
    max_object_id: int


@dataclass(frozen=True)
class _Anew:
    """Ids that are counted anew on either side, and the largest id of the result."""

    ours: IdMap
    theirs: IdMap
    top: int


def merge_ids(look: Lookup) -> Numbering:
    """Merge what the objects of each batch are called."""
    return _Numbers(look).merge()


@dataclass(frozen=True)
class _Numbers:
    look: Lookup

    def merge(self) -> Numbering:
        rows = self.look.rows
        from_theirs, differs = self._common()
        mine, its = np.flatnonzero(rows.theirs < 0), np.flatnonzero(rows.ours < 0)
        while True:
            kept = np.flatnonzero(differs & ~from_theirs)
            taken = np.flatnonzero(differs & from_theirs)
            # Where objects that keep the ids we gave have these, the batch does so as well.
            clash = self._meet("theirs", taken, "ours", np.concatenate([mine, kept]))
            if len(clash) == 0:
                break
            from_theirs[clash.owner] = False
        clash = self._meet("theirs", its, "ours", np.concatenate([mine, kept]))
        anew = self._anew(from_theirs, its, mine, clash)
        ours = IdMap.joined([self._translation(taken, "ours"), anew.ours])
        theirs = IdMap.joined([self._translation(kept, "theirs"), anew.theirs])
        return self._result(from_theirs, ours, theirs, anew)

    # -- batches that both have ----------------------------------------------

    def _common(self) -> tuple[np.ndarray, np.ndarray]:
        """Which batches take the ids of theirs, and which have different ones on the two sides."""
        rows, (base, ours, theirs) = self.look.rows, self.look.three.tables
        from_theirs = rows.ours < 0
        differs = np.zeros(len(from_theirs), bool)
        both = np.flatnonzero(rows.both)
        o, t, b = rows.ours[both], rows.theirs[both], rows.base[both]
        differs[both] = ~same_ids(ours, o, theirs, t)
        known = b >= 0
        untouched = np.zeros(len(both), bool)
        untouched[known] = same_ids(ours, o[known], base, b[known])
        from_theirs[both] = differs[both] & untouched
        return from_theirs, differs

    def _translation(self, at: np.ndarray, side: Side) -> IdMap:
        """What the ids that one side gave to some batches became: those of the other."""
        if len(at) == 0:
            return IdMap.none()
        other: Side = "theirs" if side == "ours" else "ours"
        old, new = self.look.table(side), self.look.table(other)
        o, n = self.look.of(side)[at], self.look.of(other)[at]
        simple = old.plain[o] & new.plain[n]
        runs = IdMap(old.id_min[o[simple]], old.id_max[o[simple]], new.id_min[n[simple]])
        pairs = zip(self.look.ids(side, o[~simple]), self.look.ids(other, n[~simple]), strict=True)
        return IdMap.joined([runs, *(IdMap.of(a[begin], b[begin]) for (a, begin), (b, _) in pairs)])

    # -- ids that two sides gave ---------------------------------------------

    def _meet(self, a: Side, at: np.ndarray, b: Side, others: np.ndarray) -> Runs:
        """Ids of objects that begin in some batches and in others; owners are rows of the first."""
        if len(at) == 0 or len(others) == 0:
            return Runs.none()
        first, second = self._reach(a, at), self._reach(b, others)
        return self._new(a, at, second).meet(self._new(b, others, first))[0]

    def _reach(self, side: Side, at: np.ndarray) -> Runs:
        table, rows = self.look.table(side), self.look.of(side)[at]
        return reach(table.id_min[rows], table.id_max[rows])

    def _new(self, side: Side, at: np.ndarray, near: Runs) -> Runs:
        """The ids of objects that begin in batches which reach into some range."""
        table, rows = self.look.table(side), self.look.of(side)[at]
        close = overlapping(table.id_min[rows], table.id_max[rows], near)
        return self.look.begun(side, rows[close], at[close])

    def _anew(
        self, from_theirs: np.ndarray, its: np.ndarray, mine: np.ndarray, clash: Runs
    ) -> _Anew:
        """Count ids that clash anew."""
        facts = (self.look.three.ours.facts, self.look.three.theirs.facts)
        top = max(f.max_object_id for f in facts)
        if len(clash) == 0:
            return _Anew(IdMap.none(), IdMap.none(), top)
        table = self.look.three.theirs.table
        counted = its[
            is_in(its, clash.owner) & (table.default_ids[self.look.rows.theirs[its]] == 1)
        ]
        given = clash.take(~is_in(clash.owner, counted))
        own = Runs.none()
        choice = self._choice(given)
        if choice == "theirs":
            own = self._meet("ours", mine, "theirs", distinct(given.owner))
            given = _without(given, own)
        elif choice is None:
            given = Runs.none()
        stay = from_theirs.copy()
        stay[counted] = False
        last = table.id_max[self.look.rows.theirs[stay]]
        first = 1 + max(facts[0].max_object_id, int(last.max(initial=-1)))
        rows = self.look.rows.theirs[counted]
        whole = Runs.joined([Runs(table.id_min[rows], table.id_max[rows], counted), given])
        theirs, first = count_on(whole, first)
        ours, first = count_on(own, first)
        return _Anew(ours, theirs, max(top, first - 1))

    def _choice(self, given: Runs) -> str | None:
        """Which side keeps the ids that both gave; None where that is in conflict."""
        if len(given) == 0 or self.look.report.options.renumber or self.look.report.options.virtual:
            return "ours"
        return self.look.report.conflict(
            "objects",
            "",
            f"{self.look.report.options.names.both} gave these ids to new objects",
            batches=self.look.three.uuids(self.look.rows, distinct(given.owner)),
            objects=distinct(given.ids()),
        )

    # -- the result ----------------------------------------------------------

    def _result(
        self, from_theirs: np.ndarray, ours: IdMap, theirs: IdMap, anew: _Anew
    ) -> Numbering:
        rows = self.look.rows
        mine, its = self.look.three.ours.table, self.look.three.theirs.table

        def column(name: str) -> np.ndarray:
            a, b = mine.scalars[name], its.scalars[name]
            return np.where(from_theirs, pick(b, rows.theirs), pick(a, rows.ours))

        columns = {name: column(name) for name in ("id_min", "id_max", "head_bytes")}
        content = np.where(
            from_theirs, pick(its.content(INDEX), rows.theirs), pick(mine.content(INDEX), rows.ours)
        )
        rewrites: list[Rewrite] = []
        if ours:
            self._follow("ours", ours, from_theirs, columns, content, rewrites)
        if theirs:
            self._follow("theirs", theirs, from_theirs, columns, content, rewrites)
        return Numbering(
            from_theirs, columns, content, rewrites, ours, theirs, anew.ours, anew.theirs, anew.top
        )

    def _follow(
        self,
        side: Side,
        changed: IdMap,
        from_theirs: np.ndarray,
        columns: dict[str, np.ndarray],
        content: np.ndarray,
        rewrites: list[Rewrite],
    ) -> None:
        """Give the batches of one side that name ids which changed the new ones."""
        at = np.flatnonzero(from_theirs == (side == "theirs"))
        at = at[overlapping(columns["id_min"][at], columns["id_max"][at], changed.domain)]
        table = self.look.table(side)
        simple = table.plain[self.look.of(side)[at]]
        runs = at[simple]
        first = changed.apply(columns["id_min"][runs])
        last = changed.apply(columns["id_max"][runs])
        # A run that moved as one is still a run, and says so in the table alone.
        whole = last - first == columns["id_max"][runs] - columns["id_min"][runs]
        whole &= self._moves_whole(changed, columns, runs)
        columns["id_min"][runs[whole]], columns["id_max"][runs[whole]] = first[whole], last[whole]
        rest = np.concatenate([runs[~whole], at[~simple]])
        for row, (ids, _) in zip(
            rest.tolist(), self.look.ids(side, self.look.of(side)[rest]), strict=True
        ):
            new = changed.apply(ids)
            if np.array_equal(new, ids):
                continue
            name = content_of(rows_name(self.look.three, self.look.rows, row), new)
            rewrites.append(Rewrite(row, side, new, name))
            content[row] = name
            columns["id_min"][row], columns["id_max"][row] = int(new.min()), int(new.max())

    def _moves_whole(
        self, changed: IdMap, columns: dict[str, np.ndarray], runs: np.ndarray
    ) -> np.ndarray:
        """Mask of the runs that one run of a map covers."""
        at = np.searchsorted(changed.first, columns["id_min"][runs], side="right") - 1
        return np.asarray((at >= 0) & (changed.last[at] >= columns["id_max"][runs]))


def count_on(old: Runs, first: int) -> tuple[IdMap, int]:
    """New ids from `first` on, in the order of the owners; returns the id after them too.

    Parameters
    ----------
    old : Runs
        Ids that are to become others.
    first : int
    """
    # What was counted first is counted first again.
    if len(old) == 0:
        return IdMap.none(), first
    old = old.take(np.lexsort((old.first, old.owner)))
    count = old.last - old.first + 1
    total = int(count.sum())
    if first + total - 1 > _MAX_ID:
        raise ArrayError(
            f"{total:,} object ids have to be counted anew, and none are left after {first - 1}; "
            "use smaller ids"
        )
    new = first + (np.cumsum(count) - count)
    return IdMap.joined([IdMap(old.first, old.last, new)]), first + total


def _without(runs: Runs, others: Runs) -> Runs:
    """The runs that have nothing in common with others; each is whole in them or not at all."""
    return runs.take(~others.contains(runs.first))
