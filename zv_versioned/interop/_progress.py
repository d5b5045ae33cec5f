"""What a long import or export tells while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Progress", "Report", "silent"]


@dataclass(frozen=True)
class Progress:
    """How far an import or export has come.

    Parameters
    ----------
    phase : str
        ``"scan"`` (a file is looked through), ``"import"``, ``"export"``, and, at
        the end, ``"publish"``: from then on an import is committed, whatever
        happens.
    done : int
    total : int or None
        None where it is not known how much there is.
    unit : str
        What `done` counts, such as ``"bytes"`` or ``"vertices"``.

    Examples
    --------
    >>> from zv_versioned.interop import Progress
    >>> Progress("import", 3, 12, "files").share
    0.25
    """

    phase: str
    done: int
    total: int | None
    unit: str

    @property
    def share(self) -> float | None:
        """The part that is done, 0 to 1; None where the whole is not known."""
        return None if not self.total else min(self.done / self.total, 1.0)


Report: TypeAlias = Callable[[Progress], None]
"""Called again and again while it goes on, from the thread that asked."""


def silent(progress: Progress) -> None:
    """A report to nobody."""
