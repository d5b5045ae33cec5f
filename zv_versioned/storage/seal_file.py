"""The file that seals stand in: lines are written behind it by one at a time."""

from __future__ import annotations

import os
import sys
from io import FileIO

if sys.platform != "win32":
    import fcntl

_LONGEST = 8192


class SealFile(FileIO):
    """The file of seals, open; see :func:`locked`."""

    def append(self, lines: bytes) -> None:
        """Write lines behind those that are whole."""
        end = self._end()
        self.seek(end)
        try:
            if self.write(lines) != len(lines):
                raise OSError(f"only a part of {len(lines)} bytes could be written")
        except OSError:
            self.truncate(end)
            raise

    def _end(self) -> int:
        """Where the last whole line ends; what was cut short behind it is taken back."""
        size = self.seek(0, os.SEEK_END)
        if size:
            self.seek(size - 1)
            if self.read(1) == b"\n":
                return size
        start = self.seek(max(0, size - _LONGEST))
        end = start + self.read(_LONGEST).rfind(b"\n") + 1
        self.truncate(end)
        return end


def locked(path: str) -> SealFile:
    """The file of seals, locked against others who write to it, for a ``with`` block.

    An interrupt may come between any two calls. The file alone has the lock, and is closed by
    whatever drops it, and by the end of the block before anything else can come: it would keep
    everybody waiting, this process too.
    """
    while True:
        file = SealFile(path, "r+", opener=_open)
        current = False
        try:
            current = _is_current(file, path)
            if current:
                return file
        finally:
            if not current:
                file.close()  # somebody put another in its place while we waited


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT, 0o666)


def _is_current(file: SealFile, path: str) -> bool:
    if sys.platform == "win32":
        return True  # nothing is sealed there without the repository's lock
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
