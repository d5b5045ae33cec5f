"""The merge of what batches contain: attributes, by definition and by values, and removals."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from .._sets import distinct
from ..format.metadata import FAMILIES, OBJECT_ATTRIBUTES, TEXT, AttributeMeta
from ..format.table import LINEAGE, REMOVED
from .merge_objects import ByObject, ObjectValues, differs
from .merge_rows import NOTHING, Report, Rows, Three, content_of, merge_sets, rows_name
from .rows import Details, Side, pick
from .runs import shown

_NONE = np.zeros(0, np.int64)


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
    objects : dict of (str, int) to ObjectValues
        By path and row, values of objects where both sides wrote some.
    """

    columns: dict[str, np.ndarray] = field(default_factory=dict)
    scalars: dict[str, np.ndarray] = field(default_factory=dict)
    carried: dict[str, np.ndarray] = field(default_factory=dict)
    cleared: dict[str, np.ndarray] = field(default_factory=dict)
    attributes: dict[str, dict[str, AttributeMeta]] = field(default_factory=dict)
    dropped: list[AttributeMeta] = field(default_factory=list)
    removed: dict[int, np.ndarray] = field(default_factory=dict)
    objects: dict[tuple[str, int], ObjectValues] = field(default_factory=dict)


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
    _keep_lineage(three, rows, result)
    return result


def _keep_lineage(three: Three, rows: Rows, result: Contents) -> None:
    """What a batch was made of never changes."""
    _, ours, theirs = three.content(rows, LINEAGE)
    added = rows.ours < 0
    result.columns[LINEAGE] = np.where(added, theirs, ours)
    result.carried[LINEAGE] = np.flatnonzero(added & (theirs != 0))


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
            names = self.report.options.names
            choice = self.report.conflict(
                "definition",
                self.path,
                f"{names.ours} has {_say(self.ours)}, {names.theirs} {_say(self.theirs)}",
            )
            return choice or ("neither" if self.report.options.virtual else "ours")
        side: Side = "theirs" if self.base == self.ours else "ours"
        # What the side that did not touch the definition has written under the old one.
        written, known = (ours, theirs) if side == "theirs" else (theirs, ours)
        lost = (written != 0) & (written != base) & (written != known)
        if not lost.any():
            return side
        now = self.theirs if side == "theirs" else self.ours
        who, other = self.report.options.names.pair(side)
        choice = self.report.conflict(
            "definition",
            self.path,
            f"{who} has {_say(now)}, while {other} wrote values of {_say(self.base)}",
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
        at = [row for row in np.flatnonzero(clash).tolist() if not self._equal(row)]
        by_object = {row: self._by_object(row) for row in at}
        choice = self._choice(by_object)
        for row, merged in by_object.items():
            if self.report.options.virtual and (merged is None or len(merged.clash)):
                values[row] = NOTHING
            elif merged is not None:
                values[row] = self._put(result, row, merged, choice, ours, theirs)
            elif choice == "theirs":
                values[row] = theirs[row]
        return values

    def _by_object(self, row: int) -> ByObject | None:
        """The values of the objects of one batch, merged one by one, where that can be done."""
        if not self.path.startswith(OBJECT_ATTRIBUTES) or self.ours != self.theirs:
            return None
        if self.ours is None or self.base not in (None, self.ours) or self.rows.base[row] < 0:
            return None
        at = {"base": self.rows.base, "ours": self.rows.ours, "theirs": self.rows.theirs}
        base, ours, theirs = (
            self.details.object_values(
                side, self.report.dataset, self.report.level or 0, self.ours, int(at[side][row])
            )
            for side in ("base", "ours", "theirs")
        )
        if base is None or ours is None or theirs is None:
            return None
        return ByObject.of(base, ours, theirs, self._lost("ours", row), self._lost("theirs", row))

    def _lost(self, side: Side, row: int) -> np.ndarray | None:
        """Which of the objects that begin in a batch a side has removed."""
        at = int((self.rows.ours if side == "ours" else self.rows.theirs)[row])
        index = self.three.ours if side == "ours" else self.three.theirs
        if index.table.content(REMOVED)[at] == 0:
            return None
        where = (self.report.dataset, self.report.level or 0)
        ((_, begins),) = self.details.ids(side, *where, [at])
        removed = np.zeros(len(begins), bool)
        removed[self.details.removed(side, *where, at)] = True
        return np.asarray(removed[begins])

    def _choice(self, by_object: dict[int, ByObject | None]) -> str | None:
        """Which side is taken of what both have written; asked where there is something."""
        at = [row for row, merged in by_object.items() if merged is None or len(merged.clash)]
        if not at:
            return None
        found = [(row, by_object[row]) for row in at]
        disputed = tuple(merged.clash if merged is not None else None for _, merged in found)
        ids = [self._begun(row)[merged.clash] for row, merged in found if merged is not None]
        objects = distinct(np.concatenate([_NONE, *ids]))
        what = f"of objects {shown(objects)}" if len(objects) else "over the same batches"
        return self.report.conflict(
            "attribute",
            self.path,
            f"{self.report.options.names.both} wrote values {what}",
            batches=self.three.uuids(self.rows, np.array(at)),
            objects=objects,
            _rows=disputed,
        )

    def _begun(self, row: int) -> np.ndarray:
        """The ids, on our side, of the objects that begin in a batch."""
        where = (self.report.dataset, self.report.level or 0)
        ((ids, begins),) = self.details.ids("ours", *where, [int(self.rows.ours[row])])
        return ids[begins]

    def _put(
        self,
        result: Contents,
        row: int,
        merged: ByObject,
        choice: str | None,
        ours: np.ndarray,
        theirs: np.ndarray,
    ) -> int:
        """The content id of merged values, which are to be written where they are not theirs."""
        values = merged.decided(choice)
        if not differs(values, merged.theirs).any():
            return int(theirs[row])
        assert self.ours is not None
        found = result.objects[self.path, row] = ObjectValues(self.ours, values)
        if not differs(values, merged.ours).any():
            return int(ours[row])
        return content_of(rows_name(self.three, self.rows, row), *found.parts())

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
