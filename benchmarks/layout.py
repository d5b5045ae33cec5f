"""Sizes of one append under the layouts that were weighed (docs/design/001 and 003).

    python benchmarks/layout.py

10,000 float32 points, each uniform over 8 x 8 x 8 cells, in 100 objects: nearly
every point is a fragment of its own, which is the worst case for an index.
Prints bytes, as a share of the raw coordinates (120,000), and the time to
encode. Nothing is stored; it takes a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from zv_versioned.format import batches, shards
from zv_versioned.format.batches import BatchIndex
from zv_versioned.format.cells import CellCodec
from zv_versioned.format.fragments import encode_ranges
from zv_versioned.format.manifests import encode_manifests
from zv_versioned.spatial.assign import assign, object_rows, stable_order
from zv_versioned.spatial.boxes import box_of, parse_bounds
from zv_versioned.spatial.grid import Grid

POINTS, OBJECTS, RAW = 10_000, 100, 120_000


def show(what: str, encode: Callable[[], int]) -> None:
    """Print the size and the best of five times."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        size = encode()
        times.append(time.perf_counter() - start)
    print(f"| {what:<62} | {size:>8,} | {size / RAW:5.2f} | {min(times) * 1e3:6.2f} |")


def main() -> None:
    rng = np.random.default_rng(0)
    positions = (rng.random((POINTS, 3)) * 1000).astype("f4")
    ids, rows = object_rows(np.repeat(np.arange(OBJECTS), POINTS // OBJECTS))
    grid = Grid.for_bounds(parse_bounds(([0] * 3, [1000] * 3)), (125.0,) * 3)
    plan = assign(positions, box_of(positions), rows, OBJECTS, grid)
    cuts = np.cumsum(plan.cell_vertices)[:-1]
    cells = [part.tobytes() for part in np.split(positions[plan.order], cuts)]
    cell_fragments = np.cumsum(plan.cell_fragments)[:-1]
    tables = [encode_ranges(part) for part in np.split(plan.fragment_vertices, cell_fragments)]

    def each(blobs: list[bytes], codec: CellCodec) -> Callable[[], int]:
        return lambda: sum(len(codec.encode(b)) for b in blobs) + shards.index_size(grid.places)

    index = BatchIndex(
        cells=plan.cells,
        cell_vertices=plan.cell_vertices,
        cell_fragments=plan.cell_fragments,
        fragment_object=plan.fragment_object,
        fragment_vertices=plan.fragment_vertices,
        object_ids=ids,
        object_is_new=np.ones(OBJECTS, bool),
        object_fragments=np.bincount(plan.fragment_object),
        order=stable_order(plan.fragment_object, OBJECTS),
    )
    starts = np.concatenate(([0], np.cumsum(plan.cell_fragments)))
    cell = np.searchsorted(starts, index.order, side="right") - 1
    chunks = np.column_stack([np.full(len(cell), 7), grid.coordinates(plan.cells[cell])])
    manifests = encode_manifests(index.object_fragments, chunks, index.order - starts[cell])
    one = b"".join(manifests)

    def bucket(size: int, codec: CellCodec) -> Callable[[], int]:
        # The last bucket is rewritten: on average half of it, besides the new rows.
        return lambda: int(len(codec.encode(one)) * (size / 2 + OBJECTS) / OBJECTS)

    def ours() -> int:
        encoded = batches.encode(index)
        return len(shards.pack(batches.SECTIONS, [(place, [cell]) for place, cell in encoded]))

    print(f"| {'what':<62} | {'bytes':>8} | {'raw':>5} | {'ms':>6} |")
    print(f"| {'-' * 62} | {'-' * 7}: | {'-' * 4}: | {'-' * 5}: |")
    for cname in ("lz4", "zstd"):
        show(f"coordinates, {cname} + shuffle", each(cells, CellCodec(4, cname, 1)))
        for typesize in (8, 16):
            show(
                f"fragment tables in every cell, {cname} + shuffle of {typesize}",
                each(tables, CellCodec(typesize, cname, 1)),
            )
        for size in (512, 128):
            show(
                f"manifests in buckets of {size}, {cname} + shuffle of 41",
                bucket(size, CellCodec(41, cname, 1)),
            )
    show("one index a batch (fragments, objects, ids), zstd + shuffle of 8", ours)


if __name__ == "__main__":
    main()
