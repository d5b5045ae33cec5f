"""Reading while another process commits, rewrites and resets: the answer stays what it was."""

from __future__ import annotations

import multiprocessing
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_queries import Whole, boxes, values_of

import zv_versioned as zvv


def write(location: str, ready: Any, stop: Any, told: Any) -> None:
    """Append, overwrite, remove, drop and reset until told to stop: another process."""
    repo = zvv.Repository.open(location)
    rng = np.random.default_rng(5)
    base = repo.view("main").snapshot_id
    rounds = 0
    while not stop.is_set():
        for number in range(3):
            with repo.transaction("main") as tx:
                points = rng.uniform(0, 80, (50, 3)).astype("f4")
                tx.writer("p").append_vertices_sync(points, attributes=values_of(rng, 50))
            if number == 1:
                level = repo.view("main")["p"][0]
                with repo.transaction("main") as tx:
                    tx.writer("p").add_attribute_sync("weight", np.zeros(level.vertex_count, "f4"))
                    tx.writer("p").remove_objects_sync(level.object_ids()[:5])
        with repo.transaction("main") as tx:
            tx.writer("p").drop_attribute_sync("layer")
        repo.reset_branch("main", to=base)
        rounds += 1
        ready.set()
    told.send(rounds)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A level on disk, all of it in arrays, and its address, with a process that writes on."""
    location = str(tmp_path_factory.mktemp("meanwhile") / "repo")
    rng = np.random.default_rng(0)
    repo = zvv.Repository.create(location)
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0] * 3, [80] * 3), chunk_shape=[20] * 3)
        for number in range(4):
            tx.writer("p").append_vertices_sync(
                np.round(rng.uniform(0, 80, (200, 3)) * 2).astype("f4") / 2,
                object_ids=rng.integers(0, 30, 200) + 100 * number,
                attributes=values_of(rng, 200),
            )
    view = repo.view()
    model = view["p"][0].read(attributes="all")
    context = multiprocessing.get_context("spawn")
    ready, stop = context.Event(), context.Event()
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=write, args=(location, ready, stop, there))
    process.start()
    try:
        assert ready.wait(120), "the other process did not begin"
        yield location, view.snapshot_id, model
        stop.set()
        assert here.poll(120), "the other process did not end"
        assert here.recv() >= 2
    finally:
        stop.set()
        process.join(60)
    assert process.exitcode == 0


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(box=boxes, least=st.integers(0, 7).map(lambda i: i / 4), opened=st.booleans())
def test_what_another_process_does_never_changes_an_answer(
    written: Any, box: Any, least: float, opened: bool
) -> None:
    location, snapshot_id, model = written
    # Opened anew nothing is known yet, and every byte is read while the other one writes.
    level = zvv.Repository.open(location).view(snapshot_id=snapshot_id)["p"][0]
    if opened:
        level.positions()
    lo, hi = box
    rows = ((model.positions >= lo) & (model.positions < hi)).all(axis=1)
    rows &= model.attributes["weight"] >= least
    query: dict[str, Any] = {"bbox": box, "where": {"weight": (">=", least)}}
    found = level.read(attributes="all", **query)
    np.testing.assert_array_equal(found.vertex_ids, np.flatnonzero(rows))
    np.testing.assert_array_equal(found.positions, model.positions[rows])
    np.testing.assert_array_equal(found.object_ids, model.object_ids[rows])
    for name, values in found.attributes.items():
        np.testing.assert_array_equal(values, model.attributes[name][rows])
    assert level.count(**query) == rows.sum()
    np.testing.assert_array_equal(level.to_xarray()["positions"].values, model.positions)


@pytest.mark.parametrize("kind", ["point_cloud", "streamline", "graph", "mesh"])
def test_all_tools_see_the_same_level(kind: str) -> None:
    whole = Whole(kind)
    level, read = whole.level, whole.read
    order = np.argsort(read.vertex_ids)
    table = level.to_arrow()
    stream = level.to_arrow_batches()
    with duckdb.connect() as connection:
        connection.register("stream", stream)
        sql = "select vertex_id, object_id, position[2] as y, weight from stream order by vertex_id"
        by_duckdb = connection.sql(sql).fetchnumpy()
    frame = level.to_pandas().sort_index()
    dask_frame = level.to_dask(partition_vertices=100).compute(scheduler="sync")
    polars_frame = pl.DataFrame(pl.from_arrow(table)).sort("vertex_id")
    ds = level.to_xarray()
    expected = {
        "vertex_id": read.vertex_ids[order],
        "object_id": read.object_ids[order],
        "y": read.positions[order, 1],
        "weight": read.attributes["weight"][order],
    }
    seen = {
        "duckdb": {name: np.asarray(by_duckdb[name]) for name in expected},
        "pandas": {n: frame.reset_index()[n].to_numpy() for n in expected},
        "dask": {n: dask_frame.reset_index()[n].to_numpy() for n in expected},
        "polars": {
            n: (polars_frame["position"].arr.get(1) if n == "y" else polars_frame[n]).to_numpy()
            for n in expected
        },
        "xarray": {n: ds[n].values for n in expected},
    }
    for tool, columns in seen.items():
        for name, values in expected.items():
            np.testing.assert_array_equal(columns[name], values, err_msg=f"{name} of {tool}")
