"""What every benchmark needs: the data, a clock, sizes on disk, peak memory, tables.

A *side* is one system under test (ours, or one that we are measured against). `append.py` runs
the same work on every side in one process, step by step in turn, so that a slow minute of the
machine falls on all of them, and compares medians.

Memory is measured in a process of its own, `python _harness.py SIDE POINTS BATCHES MODE`: the peak
of the resident set while the data is written, above what the process held before the data existed,
with the libraries loaded and warmed up by a tiny write.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
for _path in (str(ROOT), str(ROOT / "benchmarks")):
    if _path not in sys.path:
        sys.path.append(_path)

EXTENT = 1000.0
"""The volume is a cube from 0 to this."""

CELL = 125.0
"""The edge of a cell: 8 x 8 x 8 of them."""

PER_OBJECT = 100
"""Points in an object."""

SIDES = {"ours": "_ours", "peer": "_peer", "lance": "_lance", "tiledb": "_tiledb"}
"""The name of a side on the command line -> the module with its adapter, a class `Side`."""


# -- the data


@dataclass(frozen=True)
class Points:
    """Points and the object that each belongs to, object after object."""

    positions: np.ndarray
    object_ids: np.ndarray
    values: np.ndarray | None = None
    """Of an attribute, ``value``; where there is one."""

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def nbytes(self) -> int:
        """Bytes of the raw input: the positions and the ids."""
        return self.positions.nbytes + self.object_ids.nbytes

    def split(self, parts: int) -> list[Points]:
        """The same points as `parts` equal batches, which are views of this one."""
        edges = np.linspace(0, len(self), parts + 1).astype(int)
        return [
            Points(
                self.positions[a:b],
                self.object_ids[a:b],
                None if self.values is None else self.values[a:b],
            )
            for a, b in pairwise(edges.tolist())
        ]

    def valued(self) -> Points:
        """The same points with a value each."""
        values = np.random.default_rng(len(self)).random(len(self), dtype=np.float32)
        return Points(self.positions, self.object_ids, values)


def peeked(batches: Iterable[Points]) -> tuple[bool, Iterator[Points]]:
    """Whether batches have values, and the same batches."""
    rest = iter(batches)
    first = next(rest)
    return first.values is not None, chain([first], rest)


class Source:
    """Makes points in objects of 100, or as many as are said; ids go on from call to call.

    Where the points are:

    - `"objects"`: every object is a small cloud, in a cube of 1/50 of the volume's edge, the
      clouds uniform over the volume: 100 objects touch some 110 cells;
    - `"points"`: every single point is uniform over the volume: 100 objects touch all 512 cells
      and every object some 90 of them, so nearly every point is a fragment of its own;
    - `"cell"`: all points are in one cell.

    Dense ids count on from 0. Sparse ids are ones that people have: random integers up to 2**62.
    None is used again.
    """

    def __init__(self, seed: int = 0, *, sparse: bool = False) -> None:
        self._random = np.random.default_rng(seed)
        self._sparse = sparse
        self._next = 0
        self._used: set[int] = set()

    def points(self, count: int, where: str = "objects", each: int = PER_OBJECT) -> Points:
        """The next `count` points, `each` of them an object."""
        positions = self._random.random((count, 3), dtype=np.float32)
        objects = count // each
        if where == "objects":
            positions *= np.float32(EXTENT / 50)
            corners = self._random.random((objects, 1, 3), dtype=np.float32) * np.float32(
                EXTENT * 0.979
            )
            positions.reshape(objects, each, 3)[...] += corners
        elif where == "points":
            positions *= np.float32(EXTENT * 0.9999)
        else:
            positions *= np.float32(CELL * 0.998)
            positions += np.float32(CELL * 3.001)
        return Points(positions, np.repeat(self._ids(objects), each))

    def _ids(self, count: int) -> np.ndarray:
        if not self._sparse:
            first, self._next = self._next, self._next + count
            return np.arange(first, self._next, dtype=np.int64)
        fresh: set[int] = set()
        while len(fresh) < count:
            drawn = self._random.integers(0, 2**62, count - len(fresh)).tolist()
            fresh.update(i for i in drawn if i not in self._used)
        self._used |= fresh
        return np.array(sorted(fresh), dtype=np.int64)


def boxes(count: int, edge: float, seed: int = 7) -> list[tuple[np.ndarray, np.ndarray]]:
    """Cubes of that edge at random places inside the volume, not aligned to cells.

    No side is a number that a float32 can be, so it does not matter which sides are closed.
    """
    random = np.random.default_rng(seed)
    low = (random.random((count, 3)) * (EXTENT - edge)).astype(np.float32)
    return [(np.nextafter(c, EXTENT), np.nextafter(c + edge, EXTENT)) for c in low.astype(float)]


# -- a side


class Reader(Protocol):
    """One version of a store, opened anew: each read returns positions, an array (N, 3).

    `valued` returns the values of the attribute too.
    """

    def whole(self) -> np.ndarray: ...
    def valued(self) -> tuple[np.ndarray, np.ndarray]: ...
    def box(self, low: np.ndarray, high: np.ndarray) -> np.ndarray: ...
    def objects(self, ids: np.ndarray) -> np.ndarray: ...


class Side(Protocol):
    """One system under test. Importing its module raises ImportError where it is not installed."""

    label: str
    streams: bool
    """A first write may be handed over in several batches."""

    append_takes_seconds: bool
    """Repeat appends only a few times."""

    def version(self) -> str: ...
    def write(self, path: Path, batches: Iterable[Points]) -> None:
        """Make a store at `path` and write the batches as one version."""
        ...

    def open(self, path: Path) -> Any:
        """A handle for appends, which is kept open from one append to the next."""
        ...

    def append(self, handle: Any, points: Points) -> None:
        """Append and commit."""
        ...

    def count(self, path: Path) -> int:
        """From nothing: open, pin the newest version, return its number of points."""
        ...

    def reader(self, path: Path) -> Reader: ...


def load(names: Iterable[str]) -> tuple[dict[str, Side], dict[str, str]]:
    """The sides that are installed, and why the others are not there."""
    found: dict[str, Side] = {}
    missing: dict[str, str] = {}
    for name in names:
        try:
            found[name] = importlib.import_module(SIDES[name]).Side()
        except ImportError:
            missing[name] = "not installed"
    return found, missing


# -- measuring


def timed(work: Callable[..., Any], *args: Any) -> tuple[float, Any]:
    """Seconds that `work(*args)` took, and what it returned; garbage is collected before."""
    gc.collect()
    start = time.perf_counter()
    result = work(*args)
    return time.perf_counter() - start, result


def measured(work: Callable[..., Any], *args: Any) -> tuple[float, float, Any]:
    """As :func:`timed`, and between the two the seconds of processor time of all threads."""
    gc.collect()
    start, spent = time.perf_counter(), time.process_time()
    result = work(*args)
    return time.perf_counter() - start, time.process_time() - spent, result


def median(samples: Iterable[float]) -> float:
    """The median, NaN of nothing."""
    values = list(samples)
    return statistics.median(values) if values else float("nan")


def stored_bytes(path: Path) -> int:
    """Bytes of all files below `path`, without icechunk's backups in `overwritten/`."""
    total = 0
    folders = [str(path)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    total += entry.stat(follow_symlinks=False).st_size
                elif entry.name != "overwritten":
                    folders.append(entry.path)
    return total


def peak_memory(side: str, points: int, batches: int, *, stream: bool = False) -> float:
    """Peak memory of a first write, in bytes, in a process of its own.

    With `stream` each batch is made when it is asked for, as a bulk load from files would be;
    otherwise the whole input lies in memory, and counts.
    """
    mode = "stream" if stream else "whole"
    command = [sys.executable, __file__, side, str(points), str(batches), mode]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the memory run of {side} failed:\n{done.stderr[-2000:]}")
    return float(json.loads(done.stdout.splitlines()[-1])["peak"])


def _status(field: str) -> int | None:
    """A size in bytes from this process's status on Linux."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return None


def peak_bytes() -> int:
    """The peak resident size.

    `ru_maxrss` also holds the peak of the process that started this one; where there is one, the
    kernel's own figure for this address space is taken instead.
    """
    own = _status("VmHWM")
    if own is not None:
        return own
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def _measure_memory(name: str, count: int, parts: int, mode: str) -> float:
    side = importlib.import_module(SIDES[name]).Side()
    folder = Path(tempfile.mkdtemp(prefix="benchmark-"))
    try:
        side.write(folder / "warm", [Source(1).points(10_000)])
        gc.collect()
        before = _status("VmRSS")
        try:
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
        except OSError:
            before = peak_bytes()
        source = Source(0)

        def stream() -> Iterator[Points]:
            for _ in range(parts):
                yield source.points(count // parts)

        if mode == "stream":
            side.write(folder / "store", stream())
        else:
            whole = source.points(count)
            side.write(folder / "store", whole.split(parts) if side.streams else [whole])
        return float(peak_bytes() - (before or 0))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# -- tables


def number(value: float) -> str:
    """Three digits, and no exponent."""
    if value != value:
        return "–"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def duration(seconds: float) -> str:
    """Seconds as a person reads them."""
    if seconds != seconds:
        return "–"
    return f"{number(seconds)} s" if seconds >= 1 else f"{number(seconds * 1e3)} ms"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A markdown table, its columns aligned."""
    cells = [list(head), *(list(row) for row in rows)]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(head))]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    lines.insert(1, "| " + " | ".join("-" * w for w in widths) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    _side, _count, _parts, _mode = sys.argv[1:5]
    print(json.dumps({"peak": _measure_memory(_side, int(_count), int(_parts), _mode)}))
