"""The table of batches: what a level consists of, a row a batch.

Rows lie in buckets of :data:`BUCKET`, each one chunk of ``batches/table``, so
that an append rewrites one small chunk however many batches there are, and a
view opens with a few. Each row also has the content id of every attribute's
values over the batch, under the column ``attribute:NAME``; 0 where it has none.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import IntegrityError
from . import columns
from .cells import CellCodec

BUCKET = 64
CODEC = CellCodec(typesize=8, cname="zstd", clevel=1)
ATTRIBUTE = "attribute:"

_SCALARS = {
    "slot": "<i8",
    "n_vertices": "<i8",
    "n_objects": "<i8",
    "n_new_objects": "<i8",
    "n_fragments": "<i8",
    "n_cells": "<i8",
    "id_min": "<i8",
    "id_max": "<i8",
    "head_bytes": "<i8",
    "vertex_bytes": "<i8",
}


def new_uuid() -> np.ndarray:
    """Sixteen random bytes that name a batch on every branch."""
    return np.frombuffer(secrets.token_bytes(16), np.uint8)


def new_content_id() -> int:
    """A random name, never 0, for the values of one attribute over one batch."""
    return secrets.randbits(63) or 1


@dataclass(frozen=True)
class BatchRow:
    """One row of the table; the names are those of the columns."""

    uuid: np.ndarray
    slot: int
    n_vertices: int
    n_objects: int
    n_new_objects: int
    n_fragments: int
    n_cells: int
    id_min: int
    id_max: int
    head_bytes: int
    vertex_bytes: int
    lo: np.ndarray
    hi: np.ndarray
    attributes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class BatchTable:
    """The rows of a level, as columns.

    Parameters
    ----------
    uuid : ndarray of uint8, shape (B, 16)
    lo, hi : ndarray of float64, shape (B, D)
        Smallest and largest coordinates of each batch.
    scalars : mapping of str to ndarray of int64, shape (B,)
    attributes : mapping of str to ndarray of int64, shape (B,)
        Content ids; 0 where a batch has no values.
    """

    uuid: np.ndarray
    lo: np.ndarray
    hi: np.ndarray
    scalars: Mapping[str, np.ndarray]
    attributes: Mapping[str, np.ndarray]

    def __getattr__(self, name: str) -> np.ndarray:
        try:
            return self.__dict__["scalars"][name]  # type: ignore[no-any-return]
        except KeyError:
            raise AttributeError(name) from None

    def __len__(self) -> int:
        return len(self.uuid)

    @classmethod
    def empty(cls, ndim: int) -> BatchTable:
        """A table without rows, of `ndim` spatial axes."""
        return cls(
            np.zeros((0, 16), np.uint8),
            np.zeros((0, ndim)),
            np.zeros((0, ndim)),
            {name: np.zeros(0, np.int64) for name in _SCALARS},
            {},
        )

    @classmethod
    def from_rows(cls, rows: Iterable[BatchRow], ndim: int) -> BatchTable:
        """A table of these rows."""
        rows = list(rows)
        if not rows:
            return cls.empty(ndim)
        names = sorted({name for row in rows for name in row.attributes})
        return cls(
            np.stack([row.uuid for row in rows]),
            np.stack([row.lo for row in rows]).astype("<f8"),
            np.stack([row.hi for row in rows]).astype("<f8"),
            {n: np.array([getattr(row, n) for row in rows], t) for n, t in _SCALARS.items()},
            {n: np.array([row.attributes.get(n, 0) for row in rows], "<i8") for n in names},
        )

    @classmethod
    def concatenate(cls, tables: list[BatchTable]) -> BatchTable:
        """One table of the rows of several, in their order."""
        if len(tables) == 1:
            return tables[0]
        names = sorted({name for table in tables for name in table.attributes})
        zero = {id(table): np.zeros(len(table), np.int64) for table in tables}
        return cls(
            np.concatenate([t.uuid for t in tables]),
            np.concatenate([t.lo for t in tables]),
            np.concatenate([t.hi for t in tables]),
            {n: np.concatenate([t.scalars[n] for t in tables]) for n in _SCALARS},
            {n: np.concatenate([t.attributes.get(n, zero[id(t)]) for t in tables]) for n in names},
        )

    def take(self, rows: np.ndarray | slice) -> BatchTable:
        """A table of some of the rows."""
        return BatchTable(
            self.uuid[rows],
            self.lo[rows],
            self.hi[rows],
            {n: c[rows] for n, c in self.scalars.items()},
            {n: c[rows] for n, c in self.attributes.items()},
        )

    def encode(self) -> bytes:
        """The rows (of one bucket) as a cell."""
        table: dict[str, Any] = {"uuid": self.uuid, "lo": self.lo, "hi": self.hi}
        table.update(self.scalars)
        table.update({ATTRIBUTE + name: column for name, column in self.attributes.items()})
        return CODEC.encode(columns.pack(table))

    @classmethod
    def decode(cls, payload: memoryview) -> BatchTable:
        """Read one bucket."""
        table = columns.unpack(payload)
        missing = {"uuid", "lo", "hi", *_SCALARS} - table.keys()
        if missing:
            raise IntegrityError(f"the table of batches lacks {', '.join(sorted(missing))}")
        attributes = {
            name[len(ATTRIBUTE) :]: column
            for name, column in table.items()
            if name.startswith(ATTRIBUTE)
        }
        scalars = {name: table[name] for name in _SCALARS}
        return cls(table["uuid"], table["lo"], table["hi"], scalars, attributes)
