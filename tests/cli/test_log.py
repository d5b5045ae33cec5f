"""``zv-versioned log``"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from _cli import failed, run, run_csv, run_json, run_lines


def test_commits_are_listed_newest_first(known: Any) -> None:
    lines = run("log", "-r", known.path).splitlines()[2:]
    assert [line.split()[0] for line in lines[:3]] == [s[:8] for s in reversed(known.snapshots)]
    assert "second" in lines[0]
    assert "Ada" in lines[0]
    assert "+10" in lines[0]


def test_stat_says_what_was_changed(known: Any) -> None:
    text = run("log", "-r", known.path, "--stat")
    assert "synapses: +1 batch, +10 vertices, +2 objects" in text
    assert "synapses: created" in text


def test_json_has_all_of_a_commit(known: Any) -> None:
    data = run_json("log", "-r", known.path)
    newest, _, created, first = data["commits"]
    assert newest["snapshot_id"] == known.snapshots[2]
    assert newest["parents"] == [known.snapshots[1]]
    assert newest["vertices_added"] == 10
    assert newest["summary"]["changes"]["synapses"]["objects_added"] == 2
    assert created["metadata"] == {"run": 7}
    assert first["parents"] == []


def test_rows_are_the_same_in_every_form(known: Any) -> None:
    commits = run_json("log", "-r", known.path)["commits"]
    assert run_lines("log", "-r", known.path) == commits
    ids = [row["snapshot_id"] for row in run_csv("log", "-r", known.path)]
    assert ids == [commit["snapshot_id"] for commit in commits]


def test_a_limit_keeps_the_newest(known: Any) -> None:
    rows = run_json("log", "-r", known.path, "-n", 2)["commits"]
    assert [row["message"] for row in rows] == ["second", "first"]
    assert run("log", "-r", known.path, "-n", "0") == "no commits\n"


def test_a_ref_may_be_a_prefix_or_an_ancestor(known: Any) -> None:
    for ref in ("main~1", known.snapshots[1], known.snapshots[1][:8].lower()):
        rows = run_json("log", ref, "-r", known.path)["commits"]
        assert [row["message"] for row in rows][:2] == ["first", "create"]


def test_a_range_is_what_one_side_has_and_the_other_has_not(known: Any) -> None:
    rows = run_json("log", "main~2..main", "-r", known.path)["commits"]
    assert [row["message"] for row in rows] == ["second", "first"]
    assert run_json("log", "main..main~2", "-r", known.path)["commits"] == []
    assert len(run_json("log", "main~1..", "-r", known.path)["commits"]) == 1
    assert len(run_json("log", "main~2..main", "-n", 1, "-r", known.path)["commits"]) == 1


def test_what_is_nothing_is_said_to_be_nothing(known: Any) -> None:
    assert "branches: main" in failed("log", "nope", "-r", known.path, code=40)
    assert "no range" in failed("log", "a..b..c", "-r", known.path, code=11)


def test_an_object_has_a_history_of_its_own(known: Any) -> None:
    with known.repository.transaction("main", message="more of 10") as tx:
        tx.writer("synapses").append_vertices_sync([[1, 1, 1]], object_ids=10, extend=True)
    rows = run_json("log", "--object", 10, "-d", "synapses", "-r", known.path)["commits"]
    assert [row["message"] for row in rows] == ["more of 10", "first"]
    assert len(run_json("log", "--object", 10, "-n", 1, "-r", known.path)["commits"]) == 1
    assert "object 5" in failed("log", "--object", 5, "-r", known.path, code=40)


NASTY = "red \x1b[31m\x9b2J\x07 \r over\nline, two\t\u202e"


def test_control_characters_are_escaped_in_all_forms(known: Any) -> None:
    with known.repository.transaction(message=NASTY, author="A\x1bda") as tx:
        tx.writer("synapses").append_vertices_sync(
            np.ones((2, 3), "f4"),
            attributes={"word": ["a\x1b", "plain\nline"], "confidence": np.ones(2, "f4")},
        )
    for form in ("text", "json", "jsonl", "csv"):
        for command in (["log"], ["read", "--attributes", "all"], ["show"]):
            printed = run(*command, "-r", known.path, "-o", form)
            assert not set(printed) & set("\x1b\x9b\x07\r\u202e"), (form, command)
    assert run_json("log", "-r", known.path)["commits"][0]["message"] == NASTY
    assert run_lines("log", "-r", known.path)[0]["message"] == NASTY
    row = run_csv("log", "-r", known.path)[0]
    assert (json.loads(row["message"]), json.loads(row["author"])) == (NASTY, "A\x1bda")
    words = [row["word"] for row in run_csv("read", "-r", known.path, "--attributes", "all")]
    assert words[-2:] == ['"a\\u001b"', "plain\nline"]
