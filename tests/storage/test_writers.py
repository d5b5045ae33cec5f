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
from zv_versioned.storage.presence import LEASES, TICK, Presence, read_note, sealed_note

NOW = 1_700_000_000.0


class _Here:
    """As much of a backend as a note needs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder


@contextmanager
def opened(folder: Path, began: float) -> Iterator[str]:
    """A transaction that is open; gives the path of its note."""
    here: Any = _Here(folder)
    presence = Presence(here, "main", f"base of {began}", began)
    assert presence._path is not None
    try:
        yield presence._path
    finally:
        presence.leave()


def left(folder: Path, began: float, suffix: str = "") -> Path:
    """The note of a process that was killed."""
    path = folder / LEASES / f"writer.{int(began * 1e6):017d}.1.00{suffix}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(sealed_note({"began": began, "base": "", "branch": "b", "pid": 1, "host": ""}))
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
            stack.enter_context(opened(tmp_path, NOW + (i * 37) % 100))
        dead = left(tmp_path, NOW - 5)
        oldest = writers.oldest_writer(tmp_path)
        assert oldest is not None
        assert (oldest.began.timestamp(), oldest.base) == (NOW, f"base of {NOW}")
        assert len(looked_at) == 2
        assert [Path(dead)] == writers.left_behind(tmp_path)
        assert len(writers.writers(tmp_path)) == 100
    assert writers.oldest_writer(tmp_path) is None


def test_no_folder_has_no_writers(tmp_path: Path) -> None:
    assert writers.writers(tmp_path) == []
    assert writers.oldest_writer(tmp_path) is None
    assert writers.left_behind(tmp_path) == []


KINDS = ("whole", "damaged", "unfinished", "without a time in its name", "dead")


@given(
    notes=st.lists(
        st.tuples(st.integers(-99, 99).map(lambda n: NOW + n / 7), st.sampled_from(KINDS))
    )
)
def test_the_oldest_is_the_first_of_all_whatever_the_notes_are_like(
    tmp_path_factory: pytest.TempPathFactory, notes: list[tuple[float, str]]
) -> None:
    folder = tmp_path_factory.mktemp("notes")
    with ExitStack() as stack:
        for number, (began, kind) in enumerate(notes):
            if kind == "dead":
                left(folder, began, f"{number:04d}")
                continue
            path = Path(stack.enter_context(opened(folder, began)))
            if kind == "damaged":
                path.write_bytes(path.read_bytes()[:-1] + b"x")
            elif kind == "unfinished":
                path.rename(f"{path}.new")
            elif kind == "without a time in its name":
                path.rename(path.with_name(f"writer.{number}.ab"))
        found = writers.writers(folder)
        assert len(found) == sum(kind != "dead" for _, kind in notes)
        oldest = writers.oldest_writer(folder)
        assert (oldest.began if oldest else None) == (found[0].began if found else None)
        # Nobody counts as younger than it is.
        true = sorted(began for began, kind in notes if kind != "dead")
        for writer, began in zip(found, true, strict=True):
            assert writer.began.timestamp() <= began + 1e-6


def test_a_damaged_note_without_a_time_in_its_name_counts_from_when_it_was_written(
    tmp_path: Path,
) -> None:
    with opened(tmp_path, time.time()) as path:
        old = Path(path).rename(Path(path).with_name("writer.7.ab"))
        old.write_bytes(b"?" * 40)
        os.utime(old, (NOW, NOW))
        assert read_note(old.read_bytes()) is None
        oldest = writers.oldest_writer(tmp_path)
        assert oldest is not None
        assert oldest.began.timestamp() == pytest.approx(NOW - TICK.total_seconds())
        assert "unreadable" in oldest.who
