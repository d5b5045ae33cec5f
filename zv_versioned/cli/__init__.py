"""The command line: ``zv-versioned``, ``zvv`` and ``python -m zv_versioned``.

A file a command. Commands read their options, call the library and answer; what
they have in common lies in the modules with an underscore: how they are run
(``_app``), how they end (``_exit``) and how they are printed (``_answer``).
"""

from __future__ import annotations

import sys
from importlib import import_module
from io import TextIOWrapper

from ._app import app

__all__ = ["app", "main"]

# Each module makes its command; the help lists them in this order.
_COMMANDS = (
    "init",
    "demo",
    "import_",
    "append",
    "export",
    "read",
    "stats",
    "log",
    "show",
    "diff",
    "branch",
    "tag",
    "merge",
    "revert",
    "cherry_pick",
    "reset",
    "compact",
    "expire",
    "gc",
    "fsck",
    "digest",
)
for _name in _COMMANDS:
    import_module(f"{__name__}.{_name}")


def main() -> None:
    """Run the command line; ends the process with an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A path may have letters that the terminal does not; that is no error.
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="zv-versioned")
