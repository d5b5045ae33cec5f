"""``zv-versioned import``"""

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
    Positions,
    Workers,
    own_options,
    run_import,
    run_scan,
)
from ._parse import ChunkShape, ExpectedVertices, box, cells
from ._settings import Settings


@command(
    "import",
    DATA,
    examples=(
        "neurons/ -d skeletons --unit nanometer",
        "synapses.csv -d synapses --object-id neuron --attributes confidence,type",
        "tracts.trk -d tracts --dry-run",
    ),
)
def import_(
    settings: Settings,
    files: Files,
    dataset: Dataset,
    branch: Branch = "main",
    message: Message = None,
    kind: Annotated[
        str | None,
        typer.Option("--kind", help="Of the dataset, where the format leaves a choice."),
    ] = None,
    bounds: Annotated[
        str | None,
        typer.Option(
            "--bounds",
            metavar="LO:HI",
            help="Of the dataset. Default: those of the files, which are looked through first.",
        ),
    ] = None,
    chunk_shape: ChunkShape = None,
    expected_vertices: ExpectedVertices = None,
    dtype: Dtype = None,
    unit: Annotated[
        str | None, typer.Option("--unit", help="Of the axes, such as nanometer.")
    ] = None,
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
    """Import files into a new dataset, as one commit."""
    own = own_options(positions, object_id, attributes, objects, option)
    if dry_run:
        return run_scan(files, format=format, **own)
    return run_import(
        settings,
        files,
        dataset,
        format=format,
        workers=workers,
        branch=branch,
        message=message,
        kind=kind,
        bounds=box(bounds, "--bounds"),
        chunk_shape=cells(chunk_shape, expected_vertices),
        expected_vertices=expected_vertices,
        dtype=dtype,
        unit=unit,
        **own,
    )
