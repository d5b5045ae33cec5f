"""Seals: one line a file, the newest counts, and no line is believed that is not whole."""

from __future__ import annotations

import itertools
import re
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import icechunk as ic
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zv_versioned as zvv
from tests._interrupts import interrupted_at
from zv_versioned.errors import IntegrityError
from zv_versioned.maintenance.fsck import check_location
from zv_versioned.storage import Backend, files, seal_file, seals
from zv_versioned.storage.seal_file import SealFile
from zv_versioned.storage.seals import SEALS_FILE, Ledger, last_seal, parse, seal_of

if sys.platform != "win32":
    import fcntl

PATHS = st.sampled_from(["repo", "snapshots/A", "snapshots/AB", "refs/branch.ü/ref.json"])


@given(st.lists(st.tuples(PATHS, st.none() | st.binary(max_size=20)), max_size=20))
def test_the_newest_line_on_a_file_counts(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, bytes | None]]
) -> None:
    folder = tmp_path_factory.mktemp("seals")
    ledger, model = Ledger(folder), dict[str, tuple[int, int]]()
    for path, content in changes:
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            file.unlink(missing_ok=True)
            model.pop(path, None)
        else:
            file.write_bytes(content)
            model[path] = seal_of(content)
        ledger.add([path])
    sealed = ledger.read()
    assert (sealed.seals, sealed.damaged, sealed.torn) == (model, [], False)
    raw = (folder / SEALS_FILE).read_bytes() if changes else b""
    for path in ("repo", "snapshots/A", "snapshots/AB", "refs/branch.ü/ref.json"):
        assert last_seal(raw, path) == model.get(path)
    ledger.rewrite(sealed)
    assert ledger.read().seals == model


@given(data=st.data())
def test_a_flipped_byte_of_the_seals_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("seals")
    for name in "abc":
        (folder / name).write_bytes(name.encode())
    ledger = Ledger(folder)
    ledger.add(["a", "b", "c"])
    raw = bytearray((folder / SEALS_FILE).read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    found = parse(bytes(raw))
    assert found.damaged or found.torn


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_line_that_was_cut_short_is_taken_back(tmp_path: Path, cut: int) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    ledger = Ledger(tmp_path)
    ledger.add(["a"])
    whole = (tmp_path / SEALS_FILE).read_bytes()
    ledger.add(["b"])
    raw = (tmp_path / SEALS_FILE).read_bytes()
    (tmp_path / SEALS_FILE).write_bytes(raw[:-cut])
    assert ledger.read().torn
    ledger.add(["b"])
    assert (tmp_path / SEALS_FILE).read_bytes() == raw
    assert raw.startswith(whole)


def test_many_may_seal_while_another_writes_the_seals_anew(tmp_path: Path) -> None:
    def seal(who: int) -> None:
        ledger = Ledger(tmp_path)
        for n in range(40):
            (tmp_path / f"{who}.{n}").write_bytes(b"%d" % n)
            ledger.add([f"{who}.{n}"])

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(seal, who) for who in range(4)]
        while not all(one.done() for one in done):
            Ledger(tmp_path).forget_absent()
        for one in done:
            one.result()
    found = Ledger(tmp_path).read()
    assert (found.damaged, found.torn) == ([], False)
    assert found.seals == {f"{who}.{n}": seal_of(b"%d" % n) for who in range(4) for n in range(40)}


def test_what_a_commit_wrote_is_sealed_when_others_may_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = zvv.Repository.create(tmp_path / "r")
    seal, seen = Ledger.committed, []

    def committed(self: Ledger, before: str, after: str) -> list[str]:
        with Backend.open(tmp_path / "r", lock_timeout=5).mutation("look"):
            seen.append(after)
        return seal(self, before, after)

    monkeypatch.setattr(Ledger, "committed", committed)
    with ThreadPoolExecutor(1) as pool:

        def commit() -> None:
            with repo.transaction() as tx:
                tx.create_dataset("p", kind="mesh", bounds=([0], [1]))

        pool.submit(commit).result()
    assert seen == [repo.resolve("main")]
    assert repo.fsck().ok


def test_seals_that_cannot_be_written_do_not_undo_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    repo = zvv.Repository.create(tmp_path / "r")

    def full(self: SealFile, lines: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(SealFile, "append", full)
        with repo.transaction() as tx:
            tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [1, 1]))
        assert "No space left" in caplog.text
    assert repo.view().datasets == ["p"]
    assert {f.kind for f in repo.fsck().findings} == {"unsealed"}
    # The next commit seals what it builds on; earlier states of icechunk 2's file stay unsealed.
    with repo.transaction() as tx:
        tx.create_dataset("q", kind="point_cloud", bounds=([0, 0], [1, 1]))
    assert not any("snapshots/" in f.what or f.is_fault for f in repo.fsck().findings)
    repo.fsck(repair=True)
    assert repo.fsck().findings == []


@pytest.mark.skipif(sys.platform == "win32", reason="the file is not locked there")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_at_any_moment_leaves_the_file_of_seals_to_others(tmp_path: Path) -> None:
    kept = []  # as a notebook keeps the last one, with all that was going on
    for moment in itertools.count(1):
        (tmp_path / f"{moment}").write_bytes(b"content")
        with interrupted_at(moment, seals, seal_file) as came:
            try:
                Ledger(tmp_path).add([f"{moment}"])
            except KeyboardInterrupt as error:
                kept.append(error)
        if came.where is None:
            break
        with open(tmp_path / SEALS_FILE, "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        Ledger(tmp_path).add([f"{moment}"])
    assert len(kept) == moment - 1 > 20
    found = Ledger(tmp_path).read()
    assert found.seals.keys() == {f"{number}" for number in range(1, moment + 1)}
    assert not found.damaged


def test_every_change_of_a_repository_is_sealed(tmp_path: Path) -> None:
    repo = zvv.Repository.create(tmp_path / "r")
    first = repo.resolve("main")

    def commit() -> None:
        with repo.transaction("b") as tx:
            tx.create_dataset("p", kind="mesh", bounds=([0], [1]))

    steps = [
        lambda: repo.create_branch("b"), lambda: repo.create_tag("t"), commit,
        lambda: repo.reset_branch("b", to=first), lambda: repo.delete_branch("b"),
        lambda: repo.delete_tag("t"),
    ]  # fmt: skip
    for step in steps:
        step()
        again = zvv.Repository.open(tmp_path / "r").fsck()
        assert {f.kind for f in again.findings} <= {"unused"}, again


# ---- what fails midway seals nothing -----------------------------------------


class _FailedError(Exception):
    pass


_ENDS = (_FailedError, IntegrityError)


def _made(folder: Path) -> zvv.Repository:
    repo = zvv.Repository.create(folder)
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [9, 9]))
    repo.create_branch("try")
    return repo


def _root(folder: Path) -> Path:
    return folder / ("repo" if (folder / "repo").exists() else "refs/branch.try/ref.json")


def _flip(path: Path, at: int) -> bytes:
    raw = bytearray(path.read_bytes())
    raw[at % len(raw)] ^= 0x15
    path.write_bytes(raw)
    return bytes(raw)


def _fails(backend: Any) -> None:
    with pytest.raises(_ENDS), backend.mutation("fail"):
        raise _FailedError


def _looks(backend: Any) -> None:
    # A damaged file repo is not even built upon; refs of version 1 are files, each by itself.
    with suppress(IntegrityError), backend.mutation("look"):
        pass


def _collects(backend: Any) -> None:
    with pytest.raises(IntegrityError):
        zvv.Repository(backend).gc()


@pytest.mark.parametrize("change", [_fails, _looks, _collects])
@pytest.mark.parametrize("fresh", [False, True])
def test_a_damaged_root_file_is_not_sealed_by_who_does_not_change_it(
    tmp_path: Path, change: Callable[[Any], None], fresh: bool
) -> None:
    repo = _made(tmp_path / "r")
    backend = zvv.Repository.open(tmp_path / "r")._backend if fresh else repo._backend
    root = _root(tmp_path / "r")
    before = Ledger(tmp_path / "r").read().seals
    damaged = _flip(root, -20)
    change(backend)
    assert Ledger(tmp_path / "r").read().seals == before
    assert root.read_bytes() == damaged
    assert root.relative_to(tmp_path / "r").as_posix() in [f.place for f in check(tmp_path / "r")]


def _creates_and_fails(backend: Any, name: str) -> None:
    with backend.mutation("fail"):
        backend._repository.create_branch(name, backend.branch_tip("main"))
        raise _FailedError


def test_what_was_changed_before_a_failure_is_sealed(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    backend = _made(folder)._backend
    with pytest.raises(_FailedError):
        _creates_and_fails(backend, "half")
    root = folder / "repo"
    if root.exists():
        assert Ledger(folder).read().seals["repo"] == seal_of(root.read_bytes())
    backend.create_branch("whole", backend.branch_tip("half"))
    if not root.exists():
        made = {f"refs/branch.{name}/ref.json" for name in ("half", "whole")}
        assert made <= Ledger(folder).read().seals.keys()
    assert zvv.Repository.open(folder).fsck().findings == []


def test_a_root_file_that_was_half_written_is_not_sealed(tmp_path: Path) -> None:
    root = tmp_path / "r" / "repo"
    backend = _made(tmp_path / "r")._backend
    if not root.exists():
        pytest.skip("there is no such file")
    before = Ledger(tmp_path / "r").read().seals
    with pytest.raises(_FailedError):
        _halves_and_fails(backend, root)
    assert Ledger(tmp_path / "r").read().seals == before
    assert "repo" in [fault.place for fault in check(tmp_path / "r")]


def _halves_and_fails(backend: Any, root: Path) -> None:
    with backend.mutation("fail"):
        root.write_bytes(root.read_bytes()[:-9])
        raise _FailedError


def test_a_deletion_that_fails_leaves_the_seal_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    repo = _made(folder)
    before = Ledger(folder).read().seals
    damaged = _flip(_root(folder), -20)
    backend = repo._backend
    with pytest.raises(_ENDS), backend.mutation("fail"), backend.deleting("branch.try"):
        raise _FailedError
    assert Ledger(folder).read().seals == before
    assert _root(folder).read_bytes() == damaged


def check(folder: Path) -> list[zvv.Finding]:
    """The faults, as the command line finds them."""
    return check_location(folder, lambda: zvv.Repository.open(folder)).faults


# ---- what was damaged is not built upon ---------------------------------------


def _flipped_where_icechunk_reads_it(folder: Path) -> bytes:
    """Damage the file repo in the name of the program that wrote it, which nobody checks."""
    root = folder / "repo"
    raw = bytearray(root.read_bytes())
    raw[len(files.MARK) + 2] ^= 0x04
    root.write_bytes(raw)
    assert ic.Repository.open(ic.local_filesystem_storage(str(folder))).lookup_branch("main")
    return bytes(raw)


def _append(repo: zvv.Repository, branch: str = "main") -> None:
    with repo.transaction(branch) as tx:
        tx.writer("p").append_vertices_sync(np.ones((2, 2), "f4"))


_CHANGES: dict[str, Callable[[zvv.Repository], object]] = {
    "commit": _append,
    "create_branch": lambda repo: repo.create_branch("b"),
    "delete_branch": lambda repo: repo.delete_branch("try"),
    "create_tag": lambda repo: repo.create_tag("t"),
    "merge": lambda repo: repo.merge("try", ff="no"),
    "expire": lambda repo: repo.expire(keep_last=1, dry_run=False),
    "gc": lambda repo: repo.gc(dry_run=False),
}


@pytest.mark.parametrize("change", _CHANGES)
def test_a_root_file_that_is_not_as_it_was_sealed_is_not_built_upon(
    tmp_path: Path, change: str
) -> None:
    folder = tmp_path / "r"
    repo = _made(folder)
    if not (folder / "repo").exists():
        pytest.skip("there is no such file")
    _append(repo, "try")
    _append(repo)
    damaged = _flipped_where_icechunk_reads_it(folder)
    sealed = (folder / SEALS_FILE).read_bytes()
    for one in (repo, zvv.Repository.open(folder)):
        with pytest.raises(IntegrityError, match=r"its file repo is damaged.*fsck -r"):
            _CHANGES[change](one)
        assert one.view()["p"][0].vertex_count == 2
    assert (folder / "repo").read_bytes() == damaged
    assert (folder / SEALS_FILE).read_bytes() == sealed
    (fault,) = [f for f in check(folder) if f.place == "repo"]
    (found,) = re.findall(r"copy (overwritten/\S+) to its place", fault.remedy)
    shutil.copy(folder / found, folder / "repo")
    again = zvv.Repository.open(folder)
    _CHANGES[change](again)
    _append(again)
    assert again.fsck().ok


def test_what_icechunk_alone_wrote_is_built_upon(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    repo = _made(folder)
    _append(repo)
    plain = ic.Repository.open(ic.local_filesystem_storage(str(folder)))
    for name in ("one", "two"):
        plain.create_branch(name, plain.lookup_branch("main"))
    _append(repo)
    _append(zvv.Repository.open(folder), "two")
    assert repo.list_branches() == ["main", "one", "try", "two"]
    assert repo.fsck().ok
    repo.gc(dry_run=False)
    _append(repo)
    assert repo.fsck().ok


def test_where_seals_cannot_be_written_the_state_that_was_sealed_last_is_not_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "r"
    repo = _made(folder)

    def full(self: SealFile, lines: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(SealFile, "append", full)
        for _ in range(5):
            _append(repo)
        repo.gc(dry_run=False)
    _append(zvv.Repository.open(folder))
    assert repo.view()["p"][0].vertex_count == 12
    assert repo.fsck().ok


def test_seals_that_were_emptied_are_damaged_and_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    repo = _made(folder)
    _append(repo)
    (folder / SEALS_FILE).write_bytes(b"")
    report = repo.fsck()
    (fault,) = report.faults
    assert (fault.kind, fault.place) == ("damaged", SEALS_FILE)
    assert "repair=True" in fault.remedy
    assert any("sealed" in what for what in repo.fsck(repair=True).repaired)
    assert repo.fsck().findings == []
    _flip(folder / "snapshots" / repo.resolve("main"), -9)
    assert [f.place for f in check(folder)] == [f"snapshots/{repo.resolve('main')}"]
