"""What ``merge``, ``revert`` and ``cherry-pick`` have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ..history.results import MergeResult
from ..interop import Progress
from ._answer import Answer, counted, line
from ._bars import bar
from ._refs import complete_branch, short, told_changes
from ._settings import Settings

__all__ = ["Branch", "Choice", "DryRun", "Message", "Parent", "Renumber", "answer", "copying"]

Branch = Annotated[
    str,
    typer.Option("--branch", "-b", help="On which branch.", autocompletion=complete_branch),
]
Message = Annotated[str | None, typer.Option("--message", "-m", help="Of the commit.")]
Choice = Annotated[
    str,
    typer.Option(
        "--on-conflict",
        metavar="fail|ours|theirs",
        help="What to do where both sides changed the same thing.",
    ),
]
Parent = Annotated[
    int | None,
    typer.Option("--parent", metavar="1|2", help="Of a merge: which side it is compared with."),
]
Renumber = Annotated[
    bool,
    typer.Option("--renumber", help="Give objects whose ids both sides gave to others new ids."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Do everything but the commit, and say what it would be.")
]


@contextmanager
def copying(settings: Settings) -> Iterator[Callable[[str, int, int], None]]:
    """A callable for the `progress` of a merge: a bar where chunks have to be copied."""
    with bar(settings) as show:
        yield lambda what, done, of: show(Progress(what, done, of, "chunks"))


def answer(done: MergeResult, verb: str) -> Answer:
    """Tell what was done."""
    return Answer(done.to_dict(), lambda console: _print(console, done, verb))


def _print(console: Console, done: MergeResult, verb: str) -> None:
    if done.kind in ("up to date", "nothing to do"):
        console.print(Text(f"{done.branch} is as it was, at {short(done.ours)}: {done.kind}"))
        return
    if done.kind == "dry run":
        said = f"{verb} {short(done.source)}: would change {done.branch}, at {short(done.ours)}"
    else:
        how = " (fast-forward)" if done.kind == "fast-forward" else ""
        said = f"{done.branch} {short(done.ours)} -> {short(done.snapshot_id)}{how}"
    console.print(Text(said), soft_wrap=True)
    for name, changes in done.changes.items():
        console.print(Text(f"  {line(name) or 'the root dataset'}: {told_changes(changes)}"))
    for conflict in done.conflicts:
        console.print(Text(f"  resolved for {conflict.choice}: {line(conflict.what)}"))
    for name, (old, new) in done.renumbered.items():
        console.print(Text(f"  {line(name)}: {counted(len(old), 'object')} numbered anew"))
        for before, after in zip(old[:5].tolist(), new[:5].tolist(), strict=True):
            console.print(Text(f"    {before} -> {after}"))
        if len(old) > 5:
            console.print(f"    and {len(old) - 5:,} more, see -o json")
