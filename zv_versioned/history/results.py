"""What a merge, a revert or a cherry-pick did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._words import counted
from ..format.metadata import FAMILIES
from ..format.table import BatchTable
from ..geometry import html_table
from ..result import stage_name
from .conflicts import Conflict
from .index import Index, LevelIndex
from .merge import Merged
from .rows import find

_DONE = {"merge": "merged", "revert": "reverted", "cherry-pick": "picked"}


@dataclass(frozen=True)
class MergeResult:
    """What a merge, a revert or a cherry-pick did.

    Parameters
    ----------
    snapshot_id : str
        The tip of the branch now; as it was, where nothing was done.
    branch : str
    message : str
        Of the commit.
    base : tuple of str
        The snapshots that both sides come from; several after a criss-cross.
    ours, theirs : str
        The tip as it was, and what was merged.
    changes : dict
        For each level, by dataset: batches, vertices and objects more or less
        than ours had, and attributes written and dropped.
    conflicts : tuple of Conflict
        Those that were resolved, each with its ``choice``.
    renumbered : dict of str to (ndarray, ndarray)
        For each level, old and new ids of objects of theirs that got another.
    renumbered_ours : dict of str to (ndarray, ndarray)
        The same of ours: only where a conflict of ids was resolved for theirs.
    kind : str
        ``"merge"``, ``"fast-forward"``, ``"up to date"``, ``"nothing to do"`` or
        ``"dry run"``.
    verb : str
        ``"merge"``, ``"revert"`` or ``"cherry-pick"``.
    """

    snapshot_id: str
    branch: str
    message: str
    base: tuple[str, ...]
    ours: str
    theirs: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    conflicts: tuple[Conflict, ...] = ()
    renumbered: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    renumbered_ours: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    kind: str = "merge"
    verb: str = "merge"

    @property
    def source(self) -> str:
        """The snapshot that was merged or picked, or that whose commit was reverted."""
        return self.base[0] if self.verb == "revert" else self.theirs

    def _facts(self) -> list[tuple[str, str]]:
        facts = [
            ("what", self.verb if self.kind == "merge" else self.kind),
            ("branch", f"{self.branch}: {self.ours} → {self.snapshot_id}"),
            (_DONE[self.verb], self.source),
        ]
        if self.verb == "merge":
            facts.append(("base", ", ".join(self.base) or "none"))
        for name, change in self.changes.items():
            told = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in change.items())
            facts.append((f"dataset {name!r}", told))
        for conflict in self.conflicts:
            facts.append((f"resolved for {conflict.choice}", conflict.what))
        for name, (old, _) in self.renumbered.items():
            facts.append((f"new ids in {name!r}", counted(len(old), "object")))
        return facts

    def __repr__(self) -> str:
        return "<MergeResult: " + ", ".join(f"{k} {v}" for k, v in self._facts()) + ">"

    def _repr_html_(self) -> str:
        return html_table(self.verb.capitalize(), self._facts())

    def to_dict(self) -> dict[str, Any]:
        """The result as plain values, for JSON."""
        return {
            "kind": self.kind,
            "snapshot_id": self.snapshot_id,
            "branch": self.branch,
            "message": self.message,
            "base": list(self.base),
            "ours": self.ours,
            "theirs": self.theirs,
            "changes": {name: dict(change) for name, change in self.changes.items()},
            "conflicts": [
                {"kind": c.kind, "dataset": c.dataset, "level": c.level, "key": c.key,
                 "what": c.what, "choice": c.choice}
                for c in self.conflicts
            ],
            "renumbered": _pairs(self.renumbered),
            "renumbered_ours": _pairs(self.renumbered_ours),
        }  # fmt: skip

    def to_pandas(self) -> Any:
        """A row for each level that changed: a pandas.DataFrame.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        import pandas as pd

        return pd.DataFrame([{"dataset": name, **change} for name, change in self.changes.items()])


def _pairs(renumbered: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, Any]:
    return {
        name: {"old": old.tolist(), "new": new.tolist()} for name, (old, new) in renumbered.items()
    }


def counts_of(ours: Index, merged: Merged) -> dict[str, Any]:
    """What a merge changes, level by level, beside what ours had."""
    found: dict[str, Any] = {}
    for name in ours.keys() - merged.datasets.keys():
        found[name] = {"dataset_removed": True}
    for (name, number), plan in merged.levels.items():
        mine = ours[name].levels.get(number) if name in ours else None
        change = _changes(mine, plan.index)
        renumbered = len(plan.theirs) + len(plan.ours)
        if renumbered:
            change["objects_renumbered"] = renumbered
        found[stage_name(name, number)] = change
    for name, dataset in merged.datasets.items():
        if name in ours and ours[name].meta.metadata != dataset.meta.metadata:
            before, now = ours[name].meta.metadata, dataset.meta.metadata
            keys = {k for k in {*before, *now} if before.get(k) != now.get(k)}
            found.setdefault(name, {})["metadata_changed"] = sorted(keys)
        for number in ours[name].levels.keys() - dataset.levels.keys() if name in ours else ():
            found[stage_name(name, number)] = {"level_deleted": True}
    return found


def _changes(mine: LevelIndex | None, now: LevelIndex) -> dict[str, Any]:
    before = BatchTable.empty(now.table.lo.shape[1]) if mine is None else mine.table
    facts = None if mine is None else mine.facts
    known = find(now.table.uuid, before.uuid)
    stays = np.flatnonzero(known >= 0)
    change: dict[str, Any] = {
        "batches_added": len(now.table) - len(stays),
        "vertices_added": now.facts.vertex_count - (facts.vertex_count if facts else 0),
        "objects_added": now.facts.num_objects - (facts.num_objects if facts else 0),
    }
    if len(stays) < len(before):
        change["batches_removed"] = len(before) - len(stays)
    names, dropped = [], []
    for family in FAMILIES:
        old = {} if facts is None else facts.family(family)
        new = now.facts.family(family)
        for name in sorted({*old, *new}):
            path = f"{family}/{name}"
            differs = before.content(path)[known[stays]] != now.table.content(path)[stays]
            if name not in new:
                dropped.append(path)
            elif differs.any() or old.get(name) != new[name]:
                names.append(path)
    if names:
        change["attributes_written"] = names
    if dropped:
        change["attributes_dropped"] = dropped
    return change
