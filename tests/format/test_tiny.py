"""Shards of small cells are the same, byte for byte, whether made one by one or all at once."""

from __future__ import annotations

import google_crc32c
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zv_versioned.errors import IntegrityError
from zv_versioned.format import cells as one_by_one
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


def _stored(
    rng: np.random.Generator, codec: CellCodec, n: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cells side by side, where each begins and ends, and the sizes of their payloads."""
    sizes = rng.integers(0, TINY - HEADER, n)
    cells = [codec.encode(rng.integers(0, 256, size).astype("u1").tobytes()) for size in sizes]
    lengths = np.array([len(cell) for cell in cells], np.int64)
    stops = np.cumsum(lengths)
    raw = np.frombuffer(b"".join(cells), np.uint8).copy()
    return raw, stops - lengths, stops, sizes


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 40),
    cname=st.sampled_from(["lz4", "zstd"]),
    typesize=st.sampled_from([1, 4, 12]),
)
def test_read_all_at_once_they_are_what_they_are_one_by_one(
    seed: int, n: int, cname: str, typesize: int
) -> None:
    rng = np.random.default_rng(seed)
    raw, starts, stops, sizes = _stored(rng, CellCodec(typesize, cname=cname), n)
    order = rng.permutation(n)
    begins = np.empty(n, np.int64)
    begins[order] = 5 + np.cumsum(sizes[order]) - sizes[order]
    out = np.full(5 + int(sizes.sum()), 7, np.uint8)
    done = tiny.unpack(raw, starts, stops, sizes, out, begins)
    assert done.all()
    assert (out[:5] == 7).all()
    for start, stop, size, begin in zip(starts, stops, sizes, begins, strict=True):
        payload = bytes(one_by_one.decode(raw[start:stop].tobytes()))
        assert out[begin : begin + size].tobytes() == payload


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 8), bit=st.integers(0, 7), data=st.data())
def test_any_flipped_bit_is_found_or_left_to_be_found_one_by_one(
    seed: int, n: int, bit: int, data: st.DataObject
) -> None:
    raw, starts, stops, sizes = _stored(np.random.default_rng(seed), CellCodec(4), n)
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= 1 << bit
    out, begins = np.zeros(int(sizes.sum()), np.uint8), np.cumsum(sizes) - sizes
    hit = int(np.searchsorted(stops, at, side="right"))
    try:
        done = tiny.unpack(raw, starts, stops, sizes, out, begins)
    except IntegrityError:
        return
    assert np.flatnonzero(~done).tolist() == [hit]
    with pytest.raises(IntegrityError):
        one_by_one.decode_framed(raw[starts[hit] : stops[hit]], np.empty(sizes[hit] + HEADER, "u1"))


def test_cells_of_another_size_or_cut_short_are_left_to_be_refused_one_by_one() -> None:
    raw, starts, stops, sizes = _stored(np.random.default_rng(3), CellCodec(4), 4)
    sizes[1] += 1
    out, begins = np.zeros(int(sizes.sum()), np.uint8), np.cumsum(sizes) - sizes
    done = tiny.unpack(raw[:-1], starts, stops, sizes, out, begins)
    assert done.tolist() == [True, False, True, False]


def test_cells_that_blosc_did_compress_are_left_to_it() -> None:
    payload = bytes(64)
    framed = np.frombuffer(b"\x01\0\0\0\x40\0\0\0" + payload, np.uint8).copy()
    packed = bytearray(CellCodec(4)._encode_tiny(framed))
    packed[2] &= ~one_by_one.COPIED  # as if it were compressed
    cell = bytes(packed) + google_crc32c.value(bytes(packed)).to_bytes(4, "little")
    out = np.full(64, 9, np.uint8)
    one = np.zeros(1, np.int64)
    done = tiny.unpack(np.frombuffer(cell, np.uint8), one, one + len(cell), one + 64, out, one)
    assert not done.any()
    assert (out == 9).all()
