"""Reading in several threads, where cells are so large that it is faster.

Reading a file and decompressing a cell let go of the interpreter's lock. Of a cell of 24 KB
that is 10 µs, and two threads lose more by waiting for each other than they gain; of one of
some hundred KB each of two has most of a core.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from .._beside import threads

T = TypeVar("T")

LANES = min(4, os.cpu_count() or 1)
"""Threads that read at the same time."""
LARGE_CELL = 64 << 10
"""Bytes of a cell, on average, from which on it is faster."""
LARGE_READ = 32 << 20
"""Bytes of a read from which on it is: with fewer the threads hardly begin."""


def each(work: Callable[[int], None], first: Callable[[], None], count: int) -> None:
    """Do `first`, and some work for each number below `count`, in several threads.

    Every thread takes the largest number that is left. When one fails, no other is begun.
    """
    left = deque(range(count))

    def taken() -> int | None:
        try:
            return left.pop()
        except IndexError:
            return None

    def lane() -> None:
        try:
            while (number := taken()) is not None:
                work(number)
        except BaseException:
            left.clear()
            raise

    with threads(max(1, LANES - 1)) as pool:
        others = [pool.submit(lane) for _ in range(min(LANES - 1, count))]
        try:
            first()
        except BaseException:
            left.clear()
            raise
        lane()
        for other in others:
            other.result()


def one_ahead(
    fetch: Callable[[int], T], fill: Callable[[int, T], None], first: Callable[[], None], count: int
) -> None:
    """Fetch for each number below `count`, the largest first, and fill while the next comes.

    The first comes while `first` is done.
    """
    with threads(1) as pool:
        coming = pool.submit(fetch, count - 1)
        first()
        for number in range(count - 1, -1, -1):
            fetched = coming.result()
            if number:
                coming = pool.submit(fetch, number - 1)
            fill(number, fetched)
