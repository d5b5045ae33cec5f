"""Errors in the words of the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from _cli import failed, failed_json, run

from zv_versioned import cli
from zv_versioned.cli._words import flags_of, in_flags


def _flags(name: str) -> dict[str, str]:
    return flags_of(typer.main.get_command(cli.app).commands[name])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("command", "said", "expected"),
    [
        ("append", "extend=True lets objects go on", "--extend lets objects go on"),
        ("append", 'pass out_of_bounds="expand" to', "pass --out-of-bounds expand to"),
        ("append", "pass dtype='float32' to", "pass --dtype float32 to"),
        ("append", "with vertex_dtype='int8'", "with --dtype int8"),
        ("append", 'with empty="skip"', "with --option empty=skip"),
        ("export", "Say vertices_only=True to", "Say --option vertices_only=true to"),
        ("export", "attributes=['a', 'b']", "--attributes a,b"),
        ("merge", "renumber=True gives", "--renumber gives"),
        ("revert", "with parent=1 or parent=2 which", "with --parent 1 or --parent 2 which"),
        (
            "merge",
            'on_conflict="ours", "theirs" or a function of the conflict',
            "--on-conflict ours, or theirs",
        ),
        ("compact", "Say dataset=…, too", "Say --dataset, too"),
        ("gc", "Leave older_than= out", "Leave --older-than out"),
        (
            "expire",
            "needs older_than, keep_last, or both",
            "needs --older-than, --keep-last, or both",
        ),
        (
            "import",
            "open a writer on it with tx.writer('a b')",
            "add to it with zvv append -d 'a b'",
        ),
        # What the command has no option for, and what is a value, stays as it is.
        ("revert", "renumber=True gives", "renumber=True gives"),
        ("gc", "no file '/a/older_than'", "no file '/a/older_than'"),
    ],
)
def test_arguments_become_the_flags_of_the_command(command: str, said: str, expected: str) -> None:
    assert in_flags(said, _flags(command)) == expected


def test_commands_say_what_to_do_in_flags(known: Any, tmp_path: Path) -> None:
    r = ("-r", known.path)
    (tmp_path / "p.csv").write_text("x,y,z,n\n1.123456789,2,3,10\n")
    (tmp_path / "far.csv").write_text("x,y,z\n1,2,3000\n")
    append = ("append", "p.csv", "-d", "synapses", "--attributes", "", *r)
    said = failed(*append, code=11)
    assert "(such as 1.123456789); pass --dtype float32 to round them" in said
    said = failed(*append, "--dtype", "float32", "--object-id", "n", code=11)
    assert said.endswith("; --extend lets objects go on")
    said = failed("append", "far.csv", "-d", "synapses", "--dtype", "float32", *r, code=11)
    assert "pass --out-of-bounds expand to let" in said
    said = failed_json("import", "p.csv", "-d", "synapses", *r, code=11)["message"]
    assert "add to it with zvv append -d 'synapses'" in said
    assert failed("export", "p.csv", *r, code=11).endswith("or say --overwrite")
    assert "--older-than 2099-01-01T00:00:00" in failed(
        *("expire", "--older-than", "2099-01-01T00:00+00:00", *r), code=11
    )


def test_a_file_of_ids_that_is_not_there_is_a_wrong_command_line(known: Any) -> None:
    said = failed("read", "synapses", "--objects", "@nofile", "-r", known.path, code=2)
    assert "'@nofile': the file nofile cannot be read: No such file" in said
    failed("export", "x.csv", "--objects", "@nofile", "-r", known.path, code=2)


@pytest.mark.parametrize("form", ["text", "csv"])
def test_a_closed_pipe_ends_a_command_quietly(known: Any, form: str) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        [sys.executable, "-m", "zv_versioned", "log", "-r", str(known.path), "-o", form],
        stdout=theirs,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(theirs)
    assert (done.returncode, done.stderr) == (141, b"")


def test_long_tables_have_the_cells_of_the_other_forms(known: Any) -> None:
    values = {
        "small": np.array([0.1, np.nan, np.inf], "f4"),
        "good": np.array([True, False, True]),
        "day": np.array(["2020-01-31", "NaT", "2021-01-01"], "datetime64[D]"),
        "word": np.array(["a,b", None, 'c"d'], object),
        "pair": np.array([[1, 2], [3, 4], [5, 6]]),
    }
    with known.repository.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [9, 9]))
        tx.writer("p").append_vertices_sync(
            np.array([[0.1, 1], [2, 3], [4, 5]], "f4"), attributes=values, object_ids=7
        )
    lines = run("read", "p", "-o", "csv", "-r", known.path).splitlines()
    assert lines == [
        "vertex_id,object_id,x,y,day,good,pair,small,word",
        '0,7,0.10000000149011612,1.0,2020-01-31,true,"[1, 2]",0.10000000149011612,"a,b"',
        '1,7,2.0,3.0,,false,"[3, 4]",,',
        '2,7,4.0,5.0,2021-01-01,true,"[5, 6]",,"c""d"',
    ]


_WRONG: list[tuple[str, int, str]] = [
    ("merge try --on-conflict foo", 11, "--on-conflict must be fail, ours or theirs, got 'foo'"),
    ("merge try --ff-only", 21, "cannot be fast-forwarded; leave --ff-only out"),
    ("compact --max-batches 1", 11, "--max-batches must be a whole number from 2 up, got 1"),
    ("expire --older-than 99999999999d", 2, "'99999999999d' is an age that nothing has"),
    ("gc --older-than 999999999d", 11, "--older-than 999,999,999 days is an age that nothing has"),
    ("expire --keep-last 1 -b v1", 11, "'v1' is a tag, and what a tag stands for never expires; "
     "--branch takes branches"),
    ("log --object 1", 2, "Invalid value for --dataset: name a dataset"),
    ("read", 2, "Invalid value for DATASET: name a dataset"),
    ("read synapses --seed 1", 2, "it goes with --sample"),
    ("read synapses --bbox 1,2:3,4", 11, "--bbox has 2 axes"),
    ("read synapses --bbox 5,5,5:1,1,1", 11, "--bbox is reversed"),
    ("read synapses --near 1,1:1", 11, "--near 1.0,1.0:1.0: the point needs 3 numbers"),
    ("read synapses --where confidence>x", 11, "--where: 'confidence' > 'x'"),
    ("read synapses --level 3", 40, "dataset 'synapses' has no level 3; it has: 0"),
    ("revert main --parent 3", 11, "--parent must be 1, for"),
    ("export a.csv -d synapses -X foo=1", 11, "'foo'; it has: --option delimiter=…, --opt"),
    ("import p.csv -d n -X foo=1", 11, "it has: --positions, --object-id"),
    ("import m.obj -d n --object-id x", 11, "no option --object-id; it has: --option object_ids=…, "
     "--attributes"),
    ("import p.csv -d n --bounds 0,0,0:1,1,1", 11, "Check the unit, or give larger --bounds"),
    ("import p.csv -d n --kind foo", 11, "--kind 'foo' is unknown; choose one of point_cloud"),
    ("import p.csv -d n --append", 2, "No such option: --append; zvv append adds files"),
    ("append p.csv -d synapses --bounds 0:1", 2, "--bounds; --out-of-bounds expand lets"),
    ("append p.csv -d synapses --objects 10", 11, "leave --object-id and --objects out"),
    ("fsck --no-data --read-data-subset 1/3", 2, "exclude each other"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "code", "says"), _WRONG, ids=[line for line, *_ in _WRONG])
def test_a_wrong_option_is_named_as_the_command_line_has_it(
    known: Any, line: str, code: int, says: str
) -> None:
    repo = known.repository
    repo.create_branch("try", at="main~1")
    repo.create_tag("v1")
    with repo.transaction("try") as tx:
        tx.create_dataset("other", kind="mesh", bounds=([0], [1]))
    with repo.transaction("main") as tx:
        tx.create_dataset("more", kind="mesh", bounds=([0], [1]))
    Path("p.csv").write_text("x,y,z\n1,2,3\n")
    Path("m.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    before = repo.resolve("main")
    said = failed(*line.split(), "-r", known.path, code=code)
    assert says in said
    assert "None" not in said
    assert repo.resolve("main") == before


def test_an_option_of_a_command_before_it_says_where_it_goes(known: Any) -> None:
    said = failed("-r", known.path, "fsck", code=2)
    assert "No such option: -r before the command; it goes behind it: zvv COMMAND -r" in said
    # And in JSON, as every other message.
    said = failed("-o", "json", "log", code=2)
    assert "it goes behind it" in said


def test_numbers_of_one_are_singular(known: Any) -> None:
    from zv_versioned import Finding, FsckReport

    repo = known.repository
    with repo.transaction(message=None) as tx:
        tx.writer("synapses").append_vertices_sync(
            np.ones((1, 3), "f4"), attributes={"confidence": np.ones(1, "f4")}
        )
    assert repo.log(limit=1)[0].message == "append 1 vertex in 1 new object to synapses"
    assert "1 new vertex, 1 new object>" in repr(tx.result)
    report = FsckReport("here", [Finding("damaged", "a", "b", "c")])
    assert "here: 1 fault>" in repr(report)
    report = repo.expire(keep_last=3)
    assert "expired 1 snapshot," in repr(report)
