"""Which snapshot a word stands for: a branch, a tag, an id or its beginning, or a way back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from ..errors import IntegrityError, MetadataError, NotFoundError, StorageError
from .log import parents_of

if TYPE_CHECKING:
    from ..storage import Backend

__all__ = ["Named", "named", "newest_by"]

_ID = re.compile(r"[0-9A-Z]{4,20}")
_BACK = re.compile(r"(?P<ref>.+)(?P<way>[~^])(?P<number>\d{0,9})")


@dataclass(frozen=True)
class Named:
    """What a word stands for.

    Parameters
    ----------
    snapshot_id : str
    branch : str or None
        Where the word is the name of one.
    """

    snapshot_id: str
    branch: str | None


def named(backend: Backend, ref: str) -> Named:
    """Find what a word stands for; see :meth:`Repository.resolve`.

    Raises
    ------
    MetadataError
        If it is no text.
    NotFoundError
        If it is nothing, or the beginning of several.
    """
    if not isinstance(ref, str) or not ref:
        raise MetadataError(f"a branch, tag or snapshot is given as text, got {ref!r}")
    tip = _tip(backend, ref)
    if tip is not None:
        return Named(tip, ref)
    if ref in backend.tags():
        return Named(backend.tag_target(ref), None)
    back = _BACK.fullmatch(ref)
    if back:
        base, number = named(backend, back["ref"]).snapshot_id, int(back["number"] or 1)
        there = _ancestor if back["way"] == "~" else _parent
        return Named(there(backend, ref, base, number), None)
    begun = _begun(backend, ref)
    if begun is not None:
        return Named(begun, None)
    for kind, target in (("branch", backend.branch_tip), ("tag", backend.tag_target)):
        if ref in backend.lost(kind):
            return Named(target(ref), None)  # says that its file is gone
    raise NotFoundError(
        f"{ref!r} is no branch, tag or snapshot of {backend.location}; branches: "
        f"{', '.join(backend.branches())}; tags: {', '.join(backend.tags()) or 'none'}"
    )


def _tip(backend: Backend, ref: str) -> str | None:
    """The tip of a branch; None where it is none."""
    # Most are, and are not looked for in a list first; what may be an id is, as a rule, one.
    if _ID.fullmatch(ref.upper()) and ref not in backend.branches():
        return None
    try:
        return backend.branch_tip(ref)
    except NotFoundError:
        return None


def _ancestor(backend: Backend, ref: str, snapshot_id: str, steps: int) -> str:
    depth = -1
    for depth, info in enumerate(backend.ancestry(snapshot_id)):
        if depth == steps:
            return info.id
    raise NotFoundError(f"{ref!r}: {snapshot_id} has only {depth} ancestors")


def _parent(backend: Backend, ref: str, snapshot_id: str, number: int) -> str:
    parents = parents_of(backend.snapshot(snapshot_id))
    if number == 0:
        return snapshot_id
    if number > len(parents):
        has = ("no parent", "one parent", "two parents")[len(parents)]
        raise NotFoundError(f"{ref!r}: {snapshot_id} has {has}")
    return parents[number - 1]


def _begun(backend: Backend, ref: str) -> str | None:
    """The one snapshot whose id begins with a word, or None."""
    prefix = ref.upper()
    if not _ID.fullmatch(prefix):
        return None
    if len(prefix) == 20:
        try:
            return backend.snapshot(prefix).id
        except NotFoundError:
            return None
    found = [snapshot for snapshot in _reachable(backend, prefix) if snapshot.startswith(prefix)]
    if len(found) > 1:
        raise NotFoundError(
            f"{ref!r} begins {len(found)} snapshot ids: {', '.join(sorted(found)[:5])}; "
            "give more of it"
        )
    return found[0] if found else None


def _reachable(backend: Backend, prefix: str) -> set[str]:
    """All snapshots that branches and tags lead to, to look for one of them."""
    tips = {backend.branch_tip(name) for name in backend.branches()}
    tips |= {backend.tag_target(name) for name in backend.tags()}
    seen: set[str] = set()
    for tip in tips:
        try:
            for info in backend.ancestry(tip):
                if info.id in seen:
                    break
                seen.add(info.id)
        except (IntegrityError, NotFoundError, StorageError) as error:
            raise type(error)(
                f"which snapshot {prefix!r} begins cannot be told, for the history of {tip} "
                f"cannot be read: {error}. Give the whole id, of 20 characters"
            ) from error
    return seen


def newest_by(backend: Backend, tip: str, when: datetime) -> str:
    """The newest snapshot on the way to `tip` that is not younger than a time.

    Raises
    ------
    MetadataError
        If it is no time.
    NotFoundError
        If all are younger.
    """
    if not isinstance(when, datetime):
        raise MetadataError(
            "as_of must be a datetime, such as datetime(2026, 1, 31, 12, 30), got "
            f"{when!r}; datetime.fromisoformat() reads a text"
        )
    moment = when.astimezone()
    for info in backend.ancestry(tip):
        if info.written_at <= moment:
            return info.id
    raise NotFoundError(f"nothing was committed by {moment.isoformat()}")
