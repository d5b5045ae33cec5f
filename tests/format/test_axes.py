"""Names, types and units of axes."""

from __future__ import annotations

from typing import Any

import pytest

from zv_versioned.errors import MetadataError
from zv_versioned.format.axes import parse_axes


@pytest.mark.parametrize(("ndim", "names"), [(1, "x"), (2, "xy"), (3, "xyz"), (4, "txyz")])
def test_axes_have_names_by_default(ndim: int, names: str) -> None:
    axes = parse_axes(None, ndim)
    assert "".join(axis["name"] for axis in axes) == names
    assert axes == parse_axes(axes, ndim)


def test_axes_may_be_given_as_names_or_with_type_and_unit() -> None:
    given = ["i", {"name": "j"}, {"name": "k", "type": "space", "unit": "nanometer"}]
    assert parse_axes(given, 3) == [
        {"name": "i", "type": "space"},
        {"name": "j", "type": "space"},
        {"name": "k", "type": "space", "unit": "nanometer"},
    ]


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (["x"], "must be 2"),
        (["x", "y", "z"], "must be 2"),
        (["x", "x"], "distinct"),
        (["x", "batch"], "'batch'"),
        (["x", ""], "text"),
        (["x", {"type": "space"}], "no name"),
        (["x", {"name": "y", "typ": "space"}], "a type and a unit"),
        (["x", {"name": "y", "unit": 3}], "text"),
        ([{"name": "x", "type": "space"}, {"name": "t", "type": "time"}], "order"),
        ([{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}], "must be space"),
    ],
)
def test_axes_that_cannot_be_are_refused(axes: list[Any], message: str) -> None:
    with pytest.raises(MetadataError, match=message):
        parse_axes(axes, 2)


@pytest.mark.parametrize("axes", [5, [1, 2], [None, "x"], [["x", "y"], "z"]])
def test_axes_that_are_no_axes_at_all_are_refused_as_such(axes: Any) -> None:
    with pytest.raises(MetadataError):
        parse_axes(axes, 2)
