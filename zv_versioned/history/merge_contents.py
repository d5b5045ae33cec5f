"""The merge of what batches contain: attributes, by definition and by values, and removals."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ..format.metadata import FAMILIES, OBJECT_ATTRIBUTES, TEXT, AttributeMeta
from ..format.table import REMOVED
from .merge_rows import NOTHING, Report, Rows, Three, content_of, merge_sets, rows_name
from .merge_values import MergedValues, differs, merge_values, stored_bytes, stored_values
from .rows import Details, Side, pick
from .runs import shown


@dataclass
class Contents:
    """What the batches of the result contain, and what has to be done for it.

    Parameters
    ----------
    columns : dict of str to ndarray of int64, shape (R,)
        Content ids by path.
    scalars : dict of str to ndarray of int64, shape (R,)
        Columns of the table that follow from contents.
    carried : dict of str to ndarray of int64
        By array, the rows of the result whose chunks come from theirs.
    cleared : dict of str to ndarray of int64
        By array, the rows whose chunks of ours go.
    attributes : dict of str to dict of str to AttributeMeta
        By family.
    dropped : list of AttributeMeta
        Of ours: their arrays go, or are made anew.
    removed : dict of int to ndarray of int64
        By row, the removed objects where both sides removed some.
    values : list of (AttributeMeta, int, ndarray)
        Of object attributes, the values of a row that both sides wrote some of.
    """

    columns: dict[str, np.ndarray] = field(default_factory=dict)
    scalars: dict[str, np.ndarray] = field(default_factory=dict)
    carried: dict[str, np.ndarray] = field(default_factory=dict)
    cleared: dict[str, np.ndarray] = field(default_factory=dict)
    attributes: dict[str, dict[str, AttributeMeta]] = field(default_factory=dict)
    dropped: list[AttributeMeta] = field(default_factory=list)
    removed: dict[int, np.ndarray] = field(default_factory=dict)
    values: list[tuple[AttributeMeta, int, np.ndarray]] = field(default_factory=list)


def arrays_of(attribute: AttributeMeta) -> list[str]:
    """The arrays that hold the values of an attribute."""
    return [attribute.path, *([attribute.dictionary] if attribute.logical == TEXT else [])]


def merge_contents(three: Three, rows: Rows, report: Report, details: Details) -> Contents:
    """Merge what is kept of each batch."""
    result = Contents()
    for family in FAMILIES:
        known = [level.facts.family(family) for level in (three.base, three.ours, three.theirs)]
        merged: dict[str, AttributeMeta] = {}
        for name in sorted(set().union(*known)):
            base, ours, theirs = (side.get(name) for side in known)
            merge = _Attribute(three, rows, report, details, base, ours, theirs)
            found = merge.merge(result)
            if found is not None:
                merged[name] = found
        result.attributes[family] = merged
    _merge_removed(three, rows, report, details, result)
    return result


@dataclass(frozen=True)
class _Attribute:
    """The merge of one attribute: its definition, then its values batch by batch."""

    three: Three
    rows: Rows
    report: Report
    details: Details
    base: AttributeMeta | None
    ours: AttributeMeta | None
    theirs: AttributeMeta | None

    @property
    def path(self) -> str:
        return next(a.path for a in (self.ours, self.theirs, self.base) if a is not None)

    def merge(self, result: Contents) -> AttributeMeta | None:
        """Add to the result; returns the definition that it has, None where it is dropped."""
        base, ours, theirs = self.three.content(self.rows, self.path)
        if self.ours == self.theirs or self._outlives(base, ours):
            values = self._values(base, ours, theirs, result)
            self._record(result, values, ours, theirs, self.ours, made_anew=False)
            return self.ours
        if self._comes_back(theirs):
            values = self._values(base, ours, theirs, result)
            self._record(result, values, ours, theirs, self.theirs, made_anew=False)
            return self.theirs
        side = self._world(base, ours, theirs)
        if side == "ours":
            values = np.where(self.rows.ours >= 0, ours, 0)
            self._record(result, values, ours, np.zeros_like(ours), self.ours, made_anew=False)
            return self.ours
        if self.ours is not None:
            result.dropped.append(self.ours)
        values = np.where(self.rows.theirs >= 0, theirs, 0)
        self._record(result, values, ours, theirs, self.theirs, made_anew=True)
        if side == "neither" and self.theirs is not None:
            return replace(self.theirs, row_shape=(NOTHING,))
        return self.theirs

    def _outlives(self, base: np.ndarray, ours: np.ndarray) -> bool:
        """Whether what a revert takes back made the attribute, and others have used it since."""
        made = self.report.options.undo and self.theirs is None and self.base == self.ours
        return bool(made and ((ours != 0) & (ours != base)).any())

    def _comes_back(self, theirs: np.ndarray) -> bool:
        """Whether batches that a revert brings back have values of an attribute that is gone."""
        gone = self.report.options.undo and self.ours is None and self.theirs == self.base
        return bool(gone and (theirs[self.rows.ours < 0] != 0).any())

    def _world(self, base: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> str:
        """The side whose definition stands, and so all of whose values do."""
        if self.base not in (self.ours, self.theirs):
            choice = self.report.conflict(
                "definition",
                self.path,
                f"this side has {_say(self.ours)}, the other {_say(self.theirs)}",
            )
            return choice or ("neither" if self.report.options.virtual else "ours")
        side = "theirs" if self.base == self.ours else "ours"
        # What the side that did not touch the definition has written under the old one.
        written, known = (ours, theirs) if side == "theirs" else (theirs, ours)
        lost = (written != 0) & (written != base) & (written != known)
        if not lost.any():
            return side
        now = self.theirs if side == "theirs" else self.ours
        who, other = ("the other", "this") if side == "theirs" else ("this", "the other")
        choice = self.report.conflict(
            "definition",
            self.path,
            f"{who} side has {_say(now)}, while {other} side wrote values of {_say(self.base)}",
            batches=self.three.uuids(self.rows, np.flatnonzero(lost)),
        )
        return choice or side

    def _values(
        self, base: np.ndarray, ours: np.ndarray, theirs: np.ndarray, result: Contents
    ) -> np.ndarray:
        both = self.rows.both
        values = np.where(self.rows.ours < 0, theirs, np.where(both & (ours == base), theirs, ours))
        clash = both & (ours != theirs) & (ours != base) & (theirs != base)
        if not clash.any():
            return values
        at = np.array(
            [row for row in np.flatnonzero(clash).tolist() if not self._equal(row)], np.int64
        )
        if len(at) == 0:
            return values
        if self.path.startswith(OBJECT_ATTRIBUTES):
            return self._by_object(
                values, at, {"base": base, "ours": ours, "theirs": theirs}, result
            )
        if self.report.options.virtual:
            values[at] = NOTHING
        choice = self.report.conflict(
            "attribute",
            self.path,
            "both sides wrote values over the same batches",
            batches=self.three.uuids(self.rows, at),
        )
        if choice == "theirs":
            values[at] = theirs[at]
        return values

    # -- values of objects ---------------------------------------------------

    def _by_object(
        self,
        values: np.ndarray,
        at: np.ndarray,
        contents: dict[Side, np.ndarray],
        result: Contents,
    ) -> np.ndarray:
        """Merge batches that both sides wrote values for, object by object."""
        merged = {row: self._merged(row, contents) for row in at.tolist()}
        choice = self._choice({row: one.clash for row, one in merged.items() if len(one.clash)})
        for row, one in merged.items():
            if self.report.options.virtual and len(one.clash):
                values[row] = NOTHING
                continue
            found = one.chosen(choice)
            if not differs(found, one.theirs).any():
                values[row] = contents["theirs"][row]
                continue
            stored = stored_bytes(stored_values(self._meaning, found))
            name = rows_name(self.three, self.rows, row) + self.path.encode()
            values[row] = content_of(name, stored)
            result.values.append((self._meaning, row, found))
        return values

    @property
    def _meaning(self) -> AttributeMeta:
        return next(a for a in (self.ours, self.theirs, self.base) if a is not None)

    def _merged(self, row: int, contents: dict[Side, np.ndarray]) -> MergedValues:
        sides: tuple[Side, Side, Side] = ("base", "ours", "theirs")
        base, ours, theirs = (
            self._of_objects(side, row, int(contents[side][row])) for side in sides
        )
        return merge_values(
            base if int(contents["base"][row]) != NOTHING else None,
            ours,
            theirs,
            lost_by_ours=self._lost("ours", row),
            lost_by_theirs=self._lost("theirs", row),
        )

    def _of_objects(self, side: Side, row: int, content: int) -> np.ndarray:
        """What a side has for the objects that begin in a batch; missing values where nothing."""
        attribute = self._meaning
        known = {"base": self.base, "ours": self.ours, "theirs": self.theirs}[side]
        if content in (0, NOTHING) or known != attribute:
            n = int(self.three.ours.table.n_new_objects[self.rows.ours[row]])
            if attribute.logical == TEXT:
                return np.full((n, *attribute.row_shape), None, object)
            fill = attribute.fill(n)
            return fill.view(attribute.logical) if attribute.logical else fill
        at = int(getattr(self.rows, side)[row])
        level = self.report.level or 0
        return self.details.object_values(side, self.report.dataset, level, attribute, at)

    def _lost(self, side: Side, row: int) -> np.ndarray | None:
        """Which of the objects that begin in a batch a side has removed."""
        index, at = getattr(self.three, side), int(getattr(self.rows, side)[row])
        if index.table.content(REMOVED)[at] == 0:
            return None
        where = (self.report.dataset, self.report.level or 0)
        begins = self._ids(side, row)[1]
        removed = np.zeros(len(begins), bool)
        removed[self.details.removed(side, *where, at)] = True
        return np.asarray(removed[begins])

    def _ids(self, side: Side, row: int) -> tuple[np.ndarray, np.ndarray]:
        at = int(getattr(self.rows, side)[row])
        return self.details.ids(side, self.report.dataset, self.report.level or 0, [at])[0]

    def _choice(self, clash: dict[int, np.ndarray]) -> str | None:
        if not clash:
            return None
        ids = []
        for row, rows in clash.items():
            of_batch, begins = self._ids("ours", row)
            ids.append(of_batch[begins][rows])
        objects = np.concatenate(ids)
        return self.report.conflict(
            "attribute",
            self.path,
            f"both sides wrote values for objects {shown(np.sort(objects))}",
            batches=self.three.uuids(self.rows, np.array(list(clash), np.int64)),
            objects=objects,
            _rows=tuple(clash.values()),
        )

    # -- what is to be done --------------------------------------------------

    def _equal(self, row: int) -> bool:
        ours, theirs = int(self.rows.ours[row]), int(self.rows.theirs[row])
        level = self.report.level or 0
        return self.details.equal(self.report.dataset, level, self.path, ours, theirs)

    def _record(
        self,
        result: Contents,
        values: np.ndarray,
        ours: np.ndarray,
        theirs: np.ndarray,
        attribute: AttributeMeta | None,
        *,
        made_anew: bool,
    ) -> None:
        if attribute is None:
            values = np.zeros_like(values)
        result.columns[self.path] = values
        here = self.rows.ours >= 0
        stays = here & (values == ours) & (not made_anew)
        carried = np.flatnonzero((values != 0) & (values == theirs) & ~stays)
        cleared = np.flatnonzero(here & (ours != 0) & (values == 0) & (not made_anew))
        # What lies there for each batch besides the values goes along with them.
        for array in arrays_of(attribute) if attribute is not None else []:
            result.carried[array] = carried
            result.cleared[array] = cleared


def _say(attribute: AttributeMeta | None) -> str:
    if attribute is None:
        return "no such attribute"
    shape = f" × {attribute.row_shape[0]}" if attribute.row_shape else ""
    return f"{attribute.logical or attribute.dtype.name}{shape}"


# ---- removed objects ---------------------------------------------------------

_COUNTS = ("n_removed_vertices", "n_removed_links", "n_removed_objects")


def _merge_removed(
    three: Three, rows: Rows, report: Report, details: Details, result: Contents
) -> None:
    base, ours, theirs = three.content(rows, REMOVED)
    take = (rows.ours < 0) | (rows.both & (ours == base))
    values = np.where(take, theirs, ours)
    counts = {
        name: np.where(
            take,
            pick(three.theirs.table.scalars[name], rows.theirs),
            pick(three.ours.table.scalars[name], rows.ours),
        )
        for name in _COUNTS
    }
    clash = rows.both & (ours != theirs) & (ours != base) & (theirs != base)
    for row in np.flatnonzero(clash).tolist():
        side, objects = _removed_by_both(three, rows, report, details, row)
        if side == "ours":
            continue
        if side == "theirs":
            values[row] = theirs[row]
            numbers = [three.theirs.table.scalars[n][rows.theirs[row]] for n in _COUNTS]
        else:
            values[row] = content_of(rows_name(three, rows, row), objects)
            result.removed[row] = objects
            numbers = list(_lost(report, details, int(rows.ours[row]), objects))
        for name, number in zip(_COUNTS, numbers, strict=True):
            counts[name][row] = number
    here = rows.ours >= 0
    result.columns[REMOVED] = values
    result.scalars.update(counts)
    result.carried[REMOVED] = np.flatnonzero((values != 0) & (values == theirs) & (values != ours))
    result.cleared[REMOVED] = np.flatnonzero(here & (ours != 0) & (values == 0))


def _removed_by_both(
    three: Three, rows: Rows, report: Report, details: Details, row: int
) -> tuple[str, np.ndarray]:
    where = (report.dataset, report.level or 0)
    at = {"base": rows.base[row], "ours": rows.ours[row], "theirs": rows.theirs[row]}
    none = np.zeros(0, np.int64)
    base, ours, theirs = (
        details.removed(side, *where, int(at[side])) if at[side] >= 0 else none
        for side in ("base", "ours", "theirs")
    )
    objects = merge_sets(base, ours, theirs)
    if np.array_equal(objects, ours):
        return "ours", objects
    if np.array_equal(objects, theirs):
        return "theirs", objects
    return "neither", objects


def _lost(report: Report, details: Details, row: int, objects: np.ndarray) -> tuple[int, int, int]:
    if len(objects) == 0:
        return 0, 0, 0
    return details.lost("ours", report.dataset, report.level or 0, row, objects)
