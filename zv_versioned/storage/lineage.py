"""Lines of descent that go on where icechunk's were cut by an expiry.

When snapshots expire, icechunk lets the first one that is kept descend from the
repository's first snapshot, whatever else is kept before it: a tag in the
middle of a branch, the point that two branches come from. So that the history
stays one, each line that was cut is written down as a hidden branch::

    zv_versioned.line.CHILD.NUMBER.PARENT   PARENT is its parent, as it always was
    zv_versioned.past.CHILD.NUMBER.PARENT   PARENT is the nearest that is kept

The branch stands at PARENT, and so keeps it as well. All parents of CHILD that
are known are written down, in order, its own first. A line counts only where
icechunk's own parent of CHILD is the first snapshot: one that was written down
by an expiry that did not get further says nothing that is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .hidden import HIDDEN, names

if TYPE_CHECKING:
    from .handle import Handle

ROOT_ID = "1CECHNKREP0F1RSTCMT0"
"""The snapshot that every repository begins with."""

_LINE = re.compile(
    re.escape(HIDDEN) + r"(line|past)\.([0-9A-Z]{20})\.(\d{1,6})\.([0-9A-Z]{20})", re.ASCII
)


@dataclass(frozen=True, order=True)
class Line:
    """One line of descent.

    Parameters
    ----------
    child : str
    number : int
        Which of the child's parents it leads to, from 0.
    parent : str
    exact : bool
        Whether nothing that was between the two has expired.
    """

    child: str
    number: int
    parent: str
    exact: bool

    @property
    def name(self) -> str:
        """Of the hidden branch."""
        kind = "line" if self.exact else "past"
        return f"{HIDDEN}{kind}.{self.child}.{self.number}.{self.parent}"


@dataclass(frozen=True)
class Descent:
    """What is written down of a snapshot's parents.

    Parameters
    ----------
    parents : tuple of str
    exact : bool
        Whether they are those that it was committed with.
    """

    parents: tuple[str, ...]
    exact: bool


def lines_in(branches: Iterable[str]) -> list[Line]:
    """The lines that the names of hidden branches tell of."""
    found = [match for name in branches if (match := _LINE.fullmatch(name))]
    return sorted(Line(m[2], int(m[3]), m[4], m[1] == "line") for m in found)


def descents(backend: Handle) -> dict[str, Descent]:
    """What is written down, by child.

    Where an expiry was interrupted, an earlier line may stand beside a later one
    of the same number. Both are true: what the earlier one leads to is then kept,
    with its own lines.
    """
    of: dict[str, dict[int, Line]] = {}
    for line in lines_in(names(backend)):
        of.setdefault(line.child, {})[line.number] = line
    return {
        child: Descent(
            tuple(dict.fromkeys(lines[number].parent for number in sorted(lines))),
            all(line.exact for line in lines.values()),
        )
        for child, lines in of.items()
    }
