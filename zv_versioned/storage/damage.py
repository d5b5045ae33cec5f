"""Whether a failure of icechunk's means that a local file is damaged or missing, and which."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ..errors import IntegrityError
from . import files

_SEE = "zv-versioned fsck -r {} (it need not be opened for that) tells more, and the way back"


@dataclass(frozen=True)
class Damage:
    """What is wrong with one of a repository's files; as text with the way to learn more.

    Parameters
    ----------
    folder : Path
        Of the repository.
    what : str
        Names the file.
    missing : bool
        Whether it is not there, rather than damaged.
    """

    folder: Path
    what: str
    missing: bool = False

    def __str__(self) -> str:
        return f"{self.what}. {_SEE.format(self.folder)}"

    def error(self, where: str) -> IntegrityError:
        """The error that says so, after where it was noticed."""
        return IntegrityError(f"{where}: {self}", missing=self.missing)


def of_snapshot(folder: Path, snapshot_id: str, *, known: bool) -> Damage | None:
    """What is wrong with the file of a snapshot; None where it can be read, or the disk fails.

    Parameters
    ----------
    folder : Path
    snapshot_id : str
    known : bool
        Whether a ref leads to it, so that its file has to be there.
    """
    path = f"snapshots/{snapshot_id}"
    try:
        files.snapshot((folder / path).read_bytes(), path)
    except FileNotFoundError:
        return Damage(folder, f"{path} is missing", missing=True) if known else None
    except OSError:
        return None
    except IntegrityError as error:
        return Damage(folder, f"{path} is damaged: {error}")
    return None


def of_ref(folder: Path, kind: str, name: str) -> Damage | None:
    """What is wrong with the file of a branch or tag of icechunk's version 1; None if nothing is.

    Parameters
    ----------
    folder : Path
    kind : {"branch", "tag"}
    name : str
    """
    path = f"refs/{kind}.{name}/ref.json"
    if "/" in name or "\0" in name or (folder / "repo").exists():
        return None
    try:
        files.ref_target((folder / path).read_bytes())
    except OSError:
        return None
    except ValueError as error:
        return Damage(folder, f"{path} is damaged: {error}")
    return None


def left_out(folder: Path, listed: Collection[str]) -> list[str]:
    """Tags of icechunk's version 1 that it does not list because it cannot read them.

    Parameters
    ----------
    folder : Path
    listed : collection of str
        Those that it lists.
    """
    refs = folder / "refs"
    if (folder / "repo").exists() or not refs.is_dir():
        return []
    found = {name.removeprefix("tag.") for name in os.listdir(refs) if name.startswith("tag.")}
    return [
        name
        for name in found.difference(listed)
        if (refs / f"tag.{name}" / "ref.json").exists()
        and not (refs / f"tag.{name}" / "ref.json.deleted").exists()
    ]


def of_root(folder: Path) -> Damage | None:
    """What is wrong with the files that a repository is opened by; None where they can be read.

    Looks at ``repo`` of icechunk's version 2, else at the refs of version 1.
    """
    snapshots = folder / "snapshots"
    if not snapshots.is_dir():
        return None
    root = folder / "repo"
    if root.exists():
        try:
            files.repo(root.read_bytes(), "repo")
        except IntegrityError as error:
            return Damage(folder, f"its file repo is damaged: {error}")
        except OSError:
            return None
        return None
    if (folder / "overwritten").is_dir() or not (folder / "refs").is_dir():
        return Damage(folder, "its file repo is missing", missing=True)
    refs, unreadable = files.refs_of_folder(folder)
    if unreadable:
        return Damage(folder, f"its file {min(unreadable)} is damaged")
    if "main" not in refs.branches:
        return Damage(folder, "its file refs/branch.main/ref.json is missing", missing=True)
    return None
