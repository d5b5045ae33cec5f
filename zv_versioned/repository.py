"""Repository: branches, tags, snapshots and the way to datasets."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from . import _reopen
from ._cache import Cache
from ._checks import is_whole
from ._ids import KnownIds
from ._upkeep import Upkeep
from ._verbs import Verbs
from .errors import IntegrityError, MetadataError, NotFoundError, StorageError, ZVError
from .geometry import html_table
from .history.graph import History
from .history.log import CommitInfo, CommitLog, parents_of, read_log
from .storage import Backend
from .transaction import Transaction
from .view import View

if TYPE_CHECKING:
    import icechunk

_ID_PREFIX = re.compile(r"[0-9A-Z]{4,20}")
_BACK = re.compile(r"(?P<ref>.+)(?P<way>[~^])(?P<number>\d{0,9})")
_PARTS_BYTES = 256 << 20


@dataclass(frozen=True)
class _Resolved:
    snapshot_id: str
    branch: str | None


class Repository(Verbs, Upkeep):
    """A repository: one place with branches, tags, snapshots and datasets.

    Made by :meth:`create`, :meth:`open` or :meth:`open_or_create`. May be used
    from any thread; not in a forked child. Pickled, it is its location and options
    without secrets, so that a process that was spawned opens it by itself.

    Examples
    --------
    >>> import numpy as np, zv_versioned as zvv
    >>> repo = zvv.Repository.create("memory://")
    >>> with repo.transaction("main", message="three points") as tx:
    ...     ds = tx.create_dataset("points", kind="point_cloud", bounds=([0, 0, 0], [9, 9, 9]))
    ...     n = tx.writer("points").append_vertices_sync(np.eye(3, dtype="f4"))
    >>> repo.view("main")["points"][0].vertex_count
    3
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._parts = Cache(_PARTS_BYTES)
        self._ids: dict[str, KnownIds] = {}
        self._checks: list[Callable[[View], Any]] = []
        self.retries = 256
        self._ids_lock = threading.Lock()

    # -- opening -------------------------------------------------------------

    @classmethod
    def create(
        cls,
        location: str | os.PathLike[str] | icechunk.Storage,
        *,
        lock_timeout: float = 60.0,
        durable: bool = False,
        **storage_options: Any,
    ) -> Repository:
        """Create a repository where none is.

        Parameters
        ----------
        location : str, os.PathLike or icechunk.Storage
            A path, ``memory://`` (private) or ``memory://name`` (shared within the
            process), ``s3://bucket/prefix``, ``gs://…``, ``az://…``, or an icechunk
            storage.
        lock_timeout : float
            Seconds to wait for the lock that guards every change of a repository
            on a local filesystem.
        durable : bool
            On a local filesystem: whether a commit, and any other change, reaches
            the disk before it is acknowledged, so that it outlasts a loss of power.
            It costs some milliseconds a commit (docs/maintenance.md). Object stores
            do so by themselves.
        **storage_options
            Handed to icechunk's storage constructor: ``region``, ``endpoint_url``,
            ``anonymous``, keys, … Credentials come from the environment where
            none are given.

        Raises
        ------
        MetadataError
            If something is there already, or an option is unknown.
        StorageError
            If the storage fails.
        """
        return cls(
            Backend.create(location, lock_timeout=lock_timeout, durable=durable, **storage_options)
        )

    @classmethod
    def open(
        cls,
        location: str | os.PathLike[str] | icechunk.Storage,
        *,
        lock_timeout: float = 60.0,
        durable: bool = False,
        **storage_options: Any,
    ) -> Repository:
        """Open a repository that exists; the parameters are those of :meth:`create`.

        Raises
        ------
        NotFoundError
            If there is none.
        """
        return cls(
            Backend.open(location, lock_timeout=lock_timeout, durable=durable, **storage_options)
        )

    @classmethod
    def open_or_create(
        cls,
        location: str | os.PathLike[str] | icechunk.Storage,
        *,
        lock_timeout: float = 60.0,
        durable: bool = False,
        **storage_options: Any,
    ) -> Repository:
        """Open a repository, or create it where none is; parameters as in :meth:`create`."""
        try:
            return cls.open(location, lock_timeout=lock_timeout, durable=durable, **storage_options)
        except NotFoundError:
            try:
                return cls.create(
                    location, lock_timeout=lock_timeout, durable=durable, **storage_options
                )
            except MetadataError:
                # Somebody created it in between; if it is something else, this says so.
                if not cls.exists(location, **storage_options):
                    raise
                return cls.open(
                    location, lock_timeout=lock_timeout, durable=durable, **storage_options
                )

    @classmethod
    def exists(
        cls, location: str | os.PathLike[str] | icechunk.Storage, **storage_options: Any
    ) -> bool:
        """Whether there is a repository at a location."""
        return Backend.exists(location, **storage_options)

    @property
    def location(self) -> str:
        """Where the repository lies; never with credentials."""
        return self._backend.location

    # -- branches and tags ---------------------------------------------------

    def list_branches(self) -> list[str]:
        """Names of the branches, sorted."""
        return self._backend.branches()

    def create_branch(self, name: str, at: str = "main") -> str:
        """Create a branch; returns the id of its tip.

        Parameters
        ----------
        name : str
        at : str
            A branch, tag, snapshot id or unique prefix of one.

        Raises
        ------
        MetadataError
            If the name is not acceptable or taken.
        NotFoundError
            If `at` is nothing.
        """
        snapshot_id = self.resolve(at)
        if name in self._backend.tags():
            raise MetadataError(f"{name!r} is a tag already, and one word must not mean two things")
        self._backend.create_branch(name, snapshot_id)
        return snapshot_id

    def delete_branch(self, name: str) -> None:
        """Delete a branch; its snapshots stay until they are expired."""
        self._backend.delete_branch(name)

    def list_tags(self) -> list[str]:
        """Names of the tags, sorted."""
        return self._backend.tags()

    def create_tag(self, name: str, at: str = "main") -> str:
        """Name a snapshot for ever; returns its id. Parameters as in :meth:`create_branch`."""
        snapshot_id = self.resolve(at)
        if name in self._backend.branches():
            raise MetadataError(
                f"{name!r} is a branch already, and one word must not mean two things"
            )
        self._backend.create_tag(name, snapshot_id)
        return snapshot_id

    def delete_tag(self, name: str) -> None:
        """Delete a tag; its name cannot be used again."""
        self._backend.delete_tag(name)

    def reset_branch(self, branch: str = "main", *, to: str) -> str:
        """Make a branch point to another snapshot; returns that snapshot's id.

        What was committed after it leaves the branch. Views that are pinned to
        it, tags and other branches keep it.

        Parameters
        ----------
        branch : str
        to : str
            A branch, tag, snapshot id, unique prefix, ``REF~N`` or ``REF^N``.

        Raises
        ------
        NotFoundError
            If there is no such branch or snapshot.
        """
        snapshot_id = self.resolve(to)
        self._backend.reset_branch(branch, snapshot_id)
        return snapshot_id

    # -- snapshots -----------------------------------------------------------

    def resolve(self, ref: str) -> str:
        """The snapshot id that a word stands for.

        Parameters
        ----------
        ref : str
            A branch, a tag, a snapshot id, at least four characters of one that
            only one snapshot begins with, or any of these followed by ``~N``, the
            N-th ancestor over first parents, or by ``^N``, the N-th parent of a
            merge; as often as you like.

        Raises
        ------
        NotFoundError
            If it is nothing, or the beginning of several.
        """
        return self._resolve(ref).snapshot_id

    def _resolve(self, ref: str) -> _Resolved:
        if not isinstance(ref, str) or not ref:
            raise MetadataError(f"a branch, tag or snapshot is given as text, got {ref!r}")
        tip = self._tip_named(ref)
        if tip is not None:
            return _Resolved(tip, ref)
        if ref in self._backend.tags():
            return _Resolved(self._backend.tag_target(ref), None)
        back = _BACK.fullmatch(ref)
        if back:
            base, number = self._resolve(back["ref"]).snapshot_id, int(back["number"] or 1)
            there = self._ancestor if back["way"] == "~" else self._parent
            return _Resolved(there(ref, base, number), None)
        if _ID_PREFIX.fullmatch(ref.upper()):
            found = self._by_prefix(ref.upper())
            if len(found) == 1:
                return _Resolved(found[0], None)
            if found:
                raise NotFoundError(
                    f"{ref!r} begins {len(found)} snapshot ids: {', '.join(sorted(found)[:5])}; "
                    "give more of it"
                )
        backend = self._backend
        for kind, target in (("branch", backend.branch_tip), ("tag", backend.tag_target)):
            if ref in backend.lost(kind):
                return _Resolved(target(ref), None)  # says that its file is gone
        raise NotFoundError(
            f"{ref!r} is no branch, tag or snapshot of {self.location}; branches: "
            f"{', '.join(self._backend.branches())}; tags: "
            f"{', '.join(self._backend.tags()) or 'none'}"
        )

    def _tip_named(self, ref: str) -> str | None:
        """The tip of a branch; None where it is none."""
        # Most are, and are not looked for in a list first; what may be an id is, as a rule, one.
        if _ID_PREFIX.fullmatch(ref.upper()) and ref not in self._backend.branches():
            return None
        try:
            return self._backend.branch_tip(ref)
        except NotFoundError:
            return None

    def _ancestor(self, ref: str, snapshot_id: str, steps: int) -> str:
        depth = -1
        for depth, info in enumerate(self._backend.ancestry(snapshot_id)):
            if depth == steps:
                return info.id
        raise NotFoundError(f"{ref!r}: {snapshot_id} has only {depth} ancestors")

    def _parent(self, ref: str, snapshot_id: str, number: int) -> str:
        parents = parents_of(self._backend.snapshot(snapshot_id))
        if number == 0:
            return snapshot_id
        if number > len(parents):
            has = ("no parent", "one parent", "two parents")[len(parents)]
            raise NotFoundError(f"{ref!r}: {snapshot_id} has {has}")
        return parents[number - 1]

    def _by_prefix(self, prefix: str) -> list[str]:
        if len(prefix) == 20:
            try:
                return [self._backend.snapshot(prefix).id]
            except NotFoundError:
                return []
        tips = {self._backend.branch_tip(name) for name in self._backend.branches()}
        tips |= {self._backend.tag_target(name) for name in self._backend.tags()}
        seen: set[str] = set()
        for tip in tips:
            try:
                for info in self._backend.ancestry(tip):
                    if info.id in seen:
                        break
                    seen.add(info.id)
            except (IntegrityError, NotFoundError, StorageError) as error:
                raise type(error)(
                    f"which snapshot {prefix!r} begins cannot be told, for the history of {tip} "
                    f"cannot be read: {error}. Give the whole id, of 20 characters"
                ) from error
        return [snapshot for snapshot in seen if snapshot.startswith(prefix)]

    def log(self, ref: str = "main", limit: int | None = None) -> CommitLog:
        """The commits that led to a snapshot, over both parents of merges, newest first.

        Parameters
        ----------
        ref : str
            As in :meth:`resolve`.
        limit : int, optional
            How many at most.

        Returns
        -------
        CommitLog
            A list of :class:`CommitInfo`.
        """
        if limit is not None and not (is_whole(limit) and limit >= 0):
            raise MetadataError(f"limit must be a number from 0 up, got {limit!r}")
        return read_log(History(self._backend).walk(self.resolve(ref)), limit)

    # -- writing and reading -------------------------------------------------

    def transaction(
        self,
        branch: str = "main",
        *,
        message: str | None = None,
        author: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Transaction:
        """Begin a transaction on a branch.

        Parameters
        ----------
        branch : str
        message : str, optional
            Of the commit; left out, it says what was appended.
        author : str, optional
            Left out: ``ZV_VERSIONED_AUTHOR`` in the environment, else the login.
        metadata : mapping, optional
            Facts of your own for the commit, JSON.

        Raises
        ------
        NotFoundError
            If there is no such branch.
        """
        return Transaction(self, branch, message, author, metadata)

    def view(
        self,
        ref: str | None = None,
        *,
        branch: str | None = None,
        tag: str | None = None,
        snapshot_id: str | None = None,
        as_of: datetime | None = None,
    ) -> View:
        """Look at one snapshot, for ever the same.

        Parameters
        ----------
        ref : str, optional
            A branch, tag, snapshot id, unique prefix, ``REF~N`` or ``REF^N``; "main" where
            nothing else is given.
        branch, tag, snapshot_id : str, optional
            The same, saying which it is.
        as_of : datetime, optional
            The newest snapshot of the branch that is not younger; a time without
            a zone is local time.

        Raises
        ------
        NotFoundError
            If there is no such thing.
        MetadataError
            If more than one is given.
        """
        given = [value for value in (ref, branch, tag, snapshot_id) if value is not None]
        if len(given) > 1 or (as_of is not None and (tag or snapshot_id)):
            raise MetadataError(
                "view() takes one of ref, branch, tag or snapshot_id; as_of goes with a branch"
            )
        if tag is not None:
            found = _Resolved(self._backend.tag_target(tag), None)
        elif branch is not None:
            found = _Resolved(self._backend.branch_tip(branch), branch)
        elif snapshot_id is not None:
            found = _Resolved(self._backend.snapshot(snapshot_id).id, None)
        else:
            found = self._resolve("main" if ref is None else ref)
        if as_of is not None:
            found = _Resolved(self._as_of(found.snapshot_id, as_of), None)
        return View(self, found.snapshot_id, found.branch)

    def _as_of(self, tip: str, when: datetime) -> str:
        if not isinstance(when, datetime):
            raise MetadataError(
                "as_of must be a datetime, such as datetime(2026, 1, 31, 12, 30), got "
                f"{when!r}; datetime.fromisoformat() reads a text"
            )
        moment = when.astimezone()
        for info in self._backend.ancestry(tip):
            if info.written_at <= moment:
                return info.id
        raise NotFoundError(f"nothing was committed by {moment.isoformat()}")

    def _known_ids(self, level_path: str) -> KnownIds:
        with self._ids_lock:
            known = self._ids.get(level_path)
            if known is None:
                known = self._ids[level_path] = KnownIds()
            return known

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen.repository, (self._backend.address(),)

    def __deepcopy__(self, memo: dict[int, Any]) -> Repository:
        return self

    # -- showing -------------------------------------------------------------

    def __repr__(self) -> str:
        try:
            branches, tags = self.list_branches(), self.list_tags()
        except ZVError as error:  # to be seen where it is shown, rather than break what shows it
            return f"<Repository {self.location}: {error}>"
        return (
            f"<Repository {self.location}: branches {', '.join(branches)}; "
            f"tags {', '.join(tags) or 'none'}>"
        )

    def _tip(self, branch: str) -> str:
        info = self.log(branch, limit=1)[0]
        return f"{info.snapshot_id}  {info.message}"

    def _repr_html_(self) -> str:
        rows = [("location", self.location)]
        backend = self._backend
        try:
            for name in sorted({*self.list_branches(), *backend.lost("branch")}):
                rows.append((f"branch {name}", _or_why_not(self._tip, name)))
            for name in sorted({*self.list_tags(), *backend.lost("tag")}):
                rows.append((f"tag {name}", _or_why_not(backend.tag_target, name)))
        except ZVError as error:  # to be seen where it is shown, rather than break what shows it
            rows.append(("unreadable", str(error)))
        return html_table(f"Repository {self.location.rsplit('/', 1)[-1]}", rows)


def _or_why_not(lookup: Callable[[str], str], name: str) -> str:
    """An answer, or what is damaged so that there is none: to be shown beside what is whole."""
    try:
        return lookup(name)
    except IntegrityError as error:
        return str(error)


__all__ = ["CommitInfo", "CommitLog", "Repository"]
