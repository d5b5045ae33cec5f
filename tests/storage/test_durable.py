"""Durable commits: what a commit wrote is on the disk before anything leads to it."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import _rich
import numpy as np
import pytest

import zv_versioned as zvv
from zv_versioned.errors import MetadataError, StorageError


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of what was synced, in order."""
    found: list[str] = []
    real = os.fsync

    def noting(descriptor: int) -> None:
        real(descriptor)
        found.append(os.readlink(f"/proc/self/fd/{descriptor}"))

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("this system does not say what a descriptor is of")
    monkeypatch.setattr(os, "fsync", noting)
    return found


def commit(repo: zvv.Repository) -> str:
    with repo.transaction() as tx:
        tx.writer("p").append_vertices_sync(_rich.points(np.random.default_rng(0), 500))
    return repo.resolve("main")


def make(folder: Path, *, durable: bool) -> zvv.Repository:
    repo = zvv.Repository.create(folder, durable=durable)
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=_rich.BOUNDS)
    return repo


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_all_that_a_commit_wrote_is_synced_and_the_folders_after_it(
    tmp_path: Path, synced: list[str]
) -> None:
    folder = tmp_path / "r"
    repo = make(folder, durable=True)
    before = files(folder)
    synced.clear()
    commit(repo)
    order = [Path(path).relative_to(folder).as_posix() for path in synced]
    fresh = {p for p in files(folder) - before if not p.startswith("overwritten/")}
    assert any(path.startswith("chunks/") for path in fresh)
    assert fresh <= set(order)
    lead = {"repo", "refs/branch.main/ref.json"} & set(order)
    assert len(lead) == 1
    at = order.index(lead.pop())
    for path in fresh:
        # Its bytes, then its name, then what leads to it.
        assert order.index(path) < order.index(path.split("/")[0]) < at


def test_the_branch_moves_only_after_what_it_leads_to_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zv_versioned.storage import durable

    repo = make(tmp_path / "r", durable=True)
    tip = repo.resolve("main")
    tips = []
    real = durable.sync_files

    def noting(folder: Path, paths: list[str]) -> None:
        if any(path.startswith("chunks/") for path in paths):
            tips.append(zvv.Repository.open(folder).resolve("main"))
        real(folder, paths)

    monkeypatch.setattr(durable, "sync_files", noting)
    assert commit(repo) != tip
    assert tips == [tip]


def test_a_disk_that_cannot_sync_is_an_error_and_the_branch_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = make(tmp_path / "r", durable=True)
    tip = repo.resolve("main")

    def failing(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(StorageError, match="Input/output"):
            commit(repo)
    assert repo.resolve("main") == tip
    commit(repo)
    assert repo.view()["p"][0].vertex_count == 500
    assert repo.fsck().ok


def test_nothing_is_synced_where_nobody_asked_for_it(tmp_path: Path, synced: list[str]) -> None:
    commit(make(tmp_path / "r", durable=False))
    assert synced == []


def test_it_goes_along_to_other_processes(tmp_path: Path) -> None:
    view = make(tmp_path / "r", durable=True).view()
    again = pickle.loads(pickle.dumps(view))
    assert again._repository._backend.durable


def test_memory_cannot_be_durable() -> None:
    with pytest.raises(MetadataError, match="cannot be durable"):
        zvv.Repository.create("memory://", durable=True)
