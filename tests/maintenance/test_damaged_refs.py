"""Damaged branches and tags of icechunk's version 1, which are files, are named by their files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from _damage import fsck

import zv_versioned as zvv

FILES = {"branch": "refs/branch.try/ref.json", "tag": "refs/tag.v1/ref.json"}
NAMES = {"branch": "try", "tag": "v1"}


def _flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0x81
    path.write_bytes(raw)


HOW: dict[str, Callable[[Path], object]] = {
    "flipped": _flip,
    "cut": lambda path: path.write_bytes(path.read_bytes()[:9]),
    "empty": lambda path: path.write_bytes(b""),
    "no snapshot": lambda path: path.write_bytes(b'{"snapshot":"hello"}'),
    "a number": lambda path: path.write_bytes(b"7"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a branch and a tag that stand where main does not."""
    folder = tmp_path_factory.mktemp("refs") / "whole"
    repo = zvv.Repository.create(folder)
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [9, 9]))
    repo.create_branch("try")
    for _ in range(2):
        with repo.transaction("try") as tx:
            tx.writer("p").append_vertices_sync(np.ones((1, 2), "f4"))
        if "v1" not in repo.list_tags():
            repo.create_tag("v1", at="try")
    repo.create_tag("v2")
    if (folder / "repo").exists():
        pytest.skip("refs are no files of their own in version 2 of icechunk's format")
    return folder


@pytest.fixture(params=["sealed", "unsealed"])
def folder(request: pytest.FixtureRequest, whole: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "r"
    shutil.copytree(whole, copy)
    if request.param == "unsealed":
        (copy / "zv_versioned.seals").unlink()
    return copy


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("how", HOW)
def test_a_damaged_branch_or_tag_is_named_with_its_file_and_the_others_are_read(
    folder: Path, kind: str, how: str
) -> None:
    tips = {name: zvv.Repository.open(folder).resolve(name) for name in ("main", "try", "v1", "v2")}
    HOW[how](folder / FILES[kind])
    repo = zvv.Repository.open(folder)
    assert (repo.list_branches(), repo.list_tags()) == (["main", "try"], ["v1", "v2"])
    for name, tip in tips.items():
        if name == NAMES[kind]:
            with pytest.raises(zvv.IntegrityError, match=f"{FILES[kind]} is damaged.*fsck -r"):
                repo.resolve(name)
        else:
            assert repo.resolve(name) == tip
    assert f"{FILES[kind]} is damaged" in repo._repr_html_()
    report = fsck(folder)
    (fault,) = report.faults
    assert (fault.kind, fault.place) == ("damaged", FILES[kind])
    assert report.snapshots >= 2  # what can be reached is checked all the same
    with pytest.raises(zvv.MetadataError):
        getattr(repo, f"create_{kind}")(NAMES[kind])


@pytest.mark.parametrize("kind", FILES)
def test_what_a_damaged_branch_or_tag_led_to_is_neither_expired_nor_collected(
    folder: Path, kind: str
) -> None:
    repo = zvv.Repository.open(folder)
    kept = repo.resolve(NAMES[kind])
    other = "v1" if kind == "branch" else "try"
    getattr(repo, "delete_tag" if kind == "branch" else "delete_branch")(other)
    file = folder / FILES[kind]
    raw = file.read_bytes()
    _flip(file)
    repo = zvv.Repository.open(folder)
    for reduce in (lambda: repo.expire(keep_last=1, dry_run=False), lambda: repo.gc(dry_run=False)):
        with pytest.raises(zvv.IntegrityError, match=FILES[kind]):
            reduce()
    file.write_bytes(raw)
    repo = zvv.Repository.open(folder)
    assert repo.resolve(NAMES[kind]) == kept
    assert repo.fsck(kept).ok


@pytest.mark.parametrize("kind", FILES)
def test_a_damaged_branch_or_tag_that_is_to_be_deleted_stays_as_it_is_and_as_it_was_sealed(
    folder: Path, kind: str
) -> None:
    _flip(folder / FILES[kind])
    before = {p: p.read_bytes() for p in (folder / "refs").rglob("*.json*")}
    seals = folder / "zv_versioned.seals"
    sealed = seals.read_bytes() if seals.exists() else b""
    repo = zvv.Repository.open(folder)
    with pytest.raises(zvv.IntegrityError, match=f"{FILES[kind]} is damaged"):
        getattr(repo, f"delete_{kind}")(NAMES[kind])
    assert {p: p.read_bytes() for p in (folder / "refs").rglob("*.json*")} == before
    if sealed:
        assert FILES[kind].encode() not in seals.read_bytes().removeprefix(sealed)
    assert NAMES[kind] in [*repo.list_branches(), *repo.list_tags()]
    assert [fault.place for fault in fsck(folder).faults] == [FILES[kind]]


def test_a_tag_that_was_deleted_is_not_listed_again(folder: Path) -> None:
    repo = zvv.Repository.open(folder)
    repo.delete_tag("v1")
    assert (folder / "refs/tag.v1").exists()
    assert repo.list_tags() == ["v2"]
