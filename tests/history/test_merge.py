"""The merge of indexes: a pure function, checked against what every object truly is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from _worlds import NAME, Known, World, empty, gone, grow, merge, name
from hypothesis import given
from hypothesis import strategies as st

from zv_versioned.format.table import INDEX, REMOVED
from zv_versioned.history.merge import merge_index


def content(world: World, *, ids: bool = True) -> Any:
    """What a world holds, whatever the slots and content ids that are not its users' business."""
    values = {}
    for row, uuid in enumerate(world.uuids):
        paths = world.table.contents.keys() - {INDEX, REMOVED}
        written = {p: int(world.table.content(p)[row]) for p in paths}
        batch = world.batches[uuid]
        values[uuid] = (
            {p: c for p, c in written.items() if c},
            batch.removed,
            batch.ids.tolist() if ids else None,
        )
    names = {i: n for n, i in world.objects.items()}
    groups = {g: {names[i] for i in members.tolist()} for g, members in world.groups.items()}
    return values, groups, world.facts.attributes, dict(world.metadata)


# ---- laws ----------------------------------------------------------------------------------------


@given(st.data())
def test_a_merge_with_itself_or_with_nothing_changes_nothing(data: st.DataObject) -> None:
    base = grow(empty(), data, 0, data.draw(st.integers(0, 4)))
    side = grow(base, data, 100, data.draw(st.integers(0, 4)))
    for ours, theirs in ((side, side), (side, base), (base, side)):
        merged, world = merge(base, ours, theirs)
        assert (merged.conflicts, merged.violations) == ([], [])
        world.check()
        assert content(world) == content(side)
        assert world.facts.vertex_count == side.facts.vertex_count


@given(st.data())
def test_every_id_still_means_what_it_meant(data: st.DataObject) -> None:
    base = grow(empty(), data, 0, data.draw(st.integers(0, 4)))
    ours = grow(base, data, 100, data.draw(st.integers(0, 4)))
    theirs = grow(base, data, 200, data.draw(st.integers(0, 4)))
    merged, world = merge(base, ours, theirs, renumber=True)
    assert all(c.kind == "attribute" for c in merged.conflicts)
    if merged.violations:
        assert all("removed" in v or "group" in v for v in merged.violations)
        return
    world.check()
    # Ours keep their ids, whatever theirs had.
    mine = ours.objects
    assert {n: world.objects[n] for n in mine} == mine
    assert set(world.objects) == {*mine, *theirs.objects}
    plan = merged.datasets[NAME].levels[0]
    old, new = plan.theirs.pairs()
    moved = {
        theirs.objects[n]: world.objects[n]
        for n in theirs.objects
        if theirs.objects[n] != world.objects[n]
    }
    assert dict(zip(old.tolist(), new.tolist(), strict=True)) == moved
    if new.size:
        assert new.min() > ours.facts.max_object_id
    assert gone(world) == gone(ours) | gone(theirs)


@given(st.data())
def test_edits_that_do_not_touch_merge_the_same_in_both_orders(data: st.DataObject) -> None:
    base = grow(empty(), data, 0, 3)
    one = grow(base, data, 100, 2, "append").write("a", [])
    two = grow(grow(base, data, 200, 2, "append"), data, 210, 1, "group")
    first, there = merge(base, one, two)
    second, back = merge(base, two, one)
    assert (first.conflicts, second.conflicts) == ([], [])
    assert content(there, ids=False) == content(back, ids=False)


@given(st.data())
def test_a_merge_twice_over_is_the_merge_once(data: st.DataObject) -> None:
    base = grow(empty(), data, 0, data.draw(st.integers(1, 3)))
    ours = grow(base, data, 100, data.draw(st.integers(0, 3)))
    theirs = grow(base, data, 200, data.draw(st.integers(0, 3)))
    merged, once = merge(base, ours, theirs, renumber=True)
    if merged.open or merged.violations:
        return
    again, twice = merge(theirs, once, theirs)
    assert (again.conflicts, again.violations) == ([], [])
    assert content(twice) == content(once)
    # What the other side does afterwards follows the ids that its objects have by now.
    later = grow(theirs, data, 300, data.draw(st.integers(0, 3)))
    next_, third = merge(theirs, once, later, renumber=True)
    if not next_.open and not next_.violations:
        third.check()
        assert {n: third.objects[n] for n in once.objects} == once.objects
        assert set(third.objects) == {*once.objects, *later.objects}
    # And the other way round: the branch takes over the ids that it was given.
    back, fourth = merge(theirs, later, once, renumber=True)
    if not back.open and not back.violations:
        fourth.check()
        assert set(fourth.objects) == {*once.objects, *later.objects}


@given(st.data())
def test_what_was_picked_and_taken_back_is_as_it_was(data: st.DataObject) -> None:
    parent = grow(empty(), data, 0, data.draw(st.integers(0, 3)))
    tip = grow(parent, data, 100, data.draw(st.integers(0, 3)))
    commit = grow(parent, data, 200, 1)
    picked, with_it = merge(parent, tip, commit, renumber=True)
    if picked.open or picked.violations:
        return
    back, without = merge(with_it, with_it, tip, undo=True)
    assert (back.conflicts, back.violations) == ([], [])
    assert content(without) == content(tip)


@given(st.data())
def test_a_batch_that_was_taken_back_comes_back_where_it_was(data: st.DataObject) -> None:
    before = grow(empty(), data, 0, data.draw(st.integers(0, 2)), "append")
    with_it = before.append(name(50), data.draw(st.integers(1, 3)), attributes=["a"])
    tip = grow(with_it, data, 100, data.draw(st.integers(0, 3)), "append")
    merged, without = merge(with_it, tip, before, undo=True)
    assert (merged.conflicts, merged.violations) == ([], [])
    without.check()
    assert set(without.uuids) == set(tip.uuids) - {name(50)}
    later = grow(without, data, 200, data.draw(st.integers(0, 2)), "append")
    merged, again = merge(without, later, tip, undo=True)
    assert (merged.conflicts, merged.violations) == ([], [])
    again.check()
    assert again.uuids == [*tip.uuids, *later.uuids[len(without.uuids) :]]
    assert again.table.slot[: len(tip.table)].tolist() == tip.table.slot.tolist()


# ---- ids -----------------------------------------------------------------------------------------


def test_default_ids_that_clash_are_counted_anew_and_theirs_that_do_not_stay() -> None:
    base = empty().append(name(0), 3)
    ours = base.append(name(1), 2)
    theirs = base.append(name(2), 4).append(name(3), 2)
    merged, world = merge(base, ours, theirs)
    assert merged.conflicts == []
    assert world.batches[name(1)].ids.tolist() == [3, 4]
    assert world.batches[name(3)].ids.tolist() == [7, 8]
    assert world.batches[name(2)].ids.tolist() == [9, 10, 11, 12]
    plan = merged.datasets[NAME].levels[0]
    assert plan.rewrites == []  # a run says its ids in the table alone
    assert [p.tolist() for p in plan.theirs.pairs()] == [[3, 4, 5, 6], [9, 10, 11, 12]]
    assert world.facts.max_object_id == 12


def test_who_goes_on_with_an_object_follows_its_new_id() -> None:
    base = empty().append(name(0), 3)
    ours = base.append(name(1), 2)
    theirs = base.append(name(2), 4).append(name(3), ids=[40], goes_on=[(name(2), 1)])
    theirs = theirs.regroup({"g": np.array([4, 40])})
    merged, world = merge(base, ours, theirs)
    assert (merged.conflicts, merged.violations) == ([], [])
    world.check()
    assert world.batches[name(2)].ids.tolist() == [41, 42, 43, 44]
    # Rows stay where they are, also where ids are no longer ascending.
    assert world.batches[name(3)].ids.tolist() == [42, 40]
    assert world.groups["g"].tolist() == [40, 42]


@pytest.mark.parametrize("choice", [None, "ours", "theirs", "renumber"])
def test_given_ids_that_clash_are_a_conflict(choice: str | None) -> None:
    base = empty().append(name(0), 2)
    ours = base.append(name(1), ids=[7, 8, 20])
    theirs = base.append(name(2), ids=[6, 7, 8]).append(name(3), goes_on=[(name(2), 1)], ids=[])
    merged, world = merge(base, ours, theirs, renumber=choice == "renumber")
    if choice == "renumber":
        assert merged.conflicts == []
    else:
        (conflict,) = merged.open
        assert (conflict.kind, conflict.objects.tolist()) == ("objects", [7, 8])
        assert list(conflict.batches) == [name(2)]
        if choice is None:
            return
        merged, world = merge(base, ours, theirs, choice=choice)
        assert [c.choice for c in merged.conflicts] == [choice]
    world.check()
    kept, moved = (theirs, ours) if choice == "theirs" else (ours, theirs)
    assert {n: world.objects[n] for n in kept.objects} == kept.objects
    anew = {n: i for n, i in world.objects.items() if moved.objects.get(n, i) != i}
    assert sorted(anew.values()) == [21, 22]


def test_a_run_of_any_length_is_moved_by_its_ends_alone() -> None:
    many = 10**12
    base = empty()
    one, two = (base.append(name(n), 1) for n in (1, 2))
    # As large as no list of ids could be.
    wide = {"id_max": np.array([many - 1]), "n_objects": np.array([many])}
    wide["n_new_objects"] = wide["n_objects"]
    ours, theirs = (
        replace(
            w,
            table=w.table.with_columns(wide, {}),
            facts=replace(w.facts, max_object_id=many - 1),
        )
        for w in (one, two)
    )
    merged = merge_index(base.state, ours.state, theirs.state, Known(base, ours, theirs))
    plan = merged.datasets[NAME].levels[0]
    assert plan.index.table.id_min.tolist() == [0, many]
    assert plan.index.table.id_max.tolist() == [many - 1, 2 * many - 1]
    assert len(plan.theirs) == many


# ---- conflicts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("choice", ["ours", "theirs"])
def test_the_same_attribute_over_the_same_batch_is_a_conflict(choice: str) -> None:
    base = empty().append(name(0), 2, attributes=["a"]).append(name(1), 2, attributes=["a"])
    ours, theirs = base.write("a", [0]), base.write("a", [0, 1])
    merged, _ = merge(base, ours, theirs)
    (conflict,) = merged.open
    assert (conflict.kind, conflict.dataset, conflict.level) == ("attribute", NAME, 0)
    assert conflict.key == "vertex_attributes/a"
    assert list(conflict.batches) == [name(0)]
    merged, world = merge(base, ours, theirs, choice=choice)
    assert merged.open == []
    expected = (ours if choice == "ours" else theirs).table.content("vertex_attributes/a")[0]
    assert world.table.content("vertex_attributes/a").tolist() == [
        expected,
        theirs.table.content("vertex_attributes/a")[1],
    ]
    ids = tuple(int(w.table.content("vertex_attributes/a")[0]) for w in (ours, theirs))
    assert merge(base, ours, theirs, same={ids})[0].conflicts == []


def test_two_attributes_an_append_and_a_removal_are_no_conflict() -> None:
    base = empty().append(name(0), 4, attributes=["a"])
    ours = base.write("b", [0]).append(name(1), 1).remove([(name(0), 0)])
    theirs = base.write("a", [0]).append(name(2), 1).remove([(name(0), 2)])
    merged, world = merge(base, ours, theirs)
    assert (merged.conflicts, merged.violations) == ([], [])
    world.check()
    assert world.batches[name(0)].removed == {0, 2}
    a, b = (f"vertex_attributes/{n}" for n in "ab")
    assert world.table.content(a)[0] == theirs.table.content(a)[0]
    assert world.table.content(b)[0] == ours.table.content(b)[0]
    assert world.facts.vertex_count == 4


@pytest.mark.parametrize("choice", ["ours", "theirs"])
@pytest.mark.parametrize("remover", ["ours", "theirs"])
def test_batches_removed_here_and_changed_there_are_a_conflict(choice: str, remover: str) -> None:
    base = empty().append(name(0), 2).append(name(1), 2)
    gone, changed = base.drop([0]), base.write("a", [0, 1])
    ours, theirs = (gone, changed) if remover == "ours" else (changed, gone)
    (conflict,) = merge(base, ours, theirs)[0].open
    assert (conflict.kind, list(conflict.batches)) == ("batch", [name(0)])
    merged, world = merge(base, ours, theirs, choice=choice)
    assert merged.open == []
    world.check()
    assert (name(0) in world.uuids) == (choice != remover)


def test_a_revert_takes_an_append_back_whatever_was_written_over_it() -> None:
    before = empty().append(name(0), 2)
    with_it = before.append(name(1), 2)
    tip = with_it.append(name(2), 2).write("a", [0, 1, 2]).remove([(name(1), 0)])
    merged, world = merge(with_it, tip, before, undo=True)
    assert (merged.conflicts, merged.violations) == ([], [])
    world.check()
    assert world.uuids == [name(0), name(2)]
    assert world.facts.vertex_count == 4
    plan = merged.datasets[NAME].levels[0]
    assert {a: s.tolist() for a, s in plan.cleared.items()} == {
        "vertices": [1],
        "batches/index": [1],
        "batches/removed": [1],
        "vertex_attributes/a": [1],
    }


def test_a_revert_leaves_an_attribute_to_those_who_use_it_since() -> None:
    before = empty().append(name(0), 2)
    with_it = before.write("a", [0])
    path = "vertex_attributes/a"
    merged, world = merge(with_it, with_it.append(name(1), 2), before, undo=True)
    assert (merged.conflicts, world.facts.attributes) == ([], {})
    tip = with_it.append(name(1), 2, attributes=["a"])
    merged, world = merge(with_it, tip, before, undo=True)
    assert (merged.conflicts, list(world.facts.attributes)) == ([], ["a"])
    assert world.table.content(path).tolist() == [0, tip.table.content(path)[1]]
    # What was written over it since cannot be told apart from it.
    merged, _ = merge(with_it, tip.write("a", [0]), before, undo=True)
    assert [(c.kind, c.batches[0]) for c in merged.open] == [("attribute", name(0))]


def test_a_revert_of_what_took_the_place_of_batches_does_not_lose_what_came_after() -> None:
    before = empty().append(name(0), 2).append(name(1), 2)
    compacted = before.drop([0, 1]).append(name(9), ids=[0, 1, 2, 3])
    tip = compacted.write("a", [0])
    merged, _ = merge(compacted, tip, before, undo=True)
    assert [c.kind for c in merged.open] == ["batch"]


@pytest.mark.parametrize("choice", ["ours", "theirs"])
def test_a_definition_changed_on_both_sides_is_a_conflict(choice: str) -> None:
    base = empty().append(name(0), 2)
    ours, theirs = base.define("a", "f4").write("a", [0]), base.define("a", "i2").write("a", [0])
    (conflict,) = merge(base, ours, theirs)[0].open
    assert conflict.kind == "definition"
    assert "float32" in conflict.what
    assert "int16" in conflict.what
    merged, world = merge(base, ours, theirs, choice=choice)
    chosen = ours if choice == "ours" else theirs
    assert content(world) == content(chosen)
    plan = merged.datasets[NAME].levels[0]
    assert len(plan.dropped) == (choice == "theirs")


@pytest.mark.parametrize("choice", ["ours", "theirs"])
@pytest.mark.parametrize("dropper", ["ours", "theirs"])
def test_an_attribute_dropped_here_and_written_there_is_a_conflict(
    choice: str, dropper: str
) -> None:
    base = empty().append(name(0), 2, attributes=["a"])
    none = np.zeros(1, np.int64)
    dropped = replace(
        base,
        table=base.table.with_columns({}, {"vertex_attributes/a": none}),
        facts=replace(base.facts, attributes={}),
    )
    written = base.append(name(1), 2, attributes=["a"])
    ours, theirs = (dropped, written) if dropper == "ours" else (written, dropped)
    (conflict,) = merge(base, ours, theirs)[0].open
    assert (conflict.kind, list(conflict.batches)) == ("definition", [name(1)])
    merged, world = merge(base, ours, theirs, choice=choice)
    assert merged.open == []
    world.check()
    assert ("a" in world.facts.attributes) == (choice != dropper)
    assert world.uuids == [name(0), name(1)]
    assert merge(base, base.append(name(1), 1), dropped)[0].conflicts == []


def test_metadata_merges_key_by_key() -> None:
    base = replace(empty(), metadata={"a": 1, "b": 1, "c": 1})
    ours = replace(base, metadata={"a": 2, "b": 1, "d": [4]})
    theirs = replace(base, metadata={"a": 1, "b": 3, "c": 1, "d": [4], "e": 5})
    merged, world = merge(base, ours, theirs)
    assert merged.conflicts == []
    assert world.metadata == {"a": 2, "b": 3, "d": [4], "e": 5}
    for other in ({"a": 3, "b": 1, "c": 1}, {"b": 1, "c": 1}):
        merged, _ = merge(base, ours, replace(base, metadata=other))
        assert [(c.kind, c.key) for c in merged.open] == [("metadata", "a")]


# ---- what would not be sound ---------------------------------------------------------------------


def test_an_append_whose_objects_go_on_later_is_not_taken_back_alone() -> None:
    before = empty().append(name(0), 2)
    with_it = before.append(name(1), 2)
    tip = with_it.append(name(2), ids=[9], goes_on=[(name(1), 1)])
    merged, _ = merge(with_it, tip, before, undo=True)
    (violation,) = merged.violations
    assert "objects 3 of level 0" in violation
    assert merge(with_it, tip.remove([(name(1), 1)]), before, undo=True)[0].violations == []


@pytest.mark.parametrize("turned", [False, True])
def test_an_object_removed_here_and_gone_on_with_there_is_a_violation(turned: bool) -> None:
    base = empty().append(name(0), 3)
    removed = base.remove([(name(0), 1)])
    longer = base.append(name(1), ids=[9], goes_on=[(name(0), 1), (name(0), 2)])
    ours, theirs = (longer, removed) if turned else (removed, longer)
    (violation,) = merge(base, ours, theirs)[0].violations
    assert "objects 1 of level 0" in violation


@pytest.mark.parametrize("turned", [False, True])
def test_a_group_whose_member_is_removed_there_is_a_violation(turned: bool) -> None:
    base = empty().append(name(0), 3)
    removed = base.remove([(name(0), 1)])
    grouped = base.regroup({"g": np.array([0, 1])})
    ours, theirs = (grouped, removed) if turned else (removed, grouped)
    (violation,) = merge(base, ours, theirs)[0].violations
    assert "group 'g' of level 0" in violation
    assert merge(base, base.regroup({"g": np.array([0])}), removed)[0].violations == []
