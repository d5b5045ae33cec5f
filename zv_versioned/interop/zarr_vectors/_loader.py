"""Units that many tasks ask for: each is made once, many in one call.

A reader of Zarr Vectors asks for every cell of every array by a request of its
own, all at the same moment. What is known is answered at once, without leaving
the event loop; what is not is collected until the moment is over, and then
made in one worker thread by few reads.
"""

from __future__ import annotations

import asyncio
import threading
from weakref import WeakKeyDictionary

from ..._cache import Cache
from ._nodes import Loaded, Source, Unit

_KEPT_BYTES = 64 << 20
_AT_ONCE_BYTES = 16 << 20


class _Queue:
    """What the tasks of one event loop wait for."""

    def __init__(self) -> None:
        self.waiting: dict[tuple[str, Unit], asyncio.Future[Loaded]] = {}
        self.pending: list[tuple[Source, Unit]] = []
        self.worker: asyncio.Task[None] | None = None


class Loader:
    """Makes units of the sources of one level, and keeps the last ones.

    May be used from several event loops, in any threads.
    """

    def __init__(self) -> None:
        self._kept = Cache(_KEPT_BYTES)
        self._lock = threading.Lock()
        self._queues: WeakKeyDictionary[asyncio.AbstractEventLoop, _Queue] = WeakKeyDictionary()

    async def get(self, source: Source, unit: Unit) -> Loaded:
        """A unit of a source, made now or before."""
        key = (source.path, unit)
        known: Loaded | None = self._kept.get(key)
        if known is not None:
            return known
        loop = asyncio.get_running_loop()
        with self._lock:
            queue = self._queues.setdefault(loop, _Queue())
        future = queue.waiting.get(key)
        if future is None:
            future = queue.waiting[key] = loop.create_future()
            queue.pending.append((source, unit))
            if queue.worker is None:
                queue.worker = loop.create_task(self._work(queue))
        # Shielded: that one task gives up must not take the unit from the others.
        return await asyncio.shield(future)

    async def _work(self, queue: _Queue) -> None:
        try:
            await asyncio.sleep(0)  # the others who ask at this moment
            while queue.pending:
                source, units = _next(queue)
                futures = [queue.waiting[source.path, unit] for unit in units]
                try:
                    made = await asyncio.to_thread(source.load, units)
                except Exception as error:
                    for future in futures:
                        future.set_exception(error)
                else:
                    for future, unit, loaded in zip(futures, units, made, strict=True):
                        self._kept.put((source.path, unit), loaded, source.weight(unit))
                        future.set_result(loaded)
                for unit in units:
                    del queue.waiting[source.path, unit]
        finally:
            queue.worker = None
            for future in queue.waiting.values():
                future.cancel()
            queue.waiting.clear()
            queue.pending.clear()


def _next(queue: _Queue) -> tuple[Source, list[Unit]]:
    """Take units of one source from a queue, not too many at once."""
    source = queue.pending[0][0]
    units: list[Unit] = []
    left: list[tuple[Source, Unit]] = []
    room = _AT_ONCE_BYTES
    for entry in queue.pending:
        if entry[0] is source and room > 0:
            units.append(entry[1])
            room -= source.weight(entry[1])
        else:
            left.append(entry)
    queue.pending = left
    return source, units
