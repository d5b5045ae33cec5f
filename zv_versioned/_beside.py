"""Threads for what leaves the interpreter to others while it works: sorting, hashing, compressing.

And one thing done while another goes on, where it is large enough to be worth it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from . import _io
from ._begun import Here, Threads

P = ParamSpec("P")
T = TypeVar("T")

_WORTH_A_THREAD = 1 << 14
"""From so many vertices on, what is done with them takes longer than starting a thread."""


def threads(count: int) -> Here:
    """So many threads for a block; at the interpreter's end the caller alone."""
    return Here() if _io.is_ending() else Threads(count)


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
    with threads(1) as other:
        future = other.submit(work, *args, **kwargs)
        yield future.result
