"""Shards: cells side by side, and an index that is believed only when it is whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zv_versioned.errors import IntegrityError
from zv_versioned.format import shards


@st.composite
def shard_contents(draw: st.DrawFn) -> tuple[int, list[tuple[int, list[bytes]]]]:
    places = draw(st.integers(1, 64))
    chosen = draw(st.lists(st.integers(0, places - 1), unique=True))
    parts = st.lists(st.binary(max_size=40), max_size=3)
    return places, [(place, draw(parts)) for place in chosen]


@given(contents=shard_contents(), whole=st.booleans())
def test_cells_come_back_from_their_places(
    contents: tuple[int, list[tuple[int, list[bytes]]]], whole: bool
) -> None:
    places, cells = contents
    shard = shards.pack(places, cells)
    tail = memoryview(shard) if whole else memoryview(shard)[-shards.index_size(places) :]
    start, stop = shards.read_index(tail, places)
    found = {p: shard[start[p] : stop[p]] for p in range(places) if start[p] >= 0}
    assert found == {place: b"".join(parts) for place, parts in cells}
    assert (start < 0).sum() == (stop < 0).sum() == places - len(cells)


def test_cells_lie_in_the_order_they_were_given_in() -> None:
    shard = shards.pack(4, [(3, [b"aa", b"b"]), (0, [b"cc"])])
    assert shard.startswith(b"aabcc")
    start, stop = shards.read_index(memoryview(shard), 4)
    assert start.tolist() == [3, -1, -1, 0]
    assert stop.tolist() == [5, -1, -1, 3]


@pytest.mark.parametrize("places", [1, 8, 64])
def test_any_single_flipped_bit_of_the_index_is_noticed(places: int) -> None:
    shard = shards.pack(places, [(place, [b"cell"]) for place in range(0, places, 2)])
    first = len(shard) - shards.index_size(places)
    for at in range(first, len(shard)):
        for bit in range(8):
            damaged = bytearray(shard)
            damaged[at] ^= 1 << bit
            with pytest.raises(IntegrityError, match="damaged"):
                shards.read_index(memoryview(damaged), places)


def test_a_shard_cut_short_is_noticed_wherever_it_was_cut() -> None:
    shard = shards.pack(8, [(place, [b"cell"]) for place in range(8)])
    for stop in range(len(shard)):
        with pytest.raises(IntegrityError, match=r"shorter than its index|damaged"):
            shards.read_index(memoryview(shard)[:stop], 8)


def test_an_index_of_another_size_than_expected_is_noticed() -> None:
    shard = memoryview(shards.pack(8, [(0, [np.random.default_rng(0).bytes(300)])]))
    for places in (1, 7, 9, 16):
        with pytest.raises(IntegrityError):
            shards.read_index(shard, places)
