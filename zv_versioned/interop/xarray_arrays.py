"""The variables of a level as arrays that xarray reads when it needs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

from ..reading import link_ranges, ranges
from ..writing.values import shown_dtype

if TYPE_CHECKING:
    from ..level import Level
    from ..reading.reader import LevelReader


class LevelArray(BackendArray):
    """One variable of a level, read by slices or by numbers along its first axis.

    Parameters
    ----------
    level : Level
    what : str
        ``positions``, ``axis``, ``attribute``, ``object_id``, ``batch`` or
        ``vertex_id``: all by vertex; ``objects`` (their ids) and
        ``object_attribute``, by object; ``links`` and ``link_attribute``, by link.
    name : str
        Of the attribute, or of the axis.
    """

    def __init__(self, level: Level, what: str, name: str = "") -> None:
        self.level = level
        self.what = what
        self.name = name
        self.shape, self.dtype = _form(level, what, name)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return (*self.level.__dask_tokenize__(), self.what, self.name)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, indexing.BasicIndexer | indexing.OuterIndexer):
            return self._get(key.tuple)
        # Points picked one by one: their rows first, and then of these.
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._get
        )

    def _get(self, key: tuple[Any, ...]) -> Any:
        first, rest = key[0], key[1:]
        if isinstance(first, slice):
            start, stop, step = first.indices(self.shape[0])
            if step == 1:
                rows = self._range(start, max(start, stop))
            else:
                rows = self._some(np.arange(start, stop, step))
        else:
            numbers = np.atleast_1d(np.asarray(first, np.int64))
            outside = (numbers < -self.shape[0]) | (numbers >= self.shape[0])
            if outside.any():
                raise IndexError(
                    f"index {int(numbers[outside][0])} is out of bounds for axis 0 with size "
                    f"{self.shape[0]}"
                )
            rows = self._some(np.where(numbers < 0, numbers + self.shape[0], numbers))
        if np.ndim(first) == 0 and not isinstance(first, slice):
            rows = rows[0]
            return rows[rest] if rest else rows
        return rows[(slice(None), *rest)] if rest else rows

    def _range(self, start: int, stop: int) -> np.ndarray:
        if self.what in _BY_LINK:
            return _BY_LINK[self.what](self.level, self.name, start, stop)
        if self.what in _MADE:
            return _MADE[self.what](self.level, self.name, np.arange(start, stop))
        reader = self.level._reader
        return ranges.read_range(reader, _reading(reader, self.what, self.name), start, stop)

    def _some(self, numbers: np.ndarray) -> np.ndarray:
        if self.what in _BY_LINK:
            start, stop = (int(numbers.min()), int(numbers.max()) + 1) if len(numbers) else (0, 0)
            return np.asarray(self._range(start, stop)[numbers - start])
        if self.what in _MADE:
            return _MADE[self.what](self.level, self.name, numbers)
        reader = self.level._reader
        return ranges.read_some(reader, _reading(reader, self.what, self.name), numbers)


def _reading(reader: LevelReader, what: str, name: str) -> ranges.Read:
    if what == "positions":
        return reader.positions_of
    if what == "axis":
        at = [axis["name"] for axis in reader.meta.axes].index(name)
        return lambda cells: np.ascontiguousarray(reader.positions_of(cells)[:, at])
    if what == "object_id":
        return lambda cells: reader.object_ids_of(cells)[0]
    attribute = reader.state.facts.attributes[name]
    dtype = shown_dtype(attribute)
    return lambda cells: _shown(reader.attribute_of(attribute, cells), dtype)


def _shown(values: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    return values if values.dtype == dtype else values.astype(dtype)


def _batch_slots(level: Level, name: str, vertices: np.ndarray) -> np.ndarray:
    reader = level._reader
    row = np.searchsorted(reader.vertex_base, vertices, side="right") - 1
    return np.asarray(reader.state.table.slot[row])


def _object_values(level: Level, name: str, rows: np.ndarray) -> np.ndarray:
    dtype = shown_dtype(level._reader.state.facts.object_attributes[name])
    return _shown(level.object_attribute(name)[rows], dtype)


_MADE: dict[str, Callable[[Level, str, np.ndarray], np.ndarray]] = {
    "batch": _batch_slots,
    "vertex_id": lambda level, name, vertices: vertices,
    "objects": lambda level, name, rows: level.object_ids()[rows],
    "object_attribute": _object_values,
}
"""What is not read by cells."""


def _link_values(level: Level, name: str, start: int, stop: int) -> np.ndarray:
    attribute = level._reader.state.facts.link_attributes[name]
    values = link_ranges.read_link_values(level._reader, attribute, start, stop)
    return _shown(values, shown_dtype(attribute))


_BY_LINK: dict[str, Callable[[Level, str, int, int], np.ndarray]] = {
    "links": lambda level, name, a, b: link_ranges.read_links(level._reader, a, b),
    "link_attribute": _link_values,
}


def _form(level: Level, what: str, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """The shape and the dtype of a variable."""
    facts, count = level._reader.state.facts, level.vertex_count
    if what == "positions":
        return (count, level._reader.meta.ndim), level._dataset.vertex_dtype
    if what == "axis":
        return (count,), level._dataset.vertex_dtype
    if what == "objects":
        return (level.num_objects,), np.dtype(np.int64)
    if what == "links":
        return (level.link_count, level._reader.meta.link_width or 2), np.dtype(np.int64)
    if what in ("attribute", "object_attribute", "link_attribute"):
        attributes, length = {
            "attribute": (facts.attributes, count),
            "object_attribute": (facts.object_attributes, level.num_objects),
            "link_attribute": (facts.link_attributes, level.link_count),
        }[what]
        attribute = attributes[name]
        return (length, *attribute.row_shape), shown_dtype(attribute)
    return (count,), np.dtype(np.int64)
