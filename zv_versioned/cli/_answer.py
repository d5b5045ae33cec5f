"""What a command answers, and the four forms it is printed in.

``text`` is for people and may change. ``json`` is one document: ``version``,
``command`` and ``data``, as the schema of the command says. ``jsonl`` has the
rows of the answer as a JSON object a line, ``csv`` the same as a table.
"""

from __future__ import annotations

import csv
import itertools
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .._words import counted
from ._exit import VERSION
from ._plain import plain

__all__ = ["Answer", "Form", "as_json", "cell", "counted", "facts", "line", "stdout", "table"]

_WIDE = 10_000
_dumped = partial(json.dumps, ensure_ascii=False, allow_nan=False)
_CONTROL = re.compile(r"[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""What JSON leaves as it is, and terminals, or programs that read lines, may act upon."""
_NO_CELL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]|\r(?!\n)|" + _CONTROL.pattern)
"""The same of a text in a cell of CSV, in which there are tabs and ends of lines."""


def as_json(value: Any, indent: int | None = None) -> str:
    """JSON in which all control characters are escaped."""
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", _dumped(value, indent=indent))


def cell(text: str) -> str:
    """A text as a cell of CSV has it: with control characters, as JSON."""
    return as_json(text) if _NO_CELL.search(text) else text


class Form(StrEnum):
    """The forms of output."""

    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"

    @property
    def is_json(self) -> bool:
        """Whether errors are JSON, too."""
        return self in (Form.JSON, Form.JSONL)


@dataclass(frozen=True)
class Answer:
    """What a command answers.

    Parameters
    ----------
    data : mapping, or callable that makes it
        The document, without its envelope.
    text : callable
        Prints it for people.
    rows : iterable of mappings, optional
        The table in it, read once; left out, the document is the only row.
    columns : sequence of str, optional
        Of the table; left out, the keys of its first row.
    exit_code : int
    blocks : callable, optional
        The table column by column, some rows at a time: numbers and texts as CSV has
        them, for tables that are long. Taken for CSV in place of `rows`.
    """

    data: Mapping[str, Any] | Callable[[], Mapping[str, Any]]
    text: Callable[[Console], None]
    rows: Iterable[Mapping[str, Any]] | None = None
    columns: Sequence[str] | None = None
    exit_code: int = 0
    blocks: Callable[[], Iterable[Sequence[Sequence[Any]]]] | None = None

    def show(self, command: str, form: Form) -> None:
        """Print it to stdout."""
        if form is Form.TEXT:
            self.text(stdout())
        elif form is Form.JSON:
            document = {"version": VERSION, "command": command, "data": plain(self._document())}
            sys.stdout.write(as_json(document, indent=2) + "\n")
        elif form is Form.JSONL:
            for row in self._table():
                sys.stdout.write(as_json(plain(row)) + "\n")
        else:
            self._write_csv()
        sys.stdout.flush()

    def _document(self) -> Mapping[str, Any]:
        return self.data() if callable(self.data) else self.data

    def _table(self) -> Iterable[Mapping[str, Any]]:
        return [self._document()] if self.rows is None else self.rows

    def _write_csv(self) -> None:
        if self.blocks is not None:
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(map(cell, self.columns or ()))
            for block in self.blocks():
                writer.writerows(zip(*block, strict=True))
            return
        rows = iter(self._table())
        first = next(rows, None)
        columns = self.columns or list(first or ())
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(map(cell, columns))
        for row in itertools.chain([first] if first is not None else [], rows):
            writer.writerow([_cell(row.get(column)) for column in columns])


def _cell(value: Any) -> Any:
    value = plain(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return cell(value)
    return as_json(value) if isinstance(value, list | dict) else value


def stdout() -> Console:
    """Where text goes: as wide as the terminal, or, to a file, as wide as it needs to be."""
    console = _Console(highlight=False)
    return console if console.is_terminal else _Console(highlight=False, width=_WIDE)


class _Console(Console):
    """One that lets a closed pipe end the command, as the other forms do."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def line(value: object) -> str:
    """The first line of a text of the user's, without what could move a cursor."""
    first = next(iter(str(value).splitlines()), "")
    return "".join(c if c.isprintable() else "\ufffd" for c in first)


def table(*columns: str) -> Table:
    """An empty table; a column whose name begins with ``>`` is aligned to the right."""
    made = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False)
    for name in columns:
        right = name.startswith(">")
        made.add_column(
            Text(name.removeprefix(">")),
            justify="right" if right else "left",
            no_wrap=right,
            overflow="fold",
        )
    return made


def facts(console: Console, rows: Iterable[tuple[str, object]]) -> None:
    """Print names and values, the values in one column."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(name, value if isinstance(value, Text) else Text(str(value)))
    console.print(grid)
