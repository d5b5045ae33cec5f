"""A merge with the tip of a branch: its sides, its result, and how that is written and checked.

What merges, reverts and picks have in common with a commit that lost the race.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ViolationError
from .checks import violations
from .conflicts import refused
from .details import Origin, Snapshot, Source, StoredDetails
from .graph import History
from .index import Index
from .log import own_facts
from .merge import Merged, merge_index
from .merge_rows import Options
from .transplant import Report, stamp, transplant

if TYPE_CHECKING:
    from .._cache import Cache
    from ..repository import Repository
    from ..storage import Backend

__all__ = ["Sides", "commit_of", "merged_index", "write"]


@dataclass(frozen=True)
class Sides:
    """What is merged into a branch.

    Parameters
    ----------
    base : Index
    origin : Origin
        What is asked of the base beyond its tables.
    theirs : Index
    source : Source
        Where theirs is.
    """

    base: Index
    origin: Origin
    theirs: Index
    source: Source

    def details(self, ours: Index, store: Any, parts: Cache) -> StoredDetails:
        """What a merge with the tip of a branch may ask."""
        return StoredDetails(
            self.origin,
            Snapshot(ours, Source(store), parts),
            Snapshot(self.theirs, self.source, parts),
        )


def merged_index(
    sides: Sides,
    details: StoredDetails,
    options: Options,
    describe: str,
    commit_of: Callable[[str], str | None] | None = None,
) -> Merged:
    """Merge.

    Raises
    ------
    ConflictError
        If there are conflicts that nobody has decided.
    ViolationError
        If the result would not be sound.
    """
    merged = merge_index(sides.base, details.ours.index, sides.theirs, details, options)
    if merged.open:
        raise refused(merged.open, describe, commit_of)
    _refuse(merged.violations)
    return merged


def write(
    repository: Repository,
    session: Any,
    sides: Sides,
    details: StoredDetails,
    merged: Merged,
    name: str,
    *,
    copy: bool = False,
    carried: bool = False,
    others: Set[str] = frozenset(),
    root: Mapping[str, Any] | None = None,
    progress: Report | None = None,
) -> Index:
    """Write a merge into a session at the tip of ours, and check it.

    Raises
    ------
    ViolationError
        If the result would not be sound.
    """
    index = transplant(
        repository._backend, session, sides.source, details, merged,
        copy=copy, carried=carried, others=others, root=root, progress=progress,
    )  # fmt: skip
    if not session.has_uncommitted_changes:
        # icechunk 1 makes no commit of nothing, and the history must know of this one.
        stamp(session.store, name)
    _refuse(violations(session.store, repository._parts, index, merged.levels))
    return index


def _refuse(wrong: list[str]) -> None:
    if wrong:
        raise ViolationError(
            "the result would not be sound: " + "; ".join(wrong[:5]) + ". Nothing was changed",
            wrong,
        )


def commit_of(backend: Backend, transaction: str, tips: Iterable[str]) -> str | None:
    """The snapshot that a transaction made, of those that led to some others."""
    history = History(backend)
    for info in (info for tip in tips for info in history.walk(tip)):
        if own_facts(info.metadata).get("transaction") == transaction:
            return info.id
    return None
