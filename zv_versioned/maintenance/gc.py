"""Collecting garbage: removing stored files that nobody needs, and none that somebody might."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._words import counted
from ..errors import IntegrityError, StorageError
from ..geometry import html_table
from ..storage import hidden, leases
from ..storage.carry import SHARES
from ..storage.presence import LONGEST, SKEW, TICK, record_collection
from ..storage.writers import oldest_writer
from .expire import moment
from .inventory import Inventory, listing
from .rescue import hiding
from .unused import KINDS, Unused, needed_manifests, superseded, unused

if TYPE_CHECKING:
    from ..repository import Repository
    from ..storage import Backend


@dataclass(frozen=True)
class Collection:
    """What :meth:`Repository.gc` removed, or would remove.

    Parameters
    ----------
    dry_run : bool
    older_than : datetime
        What is younger was not looked at.
    removed : mapping of str to int
        How many files of each kind.
    bytes_removed : int
    bytes_before, bytes_after : int or None
        All files of the repository; None on an object store, which does not say.
    """

    dry_run: bool
    older_than: datetime
    removed: Mapping[str, int] = field(default_factory=dict)
    bytes_removed: int = 0
    bytes_before: int | None = None
    bytes_after: int | None = None

    @property
    def files_removed(self) -> int:
        """Of all kinds."""
        return sum(self.removed.values())

    def to_dict(self) -> dict[str, Any]:
        """The result as plain values, for JSON."""
        when = self.older_than.isoformat()
        return {**self.__dict__, "older_than": when, "removed": dict(self.removed)}

    def _facts(self) -> list[tuple[str, str]]:
        facts = [
            ("removed", f"{counted(self.files_removed, 'file')}, {self.bytes_removed:,} bytes"),
            ("older than", self.older_than.isoformat()),
        ]
        if self.bytes_before is not None and self.bytes_after is not None:
            facts.append(("bytes", f"{self.bytes_before:,} before, {self.bytes_after:,} after"))
        facts += [(kind, f"{count:,}") for kind, count in self.removed.items() if count]
        return facts

    def __repr__(self) -> str:
        name = "Collection, dry run" if self.dry_run else "Collection"
        return f"<{name}: " + ", ".join(f"{k} {v}" for k, v in self._facts()) + ">"

    def _repr_html_(self) -> str:
        return html_table("Collection, dry run" if self.dry_run else "Collection", self._facts())


def gc(
    repository: Repository, older_than: datetime | timedelta | None, dry_run: bool
) -> Collection:
    """Remove what nobody needs; see :meth:`Repository.gc`."""
    now = datetime.now(UTC)
    backend = repository._backend
    asked = None if older_than is None else moment(older_than, now)
    if backend.folder is None:
        cutoff = cutoff_of(backend, asked, now)
        found, size = backend.collect(cutoff, dry_run=dry_run)
        return Collection(dry_run, cutoff, found, size)
    if not os.access(backend.folder, os.W_OK) and dry_run:
        return _dry(backend.folder, cutoff_of(backend, asked, now))
    with backend.mutation("collect garbage"):
        cutoff = cutoff_of(backend, asked, now)
        if dry_run:
            return _dry(backend.folder, cutoff)
        return _collect(backend, backend.folder, cutoff)


def cutoff_of(backend: Backend, asked: datetime | None, now: datetime) -> datetime:
    """The cutoff: as asked for, else as young as is safe.

    Raises
    ------
    StorageError
        If the one that was asked for is not safe.
    """
    limit, why = _limit(backend, now)
    if asked is None or (asked > limit and why == ""):
        return limit
    if asked > limit:
        raise StorageError(
            f"nothing younger than {limit.isoformat()} can be collected in {backend.location}, and "
            f"{asked.isoformat()} was asked for: {why}. Leave older_than= out to collect what is "
            "older than that"
        )
    return asked


def _limit(backend: Backend, now: datetime) -> tuple[datetime, str]:
    """The youngest cutoff that is safe, and for whose sake; "" where it is the clock's."""
    limits = [(now - TICK, "")]
    if backend.folder is None:
        why = (
            f"on an object store a transaction may be open for {LONGEST} without anybody knowing, "
            f"and clocks differ by up to {SKEW}"
        )
        limits.append((now - LONGEST - SKEW, why))
    else:
        writer = oldest_writer(backend.folder)
        if writer is not None:
            why = f"a transaction is open since {writer.began.isoformat()} ({writer.who})"
            limits.append((writer.began - TICK, why))
    margin = TICK if backend.is_local else SKEW
    for lease in leases.leases(backend):
        if lease.began is not None and lease.is_live(backend, now):
            until = lease.until.isoformat()
            limits.append((lease.began - margin, f"a transaction holds a lease until {until}"))
    return min(limits)


@dataclass(frozen=True)
class _Stock:
    """All files of a repository, and those that can go.

    Parameters
    ----------
    inventory : Inventory
    unused : Unused
    young : list of str
        Snapshots that no ref leads to any more, and that are younger than the cutoff.
        They stay, with all that they need: somebody may go back to them.
    broken : list of str
        The same, of which nobody can: they or what was before them have expired.
    """

    inventory: Inventory
    unused: Unused
    young: list[str]
    broken: list[str]


def _take_stock(folder: Path, cutoff: datetime) -> _Stock:
    """All files, and those that can go.

    Raises
    ------
    IntegrityError
        If what leads to files is damaged, so that it cannot be known.
    """
    inventory = Inventory.of(folder, earlier_states=False)
    in_use = inventory.reachable()
    others = inventory.snapshots.keys() - in_use
    young = [s for s in sorted(others) if _older(folder, f"snapshots/{s}", cutoff) is None]
    whole = {snapshot for snapshot in young if _is_whole(inventory, snapshot)}
    in_use |= whole
    chunks = needed_chunks(inventory, needed_manifests(inventory, in_use))
    hidden = hiding(inventory, in_use)
    if hidden:
        raise IntegrityError(
            f"no garbage is collected in {folder}, for what is needed cannot be known: "
            f"{', '.join(hidden[:3])} cannot be read. repo.fsck() says more; nothing was removed"
        )
    found = unused(inventory, in_use, chunks)
    # Of version 2 nobody finds them any more, and they go when they are old enough.
    broken = [] if inventory.refs.parents else sorted(set(young) - whole)
    return _Stock(inventory, found, sorted(whole), broken)


def needed_chunks(inventory: Inventory, manifests: Set[str]) -> set[bytes]:
    """The chunks in some manifests; one that cannot be read is noted in the inventory."""
    found: set[bytes] = set()
    for manifest in sorted(manifests):
        for refs in (inventory.manifest(manifest) or {}).values():
            found.update(refs.chunks())
    return found


def _is_whole(inventory: Inventory, snapshot: str) -> bool:
    """Whether one can go back to a snapshot that no ref leads to any more."""
    known = inventory.refs.parents
    if known and snapshot not in known:
        return False  # icechunk 2 has forgotten it
    if not all(before in inventory.snapshots for before in inventory.ancestry(snapshot)):
        return False
    manifests = inventory.snapshots[snapshot].manifests
    return all(f"manifests/{manifest}" in inventory.sizes for manifest in manifests)


def _older(folder: Path, path: str, cutoff: datetime) -> int | None:
    """The size of a file that is older than the cutoff; else None."""
    try:
        at = os.stat(folder / path)
    except FileNotFoundError:
        return None
    return at.st_size if at.st_mtime < cutoff.timestamp() else None


def _dry(folder: Path, cutoff: datetime) -> Collection:
    stock = _take_stock(folder, cutoff)
    inventory, found = stock.inventory, stock.unused
    count: Counter[str] = Counter()
    total = 0
    for kind, path in found.paths():
        size = _older(folder, path, cutoff)
        if size is not None:
            count[kind] += 1
            total += size
    before = sum(inventory.sizes.values())
    removed = {kind: count[kind] for kind in KINDS}
    return Collection(True, cutoff, removed, total, before, before - total)


def _collect(backend: Backend, folder: Path, cutoff: datetime) -> Collection:
    for name in hidden.names(backend, hidden.CARRY):
        hidden.let_go(backend, name)  # of somebody who was killed: they live under the lock alone
    stock = _take_stock(folder, cutoff)
    inventory, found = stock.inventory, stock.unused
    before = sum(inventory.sizes.values())
    listed = {kind: {p for p in found.of[kind] if _older(folder, p, cutoff) is not None}
              for kind in KINDS}  # fmt: skip
    listed["snapshots"] |= {f"snapshots/{snapshot}" for snapshot in stock.broken}
    record_collection(folder, cutoff)
    # icechunk has to forget its snapshots itself; what it leaves is removed here.
    with _kept(backend, stock.young):
        backend.collect(cutoff, dry_run=False)
    for kind, paths in listed.items():
        if kind != "overwritten":
            _remove(folder, paths)
    backend.seal()
    now = Inventory(folder, sizes=_sizes(folder, "overwritten"))
    fresh = {p for p in superseded(now) if p in inventory.sizes}
    if backend.ledger is not None and not backend.ledger.root_fits():
        fresh = set()  # it could not be sealed, and an earlier state alone says that it is whole
    listed["overwritten"] = {p for p in fresh if _older(folder, p, cutoff) is not None}
    _remove(folder, listed["overwritten"])
    _remove_empty(folder / "refs")
    backend.seal()
    if backend.ledger is not None:
        backend.ledger.forget_absent()
    after = sum(size for _, size in listing(folder))
    removed = {kind: len(listed[kind]) for kind in KINDS}
    sizes = inventory.sizes
    total = sum(sizes.get(p, 0) for paths in listed.values() for p in paths)
    return Collection(False, cutoff, removed, total, before, after)


@contextmanager
def _kept(backend: Backend, snapshots: list[str]) -> Iterator[None]:
    """Keep snapshots that no ref leads to: icechunk 1 would leave them without their chunks."""
    names = [] if SHARES else [f"{hidden.CARRY}{snapshot}" for snapshot in snapshots]
    for name, snapshot in zip(names, snapshots, strict=False):
        hidden.keep(backend, name, snapshot)
    try:
        yield
    finally:
        for name in names:
            hidden.let_go(backend, name)


def _remove(folder: Path, paths: set[str]) -> None:
    for path in sorted(paths):
        try:
            os.unlink(folder / path)
        except FileNotFoundError:
            continue  # icechunk removed it
        except OSError as error:
            raise StorageError(
                f"{folder / path}, which nothing needs, cannot be removed: {error}. What is needed "
                "is all there; do it again when it can be"
            ) from error


def _remove_empty(refs: Path) -> None:
    """Remove the folders of refs that were deleted: icechunk 1 leaves them."""
    for path in refs.glob("*") if refs.is_dir() else ():
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def _sizes(folder: Path, below: str) -> dict[str, int]:
    return {path: size for path, size in listing(folder) if path.startswith(f"{below}/")}
