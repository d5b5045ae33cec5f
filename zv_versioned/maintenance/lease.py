"""Leases: a promise that a snapshot, or what a transaction staged, stays for a while."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING

from ..errors import MetadataError, ReadOnlyError
from ..geometry import html_table
from ..storage import leases

if TYPE_CHECKING:
    from ..storage import Backend
    from ..storage.presence import Presence

TTL = timedelta(hours=1)
"""How long a lease holds where nothing else is said."""


class Lease:
    """A promise that a snapshot, or what a transaction staged, is not collected for a while.

    Made by :meth:`Repository.lease`, :meth:`View.lease` and :meth:`Transaction.lease`.
    It is stored with the repository, so everybody respects it. It ends when the
    ``with`` block does, by :meth:`release`, or at :attr:`expires`, also if its
    holder is gone.

    Attributes
    ----------
    snapshot_id : str
        What is kept; of a transaction, what it began at.
    expires : datetime
        When it ends by itself; see :meth:`renew`.

    Examples
    --------
    >>> from datetime import timedelta
    >>> import zv_versioned as zvv
    >>> repo = zvv.Repository.create("memory://")
    >>> with repo.view().lease(ttl=timedelta(minutes=5)) as lease:
    ...     lease.is_live
    True
    >>> lease.is_live
    False
    """

    def __init__(
        self,
        backend: Backend,
        snapshot_id: str,
        ttl: timedelta | float,
        presence: Presence | None = None,
    ) -> None:
        self._backend = backend
        self._presence = presence
        self._ttl = _span(ttl)
        self._released = False
        self.snapshot_id = snapshot_id
        self._ref = self._take(self._ttl)

    def _take(self, ttl: timedelta) -> leases.LeaseRef:
        presence = self._presence
        until = datetime.now(UTC) + ttl
        ref = leases.take(
            self._backend, self.snapshot_id, until, None if presence is None else presence.began
        )
        if presence is not None:
            try:
                presence.cover(until)
            except BaseException:
                leases.release(self._backend, ref)
                raise
        return ref

    @property
    def expires(self) -> datetime:
        """When it ends by itself."""
        return self._ref.until

    @property
    def is_live(self) -> bool:
        """Whether it holds still."""
        return not self._released and datetime.now(UTC) < self._ref.until

    def renew(self, ttl: timedelta | float | None = None) -> None:
        """Let it hold for a while from now on.

        Parameters
        ----------
        ttl : timedelta or float, optional
            How long, or seconds; as it was made where left out.

        Raises
        ------
        ReadOnlyError
            If it was released.
        NotFoundError
            If it had ended, and what it kept is gone.
        StorageError
            If it is that of a transaction, and had ended so long ago that what was
            staged may be gone.
        """
        self._check()
        ttl = self._ttl if ttl is None else _span(ttl)
        before, self._ref = self._ref, self._take(ttl)
        leases.release(self._backend, before)

    def release(self) -> None:
        """End it; nothing happens where it has ended."""
        if not self._released:
            leases.release(self._backend, self._ref)
            self._released = True

    def _check(self) -> None:
        if self._released:
            raise ReadOnlyError(f"this lease of {self.snapshot_id} was released; make another")

    def __enter__(self) -> Lease:
        self._check()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def _facts(self) -> list[tuple[str, str]]:
        state = f"until {self.expires.isoformat()}" if self.is_live else "over"
        what = "snapshot" if self._presence is None else "transaction from"
        return [(what, self.snapshot_id), ("holds", state)]

    def __repr__(self) -> str:
        return "<Lease: " + ", ".join(f"{k} {v}" for k, v in self._facts()) + ">"

    def _repr_html_(self) -> str:
        return html_table("Lease", self._facts())


def _span(ttl: timedelta | float) -> timedelta:
    given: object = ttl
    if isinstance(given, int | float) and not isinstance(given, bool):
        given = timedelta(seconds=given)
    if not isinstance(given, timedelta) or not timedelta() < given < timedelta(days=3650):
        raise MetadataError(
            f"ttl is how long a lease holds, a timedelta or seconds, more than none and less than "
            f"ten years; got {ttl!r}"
        )
    return given
