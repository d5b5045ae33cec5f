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

_BY_CLASS = {
    "NotFoundError": NotFoundError,
    "ReadOnlyError": ReadOnlyError,
    "FormatError": IntegrityError,
}
_NEWER = re.compile(r"uses icechunk v(\d+) format.*upgrade", re.IGNORECASE)
_BY_TEXT: tuple[tuple[str, type[ZVError]], ...] = (
    (r"^(ref|snapshot|snapshot id|branch|tag|node) not found", NotFoundError),
    (r"^invalid (ref name|snapshot id)|repository doesn't exist", NotFoundError),
    (r"already (exists|deleted)|clean prefixes|cannot be deleted|no changes made", MetadataError),
    (r"read.only", ReadOnlyError),
    (r"deseriali[sz]|serialize ref json|flatbuffer|flexbuffer|is unaligned", IntegrityError),
    (r"invalid file format|invalid icechunk (metadata|header)|magic", IntegrityError),
    (r"src size is incorrect|incomplete frame", IntegrityError),
)


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
        for name, target in _BY_CLASS.items():
            if isinstance(error, getattr(ic, name, ())):
                raise target(message) from error
        for pattern, target in _BY_TEXT:
            if re.search(pattern, line, re.IGNORECASE):
                raise target(message) from error
        raise StorageError(f"{message} (the full report is this error's cause)") from error


def reason(error: BaseException) -> str:
    """The first line of an error that has something to say."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return re.sub(r"^[x\u00d7]\s+", "", lines[0]) if lines else type(error).__name__


def unreadable(what: str, error: BaseException, wrong: Damage | None = None) -> ZVError:
    """What it means that `what` could not be read: it is gone, is short, or the storage failed."""
    if wrong is not None:
        return wrong.error(f"reading {what} failed")
    text = str(error)
    if re.search(r"invalid icechunk (metadata|header)|incomplete frame|src size", text, re.I):
        return IntegrityError(f"what leads to {what} is damaged ({reason(error)}); fsck says where")
    if re.search(r"range was invalid|out of bounds for chunk", text, re.IGNORECASE):
        return IntegrityError(f"{what} is cut short ({reason(error)}). Restore it from a copy")
    if re.search(r"object.*not found|no such file|NoSuchKey", text, re.IGNORECASE):
        return IntegrityError(
            f"{what}: its file is missing. Was it removed by hand, or collected while it was in "
            f"use? ({reason(error)})",
            missing=True,
        )
    return StorageError(f"reading {what} failed: {reason(error)}")
