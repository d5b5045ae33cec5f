"""Conditions on vertices: what ``where=`` says, and which vertices it holds for.

A condition compares an attribute, a coordinate or the id of the object with a
value, as numpy compares the stored values with it. A vertex without a value
matches no condition: not where its batch has none, nor where it is NaN, NaT or
None. So a batch without values, or whose smallest and largest ones say that none
can match, is left out before anything of it is read.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArrayError
from ..format.metadata import TEXT, AttributeMeta
from ..writing.values import decode_texts
from .values import load_dictionaries

if TYPE_CHECKING:
    from .asked import WindowValues
    from .reader import LevelReader
    from .selection import Selection

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_AMONG = ("in", "not in")
OPERATORS = (*_COMPARE, *_AMONG)
OBJECT_ID = "object_id"
"""What the id of a vertex's object is called."""


@dataclass(frozen=True)
class Condition:
    """One comparison of an attribute with a value.

    Parameters
    ----------
    attribute : AttributeMeta
        Of vertices, with one value for each.
    operator : str
        One of :data:`OPERATORS`.
    value : object
        A scalar, or for ``in`` and ``not in`` an array.
    """

    attribute: AttributeMeta
    operator: str
    value: Any

    @property
    def reads(self) -> AttributeMeta | None:
        """The attribute whose values are looked at; None of text, where only codes are."""
        return None if self.attribute.logical == TEXT else self.attribute

    def mask(self, values: WindowValues, positions: np.ndarray) -> np.ndarray:
        """Mask of the vertices in a window, without removed ones, that it holds for.

        Parameters
        ----------
        values : WindowValues
        positions : ndarray, shape (n, D)
            Of these vertices; whatever they are where no condition looks at them.
        """
        if self.reads is not None:
            return self.holds(values.of(self.reads))
        return self._mask_of_texts(values.reader, values.window)

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Mask of the values that it holds for; of text they are objects."""
        if self.operator in _AMONG:
            found = self._among(values)
            mask = ~found if self.operator == "not in" else found
        else:
            # A value that is larger than any of the dtype is infinite among them.
            with np.errstate(over="ignore"):
                mask = np.asarray(_COMPARE[self.operator](values, self.value), bool)
        if self.operator in ("!=", "not in"):
            if values.dtype.kind == "f":
                mask &= values == values
            elif values.dtype.kind in "mM":
                mask &= ~np.isnat(values)
        return mask

    def _among(self, values: np.ndarray) -> np.ndarray:
        if values.dtype != object:
            return np.asarray(np.isin(values, self.value))
        wanted = set(self.value.tolist())
        return np.fromiter(map(wanted.__contains__, values), bool, len(values))

    def _mask_of_texts(self, reader: LevelReader, window: Sequence[Selection]) -> np.ndarray:
        """Of each batch the distinct texts are compared, and then only codes are looked at."""
        attribute = self.attribute
        codes = reader.rows_of(attribute.path, attribute.dtype, (), window)
        dictionaries = load_dictionaries(reader, attribute, [s.row for s in window])
        mask = np.zeros(len(codes), bool)
        offset = 0
        for s in window:
            texts = dictionaries[s.row]
            accepted = np.zeros(len(texts), object)
            accepted[:-1] = self.holds(texts[:-1])
            part = slice(offset, offset + s.vertex_count)
            mask[part] = decode_texts(codes[part], accepted)
            offset = part.stop
        live = reader.live(window)
        return mask if live is None else np.asarray(mask[live])

    def rows(self, reader: LevelReader) -> np.ndarray:
        """Mask of the batches that can have vertices that it holds for: (B,) bool."""
        table = reader.state.table
        lo, hi = table.range(self.attribute.path)
        possible = (table.content(self.attribute.path) != 0) & (lo <= hi)
        if self.attribute.logical == TEXT:
            return np.asarray(possible)
        return np.asarray(possible & self._fitting(lo, hi))

    def _fitting(self, lo: np.ndarray, hi: np.ndarray) -> np.ndarray:
        """Which of some ranges can have a value in them that it holds for."""
        if self.operator in ("!=", "not in"):
            return np.ones(len(lo), bool)
        fits = np.zeros(len(lo), bool)
        for least, most in self._sought():
            fits |= (hi >= least) & (lo <= most)
        return fits

    def _sought(self) -> Iterator[tuple[float, float]]:
        """Ranges that what it holds for lies in, of any operator but ``!=`` and ``not in``."""
        for value in self.value if self.operator == "in" else [self.value]:
            # Never stricter than the comparison itself: both sides may have been rounded.
            least, most = _around(self.attribute, value)
            yield (
                -np.inf if self.operator in ("<", "<=") else least,
                np.inf if self.operator in (">", ">=") else most,
            )


@dataclass(frozen=True)
class OfCoordinate(Condition):
    """One comparison of a coordinate with a value.

    Parameters
    ----------
    attribute : AttributeMeta
        With the name of the axis, and the dtype of coordinates.
    axis : int
        Its number.
    """

    axis: int = 0

    @property
    def reads(self) -> None:
        """No attribute."""

    def mask(self, values: WindowValues, positions: np.ndarray) -> np.ndarray:
        """Mask of the vertices in a window that it holds for."""
        return self.holds(positions[:, self.axis])

    def rows(self, reader: LevelReader) -> np.ndarray:
        """Mask of the batches that can have vertices that it holds for: (B,) bool."""
        table = reader.state.table
        return self._fitting(table.lo[:, self.axis], table.hi[:, self.axis])

    def extent(self) -> tuple[float, float]:
        """Between what coordinates all that it holds for lies; the second is above all of it."""
        if self.operator in ("!=", "not in"):
            return -np.inf, np.inf
        sought = list(self._sought())
        if not sought:
            return np.inf, -np.inf
        least, most = min(lo for lo, _ in sought), max(hi for _, hi in sought)
        return least, float(np.nextafter(most, np.inf))


@dataclass(frozen=True)
class OfObject(Condition):
    """One comparison of the ids of objects with a value.

    Parameters
    ----------
    attribute : AttributeMeta
        Of the name and the dtype of ids.
    """

    @property
    def reads(self) -> None:
        """No attribute."""

    def mask(self, values: WindowValues, positions: np.ndarray) -> np.ndarray:
        """Mask of the vertices in a window that it holds for."""
        ids, sizes, _ = values.reader.fragments_of(values.window)
        return np.repeat(self.holds(ids), sizes)

    def rows(self, reader: LevelReader) -> np.ndarray:
        """Mask of the batches that can have vertices that it holds for: (B,) bool."""
        table = reader.state.table
        return self._fitting(table.id_min.astype(np.float64), table.id_max.astype(np.float64))


def _around(attribute: AttributeMeta, value: Any) -> tuple[float, float]:
    """Two numbers that what an attribute's values are compared with lies between.

    In the stored unit, and rounded as numpy rounds it for the comparison.
    """
    dtype = attribute.logical_dtype
    if dtype.kind in "mM":
        return _around_time(dtype, value)
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            rounded = float(dtype.type(value))
        return rounded, rounded
    if isinstance(value, np.generic):
        value = value.item()
    near = _as_float(value)
    return near, near


_UNITS = {"W": 604800, "D": 86400, "h": 3600, "m": 60, "s": 1}
_FRACTIONS = {"ms": 3, "us": 6, "ns": 9, "ps": 12, "fs": 15, "as": 18}


def _attoseconds(dtype: np.dtype[Any]) -> int | None:
    """How long the unit of a time is; None of months and years, which differ."""
    unit, number = np.datetime_data(dtype)
    if unit in _UNITS:
        return int(_UNITS[unit] * number * 10**18)
    return int(number * 10 ** (18 - _FRACTIONS[unit])) if unit in _FRACTIONS else None


def _around_time(dtype: np.dtype[Any], value: Any) -> tuple[float, float]:
    stored, given = _attoseconds(dtype), _attoseconds(value.dtype)
    if stored is None or given is None:
        return -np.inf, np.inf
    total = int(value.astype(np.int64)) * given
    # A count that is no float64 is rounded, so the next ones are taken.
    below, above = float(total // stored), float(-(-total // stored))
    return float(np.nextafter(below, -np.inf)), float(np.nextafter(above, np.inf))


Make = Callable[[str, Any], Condition]
"""Makes a condition of an operator and a value."""


def parse_where(
    where: object, known: Callable[[Any], tuple[AttributeMeta, Make]]
) -> list[Condition]:
    """Read conditions, all of which have to hold.

    Parameters
    ----------
    where : mapping or sequence
        ``{name: value}``, ``{name: (operator, value)}``, ``{name: [(operator, value),
        …]}``, or ``[(name, operator, value), …]``.
    known : callable
        Finds by name what is compared, with what makes a condition of it, or raises.

    Raises
    ------
    ArrayError
        If it is anything else, or a value cannot be compared with the attribute.
    """
    return [_condition(*known(name), op, value) for name, op, value in _triples(where)]


def _triples(where: object) -> Iterator[tuple[Any, Any, Any]]:
    if isinstance(where, Mapping):
        for name, condition in where.items():
            if _is_pair(condition):
                yield (name, *condition)
            elif isinstance(condition, list) and condition and all(map(_is_pair, condition)):
                yield from ((name, *pair) for pair in condition)
            else:
                yield name, "==", condition
        return
    if not isinstance(where, Sequence) or isinstance(where, str):
        raise ArrayError(
            "where takes a mapping such as {'confidence': ('>=', 0.5)} or triples such as "
            f"[('confidence', '>=', 0.5)], got {where!r}"
        )
    for triple in where:
        if not isinstance(triple, Sequence) or isinstance(triple, str) or len(triple) != 3:
            raise ArrayError(
                f"where: a condition is (name, operator, value), got {triple!r}; one alone goes "
                "into a list"
            )
        yield triple[0], triple[1], triple[2]


def _is_pair(condition: object) -> bool:
    # A tuple is always meant as one: no attribute is compared with a tuple.
    if not isinstance(condition, tuple | list) or len(condition) != 2:
        return False
    return isinstance(condition, tuple) or _is_operator(condition[0])


def _is_operator(word: object) -> bool:
    return isinstance(word, str) and word in OPERATORS


def _condition(attribute: AttributeMeta, make: Make, op: object, value: Any) -> Condition:
    said = f"where: {attribute.name!r} {op} {value!r}"
    if not _is_operator(op):
        raise ArrayError(f"{said}: the operator must be one of {', '.join(OPERATORS)}")
    assert isinstance(op, str)
    if attribute.row_shape:
        raise ArrayError(
            f"{said}: the attribute has {attribute.row_shape[0]} values for each vertex; a "
            "condition needs one of one value"
        )
    if op not in _AMONG:
        if (
            hasattr(value, "__array__")
            and not isinstance(value, np.generic)
            and np.ndim(value) == 0
        ):
            value = np.asarray(value)[()]  # what a mean of an array of xarray's is
        return make(op, _comparable(attribute, value, said))
    if isinstance(value, str | bytes | Mapping) or not isinstance(
        value, Sequence | np.ndarray | set | frozenset
    ):
        raise ArrayError(f"{said}: {op} takes a list of values")
    listed = [_comparable(attribute, item, said) for item in np.ravel(_listed(value)).tolist()]
    dtype = attribute.logical_dtype
    array = np.array(listed, object if dtype.kind == "O" else None)
    if not listed:
        array = np.zeros(0, dtype)
    return make(op, array)


def _listed(value: Any) -> np.ndarray:
    listed = np.empty(len(value), object)
    listed[:] = list(value)
    return listed


def _comparable(attribute: AttributeMeta, value: Any, said: str) -> Any:
    """A value that numpy compares with those of an attribute in the way that is meant."""
    dtype = attribute.logical_dtype
    # A number of numpy's has a width, and numpy compares in the wider of both.
    wide = isinstance(value, np.floating) or (isinstance(value, np.integer) and dtype.kind == "f")
    if isinstance(value, np.generic) and dtype.kind not in "mM" and not wide:
        value = value.item()
    if dtype.kind == "O":
        fits, wanted = isinstance(value, str), "text; a vertex without text matches nothing"
    elif dtype.kind == "b":
        fits, wanted = isinstance(value, bool), "True or False"
    elif dtype.kind in "mM":
        return _time(dtype, value, said)
    else:
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        fits = (plain or wide) and value == value
        wanted = "a number"
        if value != value:
            wanted += ", which NaN is not; a vertex without one (NaN) matches no condition"
    if not fits:
        raise ArrayError(f"{said}: {attribute.name!r} is compared with {wanted}")
    return _as_float(value) if dtype.kind == "f" and not wide else value


def _as_float(value: float) -> float:
    """A number as float64; infinite where it is a whole number beyond all of these."""
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf


def _time(dtype: np.dtype[Any], value: Any, said: str) -> Any:
    try:
        converted = np.timedelta64(value) if dtype.kind == "m" else np.datetime64(value)
        unit = np.datetime_data(converted.dtype)[0]
    except (TypeError, ValueError) as cause:
        raise ArrayError(f"{said}: {value!r} is no time that numpy knows") from cause
    if np.isnat(converted) or unit == "generic":
        raise ArrayError(
            f"{said}: give a time with a unit, such as np.datetime64('2020-01-31') or "
            "np.timedelta64(5, 's')"
        )
    return converted
