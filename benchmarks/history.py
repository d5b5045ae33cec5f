"""The speed of merges, reverts and differences, and of many processes on one branch.

    python benchmarks/history.py [--quick] [--only merges,line,processes]

Every append is 10,000 float32 points in 100 new objects. Each repository lies on the local
filesystem, in a temporary directory. A merge is repeated after its branch was reset, without
copying (icechunk 2) and by copying in turn; figures are medians. `--quick` measures no more than
100 appends, and a batch of 1e6 points in place of 1e7.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from _commits import Commits
from _harness import CELL, EXTENT, Source, duration, median, number, stored_bytes, table, timed

import zv_versioned as zvv
from zv_versioned.history import operations
from zv_versioned.storage.carry import SHARES

POINTS, PROCESSES, COMMITS = 10_000, 8, 25
Row = tuple[str, str, str]
Work = Callable[[Connection, str, int, int], None]


def create(path: Path) -> zvv.Repository:
    repo = zvv.Repository.create(str(path))
    with repo.transaction(message="create") as tx:
        tx.create_dataset(
            "points",
            kind="point_cloud",
            bounds=((0.0,) * 3, (EXTENT,) * 3),
            chunk_shape=(CELL,) * 3,
            vertex_dtype="float32",
        )
    return repo


def append(repo: zvv.Repository, source: Source, branch: str = "main", count: int = POINTS) -> str:
    points = source.points(count)
    with repo.transaction(branch, message="append") as tx:
        tx.writer("points").append_vertices_sync(points.positions, object_ids=points.object_ids)
    assert tx.result is not None
    return tx.result.snapshot_id


def merge(repo: zvv.Repository, *, copy: bool) -> Any:
    """`Repository.merge`, with its way of carrying chunks chosen."""
    return operations.merge(
        repo, "try", "main", on_conflict="fail", message=None, author=None, ff="no",
        renumber=False, dry_run=False, copy=copy, progress=None,
    )  # fmt: skip


def branched(path: Path, appends: int, count: int = POINTS) -> zvv.Repository:
    """A repository with so many appends on a branch, and one on main since."""
    repo, source = create(path), Source(0)
    append(repo, source)
    repo.create_branch("try")
    for _ in range(appends):
        append(repo, source, "try", count)
    append(repo, source)
    return repo


def merges(repo: zvv.Repository, path: Path, rounds: int) -> tuple[float, float, int]:
    """Seconds of a merge without copying and by copying, and the bytes that the first writes."""
    tip = repo.resolve("main")
    seconds: dict[bool, list[float]] = {False: [], True: []}
    written = []
    for _ in range(rounds):
        for copy in (False, True):
            before = stored_bytes(path)
            took, result = timed(lambda copy=copy: merge(repo, copy=copy))
            assert result.kind == "merge"
            seconds[copy].append(took)
            if not copy:
                written.append(stored_bytes(path) - before)
            repo.reset_branch("main", to=tip)
    return median(seconds[False]), median(seconds[True]), int(median(written))


def merge_rows(folder: Path, quick: bool) -> list[Row]:
    rows: list[Row] = []
    for appends, target in ((1, 15), (100, 50), (1_000, 400)):
        if quick and appends > 100:
            continue
        path = folder / f"merge-{appends}"
        shared, copied, written = merges(branched(path, appends), path, 5 if appends < 1_000 else 3)
        name = f"merge of {appends:,} appends"
        rows.append((f"{name}, without copying", duration(shared), f"≤ {target} ms"))
        rows.append((f"{name}, by copying", f"{number(copied / shared)} ×", ""))
        goal = "≤ 2,000 kB" if appends == 1_000 else ""
        rows.append((f"{name}: written", f"{number(written / 1e3)} kB", goal))
    sizes = (POINTS, 10**6 if quick else 10**7)
    found = [merges(branched(folder / f"one-{n}", 1, n), folder / f"one-{n}", 3)[0] for n in sizes]
    what = f"merge of one batch of {sizes[1]:.0e} points, against 1e4"
    return [*rows, (what, f"{number(found[1] / found[0])} ×", "≤ 1.5 ×")]


def line_rows(folder: Path, quick: bool) -> list[Row]:
    """Revert and difference along one long branch, and what a commit costs."""
    appends = 100 if quick else 1_000
    repo, source = create(folder / "line"), Source(0)
    snapshots, seconds = [], []
    for _ in range(appends):
        took, snapshot = timed(append, repo, source)
        snapshots.append(snapshot)
        seconds.append(took)
    tip = repo.resolve("main")
    reverts, diffs = [], []
    for _ in range(5):
        took, result = timed(repo.revert, snapshots[appends // 2 - 1])
        assert result.kind == "merge"
        reverts.append(took)
        repo.reset_branch("main", to=tip)
        diffs.append(timed(repo.diff, snapshots[0], tip)[0])
    return [
        (f"revert of an append {appends // 2} commits back", duration(median(reverts)), "≤ 50 ms"),
        (f"diff of two snapshots {appends:,} appends apart", duration(median(diffs)), "≤ 100 ms"),
        ("append and commit, nobody else", duration(median(seconds[:100])), ""),
    ]


def work(pipe: Connection, path: str, who: int, before: int) -> None:
    repo, source = zvv.Repository.open(path), Source(who)
    source._next = (1 + who) * 10**6
    pipe.send("ready")
    pipe.recv()
    for _ in range(COMMITS):
        append(repo, source)
    pipe.send("done")
    pipe.recv()


def work_bare(pipe: Connection, path: str, who: int, before: int) -> None:
    """The floor: the lock, and in it a session at the tip, three chunks and their commit."""
    lock = zvv.Repository.open(path)._backend
    bare = Commits.opened(Path(path), before + who * COMMITS)
    pipe.send("ready")
    pipe.recv()
    for _ in range(COMMITS):
        with lock.mutation("commit"):
            bare.commit()
    pipe.send("done")
    pipe.recv()


def process_rows(folder: Path, quick: bool) -> list[Row]:
    """Eight processes with 25 commits each, in new repositories and in some of 1,000 commits."""
    rows: list[Row] = []
    for before in (0,) if quick else (0, 1_000):
        ours, bare = [], []
        for done in range(3):
            where = folder / f"processes-{before}-{done}"
            ours.append(eight(where / "ours", before))
            bare.append(together(work_bare, bare_in(where / "bare", before), before))
        what = "commits of eight processes to one branch"
        if before:
            what = f"{what} of {before:,} commits"
        rate, floor = median(ours), median(bare)
        rows += [
            (what, f"{number(rate)} a second", "" if before else "≥ 60 a second"),
            (f"{what}: the floor, bare icechunk", f"{number(floor)} a second", ""),
            (f"{what}: of the floor", f"{number(rate / floor)} ×", ""),
        ]
    return rows


def eight(path: Path, before: int) -> float:
    """Commits a second of eight processes to a repository with some appends, none lost."""
    repo, source = create(path), Source(PROCESSES)
    for _ in range(before):
        append(repo, source)
    rate = together(work, path, before)
    lost = before + PROCESSES * COMMITS - len(repo.view()["points"][0].batches)
    assert lost == 0, f"{lost} commits were lost"
    return rate


def bare_in(path: Path, before: int) -> Path:
    Commits(path, before)
    return path


def together(what: Work, path: Path, before: int) -> float:
    """Commits a second of all processes; none ends, which takes time, before the last has done."""
    spawn = multiprocessing.get_context("spawn")
    pipes, started = [], []
    for who in range(PROCESSES):
        mine, its = spawn.Pipe()
        process = spawn.Process(target=what, args=(its, str(path), who, before))
        process.start()
        pipes.append(mine)
        started.append(process)
    assert {pipe.recv() for pipe in pipes} == {"ready"}
    began = time.perf_counter()
    for pipe in pipes:
        pipe.send("go")
    assert {pipe.recv() for pipe in pipes} == {"done"}
    took = time.perf_counter() - began
    for pipe in pipes:
        pipe.send("end")
    for process in started:
        process.join()
    return PROCESSES * COMMITS / took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--only", help="parts, comma-separated: merges,line,processes")
    options = parser.parse_args()
    quick = options.quick
    parts = {"merges": merge_rows, "line": line_rows, "processes": process_rows}
    chosen = options.only.split(",") if options.only else parts
    folder = Path(tempfile.mkdtemp(prefix="benchmark-"))
    try:
        if not SHARES:
            print(
                "This icechunk can only copy: both ways of merging are the same.", file=sys.stderr
            )
        rows = [row for part in chosen for row in parts[part](folder, quick)]
        print(table(("what", "measured", "target"), rows))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
