"""One event loop, in one thread of its own, for all asynchronous storage calls.

Everything above this module is plain synchronous code. It hands coroutines to
:func:`run`, which waits for them here. So the same call works in a script,
inside a running event loop and from any number of threads: the loop's thread
never waits for anybody, therefore nothing can wait in a circle.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ParamSpec, TypeVar

from ._begun import Begun, Here
from .errors import StorageError

P = ParamSpec("P")
T = TypeVar("T")

_RELEASE_SECONDS = 0.02
"""icechunk's own threads let go of what the last calls used a moment after they returned, and need
the interpreter for it; nothing tells when they have."""

_start_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_loop_pid: int | None = None
_tasks: set[asyncio.Task[Any]] = set()
"""Those that go on: the loop itself does not keep them, and nothing would ever end."""


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


def is_ending() -> bool:
    """Whether the interpreter is ending: what was left for that runs, but no new thread may."""
    return not threading.main_thread().is_alive()


def _get_loop() -> asyncio.AbstractEventLoop:
    global _loop, _loop_pid
    check_here()
    with _start_lock:
        if _loop is None:
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever, name="zv-versioned-io", daemon=True)
            thread.start()
            _loop, _loop_pid = loop, os.getpid()
            atexit.register(_stop, loop, thread, _loop_pid)
        return _loop


def _stop(loop: asyncio.AbstractEventLoop, thread: threading.Thread, pid: int) -> None:
    """End the loop's thread before the interpreter ends.

    A thread that the interpreter's end finds inside a storage call takes the
    whole process down with an abort, after all work was done.
    """
    global _loop
    if os.getpid() == pid and not loop.is_closed():
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        _loop = None
        time.sleep(_RELEASE_SECONDS)


def _run_here(coroutine: Coroutine[Any, Any, T]) -> Begun[T]:
    """Run `coroutine` to its end in this thread, where there is no other any more.

    So what somebody registered for the interpreter's end may still write and read.
    """
    begun = Here().submit(asyncio.run, coroutine)
    time.sleep(_RELEASE_SECONDS)
    return begun


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` on the storage loop and wait for its result.

    Parameters
    ----------
    coroutine : coroutine
        It must only await storage calls; it must not call :func:`run` itself.

    Returns
    -------
    object
        What the coroutine returns; what it raises is raised here.
    """
    return start(coroutine).result()


def start(coroutine: Coroutine[Any, Any, T]) -> Begun[T]:
    """Begin to run `coroutine`, as :func:`run` does, and return at once.

    Returns
    -------
    Begun
        Its result has to be waited for by whoever began it.
    """
    if _loop is None and is_ending():
        check_here()
        return _run_here(coroutine)
    begun: Begun[T] = Begun()
    loop = _get_loop()
    loop.call_soon_threadsafe(_begin, loop, coroutine, begun)
    return begun


def _begin(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T], begun: Begun[T]
) -> None:
    task = loop.create_task(coroutine)
    _tasks.add(task)
    task.add_done_callback(functools.partial(_end, begun))


def _end(begun: Begun[T], task: asyncio.Task[T]) -> None:
    _tasks.discard(task)
    if task.cancelled():
        begun.ends(error=asyncio.CancelledError())
    elif (error := task.exception()) is not None:
        begun.ends(error=error)
    else:
        begun.ends(task.result())


def settle(begun: Sequence[Begun[Any]]) -> None:
    """Wait for what :func:`start` began to end, however it ends."""
    if begun:
        check_here()  # in a forked child nothing would ever end
        for one in begun:
            one.wait()


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
