"""Objects that one branch goes on with and another removes, with compactions in between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tests._profiles  # noqa: F401
import zv_versioned as zvv
from zv_versioned.history.soundness import Soundness

BOUNDS = ([0.0] * 3, [9.0] * 3)
IDS = (7, 8, 20, 31)


def started(location: str = "memory://") -> zvv.Repository:
    """Four objects of two points each, in two batches; one of them goes on in a third."""
    repo = zvv.Repository.create(location)
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=BOUNDS, chunk_shape=[4.0] * 3)
    for ids in (IDS[:2], IDS[2:]):
        with repo.transaction() as tx:
            tx.writer("p").append_vertices_sync(points(4), object_ids=np.repeat(ids, 2))
    extend(repo, "main", 20)
    return repo


def points(count: int) -> np.ndarray:
    return np.linspace([0.5] * 3, [8.5] * 3, count).astype("f4")


def extend(repo: zvv.Repository, branch: str, number: int) -> None:
    with repo.transaction(branch) as tx:
        tx.writer("p").append_vertices_sync(points(3), object_ids=number, extend=True)


def remove(repo: zvv.Repository, branch: str, number: int) -> None:
    with repo.transaction(branch) as tx:
        tx.writer("p").remove_objects_sync([number])


def there(repo: zvv.Repository, ref: str = "main") -> Counter[int]:
    """How many points each object has, as everybody who may be asked says."""
    level = repo.view(ref)["p"][0]
    found = Counter(level.read().object_ids.tolist())
    assert sorted(found) == level.object_ids().tolist()
    assert level.num_objects == len(found)
    assert {number: len(level.objects[number]) for number in found} == found
    assert not any(number in level.objects for number in set(IDS) - set(found))
    return found


def by_transaction(repo: zvv.Repository) -> None:
    tx = repo.transaction()
    tx.writer("p").append_vertices_sync(points(3), object_ids=7, extend=True)
    remove(repo, "main", 7)
    repo.compact()
    tx.commit()


def by_merge(repo: zvv.Repository) -> None:
    repo.create_branch("try")
    extend(repo, "try", 7)
    remove(repo, "main", 7)
    repo.compact()
    repo.merge("try")


def by_merge_of_the_compaction(repo: zvv.Repository) -> None:
    repo.create_branch("try")
    remove(repo, "try", 7)
    repo.compact("try")
    extend(repo, "main", 7)
    repo.merge("try")


def by_cherry_pick(repo: zvv.Repository) -> None:
    repo.create_branch("try")
    extend(repo, "try", 7)
    remove(repo, "main", 7)
    repo.compact()
    repo.cherry_pick("try")


WAYS = [by_transaction, by_merge, by_merge_of_the_compaction, by_cherry_pick]


@pytest.mark.parametrize("way", WAYS)
def test_what_was_removed_and_compacted_does_not_come_back(
    way: Callable[[zvv.Repository], None],
) -> None:
    repo = started()
    with pytest.raises(zvv.ViolationError, match=r"objects 7 .* removed on one side"):
        way(repo)
    there(repo)
    assert repo.fsck().ok


@pytest.mark.parametrize("way", WAYS)
def test_fsck_finds_objects_that_go_on_and_were_removed(
    way: Callable[[zvv.Repository], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = started()
    with monkeypatch.context() as patch:
        patch.setattr(Soundness, "violations", lambda _: [])
        way(repo)
    report = repo.fsck()
    assert not report.ok
    assert any("go on with objects [7]" in finding.what for finding in report.findings)


step = st.one_of(
    st.tuples(st.sampled_from(["extend", "remove"]), st.sampled_from(IDS)),
    st.just(("compact", 0)),
)


def play(repo: zvv.Repository, branch: str, steps: list[tuple[str, int]]) -> Counter[int]:
    """Do what can be done of some steps; what each object has then."""
    model = there(repo, branch)
    for what, number in steps:
        if what == "compact":
            repo.compact(branch)
        elif number in model and what == "extend":
            extend(repo, branch, number)
            model[number] += 3
        elif number in model:
            remove(repo, branch, number)
            del model[number]
    assert there(repo, branch) == model
    return model


@settings(max_examples=settings.default.max_examples // 2)
@given(ours=st.lists(step, max_size=5), theirs=st.lists(step, max_size=5))
def test_a_merge_has_what_both_sides_made_of_each_object_or_is_refused(
    ours: list[tuple[str, int]], theirs: list[tuple[str, int]]
) -> None:
    repo = started()
    before = there(repo)
    repo.create_branch("try")
    left, right = play(repo, "main", ours), play(repo, "try", theirs)
    tip = repo.resolve("main")
    try:
        repo.merge("try")
    except (zvv.ConflictError, zvv.ViolationError):
        assert repo.resolve("main") == tip
        assert there(repo) == left
        return
    merged = there(repo)
    both = left.keys() & right.keys()
    expected: dict[int, Any] = {i: left[i] + right[i] - before[i] for i in both}
    # What one side removed and the other left as it was is gone.
    assert merged == expected
    assert repo.fsck().ok
    digest = repo.digest()
    repo.compact()
    assert there(repo) == expected
    assert repo.digest() == digest
