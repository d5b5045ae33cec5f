"""One writer at a time on a local filesystem, whichever thread or process it is.

A filesystem has no conditional writes, so icechunk loses commits there as soon
as two of them overlap. Every mutation of a local repository therefore happens
inside :meth:`RepositoryLock.hold`. Reading never takes the lock, and so works
in a folder that cannot be written to.

Two files lie in the repository's folder: ``zv_versioned.lock``, which the
kernel locks and frees again when its holder dies, and ``zv_versioned.holder``,
a note for people that says who holds it. The note is a file of its own because
the locked one can be truncated by a waiter (old filelock) or be unreadable
while it is locked (Windows).
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import filelock

if sys.platform != "win32":
    import fcntl

from .._io import check_process, is_ending
from ..errors import MetadataError, StorageError
from .notes import CHECK_BYTES, read_note, sealed_note

__all__ = ["HOLDER_FILE", "LOCK_FILE", "RepositoryLock"]

LOCK_FILE = "zv_versioned.lock"
HOLDER_FILE = "zv_versioned.holder"

_POLL_SECONDS = 0.002
# Of one fixed size, a note replaces the one before it in a single write, and is never empty.
_NOTE_BYTES = 512
Meanwhile = Callable[[], object] | None


class _Shared:
    """What all the locks of this process on one folder have in common.

    An interrupt may come between any two calls, also between the one that locks and whatever
    would remember that. So what is held is kept in objects that say so themselves, and
    :meth:`let_go` asks them; it may be called at any moment, and again.
    """

    def __init__(self, folder: str) -> None:
        self.thread_lock = threading.RLock()
        self._path = os.path.join(folder, LOCK_FILE)
        # Held by whichever thread has `thread_lock`, hence not local to the thread that made it.
        self._file_lock = filelock.FileLock(
            self._path, thread_local=False, poll_interval=_POLL_SECONDS
        )
        self._file: FileIO | None = None
        self._turn: _Turn | None = None
        self.depth = 0

    @property
    def is_of_this_thread(self) -> bool:
        return self.thread_lock._is_owned()  # type: ignore[attr-defined, no-any-return]

    def acquire(self, timeout: float, meanwhile: Meanwhile) -> None:
        """Lock the file: at once where nobody has it, else in turn, else as filelock does."""
        deadline = time.monotonic() + timeout
        self._let_file_go()  # where one interrupt came behind another
        self._file = _locked_at_once(self._path)
        if self._file is None and timeout > 0:
            self._in_turn(deadline, meanwhile)
        if self._file is None:
            # With all its care for what the system, or the file system, may refuse.
            self._file_lock.acquire(timeout=max(0.0, deadline - time.monotonic()))

    def _in_turn(self, deadline: float, meanwhile: Meanwhile) -> None:
        """Lock the file when its turn comes, if it comes in time."""
        if sys.platform == "win32" or is_ending():
            return  # a thread waits for it, and none can start
        if self._turn is None or self._turn.over:
            file = _opened(self._path)
            if file is None:
                return
            self._turn = _Turn(file, self)
        if not self._turn.wait(deadline, meanwhile):
            return
        self._file, self._turn = self._turn.file, None
        if not os.fstat(self._file.fileno()).st_nlink:
            self._let_file_go()

    def let_go(self) -> None:
        """Free what this thread has, unless a block further out still needs it."""
        if self.depth or not self.is_of_this_thread:
            return
        self._let_file_go()
        while self.is_of_this_thread:
            self.thread_lock.release()

    def _let_file_go(self) -> None:
        if self._turn is not None:
            self._turn.leave()
        if self._file is not None:
            _let_go(self._file)
            self._file = None
        if self._file_lock.is_locked:
            self._file_lock.release(force=True)

    def forget(self) -> None:
        """Close, in a forked child, what it has open of its parent's; the parent keeps its lock."""
        if self._file is not None:
            self._file.close()
        if self._turn is not None:
            self._turn.file.close()
        self._file = self._turn = None


def _locked_at_once(path: str) -> FileIO | None:
    """The file, locked; None where that is not to be had in an instant.

    The lock is the same that filelock takes, in a tenth of the time.
    """
    if sys.platform == "win32":
        return None
    file = _opened(path)
    if file is None:
        return None
    kept = False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        kept = os.fstat(file.fileno()).st_nlink > 0
    except OSError:
        pass
    finally:
        if not kept:
            file.close()
    return file if kept else None


class _Turn:
    """A place in the kernel's queue for a file.

    A look at the file every few milliseconds, by each who waits, takes a good part
    of a processor, and whoever looks at the right moment is next. Asked to wait, the
    kernel lets them in one after the other; but nothing wakes who waits there, so
    that is done by a thread, which keeps the place where one gives up and comes again.

    Attributes
    ----------
    file : io.FileIO
        Closed where nobody waited any more when its turn came.
    over : bool
        Whether it came.
    """

    def __init__(self, file: FileIO, owner: _Shared) -> None:
        self.file = file
        self._owner = owner  # not to be forgotten, nor this with it, while its turn is to come
        self._guard = threading.Lock()
        self._came = threading.Event()
        self._got = self._wanted = False
        self._thread = threading.Thread(target=self._queue, name="zv-versioned-lock", daemon=True)

    @property
    def over(self) -> bool:
        return self._came.is_set()

    def wait(self, deadline: float, meanwhile: Meanwhile) -> bool:
        """Whether the file is locked now, for whoever asks; if not, this was left."""
        with self._guard:
            self._wanted = True
        if self._thread.ident is None:
            self._thread.start()
        if meanwhile is not None:
            meanwhile()
        left = max(0.0, deadline - time.monotonic())
        self._came.wait(min(left, threading.TIMEOUT_MAX))
        with self._guard:
            self._wanted = self._got
            return self._got

    def leave(self) -> None:
        """Wait no more, and let the file go where it was locked."""
        with self._guard:
            self._wanted = False
            if self._got:
                _let_go(self.file)
                self._got = False

    def _queue(self) -> None:
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX)
            locked = True
        except OSError:
            locked = False  # the file system knows no locks, or none that wait
        with self._guard:
            self._got = locked and self._wanted
            if not self._got:
                _let_go(self.file)
            self._came.set()


def _let_go(file: FileIO) -> None:
    """Unlock and close a file, if that was not done."""
    if not file.closed:
        # By name, since a forked child may have the same file open.
        fcntl.flock(file, fcntl.LOCK_UN)
        file.close()


def _opened(path: str) -> FileIO | None:
    # A file, and not its number, which somebody else has after it was closed.
    try:
        return FileIO(
            os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666), "r+"
        )
    except OSError:
        return None  # filelock says what is wrong


_registry_lock = threading.Lock()
_registry: WeakValueDictionary[str, _Shared] = WeakValueDictionary()


def _shared(folder: str) -> _Shared:
    with _registry_lock:
        shared = _registry.get(folder)
        if shared is None:
            shared = _registry[folder] = _Shared(folder)
        return shared


def _forget_locks_in_child() -> None:
    # The thread that holds one of these did not come along, so it would never be released.
    global _registry_lock, _registry
    for shared in list(_registry.values()):
        shared.forget()
    _registry_lock = threading.Lock()
    _registry = WeakValueDictionary()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_locks_in_child)


class RepositoryLock:
    """The lock of one repository folder.

    All instances for the same folder, however its path is spelt, are one lock.
    It is reentrant: a thread that holds it may take it again. Do not hold it
    across an ``await``; two tasks of one thread would both have it.

    Parameters
    ----------
    path : str or os.PathLike
        The repository's folder. It has to exist when the lock is taken.
    timeout : float
        Seconds to wait for another holder before giving up.
    """

    def __init__(self, path: str | os.PathLike[str], timeout: float = 60.0) -> None:
        given: object = timeout
        if isinstance(given, bool) or not isinstance(given, int | float) or not given >= 0:
            raise MetadataError(
                f"lock_timeout is {timeout!r}; give the seconds to wait as a number from 0 up"
            )
        self.path = os.path.realpath(path)
        self.timeout = float(timeout)
        self._pid = os.getpid()
        self._shared = _shared(self.path)

    @contextmanager
    def hold(self, purpose: str, meanwhile: Meanwhile = None) -> Iterator[None]:
        """Hold the lock for the duration of a ``with`` block.

        Parameters
        ----------
        purpose : str
            What it is held for, as the end of "has held it to …"; it is shown
            to those who wait in vain.
        meanwhile : callable, optional
            Called once where another process has it and this one waits in turn: whoever
            waits may prepare what would else be done with the lock. What it raises ends
            the wait.

        Raises
        ------
        StorageError
            If it is still held by somebody else after `timeout` seconds, if it
            cannot be taken at all, or in a forked child.
        """
        check_process(self._pid, f"the lock of the repository at {self.path}")
        shared = self._shared
        deadline = time.monotonic() + self.timeout
        counted = False
        try:
            self._acquire_thread(purpose)
            if shared.depth == 0:
                self._acquire_file(deadline, purpose, meanwhile)
            shared.depth += 1
            counted = True
            yield
        finally:
            if counted:
                shared.depth -= 1
            try:
                shared.let_go()
            except BaseException:
                shared.let_go()
                raise

    def _acquire_thread(self, purpose: str) -> None:
        shared = self._shared
        if shared.is_of_this_thread:
            return
        if not shared.thread_lock.acquire(timeout=min(self.timeout, threading.TIMEOUT_MAX)):
            raise self._timed_out(purpose)

    def _acquire_file(self, deadline: float, purpose: str, meanwhile: Meanwhile) -> None:
        shared = self._shared
        # Where a repository was removed, filelock would bring an empty folder back.
        if not os.path.isdir(self.path):
            raise StorageError(
                f"the repository at {self.path} cannot be locked to {purpose}: its folder is gone"
            )
        try:
            shared.acquire(max(0.0, deadline - time.monotonic()), meanwhile)
        except filelock.Timeout:
            raise self._timed_out(purpose) from None
        except OSError as error:
            raise StorageError(
                f"the repository at {self.path} cannot be locked to {purpose}: {error}. Changing a "
                "repository needs write access to its folder; reading it does not."
            ) from error
        try:
            self._write_note(purpose)
        except OSError as error:
            raise StorageError(
                f"the repository at {self.path} cannot be locked to {purpose}: its note "
                f"{HOLDER_FILE} cannot be written: {error}"
            ) from error

    def _write_note(self, purpose: str) -> None:
        note = {
            "pid": os.getpid(),
            "host": socket.gethostname()[:64],
            "since": datetime.now(UTC).isoformat(),
            "thread": threading.current_thread().name[:32],
            "purpose": purpose[:120],
        }
        raw = sealed_note(note, _NOTE_BYTES)
        if len(raw) > _NOTE_BYTES:
            raw = sealed_note({**note, "thread": "", "purpose": "do something"}, _NOTE_BYTES)
        descriptor = os.open(
            os.path.join(self.path, HOLDER_FILE),
            os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0),
            0o666,
        )
        try:
            os.write(descriptor, raw)
        finally:
            os.close(descriptor)

    def _timed_out(self, purpose: str) -> StorageError:
        return StorageError(
            f"the repository at {self.path} is locked: {self._describe_holder()}; wait for it, or "
            f"raise lock_timeout (now {self.timeout:g} s), or stop the holder. Wanted to {purpose}."
        )

    def _describe_holder(self) -> str:
        note = self._read_note()
        if note is None:
            return "somebody who left no name holds it"
        try:
            pid, host, purpose = int(note["pid"]), str(note["host"]), str(note["purpose"])
            since = datetime.fromisoformat(str(note["since"]))
            held = max(0.0, (datetime.now(UTC) - since).total_seconds())
        except (KeyError, TypeError, ValueError):
            return "somebody who left an unreadable name holds it"
        if host == socket.gethostname()[:64] and not _is_alive(pid):
            # The kernel has passed the lock on to somebody who is about to write their note.
            return "somebody who left no name yet holds it"
        who = f"process {pid} on host {host}"
        if pid == os.getpid():
            who = f"thread {note.get('thread', '?')} of this process ({pid} on host {host})"
        return f'{who} has held it for {held:.1f} s to "{purpose}"'

    def _read_note(self) -> dict[str, Any] | None:
        try:
            note = json.loads(Path(self.path, HOLDER_FILE).read_bytes()[:-CHECK_BYTES])
        except (OSError, ValueError):
            return None
        return note if isinstance(note, dict) else None


def note_is_whole(raw: bytes) -> bool:
    """Whether a note of who holds the lock is as it was written."""
    return len(raw) == _NOTE_BYTES and read_note(raw) is not None


def _is_alive(pid: int) -> bool:
    if os.name == "nt":
        # There os.kill(pid, 0) would end the process instead of asking after it.
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
