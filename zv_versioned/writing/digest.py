"""What an append adds to the digest of its level, from what was given and is in memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..format import digest
from ..format.digest import Column, Owners, Sums
from ..format.metadata import TEXT, AttributeMeta
from ..spatial.lines import Walk
from .objects import Objects
from .values import Values

POSITION = "position"


def column_of(
    attribute: AttributeMeta,
    rows: np.ndarray,
    texts: np.ndarray | None,
    order: np.ndarray | None = None,
) -> Column:
    """The column of an attribute: its stored numbers, and of text what stands for each code."""
    missing = None if attribute.logical == TEXT else attribute.fill(1)
    return Column(attribute.path, rows, missing, texts, order)


def _columns(values: Sequence[Values], order: np.ndarray | None = None) -> list[Column]:
    columns = []
    for value in values:
        stored = value.stored()
        texts = None if stored.texts is None else digest.texts_column(stored.texts)
        columns.append(column_of(value.meta, stored.rows, texts, order))
    return columns


def of_points(array: np.ndarray, objects: Objects, values: Sequence[Values]) -> Sums:
    """Of vertices without links."""
    columns = [Column(POSITION, array), *_columns(values)]
    return digest.items("vertex", len(array), Owners(objects.ids, objects.rows), columns)


def of_links(
    array: np.ndarray,
    objects: Objects,
    values: Sequence[Values],
    links: np.ndarray,
    link_values: Sequence[Values],
) -> Sums:
    """Of a graph or a mesh."""
    columns = [Column(POSITION, array), *_columns(values)]
    owners = Owners(objects.ids, objects.rows)
    return digest.linked(len(array), owners, columns, links, _columns(link_values))


def of_lines(
    array: np.ndarray,
    ids: np.ndarray,
    walk: Walk,
    values: Sequence[Values],
    line_vertices: np.ndarray,
    link_values: Sequence[Values],
) -> Sums:
    """Of lines; `line_vertices` as they were given, the values of links line after line."""
    columns = [Column(POSITION, array, order=walk.order), *_columns(values, walk.order)]
    number = None
    if link_values:
        is_source = np.ones(len(array), bool)
        is_source[np.cumsum(line_vertices) - 1] = False
        number = np.maximum(np.cumsum(is_source) - 1, 0)
        if walk.order is not None:
            number = number[walk.order]
    links = _columns(link_values, number)
    return digest.lines(Owners(ids, walk.line_object), walk.line_vertices, columns, links)
