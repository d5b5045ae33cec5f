"""A repository with some history, for the commands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import zv_versioned as zvv


@dataclass(frozen=True)
class Known:
    """A repository and its three commits after the first, oldest first."""

    path: Path
    snapshots: tuple[str, str, str]

    @property
    def repository(self) -> zvv.Repository:
        return zvv.Repository.open(self.path)


def append(repo: zvv.Repository, branch: str, first: int, message: str) -> str:
    """Append ten points of two objects, `first` and the next."""
    positions = np.arange(first, first + 10, dtype="f4")[:, None] * [1, 0.5, 0.25]
    with repo.transaction(branch, message=message, author="Ada") as tx:
        tx.writer("synapses").append_vertices_sync(
            positions.astype("f4"),
            object_ids=np.repeat([first, first + 1], 5),
            attributes={"confidence": np.linspace(0, 1, 10, dtype="f4")},
        )
    assert tx.result is not None
    return tx.result.snapshot_id


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Known:
    """Commits "create", "first" and "second" on main, in a folder that is no repository."""
    monkeypatch.delenv("ZV_VERSIONED_REPOSITORY", raising=False)
    monkeypatch.delenv("ZV_VERSIONED_STORAGE_OPTIONS", raising=False)
    monkeypatch.chdir(tmp_path)
    repo = zvv.Repository.create(tmp_path / "brain")
    axes = [{"name": n, "type": "space", "unit": "micrometer"} for n in "xyz"]
    with repo.transaction("main", message="create", author="Ada", metadata={"run": 7}) as tx:
        tx.create_dataset(
            "synapses", kind="point_cloud", bounds=([0, 0, 0], [100, 100, 100]), axes=axes
        )
    assert tx.result is not None
    created = tx.result.snapshot_id
    snapshots = (created, append(repo, "main", 10, "first"), append(repo, "main", 30, "second"))
    return Known(tmp_path / "brain", snapshots)
