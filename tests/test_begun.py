"""What another thread does for one that waits: what comes of it, and nobody is left waiting."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
import time
import weakref
from contextlib import suppress

import pytest

from tests._interrupts import interrupted_at
from zv_versioned import _begun, _io
from zv_versioned._begun import Begun, Here, Threads


@pytest.fixture(params=[Here, lambda: Threads(3)], ids=["here", "threads"])
def workers(request: pytest.FixtureRequest) -> Here:
    made: Here = request.param()
    return made


def test_what_was_begun_returns_or_raises_what_its_work_did(workers: Here) -> None:
    def fail() -> None:
        raise KeyError("mine")

    with workers as pool:
        squares = [pool.submit(pow, number, 2) for number in range(50)]
        failed = pool.submit(fail)
        assert [one.result() for one in squares] == [number**2 for number in range(50)]
        for _ in range(2):
            with pytest.raises(KeyError, match="mine"):
                failed.result()
        assert squares[3].result() == 9


def test_a_block_is_left_when_all_that_was_begun_is_over() -> None:
    done: list[int] = []

    def work(number: int) -> None:
        time.sleep(0.02)
        done.append(number)

    with Threads(2) as pool:
        for number in range(6):
            pool.submit(work, number)
    assert sorted(done) == list(range(6))


def test_as_many_threads_as_asked_for_work_at_the_same_time() -> None:
    together = threading.Barrier(3)
    with Threads(3) as pool:
        waiting = [pool.submit(together.wait, 30) for _ in range(3)]
        assert sorted(one.result() for one in waiting) == [0, 1, 2]


def test_of_a_block_that_fails_nothing_more_is_begun() -> None:
    began, go_on = threading.Event(), threading.Event()
    done: list[int] = []

    def first() -> None:
        began.set()
        go_on.wait(30)

    def fail(pool: Here) -> None:
        pool.submit(first)
        for number in range(5):
            pool.submit(done.append, number)
        began.wait(30)
        threading.Timer(0.05, go_on.set).start()
        raise ValueError("the block")

    with pytest.raises(ValueError, match="the block"), Threads(1) as pool:
        fail(pool)
    assert done == []


def test_what_is_not_wanted_any_more_is_not_done() -> None:
    begun: Begun[int] = Begun()
    begun.is_wanted = False
    _begun._do(begun, lambda: pytest.fail("it was done"))
    begun.wait()


async def _value() -> int:
    await asyncio.sleep(0)
    return 3


def _use_loop() -> None:
    assert _io.run(_value()) == 3


def _use_threads() -> None:
    with Threads(2) as pool:
        assert [one.result() for one in [pool.submit(pow, 2, n) for n in range(4)]] == [1, 2, 4, 8]


@pytest.mark.parametrize("use", [_use_loop, _use_threads])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a coroutine that was never begun
def test_after_an_interrupt_at_any_moment_all_goes_on(use: object) -> None:
    assert callable(use)
    use()
    for moment in itertools.count(1):
        with interrupted_at(moment, _io, _begun) as came, suppress(KeyboardInterrupt):
            use()
        if came.where is None:
            break
        again = threading.Thread(target=use, daemon=True)
        again.start()
        again.join(30)
        assert not again.is_alive(), f"after an interrupt at {came.where} others wait for ever"
        use()
    assert moment > 10


def test_an_interrupt_while_it_waits_ends_the_wait_and_nothing_else() -> None:
    begun: Begun[str] = Begun()
    with interrupted_at(1, _begun) as came, suppress(KeyboardInterrupt):
        begun.wait()
    assert came.where is not None
    begun.ends("done")
    assert begun.result() == "done"


class _Thing:
    pass


def test_what_failed_is_let_go_of_with_what_it_was_given() -> None:
    def fail(thing: _Thing) -> None:
        raise ValueError("mine")

    def use() -> weakref.ref[_Thing]:
        thing = _Thing()
        with Threads(1) as pool, suppress(ValueError):
            pool.submit(fail, thing).result()
        return weakref.ref(thing)

    gc.disable()
    try:
        assert use()() is None
    finally:
        gc.enable()
