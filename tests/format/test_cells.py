"""One cell: what goes in comes out, and no damage goes unnoticed."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numcodecs import blosc

from zv_versioned.errors import IntegrityError
from zv_versioned.format import cells
from zv_versioned.format.cells import HEADER, CellCodec

codecs = st.builds(
    CellCodec,
    typesize=st.sampled_from([1, 2, 4, 8, 12, 41]),
    cname=st.sampled_from(["lz4", "zstd"]),
    clevel=st.integers(0, 9),
    shuffle=st.sampled_from(["noshuffle", "shuffle", "bitshuffle"]),
)


def room(size: int) -> memoryview:
    return memoryview(bytearray(size))


def decoded(cell: bytes) -> bytes:
    return bytes(cells.decode(memoryview(cell)))


@given(payload=st.binary(max_size=3000), repeats=st.integers(1, 40), codec=codecs)
def test_a_payload_comes_back_as_it_was(payload: bytes, repeats: int, codec: CellCodec) -> None:
    payload *= repeats
    cell = codec.encode(payload)
    assert cells.payload_size(np.frombuffer(cell, np.uint8)) == len(payload)
    assert decoded(cell) == payload


@given(payload=st.binary(max_size=140), codec=codecs)
def test_a_small_cell_has_the_bytes_that_blosc_makes(payload: bytes, codec: CellCodec) -> None:
    framed = np.array([1, len(payload)], "<u4").tobytes() + payload
    shuffle = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}[codec.shuffle]
    name, level = codec.cname.encode(), codec.clevel
    made = blosc.compress(framed, name, level, shuffle, 0, codec.typesize)
    assert codec.encode(payload)[: -cells.CRC] == made
    assert blosc.decompress(codec.encode(payload)[: -cells.CRC]) == framed


@given(codec=codecs)
def test_a_codec_comes_back_from_its_document(codec: CellCodec) -> None:
    assert CellCodec.from_metadata(codec.to_metadata()) == codec


@pytest.mark.parametrize(
    "chain",
    [[], [{"name": "vlen-bytes"}], [{"name": "vlen-bytes"}, {"name": "zstd"}, {"name": "crc32c"}]],
)
def test_a_chain_of_other_codecs_is_refused(chain: list[dict[str, str]]) -> None:
    with pytest.raises(IntegrityError, match="not written by zv_versioned"):
        CellCodec.from_metadata(chain)


def test_encoding_needs_no_copy_and_leaves_the_payload_alone() -> None:
    framed = np.arange(HEADER + 100, dtype=np.uint8)
    cell = b"".join(CellCodec(4).encode_framed(framed))
    assert decoded(cell) == bytes(range(HEADER, HEADER + 100)) == bytes(framed[HEADER:])


def test_a_cell_is_decoded_in_place_and_nowhere_else() -> None:
    out = np.full(200, 7, np.uint8)
    stored = np.frombuffer(CellCodec(1).encode(b"abcdef"), np.uint8)
    cells.decode_framed(stored, out[50 : 50 + HEADER + 6])
    assert bytes(out[58:64]) == b"abcdef"
    assert (out[:50] == 7).all()
    assert (out[64:] == 7).all()


# Compressed, and too random to be compressed: blosc then stores a copy.
SAMPLES = [b"", b"x", b"abc" * 40, np.random.default_rng(1).bytes(61)]


@pytest.mark.parametrize("payload", SAMPLES)
@pytest.mark.parametrize("cname", ["lz4", "zstd"])
def test_any_single_flipped_bit_is_noticed(payload: bytes, cname: str) -> None:
    cell = CellCodec(4, cname).encode(payload)
    for at in range(len(cell)):
        for bit in range(8):
            damaged = bytearray(cell)
            damaged[at] ^= 1 << bit
            with pytest.raises(IntegrityError):
                cells.decode(memoryview(damaged))


@pytest.mark.parametrize("payload", SAMPLES)
def test_a_cell_cut_short_or_grown_is_noticed(payload: bytes) -> None:
    cell = CellCodec(4).encode(payload)
    for stop in range(len(cell)):
        with pytest.raises(IntegrityError):
            cells.decode(memoryview(cell[:stop]))
    with pytest.raises(IntegrityError):
        cells.decode(memoryview(cell + b"\0"))
    with pytest.raises(IntegrityError):
        cells.decode(memoryview(cell[1:]))


def test_a_damaged_size_is_not_believed() -> None:
    cell = bytearray(CellCodec(4).encode(b"abc" * 40))
    cell[7] ^= 0x40  # a gigabyte more
    tracemalloc.start()
    try:
        with pytest.raises(IntegrityError):
            cells.decode(memoryview(cell))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [0, 119, 121])
def test_a_cell_of_another_size_than_expected_is_an_error(size: int) -> None:
    cell = np.frombuffer(CellCodec(4).encode(b"abc" * 40), np.uint8)
    with pytest.raises(IntegrityError, match=f"holds 120 bytes where {size} belong"):
        cells.decode_framed(cell, np.empty(HEADER + size, np.uint8))


def test_a_sound_cell_that_is_not_one_framed_item_is_an_error() -> None:
    import google_crc32c
    from numcodecs import blosc

    packed = blosc.compress(b"\x02\0\0\0\x01\0\0\0ab", b"lz4", 1, 0, 0, 1)
    sealed = packed + google_crc32c.value(packed).to_bytes(4, "little")
    with pytest.raises(IntegrityError, match="frame"):
        cells.decode(memoryview(sealed))


@given(
    payloads=st.lists(st.binary(max_size=300), max_size=8),
    cname=st.sampled_from(["lz4", "zstd"]),
    most=st.sampled_from([1, 200, 1 << 20]),
    alone=st.booleans(),
)
@example(payloads=[b""] * 9 + [bytes(121)], cname="lz4", most=200, alone=False)
def test_cells_that_are_decoded_together_are_those_that_each_is(
    payloads: list[bytes], cname: str, most: int, alone: bool
) -> None:
    stored = [CellCodec(4, cname).encode(payload) for payload in payloads]
    raw = np.frombuffer(b"".join(stored) or b"-", np.uint8)
    ends = np.cumsum(list(map(len, stored))).tolist()
    parts = [(raw, end - len(cell), end) for cell, end in zip(stored, ends, strict=True)]
    if alone:
        parts = [(np.frombuffer(cell, np.uint8), 0, len(cell)) for cell in stored]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "_TOGETHER_BYTES", most)
        groups = list(cells.decode_each(parts, room))
    assert [bytes(payload) for group, _ in groups for payload in group] == payloads
    for group, held in groups:
        assert len(group) == 1 or held <= most
        assert sum(map(len, group)) <= held


@pytest.mark.parametrize("at", [0, 1, 2])
def test_damage_in_one_of_several_cells_is_noticed(at: int) -> None:
    stored = [bytearray(CellCodec(4, "zstd").encode(bytes(range(200)))) for _ in range(3)]
    stored[at][30] ^= 1
    parts = [(np.frombuffer(cell, np.uint8), 0, len(cell)) for cell in stored]
    with pytest.raises(IntegrityError, match="checksum"):
        list(cells.decode_each(parts, room))


def test_a_sound_cell_among_several_that_is_no_framed_item_is_an_error() -> None:
    codec = CellCodec(1, "zstd")
    framed = np.zeros(HEADER + 5, np.uint8)
    packed = codec.compress(framed)
    cell = packed + cells.google_crc32c.value(packed).to_bytes(4, "little")
    with pytest.raises(IntegrityError, match="not that of a single item"):
        list(cells.decode_each([(np.frombuffer(cell, np.uint8), 0, len(cell))], room))
