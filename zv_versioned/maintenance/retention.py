"""Which snapshots are kept, and how their lines of descent go on: pure, no I/O.

Kept are, besides what the rule keeps: what refs stand at; the second parents of
merges that are kept; and each best common ancestor of two refs, so that they can
be merged as before. What expires leaves gaps in the graph; each is bridged by a
line to the nearest ancestors that are kept, so that of two snapshots that are
kept the one is an ancestor of the other as before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..storage.lineage import ROOT_ID, Line

MOST_LINES = 1000
"""How many lines an expiry may write down. Each is a ref, and slows commits a little."""

_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Commit:
    """What counts of a snapshot.

    Parameters
    ----------
    parents : tuple of str
        The first one first.
    time : datetime
    cut : bool
        Whether an earlier expiry cut its line.
    exact : bool
        Whether `parents` are those that it was committed with.
    """

    parents: tuple[str, ...]
    time: datetime
    cut: bool = False
    exact: bool = True


Graph = Mapping[str, Commit]


@dataclass(frozen=True)
class Rule:
    """What a user wants to keep.

    Parameters
    ----------
    older_than : datetime or None
        Whatever is not older stays.
    keep_last : int or None
        So many of each branch stay, over first parents.
    """

    older_than: datetime | None
    keep_last: int | None

    def keeps(self, graph: Graph, tips: Iterable[str]) -> Iterator[str]:
        """The snapshots that the rule keeps; `tips` are those of the branches it is about."""
        if self.older_than is not None:
            yield from (name for name, commit in graph.items() if commit.time >= self.older_than)
        for tip in tips if self.keep_last is not None else ():
            at: str | None = tip
            for _ in range(self.keep_last or 0):
                if at is None:
                    break
                yield at
                parents = graph[at].parents
                at = parents[0] if parents else None


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Parameters
    ----------
    expired : frozenset of str
    kept : frozenset of str
    older_than : datetime or None
        What icechunk is to be told: all that expires is older; None where nothing does.
    lines : frozenset of Line
        All that have to be written down then.
    kept_back : int
        How many would expire, too, but for :data:`MOST_LINES`.
    """

    expired: frozenset[str]
    kept: frozenset[str]
    older_than: datetime | None
    lines: frozenset[Line]
    kept_back: int = 0


def plan(
    graph: Graph, always: Iterable[str], heads: Sequence[str], most_lines: int = MOST_LINES
) -> Plan:
    """Which snapshots expire.

    Parameters
    ----------
    graph : mapping of str to Commit
        All snapshots that any ref leads to.
    always : iterable of str
        Those that a rule or a ref keeps.
    heads : sequence of str
        Where branches and tags stand: what may be merged.
    most_lines : int
    """
    kept = {name for name in always if name in graph} | set(heads) | {ROOT_ID}
    kept |= bases(graph, heads)
    kept |= _second_parents(graph, kept)
    oldest_first = sorted(graph.keys() - kept, key=lambda name: (graph[name].time, name))
    # As many as there can be, the oldest first, without more lines than are bearable.
    low, high = 0, len(oldest_first)
    best = _planned(graph, oldest_first)
    while len(best.lines) > most_lines and low < high:
        middle = (low + high) // 2
        tried = _planned(graph, oldest_first[:middle])
        if len(tried.lines) > most_lines:
            high = middle
        else:
            low = middle + 1
    if len(best.lines) > most_lines:
        best = _planned(graph, oldest_first[: max(low - 1, 0)])
    back = len(oldest_first) - len(best.expired)
    return Plan(best.expired, best.kept, best.older_than, best.lines, back)


def bases(graph: Graph, heads: Sequence[str]) -> set[str]:
    """Snapshots among which are the best common ancestors of any two heads.

    Those that several heads descend from, and no child of which just as many do.
    """
    of: dict[str, int] = {}
    for number, head in enumerate(dict.fromkeys(heads)):
        of[head] = of.get(head, 0) | 1 << number
    inherited: set[str] = set()
    for name in children_first(graph, heads):
        mine = of.setdefault(name, 0)
        for parent in graph[name].parents:
            of[parent] = of.get(parent, 0) | mine
    for name, mine in of.items():
        inherited.update(p for p in graph[name].parents if of[p] == mine)
    return {name for name, mine in of.items() if mine.bit_count() > 1 and name not in inherited}


def children_first(graph: Graph, heads: Iterable[str]) -> list[str]:
    """The heads and all that led to them, each after all of its children."""
    done: list[str] = []
    seen: set[str] = set()
    for head in heads:
        waiting = [(head, False)]
        while waiting:
            name, left = waiting.pop()
            if left:
                done.append(name)
            elif name not in seen:
                seen.add(name)
                waiting.append((name, True))
                waiting += [(p, False) for p in graph[name].parents if p not in seen]
    return done[::-1]


def _second_parents(graph: Graph, kept: Set[str]) -> set[str]:
    found: set[str] = set()
    waiting = list(kept)
    while waiting:
        for parent in graph[waiting.pop()].parents[1:]:
            if parent not in kept and parent not in found:
                found.add(parent)
                waiting.append(parent)
    return found


def _planned(graph: Graph, expired: Sequence[str]) -> Plan:
    """The plan that lets just these expire."""
    gone = frozenset(expired)
    kept = frozenset(graph.keys() - gone)
    cutoff = graph[expired[-1]].time + _MOMENT if expired else None
    lines: set[Line] = set()
    for name in kept:
        commit = graph[name]
        gap = not gone.isdisjoint(commit.parents)
        old = cutoff is not None and any(
            p != ROOT_ID and graph[p].time < cutoff for p in commit.parents
        )
        if not (gap or old or commit.cut):
            continue
        found = list(dict.fromkeys(n for p in commit.parents for n in _nearest(graph, gone, p)))
        known = [parent for parent in found if parent != ROOT_ID] or found
        exact = commit.exact and not gap
        lines.update(Line(name, number, parent, exact) for number, parent in enumerate(known))
    return Plan(gone, kept, cutoff, frozenset(lines))


def _nearest(graph: Graph, gone: Set[str], name: str) -> list[str]:
    """The nearest ancestors of a snapshot that are kept; itself where it is."""
    found: dict[str, None] = {}
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        at = waiting.pop()
        if at in seen:
            continue
        seen.add(at)
        if at not in gone:
            found[at] = None
        else:
            # The first parent is taken next, so that the first line found is the first line.
            waiting += reversed(graph[at].parents)
    return list(found)
