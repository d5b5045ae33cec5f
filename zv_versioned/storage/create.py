"""Creating a repository, so that nobody ever sees half of one."""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import nullcontext
from pathlib import Path

import icechunk as ic

from ..errors import MetadataError, StorageError
from .config import repository_config
from .location import Place
from .lock import HOLDER_FILE, LOCK_FILE, RepositoryLock
from .translate import translated

_CREATING = ".zv_versioned.creating"
_OURS = {LOCK_FILE, HOLDER_FILE, _CREATING}
# What a new repository of icechunk has; by the one of these two it is known, and that moves last.
_KNOWN_BY = ("repo", "refs")
_MOVED_FIRST = {"config.yaml", "snapshots", "transactions"}

_memory: dict[str, ic.Storage] = {}
_memory_lock = threading.Lock()


def create_elsewhere(place: Place) -> ic.Repository:
    """Create a repository in memory or in an object store."""
    with _memory_lock if place.scheme == "memory" else nullcontext():
        if place.name and place.name in _memory and place.scheme == "memory":
            raise _occupied(place.location)
        storage = place.make()
        with translated(place.location):
            if ic.Repository.exists(storage):
                raise _occupied(place.location)
            try:
                repository = ic.Repository.create(storage, config=repository_config(place, storage))
            except ic.ConflictError as error:
                raise _occupied(place.location) from error
        if place.scheme == "memory" and place.name:
            _memory[place.name] = storage
    return repository


def existing(place: Place) -> ic.Storage | None:
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


def create_local(place: Place, folder: Path, lock: RepositoryLock) -> None:
    """Create a repository beside its own lock file, which icechunk does not allow by itself.

    It is made in a folder inside `folder` and then moved up, last the file by
    which icechunk knows a repository: nobody ever sees half of one.
    """
    try:
        _refuse_unless_clean(place, folder, locked=False)
        _refuse_inside_another(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with lock.hold("create the repository"):
            inside = folder / _CREATING
            if not _moved_in_part(folder, inside):
                _refuse_unless_clean(place, folder, locked=True)
                shutil.rmtree(inside, ignore_errors=True)
                with translated(place.location):
                    storage = ic.local_filesystem_storage(str(inside))
                    ic.Repository.create(storage, config=repository_config(place, None))
            for item in sorted(inside.iterdir(), key=lambda path: path.name in _KNOWN_BY):
                item.rename(folder / item.name)
            inside.rmdir()
    except OSError as error:
        raise StorageError(f"no repository can be created at {place.location}: {error}") from error


def _moved_in_part(folder: Path, inside: Path) -> bool:
    """Whether somebody was stopped while a whole repository was moved up: the rest has to follow.

    Nothing is moved before it is whole, nor into a folder with anything in it.
    """
    moved = {path.name for path in folder.iterdir()} - _OURS
    rest = any(os.path.lexists(inside / name) for name in _KNOWN_BY)
    return rest and bool(moved) and moved <= _MOVED_FIRST


def _refuse_inside_another(folder: Path) -> None:
    """Refuse a place inside a repository: its check would find files that are none of its own."""
    for outer in folder.resolve().parents:
        if not os.path.exists(outer / LOCK_FILE):
            continue
        with translated(str(outer)):
            if ic.Repository.exists(ic.local_filesystem_storage(str(outer))):
                raise MetadataError(
                    f"{folder} lies inside the repository {outer}; take a location outside it, or "
                    "create a dataset in that one"
                )


def _refuse_unless_clean(place: Place, folder: Path, *, locked: bool) -> None:
    if folder.is_dir():
        there = sorted({path.name for path in folder.iterdir()} - _OURS)
        with translated(place.location):
            if there and ic.Repository.exists(place.make()):
                raise _occupied(place.location)
        # It may be a part of one that somebody creates now; who has the lock can tell.
        if there and (locked or not os.path.lexists(folder / LOCK_FILE)):
            raise MetadataError(
                f"{place.location} is a folder that is not empty and holds no repository (but "
                f"{there[0]!r}); take another location or an empty folder"
            )
    elif os.path.lexists(folder):
        raise MetadataError(f"{place.location} is a file; take a folder, or a path that is free")
