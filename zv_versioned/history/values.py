"""The values that the sides of a conflict have: read when somebody asks for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..format.metadata import LINK_ATTRIBUTES, OBJECT_ATTRIBUTES, AttributeMeta, LevelFacts
from ..format.table import BatchTable
from ..reading.links import link_values_of, whole
from ..reading.values import begun_values
from .details import Snapshot
from .index import DatasetIndex, Index, LevelIndex, reader_of

if TYPE_CHECKING:
    from ..reading.reader import LevelReader
    from ..repository import Repository
    from .conflicts import Conflict
    from .sides import Sides


def loader(
    repository: Repository, sides: Sides, ours: Index, store: Any
) -> Callable[[Conflict], tuple[Any, ...]]:
    """A function that reads what base, ours and theirs have of a conflict about an attribute."""
    base = sides.origin.store if isinstance(sides.origin, Snapshot) else None
    known = ((sides.base, base), (ours, store), (sides.theirs, sides.source.store))

    def load(conflict: Conflict) -> tuple[Any, ...]:
        if conflict.kind != "attribute":
            return (None, None, None)
        return tuple(_values(repository, index, s, conflict) for index, s in known)

    return load


def level_of(dataset: DatasetIndex | None, number: int, like: DatasetIndex) -> LevelIndex:
    """A level of a dataset, or an empty one where there is none."""
    if dataset is not None and number in dataset.levels:
        return dataset.levels[number]
    some = like.levels.get(number) or next(iter(like.levels.values()))
    facts = LevelFacts(number, some.facts.grid, 0, 0, 0, -1, {})
    return LevelIndex(some.path, facts, BatchTable.empty(like.meta.ndim))


def _values(repository: Repository, index: Index, store: Any, conflict: Conflict) -> Any:
    """Values of an attribute over the batches of a conflict, one after the other."""
    dataset = index.get(conflict.dataset)
    level = None if dataset is None else dataset.levels.get(conflict.level or 0)
    if dataset is None or level is None or store is None:
        return None
    family, _, name = conflict.key.partition("/")
    attribute = level.facts.family(family).get(name)
    rows = level.rows()
    wanted = [rows[uuid] for uuid in conflict.batches if uuid in rows]
    if attribute is None or not wanted:
        return None
    reader = reader_of(store, dataset.meta, level, repository._parts)
    if family == OBJECT_ATTRIBUTES:
        return _of_objects(reader, attribute, conflict, rows)
    if family == LINK_ATTRIBUTES:
        return link_values_of(reader, attribute, whole(reader, wanted))
    return reader.attribute_of(attribute, reader.plan(np.array(wanted)))


def _of_objects(
    reader: LevelReader, attribute: AttributeMeta, conflict: Conflict, rows: dict[bytes, int]
) -> np.ndarray:
    """The values of the objects that are in conflict, batch by batch."""
    found = []
    for at, uuid in enumerate(conflict.batches):
        if uuid in rows:
            values = begun_values(reader, attribute, [rows[uuid]])
            disputed = conflict._rows[at] if conflict._rows else None
            found.append(values if disputed is None else values[disputed])
    return np.concatenate(found)
