"""What differs between the groups of two snapshots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._sets import without

_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True)
class GroupDiff:
    """A group that differs.

    Parameters
    ----------
    name : str
    change : str
        ``"added"``, ``"removed"`` or ``"changed"``.
    members : (int, int)
        How many objects are in it, before and after.
    members_added, members_removed : ndarray of int64
        Ids of objects that are in it after, or before, alone.
    """

    name: str
    change: str
    members: tuple[int, int]
    members_added: np.ndarray
    members_removed: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON; of members their number, and the first thousand ids."""
        ids = {"added": self.members_added, "removed": self.members_removed}
        return {
            "name": self.name,
            "change": self.change,
            "members": list(self.members),
            **{f"members_{what}": len(found) for what, found in ids.items()},
            "member_ids": {what: found[:1000].tolist() for what, found in ids.items()},
        }

    def told(self) -> str:
        """The difference in a few words."""
        counts = (("+", self.members_added), ("-", self.members_removed))
        signed = ", ".join(f"{sign}{len(ids):,}" for sign, ids in counts if len(ids))
        return f"group {self.name!r} {self.change} ({signed or 'no'} members)"


def groups_between(
    before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]
) -> list[GroupDiff]:
    """The groups that differ, by name.

    Parameters
    ----------
    before, after : mapping of str to ndarray of int64
        The members of each group, ascending.

    Examples
    --------
    >>> import numpy as np
    >>> from zv_versioned.history.diff_groups import groups_between
    >>> (one,) = groups_between({"left": np.array([1, 2])}, {"left": np.array([2, 5])})
    >>> one.told()
    "group 'left' changed (+1, -1 members)"
    """
    found = []
    for name in sorted(before.keys() | after.keys()):
        a, b = before.get(name, _NONE), after.get(name, _NONE)
        if name in before and name in after and np.array_equal(a, b):
            continue
        change = "added" if name not in before else "removed" if name not in after else "changed"
        new, gone = without(b, a), without(a, b)
        found.append(GroupDiff(name, change, (len(a), len(b)), new, gone))
    return found
