"""``zv-versioned gc``"""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from ..maintenance.gc import Collection
from ._answer import Answer, counted, facts
from ._app import MAINTENANCE, command
from ._parse import moment
from ._settings import Settings
from .expire import DryRun, OlderThan


@command("gc", MAINTENANCE, examples=("", "--no-dry-run", "--older-than 7d --no-dry-run"))
def gc(settings: Settings, older_than: OlderThan = None, dry_run: DryRun = True) -> Answer:
    """Remove stored files that nobody needs, beside readers and writers."""
    done = settings.open().gc(moment(older_than), dry_run=dry_run)
    rows = [{"kind": kind, "files": files} for kind, files in done.removed.items()]
    return Answer(
        done.to_dict(), lambda console: _print(console, done), rows, columns=("kind", "files")
    )


def _print(console: Console, done: Collection) -> None:
    said = "would remove" if done.dry_run else "removed"
    size = f", {done.bytes_removed:,} bytes"
    console.print(Text(f"{said} {counted(done.files_removed, 'file')}{size}", style="bold"))
    facts(console, [(name, value) for name, value in done._facts() if name != "removed"])
    if done.dry_run and done.files_removed:
        console.print(Text("nothing was done; --no-dry-run does it"))
