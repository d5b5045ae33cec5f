"""A repository that has a little of everything: every kind, attribute, change and ref."""

from __future__ import annotations

from typing import Any

import numpy as np

import zv_versioned as zvv

BOUNDS = ([0.0] * 3, [100.0] * 3)
KINDS = ("point_cloud", "polyline", "graph", "mesh")


def points(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.uniform(0, 100, (n, 3)).astype("f4")


def append(writer: zvv.ZVWriter, kind: str, rng: np.random.Generator, first: int, n: int) -> None:
    """Append ten objects of `kind`, from id `first` on, with some attributes."""
    positions, ids = points(rng, n), first + np.arange(n) % 10
    texts = np.array([None, "axon", "dendrite", "søma"], object)[rng.integers(0, 4, n)]
    values = {"confidence": rng.random(n).astype("f4"), "part": texts}
    if kind == "point_cloud":
        writer.append_vertices_sync(positions, object_ids=ids, attributes=values)
    elif kind == "polyline":
        lines = np.split(positions, np.sort(rng.integers(1, n, 9)))
        lines = [line for line in lines if len(line)]
        writer.append_polylines_sync(
            lines, object_ids=first + np.arange(len(lines)), attributes=values
        )
    elif kind == "graph":
        ends = rng.integers(0, n, (n, 2))
        edges = ends[(ends[:, 0] != ends[:, 1]) & (ids[ends[:, 0]] == ids[ends[:, 1]])]
        writer.append_graph_sync(
            positions, edges, object_ids=ids, attributes=values,
            link_attributes={"weight": rng.random(len(edges))},
        )  # fmt: skip
    else:
        start = rng.integers(0, n - 20, n)
        faces = np.stack([start, start + 10, start + 20], axis=1)
        writer.append_mesh_sync(positions, faces, object_ids=ids, attributes=values)


def make(
    location: Any, *, kinds: tuple[str, ...] = KINDS, n: int = 200, **options: Any
) -> zvv.Repository:
    """Make the repository; deterministic but for its random names."""
    rng = np.random.default_rng(0)
    repo = zvv.Repository.create(location, **options)
    with repo.transaction(message="datasets") as tx:
        for kind in kinds:
            tx.create_dataset(kind, kind=kind, bounds=BOUNDS, chunk_shape=[30.0] * 3)
    for batch in range(2):
        with repo.transaction(message=f"batch {batch}") as tx:
            for kind in kinds:
                append(tx.writer(kind), kind, rng, 100 * batch, n)
    repo.create_tag("first")
    repo.create_branch("try")
    with repo.transaction(message="values and removals") as tx:
        for kind in kinds:
            writer = tx.writer(kind)
            counted = repo.view()[kind][0]
            writer.add_attribute_sync("later", rng.integers(0, 9, counted.vertex_count))
            writer.add_object_attribute_sync("size", rng.random(counted.num_objects))
            writer.remove_objects_sync([3, 104])
            writer.add_group_sync("odd", [1, 5, 101])
    with repo.transaction("try", message="on the branch") as tx:
        for kind in kinds:
            append(tx.writer(kind), kind, rng, 300, n)
    repo.merge("try", into="main")
    failed = repo.transaction()
    failed.writer(kinds[0]).append_vertices_sync(points(rng, n))
    failed._stages[kinds[0], 0].finish()  # so that it leaves something behind
    failed.abort()
    repo.create_tag("gone")
    repo.delete_tag("gone")
    repo.create_branch("gone-too")
    repo.delete_branch("gone-too")
    return repo
