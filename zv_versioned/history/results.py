"""What a merge, a revert or a cherry-pick did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..geometry import html_table
from ..result import stage_name
from .conflicts import Conflict
from .index import Index
from .merge import Merged


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
        than ours had, and attributes written.
    conflicts : tuple of Conflict
        Those that were resolved, each with its ``choice``.
    renumbered : dict of str to (ndarray, ndarray)
        For each level, old and new ids of objects that got another.
    kind : str
        ``"merge"``, ``"fast-forward"``, ``"up to date"``, ``"nothing to do"`` or
        ``"dry run"``.
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
    kind: str = "merge"

    def _facts(self) -> list[tuple[str, str]]:
        facts = [
            ("what", self.kind),
            ("branch", f"{self.branch}: {self.ours} → {self.snapshot_id}"),
            ("merged", self.theirs),
            ("base", ", ".join(self.base) or "none"),
        ]
        for name, change in self.changes.items():
            told = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in change.items())
            facts.append((f"dataset {name!r}", told))
        for conflict in self.conflicts:
            facts.append((f"resolved for {conflict.choice}", conflict.what))
        for name, (old, _) in self.renumbered.items():
            facts.append((f"new ids in {name!r}", f"{len(old):,} objects"))
        return facts

    def __repr__(self) -> str:
        return "<MergeResult: " + ", ".join(f"{k} {v}" for k, v in self._facts()) + ">"

    def _repr_html_(self) -> str:
        return html_table("Merge", self._facts())

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
            "renumbered": {
                name: {"old": old.tolist(), "new": new.tolist()}
                for name, (old, new) in self.renumbered.items()
            },
        }  # fmt: skip


def counts_of(ours: Index, merged: Merged) -> dict[str, Any]:
    """What a merge changes, level by level, beside what ours had."""
    found: dict[str, Any] = {}
    for name in ours.keys() - merged.index.keys():
        found[name] = {"dataset_removed": True}
    for (name, number), level in merged.levels.items():
        mine = ours[name].levels.get(number) if name in ours else None
        facts, table = level.index.facts, level.index.table
        change: dict[str, Any] = {
            "batches_added": sum(move.content is None for move in level.moves),
            "vertices_added": facts.vertex_count - (mine.facts.vertex_count if mine else 0),
            "objects_added": facts.num_objects - (mine.facts.num_objects if mine else 0),
        }
        if level.deleted:
            change["batches_removed"] = len(level.deleted)
        written = {move.content for move in level.moves} | {path for _, path in level.emptied}
        if mine is not None:
            known, now = (
                {p for p, ids in t.contents.items() if ids.any()} for t in (mine.table, table)
            )
            written |= known ^ now
        names = sorted(path for path in written if path and not path.startswith("batches/"))
        if names:
            change["attributes_written"] = names
        if level.renumbered:
            change["objects_renumbered"] = len(level.renumbered)
        found[stage_name(name, number)] = change
    return found
