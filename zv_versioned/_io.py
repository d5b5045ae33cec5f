"""Where asynchronous storage calls run: in the thread that waits for them, or in one of their own.

Everything above this module is plain synchronous code. It hands coroutines to
:func:`run`, which waits for them in an event loop of the calling thread
(:mod:`._loop`). What goes on while its caller does, and what is called inside a
running event loop, runs in one thread that all share: it never waits for
anybody, therefore nothing can wait in a circle.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import partial
from typing import Any, ParamSpec, TypeVar

from ._loop import StorageLoop
from .errors import StorageError

P = ParamSpec("P")
T = TypeVar("T")

_start_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_loop_pid: int | None = None
_own = threading.local()


def check_process(pid: int, what: str) -> None:
    """Refuse to use ``what``, made in process `pid`, in a forked child.

    Raises
    ------
    StorageError
        If this process is not `pid`.
    """
    if os.getpid() != pid:
        raise StorageError(
            f"{what} was opened in process {pid} and cannot be used in process {os.getpid()}, "
            "which was forked from it: the storage threads did not survive the fork. Start "
            "workers with multiprocessing.get_context('spawn') (or 'forkserver') and open the "
            "repository in each of them."
        )


def check_here() -> None:
    """Refuse to read in a child that was forked from a process that had read already."""
    if _loop_pid is not None:
        check_process(_loop_pid, "a repository")


def _get_loop() -> asyncio.AbstractEventLoop:
    """The loop that all share."""
    global _loop
    _note_process()
    with _start_lock:
        if _loop is None:
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever, name="zv-versioned-io", daemon=True)
            thread.start()
            _loop = loop
            atexit.register(_stop, loop, thread, os.getpid())
        return _loop


def _own_loop() -> StorageLoop | None:
    """The loop of this thread; None where it runs another one just now."""
    _note_process()
    try:
        asyncio.get_running_loop()
        return None
    except RuntimeError:
        pass
    loop: StorageLoop | None = getattr(_own, "loop", None)
    if loop is None:
        loop = _own.loop = StorageLoop()  # type: ignore[abstract]
    return loop


def _note_process() -> None:
    """Remember, or check, which process has called the storage."""
    global _loop_pid
    if _loop_pid is not None:
        check_here()
        return
    with _start_lock:
        if _loop_pid is None:
            _loop_pid = os.getpid()
            atexit.register(_let_go, _loop_pid)


def _stop(loop: asyncio.AbstractEventLoop, thread: threading.Thread, pid: int) -> None:
    """End the loop's thread before the interpreter ends.

    A thread that the interpreter's end finds inside a storage call takes the
    whole process down with an abort, after all work was done.
    """
    if os.getpid() == pid and not loop.is_closed():
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def _let_go(pid: int) -> None:
    """Let icechunk's own threads end what they do; called after :func:`_stop`.

    They let go of what the last calls used a moment after they returned, and need
    the interpreter for it; nothing tells when they have.
    """
    if os.getpid() == pid:
        time.sleep(0.02)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` and wait for its result.

    Parameters
    ----------
    coroutine : coroutine
        It must only await storage calls; it must not call :func:`run` itself.

    Returns
    -------
    object
        What the coroutine returns; what it raises is raised here. Where the wait
        is interrupted, it is cancelled.
    """
    return begin(coroutine)()


def begin(coroutine: Coroutine[Any, Any, T]) -> Callable[[], T]:
    """Run `coroutine` as far as it goes without waiting, in this thread where that can be.

    Returns
    -------
    callable
        To be called by the same thread, in any case: it does what :func:`run` does.
    """
    with _closing_refused(coroutine):
        loop = _own_loop()
    if loop is None:
        return start(coroutine).result
    return partial(loop.finish, loop.begin(coroutine))


def start(coroutine: Coroutine[Any, Any, T]) -> Future[T]:
    """Begin to run `coroutine`, which goes on while the caller does, and return at once.

    Returns
    -------
    concurrent.futures.Future
        Its result has to be waited for by whoever began it.
    """
    with _closing_refused(coroutine):
        loop = _get_loop()
    return asyncio.run_coroutine_threadsafe(coroutine, loop)


@contextmanager
def _closing_refused(coroutine: Coroutine[Any, Any, object]) -> Iterator[None]:
    """Around what may be refused: nobody will run the coroutine then, nor is to be told so."""
    try:
        yield
    except BaseException:
        coroutine.close()
        raise


def settle(begun: Sequence[Future[Any]]) -> None:
    """Wait for what :func:`start` began to end, however it ends."""
    if begun:
        _get_loop()  # in a forked child nothing would ever end
        wait(begun)


async def in_thread(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a blocking `function` in a worker thread: the body of every async twin."""
    return await asyncio.to_thread(function, *args, **kwargs)


def coroutine_of(function: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """The async twin of a method ``NAME_sync``: the same, in a worker thread."""
    name = function.__name__.removesuffix("_sync")

    @functools.wraps(function)
    async def twin(*args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(function, *args, **kwargs)

    twin.__name__ = name
    twin.__qualname__ = function.__qualname__.removesuffix("_sync")
    summary = (function.__doc__ or "").partition("\n")[0].rstrip(".")
    twin.__doc__ = f"{summary}; the coroutine of :meth:`{name}_sync`."
    return twin
