"""``zv-versioned reset``"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ..errors import IntegrityError, NotFoundError, StorageError
from ..history.log import CommitLog
from ..history.ranges import commits
from ..repository import Repository
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
    """Make a branch point to another snapshot; what came after it leaves the branch.

    Works as well where the branch's history is damaged: give the whole id then.
    """
    repository = settings.open()
    before = repository._backend.branch_tip(branch)
    after = repository.resolve(ref)
    leaving, unreadable = _leaving(repository, before, after)
    if not dry_run:
        repository.reset_branch(branch, to=after)
    rows = [commit_data(commit) for commit in leaving]

    def text(console: Console) -> None:
        points, left = ("would point", "would leave") if dry_run else ("points", "left")
        console.print(Text(f"{branch} {points} to {short(after)} (was {before})"))
        if unreadable is not None:
            console.print(Text(f"what {left} it cannot be listed: {unreadable}"), soft_wrap=True)
        if leaving:
            said = f"{counted(len(leaving), 'commit')} {left} it and can still be read by full id"
            console.print(f"{said}:\n")
            log_table(console, leaving)

    data = {
        "branch": branch,
        "before": before,
        "after": after,
        "dry_run": dry_run,
        "left": rows,
        "unreadable": unreadable,
    }
    return Answer(data, text)


def _leaving(repository: Repository, before: str, after: str) -> tuple[CommitLog, str | None]:
    """The commits that leave a branch; or none, and why they cannot be listed."""
    try:
        return commits(repository, f"{after}..{before}"), None
    except (IntegrityError, NotFoundError, StorageError) as error:
        # Who goes back because the history is damaged cannot be told what was in it.
        return CommitLog(), str(error)
