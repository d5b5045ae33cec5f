"""Levels as dask DataFrames: the rows of `read`, in partitions that any process can read."""

from __future__ import annotations

import pickle
import sys
from typing import Any

import dask
import distributed
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_queries import Whole, draw_query, values_of

import zv_versioned as zvv


@pytest.fixture(scope="module", params=["point_cloud", "streamline", "graph"])
def whole(request: pytest.FixtureRequest) -> Whole:
    return Whole(request.param)


@pytest.fixture(scope="module")
def points() -> Whole:
    return Whole("point_cloud")


def expected(level: zvv.Level, **query: Any) -> Any:
    """The frame of pandas, in the order of the level."""
    frame = level.to_pandas(**query).sort_index()
    return frame.drop(columns="part", errors="ignore")


def same(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    """Equal but for the dtype of text: dask has one of its own."""
    pd.testing.assert_frame_equal(found.astype(wanted.dtypes), wanted, check_index_type=False)
    texts = [name for name in wanted if isinstance(wanted[name].dtype, pd.StringDtype)]
    assert found.dtypes.drop(texts).equals(wanted.dtypes.drop(texts))


@settings(max_examples=15)
@given(data=st.data(), size=st.sampled_from([60, 250, 10_000]))
def test_a_dask_frame_has_the_rows_of_the_pandas_one(
    whole: Whole, data: st.DataObject, size: int
) -> None:
    query, _ = draw_query(data, whole)
    query.pop("limit", None)
    names = data.draw(st.lists(st.sampled_from(whole.level.attribute_names), unique=True))
    frame = whole.level.to_dask(attributes=names, partition_vertices=size, **query)
    with dask.config.set(scheduler="sync"):
        found = frame.compute()
        parts = [p.compute() for p in frame.partitions]
    wanted = expected(whole.level, attributes=names, **query)
    same(found, wanted)
    assert frame.columns.tolist() == wanted.columns.tolist()
    for part, lo, hi in zip(parts, frame.divisions, frame.divisions[1:], strict=False):
        assert part.dtypes.equals(frame._meta.dtypes)
        if len(part):
            assert lo <= part.index.min() <= part.index.max() <= hi


def test_partitions_are_runs_of_cells_with_known_divisions(points: Whole) -> None:
    frame = points.level.to_dask(partition_vertices=100)
    assert frame.known_divisions
    assert frame.divisions[0] == 0
    assert frame.divisions[-1] == points.level.vertex_count - 1
    assert 5 <= frame.npartitions <= 12
    assert points.level.to_dask().npartitions == 1
    one = frame.loc[321].compute()
    assert one["x"].tolist() == [points.read.positions[321, 0]]


def test_partitions_that_cannot_match_are_not_there(points: Whole) -> None:
    some = points.level.to_dask(partition_vertices=1, bbox=([0] * 3, [10] * 3))
    assert some.npartitions < points.level.to_dask(partition_vertices=1).npartitions / 5
    nothing = points.level.to_dask(bbox=([90] * 3, [99] * 3))
    assert len(nothing.compute()) == 0
    assert nothing.columns.tolist() == points.level.to_dask().columns.tolist()


def test_nothing_but_names_is_sent(local_location: str) -> None:
    level = on_disk(local_location, 5_000)
    frame = level.to_dask(partition_vertices=500)
    sent = pickle.dumps(frame)
    assert len(sent) < 20_000
    positions = level.positions()
    assert positions[:20].tobytes() not in sent
    same(pickle.loads(sent).compute(), level.to_pandas())


def test_the_same_snapshot_has_the_same_names_in_the_graph(local_location: str) -> None:
    level = on_disk(local_location, 500)
    again = zvv.Repository.open(local_location).view(level._dataset._view.snapshot_id)["p"][0]
    assert level.to_dask()._name == again.to_dask()._name
    assert level.to_dask()._name != level.to_dask(attributes=[])._name
    with level.writer() as writer:
        writer.append_vertices_sync(np.zeros((1, 3), "f4"))
    repo = level._dataset._view._repository
    assert repo.view()["p"][0].to_dask()._name != level.to_dask()._name


def on_disk(location: str, n: int) -> zvv.Level:
    rng = np.random.default_rng(0)
    repo = zvv.Repository.create(location)
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0] * 3, [80] * 3))
        for number in range(2):
            tx.writer("p").append_vertices_sync(
                rng.uniform(0, 80, (n, 3)).astype("f4"),
                object_ids=rng.integers(0, 50, n) + 100 * number,
                attributes=values_of(rng, n),
            )
    return repo.view()["p"][0]


def test_a_cluster_of_processes_reads_a_level_at_its_snapshot(local_location: str) -> None:
    level = on_disk(local_location, 20_000)
    frame = level.to_dask(partition_vertices=4_000)
    ds = level.to_xarray().chunk(vertex=8_000)
    wanted = level.to_pandas()
    level._dataset._view._repository.reset_branch("main", to="main~1")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    )
    with cluster, distributed.Client(cluster) as client:
        same(frame.compute(), wanted)
        by_object = frame.groupby("object_id")["x"].max().compute().sort_index()
        pd.testing.assert_series_equal(by_object, wanted.groupby("object_id")["x"].max())
        # The coordinates take part: more than one worker reads, and what they read is right.
        assert float((ds["x"] * ds["weight"]).sum()) == pytest.approx(
            float((wanted["x"] * wanted["weight"]).sum()), rel=1e-5
        )
        pids = client.run(lambda: __import__("os").getpid())
        assert len(set(pids.values())) == 2


def test_a_wrong_question_is_refused(points: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(zvv.ArrayError, match="no limit; use head"):
        points.level.to_dask(limit=5)
    with pytest.raises(zvv.ArrayError, match="partition_vertices must be"):
        points.level.to_dask(partition_vertices=0)
    with pytest.raises(zvv.NotFoundError, match="'nothing'"):
        points.level.to_dask(attributes=["nothing"])
    monkeypatch.setitem(sys.modules, "dask.dataframe", None)
    with pytest.raises(zvv.MissingExtraError, match=r"dask.*'zv-versioned\[dask\]'"):
        points.level.to_dask()
