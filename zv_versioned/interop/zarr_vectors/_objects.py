"""The objects of a level: ids, manifests, and values by object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..._sets import without
from ...format import arrays
from ...format.manifests import encode_manifests
from ...format.metadata import LINES
from ...reading.reader import LevelReader
from ...reading.removed import removed_rows
from ._batches import Batches
from ._nodes import LITTLE, NO_CODECS, ArrayNode, Index, Loaded, Place, Source, Unit, vlen

MANIFEST_BUCKET = 512
ID_BUCKET = 65_536
FEW_ROWS = 65_536
"""Rows that a table of lines may always have, whatever part of them is empty."""


@dataclass(frozen=True)
class ObjectRows:
    """The rows of the table of objects that is handed out.

    Parameters
    ----------
    ids : ndarray of int64, shape (R,)
        The id that is handed out for each row.
    own_ids : ndarray of int64, shape (O,)
        The ids of the objects of the level, in the order of the level.
    row_of : ndarray of int64, shape (O,)
        The row of each of them.
    """

    ids: np.ndarray
    own_ids: np.ndarray
    row_of: np.ndarray

    @classmethod
    def of(cls, reader: LevelReader, *, numbered: bool = False) -> ObjectRows:
        """Lay out the table of a level.

        zarr-vectors 0.9.2 reads all lines of a level as the objects 0 to n - 1,
        n being the number of rows. So that it finds those that are there, a
        table of lines has a row for every id up to the largest, with nothing in
        it where there is no such object, as long as that is not a waste.

        Parameters
        ----------
        reader : LevelReader
        numbered : bool
            Whether the objects go by the number of their row in place of their id.
        """
        ids = reader.object_ids()
        if numbered:
            return cls(np.arange(len(ids)), ids, np.arange(len(ids)))
        if reader.meta.kind in LINES and len(ids):
            rows = int(ids.max()) + 1
            if rows <= max(FEW_ROWS, 4 * len(ids)):
                return cls(np.arange(rows), ids, ids)
        return cls(ids, ids, np.arange(len(ids)))

    @cached_property
    def _by_id(self) -> tuple[np.ndarray, np.ndarray]:
        order = np.argsort(self.own_ids, kind="stable")
        return self.own_ids[order], self.row_of[order]

    def rows(self, own_ids: np.ndarray) -> np.ndarray:
        """The rows of some objects of the level."""
        ids, rows = self._by_id
        return np.asarray(rows[np.searchsorted(ids, own_ids)])

    @property
    def ascending(self) -> bool:
        """Whether the ids are."""
        return bool((self.ids[1:] > self.ids[:-1]).all())

    def attributes(self, ndim: int) -> dict[str, Any]:
        """What the group ``object_index`` says."""
        return {
            "zv_array": "object_index",
            "num_objects": len(self.ids),
            "num_present": len(self.row_of),
            "sid_ndim": ndim + 1,
            "layout": "vlen_manifests_v2",
            "object_ids_sorted": self.ascending,
        }


class BucketArray(ArrayNode, Source):
    """An array of rows by object (or group), in buckets of a fixed number.

    Parameters
    ----------
    path : str
    rows : int
    bucket : int
        Rows of a chunk.
    """

    rank = 1

    def __init__(self, path: str, rows: int, bucket: int) -> None:
        super().__init__(path)
        self._n = rows
        self._bucket = bucket

    def chunks(self) -> Iterable[Index]:
        """The indices of the chunks that there are."""
        return ((i, *[0] * (self.rank - 1)) for i in range(-(-self._n // self._bucket)))

    def place(self, index: Index) -> Place | None:
        """Where a chunk is found."""
        there = index[0] * self._bucket < self._n and not any(index[1:])
        return Place(self, index[0], 0) if there else None

    def _rows(self, unit: Unit) -> tuple[int, int]:
        first = unit * self._bucket  # type: ignore[operator]
        return first, min(first + self._bucket, self._n)


class IdsArray(BucketArray):
    """``object_index/object_ids``: the id of each row."""

    def __init__(self, objects: ObjectRows) -> None:
        super().__init__("object_index/object_ids", len(objects.ids), ID_BUCKET)
        self._ids = objects.ids

    def document(self) -> dict[str, Any]:
        """What its ``zarr.json`` says."""
        document = arrays.bytes_array([self._n], [self._bucket], LITTLE, ["object"], {})
        document.update(data_type="int64", fill_value=0)
        return document

    def weight(self, unit: Unit) -> int:
        """About how many bytes a unit takes."""
        return 8 * self._bucket

    def load(self, units: Sequence[Unit]) -> list[Loaded]:
        """Make units."""
        made: list[Loaded] = []
        for unit in units:
            first, stop = self._rows(unit)
            chunk = np.zeros(self._bucket, "<i8")
            chunk[: stop - first] = self._ids[first:stop]
            made.append({0: chunk.tobytes()})
        return made


class ManifestsArray(BucketArray):
    """``object_index/manifests``: the fragments of each object, in its own order."""

    def __init__(self, batches: Batches, objects: ObjectRows) -> None:
        super().__init__("object_index/manifests", len(objects.ids), MANIFEST_BUCKET)
        self._batches = batches
        self._objects = objects
        table = batches.reader.state.table
        block = 8 * (batches.reader.meta.ndim + 1) + 9
        self._row_bytes = 4 + block * int(table.n_fragments.sum()) // max(1, self._n)

    def document(self) -> dict[str, Any]:
        """What its ``zarr.json`` says."""
        return arrays.bytes_array([self._n], [self._bucket], NO_CODECS, ["object"], {})

    def weight(self, unit: Unit) -> int:
        """About how many bytes a unit takes."""
        return self._bucket * self._row_bytes

    def load(self, units: Sequence[Unit]) -> list[Loaded]:
        """Make units; an object may have fragments in several batches."""
        spans = [self._rows(unit) for unit in units]
        wanted = np.zeros(self._n, bool)
        for first, stop in spans:
            wanted[first:stop] = True
        blobs = self._manifests(wanted)
        ends = np.cumsum(wanted)
        made: list[Loaded] = []
        for first, stop in spans:
            begin = int(ends[first]) - 1
            own = blobs[begin : begin + stop - first]
            made.append({0: vlen(own + [b""] * (self._bucket - len(own)))})
        return made

    def _manifests(self, wanted: np.ndarray) -> list[bytes]:
        """The manifests of some rows (a mask), ascending."""
        reader = self._batches.reader
        owners = [np.zeros(0, np.int64)]
        chunks = [np.zeros((0, reader.meta.ndim + 1), np.int64)]
        numbers = [np.zeros(0, np.int64)]
        parts = self._batches.parts
        tables = reader.ids([part.row for part in parts])
        removed = removed_rows(reader, [part.row for part in parts])
        for part, (ids, _) in zip(parts, tables, strict=True):
            there = np.arange(len(ids))
            if part.row in removed:
                there = without(there, removed[part.row])
            rows = self._objects.rows(ids[there])
            mine = wanted[rows]
            if not mine.any():
                continue
            counts, fragments = reader.object_fragments(part.row, part.head, there[mine])
            at, number = part.local(fragments)
            owners.append(np.repeat(rows[mine], counts))
            chunks.append(part.addresses[at])
            numbers.append(number)
        owner = np.concatenate(owners)
        by_object = np.argsort(owner, kind="stable")
        return encode_manifests(
            np.bincount(owner, minlength=self._n)[wanted],
            np.concatenate(chunks)[by_object],
            np.concatenate(numbers)[by_object],
        )


class GroupsArray(BucketArray):
    """``groups``: the ids of the objects of each group, as int64.

    Parameters
    ----------
    groups : mapping of str to ndarray of int64
        At least one; ids of the level.
    objects : ObjectRows
    """

    def __init__(self, groups: Mapping[str, np.ndarray], objects: ObjectRows) -> None:
        super().__init__("groups", len(groups), max(1, len(groups)))
        self._groups = {
            name: objects.ids[objects.rows(ids)] for name, ids in sorted(groups.items())
        }

    def document(self) -> dict[str, Any]:
        """What its ``zarr.json`` says."""
        names = list(self._groups)
        facts = {"zv_array": "groups", "num_groups": self._n, "group_names": names}
        return arrays.bytes_array([self._n], [self._bucket], NO_CODECS, ["group"], facts)

    def weight(self, unit: Unit) -> int:
        """About how many bytes a unit takes."""
        return sum(64 + ids.nbytes for ids in self._groups.values())

    def load(self, units: Sequence[Unit]) -> list[Loaded]:
        """Make units."""
        members = [ids.astype("<i8", copy=False).tobytes() for ids in self._groups.values()]
        return [{0: vlen(members)} for _ in units]
