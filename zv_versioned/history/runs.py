"""Maps of object ids, kept as runs: their cost follows the runs, not the ids.

Ids that were counted on are one run a batch however many there are, and are
moved as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..spatial.assign import spans

_NONE = np.zeros(0, np.int64)


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
    def joined(cls, maps: Sequence[IdMap]) -> IdMap:
        """Several maps, of which no two map the same id, as one."""
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

    def contains(self, ids: np.ndarray) -> np.ndarray:
        """Mask of the ids that change."""
        if not self:
            return np.zeros(len(ids), bool)
        at = np.searchsorted(self.first, ids, side="right") - 1
        return np.asarray((at >= 0) & (ids <= self.last[at]))

    def apply(self, ids: np.ndarray) -> np.ndarray:
        """What ids become; those that the map does not know stay."""
        if not self:
            return ids
        at = np.searchsorted(self.first, ids, side="right") - 1
        return np.where(self.contains(ids), ids - self.first[at] + self.new[at], ids)

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Old ids, ascending, and the new ones."""
        count = self.last - self.first + 1
        return spans(self.first, count), spans(self.new, count)
