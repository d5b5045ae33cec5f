"""Writing while the caller goes on: a bounded number of bytes on their way, a few held back."""

from __future__ import annotations

from collections import deque

from zarr.abc.store import Store

from . import _io, _writes
from ._begun import Begun

# To begin a write costs as much as to write some kilobytes.
_START_BYTES = 64 << 10


class Uploader:
    """Writes values while the caller goes on, a bounded number of bytes at a time.

    Values are only known to be written after :meth:`finish`. No key may be put
    twice in between: which value stays would be left to chance.

    Parameters
    ----------
    store : zarr.abc.store.Store
    limit : int
        Bytes that may be on their way before :meth:`put` waits.
    hold : int
        Bytes up to which nothing is written before :meth:`finish`.
    """

    def __init__(self, store: Store, limit: int = 16 << 20, hold: int = 0) -> None:
        self._store = store
        self._limit = limit
        self._hold = hold
        self._held: list[tuple[str, _writes.Value]] = []
        self._held_bytes = 0
        self._going: deque[tuple[Begun[None], int]] = deque()
        self._going_bytes = 0

    def put(self, key: str, value: _writes.Value) -> None:
        """Take one value.

        Raises
        ------
        StorageError
            If one that was taken earlier could not be written; the others are
            then stopped.
        """
        self._held.append((key, value))
        self._held_bytes += len(value)
        if self._held_bytes >= min(_START_BYTES, self._limit // 2):
            self.start()

    def start(self) -> None:
        """Begin to write what was taken so far, if it is enough; raises as :meth:`put`."""
        if self._held_bytes > self._hold:
            self._start()

    def _start(self) -> None:
        if not self._held:
            return
        while self._going and self._going_bytes + self._held_bytes > self._limit:
            self._wait_for_oldest()
        items, size = self._held, self._held_bytes
        self._held, self._held_bytes = [], 0
        self._going.append((_writes.begin_set(self._store, items), size))
        self._going_bytes += size

    def finish(self) -> None:
        """Return when all is written; raises as :meth:`put`."""
        self._start()
        self.wait()

    def wait(self) -> None:
        """Return when all that was begun is written; raises as :meth:`put`."""
        while self._going:
            self._wait_for_oldest()

    def take(self) -> list[tuple[str, _writes.Value]]:
        """Give back what is held and was not begun to be written: the caller writes it."""
        held, self._held, self._held_bytes = self._held, [], 0
        return held

    def stop(self) -> None:
        """Write no more; returns when nothing is on its way any more."""
        going = [future for future, _ in self._going]
        self._going.clear()
        self._held, self._held_bytes, self._going_bytes = [], 0, 0
        _io.settle(going)

    def _wait_for_oldest(self) -> None:
        future, size = self._going[0]
        try:
            _writes.wait(future)
        except BaseException:
            self.stop()
            raise
        self._going.popleft()
        self._going_bytes -= size
