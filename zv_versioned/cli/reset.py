"""``zv-versioned reset``"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ..history.ranges import commits
from ._answer import Answer, counted
from ._app import HISTORY, command
from ._refs import commit_data, complete_branch, complete_ref, log_table, short
from ._settings import Settings


@command(
    "reset",
    HISTORY,
    examples=("main~1 --dry-run", "paper-v1 --branch try"),
)
def reset(
    settings: Settings,
    ref: Annotated[
        str,
        typer.Argument(metavar="REF", help="The branch's new tip.", autocompletion=complete_ref),
    ],
    branch: Annotated[
        str,
        typer.Option("--branch", "-b", help="Which branch.", autocompletion=complete_branch),
    ] = "main",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would leave the branch.")
    ] = False,
) -> Answer:
    """Make a branch point to another snapshot; what came after it leaves the branch."""
    repository = settings.open()
    before = repository.view(branch=branch).snapshot_id
    after = repository.resolve(ref)
    leaving = commits(repository, f"{after}..{before}")
    if not dry_run:
        repository.reset_branch(branch, to=after)
    rows = [commit_data(commit) for commit in leaving]

    def text(console: Console) -> None:
        verb = "would point" if dry_run else "points"
        console.print(Text(f"{branch} {verb} to {short(after)} (was {before})"))
        if leaving:
            verb = "would leave" if dry_run else "left"
            said = f"{counted(len(leaving), 'commit')} {verb} it and can still be read by full id"
            console.print(f"{said}:\n")
            log_table(console, leaving)

    data = {
        "branch": branch,
        "before": before,
        "after": after,
        "dry_run": dry_run,
        "left": rows,
    }
    return Answer(data, text)
