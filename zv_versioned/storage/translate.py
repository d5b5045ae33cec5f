"""icechunk's exceptions, made ours: the same for both of its major versions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import icechunk as ic

from ..errors import (
    ConflictError,
    IntegrityError,
    MetadataError,
    NotFoundError,
    ReadOnlyError,
    StorageError,
    ZVError,
)

if TYPE_CHECKING:
    from .damage import Damage

# What an error is says its class and its kind, in icechunk 2.
_BY_KIND: dict[str, type[ZVError]] = {
    "invalid-ref-name": NotFoundError,
    "invalid-snapshot-id": NotFoundError,
    "cannot-delete-main": MetadataError,
    "no-changes-to-commit": MetadataError,
    "parent-directory-not-clean": MetadataError,
    "commit-not-allowed": ReadOnlyError,
}
_BY_CLASS: dict[str, type[ZVError]] = {
    "NotFoundError": NotFoundError,
    "AlreadyExistsError": MetadataError,
    "ReadOnlyError": ReadOnlyError,
    "FormatError": IntegrityError,
}
_NO_KIND = (None, "unknown")
# In icechunk 1 its text alone does; each is tried in tests/storage/test_translate.py.
_NEWER = re.compile(r"uses icechunk v(\d+) format.*upgrade", re.IGNORECASE)
_BY_TEXT: tuple[tuple[str, type[ZVError]], ...] = (
    (r"^(ref|snapshot|snapshot id|branch|tag|node) not found", NotFoundError),
    (r"^invalid (ref name|snapshot id)|repository doesn't exist", NotFoundError),
    (r"already (exists|deleted)|clean prefixes|cannot be deleted|no changes made", MetadataError),
    (r"read.only", ReadOnlyError),
    (r"deseriali[sz]|serialize ref json|flatbuffer|flexbuffer|is unaligned", IntegrityError),
    (
        r"invalid (magic|file format|icechunk|compression)|cannot read this file type",
        IntegrityError,
    ),
)
# And in both, where what a file was compressed to is damaged: that is "I/O error" to them.
_ZSTD = re.compile(
    r"src size is incorrect|incomplete frame|early eof|data corruption detected"
    r"|unknown frame descriptor|unsupported frame parameter|header of literals"
    r"|destination buffer is too small|dictionary (mismatch|is corrupted)"
    r"|version not supported|frame requires too much memory|doesn't match checksum",
    re.IGNORECASE,
)
_MISSING = re.compile(r"object.*not found|no such file|NoSuchKey", re.IGNORECASE)
_SHORT = re.compile(r"range was invalid|out of bounds for chunk", re.IGNORECASE)


@contextmanager
def translated(location: str) -> Iterator[None]:
    """Turn what icechunk raises inside the block into our exceptions.

    Parameters
    ----------
    location : str
        Named in the message.

    Raises
    ------
    ZVError
        Of the fitting class; :class:`StorageError` where none fits better.
    """
    try:
        yield
    except (ic.IcechunkError, ic.ConflictError) as error:
        line = reason(error)
        message = f"{location}: {line}"
        if (needed := _NEWER.search(line)) is not None:
            raise StorageError(
                f"{location} was made with icechunk {needed[1]}, and this is icechunk "
                f"{ic.__version__}, which cannot read it. Use Python 3.12 or newer, where "
                f"zv_versioned installs icechunk {needed[1]}"
            ) from error
        if isinstance(error, ic.ConflictError):
            raise ConflictError(message, what="branch", where=location) from error
        target = _class_of(error, line)
        if target is StorageError:
            message += " (the full report is this error's cause)"
        raise target(message) from error


def _class_of(error: BaseException, line: str) -> type[ZVError]:
    """What an error of icechunk's is to us; `line` is its first line."""
    kind = getattr(error, "kind", None)
    if kind in _BY_KIND:
        return _BY_KIND[kind]
    for name, target in _BY_CLASS.items():
        if isinstance(error, getattr(ic, name, ())):
            return target
    if kind in _NO_KIND:
        for pattern, target in _BY_TEXT:
            if re.search(pattern, line, re.IGNORECASE):
                return target
    return IntegrityError if _is_of_zstd(error) else StorageError


def _is_of_zstd(error: BaseException) -> bool:
    """Whether what a file was compressed to cannot be read."""
    return (
        getattr(error, "kind", None) in ("io", *_NO_KIND) and _ZSTD.search(str(error)) is not None
    )


def reason(error: BaseException) -> str:
    """The first line of an error that has something to say."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return re.sub(r"^[x\u00d7]\s+", "", lines[0]) if lines else type(error).__name__


def names_no_node(error: BaseException) -> bool:
    """Whether there is no chunk since there is no such array: icechunk 1 fails, 2 finds nothing."""
    unnamed = getattr(error, "kind", None) in _NO_KIND
    return unnamed and reason(error).startswith("node not found at")


def unreadable(what: str, error: BaseException, wrong: Damage | None = None) -> ZVError:
    """What it means that `what` could not be read: it is gone, is short, or the storage failed."""
    if wrong is not None:
        return wrong.error(f"reading {what} failed")
    text, kind = str(error), getattr(error, "kind", None)
    if _class_of(error, reason(error)) is IntegrityError:
        return IntegrityError(f"what leads to {what} is damaged ({reason(error)}); fsck says where")
    if _SHORT.search(text):
        return IntegrityError(f"{what} is cut short ({reason(error)}). Restore it from a copy")
    if kind == "object-not-found" or (kind in _NO_KIND and _MISSING.search(text)):
        return IntegrityError(
            f"{what}: its file is missing. Was it removed by hand, or collected while it was in "
            f"use? ({reason(error)})",
            missing=True,
        )
    return StorageError(f"reading {what} failed: {reason(error)}")
