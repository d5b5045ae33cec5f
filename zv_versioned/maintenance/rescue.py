"""What damage hides, who needs what is damaged, and what one can go back to.

A ref leads to a snapshot, a snapshot to manifests and (in version 1 of icechunk's
format) to the one before it, a manifest to chunks. Where one of these cannot be
read, whatever it alone led to looks like garbage, and may be all that is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from datetime import UTC, datetime

from .._words import counted
from ..storage.hidden import HIDDEN
from ..storage.lineage import ROOT_ID
from ..storage.trailer import parted
from .inventory import Inventory
from .report import STRANDED, UNKNOWN, Finding
from .unused import needed_manifests

RESTORE = "Restore it from a copy of the repository"
_SHOWN = 10
_TITLE = 40


def hiding(inventory: Inventory, in_use: Set[str]) -> list[str]:
    """Files that would say what is needed and are missing or cannot be read, sorted.

    Where there are any, nobody can tell what is unused. The manifests must have been
    read, so that the inventory knows the damaged ones.

    Parameters
    ----------
    inventory : Inventory
    in_use : set of str
        The snapshots that refs lead to.
    """
    leading = {f"snapshots/{snapshot}" for snapshot in in_use}
    leading |= {f"manifests/{manifest}" for manifest in needed_manifests(inventory, in_use)}
    gone = leading | {path for path in inventory.sealed.seals if path.startswith("refs/")}
    bad = {path for path in gone if path not in inventory.sizes}
    bad |= {
        path
        for path in inventory.unreadable
        if path in leading or path == "repo" or path.startswith("refs/")
    }
    if "main" not in inventory.refs.branches:
        bad.add("repo" if inventory.has_root() else "refs/branch.main/ref.json")
    return sorted(bad)


class Rescue:
    """What one can do about damage: whom it concerns, and which snapshots are whole.

    Parameters
    ----------
    inventory : Inventory
        With all manifests read.
    in_use : set of str
        The snapshots that refs lead to.

    Attributes
    ----------
    hidden_by : list of str
        See :func:`hiding`.
    stranded : list of str
        Where something is hidden: readable snapshots that no ref leads to, and that a
        ref can be made to lead to; newest first.
    bad_manifests : set of str
        Manifests that are damaged or missing, or name a chunk that is.
    """

    def __init__(self, inventory: Inventory, in_use: set[str]) -> None:
        self.in_use = in_use
        self.hidden_by = hiding(inventory, self.in_use)
        self._inventory = inventory
        self.stranded = self._stranded() if self.hidden_by else []
        self.bad_manifests = {
            manifest
            for snapshot in self.known()
            for manifest in inventory.snapshots[snapshot].manifests
            if f"manifests/{manifest}" in inventory.unreadable
            or f"manifests/{manifest}" not in inventory.sizes
        }

    def known(self) -> set[str]:
        """Readable snapshots that are in use, or may be."""
        return (self.in_use | set(self.stranded)) & self._inventory.snapshots.keys()

    def _stranded(self) -> list[str]:
        inventory = self._inventory
        if "repo" in self.hidden_by:
            return []  # it comes first: icechunk 2 finds no snapshot without it
        parents = inventory.refs.parents
        found = inventory.snapshots.keys() - self.in_use - {ROOT_ID}
        if parents:
            found &= parents.keys()  # icechunk 2 has forgotten the others
        return sorted(found, key=lambda s: (-inventory.snapshots[s].flushed_at, s))

    def _is_whole(self, snapshot: str) -> bool:
        known = self._inventory.snapshots.get(snapshot)
        return known is not None and self.bad_manifests.isdisjoint(known.manifests)

    def needed(self, snapshots: Set[str]) -> str:
        """Who needs what some snapshots need, as the end of a sentence."""
        if not snapshots:
            return "; who needs it cannot be told" if self.hidden_by else ""
        refs = [
            ref
            for ref, tip in self._inventory.tips().items()
            if not ref.startswith(f"branch {HIDDEN}")
            and not snapshots.isdisjoint(self._inventory.ancestry(tip))
        ]
        shown = ", ".join(sorted(snapshots)[:3]) + (", …" if len(snapshots) > 3 else "")
        where = f"in {', '.join(refs[:4])}" if refs else "in what was merged"
        if not refs and snapshots <= set(self.stranded):
            where = "that no ref leads to"
        return f"; needed by {counted(len(snapshots), 'snapshot')} ({shown}) {where}"

    def way(self, snapshots: Set[str]) -> str:
        """How to go on where some snapshots are not whole: a copy, or the newest that is."""
        whole = []
        for name, tip in self._branches():
            line = list(self._inventory.ancestry(tip))
            if snapshots.isdisjoint(line):
                continue
            for snapshot in line[1:]:
                if snapshot not in snapshots and snapshot != ROOT_ID and self._is_whole(snapshot):
                    whole.append(_reset(name, snapshot))
                    break
        if not whole:
            return RESTORE
        return f"{RESTORE}, or go back to the newest snapshot without it: {'; '.join(whole[:3])}"

    def _branches(self) -> list[tuple[str, str]]:
        tips = self._inventory.refs.branches.items()
        return sorted((name, tip) for name, tip in tips if not name.startswith(HIDDEN))

    def findings(self) -> Iterator[Finding]:
        """What is to be said where something is hidden."""
        if not self.hidden_by:
            return
        shown = ", ".join(self.hidden_by[:3]) + (", …" if len(self.hidden_by) > 3 else "")
        yield Finding(
            UNKNOWN, shown, "what only this leads to cannot be told from what is unused",
            "Remove no file; repo.gc() does not either, until it can be read, or no ref needs it",
        )  # fmt: skip
        whole = [snapshot for snapshot in self.stranded if self._is_whole(snapshot)]
        if whole:
            listed = ", ".join(map(self._told, whole[:_SHOWN]))
            more = f", and {len(whole) - _SHOWN:,} older" if len(whole) > _SHOWN else ""
            what = f"no ref that can be read leads to these, which are whole: {listed}{more}"
            yield Finding(STRANDED, "snapshots", what, self._way_to(whole[0]))

    def _told(self, snapshot: str) -> str:
        known = self._inventory.snapshots[snapshot]
        when = datetime.fromtimestamp(known.flushed_at / 1e6, UTC)
        title = " ".join(parted(known.message)[0].split())
        title = title if len(title) <= _TITLE else f"{title[: _TITLE - 1]}…"
        return f"{snapshot} of {when:%Y-%m-%d %H:%M:%S} UTC ({title})"

    def _way_to(self, snapshot: str) -> str:
        """How a ref is made to lead to a snapshot again."""
        refs = [path for path in self.hidden_by if path.startswith("refs/")]
        if refs:
            return (
                f"Restore {refs[0]} from a copy of the repository, or write "
                f'{{"snapshot":"{snapshot}"}} into it, with the snapshot that it is to lead to'
            )
        lost = [name for name, tip in self._branches() if not self._is_whole(tip)]
        if lost:
            name = "main" if "main" in lost else lost[0]
            return f"Restore what is damaged from a copy, or go back: {_reset(name, snapshot)}"
        return f"To keep one, repo.create_branch('rescued', at={snapshot!r})"


def _reset(branch: str, snapshot: str) -> str:
    option = "" if branch == "main" else f" --branch {branch}"
    return f"repo.reset_branch({branch!r}, to={snapshot!r}), or zvv reset {snapshot}{option}"
