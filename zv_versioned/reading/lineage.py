"""What a batch was made of: the batches that a compaction merged into it.

``batches/lineage`` names them by uuid, in the order in which their vertices were
put one after the other, and each that was itself made by a compaction before
those that it was made of. So two snapshots know what they have in common, and
which vertex became which, however often they were compacted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .. import _paths, _store
from ..errors import IntegrityError
from ..format import batches, cells, columns
from ..format.table import LINEAGE

if TYPE_CHECKING:
    from .reader import LevelReader


def encode_lineage(uuids: Sequence[bytes]) -> bytes:
    """The batches that one was made of, as a cell."""
    table = np.frombuffer(b"".join(uuids), np.uint8).reshape(-1, 16)
    return batches.CODEC.encode(columns.pack({"uuid": table}))


def _decode(payload: memoryview) -> tuple[bytes, ...]:
    uuids = columns.unpack(payload).get("uuid")
    if uuids is None or uuids.dtype != np.uint8 or uuids.ndim != 2 or uuids.shape[1] != 16:
        raise IntegrityError("what a batch was made of is not a list of uuids")
    return tuple(bytes(uuid) for uuid in uuids)


def load_lineage(reader: LevelReader, rows: Sequence[int]) -> dict[int, tuple[bytes, ...]]:
    """For those of some batches (rows of the table) that a compaction made, their sources."""
    table = reader.state.table
    content = table.content(LINEAGE)
    made = [row for row in rows if content[row]]
    found = {row: reader.parts.get((LINEAGE, int(content[row]))) for row in made}
    wanting = [row for row, known in found.items() if known is None]
    path = _paths.join(reader.state.path, LINEAGE)
    keys = [_paths.shard_key(path, int(table.slot[row]), ()) for row in wanting]
    values = _store.get_many(reader.store, [(key, 0, -1) for key in keys])
    for row, key, value in zip(wanting, keys, values, strict=True):
        with _store.damage_in(key):
            found[row] = _decode(cells.decode(value))
        reader.parts.put((LINEAGE, int(content[row])), found[row], 64 * len(found[row]) + 64)
    return found


def flattened(reader: LevelReader, rows: Sequence[int]) -> list[bytes]:
    """What a batch that is made of some others (rows of the table) has to say of itself."""
    before = load_lineage(reader, rows)
    uuids: list[bytes] = []
    for row in rows:
        uuids.append(bytes(reader.state.table.uuid[row]))
        uuids += before.get(row, ())
    return uuids
