"""``zv-versioned import``"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _cli import failed, failed_json, in_terminal, run, run_csv, run_json, run_lines
from _files import NAVIS, TRACTS, level_of

SWC = NAVIS / "swc"


def test_files_become_a_dataset(known: Any) -> None:
    text = run("import", SWC, "-d", "skeletons", "-r", known.path, "--unit", "nanometer")
    view = known.repository.view("main")
    assert text == (
        f"Imported 5 files (swc) into 'skeletons' as {view.snapshot_id[:8]} on main:\n"
        "23,221 vertices, 23,215 links, 5 objects in 1 batch\n"
    )
    assert [axis["unit"] for axis in view["skeletons"].axes] == ["nanometer"] * 3


def test_json_says_what_was_done(known: Any) -> None:
    data = run_json("import", TRACTS, "-d", "tracts", "-r", known.path, "-m", "a bundle")
    view = known.repository.view("main")
    assert view.info.message == "a bundle"
    assert data["found"] is None
    assert data["imported"] == {
        "format": "trk",
        "dataset": "tracts",
        "kind": "streamline",
        "branch": "main",
        "snapshot_id": view.snapshot_id,
        "files": 1,
        "created": True,
        "batches": 1,
        "vertices": 14_576,
        "links": 14_276,
        "objects": 300,
    }


def test_the_other_forms_have_the_same_row(known: Any) -> None:
    (row,) = run_lines("import", TRACTS, "-d", "a", "-r", known.path)
    assert row["vertices"] == 14_576
    (cells,) = run_csv("import", TRACTS, "-d", "b", "-r", known.path)
    assert (cells["dataset"], cells["vertices"]) == ("b", "14576")


def test_options_say_how_files_are_read(known: Any, tmp_path: Path) -> None:
    table = tmp_path / "t.txt"
    table.write_text("a;b;neuron;score;note\n1;2;7;0.5;x\n3;4;8;0.25;y\n")
    run(
        *("import", table, "-d", "points", "-r", known.path, "--format", "csv"),
        *("--positions", "a,b", "--object-id", "neuron", "--attributes", "score=s"),
        *("--option", "delimiter=;", "-X", "batch_vertices=1", "--dtype", "float32"),
        *("--bounds", "0,0:8,8", "--chunk-shape", "2,4"),
    )
    dataset = known.repository.view("main")["points"]
    assert (dataset.bounds, dataset.chunk_shape) == (((0, 0), (8, 8)), (2, 4))
    assert dataset.vertex_dtype == np.float32
    level = dataset[0]
    assert level.object_ids().tolist() == [7, 8]
    assert level.attribute_names == ["s"]


def test_objects_can_be_files_or_one(known: Any, tmp_path: Path) -> None:
    (tmp_path / "17.csv").write_text("x,y\n1,2\n3,4\n")
    for objects, ids in (("file", [17]), ("5", [5]), ("each", [0, 1])):
        name = f"by-{objects}"
        run("import", tmp_path / "17.csv", "-d", name, "--objects", objects, "-r", known.path)
        assert level_of(known.repository, name).object_ids().tolist() == ids


def test_a_dry_run_tells_what_is_there_and_needs_no_repository(known: Any, tmp_path: Path) -> None:
    text = run("import", SWC, "-d", "x", "--dry-run")
    assert "23,221 in 1 batch" in text
    assert "node_id, radius, type" in text
    assert "Nothing was imported" in text
    data = run_json("import", SWC, "-d", "x", "--dry-run", "-r", known.path)
    assert data["imported"] is None
    assert data["found"]["kind"] == "skeleton"
    assert known.repository.view("main").datasets == ["synapses"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere.csv", "-d", "x"], 40, "no file"),
        (["good.csv", "-d", "synapses"], 11, "exists"),
        (["good.csv", "-d", "x", "-X", "colour=red"], 11, "no option 'colour'"),
        (["good.csv", "-d", "x", "-X", "colour"], 2, "KEY=VALUE"),
        (["good.csv", "-d", "x", "--format", "xlsx"], 11, "'xlsx' is unknown"),
        (["good.csv", "-d", "x", "--bounds", "1"], 2, "two corners"),
        (["good.csv", "-d", "x", "-b", "nope"], 40, "no branch 'nope'"),
        (["bad.csv", "-d", "x"], 11, "row 3 has 1 cells"),
        (["good.csv"], 2, "--dataset"),
    ],
)
def test_what_cannot_be_imported_changes_nothing(
    arguments: list[str], code: int, said: str, known: Any, tmp_path: Path
) -> None:
    (tmp_path / "good.csv").write_text("x,y\n1,2\n")
    (tmp_path / "bad.csv").write_text("x,y\n1,2\n3\n")
    assert said in failed("import", *arguments, "-r", known.path, code=code)
    assert said in failed_json("import", *arguments, "-r", known.path, code=code)["message"]
    assert known.repository.resolve("main") == known.snapshots[2]


def test_several_processes_make_one_commit(known: Any) -> None:
    data = run_json(
        *("import", NAVIS / "synapses", "-d", "many", "--objects", "file", "--workers", 2),
        *("-r", known.path, "-q"),
    )
    assert (data["imported"]["vertices"], data["imported"]["batches"]) == (14_836, 5)
    assert len(known.repository.log("main")) == 5
    assert "'--workers'" in failed("import", "x.csv", "-d", "x", "--workers", 0, code=2)


# ---- Ctrl-C --------------------------------------------------------------------

_SLOWLY = """
import signal, sys, time
# Whoever was started in the background of a shell may have been told to ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
from zv_versioned.interop import _import

append = _import.append

def slowly(*arguments):
    told = append(*arguments)
    print("appended", flush=True)
    time.sleep(30)  # until it is interrupted, however busy the machine is
    return told

_import.append = slowly
from zv_versioned.cli import main
main()
"""
_PUBLISHING = """
import os, signal, sys
from zv_versioned.storage import Backend

publish = Backend.publish

def interrupted(self, *arguments, **more):
    os.kill(os.getpid(), signal.SIGINT)
    return publish(self, *arguments, **more)

Backend.publish = interrupted
from zv_versioned.cli import main
main()
"""


def _start(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    )


def test_an_interrupt_leaves_the_branch_as_it_was(known: Any, tmp_path: Path) -> None:
    rows = "".join(f"{i},{i}\n" for i in range(200_000))
    (tmp_path / "p.csv").write_text("x,y\n" + rows)
    process = _start(
        *(_SLOWLY, "import", tmp_path / "p.csv", "-d", "points", "-r", known.path),
        *("-X", "batch_vertices=60000"),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "appended\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "Error: interrupted; nothing was changed\n"
    repo = known.repository
    assert repo.resolve("main") == known.snapshots[2]
    assert repo.view("main").datasets == ["synapses"]
    # The next writer works without repair.
    run("import", tmp_path / "p.csv", "-d", "points", "-r", known.path)
    assert level_of(known.repository, "points").vertex_count == 200_000


def test_an_interrupt_while_it_is_published_is_too_late(known: Any, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("x,y\n1,2\n")
    process = _start(_PUBLISHING, "import", tmp_path / "p.csv", "-d", "points", "-r", known.path)
    told, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")
    assert "Imported 1 file" in told
    assert level_of(known.repository, "points").vertex_count == 1


def test_a_bar_is_shown_in_a_terminal_and_only_there(known: Any, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("x,y\n1,2\n")
    arguments = ("import", tmp_path / "p.csv", "-r", known.path)
    shown = in_terminal(*arguments, "-d", "a")
    assert "Publishing" in shown or "Importing" in shown
    assert in_terminal(*arguments, "-d", "b", "--quiet") == ""
    run(*arguments, "-d", "c")  # which is no terminal
