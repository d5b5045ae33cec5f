"""Lance, for measure: a table with a version for every append.

`position` is a FixedSizeList<float32, 3>, `object_id` an int64 with a BTREE index that is made with
the first write (and counted in its time), and not updated at an append, which is Lance's own way:
what is not in the index yet is scanned. An append is one fragment, through a dataset handle that
stays open. There is no spatial index on a list column, and a filter on its items is slower than
reading it, so a box is the whole column read and masked. Coordinates are not compressed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
from _harness import Points, peeked

SCHEMA = pa.schema([("position", pa.list_(pa.float32(), 3)), ("object_id", pa.int64())])


VALUED = SCHEMA.append(pa.field("value", pa.float32()))


def _batch(points: Points) -> pa.RecordBatch:
    flat = pa.array(points.positions.reshape(-1))
    columns = [pa.FixedSizeListArray.from_arrays(flat, 3), pa.array(points.object_ids)]
    if points.values is None:
        return pa.record_batch(columns, schema=SCHEMA)
    return pa.record_batch([*columns, pa.array(points.values)], schema=VALUED)


def _positions(table: pa.Table) -> np.ndarray:
    return table.column("position").combine_chunks().flatten().to_numpy().reshape(-1, 3)


class Reader:
    """The newest version."""

    def __init__(self, path: Path) -> None:
        self._dataset = lance.dataset(str(path))

    def whole(self) -> np.ndarray:
        return _positions(self._dataset.to_table(columns=["position"]))

    def valued(self) -> tuple[np.ndarray, np.ndarray]:
        table = self._dataset.to_table(columns=["position", "value"])
        return _positions(table), table.column("value").to_numpy()

    def box(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        positions = self.whole()
        x, y, z = positions.T
        inside = (x >= low[0]) & (x < high[0])
        inside &= (y >= low[1]) & (y < high[1])
        inside &= (z >= low[2]) & (z < high[2])
        return positions[inside]

    def objects(self, ids: np.ndarray) -> np.ndarray:
        wanted = ",".join(map(str, ids.tolist()))
        return _positions(
            self._dataset.to_table(columns=["position"], filter=f"object_id IN ({wanted})")
        )


class _Handle:
    def __init__(self, path: Path) -> None:
        self.dataset = lance.dataset(str(path))


class Side:
    label = "Lance"
    streams = True
    append_takes_seconds = False

    def version(self) -> str:
        return f"Lance {lance.__version__}"

    def write(self, path: Path, batches: Iterable[Points]) -> None:
        valued, batches = peeked(batches)
        schema = VALUED if valued else SCHEMA
        reader = pa.RecordBatchReader.from_batches(schema, (_batch(points) for points in batches))
        dataset = lance.write_dataset(reader, str(path))
        dataset.create_scalar_index("object_id", "BTREE")

    def open(self, path: Path) -> Any:
        return _Handle(path)

    def append(self, handle: Any, points: Points) -> None:
        handle.dataset = lance.write_dataset(
            pa.Table.from_batches([_batch(points)]), handle.dataset, mode="append"
        )

    def settle(self, path: Path) -> None:
        """Let the index know what was appended."""
        lance.dataset(str(path)).optimize.optimize_indices()

    def count(self, path: Path) -> int:
        return lance.dataset(str(path)).count_rows()

    def reader(self, path: Path) -> Reader:
        return Reader(path)
