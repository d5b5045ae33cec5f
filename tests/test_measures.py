"""Counts, extents, samples, summaries and trees: what numpy says of the whole level."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_queries import Whole, draw_query

import zv_versioned as zvv
from zv_versioned.reading import reader, summary
from zv_versioned.reading.reader import LevelReader


@pytest.fixture(scope="module", params=["point_cloud", "streamline", "graph", "mesh"])
def whole(request: pytest.FixtureRequest) -> Whole:
    return Whole(request.param)


@pytest.fixture(scope="module")
def points() -> Whole:
    return Whole("point_cloud")


@settings(max_examples=40)
@given(data=st.data(), window=st.sampled_from([20, 1 << 20]))
def test_counts_extents_and_samples_are_those_of_what_read_gives(
    whole: Whole, data: st.DataObject, window: int
) -> None:
    query, rows = draw_query(data, whole)
    n, seed = data.draw(st.integers(0, 30), "n"), data.draw(st.integers(0, 99), "seed")
    level, read = whole.level, whole.read
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "WINDOW_VERTICES", window)
        assert level.count(**query) == len(rows)
        if query.pop("limit", None) is not None:
            rows = np.sort(level.read(**query).vertex_ids)
            rows = np.flatnonzero(np.isin(read.vertex_ids, rows))
        extent = level.bounds(**query)
        found = level.sample(n, seed, attributes="all", **query)
        again = level.sample(n, seed, **query)
    if len(rows):
        positions = read.positions[rows].astype("f8")
        assert extent == (tuple(positions.min(axis=0)), tuple(positions.max(axis=0)))
    else:
        assert extent is None
    assert len(found) == len(set(found.vertex_ids.tolist())) == min(n, len(rows))
    np.testing.assert_array_equal(found.vertex_ids, again.vertex_ids)
    assert (np.diff(found.vertex_ids) > 0).all()
    place = np.argsort(read.vertex_ids)
    at = place[np.searchsorted(read.vertex_ids[place], found.vertex_ids)]
    assert np.isin(at, rows).all()
    np.testing.assert_array_equal(found.positions, read.positions[at])
    np.testing.assert_array_equal(found.object_ids, read.object_ids[at])
    for name, values in found.attributes.items():
        np.testing.assert_array_equal(values, read.attributes[name][at])


def test_every_vertex_is_drawn_as_often_as_any_other(points: Whole) -> None:
    where = {"where": {"layer": (">", 1)}}
    for query in ({}, where):
        n = points.level.count(**query)
        drawn = [points.level.sample(n // 4, seed, **query).vertex_ids for seed in range(60)]
        _, counts = np.unique(np.concatenate(drawn), return_counts=True)
        # Each is drawn 15 times of 60, give or take: 6 standard deviations are 20.
        assert len(counts) == n
        assert counts.max() <= 35
    rng = np.random.default_rng(3)
    first, second = (points.level.sample(20, rng).vertex_ids for _ in range(2))
    assert first.tolist() != second.tolist()


def test_a_count_reads_no_more_than_it_depends_on(
    points: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    rows_of = LevelReader.rows_of

    def watched(self: LevelReader, array: str, *rest: Any, **more: Any) -> Any:
        read.append(array)
        return rows_of(self, array, *rest, **more)

    monkeypatch.setattr(LevelReader, "rows_of", watched)
    level, ids = points.level, points.read.object_ids
    assert level.count() == len(ids)
    assert level.count(objects=int(ids[0])) == (ids == ids[0]).sum()
    assert level.count(batches=1) == (points.slot == 1).sum()
    assert read == []
    level.count(where={"layer": 1})
    assert set(read) == {"vertex_attributes/layer"}


@pytest.mark.parametrize("long_runs", [0, 3, 1000])
def test_a_summary_tells_of_each_object_what_numpy_does(whole: Whole, long_runs: int) -> None:
    level, read = whole.level, whole.read
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "WINDOW_VERTICES", 30)
        patch.setattr(summary, "_LONG_RUNS", long_runs)
        found = level.objects.summary()
    np.testing.assert_array_equal(found["object_id"], level.object_ids())
    links = read.edges
    assert ("length" in found) == (links is not None)
    for row, object_id in enumerate(found["object_id"].tolist()):
        mine = read.object_ids == object_id
        assert found["vertices"][row] == mine.sum()
        np.testing.assert_array_equal(found["lo"][row], read.positions[mine].min(axis=0))
        np.testing.assert_array_equal(found["hi"][row], read.positions[mine].max(axis=0))
        if links is not None:
            a, b = (read.positions[ends].astype("f8") for ends in links[mine[links[:, 0]]].T)
            length = np.linalg.norm(b - a, axis=1).sum()
            assert found["length"][row] == pytest.approx(length, rel=1e-12)
    some = found["object_id"][[3, 1]]
    part = level.objects.summary(some)
    rows = np.flatnonzero(np.isin(found["object_id"], some))
    for name, column in part.items():
        np.testing.assert_allclose(column, found[name][rows], rtol=1e-12)
    with pytest.raises(zvv.NotFoundError, match="99999"):
        level.objects.summary([99999])


@pytest.mark.parametrize("dtype", ["float64", "int8", "uint16"])
def test_a_summary_of_scattered_objects_is_exact_in_every_dtype(dtype: str) -> None:
    rng = np.random.default_rng(1)
    positions = rng.integers(0, 100, (3000, 2)).astype(dtype)
    ids = np.array([4, 10**15, 77, 2**62])[rng.integers(0, 4, 3000)]
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        shape = {"bounds": ([0, 0], [100, 100]), "vertex_dtype": dtype}
        tx.create_dataset("p", kind="point_cloud", **shape)
        tx.writer("p").append_vertices_sync(positions, object_ids=ids)
    with repo.transaction() as tx:
        tx.writer("p").remove_objects_sync([77])
    found = repo.view()["p"][0].objects.summary()
    assert found["object_id"].tolist() == [4, 10**15, 2**62]
    for row, object_id in enumerate(found["object_id"].tolist()):
        mine = positions[ids == object_id]
        assert found["vertices"][row] == len(mine)
        assert found["lo"][row].tolist() == mine.min(axis=0).tolist()
        assert found["hi"][row].tolist() == mine.max(axis=0).tolist()
    assert found["lo"].dtype == found["hi"].dtype == np.float64


def test_objects_that_go_on_in_later_batches_are_summed_up_once() -> None:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="polyline", bounds=([0, 0], [10, 10]))
        writer = tx.writer("p")
        writer.append_polylines_sync([np.array([[0, 0], [3, 4]])], object_ids=[7])
        writer.append_polylines_sync([np.array([[9, 9], [9, 8]])], object_ids=[7], extend=True)
    found = repo.view()["p"][0].objects.summary()
    assert {name: column.tolist() for name, column in found.items()} == {
        "object_id": [7],
        "vertices": [4],
        "lo": [[0, 0]],
        "hi": [[9, 9]],
        "length": [6],
    }


def test_an_empty_level_has_answers_too() -> None:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="polyline", bounds=([0, 0], [10, 10]))
    level = repo.view()["p"][0]
    assert (level.count(), level.bounds(), len(level.sample(5))) == (0, None, 0)
    assert {name: column.shape for name, column in level.objects.summary().items()} == {
        "object_id": (0,),
        "vertices": (0,),
        "lo": (0, 2),
        "hi": (0, 2),
        "length": (0,),
    }


def test_a_tree_finds_the_nearest_vertices(points: Whole) -> None:
    read = points.read
    distance, vertex = points.level.kdtree().query([40, 40, 40], k=5)
    exact = np.linalg.norm(read.positions.astype("f8") - 40, axis=1)
    np.testing.assert_allclose(distance, np.sort(exact)[:5])
    np.testing.assert_allclose(exact[vertex], distance)
    part = points.level.read(near=([40, 40, 40], 20))
    _, row = part.kdtree().query([40, 40, 40])
    assert exact[part.vertex_ids[row]] == pytest.approx(exact.min())


def test_what_makes_no_sense_is_refused(points: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    level = points.level
    for wrong in (-1, 1.5, "5", None, True):
        with pytest.raises(zvv.ArrayError, match="n must be a whole number"):
            level.sample(wrong)  # type: ignore[arg-type]
    for seed in (-1, "x"):
        with pytest.raises(zvv.ArrayError, match="seed must be"):
            level.sample(1, seed)  # type: ignore[arg-type]
    with pytest.raises(zvv.ArrayError, match=r"bounds\(\) takes no limit, got 5"):
        level.bounds(limit=5)
    with pytest.raises(zvv.ArrayError, match=r"sample\(\) takes no limit, got 5"):
        level.sample(1, limit=5)
    with pytest.raises(zvv.NotFoundError, match="'nothing'"):
        level.count(where={"nothing": 1})
    for verb in (level.count, level.bounds, level.to_pandas):
        with pytest.raises(TypeError, match="no filter 'box'; there are bbox, near, "):
            verb(box=([0] * 3, [1] * 3))  # type: ignore[call-arg, operator]
    monkeypatch.setitem(sys.modules, "scipy.spatial", None)
    with pytest.raises(zvv.MissingExtraError, match=r"'zv-versioned\[spatial\]'"):
        level.kdtree()
