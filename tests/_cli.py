"""Running commands in tests: every JSON answer is held against its schema."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from functools import cache
from importlib import resources
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from typer.testing import CliRunner

from zv_versioned.cli import app

SCHEMAS = resources.files("zv_versioned.cli") / "schemas"


@cache
def schemas() -> dict[str, dict[str, Any]]:
    """All schemas, by the name of their file."""
    return {
        path.name.removesuffix(".json"): json.loads(path.read_text(encoding="utf-8"))
        for path in SCHEMAS.iterdir()
        if path.name.endswith(".json")
    }


@cache
def _validator(name: str) -> Draft202012Validator:
    registry: Registry[Any] = Registry().with_resources(
        (f"{key}.json", Resource.from_contents(schema)) for key, schema in schemas().items()
    )
    return Draft202012Validator(
        schemas()[name], registry=registry, format_checker=Draft202012Validator.FORMAT_CHECKER
    )


def run(*arguments: object, code: int = 0, **environment: str) -> str:
    """Run a command that must end with `code`; what it printed to stdout."""
    done = CliRunner().invoke(app, [str(a) for a in arguments], env=environment or None)
    assert done.exit_code == code, done.output
    if code == 0:
        assert done.stderr == ""
    return done.stdout


def failed(*arguments: object, code: int) -> str:
    """Run a command that must fail with `code`; what it said on stderr, on one line."""
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exit_code == code, done.output
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", done.stderr).split())


def run_json(*arguments: object, code: int = 0) -> dict[str, Any]:
    """Run a command with ``-o json``; its data, which its schema describes."""
    answer = json.loads(run(*arguments, "-o", "json", code=code))
    _validator("envelope").validate(answer)
    _validator(answer["command"]).validate(answer["data"])
    assert answer["command"] == arguments[0]
    data: dict[str, Any] = answer["data"]
    return data


def failed_json(*arguments: object, code: int) -> dict[str, Any]:
    """Run a command with ``-o json`` that must fail; its error, from stderr."""
    done = CliRunner().invoke(app, [*map(str, arguments), "-o", "json"])
    assert done.exit_code == code, done.output
    assert done.stdout == ""
    answer = json.loads(done.stderr)
    _validator("error").validate(answer)
    error: dict[str, Any] = answer["error"]
    assert error["exit_code"] == code
    return error


def run_lines(*arguments: object) -> list[dict[str, Any]]:
    """Run a command with ``-o jsonl``; its rows."""
    return [json.loads(text) for text in run(*arguments, "-o", "jsonl").splitlines()]


def run_csv(*arguments: object, code: int = 0) -> list[dict[str, str]]:
    """Run a command with ``-o csv``; its rows."""
    return list(csv.DictReader(io.StringIO(run(*arguments, "-o", "csv", code=code))))


def in_terminal(*arguments: object, code: int = 0) -> str:
    """Run a command whose stderr is a terminal; what it showed there, with control sequences."""
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "zv_versioned", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            read = os.read(ours, 4096)
        except OSError:  # nobody has the other end any more
            break
        if not read:
            break
        shown += read
    os.close(ours)
    assert process.wait(60) == code, shown
    return shown.decode()
