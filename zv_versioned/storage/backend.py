"""An icechunk repository, with its lock and its version differences hidden."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import icechunk as ic

from .._checks import flag
from .._io import check_process
from .._json import json_object
from ..errors import MetadataError, NotFoundError, ReadOnlyError, StorageError
from . import damage
from . import durable as lasting
from .config import repository_config
from .create import create_elsewhere, create_local, existing
from .location import CLOUD, Location, Place, resolve
from .lock import RepositoryLock
from .seals import Ledger
from .snapshots import Snapshots
from .trailer import joined
from .translate import translated

_runtime_pid: int | None = None


def _check_runtime(location: str) -> None:
    """Refuse a process forked from one that had used icechunk: its calls would hang."""
    global _runtime_pid
    if _runtime_pid is None:
        _runtime_pid = os.getpid()
    check_process(_runtime_pid, f"icechunk, which {location} needs,")


def snapshot_of(store: Any) -> str:
    """The id of the snapshot that an icechunk store reads, or that its session began at."""
    return str(store.session.snapshot_id)


def discard(session: Any) -> None:
    """Drop what a session holds, unless it was committed: then it only reads, and holds nothing."""
    if not session.read_only:
        session.discard_changes()


class Backend(Snapshots):
    """An icechunk repository, with its lock and its version differences hidden.

    Made by :meth:`create` and :meth:`open`. Its methods block, may be called
    from any thread and inside a running event loop, and refuse to work in a
    forked child.
    """

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
                    wrong = damage.Damage(place.folder, "its file config.yaml is damaged")
                if wrong is not None:
                    raise wrong.error(
                        f"the repository at {place.location} cannot be opened"
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
        *,
        seen: bool = False,
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
        seen : bool
            Whether the branch was seen where the session began since this thread has had
            the lock, so that it need not be looked up again.

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
            look = self.is_local and not seen
            if look and (tip := self.branch_tip(branch)) != began:
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

    def _commit(self, session: ic.Session, branch: str, text: str) -> str:
        if not self.durable or self.folder is None:
            return session.commit(text)
        # What the branch is to lead to is on the disk before it leads there.
        began = session.snapshot_id
        after = session.flush(text)
        lasting.sync_files(self.folder, lasting.written_by(self.folder, began, after))
        self._repository.reset_branch(branch, after, from_snapshot_id=began)
        return after
