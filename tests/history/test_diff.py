"""Diff, blame and history: what differs, and which commits it came from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import zv_versioned as zvv


def points(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 10, (n, 2)).astype("f4")


@pytest.fixture
def repo() -> zvv.Repository:
    """Four commits: the dataset, objects 0 and 1 with a score, object 7, object 7 goes on."""
    repo = zvv.Repository.create("memory://")
    with repo.transaction(message="made") as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [10, 10]))
    with repo.transaction(message="two", author="Ada") as tx:
        tx.writer("p").append_vertices_sync(
            points(10), object_ids=np.arange(10) % 2, attributes={"score": np.zeros(10, "f4")}
        )
    with repo.transaction(message="seven", author="Ben") as tx:
        tx.writer("p").append_vertices_sync(points(3, 1), object_ids=7)
    with repo.transaction(message="more of seven", author="Ada") as tx:
        tx.writer("p").append_vertices_sync(points(2, 2), object_ids=7, extend=True)
    return repo


# ---- diff --------------------------------------------------------------------------------------


def test_a_snapshot_does_not_differ_from_itself(repo: zvv.Repository) -> None:
    diff = repo.diff("main", "main")
    assert list(diff) == []
    assert "nothing differs" in repr(diff)
    assert "nothing differs" in diff._repr_html_()


def test_what_was_added_one_way_was_removed_the_other(repo: zvv.Repository) -> None:
    (there,) = repo.diff("main~2", "main")
    (back,) = repo.diff("main", "main~2")
    assert (there.vertices, back.vertices) == ((10, 15), (15, 10))
    assert (there.objects, there.batches) == ((2, 3), (1, 3))
    assert (there.batches_added, there.batches_removed) == (2, 0)
    assert there.objects_added.tolist() == back.objects_removed.tolist() == [7]
    assert len(there.objects_removed) == len(there.objects_changed) == 0
    assert there.stored_bytes[1] > there.stored_bytes[0]


def test_an_object_that_went_on_was_changed(repo: zvv.Repository) -> None:
    (level,) = repo.diff("main~1")
    assert level.objects_changed.tolist() == [7]
    assert (len(level.objects_added), len(level.objects_removed)) == (0, 0)


def test_an_object_that_was_removed_is_named_with_its_vertices(repo: zvv.Repository) -> None:
    with repo.transaction() as tx:
        tx.writer("p").remove_objects_sync([1])
    (level,) = repo.diff("main~1")
    assert level.objects_removed.tolist() == [1]
    assert level.vertices == (15, 10)


def test_values_are_compared_where_that_is_asked_for(repo: zvv.Repository) -> None:
    score = np.zeros(15, "f4")
    score[[2, 5]] = 1, -4
    score[10:] = np.nan
    with repo.transaction() as tx:
        tx.writer("p").add_attribute_sync("score", score)
    (level,) = repo.diff("main~1")
    (attribute,) = level.attributes
    assert (attribute.path, attribute.change) == ("vertex_attributes/score", "written")
    assert (attribute.differing, attribute.largest) == (None, None)
    (level,) = repo.diff("main~1", values=True)
    (attribute,) = level.attributes
    assert (attribute.differing, attribute.largest) == (2, 4.0)


@pytest.mark.parametrize("values", [False, True])
def test_attributes_that_come_and_go_are_named(repo: zvv.Repository, values: bool) -> None:
    with repo.transaction() as tx:
        tx.writer("p").drop_attribute_sync("score")
        tx.writer("p").add_object_attribute_sync("name", ["a", "b", "c"])
    (level,) = repo.diff("main~1", values=values)
    assert {(a.path, a.change) for a in level.attributes} == {
        ("vertex_attributes/score", "dropped"),
        ("object_attributes/name", "added"),
    }


def test_how_far_an_object_moved_is_said(repo: zvv.Repository) -> None:
    """The same object under the same id, appended anew with other coordinates."""
    repo.create_branch("try", at="main~2")
    for branch, shift in (("main", 0.0), ("try", 0.5)):
        with repo.transaction(branch) as tx:
            there = np.array([[1, 1], [2, 2]], "f4") + np.float32(shift)
            tx.writer("p").append_vertices_sync(there, object_ids=99)
    (level,) = repo.diff("main", "try", values=True)
    assert level.objects_changed.tolist() == [99]
    assert level.moved is not None
    assert level.moved["largest"] == pytest.approx(np.sqrt(0.5))
    assert level.moved["rms"] == pytest.approx(np.sqrt(0.5))


def test_metadata_and_datasets_are_compared_too(repo: zvv.Repository) -> None:
    with repo.transaction() as tx:
        tx.writer("p").set_metadata_sync({"voxel": 8})
        tx.create_dataset("q", kind="mesh", bounds=([0, 0, 0], [1, 1, 1]))
    by_name = {level.name: level for level in repo.diff("main~1")}
    assert by_name["p"].metadata == {"voxel": (None, 8)}
    assert by_name["q"].vertices == (0, 0)


def test_groups_that_come_change_and_go_are_named_with_their_members(repo: zvv.Repository) -> None:
    def group(name: str, ids: list[int]) -> None:
        tx.writer("p").add_group_sync(name, ids)

    with repo.transaction() as tx:
        group("same", [0])
        group("other", [0, 1])
        group("gone", [7])
    before = repo.resolve("main")
    with repo.transaction() as tx:
        tx.writer("p").remove_group_sync("other")
        tx.writer("p").remove_group_sync("gone")
        group("other", [1, 7])
        group("new", [0, 1, 7])
    (level,) = repo.diff(before)
    found = {
        one.name: (
            one.change,
            one.members,
            one.members_added.tolist(),
            one.members_removed.tolist(),
        )
        for one in level.groups
    }
    assert found == {
        "new": ("added", (0, 3), [0, 1, 7], []),
        "other": ("changed", (2, 2), [7], [0]),
        "gone": ("removed", (1, 0), [], [7]),
    }
    assert (level.batches_added, level.attributes, len(level.objects_changed)) == (0, [], 0)
    assert "group 'other' changed (+1, -1 members)" in level.told()
    (back,) = repo.diff("main", before)
    assert {one.name: one.change for one in back.groups} == {
        "new": "removed", "other": "changed", "gone": "added",
    }  # fmt: skip


def test_groups_that_came_to_be_the_same_do_not_differ(repo: zvv.Repository) -> None:
    """Written twice, under two content ids."""
    repo.create_branch("try")
    for branch in ("main", "try"):
        with repo.transaction(branch) as tx:
            tx.writer("p").add_group_sync("left", [0, 7])
    assert list(repo.diff("main", "try")) == []
    assert repo.diff("main~1", "main")[0].groups[0].members == (0, 2)


def test_a_diff_is_plain_values_for_json_and_a_table(repo: zvv.Repository) -> None:
    diff = repo.diff("main~2")
    document = json.loads(json.dumps(diff.to_dict()))
    assert (document["a"], document["b"]) == (repo.resolve("main~2"), repo.resolve("main"))
    assert document["levels"][0]["object_ids"]["added"] == [7]
    frame = diff.to_pandas()
    assert frame.loc[0, ["vertices_a", "vertices_b", "objects_added"]].tolist() == [10, 15, 1]
    assert "+1 object" in repr(diff)
    assert "+1 object" in diff._repr_html_()


# ---- blame, history ----------------------------------------------------------------------------


def test_blame_names_every_commit_that_brought_vertices(repo: zvv.Repository) -> None:
    blame = repo.blame(dataset="p")
    assert [c.message for c in blame[7]] == ["more of seven", "seven"]
    assert [(c.message, c.author) for c in blame[0]] == [("two", "Ada")]
    frame = blame.to_pandas()
    assert sorted(zip(frame.object_id, frame.message, strict=True)) == [
        (0, "two"), (1, "two"), (7, "more of seven"), (7, "seven"),
    ]  # fmt: skip
    with pytest.raises(zvv.NotFoundError, match="99"):
        repo.blame(99, dataset="p")
    with pytest.raises(zvv.NotFoundError, match="nowhere"):
        repo.blame(dataset="nowhere")


def test_blame_goes_through_a_merge_to_the_commit_on_the_branch(repo: zvv.Repository) -> None:
    repo.create_branch("try")
    for branch, name in (("try", 50), ("main", 60)):
        with repo.transaction(branch, message=f"object {name}") as tx:
            tx.writer("p").append_vertices_sync(points(2, name), object_ids=name)
    repo.merge("try")
    assert [c.message for c in repo.blame(50, dataset="p")[50]] == ["object 50"]
    assert [c.message for c in repo.history(50, dataset="p")] == ["object 50"]


def test_the_history_of_an_object_ends_with_its_removal(repo: zvv.Repository) -> None:
    with repo.transaction(message="without seven") as tx:
        tx.writer("p").remove_objects_sync([7])
    told = [commit.message for commit in repo.history(7, dataset="p")]
    assert told == ["without seven", "more of seven", "seven"]
    assert [c.message for c in repo.history(7, dataset="p", ref="main~2")] == ["seven"]
    with pytest.raises(zvv.NotFoundError, match="12345"):
        repo.history(12345, dataset="p")


def test_blame_of_expired_commits_tells_what_is_left(tmp_path: Path) -> None:
    repo = zvv.Repository.create(tmp_path / "r")
    with repo.transaction(message="made") as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [10, 10]))
    for number in range(4):
        with repo.transaction(message=f"object {number}") as tx:
            tx.writer("p").append_vertices_sync(points(3, number), object_ids=number)
    before = repo.blame(dataset="p").to_pandas()
    repo.expire(keep_last=1, dry_run=False)
    blame = repo.blame(dataset="p")
    assert [c.message for c in blame.commits] == [c.message for c in blame[3]] == ["object 3"]
    assert list(blame[0]) == []
    assert blame.expired.tolist() == [True, True, True, False]
    frame = blame.to_pandas()
    same = ["object_id", "batch", "transaction"]
    assert frame[same].equals(before[same])
    assert frame[["snapshot_id", "author", "time", "message"]].isna().all(axis=1).tolist() == (
        blame.expired.tolist()
    )
    assert "3 commits that have expired" in repr(blame)
    assert "3 commits that have expired" in blame._repr_html_()
    assert not repo.blame(3, dataset="p").expired.any()


def test_blame_reads_no_vertex(repo: zvv.Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    from zv_versioned import _store

    asked: list[str] = []

    def watch(name: str) -> None:
        get = getattr(_store, name)

        def seen(store: object, requests: list[tuple[str, int, int]], *more: object) -> object:
            asked.extend(key for key, *_ in requests)
            return get(store, requests, *more)

        monkeypatch.setattr(_store, name, seen)

    watch("get_many")
    watch("get_parts")
    repo.blame(7, dataset="p")
    repo.diff("main~2")
    assert asked
    assert not [key for key in asked if "/vertices/" in key]


def test_values_of_batches_that_have_nothing_left_do_not_differ() -> None:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [9, 9]))
        tx.writer("p").append_vertices_sync(np.ones((3, 2), "f4"), object_ids=1)
    repo.create_branch("try")
    for branch in ("main", "try"):
        with repo.transaction(branch) as tx:
            tx.writer("p").add_attribute_sync("s", np.full(3, len(branch), "f4"))
        with repo.transaction(branch) as tx:
            tx.writer("p").remove_objects_sync([1])
    (level,) = repo.diff("main", "try", values=True).to_dict()["levels"]
    assert [one["differing"] for one in level["attributes"]] == [0]
