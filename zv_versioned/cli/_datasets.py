"""How the datasets of a view are shown, and one of them chosen."""

from __future__ import annotations

from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from ..view import View
from ._answer import line, table

__all__ = ["choose", "dataset_columns", "dataset_rows", "dataset_table"]


def choose(view: View, name: str | None, hint: str = "--dataset") -> str:
    """The dataset that was named, or the only one.

    Parameters
    ----------
    view : View
    name : str or None
    hint : str
        How it is named on the command line.

    Raises
    ------
    typer.BadParameter
        If none was named and there are several, or none.
    """
    if name is not None:
        return name
    if len(view.datasets) == 1:
        return view.datasets[0]
    there = ", ".join(map(repr, view.datasets)) or "none"
    raise typer.BadParameter(f"name a dataset; there are: {there}", param_hint=hint)


def dataset_columns() -> tuple[str, ...]:
    """The columns of :func:`dataset_rows`."""
    return (
        "dataset",
        "level",
        "kind",
        "vertices",
        "objects",
        "batches",
        "attributes",
        "bounds",
        "units",
    )


def dataset_rows(view: View) -> list[dict[str, Any]]:
    """The levels of all datasets of a view, as JSON has them."""
    rows = []
    for name, dataset in view.items():
        lo, hi = dataset.bounds
        for number in dataset.levels:
            level = dataset[number]
            values = (
                name,
                number,
                dataset.kind,
                level.vertex_count,
                level.num_objects,
                len(level.batches),
                level.attribute_names,
                {"lo": list(lo), "hi": list(hi)},
                [axis.get("unit") for axis in dataset.axes],
            )
            rows.append(dict(zip(dataset_columns(), values, strict=True)))
    return rows


def dataset_table(console: Console, rows: list[dict[str, Any]]) -> None:
    """Print the rows."""
    if not rows:
        console.print("no datasets")
        return
    made = table("dataset", ">level", "kind", ">vertices", ">objects", ">batches", "attributes")
    for row in rows:
        made.add_row(
            Text(line(row["dataset"]) or '""'),
            str(row["level"]),
            row["kind"],
            f"{row['vertices']:,}",
            f"{row['objects']:,}",
            f"{row['batches']:,}",
            Text(line(", ".join(row["attributes"])) or "-"),
        )
    console.print(made)
