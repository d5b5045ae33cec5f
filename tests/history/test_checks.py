"""Checks that users register: write, audit, publish."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import zv_versioned as zvv


@pytest.fixture
def repo() -> zvv.Repository:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [10, 10]))
    repo.create_branch("try")
    with repo.transaction("try") as tx:
        tx.writer("p").append_vertices_sync(np.full((3, 2), 5, "f4"), object_ids=1)
    with repo.transaction() as tx:
        tx.writer("p").append_vertices_sync(np.full((3, 2), 6, "f4"), object_ids=2)
    return repo


def at_most_five(view: zvv.View) -> str | None:
    n = view["p"][0].vertex_count
    return None if n <= 5 else f"{n} vertices are too many"


@pytest.mark.parametrize("verb", ["commit", "merge", "cherry_pick", "revert"])
def test_whatever_publishes_is_looked_at_first(repo: zvv.Repository, verb: str) -> None:
    if verb == "revert":
        repo.merge("try")
        repo.revert("main", parent=1)
    tip = repo.resolve("main")
    repo.add_check(at_most_five)

    def publish() -> Any:
        if verb == "commit":
            with repo.transaction() as tx:
                tx.writer("p").append_vertices_sync(np.ones((3, 2), "f4"))
            return None
        if verb == "merge":
            return repo.merge("try")
        return repo.cherry_pick("try") if verb == "cherry_pick" else repo.revert("main")

    with pytest.raises(zvv.ViolationError, match=r"6 vertices are too many.*Nothing was changed"):
        publish()
    assert repo.resolve("main") == tip
    with repo.transaction() as tx:
        tx.writer("p").append_vertices_sync(np.ones((2, 2), "f4"))
    assert repo.view()["p"][0].vertex_count == 5


def test_a_commit_that_lost_the_race_is_looked_at_as_it_is_merged(repo: zvv.Repository) -> None:
    repo.add_check(at_most_five)
    transactions = [repo.transaction(), repo.transaction()]
    for tx in transactions:
        tx.writer("p").append_vertices_sync(np.ones((2, 2), "f4"))
    transactions[0].commit()
    with pytest.raises(zvv.ViolationError, match="7 vertices"):
        transactions[1].commit()
    assert repo.view()["p"][0].vertex_count == 5


@pytest.mark.parametrize("said", [None, True, [], ()])
def test_a_check_that_finds_nothing_lets_it_pass(repo: zvv.Repository, said: Any) -> None:
    repo.add_check(lambda view: said)
    assert repo.merge("try").kind == "merge"


@pytest.mark.parametrize(
    ("said", "told"), [("no", "no"), (["one", "two"], "one; two"), (False, "lambda")]
)
def test_whatever_else_it_says_is_a_violation(repo: zvv.Repository, said: Any, told: str) -> None:
    repo.add_check(lambda view: said)
    with pytest.raises(zvv.ViolationError, match=told):
        repo.merge("try")


def test_an_exception_in_a_check_stops_the_commit_and_is_seen(repo: zvv.Repository) -> None:
    def broken(view: zvv.View) -> None:
        raise KeyError("a fault of the check")

    tip = repo.resolve("main")
    repo.add_check(broken)
    with pytest.raises(KeyError, match="a fault of the check"):
        repo.merge("try")
    assert repo.resolve("main") == tip


def test_what_cannot_be_called_is_no_check(repo: zvv.Repository) -> None:
    with pytest.raises(zvv.MetadataError, match="function of a view"):
        repo.add_check("at most five")  # type: ignore[arg-type]


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_branch_that_is_only_moved_forward_is_looked_at_too(
    repo: zvv.Repository, dry_run: bool
) -> None:
    repo.create_branch("behind", at="try~1")
    seen = []
    repo.add_check(lambda view: seen.append((view.branch, view.snapshot_id)))
    repo.add_check(lambda view: "too many" if view["p"][0].vertex_count else None)
    before = repo.resolve("behind")
    with pytest.raises(zvv.ViolationError, match="too many"):
        repo.merge("try", "behind", dry_run=dry_run)
    assert repo.resolve("behind") == before
    assert seen == [("behind", repo.resolve("try"))]
