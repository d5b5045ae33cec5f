"""Which transactions are open on a local repository, by their notes; see :mod:`.presence`."""

from __future__ import annotations

import os
import re
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from .presence import LEASES, TICK, UNFINISHED, read_note

if sys.platform != "win32":
    import fcntl

_LONGEST_NOTE = 1 << 16
# Notes that older versions made have no time in their names.
_NAME = re.compile(r"writer\.(\d{17})\.\d+\.[0-9a-f]+(?:\.new)?")


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
    path : str
    name : str
    since : int
        When the transaction began, in microseconds since 1970, by the name; 0 where that
        does not tell.
    """

    path: str
    name: str
    since: int

    @property
    def finished(self) -> bool:
        return not self.name.endswith(UNFINISHED)


@dataclass(frozen=True)
class _Look:
    """Whether the process that made a note has it open, what stands in it, and of when it is."""

    held: bool
    raw: bytes
    time: float


def _notes(folder: Path) -> list[_Note]:
    """All notes, by when their transactions began: first those of which only the note tells."""
    home = os.path.join(folder, LEASES, "")
    try:
        names = os.listdir(home)
    except FileNotFoundError:
        return []
    found = [
        _Note(home + name, name, 0 if (told := _NAME.fullmatch(name)) is None else int(told[1]))
        for name in names
        if name.startswith("writer.")
    ]
    return sorted(found, key=lambda note: (note.since, note.name))


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

    One whose note is damaged counts as open since its name says, or its file was written.
    """
    look = _look(note)
    if look is None or not look.held:
        return None
    said = read_note(look.raw) if note.finished else None
    if said is None:
        began, base = look.time - TICK.total_seconds(), ""
        who = f"a process whose note {note.name} is unreadable"
    else:
        began, base = float(said["began"]), str(said["base"])
        who = f"process {said['pid']} on host {said['host']}, on branch {said['branch']!r}"
    if note.since:
        began = min(began, note.since / 1e6)
    return Writer(datetime.fromtimestamp(began, UTC), base, who)


def writers(folder: Path) -> list[Writer]:
    """The transactions that are open on a local repository, oldest first.

    One whose note is damaged counts as open since its name says, or its file was written.
    """
    found = [writer for note in _notes(folder) if (writer := _writer(note)) is not None]
    return sorted(found, key=lambda writer: writer.began)


def oldest_writer(folder: Path) -> Writer | None:
    """The first of :func:`writers`; None where no transaction is open.

    Notes are looked into by the age that their names tell, until one is found that is held:
    thousands of younger ones cost no more than their names.
    """
    oldest: Writer | None = None
    for note in _notes(folder):
        if oldest is not None and note.since / 1e6 >= oldest.began.timestamp():
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
