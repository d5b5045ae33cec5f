"""A read handed out piece by piece: memory for a window, however much it is in all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from ..format.metadata import LINES
from ..geometry import Geometry
from .gather import gather
from .query import Request
from .reader import LevelReader
from .selection import Selection


def stream(reader: LevelReader, request: Request) -> Iterator[Geometry]:
    """The pieces of a read, in its order; put together they are the read, without links.

    Points, graphs and meshes come in windows of bounded size. Lines go on from
    cell to cell, and come a batch at a time.

    Parameters
    ----------
    reader : LevelReader
    request : Request

    Yields
    ------
    Geometry
        None of them empty.
    """
    query = replace(request.query, linked=False)
    left = query.limit
    for part in _parts(reader, request.plan):
        if left is not None and left <= 0:
            return
        found = gather(reader, part, replace(query, limit=left), whole=request.whole)
        left = None if left is None else left - len(found)
        if len(found):
            yield found


def _parts(reader: LevelReader, plan: Sequence[Selection]) -> Iterator[list[Selection]]:
    if reader.meta.kind not in LINES:
        yield from reader.windows(plan)
        return
    for _, batch in groupby(plan, key=lambda s: s.row):
        yield list(batch)
