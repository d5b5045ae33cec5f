"""Threads for what leaves the interpreter to others while it works: sorting, hashing, compressing.

And one thing done while another goes on, where it is large enough to be worth it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from . import _io

P = ParamSpec("P")
T = TypeVar("T")

_WORTH_A_THREAD = 1 << 14
"""From so many vertices on, what is done with them takes longer than starting a thread."""


class _Here(Executor):
    """Does what it is given at once, in the thread that gives it."""

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        done: Future[T] = Future()
        try:
            done.set_result(work(*args, **kwargs))
        except BaseException as error:
            done.set_exception(error)
        return done


def threads(count: int, name: str) -> Executor:
    """A pool of so many threads; at the interpreter's end, when none can start, the caller alone.

    What is submitted must not wait for the caller.
    """
    return _Here() if _io.is_ending() else ThreadPoolExecutor(count, name)


@contextmanager
def beside(
    n: int, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
) -> Iterator[Callable[[], T]]:
    """Do something with `n` vertices while the block does something else.

    It is over when the block is left.

    Yields
    ------
    callable
        Waits for it, and returns what it returns or raises what it raises.
    """
    if n < _WORTH_A_THREAD:
        done = work(*args, **kwargs)
        yield lambda: done
        return
    with threads(1, "zv-versioned-beside") as other:
        future = other.submit(work, *args, **kwargs)
        yield future.result
