"""All files of a local repository: which are there, which are whole, and which lead to which.

Every small file is read; none is believed before its seal was looked at. Chunks
are listed with the manifests that name them, and read elsewhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import IntegrityError
from ..storage import files
from ..storage.files import Node, Refs, RepoFile
from ..storage.seals import Seal, Sealed, parse, seal_of

_REF = re.compile(rb'\{"snapshot":"([0-9A-HJKMNP-TV-Z]{20})"\}')


_STATE = re.compile(r"overwritten/repo\.(\d+)\.[0-9A-Z]+")


@dataclass
class Snapshot:
    """What is kept of a snapshot's file.

    Parameters
    ----------
    parent : str or None
    manifests : mapping of str to int
        With their sizes.
    flushed_at : int
        Microseconds since 1970.
    message : str
        Of the commit, as icechunk has it.
    """

    parent: str | None
    manifests: dict[str, int]
    flushed_at: int
    message: str


@dataclass
class Inventory:
    """The files of a repository's folder.

    Parameters
    ----------
    folder : Path
    sizes : dict of str to int
        Every file below it, with its size in bytes.
    sealed : Sealed
    refs : RepoFile
    snapshots : dict of str to Snapshot
        Those whose files can be read.
    nodes : dict of bytes to Node
        Arrays of any snapshot, by id.
    unreadable : dict of str to str
        Files that are damaged, and how it is known.
    unsealed : list of str
    states_found : set of (int, int)
        Seals of the file ``repo``, now and earlier, that a file was found for.
    strays : list of str
        Files in ``overwritten`` that fit none.
    set_back : bool
        Whether the file ``repo`` is an earlier state of it, put back by somebody.
    read : int
        Bytes read.
    """

    folder: Path
    sizes: dict[str, int] = field(default_factory=dict)
    sealed: Sealed = field(default_factory=Sealed)
    refs: RepoFile = field(default_factory=lambda: RepoFile({}, {}, {}))
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    nodes: dict[bytes, Node] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    unsealed: list[str] = field(default_factory=list)
    states_found: set[Seal] = field(default_factory=set)
    strays: list[str] = field(default_factory=list)
    set_back: bool = False
    read: int = 0

    @classmethod
    def of(cls, folder: Path, *, earlier_states: bool = True) -> Inventory:
        """Take stock of a folder; without the earlier states of ``repo`` they are only listed."""
        found = cls(folder)
        found.sizes = dict(listing(folder))
        found.sealed = parse(found._raw("zv_versioned.seals") or b"")
        found._read_refs(earlier_states)
        for path in found.below("snapshots/"):
            found._read_snapshot(path)
        for path in found.below("transactions/"):
            found._named(path, lambda raw, p: files.transaction_id(raw, p))
        return found

    def below(self, prefix: str) -> list[str]:
        """Paths of the files in a folder, sorted."""
        return sorted(path for path in self.sizes if path.startswith(prefix))

    def _raw(self, path: str) -> bytes | None:
        """A file's bytes; None where it went while we looked, and is in the list no more."""
        if path not in self.sizes:
            return None
        try:
            raw = (self.folder / path).read_bytes()
        except FileNotFoundError:
            del self.sizes[path]
            return None
        self.read += len(raw)
        return raw

    def sealed_bytes(self, path: str) -> bytes | None:
        """The bytes of a small file, if its seal fits or there is none; else None."""
        raw = self._raw(path)
        if raw is None:
            return None
        known = self.sealed.seals.get(path)
        if path.startswith("overwritten/"):
            state = seal_of(raw)
            if known in (None, state) and state in self.sealed.states:
                self.states_found.add(state)
                return raw
            if known is None:
                self.strays.append(path)
        if known is None:
            self.unsealed.append(path)
            return raw
        if known == seal_of(raw):
            return raw
        if self._was_replaced(path, raw, known):
            self.unsealed.append(path)
            return raw
        if path == "repo" and seal_of(raw) in self.sealed.states:
            self.set_back = True
            return raw
        size = f"it has {len(raw):,} bytes, and {known[0]:,} were written"
        same = "its checksum does not fit the seal that it got when it was written"
        self.unreadable[path] = same if len(raw) == known[0] else size
        return None

    def _was_replaced(self, path: str, raw: bytes, sealed: Seal) -> bool:
        """Whether a ref does not fit its seal because it was moved, and its mover killed.

        icechunk 2 keeps the state before; of version 1 a ref names a snapshot, and no
        damage turns the name of one into that of another that is there.
        """
        if path == "repo":
            return any(
                seal_of((self.folder / earlier).read_bytes()) == sealed
                for earlier in self.below("overwritten/")
                if self.sizes[earlier] == sealed[0]
            )
        found = _REF.fullmatch(raw) if path.endswith("/ref.json") else None
        return found is not None and f"snapshots/{found[1].decode()}" in self.sizes

    def _named(self, path: str, read: object) -> object:
        """What a file says, where it can be read and bears the name that stands in it."""
        raw = self.sealed_bytes(path)
        if raw is None:
            return None
        try:
            found = read(raw, path)  # type: ignore[operator]
            own = found if isinstance(found, str) else getattr(found, "id", None)
            if own is not None and own != path.rsplit("/", 1)[-1]:
                raise IntegrityError(f"the file says that it is {own}")
        except IntegrityError as error:
            self.unreadable[path] = str(error)
            return None
        return found

    def _read_refs(self, earlier_states: bool) -> None:
        for path in self.below("refs/") + self.below("config.yaml"):
            self.sealed_bytes(path)
        if self.has_root():
            found = self._named("repo", files.repo)
            if isinstance(found, RepoFile):
                self.refs = found
            if earlier_states:
                for path in self.below("overwritten/"):
                    self._named(path, files.repo)
                self._judge_strays()
            return
        refs, unreadable = files.refs_of_folder(self.folder)
        for path, why in unreadable.items():
            self.unreadable.setdefault(path, f"it cannot be read: {why}")
        # Where a damaged one seems to lead is no snapshot that anybody needs.
        branches, tags = (
            {name: at for name, at in named.items() if self._leads(f"{kind}.{name}")}
            for kind, named in (("branch", refs.branches), ("tag", refs.tags))
        )
        self.refs = RepoFile(branches, tags, {})

    def _leads(self, ref: str) -> bool:
        return f"refs/{ref}/ref.json" not in self.unreadable

    def has_root(self) -> bool:
        """Whether it is of version 2, in which the file ``repo`` leads to everything."""
        return (
            "repo" in self.sizes or "repo" in self.sealed.seals or bool(self.below("overwritten/"))
        )

    def lost_root(self) -> bool:
        """Whether the file ``repo`` of version 2 is gone."""
        return self.has_root() and "repo" not in self.sizes

    def newest_state(self) -> str | None:
        """The newest earlier state of ``repo`` that is whole; None where there is none.

        icechunk counts time backwards in their names. (The times of the files would not tell
        in a copy of the repository.)
        """
        states = [
            (int(found[1]), path)
            for path in self.below("overwritten/")
            if path not in self.unreadable and (found := _STATE.fullmatch(path)) is not None
        ]
        return min(states)[1] if states else None

    def lost_states(self) -> int:
        """How many earlier states of ``repo`` no file was found for."""
        now = self.sealed.seals.get("repo")
        return len(self.sealed.states - self.states_found - {now})

    def _judge_strays(self) -> None:
        """A file in ``overwritten`` that fits no state, where a state has no file, was that one."""
        if self.lost_states():
            for path in self.strays:
                why = "it is none of the states of the file repo that were sealed"
                self.unreadable.setdefault(path, why)

    def _read_snapshot(self, path: str) -> None:
        found = self._named(path, files.snapshot)
        if isinstance(found, files.SnapshotFile):
            parent = self.refs.parents.get(found.id, found.parent)
            self.snapshots[found.id] = Snapshot(
                parent, dict(found.manifests), found.flushed_at, found.message
            )
            self.nodes.update((n.id, n) for n in found.nodes if n.manifests is not None)

    def manifest(self, name: str) -> dict[bytes, Refs] | None:
        """The chunks in a manifest, by node; None where it is missing or damaged."""
        path = f"manifests/{name}"
        raw = self.sealed_bytes(path)
        if raw is None:
            return None
        try:
            own, arrays = files.manifest(raw, path)
            if own != name:
                raise IntegrityError(f"the file says that it is {own}")
        except IntegrityError as error:
            self.unreadable[path] = str(error)
            return None
        return arrays

    # -- what leads where ----------------------------------------------------

    def tips(self) -> dict[str, str]:
        """Branches and tags, as ``branch main``, with their snapshots."""
        tips = {f"branch {name}": tip for name, tip in self.refs.branches.items()}
        return {**tips, **{f"tag {name}": tip for name, tip in self.refs.tags.items()}}

    def ancestry(self, snapshot: str) -> Iterator[str]:
        """A snapshot and those before it, as far as their files can be read."""
        seen: set[str] = set()
        at: str | None = snapshot
        while at is not None and at not in seen:
            yield at
            seen.add(at)
            known = self.snapshots.get(at)
            at = self.refs.parents.get(at) if known is None else known.parent

    def reachable(self) -> set[str]:
        """All snapshots that a branch or tag leads to, whether or not their files are there."""
        found: set[str] = set()
        for tip in self.tips().values():
            for snapshot in self.ancestry(tip):
                if snapshot in found:
                    break
                found.add(snapshot)
        return found


def listing(folder: Path) -> Iterator[tuple[str, int]]:
    """Every file below a folder: its path in it, and its size."""
    waiting = [""]
    while waiting:
        at = waiting.pop()
        with os.scandir(folder / at) as entries:
            for entry in entries:
                path = f"{at}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{path}/")
                    continue
                try:
                    yield path, entry.stat().st_size
                except FileNotFoundError:
                    continue  # it went while we looked


def chunk_ids(refs: Refs) -> tuple[list[bytes], np.ndarray]:
    """The files that an array's chunks lie in, and how long each has to be."""
    ends = (refs.offset + refs.length)[refs.native]
    return refs.chunks(), ends
