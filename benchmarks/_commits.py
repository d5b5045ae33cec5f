"""The floor of an append: what bare icechunk takes to commit as many files."""

from __future__ import annotations

import time
from pathlib import Path

import zarr
from _ours import Side

import zv_versioned as zvv
from zv_versioned import _writes

_ARRAYS = "abc"
_MESSAGE = (
    'append\n\nmetadata: {"zv_versioned":{"t":"0123456789abcdef","a":"somebody",'
    '"c":{"points":{"b":1,"v":10000,"o":100}}}}'
)


class Commits:
    """A repository with our settings, and in it three arrays of plain chunks.

    An append of ours writes chunks of three arrays: vertices, the batch's index, and the table of
    batches. So does each commit here, with nothing to be sorted, compressed, locked or sealed.

    Parameters
    ----------
    path : Path
    commits : int
        How many it begins with.
    """

    def __init__(self, path: Path, commits: int) -> None:
        zvv.Repository.create(str(path))
        self._repository = Side().open(path)._backend._repository
        session = self._repository.writable_session("main")
        root = zarr.create_group(session.store)
        for name in _ARRAYS:
            root.create_array(
                name, shape=(65_536,), chunks=(1,), dtype="uint8", dimension_names=["batch"]
            )
        session.commit("begin")
        self._done = 0
        for _ in range(commits):
            self.commit()

    @classmethod
    def opened(cls, path: Path, first: int) -> Commits:
        """Such a repository that is there, its next chunk under the slot `first`."""
        self = cls.__new__(cls)
        self._repository = Side().open(path)._backend._repository
        self._done = first
        return self

    def commit(self) -> float:
        """One chunk in each array, and the commit; seconds."""
        start = time.perf_counter()
        session = self._repository.writable_session("main")
        chunks = [
            (f"{name}/c/{self._done}", bytes(size))
            for name, size in zip(_ARRAYS, (108_000, 2_400, 2_600), strict=True)
        ]
        _writes.set_many(session.store, chunks)
        session.commit(_MESSAGE)
        self._done += 1
        return time.perf_counter() - start

    def empty(self) -> float | None:
        """A commit of nothing, where this icechunk can; seconds."""
        session = self._repository.writable_session("main")
        start = time.perf_counter()
        try:
            session.commit(_MESSAGE, allow_empty=True)
        except TypeError:
            return None
        return time.perf_counter() - start
