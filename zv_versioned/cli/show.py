"""``zv-versioned show``"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from ._answer import Answer
from ._app import HISTORY, command
from ._datasets import dataset_columns, dataset_rows, dataset_table
from ._refs import commit_data, complete_ref, show_commit
from ._settings import Settings


@command("show", HISTORY, examples=("", "paper-v1 -o json"))
def show(
    settings: Settings,
    ref: Annotated[
        str, typer.Argument(metavar="REF", help="Which commit.", autocompletion=complete_ref)
    ] = "main",
) -> Answer:
    """Show one commit: what it changed, and the datasets as of it."""
    view = settings.open().view(ref)
    info = view.info
    rows = dataset_rows(view)

    def text(console: Console) -> None:
        show_commit(console, info)
        console.print()
        dataset_table(console, rows)

    data = {**commit_data(info), "branch": view.branch, "datasets": rows}
    return Answer(data, text, rows, columns=dataset_columns())
