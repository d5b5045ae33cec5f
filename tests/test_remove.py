"""Removed objects leave the view; other snapshots keep them; their ids stay retired."""

from __future__ import annotations

import numpy as np
import pytest

import zv_versioned as zvv


@pytest.fixture
def repo() -> zvv.Repository:
    rng = np.random.default_rng(0)
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [90, 90]), chunk_shape=[10, 10])
        writer = tx.writer("p")
        for first in (0, 50, 25):
            ids = rng.integers(first, first + 50, 300)
            writer.append_vertices_sync(
                rng.integers(0, 90, (300, 2)), object_ids=ids, attributes={"id": ids}
            )
        n = len(tx.writer("p").append_vertices_sync(np.ones((5, 2)), dtype="f4")["object_ids"])
        assert n == 5
    return repo


def level(repo: zvv.Repository) -> zvv.Level:
    return repo.view()["p"][0]


def test_removed_objects_leave_everything_that_is_read(repo: zvv.Repository) -> None:
    before = level(repo)
    was = before.read(attributes="all")
    gone = [3, 30, 31, 60, 99]
    with before.writer() as writer:
        result = writer.remove_objects_sync(gone)
    keep = ~np.isin(was.object_ids, gone)
    assert result == {
        "objects_removed": 5,
        "vertices_removed": int((~keep).sum()),
        "links_removed": 0,
    }
    now = level(repo)
    assert now.vertex_count == keep.sum() == len(now.positions())
    assert now.num_objects == before.num_objects - 5 == len(now.object_ids())
    read = now.read(attributes="all")
    np.testing.assert_array_equal(read.vertex_ids, np.arange(keep.sum()))
    np.testing.assert_array_equal(read.positions, was.positions[keep])
    np.testing.assert_array_equal(read.object_ids, was.object_ids[keep])
    np.testing.assert_array_equal(read.attributes["id"], was.attributes["id"][keep])
    box = ([15, 15], [55, 40])
    some = now.read(bbox=box, attributes=["id"])
    np.testing.assert_array_equal(read.positions[some.vertex_ids], some.positions)
    assert len(some) == (np.isin(before.read(bbox=box).object_ids, gone, invert=True)).sum()
    assert sum(b.vertex_count for b in now.batches) == now.vertex_count
    for object_id in gone:
        assert object_id not in now.objects
        assert object_id in before.objects
    np.testing.assert_array_equal(before.read().positions, was.positions)


def test_an_object_that_is_not_there_is_never_removed(repo: zvv.Repository) -> None:
    with level(repo).writer() as writer:
        writer.remove_objects_sync([7])
        for unknown in ([8, 7], [10**6], [8, 10**6]):
            with pytest.raises(zvv.NotFoundError, match=str(unknown[-1])):
                writer.remove_objects_sync(unknown)
    assert 8 in level(repo).objects
    with level(repo).writer() as writer, pytest.raises(zvv.NotFoundError, match="7"):
        writer.remove_objects_sync(7)


def test_the_id_of_a_removed_object_is_never_given_again(repo: zvv.Repository) -> None:
    one = np.ones((1, 2), "f4")
    with level(repo).writer() as writer:
        largest = writer.append_vertices_sync(one)["object_ids"].tolist()
        writer.remove_objects_sync([7, *largest])
        for taken in (7, largest[0]):
            with pytest.raises(zvv.ArrayError, match=str(taken)):
                writer.append_vertices_sync(one, object_ids=taken)
        assert writer.append_vertices_sync(one)["object_ids"].tolist() == [largest[0] + 1]
    with level(repo).writer() as writer:
        for taken in (7, largest[0]):
            with pytest.raises(zvv.ArrayError, match="were removed from"):
                writer.append_vertices_sync(one, object_ids=taken)


def test_values_written_after_a_removal_are_those_of_what_is_left(repo: zvv.Repository) -> None:
    with level(repo).writer() as writer:
        writer.remove_objects_sync([3, 30, 99])
    now = level(repo)
    ids, objects = now.read().object_ids, now.object_ids()
    with now.writer() as writer:
        writer.add_attribute_sync("text", ids.astype(str))
        writer.add_object_attribute_sync("text", objects.astype(str))
        writer.remove_objects_sync([4, 98])
    now = level(repo)
    assert now.attribute("text").tolist() == now.read().object_ids.astype(str).tolist()
    assert now.object_attribute("text").tolist() == now.object_ids().astype(str).tolist()


def test_a_batch_that_lost_everything_is_not_read(repo: zvv.Repository) -> None:
    with repo.transaction() as tx:
        writer = tx.writer("p")
        writer.remove_objects_sync(level(repo).object_ids())
        writer.add_attribute_sync("none", np.zeros((0, 2), "f4"))
    now = level(repo)
    assert (now.vertex_count, now.num_objects, list(now.objects)) == (0, 0, [])
    assert now.positions().shape == (0, 2)
    assert now.attribute("none", missing="raise").shape == (0, 2)
    assert [b.vertex_count for b in now.batches] == [0] * 4
    with now.writer() as writer:
        writer.append_vertices_sync(
            np.ones((2, 2)), dtype="f4", attributes={"none": np.ones((2, 2))}
        )
    np.testing.assert_array_equal(level(repo).attribute("none", missing="raise"), np.ones((2, 2)))


@pytest.mark.parametrize("extend", [False, True])
def test_a_removed_id_is_said_to_stay_retired(extend: bool) -> None:
    repo = zvv.Repository.create("memory://")
    one = np.ones((1, 2), "f4")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [9, 9]))
        tx.writer("p").append_vertices_sync(one, object_ids=[7])
    with repo.transaction() as tx:
        tx.writer("p").remove_objects_sync([7])
    with repo.transaction() as tx:
        with pytest.raises(zvv.ArrayError, match=r"removed .*: 7.* stay retired") as caught:
            tx.writer("p").append_vertices_sync(one, object_ids=[7], extend=extend)
        assert "extend" not in str(caught.value)
