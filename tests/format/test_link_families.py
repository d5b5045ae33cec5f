"""Link families: what Zarr Vectors' own partitioner makes of the same links."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zv_versioned.format.link_families import (
    encode_across,
    is_within,
    lehmer_code,
    place,
    segment_name,
)

pytest.importorskip("zarr_vectors")
from zarr_vectors.core import paths
from zarr_vectors.encoding.ragged import decode_ragged_blob
from zarr_vectors.spatial import boundary

Cells = tuple[np.ndarray, np.ndarray]


@st.composite
def batches_of_cells(draw: st.DrawFn, width: int) -> Cells:
    """Cells of a batch, ascending by address, each with a vertex or more: starts, addresses."""
    far = draw(st.sampled_from([2, 1000, 2**50]))
    address = st.tuples(st.just(draw(st.integers(0, 9))), *[st.integers(-far, far)] * width)
    addresses = sorted(draw(st.sets(address, min_size=1, max_size=12)))
    counts = draw(st.lists(st.integers(1, 5), min_size=len(addresses), max_size=len(addresses)))
    return np.concatenate(([0], np.cumsum(counts))), np.array(addresses, np.int64)


@st.composite
def links_among(draw: st.DrawFn, vertices: int) -> np.ndarray:
    length = draw(st.integers(2, 4))
    vertex = st.integers(0, vertices - 1)
    rows = draw(st.lists(st.tuples(*[vertex] * length), max_size=30))
    return np.array(rows, np.int64).reshape(-1, length)


@given(data=st.data(), ndim=st.integers(1, 4))
def test_links_are_kept_where_the_peer_keeps_them(data: st.DataObject, ndim: int) -> None:
    starts, addresses = data.draw(batches_of_cells(ndim))
    links = data.draw(links_among(int(starts[-1])))
    cells = np.searchsorted(starts, links, side="right") - 1
    expected = boundary.partition_link_arrays(
        addresses[cells],
        links - starts[cells],
        link_width=links.shape[1],
        sid_ndim=ndim + 1,
        scale_src=(1,) * (ndim + 1),
        scale_trg=(1,) * (ndim + 1),
    )
    placed = place(links, starts, addresses)
    found = {}
    for number, offsets in enumerate(placed.segments):
        for cell in np.unique(placed.source):
            mine = np.flatnonzero((placed.segment == number) & (placed.source == cell))
            rows = placed.rows[mine]
            if not is_within(offsets):
                rows = np.column_stack([placed.code[mine], rows])
            else:
                assert not placed.code[mine].any()
            if len(mine):
                found[segment_name(offsets), tuple(addresses[cell].tolist())] = rows, mine
    assert found.keys() == expected.keys()
    for key, (rows, mine) in expected.items():
        assert found[key][0].tolist() == rows.tolist()
        assert found[key][1].tolist() == mine.tolist()


@given(data=st.data())
def test_a_segment_s_name_is_read_back(data: st.DataObject) -> None:
    width, ends = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 3))
    offset = st.tuples(*[st.integers(-(2**40), 2**40)] * width)
    offsets = data.draw(st.tuples(*[offset] * ends))
    name = segment_name(offsets)
    assert name == paths.format_offsets(offsets)
    assert paths.parse_offsets(name, sid_ndim=width, link_width=ends + 1) == offsets
    assert is_within(offsets) == paths.is_intra(offsets)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5])
def test_a_permutation_is_coded_as_the_peer_codes_it(length: int) -> None:
    every = list(permutations(range(length)))
    codes = lehmer_code(np.array(every)).tolist()
    assert codes == [boundary._lehmer_encode(order) for order in every]
    assert sorted(codes) == list(range(len(every)))


@given(data=st.data())
def test_a_cell_of_links_across_is_decoded_by_the_peer(data: st.DataObject) -> None:
    links = data.draw(links_among(2**40))
    codes = np.array(data.draw(st.lists(st.integers(0, 23), min_size=len(links))), np.int64)
    codes = codes[: len(links)]
    (group,) = decode_ragged_blob(
        encode_across(links, codes), np.dtype("i8"), ncols=1 + links.shape[1]
    )
    assert group.tolist() == np.column_stack([codes, links]).tolist()


def test_no_links_make_no_segments() -> None:
    placed = place(np.zeros((0, 3), np.int64), np.array([0, 2]), np.array([[0, 0, 0]]))
    assert placed.segments == []
    assert len(placed.source) == len(placed.segment) == len(placed.rows) == len(placed.code) == 0
