"""Branches and tags: what is told of them, and every change of them."""

from __future__ import annotations

import difflib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import icechunk as ic

from ..errors import ConflictError, IntegrityError, MetadataError, NotFoundError
from . import damage
from .handle import Handle
from .hidden import HIDDEN
from .lineage import Descent
from .translate import translated

# icechunk 1 makes a name part of a path, and gives back escaped what it had to escape there.
_REF_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+=@-]{0,199}")


@dataclass(frozen=True)
class SnapshotInfo:
    """One version, as icechunk keeps it."""

    id: str
    parent_id: str | None
    message: str
    written_at: datetime
    metadata: dict[str, Any]
    descent: Descent | None = None
    """What is written down of its parents, where an expiry has cut its line."""


class Refs(Handle, ABC):
    """A repository's branches and tags."""

    @abstractmethod
    def require(self, snapshot_id: str) -> SnapshotInfo:
        """What is known of a snapshot; NotFoundError if it is not there any more."""

    def branches(self) -> list[str]:
        """Return the names of all branches, sorted."""
        self.check_process()
        with translated(self.location):
            names = self._repository.list_branches()
        return sorted(name for name in names if not name.startswith(HIDDEN))

    def tags(self) -> list[str]:
        """Return the names of all tags, sorted; also of those that are damaged."""
        self.check_process()
        with translated(self.location):
            listed = self._repository.list_tags()
        damaged = [] if self.folder is None else damage.left_out(self.folder, listed)
        return sorted({*listed, *damaged})

    def lost(self, kind: str) -> list[str]:
        """The names of branches or tags that are files, and whose files are gone, sorted.

        Parameters
        ----------
        kind : {"branch", "tag"}
        """
        self.check_process()
        if self.ledger is None or self.folder is None or (self.folder / "repo").exists():
            return []
        return [name for name in self.ledger.lost_refs(kind) if not name.startswith(HIDDEN)]

    def branch_tip(self, name: str) -> str:
        """Return the snapshot id of the tip of branch `name`; NotFoundError if there is none."""
        self.check_process()
        with self._finding("branch", name):
            return self._repository.lookup_branch(name)

    def tag_target(self, name: str) -> str:
        """Return the snapshot id that tag `name` stands for; NotFoundError if there is none."""
        self.check_process()
        with self._finding("tag", name):
            return self._repository.lookup_tag(name)

    def create_branch(self, name: str, snapshot_id: str) -> None:
        """Create branch `name` at a snapshot; MetadataError if it exists."""
        self.check_process()
        _check_name("branch", name, new=True)
        with self.mutation(f"create branch {name}"):
            target = self.require(snapshot_id).id
            if name in self.branches():
                raise self._taken("branch", name, "exists already")
            try:
                with translated(self.location):
                    self._repository.create_branch(name, target)
            except MetadataError as error:
                raise self._taken("branch", name, "exists already") from error

    def delete_branch(self, name: str) -> None:
        """Delete branch `name`; ``main`` cannot be deleted."""
        self.check_process()
        _check_name("branch", name)
        if name == "main":
            raise MetadataError(
                "branch 'main' cannot be deleted; reset it to another snapshot instead"
            )
        with self.mutation(f"delete branch {name}"), self._finding("branch", name):
            self.branch_tip(name)  # a damaged one cannot be deleted, and keeps its seal
            with self.deleting(f"branch.{name}"):
                self._repository.delete_branch(name)

    def create_tag(self, name: str, snapshot_id: str) -> None:
        """Create tag `name` for a snapshot; MetadataError if it exists or ever existed."""
        self.check_process()
        _check_name("tag", name, new=True)
        with self.mutation(f"create tag {name}"):
            target = self.require(snapshot_id).id
            try:
                with translated(self.location):
                    self._repository.create_tag(name, target)
            except MetadataError as error:
                why = "exists already" if name in self.tags() else "was deleted, for good,"
                raise self._taken("tag", name, why) from error

    def delete_tag(self, name: str) -> None:
        """Delete tag `name` for good: the name cannot be used again."""
        self.check_process()
        _check_name("tag", name)
        with self.mutation(f"delete tag {name}"), self._finding("tag", name):
            self.tag_target(name)
            with self.deleting(f"tag.{name}"):
                self._repository.delete_tag(name)

    def reset_branch(self, name: str, snapshot_id: str) -> None:
        """Make a snapshot the tip of branch `name`, wherever the tip was."""
        self.check_process()
        with self.mutation(f"reset branch {name}"):
            target = self.require(snapshot_id).id
            with self._finding("branch", name):
                self._repository.reset_branch(name, target)
            self.seal(f"branch.{name}")

    def fast_forward(self, name: str, snapshot_id: str, expected: str) -> None:
        """Move the tip of branch `name` on; ConflictError if it is not at `expected` any more."""
        self.check_process()
        with self.mutation(f"fast-forward branch {name}"):
            if (tip := self.branch_tip(name)) != expected:
                raise self._moved(name, tip, expected)
            with self._finding("branch", name):
                try:
                    self._repository.reset_branch(name, snapshot_id, from_snapshot_id=expected)
                except ic.IcechunkError as error:
                    # An object store decides it, and may say so in other words.
                    if (tip := self.branch_tip(name)) in (expected, snapshot_id):
                        raise
                    raise self._moved(name, tip, expected) from error
            self.seal(f"branch.{name}")

    def _taken(self, kind: str, name: str, why: str) -> MetadataError:
        return MetadataError(f"{kind} {name!r} {why} in {self.location}; take another name")

    def _moved(self, branch: str, tip: str, began: str) -> ConflictError:
        return ConflictError(
            f"branch {branch!r} of {self.location} moved to {tip} meanwhile; this began at "
            f"{began}: do it again from the new tip",
            what="branch",
            where=branch,
            ours=tip,
            theirs=began,
        )

    @contextmanager
    def _finding(self, kind: str, name: str) -> Iterator[None]:
        _check_name(kind, name)
        try:
            with translated(self.location):
                yield
        except (IntegrityError, NotFoundError) as error:
            wrong = None if self.folder is None else damage.of_ref(self.folder, kind, name)
            if wrong is not None:
                raise wrong.error(f"{kind} {name!r} of {self.location}") from error
            if self.folder is not None and name in self.lost(kind):
                path = f"refs/{kind}.{name}/ref.json"
                wrong = damage.Damage(self.folder, f"{path} is missing", missing=True)
                raise wrong.error(f"{kind} {name!r} of {self.location}") from error
            if isinstance(error, IntegrityError):
                raise
            there = self.branches() if kind == "branch" else self.tags()
            raise NotFoundError(
                f"there is no {kind} {name!r} in {self.location}; {_suggest(name, there)}"
            ) from error

    def _tips(self) -> set[str]:
        """The snapshots that refs stand at, hidden ones too; not of those that are damaged."""
        with translated(self.location):
            branches = self._repository.list_branches()
        lookups = [
            *((self._repository.lookup_branch, name) for name in branches),
            *((self._repository.lookup_tag, name) for name in self.tags()),
        ]
        tips = set()
        for lookup, name in lookups:
            with suppress(IntegrityError, NotFoundError), translated(self.location):
                tips.add(lookup(name))
        return tips


def _check_name(kind: str, name: object, *, new: bool = False) -> None:
    if not isinstance(name, str) or not name:
        raise MetadataError(f"a {kind} name must be a non-empty string, not {name!r}")
    if new and (why := _unfit(name)):
        would = _proposal(name)
        raise MetadataError(
            f"{name!r} is no good {kind} name: {why}{f'; {would!r} would do' if would else ''}"
        )
    if name.startswith(HIDDEN):
        if new:
            raise MetadataError(f"names that begin with {HIDDEN!r} are the software's own")
        raise NotFoundError(f"there is no {kind} {name!r}")


def _unfit(name: str) -> str | None:
    """What is wrong with a new name, which may become that of a folder; None where it is good."""
    if not _REF_NAME.fullmatch(name):
        return (
            "use 1 to 200 letters, digits and . _ - + = @ (ASCII, no slash, no space), beginning "
            "with a letter, a digit or _"
        )
    if ".." in name:
        return "'..' stands between the ends of a range, as in main..try"
    if name.endswith("."):
        return "some filesystems leave out a dot at the end"
    if name.lower().endswith(".lock"):
        return f"a file or folder in {name[-5:]!r} is taken for a forgotten lock, and cleared away"
    return None


def _proposal(name: str) -> str:
    """A good name that is like one that is not; empty where nothing is left of it."""
    plain = re.sub(r"[^A-Za-z0-9._+=@-]+", "-", name)
    plain = re.sub(r"\.{2,}", "-", plain.lstrip(".-+=@")[:200]).rstrip(".-")
    return re.sub(r"(?i)\.lock$", "-lock", plain)


def _suggest(name: str, there: list[str]) -> str:
    close = difflib.get_close_matches(name, there)
    if close:
        return "did you mean " + " or ".join(map(repr, close)) + "?"
    if not there:
        return "there are none"
    more = f" and {len(there) - 10} more" if len(there) > 10 else ""
    return "there are " + ", ".join(map(repr, there[:10])) + more
