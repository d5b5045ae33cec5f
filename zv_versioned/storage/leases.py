"""Leases: until when a snapshot, or what a transaction staged, must stay.

A lease is a hidden branch, so it is seen by everybody on every storage, and
what it stands at is kept by icechunk's own collection. Its name says the rest::

    zv_versioned.lease.UNTIL.BEGAN.TOKEN

UNTIL is when it ends, BEGAN when the transaction began that it protects (0 for
that of a view), both in milliseconds since 1970. A holder that dies leaves it,
and it ends by itself.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ..errors import NotFoundError
from .hidden import HIDDEN, keep, let_go, names, target

if TYPE_CHECKING:
    from .backend import Backend

_LEASE = re.compile(re.escape(HIDDEN) + r"lease\.(\d{1,15})\.(\d{1,15})\.([0-9a-f]{16})", re.ASCII)
_SKEW = timedelta(minutes=15)
"""A lease on an object store outlasts its end by as much as a clock may be off there."""


@dataclass(frozen=True)
class LeaseRef:
    """A lease as it is stored.

    Parameters
    ----------
    until : datetime
    began : datetime or None
        When the transaction began; None where it is that of a view.
    token : str
    """

    until: datetime
    began: datetime | None
    token: str

    @property
    def name(self) -> str:
        """Of the hidden branch."""
        began = 0 if self.began is None else _milliseconds(self.began)
        return f"{HIDDEN}lease.{_milliseconds(self.until)}.{began}.{self.token}"

    def is_live(self, backend: Backend, now: datetime) -> bool:
        """Whether it still holds."""
        return now < (self.until if backend.is_local else self.until + _SKEW)


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _moment(milliseconds: str) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)


def take(backend: Backend, snapshot_id: str, until: datetime, began: datetime | None) -> LeaseRef:
    """Make a lease of a snapshot.

    Raises
    ------
    NotFoundError
        If the snapshot is gone.
    """
    made = LeaseRef(until, began, secrets.token_hex(8))
    keep(backend, made.name, snapshot_id)
    return made


def release(backend: Backend, lease: LeaseRef) -> None:
    """End a lease; nothing happens where it is not there any more."""
    try:
        let_go(backend, lease.name)
    except NotFoundError:
        return  # it had ended, and was removed


def leases(backend: Backend) -> list[LeaseRef]:
    """All leases that are stored, those that have ended too."""
    found = [match for name in names(backend) if (match := _LEASE.fullmatch(name))]
    return [LeaseRef(_moment(m[1]), None if m[2] == "0" else _moment(m[2]), m[3]) for m in found]


def held(backend: Backend, now: datetime) -> list[str]:
    """The snapshots that live leases keep."""
    found = []
    for lease in leases(backend):
        if lease.is_live(backend, now):
            try:
                found.append(target(backend, lease.name))
            except NotFoundError:
                continue  # it was released while we looked
    return found
