"""Which commits objects came from, and which touched one: from tables and the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _state
from .._checks import ids_asked_for, is_whole
from .._sets import distinct, without
from .._words import counted
from ..errors import ArrayError, NotFoundError
from ..format.table import origin_of
from ..geometry import html_table
from ..reading.reader import LevelReader
from ..reading.removed import removed_rows
from ..result import stage_name
from .graph import History
from .log import CommitInfo, CommitLog, own_facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..repository import Repository


@dataclass(frozen=True, eq=False)
class Blame:
    """Which commit brought the vertices of objects.

    Parameters
    ----------
    object_ids : ndarray of int64, shape (K,)
        Ascending; an id comes once for each commit that brought vertices of it.
    commit : ndarray of int64, shape (K,)
        Which of `commits` it was; ``len(commits)`` where it is in the history no more,
        because it has expired or was picked from elsewhere.
    batches : ndarray of int64, shape (K,)
        The slot of the batch.
    commits : list of CommitInfo
        Those that are in the history, newest first.
    origins : ndarray of int64, shape (K,)
        The number of the transaction, which a batch keeps whatever became of its commit.
    """

    object_ids: np.ndarray
    commit: np.ndarray
    batches: np.ndarray
    commits: CommitLog
    origins: np.ndarray

    @property
    def expired(self) -> np.ndarray:
        """Mask of the rows whose commit is in the history no more: (K,) bool."""
        return np.asarray(self.commit == len(self.commits))

    def __len__(self) -> int:
        return len(self.object_ids)

    def __getitem__(self, object_id: int) -> CommitLog:
        """The commits of one object, newest first: those that are in the history."""
        at = distinct(self.commit[self.object_ids == object_id])
        if len(at) == 0:
            raise NotFoundError(f"no object {object_id!r} in {self!r}")
        return CommitLog(self.commits[i] for i in at.tolist() if i < len(self.commits))

    def to_pandas(self) -> Any:
        """A row for each object and commit: a pandas.DataFrame.

        Of a commit that is in the history no more, ``expired`` is true, and only the
        transaction is known.
        """
        import pandas as pd

        known = [*self.commits, None]
        rows = [known[i] for i in self.commit.tolist()]
        return pd.DataFrame(
            {
                "object_id": self.object_ids,
                "batch": self.batches,
                "snapshot_id": [info and info.snapshot_id for info in rows],
                "author": [info and info.author for info in rows],
                "time": pd.to_datetime([info and info.time for info in rows], utc=True),
                "message": [info and info.message for info in rows],
                "transaction": [f"{origin:016x}" for origin in self.origins.tolist()],
                "expired": self.expired,
            }
        )

    def _facts(self) -> list[tuple[str, str]]:
        counts = np.bincount(self.commit, minlength=len(self.commits) + 1)
        facts = [
            (info.snapshot_id, f"{counted(int(counts[i]), 'object')}: {info.message}")
            for i, info in enumerate(self.commits)
        ]
        if counts[-1]:
            facts.append(
                ("not in the history", f"{counted(int(counts[-1]), 'object')}: {self._lost()}")
            )
        return facts

    def _lost(self) -> str:
        number = len(distinct(self.origins[self.expired]))
        return f"{counted(number, 'commit that has', 'commits that have')} expired"

    def __repr__(self) -> str:
        n = len(distinct(self.object_ids))
        lost = f" and {self._lost()}" if self.expired.any() else ""
        commits = counted(len(self.commits), "commit")
        return f"<Blame: {counted(n, 'object')} from {commits}{lost}>"

    def _repr_html_(self) -> str:
        return html_table("Blame", self._facts())


def blame(
    repository: Repository,
    object_ids: int | Sequence[int] | np.ndarray | None,
    dataset: str,
    level: int,
    snapshot: str,
) -> Blame:
    """Which commits objects came from; see :meth:`Repository.blame`."""
    reader = _reader(repository, snapshot, dataset, level)
    table = reader.state.table
    live = table.live_vertices > 0
    if object_ids is None:
        rows = np.flatnonzero(live).tolist()
        lost = removed_rows(reader, rows)
        members = {
            row: without(np.arange(len(ids)), lost.get(row, np.zeros(0, np.int64)))
            for row, (ids, _) in zip(rows, reader.ids(rows), strict=True)
        }
    else:
        members = reader.members(live, ids_asked_for(object_ids), strict=True)
    some = sorted(members)
    ids = [found[members[row]] for row, (found, _) in zip(some, reader.ids(some), strict=True)]
    commits = _commits_of(repository, snapshot, {int(table.origin[row]) for row in some})
    number = {origin: i for i, origin in enumerate(commits)}
    counts = [len(found) for found in ids]
    flat = np.concatenate(ids) if ids else np.zeros(0, np.int64)
    origins = table.origin[some]
    numbers = [number.get(origin, len(commits)) for origin in origins.tolist()]
    which = np.repeat(numbers, counts).astype(np.int64)
    slots = np.repeat(table.slot[some], counts)
    order = np.lexsort((which, flat))
    log = CommitLog(commits.values())
    return Blame(flat[order], which[order], slots[order], log, np.repeat(origins, counts)[order])


def _reader(repository: Repository, snapshot: str, dataset: str, level: int) -> LevelReader:
    store = repository._backend.view_store(snapshot)
    meta = _state.load_dataset(store, dataset)
    state = _state.load_level(store, meta, _state.check_level(meta, level))
    return LevelReader(store, meta, state, repository._parts)


def _commits_of(repository: Repository, snapshot: str, origins: set[int]) -> dict[int, CommitInfo]:
    """The commits whose transactions made some batches, newest first, as far as they are known."""
    found: dict[int, CommitInfo] = {}
    for info in History(repository._backend).walk(snapshot):
        origin = origin_of(own_facts(info.metadata).get("transaction", ""))
        if origin in origins and origin not in found:
            found[origin] = CommitInfo.from_snapshot(info)
            if len(found) == len(origins):
                break
    return found


def history_of(
    repository: Repository, object_id: int, dataset: str, level: int, snapshot: str
) -> CommitLog:
    """The commits that touched an object; see :meth:`Repository.history`."""
    ids = ids_asked_for(object_id)
    if len(ids) != 1:
        raise ArrayError(f"history() is of one object, got {object_id!r}; blame() takes several")
    _state.load_dataset(repository._backend.view_store(snapshot), dataset)
    if not is_whole(level) or level < 0:
        raise NotFoundError(f"a level is a whole number from 0 up, got {level!r}")
    name = stage_name(dataset, level)
    history = History(repository._backend)
    found = []
    presence: dict[str, frozenset[bytes]] = {}

    def where(at: str) -> frozenset[bytes]:
        if at not in presence:
            presence[at] = _presence(repository, at, ids, dataset, level)
        return presence[at]

    for info in history.walk(snapshot):
        if name not in own_facts(info.metadata).get("changes", {}):
            continue
        parents = history.parents(info.id)
        if all(where(info.id) != where(parent) for parent in parents):
            found.append(CommitInfo.from_snapshot(info))
    if not found:
        raise NotFoundError(
            f"no commit that led to {snapshot} touched an object {object_id!r} of {name!r}"
        )
    return CommitLog(found)


def _presence(
    repository: Repository, snapshot: str, ids: np.ndarray, dataset: str, level: int
) -> frozenset[bytes]:
    """The batches that an object has vertices in, at a snapshot."""
    try:
        reader = _reader(repository, snapshot, dataset, level)
    except NotFoundError:
        return frozenset()
    table = reader.state.table
    members = reader.members(table.live_vertices > 0, ids, strict=False)
    return frozenset(bytes(table.uuid[row]) for row in members)
