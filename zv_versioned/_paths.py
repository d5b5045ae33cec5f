"""Names that users choose, and the keys that follow from them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from .errors import MetadataError

_NO_TEXT = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's control characters, surrogates, and separators of lines and paragraphs."""


def check_name(name: object, what: str) -> str:
    """Accept a name that is safe as one path segment.

    Parameters
    ----------
    name : object
        What the user gave.
    what : str
        "an attribute", …; stands in the message.

    Raises
    ------
    MetadataError
        If it is not text, empty, or has ``/``, ``..`` or control characters.
    """
    if not isinstance(name, str):
        raise MetadataError(f"the name of {what} must be text, got {name!r}")
    if not name.strip() or name != name.strip():
        raise MetadataError(f"the name of {what} must not be empty or padded, got {name!r}")
    bad = [c for c in name if c in "/\\" or unicodedata.category(c) in _NO_TEXT]
    if bad or name.startswith((".", "__")) or ".." in name:
        raise MetadataError(
            f"{name!r} cannot be the name of {what}: no '/', '\\', '..' or control characters, "
            "and no '.' or '__' in front"
        )
    if name == "zarr.json":
        raise MetadataError("'zarr.json' is a name that Zarr itself uses; choose another")
    if len(name.encode()) > 255:
        raise MetadataError(f"the name of {what} has {len(name.encode())} bytes; 255 at most")
    return name


def check_dataset(name: object) -> str:
    """Accept the group path of a dataset: "" or segments joined by "/".

    Raises
    ------
    MetadataError
        If a segment is no name, or is a number (those are levels).
    """
    if not isinstance(name, str):
        raise MetadataError(f"the name of a dataset must be text, got {name!r}")
    if name == "":
        return name
    if "" in name.split("/"):
        raise MetadataError(
            f"{name!r} cannot be the name of a dataset: no '/' in front, behind or twice in a row. "
            'The empty name, "", is the dataset at the root of the repository'
        )
    for segment in name.split("/"):
        check_name(segment, "a dataset")
        if segment.isdigit():
            raise MetadataError(
                f"{name!r} cannot be the name of a dataset: {segment!r} is a number, and numbers "
                "are levels"
            )
    return name


def join(*parts: str) -> str:
    """Join path parts, leaving out empty ones."""
    return "/".join(part for part in parts if part)


def parents(name: str) -> list[str]:
    """The groups above a path, outermost first, without the root."""
    segments = name.split("/")
    return ["/".join(segments[:i]) for i in range(1, len(segments))]


def level_path(dataset: str, level: int) -> str:
    """The group of a level."""
    return join(dataset, str(level))


def chunk_key(array: str, at: Iterable[int]) -> str:
    """The key of one chunk of an array."""
    return "/".join((array, "c", *map(str, at)))


def shard_key(array: str, slot: int, block: Iterable[int]) -> str:
    """The key of one shard of an array of batches."""
    return chunk_key(array, (slot, *block))


def parted(key: str) -> tuple[str, tuple[int, ...]]:
    """The array of a chunk, and where it is in there: what :func:`chunk_key` was given."""
    array, _, at = key.rpartition("/c/")
    return array, tuple(map(int, at.split("/")))
