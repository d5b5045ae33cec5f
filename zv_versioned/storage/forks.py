"""Sessions for workers: what they upload is merged into the session they were forked from.

A forked session is pickled, sent to another process, written to there, pickled
and sent back. It carries the storage's settings, and credentials where the
repository was opened with some: what sends it must be trusted with them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import icechunk as ic
from icechunk.session import ForkSession

from .carry import SHARES

__all__ = ["fork", "join"]


def fork(session: ic.Session) -> Any:
    """A session that has what `session` has, staged changes too, and can be pickled.

    Parameters
    ----------
    session : icechunk.Session
        Writable.
    """
    if SHARES:
        return session.fork()
    # icechunk 1 forks no session with changes, though nothing else than this is needed for it.
    inner: Any = session._session
    return ForkSession(type(inner).from_bytes(inner.as_bytes()))


def join(session: ic.Session, forks: Iterable[Any]) -> None:
    """Merge what was written to forks of a session into it.

    Parameters
    ----------
    session : icechunk.Session
    forks : iterable of icechunk.ForkSession
        No two of which wrote the same chunk.
    """
    session.merge(*forks)
