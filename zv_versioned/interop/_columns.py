"""Columns of text, and what numbers they are: for formats that do not say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import ArrayError

__all__ = [
    "BOOL",
    "FLOAT",
    "INT",
    "TEXT",
    "UNSEEN",
    "convert",
    "first_other",
    "kind_of",
    "texts",
    "wider",
]

UNSEEN, EMPTY, BOOL, INT, GAPS, FLOAT, TEXT = "", "empty", "bool", "int", "gaps", "float", "text"
"""Of a column: not looked at, nothing in it, true and false, whole numbers, these with gaps,
numbers, anything."""

_FLAGS = {"true": True, "false": False, "True": True, "False": False}
_INTS, _FLOATS = np.dtype(np.int64), np.dtype(np.float64)


def kind_of(cells: Sequence[str]) -> str:
    """What all of some cells are."""
    if not cells:
        return UNSEEN
    gaps = "" in cells
    filled = [cell for cell in cells if cell] if gaps else cells
    if not filled:
        return EMPTY
    if set(filled[:2]) <= _FLAGS.keys():
        return TEXT if gaps or not set(filled) <= _FLAGS.keys() else BOOL
    # Python takes digits with an underscore between them, or of other scripts, for numbers.
    everything = "".join(filled)
    if not everything.isascii() or "_" in everything:
        return TEXT
    try:
        _parse(filled, _INTS)
    except (ValueError, OverflowError):
        try:
            _parse(filled, _FLOATS)
        except ValueError:
            return TEXT
        # Whole numbers that 64 bits cannot hold are names of something.
        return TEXT if everything.isdigit() else FLOAT
    if any(_is_code(cell) for cell in filled):
        return TEXT
    return GAPS if gaps else INT


def _parse(cells: Sequence[str], dtype: np.dtype[Any]) -> np.ndarray:
    parse = int if dtype == _INTS else float
    return np.fromiter(map(parse, cells), dtype, len(cells))


def _is_code(cell: str) -> bool:
    """Whether whole numbers would not keep what a cell says: 007 is no number."""
    return cell[0] == "0" and len(cell) > 1


_RANK = {EMPTY: 0, INT: 1, GAPS: 2, FLOAT: 3}


def wider(one: str, other: str) -> str:
    """What cells are of which some are one thing and some another."""
    if one == other or other == UNSEEN:
        return one
    if one == UNSEEN:
        return other
    if one in _RANK and other in _RANK:
        widest = max(one, other, key=_RANK.__getitem__)
        return GAPS if widest == INT else widest
    return TEXT


def first_other(cells: Sequence[str], kind: str) -> int:
    """The place of the first cell that is something, but not of a kind; -1 where all are."""
    dtype = _INTS if kind == INT else _FLOATS
    for at, cell in enumerate(cells):
        if cell and (kind_of([cell]) == TEXT or not _parses(cell, dtype)):
            return at
    return -1


def convert(cells: Sequence[str], kind: str, where: Callable[[int], str]) -> np.ndarray:
    """Cells as an array.

    Parameters
    ----------
    cells : sequence of str
    kind : str
    where : callable
        Tells where the n-th cell is, for an error.

    Raises
    ------
    ArrayError
        If a cell is something else, naming it.
    """
    if kind in (TEXT, EMPTY, UNSEEN):
        return texts(cells)
    if kind == BOOL:
        wrong = set(cells) - _FLAGS.keys()
        if wrong:
            at = next(at for at, cell in enumerate(cells) if cell in wrong)
            raise ArrayError(f"{where(at)}: {cells[at]!r} is neither true nor false")
        return np.array([_FLAGS[cell] for cell in cells], bool)
    dtype = _INTS if kind == INT else _FLOATS
    if kind != INT and "" in cells:
        cells = [cell or "nan" for cell in cells]
    try:
        return _parse(cells, dtype)
    except (ValueError, OverflowError) as error:
        at = next(at for at, cell in enumerate(cells) if not _parses(cell, dtype))
        what = "a whole number of 64 bits" if kind == INT else "a number"
        raise ArrayError(f"{where(at)}: {cells[at]!r} is not {what}") from error


def _parses(cell: str, dtype: np.dtype[Any]) -> bool:
    try:
        _parse([cell], dtype)
    except (ValueError, OverflowError):
        return False
    return True


def texts(cells: Sequence[Any]) -> np.ndarray:
    """Cells as text; an empty one is a missing one."""
    array = np.empty(len(cells), object)
    array[:] = [cell or None for cell in cells]
    return array
