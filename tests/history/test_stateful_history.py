"""Random histories with branches, merges, reverts, cherry-picks and races, against a model.

The model knows a snapshot as a set of batches, each with its vertices (by a tag
that each vertex has for itself), what was written of them, and which objects
were removed. It merges three of them with sets and dictionaries.
"""

from __future__ import annotations

import itertools
import os
import uuid
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import tests._profiles  # noqa: F401
import zv_versioned as zvv

KINDS = {"points": "point_cloud", "lines": "polyline", "meshes": "mesh"}
MISSING = np.iinfo(np.int64).min
Content = tuple[int, frozenset[int]]
"""A token, and the objects that were removed when it was written: their values are missing."""


@dataclass(frozen=True)
class Batch:
    """What one append added, and what was done with it since."""

    tags: np.ndarray
    ids: tuple[int, ...]
    positions: np.ndarray
    links: frozenset[tuple[int, ...]]
    by_default: bool
    contents: dict[str, Content] = field(default_factory=dict)
    removed: frozenset[int] = frozenset()


@dataclass(frozen=True)
class State:
    """One snapshot: batches by a name of their own, for each dataset, and metadata."""

    batches: dict[str, dict[int, Batch]]
    metadata: dict[str, int]

    def live(self, name: str) -> set[int]:
        """The objects of a dataset."""
        return {i for b in self.batches[name].values() for i in set(b.ids) - b.removed}

    def ids(self, name: str) -> set[int]:
        """The objects, removed ones too."""
        return {i for b in self.batches[name].values() for i in b.ids}


class CannotMergeError(Exception):
    """The model cannot merge."""


def pick(base: Any, ours: Any, theirs: Any) -> Any:
    """The three-way rule for one thing."""
    if ours == theirs or theirs == base:
        return ours
    if ours == base:
        return theirs
    raise CannotMergeError


def merge_sets(base: frozenset, ours: frozenset, theirs: frozenset) -> frozenset:
    return (ours & theirs) | (ours - base) | (theirs - base)


def numbered_like(batch: Batch, other: Batch) -> Batch:
    """A batch with the ids that it has elsewhere: a run is moved as a whole."""
    return moved(batch, other.ids[0] - batch.ids[0]) if batch.by_default else batch


def moved(batch: Batch, shift: int) -> Batch:
    """A batch whose ids are larger by some number."""
    return replace(
        batch,
        ids=tuple(i + shift for i in batch.ids),
        removed=frozenset(i + shift for i in batch.removed),
        contents={n: (t, frozenset(i + shift for i in g)) for n, (t, g) in batch.contents.items()},
    )


def merge_batches(
    base: dict[int, Batch], ours: dict[int, Batch], theirs: dict[int, Batch], reverting: bool
) -> dict[int, Batch]:
    merged = {}
    for key in ours.keys() | theirs.keys():
        b, o, t = base.get(key), ours.get(key), theirs.get(key)
        if o is None or t is None:
            there = o or t
            # A merge may have given the same batch other ids on one of the sides.
            b = b if b is None or there is None else numbered_like(b, there)
            if b is None:
                merged[key] = there
            elif reverting and o is None:
                continue
            elif there is None or (there.contents, there.removed) != (b.contents, b.removed):
                if reverting and t is None:
                    continue
                raise CannotMergeError
            continue
        b, t = None if b is None else numbered_like(b, o), numbered_like(t, o)
        names = o.contents.keys() | t.contents.keys()
        before = {} if b is None else b.contents
        contents = {n: pick(before.get(n), o.contents.get(n), t.contents.get(n)) for n in names}
        removed = merge_sets(frozenset() if b is None else b.removed, o.removed, t.removed)
        kept = {n: c for n, c in contents.items() if c is not None}
        merged[key] = replace(o, contents=kept, removed=removed)
    return merged


def merge_states(base: State, ours: State, theirs: State, *, reverting: bool = False) -> State:
    batches = {}
    for name in KINDS:
        sides = [side.batches[name] for side in (base, ours, theirs)]
        batches[name] = merge_batches(*sides, reverting)
        new = [
            {i for k, b in side.items() if k not in sides[0] for i in b.ids if not b.by_default}
            for side in sides[1:]
        ]
        mine = {
            i for k, b in sides[1].items() if k not in sides[0] and k not in sides[2] for i in b.ids
        }
        its = {
            i for k, b in sides[2].items()
            if k not in sides[0] and k not in sides[1] and not b.by_default for i in b.ids
        }  # fmt: skip
        if mine & its or new[0] & new[1] - {
            i for k in sides[1].keys() & sides[2].keys() for i in sides[1][k].ids
        }:
            raise CannotMergeError
    keys = ours.metadata.keys() | theirs.metadata.keys()
    metadata = {
        k: pick(base.metadata.get(k), ours.metadata.get(k), theirs.metadata.get(k)) for k in keys
    }
    return State(batches, {k: v for k, v in metadata.items() if v is not None})


def value(tag: np.ndarray, token: int) -> np.ndarray:
    return tag * 1000 + token


class Histories(RuleBasedStateMachine):
    """Each snapshot reads as the model says, for ever."""

    @initialize()
    def begin(self) -> None:
        self.location = f"memory://{uuid.uuid4().hex}"
        self.repo = zvv.Repository.create(self.location)
        self.tags, self.keys = itertools.count(1), itertools.count(1)
        self.tokens, self.given = itertools.count(1), itertools.count(10_000)
        with self.repo.transaction() as tx:
            for name, kind in KINDS.items():
                tx.create_dataset(name, kind=kind, bounds=([-9, -9], [9, 9]), chunk_shape=[5, 5])
        tip = self.repo.resolve("main")
        self.states = {tip: State({name: {} for name in KINDS}, {})}
        self.parents: dict[str, tuple[str, ...]] = {tip: ()}
        self.tips = {"main": tip}
        self.views = [self.repo.view("main")]

    # -- one change in a transaction -----------------------------------------

    def change(self, tx: zvv.Transaction, state: State, data: st.DataObject, rng: Any) -> State:
        """Stage one random change, and what the model makes of it."""
        name = data.draw(st.sampled_from(sorted(KINDS)))
        what = data.draw(st.sampled_from(["append", "append", "write", "remove", "metadata"]))
        writer = tx.writer(name)
        batches = dict(state.batches[name])
        if what == "metadata":
            key, token = data.draw(st.sampled_from("ab")), next(self.tokens)
            tx.writer("points").set_metadata_sync({key: token})
            return replace(state, metadata={**state.metadata, key: token})
        if what == "append":
            batches[next(self.keys)] = self.append(writer, name, data, rng)
        elif what == "remove":
            live = sorted(state.live(name))
            if not live:
                return state
            gone = frozenset(rng.choice(live, min(len(live), 2), replace=False).tolist())
            writer.remove_objects_sync(sorted(gone))
            batches = {
                k: replace(b, removed=b.removed | (gone & set(b.ids))) for k, b in batches.items()
            }
        else:
            column, token = data.draw(st.sampled_from(["w", "v"])), next(self.tokens)
            tags = self.tags_in_order(tx, name)
            if len(tags) == 0:
                return state
            writer.add_attribute_sync(column, value(tags, token))
            batches = {
                k: replace(b, contents={**b.contents, column: (token, b.removed)})
                if set(b.ids) - b.removed
                else replace(b, contents={n: c for n, c in b.contents.items() if n != column})
                for k, b in batches.items()
            }
        return replace(state, batches={**state.batches, name: batches})

    def append(self, writer: Any, name: str, data: st.DataObject, rng: Any) -> Batch:
        n = int(rng.integers(1, 12))
        tags = np.array([next(self.tags) for _ in range(n)])
        positions = rng.uniform(-9, 9, (n, 2)).astype("f4")
        default = data.draw(st.booleans())
        contents, values = {}, {"tag": tags}
        if data.draw(st.booleans()):
            token = next(self.tokens)
            contents["w"], values["w"] = (token, frozenset()), value(tags, token)
        if name == "points":
            ids = None if default else self.new_ids(rng, n)
            given = np.sort(ids) if ids is not None else None
            result = writer.append_vertices_sync(positions, object_ids=given, attributes=values)
            owner = result["object_ids"] if default else given
            links: frozenset = frozenset()
        elif name == "lines":
            cuts = np.unique(np.append(0, rng.integers(0, n, 3)))
            ids = None if default else self.new_ids(rng, len(cuts))
            result = writer.append_polylines_sync(
                positions, offsets=cuts, object_ids=ids, attributes=values
            )
            of_line = result["object_ids"] if default else ids
            line = np.searchsorted(cuts, np.arange(n), side="right") - 1
            owner = np.asarray(of_line)[line]
            steps = [(i, i + 1) for i in range(n - 1) if line[i] == line[i + 1]]
            links = frozenset((int(tags[a]), int(tags[b])) for a, b in steps)
        else:
            ids = None if default else self.new_ids(rng, 1)[0]
            faces = (
                np.array([rng.permutation(n)[:3] for _ in range(5)])
                if n > 2
                else np.zeros((0, 3), int)
            )
            faces = np.unique(faces, axis=0)
            result = writer.append_mesh_sync(positions, faces, object_ids=ids, attributes=values)
            owner = np.full(n, result["object_ids"][0])
            links = frozenset(map(tuple, tags[faces].tolist()))
        return Batch(tags, tuple(np.asarray(owner).tolist()), positions, links, default, contents)

    def new_ids(self, rng: Any, n: int) -> np.ndarray:
        some = np.array([next(self.given) * 10**6 for _ in range(max(1, n // 2))])
        return rng.choice(some, n)

    def tags_in_order(self, tx: zvv.Transaction, name: str) -> np.ndarray:
        """The tags of a dataset's vertices, as the transaction sees them, in level order."""
        stage = tx._stage(name, 0)
        reader = stage.reader()
        known = stage.facts.attributes.get("tag")
        return np.zeros(0, np.int64) if known is None else reader.attribute_of(known, reader.plan())

    # -- rules ---------------------------------------------------------------

    def seed(self, data: st.DataObject) -> Any:
        return np.random.default_rng(data.draw(st.integers(0, 2**32)))

    def branch(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.tips)))

    def made(self, branch: str, snapshot: str, state: State, *parents: str) -> None:
        self.tips[branch] = snapshot
        self.states[snapshot], self.parents[snapshot] = state, parents
        self.views.append(self.repo.view(branch))
        self.check(self.views[-1])

    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        branch, rng = self.branch(data), self.seed(data)
        tip = self.tips[branch]
        state = self.states[tip]
        with self.repo.transaction(branch) as tx:
            for _ in range(data.draw(st.integers(1, 3))):
                state = self.change(tx, state, data, rng)
        if tx.result.snapshot_id != tip:
            self.made(branch, tx.result.snapshot_id, state, tip)

    @rule(data=st.data())
    def race(self, data: st.DataObject) -> None:
        """Two transactions from one tip; the second is merged with the first, or refused."""
        branch, rng = self.branch(data), self.seed(data)
        tip = self.tips[branch]
        base = self.states[tip]
        pair = [self.repo.transaction(branch), self.repo.transaction(branch)]
        states = [self.change(tx, base, data, rng) for tx in pair]
        first = pair[0].commit()
        if first.snapshot_id != tip:
            self.made(branch, first.snapshot_id, states[0], tip)
        tip = self.tips[branch]
        try:
            expected = merge_states(base, states[0], states[1])
        except CannotMergeError:
            with pytest.raises(zvv.ConflictError):
                pair[1].commit()
            assert self.repo.resolve(branch) == tip
            return
        second = pair[1].commit()
        if second.snapshot_id != tip and second.snapshot_id not in self.states:
            expected = self.adopted(expected, self.repo.view(branch))
            assert second.object_ids.keys() <= KINDS.keys()
            for name, ids in second.object_ids.items():
                new = states[1].batches[name].keys() - base.batches[name].keys()
                assert set(ids.tolist()) == {i for k in new for i in expected.batches[name][k].ids}
            self.made(branch, second.snapshot_id, expected, tip)

    def adopted(self, state: State, view: zvv.View) -> State:
        """The model with the ids that objects have which got theirs by default."""
        batches = {}
        for name, rows in state.batches.items():
            found = view[name][0].read(attributes=["tag"] if rows and state.live(name) else [])
            tags = found.attributes.get("tag", np.zeros(0, np.int64)).tolist()
            now = dict(zip(tags, found.object_ids.tolist(), strict=True))
            batches[name] = {k: self.renamed(b, now) for k, b in rows.items()}
            ids = [i for b in batches[name].values() for i in set(b.ids) - b.removed]
            assert len(ids) == len(set(ids))
        return replace(state, batches=batches)

    @staticmethod
    def renamed(batch: Batch, now: dict[int, int]) -> Batch:
        """A batch with other ids, a run like those that it had."""
        if not batch.by_default:
            return batch
        shifts = {
            now[t] - i for t, i in zip(batch.tags.tolist(), batch.ids, strict=True) if t in now
        }
        assert len(shifts) <= 1
        return moved(batch, next(iter(shifts), 0))

    @precondition(lambda self: len(self.tips) < 3)
    @rule(data=st.data())
    def branch_off(self, data: st.DataObject) -> None:
        at, name = self.branch(data), f"b{len(self.states)}-{len(self.tips)}-{next(self.keys)}"
        self.repo.create_branch(name, at=at)
        self.tips[name] = self.tips[at]

    @precondition(lambda self: len(self.tips) > 1)
    @rule(data=st.data())
    def merge(self, data: st.DataObject) -> None:
        source, into = self.branch(data), self.branch(data)
        ours, theirs = self.tips[into], self.tips[source]
        bases = self.bases(ours, theirs)
        if theirs in bases:
            assert self.repo.merge(source, into).kind == "up to date"
            return
        if bases == [ours]:
            result = self.repo.merge(source, into)
            assert (result.kind, result.snapshot_id) == ("fast-forward", theirs)
            self.tips[into] = theirs
            return
        expected = None
        if len(bases) == 1:
            try:
                expected = merge_states(*(self.states[s] for s in (bases[0], ours, theirs)))
            except CannotMergeError:
                with pytest.raises(zvv.ConflictError):
                    self.repo.merge(source, into)
                assert self.repo.resolve(into) == ours
                return
        try:
            dry = self.repo.merge(source, into, dry_run=True)
            result = self.repo.merge(source, into)
        except (zvv.ConflictError, zvv.ViolationError) as error:
            # After a criss-cross the model does not know better. An attribute that a revert took
            # back on one side, and that the other wrote meanwhile, is a conflict of its own.
            sides = [self.states[s] for s in (*bases[:1], ours, theirs)]
            defined = isinstance(error, zvv.ConflictError) and error.what == "definition"
            assert expected is None or (defined and self.defines(sides))
            assert self.repo.resolve(into) == ours
            return
        assert dry.changes == result.changes
        if expected is None:
            # Of a criss-cross the model takes over what was made, and it must stay so.
            self.tips[into] = result.snapshot_id
            self.repo.reset_branch(into, to=ours)
            self.tips[into] = ours
            return
        expected = self.adopted(expected, self.repo.view(into))
        self.made(into, result.snapshot_id, expected, ours, theirs)
        again = self.repo.merge(source, into)
        assert again.kind == "up to date"

    def ancestors(self, snapshot: str) -> set[str]:
        seen, waiting = set(), [snapshot]
        while waiting:
            current = waiting.pop()
            if current not in seen:
                seen.add(current)
                waiting += self.parents[current]
        return seen

    def bases(self, a: str, b: str) -> list[str]:
        common = self.ancestors(a) & self.ancestors(b)
        return sorted(c for c in common if not any(c in self.ancestors(d) - {d} for d in common))

    @rule(data=st.data(), verb=st.sampled_from(["revert", "cherry_pick"]))
    def replay(self, data: st.DataObject, verb: str) -> None:
        branch = self.branch(data)
        # Chosen by number: snapshot ids are not the same when a failure is played again.
        choices = [s for s, parents in self.parents.items() if len(parents) == 1]
        if not choices:
            return
        picked = choices[data.draw(st.integers(0, len(choices) - 1))]
        tip, before = self.tips[branch], self.parents[picked][0]
        reverting = verb == "revert"
        base, theirs = (picked, before) if reverting else (before, picked)
        sides = [self.states[s] for s in (base, tip, theirs)]
        expected, sure = (
            None,
            not any(sides[0].batches[n] and not sides[i].batches[n] for n in KINDS for i in (1, 2)),
        )
        try:
            expected = merge_states(*sides, reverting=reverting)
        except CannotMergeError:
            expected = None
        try:
            result = getattr(self.repo, verb)(picked, branch)
        except zvv.ConflictError:
            # An attribute that comes or goes with the commit may stand in the way as well.
            assert expected is None or self.defines(sides)
            assert self.repo.resolve(branch) == tip
            return
        assert expected is not None or not sure or self.defines(sides)
        if result.snapshot_id == tip:
            return
        if expected is None or result.renumbered or self.clashing(expected):
            self.repo.reset_branch(branch, to=tip)
            return
        self.made(branch, result.snapshot_id, expected, tip)

    @staticmethod
    def clashing(state: State) -> bool:
        ids = [[i for b in rows.values() for i in set(b.ids)] for rows in state.batches.values()]
        return any(len(some) != len(set(some)) for some in ids)

    @staticmethod
    def defines(sides: list[State]) -> bool:
        """Whether the three sides do not have the same attributes."""
        names = [
            {
                (name, n)
                for name, rows in side.batches.items()
                for b in rows.values()
                for n in ("tag", *b.contents)
            }
            for side in sides
        ]
        return not names[0] == names[1] == names[2]

    @rule(data=st.data())
    def reset(self, data: st.DataObject) -> None:
        branch = self.branch(data)
        target = list(self.states)[data.draw(st.integers(0, len(self.states) - 1))]
        self.repo.reset_branch(branch, to=target)
        self.tips[branch] = target

    @rule()
    def reopen(self) -> None:
        self.repo = zvv.Repository.open(self.location)

    # -- what must hold ------------------------------------------------------

    @invariant()
    def each_branch_is_where_the_model_has_it(self) -> None:
        if hasattr(self, "tips"):
            assert {name: self.repo.resolve(name) for name in self.tips} == self.tips

    def teardown(self) -> None:
        if not hasattr(self, "views"):
            return
        for view in self.views:
            self.check(view)
        again = zvv.Repository.open(self.location)
        for snapshot in self.states:
            self.check(again.view(snapshot_id=snapshot))

    def check(self, view: zvv.View) -> None:
        state = self.states[view.snapshot_id]
        assert view["points"].metadata == state.metadata
        for name in KINDS:
            self.check_level(view[name][0], state, name)

    def check_level(self, level: zvv.Level, state: State, name: str) -> None:
        rows = state.batches[name]
        live = state.live(name)
        assert level.num_objects == len(live)
        assert set(level.object_ids().tolist()) == live
        found = level.read(attributes="all")
        expected: dict[int, tuple[int, bytes, int, int]] = {}
        links: set[tuple[int, ...]] = set()
        for batch in rows.values():
            here = {}
            for tag, i, at in zip(batch.tags.tolist(), batch.ids, batch.positions, strict=True):
                if i in batch.removed:
                    continue
                values = []
                for column in ("w", "v"):
                    token, gone = batch.contents.get(column, (None, frozenset()))
                    values.append(MISSING if token is None or i in gone else tag * 1000 + token)
                here[tag] = (i, at.tobytes(), *values)
            expected.update(here)
            links |= {link for link in batch.links if all(tag in here for tag in link)}
        assert level.vertex_count == len(expected)
        tags = found.attributes.get("tag", np.zeros(0, np.int64))
        none = np.full(len(tags), MISSING)
        columns = [found.attributes.get(column, none).tolist() for column in ("w", "v")]
        got = {
            tag: (i, at.tobytes(), w, v)
            for tag, i, at, w, v in zip(
                tags.tolist(), found.object_ids.tolist(), found.positions, *columns, strict=True
            )
        }
        assert got == expected
        rows_of_links = found.edges if found.edges is not None else found.faces
        if rows_of_links is not None:
            assert {tuple(link) for link in tags[rows_of_links].tolist()} == links
            assert level.link_count == len(links)


_long = os.environ.get("HYPOTHESIS_PROFILE") == "long"
Histories.TestCase.settings = settings(
    max_examples=100 if _long else 50,
    stateful_step_count=200 if _long else 30,
    phases=set(Phase) - {Phase.shrink, Phase.explain},
)


def parts(count: int) -> dict[str, type]:
    """The test, and more of it by other names, which other processes may run meanwhile."""
    return {
        f"Test{name}": type(f"Test{name}", (Histories.TestCase,), {})
        for name in ("Histories", *(f"MoreHistories{part}" for part in range(1, count)))
    }


globals().update(parts(10 if _long else 1))
