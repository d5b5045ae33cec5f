"""``zv-versioned expire``"""

from __future__ import annotations

from typing import Any

import pytest
from _cli import failed, run, run_csv, run_json


def test_it_says_what_it_would_do_and_does_it(known: Any) -> None:
    text = run("expire", "--keep-last", 1, "-r", known.path)
    assert text.startswith("would let go 2 snapshots\n")
    assert known.snapshots[1][:8] in text
    assert "--no-dry-run" in text
    planned = run_json("expire", "--keep-last", 1, "-r", known.path)
    assert planned["dry_run"]
    assert planned["expired"] == [known.snapshots[1], known.snapshots[0]]
    assert [
        row["snapshot_id"] for row in run_csv("expire", "--keep-last", 1, "-r", known.path)
    ] == (planned["expired"])
    done = run_json("expire", "--keep-last", 1, "--no-dry-run", "-r", known.path)
    assert done == {**planned, "dry_run": False}
    assert len(known.repository.log()) == 2


def test_by_age_and_branch(known: Any) -> None:
    assert run_json("expire", "--older-than", "1d", "-r", known.path)["expired"] == []
    assert run_json("expire", "--older-than", "2020-01-31", "-r", known.path)["expired"] == []
    done = run_json("expire", "--older-than", "0s", "-b", "main", "-r", known.path)
    assert (done["refs"], len(done["expired"])) == (["main"], 2)


@pytest.mark.parametrize("age", ["soon", "3 weeks", "-1d", "2026-13-01"])
def test_an_age_that_is_none_is_refused(known: Any, age: str) -> None:
    assert "is expected" in failed("expire", f"--older-than={age}", "-r", known.path, code=2)


def test_what_cannot_be_is_refused(known: Any) -> None:
    assert "say what stays" in failed("expire", "-r", known.path, code=2)
    assert "future" in failed("expire", "--older-than", "2999-01-01", "-r", known.path, code=11)
    failed("expire", "--keep-last", 1, "-b", "nothing", "-r", known.path, code=40)
    assert "--keep-last" in failed("expire", "--keep-last", 0, "-r", known.path, code=11)
