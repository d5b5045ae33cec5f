"""The command line: ``zv-versioned``, ``zvv`` and ``python -m zv_versioned``.

A file a command. Commands read their options, call the library and print; what
they have in common, the exit codes above all, is in ``_app``.
"""

from __future__ import annotations

from ._app import app
from .demo import demo

__all__ = ["app", "main"]

app.command()(demo)


def main() -> None:
    """Run the command line; ends the process with an exit code."""
    app(prog_name="zv-versioned")
