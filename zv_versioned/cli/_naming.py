"""What ``branch`` and ``tag`` have in common: names of snapshots, listed, made and taken away."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rich.console import Console
from rich.text import Text

from ..errors import IntegrityError
from ..history.log import CommitInfo
from ._answer import Answer, line, table
from ._exit import DAMAGED
from ._refs import short

__all__ = ["changed", "listed"]

_COLUMNS = ("name", "snapshot_id", "message", "time", "damaged")


def listed(
    kind: str,
    plural: str,
    names: Iterable[str],
    target: Callable[[str], str],
    commit: Callable[[str], CommitInfo],
) -> Answer:
    """Tell all names of a kind, with the commits that they stand for.

    One that is damaged is told beside the others, with its file, and the command ends with 23.

    Parameters
    ----------
    kind, plural : str
    names : iterable of str
    target : callable
        The snapshot that a name stands for.
    commit : callable
        What is known of a snapshot.
    """
    rows = [_row(name, target, commit) for name in names]

    def show(console: Console) -> None:
        if not rows:
            console.print(f"no {plural}")
            return
        made = table(kind, "snapshot", "message")
        for row in rows:
            at = Text(short(row["snapshot_id"] or ""), style="yellow")
            said = Text(line(row["message"] or ""))
            if row["damaged"] is not None:
                said = Text(line(row["damaged"]), style="red")
            made.add_row(Text(row["name"] or ""), at, said)
        console.print(made)

    damaged = any(row["damaged"] is not None for row in rows)
    return Answer({plural: rows}, show, rows, _COLUMNS, exit_code=DAMAGED if damaged else 0)


def _row(
    name: str, target: Callable[[str], str], commit: Callable[[str], CommitInfo]
) -> dict[str, str | None]:
    row: dict[str, str | None] = dict.fromkeys(_COLUMNS)
    row["name"] = name
    try:
        row["snapshot_id"] = snapshot_id = target(name)
        info = commit(snapshot_id)
    except IntegrityError as error:
        row["damaged"] = str(error)
        return row
    row["message"], row["time"] = info.message, info.time.isoformat()
    return row


def changed(what: str, kind: str, name: str, snapshot_id: str) -> Answer:
    """Tell that a name was made or taken away."""
    row = {"name": name, "snapshot_id": snapshot_id}
    said = f"{what.capitalize()} {kind} {name} at {short(snapshot_id)}"
    return Answer(
        {what: row}, lambda console: console.print(Text(said), soft_wrap=True), [dict(row)]
    )
