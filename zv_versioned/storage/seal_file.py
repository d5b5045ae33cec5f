"""The file that seals stand in: lines are written behind it by one at a time."""

from __future__ import annotations

import os
import sys

if sys.platform != "win32":
    import fcntl

_LONGEST = 8192


class SealFile:
    """The file of seals, open, and locked against others who write to it."""

    def __init__(self, path: str) -> None:
        self._path = path
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        while True:
            self._descriptor = os.open(path, flags, 0o666)
            try:
                if self._is_current():
                    return
            except BaseException:
                self.close()
                raise
            self.close()  # somebody put another in its place while we waited

    def _is_current(self) -> bool:
        if sys.platform == "win32":
            return True  # nothing is sealed there without the repository's lock
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def append(self, lines: bytes) -> None:
        """Write lines behind those that are whole."""
        end = self._end()
        os.lseek(self._descriptor, end, os.SEEK_SET)
        try:
            if os.write(self._descriptor, lines) != len(lines):
                raise OSError(f"only a part of {len(lines)} bytes could be written")
        except OSError:
            os.ftruncate(self._descriptor, end)
            raise

    def _end(self) -> int:
        """Where the last whole line ends; what was cut short behind it is taken back."""
        size = os.lseek(self._descriptor, 0, os.SEEK_END)
        if size:
            os.lseek(self._descriptor, size - 1, os.SEEK_SET)
            if os.read(self._descriptor, 1) == b"\n":
                return size
        start = os.lseek(self._descriptor, max(0, size - _LONGEST), os.SEEK_SET)
        end = start + os.read(self._descriptor, _LONGEST).rfind(b"\n") + 1
        os.ftruncate(self._descriptor, end)
        return end

    def close(self) -> None:
        """Let others write."""
        os.close(self._descriptor)
