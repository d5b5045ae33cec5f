"""The command line: ``zv-versioned``, ``zvv`` and ``python -m zv_versioned``.

A file a command. Commands read their options, call the library and print; what
they have in common, the exit codes above all, is in ``_app``.
"""

from __future__ import annotations

import sys
from io import TextIOWrapper

from ._app import app
from .demo import demo

__all__ = ["app", "main"]

app.command()(demo)


def main() -> None:
    """Run the command line; ends the process with an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A path may have letters that the terminal does not; that is no error.
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="zv-versioned")
