"""``zv-versioned export``"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from .. import interop
from ..interop import FORMATS, ExportResult
from ._answer import Answer, counted
from ._app import DATA, command
from ._bars import bar
from ._datasets import choose
from ._parse import box, key_values, names, object_ids
from ._refs import complete_dataset, complete_ref, short
from ._settings import Settings


@command(
    "export",
    DATA,
    examples=(
        "synapses.csv -d synapses --ref paper-v1",
        "neurons/ -d skeletons --format swc --objects 722817260,754534424",
        "corner.las -d scan --bbox 0,0,0:10,10,10",
    ),
)
def export(
    settings: Settings,
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="The file to make; or a folder, for formats with an object a file.",
        ),
    ],
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            "-d",
            help="May be left out where there is one only.",
            autocompletion=complete_dataset,
        ),
    ] = None,
    ref: Annotated[
        str, typer.Option("--ref", help="As of this.", autocompletion=complete_ref)
    ] = "main",
    level: Annotated[int, typer.Option("--level", help="Resolution level.")] = 0,
    bbox: Annotated[
        str | None,
        typer.Option(
            "--bbox", metavar="LO:HI", help="Half open: lo <= coordinate < hi; 0,0,0:10,10,5."
        ),
    ] = None,
    objects: Annotated[
        str | None,
        typer.Option("--objects", metavar="ID,ID,…|@FILE", help="Only these objects."),
    ] = None,
    attributes: Annotated[
        str | None,
        typer.Option(
            "--attributes", metavar="NAME,…", help="Default: all that the format can hold."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the target where it is there.")
    ] = False,
    format: Annotated[
        str | None,
        typer.Option("--format", "-f", help=f"By the suffix where left out: {', '.join(FORMATS)}."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-X", metavar="KEY=VALUE", help="Another option of the format."),
    ] = None,
) -> Answer:
    """Export a dataset, or part of it, of any snapshot, to files."""
    corners, wanted = box(bbox), object_ids(objects)
    own = key_values(option, "--option")
    view = settings.open().view(ref)
    source = view[choose(view, dataset)][level]
    with bar(settings) as progress:
        done = interop.export_file(
            source,
            target,
            format=format,
            bbox=corners,
            objects=wanted,
            attributes=names(attributes),
            overwrite=overwrite,
            progress=progress,
            **own,
        )
    return Answer(asdict(done), lambda console: _print(console, done))


def _print(console: Console, done: ExportResult) -> None:
    what = [counted(done.vertices, "vertex", "vertices")]
    if done.links:
        what.append(counted(done.links, "link"))
    what.append(counted(done.objects, "object"))
    said = (
        f"Exported {done.dataset!r} at {short(done.snapshot_id)} to {done.target} "
        f"({done.format}, {counted(done.files, 'file')}):"
    )
    console.print(Text(said), soft_wrap=True)
    console.print(Text(", ".join(what)), soft_wrap=True)
    if done.left_out:
        console.print(
            Text(f"left out, since {done.format} cannot hold them: {', '.join(done.left_out)}"),
            soft_wrap=True,
        )
