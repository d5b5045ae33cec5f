"""How commits and refs are shown, and completed by the shell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from ..errors import ZVError
from ..history.log import CommitInfo
from ..repository import Repository
from ._answer import facts, line, table
from ._settings import storage_options

__all__ = [
    "change_lines",
    "commit_data",
    "complete_branch",
    "complete_dataset",
    "complete_ref",
    "complete_tag",
    "log_table",
    "short",
    "show_commit",
    "told_changes",
]

_WORDS = {
    "batches_added": ("batch", "batches"),
    "vertices_added": ("vertex", "vertices"),
    "links_added": ("link", "links"),
    "objects_added": ("object", "objects"),
}


def short(snapshot_id: str) -> str:
    """As much of an id as people need."""
    return snapshot_id[:8]


def commit_data(commit: CommitInfo) -> dict[str, Any]:
    """A commit as JSON has it."""
    return {
        "snapshot_id": commit.snapshot_id,
        "parents": list(commit.parents),
        "time": commit.time.isoformat(),
        "author": commit.author,
        "message": commit.message,
        "vertices_added": commit.vertices_added,
        "summary": commit.summary,
        "metadata": commit.metadata,
    }


def change_lines(commit: CommitInfo) -> list[str]:
    """What a commit changed, a line a level."""
    lines = []
    operation = commit.summary.get("operation")
    if operation is not None:
        of = commit.summary.get("of")
        lines.append(f"{operation}{f' of {short(of)}' if of else ''}")
    lines += [f"{name or 'the root dataset'}: created" for name in commit.summary["created"]]
    for name, changes in commit.summary["changes"].items():
        lines.append(f"{name or 'the root dataset'}: {told_changes(changes)}")
    return [line(text) for text in lines]


def told_changes(changes: Mapping[str, Any]) -> str:
    """What was changed of a level, in words."""
    said = []
    for key, (one, many) in _WORDS.items():
        number = changes.get(key)
        if number:
            said.append(f"{number:+,} {one if abs(number) == 1 else many}")
    for key in sorted(changes.keys() - _WORDS.keys()):
        value = changes[key]
        shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
        words = key.replace("_", " ")
        said.append(words if value is True else f"{words} {shown}")
    return line(", ".join(said)) or "nothing"


def log_table(console: Console, commits: Iterable[CommitInfo], *, stat: bool = False) -> None:
    """Print commits, newest first."""
    made = table("snapshot", "time", "author", "message", ">vertices")
    for commit in commits:
        message = Text(line(commit.message))
        if stat:
            for changed in change_lines(commit):
                message.append(f"\n  {changed}", style="dim")
        added = f"{commit.vertices_added:+,}" if commit.vertices_added else ""
        made.add_row(
            Text(short(commit.snapshot_id), style="yellow"),
            f"{commit.time.astimezone():%Y-%m-%d %H:%M}",
            Text(line(commit.author)),
            message,
            added,
        )
    console.print(made)


def show_commit(console: Console, commit: CommitInfo) -> None:
    """Print one commit in full."""
    console.print(Text.assemble(("commit ", "yellow"), (commit.snapshot_id, "yellow")))
    rows: list[tuple[str, object]] = [
        ("parents", ", ".join(map(short, commit.parents)) or "none"),
        ("author", line(commit.author) or "-"),
        ("time", f"{commit.time.astimezone():%Y-%m-%d %H:%M:%S %z}"),
    ]
    rows += [(line(key), line(value)) for key, value in commit.metadata.items()]
    facts(console, rows)
    console.print()
    for text in commit.message.splitlines() or [""]:
        console.print(Text(f"    {line(text)}"))
    changes = change_lines(commit)
    if changes:
        console.print()
        for changed in changes:
            console.print(Text(f"  {changed}", style="dim"))


# ---- completion --------------------------------------------------------------


def _completed(
    ctx: Any, incomplete: str, names: Callable[[Repository], Iterable[str]]
) -> list[str]:
    """Names that begin so; nothing where the repository cannot be opened."""
    given = ctx.params.get("repository") or "."
    try:
        repository = Repository.open(given, **storage_options(ctx.params["storage_option"] or ()))
        return [name for name in names(repository) if name.startswith(incomplete)]
    except (ZVError, OSError):
        return []  # a shell that completes has nowhere to show an error


def complete_ref(ctx: Any, incomplete: str) -> list[str]:
    """Branches and tags."""
    return _completed(ctx, incomplete, lambda r: [*r.list_branches(), *r.list_tags()])


def complete_branch(ctx: Any, incomplete: str) -> list[str]:
    """Branches."""
    return _completed(ctx, incomplete, lambda r: r.list_branches())


def complete_tag(ctx: Any, incomplete: str) -> list[str]:
    """Tags."""
    return _completed(ctx, incomplete, lambda r: r.list_tags())


def complete_dataset(ctx: Any, incomplete: str) -> list[str]:
    """Datasets of the ref that was named, else of main."""
    ref = ctx.params.get("ref") or ctx.params.get("branch") or "main"
    return _completed(ctx, incomplete, lambda r: r.view(ref).datasets)
