"""The three-way merge of snapshots, as a pure function of their indexes.

A commit that lost the race, a merge, a cherry-pick and a revert are all this
one function with other sides:

============================  =========================  ============  ===================
operation                     base                       ours          theirs
============================  =========================  ============  ===================
commit that lost the race     where the writer began     the new tip   what was staged
``merge(source, into)``       merge base                 tip of into   tip of source
``cherry_pick(s)``            parent of s                tip           s
``revert(s)``                 s                          tip           parent of s
============================  =========================  ============  ===================

Nothing here reads or writes. Its cost follows what differs, not what a batch
holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..format.metadata import FAMILIES, DatasetMeta, LevelFacts
from ..format.table import BatchTable
from ..spatial.boxes import Box
from .conflicts import Conflict
from .crossings import refuse_crossings
from .index import DatasetIndex, Index, LevelIndex, defined_alike
from .lookup import Lookup
from .merge_added import merge_added
from .merge_contents import merge_contents
from .merge_groups import merge_groups
from .merge_level import LevelMerge, LevelPlan
from .merge_rows import Options, Report, Three, which_rows
from .renumber import merge_ids
from .rows import Details
from .soundness import Soundness


@dataclass(frozen=True)
class DatasetPlan:
    """What one dataset becomes.

    Parameters
    ----------
    meta : DatasetMeta
    levels : mapping of int to LevelPlan
    whole : bool
        Whether the dataset is theirs as it is.
    """

    meta: DatasetMeta
    levels: Mapping[int, LevelPlan]
    whole: bool = False

    @property
    def index(self) -> DatasetIndex:
        """The result."""
        return DatasetIndex(self.meta, {n: plan.index for n, plan in self.levels.items()})


@dataclass(frozen=True)
class Merged:
    """The result of a merge.

    Parameters
    ----------
    datasets : dict of str to DatasetPlan
        All that the result has; those that are not here are gone.
    conflicts : list of Conflict
        All that there were, decided or not.
    violations : list of str
    """

    datasets: dict[str, DatasetPlan]
    conflicts: list[Conflict]
    violations: list[str]

    @property
    def open(self) -> list[Conflict]:
        """Conflicts that nobody has decided yet."""
        return [conflict for conflict in self.conflicts if conflict.choice is None]

    @property
    def index(self) -> dict[str, DatasetIndex]:
        """The result."""
        return {name: plan.index for name, plan in self.datasets.items()}

    @property
    def levels(self) -> dict[tuple[str, int], LevelPlan]:
        """The levels that are not as ours has them."""
        return {
            (name, number): level
            for name, plan in self.datasets.items()
            for number, level in plan.levels.items()
            if level.changed
        }


def merge_index(
    base: Index,
    ours: Index,
    theirs: Index,
    details: Details,
    options: Options | None = None,
) -> Merged:
    """Merge what theirs changed since the base into ours.

    Parameters
    ----------
    base, ours, theirs : mapping of str to DatasetIndex
    details : Details
        Asked for what the tables do not say, and only where it matters.
    options : Options, optional

    Returns
    -------
    Merged
        Where a conflict is not decided, ours stands; the result is then not to
        be published.
    """
    report = Report(options or Options())
    violations: list[str] = []
    result: dict[str, DatasetPlan] = {}
    for name in sorted({*ours, *theirs}):
        report.dataset, report.level = name, None
        merge = _Dataset(report, details, violations)
        plan = merge.merge(base.get(name), ours.get(name), theirs.get(name))
        if plan is not None:
            result[name] = plan
    _refuse_nesting(result, ours, report)
    return Merged(result, report.conflicts, violations)


def _refuse_nesting(result: dict[str, DatasetPlan], ours: Index, report: Report) -> None:
    """Datasets that two sides made must not lie in each other."""
    for name in [name for name in result if name and name not in ours]:
        for other in list(result):
            if other and (other.startswith(f"{name}/") or name.startswith(f"{other}/")):
                report.dataset, report.level = name, None
                names = report.options.names
                choice = report.conflict(
                    "dataset",
                    "",
                    f"{names.theirs} made it, and {names.ours} made {other!r}: one would lie in "
                    "the other",
                )
                result.pop(other if choice == "theirs" else name, None)


def unchanged(index: DatasetIndex) -> DatasetPlan:
    """The plan that leaves a dataset of ours as it is."""
    return DatasetPlan(index.meta, {n: LevelPlan(level) for n, level in index.levels.items()})


def _taken(index: DatasetIndex) -> DatasetPlan:
    levels = {n: _whole(level) for n, level in index.levels.items()}
    return DatasetPlan(index.meta, levels, whole=True)


# ---- one dataset -------------------------------------------------------------


@dataclass(frozen=True)
class _Dataset:
    report: Report
    details: Details
    violations: list[str]

    def merge(
        self, base: DatasetIndex | None, ours: DatasetIndex | None, theirs: DatasetIndex | None
    ) -> DatasetPlan | None:
        if ours is not None and base is not None and base.same_as(theirs):
            return unchanged(ours)
        if ours is not None and theirs is not None and _alike(ours.meta, theirs.meta):
            if base is not None and not _alike(base.meta, ours.meta):
                base = None
            return self._levels(base, ours, theirs)
        if (base is None) is (theirs is None) and (base is None or base.same_as(theirs)):
            return None if ours is None else unchanged(ours)
        if (base is None) is (ours is None) and (base is None or base.same_as(ours)):
            return None if theirs is None else _taken(theirs)
        names = self.report.options.names
        if ours is None:
            reason = f"{names.ours} removed it, and {names.theirs} has changed it since"
        elif theirs is None:
            reason = f"{names.theirs} removed it, and {names.ours} has changed it since"
        else:
            reason = f"{names.both} made one of this name, of another kind, grid, axes or dtype"
        choice = self.report.conflict("dataset", "", reason)
        if choice == "theirs":
            return None if theirs is None else _taken(theirs)
        if self.report.options.virtual and ours is not None:
            return unchanged(replace(ours, meta=replace(ours.meta, kind="")))
        return None if ours is None else unchanged(ours)

    def _levels(
        self, base: DatasetIndex | None, ours: DatasetIndex, theirs: DatasetIndex
    ) -> DatasetPlan:
        plans: dict[int, LevelPlan] = {}
        for number in sorted({*ours.levels, *theirs.levels}):
            self.report.level = number
            before = None if base is None else base.levels.get(number)
            links = ours.meta.link_width > 0
            plan = self._level(before, ours.levels.get(number), theirs.levels.get(number), links)
            if plan is not None:
                plans[number] = plan
        plans = _mark_stale(plans, ours, theirs)
        self.report.level = None
        if sorted(plans) != list(range(len(plans))):
            self.violations.append(
                f"dataset {ours.meta.name!r} would have levels {sorted(plans)}, and levels have no "
                "gaps: one side deleted a level that the other made a coarser one after"
            )
        meta = self._meta(None if base is None else base.meta, ours.meta, theirs.meta, plans)
        return DatasetPlan(meta, plans)

    def _meta(
        self,
        base: DatasetMeta | None,
        ours: DatasetMeta,
        theirs: DatasetMeta,
        plans: Mapping[int, LevelPlan],
    ) -> DatasetMeta:
        metadata = self._metadata({} if base is None else base.metadata, ours, theirs)
        bounds = _bounds(None if base is None else base.bounds, ours.bounds, theirs.bounds)
        if not all(_within(plan.index.table, bounds, ours.vertex_dtype) for plan in plans.values()):
            bounds = ours.bounds.union(theirs.bounds)
        grids = [plan.index.facts.grid.chunk_shape for n, plan in sorted(plans.items()) if n]
        coarser = tuple(grids)
        if bounds is ours.bounds and (metadata, coarser) == (ours.metadata, ours.coarser):
            return ours
        return replace(ours, bounds=bounds, metadata=metadata, coarser=coarser)

    def _metadata(
        self, base: Mapping[str, Any], ours: DatasetMeta, theirs: DatasetMeta
    ) -> dict[str, Any]:
        none = object()
        merged: dict[str, Any] = {}
        for key in dict.fromkeys([*ours.metadata, *theirs.metadata]):
            b, o, t = (side.get(key, none) for side in (base, ours.metadata, theirs.metadata))
            value = t if o == b else o
            if (none not in (b, o, t) and o != t and b not in (o, t)) or _both_new(b, o, t, none):
                both = self.report.options.names.both
                choice = self.report.conflict("metadata", key, f"{both} set it, differently")
                value = t if choice == "theirs" else o
                if self.report.options.virtual:
                    value = none
            if value is not none or self.report.options.virtual:
                merged[key] = value
        return merged

    def _level(
        self,
        base: LevelIndex | None,
        ours: LevelIndex | None,
        theirs: LevelIndex | None,
        links: bool,
    ) -> LevelPlan | None:
        if ours is not None and theirs is not None and defined_alike(ours.facts, theirs.facts):
            if base is not None and not defined_alike(base.facts, ours.facts):
                base = None
            if theirs.same_as(base if base is not None else ours):
                return LevelPlan(ours, like_theirs=theirs.same_as(ours))
            return self._rows(base, ours, theirs, links)
        if (base is None) is (theirs is None) and (base is None or base.same_as(theirs)):
            return None if ours is None else LevelPlan(ours)
        if (base is None) is (ours is None) and (base is None or base.same_as(ours)):
            return None if theirs is None else _whole(theirs)
        names = self.report.options.names
        if ours is None or theirs is None:
            one, other = names.pair("ours" if ours is None else "theirs")
            reason = f"{one} deleted it, and {other} has changed it since"
        else:
            reason = f"{names.both} made one of their own, with another grid or origin"
        choice = self.report.conflict("levels", "", reason)
        if choice == "theirs":
            return None if theirs is None else _whole(theirs)
        if self.report.options.virtual and ours is not None:
            return LevelPlan(replace(ours, facts=replace(ours.facts, coarsened={"from": -2})))
        return None if ours is None else LevelPlan(ours)

    def _rows(
        self, base: LevelIndex | None, ours: LevelIndex, theirs: LevelIndex, links: bool
    ) -> LevelPlan:
        empty = BatchTable.empty(ours.table.lo.shape[1])
        if base is None:
            base = LevelIndex(ours.path, replace(_undefined(ours.facts), groups=0), empty)
        three = Three(base, ours, theirs)
        plan = merge_added(three, self.report, links)
        if plan is not None:
            return plan
        crossed = refuse_crossings(three, self.report, self.details)
        if crossed and not self.report.options.virtual:
            # No choice resolves it, and what else would be found here may only follow from it.
            return LevelPlan(ours)
        rows = which_rows(three, self.report)
        contents = merge_contents(three, rows, self.report, self.details)
        look = Lookup(three, rows, self.report, self.details)
        numbering = merge_ids(look)
        groups = merge_groups(look, numbering)
        where = f"level {self.report.level} of dataset {self.report.dataset!r}"
        checks = Soundness(look, contents, numbering, groups, where)
        self.violations.extend(checks.violations())
        return LevelMerge(three, rows, contents, numbering, groups, self.report, links).plan()


def _alike(a: DatasetMeta, b: DatasetMeta) -> bool:
    """Whether two datasets are of one kind, so that batches of one can be in the other."""
    return (a.kind, a.chunk_shape, a.axes, a.vertex_dtype) == (
        b.kind,
        b.chunk_shape,
        b.axes,
        b.vertex_dtype,
    )


def _undefined(facts: LevelFacts) -> LevelFacts:
    for family in FAMILIES:
        facts = facts.with_family(family, {})
    return facts


def _whole(index: LevelIndex) -> LevelPlan:
    return LevelPlan(index, whole=True, like_ours=False, like_theirs=True, changed=True)


def _both_new(b: object, o: object, t: object, none: object) -> bool:
    """Whether both sides changed a key that at least one of them, or the base, does not have."""
    return o != t and b not in (o, t) and none in (b, o, t)


def _bounds(base: Box | None, ours: Box, theirs: Box) -> Box:
    def same(a: Box | None, b: Box) -> bool:
        return a is not None and np.array_equal(a.lo, b.lo) and np.array_equal(a.hi, b.hi)

    if same(base, theirs):
        return ours
    return theirs if same(base, ours) else ours.union(theirs)


def _within(table: BatchTable, bounds: Box, dtype: np.dtype[Any]) -> bool:
    """Whether all batches lie in bounds, which are as exact as coordinates are."""
    lo, hi = bounds.lo, bounds.hi
    if dtype.kind == "f":
        lo, hi = (side.astype(dtype).astype(np.float64) for side in (lo, hi))
    return bool((table.lo >= np.minimum(lo, bounds.lo)).all()) and bool(
        (table.hi <= np.maximum(hi, bounds.hi)).all()
    )


def _mark_stale(
    plans: dict[int, LevelPlan], ours: DatasetIndex, theirs: DatasetIndex
) -> dict[int, LevelPlan]:
    """Coarser levels are fresh only where a side has them so, made from the very same batches."""
    marked = dict(plans)
    for number, plan in plans.items():
        coarsened = plan.index.facts.coarsened
        if coarsened is None:
            continue
        chain, at = [number], number
        while at in plans and plans[at].index.facts.source >= 0:
            at = plans[at].index.facts.source
            chain.append(at)
        known = [plans[n] for n in chain if n in plans]
        fresh = (_fresh(ours, number) and all(p.like_ours for p in known)) or (
            _fresh(theirs, number) and all(p.like_theirs for p in known)
        )
        stale = not fresh and plan.index.facts.slots > 0
        if stale != coarsened["stale"]:
            coarsened = {**coarsened, "stale": stale}
            facts = replace(plan.index.facts, coarsened=coarsened, version=0)
            marked[number] = replace(plan, index=replace(plan.index, facts=facts), changed=True)
    return marked


def _fresh(side: DatasetIndex, number: int) -> bool:
    level = side.levels.get(number)
    coarsened = None if level is None else level.facts.coarsened
    return coarsened is not None and not coarsened["stale"]
