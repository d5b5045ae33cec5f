"""What two sides disagree on, and how it was resolved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from ..errors import ConflictError, MetadataError

CHOICES = ("ours", "theirs")


@dataclass(frozen=True)
class Conflict:
    """Something that both sides changed, differently.

    Parameters
    ----------
    kind : str
        ``attribute`` (values over a batch), ``definition`` (an attribute itself),
        ``batch``, ``objects``, ``metadata``, ``levels`` or ``dataset``.
    dataset : str
    level : int or None
    key : str
        The attribute's path, or the key of the metadata.
    what : str
        The conflict in a sentence.
    batches : tuple of bytes
        Uuids of the batches concerned.
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
    values: tuple[Any, ...] | None = field(default=None, repr=False)
    choice: str | None = None
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
            Of an attribute over batches: arrays, or None where a side has none.
        """
        if self.values is not None:
            return self.values
        return (None, None, None) if self._load is None else self._load(self)


def chooser(on_conflict: Any, describe: str) -> Callable[[Conflict], str]:
    """What `on_conflict` means, as a function of a conflict.

    Parameters
    ----------
    on_conflict : {"fail", "ours", "theirs"} or callable
    describe : str
        What is done, such as ``merge 'try' into 'main'``; begins the error.

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

    def choose(conflict: Conflict) -> str:
        if conflict.kind == "objects" or on_conflict == "fail":
            raise _refused(conflict, describe)
        if not callable(on_conflict):
            return str(on_conflict)
        choice = on_conflict(conflict)
        if choice not in CHOICES:
            raise MetadataError(
                f'on_conflict must return "ours" or "theirs", returned {choice!r} for: '
                f"{conflict.what}"
            )
        return str(choice)

    return choose


def _refused(conflict: Conflict, describe: str) -> ConflictError:
    remedy = 'resolve it with on_conflict="ours", "theirs" or a function of the conflict'
    if conflict.kind == "objects":
        remedy = "append one of them again under ids that are free"
    elif describe.startswith("commit"):
        remedy = "look at what the branch has by now, and do it again if it is still wanted"
    error = ConflictError(
        f"cannot {describe}: {conflict.what}; {remedy}. Nothing was changed",
        what=conflict.kind,
        where=conflict.dataset,
    )
    error.conflict = conflict
    return error
