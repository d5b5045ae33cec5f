"""A location, understood: which storage it names, with nothing touched yet.

A location is one of

- a path (``~`` is expanded) or ``file://…``;
- ``memory://``, a new private store at every creation, or ``memory://name``,
  one store per name for as long as this process lives;
- ``s3://bucket/prefix``, ``gs://…`` (or ``gcs://``), ``az://container/prefix``,
  with the keyword options of icechunk's ``s3_storage``, ``gcs_storage`` and
  ``azure_storage``; credentials come from the environment unless given;
- an :class:`icechunk.Storage`, taken as it is.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit
from urllib.request import url2pathname

import icechunk as ic

from ..errors import MetadataError, ZVError
from .translate import translated

Location: TypeAlias = "str | os.PathLike[str] | ic.Storage"

CLOUD: dict[str, tuple[Callable[..., ic.Storage], str]] = {
    "s3": (ic.s3_storage, "bucket"),
    "gs": (ic.gcs_storage, "bucket"),
    "gcs": (ic.gcs_storage, "bucket"),
    "az": (ic.azure_storage, "container"),
}
_SCHEMES = "a path, file://, memory://, s3://bucket/prefix, gs://… or az://container/prefix"


@dataclass(frozen=True)
class Place:
    """A location that has been understood, and nothing touched yet."""

    location: str
    scheme: str
    name: str = ""
    folder: Path | None = None
    # Making a storage for a folder makes the folder; opening must not.
    make: Callable[[], ic.Storage] = field(default=ic.in_memory_storage)
    # As they were given, secrets too: never to be printed.
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)


def resolve(location: Location, options: Mapping[str, Any]) -> Place:
    if isinstance(location, ic.Storage):
        _refuse_options("an icechunk.Storage", options)
        return _from_storage(location)
    text: object = location
    if isinstance(location, os.PathLike):
        text = os.fspath(location)
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise MetadataError(f"location is {location!r}; give {_SCHEMES}, or an icechunk.Storage")
    parts = re.fullmatch(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", text, re.DOTALL)
    if parts is None:
        if re.match(r"(s3|gcs|gs|az|memory|file):[/\\]", text):
            raise MetadataError(
                f"location {text!r} has lost a slash: give a URL as a string, not as a pathlib.Path"
            )
        return _local(text, options)
    scheme, rest = parts[1].lower(), parts[2]
    if scheme == "file":
        url = urlsplit(text)
        if url.netloc not in ("", "localhost") or not url.path:
            raise MetadataError(
                f"location {text!r} names no absolute path; write file:///path/to/it"
            )
        return _local(url2pathname(url.path), options)
    if scheme == "memory":
        _refuse_options("memory://", options)
        return Place(f"memory://{rest}", scheme, name=rest)
    if scheme in CLOUD:
        return _cloud(scheme, rest, options)
    raise MetadataError(f"location scheme {parts[1] + '://'!r} is not known; give {_SCHEMES}")


def _refuse_options(what: str, options: Mapping[str, Any]) -> None:
    if options:
        raise MetadataError(
            f"{what} takes no storage options, but got {', '.join(sorted(options))}"
        )


def _local(text: str, options: Mapping[str, Any]) -> Place:
    _refuse_options("a local path", options)
    folder = Path(os.path.abspath(os.path.expanduser(text)))
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise MetadataError(f"location {str(folder)!r} is not valid UTF-8; rename it") from None
    return Place(
        str(folder), "file", folder=folder, make=lambda: ic.local_filesystem_storage(str(folder))
    )


def _cloud(scheme: str, rest: str, options: Mapping[str, Any]) -> Place:
    constructor, container_word = CLOUD[scheme]
    scheme = "gs" if scheme == "gcs" else scheme
    container, _, prefix = rest.partition("/")
    prefix = prefix.strip("/")
    if "@" in container or "?" in rest:
        # Not repeated in the message: what stands there may be a password.
        raise MetadataError(
            f"a {scheme}:// location holds a {container_word} and a prefix, nothing else; give "
            "credentials and settings as keyword options"
        )
    if not container:
        raise MetadataError(
            f"location '{scheme}://{rest}' names no {container_word}; give {_SCHEMES}"
        )
    location = f"{scheme}://{container}/{prefix}".rstrip("/")
    accepted = sorted(set(inspect.signature(constructor).parameters) - {container_word, "prefix"})
    for option in options:
        if option not in accepted:
            raise MetadataError(
                f"{option!r} is no storage option of {scheme}://; accepted are: "
                f"{', '.join(accepted)}"
            )
    arguments: dict[str, Any] = {**options, container_word: container, "prefix": prefix}
    if scheme == "az" and not arguments.get("account"):
        variables = ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT")
        account = next(filter(None, map(os.environ.get, variables)), None)
        if account is None:
            raise MetadataError(
                f"{location} needs the storage account: give account=… or set the environment "
                f"variable {' or '.join(variables)}"
            )
        arguments["account"] = account
    try:
        with translated(location):
            storage = constructor(**arguments)
    except ZVError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise MetadataError(f"the storage options for {location} do not fit: {error}") from error
    given = {k: v for k, v in arguments.items() if k not in (container_word, "prefix")}
    return Place(location, scheme, name=prefix, make=lambda: storage, options=given)


def _from_storage(storage: ic.Storage) -> Place:
    shown = repr(storage)
    if re.search(r"LocalFileSystem|local filesystem", shown):
        path = re.search(r"path=(.*)\)\)\s*\Z|^path: (.*)$", shown, re.MULTILINE)
        if path is None:
            raise MetadataError(
                "a local icechunk.Storage that hides its path; give the path instead"
            )
        return _local(path[1] or path[2], {})
    if re.search(r"InMemory|in-memory", shown):
        return Place("memory://", "storage", make=lambda: storage)
    names = re.findall(r"\b(?:bucket|container|prefix)(?:: |=)([^,\n)]+)", shown)
    return Place("icechunk.Storage " + "/".join(names), "storage", make=lambda: storage)
