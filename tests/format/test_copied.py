"""Shards of cells that are stored as they are, made and read all at once."""

from __future__ import annotations

import google_crc32c
import numpy as np
import pytest
import zarr
import zarr.storage
from hypothesis import given, settings
from hypothesis import strategies as st

from zv_versioned.errors import IntegrityError
from zv_versioned.format import cells as one_by_one
from zv_versioned.format import copied, shards
from zv_versioned.format.cells import HEADER, UNCOMPRESSED, CellCodec


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 60),
    typesize=st.sampled_from([1, 2, 4, 8, 12]),
    shuffle=st.sampled_from(["noshuffle", "shuffle", "bitshuffle"]),
)
def test_what_blosc_does_not_compress_is_the_same_all_at_once_or_one_by_one(
    seed: int, n: int, typesize: int, shuffle: str
) -> None:
    rng = np.random.default_rng(seed)
    codec = CellCodec(typesize, shuffle=shuffle)
    places = rng.permutation(64)[:n]
    sizes = rng.integers(0, UNCOMPRESSED - HEADER, n)
    payload = rng.integers(0, 256, sizes.sum()).astype("u1")
    assert copied.fits(payload, sizes, codec)
    parts = np.split(payload, np.cumsum(sizes)[:-1])
    cells = [(p, [codec.encode(part.tobytes())]) for p, part in zip(places, parts, strict=True)]
    assert copied.pack(64, places, sizes, payload, codec) == shards.pack(64, cells)


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 12),
    largest=st.sampled_from([1, 100, 500, 5000, 70000]),
    typesize=st.sampled_from([1, 2, 4, 8, 12, 255]),
    shuffle=st.sampled_from(["noshuffle", "shuffle", "bitshuffle"]),
)
def test_zarr_reads_cells_that_are_stored_as_they_are(
    seed: int, n: int, largest: int, typesize: int, shuffle: str
) -> None:
    rng = np.random.default_rng(seed)
    codec = CellCodec(typesize, shuffle=shuffle)
    sizes = rng.integers(0, largest, n)
    payload = rng.integers(0, 256, sizes.sum()).astype("u1")
    shard = copied.pack(n, np.arange(n), sizes, payload, codec)
    array = zarr.create_array(
        zarr.storage.MemoryStore(),
        shape=(n,),
        chunks=(1,),
        shards=(n,),
        dtype="variable_length_bytes",
        serializer={"name": "vlen-bytes"},
        compressors=codec.to_metadata()[1:],
    )
    zarr.core.sync.sync(
        array.store.set("c/0", zarr.core.buffer.cpu.Buffer.from_bytes(bytes(shard)))
    )
    parts = np.split(payload, np.cumsum(sizes)[:-1])
    assert [bytes(cell) for cell in array[:]] == [part.tobytes() for part in parts]


def _fits(rows: np.ndarray, cells: int, codec: CellCodec) -> bool:
    raw = rows.view("u1")
    return copied.fits(raw, np.full(cells, len(raw) // cells), codec)


def test_small_cells_are_copied_where_compressing_them_would_gain_little() -> None:
    noise = np.random.default_rng(0).random(4096).astype("<f4")
    assert _fits(noise, 64, CellCodec(4))  # 256 bytes a cell
    assert not _fits(np.ones(4096, "<f4"), 64, CellCodec(4))
    assert not _fits(np.arange(4096, dtype="<i8"), 64, CellCodec(8))


def test_large_cells_are_left_to_blosc() -> None:
    noise = np.random.default_rng(0).random(4096).astype("<f4")
    assert _fits(noise, 17, CellCodec(4))
    assert not _fits(noise, 16, CellCodec(4))  # 1,024 bytes a cell


@pytest.mark.parametrize("values", [np.zeros(64), np.random.default_rng(1).random(64)])
def test_what_blosc_does_not_compress_anyway_is_always_copied(values: np.ndarray) -> None:
    assert _fits(values.astype("<f4"), 4, CellCodec(4))


def test_other_codecs_than_those_of_cells_are_not_copied() -> None:
    assert not _fits(np.zeros(4, "<f4"), 4, CellCodec(4, cname="zstd"))


def _stored(
    rng: np.random.Generator, codec: CellCodec, n: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cells side by side, where each begins and ends, and the sizes of their payloads."""
    sizes = rng.integers(0, UNCOMPRESSED - HEADER, n)
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
    done = copied.unpack(raw, starts, stops, sizes, out, begins)
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
        done = copied.unpack(raw, starts, stops, sizes, out, begins)
    except IntegrityError:
        return
    assert np.flatnonzero(~done).tolist() == [hit]
    with pytest.raises(IntegrityError):
        one_by_one.decode_framed(raw[starts[hit] : stops[hit]], np.empty(sizes[hit] + HEADER, "u1"))


def test_cells_of_another_size_or_cut_short_are_left_to_be_refused_one_by_one() -> None:
    raw, starts, stops, sizes = _stored(np.random.default_rng(3), CellCodec(4), 4)
    sizes[1] += 1
    out, begins = np.zeros(int(sizes.sum()), np.uint8), np.cumsum(sizes) - sizes
    done = copied.unpack(raw[:-1], starts, stops, sizes, out, begins)
    assert done.tolist() == [True, False, True, False]


def test_cells_that_blosc_did_compress_are_left_to_it() -> None:
    payload = bytes(64)
    framed = np.frombuffer(b"\x01\0\0\0\x40\0\0\0" + payload, np.uint8).copy()
    packed = bytearray(CellCodec(4)._encode_copied(framed))
    packed[2] &= ~one_by_one.COPIED  # as if it were compressed
    cell = bytes(packed) + google_crc32c.value(bytes(packed)).to_bytes(4, "little")
    out = np.full(64, 9, np.uint8)
    one = np.zeros(1, np.int64)
    done = copied.unpack(np.frombuffer(cell, np.uint8), one, one + len(cell), one + 64, out, one)
    assert not done.any()
    assert (out == 9).all()


@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([0, 1, 12, 36, 104, 105]))
def test_a_flipped_bit_is_found_also_in_cells_that_are_read_together(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    n = 600
    cells = [CellCodec(4).encode(rng.bytes(size)) for _ in range(n)]
    raw = np.frombuffer(b"".join(cells), np.uint8).copy()
    starts = np.arange(n) * len(cells[0])
    stops, sizes, begins = starts + len(cells[0]), np.full(n, size), np.arange(n) * size
    out = np.zeros(n * size, np.uint8)
    assert copied.unpack(raw, starts, stops, sizes, out, begins).all()
    assert out.tobytes() == b"".join(bytes(one_by_one.decode(memoryview(c))) for c in cells)
    at = int(rng.integers(len(raw)))
    raw[at] ^= 1 << int(rng.integers(8))
    try:
        done = copied.unpack(raw, starts, stops, sizes, out, begins)
    except IntegrityError:
        return
    assert np.flatnonzero(~done).tolist() == [at // len(cells[0])]


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), typesize=st.sampled_from([1, 4, 12]))
def test_many_cells_of_a_few_sizes_are_laid_as_each_by_itself(seed: int, typesize: int) -> None:
    rng = np.random.default_rng(seed)
    codec = CellCodec(typesize)
    places, sizes = rng.permutation(2048), rng.choice([0, 4, 12, 24, 100], 2048)
    payload = rng.integers(0, 256, sizes.sum()).astype("u1")
    parts = np.split(payload, np.cumsum(sizes)[:-1])
    cells = [(p, [codec.encode(part.tobytes())]) for p, part in zip(places, parts, strict=True)]
    assert copied.pack(2048, places, sizes, payload, codec) == shards.pack(2048, cells)
