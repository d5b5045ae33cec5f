"""The frame of the command line: global options, and errors as exit codes.

====  ===========================================================
code  what happened
====  ===========================================================
0     it worked
2     the command line itself is wrong
11    any other error
20    a write to something that only reads
21    somebody else's commit is in the way
22    the result would not be sound geometry
23    stored bytes are damaged
40    what was named is not there
====  ===========================================================
"""

from __future__ import annotations

import traceback
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from .. import __version__
from ..errors import (
    ConflictError,
    IntegrityError,
    NotFoundError,
    ReadOnlyError,
    ViolationError,
    ZVError,
)

__all__ = ["app", "exit_code"]

_EXIT_CODES: dict[type[Exception], int] = {
    ReadOnlyError: 20,
    ConflictError: 21,
    ViolationError: 22,
    IntegrityError: 23,
    NotFoundError: 40,
}
_OTHER_ERROR = 11


def exit_code(error: Exception) -> int:
    """The exit code that stands for `error`."""
    for kind, code in _EXIT_CODES.items():
        if isinstance(error, kind):
            return code
    return _OTHER_ERROR


class _Group(TyperGroup):
    """Says in one line what went wrong; ``--debug`` adds the traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (ZVError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                raise
            if ctx.params.get("debug"):
                traceback.print_exc()
            console = Console(stderr=True, highlight=False)
            console.print(Text.assemble(("Error: ", "bold red"), str(error)), soft_wrap=True)
            raise typer.Exit(exit_code(error)) from error


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"zv_versioned {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it."),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback on errors.")] = False,
) -> None:
    """A transactional, versioned store for large vector geometry."""
