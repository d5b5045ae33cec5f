"""Rows of tables of batches, matched and compared, and what is asked beyond them.

What a table of batches does not say by itself (the ids of a batch whose ids are
no run, which of its objects were removed, the members of groups) is asked of a
:class:`Details`, and only where it matters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

import numpy as np

from ..format.metadata import AttributeMeta
from ..format.table import INDEX, BatchTable

Side: TypeAlias = Literal["base", "ours", "theirs"]
Ids: TypeAlias = tuple[np.ndarray, np.ndarray]
"""The ids of the objects of a batch, by row, and which of them begin there."""

Groups: TypeAlias = Mapping[str, np.ndarray]

_UNIT = ("id_min", "id_max", "head_bytes")


class Details(Protocol):
    """What tables do not say. Rows are rows of the side's own table of that level."""

    def ids(self, side: Side, dataset: str, level: int, rows: Sequence[int]) -> list[Ids]:
        """The ids of some batches."""
        ...

    def removed(self, side: Side, dataset: str, level: int, row: int) -> np.ndarray:
        """Rows, ascending, of the objects of one batch that were removed."""
        ...

    def lost(
        self, side: Side, dataset: str, level: int, row: int, removed: np.ndarray
    ) -> tuple[int, int, int]:
        """Vertices, links, and objects that begin there, that a batch loses with some objects."""
        ...

    def object_values(
        self, side: Side, dataset: str, level: int, attribute: AttributeMeta, row: int
    ) -> np.ndarray | None:
        """Values of all objects that begin in one batch; None where nobody knows them."""
        ...

    def lineage(self, side: Side, dataset: str, level: int, row: int) -> tuple[bytes, ...]:
        """The uuids of the batches that a compaction made one batch of."""
        ...

    def groups(self, side: Side, dataset: str, level: int) -> Groups:
        """The groups of a level."""
        ...

    def equal(self, dataset: str, level: int, path: str, ours: int, theirs: int) -> bool:
        """Whether a content of one batch is the same on both sides, byte by byte."""
        ...


# ---- matching rows -----------------------------------------------------------


def find(uuids: np.ndarray, among: np.ndarray) -> np.ndarray:
    """The row of each of some batches among others: int64, -1 where it is not there.

    Histories have their beginning in common, so most rows are found without a
    search.
    """
    n = min(len(uuids), len(among))
    result = np.full(len(uuids), -1, np.int64)
    alike = (uuids[:n] == among[:n]).all(axis=1)
    shared = n if alike.all() else int(np.argmin(alike))
    result[:shared] = np.arange(shared)
    rest = _names(among[shared:])
    if len(rest):
        order = np.argsort(rest, kind="stable")
        names = _names(uuids[shared:])
        at = np.minimum(np.searchsorted(rest, names, sorter=order), len(rest) - 1)
        found = order[at]
        result[shared:] = np.where(rest[found] == names, found + shared, -1)
    return result


def _names(uuids: np.ndarray) -> np.ndarray:
    # Bytes of one fixed width: equal as numpy compares them only where all sixteen are.
    return np.ascontiguousarray(uuids).view("S16").ravel()


def pick(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """``values[rows]``, and 0 where a row is -1."""
    if len(values) == 0:
        return np.zeros(len(rows), values.dtype)
    return np.where(rows >= 0, values[rows], 0)


def same_ids(a: BatchTable, rows_a: np.ndarray, b: BatchTable, rows_b: np.ndarray) -> np.ndarray:
    """Mask of pairs of rows of the same batch that have the same ids."""
    alike = a.content(INDEX)[rows_a] == b.content(INDEX)[rows_b]
    for name in _UNIT:
        alike &= a.scalars[name][rows_a] == b.scalars[name][rows_b]
    return np.asarray(alike)
