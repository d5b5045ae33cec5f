"""The log: commits, newest first, and how they are shown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from html import escape
from itertools import islice
from typing import Any, Protocol

from ..errors import IntegrityError

OWN = "zv_versioned"
"""The key under which a commit's metadata has our own facts.

They are kept short, also their names: each commit writes those of all others
once more (design note 005).
"""

_SHORT = {"transaction": "t", "author": "a", "changes": "c"}
_SHORT_COUNTS = {"batches_added": "b", "vertices_added": "v", "objects_added": "o"}


def _renamed(facts: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(key, key): value for key, value in facts.items()}


def encode_own(own: Mapping[str, Any]) -> dict[str, Any]:
    """Our own facts of a commit as its metadata has them; what is empty is left out."""
    kept = {key: value for key, value in own.items() if value}
    if "changes" in kept:
        kept["changes"] = {
            name: _renamed(counts, _SHORT_COUNTS) for name, counts in kept["changes"].items()
        }
    return _renamed(kept, _SHORT)


def own_facts(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Our own facts of a commit, from its metadata; empty where it is none of ours.

    Early repositories have them as a text of JSON, with all names in full.

    Raises
    ------
    IntegrityError
        If they cannot be read.
    """
    facts = metadata.get(OWN)
    if facts is None:
        return {}
    try:
        facts = json.loads(facts) if isinstance(facts, str) else facts
        facts = _renamed(facts, {short: name for name, short in _SHORT.items()})
        names = {short: name for name, short in _SHORT_COUNTS.items()}
        if "changes" in facts:
            changes = facts["changes"].items()
            facts["changes"] = {name: _renamed(counts, names) for name, counts in changes}
    except (AttributeError, ValueError) as error:
        raise IntegrityError(f"the metadata of a commit cannot be read: {error}") from error
    return facts


class _Snapshot(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def parent_id(self) -> str | None: ...
    @property
    def message(self) -> str: ...
    @property
    def written_at(self) -> datetime: ...
    @property
    def metadata(self) -> dict[str, Any]: ...


def parents_of(info: _Snapshot) -> tuple[str, ...]:
    """The parents of a commit, the first one first; a merge's second is in its metadata.

    Where those that it was committed with have expired, the nearest that are kept.
    """
    descent = getattr(info, "descent", None)
    if descent is not None:
        return tuple(descent.parents)
    second = own_facts(info.metadata).get("merged")
    first = (info.parent_id,) if info.parent_id else ()
    return (*first, second) if second else first


@dataclass(frozen=True)
class CommitInfo:
    """One commit.

    Parameters
    ----------
    snapshot_id : str
    message : str
    author : str
        Empty for the commit that every repository begins with.
    time : datetime
        When, with its zone.
    parents : tuple of str
        Snapshot ids, of a merge two; empty for the first commit.
    summary : dict
        ``created``: datasets made; ``changes``: for each level, the batches,
        vertices and objects added; of a merge, revert or cherry-pick also
        ``operation`` and, of the latter two, ``of``.
    metadata : dict
        The user's own.
    """

    snapshot_id: str
    message: str
    author: str
    time: datetime
    parents: tuple[str, ...]
    summary: dict[str, Any]
    metadata: dict[str, Any]

    @classmethod
    def from_snapshot(cls, info: _Snapshot) -> CommitInfo:
        """From what the storage says of a snapshot."""
        own = own_facts(info.metadata)
        others = {k: v for k, v in info.metadata.items() if k != OWN and k[:2] != "__"}
        return cls(
            snapshot_id=info.id,
            message=info.message,
            author=own.get("author", ""),
            time=info.written_at,
            parents=parents_of(info),
            summary={
                "created": own.get("created", []),
                "changes": own.get("changes", {}),
                **{key: own[key] for key in ("operation", "of") if key in own},
            },
            metadata=own.get("metadata", {}) if own else others,
        )

    @property
    def vertices_added(self) -> int:
        """Vertices that this commit added, over all levels."""
        return sum(c.get("vertices_added", 0) for c in self.summary["changes"].values())

    def __str__(self) -> str:
        when = self.time.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        return f"{self.snapshot_id}  {when}  {_line(self.author) or '-':<10}  {_line(self.message)}"


def _line(text: str) -> str:
    """The first line of a text, without what could move a terminal's cursor."""
    first = next(iter(text.splitlines()), "")
    return "".join(c if c.isprintable() else "\ufffd" for c in first)


class CommitLog(list[CommitInfo]):
    """Commits, newest first; a list that shows itself as a table."""

    def __repr__(self) -> str:
        return "\n".join(map(str, self)) or "<no commits>"

    def _repr_html_(self) -> str:
        cell = "text-align:left;padding:2px 12px 2px 0"
        head = "".join(
            f"<th style='{cell}'>{name}</th>"
            for name in ("snapshot", "time", "author", "message", "new vertices")
        )
        rows = "".join(
            f"<tr><td style='{cell}'><code>{c.snapshot_id[:8]}</code></td>"
            f"<td style='{cell}'>{c.time.astimezone():%Y-%m-%d %H:%M}</td>"
            f"<td style='{cell}'>{escape(c.author)}</td>"
            f"<td style='{cell}'>{escape(c.message)}</td>"
            f"<td style='{cell};text-align:right'>{c.vertices_added:,}</td></tr>"
            for c in self
        )
        return f"<table style='font-size:90%'><tr>{head}</tr>{rows}</table>"


def read_log(snapshots: Iterable[Any], limit: int | None) -> CommitLog:
    """Commits of an ancestry, at most `limit`."""
    return CommitLog(CommitInfo.from_snapshot(info) for info in islice(snapshots, limit))
