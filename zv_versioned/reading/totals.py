"""What is asked about vertices as a whole: how many, how far, and some of them.

Only what an answer depends on is read, window by window: vertices for a box, a
ball or an extent, values for a condition, fragments for objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from .. import _checks
from ..errors import ArrayError
from ..format.metadata import AttributeMeta
from ..geometry import Geometry
from .asked import WindowValues
from .query import Request
from .ranges import read_some
from .reader import LevelReader
from .selection import Selection

Bounds = tuple[tuple[float, ...], tuple[float, ...]]


def _chosen(
    reader: LevelReader, request: Request
) -> Iterator[tuple[list[Selection], np.ndarray | slice, np.ndarray | None]]:
    """Windows of a read, the rows in each that are asked for, and positions if they were needed."""
    query = request.query
    by_place = query.looks_at_positions
    for window in reader.windows(request.plan):
        if request.whole:
            yield window, slice(None), None
            continue
        mask = None
        if any(s.object_rows is not None for s in window):
            mask = reader.object_ids_of(window)[1]
        if mask is None:
            mask = np.ones(len(reader.vertex_ids_of(window)), bool)
        positions = reader.positions_of(window) if by_place else np.zeros((0, reader.meta.ndim))
        query.narrow(mask, WindowValues(reader, window), positions)
        yield window, np.flatnonzero(mask), positions if by_place else None


def count(reader: LevelReader, request: Request) -> int:
    """Number of vertices that a read would give."""
    if request.whole:
        live = reader.state.table.live_vertices
        return int(live[[s.row for s in request.plan]].sum())
    chosen = (reader.vertex_ids_of(window)[rows] for window, rows, _ in _chosen(reader, request))
    return sum(map(len, chosen))


def bounds(reader: LevelReader, request: Request) -> Bounds | None:
    """Smallest and largest coordinates of the vertices that a read would give."""
    table = reader.state.table
    lows, highs = [], []
    if request.whole:
        # A batch that nothing was removed from is as large as when it was appended.
        kept = [s.row for s in request.plan if table.n_removed_vertices[s.row] == 0]
        lows, highs = list(table.lo[kept]), list(table.hi[kept])
        plan = [s for s in request.plan if table.n_removed_vertices[s.row]]
        request = replace(request, plan=plan)
    for window, rows, positions in _chosen(reader, request):
        found = (reader.positions_of(window) if positions is None else positions)[rows]
        if len(found):
            lows.append(found.min(axis=0).astype(np.float64))
            highs.append(found.max(axis=0).astype(np.float64))
    if not lows:
        return None
    lo, hi = np.min(lows, axis=0), np.max(highs, axis=0)
    return tuple(lo.tolist()), tuple(hi.tolist())


# ---- some of them -----------------------------------------------------------


def sample(reader: LevelReader, request: Request, n: object, seed: object) -> Geometry:
    """Some vertices of a read, each as likely as any other; see :meth:`Level.sample`."""
    if not (_checks.is_whole(n) and n >= 0):  # type: ignore[operator]
        raise ArrayError(f"n must be a whole number from 0 up, got {n!r}")
    try:
        rng = np.random.default_rng(seed)  # type: ignore[arg-type]
    except (TypeError, ValueError) as cause:
        raise ArrayError(
            f"seed must be a whole number from 0 up, a numpy Generator, or None, got {seed!r}"
        ) from cause
    if len(request.plan) == len(np.flatnonzero(reader.state.table.live_vertices)) and request.whole:
        vertices: np.ndarray | None = None
        total = int(reader.vertex_base[-1])
    else:
        numbers = [reader.vertex_ids_of(w)[rows] for w, rows, _ in _chosen(reader, request)]
        vertices = np.concatenate([*numbers, np.zeros(0, np.int64)])
        total = len(vertices)
    drawn = np.sort(rng.choice(total, min(int(n), total), replace=False, shuffle=False))  # type: ignore[call-overload]
    return at(reader, drawn if vertices is None else vertices[drawn], request.query.attributes)


def at(reader: LevelReader, vertices: np.ndarray, attributes: Sequence[AttributeMeta]) -> Geometry:
    """Vertices by number, without links."""

    def values(attribute: AttributeMeta) -> np.ndarray:
        return read_some(reader, lambda cells: reader.attribute_of(attribute, cells), vertices)

    return Geometry(
        positions=read_some(reader, reader.positions_of, vertices),
        vertex_ids=vertices,
        object_ids=read_some(reader, lambda cells: reader.object_ids_of(cells)[0], vertices),
        attributes={attribute.name: values(attribute) for attribute in attributes},
    )
