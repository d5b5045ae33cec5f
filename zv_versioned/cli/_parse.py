"""Words of the command line that stand for boxes, ids and lists."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from ..spatial.boxes import MOST_EXPECTED

__all__ = [
    "ChunkShape",
    "ExpectedVertices",
    "ball",
    "box",
    "cells",
    "conditions",
    "count",
    "key_values",
    "moment",
    "names",
    "numbers",
    "object_ids",
]


def count(text: str) -> int:
    """A whole number above 0, such as ``250000``, ``1e6`` or ``1_000_000``."""
    try:
        number = Decimal(text)
        if number > 0 and number.is_finite() and number <= MOST_EXPECTED and number % 1 == 0:
            return int(number)
    except ArithmeticError:
        pass
    raise typer.BadParameter(
        f"{text!r}: a whole number from 1 to {MOST_EXPECTED:,} is expected, such as 1e6"
    )


Box = tuple[tuple[float, ...], tuple[float, ...]]
ChunkShape = Annotated[
    str | None,
    typer.Option(
        "--chunk-shape",
        metavar="N,N,…",
        help="Edges of a cell. Default: 8 cells on each side, or 7.",
    ),
]
"""What :func:`cells` reads."""
ExpectedVertices = Annotated[
    int | None,
    typer.Option(
        "--expected-vertices",
        metavar="N",
        parser=count,
        help="In place of --chunk-shape: how many there will be, about, such as 1e7. An import "
        "that looks through its files counts them.",
    ),
]
_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*(d|h|min|s)", re.ASCII)
_SECONDS = {"d": 86_400.0, "h": 3_600.0, "min": 60.0, "s": 1.0}
_CONDITION = re.compile(r"\s*(.+?)\s*(==|!=|<=|>=|<|>|\bnot in\b|\bin\b)\s*(.*?)\s*", re.DOTALL)

_SYMBOLS = re.compile("[=!<>]+")
_SYMBOLS_AT_END = re.compile(r"[=!<>]+\Z")


def numbers(text: str, hint: str) -> tuple[float, ...]:
    """``1,2.5,-3`` as numbers."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r}: numbers with commas between them are expected, such as 0,0,0",
            param_hint=hint,
        ) from error


def cells(chunk_shape: str | None, expected_vertices: int | None) -> tuple[float, ...] | None:
    """The edges of a cell, where nothing else says how large it is."""
    if chunk_shape is not None and expected_vertices is not None:
        raise typer.BadParameter(
            "it goes in place of --chunk-shape; give one of them", param_hint="--expected-vertices"
        )
    return None if chunk_shape is None else numbers(chunk_shape, "--chunk-shape")


def box(text: str | None, hint: str = "--bbox") -> Box | None:
    """``LO:HI``, such as ``0,0,0:10,10,5``, as two corners."""
    if text is None:
        return None
    lo, colon, hi = text.partition(":")
    if not colon:
        raise typer.BadParameter(
            f"{text!r}: two corners are expected, such as 0,0,0:10,10,5", param_hint=hint
        )
    corners = numbers(lo, hint), numbers(hi, hint)
    if len(corners[0]) != len(corners[1]):
        raise typer.BadParameter(
            f"{text!r}: its corners have {len(corners[0])} and {len(corners[1])} numbers",
            param_hint=hint,
        )
    return corners


def ball(text: str | None, hint: str = "--near") -> tuple[tuple[float, ...], float] | None:
    """``POINT:RADIUS``, such as ``5,5,2:1.5``."""
    if text is None:
        return None
    point, colon, radius = text.partition(":")
    reach = numbers(radius, hint) if colon else ()
    if len(reach) != 1:
        raise typer.BadParameter(
            f"{text!r}: a point and a radius are expected, such as 5,5,2:1.5", param_hint=hint
        )
    return numbers(point, hint), reach[0]


def moment(text: str | None, hint: str = "--older-than") -> datetime | timedelta | None:
    """An age, such as ``30d``, ``12h``, ``90min`` or ``45s``; or a date, or a date and time."""
    if text is None:
        return None
    age = _AGE.fullmatch(text.strip())
    if age is not None:
        try:
            return timedelta(seconds=float(age[1]) * _SECONDS[age[2]])
        except OverflowError as error:
            raise typer.BadParameter(
                f"{text!r} is an age that nothing has: there are no dates before the year 1",
                param_hint=hint,
            ) from error
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r}: an age, such as 30d, 12h, 90min or 45s, or a date, such as 2026-01-31 or "
            "2026-01-31T12:00, is expected",
            param_hint=hint,
        ) from error


def conditions(given: list[str] | None, hint: str = "--where") -> list[tuple[str, str, Any]] | None:
    """``NAME OPERATOR VALUE``, such as ``confidence>=0.5`` or ``layer in 1,2``."""
    if not given:
        return None
    found = []
    for text in given:
        match = _CONDITION.fullmatch(text)
        if match is None:
            raise typer.BadParameter(
                f"{text!r}: a name, an operator (==, !=, <, <=, >, >=, in, not in) and a value are "
                "expected, such as confidence>=0.5",
                param_hint=hint,
            )
        name, operator, value = match.groups()
        _refuse_operator(text, match, hint)
        listed = [_value(word.strip()) for word in value.split(",")] if "in" in operator else None
        found.append((name, operator, _value(value) if listed is None else listed))
    return found


def _refuse_operator(text: str, match: re.Match[str], hint: str) -> None:
    """Refuse what looks like an operator and is none, such as ``=>``.

    A name that ends as an operator begins is taken for one where a space follows it, and a value
    in quotes where it begins so.
    """
    before = _SYMBOLS_AT_END.search(text, 0, match.start(2))
    after = _SYMBOLS.match(text, match.end(2)) if match[2] in ("<", "<=", ">", ">=") else None
    if before is None and after is None:
        return
    first = match.start(2) if before is None else before.start()
    written = text[first : match.end(2) if after is None else after.end()]
    raise typer.BadParameter(
        f"{text!r}: {written!r} is no operator; there are ==, !=, <, <=, >, >=, in, not in",
        param_hint=hint,
    )


def _value(text: str) -> Any:
    """What is JSON as that, and else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def names(text: str | None) -> list[str] | str | None:
    """``a,b`` as a list of names; ``all`` as it is."""
    if text is None or text == "all":
        return text
    return [part.strip() for part in text.split(",") if part.strip()]


def object_ids(text: str | None, hint: str = "--objects") -> list[int] | None:
    """``1,2,3``, or ``@FILE`` with ids between white space or commas."""
    if text is None:
        return None
    source = text
    if text.startswith("@"):
        try:
            source = Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise typer.BadParameter(
                f"{text!r}: the file {text[1:]} cannot be read: {why}",
                param_hint=hint,
            ) from error
    words = source.replace(",", " ").split()
    try:
        return [int(word) for word in words]
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r}: object ids are whole numbers with commas between them, or @FILE ({error})",
            param_hint=hint,
        ) from error


def key_values(given: list[str] | None, hint: str) -> dict[str, Any]:
    """``KEY=VALUE`` as facts; a value that is JSON is taken as such."""
    facts: dict[str, Any] = {}
    for text in given or ():
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise typer.BadParameter(f"{text!r} is not KEY=VALUE", param_hint=hint)
        facts[key] = _value(value)
    return facts
