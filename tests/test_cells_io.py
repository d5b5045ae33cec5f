"""Rows of an array of cells: written by shard, read by cell, whatever way they are fetched."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from zarr.core.buffer import cpu
from zarr.storage import MemoryStore

from zv_versioned import _cells_io
from zv_versioned._cache import Cache
from zv_versioned._cells_io import Blocks, check_payloads, encode_rows
from zv_versioned.errors import ArrayError, IntegrityError
from zv_versioned.format import shards
from zv_versioned.format.cells import MAX_PAYLOAD, CellCodec
from zv_versioned.reading import fetch
from zv_versioned.reading.fetch import read_rows
from zv_versioned.reading.wanted import Target, Wanted
from zv_versioned.spatial.boxes import Box
from zv_versioned.spatial.grid import Grid

GRID = Grid.for_bounds(Box(np.zeros(2), np.full(2, 40.0)), (1.0, 1.0))
KINDS = [("f4", (3,)), ("f8", ()), ("?", ()), ("u1", (2,)), ("i8", ()), ("f2", (5,))]


class Watched(MemoryStore):
    """Tells which parts of which keys were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, Any]] = []

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        self.asked.append((key, byte_range))
        return await super().get(key, prototype, byte_range)


class Batch:
    """A batch of random rows: where they lie in a store, and what they are, cell by cell."""

    def __init__(
        self, rng: np.random.Generator, slot: int, n_cells: int, most: int, spread: int
    ) -> None:
        near = np.unique(rng.integers(0, spread, (n_cells, 2)) + 1024, axis=0)
        self.slot = slot
        self.cells = np.unique(near @ GRID.strides)
        self.cell_vertices = rng.integers(1, most + 1, len(self.cells))
        self.n = int(self.cell_vertices.sum())
        self.order = rng.permutation(self.n)

    def write(self, store: MemoryStore, rows: np.ndarray) -> None:
        blocks = Blocks.of(self.cells, GRID)
        codec = CellCodec(rows.dtype.itemsize)
        for block, shard in encode_rows(
            rows, self.order, self.cell_vertices, blocks, GRID.places, codec
        ):
            key = "/".join(map(str, ("a", "c", self.slot, *block)))
            store._store_dict[key] = cpu.Buffer.from_bytes(shard)

    def wanted(self, at: np.ndarray) -> Wanted:
        return Wanted(self.slot, self.cells[at], self.cell_vertices[at], len(self.cells), self.n)


def rows_of(rng: np.random.Generator, n: int, kind: tuple[str, tuple[int, ...]]) -> np.ndarray:
    dtype, shape = kind
    return (rng.random((n, *shape)) * 250).astype(dtype)


def read(
    store: MemoryStore, wanted: list[Wanted], kind: tuple[str, tuple[int, ...]], cache: Cache
) -> np.ndarray:
    dtype = np.dtype(kind[0])
    row_bytes = dtype.itemsize * int(np.prod(kind[1], dtype=int))
    target = Target.empty("a", row_bytes, wanted)
    read_rows(store, GRID, [target], cache)
    return target.rows(dtype, kind[1])


@given(
    seed=st.integers(0, 2**32),
    kind=st.sampled_from(KINDS),
    n_batches=st.integers(1, 3),
    n_cells=st.sampled_from([1, 3, 40]),
    most=st.sampled_from([1, 5, 200]),
    spread=st.sampled_from([1, 10, 40]),
    whole=st.sampled_from([0, 512 * 1024]),
    gap=st.sampled_from([0, 300, 64 * 1024]),
)
def test_any_cells_come_back_in_order_however_they_are_fetched(
    seed: int,
    kind: tuple[str, tuple[int, ...]],
    n_batches: int,
    n_cells: int,
    most: int,
    spread: int,
    whole: int,
    gap: int,
) -> None:
    rng = np.random.default_rng(seed)
    store, cache = MemoryStore(), Cache(1 << 20)
    expected, wanted = [], []
    for slot in range(n_batches):
        batch = Batch(rng, slot, n_cells, most, spread)
        rows = rows_of(rng, batch.n, kind)
        batch.write(store, rows)
        ends = np.cumsum(batch.cell_vertices)
        at = np.flatnonzero(rng.random(len(batch.cells)) < rng.choice([0.2, 1.0]))
        sorted_rows = rows[batch.order]
        expected += [sorted_rows[ends[c] - batch.cell_vertices[c] : ends[c]] for c in at]
        # Cells of a batch may also be asked for in several pieces.
        wanted += [batch.wanted(piece) for piece in np.array_split(at, rng.integers(1, 4))]
    expected.append(rows[:0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetch, "WHOLE_BATCH_BYTES", whole)
        patch.setattr(fetch, "_GAP_BYTES", gap)
        for _ in range(2):  # a second time with the shards' indexes known
            found = read(store, wanted, kind, cache)
            assert found.tobytes() == np.concatenate(expected).tobytes()


def test_nothing_wanted_is_nothing_read() -> None:
    store = Watched()
    assert read(store, [], ("f4", (3,)), Cache(100)).shape == (0, 3)
    assert store.asked == []


@given(cells=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=30, unique=True))
def test_cells_are_grouped_by_the_block_that_they_lie_in(cells: list[tuple[int, int]]) -> None:
    numbers = np.sort(np.array(cells, int).reshape(-1, 2) @ GRID.strides)
    blocks = Blocks.of(numbers, GRID)
    assert len(set(blocks.keys)) == len(blocks.keys)
    seen = []
    for key, rows, places in zip(blocks.keys, blocks.rows, blocks.places, strict=True):
        assert (np.diff(rows) > 0).all()
        inner = np.stack(np.unravel_index(places, GRID.block), axis=-1)
        found = np.array(key) * GRID.block + inner
        assert found.tolist() == GRID.coordinates(numbers[rows]).tolist()
        seen += rows.tolist()
    assert sorted(seen) == list(range(len(numbers)))


@given(
    spans=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5)), min_size=1, max_size=20),
    gap=st.integers(0, 6),
    data=st.data(),
)
def test_ranges_are_joined_over_small_gaps_and_no_others(
    spans: list[tuple[int, int]], gap: int, data: st.DataObject
) -> None:
    sizes = itertools.accumulate(itertools.chain.from_iterable(spans))
    edges = np.array(list(sizes)).reshape(-1, 2)
    order = data.draw(st.permutations(range(len(edges))))
    start, stop = edges[list(order)].T
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetch, "_GAP_BYTES", gap)
        request, ranges = fetch._joined(start, stop)
    assert (ranges[request, 0] <= start).all()
    assert (stop <= ranges[request, 1]).all()
    assert (ranges[1:, 0] - ranges[:-1, 1] > gap).all()
    inside = sum(int(b - a) for a, b in ranges)
    assert inside <= (stop - start).sum() + gap * (len(edges) - len(ranges))


# --- how much is fetched ------------------------------------------------------------------------


def large() -> tuple[Watched, Batch]:
    rng = np.random.default_rng(0)
    store, batch = Watched(), Batch(rng, 0, 60, 4000, 12)
    batch.write(store, rows_of(rng, batch.n, ("f8", ())))
    assert batch.n * 8 > fetch.WHOLE_BATCH_BYTES
    return store, batch


def test_a_few_cells_of_a_large_batch_are_fetched_by_range_and_the_index_only_once() -> None:
    store, batch = large()
    cache = Cache(1 << 20)
    read(store, [batch.wanted(np.array([3]))], ("f8", ()), cache)
    assert [None not in request for request in store.asked] == [True, True]
    index, cell = (span for _, span in store.asked)
    assert index.suffix == shards.index_size(GRID.places)
    assert cell.end - cell.start < 5000 * 9
    store.asked.clear()
    read(store, [batch.wanted(np.array([5]))], ("f8", ()), cache)
    assert len(store.asked) == 1


@pytest.mark.parametrize("group_bytes", [1, 20_000, 1 << 30])
def test_many_batches_are_read_the_same_in_groups_of_any_size(
    group_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    store, batches = Watched(), []
    for slot in range(5):
        batch = Batch(rng, slot, 40, 30, 30)
        rows = rows_of(rng, batch.n, ("u1", ()))
        batch.write(store, rows)
        batches.append(batch)
    wanted = [b.wanted(np.sort(rng.permutation(len(b.cells))[:25])) for b in batches]
    monkeypatch.setattr(fetch, "_PIECE_BYTES", 1 << 30)
    expected = read(store, wanted, ("u1", ()), Cache(1 << 20))
    monkeypatch.setattr(fetch, "_PIECE_BYTES", group_bytes)
    np.testing.assert_array_equal(read(store, wanted, ("u1", ()), Cache(1 << 20)), expected)


def test_all_cells_of_a_batch_are_fetched_whole() -> None:
    store, batch = large()
    read(store, [batch.wanted(np.arange(len(batch.cells)))], ("f8", ()), Cache(1 << 20))
    assert {span for _, span in store.asked} == {None}
    assert len(store.asked) == len(store._store_dict)


# --- damage -------------------------------------------------------------------------------------


def test_a_shard_that_is_missing_is_named() -> None:
    store, batch = large()
    key = next(iter(store._store_dict))
    del store._store_dict[key]
    with pytest.raises(IntegrityError, match=key):
        read(store, [batch.wanted(np.arange(len(batch.cells)))], ("f8", ()), Cache(100))


def test_a_cell_that_the_shard_does_not_have_is_an_error_that_names_the_shard() -> None:
    store, batch = large()
    beside = np.array([int(np.setdiff1d(batch.cells + 1, batch.cells)[0])])
    wanted = Wanted(0, beside, np.array([1]), len(batch.cells), batch.n)
    with pytest.raises(IntegrityError, match=r"shard 'a/c/0/.*lacks 1 cells"):
        read(store, [wanted], ("f8", ()), Cache(100))


@pytest.mark.parametrize("at", ["start", "middle", "index"])
@pytest.mark.parametrize("count", [1, 1000])
def test_a_flipped_bit_is_an_error_that_names_the_shard(at: str, count: int) -> None:
    store, batch = large()
    cells = np.arange(len(batch.cells))[:count]
    key = "/".join(map(str, ("a/c/0", *Blocks.of(batch.cells[:1], GRID).keys[0])))
    raw = bytearray(store._store_dict[key].to_bytes())
    start, stop = shards.read_index(memoryview(raw), GRID.places)
    place = Blocks.of(batch.cells[:1], GRID).places[0][0]
    where = {"start": start[place], "middle": (start[place] + stop[place]) // 2, "index": -30}[at]
    raw[where] ^= 16
    store._store_dict[key] = cpu.Buffer.from_bytes(bytes(raw))
    with pytest.raises(IntegrityError, match=key):
        read(store, [batch.wanted(cells)], ("f8", ()), Cache(100))


def test_a_cell_with_more_rows_than_the_index_says_is_an_error() -> None:
    store, batch = large()
    batch.cell_vertices[0] -= 1
    with pytest.raises(IntegrityError, match="index and its data disagree"):
        read(store, [batch.wanted(np.array([0]))], ("f8", ()), Cache(100))


@pytest.mark.parametrize(
    ("rows", "fits"), [(MAX_PAYLOAD // 12, True), (MAX_PAYLOAD // 12 + 1, False)]
)
def test_a_cell_that_no_cell_can_hold_is_refused_before_it_is_written(
    rows: int, fits: bool
) -> None:
    counts = np.array([1, rows, 2])
    if fits:
        check_payloads(counts, 12)
    else:
        with pytest.raises(ArrayError, match="smaller chunk_shape"):
            check_payloads(counts, 12)


# ---- cells encoded in several threads ----------------------------------------------


@given(seed=st.integers(0, 2**32 - 1), n_cells=st.integers(1, 40), given_order=st.booleans())
def test_cells_that_are_encoded_in_several_threads_are_those_that_are_encoded_in_one(
    seed: int, n_cells: int, given_order: bool
) -> None:
    rng = np.random.default_rng(seed)
    batch = Batch(rng, 0, n_cells, 400, 40)
    rows = rng.integers(0, 9, (batch.n, 3)).astype("f4")
    order = batch.order if given_order else None

    def encoded() -> list[tuple[Any, bytes]]:
        shards_of = encode_rows(
            rows,
            order,
            batch.cell_vertices,
            Blocks.of(batch.cells, GRID),
            GRID.places,
            CellCodec(4),
        )
        return [(block, bytes(shard)) for block, shard in shards_of]

    one_by_one = encoded()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_cells_io, "_LARGE_CELL", 0)
        patch.setattr(_cells_io, "_MANY_BYTES", 0)
        assert encoded() == one_by_one


def test_what_fails_in_a_thread_that_encodes_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cells_io, "_LARGE_CELL", 0)
    monkeypatch.setattr(_cells_io, "_MANY_BYTES", 0)
    batch = Batch(np.random.default_rng(0), 0, 40, 400, 40)
    rows = np.zeros((batch.n, 3), "f4")
    done: list[int] = []

    def fails(self: CellCodec, framed: np.ndarray) -> list[bytes]:
        done.append(len(framed))
        raise MemoryError("no room")

    monkeypatch.setattr(CellCodec, "encode_framed", fails)
    with pytest.raises(MemoryError, match="no room"):
        batch.write(MemoryStore(), rows)
    assert 0 < len(done) < len(batch.cells)
