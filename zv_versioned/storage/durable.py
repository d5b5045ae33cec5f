"""Making a commit reach the disk before it is acknowledged.

A filesystem keeps what was written in memory for a while, and after a loss of
power a file may be there without its bytes, or its name may be missing. A
commit lasts when the bytes of every file that it wrote were synced, then the
folders with their names, and only then the one file that leads to it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

from ..errors import StorageError
from . import files


def sync_files(folder: Path, paths: Iterable[str]) -> None:
    """Sync files, and then every folder that one of them lies in.

    Raises
    ------
    StorageError
        If the system cannot.
    """
    folders = set()
    try:
        for path in paths:
            _sync(folder / path, os.O_RDONLY)
            folders.add((folder / path).parent)
        for parent in sorted(folders):
            sync_folder(parent)
    except OSError as error:
        raise StorageError(
            f"{folder}: what was written could not be synced to the disk ({error}), so it might "
            "not outlast a loss of power. Check the disk; without durable=True nothing is synced"
        ) from error


def sync_folder(path: Path) -> None:
    """Sync the names in a folder, where the system can."""
    if os.name != "nt":  # there a folder cannot be opened, and names are journalled
        _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_everything(folder: Path) -> None:
    """Sync all that lies in a repository's folder, whoever wrote it."""
    if os.name != "nt" and hasattr(ctypes.CDLL(None), "syncfs"):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) == 0:
                return
        finally:
            os.close(descriptor)
    for parent, _, names in os.walk(folder):
        for name in names:
            _sync(Path(parent, name), os.O_RDONLY)
        sync_folder(Path(parent))


def written_by(folder: Path, before: str, after: str) -> list[str]:
    """The files that a commit wrote, by comparing its snapshot with the one it began at."""
    old, new = _manifests(folder, before), _manifests(folder, after)
    fresh = sorted(new - old)
    chunks = _chunks(folder, fresh) - _chunks(folder, sorted(old - new))
    paths = [f"chunks/{chunk}" for chunk in sorted(chunks)]
    paths += [f"manifests/{manifest}" for manifest in fresh]
    paths += [f"{kind}/{after}" for kind in ("snapshots", "transactions")]
    return [path for path in paths if (folder / path).exists()]


def _manifests(folder: Path, snapshot: str) -> set[str]:
    path = f"snapshots/{snapshot}"
    return set(files.manifests_of((folder / path).read_bytes(), path))


def _chunks(folder: Path, manifests: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for name in manifests:
        path = f"manifests/{name}"
        _, arrays = files.manifest((folder / path).read_bytes(), path)
        for refs in arrays.values():
            found.update(map(files.object_id, refs.chunks()))
    return found
