"""The documentation as a site: every page has its place, and what is made is up to date."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest
import typer

import zv_versioned as zvv
from zv_versioned import cli, interop

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


def _script(name: str) -> ModuleType:
    spec = spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_has_its_place_and_every_place_a_page() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    listed = re.findall(r"(\S+\.md)$", text, re.MULTILINE)
    assert [page for page in listed if not (DOCS / page).is_file()] == []
    nav = _script("commands_hook").with_all_pages([{"": page} for page in listed])
    found = re.findall(r"'([^']+\.md)'", str(nav))
    assert sorted(found) == sorted(p.relative_to(DOCS).as_posix() for p in DOCS.rglob("*.md"))


def test_the_reference_has_every_public_name() -> None:
    made = _script("commands_hook").names()
    errors = {name for name in zvv.__all__ if name.endswith("Error")}
    assert (
        set(re.findall(r"^::: zv_versioned\.(\w+)$", made, re.MULTILINE)) == {*zvv.__all__} - errors
    )
    assert "::: zv_versioned.errors" in (DOCS / "reference" / "python.md").read_text("utf-8")
    assert all((getattr(interop, name).__doc__ or "").strip() for name in interop.__all__)


def test_the_page_of_commands_says_what_their_help_says() -> None:
    made = _script("commands_hook").commands()
    group = typer.main.get_command(cli.app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        section = re.search(rf"^## {name}$(.*?)(?=^## |\Z)", made, re.MULTILINE | re.DOTALL)
        assert section is not None, name
        assert command.help in section[1]
        options = [p.opts[0] for p in command.params if p.param_type_name == "option"]
        assert [o for o in options if f"`{o}`" not in section[1]] == []


def test_the_guide_to_the_commands_names_no_option_that_a_command_has_not() -> None:
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    group = typer.main.get_command(cli.app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        section = re.search(rf"^## `{name}`$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        assert section is not None, name
        rows = "".join(re.findall(r"^\| (`-.*?) \|", section[1], re.MULTILINE))
        known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
        assert set(re.findall(r"`(-[-\w]+)", rows)) <= known, name


def test_the_picture_is_the_log_of_the_repository_that_it_says() -> None:
    picture = _script("history_picture")
    repo = picture.example()
    drawn = picture.draw(repo)
    assert drawn == (DOCS / "images" / "history.svg").read_text(encoding="utf-8")
    tree = ElementTree.fromstring(drawn)
    space = "{http://www.w3.org/2000/svg}"
    commits = [commit for commit in repo.log("main") if commit.parents]
    assert sum(len(commit.parents) == 2 for commit in commits) == 1
    assert len(tree.findall(f"{space}circle")) == len(commits)
    # A line for each parent that is drawn itself; the first commit's parent is the empty one.
    assert len(tree.findall(f"{space}path")) == sum(len(c.parents) for c in commits) - 1
    words = {text.text for text in tree.iter(f"{space}text")}
    assert {commit.message for commit in commits} | {"main", "try", "paper-v1"} <= words


@pytest.mark.parametrize(
    ("parents", "expected"),
    [
        ({"c": ["b"], "b": ["a"], "a": []}, [0, 0, 0]),
        ({"m": ["a", "b"], "b": ["a"], "a": []}, [0, 1, 0]),
        ({"n": ["m", "x"], "x": ["a"], "m": ["a", "b"], "b": ["a"], "a": []}, [0, 1, 0, 2, 0]),
    ],
)
def test_commits_of_a_branch_lie_in_a_lane(
    parents: dict[str, list[str]], expected: list[int]
) -> None:
    from datetime import UTC, datetime

    commits = [
        zvv.CommitInfo(name, name, "", datetime.now(UTC), tuple(above), {}, {})
        for name, above in parents.items()
    ]
    assert _script("history_picture").lanes(commits) == expected


@pytest.mark.long
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    commands = (tmp_path / "site" / "reference" / "commands.html").read_text(encoding="utf-8")
    assert "cherry-pick" in commands
