"""``zv-versioned read``"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.text import Text

from ..geometry import Geometry
from ..level import Level
from ..reading.query import Filters
from ._answer import Answer, Form, as_json, cell, counted, line, table
from ._app import DATA, command
from ._datasets import choose
from ._parse import ball, box, conditions, names, object_ids
from ._plain import plain
from ._refs import complete_dataset, complete_ref, short
from ._settings import Settings

_SHOWN = 20
_BLOCK_ROWS = 1 << 16


@command(
    "read",
    DATA,
    examples=(
        "synapses --bbox 0,0,0:10,10,5 -o csv",
        "synapses --ref paper-v1 --objects @ids.txt -o jsonl",
        "synapses --near 5,5,2:1.5 --where 'confidence>=0.5' --count",
    ),
)
def read(
    settings: Settings,
    dataset: Annotated[
        str | None,
        typer.Argument(
            metavar="DATASET",
            help="Its name; may be left out where there is one only.",
            autocompletion=complete_dataset,
            show_default=False,
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
    near: Annotated[
        str | None,
        typer.Option("--near", metavar="POINT:RADIUS", help="Not farther away; 5,5,2:1.5."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="NAME OP VALUE",
            help="An attribute, axis or object_id compared: confidence>=0.5, layer in 1,2; repeat.",
        ),
    ] = None,
    attributes: Annotated[
        str, typer.Option("--attributes", metavar="NAME,…|all", help="Attributes to read.")
    ] = "all",
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            "-n",
            min=0,
            help=f"At most so many vertices. Default: all; {_SHOWN} as text.",
        ),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option("--sample", min=0, help="So many of them, drawn at random."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Of --sample; 0 where left out.")
    ] = None,
    count: Annotated[bool, typer.Option("--count", help="Print only how many there are.")] = False,
) -> Answer:
    """Print vertices, with their objects and attributes."""
    if sample is not None and (limit is not None or count):
        raise typer.BadParameter("it goes with neither --limit nor --count", param_hint="--sample")
    if seed is not None and sample is None:
        raise typer.BadParameter("it goes with --sample", param_hint="--seed")
    filters: Filters = {
        "bbox": box(bbox),
        "near": ball(near),
        "objects": object_ids(objects),
        "where": conditions(where),
    }
    view = settings.open().view(ref)
    name = choose(view, dataset, "DATASET")
    source = view[name][level]
    if count:
        filters["limit"] = limit
        return _counted(name, source, source.count(**filters), view.snapshot_id)
    columns = names(attributes) or ()
    if sample is not None:
        found = source.sample(sample, seed or 0, attributes=columns, **filters)
    else:
        filters["limit"] = _SHOWN if limit is None and settings.form is Form.TEXT else limit
        found = source.read(attributes=columns, **filters)
    axes = [axis["name"] for axis in view[name].axes]

    def document() -> dict[str, Any]:
        return {
            "dataset": name,
            "level": level,
            "snapshot_id": view.snapshot_id,
            "axes": axes,
            "vertices": list(_rows(found)),
        }

    return Answer(
        document,
        lambda console: _print(console, name, source, found, axes, view.snapshot_id),
        _rows(found),
        _columns(found, axes) if settings.form is Form.CSV else None,
        blocks=lambda: _blocks(found),
    )


def _counted(name: str, source: Level, vertices: int, snapshot: str) -> Answer:
    said = f"{counted(vertices, 'vertex', 'vertices')} of {source.vertex_count:,} in {name!r}"
    return Answer(
        {"dataset": name, "level": source.number, "snapshot_id": snapshot, "count": vertices},
        lambda console: console.print(Text(f"{said} at {short(snapshot)}"), soft_wrap=True),
    )


def _rows(found: Geometry) -> Iterator[dict[str, Any]]:
    for row in range(len(found)):
        yield {
            "vertex_id": found.vertex_ids[row],
            "object_id": found.object_ids[row],
            "position": found.positions[row],
            "attributes": {name: values[row] for name, values in found.attributes.items()},
        }


def _columns(found: Geometry, axes: list[str]) -> list[str]:
    taken = {"vertex_id", "object_id", *axes}
    return [
        "vertex_id",
        "object_id",
        *axes,
        *(f"attributes.{name}" if name in taken else name for name in found.attributes),
    ]


def _blocks(found: Geometry) -> Iterator[list[list[Any]]]:
    columns = [found.vertex_ids, found.object_ids, *found.positions.T, *found.attributes.values()]
    for start in range(0, len(found), _BLOCK_ROWS):
        yield [_cells(column[start : start + _BLOCK_ROWS]) for column in columns]


def _cells(column: np.ndarray) -> list[Any]:
    """A column as the other forms have it: float64, and nothing for what JSON has not."""
    kind = column.dtype.kind
    if column.ndim > 1:
        return [as_json(plain(row)) for row in column]
    if kind == "b":
        return list(np.where(column, "true", "false").tolist())
    if kind == "f":
        values = column.astype(np.float64)
        listed: list[Any] = values.tolist()
        for row in np.flatnonzero(~np.isfinite(values)).tolist():
            listed[row] = None
        return listed
    if kind in "mM":
        return [None if text == "NaT" else text for text in column.astype(str).tolist()]
    if kind in "OUT":
        return [cell(value) if isinstance(value, str) else value for value in column.tolist()]
    return list(column.tolist())


def _flat_rows(found: Geometry, axes: list[str]) -> Iterator[dict[str, Any]]:
    columns = _columns(found, axes)
    for row in range(len(found)):
        values = itertools.chain(
            (found.vertex_ids[row], found.object_ids[row]),
            found.positions[row],
            (column[row] for column in found.attributes.values()),
        )
        yield dict(zip(columns, values, strict=True))


def _print(
    console: Console, name: str, source: Level, found: Geometry, axes: list[str], snapshot: str
) -> None:
    columns = _columns(found, axes)
    made = table(*(f">{line(column)}" for column in columns))
    for row in _flat_rows(found, axes):
        made.add_row(*(Text(_shown(row[column])) for column in columns))
    if len(found):
        console.print(made)
        console.print()
    vertices = counted(len(found), "vertex", "vertices")
    said = f"{vertices} of {source.vertex_count:,} in {name!r} at {short(snapshot)}"
    more = "; -n N for more, -o csv for all" if len(found) == _SHOWN else ""
    console.print(Text(said + more), soft_wrap=True)


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return " ".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float | np.floating) else line(value)
