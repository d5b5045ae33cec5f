"""Our side: `zv_versioned`, a repository on the local filesystem, as a user would write it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from _harness import CELL, EXTENT, Points

import zv_versioned as zvv

BOUNDS = ((0.0,) * 3, (EXTENT,) * 3)


class Reader:
    """A new view of the branch, of a repository that is open."""

    def __init__(self, path: Path) -> None:
        self._level = zvv.Repository.open(str(path)).view("main")["points"][0]

    def whole(self) -> np.ndarray:
        return self._level.positions()

    def valued(self) -> tuple[np.ndarray, np.ndarray]:
        return self._level.positions(), self._level.attribute("value")

    def box(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return self._level.read(bbox=(low, high), attributes=[]).positions

    def objects(self, ids: np.ndarray) -> np.ndarray:
        return self._level.read(objects=ids, attributes=[]).positions


def _add(writer: Any, points: Points) -> None:
    values = None if points.values is None else {"value": points.values}
    writer.append_vertices_sync(points.positions, object_ids=points.object_ids, attributes=values)


class Side:
    label = "ours"
    streams = True
    append_takes_seconds = False

    def version(self) -> str:
        import icechunk
        import zarr

        own = getattr(zvv, "__version__", "in development")
        return f"zv-versioned {own} on icechunk {icechunk.__version__}, zarr {zarr.__version__}"

    def write(self, path: Path, batches: Iterable[Points], *, expected: int | None = None) -> None:
        """One batch a dataset or several, in the cells of all sides or those that suit so many."""
        repo = zvv.Repository.create(str(path))
        with repo.transaction("main", message="first write") as tx:
            tx.create_dataset(
                "points",
                kind="point_cloud",
                bounds=BOUNDS,
                chunk_shape=(CELL,) * 3 if expected is None else None,
                expected_vertices=expected,
                vertex_dtype="float32",
            )
            writer = tx.writer("points")
            for batch in batches:
                _add(writer, batch)

    def open(self, path: Path) -> Any:
        return zvv.Repository.open(str(path))

    def append(self, handle: Any, points: Points) -> None:
        with handle.transaction("main", message="append") as tx:
            _add(tx.writer("points"), points)

    def add_values(self, handle: Any, verb: str, name: str, values: np.ndarray) -> None:
        """Write an attribute for all that is there (`add_attribute`, …) and commit."""
        with handle.transaction("main", message=verb) as tx:
            getattr(tx.writer("points"), f"{verb}_sync")(name, values)

    def values(self, path: Path, name: str) -> np.ndarray:
        """A vertex attribute of the newest version, in the side's own order."""
        return zvv.Repository.open(str(path)).view("main")["points"][0].attribute(name)

    def count(self, path: Path) -> int:
        return zvv.Repository.open(str(path)).view("main")["points"][0].vertex_count

    def reader(self, path: Path) -> Reader:
        return Reader(path)
