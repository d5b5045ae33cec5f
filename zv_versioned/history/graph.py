"""The graph of commits: each with its first parent, and merges with a second.

icechunk knows the first parent alone; the second stands in the commit's
metadata.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .log import parents_of

if TYPE_CHECKING:
    from ..storage import Backend, SnapshotInfo


class History:
    """Commits by snapshot id, read along lines of first parents and remembered.

    Parameters
    ----------
    backend : Backend
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._known: dict[str, SnapshotInfo] = {}
        self._lines: list[Iterator[SnapshotInfo]] = []

    def __getitem__(self, snapshot_id: str) -> SnapshotInfo:
        if snapshot_id not in self._known:
            for line in self._lines:
                # A parent is mostly the next on a line that was begun already.
                info = next(line, None)
                if info is not None:
                    self._known[info.id] = info
                if snapshot_id in self._known:
                    return self._known[snapshot_id]
            line = self._backend.ancestry(snapshot_id)
            self._lines.append(line)
            info = next(line)
            self._known[info.id] = info
        return self._known[snapshot_id]

    def parents(self, snapshot_id: str) -> tuple[str, ...]:
        """The parents of a commit."""
        return parents_of(self[snapshot_id])

    def walk(self, snapshot_id: str) -> Iterator[SnapshotInfo]:
        """A commit and all that led to it, over both parents, newest first."""
        seen = {snapshot_id}
        waiting = [self._entry(snapshot_id, 0)]
        count = 0
        while waiting:
            _, _, current = heapq.heappop(waiting)
            info = self[current]
            yield info
            for parent in parents_of(info):
                if parent not in seen:
                    seen.add(parent)
                    count += 1
                    heapq.heappush(waiting, self._entry(parent, count))

    def _entry(self, snapshot_id: str, count: int) -> tuple[float, int, str]:
        return (-self[snapshot_id].written_at.timestamp(), count, snapshot_id)

    def ancestors(self, snapshot_id: str) -> set[str]:
        """A commit and all that led to it."""
        seen: set[str] = set()
        waiting = [snapshot_id]
        while waiting:
            current = waiting.pop()
            if current not in seen:
                seen.add(current)
                waiting += self.parents(current)
        return seen

    def merge_bases(self, a: str, b: str) -> list[str]:
        """The best common ancestors of two commits: those no other one descends from.

        Mostly one. There are several after a criss-cross: each side merged an
        earlier tip of the other. None where the two have nothing in common.
        """
        of_a = self.ancestors(a)
        found: list[str] = []
        seen: set[str] = set()
        waiting = [b]
        while waiting:
            current = waiting.pop()
            if current in seen:
                continue
            seen.add(current)
            if current in of_a:
                found.append(current)
            else:
                waiting += self.parents(current)
        if len(found) < 2:
            return found
        above: set[str] = set()
        for candidate in found:
            for parent in self.parents(candidate):
                above |= self.ancestors(parent)
        return sorted(candidate for candidate in found if candidate not in above)
