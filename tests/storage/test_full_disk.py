"""A disk that is full: a clear error, everything as it was, and all works once there is room."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import _rich
import numpy as np
import pytest

import zv_versioned as zvv
from zv_versioned.errors import ZVError

Full = Callable[[], AbstractContextManager[None]]


@contextmanager
def _no_file_may_grow() -> Iterator[None]:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def _ballast(folder: Path) -> Iterator[None]:
    """Fill a file system to the last byte."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 10, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
    try:
        yield
    finally:
        ballast.unlink()


@pytest.fixture(params=["a limit", "a small file system"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, Full]]:
    """A folder, and a context in which nothing more can be written there."""
    if sys.platform == "win32":
        pytest.skip("this system knows no such limit")
    if request.param == "a limit":
        yield tmp_path, _no_file_may_grow
        return
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only who may mount file systems can try this")
    try:
        yield folder, lambda: _ballast(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def repo(disk: tuple[Path, Full]) -> zvv.Repository:
    repo = zvv.Repository.create(disk[0] / "r")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=_rich.BOUNDS)
    append(repo, "main")
    return repo


def append(repo: zvv.Repository, branch: str) -> None:
    with repo.transaction(branch) as tx:
        tx.writer("p").append_vertices_sync(_rich.points(np.random.default_rng(0), 3000))


def whole(repo: zvv.Repository, branches: int, commits: int) -> None:
    """See that nothing changed, here and for somebody who comes anew, and that it is sound."""
    again = zvv.Repository.open(repo.location)
    for one in (repo, again):
        assert len(one.list_branches()) == branches
        assert len(list(one.log("main"))) == commits
        assert one.view()["p"][0].vertex_count == 3000
    report = again.fsck()
    assert report.ok, report


def test_an_append_that_does_not_fit_is_refused_and_works_when_there_is_room(
    repo: zvv.Repository, disk: tuple[Path, Full]
) -> None:
    with pytest.raises(ZVError) as caught, disk[1]():
        append(repo, "main")
    assert says_why(caught.value)
    whole(repo, 1, 3)
    append(repo, "main")
    assert repo.view()["p"][0].vertex_count == 6000
    assert repo.fsck().ok


def test_a_commit_that_does_not_fit_leaves_the_branch_where_it_was(
    repo: zvv.Repository, disk: tuple[Path, Full]
) -> None:
    tx = repo.transaction()
    tx.writer("p").append_vertices_sync(_rich.points(np.random.default_rng(0), 10))
    with pytest.raises(ZVError) as caught, disk[1]():
        tx.commit()
    assert says_why(caught.value)
    whole(repo, 1, 3)
    append(repo, "main")
    assert repo.view()["p"][0].vertex_count == 6000


def test_a_merge_that_does_not_fit_leaves_both_branches_where_they_were(
    repo: zvv.Repository, disk: tuple[Path, Full]
) -> None:
    repo.create_branch("try")
    append(repo, "try")
    with repo.transaction() as tx:
        tx.writer("p").set_metadata_sync({"by": "Ada"})
    tips = [repo.resolve(branch) for branch in ("main", "try")]
    with pytest.raises(ZVError) as caught, disk[1]():
        repo.merge("try", into="main")
    assert says_why(caught.value)
    assert [repo.resolve(branch) for branch in ("main", "try")] == tips
    whole(repo, 2, 4)
    repo.merge("try", into="main")
    assert repo.view()["p"][0].vertex_count == 6000
    assert repo.fsck().ok


def test_a_compaction_that_does_not_fit_changes_nothing(
    repo: zvv.Repository, disk: tuple[Path, Full]
) -> None:
    append(repo, "main")
    append(repo, "main")
    tip, digest = repo.resolve("main"), repo.digest()
    with pytest.raises(ZVError) as caught, disk[1]():
        repo.compact()
    assert says_why(caught.value)
    for one in (repo, zvv.Repository.open(repo.location)):
        assert one.resolve("main") == tip
        assert len(one.view()["p"][0].batches) == 3
        assert one.digest(recompute=True) == digest
    assert repo.fsck().ok
    repo.compact()
    assert len(repo.view()["p"][0].batches) == 1
    assert repo.digest() == digest


def says_why(error: BaseException | None) -> bool:
    """Whether an error, or one of those that it came from, names the cause."""
    texts = []
    while error is not None:
        texts.append(str(error))
        error = error.__cause__
    return any("too large" in text or "No space left" in text for text in texts)
