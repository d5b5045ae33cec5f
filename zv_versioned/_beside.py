"""One thing done in a thread while another goes on, where it is large enough to be worth it.

Sorting, hashing and compressing leave the interpreter to others while they work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_WORTH_A_THREAD = 1 << 14
"""From so many vertices on, what is done with them takes longer than starting a thread."""


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
    with ThreadPoolExecutor(1, "zv-versioned-beside") as other:
        future = other.submit(work, *args, **kwargs)
        yield future.result
