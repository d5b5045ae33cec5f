"""Carrying chunks: shared and copied give the same, and nobody else's chunks are touched."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from zv_versioned import _store, _writes
from zv_versioned._paths import chunk_key
from zv_versioned.storage import Backend
from zv_versioned.storage import carry as carrying
from zv_versioned.storage.carry import SHARES, Move, Staged, carry, coordinates, same_node

Chunks = dict[tuple[int, int], bytes]
needs_sharing = pytest.mark.skipif(not SHARES, reason="this icechunk copies")


def make_array(session: Any, name: str) -> None:
    zarr.create_array(
        session.store, name=name, shape=(64, 4), chunks=(1, 1), dtype="u1", compressors=None
    )


def write(session: Any, name: str, chunks: Chunks) -> None:
    _writes.set_many(session.store, [(chunk_key(name, at), value) for at, value in chunks.items()])


def read(store: Any, name: str) -> Chunks:
    found = coordinates(store.session, name, range(64))
    values = _store.get_many(store, [(chunk_key(name, at), 0, -1) for at in found])
    return {at: bytes(v) for at, v in zip(found, values, strict=True) if v is not None}  # type: ignore[misc]


def commit(backend: Backend, branch: str, arrays: dict[str, Chunks], make: bool = False) -> str:
    session = backend.begin(branch)
    for name, chunks in arrays.items():
        if make:
            make_array(session, name)
        write(session, name, chunks)
    return backend.publish(session, branch, "change", {})


def value(seed: int, large: bool = False) -> bytes:
    # Beyond 512 bytes a chunk is no longer kept in the manifest itself.
    return bytes([seed % 256]) * (700 if large else 1)


@pytest.fixture
def backend() -> Backend:
    backend = Backend.create(f"memory://{uuid.uuid4().hex}")
    commit(backend, "main", {"a": {(0, 0): b"0"}, "b": {}}, make=True)
    backend.create_branch("try", backend.branch_tip("main"))
    return backend


def test_what_is_copied_is_told_as_it_goes_and_what_is_shared_is_not(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrying, "_TOLD_EVERY", 3)
    chunks = {(slot, cell): value(4 * slot + cell) for slot in (1, 2) for cell in range(4)}
    source = backend.read_store(commit(backend, "try", {"a": chunks}))
    moves = [Move("a", np.array([1, 2]), np.array([5, 6]))]
    told: list[tuple[int, int]] = []
    target = backend.begin("main")
    carry(backend, source, target, moves, copy=True, progress=lambda *one: told.append(one))
    assert told == [(0, 8), (3, 8), (6, 8), (8, 8)]
    assert {at: v for at, v in read(target.store, "a").items() if at[0]} == {
        (slot + 4, cell): v for (slot, cell), v in chunks.items()
    }
    told.clear()
    target = backend.begin("main")
    carry(backend, source, target, moves, progress=lambda *one: told.append(one))
    assert bool(told) is not SHARES


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("at_tip", [False, True])
def test_chunks_of_some_slots_are_carried_and_others_stay(
    backend: Backend, copy: bool, at_tip: bool
) -> None:
    source = commit(
        backend,
        "try",
        {"a": {(1, 0): value(1), (1, 3): value(2, True), (2, 1): value(3)}, "b": {(1, 1): b"5"}},
    )
    if not at_tip:
        commit(backend, "try", {"a": {(1, 0): b"x"}})
    commit(backend, "main", {"a": {(1, 0): b"7", (1, 1): b"8"}})
    target = backend.begin("main")
    moves = [
        Move("a", np.array([1, 2]), np.array([2, 3])),
        Move("b", np.array([1]), np.array([2])),
    ]
    store = backend.read_store(source)
    copied = carry(backend, store, target, moves, branch="try", copy=copy)
    assert copied == (0 if SHARES and not copy else 4)
    backend.publish(target, "main", "carried", {})
    after = backend.read_store(backend.branch_tip("main"))
    assert read(after, "a") == {
        (0, 0): b"0",
        (1, 0): b"7",
        (1, 1): b"8",
        (2, 0): value(1),
        (2, 3): value(2, True),
        (3, 1): value(3),
    }
    assert read(after, "b") == {(2, 1): b"5"}
    assert backend.branches() == ["main", "try"]


def test_an_array_that_each_side_made_by_itself_is_copied(backend: Backend) -> None:
    source = commit(backend, "try", {"own": {(1, 0): value(9, True)}}, make=True)
    commit(backend, "main", {"own": {(1, 0): b"m"}}, make=True)
    target = backend.begin("main")
    store = backend.read_store(source)
    assert not same_node(store.session, target, "own")
    assert same_node(store.session, target, "a") == SHARES
    assert carry(backend, store, target, [Move("own", np.array([1]), np.array([2]))]) == 1
    assert read(target.store, "own") == {(1, 0): b"m", (2, 0): value(9, True)}


def test_a_chunk_may_be_carried_to_where_it_was(backend: Backend) -> None:
    source = backend.branch_tip("try")
    session = backend.begin("main")
    _writes.delete_many(session.store, [chunk_key("a", (0, 0)), chunk_key("a", (60, 3))])
    backend.publish(session, "main", "gone", {})
    assert read(backend.read_store(backend.branch_tip("main")), "a") == {}
    target = backend.begin("main")
    carry(backend, backend.read_store(source), target, [Move("a", np.array([0]), np.array([0]))])
    backend.publish(target, "main", "back", {})
    assert read(backend.read_store(backend.branch_tip("main")), "a") == {(0, 0): b"0"}


chunk_sets = st.dictionaries(
    st.tuples(st.integers(1, 4), st.integers(0, 3)), st.integers(1, 255), max_size=8
)


@needs_sharing
@given(
    staged=chunk_sets,
    rounds=st.lists(st.tuples(chunk_sets, st.integers(1, 5)), min_size=1, max_size=4),
)
def test_staged_chunks_move_out_of_the_way_as_often_as_it_takes(
    staged: dict[tuple[int, int], int], rounds: list[tuple[dict[tuple[int, int], int], int]]
) -> None:
    backend = Backend.create("memory://")
    commit(backend, "main", {"a": {(0, 0): b"0"}}, make=True)
    mine = backend.begin("main")
    write(mine, "a", {at: value(seed, seed % 3 == 0) for at, seed in staged.items()})
    lost = Staged(backend, mine)
    model: Chunks = {(0, 0): b"0"}
    end = 1
    slots = np.arange(1, 5)
    for theirs, more in rounds:
        # Somebody commits under the next slots, some of which are those of what was staged.
        new = {(end + s, x): value(seed + 1) for (s, x), seed in theirs.items() if s < more}
        if new:
            commit(backend, "main", {"a": new})
        model.update(new)
        end += more
        target = backend.begin("main")
        assert lost.shareable(target, ["a"])
        lost.carry(target, [Move("a", slots, slots - 1 + end)])
        expected = dict(model)
        for (slot, x), seed in staged.items():
            expected[slot - 1 + end, x] = value(seed, seed % 3 == 0)
        assert read(target.store, "a") == expected
        assert {at: v for at, v in read(mine.store, "a").items() if at[0] in slots} == {
            at: value(seed, seed % 3 == 0) for at, seed in staged.items()
        }
    if staged:
        backend.publish(target, "main", "at last", {})
        assert read(backend.read_store(backend.branch_tip("main")), "a") == expected


@needs_sharing
def test_staged_changes_that_made_what_is_there_by_now_are_not_merged(backend: Backend) -> None:
    mine = backend.begin("main")
    make_array(mine, "new")
    lost = Staged(backend, mine)
    commit(backend, "main", {"a": {(9, 0): b"9"}})
    assert lost.shareable(backend.begin("main"), ["a", "new"])
    commit(backend, "main", {"new": {}}, make=True)
    assert not lost.shareable(backend.begin("main"), ["a"])


@needs_sharing
def test_staged_chunks_of_an_array_that_was_made_anew_are_not_merged(backend: Backend) -> None:
    mine = backend.begin("main")
    write(mine, "a", {(5, 0): b"5"})
    session = backend.begin("main")
    _store._io.run(session.store.delete_dir("a"))
    make_array(session, "a")
    backend.publish(session, "main", "another one", {})
    assert not Staged(backend, mine).shareable(backend.begin("main"), ["a"])
