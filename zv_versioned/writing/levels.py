"""Resolution levels: what makes a new one, and when a coarser one is out of date.

Levels are numbered from 0, full resolution, without gaps. Each has a grid of
its own, whose cells are whole multiples of those of level 0, so that grids
nest. A coarser level says which one it was made from; whatever changes that one
afterwards makes it stale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .. import _checks, _paths
from ..errors import MetadataError
from ..format import arrays, metadata
from ..format.metadata import DatasetMeta, LevelFacts
from ..spatial.boxes import parse_chunk_shape
from ..spatial.grid import Grid

_WHOLE = 1e-9
"""How far a ratio of edges may be from a whole number: as Zarr Vectors has it."""


def level_documents(meta: DatasetMeta, facts: LevelFacts) -> dict[str, dict[str, Any]]:
    """The nodes of an empty level, by path."""
    path = _paths.level_path(meta.name, facts.level)
    nodes = {
        path: metadata.group(facts.to_attributes(meta.axes)),
        f"{path}/batches": metadata.group(),
        f"{path}/vertices": arrays.vertices_array(facts.grid, meta.axes, meta.vertex_dtype),
        f"{path}/batches/index": arrays.index_array(),
        f"{path}/batches/table": arrays.table_array(),
    }
    if meta.link_width:
        links = arrays.links_array(facts.grid, meta.axes, meta.link_width)
        nodes[f"{path}/links"] = links
    return nodes


def new_level(
    meta: DatasetMeta,
    level: object,
    chunk_shape: Sequence[float] | None,
    coarsened_from: object,
    method: object,
) -> tuple[DatasetMeta, LevelFacts]:
    """The dataset with one more level, and the facts of it; see :meth:`Transaction.create_level`.

    Raises
    ------
    MetadataError
        If an argument is not acceptable.
    """
    number = len(meta.levels)
    if not _checks.is_whole(level):
        raise MetadataError(f"levels are numbers, got {level!r}")
    if level in meta.levels:
        raise MetadataError(
            f"dataset {meta.name!r} has a level {level}; write to it with tx.writer, or delete it"
        )
    if level != number:
        raise MetadataError(
            f"dataset {meta.name!r} has levels 0 to {number - 1}, and levels have no gaps: the "
            f"next is {number}, got {level!r}"
        )
    source = number - 1 if coarsened_from is None else coarsened_from
    if not _checks.is_whole(source) or source not in meta.levels:
        raise MetadataError(
            f"level {number} cannot be coarsened from {source!r}; there are levels "
            f"{', '.join(map(str, meta.levels))}"
        )
    if not isinstance(method, str) or not method.strip() or not method.isprintable():
        raise MetadataError(f'method must be text, such as "subsample", got {method!r}')
    ratio = _ratio(meta, int(source), chunk_shape)
    shape = tuple(edge * times for edge, times in zip(meta.chunk_shape, ratio, strict=True))
    facts = LevelFacts(
        number,
        Grid.for_bounds(meta.bounds, shape),
        slots=0,
        vertex_count=0,
        num_objects=0,
        max_object_id=-1,
        attributes={},
        coarsened={"from": source, "method": method, "stale": False, "ratio": list(ratio)},
    )
    return replace(meta, coarser=(*meta.coarser, shape)), facts


def _ratio(meta: DatasetMeta, source: int, chunk_shape: Sequence[float] | None) -> tuple[int, ...]:
    """How many cells of level 0 a cell is wide on each axis."""
    base = np.asarray(meta.chunk_shape)
    if chunk_shape is None:
        asked = 2 * np.asarray(meta.shapes[source])
    else:
        asked = np.asarray(parse_chunk_shape(chunk_shape, meta.ndim))
    ratio = asked / base
    whole = np.round(ratio)
    if (whole < 1).any() or (abs(ratio - whole) > _WHOLE * whole).any():
        raise MetadataError(
            f"chunk_shape {tuple(asked.tolist())} is {tuple(ratio.tolist())} times that of level "
            f"0, {meta.chunk_shape}; it must be a whole multiple on each axis"
        )
    return tuple(whole.astype(int).tolist())


def without_last(meta: DatasetMeta, level: int) -> DatasetMeta:
    """The dataset without one of its levels: the last, for levels have no gaps.

    Raises
    ------
    MetadataError
        If it is another one, or level 0.
    """
    last = meta.levels[-1]
    if level == 0 or level != last:
        remedy = "it is the dataset itself" if level == 0 else f"delete level {last} first"
        raise MetadataError(f"level {level} of dataset {meta.name!r} cannot be deleted: {remedy}")
    return replace(meta, coarser=meta.coarser[:-1])


def made_from(level: int, changed: int, sources: Mapping[int, int]) -> bool:
    """Whether a level was made from one that changed, at first or second hand.

    Parameters
    ----------
    level, changed : int
    sources : mapping of int to int
        What each coarser level was made from.
    """
    while level in sources:
        level = sources[level]
        if level == changed:
            return True
    return False
