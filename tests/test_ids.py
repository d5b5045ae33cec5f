"""What is remembered of the ids in use: right on every branch, and learnt once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tests._profiles  # noqa: F401
import zv_versioned as zvv
from zv_versioned._ids import Ids, KnownIds, Load
from zv_versioned.format.table import BatchRow, BatchTable

TOP = 2**63 - 1


def table_of(batches: Sequence[tuple[int, Sequence[int]]]) -> BatchTable:
    """A table of batches that are given by number and ids."""
    rows = []
    for slot, (number, given_ids) in enumerate(batches):
        ids = sorted(set(given_ids))
        rows.append(
            BatchRow(
                uuid=np.frombuffer(number.to_bytes(16, "little"), np.uint8),
                slot=slot,
                n_vertices=len(given_ids),
                n_objects=len(ids),
                n_new_objects=len(ids),
                n_fragments=1,
                n_cells=1,
                id_min=ids[0],
                id_max=ids[-1],
                head_bytes=1,
                vertex_bytes=1,
                lo=np.zeros(1),
                hi=np.zeros(1),
            )
        )
    return BatchTable.from_rows(rows, 1)


class Loader:
    """Reads the ids of rows, and counts."""

    def __init__(self, batches: Sequence[tuple[int, Sequence[int]]]) -> None:
        self.batches = batches
        self.loaded: list[int] = []

    def __call__(self, rows: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray]]:
        self.loaded += [self.batches[row][0] for row in rows]
        arrays = [np.unique(np.array(self.batches[row][1], np.int64)) for row in rows]
        return [(ids, np.ones(len(ids), bool)) for ids in arrays]


def among(
    known: KnownIds, query: np.ndarray, batches: Sequence[tuple[int, Sequence[int]]], load: Load
) -> np.ndarray:
    """Ask at a snapshot that has these batches."""
    snapshot_id = repr([number for number, _ in batches])
    return known.among(query, snapshot_id, lambda: table_of(batches), load)


def ask(known: KnownIds, batches: Sequence[tuple[int, Sequence[int]]], ids: set[int]) -> set[int]:
    query = np.array(sorted(ids), np.int64)
    return set(among(known, query, batches, Loader(batches)).tolist())


some_ids = st.one_of(
    st.integers(0, 40), st.integers(0, TOP), st.sampled_from([0, 2**62, TOP - 1, TOP])
)
batch_ids = st.one_of(
    st.lists(some_ids, min_size=1, max_size=8),
    st.builds(lambda a, n: list(range(a, a + n)), st.integers(0, 60), st.integers(1, 9)),
)


@given(
    batches=st.lists(batch_ids, min_size=1, max_size=6),
    branches=st.lists(st.sets(st.integers(0, 5), min_size=1), min_size=1, max_size=6),
    ids=st.sets(some_ids, min_size=1, max_size=12),
)
def test_exactly_the_ids_of_the_batches_that_are_there_are_taken(
    batches: list[list[int]], branches: list[set[int]], ids: set[int]
) -> None:
    known = KnownIds()
    for branch in branches:
        there = [(n, batches[n]) for n in sorted(branch) if n < len(batches)]
        if there:
            expected = ids & {i for _, members in there for i in members}
            assert ask(known, there, ids) == expected


def test_a_batch_is_read_once_however_often_is_asked() -> None:
    known = KnownIds()
    batches = [(1, [5, 900]), (2, [7, 2**62])]
    loader = Loader(batches)
    query = np.array([5, 6, 7], np.int64)
    for _ in range(3):
        assert among(known, query, batches, loader).tolist() == [5, 7]
    assert loader.loaded == [1, 2]
    more = [*batches, (3, [6, 1000])]
    loader = Loader(more)
    assert among(known, query, more, loader).tolist() == [5, 6, 7]
    assert loader.loaded == [3]


def test_what_was_committed_since_is_known_without_a_look_at_the_store() -> None:
    known = KnownIds()
    before, after = [(1, [5, 900])], [(1, [5, 900]), (2, [7, 70, 71]), (3, [200, 201])]
    assert ask(known, before, {5, 7, 201}) == {5}
    names = [np.frombuffer(number.to_bytes(16, "little"), np.uint8) for number, _ in after[1:]]
    ids = [Ids.of(np.array(members, np.int64)) for _, members in after[1:]]
    known.committed("[1]", "[1, 2, 3]", names, ids)
    loader = Loader(after)
    query = np.array([5, 6, 7, 71, 199, 200, 201, 900], np.int64)
    assert among(known, query, after, loader).tolist() == [5, 7, 71, 200, 201, 900]
    assert loader.loaded == []
    # Not from a snapshot that another process has committed to in between.
    known.committed("[1]", "[1, 2, 3, 4]", names, ids)
    assert among(known, query, before, loader).tolist() == [5, 900]


def test_runs_of_ids_are_known_without_reading_them() -> None:
    batches = [(n, range(n * 100, n * 100 + 100)) for n in range(50)]
    loader = Loader(batches)
    query = np.array([0, 4999, 5000], np.int64)
    assert among(KnownIds(), query, batches, loader).tolist() == [0, 4999]
    assert loader.loaded == []


def test_a_failed_read_leaves_nothing_half_learnt() -> None:
    known = KnownIds()
    batches = [(1, [5, 900])]

    def fail(rows: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray]]:
        raise zvv.StorageError("gone")

    with pytest.raises(zvv.StorageError):
        among(known, np.array([5]), batches, fail)
    assert ask(known, batches, {5, 6}) == {5}


# ---- through the repository ------------------------------------------------------------------


def append(repo: zvv.Repository, ids: Sequence[int] | None, branch: str = "main") -> list[int]:
    with repo.transaction(branch) as tx:
        n = 3 if ids is None else len(ids)
        result = tx.writer("p").append_vertices_sync(np.zeros((n, 2), "f4"), object_ids=ids)
    return [int(i) for i in result["object_ids"]]


@pytest.fixture
def repo() -> zvv.Repository:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [9, 9]))
    return repo


def test_an_id_that_was_taken_back_by_a_reset_is_free_again(repo: zvv.Repository) -> None:
    append(repo, [1, 5, 2**62])
    append(repo, [3])
    repo.reset_branch("main", to="main~1")
    with pytest.raises(zvv.ArrayError, match="overlap existing objects"):
        append(repo, [5])
    assert append(repo, [3, 4]) == [3, 4]


def test_the_same_id_may_be_used_on_two_branches(repo: zvv.Repository) -> None:
    append(repo, [10, 30])
    repo.create_branch("try")
    append(repo, [20], "main")
    assert append(repo, [20], "try") == [20]
    for branch in ("main", "try", "main"):
        with pytest.raises(zvv.ArrayError, match=r"overlap existing objects.*: 20"):
            append(repo, [20], branch)
    assert append(repo, [25], "try") == [25]
    assert repo.view("main")["p"][0].object_ids().tolist() == [10, 30, 20]


def test_ids_in_use_are_refused_by_name_and_counted(repo: zvv.Repository) -> None:
    append(repo, list(range(0, 40, 2)))
    append(repo, [7])
    with pytest.raises(zvv.ArrayError) as caught:
        append(repo, list(range(9)))
    text = str(caught.value)
    assert "6 object ids overlap existing objects of 'p/0': 0, 2, 4, 6, 7, …" in text
    assert "leave object_ids out" in text
    assert append(repo, [1, 3, 5, 9]) == [1, 3, 5, 9]


def test_default_ids_count_on_from_the_largest_also_within_a_transaction(
    repo: zvv.Repository,
) -> None:
    append(repo, [2**62, 4])
    points = np.zeros((2, 2), "f4")
    with repo.transaction() as tx:
        writer = tx.writer("p")
        first = writer.append_vertices_sync(points)["object_ids"]
        writer.append_vertices_sync(points, object_ids=2**62 + 100)
        second = writer.append_vertices_sync(points)["object_ids"]
    assert (first - 2**62).tolist() == [1, 2]
    assert (second - 2**62).tolist() == [101, 102]
    assert append(repo, None) == [2**62 + 103, 2**62 + 104, 2**62 + 105]


@pytest.mark.filterwarnings("error")
def test_the_smallest_and_the_largest_id_live_in_one_batch(repo: zvv.Repository) -> None:
    append(repo, [0, TOP])
    level = repo.view()["p"][0]
    assert level.object_ids().tolist() == [0, TOP]
    assert level.objects[TOP].vertex_ids.tolist() == [1]
    with pytest.raises(zvv.ArrayError, match="overlap existing objects"):
        append(repo, [TOP])
    with pytest.raises(zvv.ArrayError, match=rf"{TOP}: no 3 ids are left"):
        append(repo, None)
    assert append(repo, [1, TOP - 1]) == [1, TOP - 1]


def test_a_transaction_that_was_abandoned_uses_up_no_ids(repo: zvv.Repository) -> None:
    tx = repo.transaction()
    tx.writer("p").append_vertices_sync(np.zeros((2, 2), "f4"), object_ids=[4, 9])
    tx.abort()
    assert append(repo, [4]) == [4]
    assert append(repo, None) == [5, 6, 7]
