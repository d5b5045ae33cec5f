"""Names, types and units of the axes of space and time.

Source: OME-NGFF 0.4, ``axes``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import MetadataError

_AXIS_RANK = {"time": 0, "channel": 1, "space": 3}


def parse_axes(axes: Sequence[Any] | None, ndim: int) -> list[dict[str, str]]:
    """Names, types and units of the spatial axes.

    Parameters
    ----------
    axes : sequence of str or of mapping, optional
        Names, or mappings with ``name`` and optionally ``type`` and ``unit``.
        Left out: x, y, z by number; four axes are t, x, y, z.
    ndim : int

    Raises
    ------
    MetadataError
        If the number, a name or a type is wrong.
    """
    if axes is None:
        names = ["x", "y", "z"][:ndim] if ndim < 4 else ["t", "x", "y", "z"]
        axes = [{"name": name, "type": "time" if name == "t" else "space"} for name in names]
    if isinstance(axes, str) or not isinstance(axes, Sequence):
        raise MetadataError(f"axes must be a list of names or mappings, got {axes!r}")
    parsed: list[dict[str, str]] = []
    for axis in axes:
        if not isinstance(axis, str | Mapping):
            raise MetadataError(f"an axis is a name or a mapping with one, got {axis!r}")
        entry = {"name": axis} if isinstance(axis, str) else dict(axis)
        unknown = entry.keys() - {"name", "type", "unit"}
        if unknown or not all(isinstance(v, str) and v for v in entry.values()):
            raise MetadataError(
                f"an axis has a name and may have a type and a unit, all text; got {axis!r}"
            )
        if "name" not in entry:
            raise MetadataError(f"axis {axis!r} has no name")
        parsed.append({"name": entry["name"], "type": entry.get("type", "space"), **entry})
    names = [axis["name"] for axis in parsed]
    if len(parsed) != ndim or len(set(names)) != ndim:
        raise MetadataError(f"bounds have {ndim} axes; axes names {names} must be {ndim}, distinct")
    if "batch" in names:
        raise MetadataError("an axis cannot be called 'batch': that is the axis of appends")
    ranks = [_AXIS_RANK.get(axis["type"], 2) for axis in parsed]
    if ranks != sorted(ranks) or "space" not in (axis["type"] for axis in parsed):
        raise MetadataError(
            f"axes must be in the order time, channel, custom, space and one must be space; got "
            f"{[axis['type'] for axis in parsed]}"
        )
    return parsed
