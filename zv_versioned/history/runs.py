"""Sets and maps of object ids, kept as runs: their cost follows the runs, not the ids.

Ids that were counted on are one run a batch however many there are, and two
branches that counted on from the same id are compared by their runs alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_NONE = np.zeros(0, np.int64)


def shown(ids: np.ndarray) -> str:
    """Some ids, as a message shows them."""
    return ", ".join(map(str, ids[:5].tolist())) + (", …" if len(ids) > 5 else "")


def spans(first: np.ndarray, count: np.ndarray) -> np.ndarray:
    """``concatenate([arange(f, f + c) for f, c in zip(first, count)])``."""
    shift = np.repeat(first - (np.cumsum(count) - count), count)
    return shift + np.arange(int(count.sum()), dtype=np.int64)


@dataclass(frozen=True)
class Runs:
    """Disjoint runs of ids, ascending, each with an owner.

    Parameters
    ----------
    first, last : ndarray of int64, shape (R,)
        Closed on both sides.
    owner : ndarray of int64, shape (R,)
        A number of the caller's: the row of a table, …
    """

    first: np.ndarray
    last: np.ndarray
    owner: np.ndarray

    @classmethod
    def none(cls) -> Runs:
        """No ids."""
        return cls(_NONE, _NONE, _NONE)

    @classmethod
    def of(cls, ids: np.ndarray, owner: int = 0) -> Runs:
        """The runs of distinct ids in any order."""
        if len(ids) == 0:
            return cls.none()
        ids = np.sort(ids)
        begins = np.flatnonzero(np.diff(ids, prepend=ids[:1] - 2) != 1)
        ends = np.append(begins[1:], len(ids)) - 1
        return cls(ids[begins], ids[ends], np.full(len(begins), owner, np.int64))

    @classmethod
    def joined(cls, parts: Sequence[Runs]) -> Runs:
        """Several sets, which have no id in common, as one."""
        parts = [part for part in parts if len(part.first)]
        if not parts:
            return cls.none()
        first = np.concatenate([p.first for p in parts])
        order = np.argsort(first, kind="stable")
        return cls(
            first[order],
            np.concatenate([p.last for p in parts])[order],
            np.concatenate([p.owner for p in parts])[order],
        )

    @classmethod
    def union(cls, parts: Sequence[Runs]) -> Runs:
        """Several sets, which may have ids in common, as one; owners are lost."""
        joined = cls.joined(parts)
        return reach(joined.first, joined.last)

    def __len__(self) -> int:
        return len(self.first)

    def ids(self) -> np.ndarray:
        """The ids themselves, ascending."""
        return spans(self.first, self.last - self.first + 1)

    def take(self, rows: np.ndarray) -> Runs:
        """Some of the runs."""
        return Runs(self.first[rows], self.last[rows], self.owner[rows])

    def meet(self, other: Runs) -> tuple[Runs, np.ndarray]:
        """What both have: its runs with our owners, and the other's owners."""
        begin = np.searchsorted(other.last, self.first, side="left")
        end = np.searchsorted(other.first, self.last, side="right")
        count = np.maximum(end - begin, 0)
        mine = np.repeat(np.arange(len(self)), count)
        its = spans(begin, count)
        first = np.maximum(self.first[mine], other.first[its])
        last = np.minimum(self.last[mine], other.last[its])
        return Runs(first, last, self.owner[mine]), other.owner[its]

    def contains(self, ids: np.ndarray) -> np.ndarray:
        """Mask of the ids that are in the set."""
        at = np.searchsorted(self.first, ids, side="right") - 1
        if len(self) == 0:
            return np.zeros(len(ids), bool)
        return np.asarray((at >= 0) & (ids <= self.last[at]))


def reach(low: np.ndarray, high: np.ndarray) -> Runs:
    """The union of closed intervals that may overlap."""
    if len(low) == 0:
        return Runs.none()
    order = np.argsort(low, kind="stable")
    low, far = low[order], np.maximum.accumulate(high[order])
    begins = np.flatnonzero(np.append(True, low[1:] > far[:-1]))
    ends = np.append(begins[1:], len(low)) - 1
    return Runs(low[begins], far[ends], np.zeros(len(begins), np.int64))


def overlapping(low: np.ndarray, high: np.ndarray, others: Runs) -> np.ndarray:
    """Mask of the closed intervals that have something in common with a set."""
    begin = np.searchsorted(others.last, low, side="left")
    end = np.searchsorted(others.first, high, side="right")
    return np.asarray(end > begin)


@dataclass(frozen=True)
class IdMap:
    """Old ids to new ids, as runs that are moved whole.

    Parameters
    ----------
    first, last : ndarray of int64, shape (R,)
        Old ids: disjoint runs, ascending.
    new : ndarray of int64, shape (R,)
        What the first id of each run becomes.
    """

    first: np.ndarray
    last: np.ndarray
    new: np.ndarray

    @classmethod
    def none(cls) -> IdMap:
        """The map that changes nothing."""
        return cls(_NONE, _NONE, _NONE)

    @classmethod
    def of(cls, old: np.ndarray, new: np.ndarray) -> IdMap:
        """From pairs of ids; those that stay are left out."""
        order = np.argsort(old, kind="stable")
        old, new = old[order], new[order]
        old, new = old[old != new], new[old != new]
        if len(old) == 0:
            return cls.none()
        begins = np.flatnonzero(np.append(True, (np.diff(old) != 1) | (np.diff(new) != 1)))
        ends = np.append(begins[1:], len(old)) - 1
        return cls(old[begins], old[ends], new[begins])

    @classmethod
    def joined(cls, maps: Sequence[IdMap]) -> IdMap:
        """Several maps, of which no two map the same id, as one."""
        maps = [one for one in maps if one]
        if not maps:
            return cls.none()
        first = np.concatenate([m.first for m in maps])
        order = np.argsort(first, kind="stable")
        return cls(
            first[order],
            np.concatenate([m.last for m in maps])[order],
            np.concatenate([m.new for m in maps])[order],
        )

    def __len__(self) -> int:
        """How many ids change."""
        return int((self.last - self.first + 1).sum())

    def __bool__(self) -> bool:
        return len(self.first) > 0

    @property
    def domain(self) -> Runs:
        """The ids that change."""
        return Runs(self.first, self.last, np.zeros(len(self.first), np.int64))

    def apply(self, ids: np.ndarray) -> np.ndarray:
        """What ids become; those that the map does not know stay."""
        if not self or len(ids) == 0:
            return ids
        at = np.searchsorted(self.first, ids, side="right") - 1
        hit = (at >= 0) & (ids <= self.last[at])
        return np.where(hit, ids - self.first[at] + self.new[at], ids)

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Old ids, ascending, and the new ones."""
        count = self.last - self.first + 1
        return spans(self.first, count), spans(self.new, count)
