"""``zv-versioned digest``"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ._answer import Answer
from ._app import MAINTENANCE, command
from ._parse import object_ids
from ._refs import complete_dataset, complete_ref
from ._settings import Settings


@command("digest", MAINTENANCE, examples=("", "paper-v1", "--dataset synapses --objects 17"))
def digest(
    settings: Settings,
    ref: Annotated[
        str, typer.Argument(metavar="REF", help="Of this.", autocompletion=complete_ref)
    ] = "main",
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", "-d", help="Of one dataset.", autocompletion=complete_dataset),
    ] = None,
    level: Annotated[
        int | None, typer.Option("--level", "-l", help="Of one level of the dataset.")
    ] = None,
    objects: Annotated[
        str | None,
        typer.Option("--objects", metavar="IDS", help="Of these objects alone."),
    ] = None,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Read everything, rather than what was kept.")
    ] = False,
) -> Answer:
    """Print a hash of the content: two snapshots that hold the same have the same."""
    ids = object_ids(objects)
    if dataset is None and not (level is None and ids is None):
        raise typer.BadParameter("name the dataset, too", param_hint="--dataset")
    view = settings.open().view(ref)
    if dataset is None:
        found = view.digest(recompute=recompute)
    elif level is None and ids is None:
        found = view[dataset].digest(recompute=recompute)
    else:
        found = view[dataset][level or 0].digest(ids, recompute=recompute)
    data = {
        "ref": ref,
        "snapshot_id": view.snapshot_id,
        "dataset": dataset,
        "level": (level or 0) if ids is not None else level,
        "objects": ids,
        "digest": found,
    }
    return Answer(data, lambda console: _print(console, found))


def _print(console: Console, found: str) -> None:
    console.print(Text(found))
