"""The peer: zarr-vectors 0.9.2 and its `ZVWriter`, on icechunk with icechunk's own configuration.

First write: `create_store` in a writable session, then one `write_points` with all points (it
makes the object index from what it is given, so a bulk load cannot come in batches), then the
session's commit.

Append: a new writable session of a repository that stays open, `open_zv`,
`ZVWriter.append_vertices`, its `commit`, the session's commit. As it comes, this raises on
icechunk: once the chunks are written, `Group.derive_nonempty_chunks` lists the keys under
`0/vertices/c/`, and icechunk answers `InvalidInputError: bad key prefix ... Only prefixes pointing
to a group or array are allowed`. So one function of it is replaced here,
`zarr_vectors.core.group._list_store_prefix`: it lists the array's own prefix, `0/vertices/`, and
keeps the keys that were asked for.

Then it works, but now and then it hangs: zarr formats the store's path whenever it reads metadata,
`str(store)` of icechunk waits for a lock of the session on zarr's own loop, and a write that holds
that lock waits for the loop. So the store's `__str__` is replaced too. Nothing else is changed, and
nothing becomes slower by it. The writer's async methods are used, on a loop of our own; the `_sync`
ones run on zarr's loop, whose turn the writer's worker threads wait for, and take as long.

Reads: `zarr_vectors.open(store).read(...)`, its own front door, on a read-only session's store. The
function underneath, `zarr_vectors.types.points.read_points`, returns the same positions, some of
them sooner; it is measured too ("its read_points").
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import icechunk
import numpy as np
import zarr_vectors
import zarr_vectors.core.group
from _harness import CELL, EXTENT, Points
from zarr.core.sync import sync
from zarr_vectors.core.store import create_store
from zarr_vectors.lazy.store import open_zv
from zarr_vectors.types.points import read_points, write_points

warnings.filterwarnings("ignore", module="zarr_vectors")
warnings.filterwarnings("ignore", message=r"(ZVWriter|open_zv\(\)) is superseded")

BOUNDS = ([0.0] * 3, [EXTENT] * 3)


def _list_store_prefix(store: Any, prefix: str) -> list[str]:
    async def keys() -> list[str]:
        return [
            key
            async for key in store.list_prefix(prefix.removesuffix("c/"))
            if key.startswith(prefix)
        ]

    return sync(keys())


zarr_vectors.core.group._list_store_prefix = _list_store_prefix


def _storage(path: Path) -> icechunk.Storage:
    return icechunk.local_filesystem_storage(str(path))


class IcechunkStore(icechunk.IcechunkStore):
    """icechunk's store (the peer knows it by this name) with a name that waits for nobody."""

    def __str__(self) -> str:
        return "icechunk"


def _store(session: Any) -> Any:
    store = session.store
    store.__class__ = IcechunkStore
    return store


class Reader:
    """A new read-only session of the branch, read through `zarr_vectors.open`."""

    def __init__(self, path: Path) -> None:
        self._store = icechunk.Repository.open(_storage(path)).readonly_session("main").store
        self._dataset = zarr_vectors.open(self._store)

    def whole(self) -> np.ndarray:
        return self._dataset.read().positions

    def valued(self) -> tuple[np.ndarray, np.ndarray]:
        found = self._dataset.read(attributes=["value"])
        return found.positions, np.asarray(found.attributes["value"])

    def box(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return self._dataset.read(bbox=(low, high)).positions

    def objects(self, ids: np.ndarray) -> np.ndarray:
        return self._dataset.read(objects=ids.tolist()).positions


class InnerReader(Reader):
    """The same, read through `read_points`."""

    def whole(self) -> np.ndarray:
        return read_points(self._store)["positions"]

    def box(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return read_points(self._store, bbox=(low, high))["positions"]

    def objects(self, ids: np.ndarray) -> np.ndarray:
        return read_points(self._store, object_ids=ids.tolist())["positions"]


class Side:
    label = "peer"
    streams = False
    append_takes_seconds = True

    def version(self) -> str:
        return f"zarr-vectors {version('zarr-vectors')} on icechunk {icechunk.__version__}"

    def write(self, path: Path, batches: Iterable[Points]) -> None:
        (points,) = batches
        session = icechunk.Repository.create(_storage(path)).writable_session("main")
        group = create_store(
            _store(session), bounds=BOUNDS, chunk_shape=(CELL,) * 3, geometry_types=["point_cloud"]
        )
        write_points(
            group,
            points.positions,
            object_ids=points.object_ids,
            vertex_attributes=None if points.values is None else {"value": points.values},
            chunk_shape=(CELL,) * 3,
            bounds=BOUNDS,
        )
        session.commit("first write")

    def open(self, path: Path) -> Any:
        return icechunk.Repository.open(_storage(path))

    def append(self, handle: Any, points: Points) -> None:
        session = handle.writable_session("main")
        writer = open_zv(_store(session))[0].writer()

        async def work() -> None:
            await writer.append_vertices(points.positions, object_ids=points.object_ids)
            await writer.commit()

        asyncio.run(work())
        session.commit("append")

    def add_values(self, handle: Any, verb: str, name: str, values: np.ndarray) -> None:
        """Write an attribute for all that is there (`add_attribute`, …) and commit."""
        session = handle.writable_session("main")
        writer = open_zv(_store(session))[0].writer()

        async def work() -> None:
            await getattr(writer, verb)(name, values)
            await writer.commit()

        asyncio.run(work())
        session.commit(verb)

    def values(self, path: Path, name: str) -> np.ndarray:
        """A vertex attribute of the newest version, in the side's own order."""
        store = icechunk.Repository.open(_storage(path)).readonly_session("main").store
        return np.asarray(zarr_vectors.open(store).read(attributes=[name]).attributes[name])

    def count(self, path: Path) -> int:
        store = icechunk.Repository.open(_storage(path)).readonly_session("main").store
        return zarr_vectors.open(store)[0].vertex_count

    def reader(self, path: Path) -> Reader:
        return Reader(path)

    def inner_reader(self, path: Path) -> Reader:
        return InnerReader(path)
