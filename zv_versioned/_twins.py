"""Async twins: the same read, awaited, while the running loop goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def twin(read: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """A coroutine function that does what `read` does, in a worker thread.

    Storage is waited for on another loop and arrays are put together by numpy, so
    the thread that it is awaited in is free for as long as the read takes. One
    that is cancelled is abandoned: its result is dropped when it is there.
    """

    @wraps(read)
    async def awaited(*args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(read, *args, **kwargs)

    name = read.__name__
    awaited.__name__ = f"a{name}"
    awaited.__qualname__ = read.__qualname__.removesuffix(name) + awaited.__name__
    awaited.__doc__ = f"What :meth:`{name}` gives, awaited; parameters and errors are the same."
    return awaited
