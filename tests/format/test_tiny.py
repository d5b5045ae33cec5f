"""Shards of small cells are the same, byte for byte, whether made one by one or all at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zv_versioned.format import shards, tiny
from zv_versioned.format.cells import HEADER, TINY, CellCodec


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 60),
    typesize=st.sampled_from([1, 2, 4, 8, 12]),
    shuffle=st.sampled_from(["noshuffle", "shuffle", "bitshuffle"]),
)
def test_all_at_once_is_as_one_by_one(seed: int, n: int, typesize: int, shuffle: str) -> None:
    rng = np.random.default_rng(seed)
    codec = CellCodec(typesize, shuffle=shuffle)
    places = rng.permutation(64)[:n]
    sizes = rng.integers(0, TINY - HEADER, n)
    payload = rng.integers(0, 256, sizes.sum()).astype("u1")
    assert tiny.fits(int(sizes.max()), codec)
    parts = np.split(payload, np.cumsum(sizes)[:-1])
    cells = [(p, [codec.encode(part.tobytes())]) for p, part in zip(places, parts, strict=True)]
    assert tiny.pack(64, places, sizes, payload, codec) == shards.pack(64, cells)


@pytest.mark.parametrize(
    ("largest", "cname", "expected"),
    [(TINY - HEADER - 1, "lz4", True), (TINY - HEADER, "lz4", False), (4, "zstd", False)],
)
def test_what_blosc_would_compress_is_left_to_it(largest: int, cname: str, expected: bool) -> None:
    assert tiny.fits(largest, CellCodec(4, cname=cname)) is expected
