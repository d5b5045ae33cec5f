"""What a worker does in a distributed import, with one part of a source.

First it looks through the part: its box, its ids, its attributes, how many
batches and objects it will make. Once all parts are known, each is given slots
and ids that no other has, and is written through a session of its own.
Everything here is plain functions of values that can be pickled.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np

from .._cache import Cache
from .._ids import Ids, KnownIds
from .._sets import distinct
from ..format.metadata import (
    FAMILIES,
    LINES,
    LINK_ATTRIBUTES,
    OBJECT_ATTRIBUTES,
    POINTS,
    VERTEX_ATTRIBUTES,
    AttributeMeta,
    DatasetMeta,
    LevelFacts,
)
from ..format.table import BatchRow
from ..writing import values as _values
from ..writing.stage import LevelStage
from ._import import append
from ._into import Into
from ._pieces import Part, Piece, Scan

__all__ = ["Looked", "Place", "Task", "Written", "look", "own_ids", "tasks_of", "write"]

_CACHE_BYTES = 1 << 20


@dataclass(frozen=True)
class Looked:
    """What looking through a part has told.

    Parameters
    ----------
    scan : Scan
    weight : int
        Of its pieces.
    ids : ndarray of int64
        Of its objects, ascending; of those that have ids of their own.
    counted : bool
        Whether these ids only count the objects of the source.
    unnamed : int
        Objects that get their ids by being counted on.
    attributes : dict of str to dict of str to AttributeMeta
        By family and name, as the first piece with them has them.
    """

    scan: Scan
    weight: int
    ids: np.ndarray
    counted: bool
    unnamed: int
    attributes: dict[str, dict[str, AttributeMeta]] = field(default_factory=dict)


def look(part: Part, kind: str) -> Looked:
    """Look through a part.

    Parameters
    ----------
    part : Part
    kind : str
        Of the dataset.
    """
    found, weight, unnamed, counted = Scan(None, 0, 0), 0, 0, False
    ids: list[np.ndarray] = [np.zeros(0, np.int64)]
    attributes: dict[str, dict[str, AttributeMeta]] = {family: {} for family in FAMILIES}
    for piece in part():
        if len(piece.positions) == 0:
            weight += piece.weight
            continue
        found |= piece.scan()
        weight += piece.weight
        if piece.object_ids is None:
            unnamed += _unnamed(piece, kind)
        else:
            ids.append(distinct(np.asarray(piece.object_ids)).astype(np.int64))
            counted |= piece.counted
        for family, name, values in _attributes(piece):
            if name not in attributes[family]:
                where = f"{piece.name}: attribute {name!r}"
                parsed = _values.parse(where, values, len(values), "", name, family=family)
                attributes[family][name] = parsed.meta
    return Looked(found, weight, distinct(np.concatenate(ids)), counted, unnamed, attributes)


def _unnamed(piece: Piece, kind: str) -> int:
    """How many objects a piece has that says nothing of objects."""
    if kind in LINES and piece.offsets is not None:
        return len(piece.offsets) - 1
    return len(piece.positions) if kind in POINTS else 1


def _attributes(piece: Piece) -> Iterator[tuple[str, str, Any]]:
    families: dict[str, Mapping[str, Any]] = {
        VERTEX_ATTRIBUTES: piece.attributes,
        LINK_ATTRIBUTES: piece.link_attributes,
        OBJECT_ATTRIBUTES: piece.object_attributes,
    }
    for family, values in families.items():
        for name, column in values.items():
            yield family, name, column


# ---- writing ----------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """One part, and the place it has been given.

    Parameters
    ----------
    part : Part
    slot : int
        Of its first batch; the others follow.
    first_unnamed : int
        The first id for objects that say nothing of theirs.
    begun : ndarray of int64
        Those of its objects that begin in an earlier part, or were there before.
    """

    part: Part
    slot: int
    first_unnamed: int
    begun: np.ndarray


@dataclass(frozen=True)
class Place:
    """What all parts have in common: the level they are written to.

    Parameters
    ----------
    meta : DatasetMeta
    facts : LevelFacts
        With all attributes that any part has.
    origin : int
        The number of the transaction.
    largest : int
        No object of the import or of the level has a larger id of its own.
    first_counted : int
        Where ids begin that only count.
    """

    meta: DatasetMeta
    facts: LevelFacts
    origin: int
    largest: int
    first_counted: int


@dataclass(frozen=True)
class Written:
    """What was uploaded for a part, to be recorded by the client.

    Parameters
    ----------
    fork : icechunk.ForkSession
        With the chunks.
    rows : list of BatchRow
    ids, new_ids : list of Ids
        Of each batch: all of its objects, and those that begin there.
    meta : DatasetMeta
        With bounds that may have grown.
    weight : int
    """

    fork: Any
    rows: list[BatchRow]
    ids: list[Ids]
    new_ids: list[np.ndarray]
    meta: DatasetMeta
    weight: int


class _Stage(LevelStage):
    """A level as one worker sees it: it keeps what it would record."""

    rows: list[BatchRow]
    batch_ids: list[Ids]
    batch_new: list[np.ndarray]

    def added(self, row: BatchRow, ids: np.ndarray, new_ids: np.ndarray) -> None:
        super().added(row, ids, new_ids)
        self.rows.append(row)
        self.batch_ids.append(Ids.of(ids))
        self.batch_new.append(new_ids)


def write(task: Task, place: Place, into: Into, fork: Any) -> Written:
    """Encode and upload the batches of one part.

    Parameters
    ----------
    task : Task
    place : Place
    into : Into
    fork : icechunk.ForkSession
        Of the client's session, in which all arrays are declared.
    """
    # Where workers are threads of one process, all of them would be given the same one.
    fork = pickle.loads(pickle.dumps(fork))
    # Nothing of the level is looked up: what is new was found out by the client.
    facts = replace(place.facts, slots=task.slot, max_object_id=-1)
    stage = _Stage(
        fork.store, place.meta, facts, KnownIds(), Cache(_CACHE_BYTES), origin=place.origin
    )
    stage.rows, stage.batch_ids, stage.batch_new = [], [], []
    if len(task.begun):
        stage.new_ids.append(Ids.of(task.begun))
    unnamed, weight = task.first_unnamed, 0
    try:
        for piece in task.part():
            weight += piece.weight
            largest = place.largest if piece.object_ids is not None else unnamed - 1
            stage.facts = replace(stage.facts, max_object_id=largest)
            append(stage, piece, into, place.first_counted)
            if piece.object_ids is None and len(piece.positions):
                unnamed += _unnamed(piece, place.meta.kind)
        stage.finish()
    except BaseException:
        stage.upload.stop()
        raise
    return Written(fork, stage.rows, stage.batch_ids, stage.batch_new, stage.meta, weight)


def tasks_of(
    parts: Sequence[Part], looked: Sequence[Looked], slot: int, first: int, begun: np.ndarray
) -> list[Task]:
    """Give each part slots and ids of its own.

    Parameters
    ----------
    parts : sequence of Part
    looked : sequence of Looked
    slot : int
        The level's next one.
    first : int
        The first id that is free.
    begun : ndarray of int64
        Objects that are there already and go on, ascending.
    """
    slots = slot + np.cumsum([0, *(told.scan.pieces for told in looked)])
    unnamed = first + np.cumsum([0, *(told.unnamed for told in looked)])
    return [
        Task(part, int(slots[at]), int(unnamed[at]), earlier)
        for at, (part, earlier) in enumerate(
            zip(parts, _begun_earlier(own_ids(looked, first), begun), strict=True)
        )
    ]


def own_ids(looked: Sequence[Looked], first: int) -> list[np.ndarray]:
    """The ids of the objects of each part that have ids of their own."""
    return [told.ids + first if told.counted else told.ids for told in looked]


def _begun_earlier(ids: Sequence[np.ndarray], begun: np.ndarray) -> list[np.ndarray]:
    """Those of the ids of each part that an earlier part has, or that had begun before all."""
    every = np.concatenate([begun, *ids])
    _, firsts = np.unique(every, return_index=True)
    is_first = np.zeros(len(every), bool)
    is_first[firsts] = True
    ends = len(begun) + np.cumsum([0, *map(len, ids)])
    return [every[a:b][~is_first[a:b]] for a, b in pairwise(ends.tolist())]
