"""Blosc's own function and numcodecs' way to it make the same bytes, and notice the same damage."""

from __future__ import annotations

from collections.abc import Iterator

import google_crc32c
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numcodecs import blosc

from zv_versioned.errors import IntegrityError
from zv_versioned.format import cells, inflate
from zv_versioned.format.cells import CRC, HEADER, CellCodec, Decoder

codecs = st.builds(
    CellCodec,
    typesize=st.sampled_from([1, 4, 8, 12]),
    cname=st.sampled_from(["lz4", "zstd"]),
    clevel=st.integers(0, 9),
    shuffle=st.sampled_from(["noshuffle", "shuffle", "bitshuffle"]),
)
both_ways = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=["exported", "numcodecs"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The function that is there, and the way that is taken where it is not."""
    if request.param == "numcodecs":
        monkeypatch.setattr(inflate, "call", inflate.by_numcodecs)
    return request.param


def payloads(count: int, largest: int, seed: int) -> list[bytes]:
    """Of which some shrink."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, largest, count)
    tops = rng.choice([2, 40, 256], count)
    return [rng.integers(0, m, n, np.uint8).tobytes() for n, m in zip(sizes, tops, strict=True)]


@both_ways
@given(size=st.integers(1, 200_000), seed=st.integers(0, 99), codec=codecs)
def test_what_was_compressed_is_made_again(
    way: str, size: int, seed: int, codec: CellCodec
) -> None:
    raw = np.frombuffer(payloads(1, size, seed)[0] + b"end", np.uint8)
    out = np.full(len(raw) + 2, 0xA5, np.uint8)
    inflate.inflate(np.frombuffer(codec.compress(raw), np.uint8), out[1:-1])
    assert out[1:-1].tobytes() == raw.tobytes()
    assert out[[0, -1]].tolist() == [0xA5, 0xA5]


def test_what_blosc_refuses_is_damage(way: str) -> None:
    packed = np.frombuffer(CellCodec(4).compress(np.zeros(50_000, np.uint8)), np.uint8).copy()
    packed[16:40] = 0xFF
    with pytest.raises(IntegrityError, match="cannot be decompressed"):
        inflate.inflate(packed, np.empty(50_000, np.uint8))


def laid(parts: list[bytes], codec: CellCodec) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """Cells side by side; and of each where it lies, where its frame goes, and its size."""
    raw, places, begin = b"", [], 0
    for part in parts:
        cell = codec.encode(part)
        places.append((len(raw), len(raw) + len(cell), begin, len(part)))
        raw += cell
        begin += len(part)
    return np.frombuffer(raw, np.uint8), places


@both_ways
@given(count=st.integers(1, 8), seed=st.integers(0, 999), codec=codecs)
def test_cells_that_are_decoded_from_the_last_to_the_first_lie_side_by_side(
    way: str, count: int, seed: int, codec: CellCodec
) -> None:
    parts = payloads(count, 3_000, seed)
    raw, places = laid(parts, codec)
    out = np.empty(HEADER + sum(map(len, parts)), np.uint8)
    decoder = Decoder(out)
    for place in reversed(places):
        decoder.decode(raw, *place)
    assert out[HEADER:].tobytes() == b"".join(parts)


@both_ways
@given(at=st.integers(0, 1 << 30), bit=st.integers(0, 7), seed=st.integers(0, 9))
@example(at=4, bit=0, seed=0)  # the size
@example(at=12, bit=7, seed=0)  # the length
@example(at=-1, bit=0, seed=0)  # the checksum
def test_a_flipped_bit_is_found(way: str, at: int, bit: int, seed: int) -> None:
    raw, (place,) = laid([payloads(1, 5_000, seed)[0] + b"end"], CellCodec(4))
    raw = raw.copy()
    raw[at % len(raw)] ^= 1 << bit
    with pytest.raises(IntegrityError):
        Decoder(np.empty(HEADER + place[3], np.uint8)).decode(raw, *place)


@both_ways
@given(
    start=st.integers(-9, 9),
    stop=st.integers(-9, 9),
    begin=st.integers(-20, 20),
    size=st.integers(-9, 9),
)
def test_nothing_is_read_or_written_beyond_what_is_there(
    way: str, start: int, stop: int, begin: int, size: int
) -> None:
    raw, ((a, b, at, n),) = laid([bytes(range(200)) * 3], CellCodec(1))
    out = np.full(HEADER + n + 40, 0xA5, np.uint8)
    inner = out[20:-20]
    moved = (start, stop, begin, size) != (0, 0, 0, 0)
    try:
        Decoder(inner).decode(raw, a + start, b + stop, at + begin, n + size)
        assert not moved
    except (IntegrityError, ValueError):
        assert moved
    assert set(out[:20].tolist()) == set(out[-20:].tolist()) == {0xA5}


def sealed(packed: bytes) -> np.ndarray:
    seal = google_crc32c.value(packed).to_bytes(CRC, "little")
    return np.frombuffer(packed + seal, np.uint8)


def test_a_cell_that_fits_its_checksum_and_is_no_cell_is_refused(way: str) -> None:
    codec = CellCodec(1)
    good = codec.encode(bytes(300))[:-CRC]
    other_frame = blosc.compress(bytes(308), b"lz4", 5, 1, 0, 1)
    longer = good + b"\0"
    garbage = good[:16] + bytes([255] * (len(good) - 16))
    for packed, complaint in (
        (other_frame, "frame"),
        (longer, "claims"),
        (garbage, "cannot be decompressed"),
    ):
        cell = sealed(packed)
        with pytest.raises(IntegrityError, match=complaint):
            Decoder(np.empty(HEADER + 300, np.uint8)).decode(cell, 0, len(cell), 0, 300)
        with pytest.raises(IntegrityError, match=complaint):
            cells.decode(cell.data)
