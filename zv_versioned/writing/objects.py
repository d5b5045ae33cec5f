"""The objects of one append: which there are, which are new, what was given for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import _checks
from .._sets import is_in
from ..errors import ArrayError
from ..format.metadata import OBJECT_ATTRIBUTES
from ..format.table import REMOVED
from ..reading.removed import removed_rows
from ..spatial.assign import object_rows
from . import values as _values
from .stage import LevelStage
from .values import Values

_REMOVED = "overlap existing objects that were removed from"
_RETIRED = "; the ids of removed objects stay retired"


@dataclass(frozen=True)
class Objects:
    """The objects of one append.

    Parameters
    ----------
    ids : ndarray of int64, shape (O,)
        Ascending.
    is_new : ndarray of bool, shape (O,)
        Which of them begin in this batch.
    by_default : bool
        Whether the ids were counted on, not given.
    rows : ndarray of int64, shape (K,)
        The row of the object of each item (vertex or line) of the append.
    """

    ids: np.ndarray
    is_new: np.ndarray
    by_default: bool
    rows: np.ndarray

    def without_rows(self) -> Objects:
        """The same once everything is sorted: eight bytes less for each vertex."""
        return replace(self, rows=np.zeros(0, np.int64))


def objects_of(
    stage: LevelStage,
    given: np.ndarray | None,
    n: int,
    *,
    extend: bool = False,
    together: bool = False,
) -> Objects:
    """The objects of an append of `n` items (vertices or lines).

    Parameters
    ----------
    stage : LevelStage
    given : ndarray of int64, shape (n,), or None
        The id of each item; None to count on from the largest id.
    n : int
        At least 1.
    extend : bool
        Whether objects that are there may go on.
    together : bool
        Whether, where no ids are given, all items are one object; else each is
        one.

    Raises
    ------
    ArrayError
        If an id is taken, or no ids are left.
    """
    if given is None:
        count = 1 if together else n
        first = stage.facts.max_object_id + 1
        if first + count - 1 > _checks.MAX_ID:
            raise ArrayError(
                f"the level's largest object id is {first - 1}: no {count:,} ids are left after "
                "it; pass object_ids"
            )
        ids = np.arange(first, first + count, dtype=np.int64)
        rows = np.zeros(n, np.int64) if together else np.arange(n)
        return Objects(ids, np.ones(count, bool), True, rows)
    ids, rows = object_rows(given)
    is_new = np.ones(len(ids), bool)
    if int(ids[0]) <= stage.facts.max_object_id:
        for removed in stage.removed_ids:
            _refuse(stage, ids[is_in(ids, removed)], _REMOVED, _RETIRED)
        for begun in stage.new_ids:
            is_new &= ~begun.among(ids)
        committed = _committed(stage, ids[is_new & (ids <= stage.base.max_object_id)])
        if len(committed):
            _refuse(stage, _removed_before(stage, committed), _REMOVED, _RETIRED)
        if extend:
            is_new[np.searchsorted(ids, committed)] = False
        else:
            _refuse(
                stage, committed, "overlap existing objects of", "; extend=True lets objects go on"
            )
    return Objects(ids, is_new, False, rows)


def _committed(stage: LevelStage, ids: np.ndarray) -> np.ndarray:
    """Those of the ids that objects of earlier commits have."""
    if len(ids) == 0:
        return ids
    return stage.known_ids.among(
        ids,
        stage.base_snapshot_id,
        lambda: stage.base_reader.state.table,
        lambda rows: stage.base_reader.ids(rows),
    )


def _removed_before(stage: LevelStage, ids: np.ndarray) -> np.ndarray:
    """Those of the ids whose objects were removed by earlier commits."""
    # Not of the base: what was removed here lies in the places of what was removed before.
    reader = stage.reader()
    table = reader.state.table
    may = (table.content(REMOVED) != 0) & (table.id_max >= ids.min(initial=_checks.MAX_ID))
    rows = np.flatnonzero(may).tolist() if len(ids) else []
    removed = removed_rows(reader, rows)
    found = np.zeros(len(ids), bool)
    for row, (of_batch, _) in zip(rows, reader.ids(rows), strict=True):
        found |= is_in(ids, of_batch[removed[row]])
    return ids[found]


def _refuse(stage: LevelStage, taken: np.ndarray, why: str, remedy: str = "") -> None:
    if len(taken):
        shown = ", ".join(map(str, taken[:5].tolist())) + (", …" if len(taken) > 5 else "")
        raise ArrayError(
            f"{len(taken):,} object ids {why} {stage.path!r}: {shown}. Each id is used once; leave "
            "object_ids out to have new ones given, or use ids that the level does not have"
            f"{remedy}"
        )


def object_values(
    stage: LevelStage, given: Mapping[str, Any] | None, objects: Objects
) -> list[Values]:
    """What was given for the objects, in the order in which their ids appear, by ascending id.

    Raises
    ------
    ArrayError
        If a length or dtype does not fit, or an object was there before.
    """
    n, known = len(objects.ids), stage.facts.object_attributes
    values = _values.appended(given, n, known, OBJECT_ATTRIBUTES, "objects appended")
    if not values:
        return []
    if not objects.is_new.all():
        shown = ", ".join(map(str, objects.ids[~objects.is_new][:5].tolist()))
        raise ArrayError(
            f"object_attributes are for objects that begin in the append, and {shown} were there "
            "before; append those apart, and change what they have with add_object_attribute"
        )
    rows = objects.rows
    first = np.empty(n, np.int64)
    # Assigned from the back, so that the first item of each object is what stays.
    first[rows[::-1]] = np.arange(len(rows) - 1, -1, -1)
    place = np.empty(n, np.int64)
    place[np.argsort(first)] = np.arange(n)
    return [replace(value, given=value.given[place]) for value in values]
