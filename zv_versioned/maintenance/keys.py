"""The chunks that batches have: what goes with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .. import _paths
from .._cells_io import Blocks
from ..format.metadata import FAMILIES, LINK_ATTRIBUTES, OBJECT_ATTRIBUTES, TEXT, VERTEX_ATTRIBUTES
from ..format.table import INDEX, LINEAGE, REMOVED
from ..reading.links import LINKS
from ..reading.reader import LevelReader


def arrays_of_batches(reader: LevelReader) -> list[str]:
    """The paths of all arrays of a level that have chunks of batches."""
    found = ["vertices", INDEX, REMOVED, LINEAGE]
    if reader.meta.link_width:
        found.append(LINKS)
    for family in FAMILIES:
        for attribute in reader.state.facts.family(family).values():
            found.append(attribute.path)
            if attribute.logical == TEXT:
                found.append(attribute.dictionary)
    return [_paths.join(reader.state.path, path) for path in found]


def keys_of_batches(reader: LevelReader, rows: Sequence[int]) -> Iterator[str]:
    """The keys of all chunks of some batches (rows of the table).

    Parameters
    ----------
    reader : LevelReader
    rows : sequence of int
    """
    table, facts, path = reader.state.table, reader.state.facts, reader.state.path
    for row, head in zip(rows, reader.heads(rows), strict=True):
        slot = int(table.slot[row])
        by_vertices = ["vertices"]
        by_links = [LINKS] if reader.meta.link_width and table.n_links[row] else []
        by_batch = [p for p in (REMOVED, LINEAGE) if table.content(p)[row]]
        for family in FAMILIES:
            for attribute in facts.family(family).values():
                if not table.content(attribute.path)[row]:
                    continue
                arrays = {
                    VERTEX_ATTRIBUTES: by_vertices,
                    LINK_ATTRIBUTES: by_links,
                    OBJECT_ATTRIBUTES: by_batch,
                }[family]
                arrays.append(attribute.path)
                if attribute.logical == TEXT:
                    by_batch.append(attribute.dictionary)
        for arrays, cells in (
            (by_vertices, head.cells),
            (by_links, head.cells[head.cell_links > 0] if by_links else None),
        ):
            if cells is not None:
                blocks = Blocks.of(cells, facts.grid).keys
                for array in arrays:
                    yield from (
                        _paths.shard_key(_paths.join(path, array), slot, block) for block in blocks
                    )
        yield _paths.shard_key(_paths.join(path, INDEX), slot, (0,))
        for array in by_batch:
            yield _paths.shard_key(_paths.join(path, array), slot, ())
