"""What holds for the project as a whole: its version, its pages, its imports."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import zv_versioned

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "zv_versioned"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MODULES = sorted(PACKAGE.rglob("*.py"))


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


# ---- version and packaging ---------------------------------------------------


def test_the_version_is_the_same_everywhere() -> None:
    assert _project()["version"] == zv_versioned.__version__


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_every_folder_of_the_package_is_a_package() -> None:
    folders = {path.parent for path in MODULES}
    assert {folder for folder in folders if not (folder / "__init__.py").is_file()} == set()


# ---- pages -------------------------------------------------------------------


def _blocks(page: Path) -> list[tuple[int, str]]:
    """The Python blocks of a page, with the line each begins at."""
    text = page.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, match.start(1)), match[1])
        for match in re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    ]


@pytest.mark.parametrize("page", [page for page in PAGES if _blocks(page)], ids=_name)
def test_the_code_on_a_page_runs(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.chdir(tmp_path)
    if page.name == "s3.md":
        location, options = request.getfixturevalue("s3_location")
        for variable, value in {
            "BRAIN_BUCKET": location,
            "S3_ENDPOINT": options["endpoint_url"],
            "AWS_REGION": options["region"],
            "AWS_ACCESS_KEY_ID": options["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": options["secret_access_key"],
        }.items():
            monkeypatch.setenv(variable, value)
    namespace: dict[str, object] = {"__name__": "__page__"}
    for line, code in _blocks(page):
        # Blank lines in front, so that a traceback names the line of the page.
        exec(compile("\n" * line + code, str(page), "exec"), namespace)


def test_the_pages_have_code_to_run() -> None:
    assert all(_blocks(ROOT / name) for name in ("README.md", "docs/getting-started.md"))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


# ---- imports -----------------------------------------------------------------


def _imports(path: Path) -> Iterator[str]:
    """The absolute names of the modules that a file imports, wherever in it."""
    package = path.relative_to(ROOT).with_suffix("").parts
    package = package[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _importers(modules: list[Path], *names: str) -> list[str]:
    """Those of `modules` that import one of `names` or something below it."""
    return [
        f"{_name(path)} imports {imported}"
        for path in modules
        for imported in _imports(path)
        if any(imported == name or imported.startswith(f"{name}.") for name in names)
    ]


def _below(*folders: str) -> list[Path]:
    return [p for p in MODULES if p.relative_to(PACKAGE).parts[0] in folders]


def test_format_and_spatial_know_nothing_of_icechunk_or_what_is_above_them() -> None:
    modules = _below("format", "spatial")
    assert modules
    assert _importers(modules, "icechunk") == []
    lower = ("_sets", "errors", "format", "spatial")
    above = [
        f"{_name(path)} imports {imported}"
        for path in modules
        for imported in _imports(path)
        if imported.startswith("zv_versioned.") and imported.split(".")[1] not in lower
    ]
    assert above == []


def test_only_interop_knows_zarr_vectors() -> None:
    others = [path for path in MODULES if path not in _below("interop")]
    assert _importers(others, "zarr_vectors") == []


def test_nothing_below_it_imports_the_command_line_or_the_demo() -> None:
    others = [path for path in MODULES if path not in _below("cli", "demo", "__main__.py")]
    assert _importers(others, "zv_versioned.cli", "zv_versioned.demo") == []


# ---- the tree ----------------------------------------------------------------


def _texts() -> Iterator[Path]:
    """The text files of a checkout, without what tools leave in it."""
    yield from (path for path in ROOT.iterdir() if path.is_file() and path.name != ".git")
    for folder in (".ci", "zv_versioned", "tests", "docs", "benchmarks"):
        yield from (
            path
            for path in (ROOT / folder).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        )


def test_no_file_names_the_machine_it_was_written_on() -> None:
    # Somebody's home, or a working folder at the root of the file system.
    machine = re.compile(rb"(?<![\w.])/(?:home|root|Users|work)/\w|/tmp/env\b")
    found = [
        f"{_name(path)}: {match.decode()}"
        for path in _texts()
        if path != Path(__file__).resolve()
        for match in machine.findall(path.read_bytes())
    ]
    assert found == []


def test_a_python_that_does_not_start_is_told_from_one_that_is_too_old(tmp_path: Path) -> None:
    shim = tmp_path / "python3.13"
    shim.write_text("#!/bin/sh\necho shim: no such version >&2\nexit 127\n")
    shim.chmod(0o755)
    done = subprocess.run(
        ["make", "install", f"PYTHON={shim}", f"VENV={tmp_path / 'venv'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert f"PYTHON={shim} does not start" in done.stderr
    assert "3.11 or newer" not in done.stderr
