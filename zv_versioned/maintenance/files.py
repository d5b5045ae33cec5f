"""Checking every stored file of a local repository: is it there, and is it what was written?

icechunk checks next to nothing of this by itself. Its own files have seals
(:mod:`zv_versioned.storage.seals`), chunks have a CRC-32C in each cell and in
each shard's index, and between them these cover every byte.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from .._words import counted
from ..errors import IntegrityError
from ..format import cells, shards
from ..format.cells import CellCodec
from ..storage.files import Node, object_id
from ..storage.lineage import ROOT_ID
from ..storage.lock import HOLDER_FILE, LOCK_FILE, note_is_whole
from ..storage.notes import read_note, sealed_note
from ..storage.presence import LEASES
from ..storage.seals import SEALS_FILE
from .inventory import Inventory, chunk_ids
from .report import DAMAGED, FOREIGN, MISSING, UNSEALED, UNUSED, Finding
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

Progress = Callable[[str, int, int], None]


def in_subset(name: str, subset: tuple[int, int] | None) -> bool:
    """Whether something belongs to the n-th of m parts of all data."""
    return subset is None or zlib.crc32(name.encode()) % subset[1] == subset[0] - 1


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
        self._only = only
        self.folder = folder
        self.inventory = Inventory.of(folder)
        self._read_data = read_data
        self._subset = subset
        self._progress = progress
        self._chunks: dict[bytes, tuple[int, bytes]] = {}
        self._needed_chunks: set[bytes] = set()
        self.bytes_read = 0

    def run(self) -> list[Finding]:
        """Check everything; faults first."""
        in_use = self.inventory.reachable()
        self._read_manifests(in_use)
        self._rescue = Rescue(self.inventory, in_use)
        damaged_chunks = self._check_chunks()
        users = self._users(damaged_chunks) if damaged_chunks else {}
        found = [
            *self._refs(),
            *self._snapshots(),
            *self._damaged(),
            *self._manifests(),
            *self._chunk_findings(damaged_chunks, users),
            *self._damaged_unused(),
            *self._seals(),
            *self._unused(),
            *self._others(),
        ]
        if self._rescue.hidden_by:
            found = [finding for finding in found if finding.kind != UNUSED]
        found += self._rescue.findings()
        self.bytes_read += self.inventory.read
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

    def _read_manifests(self, in_use: set[str]) -> None:
        names = [path.removeprefix("manifests/") for path in self.inventory.below("manifests/")]
        needed = needed_manifests(self.inventory, in_use)
        for number, name in enumerate(names):
            arrays = self.inventory.manifest(name)
            for node, refs in (arrays or {}).items():
                ids, ends = chunk_ids(refs)
                if name in needed:
                    self._needed_chunks.update(ids)
                for chunk, end in zip(ids, ends.tolist(), strict=True):
                    self._chunks[chunk] = max(end, self._chunks.get(chunk, (0, b""))[0]), node
                for raw in refs.inline:
                    if raw is not None and self._read_data:
                        self._inline(name, node, raw)
            if number % 64 == 0:
                self._progress("manifests", number, len(names))

    def _inline(self, manifest: str, node: bytes, raw: bytes) -> None:
        try:
            check_chunk(memoryview(raw), self.inventory.nodes.get(node))
        except IntegrityError as error:
            path = f"manifests/{manifest}"
            self.inventory.unreadable.setdefault(path, f"a chunk in it is damaged: {error}")

    def _check_chunks(self) -> dict[bytes, tuple[str, str]]:
        """The chunks that manifests name and that are not whole: kind and reason."""
        bad: dict[bytes, tuple[str, str]] = {}
        for number, (chunk, (end, node)) in enumerate(self._chunks.items()):
            path = f"chunks/{object_id(chunk)}"
            size = self.inventory.sizes.get(path)
            if size is None:
                bad[chunk] = MISSING, "the file is not there"
            elif size != end:
                bad[chunk] = DAMAGED, f"it has {size:,} bytes, and {end:,} were written"
            elif self._is_read(path):
                why = self._read_chunk(path, [self.inventory.nodes.get(node)])
                if why is not None:
                    bad[chunk] = DAMAGED, why
            if number % 64 == 0:
                self._progress("chunks", number, len(self._chunks))
        return bad

    def _is_read(self, path: str) -> bool:
        if self._only is not None:
            return self._read_data and path in self._only
        return self._read_data and in_subset(path, self._subset)

    def _read_chunk(self, path: str, nodes: Iterable[Node | None]) -> str | None:
        """Why a chunk's file is not whole, as one of these arrays' at least; None where it is."""
        why: str | None = None
        try:
            raw = mapped(self.folder / path)
            self.bytes_read += len(raw)
            for node in nodes:
                try:
                    check_chunk(raw, node)
                    return None
                except IntegrityError as error:
                    why = str(error)
        except OSError as error:
            return f"it cannot be read: {error}"
        return why

    def _chunk_findings(
        self, bad: dict[bytes, tuple[str, str]], users: dict[bytes, set[str]]
    ) -> Iterator[Finding]:
        rescue = self._rescue
        for chunk, (kind, why) in bad.items():
            node, snapshots = self._chunks[chunk][1], users[chunk]
            array = self.inventory.nodes.get(node)
            of = f" (of {array.path})" if array else ""
            path = f"chunks/{object_id(chunk)}"
            if snapshots or rescue.hidden_by:
                what = why + of + rescue.needed(snapshots)
                yield Finding(kind, path, what, rescue.way(snapshots))
            else:
                yield Finding(UNUSED, path, f"{why}{of}; no snapshot needs it", _HARMLESS)

    def _damaged_unused(self) -> Iterator[Finding]:
        """Chunks that no manifest names, where they are not whole."""
        known = {f"chunks/{object_id(chunk)}" for chunk in self._chunks}
        kinds = {_places(node): node for node in self.inventory.nodes.values()}
        for path in self.inventory.below("chunks/"):
            if path not in known and not STAGING.search(path) and self._is_read(path):
                why = self._read_chunk(path, [None, *kinds.values()])
                if why is not None and self._rescue.hidden_by:
                    yield Finding(DAMAGED, path, why + self._rescue.needed(set()), RESTORE)
                elif why is not None:
                    what = f"no snapshot needs it, and it is not whole ({why})"
                    yield Finding(UNUSED, path, what, _HARMLESS)

    def _unused(self) -> Iterator[Finding]:
        """What nobody needs, by kind: just what a collection removes."""
        sizes = self.inventory.sizes
        found: Unused = unused(self.inventory, self._rescue.in_use, self._needed_chunks)
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

    def _seals(self) -> Iterator[Finding]:
        inventory, sealed = self.inventory, self.inventory.sealed
        if sealed.damaged:
            lines = ", ".join(map(str, sealed.damaged[:5]))
            what = f"{counted(len(sealed.damaged), 'damaged line')} (line {lines})"
            yield Finding(DAMAGED, SEALS_FILE, what, "fsck with repair=True writes it anew")
        if sealed.torn:
            what = "the last line was cut short: a process was killed as it wrote it"
            yield Finding(DAMAGED, SEALS_FILE, what, "The next change takes it back")
        if inventory.sizes.get(SEALS_FILE) == 0:
            # Whoever makes it writes to it, and it is never written anew without a line.
            what = "it is empty, and a line was written into it with every change"
            way = "fsck with repair=True seals all that can be read, as it is"
            yield Finding(DAMAGED, SEALS_FILE, what, way)
        unsealed = sorted(set(inventory.unsealed))
        if unsealed:
            shown = ", ".join(unsealed[:3]) + (", …" if len(unsealed) > 3 else "")
            files = counted(len(unsealed), "file")
            what = (
                f"says nothing of {files} ({shown}); what is there can be read; whether "
                "it is as it was written cannot be told"
            )
            yield Finding(
                UNSEALED, SEALS_FILE, what, "fsck with repair=True seals them as they are"
            )
        if inventory.set_back:
            what = "it is an earlier state of itself that was put back, without what was done since"
            yield Finding(
                UNSEALED, "repo", what, "The next change seals it, or fsck with repair=True"
            )
        for path in sorted(sealed.seals.keys() - inventory.sizes.keys()):
            folder, _, name = path.partition("/")
            if path in ("repo", "config.yaml") or folder == "refs":
                way = RESTORE
                if path == "repo":
                    continue  # said already
                yield Finding(MISSING, path, "the file is not there", way)
            elif folder == "overwritten" or (
                name not in self._rescue.in_use and not self._names(folder, name)
            ):
                if self._rescue.hidden_by and folder != "overwritten":
                    what = f"the file is not there{self._rescue.needed(set())}"
                    yield Finding(MISSING, path, what, RESTORE)
                    continue
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

    def _names(self, folder: str, name: str) -> bool:
        """Whether a snapshot in use names a manifest."""
        snapshots = self.inventory.snapshots
        return folder == "manifests" and any(
            name in snapshots[snapshot].manifests for snapshot in self._rescue.known()
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


def check_chunk(raw: memoryview, node: Node | None) -> None:
    """Check every byte of a chunk: a shard, or a single cell where `node` does not say otherwise.

    Raises
    ------
    IntegrityError
        If a checksum does not fit.
    """
    places = _places(node)
    if places is None:
        return
    if places:
        shards.check(raw, places)
    else:
        if len(raw) < cells.CRC:
            raise IntegrityError(f"a cell of {len(raw)} bytes is too short to be one")
        cells.checked(raw)


_known: dict[bytes, int | None] = {}


def _places(node: Node | None) -> int | None:
    """Places of an array's shards; 0 where a chunk is one cell, None where it is none of ours."""
    if node is None:
        return 0
    if node.document not in _known:
        _known[node.document] = _places_of(node.document)
    return _known[node.document]


def _places_of(document: bytes) -> int | None:
    try:
        parsed = json.loads(document)
        codecs = parsed["codecs"]
        outer = parsed["chunk_grid"]["configuration"]["chunk_shape"]
        if codecs[0]["name"] == "sharding_indexed":
            inner = codecs[0]["configuration"]
            CellCodec.from_metadata(inner["codecs"])
            return int(math.prod(outer) // math.prod(inner["chunk_shape"]))
        CellCodec.from_metadata(codecs)
    except (ValueError, KeyError, IndexError, TypeError, IntegrityError):
        return None  # an array that somebody else put here
    return 0


def mapped(path: Path) -> memoryview:
    """A file's bytes, not read before they are looked at."""
    if path.stat().st_size == 0:
        return memoryview(b"")
    return np.memmap(path, np.uint8, "r").data
