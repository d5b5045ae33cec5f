"""``zv-versioned stats``"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from ..maintenance.stats import commits_of, storage_facts
from ._answer import Answer, counted, facts, line, table
from ._app import DATA, command
from ._datasets import dataset_columns, dataset_rows, dataset_table
from ._exit import DAMAGED
from ._refs import complete_ref, short
from ._settings import Settings

_SIZES = ("dataset", "level", "cells", "bytes", "batches_after_compaction", "arrays")


@command("stats", DATA, examples=("paper-v1 -o csv", "--storage"))
def stats(
    settings: Settings,
    ref: Annotated[
        str, typer.Argument(metavar="REF", help="As of this.", autocompletion=complete_ref)
    ] = "main",
    storage: Annotated[
        bool,
        typer.Option(
            "--storage", help="Also what the files are for, and what expire and gc would save."
        ),
    ] = False,
) -> Answer:
    """Count what the datasets hold: vertices, objects, batches, attributes, bytes."""
    repository = settings.open()
    view = repository.view(ref)
    counted_bytes = repository.stats(view.snapshot_id, storage=storage)
    sizes = [{name: level.to_dict()[name] for name in _SIZES} for level in counted_bytes.levels]
    files = counted_bytes.storage
    rows = dataset_rows(view)
    branches, tags = repository.list_branches(), repository.list_tags()
    commits, damaged = commits_of(repository, view.snapshot_id)
    data = {
        "location": repository.location,
        "ref": ref,
        "snapshot_id": view.snapshot_id,
        "branches": branches,
        "tags": tags,
        "commits": commits,
        "damaged": damaged,
        "datasets": rows,
        "sizes": sizes,
        "storage": None if files is None else files.to_dict(),
    }

    def text(console: Console) -> None:
        said = (
            f"{ref} at {short(view.snapshot_id)}: {'' if damaged is None else 'at least '}"
            f"{counted(commits, 'commit')}; "
            f"{counted(len(branches), 'branch', 'branches')}, {counted(len(tags), 'tag')}"
        )
        console.print(Text(said), soft_wrap=True)
        if damaged is not None:
            told = f"earlier commits cannot be counted: {line(damaged)}"
            console.print(Text(told, style="red"), soft_wrap=True)
        console.print()
        dataset_table(console, rows)
        if files is not None:
            console.print()
            _print_sizes(console, sizes)
            console.print()
            facts(console, [(name, f"{size:,} bytes") for name, size in storage_facts(files)])

    code = 0 if damaged is None else DAMAGED
    return Answer(data, text, rows, columns=dataset_columns(), exit_code=code)


def _print_sizes(console: Console, sizes: list[dict[str, Any]]) -> None:
    if not sizes:
        return
    made = table("dataset", ">level", "array", ">bytes")
    for row in sizes:
        for array, size in row["arrays"].items():
            name = Text(line(row["dataset"]) or '""')
            made.add_row(name, str(row["level"]), Text(line(array)), f"{size:,}")
    console.print(made)
