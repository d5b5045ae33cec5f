"""``zv-versioned fsck``"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ..interop import Progress
from ..maintenance.fsck import check_location
from ..maintenance.report import FsckReport
from ._answer import Answer, counted, facts, line
from ._app import MAINTENANCE, command
from ._bars import bar
from ._exit import DAMAGED
from ._refs import complete_ref
from ._settings import Settings
from ._words import in_flags

_COLUMNS = ("kind", "place", "what", "remedy")


def _subset(text: str | None) -> tuple[int, int] | None:
    """``n/m`` as two numbers.

    Raises
    ------
    typer.BadParameter
        If it is not of this form, with n from 1 to m.
    """
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise typer.BadParameter(
            f"{text!r} is not N/M, the N-th of M parts, such as 3/10",
            param_hint="--read-data-subset",
        )
    return int(found[1]), int(found[2])


@command("fsck", MAINTENANCE, examples=("", "paper-v1 --no-data", "--read-data-subset 3/30"))
def fsck(
    settings: Settings,
    ref: Annotated[
        str | None,
        typer.Argument(
            metavar="REF",
            help="The contents of this snapshot alone. Default: all files, and every snapshot.",
            autocompletion=complete_ref,
            show_default=False,
        ),
    ] = None,
    no_data: Annotated[
        bool, typer.Option("--no-data", help="Do not read vertices, values and links.")
    ] = False,
    read_data_subset: Annotated[
        str | None,
        typer.Option(
            "--read-data-subset", metavar="N/M", help="Read the N-th of M parts of the data."
        ),
    ] = None,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Correct counts, in commits, and write seals anew."),
    ] = False,
) -> Answer:
    """Check that everything is there and is what was written.

    Ends with 23 where anything is wrong.
    """
    subset = _subset(read_data_subset)
    if no_data and subset is not None:
        raise typer.BadParameter(
            "--no-data and --read-data-subset exclude each other", param_hint="--no-data"
        )
    with bar(settings) as show:
        report = check_location(
            settings.location(),
            settings.open,
            ref=ref,
            read_data=not no_data,
            subset=subset,
            repair=repair,
            progress=_shown(show),
        )
    return Answer(
        report.to_dict(),
        lambda console: _print(console, report),
        [asdict(finding) for finding in report.findings],
        columns=_COLUMNS,
        exit_code=0 if report.ok else DAMAGED,
    )


def _shown(show: Callable[[Progress], None]) -> Callable[[str, int, int], None]:
    return lambda what, done, of: show(Progress(f"check {what}", done, of, what))


def _print(console: Console, report: FsckReport) -> None:
    if report.ok:
        console.print(Text("nothing is wrong", style="green"))
    else:
        console.print(Text(counted(len(report.faults), "fault"), style="bold red"))
    facts(console, [(name, value) for name, value in report.summary() if name != "found"])
    for finding in report.findings:
        style = "red" if finding.is_fault else "dim"
        console.print()
        place, what = (line(" ".join(s.splitlines())) for s in (finding.place, finding.what))
        console.print(Text(f"{finding.kind}: {place}", style=style), soft_wrap=True)
        console.print(Text(f"  {what}"), soft_wrap=True)
        console.print(Text(f"  {in_flags(finding.remedy, {})}"), soft_wrap=True)
