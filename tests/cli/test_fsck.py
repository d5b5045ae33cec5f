"""``zv-versioned fsck``"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from _cli import failed, run, run_csv, run_json, run_lines


def the_largest_chunk(folder: Path) -> Path:
    return max((folder / "chunks").iterdir(), key=lambda path: path.stat().st_size)


def flip(file: Path) -> None:
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 0x10
    file.write_bytes(raw)


def test_nothing_is_wrong(known: Any) -> None:
    assert run("fsck", "-r", known.path).startswith("nothing is wrong\n")
    data = run_json("fsck", "-r", known.path)
    assert (data["ok"], data["findings"], data["repaired"]) == (True, [], [])
    assert (data["batches"], data["vertices"], data["data_read"]) == (2, 20, "all")
    assert data["files"] > 10


def test_a_flipped_byte_ends_it_with_23_and_is_named(known: Any) -> None:
    chunk = the_largest_chunk(known.path)
    flip(chunk)
    text = run("fsck", "-r", known.path, code=23)
    assert f"damaged: chunks/{chunk.name}" in text
    data = run_json("fsck", "-r", known.path, code=23)
    assert not data["ok"]
    place = f"chunks/{chunk.name}"
    (finding,) = [f for f in data["findings"] if f["place"] == place]
    assert finding["kind"] == "damaged"
    assert "copy of the repository" in finding["remedy"]


def test_findings_are_the_rows(known: Any) -> None:
    (known.path / "stray.txt").write_text("mine")
    (row,) = run_lines("fsck", "-r", known.path)
    assert (row["kind"], row["place"]) == ("foreign", "stray.txt")
    (cells,) = run_csv("fsck", "-r", known.path)
    assert cells == row


def test_without_data_and_with_a_part_of_it(known: Any) -> None:
    none = run_json("fsck", "--no-data", "-r", known.path)
    assert (none["vertices"], none["data_read"]) == (0, "none")
    parts = [run_json("fsck", "--read-data-subset", f"{n}/2", "-r", known.path) for n in (1, 2)]
    assert sum(part["vertices"] for part in parts) == 20
    assert parts[1]["data_read"] == "2/2"


@pytest.mark.parametrize("part", ["3", "0/2", "3/2", "a/b", "-1/2", "1/2/3"])
def test_a_part_that_is_none_is_refused(known: Any, part: str) -> None:
    assert "N/M" in failed("fsck", f"--read-data-subset={part}", "-r", known.path, code=2)


def test_one_snapshot_alone(known: Any) -> None:
    data = run_json("fsck", "main~1", "-r", known.path)
    assert (data["snapshots"], data["batches"]) == (1, 1)
    failed("fsck", "nothing", "-r", known.path, code=40)


def test_a_repository_that_cannot_be_opened_is_checked(known: Any) -> None:
    for lost in (known.path / "repo", known.path / "refs" / "branch.main" / "ref.json"):
        if lost.exists():
            lost.unlink()
    data = run_json("fsck", "-r", known.path, code=23)
    assert data["findings"][0]["place"] == str(known.path)
    assert {f["kind"] for f in data["findings"]} >= {"missing"}


def test_where_no_repository_ever_was_there_is_nothing_to_check(tmp_path: Path) -> None:
    failed("fsck", "-r", tmp_path / "nothing", code=40)


def test_seals_are_written_anew_on_request(known: Any) -> None:
    seals = known.path / "zv_versioned.seals"
    flip(seals)
    run("fsck", "-r", known.path, code=23)
    data = run_json("fsck", "--repair", "-r", known.path, code=23)
    assert data["repaired"]
    assert run_json("fsck", "-r", known.path)["ok"]


def test_seals_that_were_emptied_are_a_fault_with_the_command_that_mends_it(known: Any) -> None:
    seals = known.path / "zv_versioned.seals"
    seals.write_bytes(b"")
    (known.path / "x\x1b[31m").write_text("mine")
    text = run("fsck", "-r", known.path, code=23)
    assert "\x1b" not in text
    assert "damaged: zv_versioned.seals" in text
    assert "zvv fsck --repair seals all that can be read" in text
    (known.path / "x\x1b[31m").unlink()
    repaired = run("fsck", "--repair", "-r", known.path, code=23)
    assert "sealed" in repaired
    assert run("fsck", "-r", known.path).startswith("nothing is wrong\n")
    assert seals.stat().st_size > 0
