"""What all commands have in common: options, forms of output, errors, exit codes, help, docs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import _s3
import pytest
import typer
from _cli import SCHEMAS, failed, failed_json, run, run_csv, run_json, schemas
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

import zv_versioned as zvv
from zv_versioned import cli
from zv_versioned.cli import _exit
from zv_versioned.cli._answer import Answer, Form
from zv_versioned.cli._exit import exit_code
from zv_versioned.cli._settings import Settings

ROOT = Path(__file__).resolve().parents[2]
GROUP: Any = typer.main.get_command(cli.app)
COMMANDS: dict[str, Any] = GROUP.commands
PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def _section(name: str) -> str:
    """What docs/cli.md has under the heading of a command."""
    found = re.search(rf"^## `{name}`$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


# ---- which commands there are ------------------------------------------------


def test_every_module_is_a_command_and_every_command_a_module() -> None:
    folder = Path(cli.__file__).parent
    modules = {p.stem.rstrip("_") for p in folder.glob("*.py") if not p.stem.startswith("_")}
    assert {name.replace("-", "_") for name in COMMANDS} == modules


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_test_module(name: str) -> None:
    assert (ROOT / "tests" / "cli" / f"test_{name.replace('-', '_')}.py").is_file()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_explained(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    assert command.help.strip().endswith(".")
    bare = [p.name for p in command.params if not getattr(p, "help", None) and p.name != "help"]
    assert bare == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_in_the_docs(name: str) -> None:
    section = _section(name)
    assert section, f"docs/cli.md has no section on {name}"
    common = {"repository", "storage_option", "output", "quiet", "debug"}
    options = [
        text
        for p in COMMANDS[name].params
        for text in p.opts
        if p.param_type_name == "option" and p.name not in common and text.startswith("--")
    ]
    assert [text for text in options if f"`{text}" not in section] == []


def test_the_docs_know_no_command_that_is_not_there() -> None:
    assert set(re.findall(r"^## `([a-z-]+)`$", PAGE, re.MULTILINE)) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_schema(name: str) -> None:
    schema = schemas()[name]
    Draft202012Validator.check_schema(schema)
    assert schema["title"] == f"data of {name}"
    assert (SCHEMAS / f"{name}.json").is_file()


def test_no_schema_lacks_a_command() -> None:
    assert set(schemas()) == set(COMMANDS) | {"common", "envelope", "error"}


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_fits_the_terminal(name: str, width: int) -> None:
    text = run(*filter(None, [name]), "--help", COLUMNS=str(width), TERMINAL_WIDTH=str(width))
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert "Usage" in plain
    assert max(map(len, plain.splitlines())) <= width


# ---- the repository ----------------------------------------------------------


def test_a_repository_is_named_by_option_by_environment_or_by_being_there(
    known: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_option = run_json("log", "-r", known.path)
    assert by_option["commits"][0]["message"] == "second"
    assert json.loads(run("log", "-o", "json", ZV_VERSIONED_REPOSITORY=str(known.path)))[
        "data"
    ] == (by_option)
    monkeypatch.chdir(known.path)
    assert run_json("log") == by_option


def test_without_a_repository_the_error_says_how_to_name_one(known: Any) -> None:
    text = failed("log", code=2)
    assert "--repository LOCATION" in text
    assert "ZV_VERSIONED_REPOSITORY" in text


def test_a_location_without_a_repository_is_not_found(tmp_path: Path) -> None:
    assert failed_json("log", "-r", tmp_path / "x", code=40)["kind"] == "not_found"


def test_storage_options_reach_the_storage(s3_location: tuple[str, dict[str, Any]]) -> None:
    location, options = s3_location
    words = [f"{key}={str(v).lower() if v is True else v}" for key, v in options.items()]
    pairs = [text for word in words for text in ("-O", word)]
    run_json("init", location, *pairs)
    assert len(run_json("log", "-r", location, *pairs)["commits"]) == 1
    environment = {"ZV_VERSIONED_STORAGE_OPTIONS": " ".join(words)}
    assert "initialized" in run("log", "-r", location, **environment)


def test_a_storage_option_that_is_unknown_is_an_error_without_secrets(
    s3_location: tuple[str, dict[str, Any]],
) -> None:
    location, _ = s3_location
    text = failed("log", "-r", location, "-O", f"secret={_s3.SECRET}", "-O", "x=1", code=11)
    assert _s3.SECRET not in text
    assert _s3.KEY not in text
    assert "no storage option" in text


def test_a_storage_option_without_a_value_is_a_wrong_command_line(known: Any) -> None:
    assert "KEY=VALUE" in failed("log", "-r", known.path, "-O", "region", code=2)


# ---- forms of output ---------------------------------------------------------


def test_csv_keeps_what_a_cell_cannot_hold_as_json(known: Any) -> None:
    rows = run_csv("log", "-r", known.path)
    assert json.loads(rows[0]["parents"]) == [known.snapshots[1]]
    assert json.loads(rows[2]["metadata"]) == {"run": 7}


def _printed(answer: Answer, form: Form, capsys: pytest.CaptureFixture[str]) -> str:
    answer.show("read", form)
    return capsys.readouterr().out


def test_numbers_that_json_does_not_have_are_null(capsys: pytest.CaptureFixture[str]) -> None:
    import numpy as np

    data = {"a": float("nan"), "b": np.float32("inf"), "c": np.array([1.5, np.nan]), "d": np.True_}
    answer = Answer(data, lambda console: None)
    document = json.loads(_printed(answer, Form.JSON, capsys))
    assert document["data"] == {"a": None, "b": None, "c": [1.5, None], "d": True}
    assert _printed(answer, Form.CSV, capsys) == 'a,b,c,d\n,,"[1.5, null]",true\n'


def test_an_empty_table_still_has_its_head(capsys: pytest.CaptureFixture[str]) -> None:
    answer = Answer({}, lambda console: None, [], ["a", "b"])
    assert _printed(answer, Form.CSV, capsys) == "a,b\n"
    assert _printed(answer, Form.JSONL, capsys) == ""


def test_what_is_no_value_is_not_printed_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    answer = Answer({"a": object()}, lambda console: None)
    with pytest.raises(TypeError, match="nothing that JSON has"):
        answer.show("read", Form.JSON)


def test_a_message_cannot_move_the_cursor(known: Any) -> None:
    repo = known.repository
    with repo.transaction("main", message="\x1b[2Jgone", author="\x1b[31m") as tx:
        tx.create_dataset("other", kind="point_cloud", bounds=([0, 0], [1, 1]))
    for arguments in (["log"], ["log", "--stat"], ["show"], ["branch"], ["stats"]):
        assert "\x1b" not in run(*arguments, "-r", known.path)


def test_text_to_a_file_is_never_cut(known: Any) -> None:
    long = "a" * 300
    repo = known.repository
    with repo.transaction("main", message=long) as tx:
        tx.create_dataset("other", kind="point_cloud", bounds=([0, 0], [1, 1]))
    assert long in run("log", "-r", known.path)


# ---- errors ------------------------------------------------------------------


def _fail_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Settings) -> zvv.Repository:
        raise error

    monkeypatch.setattr(Settings, "open", fail)


CODES = [
    (zvv.ArrayError("x"), 11, "array"),
    (zvv.MetadataError("x"), 11, "metadata"),
    (zvv.StorageError("x"), 11, "storage"),
    (PermissionError("x"), 11, "os"),
    (zvv.ReadOnlyError("x"), 20, "read_only"),
    (zvv.ConflictError("x"), 21, "conflict"),
    (zvv.ViolationError("x"), 22, "violation"),
    (zvv.IntegrityError("x"), 23, "integrity"),
    (zvv.NotFoundError("x"), 40, "not_found"),
    (KeyboardInterrupt("x"), 130, "interrupted"),
]


@pytest.mark.parametrize(("error", "code", "kind"), CODES, ids=[c[2] + str(c[1]) for c in CODES])
def test_each_error_has_its_exit_code(
    error: BaseException, code: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fail_with(error, monkeypatch)
    assert exit_code(error) == code
    assert failed("log", code=code) == "Error: x"
    said = failed_json("log", code=code)
    assert (said["kind"], said["message"]) == (kind, "x")
    assert ("details" in said) == (kind in ("conflict", "violation"))


def test_a_conflict_says_in_json_what_the_two_sides_are(monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_with(
        zvv.ConflictError("x", what="branch", where="main", ours="A", theirs=["B"]), monkeypatch
    )
    details = failed_json("log", code=21)["details"]
    assert details == {"what": "branch", "where": "main", "ours": "A", "theirs": ["B"]}


@pytest.mark.parametrize("arguments", [["--debug", "log"], ["log", "--debug"]])
def test_debug_adds_the_traceback_and_keeps_the_exit_code(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _fail_with(zvv.NotFoundError("x"), monkeypatch)
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 40
    assert "Traceback" in done.stderr
    assert any("NotFoundError: x" in text for text in failed_json(*arguments, code=40)["traceback"])


def test_a_fault_of_our_own_is_not_dressed_as_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_with(ZeroDivisionError("x"), monkeypatch)
    done = CliRunner().invoke(cli.app, ["log"])
    assert isinstance(done.exception, ZeroDivisionError)


@pytest.mark.parametrize(
    "arguments",
    [["log", "--no-such"], ["no-such"], ["log", "-n", "x"], ["--no-such"], ["log", "-o", "xml"]],
)
def test_a_wrong_command_line_ends_with_2(arguments: list[str]) -> None:
    assert "Error" in failed(*arguments, code=2)


@pytest.mark.parametrize("form", [["-o", "json"], ["-ojson"], ["--output=jsonl"]])
@pytest.mark.parametrize("arguments", [["log", "--no-such"], ["no-such"], ["log", "-n", "x"]])
def test_a_wrong_command_line_is_json_where_json_is_asked_for(
    arguments: list[str], form: list[str]
) -> None:
    done = CliRunner().invoke(cli.app, [*arguments, *form])
    assert done.exit_code == 2
    assert json.loads(done.stderr)["error"]["kind"] == "usage"


def test_a_command_that_is_nearly_right_gets_a_hint() -> None:
    assert "'log'" in failed("lgo", code=2)


def test_the_exit_codes_are_documented() -> None:
    in_module = re.findall(r"^(\d+) ", _exit.__doc__ or "", re.MULTILINE)
    in_docs = re.findall(r"^\| (\d+) ", PAGE, re.MULTILINE)
    assert in_module == in_docs == ["0", "1", "2", "11", "20", "21", "22", "23", "40", "130", "141"]


def test_a_reader_that_has_enough_is_no_error(known: Any) -> None:
    done = subprocess.run(
        f"{sys.executable} -m zv_versioned read -r {known.path} -o jsonl | head -n 0",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""


# ---- the frame ---------------------------------------------------------------


def test_version() -> None:
    assert run("--version") == f"zv_versioned {zvv.__version__}\n"
    assert "Usage" in run("-h")


def test_no_color_means_no_color(known: Any) -> None:
    environment = {**os.environ, "FORCE_COLOR": "1", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "zv_versioned", "log", "-r", str(known.path)],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", done.stdout)


def test_the_shell_completes_commands_and_refs(known: Any) -> None:
    known.repository.create_branch("try", at="main")

    def complete(words: str, number: int) -> list[str]:
        environment = {
            "_ZV_VERSIONED_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(number),
        }
        done = subprocess.run(
            [sys.executable, "-c", "from zv_versioned.cli import main; main()"],
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
            check=True,
        )
        return done.stdout.split()

    assert complete("zv-versioned sh", 1) == ["show"]
    assert complete(f"zv-versioned log -r {known.path} t", 4) == ["try"]
    assert complete("zv-versioned log -r nowhere t", 4) == []


def test_a_command_without_a_repository_has_no_options_that_name_one() -> None:
    assert not {"repository", "storage_option"} & {p.name for p in COMMANDS["demo"].params}


def test_the_options_of_the_frame_are_those_that_are_documented() -> None:
    head = PAGE[: PAGE.index("## `")]
    for name in ("-r", "-O", "-o", "-q", "--debug", "NO_COLOR", "ZV_VERSIONED_REPOSITORY"):
        assert f"`{name}" in head
        assert name.startswith("-") is any(name in p.opts for p in COMMANDS["log"].params)
