"""``zv-versioned branch``"""

from __future__ import annotations

from typing import Annotated

import typer

from ._answer import Answer
from ._app import HISTORY, command
from ._naming import changed, listed
from ._refs import complete_branch, complete_ref
from ._settings import Settings


@command(
    "branch",
    HISTORY,
    examples=("", "try paper-v1", "--delete try"),
)
def branch(
    settings: Settings,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="Create this branch, or, with -d, delete it.",
            autocompletion=complete_branch,
            show_default=False,
        ),
    ] = None,
    at: Annotated[
        str,
        typer.Argument(
            metavar="REF", help="Where a new branch begins.", autocompletion=complete_ref
        ),
    ] = "main",
    delete: Annotated[
        bool, typer.Option("--delete", "-d", help="Delete it; its snapshots stay.")
    ] = False,
) -> Answer:
    """List branches, or create or delete one."""
    repository = settings.open()
    if name is None:
        if delete:
            raise typer.BadParameter("name the branch to delete", param_hint="NAME")
        return listed(
            "branch",
            "branches",
            sorted({*repository.list_branches(), *repository._backend.lost("branch")}),
            lambda branch: repository.view(branch=branch).snapshot_id,
            lambda tip: repository.log(tip, limit=1)[0],
        )
    if delete:
        snapshot_id = repository.view(branch=name).snapshot_id
        repository.delete_branch(name)
        return changed("deleted", "branch", name, snapshot_id)
    return changed("created", "branch", name, repository.create_branch(name, at))
