"""``zv-versioned append``"""

from __future__ import annotations

from typing import Annotated

import typer

from ._answer import Answer
from ._app import DATA, command
from ._importing import (
    Attributes,
    Branch,
    Dataset,
    Dtype,
    Files,
    Format,
    Message,
    ObjectId,
    Objects,
    Option,
    OutOfBounds,
    Positions,
    Workers,
    own_options,
    run_import,
    run_scan,
)
from ._settings import Settings


@command(
    "append",
    DATA,
    examples=(
        "722817260.swc -d skeletons -m 'one more neuron'",
        "batch7.csv -d synapses --out-of-bounds expand",
    ),
)
def append(
    settings: Settings,
    files: Files,
    dataset: Dataset,
    branch: Branch = "main",
    message: Message = None,
    dtype: Dtype = None,
    out_of_bounds: OutOfBounds = "raise",
    extend: Annotated[
        bool,
        typer.Option("--extend", help="Let objects that are there go on; else ids must be new."),
    ] = False,
    workers: Workers = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only look through the files, and say what is there.")
    ] = False,
    format: Format = None,
    positions: Positions = None,
    object_id: ObjectId = None,
    attributes: Attributes = None,
    objects: Objects = None,
    option: Option = None,
) -> Answer:
    """Append files to a dataset that is there, as one commit."""
    own = own_options(positions, object_id, attributes, objects, option)
    if dry_run:
        return run_scan(files, format=format, **own)
    return run_import(
        settings,
        files,
        dataset,
        append=True,
        format=format,
        workers=workers,
        branch=branch,
        message=message,
        dtype=dtype,
        out_of_bounds=out_of_bounds,
        extend=extend,
        **own,
    )
