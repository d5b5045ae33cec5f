"""Values of objects merge object by object, whatever batches the objects lie in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tests._profiles  # noqa: F401
import zv_versioned as zvv
from zv_versioned.history.merge_objects import ByObject

NUMBERS = np.array([np.nan, -0.0, 0.0, 1.0, 2.0])
TEXTS = np.array([None, "", "a", "b"], object)


def points(n: int) -> np.ndarray:
    return np.random.default_rng(n).uniform(0, 10, (n, 2)).astype("f4")


@pytest.fixture
def repo() -> zvv.Repository:
    """Six objects in two batches, with a number and a text each, on two branches."""
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [10, 10]))
        for n in (4, 2):
            tx.writer("p").append_vertices_sync(points(n))
        write(tx, [0.0] * 6, ["x"] * 6)
    repo.create_branch("try")
    return repo


def write(tx: zvv.Transaction, sizes: Any, names: Any) -> None:
    tx.writer("p").add_object_attribute_sync("size", np.array(sizes, "f8"))
    tx.writer("p").add_object_attribute_sync("name", np.array(names, object))


def change(repo: zvv.Repository, branch: str, at: dict[int, tuple[float, Any]]) -> str:
    """Write both attributes, other than before for some objects."""
    sizes, names = values(repo, branch)
    for number, (size, name) in at.items():
        sizes[number], names[number] = size, name
    with repo.transaction(branch) as tx:
        write(tx, sizes, names)
    assert tx.result is not None
    return tx.result.snapshot_id


def values(repo: zvv.Repository, ref: str = "main") -> tuple[list[float], list[Any]]:
    level = repo.view(ref)["p"][0]
    return level.object_attribute("size").tolist(), level.object_attribute("name").tolist()


@pytest.mark.parametrize("copy", [False, True])
def test_values_of_different_objects_of_one_batch_go_together(
    repo: zvv.Repository, copy: bool
) -> None:
    change(repo, "main", {0: (1.0, "m"), 5: (2.0, None)})
    change(repo, "try", {1: (3.0, "t"), 2: (0.0, "tt")})
    theirs = repo.resolve("try")
    result = repo.merge("try", copy=copy)
    assert result.conflicts == ()
    assert values(repo) == ([1, 3, 0, 0, 0, 2], ["m", "t", "tt", "x", "x", None])
    assert result.changes["p"]["attributes_written"] == [
        "object_attributes/name", "object_attributes/size"
    ]  # fmt: skip
    assert values(repo, theirs)[0] == [0, 3, 0, 0, 0, 0]
    assert not repo.fsck().findings


def test_both_orders_of_a_merge_have_the_same_values_and_know_it(repo: zvv.Repository) -> None:
    mine, its = change(repo, "main", {0: (1.0, "m")}), change(repo, "try", {1: (3.0, "t")})
    repo.merge(its, into="main")
    repo.merge(mine, into="try")
    assert values(repo, "main") == values(repo, "try")
    # Of the first batch, which was merged; the second has equal values of two writes.
    (level,) = repo.diff("main", "try", values=True)
    assert [(a.batches, a.differing) for a in level.attributes] == [(1, 0), (1, 0)]
    # A criss-cross: the two merges are the bases of the next one, and agree.
    change(repo, "main", {0: (5.0, "mm"), 3: (6.0, "y")})
    change(repo, "try", {1: (7.0, "tt")})
    result = repo.merge("try")
    assert len(result.base) == 2
    assert values(repo) == ([5, 7, 0, 6, 0, 0], ["mm", "tt", "x", "y", "x", "x"])


def test_the_same_object_changed_on_both_sides_is_a_conflict_about_it_alone(
    repo: zvv.Repository,
) -> None:
    change(repo, "main", {1: (1.0, "m"), 4: (2.0, "x"), 0: (9.0, "x")})
    change(repo, "try", {1: (3.0, "m"), 4: (4.0, "x"), 2: (8.0, "x")})
    tip = repo.resolve("main")
    with pytest.raises(zvv.ConflictError, match=r"size.*of objects 1, 4") as caught:
        repo.merge("try")
    assert repo.resolve("main") == tip
    (conflict,) = caught.value.conflicts
    assert (conflict.kind, conflict.name, conflict.objects.tolist()) == (
        "attribute",
        "size",
        [1, 4],
    )
    assert len(conflict.uuids) == 2
    assert [side.tolist() for side in conflict.load()] == [[0, 0], [1, 2], [3, 4]]
    repo.create_branch("other", at="main")
    assert repo.merge("try", on_conflict="theirs").conflicts[0].choice == "theirs"
    assert values(repo)[0] == [9, 3, 8, 0, 4, 0]
    repo.merge("try", into="other", on_conflict="ours")
    assert values(repo, "other")[0] == [9, 1, 8, 0, 2, 0]


def test_equal_values_of_the_same_object_are_no_conflict(repo: zvv.Repository) -> None:
    change(repo, "main", {1: (1.0, "m"), 2: (2.0, "x")})
    change(repo, "try", {1: (1.0, "m"), 3: (3.0, "x")})
    assert repo.merge("try").conflicts == ()
    assert values(repo)[0] == [0, 1, 2, 3, 0, 0]


def test_a_commit_that_lost_the_race_keeps_what_it_wrote_of_other_objects(
    repo: zvv.Repository,
) -> None:
    first, second, third = (repo.transaction() for _ in range(3))
    write(first, [1, 0, 0, 0, 0, 0], list("mxxxxx"))
    write(second, [0, 2, 0, 0, 0, 3], list("xtxxxt"))
    write(third, [1, 0, 0, 0, 0, 0], list("mxxxxx"))
    for tx in (first, second, third):
        tx.commit()
    assert values(repo) == ([1, 2, 0, 0, 0, 3], list("mtxxxt"))
    late, tx = repo.transaction(), repo.transaction()
    write(tx, [7, 2, 0, 0, 0, 3], list("mtxxxt"))
    write(late, [8, 2, 0, 0, 0, 3], list("mtxxxt"))
    tx.commit()
    with pytest.raises(zvv.ConflictError, match="of objects 0"):
        late.commit()
    assert values(repo)[0][0] == 7


def test_who_removed_an_object_has_no_say_in_its_value(repo: zvv.Repository) -> None:
    with repo.transaction("try") as tx:
        tx.writer("p").remove_objects_sync([1])
        write(tx, [0, 0, 4, 0, 0], list("xxyxx"))
    change(repo, "main", {1: (5.0, "m"), 0: (6.0, "m")})
    assert repo.merge("try").conflicts == ()
    level = repo.view()["p"][0]
    assert level.object_ids().tolist() == [0, 2, 3, 4, 5]
    assert values(repo) == ([6, 0, 4, 0, 0], list("mxyxx"))


def test_a_revert_takes_back_the_values_of_the_objects_that_a_commit_changed(
    repo: zvv.Repository,
) -> None:
    bad = change(repo, "main", {0: (9.0, "bad"), 1: (9.0, "bad")})
    change(repo, "main", {2: (1.0, "good")})
    repo.revert(bad)
    assert values(repo) == ([0, 0, 1, 0, 0, 0], ["x", "x", "good", "x", "x", "x"])
    good = repo.resolve("main~1")
    change(repo, "main", {2: (2.0, "better"), 3: (3.0, "x")})
    with pytest.raises(zvv.ConflictError, match="of objects 2"):
        repo.revert(good)
    assert repo.revert(good, on_conflict="theirs").conflicts[0].objects.tolist() == [2]
    assert values(repo) == ([0, 0, 0, 3, 0, 0], ["x"] * 6)


# ---- the rule itself -----------------------------------------------------------------------------


@given(st.data(), st.sampled_from([NUMBERS, TEXTS]))
def test_each_row_follows_the_three_way_rule(data: st.DataObject, some: np.ndarray) -> None:
    n = data.draw(st.integers(0, 6))
    rows = st.lists(st.integers(0, len(some) - 1), min_size=n, max_size=n)
    codes = [np.array(data.draw(rows), int) for _ in range(3)]
    lost = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)), bool)
    base, ours, theirs = (some[c] for c in codes)
    merged = ByObject.of(base, ours, theirs, lost_by_ours=lost)
    turned = ByObject.of(base, theirs, ours, lost_by_theirs=lost)
    assert merged.clash.tolist() == turned.clash.tolist()
    for at, (b, o, t) in enumerate(zip(*(c.tolist() for c in codes), strict=True)):
        gone = lost[at]
        clash = not gone and b != o and b != t and o != t
        assert (at in merged.clash) == clash
        expected = t if gone or b == o else o
        assert repr(merged.merged[at]) == repr(some[expected])
        if not clash:
            assert repr(turned.merged[at]) == repr(some[expected])
        else:
            assert repr(merged.decided("theirs")[at]) == repr(some[t])
