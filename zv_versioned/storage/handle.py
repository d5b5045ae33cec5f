"""An open icechunk repository: its place, its lock, its seals, and the process it belongs to."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import icechunk as ic

from .._checks import flag
from .._io import check_process
from ..errors import MetadataError, StorageError
from . import durable as lasting
from .address import Address, address_of
from .location import Place
from .lock import Meanwhile, RepositoryLock
from .presence import last_expiry
from .seals import SEALS_FILE, Ledger, RootState


class Handle:
    """An open repository, and what every change of it goes through.

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
        # Of this handle, by whichever thread has the lock.
        self._depth = 0
        self._unsealed: list[tuple[str, str]] = []
        self._pid = os.getpid()
        self._expiry = (0, 0) if place.folder is None else last_expiry(place.folder)

    def __repr__(self) -> str:
        return f"<Backend {self.location}>"

    def address(self) -> Address:
        """What another process needs to open it; StorageError where it cannot be opened there."""
        self.check_process()
        return address_of(self._place, self._lock_timeout, self.durable)

    def seal(
        self,
        *refs: str,
        committed: tuple[str, str] | None = None,
        since: RootState | None = None,
    ) -> None:
        """Seal what was just changed, and make it last; see the modules `seals` and `durable`.

        Parameters
        ----------
        *refs : str
            Refs that were moved or deleted, such as ``branch.main``; the mutation that
            this is called in finds the new ones by itself.
        committed : (str, str), optional
            The snapshots before and after a commit.
        since : tuple, optional
            What :meth:`Ledger.root_state` said before: where that has not changed, nothing
            that leads to snapshots is sealed, for what lies there may be damaged.
        """
        self.check_process()
        if self.ledger is None or self.folder is None:
            return
        if committed is not None:
            if self.durable or sys.platform == "win32":
                self._seal_commits([committed])
            else:
                self._unsealed.append(committed)
        changed = self.ledger.refs_changed(*refs, since=since)
        if self.durable and changed:
            lasting.sync_files(self.folder, [*changed, SEALS_FILE])

    @contextmanager
    def deleting(self, ref: str) -> Iterator[None]:
        """Around the deletion of a ref, such as ``branch.main``, within a mutation."""
        self.check_process()
        if self.ledger is None:
            yield
            return
        before = self.ledger.forget_ref(ref)
        try:
            yield
        except BaseException:
            self.ledger.remember_ref(ref, before)
            raise
        self.seal(ref)

    def mutation(self, purpose: str, meanwhile: Meanwhile = None) -> AbstractContextManager[None]:
        """Return a context in which this process alone may change the repository.

        It may be nested in one thread. Object stores need no lock, and have none.
        Refs that were made in it are sealed at its end. Where it fails, only what it has
        replaced and is whole: the next change seals the rest.

        Parameters
        ----------
        purpose : str
            Shown to those who wait in vain, after "has held it to".
        meanwhile : callable, optional
            Called where it has to wait for another process: to prepare what comes next.
        """
        self.check_process()
        if self._lock is None:
            return nullcontext()
        return self._sealing(self._lock.hold(purpose, meanwhile))

    def holding(self, purpose: str) -> AbstractContextManager[None]:
        """As :meth:`mutation`, for who only looks: what lies there is not sealed as it is."""
        self.check_process()
        return nullcontext() if self._lock is None else self._lock.hold(purpose)

    @contextmanager
    def _sealing(self, held: AbstractContextManager[None]) -> Iterator[None]:
        committed: list[tuple[str, str]] = []
        try:
            with held:
                since = None
                if self.ledger is not None:
                    if self._depth == 0:
                        self.ledger.check_root()
                    since = self.ledger.root_state()
                self._depth += 1
                try:
                    yield
                except BaseException:
                    if self.ledger is not None:
                        self.ledger.root_replaced(since)
                    raise
                else:
                    self.seal(since=since)
                finally:
                    self._depth -= 1
                    if self._depth == 0:
                        committed, self._unsealed = self._unsealed, committed
        finally:
            # What a commit wrote does not change any more, so nobody has to wait for this.
            self._seal_commits(committed)

    def _seal_commits(self, committed: Iterable[tuple[str, str]]) -> None:
        if self.ledger is not None:
            for before, after in committed:
                self.ledger.committed(before, after)

    def check_process(self) -> None:
        """Refuse to go on in a forked child, or where the folder is gone."""
        check_process(self._pid, f"the repository at {self.location}")
        # icechunk would find no branches in a folder that is not there, and say no more.
        if self.folder is not None and not os.path.isdir(self.folder):
            raise StorageError(
                f"there is no repository at {self.location} any more: its folder was moved or "
                "removed. Open it where it is now"
            )

    def _reopened(self) -> ic.Repository:
        """The repository without what was remembered of it."""
        return self._repository.reopen()
