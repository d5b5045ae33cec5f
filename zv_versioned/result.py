"""What a commit did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from . import _paths
from .geometry import html_table


@dataclass(frozen=True, eq=False)
class CommitResult(Mapping[str, Any]):
    """What a commit did; attributes and mapping keys are the same.

    Parameters
    ----------
    snapshot_id : str
        The new snapshot; where nothing was staged, the one that was there.
    branch : str
    message : str
    objects_committed, vertices_committed : int
        New objects and new vertices.
    object_ids : ndarray of int64, or dict of str to ndarray
        Ids of the new objects: of a writer's commit an array, of a
        transaction's one array a level, by the level's dataset (and, beyond
        level 0, ``dataset/level``).
    committed : bool
        Always True; a commit that cannot be made raises.
    """

    snapshot_id: str
    branch: str
    message: str
    objects_committed: int
    vertices_committed: int
    object_ids: Any
    committed: bool = True
    _stages: dict[str, tuple[int, int, np.ndarray]] = field(default_factory=dict, repr=False)

    _KEYS = (
        "committed",
        "objects_committed",
        "vertices_committed",
        "snapshot_id",
        "object_ids",
        "branch",
        "message",
    )

    def __getitem__(self, key: str) -> Any:
        if key not in self._KEYS:
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._KEYS)

    def __len__(self) -> int:
        return len(self._KEYS)

    def for_level(self, dataset: str, level: int) -> CommitResult:
        """The part of the result that concerns one level: what a writer's commit returns."""
        none = (0, 0, np.zeros(0, np.int64))
        vertices, objects, ids = self._stages.get(stage_name(dataset, level), none)
        return replace(self, vertices_committed=vertices, objects_committed=objects, object_ids=ids)

    def _facts(self) -> list[tuple[str, str]]:
        return [
            ("snapshot", self.snapshot_id),
            ("branch", self.branch),
            ("message", self.message),
            ("new vertices", f"{self.vertices_committed:,}"),
            ("new objects", f"{self.objects_committed:,}"),
        ]

    def __repr__(self) -> str:
        return (
            f"<CommitResult: {self.snapshot_id} on {self.branch!r}, "
            f"{self.vertices_committed:,} new vertices, {self.objects_committed:,} new objects>"
        )

    def _repr_html_(self) -> str:
        return html_table("Commit", self._facts())


def stage_name(dataset: str, level: int) -> str:
    """How a result names a level: the dataset, and the level where it is not 0."""
    return dataset if level == 0 else _paths.join(dataset, str(level))
