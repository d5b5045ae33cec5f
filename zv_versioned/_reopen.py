"""Opening again what was pickled: in another process, or in this one.

What is pickled is an address and names. A process that gets many views of one
repository, as the tasks of a cluster do, opens it once: the last few of both
are kept, so that what was read of a snapshot is not read again with each task.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, TypeVar

from .errors import ZVError
from .storage import Address

if TYPE_CHECKING:
    from .level import Level
    from .repository import Repository
    from .view import Dataset, View

T = TypeVar("T")


class _Recent:
    """Keeps the most recently opened things, and opens each once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._items: OrderedDict[Hashable, object] = OrderedDict()

    def get(self, key: Hashable, open_it: Callable[[], T]) -> T:
        with self._lock:
            if key not in self._items:
                self._items[key] = open_it()
            self._items.move_to_end(key)
            while len(self._items) > self._limit:
                self._items.popitem(last=False)
            return self._items[key]  # type: ignore[return-value]


_repositories = _Recent(4)
_views = _Recent(8)

if hasattr(os, "register_at_fork"):
    # A lock that another thread held would never be released here, and what is open cannot be used.
    os.register_at_fork(after_in_child=_repositories._forget)
    os.register_at_fork(after_in_child=_views._forget)


def repository(address: Address) -> Repository:
    """The repository at an address.

    Raises
    ------
    ZVError
        As ``Repository.open`` does; it names the options that were not pickled.
    """
    return _repositories.get(address, lambda: _open(address))


def _open(address: Address) -> Repository:
    from .repository import Repository

    try:
        return Repository.open(
            address.location,
            lock_timeout=address.lock_timeout,
            durable=address.durable,
            **dict(address.options),
        )
    except ZVError as error:
        if not address.withheld:
            raise
        raise type(error)(
            f"{error}. It was opened with {', '.join(address.withheld)}, which are never pickled: "
            "give this process its credentials in its environment"
        ) from error


def view(address: Address, snapshot_id: str, branch: str | None) -> View:
    """The view of a snapshot, as it was taken from a branch or none."""

    def take() -> View:
        from .view import View

        return View(repository(address), snapshot_id, branch)

    return _views.get((address, snapshot_id, branch), take)


def dataset(of: View, name: str) -> Dataset:
    """A dataset of a view."""
    return of[name]


def level(of: Dataset, number: int) -> Level:
    """A level of a dataset."""
    return of[number]
