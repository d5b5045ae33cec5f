"""Checking a repository: every file, every index, every cell, and what is said of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import _checks
from ..errors import IntegrityError, MetadataError, NotFoundError, StorageError, ZVError
from ..storage import hidden
from ..storage.lock import HOLDER_FILE
from .content import ContentCheck
from .files import FileCheck
from .repair import repair_counts, repair_seals
from .report import DAMAGED, INCONSISTENT, MISSING, Finding, FsckReport, Progress

if TYPE_CHECKING:
    from ..repository import Repository
    from ..storage import Backend

_RECOUNT = "fsck with repair=True counts again and commits it"
_RESTORE = "Restore what is missing or damaged from a copy of the repository"


def check_subset(subset: object) -> tuple[int, int] | None:
    """Two numbers, n and m: the n-th of m parts; None stands for all.

    Raises
    ------
    MetadataError
        If it is none of these, or n is not from 1 to m.
    """
    if subset is None:
        return None
    if isinstance(subset, tuple) and [type(part) for part in subset] == [int, int]:
        n, m = subset
        if 1 <= n <= m:
            return n, m
    raise MetadataError(
        f"subset is (n, m), the n-th of m parts of the data, such as (1, 10); got {subset!r}"
    )


def quiet(what: str, done: int, of: int) -> None:
    """Tell nobody of progress."""


def check(
    repository: Repository,
    ref: str | None,
    *,
    read_data: bool,
    subset: tuple[int, int] | None,
    repair: bool,
    progress: Progress | None,
) -> FsckReport:
    """Check a repository; see :meth:`Repository.fsck`."""
    subset = check_subset(subset)
    _checks.flags(read_data=read_data, repair=repair)
    tell = progress or quiet
    backend = repository._backend
    report = FsckReport(backend.location, data_read=_data_read(read_data, subset))
    unsound: set[str] | None = set()
    if ref is None and backend.folder is not None:
        unsound = _files(report, backend.folder, read_data, subset, tell, backend, repair)
    content = ContentCheck(read_data, subset)
    snapshots: list[str] = []
    if ref is not None:
        snapshots = [repository.resolve(ref)]
    elif unsound is not None:
        snapshots = [s for s in _all(backend, report, unsound) if s not in unsound]
    for number, snapshot in enumerate(snapshots):
        tell("snapshots", number, len(snapshots))
        report.extend(_content(backend, content, snapshot))
    report.snapshots, report.batches = content.snapshots, content.batches
    report.vertices = content.vertices
    report.bytes_read += content.bytes_read
    if repair and any(finding.kind == INCONSISTENT for finding in report.findings):
        report.repaired += repair_counts(repository)
    return report


def check_location(
    location: str | os.PathLike[str],
    open_it: Callable[[], Repository],
    *,
    ref: str | None = None,
    read_data: bool = True,
    subset: tuple[int, int] | None = None,
    repair: bool = False,
    progress: Progress | None = None,
) -> FsckReport:
    """Check what may be too damaged to be opened; then its files alone.

    Parameters
    ----------
    location : str or os.PathLike
    open_it : callable
        Opens the repository.
    ref, read_data, subset, repair, progress
        As in :meth:`Repository.fsck`.

    Raises
    ------
    NotFoundError
        If nothing there is a repository, nor looks as if it had been one.
    """
    check_subset(subset)
    _checks.flags(read_data=read_data, repair=repair)
    try:
        repository = open_it()
    except ZVError as error:
        folder = Path(os.path.abspath(os.path.expanduser(os.fspath(location))))
        was = (folder / "snapshots").is_dir() or (folder / "zv_versioned.seals").exists()
        if "://" in os.fspath(location) or not was:
            raise
        report = FsckReport(str(folder), data_read=_data_read(read_data, subset))
        tell = progress or quiet
        _files(report, folder, read_data, subset, tell, None, repair=False)
        lost = isinstance(error, NotFoundError) or (
            isinstance(error, IntegrityError) and error.missing
        )
        kind = MISSING if lost else DAMAGED
        what = f"it cannot be opened: {error}"
        report.findings.insert(0, Finding(kind, str(folder), what, _RESTORE))
        return report
    return check(
        repository,
        ref,
        read_data=read_data,
        subset=subset,
        repair=repair,
        progress=progress,
    )


def _data_read(read_data: bool, subset: tuple[int, int] | None) -> str:
    if not read_data:
        return "none"
    return "all" if subset is None else f"{subset[0]}/{subset[1]}"


def _files(
    report: FsckReport,
    folder: Path,
    read_data: bool,
    subset: tuple[int, int] | None,
    tell: Progress,
    backend: Backend | None,
    repair: bool,
) -> set[str] | None:
    """Check the files of a folder; what is found while others write is looked at once more."""
    checked = FileCheck(folder, read_data, subset, tell)
    findings = checked.run()
    writable = backend is not None and os.access(folder, os.W_OK)
    faults = [finding for finding in findings if finding.is_fault]
    # To take the lock is to write a new note of who holds it.
    suspects = frozenset(finding.place for finding in faults) - {HOLDER_FILE}
    if backend is not None and writable and (repair or suspects):
        # Nothing may be sealed by it: what is damaged would pass for whole from then on.
        with backend.holding("check the files"):
            if suspects:
                # Where what leads to chunks is damaged, they seem to be of no use, and no faults.
                chunks = {f.place for f in findings if f.place.startswith("chunks/")}
                checked = FileCheck(folder, read_data, subset, tell, only=suspects | chunks)
                note = [finding for finding in faults if finding.place == HOLDER_FILE]
                findings = note + checked.run()
            if repair and backend.ledger is not None:
                report.repaired += repair_seals(backend.ledger, checked.inventory)
    report.extend(findings)
    report.files = len(checked.inventory.sizes)
    report.bytes_read += checked.bytes_read
    return checked.unsound()


def _all(backend: Backend, report: FsckReport, unsound: set[str]) -> list[str]:
    """All snapshots that anything leads to, the tips first."""
    tips: dict[str, str] = {}
    told = {finding.place for finding in report.findings}
    named = [("branch", backend.branch_tip, name) for name in backend.branches()]
    named += [("tag", backend.tag_target, name) for name in backend.tags()]
    for kind, lookup, name in named:
        ref = f"{kind} {name}"
        try:
            tips[ref] = lookup(name)
        except ZVError as error:
            if f"refs/{kind}.{name}/ref.json" not in told:
                report.findings.append(Finding(DAMAGED, ref, str(error), _RESTORE))
    try:
        tips.update(hidden.targets(backend))
    except ZVError as error:
        report.findings.append(Finding(DAMAGED, "refs", str(error), _RESTORE))
    found = dict.fromkeys(tips.values())
    for ref, tip in tips.items():
        try:
            if tip in unsound:
                continue  # what is wrong with it was said
            for info in backend.ancestry(tip):
                if info.id in found and info.id != tip:
                    break
                found[info.id] = None
        except ZVError as error:
            what = f"its history cannot be followed: {error}"
            report.findings.append(Finding(DAMAGED, ref, what, _RESTORE))
    return list(found)


def _content(backend: Backend, content: ContentCheck, snapshot: str) -> Iterator[Finding]:
    try:
        store: Any = backend.view_store(snapshot)
        faults = list(content.snapshot(store))
    except ZVError as error:
        if isinstance(error, StorageError) and not backend.is_local:
            raise
        yield Finding(DAMAGED, f"snapshot {snapshot}", str(error), _RESTORE)
        return
    for fault in faults:
        way = _RECOUNT if fault.kind == INCONSISTENT else _RESTORE
        yield Finding(fault.kind, f"snapshot {snapshot}, {fault.where}", fault.what, way)
