"""The table of batches: what a level consists of, a row a batch.

Rows lie in buckets of :data:`BUCKET`, each one chunk of ``batches/table``, so
that an append rewrites one small chunk however many batches there are, and a
view opens with a few. What may differ between two snapshots for the same batch
has a *content id* in the row, under the column ``content:PATH``, where PATH is
the array (``vertex_attributes/NAME``, ``batches/removed``, …): 0 where the batch
has nothing there, or has what it began with. Equal ids mean equal bytes, so two
snapshots are compared, and merged, by their tables alone.

Under ``range:PATH`` stand the smallest and the largest value of a content, after
its id: a range that names another content than the row has is out of date, and
says nothing. So whoever changes a content need not know of ranges.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import IntegrityError
from . import columns
from .cells import CellCodec

BUCKET = 64
CODEC = CellCodec(typesize=8, cname="zstd", clevel=1)
CONTENT = "content:"
RANGE = "range:"
REMOVED = "batches/removed"
"""The content of a batch that says which of its objects were removed."""
LINEAGE = "batches/lineage"
"""The content of a batch that says which batches a compaction made it of."""
INDEX = "batches/index"
"""The content of a batch's index: 0 until its object ids were written anew."""

SCALARS = {
    "slot": "<i8",
    "n_vertices": "<i8",
    "n_objects": "<i8",
    "n_new_objects": "<i8",
    "n_fragments": "<i8",
    "n_cells": "<i8",
    "n_links": "<i8",
    "n_removed_vertices": "<i8",
    "n_removed_objects": "<i8",
    "n_removed_links": "<i8",
    "default_ids": "<i8",
    "origin": "<i8",
    "id_min": "<i8",
    "id_max": "<i8",
    "head_bytes": "<i8",
    "vertex_bytes": "<i8",
    "digest_a": "<i8",
    "digest_b": "<i8",
    "digest_of": "<i8",
}
_LATER = ("digest_a", "digest_b", "digest_of")
"""Columns that tables which were written before them lack, and are 0 there."""
_PLACES = {name: place for place, name in enumerate(SCALARS)}


def new_uuid() -> np.ndarray:
    """Sixteen random bytes that name a batch on every branch."""
    return np.frombuffer(secrets.token_bytes(16), np.uint8)


def new_content_id() -> int:
    """A random name, never 0, for one content of one batch."""
    return secrets.randbits(63) or 1


EVERYTHING = (-np.inf, np.inf)
"""The range of values of which nothing is known."""


def ranges_of(content: np.ndarray, lo_hi: np.ndarray) -> np.ndarray:
    """Ranges (B, 2) as a table has them, with the ids of the contents that they are of: (B, 3)."""
    bits = np.ascontiguousarray(lo_hi, np.float64).view(np.int64)
    return np.column_stack([content, bits.reshape(-1, 2)])


def range_of(rows: np.ndarray, missing: int | None = None) -> tuple[float, float]:
    """Between what the values of one content lie.

    Parameters
    ----------
    rows : ndarray, shape (n,)
        Numbers or booleans, as they are stored. NaN is left out.
    missing : int, optional
        What stands for no value, and is left out.

    Returns
    -------
    lo, hi : float
        Rounded away from the values where they are no float64; (inf, -inf) where
        there is no value.
    """
    if rows.dtype.kind == "f":
        lo, hi = np.fmin.reduce(rows, initial=np.inf), np.fmax.reduce(rows, initial=-np.inf)
        return float(lo), float(hi)
    if missing is not None:
        rows = rows[rows != missing]
    if len(rows) == 0:
        return np.inf, -np.inf
    low, high = int(rows.min()), int(rows.max())
    lo, hi = float(low), float(high)
    if lo > low:
        lo = float(np.nextafter(lo, -np.inf))
    if hi < high:
        hi = float(np.nextafter(hi, np.inf))
    return lo, hi


def new_transaction_id() -> str:
    """A random name of a transaction: 63 bits as hexadecimal digits."""
    return f"{new_content_id():016x}"


def origin_of(transaction_id: str) -> int:
    """The number of a transaction; 0 where the name is none of ours."""
    return int(transaction_id, 16) if transaction_id else 0


@dataclass(frozen=True)
class BatchRow:
    """One row of the table; the names are those of the columns.

    ``n_removed_objects`` counts objects that began in this batch. ``default_ids``
    is 1 where the ids were counted on, not given, so that a merge may count anew.
    ``origin`` is the number of the transaction that made the batch. ``digest_a``
    and ``digest_b`` are the sums of :mod:`.digest` over the batch, and ``digest_of``
    says what contents they were taken over; 0 where nothing was summed. ``ranges``
    are of contents: no value is smaller than the first number or larger than the other.
    """

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
    n_links: int = 0
    n_removed_vertices: int = 0
    n_removed_objects: int = 0
    n_removed_links: int = 0
    default_ids: int = 0
    origin: int = 0
    digest_a: int = 0
    digest_b: int = 0
    digest_of: int = 0
    contents: Mapping[str, int] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)


class Scalars(Mapping[str, np.ndarray]):
    """The columns of whole numbers by their names, in one array: rows are taken of all at once.

    Parameters
    ----------
    numbers : ndarray of int64, shape (len(SCALARS), B)
    """

    __slots__ = ("numbers",)

    def __init__(self, numbers: np.ndarray) -> None:
        self.numbers = numbers

    @classmethod
    def of(cls, columns: Mapping[str, np.ndarray]) -> Scalars:
        """Those of some columns, which must be all there are."""
        return columns if isinstance(columns, cls) else cls(np.array([columns[n] for n in SCALARS]))

    def __getitem__(self, name: str) -> np.ndarray:
        found: np.ndarray = self.numbers[_PLACES[name]]
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(SCALARS)

    def __len__(self) -> int:
        return len(SCALARS)


@dataclass(frozen=True)
class BatchTable:
    """The rows of a level, as columns.

    Parameters
    ----------
    uuid : ndarray of uint8, shape (B, 16)
    lo, hi : ndarray of float64, shape (B, D)
        Smallest and largest coordinates of each batch.
    scalars : mapping of str to ndarray of int64, shape (B,)
    contents : mapping of str to ndarray of int64, shape (B,)
        Content ids by the array's path in the level; 0 where a batch has none.
    ranges : mapping of str to ndarray of int64, shape (B, 3)
        By path: a content id, and the bits of the smallest and largest value there.
    """

    uuid: np.ndarray
    lo: np.ndarray
    hi: np.ndarray
    scalars: Mapping[str, np.ndarray]
    contents: Mapping[str, np.ndarray]
    ranges: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "scalars", Scalars.of(self.scalars))

    @property
    def _numbers(self) -> np.ndarray:
        return Scalars.of(self.scalars).numbers

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
            Scalars(np.zeros((len(SCALARS), 0), np.int64)),
            {},
        )

    @classmethod
    def from_rows(cls, rows: Iterable[BatchRow], ndim: int) -> BatchTable:
        """A table of these rows."""
        rows = list(rows)
        if not rows:
            return cls.empty(ndim)
        names = sorted({name for row in rows for name in row.contents})
        return cls(
            np.stack([row.uuid for row in rows]),
            np.stack([row.lo for row in rows]).astype("<f8"),
            np.stack([row.hi for row in rows]).astype("<f8"),
            Scalars(np.array([[getattr(row, n) for row in rows] for n in SCALARS], np.int64)),
            {n: np.array([row.contents.get(n, 0) for row in rows], "<i8") for n in names},
            {
                n: ranges_of(
                    np.array([row.contents.get(n, 0) for row in rows], np.int64),
                    np.array([row.ranges.get(n, EVERYTHING) for row in rows], np.float64),
                )
                for n in sorted({name for row in rows for name in row.ranges})
            },
        )

    @classmethod
    def concatenate(cls, tables: list[BatchTable]) -> BatchTable:
        """One table of the rows of several, in their order."""
        if len(tables) == 1:
            return tables[0]
        names = sorted({name for table in tables for name in table.contents})
        return cls(
            np.concatenate([t.uuid for t in tables]),
            np.concatenate([t.lo for t in tables]),
            np.concatenate([t.hi for t in tables]),
            Scalars(np.concatenate([t._numbers for t in tables], axis=1)),
            {n: np.concatenate([t.content(n) for t in tables]) for n in names},
            {
                n: np.concatenate([t._range_of(n) for t in tables])
                for n in sorted({name for table in tables for name in table.ranges})
            },
        )

    def take(self, rows: np.ndarray | slice) -> BatchTable:
        """A table of some of the rows."""
        return BatchTable(
            self.uuid[rows],
            self.lo[rows],
            self.hi[rows],
            Scalars(self._numbers[:, rows]),
            {n: c[rows] for n, c in self.contents.items()},
            {n: r[rows] for n, r in self.ranges.items()},
        )

    def content(self, path: str) -> np.ndarray:
        """The content ids of an array: (B,) int64."""
        found = self.contents.get(path)
        return np.zeros(len(self), np.int64) if found is None else found

    def _range_of(self, path: str) -> np.ndarray:
        found = self.ranges.get(path)
        return np.zeros((len(self), 3), np.int64) if found is None else found

    @property
    def nbytes(self) -> int:
        """Bytes of memory of all columns."""
        columns = (self.uuid, self.lo, self.hi, self._numbers)
        own = sum(column.nbytes for column in columns)
        return own + sum(c.nbytes for c in (*self.contents.values(), *self.ranges.values()))

    def range(self, path: str) -> tuple[np.ndarray, np.ndarray]:
        """Between what the values of an array lie in each batch: two of (B,) float64.

        Infinite where it is not known; the first is the larger one where a batch has
        no value but missing ones.
        """
        found, content = self._range_of(path), self.content(path)
        known = (found[:, 0] == content) & (content != 0)
        lo, hi = np.ascontiguousarray(found[:, 1:].T).view(np.float64)
        return np.where(known, lo, -np.inf), np.where(known, hi, np.inf)

    def with_columns(
        self,
        scalars: Mapping[str, np.ndarray],
        contents: Mapping[str, np.ndarray],
        ranges: Mapping[str, np.ndarray] | None = None,
    ) -> BatchTable:
        """The same batches with some columns replaced."""
        numbers = self._numbers
        if scalars:
            numbers = numbers.copy()
            for name, column in scalars.items():
                numbers[_PLACES[name]] = column
        return BatchTable(
            self.uuid,
            self.lo,
            self.hi,
            Scalars(numbers),
            {**self.contents, **contents},
            {**self.ranges, **(ranges or {})},
        )

    def same_as(self, other: BatchTable) -> bool:
        """Whether both tables have the same batches with the same columns."""
        return len(self) == len(other) == self.alike(other)

    def alike(self, other: BatchTable) -> int:
        """How many rows, from the first on, have the same batches with the same columns."""
        n = min(len(self), len(other))
        same = (self.uuid[:n] == other.uuid[:n]).all(axis=1)
        same &= (self._numbers[:, :n] == other._numbers[:, :n]).all(axis=0)
        for name in self.contents.keys() | other.contents.keys():
            same &= self.content(name)[:n] == other.content(name)[:n]
        return n if same.all() else int(np.argmin(same))

    @property
    def names(self) -> np.ndarray:
        """The uuids as bytes, (B,) of 16: to sort and to compare, not to read."""
        return np.ascontiguousarray(self.uuid).view("S16").ravel()

    @cached_property
    def plain(self) -> np.ndarray:
        """Mask of the batches whose ids are the run from the smallest to the largest, all new."""
        return np.asarray(
            (self.id_max - self.id_min == self.n_objects - 1)
            & (self.n_new_objects == self.n_objects)
            & (self.content(INDEX) == 0)
        )

    @cached_property
    def live_vertices(self) -> np.ndarray:
        """Vertices of each batch without those of removed objects: (B,) int64."""
        return np.asarray(self.n_vertices - self.n_removed_vertices)

    @property
    def live_new_objects(self) -> np.ndarray:
        """Objects that began in each batch and were not removed: (B,) int64."""
        return np.asarray(self.n_new_objects - self.n_removed_objects)

    @property
    def live_links(self) -> np.ndarray:
        """Links of each batch without those of removed objects: (B,) int64."""
        return np.asarray(self.n_links - self.n_removed_links)

    def encode(self) -> bytes:
        """The rows (of one bucket) as a cell."""
        table: dict[str, Any] = {"uuid": self.uuid, "lo": self.lo, "hi": self.hi}
        table.update(self.scalars)
        # A content that no batch of this bucket has needs no column in it.
        table.update({CONTENT + name: c for name, c in self.contents.items() if c.any()})
        for name, ranges in self.ranges.items():
            if ((ranges[:, 0] != 0) & (ranges[:, 0] == self.content(name))).any():
                table[RANGE + name] = ranges
        return CODEC.encode(columns.pack(table))

    @classmethod
    def decode(cls, payload: memoryview) -> BatchTable:
        """Read one bucket."""
        table = columns.unpack(payload)
        zeros = np.zeros(len(table.get("uuid", ())), np.int64)
        table = {**dict.fromkeys(_LATER, zeros), **table}
        missing = {"uuid", "lo", "hi", *SCALARS} - table.keys()
        if missing:
            raise IntegrityError(f"the table of batches lacks {', '.join(sorted(missing))}")
        contents = {
            name[len(CONTENT) :]: column
            for name, column in table.items()
            if name.startswith(CONTENT)
        }
        ranges = {
            name[len(RANGE) :]: column for name, column in table.items() if name.startswith(RANGE)
        }
        try:
            numbers = np.array([table[name] for name in SCALARS])
        except ValueError as error:
            raise IntegrityError(f"columns of the table of batches do not fit: {error}") from error
        if numbers.dtype != np.int64:
            raise IntegrityError(f"a column of the table of batches is of {numbers.dtype}")
        return cls(table["uuid"], table["lo"], table["hi"], Scalars(numbers), contents, ranges)
