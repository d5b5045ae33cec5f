"""Stored values of attributes as what they stand for, and missing ones where there are none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .. import _paths, _store
from ..errors import ArrayError, IntegrityError
from ..format import cells
from ..format.metadata import TEXT, AttributeMeta
from ..writing.values import decode_texts, unpack_texts

if TYPE_CHECKING:
    from .reader import LevelReader


def spread(
    reader: LevelReader,
    attribute: AttributeMeta,
    parts: Sequence[tuple[int, int]],
    values: np.ndarray,
) -> np.ndarray:
    """Values over several batches, those that have none filled in.

    Parameters
    ----------
    reader : LevelReader
    attribute : AttributeMeta
    parts : sequence of (row, n)
        Rows of the table, and how many values are asked of each.
    values : ndarray
        The stored values of those batches that have some, one after the other.

    Returns
    -------
    ndarray, shape (sum of n, *row_shape)
        As they are read: text as objects, times as datetimes or timedeltas.
    """
    present = reader.state.table.content(attribute.path)
    if attribute.logical == TEXT:
        return _spread_texts(reader, attribute, parts, values)
    if not all(present[row] for row, _ in parts):
        stored, values = values, attribute.fill(sum(n for _, n in parts))
        offset = taken = 0
        for row, n in parts:
            if present[row]:
                values[offset : offset + n] = stored[taken : taken + n]
                taken += n
            offset += n
    return values.view(attribute.logical) if attribute.logical else values


def _spread_texts(
    reader: LevelReader,
    attribute: AttributeMeta,
    parts: Sequence[tuple[int, int]],
    codes: np.ndarray,
) -> np.ndarray:
    present = reader.state.table.content(attribute.path)
    dictionaries = load_dictionaries(reader, attribute, [row for row, _ in parts if present[row]])
    result = np.full((sum(n for _, n in parts), *attribute.row_shape), None, object)
    offset = taken = 0
    for row, n in parts:
        if present[row]:
            try:
                texts = decode_texts(codes[taken : taken + n], dictionaries[row])
            except IntegrityError as error:
                raise IntegrityError(f"attribute {attribute.name!r}: {error}") from error
            result[offset : offset + n] = texts
            taken += n
        offset += n
    return result


def load_dictionaries(
    reader: LevelReader, attribute: AttributeMeta, rows: Sequence[int]
) -> dict[int, np.ndarray]:
    """The dictionaries of some batches, which have values; see :func:`unpack_texts`."""
    content = reader.state.table.content(attribute.path)
    names = {row: ("dictionary", int(content[row])) for row in rows}
    found = {row: reader.parts.get(name) for row, name in names.items()}
    wanting = [row for row, known in found.items() if known is None]
    path = _paths.join(reader.state.path, attribute.dictionary)
    keys = [_paths.shard_key(path, int(reader.state.table.slot[row]), ()) for row in wanting]
    values = _store.get_many(reader.store, [(key, 0, -1) for key in keys])
    for row, key, value in zip(wanting, keys, values, strict=True):
        with _store.damage_in(key):
            payload = cells.decode(value)
            found[row] = unpack_texts(payload)
        reader.parts.put(names[row], found[row], 8 * len(payload) + 64)
    return found


def stored_object_values(
    reader: LevelReader, attribute: AttributeMeta, rows: Sequence[int]
) -> list[np.ndarray]:
    """What is stored of an object attribute for some batches, all of which have values.

    It is of all objects that begin there, also of those that were removed.
    """
    table = reader.state.table
    path = _paths.join(reader.state.path, attribute.path)
    keys = [_paths.shard_key(path, int(table.slot[row]), ()) for row in rows]
    found = []
    raw = _store.get_many(reader.store, [(key, 0, -1) for key in keys])
    for row, key, value in zip(rows, keys, raw, strict=True):
        n = int(table.n_new_objects[row])
        with _store.damage_in(key):
            payload = cells.decode(value)
            if len(payload) != n * attribute.row_bytes:
                raise IntegrityError(
                    f"{len(payload)} bytes where {n} values of {attribute.row_bytes} belong"
                )
        found.append(np.frombuffer(payload, attribute.dtype).reshape(n, *attribute.row_shape))
    return found


def object_values(
    reader: LevelReader, attribute: AttributeMeta, rows: Sequence[int] | None = None
) -> np.ndarray:
    """Values of an object attribute, in the order of the level's objects.

    Parameters
    ----------
    reader : LevelReader
    attribute : AttributeMeta
        Of the family ``object_attributes``.
    rows : sequence of int, optional
        Of the objects that begin in some batches (rows of the table), ascending.
    """
    table = reader.state.table
    if rows is None:
        rows = np.flatnonzero(table.live_new_objects > 0).tolist()
    values = begun_values(reader, attribute, rows)
    lossy = [row for row in rows if table.n_removed_objects[row]]
    if not lossy:
        return values
    tables = dict(zip(lossy, reader.ids(lossy), strict=True))
    live = dict(zip(lossy, reader.beginning(lossy), strict=True))
    masks = [
        live[row][tables[row][1]] if row in live else np.ones(int(table.n_new_objects[row]), bool)
        for row in rows
    ]
    return np.asarray(values[np.concatenate(masks)])


def begun_values(reader: LevelReader, attribute: AttributeMeta, rows: Sequence[int]) -> np.ndarray:
    """Values of all objects that begin in some batches, also of those that were removed."""
    table = reader.state.table
    present = table.content(attribute.path)
    found = stored_object_values(reader, attribute, [row for row in rows if present[row]])
    stored = np.concatenate(found) if found else attribute.fill(0)
    return spread(reader, attribute, [(row, int(table.n_new_objects[row])) for row in rows], stored)


def check_missing(missing: object) -> bool:
    """Whether missing values are an error.

    Raises
    ------
    ArrayError
        If it is neither "fill" nor "raise".
    """
    if missing not in ("fill", "raise"):
        raise ArrayError(f'missing must be "fill" or "raise", got {missing!r}')
    return missing == "raise"


def refuse_missing(
    reader: LevelReader, attribute: AttributeMeta, counts: np.ndarray, of: str
) -> None:
    """Refuse an attribute that does not cover all batches.

    Parameters
    ----------
    reader : LevelReader
    attribute : AttributeMeta
    counts : ndarray of int64, shape (B,)
        How many values each batch should have.
    of : str
        What they belong to, in words.

    Raises
    ------
    ArrayError
    """
    table = reader.state.table
    absent = (table.content(attribute.path) == 0) & (counts > 0)
    if absent.any():
        raise ArrayError(
            f"attribute {attribute.name!r} lacks values for {int(counts[absent].sum()):,} of "
            f"{int(counts.sum()):,} {of}, those of batches {table.slot[absent].tolist()[:10]}; "
            'read it with missing="fill"'
        )
