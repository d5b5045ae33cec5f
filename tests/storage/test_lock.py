"""The lock of a local repository, between threads and real processes."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

import zv_versioned
from tests._interrupts import interrupted_at
from tests._processes import new_processes
from zv_versioned.errors import MetadataError, StorageError
from zv_versioned.storage import lock as lock_module
from zv_versioned.storage.lock import HOLDER_FILE, LOCK_FILE, RepositoryLock

if sys.platform != "win32":
    import fcntl

context = new_processes()


def _hold_until(folder: str, held: Event, release: Event) -> None:
    with RepositoryLock(folder).hold("commit to main"):
        held.set()
        release.wait(120)


def _increment(folder: str, times: int) -> None:
    lock = RepositoryLock(folder)
    counter = Path(folder, "counter")
    for _ in range(times):
        with lock.hold("count"):
            value = int(counter.read_text())
            time.sleep(0.0005)
            counter.write_text(str(value + 1))


@contextmanager
def _holder(folder: Path) -> Iterator[multiprocessing.process.BaseProcess]:
    held, release = context.Event(), context.Event()
    process = context.Process(target=_hold_until, args=(str(folder), held, release))
    process.start()
    try:
        assert held.wait(120)
        yield process
    finally:
        # Setting an event waits for those who wait for it, also for a dead one.
        if process.is_alive():
            release.set()
        process.join(30)


def test_processes_take_turns(tmp_path: Path) -> None:
    (tmp_path / "counter").write_text("0")
    processes = [context.Process(target=_increment, args=(str(tmp_path), 25)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 4
    assert (tmp_path / "counter").read_text() == "100"


def test_threads_take_turns_whichever_instance_they_use(tmp_path: Path) -> None:
    (tmp_path / "counter").write_text("0")
    link = tmp_path.parent / f"{tmp_path.name}-link"
    link.symlink_to(tmp_path)
    threads = [
        threading.Thread(target=_increment, args=(str(folder), 20))
        for folder in (tmp_path, link, tmp_path)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (tmp_path / "counter").read_text() == "60"


def test_a_waiter_that_times_out_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    with _holder(tmp_path) as holder:
        began = time.monotonic()
        with (
            pytest.raises(StorageError) as caught,
            RepositoryLock(tmp_path, timeout=0.2).hold("tidy up"),
        ):
            pytest.fail("the lock was given to two processes")
        assert 0.15 < time.monotonic() - began < 5
    message = str(caught.value)
    assert f"process {holder.pid} on host" in message
    assert 'to "commit to main"' in message
    assert "has held it for " in message
    assert "lock_timeout (now 0.2 s)" in message


def test_a_waiting_thread_is_told_of_the_thread_that_holds_the_lock(tmp_path: Path) -> None:
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            with RepositoryLock(tmp_path, timeout=0.05).hold("wait"):
                pass
        except StorageError as error:
            caught.append(error)

    with RepositoryLock(tmp_path).hold("merge try into main"):
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(30)
    assert "thread MainThread of this process" in str(caught[0])
    assert "merge try into main" in str(caught[0])


def test_a_killed_holder_leaves_the_lock_free(tmp_path: Path) -> None:
    with _holder(tmp_path) as holder:
        assert holder.pid is not None
        os.kill(holder.pid, signal.SIGKILL)
        holder.join(30)
        with RepositoryLock(tmp_path, timeout=5).hold("go on"):
            pass


def _waiting() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "zv-versioned-lock"]


def test_who_gave_up_waiting_neither_gets_the_lock_nor_leaves_much_behind(tmp_path: Path) -> None:
    with _holder(tmp_path):
        for _ in range(5):
            with (
                pytest.raises(StorageError, match="is locked"),
                RepositoryLock(tmp_path, timeout=0.05).hold("try again"),
            ):
                pytest.fail("the lock was given to two processes")
        assert len(_waiting()) == 1
    for thread in _waiting():
        thread.join(30)
    with _holder(tmp_path):  # another process gets it
        pass
    with RepositoryLock(tmp_path, timeout=0).hold("go on"):
        pass


def test_who_comes_back_keeps_its_place(tmp_path: Path) -> None:
    lock = RepositoryLock(tmp_path, timeout=0.05)
    with _holder(tmp_path) as holder:
        with pytest.raises(StorageError, match="is locked"), lock.hold("try"):
            pass
        assert holder.pid is not None
        threading.Timer(0.3, os.kill, (holder.pid, signal.SIGKILL)).start()
        with RepositoryLock(tmp_path, timeout=60).hold("go on"):
            holder.join(30)


def test_who_waits_in_the_queue_may_prepare_meanwhile(tmp_path: Path) -> None:
    lock, did = RepositoryLock(tmp_path), []
    with lock.hold("commit", lambda: did.append("where nobody has it")):
        pass
    waiter = RepositoryLock(tmp_path, timeout=0.2)
    with (
        _holder(tmp_path),
        pytest.raises(StorageError, match="locked"),
        waiter.hold("commit", lambda: did.append("once")),
    ):
        pass
    assert did == ["once"]


def test_what_fails_in_the_queue_leaves_the_lock_to_others(tmp_path: Path) -> None:
    lock = RepositoryLock(tmp_path)

    def fail() -> None:
        raise RuntimeError("cannot prepare")

    with (
        _holder(tmp_path),
        pytest.raises(RuntimeError, match="cannot prepare"),
        lock.hold("commit", fail),
    ):
        pass
    with RepositoryLock(tmp_path, timeout=5).hold("commit"):
        pass


def test_an_interrupt_while_waiting_leaves_the_lock_to_others(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupt = (threading.get_ident(), signal.SIGINT)
    try:
        with _holder(tmp_path):
            threading.Timer(0.3, signal.pthread_kill, interrupt).start()
            with pytest.raises(KeyboardInterrupt), RepositoryLock(tmp_path).hold("wait"):
                pytest.fail("the lock was given to two processes")
    finally:
        signal.signal(signal.SIGINT, before)
    with RepositoryLock(tmp_path, timeout=30).hold("go on"), _holding_elsewhere(tmp_path):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="there filelock alone locks the file")
# A file that was opened but came into nobody's hands is closed with a warning.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("held", ["by nobody", "elsewhere", "by itself"])
def test_an_interrupt_at_any_moment_leaves_the_lock_to_others(tmp_path: Path, held: str) -> None:
    lock = RepositoryLock(tmp_path, timeout=30)
    for moment in itertools.count(1):
        with ExitStack() as around:
            if held == "elsewhere":
                around.enter_context(_locked_for_an_instant(tmp_path))
            elif held == "by itself":
                around.enter_context(lock.hold("wait"))
            with interrupted_at(moment, lock_module) as came, suppress(KeyboardInterrupt):
                _take(lock)
        if came.where is None:
            break
        assert _is_free(tmp_path), f"an interrupt at {came.where} kept the file"
        with ThreadPoolExecutor(1) as threads:
            threads.submit(_take, lock).result(timeout=30)
    assert moment > {"by nobody": 40, "elsewhere": 50, "by itself": 10}[held]


@contextmanager
def _locked_for_an_instant(folder: Path) -> Iterator[None]:
    """Another has the file locked, until somebody waits for it, or nobody will."""
    file = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT)
    fcntl.flock(file, fcntl.LOCK_EX)
    over = threading.Event()

    def close() -> None:
        while not over.wait(0.001) and not _waiting():
            pass
        os.close(file)

    closing = threading.Thread(target=close)
    closing.start()
    yield
    over.set()
    closing.join()


def _is_free(folder: Path) -> bool:
    # Whoever gave up has a thread in the queue, to which the file may be just now.
    file = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT)
    try:
        for _ in range(1_000):
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            time.sleep(0.001)
        return False
    finally:
        os.close(file)


def _take(lock: RepositoryLock) -> None:
    with lock.hold("go on"):
        pass


@contextmanager
def _holding_elsewhere(folder: Path) -> Iterator[None]:
    """Another process finds the lock held."""
    code = (
        "import sys\nfrom zv_versioned.errors import StorageError\n"
        "from zv_versioned.storage.lock import RepositoryLock\n"
        "try:\n    with RepositoryLock(sys.argv[1], timeout=0).hold('see'): sys.exit(4)\n"
        "except StorageError: sys.exit(3)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], timeout=120, check=False)
    assert done.returncode == 3
    yield


def test_the_note_of_a_dead_process_names_nobody(tmp_path: Path) -> None:
    finished = context.Process(target=_hold_until, args=(str(tmp_path), _SetEvent(), _SetEvent()))
    finished.start()
    finished.join(30)
    note = (tmp_path / HOLDER_FILE).read_bytes()
    assert f'"pid": {finished.pid}'.encode() in note
    with _holder(tmp_path):
        (tmp_path / HOLDER_FILE).write_bytes(note)
        with (
            pytest.raises(StorageError, match="somebody") as caught,
            RepositoryLock(tmp_path, timeout=0).hold("x"),
        ):
            pass
    assert f"process {finished.pid}" not in str(caught.value)


class _SetEvent:
    def set(self) -> None:
        pass

    def wait(self, timeout: float) -> None:
        pass


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b"{}", b'{"pid": "x", "host": 1}', b"\xff\xfe"])
def test_a_damaged_note_does_not_hide_that_the_lock_is_held(tmp_path: Path, note: bytes) -> None:
    caught: list[StorageError] = []

    def wait() -> None:
        try:
            with RepositoryLock(tmp_path, timeout=0).hold("wait"):
                pass
        except StorageError as error:
            caught.append(error)

    with RepositoryLock(tmp_path).hold("x"):
        (tmp_path / HOLDER_FILE).write_bytes(note)
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(30)
    assert "is locked: somebody" in str(caught[0])


def test_one_thread_may_take_the_lock_again(tmp_path: Path) -> None:
    lock = RepositoryLock(tmp_path, timeout=1)
    with lock.hold("outer"):
        with RepositoryLock(tmp_path, timeout=1).hold("inner"):
            pass
        assert _is_locked(tmp_path)
    assert not _is_locked(tmp_path)


def test_an_exception_in_the_block_frees_the_lock_and_passes_through(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="mine"), RepositoryLock(tmp_path).hold("fail"):
        raise KeyError("mine")
    assert not _is_locked(tmp_path)


def _is_locked(folder: Path) -> bool:
    script = (
        "import filelock, sys\n"
        "try: filelock.FileLock(sys.argv[1]).acquire(timeout=0)\n"
        "except filelock.Timeout: sys.exit(3)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(folder / LOCK_FILE)], check=False)
    assert done.returncode in (0, 3)
    return done.returncode == 3


def test_a_long_purpose_still_leaves_a_readable_note(tmp_path: Path) -> None:
    lock = RepositoryLock(tmp_path)
    for purpose in ("x" * 1000, "\U0001f600" * 1000, "\udcff" * 1000, '"' * 1000):
        with lock.hold(purpose):
            assert len((tmp_path / HOLDER_FILE).read_bytes()) == 512
            assert f"process ({os.getpid()}" in lock._describe_holder()


def test_a_folder_that_is_not_there_cannot_be_locked(tmp_path: Path) -> None:
    lock = RepositoryLock(tmp_path / "nowhere", timeout=0.1)
    with pytest.raises(StorageError, match="cannot be locked to commit"), lock.hold("commit"):
        pass
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("timeout", [-1, float("nan"), "5", None, True])
def test_a_bad_timeout_is_refused(tmp_path: Path, timeout: object) -> None:
    with pytest.raises(MetadataError, match="lock_timeout"):
        RepositoryLock(tmp_path, timeout=timeout)  # type: ignore[arg-type]


def test_an_endless_timeout_is_accepted(tmp_path: Path) -> None:
    with RepositoryLock(tmp_path, timeout=float("inf")).hold("x"):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_neither_uses_nor_keeps_the_lock(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import os, sys, time, warnings
        warnings.simplefilter("ignore")
        from zv_versioned.storage.lock import RepositoryLock
        from zv_versioned.errors import StorageError
        lock = RepositoryLock(sys.argv[1], timeout=5)
        with lock.hold("fork"):
            child = os.fork()
            if child == 0:
                try:
                    with lock.hold("child"):
                        os._exit(2)
                except StorageError as error:
                    if "spawn" not in str(error):
                        os._exit(4)
                sys.stdout.write(str(os.getpid()))
                sys.stdout.flush()
                os.close(1)
                time.sleep(90)
                os._exit(0)
            time.sleep(0.5)
            os._exit(7)  # dies holding the lock; only the child is left
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        stdout=subprocess.PIPE,
        timeout=60,
        check=False,
        cwd=Path(zv_versioned.__file__).parents[1],
    )
    child = int(done.stdout)
    try:
        assert done.returncode == 7
        assert not _is_locked(tmp_path)
    finally:
        os.kill(child, signal.SIGKILL)


def test_an_uncontended_lock_costs_next_to_nothing(tmp_path: Path) -> None:
    lock = RepositoryLock(tmp_path)
    best = float("inf")
    for _ in range(10):
        began = time.perf_counter()
        for _ in range(50):
            with lock.hold("measure"):
                pass
        best = min(best, (time.perf_counter() - began) / 50)
    # About 0.08 ms where this was written; the limit is to catch a poll or an fsync.
    assert best < 0.001
