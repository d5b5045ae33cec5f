"""``zv-versioned diff``"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from _cli import failed, run, run_csv, run_json, run_lines


@pytest.fixture
def changed(known: Any) -> Any:
    """After the known commits: objects 10 removed, 50 begun, values and metadata written."""
    with known.repository.transaction("main", message="changes") as tx:
        writer = tx.writer("synapses")
        writer.remove_objects_sync([10])
        writer.append_vertices_sync(np.ones((2, 3), "f4"), object_ids=50)
        writer.add_attribute_sync("confidence", np.linspace(0, 2, 17, dtype="f4"))
        writer.set_metadata_sync({"lab": "new"})
    return known


def test_it_says_what_differs(changed: Any) -> None:
    text = run("diff", "main~1", "-r", changed.path)
    tip = changed.repository.resolve("main")
    assert text.splitlines()[0] == f"{changed.snapshots[2][:8]} -> {tip[:8]}"
    assert text.splitlines()[4].split()[:6] == ["synapses", "17", "(-3)", "0", "+1", "-1"]
    assert "1 object added: 50" in text
    assert "1 object removed: 10" in text
    assert "vertex_attributes/confidence written, over" in text
    assert "metadata 'lab': None -> 'new'" in text


def test_stat_is_the_numbers_alone(changed: Any) -> None:
    text = run("diff", "main~1", "--stat", "-r", changed.path)
    assert "17 (-3)" in text
    assert "confidence" not in text


def test_json_has_all_of_it(changed: Any) -> None:
    data = run_json("diff", "main~1..main", "-r", changed.path)
    assert (data["a"], data["b"]) == (changed.snapshots[2], changed.repository.resolve("main"))
    (level,) = data["levels"]
    assert (level["vertices"], level["objects"]) == ([20, 17], [4, 4])
    assert level["object_ids"] == {"added": [50], "removed": [10], "changed": []}
    (attribute,) = level["attributes"]
    assert (attribute["change"], attribute["differing"]) == ("written", None)
    assert level["metadata"] == {"lab": [None, "new"]}
    assert run_lines("diff", "main~1", "-r", changed.path) == data["levels"]
    assert run_csv("diff", "main~1", "-r", changed.path)[0]["dataset"] == "synapses"


def test_values_are_compared_where_that_is_asked_for(known: Any) -> None:
    with known.repository.transaction("main") as tx:
        values = known.repository.view("main")["synapses"][0].attribute("confidence").copy()
        values[3] += 1
        tx.writer("synapses").add_attribute_sync("confidence", values)
    data = run_json("diff", "main~1", "main", "--values", "-r", known.path)
    (attribute,) = data["levels"][0]["attributes"]
    assert (attribute["differing"], attribute["largest"]) == (1, pytest.approx(1))
    text = run("diff", "main~1", "main", "--values", "-r", known.path)
    assert "of which 1 differ by up to 1" in text


def test_groups_are_named_with_the_members_that_came_and_went(known: Any) -> None:
    for ids in ([10, 11], [11, 30]):
        with known.repository.transaction("main") as tx:
            if ids == [11, 30]:
                tx.writer("synapses").remove_group_sync("left")
            tx.writer("synapses").add_group_sync("left", ids)
    text = run("diff", "main~1", "-r", known.path)
    assert "group 'left' changed, 2 members" in text
    assert "1 member added: 30" in text
    assert "1 member removed: 10" in text
    (group,) = run_json("diff", "main~1", "-r", known.path)["levels"][0]["groups"]
    assert (group["change"], group["members"]) == ("changed", [2, 2])
    assert group["member_ids"] == {"added": [30], "removed": [10]}
    assert "group 'left' added" in run("diff", "main~2", "-r", known.path)


def test_nothing_is_said_to_be_nothing(known: Any) -> None:
    assert run("diff", "main", "-r", known.path).splitlines()[1] == "nothing differs"
    assert run_json("diff", "main..main", "-r", known.path)["levels"] == []
    assert run_csv("diff", "main", "-r", known.path) == []


def test_the_exit_code_tells_where_that_is_asked_for(known: Any) -> None:
    run("diff", "main~1", "-r", known.path, code=0)
    run("diff", "main~1", "--exit-code", "-r", known.path, code=1)
    run_json("diff", "main~1", "--exit-code", "-r", known.path, code=1)
    run("diff", "main", "--exit-code", "-r", known.path, code=0)


def test_branches_without_a_common_line_can_be_compared(changed: Any) -> None:
    changed.repository.create_branch("old", at="main~3")
    data = run_json("diff", "main", "old", "-r", changed.path)
    assert data["levels"][0]["vertices"] == [17, 0]


def test_what_is_not_there_is_not_found(known: Any) -> None:
    r = ("-r", known.path)
    assert "'nope'" in failed("diff", "nope", *r, code=40)
    assert "give A..B, or two refs" in failed("diff", "a..b", "c", *r, code=2)
    assert "no range" in failed("diff", "a...b", *r, code=11)
