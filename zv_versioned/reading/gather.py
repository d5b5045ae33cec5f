"""What a read returns, put together: vertices, their links and values, window by window.

A plan names cells; of their vertices those are kept that were asked for. Points,
graphs and meshes come in the order of the level, and a link is there where all
its ends are. Lines are put in order by :mod:`._gather_lines`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..format.batches import FragmentPage
from ..format.metadata import LINES, AttributeMeta
from ..geometry import Geometry
from ..spatial.assign import spans
from . import gather_lines
from .asked import Query, WindowValues
from .links import level_links_of, link_values_of
from .reader import LevelReader, counts_before
from .selection import Selection
from .wanted import Ranges


@dataclass(frozen=True)
class _Part:
    """Vertices and links that one window has of what is asked for.

    `values` has an array for each attribute, `link_values` for each attribute of links.
    """

    positions: np.ndarray
    vertex_ids: np.ndarray
    object_ids: np.ndarray
    values: list[np.ndarray]
    links: np.ndarray | None = None
    link_values: list[np.ndarray] = field(default_factory=list)


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
    parts: list[_Part] = []
    left = query.limit
    if left is not None and not query.looks_at_vertices:
        plan = _first_cells(reader, plan, left)
    if whole or not plan:
        windows: Iterable[Sequence[Selection]] = [plan]
    elif _looks_at_objects(query, plan):
        windows = reader.asked_windows(plan, query.needed)
    else:
        windows = reader.windows(plan)
    for window in windows:
        parts.append(_read_window(reader, window, query, left, whole=whole))
        left = None if left is None else left - len(parts[-1].positions)
        if left is not None and left <= 0:
            break
    geometry = Geometry(
        positions=joined([part.positions for part in parts]),
        vertex_ids=joined([part.vertex_ids for part in parts]),
        object_ids=joined([part.object_ids for part in parts]),
        attributes=_by_name(query.attributes, [part.values for part in parts]),
    )
    width = reader.meta.link_width
    if width == 0 or not query.linked:
        return geometry
    links = joined([part.links for part in parts if part.links is not None])
    rows, kept = _as_rows(links, geometry.vertex_ids, whole=whole)
    values = _by_name(query.links, [part.link_values for part in parts])
    if kept is not None:
        values = {name: column[kept] for name, column in values.items()}
    if width == 3:
        return replace(geometry, faces=rows, link_attributes=values)
    return replace(geometry, edges=rows, link_attributes=values)


def _looks_at_objects(query: Query, plan: Sequence[Selection]) -> bool:
    """Whether nothing is looked at but the vertices of objects that were asked for."""
    return not query.looks_at_vertices and all(s.object_rows is not None for s in plan)


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


def _read_window(
    reader: LevelReader,
    window: Sequence[Selection],
    query: Query,
    limit: int | None,
    *,
    whole: bool,
) -> _Part:
    """What one window has of what is asked for."""
    by_object = _looks_at_objects(query, window)
    pages: list[FragmentPage] | None = None

    def looked_at() -> list[Ranges | None]:
        nonlocal pages
        pages = reader.fragments(window)
        return reader.rows_looked_at(window, pages, query.needed)

    positions, known = reader.read_window(
        window, query.needed, looked_at=looked_at if by_object else None, brief=not whole
    )
    values = WindowValues(reader, window, known)
    ids, sizes, asked = reader.fragments_of(window, pages)
    if whole:
        columns = [values.of(a) for a in query.attributes]
        part = _Part(positions, reader.vertex_ids_of(window), np.repeat(ids, sizes), columns)
    else:
        ends = np.cumsum(sizes)
        if by_object and asked is not None:
            rows = spans((ends - sizes)[asked], sizes[asked])[:limit]
            object_ids = np.repeat(ids[asked], sizes[asked])[:limit]
        else:
            mask = np.ones(len(positions), bool) if asked is None else np.repeat(asked, sizes)
            query.narrow(mask, values, positions)
            rows = np.flatnonzero(mask)[:limit]
            object_ids = np.repeat(ids, counts_before(rows, ends))
        part = _Part(
            positions.take(rows, axis=0, mode="clip"),
            reader.vertex_ids_of(window, rows),
            object_ids,
            [values.of(a).take(rows, axis=0, mode="clip") for a in query.attributes],
        )
    if reader.meta.link_width and query.linked:
        return _with_links(reader, window, query, part, whole=whole)
    return part


# ---- links ------------------------------------------------------------------


def _with_links(
    reader: LevelReader, window: Sequence[Selection], query: Query, part: _Part, *, whole: bool
) -> _Part:
    """The same with the links that the window keeps whose smallest vertex was asked for.

    Their other ends come later in the level, so whether these were asked for
    too is known at the end.
    """
    links, live = level_links_of(reader, window)
    values = [link_values_of(reader, attribute, window) for attribute in query.links]
    if live is not None:
        values = [column[live] for column in values]
    if not whole and len(links):
        here, first = part.vertex_ids, links.min(axis=1)
        at = np.searchsorted(here, first)
        kept = at < len(here)
        kept[kept] = here[at[kept]] == first[kept]
        links, values = links[kept], [column[kept] for column in values]
    return replace(part, links=links, link_values=values)


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
