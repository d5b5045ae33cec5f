"""Blosc's decompression, called without the wrapper around it.

numcodecs' ``blosc.decompress`` looks at both buffers, the process and the thread before it
calls the C function: 4 to 6 µs a call, which is half of what decompressing a cell of 8 KB
takes. The library that numcodecs has loaded exports this function as a rule, and it is
called there. Where it does not, numcodecs calls it: the same function, and the same bytes.

Source: c-blosc 1.21, blosc.h.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
from numcodecs import blosc

from ..errors import IntegrityError

Inflate = Callable[[int | bytes, int, int, int], int]
"""``(source, out, size, threads)``: the bytes that were made, below 0 for none. `out` is an
address, and so is `source` unless it is bytes."""


def _exported() -> Inflate | None:
    """``blosc_decompress_ctx``, which keeps nothing between calls; None where it is hidden.

    The interpreter's lock is released while it works.
    """
    try:
        function = ctypes.CDLL(blosc.__file__).blosc_decompress_ctx
    except (OSError, AttributeError):
        return None
    function.restype = ctypes.c_int
    function.argtypes = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    found: Inflate = function
    return found


def by_numcodecs(source: int | bytes, out: int, size: int, threads: int) -> int:
    """The same by way of numcodecs."""
    if isinstance(source, int):
        total = int.from_bytes(ctypes.string_at(source + 12, 4), "little")
        source = ctypes.string_at(source, total)
    try:
        blosc.decompress(source, (ctypes.c_ubyte * size).from_address(out))
    except RuntimeError:
        return -threads
    return size


call: Inflate = _exported() or by_numcodecs
"""Decompresses one buffer, whose header must have been checked: it says how long it is."""


def address(buffer: np.ndarray) -> int:
    """Where the bytes of a buffer lie."""
    try:
        found = ctypes.addressof(ctypes.c_char.from_buffer(buffer.data))
    except (TypeError, ValueError):  # one that must not be written to, or has no bytes
        found = buffer.__array_interface__["data"][0]
    return found


def inflate(source: np.ndarray, out: np.ndarray) -> None:
    """Decompress one buffer of blosc's.

    Parameters
    ----------
    source : ndarray of uint8
        As long as its header says, which the caller has checked.
    out : ndarray of uint8
        Where it goes; as large as its header says.

    Raises
    ------
    IntegrityError
        If it cannot be decompressed.
    """
    if call(address(source), address(out), len(out), 1) != len(out):
        raise broken()


def broken() -> IntegrityError:
    """The error for what cannot be decompressed although its checksum fits."""
    return IntegrityError(
        "a cell cannot be decompressed although its checksum fits: it was not written by "
        "zv_versioned"
    )
