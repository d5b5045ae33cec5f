"""What another process needs to open the same repository: never a secret.

A storage option is handed on only where it is known to be none: all others stay
behind, by name, so that an error over there can say what is missing.
"""

from __future__ import annotations

import os
import types
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ..errors import StorageError
from .location import Place

_PUBLIC = frozenset(
    {
        "account",
        "allow_http",
        "anonymous",
        "checksum_algorithm",
        "endpoint_url",
        "force_path_style",
        "from_env",
        "legacy_rooted_keys",
        "network_stream_timeout_seconds",
        "region",
        "requester_pays",
        "service_account_file",
    }
)
"""Options that say where and how, not who. A service account's file is a path."""


@dataclass(frozen=True)
class Address:
    """A location, and the options that open it, without secrets.

    Parameters
    ----------
    location : str
        A path that is absolute, or a URL.
    options : tuple of (str, object)
    withheld : tuple of str
        Names of the options that were given and are not handed on.
    lock_timeout : float
    durable : bool
    """

    location: str
    options: tuple[tuple[str, Any], ...] = ()
    withheld: tuple[str, ...] = ()
    lock_timeout: float = 60.0
    durable: bool = False


def address_of(place: Place, lock_timeout: float, durable: bool = False) -> Address:
    """The address of a place.

    Raises
    ------
    StorageError
        If the place exists in this process alone, or cannot be named.
    """
    if place.scheme == "memory":
        raise StorageError(
            f"{place.location} lives in this process alone ({os.getpid()}): neither its repository "
            "nor its views can be pickled. Use a path or an object store"
        )
    if place.scheme == "storage":
        raise StorageError(
            f"a repository that was opened from an {place.location} cannot be pickled, nor can its "
            "views: icechunk's storage objects cannot. Open it by its location and options, "
            "Repository.open('s3://bucket/prefix', …)"
        )
    public = {name: value for name, value in place.options.items() if _is_public(name, value)}
    return Address(
        place.location,
        tuple(sorted(public.items())),
        tuple(sorted(place.options.keys() - public.keys())),
        lock_timeout,
        durable,
    )


def _is_public(name: str, value: Any) -> bool:
    if name == "get_credentials":
        # By its name, an importable function is found again over there; anything else would
        # have to be sent, with whatever it holds.
        return (
            isinstance(value, types.FunctionType)
            and value.__module__ != "__main__"
            and "<" not in value.__qualname__
        )
    if name == "endpoint_url" and isinstance(value, str):
        return urlsplit(value).password is None
    return name in _PUBLIC
