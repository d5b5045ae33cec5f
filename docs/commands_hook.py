"""For mkdocs: the page of commands, from what the command line itself says of them."""

from __future__ import annotations

import re
from typing import Any

import typer

from zv_versioned import cli

PAGE = "reference/commands.md"
MARK = "<!-- the commands -->"


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Put the commands into their page; other pages stay as they are."""
    if page.file.src_uri != PAGE:
        return markdown
    if MARK not in markdown:
        raise ValueError(f"{PAGE} has no place for the commands: {MARK}")
    return markdown.replace(MARK, commands())


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
