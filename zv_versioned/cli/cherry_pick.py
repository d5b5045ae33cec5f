"""``zv-versioned cherry-pick``"""

from __future__ import annotations

from typing import Annotated

import typer

from ._answer import Answer
from ._app import HISTORY, command
from ._merging import Branch, Choice, DryRun, Message, Parent, Renumber, answer, copying
from ._refs import complete_ref
from ._settings import Settings


@command("cherry-pick", HISTORY, examples=("try~1", "try~1 --branch main --dry-run"))
def cherry_pick(
    settings: Settings,
    snapshot: Annotated[
        str, typer.Argument(metavar="REF", help="What to do again.", autocompletion=complete_ref)
    ],
    branch: Branch = "main",
    message: Message = None,
    on_conflict: Choice = "fail",
    parent: Parent = None,
    renumber: Renumber = False,
    dry_run: DryRun = False,
) -> Answer:
    """Do on a branch what one commit did elsewhere."""
    with copying(settings) as progress:
        done = settings.open().cherry_pick(
            snapshot,
            branch,
            on_conflict=on_conflict,
            message=message,
            parent=parent,
            renumber=renumber,
            dry_run=dry_run,
            progress=progress,
        )
    return answer(done, "cherry-pick")
