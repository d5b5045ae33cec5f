"""Which snapshots are kept, and how their lines go on: any graph, without a repository."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from zv_versioned.maintenance.retention import Commit, Plan, Rule, bases, children_first, plan
from zv_versioned.storage.lineage import ROOT_ID

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
Parents = Mapping[str, tuple[str, ...]]


def ancestors(parents: Parents, name: str) -> set[str]:
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        at = waiting.pop()
        if at not in seen:
            seen.add(at)
            waiting += parents[at]
    return seen


def best(parents: Parents, a: str, b: str) -> set[str]:
    """The best common ancestors of two commits, by the definition."""
    common = ancestors(parents, a) & ancestors(parents, b)
    return {c for c in common if not any(c != d and c in ancestors(parents, d) for d in common)}


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[str, Commit], list[str]]:
    """Some commits with one or two parents each, a minute apart, and some heads."""
    names = [ROOT_ID] + [f"C{number:019d}" for number in range(draw(st.integers(1, 18)))]
    graph = {ROOT_ID: Commit((), BEGIN)}
    for number, name in enumerate(names[1:], 1):
        first = draw(st.sampled_from(names[max(0, number - 5) : number]))
        second = draw(st.none() | st.sampled_from(names[:number]))
        merged = (second,) if second not in (None, first, ROOT_ID) else ()
        graph[name] = Commit((first, *merged), BEGIN + timedelta(minutes=number))
    heads = draw(st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=True))
    return {name: graph[name] for name in children_first(graph, heads)}, heads


def after(graph: Mapping[str, Commit], done: Plan) -> dict[str, tuple[str, ...]]:
    """The graph that is left: what is written down counts, else what was there."""
    written: dict[str, list[tuple[int, str]]] = {}
    for line in done.lines:
        written.setdefault(line.child, []).append((line.number, line.parent))
    return {
        name: tuple(p for _, p in sorted(written[name])) if name in written else graph[name].parents
        for name in done.kept
    }


@given(graphs(), st.integers(0, 20), st.none() | st.integers(1, 5))
def test_of_two_that_are_kept_one_is_an_ancestor_as_before(
    made: tuple[dict[str, Commit], list[str]], minutes: int, last: int | None
) -> None:
    graph, heads = made
    rule = Rule(BEGIN + timedelta(minutes=minutes), last)
    done = plan(graph, rule.keeps(graph, heads), heads)
    assert done.expired | done.kept == graph.keys()
    before, now = {n: c.parents for n, c in graph.items()}, after(graph, done)
    for name in done.kept:
        assert ancestors(now, name) == ancestors(before, name) & done.kept
    for a in heads:
        for b in heads:
            assert best(now, a, b) == best(before, a, b)
    # What icechunk is told takes nothing besides: all else that is older is written down or a head.
    for name in done.kept - set(heads) - {ROOT_ID}:
        if done.older_than is not None and graph[name].time < done.older_than:
            assert any(line.parent == name for line in done.lines)


@given(graphs(), st.integers(0, 20))
def test_a_merge_that_is_kept_keeps_what_it_merged(
    made: tuple[dict[str, Commit], list[str]], minutes: int
) -> None:
    graph, heads = made
    rule = Rule(BEGIN + timedelta(minutes=minutes), None)
    done = plan(graph, rule.keeps(graph, heads), heads)
    for name in done.kept:
        assert done.kept.issuperset(graph[name].parents[1:])


@given(graphs(), st.integers(0, 6))
def test_no_more_lines_than_are_bearable(
    made: tuple[dict[str, Commit], list[str]], most: int
) -> None:
    graph, heads = made
    free, bound = plan(graph, (), heads), plan(graph, (), heads, most)
    assert len(bound.lines) <= most
    assert bound.expired <= free.expired
    assert bound.kept_back == len(free.expired) - len(bound.expired)


@given(graphs())
def test_the_bases_are_among_those_that_are_kept_as_such(
    made: tuple[dict[str, Commit], list[str]],
) -> None:
    graph, heads = made
    parents = {name: commit.parents for name, commit in graph.items()}
    found = bases(graph, heads)
    for a in heads:
        for b in heads:
            if a != b:
                assert best(parents, a, b) <= found | set(heads)


def test_a_rule_keeps_by_age_and_by_count() -> None:
    graph = {ROOT_ID: Commit((), BEGIN)}
    before = ROOT_ID
    for number in range(1, 6):
        graph[str(number)] = Commit((before,), BEGIN + timedelta(minutes=number))
        before = str(number)
    since = BEGIN + timedelta(minutes=4)
    assert set(Rule(since, None).keeps(graph, ["5"])) == {"4", "5"}
    assert set(Rule(None, 3).keeps(graph, ["5"])) == {"3", "4", "5"}
    assert set(Rule(since, 1).keeps(graph, ["5"])) == {"4", "5"}
    assert set(Rule(None, 99).keeps(graph, ["2"])) == {"1", "2", ROOT_ID}
