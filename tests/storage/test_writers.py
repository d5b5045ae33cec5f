"""Open transactions are found by their notes, and the oldest without a look at all of them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zv_versioned.storage import writers
from zv_versioned.storage.notes import read_note, sealed_note
from zv_versioned.storage.presence import LEASES, TICK, Presence

NOW = 1_700_000_000.0


class _Here:
    """As much of a backend as a note needs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder


@contextmanager
def opened(folder: Path, began: float, late: float = 0.0) -> Iterator[Path]:
    """A transaction that is open, whose note was written `late`; gives its path."""
    here: Any = _Here(folder)
    presence = Presence(here, "main", f"base of {began}", began)
    assert presence._place is not None
    path = Path(presence._place.path)
    os.utime(path, (began + late, began + late))
    try:
        yield path
    finally:
        presence.leave()


def left(folder: Path, began: float, name: str = "7") -> Path:
    """The note of a process that was killed."""
    path = folder / LEASES / f"writer.1.{name}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(sealed_note({"began": began, "base": "", "branch": "b", "pid": 1, "host": ""}))
    os.utime(path, (began, began))
    return path


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the notes that are looked into."""
    names: list[str] = []
    look = writers._look

    def looking(note: Any) -> Any:
        names.append(note.name)
        return look(note)

    monkeypatch.setattr(writers, "_look", looking)
    return names


def test_of_many_open_transactions_the_oldest_alone_is_looked_into(
    tmp_path: Path, looked_at: list[str]
) -> None:
    with ExitStack() as stack:
        for i in range(100):
            stack.enter_context(opened(tmp_path, NOW + 100 * ((i * 37) % 100)))
        dead = left(tmp_path, NOW - 5)
        oldest = writers.oldest_writer(tmp_path)
        assert oldest is not None
        assert (oldest.began.timestamp(), oldest.base) == (NOW, f"base of {NOW}")
        assert len(looked_at) == 2
        assert [dead] == writers.left_behind(tmp_path)
        assert len(writers.writers(tmp_path)) == 100
    assert writers.oldest_writer(tmp_path) is None


def test_no_folder_has_no_writers(tmp_path: Path) -> None:
    assert writers.writers(tmp_path) == []
    assert writers.oldest_writer(tmp_path) is None
    assert writers.left_behind(tmp_path) == []


KINDS = ("whole", "damaged", "unfinished", "idle", "dead")


@given(
    notes=st.lists(
        st.tuples(
            st.integers(-99, 99).map(lambda n: NOW + n * 3),
            st.floats(0, 59),
            st.sampled_from(KINDS),
        )
    )
)
def test_the_oldest_is_the_first_of_all_whatever_the_notes_are_like(
    tmp_path_factory: pytest.TempPathFactory, notes: list[tuple[float, float, str]]
) -> None:
    folder = tmp_path_factory.mktemp("notes")
    with ExitStack() as stack:
        for number, (began, late, kind) in enumerate(notes):
            if kind == "dead":
                left(folder, began, str(number))
                continue
            path = stack.enter_context(opened(folder, began, late))
            if kind == "damaged":
                path.write_bytes(path.read_bytes()[:-1] + b"x")
            elif kind == "unfinished":
                path = path.rename(f"{path}.new")
            elif kind == "idle":
                path.write_bytes(sealed_note({"idle": True}))
            os.utime(path, (began + late, began + late))
        found = writers.writers(folder)
        assert len(found) == sum(kind not in ("dead", "idle") for *_, kind in notes)
        oldest = writers.oldest_writer(folder)
        assert (oldest.began if oldest else None) == (found[0].began if found else None)


def test_one_whose_note_was_long_in_writing_keeps_what_it_staged(tmp_path: Path) -> None:
    with opened(tmp_path, NOW), opened(tmp_path, NOW - 60, late=600) as note:
        oldest = writers.oldest_writer(tmp_path)
        assert oldest is not None
        # It was not looked into; what it staged was written after its note.
        assert oldest.began.timestamp() == NOW
        assert note.stat().st_mtime > oldest.began.timestamp()
        assert writers.writers(tmp_path)[0].began.timestamp() == NOW - 60


def test_a_damaged_note_counts_from_when_it_was_written(tmp_path: Path) -> None:
    with opened(tmp_path, time.time()) as path:
        path.write_bytes(b"?" * 40)
        os.utime(path, (NOW, NOW))
        assert read_note(path.read_bytes()) is None
        oldest = writers.oldest_writer(tmp_path)
        assert oldest is not None
        assert oldest.began.timestamp() == pytest.approx(NOW - TICK.total_seconds())
        assert "unreadable" in oldest.who
