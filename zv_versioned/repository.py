"""Repository: branches, tags, snapshots and the way to datasets."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from . import _reopen
from ._cache import Cache
from ._checks import is_whole
from ._ids import KnownIds
from ._upkeep import Upkeep
from ._verbs import Verbs
from .errors import IntegrityError, MetadataError, NotFoundError, ZVError
from .geometry import html_table
from .history.graph import History
from .history.log import CommitInfo, CommitLog, read_log
from .history.named import Named, named, newest_by
from .storage import Backend
from .transaction import Transaction
from .view import View

if TYPE_CHECKING:
    import icechunk

_PARTS_BYTES = 256 << 20


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
        return named(self._backend, ref).snapshot_id

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
            found = Named(self._backend.tag_target(tag), None)
        elif branch is not None:
            found = Named(self._backend.branch_tip(branch), branch)
        elif snapshot_id is not None:
            found = Named(self._backend.snapshot(snapshot_id).id, None)
        else:
            found = named(self._backend, "main" if ref is None else ref)
        if as_of is not None:
            found = Named(newest_by(self._backend, found.snapshot_id, as_of), None)
        return View(self, found.snapshot_id, found.branch)

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
