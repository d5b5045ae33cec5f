"""``zv-versioned tag``"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from ._answer import Answer, line, table
from ._app import HISTORY, command
from ._refs import complete_ref, complete_tag, short
from ._settings import Settings

_COLUMNS = ("name", "snapshot_id", "message", "time")


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
        rows: list[dict[str, Any]] = []
        for each in repository.list_tags():
            info = repository.log(repository.view(tag=each).snapshot_id, limit=1)[0]
            values = (each, info.snapshot_id, info.message, info.time.isoformat())
            rows.append(dict(zip(_COLUMNS, values, strict=True)))
        return Answer({"tags": rows}, lambda c: _print(c, rows), rows, _COLUMNS)
    if delete:
        snapshot_id = repository.view(tag=name).snapshot_id
        repository.delete_tag(name)
        return _changed("deleted", name, snapshot_id)
    return _changed("created", name, repository.create_tag(name, at))


def _print(console: Console, rows: list[dict[str, Any]]) -> None:
    if not rows:
        console.print("no tags")
        return
    made = table("tag", "snapshot", "message")
    for row in rows:
        target = Text(short(row["snapshot_id"]), style="yellow")
        made.add_row(Text(row["name"]), target, Text(line(row["message"])))
    console.print(made)


def _changed(what: str, name: str, snapshot_id: str) -> Answer:
    return Answer(
        {what: {"name": name, "snapshot_id": snapshot_id}},
        lambda console: console.print(
            Text(f"{what.capitalize()} tag {name} at {short(snapshot_id)}"), soft_wrap=True
        ),
        [{"name": name, "snapshot_id": snapshot_id}],
    )
