"""``zv-versioned compact``"""

from __future__ import annotations

from typing import Any

from _cli import failed, run, run_csv, run_json


def test_it_says_what_it_would_do_and_does_it(known: Any) -> None:
    before = known.repository.view()["synapses"][0]
    n = len(before.batches)
    assert n > 1
    tip = known.repository.resolve("main")
    planned = run_json("compact", "--dry-run", "-r", known.path)
    assert planned["dry_run"]
    assert known.repository.resolve("main") == tip
    (row,) = run_csv("compact", "--dry-run", "-r", known.path)
    assert (row["name"], int(row["batches_before"]), int(row["batches_after"])) == (
        "synapses",
        n,
        1,
    )
    done = run_json("compact", "-m", "tidy", "-r", known.path)
    assert done["levels"] == planned["levels"]
    assert done["snapshot_id"] == known.repository.resolve("main")
    assert known.repository.log(limit=1)[0].message == "tidy"
    after = known.repository.view()["synapses"][0]
    assert len(after.batches) == 1
    assert after.digest() == before.digest()
    assert "nothing to merge" in run("compact", "-r", known.path)


def test_what_cannot_be_is_refused(known: Any) -> None:
    failed("compact", "--dataset", "nothing", "-r", known.path, code=40)
    failed("compact", "--branch", "nothing", "-r", known.path, code=40)
    assert "--target-vertices" in failed(
        "compact", "--target-vertices", 0, "-r", known.path, code=11
    )
