"""Checking every stored file of a local repository: is it there, and is it what was written?

icechunk checks next to nothing of this by itself. Its own files have seals
(:mod:`zv_versioned.storage.seals`), chunks have checksums
(:mod:`zv_versioned.maintenance.chunk_files`), and between them these cover every byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from .._words import counted
from ..storage.files import object_id
from ..storage.lineage import ROOT_ID
from ..storage.lock import HOLDER_FILE, LOCK_FILE, note_is_whole
from ..storage.notes import read_note, sealed_note
from ..storage.presence import LEASES
from ..storage.seals import SEALS_FILE
from .chunk_files import BadChunk, ChunkFiles, Wanted
from .inventory import Inventory
from .report import DAMAGED, FOREIGN, MISSING, UNSEALED, UNUSED, Finding, Progress
from .rescue import RESTORE, Rescue
from .unused import KINDS, STAGING, Unused, needed_manifests, unused

_ICECHUNK = ("chunks/", "manifests/", "snapshots/", "transactions/", "refs/", "overwritten/")
_HARMLESS = "Does no harm; repo.gc() removes it once it is old enough"

_WHAT = {
    "chunks": ("chunk", "chunks"),
    "manifests": ("manifest", "manifests"),
    "snapshots": ("snapshot", "snapshots"),
    "transactions": ("transaction log", "transaction logs"),
    "writers": (
        "note of a transaction whose process is gone",
        "notes of transactions whose processes are gone",
    ),
}


class FileCheck:
    """One pass over the files of a repository.

    Parameters
    ----------
    folder : Path
    read_data : bool
        Whether to read chunks, not only see that they are there.
    subset : (n, m), optional
        Which part of the chunks to read.
    progress : callable
        Told what is done, how much of it, and of how much.
    only : set of str, optional
        The chunks' files to read, where not all of the part.

    Attributes
    ----------
    inventory : Inventory
    bytes_read : int
    """

    def __init__(
        self,
        folder: Path,
        read_data: bool,
        subset: tuple[int, int] | None,
        progress: Progress,
        only: frozenset[str] | None = None,
    ) -> None:
        self.folder = folder
        self.inventory = Inventory.of(folder)
        wanted = Wanted(read_data, subset, only)
        self._chunks = ChunkFiles(folder, self.inventory, wanted, progress)

    @property
    def bytes_read(self) -> int:
        return self._chunks.bytes_read + self.inventory.read

    def run(self) -> list[Finding]:
        """Check everything; faults first."""
        in_use = self.inventory.reachable()
        self._chunks.read_manifests(needed_manifests(self.inventory, in_use))
        self._rescue = Rescue(self.inventory, in_use)
        bad = self._chunks.bad()
        users = self._users(bad) if bad else {}
        found = [
            *self._refs(),
            *self._snapshots(),
            *self._damaged(),
            *self._manifests(),
            *self._chunk_findings(bad, users),
            *self._damaged_unused(),
            *self._seals_file(),
            *self._unsealed(),
            *self._sealed_and_gone(),
            *self._unused(),
            *self._others(),
        ]
        if self._rescue.hidden_by:
            found = [finding for finding in found if finding.kind != UNUSED]
        found += self._rescue.findings()
        return sorted(found, key=lambda finding: not finding.is_fault)

    def unsound(self) -> set[str] | None:
        """Snapshots that icechunk cannot read; None where that holds of all of them."""
        inventory = self.inventory
        damaged = inventory.unreadable.keys()
        if not damaged.isdisjoint(("repo", "config.yaml", "refs/branch.main/ref.json")):
            return None
        if inventory.lost_root():
            return None
        bad = set()
        for snapshot in self._rescue.in_use:
            known = inventory.snapshots.get(snapshot)
            if known is None or any(
                f"manifests/{m}" in damaged or f"manifests/{m}" not in inventory.sizes
                for m in known.manifests
            ):
                bad.add(snapshot)
        return bad

    # -- chunks --------------------------------------------------------------

    def _chunk_findings(
        self, bad: Mapping[bytes, BadChunk], users: Mapping[bytes, set[str]]
    ) -> Iterator[Finding]:
        rescue = self._rescue
        for chunk, (kind, why, of) in bad.items():
            path, snapshots = f"chunks/{object_id(chunk)}", users[chunk]
            if snapshots or rescue.hidden_by:
                what = why + of + rescue.needed(snapshots)
                yield Finding(kind, path, what, rescue.way(snapshots))
            else:
                yield Finding(UNUSED, path, f"{why}{of}; no snapshot needs it", _HARMLESS)

    def _damaged_unused(self) -> Iterator[Finding]:
        """Chunks that no manifest names, where they are not whole."""
        for path, why in self._chunks.damaged_unnamed():
            if self._rescue.hidden_by:
                yield Finding(DAMAGED, path, why + self._rescue.needed(set()), RESTORE)
            else:
                what = f"no snapshot needs it, and it is not whole ({why})"
                yield Finding(UNUSED, path, what, _HARMLESS)

    def _unused(self) -> Iterator[Finding]:
        """What nobody needs, by kind: just what a collection removes."""
        sizes = self.inventory.sizes
        found: Unused = unused(self.inventory, self._rescue.in_use, self._chunks.needed)
        for kind in KINDS:
            paths = [path for path in found.of[kind] if path in sizes]
            # Earlier states of `repo` are there from the second change on; `stats` counts them.
            if paths and kind not in ("unfinished", "overwritten"):
                total = sum(sizes[path] for path in paths)
                place = LEASES if kind == "writers" else kind
                these = counted(len(paths), *_WHAT[kind])
                what = f"{these}, {total:,} bytes, which nothing needs"
                yield Finding(UNUSED, place, what, "This does no harm; repo.gc() removes it")

    def _users(self, chunks: Iterable[bytes]) -> dict[bytes, set[str]]:
        """The snapshots that need each of some damaged chunks; these are whole no more."""
        wanted = set(chunks)
        users: dict[bytes, set[str]] = {chunk: set() for chunk in wanted}
        of_manifest: dict[str, set[str]] = {}
        for snapshot in self._rescue.known():
            for manifest in self.inventory.snapshots[snapshot].manifests:
                of_manifest.setdefault(manifest, set()).add(snapshot)
        for manifest, snapshots in of_manifest.items():
            for refs in (self.inventory.manifest(manifest) or {}).values():
                for chunk in wanted.intersection(refs.chunks()):
                    users[chunk] |= snapshots
                    self._rescue.bad_manifests.add(manifest)
        return users

    # -- what leads to them --------------------------------------------------

    def _refs(self) -> Iterator[Finding]:
        inventory = self.inventory
        if inventory.lost_root():
            yield Finding(
                MISSING, "repo", "the file that leads to everything is gone",
                self._root_again(),
            )  # fmt: skip
        elif "main" not in inventory.refs.branches and "repo" not in inventory.unreadable:
            place = "refs/branch.main/ref.json"
            if place not in inventory.unreadable and place not in inventory.sealed.seals:
                yield Finding(MISSING, place, "there is no branch main", RESTORE)

    def _root_again(self) -> str:
        """How to have the file `repo` again."""
        state = self.inventory.newest_state()
        if state is None:
            return RESTORE
        return (
            f"{RESTORE}; or keep it elsewhere and copy {state} to its place: the newest state "
            "before it that is whole, without what was changed last"
        )

    def _snapshots(self) -> Iterator[Finding]:
        inventory = self.inventory
        for snapshot in sorted(self._rescue.in_use):
            path = f"snapshots/{snapshot}"
            if path not in inventory.sizes:
                what = f"the snapshot's file is not there{self._rescue.needed({snapshot})}"
                yield Finding(MISSING, path, what, self._rescue.way({snapshot}))
            log = f"transactions/{snapshot}"
            if log not in inventory.sizes and (
                log in inventory.sealed.seals or snapshot != ROOT_ID
            ):
                what = "what the snapshot changed is not recorded any more; reading is not affected"
                yield Finding(MISSING, log, what, RESTORE)

    def _manifests(self) -> Iterator[Finding]:
        inventory = self.inventory
        users: dict[str, set[str]] = {}
        for snapshot in self._rescue.known():
            for manifest in inventory.snapshots[snapshot].manifests:
                if f"manifests/{manifest}" not in inventory.sizes:
                    users.setdefault(manifest, set()).add(snapshot)
        for manifest, snapshots in sorted(users.items()):
            needed = self._rescue.needed(snapshots)
            what = f"the file that says where chunks lie is not there{needed}"
            yield Finding(MISSING, f"manifests/{manifest}", what, self._rescue.way(snapshots))

    def _damaged(self) -> Iterator[Finding]:
        inventory, rescue = self.inventory, self._rescue
        for path, why in sorted(inventory.unreadable.items()):
            folder, _, name = path.partition("/")
            snapshots: set[str] = set()
            if folder in ("snapshots", "transactions") and name in rescue.in_use:
                snapshots = {name}
            elif folder == "manifests":
                snapshots = {
                    snapshot
                    for snapshot in rescue.known()
                    if name in inventory.snapshots[snapshot].manifests
                }
            way = RESTORE
            if path == "repo":
                way = self._root_again()
            elif folder == "overwritten":
                way = "It is an earlier state of the file repo, which does no harm"
            elif folder == "transactions":
                way += "; reading is not affected"
            elif snapshots:
                way = rescue.way(snapshots)
            of_data = snapshots or folder in KINDS[:4]
            yield Finding(DAMAGED, path, why + (rescue.needed(snapshots) if of_data else ""), way)

    # -- everything else -----------------------------------------------------

    def _seals_file(self) -> Iterator[Finding]:
        sealed = self.inventory.sealed
        if sealed.damaged:
            lines = ", ".join(map(str, sealed.damaged[:5]))
            what = f"{counted(len(sealed.damaged), 'damaged line')} (line {lines})"
            yield Finding(DAMAGED, SEALS_FILE, what, "fsck with repair=True writes it anew")
        if sealed.torn:
            what = "the last line was cut short: a process was killed as it wrote it"
            yield Finding(DAMAGED, SEALS_FILE, what, "The next change takes it back")
        if self.inventory.sizes.get(SEALS_FILE) == 0:
            # Whoever makes it writes to it, and it is never written anew without a line.
            what = "it is empty, and a line was written into it with every change"
            way = "fsck with repair=True seals all that can be read, as it is"
            yield Finding(DAMAGED, SEALS_FILE, what, way)

    def _unsealed(self) -> Iterator[Finding]:
        """Files that the seals say nothing of, or something else."""
        unsealed = sorted(set(self.inventory.unsealed))
        if unsealed:
            shown = ", ".join(unsealed[:3]) + (", …" if len(unsealed) > 3 else "")
            files = counted(len(unsealed), "file")
            what = (
                f"says nothing of {files} ({shown}); what is there can be read; whether "
                "it is as it was written cannot be told"
            )
            way = "fsck with repair=True seals them as they are"
            yield Finding(UNSEALED, SEALS_FILE, what, way)
        if self.inventory.set_back:
            what = "it is an earlier state of itself that was put back, without what was done since"
            way = "The next change seals it, or fsck with repair=True"
            yield Finding(UNSEALED, "repo", what, way)

    def _sealed_and_gone(self) -> Iterator[Finding]:
        inventory = self.inventory
        for path in sorted(inventory.sealed.seals.keys() - inventory.sizes.keys()):
            folder, _, name = path.partition("/")
            if path == "repo":
                continue  # said already
            if path == "config.yaml" or folder == "refs":
                yield Finding(MISSING, path, "the file is not there", RESTORE)
            elif folder == "overwritten" or not self._is_needed(folder, name):
                if self._rescue.hidden_by and folder != "overwritten":
                    what = f"the file is not there{self._rescue.needed(set())}"
                    yield Finding(MISSING, path, what, RESTORE)
                else:
                    what = "it was removed by somebody else; nothing needs it"
                    yield Finding(UNUSED, path, what, "its seal does no harm")
        lost = inventory.lost_states() - len(inventory.strays)
        if lost > 0:
            what = f"{counted(lost, 'earlier state')} of the file repo, gone; nothing needs them"
            yield Finding(UNUSED, "overwritten", what, "their seals do no harm")

    def _note(self, path: str) -> bytes:
        try:
            return (self.folder / path).read_bytes()
        except FileNotFoundError:
            return sealed_note({})  # its transaction has ended

    def _is_needed(self, folder: str, name: str) -> bool:
        """Whether a file is of a snapshot in use, or a manifest of one."""
        snapshots = self.inventory.snapshots
        return name in self._rescue.in_use or (
            folder == "manifests"
            and any(name in snapshots[snapshot].manifests for snapshot in self._rescue.known())
        )

    def _others(self) -> Iterator[Finding]:
        for path, size in sorted(self.inventory.sizes.items()):
            if STAGING.search(path):
                what = f"a file of {size:,} bytes that was never finished"
                yield Finding(UNUSED, path, what, _HARMLESS)
            elif path == HOLDER_FILE:
                if not note_is_whole((self.folder / path).read_bytes()):
                    what = "the note of who changed the repository last is damaged; nobody needs it"
                    yield Finding(DAMAGED, path, what, "The next change writes it anew")
            elif path.startswith(f"{LEASES}/"):
                if read_note(self._note(path)) is None:
                    what = "the note of an open transaction, or of a collection, is damaged"
                    yield Finding(DAMAGED, path, what, "Once no transaction is open, remove it")
            elif not (
                path.startswith(_ICECHUNK) or path in ("repo", "config.yaml", LOCK_FILE, SEALS_FILE)
            ):
                what = f"a file of {size:,} bytes that is no part of the repository"
                yield Finding(FOREIGN, path, what, "Remove it if you do not know it")
        for path in (LOCK_FILE, HOLDER_FILE):
            if path not in self.inventory.sizes:
                yield Finding(UNUSED, path, "it is not there", "The next change makes it")
