"""Open transactions are seen by others, and notes are believed only when they are whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from zv_versioned.errors import StorageError
from zv_versioned.storage import Backend
from zv_versioned.storage.presence import (
    LEASES,
    Presence,
    collected,
    record_collection,
)
from zv_versioned.storage.writers import left_behind, writers


def test_those_that_are_open_are_told_oldest_first(local_location: str) -> None:
    backend = Backend.create(local_location)
    tip = backend.branch_tip("main")
    late = Presence(backend, "main", tip, 2_000.0)
    early = Presence(backend, "main", tip, 1_000.5)
    found = writers(Path(local_location))
    assert [writer.began.timestamp() for writer in found] == [1_000.5, 2_000.0]
    assert {writer.base for writer in found} == {tip}
    early.leave()
    early.leave()
    assert len(writers(Path(local_location))) == 1
    late.leave()
    assert writers(Path(local_location)) == []
    assert left_behind(Path(local_location)) == []


def test_one_whose_note_is_damaged_counts_and_one_whose_process_is_gone_does_not(
    local_location: str,
) -> None:
    backend = Backend.create(local_location)
    held = Presence(backend, "main", backend.branch_tip("main"), 1_000.0)
    (note,) = Path(local_location, LEASES).glob("writer.*")
    whole = note.read_bytes()
    note.write_bytes(b"x" + whole[1:])
    (found,) = writers(Path(local_location))
    assert "unreadable" in found.who
    assert found.began <= datetime.now(UTC)
    dead = note.with_name("writer.1.dead")
    dead.write_bytes(whole)
    assert len(writers(Path(local_location))) == 1
    assert left_behind(Path(local_location)) == [dead]
    held.leave()


def test_the_youngest_cutoff_counts_and_is_not_believed_damaged(local_location: str) -> None:
    backend = Backend.create(local_location)
    folder = Path(local_location)
    assert collected(folder) is None
    now = datetime.now(UTC)
    old = Presence(backend, "main", backend.branch_tip("main"), now.timestamp() - 10)
    old.check()
    record_collection(folder, now - timedelta(seconds=20))
    old.check()
    record_collection(folder, now - timedelta(seconds=5))
    record_collection(folder, now - timedelta(seconds=20))
    found = collected(folder)
    assert found is not None
    assert abs(found - (now - timedelta(seconds=5))) < timedelta(seconds=0.001)
    with pytest.raises(StorageError, match="may be gone"):
        old.check()
    Presence(backend, "main", backend.branch_tip("main"), now.timestamp()).check()
    path = folder / LEASES / "collected"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StorageError, match="is damaged"):
        old.check()
    old.leave()
