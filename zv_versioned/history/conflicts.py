"""What two sides disagree on, and how it was resolved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import numpy as np

from ..errors import ConflictError, MetadataError

CHOICES = ("ours", "theirs")


@dataclass(frozen=True)
class Conflict:
    """Something that both sides changed, differently.

    Parameters
    ----------
    kind : str
        ``attribute`` (values over a batch), ``definition`` (an attribute itself),
        ``batch``, ``objects``, ``metadata``, ``levels``, ``dataset``, or
        ``compaction``, which cannot be resolved.
    dataset : str
    level : int or None
    key : str
        The attribute's path, the key of the metadata, or the transaction of the
        compaction.
    what : str
        The conflict in a sentence.
    batches : tuple of bytes
        Uuids of the batches concerned.
    objects : ndarray of int64
        Ids of the objects concerned, ascending.
    values : tuple
        Of base, ours and theirs, where they are small; see :meth:`load`.
    choice : str or None
        ``"ours"`` or ``"theirs"``, once it is resolved.
    """

    kind: str
    dataset: str
    level: int | None = None
    key: str = ""
    what: str = ""
    batches: tuple[bytes, ...] = ()
    objects: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64), compare=False)
    values: tuple[Any, ...] | None = field(default=None, repr=False)
    choice: str | None = None
    _rows: tuple[np.ndarray | None, ...] = field(default=(), repr=False, compare=False)
    _remedy: str = field(default="", repr=False, compare=False)
    _load: Callable[[Conflict], tuple[Any, ...]] | None = field(
        default=None, repr=False, compare=False
    )

    @property
    def name(self) -> str:
        """The attribute's name, or the key of the metadata."""
        return self.key.rpartition("/")[2]

    @property
    def uuids(self) -> list[UUID]:
        """The batches concerned."""
        return [UUID(bytes=uuid) for uuid in self.batches]

    def load(self) -> tuple[Any, ...]:
        """The three values: of base, ours and theirs; read when they are asked for.

        Returns
        -------
        tuple of 3
            Of an attribute over batches: arrays, or None where a side has none. Of
            an object attribute they have the values of the objects in conflict alone,
            batch by batch.
        """
        if self.values is not None:
            return self.values
        return (None, None, None) if self._load is None else self._load(self)


def chooser(on_conflict: Any) -> Callable[[Conflict], str | None]:
    """What `on_conflict` means, as a function of a conflict; None where it stays open.

    Parameters
    ----------
    on_conflict : {"fail", "ours", "theirs"} or callable

    Raises
    ------
    MetadataError
        If it is anything else.
    """
    if not callable(on_conflict) and on_conflict not in ("fail", *CHOICES):
        raise MetadataError(
            'on_conflict must be "fail", "ours", "theirs" or a function of a conflict, got '
            f"{on_conflict!r}"
        )

    def choose(conflict: Conflict) -> str | None:
        if conflict.kind == "compaction":
            return None  # there is nothing that either side could be taken of
        if not callable(on_conflict):
            return None if on_conflict == "fail" else str(on_conflict)
        choice = on_conflict(conflict)
        if choice not in CHOICES:
            raise MetadataError(
                f'on_conflict must return "ours" or "theirs", returned {choice!r} for: '
                f"{conflict.what}"
            )
        return str(choice)

    return choose


def refused(
    conflicts: Sequence[Conflict],
    describe: str,
    commit_of: Callable[[str], str | None] | None = None,
) -> ConflictError:
    """The error for conflicts that nobody has decided.

    Parameters
    ----------
    conflicts : sequence of Conflict
    describe : str
        What is done, such as ``merge 'try' into 'main'``; begins the message.
    commit_of : callable, optional
        Finds the snapshot that a transaction made; asked for compactions.
    """
    first, made = conflicts[0], None
    remedy = 'resolve it with on_conflict="ours", "theirs" or a function of the conflict'
    if first.kind == "objects":
        remedy = "renumber=True gives those of the other side new ids"
    if first.kind == "compaction":
        made = commit_of(first.key) if commit_of is not None else None
        commit = made or f"of transaction {first.key}"
        remedy = first._remedy.format(commit)
    if describe.startswith("commit"):
        remedy = "look at what the branch has by now, and do it again if it is still wanted"
        if first.kind == "compaction" and made is not None:
            remedy = (
                f"the compaction is {commit}: begin a transaction at what the branch has by now, "
                "where vertices and links have a new order, and do it again there"
            )
    more = f" (and {len(conflicts) - 1} more)" if len(conflicts) > 1 else ""
    error = ConflictError(
        f"cannot {describe}: {first.what}{more}; {remedy}. Nothing was changed",
        what=first.kind,
        where=first.dataset,
    )
    error.conflicts = list(conflicts)
    return error
