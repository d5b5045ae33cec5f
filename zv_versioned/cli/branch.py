"""``zv-versioned branch``"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from ._answer import Answer, line, table
from ._app import HISTORY, command
from ._refs import complete_branch, complete_ref, short
from ._settings import Settings

_COLUMNS = ("name", "snapshot_id", "message", "time")


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
        rows: list[dict[str, Any]] = []
        for each in repository.list_branches():
            info = repository.log(each, limit=1)[0]
            values = (each, info.snapshot_id, info.message, info.time.isoformat())
            rows.append(dict(zip(_COLUMNS, values, strict=True)))
        return Answer({"branches": rows}, lambda c: _print(c, rows), rows, _COLUMNS)
    if delete:
        snapshot_id = repository.view(branch=name).snapshot_id
        repository.delete_branch(name)
        return _changed("deleted", name, snapshot_id)
    return _changed("created", name, repository.create_branch(name, at))


def _print(console: Console, rows: list[dict[str, Any]]) -> None:
    made = table("branch", "snapshot", "message")
    for row in rows:
        tip = Text(short(row["snapshot_id"]), style="yellow")
        made.add_row(Text(row["name"]), tip, Text(line(row["message"])))
    console.print(made)


def _changed(what: str, name: str, snapshot_id: str) -> Answer:
    return Answer(
        {what: {"name": name, "snapshot_id": snapshot_id}},
        lambda console: console.print(
            Text(f"{what.capitalize()} branch {name} at {short(snapshot_id)}"), soft_wrap=True
        ),
        [{"name": name, "snapshot_id": snapshot_id}],
    )
