"""A bounded memory of what was read: immutable things under names that never change meaning."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Any


class Cache:
    """Keeps the most recently used values up to a number of bytes.

    Safe between threads. Only what can never change may be kept here: parts of
    batches under the batch's uuid, shard indexes under the snapshot's key.

    Parameters
    ----------
    limit : int
        Bytes to keep at most.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._lock = threading.Lock()
        self._items: dict[Hashable, tuple[Any, object]] = {}
        self._together: OrderedDict[object, tuple[set[Hashable], int]] = OrderedDict()

    def get(self, key: Hashable) -> Any:
        """The value under `key`, or None."""
        with self._lock:
            value, mark = self._items.get(key, (None, None))
            if mark not in self._together:
                return None
            self._together.move_to_end(mark)
            return value

    def put(self, key: Hashable, value: Any, size: int) -> None:
        """Keep `value`, which takes `size` bytes; forget the least used where room is short."""
        self.put_together([key], [value], size)

    def put_together(self, keys: Sequence[Hashable], values: Sequence[Any], size: int) -> None:
        """Keep values that lie in the same memory, of `size` bytes: they are forgotten together."""
        if size > self._limit // 4 or not keys:
            return
        mark = object()
        with self._lock:
            for key in keys:
                self._forget(key)
            self._used += size
            self._together[mark] = (set(keys), size)
            self._items.update((k, (value, mark)) for k, value in zip(keys, values, strict=True))
            while self._used > self._limit:
                self._drop(next(iter(self._together), None))

    # An interrupt may come between any two steps: what it leaves without its mark is as good as
    # not there, and a mark that has lost its values goes in its turn.

    def _forget(self, key: Hashable) -> None:
        """Drop what is under a key; its memory is free when nothing is left there."""
        _, mark = self._items.pop(key, (None, None))
        left, _ = self._together.get(mark, (None, 0))
        if left is not None:
            left.discard(key)
            if not left:
                self._drop(mark)

    def _drop(self, mark: object) -> None:
        """Drop all that lies in the same memory."""
        keys, size = self._together.pop(mark, (set(), self._used))
        self._used -= size
        for key in keys:
            if self._items.get(key, (None, None))[1] is mark:
                del self._items[key]
