"""Memory for what is about to be filled, in pages as large as the system has.

New memory comes in pages of 4 KB, and the first touch of each is a trip to the system: a
microsecond, or four in a virtual machine, where copying the page takes half of one. numpy asks
for pages of 2 MB where an array has 4 MB or more, but gets them only from where one begins. So
here it begins there, and has room to the end of the last.

What a computation needs for a moment is another matter: the C library gives every array of more
than 128 KB back at once, and the next one comes in new pages again. :func:`keep` ends that.
What is read for a moment is better :func:`lent`: it comes back when nothing refers to it any more,
also where somebody else in the process makes the C library give all back that is free.
"""

from __future__ import annotations

import weakref
from collections import defaultdict, deque

import numpy as np

__all__ = ["keep", "lent", "room"]

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
    on to ask the system for each: so one is, which nobody has touched. Where the environment says
    what glibc keeps (``MALLOC_TRIM_THRESHOLD_`` and others), and elsewhere, this is nothing.

    Source: the GNU C Library manual, "Malloc Tunable Parameters", M_MMAP_THRESHOLD.
    """
    np.empty(_KEPT, np.uint8)


_LENT_LEAST = 1 << 16
"""Bytes from which on memory is lent: less is at hand as a rule."""
_LENT_MOST = 16 << 20
_FREE_MOST = 32 << 20
"""Bytes that are kept in all, to be lent again."""

# By size, powers of two. Whoever frees memory may be in the middle of anything, so that nothing is
# locked here: taking from a deque and adding to it are one step each.
_free: defaultdict[int, deque[np.ndarray]] = defaultdict(deque)


def lent(size: int) -> memoryview:
    """Memory for a while: some bytes, which have any value.

    It is used again once nothing refers to it or to a part of it; nobody has to give it back.
    """
    if not _LENT_LEAST <= size <= _LENT_MOST:
        return room(size).data
    whole = 1 << (size - 1).bit_length()
    block = _taken(whole)
    if block is None:
        block = room(whole)
    # A memoryview, and its parts, refer to what it was made of; parts of an array do not.
    view = block[:size]
    weakref.finalize(view, _come_back, block).atexit = False
    return view.data


def _taken(size: int) -> np.ndarray | None:
    for larger in (size, 2 * size):
        try:
            return _free[larger].pop()
        except IndexError:
            continue
    return None


def _come_back(block: np.ndarray) -> None:
    held = sum(size * len(blocks) for size, blocks in list(_free.items()))
    if held + len(block) <= _FREE_MOST:
        _free[len(block)].append(block)
