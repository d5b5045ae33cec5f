"""Every read has an async twin that works in a running loop and does not stop it."""

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import Any

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xarray as xr
from scipy.spatial import KDTree
from test_queries import Whole

import zv_versioned as zvv
from zv_versioned.objects import Objects


@pytest.fixture(scope="module")
def mesh() -> Whole:
    return Whole("mesh")


@pytest.fixture(scope="module")
def points() -> Whole:
    return Whole("point_cloud")


def reads_of(kind: type) -> list[str]:
    """The public methods of a class, without those that write and the twins themselves."""
    methods = [n for n, _ in inspect.getmembers(kind, inspect.isfunction) if n[0] != "_"]
    twins = {name for name in methods if inspect.iscoroutinefunction(getattr(kind, name))}
    twins |= {name for name in methods if inspect.isasyncgenfunction(getattr(kind, name))}
    return [name for name in methods if name not in twins and name != "writer"]


@pytest.mark.parametrize("kind", [zvv.Level, Objects])
def test_every_public_read_has_a_twin_with_the_same_parameters(kind: type) -> None:
    reads = reads_of(kind)
    assert "read" in reads
    assert "summary" in reads or "positions" in reads
    for name in reads:
        twin = getattr(kind, f"a{name}", None)
        assert twin is not None, name
        mine, its = inspect.signature(getattr(kind, name)), inspect.signature(twin)
        assert mine.parameters == its.parameters
        assert f":meth:`{name}`" in (twin.__doc__ or "")
        assert twin.__name__ == f"a{name}"


ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "attribute": ("weight",),
    "object_attribute": ("size",),
    "link_attribute": ("strength",),
    "face_attribute": ("strength",),
    "sample": (5, 1),
}


def plain(value: Any) -> Any:
    """What two results are compared by."""
    if isinstance(value, zvv.Geometry):
        return plain({n: getattr(value, n) for n in ("positions", "vertex_ids", "attributes")})
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, repr(value.tolist())
    if isinstance(value, xr.Dataset):
        return repr(value.load().to_dict())
    if isinstance(value, pa.Table):
        return repr(value.to_pylist())
    if isinstance(value, KDTree):
        return plain(value.data)
    if isinstance(value, dd.DataFrame):
        value = value.compute()
    return repr(value.to_dict()) if isinstance(value, pd.DataFrame) else value


def test_a_twin_gives_what_the_read_gives_in_a_running_loop(mesh: Whole) -> None:
    level = mesh.level
    arguments = {
        **ARGUMENTS,
        "object_attribute": tuple(level.object_attribute_names[:1]),
        "link_attribute": tuple(level.link_attribute_names[:1]),
        "face_attribute": tuple(level.link_attribute_names[:1]),
        "vertex_map": (level._dataset._view,),
    }

    async def all_of_them() -> dict[str, Any]:
        names = [n for n in reads_of(zvv.Level) if n != "to_arrow_batches"]
        names = [n for n in names if arguments.get(n) != ()]
        found = await asyncio.gather(
            *(getattr(level, f"a{name}")(*arguments.get(name, ())) for name in names)
        )
        return dict(zip(names, found, strict=True))

    found = asyncio.run(all_of_them())
    assert len(found) >= 14
    for name, value in found.items():
        expected = getattr(level, name)(*arguments.get(name, ()))
        assert plain(value) == plain(expected), name


def test_objects_are_awaited_too(points: Whole) -> None:
    objects = points.level.objects
    ids = points.level.object_ids()[[2, 5]]
    assert plain(asyncio.run(objects.aread(ids))) == plain(objects[ids])
    assert plain(asyncio.run(objects.asummary(ids))) == plain(objects.summary(ids))


def test_record_batches_come_one_by_one(points: Whole) -> None:
    async def consume() -> tuple[list[int], list[int]]:
        sizes, ids = [], []
        async for batch in points.level.ato_arrow_batches(attributes=[], rows=70):
            sizes.append(len(batch))
            ids += batch.column("vertex_id").to_pylist()
        return sizes, ids

    sizes, ids = asyncio.run(consume())
    assert max(sizes) <= 70
    assert ids == points.read.vertex_ids.tolist()


def test_the_loop_goes_on_while_a_read_is_awaited(
    points: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    level = points.level
    go_on, reader = threading.Event(), level._reader
    positions_of = type(reader).positions_of

    def waiting(self: Any, *args: Any, **kwargs: Any) -> Any:
        assert go_on.wait(30), "the loop stood still"
        return positions_of(self, *args, **kwargs)

    async def both() -> np.ndarray:
        read = asyncio.ensure_future(level.apositions())
        await asyncio.sleep(0)  # let it begin
        go_on.set()
        return await read

    monkeypatch.setattr(type(reader), "positions_of", waiting)
    np.testing.assert_array_equal(asyncio.run(both()), level.positions())


def test_an_error_of_a_read_is_raised_where_it_is_awaited(points: Whole) -> None:
    with pytest.raises(zvv.NotFoundError, match="'nothing'"):
        asyncio.run(points.level.aattribute("nothing"))
    with pytest.raises(zvv.ArrayError, match="reversed"):
        asyncio.run(points.level.acount(bbox=([1] * 3, [0] * 3)))
