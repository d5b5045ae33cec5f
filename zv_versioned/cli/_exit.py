"""How a command ends: exit codes, and errors as people and as programs read them.

====  ===========================================================
code  what happened
====  ===========================================================
0     it worked
1     there are differences, with ``--exit-code``
2     the command line itself is wrong
11    any other error
20    not possible: a write to something that only reads
21    somebody else's change is in the way
22    the result would not be sound geometry
23    stored bytes are damaged
40    what was named is not there
130   interrupted
141   nobody reads on: the pipe was closed
====  ===========================================================
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.text import Text

from ..errors import ConflictError, IntegrityError, NotFoundError, ReadOnlyError, ViolationError
from ._plain import plain

__all__ = [
    "CLOSED_PIPE",
    "DAMAGED",
    "DIFFERENCES",
    "INTERRUPTED",
    "OTHER_ERROR",
    "USAGE",
    "VERSION",
    "exit_code",
    "report",
    "report_usage",
]

VERSION = 1
"""Of what ``-o json`` prints; the schemas in ``schemas`` describe it."""

DIFFERENCES = 1
USAGE = 2
OTHER_ERROR = 11
DAMAGED = 23
INTERRUPTED = 130
CLOSED_PIPE = 141
_EXIT_CODES: dict[type[BaseException], int] = {
    ReadOnlyError: 20,
    ConflictError: 21,
    ViolationError: 22,
    IntegrityError: DAMAGED,
    NotFoundError: 40,
    KeyboardInterrupt: INTERRUPTED,
    BrokenPipeError: CLOSED_PIPE,
}


def exit_code(error: BaseException) -> int:
    """The exit code that stands for `error`."""
    for kind, code in _EXIT_CODES.items():
        if isinstance(error, kind):
            return code
    return OTHER_ERROR


def _kind(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, OSError):
        return "os"
    return str(getattr(error, "kind", "error"))


def report(
    error: BaseException,
    *,
    as_json: bool,
    debug: bool,
    said: Callable[[str], str] = lambda message: message,
) -> int:
    """Say on stderr what went wrong, and return the exit code.

    Parameters
    ----------
    error : BaseException
    as_json : bool
        One line of JSON in place of one of text.
    debug : bool
        Add the traceback.
    said : callable
        Says a message in the words of the command line.
    """
    code = exit_code(error)
    if isinstance(error, BrokenPipeError):
        # Nobody reads on; Python would complain of it once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return code
    message = said(str(error)) or type(error).__name__
    if isinstance(error, KeyboardInterrupt):
        message = str(error) or "interrupted; nothing was changed"
    message = "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in message)
    trace = traceback.format_exception(error) if debug else []
    if as_json:
        _print_json(_kind(error), message, code, _details(error), trace)
        return code
    sys.stderr.write("".join(trace))
    console = Console(stderr=True, highlight=False)
    console.print(Text.assemble(("Error: ", "bold red"), message), soft_wrap=True)
    return code


def _details(error: BaseException) -> dict[str, Any]:
    """What an error knows beyond its message."""
    if isinstance(error, ViolationError):
        return {"violations": list(error.violations)}
    if not isinstance(error, ConflictError):
        return {}
    names = ("what", "where", "ours", "theirs")
    details = {name: plain(getattr(error, name), strict=False) for name in names}
    conflict = error.conflict
    if conflict is not None:
        of = ("kind", "dataset", "level", "key", "what")
        details["conflict"] = {name: getattr(conflict, name) for name in of}
        details["conflict"]["batches"] = [str(uuid) for uuid in conflict.uuids]
    return details


def report_usage(message: str) -> int:
    """Say in JSON that the command line is wrong, and return the exit code."""
    _print_json("usage", message, USAGE, {}, [])
    return USAGE


def _print_json(
    kind: str, message: str, code: int, details: dict[str, Any], trace: list[str]
) -> None:
    error: dict[str, Any] = {"kind": kind, "message": message, "exit_code": code}
    if details:
        error["details"] = details
    if trace:
        error["traceback"] = "".join(trace).splitlines()
    sys.stderr.write(json.dumps({"version": VERSION, "error": error}) + "\n")
