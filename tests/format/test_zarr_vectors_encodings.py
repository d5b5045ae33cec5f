"""Fragment tables and manifests: byte for byte what Zarr Vectors writes, and what it reads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zv_versioned.format.fragments import encode_ranges
from zv_versioned.format.manifests import encode_manifests

peer = pytest.importorskip("zarr_vectors.encoding.fragments")

counts_of_fragments = st.one_of(
    st.lists(st.integers(0, 2**40), max_size=20),
    st.sampled_from([7, 8, 9, 63, 64, 65, 511, 512]).map(lambda n: list(range(n))),
)


@given(counts=counts_of_fragments, narrow=st.booleans())
def test_a_fragment_table_is_what_the_peer_encodes_and_decodes(
    counts: list[int], narrow: bool
) -> None:
    dtype = np.int32 if narrow and max(counts, default=0) < 2**31 else np.int64
    blob = encode_ranges(np.array(counts, dtype))
    starts = np.cumsum([0, *counts])[:-1].tolist()
    assert blob == peer.encode_fragments(list(zip(starts, counts, strict=True)))
    table = peer.decode_fragments(blob)
    assert [table.range(f) for f in range(len(table))] == list(zip(starts, counts, strict=True))
    assert table.vertex_extent == sum(counts)
    assert not counts or table.tiles(sum(counts))


coordinate = st.integers(-(2**60), 2**60)


@st.composite
def manifests(draw: st.DrawFn) -> list[list[tuple[tuple[int, ...], int]]]:
    chunk = st.tuples(*[coordinate] * draw(st.integers(2, 5)))
    block = st.tuples(chunk, st.integers(0, 2**40))
    first = [draw(block)]  # so that the number of axes is known
    return [first, *draw(st.lists(st.lists(block, max_size=4), max_size=8))]


@given(expected=manifests())
def test_manifests_are_what_the_peer_encodes_and_decodes(
    expected: list[list[tuple[tuple[int, ...], int]]],
) -> None:
    blocks = [block for manifest in expected for block in manifest]
    width = len(blocks[0][0])
    blobs = encode_manifests(
        np.array([len(manifest) for manifest in expected]),
        np.array([chunk for chunk, _ in blocks], np.int64),
        np.array([fragment for _, fragment in blocks], np.int64),
    )
    assert blobs == peer.encode_object_manifests_many(expected, width)
    decoded, uniform = peer.decode_object_manifests_many(blobs, width)
    assert uniform
    assert decoded == expected
    assert [peer.decode_object_manifest_blocks(blob, width) for blob in blobs] == expected


def test_an_object_without_fragments_is_four_zero_bytes() -> None:
    none = np.zeros((0, 3), np.int64)
    assert encode_manifests(np.zeros(2, int), none, none[:, 0]) == [b"\0\0\0\0"] * 2
