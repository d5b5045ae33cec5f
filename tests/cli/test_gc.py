"""``zv-versioned gc``"""

from __future__ import annotations

import time
from typing import Any

from _cli import failed, run, run_csv, run_json


def test_it_says_what_it_would_remove_and_removes_it(known: Any) -> None:
    run("expire", "--keep-last", 1, "--no-dry-run", "-r", known.path)
    time.sleep(0.06)
    text = run("gc", "-r", known.path)
    assert text.startswith("would remove ")
    assert "--no-dry-run" in text
    planned = run_json("gc", "-r", known.path)
    assert planned["removed"]["snapshots"] == 2
    rows = {row["kind"]: int(row["files"]) for row in run_csv("gc", "-r", known.path)}
    assert rows == planned["removed"]
    done = run_json("gc", "--no-dry-run", "-r", known.path)
    assert not done["dry_run"]
    assert done["removed"]["snapshots"] == 2
    assert done["bytes_after"] < done["bytes_before"]
    assert run("gc", "--older-than", "1h", "-r", known.path).startswith("would remove 0 files")
    assert known.repository.fsck().ok


def test_a_cutoff_that_an_open_transaction_forbids_is_refused(known: Any) -> None:
    with known.repository.transaction() as tx:
        time.sleep(0.06)
        said = failed("gc", "--older-than", "0s", "--no-dry-run", "-r", known.path, code=11)
        assert "a transaction is open since" in said
        tx.abort()
