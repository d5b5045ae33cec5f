"""What ``branch`` and ``tag`` have in common: names of snapshots, listed, made and taken away."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from ..history.log import CommitInfo
from ._answer import Answer, line, table
from ._refs import short

__all__ = ["changed", "listed"]

_COLUMNS = ("name", "snapshot_id", "message", "time")


def listed(kind: str, plural: str, named: Iterable[tuple[str, CommitInfo]]) -> Answer:
    """Tell all names of a kind, with the commits that they stand for."""
    rows = [
        dict(
            zip(
                _COLUMNS,
                (name, info.snapshot_id, info.message, info.time.isoformat()),
                strict=True,
            )
        )
        for name, info in named
    ]

    def show(console: Console) -> None:
        if not rows:
            console.print(f"no {plural}")
            return
        made = table(kind, "snapshot", "message")
        for row in rows:
            target = Text(short(row["snapshot_id"]), style="yellow")
            made.add_row(Text(row["name"]), target, Text(line(row["message"])))
        console.print(made)

    return Answer({plural: rows}, show, rows, _COLUMNS)


def changed(what: str, kind: str, name: str, snapshot_id: str) -> Answer:
    """Tell that a name was made or taken away."""
    row = {"name": name, "snapshot_id": snapshot_id}
    said = f"{what.capitalize()} {kind} {name} at {short(snapshot_id)}"
    return Answer(
        {what: row}, lambda console: console.print(Text(said), soft_wrap=True), [dict(row)]
    )
