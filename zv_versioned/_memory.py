"""Memory for what is about to be filled, in pages as large as the system has.

New memory comes in pages of 4 KB, and the first touch of each is a trip to the system: a
microsecond, or four in a virtual machine, where copying the page takes half of one. numpy asks
for pages of 2 MB where an array has 4 MB or more, but gets them only from where one begins. So
here it begins there, and has room to the end of the last.

What a computation needs for a moment is another matter: the C library gives every array of more
than 128 KB back at once, and the next one comes in new pages again. :func:`keep` ends that.
"""

from __future__ import annotations

import numpy as np

__all__ = ["keep", "room"]

_PAGE = 2 << 20
_LEAST = 1 << 20
"""Bytes from which on a large page is filled in less time than small ones are fetched."""
_ASKED = 4 << 20
"""Bytes of an array from which on numpy asks for large pages."""
_KEPT = (32 << 20) - (1 << 16)


def room(size: int) -> np.ndarray:
    """Room for some bytes, which have any value: uint8, shape (size,)."""
    if size < _LEAST:
        return np.empty(size, np.uint8)
    whole = np.empty(max(-(-size // _PAGE) * _PAGE + _PAGE, _ASKED), np.uint8)
    start = -whole.ctypes.data % _PAGE
    return whole[start : start + size]


def keep() -> None:
    """Let memory that is given back stay with the process, up to some 60 MB of it.

    glibc takes the largest array that was ever given back, up to 32 MB, as the size from which
    on to ask the system for each: so one is, which nobody has touched. Elsewhere this is nothing.

    Source: the GNU C Library manual, "Malloc Tunable Parameters", M_MMAP_THRESHOLD.
    """
    np.empty(_KEPT, np.uint8)
