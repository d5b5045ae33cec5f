"""What was removed of a batch: which objects, and so which vertices.

A batch keeps all that was appended; ``batches/removed`` names the rows of the
objects that are no longer there. From them and the batch's index follows which
vertices are left out of what is read, counted and numbered. Only the pages of
the index that removed objects are in have to be looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .. import _paths, _store
from .._sets import distinct
from ..errors import IntegrityError
from ..format import cells, columns
from ..format.batches import BatchHead
from ..format.table import REMOVED
from ..spatial.assign import spans
from .selection import Selection, cell_of

if TYPE_CHECKING:
    from .batch_indexes import BatchIndexes

_BATCHES_AT_ONCE = 256


@dataclass(frozen=True)
class Removal:
    """The removed vertices of one batch: whole fragments.

    Parameters
    ----------
    start : ndarray of int64, shape (F,)
        The first vertex, within the batch, of each removed fragment; ascending.
    count : ndarray of int64, shape (F,)
    total : ndarray of int64, shape (F + 1,)
        Removed vertices before each fragment, and of all.
    """

    start: np.ndarray
    count: np.ndarray
    total: np.ndarray

    def before(self, vertices: np.ndarray) -> np.ndarray:
        """How many removed vertices come before each of some, which begin or end a fragment."""
        return np.asarray(self.total[np.searchsorted(self.start, vertices)])

    def holds(self, vertices: np.ndarray) -> np.ndarray:
        """Mask of those of some vertices, within the batch, that were removed."""
        if len(self.start) == 0:
            return np.zeros(vertices.shape, bool)  # the objects had no vertices left
        at = np.searchsorted(self.start, vertices, side="right") - 1
        return np.asarray((at >= 0) & (vertices < self.start[at] + self.count[at]))

    def clear(self, head: BatchHead, at: np.ndarray, mask: np.ndarray) -> None:
        """Set a mask over the vertices of some cells (`at`, ascending) to False where removed."""
        cell = np.searchsorted(head.vertex_start, self.start, side="right") - 1
        place = np.minimum(np.searchsorted(at, cell), len(at) - 1)
        here = at[place] == cell
        begins = np.cumsum(head.cell_vertices[at], dtype=np.int64) - head.cell_vertices[at]
        place = place[here]
        first = begins[place] + self.start[here] - head.vertex_start[at[place]]
        mask[spans(first, self.count[here])] = False


def encode_rows(rows: np.ndarray) -> bytes:
    """The rows of the removed objects of a batch as a payload."""
    return columns.pack({"row": rows.astype("<i8")})


def _decode_rows(payload: memoryview, n_objects: int) -> np.ndarray:
    rows = columns.unpack(payload).get("row")
    if rows is None or len(rows) == 0 or (np.diff(rows) <= 0).any() or int(rows[0]) < 0:
        raise IntegrityError("what was removed of a batch is not a list of ascending rows")
    if int(rows[-1]) >= n_objects:
        raise IntegrityError(f"object {int(rows[-1])} of a batch of {n_objects} is named removed")
    return rows


def removed_rows(reader: BatchIndexes, rows: Sequence[int]) -> dict[int, np.ndarray]:
    """For those of some batches that lost objects, the rows of these, ascending."""
    table = reader.state.table
    content = table.content(REMOVED)
    found: dict[int, np.ndarray] = {}
    wanting = []
    for row in rows:
        if content[row]:
            known = reader.parts.get((REMOVED, int(content[row])))
            if known is None:
                wanting.append(row)
            else:
                found[row] = known
    path = _paths.join(reader.state.path, REMOVED)
    keys = [_paths.shard_key(path, int(table.slot[row]), ()) for row in wanting]
    values = _store.get_many(reader.store, [(key, 0, -1) for key in keys])
    for row, key, value in zip(wanting, keys, values, strict=True):
        with _store.damage_in(key):
            found[row] = _decode_rows(cells.decode(value), int(table.n_objects[row]))
        reader.parts.put((REMOVED, int(content[row])), found[row], found[row].nbytes)
    return found


def load_removals(reader: BatchIndexes, rows: Sequence[int]) -> dict[int, Removal]:
    """What was removed of some batches, for those that lost objects."""
    table = reader.state.table
    content = table.content(REMOVED)
    if not content.any():
        return {}
    objects = removed_rows(reader, rows)
    names = {row: ("removal", bytes(table.uuid[row]), int(content[row])) for row in objects}
    found: dict[int, Removal] = {}
    wanting: dict[int, np.ndarray] = {}
    for row, name in names.items():
        known = reader.parts.get(name)
        if known is None:
            wanting[row] = objects[row]
        else:
            found[row] = known
    for row, removal in removals_of(reader, wanting).items():
        if removal.total[-1] != table.n_removed_vertices[row]:
            raise IntegrityError(
                f"{removal.total[-1]:,} vertices of batch {int(table.slot[row])} of "
                f"{reader.state.path!r} are removed, and {table.n_removed_vertices[row]:,} in the "
                "table"
            )
        reader.parts.put(names[row], removal, 3 * removal.total.nbytes)
        found[row] = removal
    return found


def removals_of(reader: BatchIndexes, objects: Mapping[int, np.ndarray]) -> dict[int, Removal]:
    """What is removed of some batches along with some of their objects.

    Parameters
    ----------
    reader : BatchIndexes
    objects : mapping of int to ndarray of int64
        For rows of the table, the rows of the objects, ascending.
    """
    found: dict[int, Removal] = {}
    rows = list(objects)
    for start in range(0, len(rows), _BATCHES_AT_ONCE):
        some = rows[start : start + _BATCHES_AT_ONCE]
        heads = reader.heads(some)
        reader.know_objects([(r, h, objects[r]) for r, h in zip(some, heads, strict=True)])
        fragments, cells_of = [], []
        for row, head in zip(some, heads, strict=True):
            fragments.append(np.sort(reader.object_fragments(row, head, objects[row])[1]))
            at = distinct(cell_of(head, fragments[-1]))
            cells_of.append(Selection(row, head, at))
        pages = reader.fragments(cells_of)
        for s, numbers, page in zip(cells_of, fragments, pages, strict=True):
            found[s.row] = _removal(s, numbers, page.vertices.astype(np.int64))
    return found


def _removal(cells_of: Selection, fragments: np.ndarray, sizes: np.ndarray) -> Removal:
    """The vertices of some fragments.

    Parameters
    ----------
    cells_of : Selection
        The cells that they lie in.
    fragments : ndarray of int64
        Their numbers in the batch, ascending.
    sizes : ndarray of int64
        Vertices of all the fragments of these cells.
    """
    head, at = cells_of.head, cells_of.at
    inverse = np.searchsorted(at, cell_of(head, fragments))
    # Where each fragment of the cells begins: in its cell, after those before it.
    begins = np.cumsum(sizes) - sizes
    counts = head.cell_fragments[at].astype(np.int64)
    first = np.cumsum(counts) - counts
    shift = head.vertex_start[at] - begins[first]
    local = fragments - head.fragment_start[at][inverse] + first[inverse]
    count = sizes[local]
    return Removal(begins[local] + shift[inverse], count, np.append(0, np.cumsum(count)))
