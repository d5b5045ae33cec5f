"""Where damage hides what is needed, nothing is called unused, and there is a way back."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import zv_versioned as zvv
from zv_versioned.errors import IntegrityError
from zv_versioned.maintenance.fsck import check_location
from zv_versioned.maintenance.inventory import Inventory

BOUNDS = ([0.0] * 3, [9.0] * 3)


def append(repo: zvv.Repository, number: int) -> str:
    """Five vertices of one object, as a commit."""
    with repo.transaction(message=f"commit {number}") as tx:
        if number == 0:
            tx.create_dataset("p", kind="point_cloud", bounds=BOUNDS)
        tx.writer("p").append_vertices_sync(np.ones((5, 3), "f4"), object_ids=number)
    assert tx.result is not None
    return tx.result.snapshot_id


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "r"


@pytest.fixture
def line(folder: Path) -> list[str]:
    """Four snapshots of main, oldest first."""
    repo = zvv.Repository.create(folder)
    return [append(repo, number) for number in range(4)]


def is_old(folder: Path) -> bool:
    """Whether it is of version 1 of icechunk's format, in which refs are files."""
    return not (folder / "repo").exists()


def fsck(folder: Path) -> zvv.FsckReport:
    """As the command line does it."""
    return check_location(folder, lambda: zvv.Repository.open(folder))


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0x55
    path.write_bytes(raw)


HOW: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:40]),
    "flipped": flip,
    "deleted": Path.unlink,
}


def kinds(report: zvv.FsckReport) -> set[str]:
    return {finding.kind for finding in report.findings}


def ids_in(text: str, of: list[str]) -> list[str]:
    """Snapshots in the order in which a text names them."""
    return [word for word in re.findall(r"[0-9A-Z]{20}", text) if word in of]


@pytest.mark.parametrize("how", HOW)
def test_a_damaged_tip_makes_nothing_unused_and_the_rescue_works(
    folder: Path, line: list[str], how: str
) -> None:
    HOW[how](folder / "snapshots" / line[-1])
    report = fsck(folder)
    assert not report.ok
    assert "unused" not in kinds(report)
    (unknown,) = [f for f in report.findings if f.kind == "unknown"]
    assert unknown.place == f"snapshots/{line[-1]}"
    remedies = " ".join(f.remedy for f in report.findings)
    assert f"repo.reset_branch('main', to='{line[-2]}'), or zvv reset {line[-2]}" in remedies
    if is_old(folder):
        (stranded,) = [f for f in report.findings if f.kind == "stranded"]
        assert ids_in(stranded.what, line) == line[-2::-1]
        assert "(commit 2)" in stranded.what
    repo = zvv.Repository.open(folder)
    with pytest.raises(IntegrityError, match=line[-1]):
        repo.gc(dry_run=False)
    repo.reset_branch("main", to=line[-2])
    assert repo.view()["p"][0].vertex_count == 15
    assert "unknown" not in kinds(fsck(folder))
    if is_old(folder) or how != "deleted":  # icechunk 2 collects nothing where it misses a file
        repo.gc(dry_run=False)
        after = fsck(folder)
        assert after.ok, after
        assert "unused" not in kinds(after)
    append(repo, 7)
    assert len(zvv.Repository.open(folder).view()["p"][0].positions()) == 20


def test_a_stranded_snapshot_is_named_only_where_it_is_whole(folder: Path, line: list[str]) -> None:
    repo = zvv.Repository.open(folder)
    before = set((folder / "chunks").iterdir())
    last = append(repo, 4)
    (folder / "snapshots" / last).unlink()
    own = sorted(set((folder / "chunks").iterdir()) - before)
    others = sorted(before)
    newest = max(others, key=lambda path: path.stat().st_mtime_ns)
    assert own
    newest.unlink()
    report = fsck(folder)
    (finding,) = [f for f in report.faults if f.place == f"chunks/{newest.name}"]
    assert finding.kind == "missing"
    assert line[3] in finding.what
    named = {i for f in report.findings for i in ids_in(f.remedy, [*line, last])}
    assert named == {line[2]}


def test_a_damaged_snapshot_below_a_whole_tip_costs_nothing_that_is_whole(
    folder: Path, line: list[str]
) -> None:
    HOW["cut"](folder / "snapshots" / line[1])
    report = fsck(folder)
    assert "unused" not in kinds(report)
    if is_old(folder):
        (stranded,) = [f for f in report.findings if f.kind == "stranded"]
        assert ids_in(stranded.what, line) == [line[0]]
        assert stranded.remedy == f"To keep one, repo.create_branch('rescued', at='{line[0]}')"
    repo = zvv.Repository.open(folder)
    assert repo.view()["p"][0].vertex_count == 20
    repo.create_branch("rescued", at=line[0])
    assert repo.view("rescued")["p"][0].vertex_count == 5


@pytest.mark.parametrize("how", HOW)
def test_a_damaged_ref_makes_nothing_unused_and_can_be_written_anew(
    folder: Path, line: list[str], how: str
) -> None:
    if not is_old(folder):
        pytest.skip("refs are no files")
    ref = folder / "refs/branch.main/ref.json"
    HOW[how](ref)
    if how == "cut":
        ref.write_bytes(ref.read_bytes()[:20])
    report = fsck(folder)
    assert "unused" not in kinds(report)
    assert [f.place for f in report.findings if f.kind == "unknown"] == [
        "refs/branch.main/ref.json"
    ]
    (stranded,) = [f for f in report.findings if f.kind == "stranded"]
    assert ids_in(stranded.what, line) == line[::-1]
    told = re.search(r"write (\{.*\}) into", stranded.remedy)
    assert told is not None
    ref.write_text(told[1])
    assert zvv.Repository.open(folder).resolve("main") == line[-1]
    after = fsck(folder)
    assert after.ok, after
    append(zvv.Repository.open(folder), 4)
    assert fsck(folder).findings == []


@pytest.mark.parametrize("kind", ["branch", "tag"])
def test_what_a_deleted_file_of_a_ref_led_to_is_never_collected(
    folder: Path, line: list[str], kind: str
) -> None:
    if not is_old(folder):
        pytest.skip("refs are no files")
    repo = zvv.Repository.open(folder)
    (repo.create_branch if kind == "branch" else repo.create_tag)("other", at="main")
    repo.reset_branch("main", to=line[0])
    (folder / f"refs/{kind}.other/ref.json").unlink()
    repo = zvv.Repository.open(folder)
    with pytest.raises(IntegrityError, match=f"refs/{kind}.other/ref.json"):
        repo.gc(dry_run=False)
    report = fsck(folder)
    assert "unused" not in kinds(report)
    (stranded,) = [f for f in report.findings if f.kind == "stranded"]
    assert ids_in(stranded.what, line) == line[:0:-1]


def test_a_damaged_manifest_makes_nothing_unused(folder: Path, line: list[str]) -> None:
    repo = zvv.Repository.open(folder)
    repo.create_branch("try")
    append(repo, 4)
    repo.reset_branch("main", to=line[1])
    repo.delete_branch("try")
    assert "unused" in kinds(fsck(folder))
    needed = Inventory.of(folder).snapshots[line[1]].manifests
    HOW["cut"](folder / "manifests" / sorted(needed)[0])
    report = fsck(folder)
    assert not report.ok
    assert "unused" not in kinds(report)
    assert "unknown" in kinds(report)


@pytest.mark.parametrize("how", ["cut", "deleted"])
def test_a_repository_whose_root_file_is_damaged_says_so_and_where_to_look(
    folder: Path, line: list[str], how: str
) -> None:
    name = "refs/branch.main/ref.json" if is_old(folder) else "repo"
    path = folder / name
    if how == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path.unlink()
    with pytest.raises(IntegrityError, match="cannot be opened") as caught:
        zvv.Repository.open(folder)
    assert name in str(caught.value)
    assert f"zv-versioned fsck -r {folder}" in str(caught.value)
    assert not fsck(folder).ok


def states(folder: Path) -> list[Path]:
    """The earlier states of the file repo, newest first."""
    return sorted((folder / "overwritten").iterdir(), key=lambda path: path.stat().st_mtime_ns)[
        ::-1
    ]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("lost", [0, 1], ids=["repo", "repo and its newest state"])
@pytest.mark.parametrize("last", ["append", "tag"])
def test_an_earlier_state_is_put_in_the_place_of_a_damaged_root_file(
    folder: Path, line: list[str], how: str, lost: int, last: str
) -> None:
    if is_old(folder):
        pytest.skip("there is no such file")
    repo = zvv.Repository.open(folder)
    if last == "tag":
        repo.create_tag("v1")
    expected = line if last == "tag" else line[:-1]
    for path in [folder / "repo", *states(folder)[:lost]]:
        HOW[how](path)
    if how == "deleted" and lost:
        assert len(states(folder)) > 2
    sealed = (folder / "zv_versioned.seals").read_bytes()
    (fault,) = [f for f in fsck(folder).faults if f.place == "repo"]
    # What the newest whole state is cannot be seen from the times of files in a copy.
    for path in states(folder):
        os.utime(path, (0, 0))
    (found,) = re.findall(r"copy (overwritten/\S+) to its place", fault.remedy)
    assert (folder / "zv_versioned.seals").read_bytes() == sealed
    shutil.copy(folder / found, folder / "repo")
    expected = expected[: len(expected) - lost]

    report = fsck(folder)
    assert [f for f in report.faults if not f.place.startswith("overwritten/")] == []
    assert ("unsealed", "repo") in [(f.kind, f.place) for f in report.findings]
    repo = zvv.Repository.open(folder)
    assert repo.list_tags() == []
    assert [info.snapshot_id for info in repo.log()][: len(expected)] == expected[::-1]
    assert repo.view()["p"][0].vertex_count == 5 * len(expected)
    if last == "tag":
        repo.fsck(repair=True)
    else:
        append(repo, 9)
    report = fsck(folder)
    assert [f for f in report.faults if not f.place.startswith("overwritten/")] == []
    assert "repo" not in [f.place for f in report.findings]
    assert append(repo, 10)
    repo.gc(dry_run=False)
    assert fsck(folder).ok


def test_where_no_earlier_state_is_whole_none_is_named(folder: Path, line: list[str]) -> None:
    if is_old(folder):
        pytest.skip("there is no such file")
    for path in [folder / "repo", *states(folder)]:
        flip(path)
    (fault,) = [f for f in fsck(folder).faults if f.place == "repo"]
    assert "overwritten/" not in fault.remedy


@pytest.mark.parametrize("name", ["refs/branch.main/ref.json", "config.yaml"])
def test_a_file_that_icechunk_cannot_parse_is_named(
    folder: Path, line: list[str], name: str
) -> None:
    if not is_old(folder):
        pytest.skip("there is no such file")
    raw = (folder / name).read_bytes()
    half = len(raw) // 2
    (folder / name).write_bytes(
        raw.replace(raw[half : half + 1], b"'") if "ref" in name else raw[:half]
    )
    with pytest.raises(IntegrityError, match=f"cannot be opened.*{name} is damaged.*fsck -r"):
        zvv.Repository.open(folder)


@pytest.mark.parametrize("how", ["cut", "deleted"])
def test_a_damaged_tip_is_named_as_damage(folder: Path, line: list[str], how: str) -> None:
    HOW[how](folder / "snapshots" / line[-1])
    with pytest.raises(IntegrityError, match=f"snapshots/{line[-1]}"):
        zvv.Repository.open(folder).view()["p"][0].positions()


def _second_parent(folder: Path, line: list[str]) -> str:
    """A commit that a merge alone leads to: its branch is gone."""
    repo = zvv.Repository.open(folder)
    repo.create_branch("side", at=line[1])
    with repo.transaction("side") as tx:
        tx.writer("p").append_vertices_sync(np.ones((1, 3), "f4"), object_ids=900)
    assert tx.result is not None
    repo.merge("side")
    repo.delete_branch("side")
    return tx.result.snapshot_id


@pytest.mark.parametrize("how", ["cut", "deleted"])
@pytest.mark.parametrize("where", ["before", "merged"])
def test_a_damaged_snapshot_before_the_tip_is_named_by_all_that_need_it(
    folder: Path, line: list[str], how: str, where: str
) -> None:
    lost = line[1] if where == "before" else _second_parent(folder, line)
    repo = zvv.Repository.open(folder)
    HOW[how](folder / "snapshots" / lost)
    verbs: dict[str, Callable[[], object]] = {
        "view": lambda: repo.view(lost)["p"],
        "branch": lambda: (
            repo.create_branch("b", at=lost) if how == "deleted" else repo.view(lost)["p"]
        ),
    }
    if is_old(folder):
        # In version 2 the history stands in one file, and none of these needs another.
        verbs |= {
            "log": lambda: repo.log(),
            "diff": lambda: repo.diff("main", lost),
            "expire": lambda: repo.expire(keep_last=1),
            "resolve": lambda: repo.resolve("main~3") if where == "before" else repo.log(),
        }
    for fresh in (False, True):
        if fresh:
            repo = zvv.Repository.open(folder)
        for name, verb in verbs.items():
            with pytest.raises(IntegrityError, match=f"snapshots/{lost} .*fsck -r") as caught:
                verb()
            assert ("missing" in str(caught.value)) is (how == "deleted"), name
    assert repo.view("main")["p"][0].vertex_count >= 20


def test_an_id_that_nothing_leads_to_is_not_found_rather_than_missing(
    folder: Path, line: list[str]
) -> None:
    repo = zvv.Repository.open(folder)
    with pytest.raises(zvv.NotFoundError, match="there is no snapshot"):
        repo.view(snapshot_id="0" * 20)
