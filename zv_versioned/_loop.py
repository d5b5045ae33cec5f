"""The event loop of a thread that waits for the storage, and for nothing else.

The loops of asyncio watch sockets, and are woken through one. Here nobody has any: whoever
waits sleeps on a lock, which lets go when the storage has done something. So a call needs
neither a thread of its own nor the turns of the interpreter that two threads take for it, and
each of these counts where others wait for the lock of a repository.

Source: the documentation of asyncio, "Event Loop" and "Extending"; pyo3-async-runtimes, which
icechunk answers through.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

_log = logging.getLogger("zv_versioned")


class StorageLoop(asyncio.AbstractEventLoop):
    """An event loop for storage calls, run by the thread that waits for them.

    It has tasks, futures, timers and calls from other threads, and no sockets, executors and
    processes: what would need one of these raises ``NotImplementedError``.
    """

    def __init__(self) -> None:
        self._ready: deque[asyncio.Handle] = deque()
        self._later: list[asyncio.TimerHandle] = []
        self._asleep = threading.Lock()
        self._asleep.acquire()
        self._running = False

    # -- what tasks and futures ask of a loop ---------------------------------

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        """A task of this loop."""
        return asyncio.Task(coro, loop=self, **options)

    def call_soon(
        self,
        callback: Callable[[Unpack[Arguments]], object],
        *args: *Arguments,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """Call something in the next turn."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[Arguments]], object],
        *args: *Arguments,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """The same, whichever thread asks for it; it ends the sleep."""
        handle = self.call_soon(callback, *args, context=context)
        with suppress(RuntimeError):  # it is not asleep, or was woken already
            self._asleep.release()
        return handle

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Arguments]], object],
        *args: *Arguments,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call something at a moment of :meth:`time`."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._later, handle)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Arguments]], object],
        *args: *Arguments,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call something in so many seconds."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing is kept of those that were cancelled but their place."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Tell of an error that nobody waits for."""
        _log.error("%s", context.get("message"), exc_info=context.get("exception"))

    def get_debug(self) -> bool:
        """Whether it looks for mistakes, which it does not."""
        return False

    def is_running(self) -> bool:
        """Whether its thread is waiting just now."""
        return self._running

    def is_closed(self) -> bool:
        """Whether it takes no more calls; it always does."""
        return False

    def time(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    # -- what its thread does --------------------------------------------------

    def begin(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine as far as it goes without waiting; :meth:`finish` has to be called."""
        task: asyncio.Task[T] = self.create_task(coroutine)
        with self._cancelled_with(task):
            self._go(lambda: bool(self._ready))
        return task

    def finish(self, task: asyncio.Task[T]) -> T:
        """Wait for the end of a task, and return or raise what it does.

        Where the wait is interrupted, the task is cancelled, and ends before this does.
        """
        with self._cancelled_with(task):
            self._go(lambda: not task.done())
        return task.result()

    @contextmanager
    def _cancelled_with(self, task: asyncio.Task[Any]) -> Iterator[None]:
        """Around turns: what interrupts them cancels a task, and waits for its end."""
        try:
            yield
        except BaseException:
            task.cancel()
            self._go(lambda: not task.done())
            if not task.cancelled():
                task.exception()  # which has been looked at by that
            raise

    def _go(self, wanted: Callable[[], bool]) -> None:
        """Take turns for as long as is wanted, asleep where there is nothing to do."""
        asyncio._set_running_loop(self)
        self._running = True
        try:
            while wanted():
                self._wait()
                for _ in range(len(self._ready)):
                    handle = self._ready.popleft()
                    if not handle.cancelled():
                        handle._run()
        finally:
            self._running = False
            asyncio._set_running_loop(None)

    def _wait(self) -> None:
        """Until something is to be called: by another thread's wish, or since its moment came."""
        if not self._ready and not self._later:
            self._asleep.acquire()
        elif not self._ready and (left := self._later[0].when() - self.time()) > 0:
            self._asleep.acquire(timeout=min(left, threading.TIMEOUT_MAX))
        while self._later and self._later[0].when() <= self.time():
            self._ready.append(heapq.heappop(self._later))
