"""``zv-versioned merge``"""

from __future__ import annotations

from typing import Annotated

import typer

from ._answer import Answer
from ._app import HISTORY, command
from ._merging import Choice, DryRun, Message, Renumber, answer, copying
from ._refs import complete_branch, complete_ref
from ._settings import Settings


@command(
    "merge",
    HISTORY,
    examples=("try --dry-run", "try -m 'what was tried'", "try --on-conflict theirs"),
)
def merge(
    settings: Settings,
    source: Annotated[
        str, typer.Argument(metavar="REF", help="What to merge.", autocompletion=complete_ref)
    ],
    into: Annotated[
        str,
        typer.Option("--into", "-b", help="Into this branch.", autocompletion=complete_branch),
    ] = "main",
    message: Message = None,
    on_conflict: Choice = "fail",
    no_ff: Annotated[
        bool, typer.Option("--no-ff", help="Make a commit even where the branch could just move.")
    ] = False,
    ff_only: Annotated[
        bool, typer.Option("--ff-only", help="Refuse where the branch cannot just move.")
    ] = False,
    renumber: Renumber = False,
    dry_run: DryRun = False,
) -> Answer:
    """Merge a branch, tag or snapshot into a branch."""
    if no_ff and ff_only:
        raise typer.BadParameter("--no-ff and --ff-only exclude each other", param_hint="--no-ff")
    with copying(settings) as progress:
        done = settings.open().merge(
            source,
            into,
            on_conflict=on_conflict,
            message=message,
            ff="no" if no_ff else "only" if ff_only else "allow",
            renumber=renumber,
            dry_run=dry_run,
            progress=progress,
        )
    return answer(done, "merge")
