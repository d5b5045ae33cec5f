"""``zv-versioned revert``"""

from __future__ import annotations

from typing import Annotated

import typer

from ._answer import Answer
from ._app import HISTORY, command
from ._merging import Branch, Choice, DryRun, Message, Parent, answer, copying
from ._refs import complete_ref
from ._settings import Settings


@command("revert", HISTORY, examples=("main~3 --dry-run", "main~3 -m 'in the wrong unit'"))
def revert(
    settings: Settings,
    snapshot: Annotated[
        str, typer.Argument(metavar="REF", help="What to undo.", autocompletion=complete_ref)
    ],
    branch: Branch = "main",
    message: Message = None,
    on_conflict: Choice = "fail",
    parent: Parent = None,
    dry_run: DryRun = False,
) -> Answer:
    """Undo on a branch what one commit did, and nothing that came after it."""
    with copying(settings) as progress:
        done = settings.open().revert(
            snapshot,
            branch,
            on_conflict=on_conflict,
            message=message,
            parent=parent,
            dry_run=dry_run,
            progress=progress,
        )
    return answer(done, "revert")
