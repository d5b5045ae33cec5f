"""Objects stay who they are: across merges, under whatever ids, and so does what names them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import zv_versioned as zvv
from zv_versioned import _state
from zv_versioned._cache import Cache


def points(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 10, (n, 2)).astype("f4")


@pytest.fixture
def repo() -> zvv.Repository:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [10, 10]))
    repo.create_branch("try")
    return repo


def append(
    repo: zvv.Repository, branch: str, n: int, seed: int, ids: Any = None, **more: Any
) -> None:
    with repo.transaction(branch) as tx:
        tx.writer("p").append_vertices_sync(points(n, seed), object_ids=ids, **more)


def objects(repo: zvv.Repository, ref: str) -> dict[int, set[tuple[float, ...]]]:
    """Where the vertices of each object are."""
    found = repo.view(ref)["p"][0].read()
    where: dict[int, set[tuple[float, ...]]] = {}
    for object_id, position in zip(found.object_ids.tolist(), found.positions, strict=True):
        where.setdefault(object_id, set()).add(tuple(position.tolist()))
    return where


def same_objects(a: zvv.Repository, ref: str, other: str) -> None:
    """Both have the same objects, by their vertices alone."""
    sides = [sorted(map(sorted, objects(a, r).values())) for r in (ref, other)]
    assert sides[0] == sides[1]


def test_an_object_that_goes_on_after_it_was_merged_goes_on_under_its_new_id(
    repo: zvv.Repository,
) -> None:
    append(repo, "main", 3, 1)
    append(repo, "try", 3, 2)
    repo.merge("try")
    append(repo, "try", 2, 3, ids=1, extend=True)
    repo.merge("try")
    wanted, there = objects(repo, "try"), objects(repo, "main")
    assert len(there) == 6
    for where in wanted.values():
        assert where in there.values()


def test_an_object_that_goes_on_before_it_is_merged_is_followed(repo: zvv.Repository) -> None:
    append(repo, "main", 3, 1)
    append(repo, "try", 3, 2)
    with repo.transaction("try") as tx:
        ids = [0, 2, 2, 500, 1]
        tx.writer("p").append_vertices_sync(points(5, 3), object_ids=ids, extend=True)
    wanted = [*objects(repo, "main").values(), *objects(repo, "try").values()]
    result = repo.merge("try")
    there = objects(repo, "main")
    assert sorted(map(sorted, there.values())) == sorted(map(sorted, wanted))
    old, new = result.renumbered["p"]
    assert (old.tolist(), new.tolist()) == ([0, 1, 2], [501, 502, 503])
    level = repo.view()["p"][0]
    for object_id, where in there.items():
        assert {tuple(p) for p in level.objects[object_id].positions.tolist()} == where


def test_merging_there_and_back_leaves_both_with_the_same_objects(repo: zvv.Repository) -> None:
    for name, seed in (("main", 1), ("try", 2), ("main", 3), ("try", 4)):
        append(repo, name, 3, seed)
    repo.merge("try")
    append(repo, "try", 2, 5)
    repo.merge("main", into="try")
    assert len(objects(repo, "try")) == 14
    repo.merge("try", into="main")
    same_objects(repo, "main", "try")
    assert repo.view()["p"][0].vertex_count == repo.view("try")["p"][0].vertex_count == 14


def test_groups_follow_their_members(repo: zvv.Repository) -> None:
    append(repo, "main", 3, 1)
    append(repo, "try", 3, 2)
    with repo.transaction("try") as tx:
        tx.writer("p").add_group_sync("some", [0, 2])
    wanted = [objects(repo, "try")[i] for i in (0, 2)]
    repo.merge("try")
    members = repo.view()["p"][0].groups["some"].tolist()
    assert [objects(repo, "main")[i] for i in members] == wanted


def test_a_transaction_that_goes_on_with_its_own_objects_may_lose_the_race(
    repo: zvv.Repository,
) -> None:
    tx = repo.transaction()
    writer = tx.writer("p")
    first = writer.append_vertices_sync(points(3, 1))["object_ids"]
    ids = [int(first[0]), 500]
    writer.append_vertices_sync(points(2, 2), object_ids=ids, extend=True)
    append(repo, "main", 3, 3)
    told = tx.commit().object_ids["p"].tolist()
    there = objects(repo, "main")
    assert len(there) == 7
    a, b = points(3, 1), points(2, 2)
    assert there[told[0]] == {tuple(a[0].tolist()), tuple(b[0].tolist())}
    assert there[500] == {tuple(b[1].tolist())}
    assert told[-1] == 500


@pytest.mark.parametrize("copy", [False, True])
def test_given_ids_are_counted_anew_where_that_is_asked_for(
    repo: zvv.Repository, copy: bool
) -> None:
    append(repo, "main", 3, 1, ids=[7, 8, 9])
    append(repo, "try", 3, 2, ids=[8, 9, 10])
    tip = repo.resolve("main")
    with pytest.raises(zvv.ConflictError, match=r"objects 8, 9 of dataset 'p'.*renumber=True"):
        repo.merge("try", copy=copy)
    assert repo.resolve("main") == tip
    wanted = [*objects(repo, "main").values(), *objects(repo, "try").values()]
    result = repo.merge("try", renumber=True, copy=copy)
    assert [ids.tolist() for ids in result.renumbered["p"]] == [[8, 9], [11, 12]]
    there = objects(repo, "main")
    assert sorted(there) == [7, 8, 9, 10, 11, 12]
    assert sorted(map(sorted, there.values())) == sorted(map(sorted, wanted))
    # What was read of the batch under its old ids is not taken for what it has now.
    assert sorted(objects(repo, "try")) == [8, 9, 10]
    for taken in (8, 11, 12):
        with pytest.raises(zvv.ArrayError, match="overlap"):
            append(repo, "main", 1, 3, ids=taken)
    append(repo, "try", 1, 3, ids=11)


def test_a_criss_cross_takes_back_what_either_side_took_back(repo: zvv.Repository) -> None:
    append(repo, "main", 3, 1, ids=[1, 2, 3])
    append(repo, "try", 3, 2, ids=[11, 12, 13])
    mine, its = repo.resolve("main"), repo.resolve("try")
    repo.merge(its, into="main")
    repo.merge(mine, into="try")
    with repo.transaction("main") as tx:
        tx.writer("p").remove_objects_sync([1, 11])
    with repo.transaction("try") as tx:
        tx.writer("p").remove_objects_sync([2])
    result = repo.merge("try")
    assert len(result.base) == 2
    assert sorted(objects(repo, "main")) == [3, 12, 13]
    assert repo.merge("try").kind == "up to date"


def test_equal_values_written_on_both_sides_are_no_conflict(repo: zvv.Repository) -> None:
    append(repo, "main", 3, 1)
    repo.merge("main", into="try")
    for branch in ("main", "try"):
        with repo.transaction(branch) as tx:
            tx.writer("p").add_attribute_sync("a", np.arange(3.0))
            tx.writer("p").add_attribute_sync("word", np.array(["x", "y", "x"]))
    assert repo.merge("try").conflicts == ()
    assert repo.view()["p"][0].attribute("a").tolist() == [0, 1, 2]
    for branch, value in (("main", 5.0), ("try", 6.0)):
        with repo.transaction(branch) as tx:
            tx.writer("p").add_attribute_sync("a", np.full(3, value))
    with pytest.raises(zvv.ConflictError, match="'vertex_attributes/a' of dataset 'p'") as caught:
        repo.merge("try")
    base, ours, theirs = caught.value.conflict.load()
    assert (base.tolist(), ours.tolist(), theirs.tolist()) == ([0, 1, 2], [5] * 3, [6] * 3)


def test_what_is_merged_compared_or_reverted_reads_tables_of_what_changed_alone(
    repo: zvv.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "qrs":
        with repo.transaction() as tx:
            tx.create_dataset(name, kind="point_cloud", bounds=([0, 0], [10, 10]))
            tx.writer(name).append_vertices_sync(points(5, 1))
    repo.merge("main", into="try")
    for branch, seed in (("main", 1), ("try", 2)):
        append(repo, branch, 3, seed)
    # As by somebody who has read nothing yet.
    monkeypatch.setattr(repo, "_parts", Cache(1 << 20))
    read: list[str] = []
    load = _state.load_table

    def recorded(store: Any, path: str, *arguments: Any, **named: Any) -> Any:
        read.append(path)
        return load(store, path, *arguments, **named)

    monkeypatch.setattr(_state, "load_table", recorded)
    merged = repo.merge("try")
    repo.diff("main~1", "main")
    repo.revert(merged.snapshot_id, parent=1)
    assert set(read) == {"p/0"}
    # Each version of it once: the base, the two sides, and the result.
    assert len(read) <= 5
    assert repo.view()["q"][0].num_objects == 5
