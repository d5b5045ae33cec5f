"""Seals: the size and the checksum of every small file that icechunk writes.

icechunk's files carry no checksum, and one that was damaged may still be read,
as something else. (Chunks carry theirs: see :mod:`zv_versioned.format.cells`.)
So whoever changes a local repository seals what was written: a line each in
``zv_versioned.seals``, in which the newest line on a file counts::

    CRC-32C of the rest, size, CRC-32C of the file, path

What changes in place (refs, and ``repo``) is sealed while the repository's lock
is held. What is written once is sealed a moment later, so that nobody waits for
it who wants the lock; the file of seals is locked by itself while it is written,
and what is sealed is read within.

A line that was cut short by a crash is taken back by the next one who writes.
Files that were written without being sealed (by a process that was killed just
then, or by icechunk alone) are not wrong; they can only be checked for whether
they can be read.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import google_crc32c

from ..errors import IntegrityError
from . import files
from .damage import Damage
from .seal_file import SealFile, locked

SEALS_FILE = "zv_versioned.seals"
_REF_FILES = ("ref.json", "ref.json.deleted")
_GONE = -1
_RECENT = 1 << 14
_log = logging.getLogger("zv_versioned")

Seal = tuple[int, int]
"""Size in bytes, and CRC-32C."""

RootState = tuple[int, int, int]
"""What tells one file ``repo`` from the next: time in nanoseconds, size, inode."""


@dataclass
class Sealed:
    """What the seals say.

    Parameters
    ----------
    seals : dict of str to (int, int)
        By path below the repository's folder.
    states : set of (int, int)
        Every seal that the file ``repo`` ever had: icechunk 2 keeps its
        earlier states in ``overwritten``.
    damaged : list of int
        Lines that are not as they were written, counted from 1.
    torn : bool
        Whether the last line was cut short.
    """

    seals: dict[str, Seal] = field(default_factory=dict)
    states: set[Seal] = field(default_factory=set)
    damaged: list[int] = field(default_factory=list)
    torn: bool = False


def seal_of(raw: bytes) -> Seal:
    """The seal of a file's bytes."""
    return len(raw), int(google_crc32c.value(raw))


def _line(path: str, seal: Seal) -> bytes:
    text = f"{seal[0]} {seal[1]:08x} {path}".encode()
    return b"%08x %s\n" % (google_crc32c.value(text), text)


def parse(raw: bytes) -> Sealed:
    """Read lines of seals."""
    found = Sealed(torn=bool(raw) and not raw.endswith(b"\n"))
    for number, line in enumerate(raw.split(b"\n")[:-1], 1):
        check, _, text = line.partition(b" ")
        fields = text.split(b" ", 2)
        # A damaged byte may have made two lines of one, and the second may look whole.
        if check != b"%08x" % google_crc32c.value(text) or len(fields) != 3:
            found.damaged.append(number)
            continue
        path = fields[2].decode()
        seal = int(fields[0]), int(fields[1], 16)
        if seal[0] == _GONE:
            found.seals.pop(path, None)
            continue
        found.seals[path] = seal
        if path == "repo" or path.startswith("overwritten/"):
            found.states.add(seal)
    return found


def last_seal(raw: bytes, path: str) -> Seal | None:
    """What the newest line on a file says, without a look at the others."""
    end = b" " + path.encode() + b"\n"
    at = raw.rfind(end)
    if at < 0:
        return None
    line = raw[raw.rfind(b"\n", 0, at) + 1 : at + len(end)]
    return parse(line).seals.get(path)


class Ledger:
    """The seals of one repository's folder.

    All but :meth:`read`, :meth:`committed` and :meth:`add` of files that do not change
    need the repository's lock.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / SEALS_FILE
        # Paths as texts where a commit waits: a Path costs as much as to read a small file.
        self._root = os.path.join(folder, "")
        # What this process committed last, so that the next commit need not look it up.
        self._tip: tuple[str, frozenset[str]] | None = None
        self._repo: RootState | None = None
        self._refs: set[str] | None = None
        self._listed = -1

    def read(self) -> Sealed:
        """All seals."""
        return parse(self._raw())

    def _raw(self) -> bytes:
        return self._path.read_bytes() if self._path.exists() else b""

    def _names(self, path: str) -> bool:
        """Whether some line is about a file; it is probably one of the last."""
        end = b" " + path.encode() + b"\n"
        try:
            with open(self._path, "rb", buffering=0) as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _RECENT))
                return end in file.read() or end in self._raw()
        except FileNotFoundError:
            return False

    def committed(self, before: str, after: str) -> list[str]:
        """Seal what a commit wrote; returns the paths.

        Parameters
        ----------
        before, after : str
            Snapshot ids. Where `before` was not sealed, it is now: its writer
            was killed before it could.
        """
        paths: list[str] = []
        tip = self._tip
        if tip is None or tip[0] != before:
            manifests = self._manifests(before)
            if not self._names(f"snapshots/{before}"):
                paths += _of_snapshot(self._root, before, manifests)
        else:
            manifests = tip[1]
        now = self._manifests(after)
        paths += _of_snapshot(self._root, after, now - manifests)
        self._tip = after, now  # first: where sealing fails, it is forgotten again
        self.add(paths)
        return paths

    def _manifests(self, snapshot: str) -> frozenset[str]:
        path = f"snapshots/{snapshot}"
        try:
            raw = files.read_file(self._root + path)
        except FileNotFoundError:
            return frozenset()
        try:
            return frozenset(files.manifests_of(raw, path))
        except IntegrityError as error:
            _log.warning("%s; fsck says more", error)
            return frozenset()

    def root_seal(self) -> Seal | None:
        """The newest seal of the file ``repo``, which is one of the last lines, as a rule."""
        try:
            with open(self._path, "rb", buffering=0) as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _RECENT))
                recent = file.read()
        except FileNotFoundError:
            return None
        # The first of these lines may be a part of one.
        return last_seal(recent[recent.find(b"\n") + 1 :], "repo") or last_seal(self._raw(), "repo")

    def root_fits(self) -> bool:
        """Whether the file ``repo`` of version 2, where there is one, is as it was sealed last."""
        return self.root_state() is None or self._now("repo") == self.root_seal()

    def check_root(self) -> None:
        """Refuse to go on from a file ``repo`` of version 2 that is not as somebody wrote it.

        The next change would be built on it, and sealed. Whoever wrote it without sealing it
        (icechunk alone, or a process that was killed just then) left the state before in
        ``overwritten``, and an earlier state may have been put back.

        Raises
        ------
        IntegrityError
            If it is neither.
        """
        now = self._now("repo")
        if now[0] == _GONE or (known := self.root_seal()) in (None, now):
            return
        if now in self.read().states or self._is_kept(known):
            return
        wrong = Damage(
            self.folder,
            "its file repo is damaged: its checksum does not fit the seal that it got when it was "
            "written. Nothing was changed",
        )
        raise wrong.error(f"nothing can be changed in {self.folder}")

    def _is_kept(self, state: Seal) -> bool:
        """Whether an earlier state of ``repo`` is in ``overwritten``."""
        earlier = (self.folder / "overwritten").glob("*")
        alike = (path for path in earlier if path.stat().st_size == state[0])
        return any(seal_of(path.read_bytes()) == state for path in alike)

    def root_state(self) -> RootState | None:
        """What is to differ once the file ``repo`` of version 2 was changed; None without one."""
        try:
            at = os.stat(self._root + "repo")
        except FileNotFoundError:
            return None
        return at.st_mtime_ns, at.st_size, at.st_ino

    def refs_changed(self, *names: str, since: RootState | None = None) -> list[str]:
        """Seal what leads to snapshots, where it changed; returns the paths.

        Parameters
        ----------
        *names : str
            Of version 1: refs that were moved or deleted, such as ``branch.main``.
            Those that were made are found without being named.
        since : tuple, optional
            The state of ``repo`` that somebody else answers for: it is not sealed as it is.
        """
        state = self.root_state()
        if state is not None:
            if state in (self._repo, since):
                return []
            self._repo = state
            self.add(["repo"])
            return ["repo"]
        paths = [f"refs/{name}/{file}" for name in names for file in _REF_FILES]
        paths = [path for path in paths if path.endswith(".json") or (self.folder / path).exists()]
        refs = self.folder / "refs"
        listed = refs.stat().st_mtime_ns if refs.is_dir() else 0
        if listed != self._listed:
            there = {p.relative_to(self.folder).as_posix() for p in refs.glob("*/ref.json*")}
            if self._refs is None:
                raw = self._raw()
                # A damaged line may be no text; `last_seal` says which lines count.
                lines = re.findall(rb" (refs/[^\n]+)\n", raw)
                known = {line.decode(errors="replace") for line in lines}
                self._refs = {path for path in known if last_seal(raw, path) is not None}
            # One that is gone was taken back before (`forget_ref`), or is lost, and stays known.
            paths += sorted(there - self._refs - set(paths))
            self._refs, self._listed = there, listed
        self.add(paths)
        return [path for path in paths if (self.folder / path).exists()]

    def root_replaced(self, since: RootState | None) -> None:
        """Seal the file ``repo`` of version 2 where it is another than before, and whole.

        For those who do not know how far they came.
        """
        state = self.root_state()
        if state is None or state in (self._repo, since):
            return
        raw = files.read_file(self._root + "repo")
        try:
            files.repo(raw, "repo")
        except IntegrityError as error:
            _log.warning("%s; fsck says more", error)
            return
        self._repo = state
        self._write(["repo"], lambda _: seal_of(raw))

    def forget_ref(self, name: str) -> Seal | None:
        """Take back the seal of a ref that is about to be deleted; returns it.

        Before, not after: who is killed in between must not seem to have lost it.
        """
        path = f"refs/{name}/ref.json"
        if (self.folder / "repo").exists():
            return None
        before = last_seal(self._raw(), path)
        self._write([path], lambda _: (_GONE, 0))
        return before

    def remember_ref(self, name: str, seal: Seal | None) -> None:
        """Put back what :meth:`forget_ref` took, for the ref was not deleted after all."""
        path = f"refs/{name}/ref.json"
        if seal is not None and os.path.exists(self._root + path):
            self._write([path], lambda _: seal)

    def lost_refs(self, kind: str) -> list[str]:
        """Branches or tags of version 1 that nobody has deleted, and whose files are gone."""
        lines = re.compile(rb" refs/%s\.([^\n/]+)/ref\.json\n" % kind.encode())
        raw = self._raw()
        names = {name.decode(errors="replace") for name in lines.findall(raw)}
        paths = {name: f"refs/{kind}.{name}/ref.json" for name in sorted(names)}
        return [
            name
            for name, path in paths.items()
            if not os.path.exists(self._root + path) and last_seal(raw, path) is not None
        ]

    def everything(self) -> list[str]:
        """Paths of all files that want a seal."""
        found = [p for p in (self.folder / "repo", self.folder / "config.yaml") if p.exists()]
        found += (self.folder / "refs").glob("*/ref.json*")
        for name in files.KINDS:
            found += (self.folder / name).glob("*")
        return sorted(path.relative_to(self.folder).as_posix() for path in found)

    def add(self, paths: Iterable[str]) -> None:
        """Seal files as they are now; those that are gone lose their seal.

        A seal that cannot be written is not worth a commit that was made: the
        files stay unsealed, and the log says so.
        """
        self._write(list(paths), self._now)

    def _write(self, paths: Sequence[str], seal_of_path: Callable[[str], Seal]) -> None:
        if not paths:
            return
        try:
            with self._locked() as file:
                file.append(b"".join(_line(path, seal_of_path(path)) for path in paths))
        except OSError as error:
            _log.warning("%s: seals could not be written: %s", self._path, error)
            self._tip = self._repo = self._refs = None
            self._listed = -1

    def _now(self, path: str) -> Seal:
        try:
            return seal_of(files.read_file(self._root + path))
        except FileNotFoundError:
            return _GONE, 0

    def _locked(self) -> SealFile:
        """The file of seals, which nobody else writes to before the block is left."""
        return locked(self._root + SEALS_FILE)

    def rewrite(self, sealed: Sealed) -> None:
        """Write the seals anew, one line a file: what was said of files long gone goes."""
        with self._locked():
            self._replace(sealed)

    def _replace(self, sealed: Sealed) -> None:
        lines = [_line(path, seal) for path, seal in sorted(sealed.seals.items())]
        beside = self._path.with_name(SEALS_FILE + ".new")
        with beside.open("wb") as file:
            file.write(b"".join(lines))
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, self._path)

    def forget_absent(self) -> None:
        """Write the seals anew, without those of files that are gone.

        Of the earlier states of the file ``repo``, which are known by lines that go,
        those that are there get seals of their own.
        """
        with self._locked():
            sealed = self.read()
            if sealed.damaged:
                return  # which files they were about, only a check can tell
            seals = {p: seal for p, seal in sealed.seals.items() if os.path.exists(self._root + p)}
            for path in (self.folder / "overwritten").glob("*"):
                name = f"overwritten/{path.name}"
                if name not in seals and (seal := self._now(name)) in sealed.states:
                    seals[name] = seal
            self._replace(Sealed(seals))


def _of_snapshot(root: str, snapshot: str, manifests: Iterable[str]) -> list[str]:
    """The files of a snapshot: its own, its transaction log where there is one, manifests."""
    paths = [f"snapshots/{snapshot}", f"transactions/{snapshot}"]
    return [p for p in paths if os.path.exists(root + p)] + [
        f"manifests/{manifest}" for manifest in sorted(manifests)
    ]
