"""Values by object: dense arrays, with a row for each row of the table of objects."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ...format import arrays, metadata
from ...format.metadata import OBJECT_ATTRIBUTES, TEXT, AttributeMeta
from ...reading.reader import LevelReader
from ...reading.values import object_values
from ._nodes import LITTLE, Loaded, Unit, vlen
from ._objects import BucketArray, ObjectRows

ROW_BUCKET = 16_384
OBJECT_ID = "object_id"
"""The attribute that has the ids of objects that go by number."""
_TEXT_CODECS: list[dict[str, Any]] = [{"name": "vlen-utf8"}]


class ObjectValuesArray(BucketArray):
    """``object_attributes/NAME``: a value for each object.

    Where there is none: NaN, NaT, the smallest signed or the largest unsigned
    integer, False, or no text at all.
    """

    def __init__(self, reader: LevelReader, objects: ObjectRows, attribute: AttributeMeta) -> None:
        super().__init__(attribute.path, len(objects.ids), ROW_BUCKET)
        self.rank = 1 + len(attribute.row_shape)
        self._reader = reader
        self._objects = objects
        self._attribute = attribute

    def document(self) -> dict[str, Any]:
        """What its ``zarr.json`` says."""
        attribute = self._attribute
        shape = [self._n, *attribute.row_shape]
        text = attribute.logical == TEXT
        dtype = attribute.logical_dtype
        facts = {
            "zv_array": "object_attribute",
            "name": attribute.name,
            "dtype": "str" if text else dtype.name,
            "shape": shape,
            "fill_sentinel_meaning": "absent",
        }
        document = arrays.bytes_array(
            shape,
            [self._bucket, *attribute.row_shape],
            _TEXT_CODECS if text else LITTLE,
            ["object", "channel"][: len(shape)],
            facts,
        )
        fill = metadata.fill_value(attribute.dtype)
        document.update(
            data_type="string" if text else _data_type(dtype),
            fill_value="" if text else "NaN" if fill != fill else fill,
        )
        return document

    @cached_property
    def _values(self) -> np.ndarray:
        """The values of all rows: (R, *row_shape)."""
        attribute = self._attribute
        values = object_values(self._reader, attribute)
        if len(values) == self._n:
            return values
        rows = np.full((self._n, *attribute.row_shape), None, values.dtype)
        if attribute.logical != TEXT:
            rows = attribute.fill(self._n).view(attribute.logical_dtype)
        rows[self._objects.row_of] = values
        return rows

    def weight(self, unit: Unit) -> int:
        """About how many bytes a unit takes."""
        row = self._attribute.row_bytes * (16 if self._attribute.logical == TEXT else 1)
        return self._bucket * row

    def load(self, units: Sequence[Unit]) -> list[Loaded]:
        """Make units."""
        attribute = self._attribute
        made: list[Loaded] = []
        for unit in units:
            first, stop = self._rows(unit)
            rows = self._values[first:stop]
            if attribute.logical == TEXT:
                texts = [(text or "").encode() for text in rows.reshape(-1).tolist()]
                empty = (self._bucket - len(rows)) * int(np.prod(attribute.row_shape, dtype=int))
                made.append({0: vlen(texts + [b""] * empty)})
            else:
                rest = attribute.fill(self._bucket - len(rows)).tobytes()
                made.append({0: np.ascontiguousarray(rows).tobytes() + rest})
        return made


class OwnIdsArray(ObjectValuesArray):
    """``object_attributes/object_id``: the ids of objects that go by number."""

    def __init__(self, reader: LevelReader, objects: ObjectRows) -> None:
        attribute = AttributeMeta(OBJECT_ID, np.dtype("i8"), (), OBJECT_ATTRIBUTES)
        super().__init__(reader, objects, attribute)
        self._values = objects.own_ids


def _data_type(dtype: np.dtype[Any]) -> str | dict[str, Any]:
    """How Zarr v3 calls a dtype."""
    if dtype.kind not in "mM":
        return dtype.name
    unit, factor = np.datetime_data(dtype)
    name = "numpy.datetime64" if dtype.kind == "M" else "numpy.timedelta64"
    return {"name": name, "configuration": {"unit": unit, "scale_factor": factor}}
