"""The speed of attributes for what is there, of removing it, and of appending lines and links.

    python benchmarks/attributes.py [--quick] [--json FILE] [--sides ours,peer] [--only PART,...]

The stores are those of `append.py`: float32 points in objects of 100 points, small clouds that are
uniform over a volume of 8 x 8 x 8 cells, on the local filesystem. Every figure is from the call to
the commit's return, of a repository that stays open; the sides take turns, and figures are medians.
What was written is read back, and both sides must have the same values.

Only the peer has the verbs for attributes: Lance and TileDB would write the table, or the array,
anew. None of the others appends lines, meshes or trees to a store that has some.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _harness import CELL, Source, median, timed
from _ours import BOUNDS
from _report import Row, parser, run, short
from _shapes import surface, trees, walks

import zv_versioned as zvv

SIDES = ("ours", "peer")
PARTS = ("vertices", "batches", "objects", "remove", "lines", "mesh", "trees")


@dataclass(frozen=True)
class Plan:
    """How much is done."""

    small: int = 1_000_000
    large: int = 10_000_000
    batches: int = 1_000
    lines: int = 10_000
    mesh_side: int = 317
    trees: int = 1_000
    rounds: int = 7
    slow_rounds: int = 3


QUICK = Plan(
    small=100_000,
    large=500_000,
    batches=50,
    lines=1_000,
    mesh_side=50,
    trees=20,
    rounds=3,
    slow_rounds=1,
)


@dataclass
class Bench:
    """One run: the sides, their stores in a temporary folder, the samples and the rows."""

    plan: Plan
    sides: dict[str, Any]
    folder: Path
    rows: list[Row] = field(default_factory=list)
    samples: dict[str, dict[str, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )

    def store(self, name: str, count: int) -> Path:
        """A store of so many points, made when it is first asked for."""
        path = self.folder / name / str(count)
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            points = Source(0).points(count)
            parts = points.split(10) if self.sides[name].streams else [points]
            self.sides[name].write(path, parts)
        return path

    def add(self, what: str, **options: Any) -> None:
        values = {name: median(found) for name, found in self.samples[what].items()}
        self.rows.append(Row(what, values, **options))

    def take_turns(self, what: str, count: int, verb: str, make: Callable[[int], Any]) -> None:
        """Write new values on all sides, time and again; the peer's takes seconds."""
        open_ = {name: side.open(self.store(name, count)) for name, side in self.sides.items()}
        for number in range(self.plan.rounds):
            values = make(number)
            for name, side in self.sides.items():
                slow = side.append_takes_seconds and number >= self.plan.slow_rounds
                if not slow:
                    took, _ = timed(side.add_values, open_[name], verb, "x", values)
                    self.samples[what][name].append(took)

    # -- the parts

    def vertices(self) -> None:
        """One value for every vertex: float32, and text of ten words."""
        plan = self.plan
        for count, at_least in ((plan.small, 50), (plan.large, 20)):
            what = f"add_attribute, float32, {short(count)} vertices"

            def make(number: int, n: int = count) -> np.ndarray:
                return np.random.default_rng(number).random(n, np.float32)

            self.take_turns(what, count, "add_attribute", make)
            last = make(-1 % 1000)
            for name, side in self.sides.items():
                path = self.store(name, count)
                side.add_values(side.open(path), "add_attribute", "x", last)
                found = side.values(path, "x")
                if not np.array_equal(np.sort(found), np.sort(last)):
                    raise AssertionError(f"{name}: other values were read back than written")
            self.add(what, ratio_at_least=at_least)
        what = f"add_attribute, text, {short(plan.small)} vertices"
        words = np.array([f"compartment {i}" for i in range(10)], object)
        self._ours(what, plan.small, "add_attribute", words[np.arange(plan.small) % 10])
        self.add(what)

    def batches(self) -> None:
        """One value for every vertex of a store that was appended to many times."""
        plan, ours = self.plan, self.sides["ours"]
        for where, title, at_most in (("objects", "", 2.0), ("points", ", scattered", None)):
            path = self.folder / "ours" / f"batches{title}"
            path.parent.mkdir(exist_ok=True)
            ours.write(path, Source(0).points(plan.small, where).split(plan.batches))
            size = f"{short(plan.small)} vertices, {plan.batches:,} batches{title}"
            what = f"add_attribute, float32, {size}"
            values = np.random.default_rng(2).random(plan.small, np.float32)
            handle = ours.open(path)
            for _ in range(plan.slow_rounds):
                took, _ = timed(ours.add_values, handle, "add_attribute", "x", values)
                self.samples[what]["ours"].append(took)
            if not np.array_equal(ours.values(path, "x"), values):
                raise AssertionError("other values were read back than written")
            self.add(what, ours_at_most=at_most)

    def objects(self) -> None:
        """One value for every object."""
        count = self.plan.large
        what = f"add_object_attribute, {short(count // 100)} objects"
        random = np.random.default_rng(3)
        self.take_turns(
            what, count, "add_object_attribute", lambda _: random.random(count // 100, np.float32)
        )
        self.add(what, ratio_at_least=1)

    def remove(self) -> None:
        """Remove 100 objects."""
        count = self.plan.small
        what = f"remove_objects, 100 of {short(count // 100)}"
        repo = self.sides["ours"].open(self.store("ours", count))
        random = np.random.default_rng(4)
        for _ in range(self.plan.rounds):
            ids = random.choice(repo.view()["points"][0].object_ids(), 100, replace=False)
            took, _ = timed(_remove, repo, ids)
            self.samples[what]["ours"].append(took)
        self.add(what)

    def lines(self) -> None:
        """100 polylines of 100 vertices, to a dataset that has many."""
        count = self.plan.lines
        what = f"append of 100 polylines of 100 vertices to {count:,}"
        repo = self._dataset("polyline")
        with repo.transaction("main", message="first write") as tx:
            tx.writer("polyline").append_polylines_sync(walks(count, 100, 0))
        for number in range(1, 2 * self.plan.rounds):
            given = list(walks(100, 100, number))
            took, _ = timed(_append, repo, "polyline", "append_polylines_sync", given)
            self.samples[what]["ours"].append(took)
        found = repo.view()["polyline"][0].objects[count + 7].lines()
        if not np.array_equal(found[0], walks(100, 100, 1)[7]):
            raise AssertionError("another line was read back than written")
        self.add(what, ours_at_most=0.03)

    def mesh(self) -> None:
        """A large mesh over all cells."""
        vertices, faces = surface(self.plan.mesh_side)
        cells = len(np.unique(vertices // CELL, axis=0))
        what = (
            f"append of a mesh of {len(vertices):,} vertices, {len(faces):,} faces, {cells} cells"
        )
        repo = self._dataset("mesh")
        for _ in range(self.plan.rounds):
            took, _ = timed(_append, repo, "mesh", "append_mesh_sync", vertices, faces)
            self.samples[what]["ours"].append(took)
        found = repo.view()["mesh"][0].objects[0]
        if _multiset(found.positions[found.faces]) != _multiset(vertices[faces]):
            raise AssertionError("other faces were read back than written")
        self.add(what, ours_at_most=0.5)

    def trees(self) -> None:
        """Many trees at once."""
        count = self.plan.trees
        positions, edges = trees(count, 1_000, 0)
        what = f"append of {short(len(positions))} skeleton nodes in {count:,} trees"
        ids = np.repeat(np.arange(count), 1_000)
        repo = self._dataset("skeleton")
        for number in range(self.plan.rounds):
            given = partial(_append, object_ids=ids + number * count)
            took, _ = timed(given, repo, "skeleton", "append_graph_sync", positions, edges)
            self.samples[what]["ours"].append(took)
        found = repo.view()["skeleton"][0].objects[3]
        mine = edges[(edges[:, 0] // 1_000) == 3]
        if _multiset(found.positions[found.edges]) != _multiset(positions[mine]):
            raise AssertionError("another tree was read back than written")
        self.add(what, ours_at_most=1.5)

    def _dataset(self, kind: str) -> zvv.Repository:
        """A new repository with an empty dataset of a kind, under its name."""
        repo = zvv.Repository.create(self.folder / kind)
        with repo.transaction("main", message="create") as tx:
            tx.create_dataset(kind, kind=kind, bounds=BOUNDS, chunk_shape=(CELL,) * 3)
        return repo

    def _ours(self, what: str, count: int, verb: str, values: Any) -> None:
        handle = self.sides["ours"].open(self.store("ours", count))
        for _ in range(self.plan.rounds):
            took, _ = timed(self.sides["ours"].add_values, handle, verb, "text", values)
            self.samples[what]["ours"].append(took)


def _append(repo: zvv.Repository, name: str, verb: str, *given: Any, **options: Any) -> None:
    with repo.transaction("main", message="append") as tx:
        getattr(tx.writer(name), verb)(*given, **options)


def _multiset(links: np.ndarray) -> bytes:
    """Links by their ends' coordinates, sorted."""
    rows = links.reshape(len(links), -1)
    return rows[np.lexsort(rows.T)].tobytes()


def _remove(repo: zvv.Repository, ids: np.ndarray) -> None:
    with repo.transaction("main", message="remove") as tx:
        tx.writer("points").remove_objects_sync(ids)


def make(options: argparse.Namespace, sides: dict[str, Any], folder: Path) -> Bench:
    """The run; its stores are made when they are asked for."""
    return Bench(QUICK if options.quick else Plan(), sides, folder)


if __name__ == "__main__":
    run(parser(__doc__, SIDES, PARTS).parse_args(), PARTS, make)
