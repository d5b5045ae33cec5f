"""What a commit did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from . import _paths
from ._ids import Ids, joined
from ._words import counted
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
    committed : bool
        Always True; a commit that cannot be made raises.

    Attributes
    ----------
    object_ids : ndarray of int64, or dict of str to ndarray
        Ids of the new objects: of a writer's commit an array, of a
        transaction's one array a level, by the level's dataset (and, beyond
        level 0, ``dataset/level``).
    """

    snapshot_id: str
    branch: str
    message: str
    objects_committed: int
    vertices_committed: int
    committed: bool = True
    _ids: Mapping[str, Sequence[Ids]] = field(default_factory=dict, repr=False)
    _counts: Mapping[str, tuple[int, int]] = field(default_factory=dict, repr=False)
    _level: str | None = None

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

    @cached_property
    def object_ids(self) -> Any:
        """Ids of the new objects; made when they are asked for."""
        if self._level is not None:
            return joined(self._ids.get(self._level, ()))
        return {name: joined(ids) for name, ids in self._ids.items()}

    def for_level(self, dataset: str, level: int) -> CommitResult:
        """The part of the result that concerns one level: what a writer's commit returns."""
        name = stage_name(dataset, level)
        vertices, objects = self._counts.get(name, (0, 0))
        return replace(self, vertices_committed=vertices, objects_committed=objects, _level=name)

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
            f"{counted(self.vertices_committed, 'new vertex', 'new vertices')}, "
            f"{counted(self.objects_committed, 'new object')}>"
        )

    def _repr_html_(self) -> str:
        return html_table("Commit", self._facts())


def stage_name(dataset: str, level: int) -> str:
    """How a result names a level: the dataset, and the level where it is not 0."""
    return dataset if level == 0 else _paths.join(dataset, str(level))


def describe(changes: Mapping[str, Any]) -> list[str]:
    """What was changed of one level, in words that its name can follow."""
    parts = []
    if changes.get("batches_added"):
        parts.append(
            f"append {counted(changes['vertices_added'], 'vertex', 'vertices')} in "
            f"{counted(changes['objects_added'], 'new object')} to"
        )
    if changes.get("objects_removed"):
        parts.append(f"remove {counted(changes['objects_removed'], 'object')} from")
    if changes.get("batches_merged"):
        merged, made = changes["batches_merged"], changes["batches_made"]
        these = counted(merged, "batch", "batches")
        parts.append(f"merge {these} into {made:,} (vertices are numbered anew) of")
    for key, verb in (("attributes_written", "write"), ("attributes_dropped", "drop")):
        if changes.get(key):
            parts.append(f"{verb} {', '.join(changes[key])} of")
    told = {
        "groups_written": "change the groups of",
        "metadata_changed": "change the metadata of",
        "level_created": "create level",
        "level_deleted": "delete level",
    }
    parts += [verb for key, verb in told.items() if changes.get(key)]
    return parts or ["mark as stale" if changes.get("stale") else "change"]
