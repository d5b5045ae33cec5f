"""icechunk's errors, in our words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import icechunk as ic
import numpy as np
import pytest
import zarr

import zv_versioned as zvv
from zv_versioned import _store
from zv_versioned.storage.translate import translated


def test_a_repository_of_a_newer_icechunk_is_told_with_the_python_that_has_it() -> None:
    said = "this repository uses Icechunk v2 format, please upgrade the icechunk library"
    with (
        pytest.raises(zvv.StorageError, match=r"^brain was made with icechunk 2, .*Python 3\.12"),
        translated("brain"),
    ):
        raise ic.IcechunkError(f"  x {said}\n  |- context")


# ---- what icechunk says, and what it is to us ---------------------------------
# Real errors of whichever icechunk is there: a version that words one otherwise fails here.

Call = Callable[[ic.Repository, str], object]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of icechunk's with an array, branches and tags."""
    folder = tmp_path_factory.mktemp("said") / "r"
    repo = ic.Repository.create(ic.local_filesystem_storage(str(folder)))
    session = repo.writable_session("main")
    array = zarr.create_array(
        session.store, name="a", shape=(9999,), chunks=(9999,), dtype="i8", compressors=None
    )
    array[:] = np.arange(9999)
    tip = session.commit("one")
    repo.create_branch("b", tip)
    repo.create_tag("v", tip)
    repo.create_tag("w", tip)
    repo.delete_tag("w")
    return folder


def opened(folder: Path) -> ic.Repository:
    return ic.Repository.open(ic.local_filesystem_storage(str(folder)))


def _commit_behind(repo: ic.Repository, _: str) -> None:
    first, second = repo.writable_session("b"), repo.writable_session("b")
    zarr.create_group(first.store, path="g1")
    zarr.create_group(second.store, path="g2")
    first.commit("first")
    second.commit("second")


SAID: dict[str, tuple[Call, type[zvv.ZVError]]] = {
    "no such branch": (lambda repo, _: repo.lookup_branch("x"), zvv.NotFoundError),
    "no such tag": (lambda repo, _: repo.lookup_tag("x"), zvv.NotFoundError),
    "no branch to write to": (lambda repo, _: repo.writable_session("x"), zvv.NotFoundError),
    "no branch to delete": (lambda repo, _: repo.delete_branch("x"), zvv.NotFoundError),
    "no tag to delete": (lambda repo, _: repo.delete_tag("x"), zvv.NotFoundError),
    "no branch to reset": (lambda repo, tip: repo.reset_branch("x", tip), zvv.NotFoundError),
    "no snapshot's id": (
        lambda repo, _: repo.readonly_session(snapshot_id="hello"),
        zvv.NotFoundError,
    ),
    "a tag is taken": (lambda repo, tip: repo.create_tag("v", tip), zvv.MetadataError),
    "a tag was deleted": (lambda repo, tip: repo.create_tag("w", tip), zvv.MetadataError),
    "main is deleted": (lambda repo, _: repo.delete_branch("main"), zvv.MetadataError),
    "nothing to commit": (
        lambda repo, _: repo.writable_session("main").commit("x"),
        zvv.MetadataError,
    ),
    "a session that reads": (
        lambda repo, _: repo.readonly_session("main").commit("x"),
        zvv.ReadOnlyError,
    ),
    "a branch that moved": (_commit_behind, zvv.ConflictError),
}


@pytest.mark.parametrize("what", SAID)
def test_what_icechunk_refuses_is_an_error_of_the_fitting_class(folder: Path, what: str) -> None:
    call, expected = SAID[what]
    repo = opened(folder)
    with pytest.raises(zvv.ZVError) as caught, translated("here"):
        call(repo, repo.lookup_branch("main"))
    assert type(caught.value) is expected
    assert str(caught.value).startswith("here: ")


def test_a_repository_that_is_there_or_is_not(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(zvv.MetadataError), translated("here"):
        ic.Repository.create(ic.local_filesystem_storage(str(folder)))
    with pytest.raises(zvv.NotFoundError), translated("here"):
        opened(tmp_path / "nowhere")
    with pytest.raises(zvv.NotFoundError, match="there is no repository"):
        zvv.Repository.open(f"memory://{tmp_path.name}")


def _flip(at: int) -> Callable[[bytes], bytes]:
    def flipped(raw: bytes) -> bytes:
        damaged = bytearray(raw)
        damaged[at % len(raw)] ^= 0x55
        return bytes(damaged)

    return flipped


HOW: dict[str, Callable[[bytes], bytes | None]] = {
    "deleted": lambda _: None,
    "empty": lambda _: b"",
    "cut in the header": lambda raw: raw[:20],
    "cut": lambda raw: raw[: len(raw) // 2],
    "another mark": _flip(0),
    "another kind of file": _flip(37),
    "another compression": _flip(38),
    "the frame's mark": _flip(40),
    "written over": lambda raw: raw[: min(48, len(raw) // 2)].ljust(len(raw), b"\xff"),
}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("which", ["snapshots", "manifests", "chunks"])
def test_damage_that_icechunk_runs_into_is_told_as_damage(
    folder: Path, which: str, how: str
) -> None:
    repo = opened(folder)
    tip = repo.lookup_branch("main")
    file = folder / which / tip if which == "snapshots" else next((folder / which).iterdir())
    whole = file.read_bytes()
    damaged = HOW[how](whole)
    if which == "chunks" and damaged is not None and len(damaged) == len(whole):
        pytest.skip("icechunk reads it: chunks have checksums of ours")
    file.unlink() if damaged is None else file.write_bytes(damaged)
    try:
        store = opened(folder).readonly_session("main").store
        with pytest.raises(zvv.IntegrityError) as caught:
            _store.get_many(store, [("a/c/0", 0, -1)])
    finally:
        file.write_bytes(whole)
    assert caught.value.missing == (how == "deleted")


@pytest.mark.parametrize("how", HOW)
def test_a_damaged_file_that_a_repository_is_opened_by_is_told_as_damage(
    folder: Path, how: str
) -> None:
    old = folder / "refs/branch.main/ref.json"
    file = old if old.exists() else folder / "repo"
    whole = file.read_bytes()
    damaged = HOW[how](whole)
    file.unlink() if damaged is None else file.write_bytes(damaged)
    expected = zvv.NotFoundError if how == "deleted" else zvv.IntegrityError
    try:
        with pytest.raises(expected), translated("here"):
            opened(folder).lookup_branch("main")
    finally:
        file.write_bytes(whole)
