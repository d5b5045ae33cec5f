"""Small notes with their checksum, and files that a process keeps locked to say that it lives.

To make and remove a file costs more than all else that a small transaction does
on some file systems (ext4 without a journal looks at every file that was deleted
within minutes, for each that is made). So the file by which one transaction was
known is kept by its process for the next one, and says meanwhile that it stands
for nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import secrets
import sys
import threading
from collections import deque
from typing import Any

import google_crc32c

if sys.platform != "win32":
    import fcntl

UNFINISHED = ".new"
"""Behind the name of a file that is being made."""

CHECK_BYTES = 9
"""At the end of a note: a space and its CRC-32C in hexadecimal digits."""
_NOTE_BYTES = 256
_IDLE: dict[str, Any] = {"idle": True}
_KEPT = 16


def sealed_note(facts: dict[str, Any], width: int = 0) -> bytes:
    """A note with its checksum behind it, of `width` bytes at least."""
    text = json.dumps(facts, ensure_ascii=False).encode("utf-8", "replace")
    text = text.ljust(width - CHECK_BYTES)
    return text + b" %08x" % google_crc32c.value(text)


def read_note(raw: bytes) -> dict[str, Any] | None:
    """What a note says; None where it is not as it was written."""
    text, check = raw[:-CHECK_BYTES], raw[-CHECK_BYTES:]
    if check != b" %08x" % google_crc32c.value(text):
        return None
    found = json.loads(text)
    return found if isinstance(found, dict) else None


def is_idle(facts: dict[str, Any]) -> bool:
    """Whether a note says that its file stands for nothing just now."""
    return facts == _IDLE


class Place:
    """A file that this process has locked, and what is noted in it.

    Parameters
    ----------
    home : str
        The folder; it is made where it is not there.
    facts : dict
        What it says from the beginning.
    """

    def __init__(self, home: str, facts: dict[str, Any]) -> None:
        self.home = home
        self.path = os.path.join(home, f"writer.{os.getpid()}.{secrets.token_hex(6)}")
        self._pid = os.getpid()
        self._width = _NOTE_BYTES
        unfinished = self.path + UNFINISHED
        self._descriptor = _locked(home, unfinished)
        try:
            self.note(facts)
            os.rename(unfinished, self.path)
        except BaseException:
            remove(unfinished)
            os.close(self._descriptor)
            raise

    def note(self, facts: dict[str, Any]) -> None:
        """Say something else, in one write."""
        raw = sealed_note(facts, self._width)
        self._width = len(raw)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        while raw:  # where a part of it is written, the next try is told why
            raw = raw[os.write(self._descriptor, raw) :]

    def is_there(self) -> bool:
        """Whether others still see it; its folder may have been removed, or put aside."""
        try:
            seen = os.stat(self.path)
        except OSError:
            return False
        return os.path.samestat(seen, os.fstat(self._descriptor))

    def close(self) -> None:
        """Remove it; in a forked child, leave it to the parent."""
        if self._pid == os.getpid():
            remove(self.path)
        os.close(self._descriptor)


class _Kept:
    """The places of this process that stand for nothing just now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: deque[Place] = deque()
        # While a file is open, Windows removes no folder that it is in.
        self._open = sys.platform != "win32"

    def taken(self, home: str) -> Place | None:
        """One of a folder, for whoever asks; None where none is kept."""
        gone: list[Place] = []
        with self._lock:
            place = next((place for place in reversed(self._places) if place.home == home), None)
            if place is not None:
                self._places.remove(place)
                if not place.is_there():
                    gone = [place, *(other for other in self._places if other.home == home)]
                    self._places = deque(p for p in self._places if p.home != home)
                    place = None
        for other in gone:
            other.close()
        return place

    def give(self, place: Place) -> None:
        """Keep one for the next who asks, or let the oldest go."""
        try:
            if self._open:
                place.note(_IDLE)
        except OSError:
            place.close()  # what it says may be wrong
            return
        gone: Place | None = place
        with self._lock:
            if self._open:
                self._places.append(place)
                gone = self._places.popleft() if len(self._places) > _KEPT else None
        if gone is not None:
            gone.close()

    def end(self) -> None:
        """Let all go, and keep none from now on."""
        with self._lock:
            self._open = False
            places, self._places = self._places, deque()
        for place in places:
            place.close()

    def forget(self) -> None:
        """In a forked child: they are the parent's."""
        places, self._places, self._lock = self._places, deque(), threading.Lock()
        for place in places:
            place.close()


_kept = _Kept()
atexit.register(_kept.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_kept.forget)


def take(home: str, facts: dict[str, Any]) -> Place:
    """A place in a folder that says something: one that was kept, or a new one.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    place = _kept.taken(home)
    if place is None:
        return Place(home, facts)
    try:
        place.note(facts)
    except BaseException:
        place.close()
        raise
    return place


def give_back(place: Place) -> None:
    """Say that a place stands for nothing any more, and keep it for the next :func:`take`."""
    _kept.give(place)


def remove(path: str) -> None:
    """Remove a file; it is not there where somebody took it for a dead one's."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _locked(home: str, path: str) -> int:
    """A new file, which this process has locked."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    flags |= getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags, 0o666)
    except FileNotFoundError:
        os.makedirs(home, exist_ok=True)
        descriptor = os.open(path, flags, 0o666)
    if sys.platform != "win32":
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor
