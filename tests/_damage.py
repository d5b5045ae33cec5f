"""Damage done to stored files, one at a time, and whether a check finds it."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _rich

import zv_versioned as zvv
from zv_versioned.maintenance.files import FileCheck
from zv_versioned.maintenance.fsck import check_location

Check = Callable[[Path], zvv.FsckReport]


def fsck(folder: Path, **options: Any) -> zvv.FsckReport:
    """As the command line does it: also where the repository cannot be opened any more."""
    return check_location(folder, lambda: zvv.Repository.open(folder), **options)


def found_in_files(folder: Path) -> zvv.FsckReport:
    """The part of a check that looks at files; the rest cannot see what lies beside the data."""
    findings = FileCheck(folder, True, None, lambda *_: None).run()
    return zvv.FsckReport(str(folder), findings)


def stored(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size)


def names(report: zvv.FsckReport, folder: Path, file: Path) -> bool:
    """Whether a report has something to say of a file."""
    path = file.relative_to(folder).as_posix()
    lost_state = path.startswith("overwritten/") and any(
        f.place == "overwritten" for f in report.findings
    )
    return lost_state or any(f.place == path or path in f.what for f in report.findings)


def is_found(
    folder: Path, file: Path, damaged: bytes | bytearray | None, check: Check, before: set[str]
) -> bool:
    """Whether a check says more than `before` of a file that is damaged meanwhile; None: gone."""
    raw = file.read_bytes()
    if damaged is None:
        file.unlink()
    else:
        file.write_bytes(damaged)
    try:
        report = check(folder)
    finally:
        file.write_bytes(raw)
    report.findings = [f for f in report.findings if str(f) not in before]
    return names(report, folder, file)


def flip(folder: Path, seed: int, times: int, check: Check) -> list[str]:
    """Flip bits of one byte in a file, check, put it back, and again; returns what was missed."""
    rng = random.Random(seed)
    files = stored(folder)
    before = {str(finding) for finding in check(folder).findings}
    missed = []
    for _ in range(times):
        file = rng.choice(files)
        damaged = bytearray(file.read_bytes())
        at, bits = rng.randrange(len(damaged)), rng.randrange(1, 256)
        damaged[at] ^= bits
        if not is_found(folder, file, damaged, check, before):
            missed.append(f"{file.relative_to(folder)} byte {at} ^ {bits} (seed {seed})")
    return missed


def flip_in_one_of(kind: str, folder: Path, seed: int, times: int) -> list[str]:
    """Make a repository of one kind and flip bytes of it, each found by a whole check or not."""
    _rich.make(folder, kinds=(kind,), n=60)
    return [f"{kind}: {missed}" for missed in flip(folder, seed, times, fsck)]
