"""``zv-versioned expire``"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ..maintenance.expire import Expiry
from ._answer import Answer, counted, facts
from ._app import MAINTENANCE, command
from ._parse import moment
from ._refs import complete_branch, short
from ._settings import Settings

__all__ = ["DryRun", "OlderThan"]

OlderThan = Annotated[
    str | None,
    typer.Option(
        "--older-than",
        metavar="AGE|DATE",
        help="Leave alone what is younger: 30d, 12h, 90min, or 2026-01-31.",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run/--no-dry-run", help="Only say what would be done; that is the default."
    ),
]


@command(
    "expire", MAINTENANCE, examples=("--older-than 90d", "--keep-last 10 -b scratch --no-dry-run")
)
def expire(
    settings: Settings,
    older_than: OlderThan = None,
    keep_last: Annotated[
        int | None,
        typer.Option("--keep-last", metavar="N", help="Keep so many commits of each branch."),
    ] = None,
    branch: Annotated[
        list[str] | None,
        typer.Option(
            "--branch",
            "-b",
            help="Only what leads to no other branch; may be given again. Default: all.",
            autocompletion=complete_branch,
            show_default=False,
        ),
    ] = None,
    dry_run: DryRun = True,
) -> Answer:
    """Let old snapshots go; tips, tags, leases and what merges need stay."""
    if older_than is None and keep_last is None:
        raise typer.BadParameter(
            "say what stays: an age, how many, or both", param_hint="--older-than / --keep-last"
        )
    done = settings.open().expire(
        moment(older_than), keep_last=keep_last, refs=branch or None, dry_run=dry_run
    )
    rows = [{"snapshot_id": snapshot} for snapshot in done.expired]
    return Answer(
        done.to_dict(), lambda console: _print(console, done), rows, columns=("snapshot_id",)
    )


def _print(console: Console, done: Expiry) -> None:
    said = "would let go" if done.dry_run else "let go"
    console.print(Text(f"{said} {counted(len(done.expired), 'snapshot')}", style="bold"))
    facts(console, [(name, value) for name, value in done._facts() if name != "expired"])
    if done.expired:
        shown = ", ".join(short(snapshot) for snapshot in done.expired[:5])
        more = f" and {len(done.expired) - 5:,} more" if len(done.expired) > 5 else ""
        console.print(Text(f"newest first: {shown}{more}"), soft_wrap=True)
    if done.dry_run and done.expired:
        console.print(Text("nothing was done; --no-dry-run does it, and gc then removes bytes"))
