"""Removing many chunks of arrays from a session at once.

One by one, each is a call of its own through an event loop: 0.1 to 0.3 ms, whatever its size.
icechunk 2 removes those below a prefix in one call, 3 µs each, and those of some slots by
asking of each chunk of the array where it comes from, 5 µs each. icechunk 1 takes 50 µs
for the first and has nothing for the second; there an array that loses all is made anew,
which takes none: it shares no chunks between nodes anyway (:mod:`.carry`), so nothing is
lost by a new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _store, _writes
from ..format.metadata import dumps
from .carry import SHARES, reindex_array
from .translate import translated


def drop_chunks(store: Any, arrays: Sequence[str]) -> None:
    """Remove all chunks of some arrays, which stay as they are otherwise.

    Parameters
    ----------
    store : icechunk.IcechunkStore
        Of a writable session.
    arrays : sequence of str
        Paths; it is no error where there is no such array.

    Raises
    ------
    StorageError
        If the storage fails.
    """
    documents, made = _store.get_documents(store, arrays), []
    for array, document in zip(arrays, documents, strict=True):
        if document is None:
            continue
        if SHARES:
            _writes.delete_tree(store, f"{array}/c")
        else:
            _writes.delete_tree(store, array)
            made.append((f"{array}/zarr.json", dumps(document)))
    _writes.set_many(store, made)


_AT_ONCE = 30
"""Removing a chunk by itself takes as long as asking so many where they come from."""


def drops_slots(gone: int, left: int) -> bool:
    """Whether :func:`drop_slots` is there, and faster than one by one.

    Parameters
    ----------
    gone, left : int
        Slots that are to be emptied, and others that are in use.
    """
    return SHARES and gone + left < _AT_ONCE * gone


def drop_slots(store: Any, arrays: Sequence[str], slots: np.ndarray) -> None:
    """Remove all chunks of some arrays that stand under some slots; see :func:`drops_slots`.

    Parameters
    ----------
    store : icechunk.IcechunkStore
        Of a writable session.
    arrays : sequence of str
        Paths; it is no error where there is no such array.
    slots : ndarray of int64

    Raises
    ------
    StorageError
        If the storage fails.
    """
    gone = set(slots.tolist())

    def stays(at: list[int]) -> None:
        return None

    def origin(at: list[int]) -> list[int] | None:
        return None if at[0] in gone else at

    documents = _store.get_documents(store, arrays)
    for array, document in zip(arrays, documents, strict=True):
        if document is not None:
            with translated(array):
                reindex_array(store.session, array, stays, origin)
