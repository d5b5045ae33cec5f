"""Groups name objects by id; where a merge gives ids anew, their members follow."""

from __future__ import annotations

import numpy as np
import pytest

import zv_versioned as zvv


def points(n: int) -> np.ndarray:
    return np.random.default_rng(n).uniform(0, 9, (n, 2)).astype("f4")


@pytest.fixture
def repo() -> zvv.Repository:
    made = zvv.Repository.create("memory://")
    with made.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [9, 9]))
    made.create_branch("try")
    return made


def append(tx: zvv.Transaction, n: int, group: str = "") -> None:
    writer = tx.writer("p")
    ids = writer.append_vertices_sync(points(n))["object_ids"]
    if group:
        writer.add_group_sync(group, ids)


def where(repo: zvv.Repository, group: str) -> list[list[float]]:
    level = repo.view()["p"][0]
    return sorted(level.read(objects=level.groups[group]).positions.tolist())


def test_the_members_of_a_group_are_the_same_objects_under_other_ids(repo: zvv.Repository) -> None:
    with repo.transaction("main") as tx:
        append(tx, 3)
    with repo.transaction("try") as tx:
        append(tx, 2, "theirs")
    result = repo.merge("try")
    assert result.renumbered["p"][1].tolist() == [3, 4]
    assert where(repo, "theirs") == sorted(points(2).tolist())


def test_groups_of_both_sides_keep_their_objects(repo: zvv.Repository) -> None:
    with repo.transaction("main") as tx:
        append(tx, 3, "ours")
    with repo.transaction("try") as tx:
        append(tx, 2, "theirs")
    repo.merge("try")
    assert where(repo, "ours") == sorted(points(3).tolist())
    assert where(repo, "theirs") == sorted(points(2).tolist())


def test_a_commit_that_lost_the_race_groups_its_own_objects(repo: zvv.Repository) -> None:
    pair = repo.transaction(), repo.transaction()
    for n, tx in zip((3, 2), pair, strict=True):
        append(tx, n, f"of {n}")
    for tx in pair:
        tx.commit()
    assert where(repo, "of 3") == sorted(points(3).tolist())
    assert where(repo, "of 2") == sorted(points(2).tolist())


def test_members_follow_when_the_other_branch_gave_the_ids_anew(repo: zvv.Repository) -> None:
    with repo.transaction("main") as tx:
        append(tx, 3)
    with repo.transaction("try") as tx:
        append(tx, 2)
    before = repo.resolve("try")
    repo.create_branch("third", at=before)
    repo.merge("try", into="main")  # there the objects of "try" are 3 and 4
    with repo.transaction("third") as tx:
        tx.writer("p").add_group_sync("late", [0, 1])  # here they still are 0 and 1
    repo.merge("third", into="main")
    assert where(repo, "late") == sorted(points(2).tolist())


def test_groups_stay_as_they_are_where_no_id_changes(repo: zvv.Repository) -> None:
    with repo.transaction("main") as tx:
        append(tx, 3, "ours")
    repo.reset_branch("try", to="main")
    with repo.transaction("try") as tx:
        append(tx, 2)
    with repo.transaction("main") as tx:
        tx.writer("p").set_metadata_sync({"a": 1})
    repo.merge("try")
    assert where(repo, "ours") == sorted(points(3).tolist())
