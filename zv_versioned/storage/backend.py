"""An icechunk repository, with its lock and its version differences hidden."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import icechunk as ic

from .._checks import flag
from .._io import check_process
from .._json import json_object
from ..errors import (
    ConflictError,
    IntegrityError,
    MetadataError,
    NotFoundError,
    ReadOnlyError,
    StorageError,
)
from . import damage
from . import durable as lasting
from .address import Address, address_of
from .chunks import attach
from .config import repository_config
from .create import create_elsewhere, create_local, existing
from .hidden import HIDDEN
from .lineage import ROOT_ID, Descent, descents
from .location import CLOUD, Location, Place, resolve
from .lock import RepositoryLock
from .presence import last_expiry, record_expiry
from .seals import SEALS_FILE, Ledger
from .trailer import joined, parted
from .translate import translated

# icechunk 1 makes a name part of a path, and gives back escaped what it had to escape there.
_REF_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+=@-]{0,199}")

_runtime_pid: int | None = None


@dataclass(frozen=True)
class SnapshotInfo:
    """One version, as icechunk keeps it."""

    id: str
    parent_id: str | None
    message: str
    written_at: datetime
    metadata: dict[str, Any]
    descent: Descent | None = None
    """What is written down of its parents, where an expiry has cut its line."""


def _check_runtime(location: str) -> None:
    """Refuse a process forked from one that had used icechunk: its calls would hang."""
    global _runtime_pid
    if _runtime_pid is None:
        _runtime_pid = os.getpid()
    check_process(_runtime_pid, f"icechunk, which {location} needs,")


def _check_name(kind: str, name: object, *, new: bool = False) -> None:
    if not isinstance(name, str) or not name:
        raise MetadataError(f"a {kind} name must be a non-empty string, not {name!r}")
    if new and not _REF_NAME.fullmatch(name):
        raise MetadataError(
            f"{name!r} is no good {kind} name: use 1 to 200 letters, digits and . _ - + = @ "
            "(ASCII, no slash, no space), beginning with a letter, a digit or _"
        )
    if new and ".." in name:
        raise MetadataError(
            f"{name!r} is no good {kind} name: '..' stands between the ends of a range, as in "
            f"main..try; {name.replace('..', '-')!r} would do"
        )
    if name.startswith(HIDDEN):
        if new:
            raise MetadataError(f"names that begin with {HIDDEN!r} are the software's own")
        raise NotFoundError(f"there is no {kind} {name!r}")


def snapshot_of(store: Any) -> str:
    """The id of the snapshot that an icechunk store reads, or that its session began at."""
    return str(store.session.snapshot_id)


class Backend:
    """An icechunk repository, with its lock and its version differences hidden.

    Made by :meth:`create` and :meth:`open`. Its methods block, may be called
    from any thread and inside a running event loop, and refuse to work in a
    forked child.

    Attributes
    ----------
    location : str
        Where it is; printable, it never holds credentials.
    is_local : bool
        Whether it lies on a filesystem, and so needs its lock.
    is_near : bool
        Whether it lies on a filesystem or in memory, so that a request takes next to no time.
    folder : Path or None
        Of a local repository.
    durable : bool
        Whether a change of a local repository reaches the disk before it is
        acknowledged. Object stores see to that themselves.
    ledger : Ledger or None
        The seals of a local repository.
    """

    def __init__(
        self, place: Place, repository: ic.Repository, lock_timeout: float, durable: bool = False
    ) -> None:
        if flag(durable, "durable") and place.scheme == "memory":
            raise MetadataError(f"{place.location} cannot be durable: it is gone with this process")
        self.durable = durable
        self.location = place.location
        self.is_local = place.folder is not None
        self.is_near = self.is_local or place.scheme == "memory"
        self._place = place
        self._lock_timeout = lock_timeout
        self.folder = place.folder
        self._repository = repository
        self._lock = None if place.folder is None else RepositoryLock(place.folder, lock_timeout)
        self.ledger = None if place.folder is None else Ledger(place.folder)
        self._pid = os.getpid()
        self._expiry = (0, 0) if place.folder is None else last_expiry(place.folder)

    def __repr__(self) -> str:
        return f"<Backend {self.location}>"

    def address(self) -> Address:
        """What another process needs to open it; StorageError where it cannot be opened there."""
        self.check_process()
        return address_of(self._place, self._lock_timeout, self.durable)

    @classmethod
    def create(
        cls,
        location: Location,
        *,
        lock_timeout: float = 60.0,
        durable: bool = False,
        **storage_options: Any,
    ) -> Backend:
        """Create a repository and open it.

        Parameters
        ----------
        location : str, os.PathLike or icechunk.Storage
            Where; see the module's description.
        lock_timeout : float
            Seconds to wait for the lock of a local repository.
        durable : bool
            Whether changes of a local repository are to reach the disk before they
            are acknowledged.
        **storage_options
            Handed to icechunk's constructor for this kind of storage.

        Returns
        -------
        Backend
            The new repository.

        Raises
        ------
        MetadataError
            If something is there already, or the location or an option is not
            acceptable.
        """
        place = resolve(location, storage_options)
        flag(durable, "durable")
        _check_runtime(place.location)
        if place.folder is not None:
            lock = RepositoryLock(place.folder, lock_timeout)
            create_local(place, place.folder, lock)
            with lock.hold("seal the new repository"):
                ledger = Ledger(place.folder)
                ledger.add(ledger.everything())
            return cls._open(place, lock_timeout, durable)
        if place.scheme in CLOUD and not place.name:
            raise MetadataError(
                f"{place.location} names no prefix; a repository needs one: {place.location}/name"
            )
        repository = create_elsewhere(place)
        return cls(place, repository, lock_timeout, durable)

    @classmethod
    def open(
        cls,
        location: Location,
        *,
        lock_timeout: float = 60.0,
        durable: bool = False,
        **storage_options: Any,
    ) -> Backend:
        """Open a repository; parameters as for :meth:`create`.

        Raises
        ------
        NotFoundError
            If there is none.
        """
        place = resolve(location, storage_options)
        flag(durable, "durable")
        _check_runtime(place.location)
        return cls._open(place, lock_timeout, durable)

    @classmethod
    def _open(cls, place: Place, lock_timeout: float, durable: bool) -> Backend:
        storage = existing(place)
        absent = f"there is no repository at {place.location}; create one, or check the location"
        if storage is None:
            if place.location == "memory://":
                absent = "memory:// is private to its creator; only memory://name can be opened"
            raise NotFoundError(absent)
        with translated(place.location):
            try:
                repository = ic.Repository.open(storage, config=repository_config(place, storage))
            except ic.IcechunkError as error:
                wrong = None if place.folder is None else damage.of_root(place.folder)
                if wrong is None and place.folder and "config deserial" in str(error):
                    wrong = "its file config.yaml is damaged"
                if wrong is not None:
                    raise IntegrityError(
                        f"the repository at {place.location} cannot be opened: {wrong}. "
                        f"{damage.SEE.format(place.location)}"
                    ) from error
                if "repository doesn't exist" not in str(error):
                    raise
                raise NotFoundError(absent) from error
        if durable and place.folder is not None:
            # What others wrote, and this process builds on, is to last as well.
            lasting.sync_everything(place.folder)
        return cls(place, repository, lock_timeout, durable)

    @classmethod
    def exists(cls, location: Location, **storage_options: Any) -> bool:
        """Tell whether there is a repository at `location`."""
        place = resolve(location, storage_options)
        _check_runtime(place.location)
        storage = existing(place)
        with translated(place.location):
            return storage is not None and ic.Repository.exists(storage)

    def branches(self) -> list[str]:
        """Return the names of all branches, sorted."""
        self.check_process()
        with translated(self.location):
            names = self._repository.list_branches()
        return sorted(name for name in names if not name.startswith(HIDDEN))

    def tags(self) -> list[str]:
        """Return the names of all tags, sorted."""
        self.check_process()
        with translated(self.location):
            return sorted(self._repository.list_tags())

    def branch_tip(self, name: str) -> str:
        """Return the snapshot id of the tip of branch `name`; NotFoundError if there is none."""
        self.check_process()
        with self._finding("branch", name):
            return self._repository.lookup_branch(name)

    def tag_target(self, name: str) -> str:
        """Return the snapshot id that tag `name` stands for; NotFoundError if there is none."""
        self.check_process()
        with self._finding("tag", name):
            return self._repository.lookup_tag(name)

    def create_branch(self, name: str, snapshot_id: str) -> None:
        """Create branch `name` at a snapshot; MetadataError if it exists."""
        self.check_process()
        _check_name("branch", name, new=True)
        with self.mutation(f"create branch {name}"):
            target = self.require(snapshot_id).id
            if name in self.branches():
                raise self._taken("branch", name, "exists already")
            try:
                with translated(self.location):
                    self._repository.create_branch(name, target)
            except MetadataError as error:
                raise self._taken("branch", name, "exists already") from error

    def delete_branch(self, name: str) -> None:
        """Delete branch `name`; ``main`` cannot be deleted."""
        self.check_process()
        _check_name("branch", name)
        if name == "main":
            raise MetadataError(
                "branch 'main' cannot be deleted; reset it to another snapshot instead"
            )
        with (
            self.mutation(f"delete branch {name}"),
            self._finding("branch", name),
            self.deleting(f"branch.{name}"),
        ):
            self._repository.delete_branch(name)

    def create_tag(self, name: str, snapshot_id: str) -> None:
        """Create tag `name` for a snapshot; MetadataError if it exists or ever existed."""
        self.check_process()
        _check_name("tag", name, new=True)
        with self.mutation(f"create tag {name}"):
            target = self.require(snapshot_id).id
            try:
                with translated(self.location):
                    self._repository.create_tag(name, target)
            except MetadataError as error:
                why = "exists already" if name in self.tags() else "was deleted, for good,"
                raise self._taken("tag", name, why) from error

    def delete_tag(self, name: str) -> None:
        """Delete tag `name` for good: the name cannot be used again."""
        self.check_process()
        _check_name("tag", name)
        with (
            self.mutation(f"delete tag {name}"),
            self._finding("tag", name),
            self.deleting(f"tag.{name}"),
        ):
            self._repository.delete_tag(name)

    def reset_branch(self, name: str, snapshot_id: str) -> None:
        """Make a snapshot the tip of branch `name`, wherever the tip was."""
        self.check_process()
        with self.mutation(f"reset branch {name}"):
            target = self.require(snapshot_id).id
            with self._finding("branch", name):
                self._repository.reset_branch(name, target)
            self.seal(f"branch.{name}")

    def fast_forward(self, name: str, snapshot_id: str, expected: str) -> None:
        """Move the tip of branch `name` on; ConflictError if it is not at `expected` any more."""
        self.check_process()
        with self.mutation(f"fast-forward branch {name}"):
            if (tip := self.branch_tip(name)) != expected:
                raise self._moved(name, tip, expected)
            with self._finding("branch", name):
                try:
                    self._repository.reset_branch(name, snapshot_id, from_snapshot_id=expected)
                except ic.IcechunkError as error:
                    # An object store decides it, and may say so in other words.
                    if (tip := self.branch_tip(name)) in (expected, snapshot_id):
                        raise
                    raise self._moved(name, tip, expected) from error
            self.seal(f"branch.{name}")

    def snapshot(self, snapshot_id: str) -> SnapshotInfo:
        """Return what is known of a snapshot; NotFoundError if there is none."""
        return next(self.ancestry(snapshot_id))

    def require(self, snapshot_id: str) -> SnapshotInfo:
        """As :meth:`snapshot`, and not from memory: it may have been collected meanwhile.

        Raises
        ------
        NotFoundError
            If it is not there any more.
        """
        known = self.snapshot(snapshot_id)
        if self.folder is not None and not (self.folder / "snapshots" / known.id).exists():
            if known.id in self._tips():
                raise IntegrityError(
                    f"{self.location}: snapshots/{known.id} is missing. "
                    f"{damage.SEE.format(self.location)}"
                )
            raise NotFoundError(
                f"snapshot {snapshot_id} of {self.location} is not there any more: it has expired, "
                "and was collected"
            )
        return known

    def ancestry(self, snapshot_id: str) -> Iterator[SnapshotInfo]:
        """Return a snapshot and its ancestors, newest first.

        Raises
        ------
        NotFoundError
            At once, if there is no such snapshot.
        """
        self.check_process()
        self._notice_expiry()
        # For an absent one, icechunk 1's lookup_snapshot reports a failure of the storage.
        with self._finding_snapshot(snapshot_id):
            iterator = iter(self._repository.ancestry(snapshot_id=snapshot_id))
            first = next(iterator)
        return self._infos(first, iterator)

    def _infos(self, info: Any, iterator: Iterator[Any]) -> Iterator[SnapshotInfo]:
        while info is not None:
            message, metadata = parted(info.message)
            metadata = {**info.metadata, **metadata}
            known = SnapshotInfo(info.id, info.parent_id, message, info.written_at, metadata)
            if info.parent_id == ROOT_ID:
                descent = descents(self).get(info.id)
                if descent is not None and descent.parents[0] != ROOT_ID:
                    yield replace(known, parent_id=descent.parents[0], descent=descent)
                    yield from self.ancestry(descent.parents[0])
                    return
                known = replace(known, descent=descent)
            yield known
            self.check_process()
            try:
                with translated(self.location):
                    info = next(iterator, None)
            except NotFoundError:
                # icechunk 1 remembers a parent that has expired since, and was collected.
                again = self._reread(info.id)
                if again.parent_id == info.parent_id:
                    raise
                yield from self.ancestry(again.parent_id or ROOT_ID)
                return

    def _reread(self, snapshot_id: str) -> Any:
        """What is stored of a snapshot now, not what is remembered."""
        with self._finding_snapshot(snapshot_id):
            self._repository = self._reopened()
            return next(iter(self._repository.ancestry(snapshot_id=snapshot_id)))

    def _reopened(self) -> ic.Repository:
        """The repository without what was remembered of it."""
        return self._repository.reopen()

    def _notice_expiry(self) -> None:
        """Let nothing be remembered that somebody else has let expire: icechunk 1 would."""
        if self.folder is not None and (latest := last_expiry(self.folder)) != self._expiry:
            self._repository, self._expiry = self._reopened(), latest

    def read_store(self, snapshot_id: str) -> ic.IcechunkStore:
        """Return a read-only zarr store of a snapshot; NotFoundError if there is none."""
        self.check_process()
        self._notice_expiry()
        with self._finding_snapshot(snapshot_id):
            return self._repository.readonly_session(snapshot_id=snapshot_id).store

    def view_store(self, snapshot_id: str) -> ic.IcechunkStore:
        """As :meth:`read_store`, for many reads: local chunks are read directly."""
        store = self.read_store(snapshot_id)
        if self.folder is not None:
            attach(store, self.folder, snapshot_id)
        return store

    def begin(self, branch: str) -> ic.Session:
        """Return a writable session at the tip of `branch`; NotFoundError if there is none."""
        self.check_process()
        if self.folder is not None and not os.access(self.folder, os.W_OK):
            raise StorageError(
                f"the repository at {self.location} cannot be written to: its folder is read-only "
                "for you. Reading works; to write, change the folder's permissions"
            )
        with self._finding("branch", branch):
            return self._repository.writable_session(branch)

    def publish(
        self,
        session: ic.Session,
        branch: str,
        message: str,
        metadata: Mapping[str, Any],
        check: Callable[[], None] | None = None,
    ) -> str:
        """Commit a session, unless its branch has moved since it began.

        Parameters
        ----------
        session : icechunk.Session
            From :meth:`begin`. After a conflict it is as it was.
        branch : str
            The branch it began on.
        message : str
            Of the commit.
        metadata : mapping
            Of the commit; JSON values under string keys.
        check : callable, optional
            Called when nobody else can change the repository any more; it raises
            where the commit must not be made.

        Returns
        -------
        str
            The id of the new snapshot.

        Raises
        ------
        ConflictError
            If the branch has moved: ``ours`` is its tip, ``theirs`` the
            snapshot that the session began at.
        """
        self.check_process()
        if session.read_only:
            raise ReadOnlyError(
                f"this session on {self.location} only reads, or was published already"
            )
        if session.branch != branch:
            raise MetadataError(f"the session began on branch {session.branch!r}, not {branch!r}")
        if not isinstance(message, str):
            raise MetadataError(f"a commit message must be a string, not {message!r}")
        if not session.has_uncommitted_changes:
            raise MetadataError(f"nothing to publish to {branch!r}: the session changed nothing")
        text = joined(message, json_object(metadata, "commit metadata"))
        began = session.snapshot_id
        with self.mutation(f"commit to {branch}"):
            # An object store makes this check itself, where it decides, and a round trip is spared.
            if self.is_local and (tip := self.branch_tip(branch)) != began:
                raise self._moved(branch, tip, began)
            if check is not None:
                check()
            with translated(self.location):
                try:
                    after = self._commit(session, branch, text)
                except ic.ConflictError as error:
                    if (tip := self.branch_tip(branch)) == began:
                        raise
                    raise self._moved(branch, tip, began) from error
            self.seal(f"branch.{branch}", committed=(began, after))
            return after

    def expire(self, older_than: datetime) -> set[str]:
        """Let icechunk forget snapshots older than a moment, but for tips; returns their ids.

        The first that is kept of a line then descends from the first snapshot: see
        :mod:`.lineage`.
        """
        self.check_process()
        with self.mutation("expire snapshots"):
            before = self._snapshot_files()
            with translated(self.location):
                gone = set(self._repository.expire_snapshots(older_than))
            if self.ledger is not None:
                # icechunk 1 writes the files anew that get another parent.
                after = self._snapshot_files()
                edited = sorted(p for p, at in after.items() if before.get(p) != at)
                self.ledger.add(edited)
                for path in edited:  # as old as what they lead to, for collections
                    time = before[path][0]
                    os.utime(self.ledger.folder / path, ns=(time, time))
            if self.folder is not None:
                record_expiry(self.folder)
        self._repository = self._reopened()
        return gone

    def _snapshot_files(self) -> dict[str, tuple[int, int]]:
        if self.folder is None:
            return {}
        with os.scandir(self.folder / "snapshots") as entries:
            stats = [(f"snapshots/{entry.name}", entry.stat()) for entry in entries]
        return {path: (at.st_mtime_ns, at.st_ino) for path, at in stats}

    def collect(self, older_than: datetime, *, dry_run: bool) -> tuple[dict[str, int], int]:
        """Let icechunk remove what no ref leads to and what is older than a moment.

        Returns
        -------
        (dict of str to int, int)
            How many files of each kind, and bytes in all.

        Raises
        ------
        StorageError
            If some could not be removed.
        """
        self.check_process()
        with self.mutation("collect garbage"), translated(self.location):
            # icechunk 1 does not tell of what it could not remove.
            done: Any = self._repository.garbage_collect(older_than, dry_run=dry_run)
            if self.folder is not None and not dry_run:
                record_expiry(self.folder)
        if getattr(done, "objects_failed_to_delete", 0):
            raise StorageError(
                f"{done.objects_failed_to_delete:,} files of {self.location} that nothing needs "
                f"could not be removed: {'; '.join(map(str, done.delete_errors[:3]))}. The others "
                "were; do it again"
            )
        found = {
            "chunks": done.chunks_deleted,
            "manifests": done.manifests_deleted,
            "snapshots": done.snapshots_deleted,
            "transactions": done.transaction_logs_deleted,
        }
        return found, int(done.bytes_deleted)

    def stored_chunks(self) -> int:
        """Bytes of all chunks that any snapshot refers to, whoever it belongs to."""
        self.check_process()
        with translated(self.location):
            return int(self._repository.chunk_storage_stats().native_bytes)

    def _commit(self, session: ic.Session, branch: str, text: str) -> str:
        if not self.durable or self.folder is None:
            return session.commit(text)
        # What the branch is to lead to is on the disk before it leads there.
        began = session.snapshot_id
        after = session.flush(text)
        lasting.sync_files(self.folder, lasting.written_by(self.folder, began, after))
        self._repository.reset_branch(branch, after, from_snapshot_id=began)
        return after

    def seal(self, *refs: str, committed: tuple[str, str] | None = None) -> None:
        """Seal what was just changed, and make it last; see the modules `seals` and `durable`.

        Parameters
        ----------
        *refs : str
            Refs that were moved or deleted, such as ``branch.main``; the mutation that
            this is called in finds the new ones by itself.
        committed : (str, str), optional
            The snapshots before and after a commit.
        """
        self.check_process()
        if self.ledger is None or self.folder is None:
            return
        if committed is not None:
            self.ledger.committed(*committed)
        changed = self.ledger.refs_changed(*refs)
        if self.durable and changed:
            lasting.sync_files(self.folder, [*changed, SEALS_FILE])

    @contextmanager
    def deleting(self, ref: str) -> Iterator[None]:
        """Around the deletion of a ref, such as ``branch.main``, within a mutation."""
        self.check_process()
        if self.ledger is not None:
            self.ledger.forget_ref(ref)
        try:
            yield
        finally:
            self.seal(ref)

    def mutation(self, purpose: str) -> AbstractContextManager[None]:
        """Return a context in which this process alone may change the repository.

        It may be nested in one thread. Object stores need no lock, and have none.
        Refs that were made in it are sealed at its end.

        Parameters
        ----------
        purpose : str
            Shown to those who wait in vain, after "has held it to".
        """
        self.check_process()
        return nullcontext() if self._lock is None else self._sealing(self._lock.hold(purpose))

    def holding(self, purpose: str) -> AbstractContextManager[None]:
        """As :meth:`mutation`, for who only looks: what lies there is not sealed as it is."""
        self.check_process()
        return nullcontext() if self._lock is None else self._lock.hold(purpose)

    @contextmanager
    def _sealing(self, held: AbstractContextManager[None]) -> Iterator[None]:
        with held:
            try:
                yield
            finally:
                self.seal()

    def check_process(self) -> None:
        """Refuse to go on in a forked child, or where the folder is gone."""
        check_process(self._pid, f"the repository at {self.location}")
        # icechunk would find no branches in a folder that is not there, and say no more.
        if self.folder is not None and not os.path.isdir(self.folder):
            raise StorageError(
                f"there is no repository at {self.location} any more: its folder was moved or "
                "removed. Open it where it is now"
            )

    def _taken(self, kind: str, name: str, why: str) -> MetadataError:
        return MetadataError(f"{kind} {name!r} {why} in {self.location}; take another name")

    def _moved(self, branch: str, tip: str, began: str) -> ConflictError:
        return ConflictError(
            f"branch {branch!r} of {self.location} moved to {tip} since the session began at "
            f"{began}; begin again from the new tip",
            what="branch",
            where=branch,
            ours=tip,
            theirs=began,
        )

    @contextmanager
    def _finding(self, kind: str, name: str) -> Iterator[None]:
        _check_name(kind, name)
        try:
            with translated(self.location):
                yield
        except NotFoundError as error:
            there = self.branches() if kind == "branch" else self.tags()
            raise NotFoundError(
                f"there is no {kind} {name!r} in {self.location}; {_suggest(name, there)}"
            ) from error

    def _tips(self) -> set[str]:
        """The snapshots that branches and tags stand at."""
        tips = {self.branch_tip(name) for name in self.branches()}
        return tips | {self.tag_target(name) for name in self.tags()}

    @contextmanager
    def _finding_snapshot(self, snapshot_id: str) -> Iterator[None]:
        if not isinstance(snapshot_id, str):
            raise MetadataError(f"a snapshot id must be a string, not {snapshot_id!r}")
        try:
            with translated(self.location):
                yield
        except (IntegrityError, NotFoundError, StorageError) as error:
            if self.folder is not None and re.fullmatch(r"[0-9A-Z]{20}", snapshot_id):
                known = snapshot_id in self._tips()
                wrong = damage.of_snapshot(self.folder, snapshot_id, known=known)
                if wrong is not None:
                    raise IntegrityError(
                        f"{self.location}: {wrong}. {damage.SEE.format(self.location)}"
                    ) from error
            if not isinstance(error, NotFoundError):
                raise
            raise NotFoundError(
                f"there is no snapshot {snapshot_id!r} in {self.location}; the log of a branch "
                "lists those there are"
            ) from error


def _suggest(name: str, there: list[str]) -> str:
    close = difflib.get_close_matches(name, there)
    if close:
        return "did you mean " + " or ".join(map(repr, close)) + "?"
    if not there:
        return "there are none"
    more = f" and {len(there) - 10} more" if len(there) > 10 else ""
    return "there are " + ", ".join(map(repr, there[:10])) + more
