"""Many cells decoded at once are those that are decoded one by one; damage is never passed on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zv_versioned.errors import IntegrityError
from zv_versioned.format import batches, cells, copied, many
from zv_versioned.format.cells import HEADER, CellCodec

LZ4 = CellCodec(typesize=4)


@dataclass
class Stored:
    """Cells in one buffer, each where it lies, and what it holds."""

    raw: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    payloads: list[bytes]

    @property
    def sizes(self) -> np.ndarray:
        return np.array([len(p) for p in self.payloads], np.int64)

    def unpack(self, row_bytes: int = 12) -> list[bytes]:
        """Side by side, as the rows of an array are."""
        ends = np.cumsum(self.sizes)
        begins = ends - self.sizes
        out = np.full(HEADER + int(ends[-1]), 7, np.uint8)
        many.unpack(self.raw, self.starts, self.stops, self.sizes, row_bytes, out, begins)
        body = out[HEADER:].tobytes()
        return [body[a:b] for a, b in zip(begins.tolist(), ends.tolist(), strict=True)]


def stored(payloads: list[bytes], copies: list[bool], codec: CellCodec = LZ4) -> Stored:
    """Some cells as they are, others compressed; something else follows, as an index does."""
    parts = []
    for payload, copy in zip(payloads, copies, strict=True):
        if copy:
            shard = copied.pack(
                1, np.zeros(1, np.int64), np.array([len(payload)]),
                np.frombuffer(payload, np.uint8), codec,
            )  # fmt: skip
            parts.append(bytes(shard[: len(payload) + 28]))
        else:
            parts.append(codec.encode(payload))
    stops = np.cumsum([len(part) for part in parts], dtype=np.int64)
    starts = stops - [len(part) for part in parts]
    return Stored(
        np.frombuffer(b"".join(parts) + bytes(20), np.uint8).copy(), starts, stops, payloads
    )


@st.composite
def cells_of_rows(draw: st.DrawFn) -> Stored:
    rows = draw(st.lists(st.integers(1, 60), min_size=1, max_size=25))
    copies = draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    alike = draw(st.booleans())
    payloads = [bytes(12 * n) if alike else rng.bytes(12 * n) for n in rows]
    return stored(payloads, copies)


@given(found=cells_of_rows())
def test_cells_taken_together_are_those_that_were_written(found: Stored) -> None:
    assert found.unpack() == found.payloads
    one_by_one = [
        bytes(cells.decode(found.raw[a:b].data))
        for a, b in zip(found.starts, found.stops, strict=True)
    ]
    assert one_by_one == found.payloads


@given(found=cells_of_rows(), row_bytes=st.sampled_from([1, 4, 12, 24, 8]))
def test_the_width_of_rows_changes_nothing(found: Stored, row_bytes: int) -> None:
    assert found.unpack(row_bytes) == found.payloads


@given(found=cells_of_rows(), data=st.data())
def test_cells_go_wherever_they_are_to_go(found: Stored, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(found.payloads))))
    room = HEADER + found.sizes + 5
    begins = np.empty(len(order), np.int64)
    begins[list(order)] = np.cumsum(room[list(order)]) - room[list(order)]
    out = np.zeros(int(room.sum()), np.uint8)
    many.unpack(found.raw, found.starts, found.stops, found.sizes, 12, out, begins)
    for begin, payload in zip(begins.tolist(), found.payloads, strict=True):
        assert out[begin + HEADER : begin + HEADER + len(payload)].tobytes() == payload


@given(found=cells_of_rows(), data=st.data())
def test_any_changed_byte_of_a_cell_is_an_integrity_error(
    found: Stored, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, int(found.stops[-1]) - 1))
    found.raw[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(IntegrityError):
        found.unpack()
    with pytest.raises(IntegrityError):
        many.decode(found.raw, found.starts, found.stops)


@given(payloads=st.lists(st.binary(max_size=400).map(lambda b: b + bytes(-len(b) % 8)), min_size=1))
def test_sections_of_indexes_come_back_aligned(payloads: list[bytes]) -> None:
    found = stored(payloads, [False] * len(payloads), batches.CODEC)
    out, begins, ends = many.decode(found.raw, found.starts, found.stops)
    assert (begins % 8 == 0).all()
    assert [out[a:b].tobytes() for a, b in zip(begins, ends, strict=True)] == payloads


@pytest.mark.parametrize("change", [-12, 12, 1])
def test_a_cell_of_another_size_than_the_index_says_is_an_integrity_error(change: int) -> None:
    found = stored([bytes(120), bytes(240)], [True, False])
    sizes = found.sizes
    for at in range(2):
        wrong = sizes.copy()
        wrong[at] += change
        out = np.empty(int(wrong.sum()) + HEADER, np.uint8)
        with pytest.raises(IntegrityError, match="another size"):
            many.unpack(
                found.raw, found.starts, found.stops, wrong, 12, out, np.cumsum(wrong) - wrong
            )


@pytest.mark.parametrize(("start", "stop"), [(-5, 40), (0, 10), (0, 10_000), (160, 176)])
def test_what_cannot_be_a_cell_is_an_integrity_error(start: int, stop: int) -> None:
    found = stored([bytes(120)], [True])
    with pytest.raises(IntegrityError):
        many.decode(found.raw, np.array([start]), np.array([stop]))


def test_a_frame_of_several_items_is_an_integrity_error() -> None:
    framed = np.frombuffer(b"\2\0\0\0" + bytes(124), np.uint8)
    for body in (
        LZ4.compress(framed),
        bytes(LZ4.copied_heads(np.array([120]))[0, :16]) + framed.tobytes(),
    ):
        cell = body + cells.google_crc32c.value(body).to_bytes(4, "little")
        raw = np.frombuffer(cell + bytes(20), np.uint8)
        with pytest.raises(IntegrityError, match="frame"):
            many.decode(raw, np.array([0]), np.array([len(cell)]))
