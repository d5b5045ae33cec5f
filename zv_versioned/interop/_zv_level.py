"""A level of a Zarr Vectors store, read through zarr: which cells, fragments and objects it has.

Every vertex of the level has a number here, its *row*: cells in the order of their
chunks, and in each the order in which they are stored. Fragments and objects
name rows. What is small beside the vertices is read once and kept.

Source: Zarr Vectors 0.9.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import zarr

from .._sets import distinct
from ..errors import ArrayError, IntegrityError, ZVError
from ..format.fragments import decode_table
from ..format.manifests import decode_manifests
from ..spatial.assign import spans

__all__ = ["Fragments", "Objects", "ZVLevel", "quiet", "texts_of"]

_CELLS_AT_ONCE = 512
_BLOCK_BYTES = 64 << 20


@contextmanager
def quiet(where: str) -> Iterator[None]:
    """Around calls of zarr: without its warnings of dtypes, and with errors that say where.

    Raises
    ------
    ArrayError
        In place of what zarr raises.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", zarr.errors.UnstableSpecificationWarning)
            yield
    except (IntegrityError, ArrayError) as error:
        raise ArrayError(f"{where}: {error}") from error
    except (ZVError, MemoryError):
        raise
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise ArrayError(f"{where} cannot be read as Zarr Vectors: {said}") from error


@dataclass(frozen=True)
class Fragments:
    """The fragments of a level, cell after cell.

    Parameters
    ----------
    cell : ndarray of int64, shape (F,)
        The cell, by position.
    first, count : ndarray of int64, shape (F,)
        Of a range its first row in the cell; of another its place among `rows`.
    is_range : ndarray of bool, shape (F,)
    rows : ndarray of int64
        Rows, in the cell, of the fragments that are no range.
    start : ndarray of int64, shape (C + 1,)
        The first fragment of each cell.
    """

    cell: np.ndarray
    first: np.ndarray
    count: np.ndarray
    is_range: np.ndarray
    rows: np.ndarray
    start: np.ndarray


@dataclass(frozen=True)
class Objects:
    """The objects of a level.

    Parameters
    ----------
    ids : ndarray of int64, shape (O,)
    row : ndarray of int64, shape (O,)
        Its row in the store's table of objects.
    start : ndarray of int64, shape (O + 1,)
        Where the fragments of each begin.
    fragments : ndarray of int64
        Numbers of fragments, in each object's own order.
    """

    ids: np.ndarray
    row: np.ndarray
    start: np.ndarray
    fragments: np.ndarray


class ZVLevel:
    """One level; it can be pickled, and then reads again what it knew.

    Parameters
    ----------
    store : str or zarr.abc.store.Store
    path : str
        Of the level's group.
    """

    def __init__(self, store: Any, path: str) -> None:
        self.store = store
        self.path = path
        self.where = f"{store}, level {path}"

    def __reduce__(self) -> tuple[Any, ...]:
        return ZVLevel, (self.store, self.path)

    # -- documents -----------------------------------------------------------

    @cached_property
    def group(self) -> Any:
        """The level's group."""
        with quiet(self.where):
            return zarr.open_group(self.store, path=self.path, mode="r")

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What the level's document says."""
        return dict(self.group.attrs.get("zarr_vectors_level", {}))

    def array(self, path: str) -> Any:
        """An array of the level."""
        with quiet(f"{self.where}, {path}"):
            return self.group[path]

    def names(self, path: str) -> list[str]:
        """The names of what lies in a group of the level; none where there is no such group."""
        with quiet(f"{self.where}, {path}"):
            if path not in self.group:
                return []
            return sorted(name for name, _ in self.group[path].members())

    def has(self, path: str) -> bool:
        """Whether something lies at a path of the level."""
        with quiet(f"{self.where}, {path}"):
            return path in self.group

    # -- cells ---------------------------------------------------------------

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """Of the coordinates."""
        attributes = self.array("vertices").attrs
        if attributes.get("encoding", "raw") != "raw":
            raise ArrayError(
                f"{self.where}: its vertices are encoded as {attributes['encoding']!r}, and raw "
                "ones can be read"
            )
        dtype: np.dtype[Any] = np.dtype(attributes["dtype"])
        return dtype

    def filled(self, array: Any, where: str) -> np.ndarray:
        """The chunks that an array has, by coordinates, in their order: (C, K) int64."""
        keys = array.attrs.get("nonempty_chunks")
        if keys is None:
            raise ArrayError(
                f"{where} does not list its chunks (nonempty_chunks), as Zarr Vectors 0.9 does"
            )
        rank = len(array.shape)
        found = np.array([list(map(int, key.split("."))) for key in keys], np.int64)
        found = found.reshape(-1, rank)
        return found[np.lexsort(found.T[::-1])]

    @cached_property
    def cells(self) -> np.ndarray:
        """The coordinates of the cells that have vertices: (C, K) int64, ascending."""
        return self.filled(self.array("vertices"), f"{self.where}, vertices")

    def find(self, coordinates: np.ndarray) -> np.ndarray:
        """Positions of cells, by coordinates; -1 where there is none."""
        if len(self.cells) == 0 or len(coordinates) == 0:
            return np.full(len(coordinates), -1, np.int64)
        low, high = self.cells.min(axis=0), self.cells.max(axis=0)
        inside = ((coordinates >= low) & (coordinates <= high)).all(axis=1)
        sizes = high - low + 1
        weights = np.concatenate((np.cumprod(sizes[:0:-1])[::-1], [1])).astype(np.int64)
        keys = (self.cells - low) @ weights
        asked = np.where(inside, (coordinates - low) @ weights, -1)
        at = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
        return np.where(inside & (keys[at] == asked), at, -1)

    def payloads(self, path: str, coordinates: np.ndarray) -> list[bytes]:
        """The payloads of some chunks of an array; empty where there is none."""
        array = self.array(path)
        origin = np.asarray(array.attrs.get("chunk_grid_origin", [0] * len(array.shape)), np.int64)
        found: list[bytes] = []
        for start in range(0, len(coordinates), _CELLS_AT_ONCE):
            index = coordinates[start : start + _CELLS_AT_ONCE] - origin
            with quiet(f"{self.where}, {path}"):
                if (index < 0).any() or (index >= np.asarray(array.shape)).any():
                    raise ArrayError("a chunk is listed that the array has no place for")
                found += array.vindex[tuple(index.T)].tolist()
        return found

    # -- fragments and rows --------------------------------------------------

    @cached_property
    def fragments(self) -> Fragments:
        """The fragments of all cells."""
        blobs = self.payloads("vertex_fragments", self.cells)
        with quiet(f"{self.where}, vertex_fragments"):
            tables = [decode_table(blob) for blob in blobs]
        counts = np.array([len(table[0]) for table in tables], np.int64)
        extra = np.cumsum([0, *(len(table[3]) for table in tables)])
        none = np.zeros(0, np.int64)
        first = [
            np.where(table[2], table[0], table[0] + shift)
            for table, shift in zip(tables, extra, strict=False)
        ]
        return Fragments(
            np.repeat(np.arange(len(tables)), counts),
            np.concatenate([none, *first]),
            np.concatenate([none, *(table[1] for table in tables)]),
            np.concatenate([np.zeros(0, bool), *(table[2] for table in tables)]),
            np.concatenate([none, *(table[3] for table in tables)]),
            np.concatenate([[0], np.cumsum(counts)]),
        )

    @cached_property
    def row_start(self) -> np.ndarray:
        """The first row of each cell, and the number of all rows: (C + 1,) int64."""
        table = self.fragments
        last = np.where(table.is_range, table.first + table.count, 0)
        listed = np.flatnonzero(~table.is_range & (table.count > 0))
        if len(listed):
            last[listed] = np.maximum.reduceat(table.rows, table.first[listed]) + 1
        rows = np.zeros(len(self.cells), np.int64)
        np.maximum.at(rows, table.cell, last)
        return np.concatenate([[0], np.cumsum(rows)])

    def rows_of(self, fragments: np.ndarray) -> np.ndarray:
        """The rows of some fragments, one after the other."""
        table = self.fragments
        counts = table.count[fragments]
        rows = spans(table.first[fragments], counts)
        listed = np.repeat(~table.is_range[fragments], counts)
        rows[listed] = table.rows[rows[listed]]
        base = np.repeat(self.row_start[table.cell[fragments]], counts)
        return np.asarray(rows + base)

    def cell_of(self, rows: np.ndarray) -> np.ndarray:
        """The position of the cell that each row is in."""
        found: np.ndarray = np.searchsorted(self.row_start, rows, side="right") - 1
        return found

    # -- objects -------------------------------------------------------------

    @cached_property
    def objects(self) -> Objects | None:
        """The objects; None where the level says nothing of objects."""
        if not self.has("object_index/manifests"):
            return None
        with quiet(f"{self.where}, object_index"):
            blobs = self.group["object_index/manifests"][:].tolist()
            counts, chunks, numbers = decode_manifests(blobs, self.cells.shape[1])
            ids = np.arange(len(blobs), dtype=np.int64)
            if self.has("object_index/object_ids"):
                ids = np.asarray(self.group["object_index/object_ids"][:], np.int64)
            cells = self.find(chunks)
            if (cells < 0).any():
                raise ArrayError(
                    f"an object has a part in chunk {chunks[np.argmin(cells)]}, "
                    "which has no vertices"
                )
            fragments = self.fragments.start[cells] + numbers
            if (fragments >= self.fragments.start[cells + 1]).any() or (numbers < 0).any():
                raise ArrayError("an object names a fragment that is not there")
        present = np.flatnonzero(counts > 0)
        start = np.concatenate([[0], np.cumsum(counts[present])])
        return Objects(ids[present], present, start, fragments)

    # -- values --------------------------------------------------------------

    def read_rows(
        self,
        path: str,
        dtype: np.dtype[Any],
        row_shape: tuple[int, ...],
        rows: np.ndarray,
        fill: Any = None,
    ) -> np.ndarray:
        """Values of an array for some rows, in their order: (n, *row_shape).

        Parameters
        ----------
        fill : scalar, optional
            What stands where a cell has none; without it that is an error.
        """
        out = np.empty((len(rows), *row_shape), dtype)
        order = np.argsort(rows, kind="stable")
        ascending = rows[order]
        cell = self.cell_of(ascending)
        cells, first = np.unique(cell, return_index=True)
        bounds = np.append(first, len(rows))
        size = int(np.prod(row_shape, dtype=np.int64)) * dtype.itemsize
        weight = (self.row_start[cells + 1] - self.row_start[cells]) * size
        block = np.cumsum(weight) // _BLOCK_BYTES
        for number in distinct(block).tolist():
            at = np.flatnonzero(block == number)
            values, base = self._block(path, cells[at], size, dtype, row_shape, fill)
            taken = slice(int(bounds[at[0]]), int(bounds[at[-1] + 1]))
            here = cell[taken]
            local = ascending[taken] - self.row_start[here]
            out[order[taken]] = values[base[np.searchsorted(cells[at], here)] + local]
        return out

    def _block(
        self,
        path: str,
        cells: np.ndarray,
        size: int,
        dtype: np.dtype[Any],
        row_shape: tuple[int, ...],
        fill: Any,
    ) -> tuple[np.ndarray, np.ndarray]:
        """All values of some cells, and where those of each begin."""
        counts = self.row_start[cells + 1] - self.row_start[cells]
        payloads = self.payloads(path, self.cells[cells])
        for cell, count, payload in zip(cells, counts.tolist(), payloads, strict=True):
            if len(payload) != count * size and (payload or fill is None):
                raise ArrayError(
                    f"{self.where}, {path}: chunk {self.cells[cell].tolist()} has "
                    f"{len(payload)} bytes, and {count} rows of {size} belong there"
                )
        absent = np.array([not payload for payload in payloads])
        little = dtype.newbyteorder("<")
        if absent.any():
            values = np.full((int(counts.sum()), *row_shape), fill, little)
            stored = np.frombuffer(b"".join(payloads), little).reshape(-1, *row_shape)
            values[np.repeat(~absent, counts)] = stored
        else:
            values = np.frombuffer(b"".join(payloads), little).reshape(-1, *row_shape)
        return values, np.cumsum(counts) - counts


def texts_of(codes: np.ndarray, facts: Mapping[str, Any]) -> np.ndarray:
    """Texts of the codes of a dictionary; None where one is missing."""
    categories = np.array([*map(_text, facts["categories"]), None], object)
    missing = facts.get("_FillValue")
    known = (codes >= 0) & (codes < len(categories) - 1)
    if missing is not None:
        known &= codes != missing
    return np.asarray(categories[np.where(known, codes, len(categories) - 1)])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)
