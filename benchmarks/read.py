"""The speed of reading, beside the peer, Lance, TileDB and the floor.

    python benchmarks/read.py [--quick] [--json FILE] [--sides ours,peer,...] [--only PART,...]

The stores are those of `append.py`, each point with one float32 attribute, `value`: 1,000,000 and
10,000,000 float32 points in objects of 100 points, small clouds that are uniform over a volume,
each written by one append, on the local filesystem. The peer has 8 x 8 x 8 cells of them; ours as
many as `expected_vertices` makes: 8 x 8 x 8 and 16 x 16 x 16. "20 appends" are copies of the
small stores after 20 appends of 10,000 points; Lance's index was told of them, and nothing was
compacted. The peer is left out there: its appends take seconds.

Every read is through a new handle, made just before the clock starts, so that nothing is known of
the data but what opening it tells; "again" is the same read once more. A box is 1/64 of the volume,
anywhere in it. All sides must return as many points. The sides take turns; figures are medians. The
processor time of the same reads, of all threads, says what a read costs where other work takes
turns with it.

The *floor* is the time to read the bytes that our whole read needs from plain files, one a shard,
and to decompress them, cell by cell, into one buffer: no index, no check, no order. "through
icechunk" is the same, but for the bytes, which come from icechunk by the same calls as ours.

Memory is the peak of the resident set while the store of 10,000,000 is read, in a process of its
own, above what it held when it was open, by the size of what the read returns.

S3 is moto on the loopback interface, in a process of its own, which answers every request 20 ms
late. "Round trips" are the most requests of one read of which each began when the one before it was
answered.
"""

from __future__ import annotations

import argparse
import gc
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from _floor import Floor
from _harness import (
    EXTENT,
    SIDES,
    Side,
    Source,
    _status,
    boxes,
    measured,
    median,
    number,
    peak_bytes,
    timed,
)
from _ours import BOUNDS
from _report import Row, parser, run, short, times
from _s3 import Server

import zv_versioned as zvv
from zv_versioned.spatial.grid import CELL_VERTICES

PROCESSOR = ", processor time"
PARTS = (
    "whole",
    "box",
    "objects",
    "one",
    "summary",
    "open",
    "appended",
    "batches",
    "cells",
    "memory",
    "s3",
)


@dataclass(frozen=True)
class Plan:
    """How much is done."""

    small: int = 1_000_000
    large: int = 10_000_000
    appends: int = 20
    batch: int = 10_000
    reads: int = 5
    boxes: int = 11
    objects: int = 100


QUICK = Plan(small=200_000, large=1_000_000, reads=3, boxes=5)


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

    # -- stores

    def path(self, name: str, store: object) -> Path:
        return self.folder / name / str(store)

    def write(self) -> None:
        """The small and the large store of every side."""
        for name, side in self.sides.items():
            self.path(name, "").mkdir()
            for count in (self.plan.small, self.plan.large):
                points = Source(0).points(count).valued()
                fitted = {"expected": count} if name == "ours" else {}
                side.write(self.path(name, count), [points], **fitted)

    # -- reads

    def read(self, what: str, store: object, work: Callable[[Any], Any], names: Any = None) -> None:
        """One read on every side through a new handle, and once more through the same."""
        counts = {}
        for name in names or self.sides:
            reader = self.sides[name].reader(self.path(name, store))
            took, spent, found = measured(work, reader)
            self.samples[what][name].append(took)
            self.samples[f"{what}{PROCESSOR}"][name].append(spent)
            positions, values = found if isinstance(found, tuple) else (found, None)
            counts[name] = len(positions)
            if positions.shape[1:] != (3,) or (values is not None and len(values) != counts[name]):
                raise AssertionError(f"{name}: {what} returned {positions.shape}")
            if name == "ours":
                self.samples[f"{what}, again"][name].append(timed(work, reader)[0])
        if len(set(counts.values())) != 1:
            raise AssertionError(f"{what}: the sides differ: {counts}")

    def add(self, what: str, **options: Any) -> None:
        values = {name: median(found) for name, found in self.samples[what].items()}
        self.rows.append(Row(what, values, **options))
        if spent := self.samples.get(f"{what}{PROCESSOR}"):
            values = {name: median(found) for name, found in spent.items()}
            self.rows.append(Row(f"{what}{PROCESSOR}", values))

    def against(self, what: str, *others: str) -> None:
        """Rows that measure ours by other sides."""
        values = {name: median(found) for name, found in self.samples[what].items()}
        for name in others:
            if name in values and "ours" in values:
                both = {"ours": values["ours"], name: values[name]}
                title = f"{what}, against {self.sides[name].label}"
                self.rows.append(Row(title, both, against=name, ratio_at_least=1))

    # -- the parts

    def whole(self) -> None:
        """Positions and one attribute of all points, beside the floor."""
        for count, at_least in ((self.plan.small, 12), (self.plan.large, 6)):
            what = f"whole read of {short(count)}, positions and value"
            floor = None
            if "ours" in self.sides:
                floor = Floor(self.path("ours", count), self.folder / f"floor {count}")
            for _ in range(self.plan.reads):
                self.read(what, count, lambda reader: reader.valued())
                if floor is not None:
                    for kind, work in (("files", floor.files), ("store", floor.store)):
                        self.samples[f"{what}, floor"][kind].append(timed(work)[0])
            self.add(what, ratio_at_least=at_least)
            self.against(what, "tiledb", "lance")
            if floor is not None:
                ours = median(self.samples[what]["ours"])
                for kind, title in (("files", "plain files"), ("store", "through icechunk")):
                    took = median(self.samples[f"{what}, floor"][kind])
                    most = 2 if kind == "files" and count == self.plan.large else None
                    title = f"{what}: of the floor, {title}"
                    self.rows.append(Row(title, {"ours": ours / took}, times, ours_at_most=most))

    def box(self) -> None:
        """Boxes of 1/64 of the volume."""
        for count, at_least in ((self.plan.small, 6), (self.plan.large, 5)):
            self._boxes(f"box of 1/64 of {short(count)}", count, at_least)

    def _boxes(self, what: str, store: object, at_least: float | None, names: Any = None) -> None:
        for low, high in boxes(self.plan.boxes, EXTENT / 4):
            self.read(what, store, lambda reader, a=low, b=high: reader.box(a, b), names)
        self.add(what, ratio_at_least=at_least)
        self.against(what, "lance", "tiledb")
        self.add(f"{what}, again")

    def objects(self) -> None:
        """100 objects, anywhere."""
        for count, at_least in ((self.plan.small, 10), (self.plan.large, 8)):
            what = f"{self.plan.objects} objects of {short(count)}"
            self._objects(what, count, count, at_least)

    def _objects(
        self, what: str, store: object, count: int, at_least: float | None, names: Any = None
    ) -> None:
        random = np.random.default_rng(3)
        for _ in range(self.plan.reads):
            ids = random.choice(count // 100, self.plan.objects, replace=False)
            self.read(what, store, lambda reader, ids=ids: reader.objects(ids), names)
        self.add(what, ratio_at_least=at_least)
        self.against(what, "lance", "tiledb")
        self.add(f"{what}, again")

    def one(self) -> None:
        """One object."""
        random = np.random.default_rng(4)
        for count in (self.plan.small, self.plan.large):
            what = f"one object of {short(count)}"
            for _ in range(2 * self.plan.reads):
                ids = random.integers(count // 100, size=1)
                self.read(what, count, lambda reader, ids=ids: reader.objects(ids))
            self.add(what, ours_at_most=0.005)
            self.add(f"{what}, again", ours_at_most=0.005)

    def summary(self) -> None:
        """Vertices and extent of every object: of small clouds, and of points anywhere."""
        if "ours" not in self.sides:
            return
        count = self.plan.small
        scattered = self.path("ours", "scattered")
        self.sides["ours"].write(scattered, [Source(2, sparse=True).points(count, "points")])
        for title, path in (("", self.path("ours", count)), (", scattered", scattered)):
            what = f"summary of all objects of {short(count)}{title}"
            for _ in range(self.plan.reads):
                took, found = timed(lambda path=path: self._level(str(path)).objects.summary())
                self.samples[what]["ours"].append(took)
                assert found["vertices"].sum() == count
            self.add(what)

    def open(self) -> None:
        """What xarray needs to show a level, nothing of which is read."""
        if "ours" not in self.sides:
            return
        location = str(self.path("ours", self.plan.large))
        options: dict[str, Any] = {"engine": "zv_versioned", "dataset": "points"}
        views = {
            "open_dataset": lambda: xr.open_dataset(location, **options),
            "to_xarray": lambda: self._level(location).to_xarray(),
        }
        for name, work in views.items():
            what = f"{name} of {short(self.plan.large)}, from nothing"
            for _ in range(4 * self.plan.reads):
                took, found = timed(work)
                self.samples[what]["ours"].append(took)
                assert found.sizes["vertex"] == self.plan.large
            self.add(what, ours_at_most=0.02)

    def _level(self, location: str, **options: Any) -> zvv.Level:
        return zvv.Repository.open(location, **options).view("main")["points"][0]

    def appended(self) -> None:
        """Boxes and objects once more after appends."""
        plan = self.plan
        names = [name for name, side in self.sides.items() if not side.append_takes_seconds]
        for name in names:
            side, path = self.sides[name], self.path(name, "appended")
            shutil.copytree(self.path(name, plan.small), path)
            source = Source(1)
            source.points(plan.small)  # the ids that the store has
            handle = side.open(path)
            for _ in range(plan.appends):
                side.append(handle, source.points(plan.batch).valued())
            if hasattr(side, "settle"):
                side.settle(path)
        title = f"{short(plan.small)} and {plan.appends} appends"
        count = plan.small + plan.appends * plan.batch
        self._boxes(f"box of 1/64 of {title}", "appended", None, names)
        what = f"{plan.objects} objects of {title}"
        self._objects(what, "appended", count, None, names)
        what = f"whole read of {title}, positions and value"
        for _ in range(plan.reads):
            self.read(what, "appended", lambda reader: reader.valued(), names)
        self.add(what)
        self.against(what, "tiledb", "lance")

    def batches(self) -> None:
        """Boxes of a large store that was written by ten appends, as a bulk load is."""
        if "ours" not in self.sides:
            return
        plan = self.plan
        points = Source(0).points(plan.large).valued()
        self.sides["ours"].write(self.path("ours", "batches"), points.split(10))
        what = f"box of 1/64 of {short(plan.large)} in 10 batches"
        self._boxes(what, "batches", None, ["ours"])

    def cells(self) -> None:
        """The large store with cells of several sizes: what is fast of whom."""
        if "ours" not in self.sides:
            return
        plan, random = self.plan, np.random.default_rng(9)
        counts = [plan.large // most for most in (20_000, 5_000, 2_500, 1_000)]
        for cells in counts:
            points = Source(0).points(plan.large).valued()
            self.sides["ours"].write(
                self.path("ours", f"{cells} cells"), [points], expected=cells * CELL_VERTICES
            )
        for low, high in boxes(plan.boxes, EXTENT / 4):
            ids = random.choice(plan.large // 100, plan.objects, replace=False)
            reads = {
                "whole read": lambda reader: reader.valued(),
                "box of 1/64": lambda reader, a=low, b=high: reader.box(a, b),
                "100 objects": lambda reader, ids=ids: reader.objects(ids),
                "one object": lambda reader, ids=ids[:1]: reader.objects(ids),
            }
            for what, work in reads.items():
                for cells in counts:
                    title = f"{what} of {short(plan.large)} in {cells:,} cells or more"
                    self.read(title, f"{cells} cells", work, ["ours"])
        for what in reads:
            for cells in counts:
                self.add(f"{what} of {short(plan.large)} in {cells:,} cells or more")

    def memory(self) -> None:
        """The peak of a whole read."""
        if "ours" in self.sides:
            for what in ("positions", "read"):
                command = [sys.executable, __file__, "--measure", what]
                command.append(str(self.path("ours", self.plan.large)))
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise RuntimeError(f"the memory run failed:\n{done.stderr[-2000:]}")
                share = {"ours": float(done.stdout.splitlines()[-1])}
                title = f"peak memory of {what}() of {short(self.plan.large)}, of the result"
                self.rows.append(Row(title, share, times, ours_at_most=1.5))

    def s3(self) -> None:
        """A box on an object store that is 20 ms away."""
        if "ours" not in self.sides:
            return
        points = Source(0).points(self.plan.large).valued()
        with Server() as server:
            location, options = server.location("large")
            repo = zvv.Repository.create(location, **options)
            with repo.transaction() as tx:
                tx.create_dataset(
                    "points", kind="point_cloud", bounds=BOUNDS, chunk_shape=(EXTENT / 8,) * 3
                )
                tx.writer("points").append_vertices_sync(
                    points.positions,
                    object_ids=points.object_ids,
                    attributes={"value": points.values},
                )
            server.delay(0.02)
            for box in boxes(self.plan.boxes, EXTENT / 4):
                for name, names in (("", []), (", with value", ["value"])):
                    level = self._level(location, **options)
                    server.forget()
                    took, _ = timed(partial(level.read, bbox=box, attributes=names))
                    what = f"box of 1/64 of {short(self.plan.large)} on S3{name}"
                    self.samples[what]["ours"].append(took)
                    self.samples[f"{what}: round trips"]["ours"].append(server.in_a_row())
                    self.samples[f"{what}: requests"]["ours"].append(server.requests())
        for name in ("", ", with value"):
            what = f"box of 1/64 of {short(self.plan.large)} on S3{name}"
            self.add(what)
            self.add(f"{what}: round trips", show=number, ours_at_most=4)
            self.add(f"{what}: requests", show=number)


def measure(what: str, path: str) -> float:
    """The peak of a whole read in this process, of the size of its result."""
    repo = zvv.Repository.open(path)
    level = repo.view("main")["points"][0]
    level.read(limit=1, attributes="all")
    level.positions()[:0]
    gc.collect()
    before = _status("VmRSS") or 0
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    level = zvv.Repository.open(path).view("main")["points"][0]
    found = level.positions() if what == "positions" else level.read(attributes="all")
    peak = peak_bytes() - before
    if isinstance(found, np.ndarray):
        return peak / found.nbytes
    columns = [found.positions, found.vertex_ids, found.object_ids, *found.attributes.values()]
    return peak / sum(column.nbytes for column in columns)


def make(options: argparse.Namespace, sides: dict[str, Any], folder: Path) -> Bench:
    """The run, with the stores that are read."""
    bench = Bench(QUICK if options.quick else Plan(), sides, folder)
    bench.write()
    return bench


def main() -> None:
    made = parser(__doc__, tuple(SIDES), PARTS)
    made.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = made.parse_args()
    if options.measure:
        print(measure(*options.measure))
    else:
        run(options, PARTS, make)


if __name__ == "__main__":
    main()
