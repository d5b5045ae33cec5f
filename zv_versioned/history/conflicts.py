"""What two sides disagree on, and what a merge would break."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import numpy as np

from .._paths import join
from .index import Side

CHOICES = ("ours", "theirs")


@dataclass(frozen=True, eq=False)
class Conflict:
    """Something that both sides changed, differently, since their common base.

    Parameters
    ----------
    what : str
        ``"attribute"`` (values over some batches), ``"definition"`` (dtype or
        shape of an attribute, or that it is there at all), ``"batches"``
        (removed on one side, changed on the other), ``"objects"`` (ids that both
        sides gave), ``"metadata"`` (a key of the user's), ``"level"`` or
        ``"dataset"``.
    dataset : str
    level : int or None
        None where a whole dataset is concerned.
    name : str
        The attribute's path in the level, or the key; empty where there is none.
    reason : str
        What each side did.
    batches : tuple of UUID
        The batches concerned.
    objects : ndarray of int64
        The object ids concerned, ascending.
    choice : str or None
        ``"ours"`` or ``"theirs"`` once it is decided.
    commits : mapping of str to str
        The snapshot ids of ``base``, ``ours`` and ``theirs``.
    """

    what: str
    dataset: str
    level: int | None
    name: str
    reason: str
    batches: tuple[UUID, ...] = ()
    objects: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    choice: str | None = None
    commits: Mapping[Side, str] = field(default_factory=dict)
    _values: Callable[[Conflict, Side], Any] | None = field(default=None, repr=False)

    @property
    def key(self) -> str:
        """What a choice is remembered under."""
        return "\0".join((self.what, self.dataset, str(self.level), self.name))

    @property
    def where(self) -> str:
        """Dataset, level and name, as a path."""
        level = "" if self.level is None else str(self.level)
        return join(self.dataset, level, self.name) or "the root dataset"

    def decided(self, choice: str) -> Conflict:
        """The same with a choice."""
        return replace(self, choice=choice)

    @property
    def base(self) -> Any:
        """The value that both sides began with; read when it is asked for."""
        return self._value("base")

    @property
    def ours(self) -> Any:
        """Our value; read when it is asked for."""
        return self._value("ours")

    @property
    def theirs(self) -> Any:
        """Their value; read when it is asked for."""
        return self._value("theirs")

    def _value(self, side: Side) -> Any:
        return None if self._values is None else self._values(self, side)

    def __str__(self) -> str:
        text = f"{self.what} {self.where!r}: {self.reason}"
        if len(self.objects):
            ids = ", ".join(map(str, self.objects[:5].tolist()))
            text += f" (ids {ids}{', …' if len(self.objects) > 5 else ''})"
        if self.batches:
            more = f" and {len(self.batches) - 3} more" if len(self.batches) > 3 else ""
            text += f" (batches {', '.join(str(b)[:8] for b in self.batches[:3])}{more})"
        return text + (f"; {self.choice} was taken" if self.choice else "")

    def to_dict(self) -> dict[str, Any]:
        """The conflict as JSON keeps it."""
        return {
            "what": self.what,
            "dataset": self.dataset,
            "level": self.level,
            "name": self.name,
            "reason": self.reason,
            "batches": [str(batch) for batch in self.batches],
            "objects": self.objects.tolist(),
            "choice": self.choice,
            "commits": dict(self.commits),
        }


@dataclass(frozen=True)
class Violation:
    """What would not be sound in the result of a merge.

    Parameters
    ----------
    what : str
        ``"extension"`` (a batch whose objects began in one that is gone),
        ``"removed"`` (an object that was removed and goes on), ``"group"``
        (members that are not there), ``"attribute"``, ``"level"``, or the name
        of a check that was added.
    where : str
        The level, or what the check said.
    reason : str
        What is wrong, and what to do.
    objects : tuple of int
        Some of the object ids concerned.
    """

    what: str
    where: str
    reason: str
    objects: tuple[int, ...] = ()

    def __str__(self) -> str:
        ids = f" (objects {', '.join(map(str, self.objects))})" if self.objects else ""
        return f"{self.what} in {self.where!r}: {self.reason}{ids}"

    def to_dict(self) -> dict[str, Any]:
        """The violation as JSON keeps it."""
        return {
            "what": self.what,
            "where": self.where,
            "reason": self.reason,
            "objects": list(self.objects),
        }
