"""The speed of appends, first writes, opening and reading, beside the peer, Lance and TileDB.

    python benchmarks/append.py [--quick] [--json FILE] [--sides ours,peer,...] [--only PART,...]

The base store holds 1,000,000 float32 points in 10,000 objects of 100 points, on 8 x 8 x 8 cells;
an append is 10,000 points in 100 new objects, committed. Objects are small clouds, uniform over the
volume; "scattered" is the worst there can be, every single point of every object anywhere in the
volume (see `Source`). The large store holds 10,000,000 points in 100,000 objects. Everything is on
the local filesystem, in a temporary directory, in one process; what each side is, and how it is set
up, stands in `_ours.py`, `_peer.py`, `_lance.py` and `_tiledb.py`. A side that is not installed is
left out.

The sides take turns, in changing order; figures are medians. Appends are made seven in a row, in
three rounds; the peer's take seconds, so there is one in each round. Every answer is checked: all
sides must return as many points. Nothing is deleted before the end, because a filesystem that is
busy with that is slow for many seconds; a run needs about 5 GB of room.

Sizes are those of all files, without icechunk's `overwritten/`. "raw" is the bytes of the positions
alone, "input" those of positions and object ids.
"""

from __future__ import annotations

import argparse
import gc
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from _commits import Commits
from _harness import (
    EXTENT,
    SIDES,
    Points,
    Side,
    Source,
    boxes,
    median,
    peak_memory,
    stored_bytes,
    timed,
)
from _report import Row, parser, run, short, times

INNER = "peer, read_points"
PARTS = ("append", "open", "read", "many", "write")


@dataclass(frozen=True)
class Plan:
    """How much is done."""

    base: int = 1_000_000
    large: int = 10_000_000
    batch: int = 10_000
    rounds: int = 3
    in_a_row: int = 7
    opens: int = 21
    writes: int = 3
    reads: int = 7
    boxes: int = 20
    objects: int = 100
    many: int = 2_000
    middle: int = 1_000


QUICK = Plan(large=2_000_000, in_a_row=3, opens=7, writes=1, reads=3, boxes=6, many=100, middle=50)


@dataclass
class Appender:
    """A store that is appended to: its side, the open handle, the source of its points."""

    side: Side
    path: Path
    source: Source
    handle: Any


@dataclass
class Bench:
    """One run: the sides, their stores in a temporary folder, the samples and the rows."""

    plan: Plan
    sides: dict[str, Side]
    folder: Path
    rows: list[Row] = field(default_factory=list)
    samples: dict[str, dict[str, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )

    # -- helpers

    def path(self, name: str, store: str) -> Path:
        return self.folder / name / store

    def note(self, what: str, name: str, value: float) -> None:
        self.samples[what][name].append(value)

    def medians(self, what: str) -> dict[str, float]:
        """What each side needed; the runs with sparse ids, `"sparse"`, are not a side."""
        return {
            name: median(values) for name, values in self.samples[what].items() if name in SIDES
        }

    def add(self, what: str, values: dict[str, float], **options: Any) -> None:
        self.rows.append(Row(what, values, **options))

    def agree(self, what: str, counts: dict[str, int], expected: int | None = None) -> None:
        if len({*counts.values(), *(() if expected is None else (expected,))}) > 1:
            raise AssertionError(f"{what}: the sides differ: {counts}, expected {expected}")

    def first_write(
        self, what: str, store: str, points: Points, repeats: int, batches: int = 1
    ) -> None:
        """Write the same points on all sides; the stores of the last repeat stay."""
        for repeat in range(repeats):
            where = store if repeat == repeats - 1 else f"{store}, {repeat}"
            for name, side in self.sides.items():
                self.path(name, "").mkdir(exist_ok=True)
                parts = points.split(batches) if side.streams else [points]
                self.note(what, name, timed(side.write, self.path(name, where), parts)[0])
        counts = {name: side.count(self.path(name, store)) for name, side in self.sides.items()}
        self.agree(what, counts, len(points))

    def appenders(
        self, base: str, store: str, where: str, *, slow: bool, sparse: bool
    ) -> dict[str, Appender]:
        """A copy of the base store of every side, open; and of one with sparse ids of ours."""
        found = {}
        for name, side in self.sides.items():
            if slow or not side.append_takes_seconds:
                path = Path(shutil.copytree(self.path(name, base), self.path(name, store)))
                source = Source(1)
                source.points(self.plan.base)  # the ids that the base store has
                found[name] = Appender(side, path, source, side.open(path))
        if sparse and "ours" in self.sides:
            side, source = self.sides["ours"], Source(2, sparse=True)
            path = self.path("ours", f"{store}, sparse")
            side.write(path, [source.points(self.plan.base, where)])
            found["sparse"] = Appender(side, path, source, side.open(path))
        return found

    def append_to(
        self, name: str, to: Appender, where: str, what: str, count: int, *, cold: bool = False
    ) -> int:
        """Appends in a row, one where they take seconds: the time of each, the bytes of all."""
        count = 1 if to.side.append_takes_seconds else count
        batches = [to.source.points(self.plan.batch, where) for _ in range(count)]
        before = stored_bytes(to.path)
        gc.collect()
        for points in batches:
            start = time.perf_counter()
            handle = to.side.open(to.path) if cold else to.handle
            to.side.append(handle, points)
            self.note(what, name, time.perf_counter() - start)
        added = (stored_bytes(to.path) - before) / sum(p.positions.nbytes for p in batches)
        self.note(f"{what}, bytes", name, added)
        return count

    # -- the parts

    def append(self) -> None:
        """Appends: where they fall, warm and cold, dense and sparse ids; their bytes."""
        plan = self.plan
        titles = {
            "objects": "append, spread",
            "cell": "append, one cell",
            "points": "append, scattered",
        }
        for where, title in titles.items():
            base = "scattered" if where == "points" else "base"
            all_of = self.appenders(base, where, where, slow=True, sparse=where != "cell")
            done: dict[str, int] = defaultdict(int)
            for i in range(plan.rounds):
                for cold in (False, True):
                    what = title + ", cold" * cold
                    for name, to in _turned(all_of, i):
                        done[name] += self.append_to(
                            name, to, where, what, plan.in_a_row, cold=cold
                        )
            if "sparse" in all_of:
                for name, number in self._pairs(title, where, all_of).items():
                    done[name] += number
            for name, to in all_of.items():
                count = to.side.count(to.path)
                self.agree(f"{title}, {name}", {name: count}, plan.base + plan.batch * done[name])
        if "ours" in self.sides:
            self._floor()
        for title in titles.values():
            self.add(title, self.medians(title), ratio_at_least=150)
        self._against("append, spread", "tiledb", 1)
        self._against("append, spread", "lance", 0.8)
        for title in titles.values():
            self.add(f"{title}, opened for it", self.medians(f"{title}, cold"))
        for title in ("append, spread", "append, scattered"):
            self._sparse(f"{title}, sparse ids, against dense", title)
        title = "append, spread, opened for it, sparse ids, against dense"
        self._sparse(title, "append, spread", cold=True)
        for title in titles.values():
            self.add(
                f"{title}: bytes, of raw",
                self.medians(f"{title}, bytes"),
                show=times,
                ours_at_most=1.5,
            )

    def _against(self, what: str, other: str, at_least: float) -> None:
        if other in self.sides:
            values = {n: v for n, v in self.medians(what).items() if n in ("ours", other)}
            title = f"{what}, against {self.sides[other].label}"
            self.add(title, values, against=other, ratio_at_least=at_least)

    def _floor(self) -> None:
        """What no append of ours can be below; said before the appends themselves."""
        floor = Commits(self.path("ours", "bare"), 10)
        for _ in range(self.plan.rounds * self.plan.in_a_row):
            self.note("bare commit", "ours", floor.commit())
            if (took := floor.empty()) is not None:
                self.note("empty commit", "ours", took)
        self.add("the floor: an empty commit of icechunk", self.medians("empty commit"))
        self.add("the floor: its commit of three chunks", self.medians("bare commit"))

    def _pairs(self, title: str, where: str, all_of: dict[str, Appender]) -> dict[str, int]:
        """Appends with dense and with sparse ids in turn, since the machine is never the same."""
        pair = {name: all_of[name] for name in ("ours", "sparse")}
        turns = self.plan.rounds * self.plan.in_a_row
        for cold in (False, True):
            for i in range(turns):
                for name, to in _turned(pair, i):
                    self.append_to(name, to, where, f"{title}, pairs{cold}", 1, cold=cold)
        return dict.fromkeys(pair, 2 * turns)

    def _sparse(self, title: str, what: str, *, cold: bool = False) -> None:
        found = self.samples[f"{what}, pairs{cold}"]
        if found["sparse"]:
            sparse, dense = (median(found[name]) for name in ("sparse", "ours"))
            self.add(title, {"ours": sparse}, ratio=sparse / dense, ratio_at_most=1.1)

    def open(self) -> None:
        """Open the base store and count its points."""
        self._opens("open", "base", self.sides)
        self.add("open and pinned view", self.medians("open"), ours_at_most=0.005)

    def _opens(self, what: str, store: str, names: Iterable[str]) -> None:
        for _ in range(self.plan.opens):
            counts = {}
            for name in names:
                took, counts[name] = timed(self.sides[name].count, self.path(name, store))
                self.note(what, name, took)
            self.agree(what, counts)

    def read(self) -> None:
        """100 objects of the base store, of small and of scattered ones."""
        random = np.random.default_rng(3)
        for store, title in (("base", ""), ("scattered", ", scattered")):
            what = f"{self.plan.objects} objects of {short(self.plan.base)}{title}"
            for _ in range(self.plan.reads):
                ids = random.choice(self.plan.base // 100, self.plan.objects, replace=False)
                self._read(what, store, lambda reader, ids=ids: reader.objects(ids))
            self._add_read(what, what, 5)

    def _read(self, what: str, store: str, work: Callable[[Any], np.ndarray]) -> None:
        """One read on every side, through a new handle; and the peer's own inner one."""
        readers = {name: side.reader(self.path(name, store)) for name, side in self.sides.items()}
        if "peer" in self.sides:
            side: Any = self.sides["peer"]
            readers[INNER] = side.inner_reader(self.path("peer", store))
        counts = {}
        for name, reader in readers.items():
            took, positions = timed(work, reader)
            self.note(what, name, took)
            counts[name] = len(positions)
            if positions.shape[1:] != (3,):
                raise AssertionError(f"{name}: {what} returned {positions.shape}")
        self.agree(what, counts)

    def _add_read(self, title: str, what: str, at_least: float) -> None:
        self.add(title, self.medians(what), ratio_at_least=at_least)
        if self.samples[what][INNER]:
            ours, inner = median(self.samples[what]["ours"]), median(self.samples[what][INNER])
            values = {"ours": ours, "peer": inner} if ours == ours else {"peer": inner}
            self.add(f"{title}, against its read_points", values)

    def write(self) -> None:
        """First writes of both sizes, their memory, and the reads of the large store."""
        plan = self.plan
        small, large = short(plan.base), short(plan.large)
        self.first_write("large", "large", Source(0).points(plan.large), plan.writes, batches=10)
        for _ in range(plan.reads):
            self._read("whole", "large", lambda reader: reader.whole())
        for low, high in boxes(plan.boxes, EXTENT / 4):
            self._read("box", "large", lambda reader, low=low, high=high: reader.box(low, high))
        self.add(f"first write of {small}", self.medians("base"), ratio_at_least=8)
        self.add(f"first write of {small}, scattered", self.medians("scattered"), ratio_at_least=8)
        self.add(f"first write of {large}, in 10 appends", self.medians("large"), ratio_at_least=8)
        self._add_read(f"whole read of {large}", "whole", 4)
        self._add_read(f"box of 1/64 of {large}", "box", 3)
        for size, title in ((plan.base, small), (plan.large, large)):
            memory = {}
            for name, side in self.sides.items():
                parts = 10 if side.streams and size == plan.large else 1
                memory[name] = peak_memory(name, size, parts) / (size * 20)
            self.add(
                f"peak memory, first write of {title}, of the input",
                memory,
                show=times,
                ours_at_most=3,
            )
        streamed = {
            name: peak_memory(name, plan.large, 10, stream=True) / (plan.large * 20)
            for name, side in self.sides.items()
            if side.streams
        }
        self.add(
            "the same, each of the 10 made when it is asked for",
            streamed,
            show=times,
            ours_at_most=3,
        )

    def many(self) -> None:
        """The 2,000th append beside the 10th, in time and bytes; opening on the way.

        At the end the stores with many batches take turns with copies that have a few, so that both
        see the same state of the machine.
        """
        plan = self.plan
        old = self.appenders("base", "many", "objects", slow=False, sparse=True)
        appended = plan.many - plan.rounds * plan.in_a_row // 2
        for i in range(appended):
            for to in old.values():
                to.side.append(to.handle, to.source.points(plan.batch))
            if i + 1 == plan.middle:
                self._opens("open middle", "many", [name for name in old if name in self.sides])
        young = self.appenders("base", "few", "objects", slow=False, sparse=True)
        floors = {}
        if "ours" in self.sides:
            floors["many, last"] = Commits(self.path("ours", "bare many"), appended)
            floors["many, first"] = Commits(self.path("ours", "bare few"), 1)
        for i in range(plan.rounds):
            for name, to in _turned(young, i):
                self.append_to(name, to, "objects", "many, first", plan.in_a_row)
                self.append_to(name, old[name], "objects", "many, last", plan.in_a_row)
            for _ in range(plan.in_a_row):
                for what, floor in floors.items():
                    self.note(f"{what}, bare", "ours", floor.commit())
        counts = {name: to.side.count(to.path) for name, to in old.items()}
        appended += plan.rounds * plan.in_a_row
        self.agree("many appends", counts, plan.base + appended * plan.batch)
        for kind, suffix in (("time", ""), ("bytes", ", bytes")):
            first, last = self.samples[f"many, first{suffix}"], self.samples[f"many, last{suffix}"]
            growth = {name: median(last[name]) / median(first[name]) for name in first}
            title = f"append {plan.many:,} against append 10, {kind}"
            values = {name: value for name, value in growth.items() if name in SIDES}
            self.add(title, values, show=times, ours_at_most=1.4)
            if "sparse" in growth:
                values = {"ours": growth["sparse"]}
                self.add(f"{title}, sparse ids", values, show=times, ours_at_most=1.4)
        if floors:
            self._growth()
        opened = self.medians("open middle")
        self.add(f"open and pinned view, {plan.middle:,} batches", opened, ours_at_most=0.02)

    def _growth(self) -> None:
        """What grows: bare icechunk, and what an append takes besides."""
        took = {
            (what, bare): median(self.samples[f"many, {what}{', bare' * bare}"]["ours"])
            for what in ("first", "last")
            for bare in (False, True)
        }
        grown = took["last", True] / took["first", True]
        title = f"the floor: bare icechunk, commit {self.plan.many:,} against commit 10"
        self.add(title, {"ours": grown}, show=times)
        rest = [took[what, False] - took[what, True] for what in ("first", "last")]
        self.add(f"append {self.plan.many:,}, less the bare commit", {"ours": rest[1]})
        self.add("append 10, less the bare commit", {"ours": rest[0]})


def _turned(all_of: dict[str, Appender], by: int) -> list[tuple[str, Appender]]:
    """The stores in an order that changes from round to round: none always follows the same."""
    items = list(all_of.items())
    by %= max(1, len(items))
    return items[by:] + items[:by]


def make(options: argparse.Namespace, sides: dict[str, Side], folder: Path) -> Bench:
    """The run, with the base stores."""
    bench = Bench(QUICK if options.quick else Plan(), sides, folder)
    for store, where in (("base", "objects"), ("scattered", "points")):
        repeats = bench.plan.writes if "write" in options.only.split(",") else 1
        bench.first_write(store, store, Source(0).points(bench.plan.base, where), repeats)
    return bench


if __name__ == "__main__":
    run(parser(__doc__, tuple(SIDES), PARTS).parse_args(), PARTS, make)
