"""Checksums of many short messages at once are those of each by itself."""

from __future__ import annotations

import google_crc32c
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from zv_versioned.format import checksums


@given(
    head=st.binary(max_size=40),
    length=st.integers(0, checksums.LONGEST),
    count=st.integers(0, 50),
    seed=st.integers(0, 2**32 - 1),
)
def test_checksums_of_messages_taken_together_are_those_of_each(
    head: bytes, length: int, count: int, seed: int
) -> None:
    bodies = np.random.default_rng(seed).integers(0, 256, (count, length)).astype("u1")
    found = checksums.of_each(head, bodies)
    assert found.tolist() == [google_crc32c.value(head + body.tobytes()) for body in bodies]


def test_checksums_of_more_messages_than_are_taken_at_a_time() -> None:
    bodies = np.random.default_rng(0).integers(0, 256, (10_000, 7)).astype("u1")
    found = checksums.of_each(b"head", bodies)
    assert found.tolist() == [google_crc32c.value(b"head" + body.tobytes()) for body in bodies]


def sealed(bodies: list[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Messages with their checksums side by side, and where each begins and ends."""
    parts = [body + google_crc32c.value(body).to_bytes(4, "little") for body in bodies]
    stops = np.cumsum([len(part) for part in parts], dtype=np.int64)
    starts = stops - [len(part) for part in parts]
    return np.frombuffer(b"".join(parts), np.uint8).copy(), starts, stops


messages = st.lists(st.binary(max_size=60), min_size=1, max_size=30)


@given(bodies=messages, data=st.data())
def test_messages_fit_their_checksums_in_any_order_and_choice(
    bodies: list[bytes], data: st.DataObject
) -> None:
    raw, starts, stops = sealed(bodies)
    which = np.array(data.draw(st.lists(st.integers(0, len(bodies) - 1))), np.int64)
    assert checksums.fit(raw, starts[which], stops[which])


@given(bodies=messages, data=st.data())
def test_a_change_within_four_bytes_in_any_message_is_found(
    bodies: list[bytes], data: st.DataObject
) -> None:
    raw, starts, stops = sealed(bodies)
    at = data.draw(st.integers(0, len(raw) - 1))
    change = data.draw(st.integers(1, 2**32 - 1)).to_bytes(4, "little")
    part = raw[at : at + 4]
    before = part.copy()
    part ^= np.frombuffer(change, np.uint8)[: len(part)]
    changed = (part != before).any()
    assert checksums.fit(raw, starts, stops) is not changed


def test_messages_over_many_runs_are_all_looked_at() -> None:
    rng = np.random.default_rng(0)
    sizes = [*rng.integers(0, 300, 3000), 200_000, 1, 70_000, 0]
    raw, starts, stops = sealed([rng.bytes(size) for size in sizes])
    assert checksums.fit(raw, starts, stops)
    for at in rng.integers(0, len(raw), 300):
        raw[at] ^= 16
        assert not checksums.fit(raw, starts, stops)
        raw[at] ^= 16


def test_no_messages_fit() -> None:
    none = np.zeros(0, np.int64)
    assert checksums.fit(np.zeros(0, np.uint8), none, none)
