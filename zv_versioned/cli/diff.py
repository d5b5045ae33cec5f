"""``zv-versioned diff``"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.text import Text

from ..history.diff_result import Diff, LevelDiff
from ..history.ranges import ends
from ._answer import Answer, counted, line, table
from ._app import HISTORY, command
from ._exit import DIFFERENCES
from ._refs import complete_ref, short
from ._settings import Settings

_SHOWN_IDS = 5


@command(
    "diff",
    HISTORY,
    examples=("paper-v1", "main..try --stat", "paper-v1 main --values --exit-code"),
)
def diff(
    settings: Settings,
    a: Annotated[
        str,
        typer.Argument(
            metavar="REF|A..B", help="From this.", autocompletion=complete_ref, show_default=False
        ),
    ],
    b: Annotated[
        str | None,
        typer.Argument(
            metavar="REF",
            help="To this. Default: main.",
            autocompletion=complete_ref,
            show_default=False,
        ),
    ] = None,
    values: Annotated[
        bool, typer.Option("--values", help="Compare values and vertices, too: it reads them.")
    ] = False,
    stat: Annotated[bool, typer.Option("--stat", help="Only the numbers.")] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="End with 1 where there are differences.")
    ] = False,
) -> Answer:
    """Say what differs between two snapshots."""
    base, tip = ends(a)
    if base is None:
        base, tip = a, b or "main"
    elif b is not None:
        raise typer.BadParameter("give A..B, or two refs", param_hint="REF")
    found = settings.open().diff(base, tip, values=values)
    document = found.to_dict()
    return Answer(
        document,
        lambda console: _print(console, found, stat=stat),
        document["levels"],
        exit_code=DIFFERENCES if exit_code and found else 0,
    )


def _print(console: Console, found: Diff, *, stat: bool) -> None:
    console.print(Text(f"{short(found.a)} -> {short(found.b)}", style="yellow"))
    if not found:
        console.print("nothing differs")
        return
    console.print()
    made = table("dataset", ">vertices", ">links", ">objects", ">batches", ">stored bytes")
    for one in found:
        made.add_row(
            Text(line(one.name) or '""'),
            _change(one.vertices),
            _change(one.links),
            _signed(len(one.objects_added), len(one.objects_removed), len(one.objects_changed)),
            _signed(one.batches_added, one.batches_removed, 0),
            _change(one.stored_bytes),
        )
    console.print(made)
    if not stat:
        for one in found:
            _print_level(console, one)


def _change(pair: tuple[int, int]) -> str:
    before, after = pair
    return f"{after:,}" if before == after else f"{after:,} ({after - before:+,})"


def _signed(added: int, removed: int, changed: int) -> str:
    words = (("+", added), ("-", removed), ("~", changed))
    return " ".join(f"{sign}{number:,}" for sign, number in words if number) or "="


def _print_level(console: Console, one: LevelDiff) -> None:
    lines = list(_lines(one))
    if lines:
        console.print()
        console.print(Text(line(one.name) or '""', style="bold"))
    for text in lines:
        console.print(Text(f"  {line(text)}"), soft_wrap=True)


def _lines(one: LevelDiff) -> Iterable[str]:
    for word, ids in (
        ("added", one.objects_added),
        ("removed", one.objects_removed),
        ("changed", one.objects_changed),
    ):
        if len(ids):
            yield f"{counted(len(ids), 'object')} {word}: {_ids(ids)}"
    if one.moved:
        yield (
            f"vertices of {counted(int(one.moved['objects']), 'object')} moved by up to "
            f"{one.moved['largest']:g} (root mean square {one.moved['rms']:g})"
        )
    for attribute in one.attributes:
        told = f"{attribute.path} {attribute.change}"
        if attribute.values:
            told += f", over {counted(attribute.values, 'value')}"
        if attribute.differing is not None:
            told += f", of which {attribute.differing:,} differ"
        if attribute.largest is not None:
            told += f" by up to {attribute.largest:g}"
        yield told
    for group in one.groups:
        yield f"group {group.name!r} {group.change}, {counted(group.members[1], 'member')}"
        for word, ids in (("added", group.members_added), ("removed", group.members_removed)):
            if len(ids):
                yield f"  {counted(len(ids), 'member')} {word}: {_ids(ids)}"
    for key, (before, after) in one.metadata.items():
        yield f"metadata {key!r}: {before!r} -> {after!r}"


def _ids(ids: np.ndarray) -> str:
    shown = ", ".join(map(str, ids[:_SHOWN_IDS].tolist()))
    return f"{shown}, …" if len(ids) > _SHOWN_IDS else shown
