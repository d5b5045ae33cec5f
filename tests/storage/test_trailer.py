"""A commit's metadata behind its message."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zv_versioned.storage.trailer import MARK, joined, parted

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
MESSAGES = st.text() | st.builds("".join, st.lists(st.text(max_size=5) | st.just(MARK), max_size=4))


@given(message=MESSAGES, metadata=st.dictionaries(st.text(), JSON, max_size=4))
def test_message_and_metadata_come_back(message: str, metadata: dict[str, Any]) -> None:
    assert parted(joined(message, metadata)) == (message, metadata)


def test_a_message_without_metadata_is_stored_as_it_is() -> None:
    assert joined("three points", {}) == "three points"


def test_the_metadata_is_one_line_that_people_can_read() -> None:
    assert joined("three points", {"größe": [1]}) == 'three points\n\nmetadata: {"größe":[1]}'


@pytest.mark.parametrize("tail", ["", "none", "[1]", "{", '{"a": }'])
def test_a_message_that_others_wrote_comes_back_as_it_is(tail: str) -> None:
    message = f"by hand{MARK}{tail}"
    assert parted(message) == (message, {})
