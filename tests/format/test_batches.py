"""The index of a batch: encoded, laid in a shard, and read back part by part."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zv_versioned.errors import IntegrityError
from zv_versioned.format import batches, cells, columns, shards
from zv_versioned.format.batches import BatchIndex, FragmentPage

MAX_ID = 2**63 - 1


def random_index(
    seed: int, n_cells: int, n_objects: int, most: int, ids: str, bare: int = 0
) -> BatchIndex:
    """A sound index: the last `bare` objects have no fragment; each object's order is its own."""
    rng = np.random.default_rng(seed)
    n_owners = max(1, n_objects - bare)
    cell_fragments = rng.integers(1, most + 1, n_cells)
    cell_fragments[-1] += n_owners
    n = int(cell_fragments.sum())
    fragment_object = np.concatenate([rng.permutation(n_owners), rng.integers(0, n_owners, n)])
    fragment_object = rng.permutation(fragment_object[:n])
    fragment_vertices = rng.integers(1, 5, n)
    starts = np.cumsum(cell_fragments) - cell_fragments
    shuffled = rng.permutation(n)
    first = {"run": 0, "high run": MAX_ID - n_objects + 1}
    if ids in first:
        object_ids = first[ids] + np.arange(n_objects)
    else:
        object_ids = np.unique(rng.integers(0, MAX_ID, 2 * n_objects + 1))[-n_objects:]
        object_ids[-1] = MAX_ID
    return BatchIndex(
        cells=np.unique(rng.integers(0, 2**60, 2 * n_cells + 1))[:n_cells],
        cell_vertices=np.add.reduceat(fragment_vertices, starts),
        cell_fragments=cell_fragments,
        fragment_object=fragment_object,
        fragment_vertices=fragment_vertices,
        object_ids=object_ids,
        object_is_new=rng.random(n_objects) < 0.5 if seed % 2 else np.ones(n_objects, bool),
        object_fragments=np.bincount(fragment_object, minlength=n_objects),
        order=shuffled[np.argsort(fragment_object[shuffled], kind="stable")],
    )


indexes = st.builds(
    random_index,
    seed=st.integers(0, 2**32),
    n_cells=st.integers(1, 40),
    n_objects=st.integers(1, 40),
    most=st.sampled_from([1, 3, 30]),
    ids=st.sampled_from(["run", "high run", "sparse"]),
    bare=st.sampled_from([0, 0, 1, 9]),
)


def stored(index: BatchIndex) -> tuple[bytes, int]:
    """The shard of an index, and the length of its first section, as a batch's row has it."""
    encoded = batches.encode(index)
    shard = shards.pack(batches.SECTIONS, [(place, [cell]) for place, cell in encoded])
    return shard, len(encoded[0][1])


def read(shard: bytes, head_bytes: int, n_objects: int, id_min: int) -> BatchIndex:
    """Read all that a shard says, by the ranges of the head's directory alone."""
    view = memoryview(shard)
    head = batches.decode_head(cells.decode(view[:head_bytes]), head_bytes)

    def section(place: int) -> memoryview | None:
        start, stop = int(head.section_start[place]), int(head.section_stop[place])
        return cells.decode(view[start:stop]) if stop else None

    def pages(first: int, ends: np.ndarray) -> list[memoryview]:
        found = [section(first + page) for page in range(len(ends))]
        assert None not in found
        return found

    ids, is_new = batches.decode_ids(section(batches.IDS), n_objects, id_min)
    by_cell = [batches.decode_fragments(p) for p in pages(batches.FRAGMENTS, head.cell_page_end)]
    by_object = [batches.decode_objects(p) for p in pages(batches.OBJECTS, head.object_page_end)]
    # Every page ends where its last cell, or its last object, does.
    assert [len(page.object) for page in by_cell] == np.diff(
        head.fragment_start[head.cell_page_end], prepend=0
    ).tolist()
    assert np.cumsum([len(counts) for counts, _ in by_object]).tolist() == list(
        head.object_page_end
    )
    assert all(len(order) == counts.sum() for counts, order in by_object)
    assert head.vertex_start[0] == head.fragment_start[0] == 0
    assert np.diff(head.vertex_start).tolist() == head.cell_vertices.tolist()
    assert np.diff(head.fragment_start).tolist() == head.cell_fragments.tolist()
    fragments = FragmentPage.concatenate(by_cell)
    assert np.diff(head.link_start).tolist() == head.cell_links.tolist()
    return BatchIndex(
        cells=head.cells,
        cell_vertices=head.cell_vertices,
        cell_fragments=head.cell_fragments,
        fragment_object=fragments.object,
        fragment_vertices=fragments.vertices,
        object_ids=ids,
        object_is_new=is_new,
        object_fragments=np.concatenate([counts for counts, _ in by_object]),
        order=np.concatenate([order for _, order in by_object]),
        cell_links=head.cell_links,
        fragment_rank=fragments.rank,
        fragment_ends=fragments.ends,
    )


@given(index=indexes, page_rows=st.sampled_from([1, 7, 1 << 16]), lines=st.booleans())
def test_an_index_comes_back_as_it_was(index: BatchIndex, page_rows: int, lines: bool) -> None:
    if lines:
        rng = np.random.default_rng(len(index.order))
        index = replace(
            index,
            cell_links=rng.integers(0, 9, len(index.cells)),
            fragment_rank=rng.integers(0, 9, len(index.order)),
            fragment_ends=rng.random(len(index.order)) < 0.5,
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "_PAGE_ROWS", page_rows)
        shard, head_bytes = stored(index)
    found = read(shard, head_bytes, len(index.object_ids), int(index.object_ids[0]))
    for field in fields(BatchIndex):
        expected = getattr(index, field.name)
        if expected is None:
            none = np.zeros(len(index.cells)).tolist() if field.name == "cell_links" else None
            there = getattr(found, field.name)
            assert (there if there is None else there.tolist()) == none, field.name
        else:
            assert getattr(found, field.name).tolist() == expected.tolist(), field.name
    assert found.vertex_count == index.fragment_vertices.sum()


@given(index=indexes)
def test_the_head_and_the_shard_s_own_index_agree(index: BatchIndex) -> None:
    shard, head_bytes = stored(index)
    start, stop = shards.read_index(memoryview(shard), batches.SECTIONS)
    head = batches.decode_head(cells.decode(memoryview(shard)[:head_bytes]), head_bytes)
    assert (start[0], stop[0]) == (0, head_bytes)
    assert np.maximum(start, 0)[1:].tolist() == head.section_start[1:].tolist()
    assert np.maximum(stop, 0)[1:].tolist() == head.section_stop[1:].tolist()


@pytest.mark.parametrize("page_rows", [1, 10, 100, 1 << 16])
def test_pages_are_even_and_no_more_than_there_is_room_for(
    page_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "_PAGE_ROWS", page_rows)
    index = random_index(3, 500, 300, 3, "run")
    shard, head_bytes = stored(index)
    head = batches.decode_head(cells.decode(memoryview(shard)[:head_bytes]), head_bytes)
    rows = np.diff(head.fragment_start[head.cell_page_end], prepend=0)
    expected = min(batches.PAGES, -(-len(index.order) // page_rows))
    assert len(rows) <= expected
    assert len(head.object_page_end) <= expected
    # A page is a share of the rows, and at most one cell more on either side.
    assert rows.max() <= len(index.order) / expected + 2 * index.cell_fragments.max()


def test_one_enormous_cell_makes_one_page_and_the_rest_still_has_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batches, "_PAGE_ROWS", 4)
    index = random_index(5, 3, 200, 1, "run")  # its last cell has 200 fragments
    shard, head_bytes = stored(index)
    found = read(shard, head_bytes, 200, 0)
    assert found.fragment_object.tolist() == index.fragment_object.tolist()


def test_ids_that_are_a_run_and_new_are_not_stored() -> None:
    run = random_index(4, 5, 9, 2, "high run")
    assert batches.IDS not in dict(batches.encode(run))
    sparse = random_index(4, 5, 9, 2, "sparse")
    assert batches.IDS in dict(batches.encode(sparse))
    going_on = random_index(7, 5, 9, 2, "run")
    assert not going_on.object_is_new.all()
    assert batches.IDS in dict(batches.encode(going_on))


@pytest.mark.parametrize(
    ("ids", "expected"),
    [([], False), ([0], True), ([MAX_ID], True), ([3, 4, 5], True), ([3, 5], False),
     ([0, MAX_ID], False), ([MAX_ID - 1, MAX_ID], True)],
)  # fmt: skip
def test_a_run_of_ids_is_told_from_one_with_gaps(ids: list[int], expected: bool) -> None:
    assert batches.is_run(np.array(ids, np.int64)) is expected


@example(values=[2**31 - 1])
@example(values=[2**31])
@given(values=st.lists(st.one_of(st.integers(0, 2**31), st.integers(0, MAX_ID)), max_size=5))
def test_narrowing_changes_no_value(values: list[int]) -> None:
    narrowed = batches.narrow(np.array(values, np.int64))
    assert narrowed.tolist() == values
    assert narrowed.itemsize == (4 if max(values, default=0) < 2**31 else 8)


@pytest.mark.parametrize("lost", ["cell", "vertices", "fragments", "cell_page_end", "directory"])
def test_a_head_without_one_of_its_columns_is_damaged(lost: str) -> None:
    shard, head_bytes = stored(random_index(0, 5, 5, 2, "run"))
    table = columns.unpack(cells.decode(memoryview(shard)[:head_bytes]))
    del table[lost]
    with pytest.raises(IntegrityError, match=f"lacks {lost}"):
        batches.decode_head(memoryview(columns.pack(table)), head_bytes)


@pytest.mark.parametrize("n", [2, 4])
def test_ids_that_are_more_or_fewer_than_the_table_says_are_damage(n: int) -> None:
    payload = memoryview(columns.pack({"id": np.array([2, 5, 9])}))
    with pytest.raises(IntegrityError, match=f"a batch of {n} objects stores 3 ids"):
        batches.decode_ids(payload, n, 2)
    marks = memoryview(columns.pack({"is_new": np.array([1, 0, 1], "u1")}))
    with pytest.raises(IntegrityError):
        batches.decode_ids(marks, n, 2)
