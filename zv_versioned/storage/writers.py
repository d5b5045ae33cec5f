"""Which transactions are open on a local repository, by their notes; see :mod:`.presence`."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from .notes import UNFINISHED, is_idle, read_note
from .presence import LEASES, TICK

if sys.platform != "win32":
    import fcntl

_LONGEST_NOTE = 1 << 16
_MARGIN = 60.0
"""Seconds that a note may be written after its transaction began, as a rule."""


@dataclass(frozen=True)
class Writer:
    """A transaction that is open, in this process or another.

    Parameters
    ----------
    began : datetime
    base : str
        The snapshot that it began at.
    who : str
        For people.
    """

    began: datetime
    base: str
    who: str


@dataclass(frozen=True)
class _Note:
    """The file of a transaction, as its folder lists it.

    Parameters
    ----------
    path, name : str
    time : float
        When something was noted in it last: what its transaction staged is not older.
    """

    path: str
    name: str
    time: float

    @property
    def finished(self) -> bool:
        return not self.name.endswith(UNFINISHED)


@dataclass(frozen=True)
class _Look:
    """Whether the process that made a note has it open, and what stands in it."""

    held: bool
    raw: bytes
    time: float


def _notes(folder: Path) -> list[_Note]:
    """All notes, the one that was written first first."""
    found = []
    try:
        with os.scandir(folder / LEASES) as entries:
            for entry in entries:
                if entry.name.startswith("writer."):
                    try:
                        found.append(_Note(entry.path, entry.name, entry.stat().st_mtime))
                    except FileNotFoundError:
                        continue  # it ended while we looked, or got its name
    except FileNotFoundError:
        return []
    return sorted(found, key=lambda note: (note.time, note.name))


def _look(note: _Note) -> _Look | None:
    """Look into a note; None where it is not there any more."""
    try:
        if sys.platform == "win32":
            held = _is_open(note.path)
            descriptor = os.open(note.path, os.O_RDONLY | os.O_BINARY)
        else:
            descriptor = os.open(note.path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None  # it ended while we looked, or got its name
    try:
        if sys.platform != "win32":
            held = _is_locked(descriptor)
        raw = os.read(descriptor, _LONGEST_NOTE) if held else b""
        return _Look(held, raw, os.fstat(descriptor).st_mtime)
    finally:
        os.close(descriptor)


def _is_locked(descriptor: int) -> bool:
    """Whether the process that made a file lives and has it open."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _is_open(path: str) -> bool:
    """The same where there are no such locks, and no file that is open can be renamed."""
    try:
        os.rename(path, path)
    except PermissionError:
        return True
    return False


def _writer(note: _Note) -> Writer | None:
    """The transaction that a note is of; None where it is over.

    One whose note is damaged counts as open since its file was written.
    """
    look = _look(note)
    if look is None or not look.held:
        return None
    said = read_note(look.raw) if note.finished else None
    if said is None:
        began = datetime.fromtimestamp(look.time, UTC) - TICK
        return Writer(began, "", f"a process whose note {note.name} is unreadable")
    if is_idle(said):
        return None
    who = f"process {said['pid']} on host {said['host']}, on branch {said['branch']!r}"
    return Writer(datetime.fromtimestamp(float(said["began"]), UTC), str(said["base"]), who)


def writers(folder: Path) -> list[Writer]:
    """The transactions that are open on a local repository, oldest first.

    One whose note is damaged counts as open since its file was written.
    """
    found = [writer for note in _notes(folder) if (writer := _writer(note)) is not None]
    return sorted(found, key=lambda writer: writer.began)


def oldest_writer(folder: Path) -> Writer | None:
    """The first of :func:`writers`; None where no transaction is open.

    Notes are looked into by age, until those that are left were written after the oldest
    transaction that was found began: what theirs stage is younger. So thousands of younger
    ones cost no more than a look at their folder.
    """
    oldest: Writer | None = None
    for note in _notes(folder):
        if oldest is not None and note.time > oldest.began.timestamp() + _MARGIN:
            break
        writer = _writer(note)
        if writer is not None and (oldest is None or writer.began < oldest.began):
            oldest = writer
    return oldest


def left_behind(folder: Path) -> list[Path]:
    """Files of transactions whose processes are gone."""
    # One that is being made is not locked for a moment.
    before = time.time() - 60
    return [
        Path(note.path)
        for note in _notes(folder)
        if (look := _look(note)) is not None
        and not look.held
        and (note.finished or look.time < before)
    ]
