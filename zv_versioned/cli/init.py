"""``zv-versioned init``"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from ..format.metadata import KINDS
from ..repository import Repository
from ..writing.datasets import new_dataset
from ._answer import Answer
from ._app import START, command
from ._parse import ChunkShape, ExpectedVertices, box, cells
from ._settings import Settings


@command(
    "init",
    START,
    examples=("brain", "brain --dataset synapses --bounds 0,0,0:1000,1000,1000"),
)
def init(
    settings: Settings,
    location: Annotated[
        str | None,
        typer.Argument(
            metavar="LOCATION", help="Where; in place of --repository.", show_default=False
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            "-d",
            help="Create this dataset, too; then the repository may be there already.",
        ),
    ] = None,
    kind: Annotated[
        str, typer.Option("--kind", help=f"Of the dataset: {', '.join(KINDS)}.")
    ] = "point_cloud",
    bounds: Annotated[
        str | None,
        typer.Option(
            "--bounds",
            metavar="LO:HI",
            help="Smallest and largest coordinates, such as 0,0,0:10,10,5. Needed for a dataset.",
        ),
    ] = None,
    chunk_shape: ChunkShape = None,
    expected_vertices: ExpectedVertices = None,
    dtype: Annotated[str, typer.Option("--dtype", help="Of the coordinates.")] = "float32",
    unit: Annotated[
        str | None, typer.Option("--unit", help="Of the axes, such as nanometer.")
    ] = None,
    branch: Annotated[
        str, typer.Option("--branch", "-b", help="Where the dataset is created.")
    ] = "main",
    message: Annotated[
        str | None, typer.Option("--message", "-m", help="Of the commit that creates it.")
    ] = None,
) -> Answer:
    """Make a repository, or a dataset in one."""
    if location is not None:
        settings = replace(settings, repository=location)
    if dataset is None:
        if not settings.repository:
            raise typer.BadParameter("say where: zv-versioned init LOCATION", param_hint="LOCATION")
        for option, given in (
            ("--bounds", bounds),
            ("--chunk-shape", chunk_shape),
            ("--expected-vertices", expected_vertices),
            ("--unit", unit),
        ):
            if given is not None:
                raise typer.BadParameter(
                    "it is of a dataset: name one with --dataset", param_hint=option
                )
        repository = Repository.create(settings.repository, **settings.storage)
        return _answer(repository, repository.resolve("main"), None)
    corners = box(bounds, "--bounds")
    if corners is None:
        raise typer.BadParameter("a dataset needs its bounds", param_hint="--bounds")
    shape = cells(chunk_shape, expected_vertices)
    axes: list[dict[str, str]] | None = None
    if unit is not None:
        axes = [{"name": axis, "type": "space", "unit": unit} for axis in "xyz"[: len(corners[0])]]
    asked: dict[str, Any] = {
        "kind": kind,
        "bounds": corners,
        "chunk_shape": shape,
        "expected_vertices": expected_vertices,
        "vertex_dtype": dtype,
        "axes": axes,
    }
    # What is refused leaves no empty repository behind.
    new_dataset(dataset, **asked)
    repository = Repository.open_or_create(settings.location(), **settings.storage)
    with repository.transaction(branch, message=message) as transaction:
        transaction.create_dataset(dataset, **asked)
    snapshot = transaction.result.snapshot_id if transaction.result else ""
    return _answer(repository, snapshot, dataset)


def _answer(repository: Repository, snapshot: str, dataset: str | None) -> Answer:
    made = None if dataset is None else repository.view(snapshot_id=snapshot)[dataset]
    data: dict[str, Any] = {
        "location": repository.location,
        "snapshot_id": snapshot,
        "dataset": dataset,
        "chunk_shape": None if made is None else list(made.chunk_shape),
    }

    def text(console: Console) -> None:
        if made is None:
            console.print(Text(f"Made an empty repository: {repository.location}"), soft_wrap=True)
        else:
            said = f"Created dataset {dataset!r} as {snapshot[:8]} in {repository.location}"
            said += f"; its cells are {' × '.join(f'{edge:.4g}' for edge in made.chunk_shape)}"
            console.print(Text(said), soft_wrap=True)

    return Answer(data, text)
