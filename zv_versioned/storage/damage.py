"""Whether a failure of icechunk's means that a local file is damaged or missing, and which."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import IntegrityError
from . import files

_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{20}")
_SEE = "zv-versioned fsck -r {} (it need not be opened for that) tells more, and the way back"


def of_snapshot(folder: Path, snapshot_id: str, *, known: bool) -> str | None:
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
        return f"{path} is missing" if known else None
    except OSError:
        return None
    except IntegrityError as error:
        return f"{path} is damaged: {error}"
    return None


def said(wrong: str, location: object) -> str:
    """What is wrong with a repository's file, with the way to learn more."""
    return f"{wrong}. {_SEE.format(location)}"


def of_root(folder: Path) -> str | None:
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
            return f"its file repo is damaged: {error}"
        except OSError:
            return None
        return None
    if (folder / "overwritten").is_dir() or not (folder / "refs").is_dir():
        return "its file repo is missing"
    refs, unreadable = files.refs_of_folder(folder)
    if unreadable:
        return f"{min(unreadable)} is damaged"
    strange = [name for name, at in sorted(refs.branches.items()) if not _ID.fullmatch(at)]
    if strange:
        return f"refs/branch.{strange[0]}/ref.json is damaged"
    if "main" not in refs.branches:
        return "its file refs/branch.main/ref.json is missing"
    return None
