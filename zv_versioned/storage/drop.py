"""Removing all chunks of arrays from a session at once.

One by one, each is a call of its own through an event loop: 0.1 ms, whatever its size.
icechunk 2 removes those below a prefix in one call, 3 µs each. icechunk 1 takes 50 µs
for it; there the array is made anew, which takes none: it shares no chunks between
nodes anyway (:mod:`.carry`), so nothing is lost by a new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import _store
from ..format.metadata import dumps
from .carry import SHARES


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
            _store.delete_tree(store, f"{array}/c")
        else:
            _store.delete_tree(store, array)
            made.append((f"{array}/zarr.json", dumps(document)))
    _store.set_many(store, made)
