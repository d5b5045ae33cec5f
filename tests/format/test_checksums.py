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
