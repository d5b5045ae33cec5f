"""Parts of a cell: what is wanted of it is as it was written, and no damage goes unnoticed."""

from __future__ import annotations

import google_crc32c
import numpy as np
import pytest
from _inflated import decompressed
from hypothesis import example, given
from hypothesis import strategies as st
from numcodecs import Blosc, blosc

from zv_versioned.errors import IntegrityError
from zv_versioned.format import blocks, cells
from zv_versioned.format.blocks import decode_rows
from zv_versioned.format.cells import CRC, HEADER, CellCodec

SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}
codecs = st.builds(
    CellCodec,
    typesize=st.sampled_from([1, 2, 3, 4, 8, 12, 16, 24, 41]),
    cname=st.sampled_from(["lz4", "lz4", "zstd"]),
    clevel=st.integers(0, 9),
    shuffle=st.sampled_from(list(SHUFFLES)),
)
FLOATS = CellCodec(typesize=4)


def payload_of(size: int, seed: int, values: int = 256) -> np.ndarray:
    """Bytes of which the first half says little."""
    rng = np.random.default_rng(seed)
    payload = rng.integers(0, values, size, dtype=np.uint8)
    payload[: size // 2] = np.arange(size // 2) // 100 % 7
    return payload


def written_with(block: int, payload: np.ndarray, codec: CellCodec) -> np.ndarray:
    """The cell that a writer makes who asks blosc for blocks of another size."""
    framed = np.array([1, len(payload)], "<u4").tobytes() + payload.tobytes()
    shuffle, name = SHUFFLES[codec.shuffle], codec.cname.encode()
    packed = blosc.compress(framed, name, codec.clevel, shuffle, block, codec.typesize)
    seal = google_crc32c.value(packed).to_bytes(CRC, "little")
    return np.frombuffer(packed + seal, np.uint8)


def cell_of(payload: np.ndarray, codec: CellCodec = FLOATS) -> np.ndarray:
    return np.frombuffer(codec.encode(payload.data), np.uint8)


def block_bytes(cell: np.ndarray) -> int:
    return int(cell[8:12].view("<u4")[0])


@given(
    size=st.integers(1, 400_000),
    seed=st.integers(0, 99),
    codec=codecs,
    block=st.sampled_from([None, 0, 1024, 4096, 50_000]),
    data=st.data(),
)
def test_the_bytes_that_are_wanted_of_a_cell_are_those_that_were_written(
    size: int, seed: int, codec: CellCodec, block: int | None, data: st.DataObject
) -> None:
    payload = payload_of(size, seed, data.draw(st.sampled_from([20, 256])))
    cell = cell_of(payload, codec) if block is None else written_with(block, payload, codec)
    cuts = data.draw(st.lists(st.integers(0, size), max_size=6, unique=True).map(sorted))
    ranges = list(zip(cuts[::2], cuts[1::2], strict=False))
    framed = np.full(HEADER + size, 0xA5, np.uint8)
    decode_rows(cell, framed, ranges)
    for start, stop in ranges:
        assert framed[HEADER + start : HEADER + stop].tobytes() == payload[start:stop].tobytes()


@given(seed=st.integers(0, 9), place=st.integers(0, 1 << 30), bit=st.integers(0, 7))
@example(seed=0, place=16, bit=0)  # the table of blocks
@example(seed=0, place=-1, bit=0)  # the checksum
def test_a_flipped_bit_is_found_whichever_block_it_is_in(seed: int, place: int, bit: int) -> None:
    cell = cell_of(payload_of(200_000, seed)).copy()
    cell[place % len(cell)] ^= 1 << bit
    with pytest.raises(IntegrityError):
        decode_rows(cell, np.empty(HEADER + 200_000, np.uint8), [(7, 9)])


@given(keep=st.integers(0, 100_000))
def test_a_cell_that_is_cut_short_is_found(keep: int) -> None:
    cell = cell_of(payload_of(200_000, 1))
    with pytest.raises(IntegrityError):
        decode_rows(cell[:keep], np.empty(HEADER + 200_000, np.uint8), [(7, 9)])


def test_a_cell_of_another_size_than_is_expected_is_refused() -> None:
    cell = cell_of(payload_of(200_000, 1))
    with pytest.raises(IntegrityError, match="holds 200000 bytes where 199996 belong"):
        decode_rows(cell, np.empty(HEADER + 199_996, np.uint8), [(7, 9)])


@pytest.mark.parametrize("typesize", [1, 2, 4, 8, 12, 16, 24])
def test_large_cells_are_made_of_blocks_that_any_reader_of_blosc_decodes(typesize: int) -> None:
    payload = payload_of(401_000, 3, values=20)
    cell = cell_of(payload, CellCodec(typesize))
    assert blocks.LEAST_BYTES // 2 < block_bytes(cell) <= blocks.LEAST_BYTES
    assert bytes(Blosc().decode(cell[:-CRC].tobytes()))[HEADER:] == payload.tobytes()
    assert bytes(cells.decode(cell.data)) == payload.tobytes()


def test_blocks_that_nobody_wants_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    made = decompressed(monkeypatch)
    payload = payload_of(500_000, 4)
    cell, block = cell_of(payload), blocks.LEAST_BYTES
    framed = np.empty(HEADER + len(payload), np.uint8)
    decode_rows(cell, framed, [(10, 20), (block, block + 9), (499_999, 500_000)])
    assert made == [2 * block, (HEADER + 500_000) % block]
    made.clear()
    decode_rows(cell, framed, [])
    assert made == []
