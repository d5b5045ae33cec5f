"""How much is fetched, in how many round trips, and what is held of it at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zv_versioned as zvv
from zv_versioned import _store
from zv_versioned._cache import Cache
from zv_versioned.format import batches
from zv_versioned.reading import batch_indexes, planner
from zv_versioned.reading import fetch as _fetch
from zv_versioned.spatial.boxes import Box
from zv_versioned.spatial.grid import Grid

N = 60_000
BOX = ([20.0] * 3, [45.0] * 3)


@contextmanager
def round_trips() -> Iterator[list[int]]:
    """How many values each call to the storage asks for, one after the other."""
    calls: list[int] = []
    asked = _store.get_present

    def counted(store: Any, requests: Any, large: Any = ()) -> Any:
        if requests or large:
            calls.append(len(requests) + len(large))
        return asked(store, requests, large)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_store, "get_present", counted)
        yield calls


@pytest.fixture(scope="module")
def location() -> Iterator[str]:
    """One large batch with two attributes and an index of many pages, and three small ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "_PAGE_ROWS", 1 << 12)
        yield _written()


def _written() -> str:
    rng = np.random.default_rng(0)
    repo = zvv.Repository.create("memory://fetch")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0] * 3, [100] * 3))
    for number, n in enumerate((N, 600, 600, 600)):
        values = {"a": rng.random(n), "b": rng.integers(0, 9, n)}
        with repo.transaction() as tx:
            tx.writer("p").append_vertices_sync(
                rng.uniform(0, 100, (n, 3)).astype("f4"),
                object_ids=np.sort(rng.integers(0, n // 100, n)) * 7 + 10_000 * number,
                attributes=values,
            )
    return "memory://fetch"


def level(location: str) -> zvv.Level:
    """Of a repository of which nothing is known yet."""
    return zvv.Repository.open(location).view()["p"][0]


# ---- round trips -----------------------------------------------------------------------------


def test_a_box_with_attributes_takes_two_round_trips_and_the_next_one_fewer_requests(
    location: str,
) -> None:
    found = level(location)
    with round_trips() as calls:
        first = found.read(bbox=BOX, attributes="all")
    assert len(calls) == 2
    with round_trips() as again:
        second = found.read(bbox=BOX, attributes="all")
    assert len(again) == 1
    assert again[0] < calls[1]
    assert first.positions.tobytes() == second.positions.tobytes()


def test_of_small_batches_the_whole_index_is_fetched_at_once(
    location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = level(location)
    with round_trips() as calls:
        expected = small.read(objects=10_007, batches=1, attributes="all")
    # Its head says where its ids lie, and what the object has.
    assert calls == [1, 3]
    monkeypatch.setattr(batch_indexes, "WHOLE_INDEX_FRAGMENTS", 0)
    by_parts = level(location)
    with round_trips() as calls:
        found = by_parts.read(objects=10_007, batches=1, attributes="all")
    assert len(calls) == 4
    assert found.positions.tobytes() == expected.positions.tobytes()
    assert len(found) > 0


def test_objects_of_all_batches_take_one_round_trip_more(location: str) -> None:
    found = level(location)
    ids = found.object_ids()[[3, -1, -8, -15]]
    fresh = level(location)
    with round_trips() as calls:
        fresh.read(objects=ids, attributes="all")
    # Their ids lie behind the heads, their cells behind their ids.
    assert len(calls) <= 4
    with round_trips() as calls:
        fresh.read(objects=ids, attributes="all")
    assert len(calls) == 1


def test_a_whole_read_with_attributes_takes_two_round_trips(location: str) -> None:
    found = level(location)
    with round_trips() as calls:
        found.read(attributes="all")
    assert len(calls) == 2


def test_a_shard_that_was_asked_for_in_vain_is_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "WHOLE_BATCH_BYTES", 0)
    monkeypatch.setattr(_fetch, "WHOLE_BATCH_BYTES", 0)
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        shape = {"bounds": ([0, 0], [64, 64]), "chunk_shape": (1, 1)}
        tx.create_dataset("p", kind="point_cloud", **shape)
        tx.writer("p").append_vertices_sync(np.array([[1, 1], [60, 60]], "f4"))
    found = repo.view()["p"][0]
    with round_trips() as calls:
        assert len(found.read(bbox=([40, 2], [42, 5]))) == 0
    assert calls == [2]
    assert found.read(bbox=([0, 0], [2, 2])).positions.tolist() == [[1, 1]]


# ---- what is held ------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [1 << 14, 1 << 17])
def test_two_pieces_are_held_at_a_time_however_much_is_read(
    location: str, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = level(location).read(attributes="all")
    monkeypatch.setattr(_fetch, "_PIECE_BYTES", piece)
    monkeypatch.setattr(_fetch, "WHOLE_BATCH_BYTES", piece // 4)
    monkeypatch.setattr(_fetch, "RANGE_BYTES", piece // 2)
    held, most, total = 0, 0, 0
    fetch, decode = _fetch._fetch, _fetch.decode

    def fetched(*args: Any) -> Any:
        nonlocal held, most, total
        cells, extra = fetch(*args)
        size = sum(int((found.stop - found.start).sum()) for found in cells)
        held, total = held + size, total + size
        most = max(most, held)
        return cells, extra

    def decoded(pieces: Any, cells: Any, targets: Any, rows: Any) -> None:
        nonlocal held
        decode(pieces, cells, targets, rows)
        held -= sum(int((found.stop - found.start).sum()) for found in cells)

    monkeypatch.setattr(_fetch, "_fetch", fetched)
    monkeypatch.setattr(_fetch, "decode", decoded)
    found = level(location).read(attributes="all")
    assert total > 8 * piece
    # A piece is what it decodes to: random numbers are no smaller when they are stored. A cell or a
    # small batch that does not fit goes with it all the same.
    assert most <= 2 * (piece * 1.5 + 8192)
    for name in ("positions", "vertex_ids", "object_ids"):
        assert getattr(found, name).tobytes() == getattr(expected, name).tobytes()
    for name, values in expected.attributes.items():
        assert found.attributes[name].tobytes() == values.tobytes()


@pytest.mark.parametrize("whole", [0, 1_000, 1 << 30])
@pytest.mark.parametrize("limit", [0, 20_000, 4_000_000])
def test_what_is_forgotten_is_read_again(
    location: str, limit: int, whole: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, forgetful = level(location), level(location)
    ids = full.object_ids()
    monkeypatch.setattr(batch_indexes, "WHOLE_INDEX_FRAGMENTS", whole)
    forgetful._reader.parts = parts = Cache(limit)
    forgetful._reader.shard_indexes = shards = Cache(limit)
    for asked in (
        {"bbox": BOX, "attributes": "all"},
        {"objects": ids[::40]},
        {"bbox": BOX, "objects": ids[:50], "attributes": ["a"]},
        {},
    ):
        for _ in range(2):
            a, b = full.read(**asked), forgetful.read(**asked)
            assert a.positions.tobytes() == b.positions.tobytes()
            assert a.object_ids.tobytes() == b.object_ids.tobytes()
            assert a.vertex_ids.tobytes() == b.vertex_ids.tobytes()
            assert all((a.attributes[k] == b.attributes[k]).all() for k in a.attributes)
        assert parts._used <= limit
        assert shards._used <= limit


# ---- ranges and blocks ---------------------------------------------------------------------------


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=60),
    gaps=st.lists(st.integers(0, 9), min_size=60, max_size=60),
    most=st.integers(1, 200),
)
def test_no_joined_range_is_much_longer_than_it_may_be(
    sizes: list[int], gaps: list[int], most: int
) -> None:
    stop = np.cumsum([s + g for s, g in zip(sizes, gaps, strict=False)])
    start = stop - sizes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_fetch, "RANGE_BYTES", most)
        request, ranges = _fetch._joined(start, stop)
    assert (ranges[request, 0] <= start).all()
    assert (stop <= ranges[request, 1]).all()
    assert (ranges[:, 1] - ranges[:, 0] <= most + max(sizes) + 9).all()
    assert sorted(set(request.tolist())) == list(range(len(ranges)))


@given(
    lo=st.tuples(st.floats(-30, 30), st.floats(-30, 30)),
    size=st.tuples(st.floats(0, 30), st.floats(0, 30)),
    most=st.integers(1, 40),
)
def test_the_blocks_of_a_box_are_those_of_the_cells_that_it_touches(
    lo: tuple[float, float], size: tuple[float, float], most: int
) -> None:
    grid = Grid.for_bounds(Box(np.full(2, -40.0), np.full(2, 40.0)), (1.0, 1.0))
    box = Box(np.array(lo), np.array(lo) + size)
    near = np.stack(np.meshgrid(*[np.arange(-80, 80)] * 2), axis=-1).reshape(-1, 2)
    cells = (near - np.array(grid.origin)) @ grid.strides
    other = Box(box.lo + 3.5, box.hi + 5)
    touched = {tuple(b) for b in grid.blocks(cells[grid.touching(box, cells)])[0].tolist()}
    both = Box(np.stack([box.lo, other.lo]), np.stack([box.hi, other.hi]))
    blocks, alone = grid.blocks_of(both, most)
    assert alone == grid.blocks_of(Box(other.lo[None], other.hi[None]), most)[0]
    assert set(blocks) == (touched if len(touched) <= most else set())
    assert len(blocks) == len(set(blocks))
