"""The loop of a thread that waits for the storage: it ends what it begins, in that thread."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from zv_versioned import _io
from zv_versioned._loop import StorageLoop


def answered(value: Any, after: float = 0.01) -> asyncio.Future[Any]:
    """A future of the running loop that another thread ends, as icechunk's do."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    def end() -> None:
        time.sleep(after)
        loop.call_soon_threadsafe(lambda: future.cancelled() or future.set_result(value))

    threading.Thread(target=end).start()
    return future


def test_what_another_thread_answers_comes_back() -> None:
    async def ask() -> int:
        found = await asyncio.gather(*(answered(i, 0.001 * (i % 7)) for i in range(40)))
        return sum(found)

    assert _io.run(ask()) == sum(range(40))


def test_an_error_is_raised_where_the_result_was_waited_for() -> None:
    async def fail() -> None:
        await answered(None)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        _io.run(fail())


def test_it_runs_in_the_thread_that_asks_also_in_many_at_once() -> None:
    async def here() -> int:
        await answered(None, 0.001)
        return threading.get_ident()

    def ask(_: int) -> bool:
        return _io.run(here()) == threading.get_ident()

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(100)))


def test_inside_a_running_loop_it_runs_elsewhere() -> None:
    async def here() -> int:
        return threading.get_ident()

    async def ask() -> int:
        return _io.run(here())

    assert asyncio.run(ask()) != threading.get_ident()


def test_what_is_begun_goes_as_far_as_it_can_and_on_when_it_is_waited_for() -> None:
    seen = []

    async def one(name: str) -> str:
        seen.append(f"{name} asks")
        answer = await answered(name)
        seen.append(f"{name} ends")
        return str(answer)

    async def two() -> list[str]:
        return list(await asyncio.gather(one("a"), one("b")))

    finish = _io.begin(two())
    assert seen == ["a asks", "b asks"]
    time.sleep(0.05)  # its answers are there by now, but its turn has not come
    assert seen == ["a asks", "b asks"]

    async def three() -> None:
        await answered(None)

    _io.run(three())  # another call in between is in nobody's way
    assert finish() == ["a", "b"]
    assert sorted(seen[2:]) == ["a ends", "b ends"]


def test_timers_come_in_their_order_beside_what_is_always_ready() -> None:
    seen: list[float] = []

    async def late(seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append(seconds)

    async def busy() -> None:
        while len(seen) < 3:
            await asyncio.sleep(0)

    async def everything() -> None:
        await asyncio.gather(busy(), late(0.03), late(0.01), late(0.02))

    _io.run(everything())
    assert seen == [0.01, 0.02, 0.03]


@pytest.mark.skipif(sys.platform == "win32", reason="no signals to threads")
def test_an_interrupted_wait_cancels_and_ends_the_call_first() -> None:
    seen = []

    async def cancelled() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
            seen.append("ended")
            raise

    main = threading.main_thread().ident
    interrupt = threading.Timer(0.1, signal.pthread_kill, [main, signal.SIGINT])
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        _io.run(cancelled())
    assert seen == ["ended"]

    async def more() -> int:
        return int(await answered(7))

    assert _io.run(more()) == 7


def test_an_error_in_a_call_that_nobody_waits_for_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def go() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        await answered(None)

    with caplog.at_level(logging.ERROR, "zv_versioned"):
        _io.run(go())
    assert "ZeroDivisionError" in caplog.text


def test_what_it_has_not_is_refused() -> None:
    async def sockets() -> None:
        await asyncio.get_running_loop().create_connection(asyncio.Protocol, "localhost", 1)

    with pytest.raises(NotImplementedError):
        _io.run(sockets())


@pytest.mark.filterwarnings("error")
def test_the_loop_of_a_thread_that_ended_is_gone_without_a_word() -> None:
    async def nothing() -> None:
        await answered(None, 0.0)

    def known() -> int:
        gc.collect()
        return sum(isinstance(one, StorageLoop) for one in gc.get_objects())

    before = known()
    threads = [threading.Thread(target=lambda: _io.run(nothing())) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert known() <= before


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_forked_child_is_refused_though_its_parent_only_used_a_loop_of_its_own() -> None:
    script = (
        "import os, sys\n"
        "from zv_versioned import _io\n"
        "async def one(): return 1\n"
        "assert _io.run(one()) == 1\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    try:\n"
        "        _io.run(one())\n"
        "    except Exception as error:\n"
        "        os._exit(7 if 'forked' in str(error) else 1)\n"
        "    os._exit(0)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert done.returncode == 7
    assert b"never awaited" not in done.stderr
