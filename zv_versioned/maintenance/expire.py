"""Expiry: letting go of old snapshots, so that a collection can remove what only they need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from .._checks import is_whole
from .._words import counted
from ..errors import MetadataError, NotFoundError
from ..geometry import html_table
from ..history.graph import History
from ..history.log import own_facts, parents_of
from ..storage import hidden, leases
from ..storage.carry import SHARES
from ..storage.lineage import descents, lines_in
from ..storage.presence import LONGEST, SKEW
from ..storage.writers import writers
from .retention import Commit, Plan, Rule, children_first, plan

if TYPE_CHECKING:
    from ..repository import Repository
    from ..storage import Backend, SnapshotInfo


@dataclass(frozen=True)
class Expiry:
    """What :meth:`Repository.expire` did, or would do.

    Parameters
    ----------
    dry_run : bool
    older_than : datetime or None
    keep_last : int or None
    refs : tuple of str
        The branches that it was about.
    expired : tuple of str
        Snapshots that nothing leads to any more, newest first.
    kept : int
        Snapshots that stay.
    lines : int
        Lines of descent that are written down where what was between expired.
    kept_back : int
        Snapshots that would expire as well, if that did not need too many lines.
    """

    dry_run: bool
    older_than: datetime | None
    keep_last: int | None
    refs: tuple[str, ...]
    expired: tuple[str, ...]
    kept: int
    lines: int
    kept_back: int

    def to_dict(self) -> dict[str, Any]:
        """The result as plain values, for JSON."""
        when = None if self.older_than is None else self.older_than.isoformat()
        lists = {"refs": list(self.refs), "expired": list(self.expired)}
        return {**asdict(self), "older_than": when, **lists}

    def _facts(self) -> list[tuple[str, str]]:
        facts = [
            ("expired", counted(len(self.expired), "snapshot")),
            ("kept", counted(self.kept, "snapshot")),
            ("branches", ", ".join(self.refs)),
        ]
        if self.older_than is not None:
            facts.append(("older than", self.older_than.isoformat()))
        if self.keep_last is not None:
            facts.append(("last kept", f"{self.keep_last:,}"))
        if self.kept_back:
            facts.append(("kept back", f"{counted(self.kept_back, 'snapshot')}, for want of lines"))
        return facts

    def __repr__(self) -> str:
        name = "Expiry, dry run" if self.dry_run else "Expiry"
        return f"<{name}: " + ", ".join(f"{k} {v}" for k, v in self._facts()) + ">"

    def _repr_html_(self) -> str:
        return html_table("Expiry, dry run" if self.dry_run else "Expiry", self._facts())


def moment(older_than: datetime | timedelta, now: datetime) -> datetime:
    """A moment in the past, given as such or as an age.

    Raises
    ------
    MetadataError
        If it is neither, or in the future.
    """
    given: object = older_than
    if isinstance(given, timedelta):
        age = given
        try:
            given = now - age
        except OverflowError as error:
            raise MetadataError(
                f"older_than={age.days:,} days is an age that nothing has: there are no dates "
                "before the year 1"
            ) from error
    if not isinstance(given, datetime):
        raise MetadataError(
            "older_than is a datetime such as datetime(2026, 1, 31), or an age such as "
            f"timedelta(days=90), got {older_than!r}"
        )
    found = given.astimezone(UTC)
    if found > now:
        raise MetadataError(
            f"older_than={found.isoformat()!r} is in the future; now is {now.isoformat()}"
        )
    return found


def expire(
    repository: Repository,
    older_than: datetime | timedelta | None,
    keep_last: int | None,
    refs: str | Sequence[str] | None,
    dry_run: bool,
) -> Expiry:
    """Let old snapshots go; see :meth:`Repository.expire`."""
    now = datetime.now(UTC)
    cutoff = None if older_than is None else moment(older_than, now)
    if keep_last is not None and not (is_whole(keep_last) and keep_last >= 1):
        raise MetadataError(f"keep_last is a number from 1 up, got {keep_last!r}")
    if cutoff is None and keep_last is None:
        raise MetadataError("expire() needs older_than, keep_last, or both")
    backend = repository._backend
    chosen = _chosen(backend, refs)
    rule = Rule(cutoff, keep_last)
    with backend.mutation("expire snapshots"):
        # In this order: a merge that is under way on an object store has a lease of its second
        # parent from before it is kept until after the commit, which then is in the graph.
        parents = hidden.kept_parents(backend)
        leased = leases.held(backend, now)
        graph, merges = _graph(backend)
        found = _plan(backend, graph, rule, chosen, now)
        if not dry_run:
            _do(backend, found, now, _over(backend, found, merges, parents, leased))
    newest_first = sorted(found.expired, key=lambda name: graph[name].time, reverse=True)
    return Expiry(
        dry_run, cutoff, keep_last, tuple(chosen), tuple(newest_first), len(found.kept),
        len(found.lines), found.kept_back,
    )  # fmt: skip


def _chosen(backend: Backend, refs: str | Sequence[str] | None) -> list[str]:
    branches = backend.branches()
    if refs is None:
        return branches
    given: Any = [refs] if isinstance(refs, str) else refs
    if not isinstance(given, Iterable) or not (chosen := list(given)):
        raise MetadataError(f"refs are names of branches, got {refs!r}")
    for name in chosen:
        if name not in branches:
            if name in backend.tags():
                raise MetadataError(
                    f"{name!r} is a tag, and what a tag stands for never expires; refs are branches"
                )
            backend.branch_tip(name)  # says what there is
            raise NotFoundError(f"there is no branch {name!r}")
    return sorted(set(chosen))


def _graph(backend: Backend) -> tuple[dict[str, Commit], dict[str, str]]:
    """All snapshots that a ref leads to, and the second parents of merges, by merge."""
    history = History(backend)
    written = descents(backend)
    graph: dict[str, Commit] = {}
    merges: dict[str, str] = {}
    waiting = [tip for _, tip in _all_refs(backend)]
    while waiting:
        name = waiting.pop()
        if name in graph:
            continue
        info: SnapshotInfo = history[name]
        descent = info.descent
        # A line is true also where an expiry that wrote it down did not get further, and what it
        # leads to may hold by it alone once what was let go of is gone.
        lines = written[name].parents if name in written else ()
        graph[name] = Commit(
            tuple(dict.fromkeys((*parents_of(info), *lines))),
            info.written_at,
            descent is not None,
            descent is None or descent.exact,
        )
        merged = own_facts(info.metadata).get("merged")
        if merged:
            merges[name] = merged
        waiting += reversed(graph[name].parents)
    return graph, merges


def _all_refs(backend: Backend) -> list[tuple[str, str]]:
    """Branches, tags and hidden branches, with the snapshots that they stand at."""
    found = [(name, backend.branch_tip(name)) for name in backend.branches()]
    found += [(name, backend.tag_target(name)) for name in backend.tags()]
    found += hidden.targets(backend).items()
    return found


def _plan(
    backend: Backend, graph: dict[str, Commit], rule: Rule, chosen: list[str], now: datetime
) -> Plan:
    tips = {name: backend.branch_tip(name) for name in backend.branches()}
    heads = [*tips.values(), *map(backend.tag_target, backend.tags())]
    others = [tip for name, tip in tips.items() if name not in chosen]
    always = [
        *rule.keeps(graph, [tips[name] for name in chosen]),
        *children_first(graph, others),
        *leases.held(backend, now),
    ]
    if backend.folder is not None:
        found = plan(graph, always, heads)
        if not found.expired:
            return found
        # What each began at is in its note alone, so unlike a collection, which asks for the oldest
        # (`oldest_writer`), this reads all of them: 0.05 ms each, where anything expires.
        open_now = writers(backend.folder)
        always += [writer.base for writer in open_now]
        unknown = [writer.began for writer in open_now if not writer.base]
        if unknown:
            always += _parents_since(graph, min(unknown))
    else:
        always += _parents_since(graph, now - LONGEST - SKEW)
    return plan(graph, always, heads)


def _parents_since(graph: dict[str, Commit], since: datetime) -> list[str]:
    """Where transactions may have begun after a moment: where branches stood until a commit."""
    return [p for commit in graph.values() if commit.time >= since for p in commit.parents]


def _over(
    backend: Backend, found: Plan, merges: dict[str, str], parents: list[str], leased: Iterable[str]
) -> set[str]:
    """The second parents that are kept though no merge that stays has them."""
    over = set(parents) - {parent for merge, parent in merges.items() if merge in found.kept}
    named = set(merges.values())
    if backend.is_local or SHARES:
        # Also of merges that are gone: a branch was reset, or somebody interrupted here.
        named |= found.expired - set(leased)
    return over & named


def _do(backend: Backend, found: Plan, now: datetime, over_too: set[str]) -> None:
    """Expire: each step leaves a history that is right, whatever becomes of the next."""
    there = set(lines_in(hidden.names(backend)))
    for line in sorted(found.lines - there):
        hidden.keep(backend, line.name, line.parent)
    over = sorted(there - found.lines, key=lambda line: (line.child in found.expired, line))
    for line in over:
        hidden.let_go(backend, line.name)
    for lease in leases.leases(backend):
        if not lease.is_live(backend, now):
            leases.release(backend, lease)
    if found.older_than is not None:
        backend.expire(found.older_than)
    for parent in sorted(over_too):
        hidden.forget_parent(backend, parent)
    if found.older_than is not None and over_too & found.expired:
        # They were held until the merges were gone, and icechunk spares what a ref stands at.
        backend.expire(found.older_than)
