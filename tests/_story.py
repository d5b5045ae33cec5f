"""A repository of points with a history: commits by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import zv_versioned as zvv


class Story:
    """A repository, and the ids of its commits by the message.

    Parameters
    ----------
    location : str or Path
    """

    def __init__(self, location: str | Path, **options: Any) -> None:
        self.repo = zvv.Repository.create(location, **options)
        self.ids: dict[str, str] = {"root": self.repo.resolve("main")}
        self.count = 0
        with self.repo.transaction(message="begin") as tx:
            tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [9, 9]))
        self._name("begin", tx)

    def _name(self, message: str, tx: zvv.Transaction) -> None:
        assert tx.result is not None
        self.ids[message] = tx.result.snapshot_id

    def append(self, message: str, branch: str = "main") -> str:
        """Two points; the first coordinate counts on, so that no two commits are alike."""
        self.count += 1
        points = np.full((2, 2), [self.count % 9, self.count // 9 % 9], "f4")
        with self.repo.transaction(branch, message=message) as tx:
            ids = [2 * self.count, 2 * self.count + 1]
            tx.writer("p").append_vertices_sync(points, object_ids=ids)
        self._name(message, tx)
        return self.ids[message]

    def merge(self, message: str, source: str, into: str = "main") -> str:
        self.ids[message] = self.repo.merge(source, into=into, message=message).snapshot_id
        return self.ids[message]

    def log(self, ref: str) -> list[str]:
        """The messages of the commits that led to a ref, newest first, as the log has them."""
        names = {snapshot: name for name, snapshot in self.ids.items()}
        return [names[commit.snapshot_id] for commit in self.repo.log(ref)]

    def parents(self, name: str) -> list[str]:
        """The parents of a commit, by name."""
        names = {snapshot: name for name, snapshot in self.ids.items()}
        return [names[parent] for parent in self.repo.log(self.ids[name], limit=1)[0].parents]

    def named(self, snapshots: Any) -> set[str]:
        """Snapshots by name."""
        names = {snapshot: name for name, snapshot in self.ids.items()}
        return {names[snapshot] for snapshot in snapshots}
