"""What upkeep costs: checking, digests at commit, durable commits; what it saves.

``python benchmarks/maintenance.py [ROW ...] [--quick]`` prints a table of the rows that are named,
or of all; a row is a function here. ``--quick`` makes fewer small commits. Times are medians; of
two ways to do the same thing, in turn, in one process, so that a slow minute of the machine falls
on both. CPU time stands beside the clock.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _harness import EXTENT, Source, peak_bytes, stored_bytes, table

import zv_versioned as zvv
from zv_versioned.format.digest import NOTHING
from zv_versioned.writing import digest as _digest

Line = tuple[str, str, str]
"""What was done, what it cost, and what it is to cost at most."""

QUICK = "--quick" in sys.argv


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


def compact() -> list[Line]:
    """Compact many small batches of 100 objects each, with a value a point, to one."""
    batches, each = (200, 1_000) if QUICK else (1_000, 1_000)
    lines = []
    # A cloud has 100 points of ten objects, or is one object, of ten points.
    places = (
        ("cell", 10, "in one cell"),
        ("objects", 100, "in a dozen cells"),
        ("objects", 10, "in 110 cells, each object a small cloud"),
        ("points", 10, "in all 512 cells, two points in each"),
    )
    for where, cloud, told in places:
        with tempfile.TemporaryDirectory() as folder:
            repo, source = _new(folder), Source()
            for batch in range(batches):
                points = source.points(each, where, cloud).valued()
                ids = np.repeat(np.arange(100) + 100 * batch, each // 100)
                with repo.transaction() as tx:
                    tx.writer("p").append_vertices_sync(
                        points.positions, object_ids=ids, attributes={"value": points.values}
                    )
            repo = zvv.Repository.open(Path(folder, "r"))
            tip, before, found, more = repo.resolve("main"), peak_bytes(), [], 0.0
            for _ in range(5):
                clock, cpu = time.perf_counter(), time.process_time()
                repo.compact()
                found.append((time.perf_counter() - clock, time.process_time() - cpu))
                # What threads gave back stays with them: the next round begins with more.
                more = more or (peak_bytes() - before) / 1e6
                assert len(repo.view()["p"][0].batches) == 1
                repo.reset_branch("main", to=tip)
        clock, cpu = (statistics.median(times) for times in zip(*found, strict=True))
        speed = 12 * batches * each / 1e6 / clock
        cost = f"{speed:.1f} MB/s ({clock:.2f} s, {cpu:.2f} s of CPU), {more:+.0f} MB"
        what = f"compaction of {batches:,} batches of {each:,} points, each {told}"
        lines.append((what, cost, "≥ 40 MB/s"))
    return lines


def reads() -> list[Line]:
    """Reads of many small batches that were compacted, and of the same points written at once."""
    batches, each, rounds = (200, 1_000, 10) if QUICK else (1_000, 1_000, 40)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
        compacted, at_once, source = _new(folder), _new(other), Source()
        points = source.points(batches * each, "objects", 10).valued()
        for repo, count in ((compacted, each), (at_once, batches * each)):
            for first in range(0, batches * each, count):
                part = slice(first, first + count)
                with repo.transaction() as tx:
                    tx.writer("p").append_vertices_sync(
                        points.positions[part],
                        object_ids=points.object_ids[part],
                        attributes={"value": points.values[part]},
                    )
        compacted.compact()
        opened = [zvv.Repository.open(Path(f, "r")) for f in (folder, other)]
        random = np.random.default_rng(1)
        lines = []
        for what, ask in (("a box of 1/64", _box), ("100 objects", _objects), ("all", dict)):
            times: list[list[float]] = [[], []]
            for number in range(rounds):
                asked = ask() if ask is dict else ask(random, batches * each // 10)
                found = []
                for side in ((0, 1), (1, 0))[number % 2]:
                    level = opened[side].view()["p"][0]
                    clock = time.perf_counter()
                    found.append(level.read(attributes="all", **asked).positions)
                    times[side].append(time.perf_counter() - clock)
                assert len(found[0]) == len(found[1])
            after, once = (statistics.median(side) for side in times)
            ratio = statistics.median(a / b for a, b in zip(*times, strict=True))
            cost = f"{ratio:.2f} × ({after * 1e3:.1f} beside {once * 1e3:.1f} ms)"
            lines.append((f"{what} of {batches:,} batches that were compacted", cost, "≤ 1.1 ×"))
    return lines


def _box(random: np.random.Generator, _: int) -> dict[str, Any]:
    corner = random.random(3) * EXTENT * 0.75
    return {"bbox": (corner, corner + EXTENT / 4)}


def _objects(random: np.random.Generator, count: int) -> dict[str, Any]:
    return {"objects": random.choice(count, 100, replace=False)}


def small_commits() -> list[Line]:
    """Many small commits, then compaction, expiry and collection: bytes before and after."""
    commits, each = (500, 100) if QUICK else (5_000, 100)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
        repo, source = _new(folder), Source()
        for _ in range(commits):
            _append(repo, source, each)
        at_once = _new(other)
        _append(at_once, Source(), commits * each)
        live = _all_bytes(Path(other, "r"))
        before, states = _all_bytes(Path(folder, "r")), _all_bytes(Path(folder, "r", "overwritten"))
        clock = time.perf_counter()
        repo.compact()
        repo.expire(keep_last=1, dry_run=False)
        time.sleep(0.1)
        done = repo.gc(dry_run=False)
        clock = time.perf_counter() - clock
        assert done.bytes_after == _all_bytes(Path(folder, "r"))
        assert repo.view()["p"][0].vertex_count == commits * each
        assert repo.fsck().ok
        after = done.bytes_after
    cost = (
        f"{live / 1e6:.1f} MB live, {before / 1e6:.1f} before ({states / 1e6:.1f} of it earlier "
        f"states of icechunk's repo): {before / live:.1f} times; {after / 1e6:.1f} after, "
        f"{after / live:.2f} times, in {clock:.1f} s"
    )
    return [(f"{commits:,} commits of {each} points, and maintenance", cost, "≤ 1.5 times")]


def _all_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _compared(with_it: list[tuple[float, float]], without: list[tuple[float, float]]) -> str:
    parts = []
    for name, at in (("clock", 0), ("CPU", 1)):
        a, b = (statistics.median(pair[at] for pair in side) for side in (with_it, without))
        parts.append(f"{name} {a * 1e3:.1f} beside {b * 1e3:.1f} ms, {(a / b - 1) * 100:+.1f} %")
    return "; ".join(parts)


ROWS: dict[str, Callable[[], list[Line]]] = {
    "fsck": fsck,
    "digest": digest,
    "durable": durable,
    "compact": compact,
    "reads": reads,
    "small_commits": small_commits,
}


def main() -> None:
    asked = [name for name in sys.argv[1:] if name != "--quick"]
    unknown = set(asked) - ROWS.keys()
    if unknown:
        sys.exit(f"no row {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    lines = [line for name in asked or ROWS for line in ROWS[name]()]
    print(table(("what", "cost", "target"), lines))


if __name__ == "__main__":
    main()
