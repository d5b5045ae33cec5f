"""``zv-versioned compact``"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ..interop import Progress
from ..maintenance import policy
from ..maintenance.compact import Compaction
from ._answer import Answer, counted, facts
from ._app import MAINTENANCE, command
from ._bars import bar
from ._merging import Branch, DryRun, Message
from ._refs import complete_dataset
from ._settings import Settings

_COLUMNS = (
    "name",
    "batches_before",
    "batches_after",
    "batches_merged",
    "vertices",
    "vertices_dropped",
)


@command("compact", MAINTENANCE, examples=("--dry-run", "--dataset synapses", "--max-batches 500"))
def compact(
    settings: Settings,
    branch: Branch = "main",
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", "-d", help="This one alone.", autocompletion=complete_dataset),
    ] = None,
    level: Annotated[
        int | None, typer.Option("--level", "-l", help="This level of the dataset alone.")
    ] = None,
    target_vertices: Annotated[
        int, typer.Option("--target-vertices", metavar="N", help="How large batches become.")
    ] = policy.TARGET_VERTICES,
    max_batches: Annotated[
        int | None,
        typer.Option("--max-batches", metavar="N", help="Merge at most so many of a level."),
    ] = None,
    message: Message = None,
    dry_run: DryRun = False,
) -> Answer:
    """Merge small batches into larger ones; objects and earlier snapshots stay as they are."""
    with bar(settings) as show:
        done = settings.open().compact(
            branch,
            dataset=dataset,
            level=level,
            target_vertices=target_vertices,
            max_batches=max_batches,
            dry_run=dry_run,
            message=message,
            progress=lambda what, at, of: show(Progress(what, at, of, "batches")),
        )
    rows = [{"name": name, **told.to_dict()} for name, told in done.levels.items()]
    return Answer(done.to_dict(), lambda console: _print(console, done), rows, columns=_COLUMNS)


def _print(console: Console, done: Compaction) -> None:
    if not done.levels:
        console.print(Text("nothing to merge"))
        return
    said = "would merge" if done.dry_run else "merged"
    console.print(Text(f"{said} {counted(done.batches_merged, 'batch', 'batches')}", style="bold"))
    facts(console, done._facts())
