"""A transaction: everything that one writer session stages, published as one snapshot."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any

from . import _io, _paths, _state, _writes
from ._ids import Ids
from ._said import default_message, parse_message, parse_metadata
from ._words import counted
from .errors import ConflictError, ReadOnlyError
from .format.metadata import DatasetMeta, LevelFacts
from .format.table import BatchTable, new_transaction_id, origin_of
from .geometry import html_table
from .history.race import Landed, Race
from .maintenance.lease import TTL, Lease
from .result import CommitResult, stage_name
from .storage.backend import discard
from .storage.presence import Presence
from .writer import ZVWriter
from .writing.datasets import StagesDatasets
from .writing.levels import made_from
from .writing.stage import LevelStage

if TYPE_CHECKING:
    from .repository import Repository


_HOLD_BYTES = 1 << 20
"""Chunks of a level that wait for the commit, where storage is near; more are uploaded at once."""


class Transaction(StagesDatasets):
    """One writer session on a branch.

    Made by :meth:`Repository.transaction`. Leaving the ``with`` block (or
    ``async with``) commits; an exception in it abandons everything. Until the
    commit nothing is visible, also after a crash.

    Attributes
    ----------
    branch : str
    base_snapshot_id : str
        The branch's tip when the transaction began.
    result : CommitResult or None
        What the commit did, once it is done.

    Examples
    --------
    >>> import zv_versioned as zvv
    >>> repo = zvv.Repository.create("memory://")
    >>> with repo.transaction("main", message="begin") as tx:
    ...     ds = tx.create_dataset("cells", kind="point_cloud", bounds=([0, 0, 0], [9, 9, 9]))
    >>> tx.result.committed
    True
    """

    def __init__(
        self,
        repository: Repository,
        branch: str,
        message: str | None,
        author: str | None,
        metadata: Mapping[str, Any] | None,
    ) -> None:
        self._repository = repository
        self._message = parse_message(message)
        self._metadata = parse_metadata(metadata, author)
        self._id = new_transaction_id()
        super().__init__(repository._backend.begin(branch))
        self.branch = branch
        self.base_snapshot_id: str = self._session.snapshot_id
        self._presence = Presence(repository._backend, branch, self.base_snapshot_id, time.time())
        # One that is dropped without an end is over, too.
        self._dropped = weakref.finalize(self, self._presence.leave)
        self.result: CommitResult | None = None
        self._landed: Landed | None = None
        self._base: Any = None
        # What is done beyond what a writer does, for the commit's metadata.
        self._operation = ""
        # One transaction does one thing at a time, whichever threads ask.
        self._lock = threading.RLock()

    # -- what is staged ------------------------------------------------------

    def __reduce__(self) -> Any:
        raise TypeError(
            f"a transaction on {self.branch!r} cannot be pickled, nor can its writers: what it has "
            "staged lives in this process. Send the repository, and begin one there with "
            f"repo.transaction({self.branch!r})"
        )

    def writer(self, dataset: str, level: int = 0) -> ZVWriter:
        """A writer of one level of a dataset, within this transaction.

        Parameters
        ----------
        dataset : str
        level : int

        Raises
        ------
        NotFoundError
            If there is no such dataset or level.
        ReadOnlyError
            If the transaction is over.
        """
        with self._staging(dataset, level) as stage:
            return ZVWriter(self, dataset, stage.facts.level, owns=False)

    @contextmanager
    def _staging(self, dataset: str, level: int) -> Iterator[LevelStage]:
        """The staged side of a level, for one change."""
        with self._changing():
            stage = self._stage(dataset, level)
            stage.meta = self._metas[dataset]
            edits = stage.edits
            try:
                yield stage
            finally:
                if stage.broken:
                    self._state = "failed"
            self._metas[dataset] = stage.meta
            if stage.edits != edits:
                self._mark_stale(dataset, stage.facts.level)

    def _stage(self, dataset: str, level: object) -> LevelStage:
        """The staged side of a level, opened where it is not open yet."""
        meta = self._metas.get(dataset) if isinstance(dataset, str) else None
        if meta is not None:
            stage = self._stages.get((dataset, _state.check_level(meta, level)))
            if stage is not None:
                return stage
        known = None
        if _state.is_level(dataset, level):
            # What this process committed last it need not read again to go on from there.
            known = self._repository._parts.get(_state_key(self.base_snapshot_id, dataset, level))
        if known is None:
            # As it began, where nothing was staged since: that is read in less time.
            fresh = not self._session.has_uncommitted_changes
            store = self._base_store() if fresh else self._session.store
            known = *_state.load_facts(store, dataset, level, meta), None
        if meta is None:
            self._metas[dataset] = self._written[dataset] = known[0]
        stage = self._stages[dataset, known[1].level] = self._stage_of(*known)
        return stage

    def _mark_stale(self, dataset: str, changed: int) -> None:
        """Let the coarser levels say that a level they were made from has changed."""
        coarser = [self._stage(dataset, level) for level in self._metas[dataset].levels[1:]]
        sources = {stage.facts.level: stage.facts.source for stage in coarser}
        for stage in coarser:
            if made_from(stage.facts.level, changed, sources):
                stage.mark_stale()

    def _stage_of(
        self, meta: DatasetMeta, facts: LevelFacts, tail: BatchTable | None = None
    ) -> LevelStage:
        repository = self._repository
        ids = repository._known_ids(_paths.level_path(meta.name, facts.level))
        origin = origin_of(self._id)
        # Where it costs little to write them late, small changes wait to know where they belong.
        hold = _HOLD_BYTES if repository._backend.is_near else 0
        return LevelStage(
            self._session.store, meta, facts, ids, repository._parts, tail, origin, hold,
            self._base_store,
        )  # fmt: skip

    def _base_store(self) -> Any:
        """What the transaction began at, read where it lies; on object stores, the session's."""
        if self._base is None:
            backend, session = self._repository._backend, self._session
            self._base = backend.base_store(session) if backend.is_local else session.store
        return self._base

    # -- one state after the other -------------------------------------------

    @contextmanager
    def _changing(self) -> Iterator[None]:
        self._repository._backend.check_process()
        with self._lock:
            if self._state != "open":
                raise ReadOnlyError(
                    f"this transaction on {self.branch!r} {self._standing()}; begin another with "
                    f"repo.transaction({self.branch!r})"
                )
            yield

    def _standing(self) -> str:
        return {
            "open": "is open",
            "committed": "was committed",
            "aborted": "was abandoned",
            "failed": "failed while writing and can only be abandoned",
        }[self._state]

    # -- the end -------------------------------------------------------------

    def commit(self, message: str | None = None) -> CommitResult:
        """Publish everything that was staged as one snapshot.

        Parameters
        ----------
        message : str, optional
            Takes the place of the transaction's.

        Returns
        -------
        CommitResult
            Where nothing was staged, of the snapshot that was there: nothing
            changes.

        Raises
        ------
        ConflictError
            If somebody else has changed the same thing since the transaction
            began; nothing is changed, and the transaction is over. What others
            did besides is merged with this, and ids that were given by default
            may become others: the result has them.
        ViolationError
            If the result would not be sound, or a check refuses it.
        ReadOnlyError
            If the transaction is over.
        """
        message = self._message if message is None else parse_message(message)
        with self._changing():
            try:
                self.result = self._publish(message)
            except BaseException:
                self._abandon("aborted")
                raise
            self._state = "committed"
            self._dropped()
            self._remember(self.result.snapshot_id)
            return self.result

    def _compact(self, dataset: str, level: int) -> dict[str, Any]:
        """Commit, then merge small batches of a level; see :meth:`ZVWriter.compact`."""
        result = self.commit().for_level(dataset, level)
        repository = self._repository
        done = repository.compact(
            self.branch, dataset=dataset, level=level, author=self._metadata["author"]
        )
        store = repository._backend.view_store(done.snapshot_id)
        state = _state.load_level(store, _state.load_dataset(store, dataset), level)
        merged = done.levels.get(stage_name(dataset, level))
        after = len(state.table)
        return {
            "compacted": True,
            "num_objects": state.facts.num_objects,
            "vertex_count": state.facts.vertex_count,
            "batches_before": after if merged is None else merged.batches_before,
            "batches_after": after,
            "snapshot_id": done.snapshot_id,
            "objects_committed": result.objects_committed,
        }

    def _publish(self, message: str | None) -> CommitResult:
        changed = {stage_name(*key): stage for key, stage in self._stages.items() if stage.changed}
        snapshot = self.base_snapshot_id
        changes: dict[str, Any] = {name: stage.summary() for name, stage in changed.items()}
        for name, note in self._notes.items():
            changes.setdefault(name, {}).update(note)
        message = message or default_message(self._created, changes)
        if changes or self._created:
            for stage in changed.values():
                stage.renew()
                stage.ready()
            own = {
                "transaction": self._id,
                "author": self._metadata["author"],
                "operation": self._operation,
                "created": self._created,
                "changes": changes,
                "metadata": self._metadata["user"],
            }
            snapshot = self._land(message, own, list(changed.values()))
        counts = {name: stage.committed_counts() for name, stage in changed.items()}
        renumbered = {} if self._landed is None else self._landed.renumbered()
        return CommitResult(
            snapshot_id=snapshot,
            branch=self.branch,
            message=message,
            objects_committed=sum(objects for _, objects in counts.values()),
            vertices_committed=sum(vertices for vertices, _ in counts.values()),
            _ids={
                name: stage.begun()
                if name not in renumbered
                else [Ids.of(renumbered[name].apply(ids.array())) for ids in stage.begun()]
                for name, stage in changed.items()
            },
            _counts=counts,
        )

    def _land(self, message: str, own: Mapping[str, Any], changed: Sequence[LevelStage]) -> str:
        """Commit, merged onto the branch's tip where somebody else was faster."""
        repository, backend = self._repository, self._repository._backend
        held = [item for stage in changed for item in stage.upload.take()]
        prepared: list[Race] = []
        # So that what is lost is lost before anything is written, and what that takes is prepared
        # in the queue. But nobody is to wait for a user's checks, which may take long.
        alone: AbstractContextManager[None] = nullcontext()
        if not repository._checks:
            purpose = f"commit to {self.branch}"
            alone = backend.mutation(purpose, lambda: prepared.append(self._race(held)))
        with alone:
            # Where the branch is known to be elsewhere by now, this is where to go on.
            tip = backend.begin(self.branch) if backend.is_near else None
            if tip is None or tip.snapshot_id == self.base_snapshot_id:
                documents = [item for stage in changed for item in stage.documents()]
                items = [*held, *documents, *self._dataset_changes()]
                held.clear()
                prepared.clear()
                _writes.set_many(self._session.store, items)
                repository._audit(self.branch, self._session)
                try:
                    return repository._commit(
                        self._session, self.branch, message, own, self._presence.check,
                        seen=not repository._checks,
                    )  # fmt: skip
                except ConflictError as error:
                    if error.what != "branch":
                        raise
                tip = None
            race = prepared[0] if prepared else self._race(held)
            self._landed = race.publish(message, own, tip)
        return self._landed.snapshot_id

    def _race(self, held: Sequence[tuple[str, _writes.Value]]) -> Race:
        """This transaction, where it has lost the race for its branch."""
        before = {n: meta for n, meta in self._written.items() if n not in self._created}
        return Race(
            self._repository, self.branch, self._session, self.base_snapshot_id, before,
            self._metas, self._stages, held, self._presence.check,
        )  # fmt: skip

    def _remember(self, snapshot_id: str) -> None:
        """Let the next transaction begin where this one ended, without reading."""
        if self._landed is not None:
            return
        for (dataset, level), stage in self._stages.items():
            stage.meta = self._metas[dataset]
            if stage.changed:
                key = _state_key(snapshot_id, dataset, level)
                self._repository._parts.put(key, stage.state(), 1 << 14)
                stage.committed(snapshot_id)

    def lease(self, *, ttl: timedelta | float = TTL) -> Lease:
        """Keep what is staged from being collected for a while.

        On a local disk nobody collects what an open transaction staged. On an object
        store a transaction may be open for a day; whoever needs longer holds a lease.

        Parameters
        ----------
        ttl : timedelta or float
            How long, or seconds; it can be renewed.

        Raises
        ------
        StorageError
            If it comes too late: what was staged may be gone already.
        ReadOnlyError
            If the transaction is over.
        """
        with self._changing():
            return Lease(
                self._repository._backend, self.base_snapshot_id, ttl, presence=self._presence
            )

    def abort(self) -> None:
        """Abandon everything that was staged; the branch is as it was."""
        with self._lock:
            if self._state in ("open", "failed"):
                self._abandon("aborted")

    def _abandon(self, state: str) -> None:
        self._state = state
        for stage in self._stages.values():
            stage.upload.stop()
        self._stages.clear()
        discard(self._session)
        self._dropped()

    def __enter__(self) -> Transaction:
        with self._changing():
            return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.abort()
        elif self._state in ("open", "failed"):
            self.commit()

    async def __aenter__(self) -> Transaction:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await _io.in_thread(self.__exit__, kind, error, trace)

    def _repr_html_(self) -> str:
        rows = [("branch", self.branch), ("from", self.base_snapshot_id), ("it", self._standing())]
        for key, stage in self._stages.items():
            done = stage.summary()
            vertices = counted(done["vertices_added"], "vertex", "vertices")
            staged = f"{vertices}, {counted(done['objects_added'], 'new object')}"
            rows.append((f"staged on {stage_name(*key)!r}", staged))
        return html_table("Transaction", rows)

    def __repr__(self) -> str:
        staged = sum(stage.summary()["batches_added"] for stage in self._stages.values())
        return (
            f"<Transaction on {self.branch!r} from {self.base_snapshot_id}: {self._standing()}, "
            f"{counted(staged, 'batch', 'batches')} staged>"
        )


def _state_key(snapshot_id: str, dataset: str, level: object) -> tuple[str, str, str, object]:
    return "level", snapshot_id, dataset, level
