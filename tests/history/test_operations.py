"""Merge, revert and cherry-pick through the public names: what they do, say and refuse."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import zv_versioned as zvv
from zv_versioned.history.conflicts import Conflict


def points(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 10, (n, 2)).astype("f4")


@pytest.fixture
def repo() -> zvv.Repository:
    """Ten points in two objects with a score, and a branch beside main."""
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [10, 10]))
        writer = tx.writer("p")
        writer.append_vertices_sync(points(10, 0), object_ids=np.arange(10) % 2)
        writer.add_attribute_sync("score", np.zeros(10, "f4"))
        writer.add_object_attribute_sync("name", ["a", "b"])
    repo.create_branch("try")
    return repo


def append(repo: zvv.Repository, branch: str, ids: Any, seed: int) -> str:
    with repo.transaction(branch, message=f"append {ids}") as tx:
        tx.writer("p").append_vertices_sync(points(3, seed), object_ids=ids)
    assert tx.result is not None
    return tx.result.snapshot_id


def score(repo: zvv.Repository, branch: str, value: float) -> str:
    with repo.transaction(branch) as tx:
        n = repo.view(branch)["p"][0].vertex_count
        tx.writer("p").add_attribute_sync("score", np.full(n, value, "f4"))
    assert tx.result is not None
    return tx.result.snapshot_id


def content(repo: zvv.Repository, ref: str = "main") -> list[tuple[Any, ...]]:
    """Every vertex with its object and its values, in no order; and the names of objects."""
    level = repo.view(ref)["p"][0]
    read = level.read(attributes="all")
    values = [read.attributes[name].tolist() for name in sorted(read.attributes)]
    rows = zip(read.object_ids.tolist(), map(tuple, read.positions.tolist()), *values, strict=True)
    names = zip(level.object_ids().tolist(), level.object_attribute("name").tolist(), strict=True)
    return sorted(map(repr, [*rows, *names]))


# ---- merge -------------------------------------------------------------------------------------


def test_a_branch_without_commits_of_its_own_is_moved_forward(repo: zvv.Repository) -> None:
    tip = append(repo, "try", 7, 1)
    result = repo.merge("try")
    assert (result.kind, result.snapshot_id) == ("fast-forward", tip)
    assert repo.resolve("main") == tip
    assert repo.merge("try").kind == "up to date"


def test_a_fast_forward_that_is_not_wanted_makes_a_commit_with_both_parents(
    repo: zvv.Repository,
) -> None:
    before, tip = repo.resolve("main"), append(repo, "try", 7, 1)
    result = repo.merge("try", ff="no", message="together", author="Ada")
    info = repo.log(limit=1)[0]
    assert info.snapshot_id == result.snapshot_id == repo.resolve("main")
    assert (list(info.parents), info.message, info.author) == ([before, tip], "together", "Ada")
    assert (repo.resolve("main^"), repo.resolve("main^2")) == (before, tip)
    assert content(repo, "main") == content(repo, "try")


def test_only_a_fast_forward_is_refused_where_there_is_none(repo: zvv.Repository) -> None:
    append(repo, "try", 7, 1)
    tip = append(repo, "main", 8, 2)
    with pytest.raises(zvv.ConflictError, match="ff"):
        repo.merge("try", ff="only")
    assert repo.resolve("main") == tip


def test_a_result_counts_what_came_and_is_plain_values_for_json(repo: zvv.Repository) -> None:
    theirs, ours = append(repo, "try", 7, 1), append(repo, "main", 8, 2)
    result = repo.merge("try")
    assert result.changes["p"] == {"batches_added": 1, "vertices_added": 3, "objects_added": 1}
    assert (result.ours, result.theirs, result.kind) == (ours, theirs, "merge")
    assert result.base == (repo.resolve("try~1"),)
    document = json.loads(json.dumps(result.to_dict()))
    assert (document["snapshot_id"], document["conflicts"]) == (result.snapshot_id, [])
    for text in (repr(result), result._repr_html_()):
        assert theirs in text
        assert "batches added 1" in text


def test_a_dry_run_says_the_same_and_changes_nothing(repo: zvv.Repository) -> None:
    append(repo, "try", 7, 1)
    tip = append(repo, "main", 8, 2)
    dry = repo.merge("try", dry_run=True)
    assert (dry.kind, dry.snapshot_id, repo.resolve("main")) == ("dry run", tip, tip)
    assert dry.changes == repo.merge("try").changes


def test_copying_and_sharing_chunks_make_the_same_result() -> None:
    made = []
    for copy in (False, True):
        repo = zvv.Repository.create("memory://")
        with repo.transaction() as tx:
            tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [10, 10]))
            tx.writer("p").append_vertices_sync(points(10, 0), object_ids=np.arange(10) % 2)
            tx.writer("p").add_object_attribute_sync("name", ["a", "b"])
        repo.create_branch("try")
        append(repo, "try", 7, 1)
        with repo.transaction("try") as tx:
            tx.writer("p").add_attribute_sync("score", np.arange(13, dtype="f4"))
            tx.writer("p").remove_objects_sync([1])
        append(repo, "main", None, 2)
        repo.merge("try", copy=copy)
        repo.revert("main~1", copy=copy)
        made.append(content(repo))
    assert made[0] == made[1]


@pytest.mark.parametrize("choice", ["ours", "theirs"])
def test_a_conflict_is_resolved_for_the_side_that_is_chosen(
    repo: zvv.Repository, choice: str
) -> None:
    score(repo, "try", 2)
    score(repo, "main", 1)
    tip = repo.resolve("main")
    with pytest.raises(zvv.ConflictError, match="score' of dataset 'p'") as caught:
        repo.merge("try")
    assert repo.resolve("main") == tip
    (conflict,) = caught.value.conflicts
    assert (conflict.kind, conflict.dataset, conflict.level) == ("attribute", "p", 0)
    assert conflict.key == "vertex_attributes/score"
    assert len(conflict.batches) == 1
    result = repo.merge("try", on_conflict=choice)
    assert [c.choice for c in result.conflicts] == [choice]
    values = repo.view()["p"][0].attribute("score")
    assert set(values.tolist()) == {1.0 if choice == "ours" else 2.0}


def test_a_function_decides_by_the_values_of_all_three_sides(repo: zvv.Repository) -> None:
    score(repo, "try", 2)
    score(repo, "main", 1)
    seen: list[tuple[float, ...]] = []

    def larger(conflict: Conflict) -> str:
        base, ours, theirs = conflict.load()
        seen.append((base.max(), ours.max(), theirs.max()))
        return "ours" if ours.mean() > theirs.mean() else "theirs"

    repo.merge("try", on_conflict=larger)
    assert seen == [(0.0, 1.0, 2.0)]
    assert set(repo.view()["p"][0].attribute("score").tolist()) == {2.0}


@pytest.mark.parametrize("on_conflict", ["mine", None, 3])
def test_what_resolves_no_conflict_is_refused_first(repo: zvv.Repository, on_conflict: Any) -> None:
    with pytest.raises(zvv.MetadataError, match="on_conflict"):
        repo.merge("try", on_conflict=on_conflict)


def test_an_answer_that_is_no_choice_stops_the_merge(repo: zvv.Repository) -> None:
    score(repo, "try", 2)
    tip = score(repo, "main", 1)
    with pytest.raises(zvv.MetadataError, match="returned 'both'"):
        repo.merge("try", on_conflict=lambda conflict: "both")
    assert repo.resolve("main") == tip


def test_names_of_different_objects_are_no_conflict(repo: zvv.Repository) -> None:
    """Object attributes merge object by object, also within one batch."""
    for branch, names in (("try", ["a", "their b"]), ("main", ["our a", "b"])):
        with repo.transaction(branch) as tx:
            tx.writer("p").add_object_attribute_sync("name", names)
    repo.merge("try")
    assert repo.view()["p"][0].object_attribute("name").tolist() == ["our a", "their b"]


def test_two_names_of_one_object_are_a_conflict(repo: zvv.Repository) -> None:
    for branch, names in (("try", ["a", "their b"]), ("main", ["a", "our b"])):
        with repo.transaction(branch) as tx:
            tx.writer("p").add_object_attribute_sync("name", names)
    with pytest.raises(zvv.ConflictError, match="name"):
        repo.merge("try")
    repo.merge("try", on_conflict="theirs")
    assert repo.view()["p"][0].object_attribute("name").tolist() == ["a", "their b"]


def test_branches_and_snapshots_that_are_not_there_are_named(repo: zvv.Repository) -> None:
    with pytest.raises(zvv.NotFoundError, match="nowhere"):
        repo.merge("nowhere")
    with pytest.raises(zvv.NotFoundError, match="nowhere"):
        repo.merge("try", into="nowhere")
    with pytest.raises(zvv.MetadataError, match="ff must be"):
        repo.merge("try", ff="maybe")


def test_merging_what_is_in_the_branch_already_does_nothing(repo: zvv.Repository) -> None:
    append(repo, "try", 7, 1)
    append(repo, "main", 8, 2)
    repo.merge("try")
    tip, there = repo.resolve("main"), content(repo)
    for source in ("try", "main", "try~1", tip):
        assert repo.merge(source).kind == "up to date"
    assert (repo.resolve("main"), content(repo)) == (tip, there)


# ---- revert ------------------------------------------------------------------------------------


def test_a_revert_takes_one_append_from_under_many(repo: zvv.Repository) -> None:
    bad = append(repo, "main", 66, 1)
    for i in range(5):
        append(repo, "main", 100 + i, 2 + i)
    wanted = [row for row in content(repo) if not row.startswith("(66,")]
    result = repo.revert(bad, message="in the wrong unit")
    assert content(repo) == wanted
    assert repo.log(limit=1)[0].message == "in the wrong unit"
    assert result.changes["p"]["batches_removed"] == 1
    assert repo.view(snapshot_id=bad)["p"][0].objects[66].positions.shape == (3, 2)


def test_a_revert_of_a_revert_is_the_original(repo: zvv.Repository) -> None:
    append(repo, "main", 66, 1)
    append(repo, "main", 67, 2)
    before = repo.view()["p"][0].read(attributes="all")
    repo.revert("main~1")
    assert 66 not in repo.view()["p"][0].objects
    repo.revert("main")
    after = repo.view()["p"][0].read(attributes="all")
    np.testing.assert_array_equal(after.positions, before.positions)
    np.testing.assert_array_equal(after.object_ids, before.object_ids)


def test_a_revert_of_values_restores_those_that_were_before(repo: zvv.Repository) -> None:
    score(repo, "main", 1)
    written = score(repo, "main", 2)
    append(repo, "main", 7, 1)
    repo.revert(written)
    values = repo.view()["p"][0].attribute("score")
    assert values[:10].tolist() == [1.0] * 10
    assert np.isnan(values[10:]).all()


def test_values_written_over_since_cannot_be_reverted(repo: zvv.Repository) -> None:
    written = score(repo, "main", 1)
    tip = score(repo, "main", 2)
    with pytest.raises(zvv.ConflictError, match=f"revert {written}.*score"):
        repo.revert(written)
    assert repo.resolve("main") == tip


def test_a_merge_is_reverted_to_the_parent_that_is_said(repo: zvv.Repository) -> None:
    append(repo, "try", 7, 1)
    append(repo, "main", 8, 2)
    before = content(repo)
    repo.merge("try")
    with pytest.raises(zvv.MetadataError, match="parent=1 or parent=2"):
        repo.revert("main")
    with pytest.raises(zvv.MetadataError, match="parent must be 1 or 2, got 3"):
        repo.revert("main", parent=3)
    repo.revert("main", parent=1)
    assert content(repo) == before


def test_an_object_that_goes_on_later_keeps_what_it_began_with(repo: zvv.Repository) -> None:
    began = append(repo, "main", 66, 1)
    with repo.transaction() as tx:
        tx.writer("p").append_vertices_sync(points(2, 2), object_ids=66, extend=True)
    tip = repo.resolve("main")
    with pytest.raises(zvv.ViolationError, match="66"):
        repo.revert(began)
    assert repo.resolve("main") == tip


def test_the_first_commit_of_all_did_nothing_to_revert(repo: zvv.Repository) -> None:
    with pytest.raises(zvv.MetadataError, match="first commit"):
        repo.revert(repo.log()[-1].snapshot_id)


# ---- cherry-pick -------------------------------------------------------------------------------


def test_a_cherry_pick_brings_one_commit_and_its_revert_takes_it_away(
    repo: zvv.Repository,
) -> None:
    append(repo, "try", 7, 1)
    picked = append(repo, "try", 9, 2)
    append(repo, "main", 8, 3)
    before = content(repo)
    repo.cherry_pick(picked)
    level = repo.view()["p"][0]
    assert (9 in level.objects, 7 in level.objects) == (True, False)
    assert repo.cherry_pick(picked).kind == "nothing to do"
    repo.revert("main")
    assert content(repo) == before


def test_ids_that_were_given_on_both_sides_are_counted_anew_on_request(
    repo: zvv.Repository,
) -> None:
    picked = append(repo, "try", 7, 1)
    append(repo, "main", 7, 2)
    with pytest.raises(zvv.ConflictError, match="renumber=True"):
        repo.cherry_pick(picked)
    result = repo.cherry_pick(picked, renumber=True)
    old, new = result.renumbered["p"]
    assert (old.tolist(), new.tolist()) == ([7], [8])
    level = repo.view()["p"][0]
    np.testing.assert_array_equal(
        np.sort(level.objects[8].positions, axis=0), np.sort(points(3, 1), axis=0)
    )


@pytest.mark.parametrize("last", [2**63 - 1, 2**63 - 2])
def test_the_largest_ids_clash_as_others_do(repo: zvv.Repository, last: int) -> None:
    append(repo, "try", last, 1)
    append(repo, "main", last, 2)
    before = content(repo)
    with pytest.raises(zvv.ConflictError, match="both sides gave these ids"):
        repo.merge("try")
    if last == 2**63 - 1:
        with pytest.raises(zvv.ArrayError, match="use smaller ids"):
            repo.merge("try", renumber=True)
        assert content(repo) == before
    else:
        old, new = repo.merge("try", renumber=True).renumbered["p"]
        assert (old.tolist(), new.tolist()) == ([last], [last + 1])


def test_a_fast_forward_that_lost_the_race_is_a_merge(
    repo: zvv.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(repo, "try", 7, 1)
    forward = repo._backend.fast_forward

    def late(name: str, snapshot_id: str, expected: str) -> None:
        monkeypatch.undo()
        append(repo, "main", 8, 2)
        forward(name, snapshot_id, expected)

    monkeypatch.setattr(repo._backend, "fast_forward", late)
    assert repo.merge("try").kind == "merge"
    assert {7, 8} <= set(repo.view()["p"][0].object_ids().tolist())


# ---- object attributes -------------------------------------------------------------------------

KINDS: dict[str, list[Any]] = {
    "numbers": [np.float32(v) for v in (np.nan, 1, 2, 3)],
    "texts": [None, "a", "größe", ""],
    "times": [np.datetime64(v, "s") for v in ("NaT", "2026-01-01", "2026-01-02", "1969-01-01")],
}


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("race", [False, True], ids=["merge", "race"])
def test_values_of_objects_merge_one_by_one_whatever_they_are(kind: str, race: bool) -> None:
    """Each object against what three sides say of it: changed on one side, on both, on none."""
    values = KINDS[kind]
    n = len(values) ** 3
    sides = np.array(values, object if kind == "texts" else None)[
        np.stack(np.unravel_index(np.arange(n), (4, 4, 4)))
    ]
    base, ours, theirs = sides
    same = [[repr(a) == repr(b) for a, b in zip(x, y, strict=True)] for x, y in
            ((base, ours), (base, theirs), (ours, theirs))]  # fmt: skip
    quiet = np.array(same).any(axis=0)
    ours, theirs = (np.where(quiet, side, base) for side in (ours, theirs))
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [10, 10]))
        tx.writer("p").append_vertices_sync(points(n, 0), object_ids=np.arange(n) * 3)
        tx.writer("p").add_object_attribute_sync("v", base)
    repo.create_branch("try")
    late = repo.transaction("main" if race else "try")
    late.writer("p").add_object_attribute_sync("v", theirs)
    with repo.transaction() as tx:
        tx.writer("p").add_object_attribute_sync("v", ours)
    late.commit()
    if not race:
        repo.merge("try")
    found = repo.view()["p"][0].object_attribute("v")
    wanted = [t if repr(o) == repr(b) else o for b, o, t in zip(base, ours, theirs, strict=True)]
    assert list(map(repr, found)) == list(map(repr, wanted))


def test_of_objects_with_two_new_values_the_conflict_names_those_alone(
    repo: zvv.Repository,
) -> None:
    for branch, names in (("try", ["x", "their b"]), ("main", ["x", "our b"])):
        with repo.transaction(branch) as tx:
            tx.writer("p").add_object_attribute_sync("name", names)
    with pytest.raises(zvv.ConflictError, match="of objects 1;") as caught:
        repo.merge("try")
    (conflict,) = caught.value.conflicts
    assert conflict.objects.tolist() == [1]
    assert conflict.key == "object_attributes/name"


# ---- after a criss-cross -------------------------------------------------------------------------


def _crossed(repo: zvv.Repository, chosen: tuple[str, str]) -> None:
    """Two branches that wrote other values, and merged each other with a choice each."""
    for branch, value in (("main", 1.0), ("try", 2.0)):
        with repo.transaction(branch) as tx:
            n = repo.view(branch)["p"][0].vertex_count
            tx.writer("p").add_attribute_sync("crossed", np.full(n, value))
    mine, its = repo.resolve("main"), repo.resolve("try")
    repo.merge(its, into="main", on_conflict=chosen[0])
    repo.merge(mine, into="try", on_conflict=chosen[1])


def test_a_criss_cross_does_not_hide_that_each_side_chose_its_own(repo: zvv.Repository) -> None:
    _crossed(repo, ("ours", "ours"))
    tip = repo.resolve("main")
    with pytest.raises(zvv.ConflictError, match="crossed") as caught:
        repo.merge("try")
    assert [c.kind for c in caught.value.conflicts] == ["attribute"]
    assert repo.resolve("main") == tip
    result = repo.merge("try", on_conflict="theirs")
    assert len(result.base) == 2
    assert set(repo.view()["p"][0].attribute("crossed")) == {2.0}


def test_a_criss_cross_whose_sides_agreed_has_nothing_to_decide(repo: zvv.Repository) -> None:
    _crossed(repo, ("ours", "theirs"))
    result = repo.merge("try", ff="no")
    assert (len(result.base), result.conflicts) == (2, ())
    assert set(repo.view()["p"][0].attribute("crossed")) == {1.0}


def test_a_result_is_a_table_with_a_row_for_each_level(repo: zvv.Repository) -> None:
    with repo.transaction("try") as tx:
        tx.writer("p").set_metadata_sync({"a": 1})
        tx.writer("p").append_vertices_sync(np.ones((3, 2), "f4"))
    result = repo.merge("try", ff="no")
    (row,) = result.to_pandas().to_dict("records")
    assert (row["dataset"], row["vertices_added"], row["batches_added"]) == ("p", 3, 1)
    assert row["metadata_changed"] == ["a"]
    assert len(repo.merge("try").to_pandas()) == 0


# ---- progress ----------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["merge", "cherry_pick", "revert"])
def test_what_is_copied_is_told_before_it_is_published(repo: zvv.Repository, verb: str) -> None:
    append(repo, "main", 5, 1)
    append(repo, "try", 6, 2)
    if verb == "revert":
        repo.merge("try")
        append(repo, "main", 7, 3)
        # Undoing what was undone brings chunks back.
        repo.revert("main")
    told: list[tuple[str, int, int]] = []
    source = "main" if verb == "revert" else "try"
    getattr(repo, verb)(source, copy=True, progress=lambda *one: told.append(one))
    copied = [(done, of) for what, done, of in told if what == "copy"]
    assert len(copied) >= 2
    assert copied[0][0] == 0 < copied[-1][0] == copied[-1][1]
    assert told[-1] == ("publish", 0, 1)
    assert [what for what, *_ in told].count("publish") == 1


def test_who_stops_while_it_is_copied_changes_nothing(repo: zvv.Repository) -> None:
    tip = append(repo, "main", 5, 1)
    append(repo, "try", 6, 2)

    def stop(what: str, done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        repo.merge("try", copy=True, progress=stop)
    assert repo.resolve("main") == tip
    assert repo.merge("try").kind == "merge"


def test_values_that_were_written_anew_since_are_not_taken_back_silently(
    any_location: tuple[str, dict[str, Any]],
) -> None:
    location, options = any_location
    repo = zvv.Repository.create(location, **options)
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0] * 3, [9] * 3))
        tx.writer("p").append_vertices_sync(np.ones((4, 3), "f4"))
    for offset in (0, 1):
        with repo.transaction() as tx:
            tx.writer("p").add_attribute_sync("v", np.arange(4.0) + offset)
    tip = repo.resolve("main")
    with pytest.raises(zvv.ConflictError, match=r"values of 'vertex_attributes/v'"):
        repo.revert("main~1")
    assert repo.resolve("main") == tip


def test_a_batch_that_was_compacted_since_cannot_be_picked_again(repo: zvv.Repository) -> None:
    picked = append(repo, "main", 7, 1)
    repo.create_branch("other", at="main~1")
    repo.cherry_pick(picked, "other")
    repo.compact()
    before = content(repo)
    for again in (
        lambda: repo.cherry_pick(picked, "main"),
        lambda: repo.merge("other", "main"),
        lambda: repo.merge("other", "main", on_conflict="ours"),
    ):
        with pytest.raises(zvv.ConflictError, match="brings some of them itself") as caught:
            again()
        assert [conflict.kind for conflict in caught.value.conflicts] == ["compaction"]
    assert content(repo) == before


@pytest.mark.parametrize("what", ["dataset", "level"])
@pytest.mark.parametrize("how", ["merge", "race", "criss-cross"])
def test_both_sides_may_create_the_same_with_groups(what: str, how: str) -> None:
    repo = zvv.Repository.create("memory://")
    level = int(what == "level")
    if level:
        with repo.transaction() as tx:
            tx.create_dataset("d", kind="point_cloud", bounds=([0, 0], [9, 9]))
    repo.create_branch("try")

    def create(tx: zvv.Transaction, number: int) -> None:
        if level:
            tx.create_level("d", 1, method="random")
        else:
            tx.create_dataset("d", kind="point_cloud", bounds=([0, 0], [9, 9]))
        writer = tx.writer("d", level=level)
        writer.append_vertices_sync(np.ones((2, 2), "f4"), object_ids=number)
        writer.add_group_sync("g", [number])

    if how == "race":
        with repo.transaction() as late:
            with repo.transaction() as tx:
                create(tx, 1)
            create(late, 2)
    else:
        for number, branch in ((1, "main"), (2, "try")):
            with repo.transaction(branch) as tx:
                create(tx, number)
        ours = repo.resolve("main")
        repo.merge("try", "main")
        if how == "criss-cross":
            repo.merge(ours, "try")
            append_to(repo, "try", level, 3)
            append_to(repo, "main", level, 4)
            repo.merge("try", "main")
    found = repo.view()["d"][level]
    expected = [1, 2] if how != "criss-cross" else [1, 2, 3, 4]
    assert sorted(found.object_ids().tolist()) == expected
    assert {name: ids.tolist() for name, ids in found.groups.items()} == {"g": [1, 2]}


def append_to(repo: zvv.Repository, branch: str, level: int, number: int) -> None:
    with repo.transaction(branch) as tx:
        tx.writer("d", level=level).append_vertices_sync(np.ones((2, 2), "f4"), object_ids=number)


def test_a_result_says_which_commit_was_picked_or_reverted(repo: zvv.Repository) -> None:
    first = append(repo, "main", 7, 1)
    append(repo, "main", 8, 2)
    reverted = repo.revert(first, dry_run=True)
    assert (reverted.verb, reverted.source) == ("revert", first)
    assert f"reverted {first}" in repr(reverted)
    picked = repo.cherry_pick(first, "try")
    assert (picked.verb, picked.source, picked.kind) == ("cherry-pick", first, "merge")
    assert f"what cherry-pick, branch try: {picked.ours} → " in repr(picked)
    merged = repo.merge("main", "try")
    assert (merged.verb, merged.source) == ("merge", repo.resolve("main"))


@pytest.mark.parametrize("verb", ["merge", "cherry_pick", "revert"])
@pytest.mark.parametrize("wrong", [{"message": 3}, {"progress": 3}])
def test_a_message_that_is_no_text_and_a_progress_that_is_none_are_refused(
    repo: zvv.Repository, verb: str, wrong: dict[str, Any]
) -> None:
    append(repo, "try", 7, 1)
    with pytest.raises(zvv.MetadataError, match=f"{next(iter(wrong))}.*got 3"):
        getattr(repo, verb)("try", dry_run=True, **wrong)
