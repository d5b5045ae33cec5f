"""Notes are believed only when they are whole, and files of transactions are used again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import zv_versioned as zvv
from zv_versioned.storage.notes import give_back, is_idle, read_note, sealed_note, take
from zv_versioned.storage.presence import LEASES
from zv_versioned.storage.writers import left_behind, writers


@given(
    st.dictionaries(st.text(), st.integers() | st.text(), max_size=4),
    st.integers(0, 300),
    st.data(),
)
def test_a_note_that_was_changed_is_not_believed(
    facts: dict[str, object], width: int, data: st.DataObject
) -> None:
    raw = sealed_note(facts, width)
    assert len(raw) >= width
    assert read_note(raw) == facts
    at = data.draw(st.integers(0, len(raw) - 1))
    flipped = raw[:at] + bytes([raw[at] ^ data.draw(st.integers(1, 255))]) + raw[at + 1 :]
    assert read_note(flipped) is None
    assert read_note(raw[:at]) is None


def said(home: Path) -> list[dict[str, object]]:
    found = [read_note(path.read_bytes()) for path in sorted(home.glob("writer.*"))]
    assert None not in found
    return [one for one in found if one is not None]


@given(st.lists(st.text(max_size=400), min_size=1, max_size=5))
def test_a_place_says_what_it_was_told_last_however_long(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    home = tmp_path_factory.mktemp("home") / "deeper"
    for text in texts:
        place = take(str(home), {"text": text})
        assert said(home) == [{"text": text}]
        give_back(place)
        (idle,) = said(home)
        assert is_idle(idle)


posix = pytest.mark.skipif(sys.platform == "win32", reason="files are not kept open there")


@posix
def test_transactions_one_after_the_other_share_a_file(tmp_path: Path) -> None:
    repo = zvv.Repository.create(tmp_path / "r")
    home = tmp_path / "r" / LEASES
    names = set()
    for _ in range(5):
        with repo.transaction():
            assert len(writers(tmp_path / "r")) == 1
            names |= {path.name for path in home.glob("writer.*")}
        assert writers(tmp_path / "r") == []
    assert len(names) == 1
    first, second = repo.transaction(), repo.transaction()
    assert len(writers(tmp_path / "r")) == len(list(home.glob("writer.*"))) == 2
    first.abort()
    assert len(writers(tmp_path / "r")) == 1
    second.abort()
    assert left_behind(tmp_path / "r") == []
    assert repo.fsck().ok


@posix
def test_a_file_that_was_removed_or_put_aside_is_not_used_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    give_back(take(str(home), {"n": 1}))
    shutil.rmtree(home)
    place = take(str(home), {"n": 2})
    assert said(home) == [{"n": 2}]
    give_back(place)
    home.rename(tmp_path / "aside")
    place = take(str(home), {"n": 3})
    assert said(home) == [{"n": 3}]
    give_back(place)


def test_no_more_than_a_few_are_kept(tmp_path: Path) -> None:
    places = [take(str(tmp_path), {"n": n}) for n in range(40)]
    assert len(said(tmp_path)) == 40
    for place in places:
        give_back(place)
    assert len(said(tmp_path)) <= 16


SCRIPT = """
import sys, zv_versioned as zvv
repo = zvv.Repository.create(sys.argv[1])
with repo.transaction():
    pass
still_open = repo.transaction()
"""


def test_a_process_that_ends_leaves_no_file(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path / "r")], check=True)
    assert list((tmp_path / "r" / LEASES).glob("writer.*")) == []


FORKS = """
import os, pathlib, sys
from zv_versioned.storage.notes import give_back, take
home = pathlib.Path(sys.argv[1])
give_back(take(str(home), {"n": 1}))
before = sorted(map(str, home.iterdir()))
child = os.fork()
place = take(str(home), {"n": 2}) if child == 0 else None
if place is not None:
    mine = place.path not in before
    place.close()
    os._exit(0 if mine else 1)
assert os.waitpid(child, 0)[1] == 0
assert sorted(map(str, home.iterdir())) == before
assert take(str(home), {"n": 3}).path in before
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_neither_uses_nor_removes_what_its_parent_keeps(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", FORKS, str(tmp_path / "home")], check=True)
