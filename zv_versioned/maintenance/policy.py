"""Which batches of a level are merged with which: by size, and with their neighbours in space."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .._checks import is_whole
from ..errors import MetadataError
from ..format.cells import MAX_PAYLOAD
from ..format.metadata import DatasetMeta, LevelFacts
from ..format.table import BatchTable

TARGET_VERTICES = 1 << 20
"""About how many vertices a merged batch has: what a compaction holds in memory at a time."""

_BITS = 16


def check(target_vertices: object, max_batches: object) -> None:
    """Accept how large batches are to become, and how many are to be merged.

    Raises
    ------
    MetadataError
    """
    if not is_whole(target_vertices) or int(target_vertices) < 1:  # type: ignore[call-overload]
        raise MetadataError(
            f"target_vertices must be a whole number from 1 up, got {target_vertices!r}"
        )
    if max_batches is not None and (not is_whole(max_batches) or int(max_batches) < 2):  # type: ignore[call-overload]
        raise MetadataError(
            f"max_batches must be a whole number from 2 up, or None for no limit, got "
            f"{max_batches!r}"
        )


def groups(
    meta: DatasetMeta,
    facts: LevelFacts,
    table: BatchTable,
    target_vertices: int,
    max_batches: int | None,
) -> list[np.ndarray]:
    """The batches (rows of the table) that are to become one, group by group.

    Those with less than `target_vertices`, and those that lost objects, are put
    in the order of a Morton curve through their middles, and as many neighbours
    as fit the target are one group. A batch alone is left as it is, unless it
    lost objects.

    Parameters
    ----------
    meta : DatasetMeta
    facts : LevelFacts
    table : BatchTable
    target_vertices : int
    max_batches : int or None
        How many are merged at most, the smallest first.

    Returns
    -------
    list of ndarray of int64
        Each ascending, that is by slot; groups in spatial order.

    Notes
    -----
    Source: G. M. Morton, A computer oriented geodetic data base, 1966.
    """
    live = table.live_vertices
    lossy = table.n_removed_vertices > 0
    chosen = np.flatnonzero((live < target_vertices) | lossy)
    if max_batches is not None and len(chosen) > max_batches:
        by_size = np.argsort(live[chosen], kind="stable")
        # Those that are wholly removed are the smallest, and need one that is not to go with.
        empty = int((live[chosen] == 0).sum())
        last = min(max(max_batches - 1, empty), len(chosen) - 1)
        chosen = np.sort(chosen[[*by_size[: max_batches - 1], by_size[last]]])
    alive = chosen[live[chosen] > 0]
    if len(alive) == 0:
        return []
    order = alive[np.argsort(_morton((table.lo[alive] + table.hi[alive]) / 2), kind="stable")]
    found = list(_packed(order, live, table.n_links, _limits(meta, facts, target_vertices)))
    # Of what is wholly removed the ids are kept, with whatever comes first.
    found[0] = np.concatenate([found[0], chosen[live[chosen] == 0]])
    return [np.sort(rows) for rows in found if len(rows) > 1 or lossy[rows].any()]


def _limits(meta: DatasetMeta, facts: LevelFacts, target: int) -> tuple[int, int]:
    """How many vertices and links one batch may have: in one cell it has room for all of them."""
    vertex = [meta.vertex_dtype.itemsize * meta.ndim]
    vertex += [attribute.row_bytes for attribute in facts.attributes.values()]
    link = [4 * max(1, meta.link_width)]
    link += [attribute.row_bytes for attribute in facts.link_attributes.values()]
    return min(target, MAX_PAYLOAD // max(vertex)), MAX_PAYLOAD // max(link)


def _packed(
    order: np.ndarray, vertices: np.ndarray, links: np.ndarray, limits: tuple[int, int]
) -> Iterable[np.ndarray]:
    """Neighbours in an order, as many as fit."""
    group: list[int] = []
    held = (0, 0)
    for row in order.tolist():
        more = (held[0] + int(vertices[row]), held[1] + int(links[row]))
        if group and (more[0] > limits[0] or more[1] > limits[1]):
            yield np.array(group)
            group, more = [], (int(vertices[row]), int(links[row]))
        group.append(row)
        held = more
    yield np.array(group)


def _morton(points: np.ndarray) -> np.ndarray:
    """The place of each point along a Morton curve: (N,) uint64."""
    lo, size = points.min(axis=0), np.ptp(points, axis=0)
    scale = ((1 << _BITS) - 1) / np.where(size > 0, size, 1)
    at = ((points - lo) * scale).astype(np.uint64)
    code = np.zeros(len(points), np.uint64)
    axes = points.shape[1]
    for bit in range(_BITS):
        for axis in range(axes):
            digit = (at[:, axis] >> np.uint64(bit)) & np.uint64(1)
            code |= digit << np.uint64(bit * axes + axis)
    return code
