"""GeoJSON, feature by feature: a parser that holds one feature at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

__all__ = ["Feature", "features", "values_of"]

_MORE = 1 << 20
_DEPTH = {
    "Point": 0,
    "MultiPoint": 1,
    "LineString": 1,
    "MultiLineString": 2,
    "Polygon": 2,
    "MultiPolygon": 3,
}
_WITHIN = 2**63
_AFTER = frozenset(",:]} \t\r\n\x1e")


@dataclass(frozen=True)
class Feature:
    """A feature that has a geometry.

    Parameters
    ----------
    type : str
        Of the geometry.
    lines : list of lists of positions
        Of a point or points one list, of a polygon its rings.
    id : object
    properties : dict
    """

    type: str
    lines: list[list[Any]]
    id: Any
    properties: dict[str, Any]

    @property
    def ndim(self) -> int:
        """How many numbers its first position has."""
        return len(self.lines[0][0])

    @property
    def has_id(self) -> bool:
        """Whether its id can be that of an object."""
        plain = isinstance(self.id, int) and not isinstance(self.id, bool)
        return plain and 0 <= self.id < _WITHIN


class _Text:
    """Text that is read as it is needed."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._text = ""
        self._at = 0
        self._ended = False
        self._decoder = json.JSONDecoder()

    def _more(self) -> None:
        rest = self._text[self._at :]
        read = self._file.read(max(_MORE, len(rest)))
        self._ended = not read
        self._text, self._at = rest + read, 0

    def peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            while self._at < len(self._text):
                character = self._text[self._at]
                if character not in " \t\r\n\ufeff\x1e":
                    return character
                self._at += 1
            if self._ended:
                return ""
            self._more()

    def take(self, expected: str) -> None:
        """Go on after a character that must come."""
        found = self.peek()
        if found != expected:
            raise ValueError(f"{expected!r} is expected, and {found or 'the end'!r} comes")
        self._at += 1

    def value(self) -> Any:
        """The next value, whole."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except ValueError:
                if self._ended:
                    raise
            else:
                # A number may go on in what was not read yet: 1. is the beginning of 1.5.
                if self._ended or self._text[end : end + 1] in _AFTER:
                    self._at = end
                    return value
            self._more()


def features(file: IO[str], facts: dict[str, Any], *, by_line: bool) -> Iterator[Feature]:
    """The features of a file that have a geometry, one after the other.

    Parameters
    ----------
    file : text file
    facts : dict
        Gets what a collection says beyond its features.
    by_line : bool
        Whether there is one feature a line.

    Raises
    ------
    ValueError
        If it is no GeoJSON.
    """
    text = _Text(file)
    if by_line:
        while text.peek():
            yield from _of(text.value())
        return
    members: dict[str, Any] = {}
    text.take("{")
    while text.peek() != "}":
        if members:
            text.take(",")
        key = text.value()
        if not isinstance(key, str):
            raise ValueError(f"{key!r} is no name of a member")
        text.take(":")
        if key == "features":
            members[key] = True
            yield from _collected(text)
        else:
            members[key] = text.value()
    text.take("}")
    if text.peek():
        raise ValueError(f"{text.peek()!r} comes after the end")
    if "features" in members:
        facts.update({k: v for k, v in members.items() if k not in ("features", "type", "bbox")})
        return
    yield from _of(members)


def _collected(text: _Text) -> Iterator[Feature]:
    text.take("[")
    first = True
    while text.peek() != "]":
        if not first:
            text.take(",")
        first = False
        yield from _of(text.value())
    text.take("]")


def _of(value: Any) -> Iterator[Feature]:
    """A feature, or a bare geometry; nothing where it has no position."""
    if not isinstance(value, dict) or "type" not in value:
        raise ValueError(f"a feature is expected, and {str(value)[:60]} comes")
    bare = value["type"] != "Feature"
    geometry = value if bare else value.get("geometry")
    if geometry is None:
        return
    kind = geometry.get("type")
    if kind not in _DEPTH:
        if kind == "GeometryCollection":
            yield Feature(kind, [], None, {})
            return
        raise ValueError(f"{kind!r} is no geometry of GeoJSON")
    lines = [line for line in _lines(geometry.get("coordinates"), _DEPTH[kind]) if line]
    if not lines:
        return
    properties = {} if bare else value.get("properties") or {}
    yield Feature(kind, lines, None if bare else value.get("id"), properties)


def _lines(coordinates: Any, depth: int) -> list[list[Any]]:
    if not isinstance(coordinates, list):
        raise ValueError(f"coordinates are expected, and {str(coordinates)[:60]} comes")
    if depth == 0:
        return [[coordinates]] if coordinates else []
    if depth == 1:
        if not all(isinstance(position, list) and position for position in coordinates):
            raise ValueError("a position is a list of numbers")
        return [coordinates]
    return [line for part in coordinates for line in _lines(part, depth - 1)]


def values_of(given: Sequence[Any], kind: str) -> np.ndarray:
    """Values of a property, by what all of them are.

    Parameters
    ----------
    given : sequence
    kind : {"bool", "int", "float", "text", "json"}
    """
    if kind == "bool":
        return np.array(given, bool)
    if kind == "int":
        return np.array(given, np.int64)
    if kind == "float":
        return np.array([np.nan if value is None else value for value in given], np.float64)
    array = np.empty(len(given), object)
    if kind == "json":
        given = [v if v is None or isinstance(v, str) else json.dumps(v) for v in given]
    array[:] = given
    return array
