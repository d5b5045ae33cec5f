"""What a read returns, put together: vertices, their links and values, window by window.

A plan names cells; of their vertices those are kept that were asked for. Points,
graphs and meshes come in the order of the level, and a link is there where all
its ends are. Lines are put in order by :mod:`._gather_lines`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..format.metadata import LINES, AttributeMeta
from ..geometry import Geometry
from ..spatial.assign import spans
from . import gather_lines
from .asked import Query, WindowValues
from .links import level_links_of, link_values_of
from .reader import LevelReader, counts_before
from .selection import Selection


@dataclass
class _Found:
    """Vertices and links that were found, as they are read."""

    positions: list[np.ndarray] = field(default_factory=list)
    vertex_ids: list[np.ndarray] = field(default_factory=list)
    object_ids: list[np.ndarray] = field(default_factory=list)
    values: list[list[np.ndarray]] = field(default_factory=list)
    links: list[np.ndarray] = field(default_factory=list)
    link_values: list[list[np.ndarray]] = field(default_factory=list)

    def add(
        self,
        positions: np.ndarray,
        vertex_ids: np.ndarray,
        object_ids: np.ndarray,
        values: list[np.ndarray],
    ) -> None:
        """Add vertices; `values` has an array for each attribute."""
        self.positions.append(positions)
        self.vertex_ids.append(vertex_ids)
        self.object_ids.append(object_ids)
        self.values.append(values)


def gather(
    reader: LevelReader, plan: Sequence[Selection], query: Query, *, whole: bool
) -> Geometry:
    """Read what a plan names.

    Parameters
    ----------
    reader : LevelReader
    plan : sequence of Selection
    query : Query
    whole : bool
        Whether all vertices in the cells are wanted: they are then read at once,
        for the result is as large as a window.
    """
    if reader.meta.kind in LINES:
        return gather_lines.gather(reader, plan, query, whole=whole)
    found = _Found()
    left = query.limit
    if left is not None and not query.looks_at_vertices:
        plan = _first_cells(reader, plan, left)
    for window in [plan] if whole or not plan else reader.windows(plan):
        if found.positions and left is not None and left <= 0:
            break
        n = _add_window(reader, window, query, left, found, whole=whole)
        left = None if left is None else left - n
    geometry = Geometry(
        positions=joined(found.positions),
        vertex_ids=joined(found.vertex_ids),
        object_ids=joined(found.object_ids),
        attributes=_by_name(query.attributes, found.values),
    )
    width = reader.meta.link_width
    if width == 0 or not query.linked:
        return geometry
    rows, kept = _as_rows(joined(found.links), geometry.vertex_ids, whole=whole)
    values = _by_name(query.links, found.link_values)
    if kept is not None:
        values = {name: column[kept] for name, column in values.items()}
    if width == 3:
        return replace(geometry, faces=rows, link_attributes=values)
    return replace(geometry, edges=rows, link_attributes=values)


def _first_cells(reader: LevelReader, plan: Sequence[Selection], limit: int) -> list[Selection]:
    """The cells of a plan that its first vertices lie in, as far as their numbers tell."""
    needed: list[Selection] = []
    left = limit
    for s in plan:
        if left <= 0:
            break
        if s.object_rows is None and reader.state.table.n_removed_vertices[s.row] == 0:
            ends = np.cumsum(s.head.cell_vertices[s.at])
            s = replace(s, at=s.at[: int(np.searchsorted(ends, left)) + 1])
            left -= s.vertex_count
        needed.append(s)
    return needed


def _add_window(
    reader: LevelReader,
    window: Sequence[Selection],
    query: Query,
    limit: int | None,
    found: _Found,
    *,
    whole: bool,
) -> int:
    """Read one window; return how many of its vertices were asked for."""
    asked_only = not query.looks_at_vertices
    positions, known = reader.read_window(window, query.needed, asked_only=asked_only)
    values = WindowValues(reader, window, known)
    ids, sizes, asked = reader.fragments_of(window)
    if whole:
        columns = [values.of(a) for a in query.attributes]
        found.add(positions, reader.vertex_ids_of(window), np.repeat(ids, sizes), columns)
    else:
        ends = np.cumsum(sizes)
        if asked_only and asked is not None:
            rows = spans((ends - sizes)[asked], sizes[asked])[:limit]
        else:
            mask = np.ones(len(positions), bool) if asked is None else np.repeat(asked, sizes)
            query.narrow(mask, values, positions)
            rows = np.flatnonzero(mask)[:limit]
        found.add(
            positions.take(rows, axis=0, mode="clip"),
            reader.vertex_ids_of(window, rows),
            np.repeat(ids, counts_before(rows, ends)),
            [values.of(a).take(rows, axis=0, mode="clip") for a in query.attributes],
        )
    if reader.meta.link_width and query.linked:
        _add_links(reader, window, query, found, whole=whole)
    return len(found.positions[-1])


# ---- links ------------------------------------------------------------------


def _add_links(
    reader: LevelReader,
    window: Sequence[Selection],
    query: Query,
    found: _Found,
    *,
    whole: bool,
) -> None:
    """Add the links that a window keeps whose smallest vertex was asked for.

    Their other ends come later in the level, so whether these were asked for
    too is known at the end.
    """
    links, live = level_links_of(reader, window)
    values = [link_values_of(reader, attribute, window) for attribute in query.links]
    if live is not None:
        values = [column[live] for column in values]
    if not whole and len(links):
        here, first = found.vertex_ids[-1], links.min(axis=1)
        at = np.searchsorted(here, first)
        kept = at < len(here)
        kept[kept] = here[at[kept]] == first[kept]
        links, values = links[kept], [column[kept] for column in values]
    found.links.append(links)
    found.link_values.append(values)


def _as_rows(
    links: np.ndarray, vertex_ids: np.ndarray, *, whole: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Links by rows of what was read, and which of them have all ends there; None for all."""
    if (
        whole
        and len(vertex_ids)
        and int(vertex_ids[-1]) - int(vertex_ids[0]) + 1 == len(vertex_ids)
    ):
        return links - vertex_ids[0], None
    rows = np.searchsorted(vertex_ids, links)
    kept = np.asarray((rows < len(vertex_ids)).all(axis=1))
    kept[kept] = (vertex_ids[rows[kept]] == links[kept]).all(axis=1)
    return rows[kept], kept


# ---- pieces -----------------------------------------------------------------


def joined(pieces: Sequence[np.ndarray]) -> np.ndarray:
    """Pieces, at least one, one after the other."""
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def _by_name(
    attributes: Sequence[AttributeMeta], pieces: Sequence[Sequence[np.ndarray]]
) -> dict[str, np.ndarray]:
    return {
        attribute.name: joined([piece[at] for piece in pieces])
        for at, attribute in enumerate(attributes)
    }
