"""Errors of the library in the words of the command line.

The library names what somebody can do by the arguments of its functions:
``extend=True``. Who reads it on a command line has flags: ``--extend``. Which
flag an argument is follows from the options of the command that was run; two
tables have the few words that are more than that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from ..interop import FORMATS

__all__ = ["flags_of", "in_flags"]

_ALIASES = {"vertex_dtype": "dtype", "refs": "branch"}
"""Arguments whose options have another name."""

_PHRASES: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"open a writer on it with tx\.writer\(('[^']*'|\"[^\"]*\")\)"),
        r"add to it with zvv append -d \1",
    ),
    (re.compile(r"\"theirs\" or a function of the conflict"), "or theirs"),
    (
        re.compile(r"\"fail\", \"ours\", \"theirs\" or a function of a conflict"),
        "fail, ours or theirs",
    ),
    (re.compile(r", or None for no limit"), ""),
    (re.compile(r"merge with ff=\"allow\""), "leave --ff-only out"),
    (re.compile(r"; refs are branches$"), "; --branch takes branches"),
    (re.compile(r"leave object_ids out"), "leave --object-id and --objects out"),
    (re.compile(r"repo\.(gc|fsck|expire|compact)\(\)"), r"zvv \1"),
    (re.compile(r"fsck with repair=True"), "zvv fsck --repair"),
)
"""What is said of calls, and of the commands that do the same."""

_GROW = re.compile(r"pass out_of_bounds=\"expand\" to let the bounds grow")
_NO_OPTION = re.compile(r"has no option ([\w, ']+); it has: ([\w, ]+)$")
_NEAR = re.compile(r"near=\(\((?P<point>[^()]*)\), (?P<radius>[^()]*)\)")
_FIRST = re.compile(r"(?P<name>[a-z]+)(?=: | (?:has|is|must|needs) | ')")
"""An argument that a message begins with."""
_THINGS = frozenset({"attributes", "branch", "dataset", "level", "message", "object"})
"""Arguments that are called like what they name, so that a message may begin with that."""

_ARGUMENT = re.compile(
    r"(?<![\w.'\"-])(?P<name>[a-z][a-z_]*)=(?P<value>'[^']*'|\"[^\"]*\"|\[[^\]]*\]|[\w.+-]*\w|…)?"
)
_BARE = re.compile(r"(?<![\w.'\"/-])[a-z]+(?:_[a-z]+)+(?![\w.'\"/=(-])")


def flags_of(command: Any) -> dict[str, str]:
    """The options of a command: the long name by the parameter.

    Parameters
    ----------
    command : click.Command
    """
    found = {}
    for parameter in command.params:
        long = [word for word in parameter.opts if word.startswith("--")]
        if long and parameter.param_type_name == "option":
            found[parameter.name] = long[0]
    return found


def in_flags(message: str, flags: Mapping[str, str]) -> str:
    """A message with flags in place of arguments.

    Parameters
    ----------
    message : str
    flags : mapping of str to str
        As of :func:`flags_of`. What is none of them stays as it is.
    """
    for pattern, words in _PHRASES:
        message = pattern.sub(words, message)

    if "out_of_bounds" not in flags and "bounds" in flags:
        message = _GROW.sub("give larger --bounds", message)
    message = _NO_OPTION.sub(partial(_options, flags=flags), message)
    if "near" in flags:
        message = _NEAR.sub(_as_ball, message)
    first = _FIRST.match(message)
    if first is not None and first["name"] in flags.keys() - _THINGS:
        message = flags[first["name"]] + message[first.end() :]

    def argument(match: re.Match[str]) -> str:
        name, value = match["name"], match["value"] or ""
        flag = flags.get(_ALIASES.get(name, name))
        if flag is not None:
            return f"{flag} {_shown(value)}".rstrip()
        if "option" in flags and name in _format_options():
            return f"{flags['option']} {name}={_as_json(value)}"
        return match[0]

    message = _ARGUMENT.sub(argument, message)
    return _BARE.sub(lambda match: flags.get(_ALIASES.get(match[0], match[0]), match[0]), message)


def _options(match: re.Match[str], flags: Mapping[str, str]) -> str:
    """Which options a format lacks, and which of all that a function takes are its own."""
    unknown = [flags.get(name.strip("'"), name) for name in match[1].split(", ")]
    own = [name for name in match[2].split(", ") if name in _format_options()]
    known = [flags.get(name, f"{name}=…") for name in own]
    return f"has no option {', '.join(unknown)}; it has: {', '.join(known) or 'none'}"


def _as_ball(match: re.Match[str]) -> str:
    point = ",".join(part.strip() for part in match["point"].split(","))
    return f"--near {point}:{match['radius']}"


def _format_options() -> set[str]:
    """Names of what ``--option`` can say of any format."""
    return {
        name for form in FORMATS.values() for name in (*form.import_options, *form.export_options)
    }


def _shown(value: str) -> str:
    if value in ("True", "…"):
        return ""
    if value.startswith("["):
        return ",".join(word.strip().strip("'\"") for word in value[1:-1].split(","))
    return value.strip("'\"")


def _as_json(value: str) -> str:
    return {"True": "true", "False": "false"}.get(value, value.strip("'\""))
