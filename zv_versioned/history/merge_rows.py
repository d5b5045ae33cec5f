"""The merge of one level: which batches stay, come and go.

Batches are matched by uuid, never by slot. A batch is immutable; what may differ
between two sides for the same batch has a content id in the table, so equal
contents are known to be equal without a look at them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from .._sets import union, without
from ..format.table import INDEX, BatchTable
from .conflicts import Conflict
from .index import LevelIndex, Uuid
from .rows import Side, find, pick
from .runs import shown

Choose: TypeAlias = Callable[[Conflict], "str | None"]

_NONE = np.zeros(0, np.int64)
NOTHING = -1
"""A content id that no content has: the base where its own parents disagree."""


def undecided(conflict: Conflict) -> str | None:
    """Leaves every conflict open."""
    return None


@dataclass(frozen=True)
class Names:
    """What the two sides of a merge are called to whoever is told of a conflict."""

    ours: str = "this side"
    theirs: str = "the other side"
    both: str = "both sides"

    @classmethod
    def of(cls, theirs: str) -> Names:
        """A branch, and what is done to it: a transaction, a revert."""
        return cls("the branch", theirs, f"both the branch and {theirs}")

    def pair(self, first: Side) -> tuple[str, str]:
        """A side, and the other one."""
        names = (self.ours, self.theirs)
        return names if first == "ours" else (names[1], names[0])


@dataclass(frozen=True)
class Options:
    """How to merge.

    Parameters
    ----------
    choose : callable
        Given a conflict, says "ours", "theirs", or None where it stays open.
    load : callable, optional
        Reads the three values of a conflict, when somebody asks for them.
    renumber : bool
        Count ids that clash anew, also where they were given.
    undo : bool
        A revert: what takes batches away wins over what was changed of them,
        and batches that come back do so in their old slot.
    virtual : bool
        The result is the base of another merge: what is in conflict becomes
        something that neither side has.
    names : Names
        What the sides are called.
    """

    choose: Choose = undecided
    load: Callable[[Conflict], tuple[Any, ...]] | None = None
    renumber: bool = False
    undo: bool = False
    virtual: bool = False
    names: Names = Names()


@dataclass
class Report:
    """Collects what is found on the way."""

    options: Options
    dataset: str = ""
    level: int | None = None
    conflicts: list[Conflict] = field(default_factory=list)

    def conflict(self, kind: str, key: str, reason: str, **more: Any) -> str | None:
        """Record a conflict; returns what was chosen for it."""
        where = f"dataset {self.dataset!r}"
        if self.level:
            where = f"level {self.level} of {where}"
        subject = {
            "attribute": f"values of {key!r} of ",
            "definition": f"{key!r} of ",
            "metadata": f"metadata {key!r} of ",
            "objects": f"objects {shown(more.get('objects', _NONE))} of ",
        }.get(kind, "")
        what = f"{subject}{where}: {reason}"
        found = Conflict(kind, self.dataset, self.level, key, what, _load=self.options.load, **more)
        choice = None if self.options.virtual else self.options.choose(found)
        self.conflicts.append(replace(found, choice=choice))
        return choice


@dataclass(frozen=True)
class Rows:
    """The rows of a result, by where each comes from; -1 where a side has no such batch.

    Parameters
    ----------
    base, ours, theirs : ndarray of int64, shape (R,)
        Rows of the three tables.
    """

    base: np.ndarray
    ours: np.ndarray
    theirs: np.ndarray

    @property
    def both(self) -> np.ndarray:
        """Mask of the batches that both sides have."""
        return np.asarray((self.ours >= 0) & (self.theirs >= 0))


@dataclass(frozen=True)
class Three:
    """The three sides of a level."""

    base: LevelIndex
    ours: LevelIndex
    theirs: LevelIndex

    @property
    def tables(self) -> tuple[BatchTable, BatchTable, BatchTable]:
        """Their tables."""
        return self.base.table, self.ours.table, self.theirs.table

    def content(self, rows: Rows, path: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Content ids of an array on the three sides; 0 where a side has none."""
        base, ours, theirs = self.tables
        return (
            pick(base.content(path), rows.base),
            pick(ours.content(path), rows.ours),
            pick(theirs.content(path), rows.theirs),
        )

    def uuids(self, rows: Rows, which: np.ndarray) -> tuple[Uuid, ...]:
        """The names of some batches of the result."""
        _, ours, theirs = self.tables
        return tuple(
            bytes(ours.uuid[o] if o >= 0 else theirs.uuid[t])
            for o, t in zip(rows.ours[which].tolist(), rows.theirs[which].tolist(), strict=True)
        )


# ---- which batches -----------------------------------------------------------


def which_rows(three: Three, report: Report) -> Rows:
    """The batches of the result: ours in their order, then those that theirs adds."""
    base, ours, theirs = three.tables
    ours_base, ours_theirs = find(ours.uuid, base.uuid), find(ours.uuid, theirs.uuid)
    theirs_base, theirs_ours = find(theirs.uuid, base.uuid), find(theirs.uuid, ours.uuid)
    add = (theirs_ours < 0) & (theirs_base < 0)
    # A revert takes an append away whatever was done to it since; not so what others took the
    # place of, since the objects are still there.
    forget = report.options.undo and not add.any()
    keep = (ours_theirs >= 0) | (ours_base < 0)
    gone = np.flatnonzero(~keep)
    keep[gone] = _stays(ours, gone, base, ours_base[gone], report, "theirs", forget)
    gone = np.flatnonzero((theirs_ours < 0) & (theirs_base >= 0))
    add[gone] = _stays(theirs, gone, base, theirs_base[gone], report, "ours", forget)
    k, a = np.flatnonzero(keep), np.flatnonzero(add)
    return Rows(
        np.concatenate([ours_base[k], theirs_base[a]]),
        np.concatenate([k, np.full(len(a), -1)]),
        np.concatenate([ours_theirs[k], a]),
    )


def _stays(
    table: BatchTable,
    rows: np.ndarray,
    base: BatchTable,
    base_rows: np.ndarray,
    report: Report,
    remover: Side,
    forget: bool,
) -> np.ndarray:
    """Which batches stay though one side has removed them: those that the other has changed."""
    names = (table.contents.keys() | base.contents.keys()) - {INDEX}
    changed = np.zeros(len(rows), bool)
    for name in names:
        changed |= pick(table.content(name), rows) != pick(base.content(name), base_rows)
    if forget or not changed.any():
        return np.zeros(len(rows), bool)
    one, other = report.options.names.pair(remover)
    choice = report.conflict(
        "batch",
        "",
        f"{one} removed batches that {other} has changed since (an attribute was "
        "written over them, or objects in them removed)",
        batches=tuple(bytes(table.uuid[row]) for row in rows[changed].tolist()),
    )
    return changed & (choice != remover)


# ---- names and sets ---------------------------------------------------------


def rows_name(three: Three, rows: Rows, row: int) -> bytes:
    """The uuid of one batch of the result."""
    ours, theirs = int(rows.ours[row]), int(rows.theirs[row])
    return bytes(three.ours.table.uuid[ours] if ours >= 0 else three.theirs.table.uuid[theirs])


def content_of(name: bytes, *values: np.ndarray) -> int:
    """A content id that follows from the content, so that two who merge the same agree.

    Nothing has the id 0.
    """
    if not any(len(value) for value in values):
        return 0
    digest = hashlib.blake2b(name, digest_size=8)
    for value in values:
        digest.update(np.ascontiguousarray(value).tobytes())
        digest.update(len(value).to_bytes(8, "little"))
    return (int.from_bytes(digest.digest(), "little") >> 1) or 1


def merge_sets(base: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Three-way merge of sets (ascending, distinct): never a conflict."""
    added = without(theirs, base)
    taken = without(base, theirs)
    return without(union(ours, added), taken)
