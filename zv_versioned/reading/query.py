"""What a read asks for: checked, and made into a plan of cells and what to do with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from .. import _checks
from .._sets import is_in
from ..errors import ArrayError, NotFoundError
from ..format.metadata import LINK_ATTRIBUTES, VERTEX_ATTRIBUTES, AttributeMeta
from ..spatial.balls import parse_near
from ..spatial.boxes import Box, parse_bbox
from .asked import Query
from .selection import Selection
from .where import OBJECT_ID, Condition, OfCoordinate, OfObject, parse_where

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .reader import LevelReader

Names = str | Sequence[str]
Ids = int | Sequence[int] | Set[int] | np.ndarray
BBox = tuple["ArrayLike", "ArrayLike"]
Near = tuple["ArrayLike", float]
Where = Mapping[str, Any] | Sequence[tuple[str, str, Any]]


class Filters(TypedDict, total=False):
    """Which vertices are meant; as for :meth:`Level.read`."""

    bbox: BBox | None
    near: Near | None
    objects: Ids | None
    where: Where | None
    batches: int | Sequence[int] | None
    limit: int | None


@dataclass(frozen=True)
class Request:
    """A read that is planned.

    Parameters
    ----------
    plan : list of Selection
        The cells to look at.
    query : Query
        What to do with them.
    whole : bool
        Whether all vertices in them are wanted.
    """

    plan: list[Selection]
    query: Query
    whole: bool


def parse(
    reader: LevelReader,
    *,
    bbox: BBox | None = None,
    near: Near | None = None,
    objects: Ids | None = None,
    where: Where | None = None,
    attributes: Names = (),
    link_attributes: Names = (),
    batches: int | Sequence[int] | None = None,
    limit: int | None = None,
    linked: bool = True,
    **unknown: object,
) -> Request:
    """Check what is asked of a level, and plan it; see :meth:`Level.read`.

    Parameters
    ----------
    reader : LevelReader
    bbox, near, objects, where, attributes, link_attributes, batches, limit
        As for :meth:`Level.read`.
    linked : bool
        Whether links are wanted too.

    Raises
    ------
    TypeError
        If something else is asked.
    """
    if unknown:
        raise TypeError(
            f"there is no filter {next(iter(unknown))!r}; there are "
            f"{', '.join(Filters.__annotations__)}"
        )
    box = None if bbox is None else parse_bbox(bbox, reader.meta.ndim)
    ball = None if near is None else parse_near(near, reader.meta.ndim)
    of_vertices = names(reader, attributes, VERTEX_ATTRIBUTES)
    if limit is not None and not (_checks.is_whole(limit) and limit >= 0):
        raise ArrayError(f"limit must be a whole number from 0 up, got {limit!r}")
    ids = None if objects is None else _checks.ids_asked_for(objects)
    rows = batch_rows(reader, batches)
    of_links = names(reader, link_attributes, LINK_ATTRIBUTES)
    conditions = [] if where is None else parse_where(where, lambda n: _tested(reader, n))
    facts = reader.state.facts
    query = Query(
        [facts.attributes[name] for name in of_vertices],
        [facts.link_attributes[name] for name in of_links],
        box,
        None if limit is None else int(limit),
        ball,
        conditions,
        linked,
    )
    fitting = None
    if conditions:
        fitting = np.logical_and.reduce([condition.rows(reader) for condition in conditions])
    within = _narrowed(box, reader.meta.ndim, conditions)
    if within is not None and not (within.lo < within.hi).all():
        # Nothing can match; that objects and batches are there is checked all the same.
        within, fitting = None, np.zeros(len(reader.state.table), bool)
    plan = reader.plan(rows, within, ids, ball=ball, fitting=fitting, attributes=query.needed)
    whole = box is None and ids is None and limit is None and ball is None and not conditions
    return Request(plan, query, whole)


def _tested(
    reader: LevelReader, name: object
) -> tuple[AttributeMeta, Callable[[str, Any], Condition]]:
    """What a condition compares: an attribute, else a coordinate, else the object's id."""
    axes = [axis["name"] for axis in reader.meta.axes]
    if isinstance(name, str) and name not in reader.state.facts.attributes:
        if name in axes:
            attribute = AttributeMeta(name, reader.meta.vertex_dtype, ())
            return attribute, partial(OfCoordinate, attribute, axis=axes.index(name))
        if name == OBJECT_ID:
            attribute = AttributeMeta(OBJECT_ID, np.dtype(np.int64), ())
            return attribute, partial(OfObject, attribute)
    try:
        attribute = known(reader, name)
    except NotFoundError as error:
        also = ", ".join(map(repr, [*axes, OBJECT_ID]))
        raise NotFoundError(f"{error}; conditions may also be on {also}") from error
    return attribute, partial(Condition, attribute)


def _narrowed(box: Box | None, ndim: int, conditions: Sequence[Condition]) -> Box | None:
    """A box that vertices have to lie in for all conditions on coordinates to hold, too."""
    of_axes = [c for c in conditions if isinstance(c, OfCoordinate)]
    if not of_axes:
        return box
    lo, hi = np.full(ndim, -np.inf), np.full(ndim, np.inf)
    if box is not None:
        lo, hi = box.lo.copy(), box.hi.copy()
    for condition in of_axes:
        least, above = condition.extent()
        lo[condition.axis] = max(lo[condition.axis], least)
        hi[condition.axis] = min(hi[condition.axis], above)
    return Box(lo, hi)


def known(reader: LevelReader, name: object, family: str = VERTEX_ATTRIBUTES) -> AttributeMeta:
    """The attribute of one family that has a name.

    Raises
    ------
    NotFoundError
        If there is none.
    """
    there_are = reader.state.facts.family(family)
    if not isinstance(name, str) or name not in there_are:
        there = ", ".join(map(repr, sorted(there_are))) or "none"
        what = family.removesuffix("s").replace("_", " ").removeprefix("vertex ")
        raise NotFoundError(f"no {what} {name!r} in level {_named(reader)}; there are: {there}")
    return there_are[name]


def _named(reader: LevelReader) -> str:
    return f"{reader.state.facts.level} of {reader.meta.name!r}"


def names(reader: LevelReader, attributes: Names, family: str) -> list[str]:
    """The attributes of one family that are asked for, each once."""
    if isinstance(attributes, str):
        if attributes == "all":
            return sorted(reader.state.facts.family(family))
        attributes = [attributes]
    if not isinstance(attributes, Sequence):
        raise ArrayError(f'attributes are names, a list of them, or "all"; got {attributes!r}')
    return list(dict.fromkeys(known(reader, name, family).name for name in attributes))


def refuse_limit(filters: Filters, verb: str) -> None:
    """Refuse a limit where it means nothing.

    Raises
    ------
    ArrayError
    """
    if filters.get("limit") is not None:
        raise ArrayError(f"{verb} takes no limit, got {filters['limit']!r}; leave it out")


def object_ids(reader: LevelReader, objects: Ids) -> np.ndarray:
    """Ids of objects that are asked for, ascending.

    Raises
    ------
    NotFoundError
        If one is not there.
    """
    ids = _checks.ids_asked_for(objects)
    reader.members(reader.state.table.live_vertices > 0, ids, strict=True)
    return ids


def batch_rows(reader: LevelReader, batches: int | Sequence[int] | None) -> np.ndarray | None:
    """Rows of the table of the batches that are asked for by slot; None for all."""
    if batches is None:
        return None
    asked = np.atleast_1d(_checks.as_array(batches, f"batches {batches!r}"))
    slots = reader.state.table.slot
    if asked.size and asked.dtype.kind not in "iu":
        raise ArrayError(f"batches are given by slot, a whole number, got {batches!r}")
    absent = asked[~is_in(asked, slots)]
    if len(absent):
        raise NotFoundError(
            f"no batch {absent.tolist()[:5]} in level {_named(reader)}, see level.batches"
        )
    return np.flatnonzero(is_in(slots, asked))
