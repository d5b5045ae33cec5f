"""``zv-versioned tag``"""

from __future__ import annotations

from typing import Annotated

import typer

from ._answer import Answer
from ._app import HISTORY, command
from ._naming import changed, listed
from ._refs import complete_ref, complete_tag
from ._settings import Settings


@command(
    "tag",
    HISTORY,
    examples=("", "paper-v1", "paper-v1 main~3"),
)
def tag(
    settings: Settings,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="Create this tag, or, with -d, delete it.",
            autocompletion=complete_tag,
            show_default=False,
        ),
    ] = None,
    at: Annotated[
        str,
        typer.Argument(metavar="REF", help="What it names.", autocompletion=complete_ref),
    ] = "main",
    delete: Annotated[
        bool, typer.Option("--delete", "-d", help="Delete it; its name cannot be used again.")
    ] = False,
) -> Answer:
    """List tags, or create or delete one."""
    repository = settings.open()
    if name is None:
        if delete:
            raise typer.BadParameter("name the tag to delete", param_hint="NAME")
        return listed(
            "tag",
            "tags",
            sorted({*repository.list_tags(), *repository._backend.lost("tag")}),
            lambda tag: repository.view(tag=tag).snapshot_id,
            lambda tip: repository.log(tip, limit=1)[0],
        )
    if delete:
        snapshot_id = repository.view(tag=name).snapshot_id
        repository.delete_tag(name)
        return changed("deleted", "tag", name, snapshot_id)
    return changed("created", "tag", name, repository.create_tag(name, at))
