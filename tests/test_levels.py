"""Coarser levels: made, written, read, marked stale, deleted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import zarr

import zv_versioned as zvv

POINTS = np.random.default_rng(0).uniform(0, 80, (500, 3)).astype("f4")


def repository(**settings: Any) -> zvv.Repository:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset(
            "p",
            kind="point_cloud",
            bounds=([0] * 3, [80] * 3),
            chunk_shape=(10, 10, 20),
            **settings,
        )
        tx.writer("p").append_vertices_sync(POINTS)
    return repo


def pyramid() -> zvv.Repository:
    repo = repository()
    with repo.transaction() as tx:
        for number, step in ((1, 10), (2, 50)):
            tx.create_level("p", number, method=f"every {step}th")
            tx.writer("p", number).append_vertices_sync(
                POINTS[::step],
                object_ids=np.arange(0, 500, step),
                attributes={"row": POINTS[::step, 0]},
            )
    return repo


def test_a_level_is_written_and_read_like_any_other() -> None:
    dataset = pyramid().view()["p"]
    assert dataset.levels == [0, 1, 2]
    one, two = dataset[1], dataset[2]
    assert [dataset[n].vertex_count for n in dataset.levels] == [500, 50, 10]
    assert (one.chunk_shape, two.chunk_shape) == ((20, 20, 40), (40, 40, 80))
    read = one.read(bbox=([0] * 3, [40] * 3), attributes="all")
    inside = (POINTS[::10] < 40).all(axis=1)
    assert sorted(read.object_ids) == np.arange(0, 500, 10)[inside].tolist()
    np.testing.assert_array_equal(read.attributes["row"], read.positions[:, 0])
    assert (one.coarsened_from, two.coarsened_from, dataset[0].coarsened_from) == (0, 1, None)
    assert (one.coarsening_method, dataset[0].coarsening_method) == ("every 10th", None)
    assert not one.stale
    assert "coarsened from level 1" in repr(two)
    assert "every 50th" in two._repr_html_()
    with pytest.raises(zvv.NotFoundError, match=r"no level 3.*0, 1, 2"):
        dataset[3]


def test_what_changes_a_level_makes_those_stale_that_were_made_from_it() -> None:
    repo = pyramid()
    before = repo.view()["p"]
    with before[1].writer() as writer:
        writer.add_attribute_sync("x", np.zeros(50))
    now = repo.view()["p"]
    assert [now[n].stale for n in now.levels] == [False, False, True]
    with now[0].writer() as writer:
        writer.append_vertices_sync(POINTS[:1])
    now = repo.view()["p"]
    assert [now[n].stale for n in now.levels] == [False, True, True]
    assert [before[n].stale for n in before.levels] == [False] * 3
    for shown in (repr(now[1]), now[1]._repr_html_(), repr(now), now._repr_html_()):
        assert "stale" in shown
    assert "stale" not in repr(now[0])


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w.append_vertices_sync(POINTS[:1]),
        lambda w: w.add_attribute_sync("a", np.zeros(500)),
        lambda w: w.add_object_attribute_sync("a", np.zeros(500)),
        lambda w: w.remove_objects_sync([3]),
        lambda w: w.add_group_sync("g", [3]),
    ],
)
def test_every_change_makes_a_coarser_level_stale(change: Any) -> None:
    repo = pyramid()
    with repo.view()["p"][0].writer() as writer:
        change(writer)
    assert [repo.view()["p"][n].stale for n in (1, 2)] == [True, True]


def test_what_only_looks_or_fails_makes_nothing_stale() -> None:
    repo = pyramid()
    with repo.transaction() as tx:
        writer = tx.writer("p")
        writer.append_vertices_sync(POINTS[:0])
        writer.remove_objects_sync([])
        writer.set_metadata_sync({"a": 1})
        with pytest.raises(zvv.ArrayError):
            writer.add_attribute_sync("a", [1])
    assert not any(repo.view()["p"][n].stale for n in (1, 2))


def test_an_empty_level_waits_for_what_it_is_made_from() -> None:
    repo = repository()
    with repo.transaction() as tx:
        tx.create_level("p", 1)
        tx.writer("p").append_vertices_sync(POINTS)
        tx.writer("p", 1).append_vertices_sync(POINTS[::10])
    assert not repo.view()["p"][1].stale


def test_a_level_is_made_afresh_by_deleting_it_first() -> None:
    repo = pyramid()
    before = repo.view()["p"]
    with repo.transaction() as tx:
        tx.writer("p").append_vertices_sync(POINTS)
        with pytest.raises(zvv.MetadataError, match="delete level 2 first"):
            tx.delete_level("p", 1)
        tx.delete_level("p", 2)
        tx.delete_level("p", 1)
        with pytest.raises(zvv.NotFoundError, match="no level 1"):
            tx.writer("p", 1)
        tx.create_level("p", 1, method="other")
        tx.writer("p", 1).append_vertices_sync(POINTS[::20])
    now = repo.view()["p"]
    assert now.levels == [0, 1]
    assert (now[1].vertex_count, now[1].stale, now[1].attribute_names) == (25, False, [])
    assert [before[n].vertex_count for n in before.levels] == [500, 50, 10]
    with repo.transaction() as tx:
        tx.delete_level("p", 1)
    assert repo.view()["p"].levels == [0]
    group = zarr.open_group(repo.view()._store, mode="r", path="p")
    assert list(group) == ["0"]
    assert repo.log("main")[0].message == "delete level p/1"


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "there already": ({"level": 0}, "has a level 0"),
    "a gap": ({"level": 2}, "the next is 1"),
    "no number": ({"level": "1"}, "numbers, got '1'"),
    "true": ({"level": True}, "numbers, got True"),
    "finer cells": ({"chunk_shape": (5, 10, 20)}, "whole multiple"),
    "no multiple": ({"chunk_shape": (15, 10, 20)}, "whole multiple"),
    "of other axes": ({"chunk_shape": (10, 10)}, "3 numbers"),
    "from itself": ({"coarsened_from": 1}, "coarsened from 1"),
    "from nothing": ({"coarsened_from": "0"}, "coarsened from '0'"),
    "method no text": ({"method": 5}, "method.*5"),
    "method empty": ({"method": " "}, "method"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_level_that_cannot_be_is_refused_and_nothing_changes(case: str) -> None:
    arguments, words = BAD[case]
    repo = repository()
    tip = repo.resolve("main")
    with repo.transaction() as tx, pytest.raises(zvv.MetadataError, match=words):
        tx.create_level("p", **{"level": 1, **arguments})
    assert repo.resolve("main") == tip


def test_levels_are_in_the_documents_that_others_read() -> None:
    repo = pyramid()
    group = zarr.open_group(repo.view()._store, mode="r", path="p")
    datasets = group.attrs["multiscales"][0]["datasets"]
    assert [d["path"] for d in datasets] == ["0", "1", "2"]
    assert datasets[2]["coordinateTransformations"] == [
        {"type": "scale", "scale": [4.0, 4.0, 4.0]},
        {"type": "translation", "translation": [20.0, 20.0, 40.0]},
    ]
    assert [n["name"] for n in group.attrs["ome"]["nodes"]] == ["0", "1", "2"]
    level = group["2"].attrs["zarr_vectors_level"]
    assert (level["parent_level"], level["coarsening_method"]) == (1, "every 50th")
    assert level["bin_shape"] == level["chunk_shape"] == [40, 40, 80]
    assert level["bin_ratio"] == [4, 4, 4]


def test_bounds_that_one_level_lets_grow_hold_for_all() -> None:
    repo = pyramid()
    far = np.full((1, 3), 95, "f4")
    with repo.transaction() as tx:
        tx.writer("p", 1).append_vertices_sync(far, out_of_bounds="expand")
        tx.writer("p", 0).append_vertices_sync(far)
        tx.writer("p", 0).append_vertices_sync(-far, out_of_bounds="expand")
        tx.writer("p", 2).append_vertices_sync(-far)
    assert repo.view()["p"].bounds == ((-95.0,) * 3, (95.0,) * 3)
    with repo.transaction() as tx:
        tx.writer("p", 2).append_vertices_sync(far)
    assert repo.view()["p"].bounds == ((-95.0,) * 3, (95.0,) * 3)
