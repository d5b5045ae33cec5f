"""Links of a Zarr Vectors store, as rows of their level; and the order of lines.

Source: Zarr Vectors 0.9, chapter on links and their conventions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._sets import common, is_in
from ..errors import ArrayError
from ..format.link_families import as_given, decode_links, is_within
from ._zv_level import ZVLevel, quiet, texts_of

__all__ = ["EXPLICIT", "Links", "in_order", "links_of", "tree_links"]

EXPLICIT = "explicit"
"""The convention by which every link is stored; by the others rows of a fragment are linked."""

_FAMILY = "links/0"


@dataclass(frozen=True)
class Links:
    """Links, and the values of their attributes.

    Parameters
    ----------
    ends : ndarray of int64, shape (M, L)
        Rows of the level, in the order in which they were given.
    values : dict of str to ndarray, shape (M,) or (M, C)
    """

    ends: np.ndarray
    values: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ends)


def links_of(level: ZVLevel, cells: np.ndarray, width: int, names: Mapping[str, Any]) -> Links:
    """The links that some cells keep.

    Parameters
    ----------
    level : ZVLevel
    cells : ndarray of int64
        Positions, ascending.
    width : int
        Vertices of a link.
    names : mapping of str to dict
        Attributes to read, and what their documents say.
    """
    ends = [np.zeros((0, width), np.int64)]
    values: dict[str, list[np.ndarray]] = {name: [_none(facts)] for name, facts in names.items()}
    for segment in level.names(_FAMILY):
        path = f"{_FAMILY}/{segment}"
        array = level.array(path)
        offsets = np.asarray(array.attrs["offsets"], np.int64)
        if int(array.attrs["link_width"]) != width:
            raise ArrayError(
                f"{level.where}, {path}: links of {array.attrs['link_width']} vertices"
            )
        filled = level.find(level.filled(array, f"{level.where}, {path}"))
        sources = common(filled[filled >= 0], cells)
        if len(sources) == 0:
            continue
        counts, found = _rows(level, path, sources, offsets, width, bool(array.attrs["has_perm"]))
        ends.append(found)
        for name, facts in names.items():
            values[name].append(_values(level, name, segment, offsets, sources, counts, facts))
    joined = {name: np.concatenate(columns) for name, columns in values.items()}
    texts = {
        name: texts_of(v, names[name]) for name, v in joined.items() if "categories" in names[name]
    }
    return Links(np.concatenate(ends), {**joined, **texts})


def _none(facts: Mapping[str, Any]) -> np.ndarray:
    return np.zeros((0, *facts["row_shape"]), np.dtype(facts["dtype"]))


def _rows(
    level: ZVLevel,
    path: str,
    sources: np.ndarray,
    offsets: np.ndarray,
    width: int,
    coded: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """The links of one family that some cells keep: how many each, and rows of the level."""
    across = not is_within(offsets.tolist())
    with quiet(f"{level.where}, {path}"):
        tables = [
            decode_links(blob, width, across=across, coded=coded)
            for blob in level.payloads(path, level.cells[sources])
        ]
        counts = np.array([len(table) for table in tables], np.int64)
        table = np.concatenate(tables)
        source = np.repeat(sources, counts)
        cells = [source]
        for offset in offsets:
            cells.append(level.find(level.cells[source] + offset))
        at = np.stack(cells, axis=1)
        ends = level.row_start[at] + table[:, 1:]
        bad = (at < 0) | (table[:, 1:] < 0)
        bad |= ends >= level.row_start[np.minimum(at, len(level.cells) - 1) + 1]
        if bad.any():
            raise ArrayError("a link names a vertex that is not there")
        return counts, as_given(table[:, 0], ends)


def _values(
    level: ZVLevel,
    name: str,
    segment: str,
    offsets: np.ndarray,
    sources: np.ndarray,
    counts: np.ndarray,
    facts: Mapping[str, Any],
) -> np.ndarray:
    """The values of the links of one family; fill values where there are none."""
    dtype, shape = np.dtype(facts["dtype"]), tuple(facts["row_shape"])
    path = f"link_attributes/{name}/0/{segment}"
    if is_within(offsets.tolist()) and level.has(f"face_attributes/{name}"):
        path = f"face_attributes/{name}"
    total = int(counts.sum())
    out = np.full((total, *shape), facts["fill"], dtype)
    if not level.has(path):
        return out
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    starts = np.cumsum(counts) - counts
    payloads = level.payloads(path, level.cells[sources])
    for start, count, payload in zip(starts.tolist(), counts.tolist(), payloads, strict=True):
        if payload and len(payload) != count * size:
            raise ArrayError(
                f"{level.where}, {path}: a chunk has {len(payload)} bytes, and {count} links of "
                f"{size} belong there"
            )
        if payload:
            values = np.frombuffer(payload, dtype.newbyteorder("<")).reshape(count, *shape)
            out[start : start + count] = values
    return out


# ---- links that are not stored ----------------------------------------------


def tree_links(level: ZVLevel, fragments: np.ndarray, stored: Links) -> Links:
    """All links of trees whose parents are implied: the row before, unless one is stored.

    Parameters
    ----------
    level : ZVLevel
    fragments : ndarray of int64
        Of the objects concerned.
    stored : Links
        (child, parent).
    """
    rows = level.rows_of(fragments)
    counts = level.fragments.count[fragments]
    begins = np.zeros(len(rows), bool)
    begins[np.cumsum(counts) - counts] = True
    implied = np.flatnonzero(~begins)
    implied = implied[~is_in(rows[implied], stored.ends[:, 0])]
    ends = np.stack([rows[implied], rows[implied - 1]], axis=1)
    return Links(np.concatenate([stored.ends, ends]))


def in_order(
    level: ZVLevel, owner: np.ndarray, fragments: np.ndarray, links: Links
) -> tuple[np.ndarray, np.ndarray]:
    """Put the fragments of lines in the order in which the lines go.

    Parameters
    ----------
    level : ZVLevel
    owner : ndarray of int64, shape (F,)
        The object of each fragment, ascending.
    fragments : ndarray of int64, shape (F,)
        As the objects list them.
    links : Links
        Between fragments, at least.

    Returns
    -------
    order : ndarray of int64, shape (F,)
        Of the fragments.
    begins : ndarray of bool, shape (F,)
        Which of them, in that order, begin a line.
    """
    n = len(fragments)
    counts = level.fragments.count[fragments]
    rows = level.rows_of(fragments)
    stops = np.cumsum(counts)
    first, last = rows[stops - counts], rows[stops - 1]
    # A link from the end of one fragment to the beginning of another: the way goes on.
    source, target = _at(links.ends[:, 0], last), _at(links.ends[:, 1], first)
    across = (source >= 0) & (target >= 0) & (source != target)
    before = np.full(n, -1)
    before[target[across]] = source[across]
    # The first fragment of the line of each, and how far it is, in steps that double.
    root = np.where(before >= 0, before, np.arange(n))
    depth = (before >= 0).astype(np.int64)
    for _ in range(n.bit_length() + 1):
        depth, root = depth + depth[root], root[root]
    if (before[root] >= 0).any():
        raise ArrayError(f"{level.where}: the parts of a line follow each other in a circle")
    order = np.lexsort((depth, root, owner))
    return order, before[order] < 0


def _at(rows: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Positions of some rows among others; -1 where there is none."""
    if len(among) == 0:
        return np.full(len(rows), -1, np.int64)
    order = np.argsort(among, kind="stable")
    at = np.minimum(np.searchsorted(among[order], rows), len(among) - 1)
    return np.where(among[order[at]] == rows, order[at], -1)
