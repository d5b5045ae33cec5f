"""``zv-versioned log``"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from ..history.log import CommitLog
from ..history.ranges import commits
from ._answer import Answer
from ._app import HISTORY, command
from ._datasets import choose
from ._refs import commit_data, complete_dataset, complete_ref, log_table
from ._settings import Settings


@command(
    "log",
    HISTORY,
    examples=(
        "--limit 5",
        "main..try --stat",
        "paper-v1~2 -o jsonl",
        "--object 722817260 -d synapses",
    ),
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
    object_id: Annotated[
        int | None,
        typer.Option("--object", help="Only commits that touched this object; with --dataset."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            "-d",
            help="Of the object; may be left out where there is one only.",
            autocompletion=complete_dataset,
        ),
    ] = None,
    stat: Annotated[bool, typer.Option("--stat", help="Say what each commit changed.")] = False,
) -> Answer:
    """List commits, newest first."""
    repository = settings.open()
    if object_id is None:
        found = commits(repository, ref, limit)
    else:
        name = choose(repository.view(ref), dataset)
        found = CommitLog(repository.history(object_id, dataset=name, ref=ref)[:limit])
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
