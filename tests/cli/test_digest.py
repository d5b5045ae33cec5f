"""``zv-versioned digest``"""

from __future__ import annotations

from typing import Any

from _cli import failed, run, run_csv, run_json


def test_it_prints_the_digest_and_nothing_else(known: Any) -> None:
    assert run("digest", "-r", known.path) == known.repository.digest() + "\n"
    before = run("digest", "main~1", "-r", known.path)
    assert before == known.repository.digest(known.snapshots[1]) + "\n"
    assert before != run("digest", "-r", known.path)
    assert run("digest", "--recompute", "-r", known.path) == known.repository.digest() + "\n"


def test_json_says_of_what(known: Any) -> None:
    data = run_json("digest", "main~1", "-r", known.path)
    assert (data["ref"], data["snapshot_id"]) == ("main~1", known.snapshots[1])
    assert (data["dataset"], data["level"], data["objects"]) == (None, None, None)
    (row,) = run_csv("digest", "-r", known.path)
    assert row["digest"] == known.repository.digest()


def test_a_part_has_a_digest_of_its_own(known: Any) -> None:
    dataset = known.repository.view()["synapses"]
    of = ("digest", "--dataset", "synapses", "-r", known.path)
    assert run_json(*of)["digest"] == dataset.digest()
    assert run_json(*of, "--level", 0)["digest"] == dataset[0].digest()
    data = run_json(*of, "--objects", "10,31")
    assert data["digest"] == dataset[0].digest([10, 31])
    assert (data["level"], data["objects"]) == (0, [10, 31])


def test_what_cannot_be_is_refused(known: Any) -> None:
    assert "--dataset" in failed("digest", "--objects", "10", "-r", known.path, code=2)
    failed("digest", "--dataset", "nothing", "-r", known.path, code=40)
    failed("digest", "--dataset", "synapses", "--objects", "99", "-r", known.path, code=40)
    failed("digest", "nothing", "-r", known.path, code=40)
