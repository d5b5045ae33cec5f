"""``zv-versioned demo``"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from ._answer import Answer
from ._app import START, command
from ._settings import Settings


@command("demo", START, repository=False, examples=("--path brain",))
def demo(
    settings: Settings,
    path: Annotated[
        Path | None,
        typer.Option(
            "--path",
            metavar="DIR",
            help="Where to make the repository: a folder that is empty or not there yet. "
            "Default: a new folder among the temporary files.",
        ),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep/--no-keep", help="Keep the repository, or remove it at the end.")
    ] = True,
) -> Answer:
    """Append real neurons, make mistakes and take them back, branch and merge; views stay."""
    from ..demo import branches, data, show, story

    if path is not None and path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise typer.BadParameter(
            f"{path} is there already and not an empty folder", param_hint="--path"
        )
    neurons = data.load()
    location = path or Path(tempfile.mkdtemp(prefix="zv-versioned-demo-"))
    try:
        told = story.tell(location.resolve(), neurons)
        sequel = branches.go_on(told.location, neurons)
    finally:
        if not keep:
            shutil.rmtree(location, ignore_errors=True)
    document = {
        "location": told.location,
        "kept": keep,
        "dataset": story.DATASET,
        "tag": story.TAG,
        "history": [
            {"snapshot_id": commit.snapshot_id, "message": commit.message}
            for commit in sequel.history
        ],
    }
    return Answer(document, lambda console: show.show(told, console, sequel=sequel, kept=keep))
