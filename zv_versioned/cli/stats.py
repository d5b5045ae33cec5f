"""``zv-versioned stats``"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ._answer import Answer, counted
from ._app import DATA, command
from ._datasets import dataset_columns, dataset_rows, dataset_table
from ._refs import complete_ref, short
from ._settings import Settings


@command("stats", DATA, examples=("paper-v1 -o csv",))
def stats(
    settings: Settings,
    ref: Annotated[
        str, typer.Argument(metavar="REF", help="As of this.", autocompletion=complete_ref)
    ] = "main",
) -> Answer:
    """Count what the datasets hold: vertices, objects, batches, attributes."""
    repository = settings.open()
    view = repository.view(ref)
    rows = dataset_rows(view)
    branches, tags = repository.list_branches(), repository.list_tags()
    commits = len(repository.log(view.snapshot_id))
    data = {
        "location": repository.location,
        "ref": ref,
        "snapshot_id": view.snapshot_id,
        "branches": branches,
        "tags": tags,
        "commits": commits,
        "datasets": rows,
    }

    def text(console: Console) -> None:
        said = (
            f"{ref} at {short(view.snapshot_id)}: {counted(commits, 'commit')}; "
            f"{counted(len(branches), 'branch', 'branches')}, {counted(len(tags), 'tag')}"
        )
        console.print(Text(said), soft_wrap=True)
        console.print()
        dataset_table(console, rows)

    return Answer(data, text, rows, columns=dataset_columns())
