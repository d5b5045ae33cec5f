"""A check finds whatever is wrong, names it, and finds nothing where nothing is."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import _rich
import numpy as np
import pytest
from _damage import flip, flip_in_one_of, found_in_files, fsck, is_found, names, stored
from _processes import new_processes

import zv_versioned as zvv
from zv_versioned.errors import IntegrityError, MetadataError, NotFoundError
from zv_versioned.maintenance.fsck import check_location
from zv_versioned.maintenance.inventory import Inventory
from zv_versioned.maintenance.report import NOTES
from zv_versioned.storage.files import object_id
from zv_versioned.storage.presence import LEASES


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository on disk with a little of everything; tests put back what they damage."""
    folder = tmp_path_factory.mktemp("fsck") / "repository"
    _rich.make(folder)
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with one kind alone, to be checked again and again."""
    folder = tmp_path_factory.mktemp("fsck-small") / "repository"
    _rich.make(folder, kinds=("graph",), n=60)
    return folder


def without_garbage(folder: Path, files: list[Path]) -> list[Path]:
    """Leave out what nothing refers to: that such a file is gone cannot be known.

    That is chunks, and the notes that this process keeps for its next transactions.
    """
    needed = []
    inventory = Inventory.of(folder)
    for path in inventory.below("manifests/"):
        for refs in (inventory.manifest(path.removeprefix("manifests/")) or {}).values():
            needed += [object_id(chunk) for chunk in refs.chunks()]
    files = [f for f in files if f.parent.name != LEASES or not f.name.startswith("writer.")]
    return [f for f in files if f.parent.name != "chunks" or f.name in needed]


# ---- nothing wrong -----------------------------------------------------------


def test_nothing_is_wrong_with_a_repository_that_has_everything(made: Path) -> None:
    report = fsck(made)
    assert report.ok, report
    assert report.faults == []
    assert {finding.kind for finding in report.notes} == {"unused"}  # of the abandoned transaction
    assert report.batches == 4 * 3 + 4 * 2  # those with values written later count twice
    assert report.vertices == 200 * report.batches
    assert report.files >= len(stored(made))


def test_a_check_changes_nothing(made: Path) -> None:
    before = {f: f.read_bytes() for f in stored(made) if f.name != "zv_versioned.holder"}
    fsck(made)
    assert {f: f.read_bytes() for f in before} == before


@pytest.mark.parametrize("where", ["memory", "s3"])
def test_nothing_is_wrong_elsewhere(where: str, request: pytest.FixtureRequest) -> None:
    location, options = request.getfixturevalue(f"{where}_location"), {}
    if where == "s3":
        location, options = location
    report = _rich.make(location, kinds=("graph",), n=50, **options).fsck()
    assert report.ok, report
    assert report.findings == []
    assert report.batches == 3 + 2


def test_one_snapshot_can_be_checked_by_itself(made: Path) -> None:
    repo = zvv.Repository.open(made)
    report = repo.fsck("first")
    assert (report.ok, report.snapshots, report.batches) == (True, 1, 8)
    with pytest.raises(NotFoundError):
        repo.fsck("nothing")


def test_parts_of_the_data_are_together_all_of_it(made: Path) -> None:
    repo = zvv.Repository.open(made)
    whole = repo.fsck().vertices
    parts = [repo.fsck(subset=(n, 3)).vertices for n in (1, 2, 3)]
    assert sum(parts) == whole
    assert max(parts) < whole
    assert repo.fsck(read_data=False).vertices == 0


@pytest.mark.parametrize("wrong", ["1/3", (1,), (0, 3), (4, 3), ("a", "b"), (1, 0), (1.0, 2), 3])
def test_a_part_that_is_none_is_refused(made: Path, wrong: Any) -> None:
    with pytest.raises(MetadataError, match=r"\(n, m\)"):
        zvv.Repository.open(made).fsck(subset=wrong)


def test_a_report_shows_itself_and_can_be_kept(made: Path) -> None:
    report = fsck(made)
    kept = json.loads(json.dumps(report.to_dict()))
    assert kept["ok"] is True
    assert kept["findings"][0].keys() == {"kind", "place", "what", "remedy"}
    assert "ok" in repr(report)
    assert "nothing wrong" in report._repr_html_()
    report.raise_for_faults()


def test_progress_is_told(made: Path) -> None:
    told: list[tuple[str, int, int]] = []
    fsck(made, progress=lambda *step: told.append(step))
    assert {step[0] for step in told} == {"manifests", "chunks", "snapshots"}
    assert all(0 <= done <= of for _, done, of in told)


# ---- damage ------------------------------------------------------------------


def test_a_flipped_byte_is_found_in_whatever_file_it_is(small: Path) -> None:
    assert flip(small, 1, 300, found_in_files) == []


def test_a_whole_check_survives_flipped_bytes_and_names_them(small: Path) -> None:
    assert flip(small, 3, 12, fsck) == []


@pytest.mark.long
@pytest.mark.parametrize("thousand", range(10))
def test_ten_thousand_flipped_bytes_are_found(thousand: int, tmp_path: Path) -> None:
    """By whole checks, in a repository of each kind, by as many processes as there are cores."""
    first = random.SystemRandom().randrange(1 << 32)
    with ProcessPoolExecutor(os.cpu_count(), mp_context=new_processes()) as processes:
        begun = [
            processes.submit(flip_in_one_of, kind, tmp_path / kind, first + number, 250)
            for number, kind in enumerate(_rich.KINDS)
        ]
        missed = [one for flips in begun for one in flips.result()]
    assert missed == [], f"part {thousand}"


@pytest.mark.parametrize("how", ["deleted", "emptied", "halved", "one byte short"])
def test_a_file_that_is_gone_or_cut_is_found_and_named(small: Path, how: str) -> None:
    before = {str(finding) for finding in fsck(small).findings}
    by_folder: dict[str, list[Path]] = {}
    for file in without_garbage(small, stored(small)):
        by_folder.setdefault(file.relative_to(small).parts[0], []).append(file)
    rng = random.Random(how)
    whole = [rng.choice(files) for files in by_folder.values()]
    others = rng.sample([f for files in by_folder.values() for f in files], 20)
    before |= {str(finding) for finding in found_in_files(small).findings}
    missed = []
    for number, file in enumerate(whole + others):
        check = fsck if number < len(whole) else found_in_files
        raw = file.read_bytes()
        size = {"emptied": 0, "halved": len(raw) // 2, "one byte short": len(raw) - 1}
        damaged = None if how == "deleted" else raw[: size[how]]
        if not is_found(small, file, damaged, check, before):
            missed.append(file.relative_to(small))
    assert missed == []


def the_largest_chunk(folder: Path) -> Path:
    return max((folder / "chunks").iterdir(), key=lambda path: path.stat().st_size)


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """A copy of the repository that a test may ruin."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


def test_a_damaged_chunk_is_named_with_those_who_need_it_and_the_way_out(copy: Path) -> None:
    with zvv.Repository.open(copy).transaction() as tx:
        tx.writer("point_cloud").append_vertices_sync(_rich.points(np.random.default_rng(0), 5000))
    chunk = the_largest_chunk(copy)
    raw = bytearray(chunk.read_bytes())
    raw[len(raw) // 3] ^= 1
    chunk.write_bytes(raw)
    report = fsck(copy)
    assert not report.ok
    (finding,) = [f for f in report.faults if f.place == f"chunks/{chunk.name}"]
    assert finding.kind == "damaged"
    assert "in branch" in finding.what
    assert "zv_versioned." not in finding.remedy
    assert "copy of the repository" in finding.remedy
    # The contents say which batch it is.
    assert any("batch" in f.place and f.kind == "damaged" for f in report.faults)
    with pytest.raises(IntegrityError, match=chunk.name):
        report.raise_for_faults()
    assert f"{len(report.faults)} faults" in repr(report)


def test_the_way_back_that_is_named_leads_to_something_whole(tmp_path: Path) -> None:
    repo = zvv.Repository.create(tmp_path / "r")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=_rich.BOUNDS)
    for _ in range(3):
        with repo.transaction() as tx:
            tx.writer("p").append_vertices_sync(_rich.points(np.random.default_rng(0), 5000))
        newest = max((tmp_path / "r/chunks").iterdir(), key=lambda p: p.stat().st_mtime_ns)
    newest.unlink()
    (finding,) = [f for f in repo.fsck().faults if f.place.startswith("chunks/")]
    assert finding.kind == "missing"
    back = repo.resolve("main~1")
    assert f"reset_branch('main', to='{back}')" in finding.remedy
    assert repo.fsck(back).ok


def test_a_repository_that_cannot_be_opened_any_more_is_checked_all_the_same(copy: Path) -> None:
    root = root_of(copy)
    root.unlink()
    report = fsck(copy)
    assert not report.ok
    assert names(report, copy, root)
    assert any("copy of the repository" in finding.remedy for finding in report.faults)


def root_of(folder: Path) -> Path:
    """The file that leads to everything."""
    root = folder / "repo"
    return root if root.exists() else folder / "refs" / "branch.main" / "ref.json"


def test_a_check_does_not_make_damage_pass_for_whole(copy: Path) -> None:
    root, seals = root_of(copy), copy / "zv_versioned.seals"
    whole, sealed = root.read_bytes(), seals.read_bytes()
    for at in range(0, len(whole), len(whole) // 20 + 1):
        root.write_bytes(whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :])
        assert names(fsck(copy), copy, root), at
        assert names(fsck(copy), copy, root), at
        assert seals.read_bytes() == sealed
    root.write_bytes(whole)
    assert fsck(copy).ok


def test_damage_is_found_beside_damage_of_what_leads_to_it(copy: Path) -> None:
    root, chunk = root_of(copy), the_largest_chunk(copy)
    for file in (root, chunk):
        raw = bytearray(file.read_bytes())
        raw[-2] ^= 1
        file.write_bytes(raw)
    report = fsck(copy)
    assert names(report, copy, root)
    assert names(report, copy, chunk)


def test_a_place_that_never_was_a_repository_is_not_checked(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        fsck(tmp_path)


def test_what_does_not_belong_is_noted_and_is_no_fault(copy: Path) -> None:
    (copy / "notes.txt").write_text("mine")
    (copy / "chunks" / "HALF#1").write_bytes(b"unfinished")
    report = fsck(copy)
    assert report.ok
    kinds = {f.place: f.kind for f in report.findings}
    assert kinds["notes.txt"] == "foreign"
    assert kinds["chunks/HALF#1"] == "unused"


def test_a_damaged_chunk_that_nothing_needs_is_no_fault(copy: Path) -> None:
    everything = set((copy / "chunks").iterdir())
    needed = set(without_garbage(copy, sorted(everything)))
    garbage = sorted(everything - needed)
    assert garbage
    garbage[0].write_bytes(b"x" + garbage[0].read_bytes()[1:])
    report = fsck(copy)
    assert report.ok
    assert names(report, copy, garbage[0])


def test_other_peoples_arrays_beside_ours_are_let_be(copy: Path) -> None:
    import zarr

    repo = zvv.Repository.open(copy)
    session = repo._backend.begin("main")
    array = zarr.create_array(session.store, name="mine", shape=(4000,), chunks=(4000,), dtype="f8")
    array[:] = np.arange(4000)
    repo._backend.publish(session, "main", "an array of my own", {})
    report = fsck(copy)
    assert report.ok, report


# ---- what was never sealed ---------------------------------------------------


def test_a_commit_by_icechunk_alone_is_noted_and_can_be_sealed(copy: Path) -> None:
    repo = zvv.Repository.open(copy)
    session = repo._backend.begin("main")
    import zarr

    zarr.create_group(session.store, path="by-hand")
    session.commit("not through us")
    report = fsck(copy)
    assert {f.kind for f in report.findings} <= {*NOTES, "missing", "damaged"}
    repaired = fsck(copy, repair=True)
    assert "sealed" in " ".join(repaired.repaired) or not report.ok
    assert "unsealed" not in {f.kind for f in fsck(copy).findings}


def test_a_process_that_was_killed_before_it_sealed_is_made_up_for(copy: Path) -> None:
    repo = zvv.Repository.open(copy)
    seals = copy / "zv_versioned.seals"
    before = seals.read_bytes()
    with repo.transaction() as tx:
        tx.writer("point_cloud").append_vertices_sync(np.zeros((1, 3), "f4"))
    lost = repo.resolve("main")
    seals.write_bytes(before)
    with zvv.Repository.open(copy).transaction() as tx:
        tx.writer("point_cloud").append_vertices_sync(np.zeros((1, 3), "f4"))
    report = fsck(copy)
    assert report.ok, report
    assert f"snapshots/{lost}".encode() in seals.read_bytes()


def test_a_line_that_was_cut_short_is_found_and_taken_back_by_the_next_change(copy: Path) -> None:
    seals = copy / "zv_versioned.seals"
    whole = seals.read_bytes()
    seals.write_bytes(whole + b"0123abcd 12 0000")
    report = fsck(copy)
    assert [f.place for f in report.faults] == ["zv_versioned.seals"]
    zvv.Repository.open(copy).create_branch("another")
    assert fsck(copy).ok
    assert seals.read_bytes().startswith(whole)


def test_a_line_whose_name_is_no_text_any_more_is_found_and_stops_nobody(copy: Path) -> None:
    seals = copy / "zv_versioned.seals"
    raw = bytearray(seals.read_bytes())
    at = raw.find(b" refs/")
    raw[at + 8 if at >= 0 else raw.index(b" snapshots/") + 8] = 0xA0
    seals.write_bytes(raw)
    assert [f.place for f in fsck(copy).faults] == ["zv_versioned.seals"]
    zvv.Repository.open(copy).create_branch("another")


def test_damaged_seals_are_written_anew_on_request_and_damage_stays_known(copy: Path) -> None:
    chunk_less = sorted((copy / "manifests").iterdir())[0]
    raw = bytearray(chunk_less.read_bytes())
    raw[-1] ^= 1
    chunk_less.write_bytes(raw)
    seals = copy / "zv_versioned.seals"
    lines = seals.read_bytes().split(b"\n")
    first = next(i for i, line in enumerate(lines) if b"snapshots/" in line)
    lines[first] = lines[first].replace(b"snapshots", b"snapshotz")
    seals.write_bytes(b"\n".join(lines))
    report = fsck(copy, repair=True)
    assert {"zv_versioned.seals", f"manifests/{chunk_less.name}"} <= {
        f.place for f in report.faults
    }
    assert report.repaired
    after = fsck(copy)
    assert "zv_versioned.seals" not in {f.place for f in after.findings}
    assert f"manifests/{chunk_less.name}" in {f.place for f in after.faults}


def test_a_folder_that_is_read_only_can_be_checked(copy: Path) -> None:
    if os.name == "nt" or os.geteuid() == 0:
        pytest.skip("whoever may write everywhere cannot try this")
    copy.chmod(0o500)
    try:
        assert fsck(copy).ok
    finally:
        copy.chmod(0o700)


def test_what_cannot_be_opened_is_told_as_missing_or_as_damaged_by_what_the_error_says(
    copy: Path,
) -> None:
    root = root_of(copy)
    raw = root.read_bytes()
    root.write_bytes(b"\x00" * len(raw))
    (first, *_) = fsck(copy).findings
    assert (first.kind, first.place) == ("damaged", str(copy))
    assert "cannot be opened" in first.what
    root.unlink()
    with pytest.raises(IntegrityError) as caught:
        zvv.Repository.open(copy)
    assert caught.value.missing
    (first, *_) = fsck(copy).findings
    assert (first.kind, first.place) == ("missing", str(copy))


@pytest.mark.parametrize("missing", [True, False])
def test_the_words_of_an_error_do_not_decide_what_it_is(copy: Path, missing: bool) -> None:
    def refuse() -> zvv.Repository:
        raise IntegrityError("a checksum is missing, or is it?", missing=missing)

    (first, *_) = check_location(copy, refuse).findings
    assert first.kind == ("missing" if missing else "damaged")


def test_an_error_that_says_that_something_is_missing_says_so_in_another_process() -> None:
    error = pickle.loads(pickle.dumps(IntegrityError("gone", missing=True)))
    assert (str(error), error.missing) == ("gone", True)
    assert not IntegrityError("damaged").missing
