"""What ``import`` and ``append`` have in common."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from .. import interop
from ..interop import FORMATS, FileInfo, ImportResult
from ._answer import Answer, counted, facts
from ._bars import bar
from ._parse import key_values
from ._refs import complete_branch, complete_dataset, short
from ._settings import Settings

__all__ = [
    "Attributes",
    "Branch",
    "Dataset",
    "Dtype",
    "Files",
    "Format",
    "Message",
    "ObjectId",
    "Objects",
    "Option",
    "OutOfBounds",
    "Positions",
    "Workers",
    "own_options",
    "run_import",
    "run_scan",
]

_HOW = "How the files are read"

Files = Annotated[
    list[str],
    typer.Argument(metavar="FILE…", help="Files, folders or patterns, all of one format."),
]
Dataset = Annotated[
    str, typer.Option("--dataset", "-d", help="The dataset.", autocompletion=complete_dataset)
]
Branch = Annotated[
    str,
    typer.Option("--branch", "-b", help="Where the commit goes.", autocompletion=complete_branch),
]
Message = Annotated[str | None, typer.Option("--message", "-m", help="Of the commit.")]
Dtype = Annotated[
    str | None,
    typer.Option("--dtype", help="Of the coordinates; says that rounding to it is meant."),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", "-w", min=1, help="Import with so many processes, by dask."),
]
OutOfBounds = Annotated[
    str,
    typer.Option(
        "--out-of-bounds", metavar="raise|expand", help="What to do with vertices out of bounds."
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        "-f",
        help=f"By the suffix where left out: {', '.join(FORMATS)}.",
        rich_help_panel=_HOW,
    ),
]
Positions = Annotated[
    str | None,
    typer.Option(
        "--positions",
        metavar="COLUMN,…",
        help="csv, parquet: the columns of the coordinates. Default: x,y,z.",
        rich_help_panel=_HOW,
    ),
]
ObjectId = Annotated[
    str | None,
    typer.Option(
        "--object-id",
        metavar="COLUMN",
        help="csv, parquet, las: the column with the object of each point.",
        rich_help_panel=_HOW,
    ),
]
Attributes = Annotated[
    str | None,
    typer.Option(
        "--attributes",
        metavar="COLUMN[=NAME],…",
        help="csv, parquet, las, ply: what becomes an attribute. Default: all.",
        rich_help_panel=_HOW,
    ),
]
Objects = Annotated[
    str | None,
    typer.Option(
        "--objects",
        metavar="each|file|ID",
        help="csv, parquet, las: without such a column, which object a point belongs to.",
        rich_help_panel=_HOW,
    ),
]
Option = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        "-X",
        metavar="KEY=VALUE",
        help="Another option of the format, such as delimiter=; or batch_vertices=100000.",
        rich_help_panel=_HOW,
    ),
]


def own_options(
    positions: str | None,
    object_id: str | None,
    attributes: str | None,
    objects: str | None,
    option: list[str] | None,
) -> dict[str, Any]:
    """The options of a format, as its function has them."""
    options: dict[str, Any] = {}
    if positions is not None:
        options["positions"] = positions.split(",")
    if object_id is not None:
        options["object_id"] = object_id
    if attributes is not None:
        pairs = [text.partition("=") for text in attributes.split(",") if text]
        names = {column: name or column for column, _, name in pairs}
        renamed = any(column != name for column, name in names.items())
        options["attributes"] = names if renamed else list(names)
    if objects is not None:
        options["objects"] = int(objects) if objects.isdecimal() else objects
    return {**options, **key_values(option, "--option")}


def run_import(settings: Settings, files: list[str], dataset: str, **options: Any) -> Answer:
    """Import, and tell what was done."""
    repository = settings.open()
    source = [Path(file) for file in files]
    with bar(settings) as progress:
        done = interop.import_file(
            repository,
            source if len(source) > 1 else source[0],
            dataset,
            progress=progress,
            **options,
        )
    data = {"dry_run": False, "imported": asdict(done), "found": None}
    return Answer(data, lambda console: _print_done(console, done), [asdict(done)])


def _print_done(console: Console, done: ImportResult) -> None:
    verb = "Imported" if done.created else "Appended"
    what = [counted(done.vertices, "vertex", "vertices")]
    if done.links:
        what.append(counted(done.links, "link"))
    what.append(counted(done.objects, "object"))
    said = (
        f"{verb} {counted(done.files, 'file')} ({done.format}) into {done.dataset!r} as "
        f"{short(done.snapshot_id)} on {done.branch}:"
    )
    console.print(Text(said), soft_wrap=True)
    batches = counted(done.batches, "batch", "batches")
    console.print(Text(f"{', '.join(what)} in {batches}"), soft_wrap=True)


def run_scan(files: list[str], **options: Any) -> Answer:
    """Say what an import would be."""
    source = [Path(file) for file in files]
    info = interop.scan_file(source if len(source) > 1 else source[0], **options)
    data = {"dry_run": True, "imported": None, "found": asdict(info)}
    return Answer(data, lambda console: _print_info(console, info), [asdict(info)])


def _print_info(console: Console, info: FileInfo) -> None:
    bounds = "none"
    if info.bounds is not None:
        lo, hi = (", ".join(f"{value:g}" for value in side) for side in info.bounds)
        bounds = f"{lo} to {hi}"
    units = [axis.get("unit", "-") for axis in info.axes or ()]
    rows: list[tuple[str, object]] = [
        ("files", f"{info.files:,} ({info.format})"),
        ("kind", info.kind),
        ("vertices", f"{info.vertices:,} in {counted(info.batches, 'batch', 'batches')}"),
        ("coordinates", f"{info.ndim} × {info.dtype}"),
        ("bounds", bounds),
        ("units", ", ".join(units) or "not known"),
        ("attributes", ", ".join(info.attributes) or "none"),
    ]
    if info.link_attributes:
        rows.append(("of links", ", ".join(info.link_attributes)))
    if info.object_attributes:
        rows.append(("of objects", ", ".join(info.object_attributes)))
    facts(console, rows)
    console.print("\nNothing was imported: --dry-run")
