"""What a merge decides of one level, and how conflicts are decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from .conflicts import Conflict
from .index import LevelIndex, Uuid
from .runs import IdMap

Choose = Callable[[Conflict], str]
"""Given a conflict, says "ours" or "theirs"; raises where it is not to be resolved."""


@dataclass
class Context:
    """How a merge goes about conflicts, and those that it met."""

    choose: Choose
    reverting: bool
    conflicts: list[Conflict] = field(default_factory=list)

    def theirs(self, conflict: Conflict) -> bool:
        """Whether a conflict is resolved for theirs."""
        choice = self.choose(conflict)
        self.conflicts.append(replace(conflict, choice=choice))
        return choice == "theirs"


@dataclass(frozen=True)
class Move:
    """Cells of one batch that are to be carried over.

    Parameters
    ----------
    uuid : bytes
    source, target : int
        The slot in theirs and the slot that it has in the result.
    content : str or None
        The array; None for the whole batch.
    """

    uuid: Uuid
    source: int
    target: int
    content: str | None


@dataclass(frozen=True)
class MergedLevel:
    """A level of the result, and what has to be done for it.

    Parameters
    ----------
    index : LevelIndex
        Its facts are right but for the counts of removed vertices and links where
        `recount` names a batch.
    moves : list of Move
    deleted : list of bytes
        Batches that ours has and the result has not.
    emptied : list of (bytes, str)
        Contents that ours has of a batch and the result has not.
    removed : mapping of bytes to ndarray of int64
        Rows of removed objects that neither side has just so.
    groups : mapping of str to ndarray, "theirs", or None
        The groups to write, or whose; None where ours stay.
    renumbered : IdMap
        Ids of objects of theirs that became others.
    created : bool
        Whether the level is new to ours.
    """

    index: LevelIndex
    moves: list[Move] = field(default_factory=list)
    deleted: list[Uuid] = field(default_factory=list)
    emptied: list[tuple[Uuid, str]] = field(default_factory=list)
    removed: dict[Uuid, np.ndarray] = field(default_factory=dict)
    groups: Mapping[str, np.ndarray] | str | None = None
    renumbered: IdMap = field(default_factory=IdMap.none)
    created: bool = False

    @property
    def written(self) -> bool:
        """Whether there is anything to be carried, deleted or written."""
        return bool(
            self.moves or self.deleted or self.emptied or self.removed or self.groups is not None
        )
