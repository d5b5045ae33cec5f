"""Where a repository lives: its location, its icechunk configuration, its lock, its errors.

This is the one module that knows the differences between icechunk's versions
and the one place where icechunk's exceptions become ours. Above it there are
snapshot ids, sessions and stores.

A location is one of

- a path (``~`` is expanded) or ``file://…``;
- ``memory://``, a new private store at every creation, or ``memory://name``,
  one store per name for as long as this process lives;
- ``s3://bucket/prefix``, ``gs://…`` (or ``gcs://``), ``az://container/prefix``,
  with the keyword options of icechunk's ``s3_storage``, ``gcs_storage`` and
  ``azure_storage``; credentials come from the environment unless given;
- an :class:`icechunk.Storage`, taken as it is.
"""

from __future__ import annotations

import difflib
import inspect
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit
from urllib.request import url2pathname

import icechunk as ic

from . import errors
from ._io import check_process
from ._lock import HOLDER_FILE, LOCK_FILE, RepositoryLock
from .errors import (
    ConflictError,
    IntegrityError,
    MetadataError,
    NotFoundError,
    ReadOnlyError,
    StorageError,
)

__all__ = ["Backend", "Location", "SnapshotInfo", "translated"]

Location: TypeAlias = "str | os.PathLike[str] | ic.Storage"

# The first two warn of what the lock takes care of; the third advises a setting that icechunk's
# own local storage cannot have (a filesystem stores no metadata with an object).
if "ICECHUNK_LOG" not in os.environ:
    ic.set_logs_filter(
        "warn,icechunk::storage::object_store=error,"
        "icechunk_arrow_object_store=error,icechunk_storage::readback=error"
    )

_CLOUD: dict[str, tuple[Callable[..., ic.Storage], str]] = {
    "s3": (ic.s3_storage, "bucket"),
    "gs": (ic.gcs_storage, "bucket"),
    "gcs": (ic.gcs_storage, "bucket"),
    "az": (ic.azure_storage, "container"),
}
_SCHEMES = "a path, file://, memory://, s3://bucket/prefix, gs://… or az://container/prefix"
_CREATING = ".zv_versioned.creating"
# icechunk 1 makes a name part of a path, and gives back escaped what it had to escape there.
_REF_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+=@-]{0,199}")
_SPLIT_EVERY = 256

_memory: dict[str, ic.Storage] = {}
_memory_lock = threading.Lock()
_runtime_pid: int | None = None


@dataclass(frozen=True)
class SnapshotInfo:
    """One version, as icechunk keeps it."""

    id: str
    parent_id: str | None
    message: str
    written_at: datetime
    metadata: dict[str, Any]


@dataclass(frozen=True)
class _Place:
    """A location that has been understood, and nothing touched yet."""

    location: str
    scheme: str
    name: str = ""
    folder: Path | None = None
    # Making a storage for a folder makes the folder; opening must not.
    make: Callable[[], ic.Storage] = field(default=ic.in_memory_storage)


def _resolve(location: Location, options: Mapping[str, Any]) -> _Place:
    if isinstance(location, ic.Storage):
        _refuse_options("an icechunk.Storage", options)
        return _from_storage(location)
    text: object = location
    if isinstance(location, os.PathLike):
        text = os.fspath(location)
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise MetadataError(f"location is {location!r}; give {_SCHEMES}, or an icechunk.Storage")
    parts = re.fullmatch(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", text, re.DOTALL)
    if parts is None:
        if re.match(r"(s3|gcs|gs|az|memory|file):[/\\]", text):
            raise MetadataError(
                f"location {text!r} has lost a slash: give a URL as a string, not as a pathlib.Path"
            )
        return _local(text, options)
    scheme, rest = parts[1].lower(), parts[2]
    if scheme == "file":
        url = urlsplit(text)
        if url.netloc not in ("", "localhost") or not url.path:
            raise MetadataError(
                f"location {text!r} names no absolute path; write file:///path/to/it"
            )
        return _local(url2pathname(url.path), options)
    if scheme == "memory":
        _refuse_options("memory://", options)
        return _Place(f"memory://{rest}", scheme, name=rest)
    if scheme in _CLOUD:
        return _cloud(scheme, rest, options)
    raise MetadataError(f"location scheme {parts[1] + '://'!r} is not known; give {_SCHEMES}")


def _refuse_options(what: str, options: Mapping[str, Any]) -> None:
    if options:
        raise MetadataError(
            f"{what} takes no storage options, but got {', '.join(sorted(options))}"
        )


def _local(text: str, options: Mapping[str, Any]) -> _Place:
    _refuse_options("a local path", options)
    folder = Path(os.path.abspath(os.path.expanduser(text)))
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise MetadataError(f"location {str(folder)!r} is not valid UTF-8; rename it") from None
    return _Place(
        str(folder), "file", folder=folder, make=lambda: ic.local_filesystem_storage(str(folder))
    )


def _cloud(scheme: str, rest: str, options: Mapping[str, Any]) -> _Place:
    constructor, container_word = _CLOUD[scheme]
    scheme = "gs" if scheme == "gcs" else scheme
    container, _, prefix = rest.partition("/")
    prefix = prefix.strip("/")
    if "@" in container or "?" in rest:
        # Not repeated in the message: what stands there may be a password.
        raise MetadataError(
            f"a {scheme}:// location holds a {container_word} and a prefix, nothing else; give "
            "credentials and settings as keyword options"
        )
    if not container:
        raise MetadataError(
            f"location '{scheme}://{rest}' names no {container_word}; give {_SCHEMES}"
        )
    location = f"{scheme}://{container}/{prefix}".rstrip("/")
    accepted = sorted(set(inspect.signature(constructor).parameters) - {container_word, "prefix"})
    for option in options:
        if option not in accepted:
            raise MetadataError(
                f"{option!r} is no storage option of {scheme}://; accepted are: "
                f"{', '.join(accepted)}"
            )
    arguments: dict[str, Any] = {**options, container_word: container, "prefix": prefix}
    if scheme == "az" and not arguments.get("account"):
        variables = ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT")
        account = next(filter(None, map(os.environ.get, variables)), None)
        if account is None:
            raise MetadataError(
                f"{location} needs the storage account: give account=… or set the environment "
                f"variable {' or '.join(variables)}"
            )
        arguments["account"] = account
    try:
        with translated(location):
            storage = constructor(**arguments)
    except errors.ZVError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise MetadataError(f"the storage options for {location} do not fit: {error}") from error
    return _Place(location, scheme, name=prefix, make=lambda: storage)


def _from_storage(storage: ic.Storage) -> _Place:
    shown = repr(storage)
    if re.search(r"LocalFileSystem|local filesystem", shown):
        path = re.search(r"path=(.*)\)\)\s*\Z|^path: (.*)$", shown, re.MULTILINE)
        if path is None:
            raise MetadataError(
                "a local icechunk.Storage that hides its path; give the path instead"
            )
        return _local(path[1] or path[2], {})
    if re.search(r"InMemory|in-memory", shown):
        return _Place("memory://", "storage", make=lambda: storage)
    names = re.findall(r"\b(?:bucket|container|prefix)(?:: |=)([^,\n)]+)", shown)
    return _Place("icechunk.Storage " + "/".join(names), "storage", make=lambda: storage)


def _config(place: _Place, storage: ic.Storage | None) -> ic.RepositoryConfig:
    """Return our settings, with those that go with `storage` unless they are to be stored."""
    manifest = ic.ManifestConfig(
        preload=ic.ManifestPreloadConfig(max_total_refs=0),
        splitting=ic.ManifestSplittingConfig.from_dict(
            {
                ic.ManifestSplitCondition.AnyArray(): {
                    ic.ManifestSplitDimCondition.DimensionName("^batch$"): _SPLIT_EVERY,
                    ic.ManifestSplitDimCondition.DimensionName("^bucket$"): _SPLIT_EVERY,
                }
            }
        ),
    )
    config = ic.RepositoryConfig(inline_chunk_threshold_bytes=512, manifest=manifest)
    # icechunk 1 has neither.
    for owner, name, value in (
        (manifest, "max_concurrent_manifest_fetches_during_commit", 16),
        (config, "num_updates_per_repo_info_file", 100),
    ):
        if hasattr(type(owner), name):
            setattr(owner, name, value)
    config.manifest = manifest
    if storage is not None and not place.location.startswith("memory://"):
        settings = storage.default_settings()
        if place.folder is not None:
            # Otherwise a local read is cut into five.
            settings.concurrency = ic.StorageConcurrencySettings(
                max_concurrent_requests_for_object=1, ideal_concurrent_request_size=1 << 40
            )
        else:
            # A local repository that was copied here brings settings along that lose commits here.
            settings.unsafe_use_conditional_create = True
            settings.unsafe_use_conditional_update = True
            settings.unsafe_use_metadata = True
        config.storage = settings
    return config


_BY_CLASS = {
    "NotFoundError": NotFoundError,
    "ReadOnlyError": ReadOnlyError,
    "FormatError": IntegrityError,
}
_BY_TEXT: tuple[tuple[str, type[errors.ZVError]], ...] = (
    (r"^(ref|snapshot|snapshot id|branch|tag|node) not found", NotFoundError),
    (r"^invalid (ref name|snapshot id)|repository doesn't exist", NotFoundError),
    (r"already (exists|deleted)|clean prefixes|cannot be deleted|no changes made", MetadataError),
    (r"read.only", ReadOnlyError),
    (r"deseriali[sz]|flatbuffer|invalid file format|magic", IntegrityError),
)


@contextmanager
def translated(location: str) -> Iterator[None]:
    """Turn what icechunk raises inside the block into our exceptions.

    Parameters
    ----------
    location : str
        Named in the message.

    Raises
    ------
    ZVError
        Of the fitting class; :class:`StorageError` where none fits better.
    """
    try:
        yield
    except (ic.IcechunkError, ic.ConflictError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        line = re.sub(r"^[x\u00d7]\s+", "", lines[0]) if lines else type(error).__name__
        message = f"{location}: {line}"
        if isinstance(error, ic.ConflictError):
            raise ConflictError(message, what="branch", where=location) from error
        for name, target in _BY_CLASS.items():
            if isinstance(error, getattr(ic, name, ())):
                raise target(message) from error
        for pattern, target in _BY_TEXT:
            if re.search(pattern, line, re.IGNORECASE):
                raise target(message) from error
        raise StorageError(f"{message} (the full report is this error's cause)") from error


def _check_runtime(location: str) -> None:
    """Refuse a process forked from one that had used icechunk: its calls would hang."""
    global _runtime_pid
    if _runtime_pid is None:
        _runtime_pid = os.getpid()
    check_process(_runtime_pid, f"icechunk, which {location} needs,")


def _check_name(kind: str, name: object, *, new: bool = False) -> None:
    if not isinstance(name, str) or not name:
        raise MetadataError(f"a {kind} name must be a non-empty string, not {name!r}")
    if new and not _REF_NAME.fullmatch(name):
        raise MetadataError(
            f"{name!r} is no good {kind} name: use 1 to 200 letters, digits and . _ - + = @ "
            "(ASCII, no slash, no space), beginning with a letter, a digit or _"
        )


class Backend:
    """An icechunk repository, with its lock and its version differences hidden.

    Made by :meth:`create` and :meth:`open`. Its methods block, may be called
    from any thread and inside a running event loop, and refuse to work in a
    forked child.

    Attributes
    ----------
    location : str
        Where it is; printable, it never holds credentials.
    is_local : bool
        Whether it lies on a filesystem, and so needs its lock.
    """

    def __init__(self, place: _Place, repository: ic.Repository, lock_timeout: float) -> None:
        self.location = place.location
        self.is_local = place.folder is not None
        self._repository = repository
        self._lock = None if place.folder is None else RepositoryLock(place.folder, lock_timeout)
        self._pid = os.getpid()

    def __repr__(self) -> str:
        return f"<Backend {self.location}>"

    @classmethod
    def create(
        cls, location: Location, *, lock_timeout: float = 60.0, **storage_options: Any
    ) -> Backend:
        """Create a repository and open it.

        Parameters
        ----------
        location : str, os.PathLike or icechunk.Storage
            Where; see the module's description.
        lock_timeout : float
            Seconds to wait for the lock of a local repository.
        **storage_options
            Handed to icechunk's constructor for this kind of storage.

        Returns
        -------
        Backend
            The new repository.

        Raises
        ------
        MetadataError
            If something is there already, or the location or an option is not
            acceptable.
        """
        place = _resolve(location, storage_options)
        _check_runtime(place.location)
        if place.folder is not None:
            _create_local(place, place.folder, RepositoryLock(place.folder, lock_timeout))
            return cls._open(place, lock_timeout)
        if place.scheme in _CLOUD and not place.name:
            raise MetadataError(
                f"{place.location} names no prefix; a repository needs one: {place.location}/name"
            )
        with _memory_lock if place.scheme == "memory" else nullcontext():
            if place.name and place.name in _memory and place.scheme == "memory":
                raise _occupied(place.location)
            storage = place.make()
            with translated(place.location):
                if ic.Repository.exists(storage):
                    raise _occupied(place.location)
                try:
                    repository = ic.Repository.create(storage, config=_config(place, storage))
                except ic.ConflictError as error:
                    raise _occupied(place.location) from error
            if place.scheme == "memory" and place.name:
                _memory[place.name] = storage
        return cls(place, repository, lock_timeout)

    @classmethod
    def open(
        cls, location: Location, *, lock_timeout: float = 60.0, **storage_options: Any
    ) -> Backend:
        """Open a repository; parameters as for :meth:`create`.

        Raises
        ------
        NotFoundError
            If there is none.
        """
        place = _resolve(location, storage_options)
        _check_runtime(place.location)
        return cls._open(place, lock_timeout)

    @classmethod
    def _open(cls, place: _Place, lock_timeout: float) -> Backend:
        storage = _existing(place)
        absent = f"there is no repository at {place.location}; create one, or check the location"
        if storage is None:
            if place.location == "memory://":
                absent = "memory:// is private to its creator; only memory://name can be opened"
            raise NotFoundError(absent)
        with translated(place.location):
            try:
                repository = ic.Repository.open(storage, config=_config(place, storage))
            except ic.IcechunkError as error:
                if "repository doesn't exist" not in str(error):
                    raise
                raise NotFoundError(absent) from error
        return cls(place, repository, lock_timeout)

    @classmethod
    def exists(cls, location: Location, **storage_options: Any) -> bool:
        """Tell whether there is a repository at `location`."""
        place = _resolve(location, storage_options)
        _check_runtime(place.location)
        storage = _existing(place)
        with translated(place.location):
            return storage is not None and ic.Repository.exists(storage)

    def branches(self) -> list[str]:
        """Return the names of all branches, sorted."""
        self._check()
        with translated(self.location):
            return sorted(self._repository.list_branches())

    def tags(self) -> list[str]:
        """Return the names of all tags, sorted."""
        self._check()
        with translated(self.location):
            return sorted(self._repository.list_tags())

    def branch_tip(self, name: str) -> str:
        """Return the snapshot id of the tip of branch `name`; NotFoundError if there is none."""
        self._check()
        with self._finding("branch", name):
            return self._repository.lookup_branch(name)

    def tag_target(self, name: str) -> str:
        """Return the snapshot id that tag `name` stands for; NotFoundError if there is none."""
        self._check()
        with self._finding("tag", name):
            return self._repository.lookup_tag(name)

    def create_branch(self, name: str, snapshot_id: str) -> None:
        """Create branch `name` at a snapshot; MetadataError if it exists."""
        self._check()
        _check_name("branch", name, new=True)
        with self.mutation(f"create branch {name}"):
            target = self.snapshot(snapshot_id).id
            if name in self.branches():
                raise self._taken("branch", name, "exists already")
            try:
                with translated(self.location):
                    self._repository.create_branch(name, target)
            except MetadataError as error:
                raise self._taken("branch", name, "exists already") from error

    def delete_branch(self, name: str) -> None:
        """Delete branch `name`; ``main`` cannot be deleted."""
        self._check()
        _check_name("branch", name)
        if name == "main":
            raise MetadataError(
                "branch 'main' cannot be deleted; reset it to another snapshot instead"
            )
        with self.mutation(f"delete branch {name}"), self._finding("branch", name):
            self._repository.delete_branch(name)

    def create_tag(self, name: str, snapshot_id: str) -> None:
        """Create tag `name` for a snapshot; MetadataError if it exists or ever existed."""
        self._check()
        _check_name("tag", name, new=True)
        with self.mutation(f"create tag {name}"):
            target = self.snapshot(snapshot_id).id
            try:
                with translated(self.location):
                    self._repository.create_tag(name, target)
            except MetadataError as error:
                why = "exists already" if name in self.tags() else "was deleted, for good,"
                raise self._taken("tag", name, why) from error

    def delete_tag(self, name: str) -> None:
        """Delete tag `name` for good: the name cannot be used again."""
        self._check()
        _check_name("tag", name)
        with self.mutation(f"delete tag {name}"), self._finding("tag", name):
            self._repository.delete_tag(name)

    def reset_branch(self, name: str, snapshot_id: str) -> None:
        """Make a snapshot the tip of branch `name`, wherever the tip was."""
        self._check()
        with self.mutation(f"reset branch {name}"):
            target = self.snapshot(snapshot_id).id
            with self._finding("branch", name):
                self._repository.reset_branch(name, target)

    def snapshot(self, snapshot_id: str) -> SnapshotInfo:
        """Return what is known of a snapshot; NotFoundError if there is none."""
        return next(self.ancestry(snapshot_id))

    def ancestry(self, snapshot_id: str) -> Iterator[SnapshotInfo]:
        """Return a snapshot and its ancestors, newest first.

        Raises
        ------
        NotFoundError
            At once, if there is no such snapshot.
        """
        self._check()
        # For an absent one, icechunk 1's lookup_snapshot reports a failure of the storage.
        with self._finding_snapshot(snapshot_id):
            iterator = iter(self._repository.ancestry(snapshot_id=snapshot_id))
            first = next(iterator)
        return self._infos(first, iterator)

    def _infos(self, info: Any, iterator: Iterator[Any]) -> Iterator[SnapshotInfo]:
        while info is not None:
            yield SnapshotInfo(
                info.id, info.parent_id, info.message, info.written_at, dict(info.metadata)
            )
            self._check()
            with translated(self.location):
                info = next(iterator, None)

    def read_store(self, snapshot_id: str) -> ic.IcechunkStore:
        """Return a read-only zarr store of a snapshot; NotFoundError if there is none."""
        self._check()
        with self._finding_snapshot(snapshot_id):
            return self._repository.readonly_session(snapshot_id=snapshot_id).store

    def begin(self, branch: str) -> ic.Session:
        """Return a writable session at the tip of `branch`; NotFoundError if there is none."""
        self._check()
        with self._finding("branch", branch):
            return self._repository.writable_session(branch)

    def publish(
        self, session: ic.Session, branch: str, message: str, metadata: Mapping[str, Any]
    ) -> str:
        """Commit a session, unless its branch has moved since it began.

        Parameters
        ----------
        session : icechunk.Session
            From :meth:`begin`. After a conflict it is as it was.
        branch : str
            The branch it began on.
        message : str
            Of the commit.
        metadata : mapping
            Of the commit; JSON values under string keys.

        Returns
        -------
        str
            The id of the new snapshot.

        Raises
        ------
        ConflictError
            If the branch has moved: ``ours`` is its tip, ``theirs`` the
            snapshot that the session began at.
        """
        self._check()
        if session.read_only:
            raise ReadOnlyError(
                f"this session on {self.location} only reads, or was published already"
            )
        if session.branch != branch:
            raise MetadataError(f"the session began on branch {session.branch!r}, not {branch!r}")
        if not isinstance(message, str):
            raise MetadataError(f"a commit message must be a string, not {message!r}")
        if not session.has_uncommitted_changes:
            raise MetadataError(f"nothing to publish to {branch!r}: the session changed nothing")
        stored = _json_object(metadata)
        began = session.snapshot_id
        with self.mutation(f"commit to {branch}"):
            # An object store makes this check itself, where it decides, and a round trip is spared.
            if self.is_local and (tip := self.branch_tip(branch)) != began:
                raise self._moved(branch, tip, began)
            with translated(self.location):
                try:
                    return session.commit(message, stored)
                except ic.ConflictError as error:
                    if (tip := self.branch_tip(branch)) == began:
                        raise
                    raise self._moved(branch, tip, began) from error

    def mutation(self, purpose: str) -> AbstractContextManager[None]:
        """Return a context in which this process alone may change the repository.

        It may be nested in one thread. Object stores need no lock, and have none.

        Parameters
        ----------
        purpose : str
            Shown to those who wait in vain, after "has held it to".
        """
        self._check()
        return nullcontext() if self._lock is None else self._lock.hold(purpose)

    def _check(self) -> None:
        check_process(self._pid, f"the repository at {self.location}")

    def _taken(self, kind: str, name: str, why: str) -> MetadataError:
        return MetadataError(f"{kind} {name!r} {why} in {self.location}; take another name")

    def _moved(self, branch: str, tip: str, began: str) -> ConflictError:
        return ConflictError(
            f"branch {branch!r} of {self.location} moved to {tip} since the session began at "
            f"{began}; begin again from the new tip",
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
        except NotFoundError as error:
            there = self.branches() if kind == "branch" else self.tags()
            raise NotFoundError(
                f"there is no {kind} {name!r} in {self.location}; {_suggest(name, there)}"
            ) from error

    @contextmanager
    def _finding_snapshot(self, snapshot_id: str) -> Iterator[None]:
        if not isinstance(snapshot_id, str):
            raise MetadataError(f"a snapshot id must be a string, not {snapshot_id!r}")
        try:
            with translated(self.location):
                yield
        except NotFoundError as error:
            raise NotFoundError(
                f"there is no snapshot {snapshot_id!r} in {self.location}; the log of a branch "
                "lists those there are"
            ) from error


def _suggest(name: str, there: list[str]) -> str:
    close = difflib.get_close_matches(name, there)
    if close:
        return "did you mean " + " or ".join(map(repr, close)) + "?"
    if not there:
        return "there are none"
    more = f" and {len(there) - 10} more" if len(there) > 10 else ""
    return "there are " + ", ".join(map(repr, there[:10])) + more


def _stored_int(digits: str) -> int:
    value = int(digits)
    if not -(2**63) <= value < 2**64:
        # icechunk would keep a float that is near it.
        raise ValueError(f"{digits} does not fit 64 bits")
    return value


def _json_object(metadata: Mapping[str, Any]) -> dict[str, Any]:
    try:
        for key in metadata:
            if not isinstance(key, str):
                raise TypeError(f"its key {key!r} is no string")
        stored: dict[str, Any] = json.loads(
            json.dumps(dict(metadata), allow_nan=False), parse_int=_stored_int
        )
    except (TypeError, ValueError) as error:
        raise MetadataError(f"commit metadata must be JSON under string keys: {error}") from error
    return stored


def _existing(place: _Place) -> ic.Storage | None:
    """Return the storage of a place, or None where it is plain that nothing is there."""
    if place.scheme == "memory":
        with _memory_lock:
            return _memory.get(place.name)
    if place.folder is not None and not os.path.isdir(place.folder):
        return None
    with translated(place.location):
        return place.make()


def _occupied(location: str) -> MetadataError:
    return MetadataError(f"there is a repository at {location} already; open it, or go elsewhere")


def _create_local(place: _Place, folder: Path, lock: RepositoryLock) -> None:
    """Create a repository beside its own lock file, which icechunk does not allow by itself.

    It is made in a folder inside `folder` and then moved up, last the file by
    which icechunk knows a repository: nobody ever sees half of one.
    """
    try:
        _refuse_unless_clean(place, folder)
        folder.mkdir(parents=True, exist_ok=True)
        with lock.hold("create the repository"):
            _refuse_unless_clean(place, folder)
            inside = folder / _CREATING
            shutil.rmtree(inside, ignore_errors=True)
            with translated(place.location):
                storage = ic.local_filesystem_storage(str(inside))
                ic.Repository.create(storage, config=_config(place, None))
            for item in sorted(inside.iterdir(), key=lambda path: path.name in ("repo", "refs")):
                item.rename(folder / item.name)
            inside.rmdir()
    except OSError as error:
        raise StorageError(f"no repository can be created at {place.location}: {error}") from error


def _refuse_unless_clean(place: _Place, folder: Path) -> None:
    if folder.is_dir():
        ours = {LOCK_FILE, HOLDER_FILE, _CREATING}
        there = sorted({path.name for path in folder.iterdir()} - ours)
        with translated(place.location):
            if there and ic.Repository.exists(place.make()):
                raise _occupied(place.location)
        if there:
            raise MetadataError(
                f"{place.location} is a folder that is not empty and holds no repository (but "
                f"{there[0]!r}); take another location or an empty folder"
            )
    elif os.path.lexists(folder):
        raise MetadataError(f"{place.location} is a file; take a folder, or a path that is free")
