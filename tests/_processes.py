"""New processes for tests, in which the slow imports are made already.

To import the package takes longer than most of what a process then does in a
test. So one server imports it, once for a test session, and forks: not itself
anything that was opened, which would not work (see ``test_io.py``).
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import BaseContext

import icechunk

# icechunk 2 starts threads as it is imported, which a fork leaves behind.
_PRELOADED = (
    ["zv_versioned"]
    if icechunk.__version__.startswith("1.")
    else ["numpy", "xarray", "zarr", "numcodecs", "google_crc32c", "filelock"]
)


def new_processes() -> BaseContext:
    """A context of processes that share nothing with this one."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context
