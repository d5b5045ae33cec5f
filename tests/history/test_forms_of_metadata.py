"""A commit's metadata is read in the form that it has now and in the one that it had at first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import icechunk as ic
import numpy as np
import pytest

import zv_versioned as zvv
from zv_versioned import _verbs
from zv_versioned.cli import app
from zv_versioned.storage.backend import Backend

CLOUD: dict[str, Any] = {"kind": "point_cloud", "bounds": ([0, 0], [10, 10])}


def _as_at_first(
    backend: Backend,
    session: ic.Session,
    branch: str,
    message: str,
    metadata: Mapping[str, Any],
    _check: Any = None,
    **_how: Any,
) -> str:
    """Commit with our facts as one text of JSON in icechunk's own metadata."""
    with backend.mutation(f"commit to {branch}"):
        texts = {key: json.dumps(value) for key, value in metadata.items()}
        return str(session.commit(message, texts))


@pytest.fixture(params=["first", "now", "first, then now"])
def repo(request: pytest.FixtureRequest, tmp_path: Path) -> zvv.Repository:
    """A history with a merge and a revert, in one form of metadata or in both."""
    repo = zvv.Repository.create(tmp_path / "store")
    with pytest.MonkeyPatch.context() as patch:
        if request.param != "now":
            patch.setattr(_verbs, "encode_own", lambda own: {k: v for k, v in own.items() if v})
            patch.setattr(Backend, "publish", _as_at_first)
        with repo.transaction(message="begin", author="ann", metadata={"run": 7}) as tx:
            tx.create_dataset("p", **CLOUD)
            tx.writer("p").append_vertices_sync(np.ones((3, 2), "f4"), object_ids=[1, 1, 2])
        repo.create_branch("try")
        with repo.transaction("try", message="left", author="bob") as tx:
            tx.writer("p").append_vertices_sync(np.ones((2, 2), "f4"), object_ids=[5, 5])
        with repo.transaction(message="right", author="ann") as tx:
            tx.writer("p").append_vertices_sync(np.ones((4, 2), "f4"), object_ids=[6, 6, 6, 7])
        if request.param != "first, then now":
            repo.merge("try", message="both", author="ann")
    if request.param == "first, then now":
        repo.merge("try", message="both", author="ann")
    return repo


def test_the_log_is_the_same_in_both_forms(repo: zvv.Repository) -> None:
    log = repo.log()
    told = [(c.message, c.author, c.vertices_added, len(c.parents)) for c in log[:4]]
    assert told == [
        ("both", "ann", 2, 2),
        ("right", "ann", 4, 1),
        ("left", "bob", 2, 1),
        ("begin", "ann", 3, 1),
    ]
    assert log[0].parents == (log[1].snapshot_id, repo.resolve("try"))
    assert log[0].summary["operation"] == "merge"
    assert log[1].summary == {
        "created": [],
        "changes": {"p": {"batches_added": 1, "vertices_added": 4, "objects_added": 2}},
    }
    assert log[3].summary["created"] == ["p"]
    assert log[3].metadata == {"run": 7}


def test_diff_history_blame_and_later_merges_read_both_forms(repo: zvv.Repository) -> None:
    log = repo.log()
    assert repo.diff(log[1].snapshot_id)[0].vertices == (7, 9)
    assert [c.message for c in repo.history(7, dataset="p")] == ["right"]
    assert [c.message for c in repo.history(5, dataset="p")][-1] == "left"
    blame = repo.blame([1, 5, 6], dataset="p")
    assert [blame.commits[i].message for i in blame.commit.tolist()] == ["begin", "left", "right"]
    with repo.transaction("try", message="more") as tx:
        tx.writer("p").append_vertices_sync(np.ones((1, 2), "f4"), object_ids=[9])
    # Without the second parent of the first merge, object 5 would come a second time.
    repo.merge("try")
    repo.revert(log[1].snapshot_id)
    assert repo.view()["p"][0].object_ids().tolist() == [1, 2, 5, 9]


def test_every_form_has_a_message_that_people_can_read(
    repo: zvv.Repository, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match="0"):
        app(["log", "-r", str(tmp_path / "store")])
    printed = capsys.readouterr().out
    assert [w for w in ("both", "right", "begin", "ann") if w not in printed] == []
    assert "zv_versioned" not in printed
    bare = ic.Repository.open(ic.local_filesystem_storage(str(tmp_path / "store")))
    messages = [info.message.splitlines()[0] for info in bare.ancestry(branch="main")]
    assert messages[:3] == ["both", "right", "begin"]
