"""For mkdocs: pages that follow from the code, and the place of each page.

The page of commands is what the command line itself says of them, the page of Python
has every public name, and design notes need not be listed one by one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer

import zv_versioned
from zv_versioned import cli

DOCS = Path(__file__).resolve().parent


def on_config(config: Any, **_: Any) -> Any:
    """Give the pages that the list of places does not name a place at its end."""
    config["nav"] = with_all_pages(config["nav"])
    return config


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Put what follows from the code into its pages; other pages stay as they are."""
    made = {
        "reference/commands.md": ("<!-- the commands -->", commands),
        "reference/python.md": ("<!-- the public names -->", names),
    }
    if page.file.src_uri not in made:
        return markdown
    mark, make = made[page.file.src_uri]
    if mark not in markdown:
        raise ValueError(f"{page.file.src_uri} has lost its mark: {mark}")
    return markdown.replace(mark, make())


def with_all_pages(nav: list[Any]) -> list[Any]:
    """A list of places, with all design notes, and with other pages that it does not name."""
    listed = set(re.findall(r"'([^']+\.md)'", str(nav)))
    pages = sorted(p.relative_to(DOCS).as_posix() for p in DOCS.rglob("*.md"))
    lacking = [page for page in pages if page not in listed]
    notes = [page for page in lacking if page.startswith("design/")]
    others = [page for page in lacking if page not in notes]
    more = {"Design notes": notes, "More": others}
    return [*nav, *({title: found} for title, found in more.items() if found)]


def names() -> str:
    """The public names, first what one begins with."""
    first = ["Repository", "Transaction", "ZVWriter", "View", "Dataset", "Level", "Geometry"]
    others = [n for n in zv_versioned.__all__ if n not in first and not n.endswith("Error")]
    return "\n".join(f"::: zv_versioned.{name}" for name in [*first, *others])


def commands() -> str:
    """All commands: their help, arguments, options and examples, as Markdown."""
    group: Any = typer.main.get_command(cli.app)
    return "\n\n".join(_command(name, command) for name, command in group.commands.items())


def _command(name: str, command: Any) -> str:
    context = command.make_context(name, [], resilient_parsing=True)
    usage = " ".join(["zv-versioned", name, *command.collect_usage_pieces(context)])
    examples = re.sub(r"\n\n", "\n", (command.epilog or "").replace("\\[", "["))
    parts = [
        f"## {name}",
        command.help or "",
        f"```text\n{usage}\n```",
        _table("argument", [p for p in command.params if p.param_type_name == "argument"]),
        _table("option", [p for p in command.params if p.param_type_name == "option"]),
        f"```console\n{examples}\n```" if examples else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _table(what: str, parameters: list[Any]) -> str:
    rows = [
        f"| {_names(p)} | {_cell(getattr(p, 'help', None) or '')} |"
        for p in parameters
        if not getattr(p, "hidden", False)
    ]
    return "\n".join([f"| {what} | |", "| --- | --- |", *rows]) if rows else ""


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{_cell(parameter.metavar or parameter.name.upper())}`"
    metavar = parameter.metavar or parameter.name.upper()
    names = ", ".join(f"`{name}`" for name in parameter.opts)
    return names if parameter.is_flag else f"{names} `{_cell(metavar)}`"


def _cell(text: str) -> str:
    return " ".join(text.replace("\\[", "[").split()).replace("|", "&#124;")
