"""Random histories of values, removals and groups against a model in memory, old views included."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import tests._profiles  # noqa: F401
import zv_versioned as zvv
from zv_versioned.reading import reader

WORDS = np.array(["axon", "dendrite", "soma", "größe", "", None], object)
# name of a kind of values -> dtype, shape of one, what is missing
KINDS: dict[str, tuple[str, tuple[int, ...], Any]] = {
    "f2": ("f2", (), np.nan),
    "f4": ("f4", (3,), np.nan),
    "f8": ("f8", (), np.nan),
    "i2": ("i2", (2,), -(2**15)),
    "i8": ("i8", (), -(2**63)),
    "u1": ("u1", (1,), 255),
    "u8": ("u8", (), 2**64 - 1),
    "bool": ("?", (), False),
    "text": ("O", (), None),
    "texts": ("O", (2,), None),
    "dates": ("M8[D]", (), np.datetime64("NaT", "D")),
    "spans": ("m8[25s]", (2,), np.timedelta64("NaT", "s")),
}
# What values are of -> how a level reads them; the writer's verb has "add_" in front.
VERBS = {"vertex": "attribute", "object": "object_attribute", "link": "link_attribute"}
NAMES = ("a", "b", "größe in nm")
CELL = np.array([10.0, 20.0])
HIGH = np.array([90.0, 70.0])


def draw_values(rng: np.random.Generator, kind: str, n: int) -> np.ndarray:
    dtype, shape, missing = KINDS[kind]
    if dtype == "O":
        return WORDS[rng.integers(0, len(WORDS), (n, *shape))]
    values = np.asarray(rng.integers(0, 100, (n, *shape))).astype(dtype)
    values[rng.random(n) < 0.1] = missing
    return values


def missing_values(kind: str, n: int) -> np.ndarray:
    dtype, shape, missing = KINDS[kind]
    return np.full((n, *shape), missing, dtype)


@dataclass(frozen=True)
class Batch:
    """What an append left: vertices in order, new objects by id, which of both are there, links."""

    positions: np.ndarray
    owners: np.ndarray
    new_ids: np.ndarray
    live: np.ndarray
    live_new: np.ndarray
    ends: np.ndarray
    """Links in their order, as vertices of the batch; shape (M, 2)."""


@dataclass(frozen=True)
class Model:
    """A level as plain arrays; never changed, so that every snapshot can keep its own."""

    batches: tuple[Batch, ...] = ()
    kinds: dict[tuple[str, str], str] = field(default_factory=dict)
    values: dict[tuple[str, str, int], np.ndarray] = field(default_factory=dict)
    groups: dict[str, list[int]] = field(default_factory=dict)

    def mask(self, of: str, number: int) -> np.ndarray:
        batch = self.batches[number]
        if of == "link":
            return batch.live[batch.ends].all(axis=1)
        return batch.live if of == "vertex" else batch.live_new

    def count(self, of: str) -> int:
        return sum(int(self.mask(of, number).sum()) for number in range(len(self.batches)))

    @property
    def ids(self) -> list[int]:
        return [i for b in self.batches for i in b.new_ids[b.live_new].tolist()]

    @property
    def used(self) -> set[int]:
        return {i for b in self.batches for i in b.new_ids.tolist()}

    def joined(self, what: str) -> np.ndarray:
        parts = [getattr(b, what)[b.live] for b in self.batches]
        empty = np.zeros((0, 2), "f4") if what == "positions" else np.zeros(0, np.int64)
        return np.concatenate([empty, *parts])

    def read(self, of: str, name: str) -> np.ndarray:
        kind = self.kinds[of, name]
        parts = [missing_values(kind, 0)]
        for number in range(len(self.batches)):
            mask = self.mask(of, number)
            found = self.values.get((of, name, number))
            parts.append((missing_values(kind, len(mask)) if found is None else found)[mask])
        return np.concatenate(parts)

    def lacks(self, of: str, name: str) -> bool:
        return any(
            (of, name, number) not in self.values and self.mask(of, number).any()
            for number in range(len(self.batches))
        )

    def append(
        self,
        positions: np.ndarray,
        ids: np.ndarray,
        links: np.ndarray,
        given: dict[tuple[str, str], tuple[str, np.ndarray]],
    ) -> Model:
        cells = np.floor(positions.astype("f8") / CELL)
        order = np.lexsort((np.arange(len(ids)), ids, *cells.T[::-1]))
        new = np.array(sorted(set(ids.tolist()) - self.used), np.int64)
        everything = np.ones(len(ids), bool), np.ones(len(new), bool)
        ends = np.argsort(order)[links]
        # A link comes by the fragment of its smaller end, then as it was given.
        keys = np.column_stack([cells, ids])[order]
        begins = np.append(False, (keys[1:] != keys[:-1]).any(axis=1))
        link_order = np.argsort(np.cumsum(begins)[ends.min(axis=1)], kind="stable")
        batch = Batch(positions[order], ids[order], new, *everything, ends[link_order])
        number = len(self.batches)
        orders = {"vertex": order, "link": link_order}
        values = {(of, name, number): v[orders[of]] for (of, name), (_, v) in given.items()}
        kinds = {of_name: kind for of_name, (kind, _) in given.items()}
        return replace(
            self,
            batches=(*self.batches, batch),
            kinds={**self.kinds, **kinds},
            values={**self.values, **values},
        )

    def write(self, of: str, name: str, kind: str, given: np.ndarray) -> Model:
        kept = {key: v for key, v in self.values.items() if key[:2] != (of, name)}
        done = 0
        for number in range(len(self.batches)):
            mask = self.mask(of, number)
            if mask.any():
                stop = done + int(mask.sum())
                whole = missing_values(kind, len(mask))
                whole[mask] = given[done:stop]
                kept[of, name, number] = whole
                done = stop
        return replace(self, kinds={**self.kinds, (of, name): kind}, values=kept)

    def drop(self, of: str, name: str) -> Model:
        return replace(
            self,
            kinds={key: kind for key, kind in self.kinds.items() if key != (of, name)},
            values={key: v for key, v in self.values.items() if key[:2] != (of, name)},
        )

    def remove(self, ids: list[int]) -> Model:
        batches = tuple(
            replace(
                b,
                live=b.live & ~np.isin(b.owners, ids),
                live_new=b.live_new & ~np.isin(b.new_ids, ids),
            )
            for b in self.batches
        )
        groups = {name: [i for i in of if i not in ids] for name, of in self.groups.items()}
        return replace(self, batches=batches, groups=groups)


def same(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def check(level: zvv.Level, model: Model, rng: np.random.Generator) -> None:
    positions, owners = model.joined("positions"), model.joined("owners")
    assert (level.vertex_count, level.num_objects) == (len(positions), len(model.ids))
    read = level.read(attributes="all")
    same(read.positions, positions)
    same(read.object_ids, owners)
    same(read.vertex_ids, np.arange(len(positions)))
    same(level.object_ids(), np.array(model.ids, np.int64))
    assert [b.vertex_count for b in level.batches] == [int(b.live.sum()) for b in model.batches]
    told = [len(np.unique(b.owners[b.live])) for b in model.batches]
    assert [b.object_count for b in level.batches] == told
    assert {name: ids.tolist() for name, ids in level.groups.items()} == model.groups
    names = {of: sorted(n for o, n in model.kinds if o == of) for of in VERBS}
    assert level.attribute_names == names["vertex"] == sorted(read.attributes)
    assert level.object_attribute_names == names["object"]
    assert level.link_attribute_names == names["link"]
    assert level.link_count == model.count("link")
    for of, name in model.kinds:
        get = getattr(level, VERBS[of])
        same(get(name), model.read(of, name))
        if model.lacks(of, name):
            with pytest.raises(zvv.ArrayError, match="lacks values"):
                get(name, missing="raise")
        else:
            same(get(name, missing="raise"), model.read(of, name))
    if len(positions):
        check_part(level, model, rng)


def check_part(level: zvv.Level, model: Model, rng: np.random.Generator) -> None:
    positions, owners = model.joined("positions"), model.joined("owners")
    some = rng.choice(model.ids, 3)
    lo, hi = np.sort(rng.uniform(0, HIGH, (2, 2)), axis=0)
    keep = np.isin(owners, some) & ((positions >= lo) & (positions < hi)).all(axis=1)
    read = level.read(bbox=(lo, hi), objects=some, attributes="all")
    same(read.vertex_ids, np.flatnonzero(keep))
    for name, values in read.attributes.items():
        same(values, model.read("vertex", name)[keep])
    gone = sorted(model.used - set(model.ids))
    if gone:
        with pytest.raises(zvv.NotFoundError, match=str(gone[0])):
            level.read(objects=[*model.ids[:2], gone[0]])


class Values(RuleBasedStateMachine):
    """Transactions of a few random steps; each is committed or abandoned."""

    @initialize(
        window=st.sampled_from([5, 1 << 20]), kind=st.sampled_from(["point_cloud", "graph"])
    )
    def begin(self, window: int, kind: str) -> None:
        self.kind = kind
        self.window, reader.WINDOW_VERTICES = reader.WINDOW_VERTICES, window
        self.location = f"memory://{uuid.uuid4().hex}"
        self.repo = zvv.Repository.create(self.location)
        with self.repo.transaction() as tx:
            tx.create_dataset("p", kind=kind, bounds=([0, 0], HIGH), chunk_shape=CELL.tolist())
        self.views = [(self.repo.view(), Model())]

    def teardown(self) -> None:
        if not hasattr(self, "repo"):
            return
        try:
            again = zvv.Repository.open(self.location)
            for view, model in self.views:
                check(view["p"][0], model, np.random.default_rng(0))
                fresh = again.view(snapshot_id=view.snapshot_id)
                check(fresh["p"][0], model, np.random.default_rng(1))
        finally:
            reader.WINDOW_VERTICES = self.window

    @rule(seed=st.integers(0, 2**32 - 1), steps=st.integers(3, 9), commits=st.integers(0, 3))
    def transact(self, seed: int, steps: int, commits: int) -> None:
        rng = np.random.default_rng(seed)
        view, before = self.views[-1]
        model, tx = before, self.repo.transaction()
        writer = tx.writer("p")
        for _ in range(steps):
            step = rng.choice(["append", "append", "write", "write", "drop", "remove", "group"])
            model = getattr(self, f"do_{step}")(writer, model, rng)
        if not commits:
            tx.abort()
            assert self.repo.resolve("main") == view.snapshot_id
            return
        tx.commit()
        self.views.append((self.repo.view(), model))

    def do_append(self, writer: zvv.ZVWriter, model: Model, rng: np.random.Generator) -> Model:
        n = int(rng.integers(1, 40))
        positions = np.round(rng.uniform(0, HIGH, (n, 2))).astype("f4")
        top = max(model.used, default=-1) + 1
        # Objects that this transaction began go on, unless it removed them, and others begin.
        begun = model.used - self.views[-1][1].used
        going_on = begun & set(model.ids)
        ids = rng.choice([*range(top, top + 8), *going_on], n)
        for gone in sorted(begun - going_on)[:1]:
            with pytest.raises(zvv.ArrayError, match=str(gone)):
                writer.append_vertices_sync(positions, object_ids=gone)
        links = rng.integers(0, n, (n if self.kind == "graph" else 0, 2))
        links = links[links[:, 0] != links[:, 1]]
        given: dict[tuple[str, str], tuple[str, np.ndarray]] = {}
        for of, count in (("vertex", n), ("link", len(links))):
            for name in NAMES:
                if rng.random() < 0.4 and count:
                    kind = model.kinds.get((of, name)) or str(rng.choice(list(KINDS)))
                    given[of, name] = kind, draw_values(rng, kind, count)
        values: dict[str, Any] = {"vertex": {}, "link": {}}
        for (of, name), (_, drawn) in given.items():
            values[of][name] = drawn
        if self.kind == "graph":
            writer.append_graph_sync(
                positions,
                links,
                object_ids=ids,
                attributes=values["vertex"],
                link_attributes=values["link"],
            )
        else:
            writer.append_vertices_sync(positions, object_ids=ids, attributes=values["vertex"])
        return model.append(positions, ids, links, given)

    def do_write(self, writer: zvv.ZVWriter, model: Model, rng: np.random.Generator) -> Model:
        of = str(rng.choice(list(VERBS)[: 3 if self.kind == "graph" else 2]))
        name, kind = str(rng.choice(NAMES)), str(rng.choice(list(KINDS)))
        n = model.count(of)
        add = getattr(writer, f"add_{VERBS[of]}_sync")
        values = draw_values(rng, kind, n)
        with pytest.raises(zvv.ArrayError, match=f"values length {n + 1} != level .* count {n}"):
            add(name, draw_values(rng, kind, n + 1))
        assert add(name, values)["values_written"] == n
        return model.write(of, name, kind, values)

    def do_drop(self, writer: zvv.ZVWriter, model: Model, rng: np.random.Generator) -> Model:
        of, name = str(rng.choice(list(VERBS))), str(rng.choice(NAMES))
        if (of, name) not in model.kinds:
            with pytest.raises(zvv.NotFoundError, match=name):
                writer.drop_attribute_sync(name, of)
            return model
        writer.drop_attribute_sync(name, of)
        return model.drop(of, name)

    def do_remove(self, writer: zvv.ZVWriter, model: Model, rng: np.random.Generator) -> Model:
        ids = rng.permutation(model.ids)[: rng.integers(0, 9)].tolist()
        before = model.count("vertex"), model.count("link")
        absent = [*ids, max(model.used, default=0) + 100]
        with pytest.raises(zvv.NotFoundError, match=str(absent[-1])):
            writer.remove_objects_sync(absent)
        result = writer.remove_objects_sync(ids)
        model = model.remove(ids)
        lost = before[0] - model.count("vertex"), before[1] - model.count("link")
        assert result["objects_removed"] == len(ids)
        assert (result["vertices_removed"], result["links_removed"]) == lost
        return model

    def do_group(self, writer: zvv.ZVWriter, model: Model, rng: np.random.Generator) -> Model:
        name = str(rng.choice(NAMES))
        if name in model.groups and rng.random() < 0.3:
            writer.remove_group_sync(name)
            return replace(model, groups={n: g for n, g in model.groups.items() if n != name})
        ids = sorted(rng.permutation(model.ids)[:4].tolist())
        writer.add_group_sync(name, ids)
        return replace(model, groups={**model.groups, name: ids})

    @invariant()
    def the_newest_view_reads_as_the_model(self) -> None:
        if hasattr(self, "views"):
            view, model = self.views[-1]
            check(view["p"][0], model, np.random.default_rng(len(self.views)))


Values.TestCase.settings = settings(
    max_examples=settings.default.max_examples // 5,
    stateful_step_count=10,
    # The line that is printed plays a failure again; making it smaller would take minutes.
    phases=set(Phase) - {Phase.shrink, Phase.explain},
)
TestValues = Values.TestCase
