"""Which stored files nobody needs: one notion, for a check and for a collection.

Needed is what a branch, a tag or a hidden ref leads to: snapshots, their
transaction logs, the manifests that they name, the chunks in these; and of the
earlier states of icechunk's ``repo`` the newest few, which are of use where
``repo`` itself is damaged.
"""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from ..storage.files import object_id
from ..storage.writers import left_behind
from .inventory import Inventory

STAGING = re.compile(r"#\d+$")
"""What a file is called while it is being written, by icechunk on a local disk."""

STATES_KEPT = 2
"""How many earlier states of the file ``repo`` are kept."""

KINDS = ("chunks", "manifests", "snapshots", "transactions", "overwritten", "unfinished", "writers")
"""Kinds of files that may be unused; those of ``overwritten`` are earlier states of ``repo``,
those of ``writers`` notes of transactions whose processes are gone."""


@dataclass(frozen=True)
class Unused:
    """Files that nobody needs, by their kind: paths below the repository's folder.

    Parameters
    ----------
    of : dict of str to list of str
    """

    of: dict[str, list[str]]

    def paths(self) -> list[tuple[str, str]]:
        """All of them: kind and path."""
        return [(kind, path) for kind in KINDS for path in self.of[kind]]


def needed_manifests(inventory: Inventory, in_use: Set[str]) -> set[str]:
    """The manifests that snapshots in use name."""
    found: set[str] = set()
    for snapshot in in_use & inventory.snapshots.keys():
        found.update(inventory.snapshots[snapshot].manifests)
    return found


def unused(inventory: Inventory, in_use: Set[str], needed_chunks: Set[bytes]) -> Unused:
    """The files of a repository that nobody needs.

    Parameters
    ----------
    inventory : Inventory
    in_use : set of str
        The snapshots that refs lead to.
    needed_chunks : set of bytes
        Ids of the chunks in the manifests that they name.
    """
    manifests = needed_manifests(inventory, in_use)
    needed = {f"snapshots/{snapshot}" for snapshot in in_use}
    needed |= {f"transactions/{snapshot}" for snapshot in in_use | inventory.refs.logs}
    needed |= {f"manifests/{manifest}" for manifest in manifests}
    needed |= {f"chunks/{object_id(chunk)}" for chunk in needed_chunks}
    of: dict[str, list[str]] = {}
    for kind in KINDS[:4]:
        of[kind] = [
            path
            for path in inventory.below(f"{kind}/")
            if path not in needed and not STAGING.search(path)
        ]
    of["overwritten"] = superseded(inventory)
    of["unfinished"] = sorted(path for path in inventory.sizes if STAGING.search(path))
    folder = inventory.folder
    of["writers"] = [path.relative_to(folder).as_posix() for path in left_behind(folder)]
    return Unused(of)


def superseded(inventory: Inventory) -> list[str]:
    """Earlier states of ``repo`` but for the newest, oldest first."""

    def age(path: str) -> tuple[int, str]:
        try:
            return Path(inventory.folder, path).stat().st_mtime_ns, path
        except FileNotFoundError:
            return 0, path  # it went while we looked

    paths = [p for p in inventory.below("overwritten/") if not STAGING.search(p)]
    return sorted(paths, key=age)[: max(0, len(paths) - STATES_KEPT)]
