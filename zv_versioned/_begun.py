"""What another thread does for one that waits for it, so that an interrupt leaves neither stuck.

A future of the standard library is guarded by locks that are taken in Python, where Ctrl-C may
come between the taking and whatever would let go again: the other thread then waits for ever, and
so does whoever waits for it. Here the waiting thread takes no lock but the one that the other
only lets go of, in one step.
"""

from __future__ import annotations

import _thread
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Generic, ParamSpec, Self, TypeVar

__all__ = ["Begun", "Here", "Threads"]

P = ParamSpec("P")
T = TypeVar("T")


class Begun(Generic[T]):
    """Something that was begun elsewhere."""

    __slots__ = ("_error", "_going", "_value", "is_wanted")

    def __init__(self) -> None:
        self.is_wanted = True
        self._going = _thread.allocate_lock()
        self._going.acquire()
        self._value: Any = None
        self._error: BaseException | None = None

    def ends(self, value: Any = None, error: BaseException | None = None) -> None:
        """Say, once, what came of it."""
        self._value, self._error = value, error
        self._going.release()

    def wait(self) -> None:
        """Return when it has ended, however it ended."""
        with self._going:
            pass

    def result(self) -> T:
        """Wait for it, and return what came of it, or raise what it raised."""
        self.wait()
        if self._error is None:
            return self._value  # type: ignore[no-any-return]
        try:
            raise self._error
        finally:
            self = None  # type: ignore[assignment]  # the error leads here, and would lead back


def _do(begun: Begun[T], work: Callable[[], T]) -> None:
    try:
        begun.ends(work() if begun.is_wanted else None)
    except BaseException as error:
        begun.ends(error=error)
    finally:
        del begun, work  # an error leads here, and would lead back to itself


class Here:
    """Does at once what it is given, in the thread that gives it; otherwise as :class:`Threads`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        pass

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Begun[T]:
        """Begin something."""
        begun: Begun[T] = Begun()
        _do(begun, lambda: work(*args, **kwargs))
        return begun


class Threads(Here):
    """Some threads for the length of a block; they have ended when it is left.

    Where the block fails, what no thread has begun yet is let be.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._started = 0
        self._todo: SimpleQueue[tuple[Begun[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._ends: list[Begun[None]] = []

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Begun[T]:
        """Begin something; it must not wait for the thread that asks for it."""
        begun: Begun[T] = Begun()
        self._todo.put((begun, lambda: work(*args, **kwargs)))
        if self._started < self._count:
            end: Begun[None] = Begun()
            # Counted before it is there: each gets its sign to end, whatever comes in between.
            self._started += 1
            # Not a Thread: to start one is to wait for it, with such a lock.
            _thread.start_new_thread(_serve, (self._todo, end))
            self._ends.append(end)
        return begun

    def __exit__(self, *failure: object) -> None:
        if failure[0] is not None:
            with suppress(Empty):
                while True:
                    self._todo.get_nowait()
        for _ in range(self._started):
            self._todo.put(None)
        for end in self._ends:
            end.wait()


def _serve(
    todo: SimpleQueue[tuple[Begun[Any], Callable[[], Any]] | None], end: Begun[None]
) -> None:
    while (asked := todo.get()) is not None:
        _do(*asked)
        del asked  # with what it was given, and what came of it
    end.ends()
