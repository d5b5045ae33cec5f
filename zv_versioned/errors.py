"""The exceptions of zv_versioned: one tree, one root.

::

    ZVError
    ├── ArrayError       (ValueError)   bad shapes, dtypes, lengths, values, ids
    ├── MetadataError    (ValueError)   bad names, bounds, kinds, settings, locations
    ├── NotFoundError    (LookupError)  no such repository, dataset, level, branch, tag, object
    ├── ReadOnlyError                   a write through something that is closed or pinned
    ├── ConflictError                   somebody else's commit stands in the way
    ├── ViolationError                  a merge that would break geometry
    ├── IntegrityError                  stored bytes are not what was written
    ├── StorageError                    the storage failed, is locked, or cannot be used from here
    └── MissingExtraError (ImportError) a package that an optional part needs is not installed

Every class has a stable ``kind``, a short word for programs; messages are for
people, and say what was wrong, the value, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

__all__ = [
    "ArrayError",
    "ConflictError",
    "IntegrityError",
    "MetadataError",
    "MissingExtraError",
    "NotFoundError",
    "ReadOnlyError",
    "StorageError",
    "ViolationError",
    "ZVError",
]


class ZVError(Exception):
    """Root of every error that zv_versioned raises on purpose.

    Attributes
    ----------
    kind : str
        A stable word that programs may branch on.
    """

    kind: ClassVar[str] = "error"


class ArrayError(ZVError, ValueError):
    """Values do not fit: shape, dtype, length, range or object ids."""

    kind: ClassVar[str] = "array"


class MetadataError(ZVError, ValueError):
    """A name, bound, kind or setting is not acceptable."""

    kind: ClassVar[str] = "metadata"


class NotFoundError(ZVError, LookupError):
    """What was asked for by name or id is not there."""

    kind: ClassVar[str] = "not_found"


class ReadOnlyError(ZVError):
    """Something that only reads, or is closed, was asked to write."""

    kind: ClassVar[str] = "read_only"


class ConflictError(ZVError):
    """A change cannot be published because of somebody else's change.

    Attributes
    ----------
    what : str
        What the two sides disagree on: ``"branch"``, ``"objects"``, …
    where : str
        The branch, dataset or object concerned.
    ours, theirs : object
        The two sides; for a branch that moved, the snapshot ids of its tip and
        of the snapshot that the transaction began at.
    conflicts : list of Conflict
        What the two sides disagree on, where that is more than the branch.
    """

    kind: ClassVar[str] = "conflict"

    def __init__(
        self, message: str, *, what: str = "", where: str = "", ours: Any = None, theirs: Any = None
    ) -> None:
        super().__init__(message)
        self.what = what
        self.where = where
        self.ours = ours
        self.theirs = theirs
        self.conflicts: list[Any] = []

    @property
    def conflict(self) -> Any:
        """The first of the conflicts; None where the branch moved."""
        return self.conflicts[0] if self.conflicts else None


class ViolationError(ZVError):
    """What was to be published would not be sound, or a registered check refuses it.

    Attributes
    ----------
    violations : list of str
        What is wrong, in sentences.
    """

    kind: ClassVar[str] = "violation"

    def __init__(self, message: str, violations: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.violations = list(violations)


class IntegrityError(ZVError):
    """Stored bytes are damaged, missing or inconsistent.

    Attributes
    ----------
    missing : bool
        Whether they are not there at all, rather than not what was written.
    """

    kind: ClassVar[str] = "integrity"

    def __init__(self, message: str, *, missing: bool = False) -> None:
        super().__init__(message)
        self.missing = missing


class StorageError(ZVError):
    """The storage failed, is locked by somebody, or cannot be used from this process."""

    kind: ClassVar[str] = "storage"


class MissingExtraError(ZVError, ImportError):
    """A package that an optional part needs is not installed; the message has the line for it."""

    kind: ClassVar[str] = "missing_extra"
