"""Levels as dask DataFrames: a partition is a run of cells, read by whoever works on it.

What goes to a worker is the level (a location and a snapshot id), the numbers of
batches and cells, and what is asked of them. The index is the number of the
vertex, so that the divisions are known without anything being read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _checks
from ..errors import ArrayError
from ..reading import query as _query
from ..reading import ranges
from ..reading.asked import Query
from ..reading.gather import gather
from ..reading.selection import Selection
from ._extras import need
from .tables import attributes_of, frame, vertex_columns

if TYPE_CHECKING:
    import dask.dataframe
    import pandas

    from ..format.metadata import AttributeMeta
    from ..geometry import Geometry
    from ..level import Level

PARTITION_VERTICES = 1 << 20

Cells = tuple[int, np.ndarray, np.ndarray | None]
"""Cells of one batch: its row in the table, their places among its cells, rows of objects."""


def to_dask(
    level: Level, attributes: _query.Names, partition_vertices: int, filters: _query.Filters
) -> dask.dataframe.DataFrame:
    """The vertices as a dask DataFrame; see :meth:`Level.to_dask`."""
    dataframe: Any = need("dask.dataframe", "dask", "to_dask()")
    if not (_checks.is_whole(partition_vertices) and partition_vertices >= 1):
        raise ArrayError(
            f"partition_vertices must be a whole number from 1 up, got {partition_vertices!r}"
        )
    if filters.get("limit") is not None:
        raise ArrayError("a dask DataFrame takes no limit; use head(n)")
    chosen = attributes_of(level, "vertices", attributes)
    names = [attribute.name for attribute in chosen]
    request = _query.parse(level._reader, attributes=names, linked=False, **filters)
    query = replace(request.query, linked=False)
    nothing = gather(level._reader, [], query, whole=True)
    meta = _frame(level, nothing, chosen)
    parts, divisions = _partitions(level, request.plan, partition_vertices)
    if not parts:
        empty: dask.dataframe.DataFrame = dataframe.from_pandas(meta, npartitions=1)
        return empty
    made: dask.dataframe.DataFrame = dataframe.from_map(
        _read,
        parts,
        level=level,
        query=query,
        whole=request.whole,
        meta=meta,
        divisions=divisions,
        label="zv",
        enforce_metadata=False,
    )
    return made


def _partitions(
    level: Level, plan: Sequence[Selection], size: int
) -> tuple[list[list[Cells]], tuple[int, ...]]:
    """Runs of cells, and the first vertex of each run, and the last of all."""
    reader = level._reader
    rows = sorted({s.row for s in plan})
    starts = dict(zip(rows, ranges.cell_starts(reader, rows), strict=True))
    parts: list[list[Cells]] = []
    divisions: list[int] = []
    end = 0
    for window in reader.windows(plan, size):
        if all((np.diff(starts[s.row])[s.at] == 0).all() for s in window):
            continue
        first, last = window[0], window[-1]
        begin = int(reader.vertex_base[first.row] + starts[first.row][first.at[0]])
        end = int(reader.vertex_base[last.row] + starts[last.row][last.at[-1] + 1])
        parts.append([(s.row, s.at, s.object_rows) for s in window])
        divisions.append(begin)
    return parts, (*divisions, end - 1)


def _read(cells: list[Cells], level: Level, query: Query, whole: bool) -> pandas.DataFrame:
    """One partition, read wherever this is called."""
    reader = level._reader
    heads = reader.heads([row for row, _, _ in cells])
    window = [
        Selection(row, head, at, objects)
        for (row, at, objects), head in zip(cells, heads, strict=True)
    ]
    return _frame(level, gather(reader, window, query, whole=whole), query.attributes)


def _frame(level: Level, found: Geometry, attributes: Sequence[AttributeMeta]) -> pandas.DataFrame:
    """Vertices in the order of the level; lines lose their order in it."""
    pandas: Any = need("pandas", "dask", "to_dask()")
    of_lines = found.parts is not None
    columns = vertex_columns(replace(found, parts=None), attributes, level, 0)
    made = frame(level, columns, pandas)
    return made.sort_index() if of_lines else made
