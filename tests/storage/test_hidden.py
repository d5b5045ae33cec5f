"""Hidden refs: no list shows them, and what they keep survives icechunk's collection."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import zarr

from zv_versioned.errors import MetadataError, NotFoundError
from zv_versioned.storage import Backend
from zv_versioned.storage.hidden import (
    HIDDEN,
    PARENT,
    forget_parent,
    keep_parent,
    kept_parents,
    session_at,
)


def commit(backend: Backend, value: int, branch: str = "main") -> str:
    session = backend.begin(branch)
    zarr.open_group(session.store, mode="a").attrs["value"] = value
    return backend.publish(session, branch, str(value), {})


def value_at(backend: Backend, snapshot_id: str) -> object:
    return zarr.open_group(backend.read_store(snapshot_id), mode="r").attrs["value"]


@pytest.fixture(params=["local", "memory"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    backend = Backend.create("memory://" if request.param == "memory" else tmp_path / "r")
    commit(backend, 1)
    return backend


def test_what_is_kept_is_in_no_list(backend: Backend) -> None:
    tip = backend.branch_tip("main")
    assert keep_parent(backend, tip)
    assert not keep_parent(backend, tip)
    assert (backend.branches(), kept_parents(backend)) == (["main"], [tip])
    forget_parent(backend, tip)
    assert kept_parents(backend) == []


def test_hidden_branches_cannot_be_used_by_name(backend: Backend) -> None:
    tip = backend.branch_tip("main")
    keep_parent(backend, tip)
    with pytest.raises(MetadataError, match="software's own"):
        backend.create_branch(f"{HIDDEN}mine", tip)
    for use in (
        lambda: backend.branch_tip(PARENT + tip),
        lambda: backend.begin(PARENT + tip),
        lambda: backend.delete_branch(PARENT + tip),
        lambda: backend.reset_branch(PARENT + tip, tip),
    ):
        with pytest.raises(NotFoundError):
            use()
    assert kept_parents(backend) == [tip]


def test_what_is_kept_survives_garbage_collection_and_what_is_not_does_not(
    backend: Backend,
) -> None:
    for name in ("kept", "gone"):
        backend.create_branch(name, backend.branch_tip("main"))
    kept, gone = commit(backend, 2, "kept"), commit(backend, 3, "gone")
    keep_parent(backend, kept)
    backend.delete_branch("kept")
    backend.delete_branch("gone")
    later = datetime.now(UTC) + timedelta(seconds=1)
    with backend.mutation("collect"):
        backend._repository.garbage_collect(later)
    fresh = backend if backend.location == "memory://" else Backend.open(backend.location)
    assert value_at(fresh, kept) == 2
    if fresh is not backend:
        with pytest.raises(NotFoundError):
            fresh.read_store(gone)


def test_a_session_may_begin_at_any_snapshot_and_leaves_nothing_behind(backend: Backend) -> None:
    old = backend.branch_tip("main")
    commit(backend, 2)
    with session_at(backend, old) as session:
        assert session.snapshot_id == old
        assert zarr.open_group(session.store, mode="r").attrs["value"] == 1
    assert sorted(backend._repository.list_branches()) == ["main"]
