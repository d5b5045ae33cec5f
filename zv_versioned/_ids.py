"""Which object ids a level has: kept in memory, batch by batch, never rebuilt.

Ids above the largest ever used are new without a look; the rest have to be
looked up. A batch never changes, so what was learned of it stays true in every
snapshot that has it, and the next append learns only what came since.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ._sets import is_in
from .format.batches import is_run
from .format.table import INDEX, BatchTable

Load = Callable[[Sequence[int]], list[tuple[np.ndarray, np.ndarray]]]


@dataclass(frozen=True)
class Ids:
    """Ascending ids of one batch; a run is kept as its ends, whatever its length.

    Parameters
    ----------
    first, last : int
    values : ndarray of int64 or None
        None for the run from first to last.
    """

    first: int
    last: int
    values: np.ndarray | None

    @classmethod
    def of(cls, ids: np.ndarray) -> Ids:
        """Keep ascending ids, at least one."""
        return cls(int(ids[0]), int(ids[-1]), None if is_run(ids) else ids)

    def array(self) -> np.ndarray:
        """The ids."""
        if self.values is None:
            return np.arange(self.first, self.last + 1, dtype=np.int64)
        return self.values

    def among(self, ids: np.ndarray) -> np.ndarray:
        """Mask of those of `ids` (distinct) that are among these."""
        if self.values is None:
            return (ids >= self.first) & (ids <= self.last)
        return is_in(ids, self.values)


def joined(parts: Sequence[Ids]) -> np.ndarray:
    """The ids of several batches, one after the other."""
    return np.concatenate([p.array() for p in parts]) if parts else np.zeros(0, np.int64)


class KnownIds:
    """The ids of the batches of one level, as a few sorted arrays.

    Batches with consecutive ids are kept as intervals, whatever their size.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._snapshot_id: str | None = None
        self._names = _names(np.zeros((0, 16), np.uint8), *np.zeros((2, 0), np.int64))
        self._intervals = np.zeros((0, 2), np.int64)
        self._sorted: list[np.ndarray] = []

    def among(
        self, ids: np.ndarray, snapshot_id: str, table: Callable[[], BatchTable], load: Load
    ) -> np.ndarray:
        """Those of `ids` that the level has at a snapshot.

        Parameters
        ----------
        ids : ndarray of int64, ascending
        snapshot_id : str
        table : callable
            Reads the level's table; not asked where the snapshot is known.
        load : callable
            Reads the ids of rows of that table.

        Returns
        -------
        ndarray of int64
        """
        with self._lock:
            if snapshot_id != self._snapshot_id:
                self._learn(table(), load)
                self._snapshot_id = snapshot_id
            taken = np.zeros(len(ids), bool)
            if len(self._intervals):
                at = np.searchsorted(self._intervals[:, 0], ids, side="right") - 1
                taken |= (at >= 0) & (ids <= self._intervals[at, 1])
            for known in self._sorted:
                at = np.minimum(np.searchsorted(known, ids), len(known) - 1)
                taken |= known[at] == ids
            return ids[taken]

    def committed(
        self, before: str, after: str, uuids: Sequence[np.ndarray], ids: Sequence[Ids]
    ) -> None:
        """Go on from one snapshot to the next, with the ids of the batches that came between."""
        with self._lock:
            if before != self._snapshot_id:
                return
            runs = [(part.first, part.last) for part in ids if part.values is None]
            self._add(
                np.array(runs, np.int64).reshape(-1, 2),
                [part.values for part in ids if part.values is not None],
            )
            first = np.array([part.first for part in ids], np.int64)
            uuid = np.array(uuids, np.uint8).reshape(-1, 16)
            self._names = np.append(self._names, _names(uuid, first, np.zeros_like(first)))
            self._snapshot_id = after

    def _learn(self, table: BatchTable, load: Load) -> None:
        names = _names(table.uuid, table.id_min, table.content(INDEX))
        # Most of them stand where they stood: what else there is is looked at one by one.
        n = min(len(names), len(self._names))
        differ = np.flatnonzero(names[:n] != self._names[:n])
        same = int(differ[0]) if len(differ) else n
        known, now = set(self._names[same:].tolist()), names[same:].tolist()
        if not known.issubset(now):
            self._forget()  # another branch, or one that was reset
            known, now, same = set(), names.tolist(), 0
        at = np.array([same + row for row, name in enumerate(now) if name not in known], np.int64)
        run = table.id_max[at] - table.id_min[at] == table.n_objects[at] - 1
        plain = run & (table.content(INDEX)[at] == 0)
        rows = at[~plain].tolist()
        runs = np.stack([table.id_min[at[plain]], table.id_max[at[plain]]], axis=1)
        self._add(runs, [ids for ids, _ in load(rows)] if rows else [])
        self._names = names

    def _add(self, runs: np.ndarray, arrays: list[np.ndarray]) -> None:
        self._intervals = _union(np.concatenate([self._intervals, runs]))
        self._sorted += [np.sort(np.concatenate(arrays))] if arrays else []
        # Merge neighbours of like size, as a log-structured tree does: few arrays, little copying.
        self._sorted.sort(key=len, reverse=True)
        while len(self._sorted) > 1 and len(self._sorted[-2]) < 2 * len(self._sorted[-1]):
            self._sorted[-2:] = [np.sort(np.concatenate(self._sorted[-2:]), kind="stable")]


def _names(uuid: np.ndarray, first: np.ndarray, index: np.ndarray) -> np.ndarray:
    """What the ids of each batch are known under: (n,) of 32 bytes.

    A merge may have given a batch's ids anew on one branch, and not on another.
    """
    numbers = np.stack([first, index], axis=1).astype("<i8", copy=False).view(np.uint8)
    return np.concatenate([uuid, numbers], axis=1).view("V32").reshape(-1)


def _union(intervals: np.ndarray) -> np.ndarray:
    """Closed intervals, sorted, with those that overlap or touch made one."""
    if len(intervals) < 2:
        return intervals
    intervals = intervals[np.argsort(intervals[:, 0], kind="stable")]
    reach = np.maximum.accumulate(intervals[:, 1])
    first = np.concatenate(([True], intervals[1:, 0] - 1 > reach[:-1]))
    last = np.append(first[1:], True)
    return np.stack([intervals[first, 0], reach[last]], axis=1)
