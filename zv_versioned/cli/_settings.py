"""The options that commands have in common, and what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from ..errors import MetadataError
from ..repository import Repository
from ._answer import Form

__all__ = ["COMMON", "REPOSITORY", "Settings", "storage_options"]

_PANEL = "Common options"
_FLAGS = {"true": True, "false": False}


def storage_options(given: Sequence[str]) -> dict[str, Any]:
    """``KEY=VALUE`` as keyword options of the storage; true and false are no text.

    Raises
    ------
    typer.BadParameter
        If one has no ``=``.
    """
    options: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise typer.BadParameter(
                f"{text!r} is not KEY=VALUE, such as region=eu-west-1",
                param_hint="--storage-option",
            )
        options[key] = _FLAGS.get(value.lower(), value)
    return options


@dataclass(frozen=True)
class Settings:
    """What the common options say.

    Attributes
    ----------
    repository : str or None
    storage : dict
    form : Form
    quiet, debug : bool
    """

    repository: str | None = None
    storage: dict[str, Any] = field(default_factory=dict)
    form: Form = Form.TEXT
    quiet: bool = False
    debug: bool = False

    def location(self) -> str:
        """The location that was named, or the current folder where that is a repository.

        Raises
        ------
        typer.BadParameter
            If nothing names one.
        """
        if self.repository:
            return self.repository
        try:
            here = not self.storage and Repository.exists(".")
        except MetadataError:
            here = False  # a folder of something else
        if here:
            return "."
        raise typer.BadParameter(
            "no repository is named and the current folder is none: give --repository LOCATION or "
            "set ZV_VERSIONED_REPOSITORY (zv-versioned init makes one)",
            param_hint="--repository",
        )

    def open(self) -> Repository:
        """Open the repository."""
        return Repository.open(self.location(), **self.storage)


REPOSITORY: dict[str, tuple[Any, Any]] = {
    "repository": (
        Annotated[
            str | None,
            typer.Option(
                "--repository",
                "-r",
                metavar="LOCATION",
                envvar="ZV_VERSIONED_REPOSITORY",
                show_envvar=False,
                help="The repository: a path, s3://bucket/prefix, gs://…, az://…. Else "
                "$ZV_VERSIONED_REPOSITORY, else the current folder.",
                rich_help_panel=_PANEL,
            ),
        ],
        None,
    ),
    "storage_option": (
        Annotated[
            list[str] | None,
            typer.Option(
                "--storage-option",
                "-O",
                metavar="KEY=VALUE",
                envvar="ZV_VERSIONED_STORAGE_OPTIONS",
                show_envvar=False,
                help="An option of the storage, such as region=eu-west-1; may be given again. "
                "Else $ZV_VERSIONED_STORAGE_OPTIONS.",
                rich_help_panel=_PANEL,
            ),
        ],
        None,
    ),
}
"""The options of commands that work on a repository: annotation and default by name."""

COMMON: dict[str, tuple[Any, Any]] = {
    "output": (
        Annotated[
            Form,
            typer.Option(
                "--output",
                "-o",
                metavar="FORM",
                help="Form of the output: text, json, jsonl or csv.",
                rich_help_panel=_PANEL,
            ),
        ],
        Form.TEXT,
    ),
    "quiet": (
        Annotated[
            bool,
            typer.Option("--quiet", "-q", help="No progress bars.", rich_help_panel=_PANEL),
        ],
        False,
    ),
    "debug": (
        Annotated[
            bool,
            typer.Option("--debug", help="Show a traceback on errors.", rich_help_panel=_PANEL),
        ],
        False,
    ),
}
"""The options of all commands."""
