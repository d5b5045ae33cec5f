"""How long zarr-vectors takes to read a snapshot through `dataset.store`.

    python benchmarks/zarr_vectors_store.py [--quick] [--rounds N] [--only NAME,...]

The repositories lie on the local filesystem, opened anew for each round; every figure is from a new
store. "links" is the first look at all links, which says what families there are; "links, again" is
the same by another store of the same repository, which knows the batches by then. The number of
vertices read is compared with ours.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
import zarr_vectors
from _harness import CELL, Source, median, timed
from _ours import BOUNDS
from _shapes import surface, walks

import zv_versioned as zvv

BOX = ([2 * CELL] * 3, [4 * CELL - 1] * 3)
"""One of 64 equal cubes of the volume."""

Fill = Callable[[Any], None]


def points(batches: int, each: int, where: str) -> tuple[str, Fill]:
    """Points in objects of 100 (or fewer), in batches."""

    def fill(writer: Any) -> None:
        source = Source()
        for part in source.points(batches * max(each, 100), where).split(batches):
            some = part.positions[:each]
            values = {"value": np.arange(len(some), dtype="f4")}
            writer.append_vertices_sync(some, object_ids=part.object_ids[:each], attributes=values)

    return "point_cloud", fill


def polylines(count: int) -> tuple[str, Fill]:
    """Lines of 100 vertices."""

    def fill(writer: Any) -> None:
        lines = walks(count, 100, seed=0)
        writer.append_polylines_sync(lines.reshape(-1, 3), offsets=np.arange(count) * 100)

    return "polyline", fill


def mesh(side: int) -> tuple[str, Fill]:
    """A closed surface."""

    def fill(writer: Any) -> None:
        writer.append_mesh_sync(*surface(side))

    return "mesh", fill


def cases(quick: bool) -> dict[str, tuple[str, Fill]]:
    """What is read."""
    n = 10 if quick else 1
    return {
        "300 batches of 20 points": points(300 // n, 20, "points"),
        "100 batches of 10,000 points": points(100 // n, 10_000, "objects"),
        "1,000,000 points in one batch": points(1, 1_000_000 // n, "objects"),
        "10,000 lines of 100 vertices": polylines(10_000 // n),
        "a mesh of 200,000 faces": mesh(317 // n),
    }


def measure(folder: Path, kind: str) -> dict[str, float]:
    """One round: seconds of each read, each through a new store."""
    repository = zvv.Repository.open(folder)
    dataset = repository.view()["d"]
    times: dict[str, float] = {}

    def level() -> Any:
        return zarr_vectors.open(dataset.store)[0]

    times["open"] = timed(level)[0]
    if kind in ("polyline", "mesh"):

        def links() -> Any:
            return zarr.open_group(dataset.store, mode="r")["0/links/0"].attrs["num_links"]

        times["links"] = timed(links)[0]
        times["links, again"] = timed(links)[0]
    times["whole"], found = timed(lambda: level().read())
    assert found.vertex_count == dataset[0].vertex_count
    times["box of 1/64"], found = timed(lambda: level().select(bbox=BOX).read())
    if kind == "point_cloud":
        assert found.vertex_count == len(dataset[0].read(bbox=BOX))
    if kind != "mesh":
        some = int(dataset[0].object_ids()[0])
        times["one object"], found = timed(lambda: level().objects[some])
        assert found.vertex_count == len(dataset[0].objects[some])
    times["whole, by us"] = timed(lambda: dataset[0].read(attributes="all"))[0]
    return times


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    work = Path(tempfile.mkdtemp(prefix="zv-store-"))
    try:
        for name, (kind, fill) in cases(options.quick).items():
            if options.only and not any(part in name for part in options.only.split(",")):
                continue
            folder = work / name
            repository = zvv.Repository.create(folder)
            with repository.transaction() as tx:
                shape = [CELL] * 3
                tx.create_dataset("d", kind=kind, bounds=BOUNDS, chunk_shape=shape)
                fill(tx.writer("d"))
            rounds = [measure(folder, kind) for _ in range(options.rounds)]
            print(name)
            for what in rounds[0]:
                print(f"    {what:<16}{1000 * median([r[what] for r in rounds]):>10.1f} ms")
            sys.stdout.flush()
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
