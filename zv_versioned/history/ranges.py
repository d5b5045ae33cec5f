"""Ranges of history: ``A..B``, what B has and A has not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import MetadataError
from .log import CommitLog

if TYPE_CHECKING:
    from ..repository import Repository

__all__ = ["commits", "ends"]


def ends(text: str, default: str = "main") -> tuple[str | None, str]:
    """The two ends of a range.

    Parameters
    ----------
    text : str
        A ref, or ``A..B``; a side that is left out is `default`.
    default : str

    Returns
    -------
    base : str or None
        None where `text` is no range but a ref.
    tip : str

    Raises
    ------
    MetadataError
        If there are more than two sides.
    """
    if ".." not in text:
        return None, text
    base, _, tip = text.partition("..")
    if ".." in tip or tip.startswith(".") or (not base and not tip):
        raise MetadataError(f"{text!r} is no range; write A..B, both of them refs")
    return base or default, tip or default


def commits(repository: Repository, text: str, limit: int | None = None) -> CommitLog:
    """The commits of a ref, or those of a range: reached from B and not from A.

    Parameters
    ----------
    repository : Repository
    text : str
        A ref, or ``A..B``.
    limit : int, optional
        How many at most, the newest.

    Returns
    -------
    CommitLog
        Newest first.
    """
    base, tip = ends(text)
    if base is None:
        return repository.log(tip, limit)
    known = {commit.snapshot_id for commit in repository.log(base)}
    fresh = [c for c in repository.log(tip) if c.snapshot_id not in known]
    return CommitLog(fresh if limit is None else fresh[:limit])
