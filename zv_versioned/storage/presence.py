"""Who has a transaction open, so that nothing it staged is taken for garbage.

What a transaction staged is named by nothing until it commits; to a collection
it looks like what an abandoned one left. Only its age tells them apart, so a
collection must not touch what is younger than the oldest open transaction.

On a local disk each open transaction is a file in ``zv_versioned.leases`` that
its process keeps locked: the kernel lets go of it when the process dies. A
collection leaves its cutoff there too, before it removes anything and under the
repository's lock; a commit, under the same lock, is refused where that cutoff is
younger than its transaction. So even a transaction that nobody saw (its file
was removed, or its locks are not seen by other machines) loses no
acknowledged data.

An object store has neither locks nor a cheap list. There a transaction may be
open for :data:`LONGEST` and no longer, and a collection leaves alone what is
younger than that, and :data:`SKEW`; a lease makes the time longer.
"""

from __future__ import annotations

import os
import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import StorageError
from .notes import UNFINISHED, Place, give_back, read_note, sealed_note, take

if TYPE_CHECKING:
    from .backend import Backend

LEASES = "zv_versioned.leases"
"""The folder of a local repository that this module writes to."""

LONGEST = timedelta(days=1)
"""How long a transaction on an object store may be open without a lease."""

SKEW = timedelta(hours=1)
"""How much the clocks of machines may differ. Object stores refuse to talk to those that are
more than a quarter of an hour off; the rest is for the commit itself."""

TICK = timedelta(milliseconds=50)
"""How much the times of files on a local disk may lie behind the clock."""

_COLLECTED = "collected"
_EXPIRED = "expired"


class Presence:
    """One open transaction, seen by collections until it ends.

    Made before the transaction stages anything.

    Parameters
    ----------
    backend : Backend
    branch, base : str
        What the transaction is on, and the snapshot that it began at.
    began : float
        When, before anything was staged; as ``time.time`` has it.
    """

    def __init__(self, backend: Backend, branch: str, base: str, began: float) -> None:
        self.began = datetime.fromtimestamp(began, UTC)
        self._backend = backend
        self._clock = time.monotonic()
        self._covered = self.began + LONGEST
        self._pid = os.getpid()
        self._place: Place | None = None
        if backend.folder is not None:
            self._announce(backend.folder, branch, base)

    def _announce(self, folder: Path, branch: str, base: str) -> None:
        home = os.path.join(folder, LEASES)
        facts = {
            "began": self.began.timestamp(),
            "base": base,
            "branch": branch,
            "pid": self._pid,
            "host": socket.gethostname()[:64],
        }
        try:
            self._place = take(home, facts)
        except OSError as error:
            raise StorageError(
                f"no transaction can begin: its note in {home}, by which it is known to be open, "
                f"cannot be written: {error}"
            ) from error

    def cover(self, until: datetime) -> None:
        """Let a lease make the time longer that the transaction may be open.

        Raises
        ------
        StorageError
            If that time is over.
        """
        self._check_time()
        self._covered = max(self._covered, until)

    def check(self) -> None:
        """Refuse to go on where what was staged may have been collected.

        Called within the mutation that publishes.

        Raises
        ------
        StorageError
            If so. Nothing was published.
        """
        if self._backend.folder is None:
            self._check_time()
            return
        cutoff = collected(self._backend.folder)
        # Half of it: one that began just after a collection had looked is safe, and goes through.
        if cutoff is not None and cutoff > self.began - TICK / 2:
            raise StorageError(
                f"garbage of up to {cutoff.isoformat()} was collected in {self._backend.location} "
                f"while this transaction, of {self.began.isoformat()}, was open, and what it "
                "staged may be gone. Do it again; nothing was published. (The collection did not "
                "see it: is the folder on a network file system?)"
            )

    def _check_time(self) -> None:
        if self._backend.folder is not None:
            return
        # The clock may have been set; while the machine slept, the other one stood.
        waited = timedelta(seconds=time.monotonic() - self._clock)
        now = max(datetime.now(UTC), self.began + waited)
        if now > self._covered:
            raise StorageError(
                f"this transaction on {self._backend.location} is open since "
                f"{self.began.isoformat()}, and nobody had to keep what it staged after "
                f"{self._covered.isoformat()}: it may have been collected. Do it again, in less "
                "time or with a lease, tx.lease(). Nothing was published"
            )

    def leave(self) -> None:
        """The transaction is over."""
        place, self._place = self._place, None
        if place is not None:
            # In a forked child it is the parent's, and closed there no sooner than here.
            (give_back if self._pid == os.getpid() else Place.close)(place)


def collected(folder: Path) -> datetime | None:
    """The youngest cutoff that garbage of a local repository was ever collected with.

    Raises
    ------
    StorageError
        If the note of it is damaged.
    """
    path = os.path.join(folder, LEASES, _COLLECTED)
    try:
        with open(path, "rb", buffering=0) as file:
            raw = file.read()
    except FileNotFoundError:
        return None
    note = read_note(raw)
    if note is None:
        raise StorageError(
            f"{path}, which says how young the garbage was that was collected last, is damaged. "
            "Once no transaction is open, remove it"
        )
    return datetime.fromtimestamp(float(note["cutoff"]), UTC)


def record_collection(folder: Path, cutoff: datetime) -> None:
    """Let transactions know of a cutoff, before anything is removed; under the lock."""
    before = collected(folder)
    cutoff = cutoff if before is None else max(before, cutoff)
    _write(folder, _COLLECTED, {"cutoff": cutoff.timestamp()})


def record_expiry(folder: Path) -> None:
    """Let others know that what they remember of the history may have expired."""
    _write(folder, _EXPIRED, {"at": time.time()})


def last_expiry(folder: Path) -> tuple[int, int]:
    """What changes with every expiry of a local repository."""
    try:
        at = os.stat(os.path.join(folder, LEASES, _EXPIRED))
    except FileNotFoundError:
        return 0, 0
    return at.st_mtime_ns, at.st_ino


def _write(folder: Path, name: str, facts: dict[str, Any]) -> None:
    path = folder / LEASES / name
    path.parent.mkdir(exist_ok=True)
    beside = path.with_name(name + UNFINISHED)
    with beside.open("wb") as file:
        file.write(sealed_note(facts))
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
