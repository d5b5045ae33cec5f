"""``zv-versioned log``"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from ..history.ranges import commits
from ._answer import Answer
from ._app import HISTORY, command
from ._refs import commit_data, complete_ref, log_table
from ._settings import Settings


@command(
    "log",
    HISTORY,
    examples=("--limit 5", "main..try --stat", "paper-v1~2 -o jsonl"),
)
def log(
    settings: Settings,
    ref: Annotated[
        str,
        typer.Argument(
            metavar="REF|A..B",
            help="A ref, or what B has and A has not.",
            autocompletion=complete_ref,
        ),
    ] = "main",
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-n", min=0, help="At most so many commits, the newest."),
    ] = None,
    stat: Annotated[bool, typer.Option("--stat", help="Say what each commit changed.")] = False,
) -> Answer:
    """List commits, newest first."""
    found = commits(settings.open(), ref, limit)
    rows = [commit_data(commit) for commit in found]

    def text(console: Console) -> None:
        if found:
            log_table(console, found, stat=stat)
        else:
            console.print("no commits")

    return Answer({"ref": ref, "commits": rows}, text, rows, columns=_COLUMNS)


_COLUMNS = (
    "snapshot_id",
    "parents",
    "time",
    "author",
    "message",
    "vertices_added",
    "summary",
    "metadata",
)
