"""What a commit says of itself: its message, its author, and facts of the user's own."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ._json import json_object
from .errors import MetadataError
from .history.log import OWN
from .result import describe


def default_message(created: Sequence[str], changes: Mapping[str, Mapping[str, Any]]) -> str:
    """The message of a commit that was given none: what it did.

    Parameters
    ----------
    created : sequence of str
        Names of new datasets.
    changes : mapping of str to mapping
        What was done to each level, by its name.
    """
    parts = [f"create {name or 'the root dataset'}" for name in created]
    for name, change in changes.items():
        where = name or "the root dataset"
        parts += [f"{what} {where}" for what in describe(change)]
    return "; ".join(parts) or "nothing changed"


def parse_message(message: object) -> str | None:
    """Accept the message of a commit; MetadataError if it is no text."""
    return None if message is None else _text(message, "a commit message")


def _text(value: object, what: str) -> str:
    try:
        if isinstance(value, str):
            value.encode()
            return value
    except UnicodeEncodeError as error:
        raise MetadataError(f"{what} must be text, got {value!r}: {error}") from error
    raise MetadataError(f"{what} must be text, got {value!r}")


def parse_metadata(metadata: Mapping[str, Any] | None, author: str | None) -> dict[str, Any]:
    """What a commit keeps of its user's facts, and who made it.

    Raises
    ------
    MetadataError
        If the facts are nothing that JSON keeps, or the author is no text.
    """
    user = json_object(metadata, "metadata of a commit")
    if OWN in user:
        raise MetadataError(f"the metadata key {OWN!r} is taken; choose another")
    return {"user": user, "author": parse_author(author) or default_author()}


def parse_author(author: object) -> str | None:
    """Accept an author.

    Raises
    ------
    MetadataError
        If it is no text, or empty.
    """
    if author is None:
        return None
    text = _text(author, "an author")
    if not text.strip():
        raise MetadataError(f"an author must not be empty, got {author!r}")
    return text


def default_author() -> str:
    """Who commits where nobody is named: ZV_VERSIONED_AUTHOR, else the user's login."""
    named = os.environ.get("ZV_VERSIONED_AUTHOR")
    if named:
        return named
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        # A container may run under a number that no login has.
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"
