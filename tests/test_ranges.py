"""Rows by vertex number: exactly those, and no cell is read besides theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zv_versioned as zvv
from zv_versioned.reading import ranges
from zv_versioned.reading import reader as _read
from zv_versioned.reading.reader import LevelReader
from zv_versioned.reading.selection import Selection

SIZES = (1, 400, 37, 2, 900)
TOTAL = sum(SIZES)


@pytest.fixture(scope="module", params=["whole", "with removed objects"])
def reader(request: pytest.FixtureRequest) -> LevelReader:
    """Five batches over a few hundred cells; or these and more, that were removed again."""
    rng = np.random.default_rng(1)
    repo = zvv.Repository.create("memory://")
    lossy = request.param != "whole"
    first = 0
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0] * 2, [10] * 2), chunk_shape=(1, 1))
        for number, size in enumerate(SIZES):
            # Removed ones: among the others, alone in cells of their own, and a whole batch.
            more = (size // 2, 0, 5, 0, 200)[number] if lossy else 0
            positions = rng.uniform(0, 10, (size + more, 2)).astype("f4")
            positions[size + more // 2 :] = 10
            ids = np.concatenate([np.arange(first, first + size), np.full(more, 9000 + number)])
            tx.writer("p").append_vertices_sync(positions, object_ids=ids)
            first += size
        if lossy:
            tx.writer("p").append_vertices_sync(positions, object_ids=9999)
    if lossy:
        with repo.transaction() as tx:
            tx.writer("p").remove_objects_sync([9002, 9004, 9999])
    return repo.view()["p"][0]._reader


@pytest.fixture(scope="module")
def whole(reader: LevelReader) -> np.ndarray:
    return reader.positions_of(reader.plan())


numbers = st.integers(0, TOTAL)


def test_the_levels_of_these_tests_have_as_many_vertices(whole: np.ndarray) -> None:
    assert len(whole) == TOTAL


@given(a=numbers, b=numbers)
def test_a_range_is_that_part_of_the_whole(
    reader: LevelReader, whole: np.ndarray, a: int, b: int
) -> None:
    start, stop = sorted((a, b))
    found = ranges.read_range(reader, reader.positions_of, start, stop)
    np.testing.assert_array_equal(found, whole[start:stop])


@given(vertices=st.lists(st.integers(0, TOTAL - 1)), window=st.sampled_from([1, 50, 1 << 20]))
def test_some_vertices_come_in_the_order_asked_for(
    reader: LevelReader, whole: np.ndarray, vertices: list[int], window: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_read, "WINDOW_VERTICES", window)
        found = ranges.read_some(reader, reader.positions_of, np.array(vertices, np.int64))
    np.testing.assert_array_equal(found, whole[vertices])
    assert found.dtype == whole.dtype


def test_only_the_cells_of_the_range_are_read(reader: LevelReader) -> None:
    read: list[Selection] = []

    def watched(selections: Sequence[Selection]) -> np.ndarray:
        read.extend(selections)
        return reader.positions_of(selections)

    ranges.read_range(reader, watched, 450, 460)
    assert [s.row for s in read] == [4]
    starts = reader.vertex_base[4] + ranges.cell_starts(reader, [4])[0]
    assert starts[read[0].at[0]] <= 450 < starts[read[0].at[0] + 1]
    assert starts[read[0].at[-1]] < 460
    read.clear()
    ranges.read_some(reader, watched, np.array([3, 1000]))
    assert [len(s.at) for s in read] == [1, 1]


@given(size=st.integers(1, 2 * TOTAL))
def test_pieces_cover_the_level_and_large_batches_are_cut_at_cells(
    reader: LevelReader, size: int
) -> None:
    edges = ranges.edges(reader, size)
    assert edges[0] == 0
    assert edges[-1] == TOTAL
    assert (np.diff(edges) > 0).all()
    starts = ranges.cell_starts(reader, range(len(SIZES)))
    largest_cell = max(int(np.diff(start).max()) for start in starts)
    assert np.diff(edges).max() <= max(size, largest_cell)
    marks = {
        int(base + mark)
        for base, start in zip(reader.vertex_base, starts, strict=False)
        for mark in start
    }
    assert set(edges.tolist()) <= marks
    # Two pieces side by side would not have fitted in one.
    assert all(edges[i + 2] - edges[i] > size for i in range(len(edges) - 2))


def test_a_level_without_vertices_has_no_pieces_and_no_rows() -> None:
    repo = zvv.Repository.create("memory://")
    arguments: dict[str, Any] = {"kind": "point_cloud", "bounds": ([0], [1])}
    with repo.transaction() as tx:
        tx.create_dataset("p", **arguments)
    empty = repo.view()["p"][0]._reader
    assert ranges.edges(empty, 10).tolist() == [0]
    assert ranges.read_range(empty, empty.positions_of, 0, 0).shape == (0, 1)
    assert ranges.read_some(empty, empty.positions_of, np.zeros(0, np.int64)).shape == (0, 1)
