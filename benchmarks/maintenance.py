"""What upkeep costs: checking, digests at commit, durable commits.

``python benchmarks/maintenance.py [ROW ...]`` prints a table of the rows that are named, or of
all; a row is a function here. Times are medians; of two ways to do the same thing, in turn, in one
process, so that a slow minute of the machine falls on both. CPU time stands beside the clock.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from _harness import EXTENT, Source, stored_bytes, table

import zv_versioned as zvv
from zv_versioned.format.digest import NOTHING
from zv_versioned.writing import digest as _digest

Line = tuple[str, str, str]
"""What was done, what it cost, and what it is to cost at most."""


def _new(folder: str, *, durable: bool = False) -> zvv.Repository:
    repo = zvv.Repository.create(Path(folder, "r"), durable=durable)
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0.0] * 3, [EXTENT] * 3))
    return repo


def _append(repo: zvv.Repository, source: Source, count: int) -> tuple[float, float]:
    """One commit of points with a value each: seconds by the clock, and of the CPU."""
    points = source.points(count).valued()
    clock, cpu = time.perf_counter(), time.process_time()
    with repo.transaction() as tx:
        tx.writer("p").append_vertices_sync(
            points.positions, object_ids=points.object_ids, attributes={"value": points.values}
        )
    return time.perf_counter() - clock, time.process_time() - cpu


def fsck() -> list[Line]:
    """Check a repository of five million points with a value each."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        repo, source = _new(folder), Source()
        for _ in range(5):
            _append(repo, source, 1_000_000)
        size = stored_bytes(Path(folder, "r")) / 1e6
        for what, options, target in (
            ("fsck with data", {}, "≥ 200 MB/s"),
            ("fsck without data", {"read_data": False}, ""),
        ):
            clocks, cpus = [], []
            for _ in range(5):
                clock, cpu = time.perf_counter(), time.process_time()
                assert repo.fsck(**options).ok
                clocks.append(time.perf_counter() - clock)
                cpus.append(time.process_time() - cpu)
            wall, busy = statistics.median(clocks), statistics.median(cpus)
            cost = f"{size:.0f} MB in {wall:.2f} s: {size / wall:.0f} MB/s ({busy:.2f} s of CPU)"
            lines.append((what, cost, target))
    return lines


def digest() -> list[Line]:
    """What summing adds to an append, beside the same append without it."""
    real = _digest.of_points
    lines = []
    for count, rounds in ((10_000, 60), (1_000_000, 7)):
        found: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
        with tempfile.TemporaryDirectory() as folder:
            repo, source = _new(folder), Source()
            for _ in range(rounds):
                for summed in (True, False):
                    _digest.of_points = real if summed else (lambda *_: NOTHING)
                    found[summed].append(_append(repo, source, count))
            _digest.of_points = real
        cost = _compared(found[True], found[False])
        lines.append((f"digest in an append of {count:,} points", cost, "≤ 10 %"))
    return lines


def durable() -> list[Line]:
    """What syncing adds to a commit of 10,000 points."""
    found: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        repos = {True: _new(one, durable=True), False: _new(other)}
        source = Source()
        for _ in range(40):
            for lasting, repo in repos.items():
                found[lasting].append(_append(repo, source, 10_000))
    return [("durable commit of 10,000 points", _compared(found[True], found[False]), "")]


def _compared(with_it: list[tuple[float, float]], without: list[tuple[float, float]]) -> str:
    parts = []
    for name, at in (("clock", 0), ("CPU", 1)):
        a, b = (statistics.median(pair[at] for pair in side) for side in (with_it, without))
        parts.append(f"{name} {a * 1e3:.1f} beside {b * 1e3:.1f} ms, {(a / b - 1) * 100:+.1f} %")
    return "; ".join(parts)


ROWS: dict[str, Callable[[], list[Line]]] = {"fsck": fsck, "digest": digest, "durable": durable}


def main() -> None:
    unknown = set(sys.argv[1:]) - ROWS.keys()
    if unknown:
        sys.exit(f"no row {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    lines = [line for name in sys.argv[1:] or ROWS for line in ROWS[name]()]
    print(table(("what", "cost", "target"), lines))


if __name__ == "__main__":
    main()
