"""The frame of the command line: how commands are made, run and ended."""

from __future__ import annotations

import functools
import inspect
import itertools
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from .. import __version__
from ..errors import ZVError
from ._answer import Answer, Form
from ._exit import report, report_usage
from ._settings import COMMON, REPOSITORY, Settings, storage_options
from ._words import flags_of, in_flags

__all__ = ["DATA", "HISTORY", "MAINTENANCE", "START", "app", "command"]

START = "Begin"
DATA = "Data in and out"
HISTORY = "History"
MAINTENANCE = "Maintenance"

_UsageError: type[Exception] = typer.BadParameter.__bases__[0]
_OF_COMMANDS = ("-r", "--repository", "-O", "--storage-option", "-o", "--output", "-q", "--quiet")
_ELSEWHERE = {
    ("import", "--append"): "zvv append adds files to a dataset that is there",
    ("append", "--bounds"): "--out-of-bounds expand lets those of the dataset grow",
}
"""Options that people look for where they are not, and what they may want."""
_JSON_WANTED = re.compile(r"(?:-o|--output)=?(jsonl?)")


def _wants_json(arguments: Sequence[str]) -> bool:
    """Whether a command line that cannot be understood asks for JSON."""
    pairs = [f"{first}={second}" for first, second in itertools.pairwise(arguments)]
    return any(_JSON_WANTED.fullmatch(text) for text in [*arguments, *pairs])


class _Group(TyperGroup):
    """Answers a wrong command line in JSON where JSON was asked for."""

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        arguments = list(args)
        as_json = _wants_json(arguments)
        try:
            context = super().make_context(info_name, args, parent, **extra)
        except _UsageError as error:
            raise _ended(_hinted(error), as_json=as_json) from error
        context.meta[__name__] = as_json
        return context

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except _UsageError as error:
            raise _ended(_hinted(error), as_json=ctx.meta[__name__]) from error


def _hinted(error: Any) -> Any:
    """A wrong option, with where it would be right."""
    name = getattr(error, "option_name", None)
    if name is None or error.ctx is None:
        return error
    command = "" if error.ctx.parent is None else error.ctx.command.name
    if not command and name in _OF_COMMANDS:
        error.message += f" before the command; it goes behind it: zvv COMMAND {name} …"
    elif (command, name) in _ELSEWHERE:
        error.message += f"; {_ELSEWHERE[command, name]}"
        error.possibilities = None
    return error


def _ended(error: Any, *, as_json: bool) -> Exception:
    if not as_json:
        original: Exception = error
        return original
    return typer.Exit(report_usage(error.format_message()))


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"zv_versioned {__version__}")
        raise typer.Exit


@app.callback(
    epilog="A REF is a branch, a tag, a snapshot id or four or more of its first characters; "
    "REF~2 is the second ancestor, REF^2 the second parent of a merge. "
    "Options of a command: zv-versioned COMMAND --help"
)
def _options(
    ctx: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it."),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback on errors.")] = False,
) -> None:
    """A transactional, versioned store for large vector geometry."""
    ctx.obj = debug


def command(
    name: str, panel: str, *, repository: bool = True, examples: Sequence[str] = ()
) -> Callable[[Callable[..., Answer]], Callable[..., None]]:
    """Make a function a command of the command line.

    Its first parameter gets the :class:`Settings`, the others are options and
    arguments of its own. It returns an :class:`Answer`, which is printed in the
    form that was asked for. An error of ours, or of the system, ends it with
    one line and an exit code.

    Parameters
    ----------
    name : str
    panel : str
        The heading it stands under in the help.
    repository : bool
        Whether it works on a repository, and so has the options that name one.
    examples : sequence of str
        Of its arguments and options; stand at the end of its help.
    """
    common = {**(REPOSITORY if repository else {}), **COMMON}
    lines = [escape(f"$ zv-versioned {name} {example}".rstrip()) for example in examples]
    epilog = "\n\n".join(lines) or None

    def make(function: Callable[..., Answer]) -> Callable[..., None]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]

        @functools.wraps(function)
        def run(ctx: typer.Context, **values: Any) -> None:
            taken = {key: values.pop(key) for key in common}
            settings = Settings(
                taken.get("repository"),
                storage_options(taken.get("storage_option") or ()),
                taken["output"],
                taken["quiet"],
                taken["debug"] or bool(ctx.obj),
            )
            raise typer.Exit(_run(ctx.command, function, settings, values))

        parameters = [
            inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context),
            *(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own),
            *(
                inspect.Parameter(
                    key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
                )
                for key, (annotation, default) in common.items()
            ),
        ]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        app.command(name, rich_help_panel=panel, epilog=epilog)(run)
        return run

    return make


def _run(
    command: Any, function: Callable[..., Answer], settings: Settings, values: dict[str, Any]
) -> int:
    try:
        answer = function(settings, **values)
        answer.show(command.name, Form(settings.form))
    except (ZVError, OSError, KeyboardInterrupt) as error:
        flags = flags_of(command)
        return report(
            error,
            as_json=settings.form.is_json,
            debug=settings.debug,
            said=lambda message: in_flags(message, flags),
        )
    return answer.exit_code
