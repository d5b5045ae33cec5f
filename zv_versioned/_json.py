"""Facts of the user's own, as JSON keeps them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .errors import MetadataError


def _stored_int(digits: str) -> int:
    value = int(digits)
    if not -(2**63) <= value < 2**64:
        # icechunk would keep a float that is near it.
        raise ValueError(f"{digits} does not fit 64 bits")
    return value


def _dumped(mapping: Mapping[str, Any]) -> str:
    try:
        return json.dumps(dict(mapping), allow_nan=False)
    except (TypeError, ValueError):
        for key, value in mapping.items():  # which of them it is
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{key!r} is {value!r}, {_advice(error)}") from error
        raise


def _advice(error: Exception) -> str:
    if isinstance(error, TypeError):
        return f"which JSON has not ({error}); numbers of numpy become Python's by value.item()"
    return f"which JSON has not ({error})"


def json_object(mapping: Mapping[str, Any] | None, what: str) -> dict[str, Any]:
    """A mapping as JSON keeps it; empty where it is left out.

    Raises
    ------
    MetadataError
        If it is no mapping, a key is no text, or a value is nothing that JSON
        keeps exactly.
    """
    if mapping is None:
        return {}
    try:
        if not isinstance(mapping, Mapping):
            raise TypeError(f"{mapping!r} is no mapping")
        for key in mapping:
            if not isinstance(key, str):
                raise TypeError(f"its key {key!r} is no text")
        kept: dict[str, Any] = json.loads(_dumped(mapping), parse_int=_stored_int)
        json.dumps(kept, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except (TypeError, ValueError) as error:
        raise MetadataError(f"{what} must be JSON under text keys: {error}") from error
    return kept
