"""Random histories against a model in memory: every snapshot reads as the model says, for ever."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

import tests._profiles  # noqa: F401
import zv_versioned as zvv
from zv_versioned.reading import reader

ATTRIBUTES: dict[str, tuple[str, tuple[int, ...]]] = {
    "confidence": ("f4", ()),
    "weight": ("f8", ()),
    "label": ("u8", ()),
    "depth": ("i2", ()),
    "flag": ("?", ()),
    "normal": ("f4", (3,)),
    "größe in nm": ("u1", (2,)),
}
FILL = {"f": np.nan, "b": False}
SETTINGS = (
    # dtype of coordinates, bounds, edge of a cell; some edges are none that binary floats hold
    ("float32", -1.0, 1.0, 0.1),
    ("float64", -1.0, 1.0, 1 / 3),
    ("float64", -5e5, 5e5, 1.7e5),
    ("int16", -90, 90, 12.5),
    ("uint8", 0, 255, 64.0),
    ("int32", -(2**31), 2**31 - 1, 2.0**29),
)


def fill_value(dtype: np.dtype[Any]) -> Any:
    if dtype.kind in FILL:
        return FILL[dtype.kind]
    return np.iinfo(dtype).min if dtype.kind == "i" else np.iinfo(dtype).max


@dataclass(frozen=True)
class Batch:
    positions: np.ndarray
    object_ids: np.ndarray
    new_ids: np.ndarray
    attributes: dict[str, np.ndarray]


@dataclass
class Model:
    """A level as plain arrays. What it says follows from the design, not from the package."""

    dtype: np.dtype[Any]
    chunk_shape: tuple[float, ...]
    lo: np.ndarray
    hi: np.ndarray
    batches: list[Batch] = field(default_factory=list)

    def copy(self) -> Model:
        return Model(self.dtype, self.chunk_shape, self.lo, self.hi, list(self.batches))

    @property
    def ndim(self) -> int:
        return len(self.chunk_shape)

    @property
    def used(self) -> set[int]:
        return {int(i) for batch in self.batches for i in batch.new_ids}

    def append(
        self,
        positions: np.ndarray,
        object_ids: np.ndarray | int | None,
        attributes: dict[str, np.ndarray],
    ) -> Batch | None:
        n = len(positions)
        if n == 0:
            return None
        used = self.used
        if object_ids is None:
            first = max(used, default=-1) + 1
            object_ids = np.arange(first, first + n)
        object_ids = np.broadcast_to(np.asarray(object_ids, np.int64), (n,))
        stored = positions.astype(self.dtype)
        cells = np.floor(stored.astype(np.float64) / np.asarray(self.chunk_shape))
        # The last key is the first one to sort by.
        order = np.lexsort((np.arange(n), object_ids, *cells.T[::-1]))
        new = np.array(sorted(set(object_ids.tolist()) - used), np.int64)
        values = {name: np.asarray(v)[order] for name, v in attributes.items()}
        batch = Batch(stored[order], object_ids[order], new, values)
        self.batches.append(batch)
        self.lo = np.minimum(self.lo, stored.min(axis=0))
        self.hi = np.maximum(self.hi, stored.max(axis=0))
        return batch

    def joined(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions, object ids and the slot of each vertex."""
        none = np.zeros((0, self.ndim), self.dtype)
        slots = [np.full(len(b.positions), slot) for slot, b in enumerate(self.batches)]
        return (
            np.concatenate([none, *(b.positions for b in self.batches)]),
            np.concatenate([np.zeros(0, np.int64), *(b.object_ids for b in self.batches)]),
            np.concatenate([np.zeros(0, np.int64), *slots]),
        )

    def attribute(self, name: str) -> np.ndarray:
        dtype, row_shape = np.dtype(ATTRIBUTES[name][0]), ATTRIBUTES[name][1]
        return np.concatenate(
            [
                b.attributes.get(
                    name, np.full((len(b.positions), *row_shape), fill_value(dtype), dtype)
                )
                for b in self.batches
            ]
        )

    @property
    def attribute_names(self) -> list[str]:
        return sorted({name for b in self.batches for name in b.attributes})


def same(got: np.ndarray, expected: np.ndarray) -> None:
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


def coordinates(rng: np.random.Generator, n: int, model: Model) -> np.ndarray:
    """Coordinates in bounds; about half of them on the boundary of a cell, or on the bounds."""
    size = np.asarray(model.chunk_shape)
    shape = (n, model.ndim)
    free = rng.uniform(model.lo, model.hi, shape)
    on = np.round(free / size) * size
    corner = np.where(rng.random(shape) < 0.5, model.lo, model.hi)
    which = rng.random(shape)
    mixed = np.where(which < 0.5, free, np.where(which < 0.9, on, corner))
    mixed = np.clip(mixed, model.lo, model.hi)
    if model.dtype.kind in "iu":
        return np.round(mixed).astype(model.dtype)
    # Rounded down to bounds that float32 cannot hold, they are still in the (rounded) bounds.
    return mixed.astype(model.dtype)


def draw_ids(rng: np.random.Generator, mode: str, n: int, model: Model) -> Any:
    used = model.used
    top = max(used, default=-1)
    if mode == "default":
        return None
    if mode == "one":
        return top + 1
    if mode == "dense":
        return np.sort(top + 1 + rng.integers(0, n // 2 + 1, n))
    if mode == "shuffled":
        return (top + 1 + rng.integers(0, n + 1, n)).astype(">u8")
    sparse = [i for i in rng.integers(0, 2**62, 5).tolist() if i not in used]
    return rng.choice(sparse or [top + 1], n).tolist()


def check_level(level: zvv.Level, model: Model, rng: np.random.Generator) -> None:
    positions, object_ids, _ = model.joined()
    n = len(positions)
    names = model.attribute_names
    assert (level.vertex_count, level.attribute_names) == (n, names)
    assert level.num_objects == len(model.used)
    same(level.positions(), positions)
    whole = level.read(attributes="all")
    same(whole.vertex_ids, np.arange(n))
    same(whole.positions, positions)
    same(whole.object_ids, object_ids)
    new_ids = [np.zeros(0, np.int64), *(b.new_ids for b in model.batches)]
    same(level.object_ids(), np.concatenate(new_ids))
    assert [b.slot for b in level.batches] == list(range(len(model.batches)))
    for told, batch in zip(level.batches, model.batches, strict=True):
        assert told.vertex_count == len(batch.positions)
        assert told.object_count == len(np.unique(batch.object_ids))
        same(np.array(told.bounds[0]), batch.positions.min(axis=0).astype(np.float64))
        same(np.array(told.bounds[1]), batch.positions.max(axis=0).astype(np.float64))
    for name in names:
        same(level.attribute(name), model.attribute(name))
        same(whole.attributes[name], model.attribute(name))
        if all(name in b.attributes for b in model.batches):
            same(level.attribute(name, missing="raise"), model.attribute(name))
        else:
            with pytest.raises(zvv.ArrayError, match=f"'{name}' (has no|lacks) values"):
                level.attribute(name, missing="raise")
    if n:
        for _ in range(3):
            check_query(level, model, rng)


def check_query(level: zvv.Level, model: Model, rng: np.random.Generator) -> None:
    positions, object_ids, slots = model.joined()
    keep = np.ones(len(positions), bool)
    query: dict[str, Any] = {}
    if rng.random() < 0.7:
        # Sides that go through vertices, so that being half open matters.
        sides = positions[rng.integers(0, len(positions), 2)].astype(np.float64)
        lo, hi = sides.min(axis=0), sides.max(axis=0)
        lo[rng.random(model.ndim) < 0.2] = -np.inf
        hi[rng.random(model.ndim) < 0.2] = np.inf
        query["bbox"] = (lo, hi)
        keep &= ((positions >= lo) & (positions < hi)).all(axis=1)
    if rng.random() < 0.5:
        some = rng.choice(object_ids, rng.integers(1, 4))
        query["objects"] = some.tolist()
        keep &= np.isin(object_ids, some)
    if rng.random() < 0.3:
        query["batches"] = rng.choice(len(model.batches), 2)
        keep &= np.isin(slots, query["batches"])
    if rng.random() < 0.5:
        query["limit"] = int(rng.integers(0, len(positions) + 2))
    names = [name for name in model.attribute_names if rng.random() < 0.5]
    rows = np.flatnonzero(keep)[: query.get("limit")]
    got = level.read(**query, attributes=names)
    same(got.vertex_ids, rows)
    same(got.positions, positions[rows])
    same(got.object_ids, object_ids[rows])
    assert list(got.attributes) == names
    for name in names:
        same(got.attributes[name], model.attribute(name)[rows])


State = dict[str, Model]


class History(RuleBasedStateMachine):
    """Transactions on branches; the model keeps what each snapshot must read as."""

    @initialize(
        window=st.sampled_from([1, 7, 1 << 20]),
        ndim=st.integers(1, 4),
        setting=st.sampled_from(SETTINGS),
    )
    def begin(self, window: int, ndim: int, setting: tuple[Any, ...]) -> None:
        # Small windows: a filtered read then comes in many pieces.
        self.window, reader.WINDOW_VERTICES = reader.WINDOW_VERTICES, window
        self.location = f"memory://{uuid.uuid4().hex}"
        self.repo = zvv.Repository.create(self.location)
        tip = self.repo.resolve("main")
        self.states: dict[str, State] = {tip: {}}
        self.tips = {"main": tip}
        self.views = [self.repo.view("main")]
        self.create("points", ndim, setting, "main")

    def teardown(self) -> None:
        if not hasattr(self, "repo"):
            return
        try:
            rng = np.random.default_rng(0)
            for view in self.views:
                self.check(view, rng)
            again = zvv.Repository.open(self.location)
            for snapshot_id in self.states:
                self.check(again.view(snapshot_id=snapshot_id), rng)
        finally:
            reader.WINDOW_VERTICES = self.window

    def check(self, view: zvv.View, rng: np.random.Generator) -> None:
        state = self.states[view.snapshot_id]
        assert view.datasets == sorted(state)
        for name, model in state.items():
            dataset = view[name]
            assert dataset.vertex_dtype == model.dtype
            same(np.array(dataset.bounds), np.array([model.lo, model.hi], np.float64))
            check_level(dataset[0], model, rng)

    @rule(
        name=st.sampled_from(["", "deep/er/points"]),
        ndim=st.integers(1, 4),
        setting=st.sampled_from(SETTINGS),
        branch=st.sampled_from(["main", "try"]),
    )
    def create(self, name: str, ndim: int, setting: tuple[Any, ...], branch: str) -> None:
        if branch not in self.tips or name in self.states[self.tips[branch]]:
            return
        dtype, lo, hi, edge = setting
        bounds = [lo] * ndim, [hi] * ndim
        # Another edge on each axis.
        chunk_shape = tuple(edge * (1 + axis / 2) for axis in range(ndim))
        with self.repo.transaction(branch) as tx:
            tx.create_dataset(
                name, kind="point_cloud", bounds=bounds, chunk_shape=chunk_shape, vertex_dtype=dtype
            )
        model = Model(np.dtype(dtype), chunk_shape, *np.array(bounds, np.float64))
        self.commit(branch, tx, {**self.states[self.tips[branch]], name: model})

    def commit(self, branch: str, tx: zvv.Transaction, state: State) -> None:
        assert tx.result is not None
        self.tips[branch] = tx.result.snapshot_id
        self.states[tx.result.snapshot_id] = state
        self.views.append(self.repo.view(branch))

    @precondition(lambda self: any(self.states[tip] for tip in self.tips.values()))
    @rule(data=st.data(), seed=st.integers(0, 2**32 - 1), end=st.sampled_from(["commit", "abort"]))
    def transact(self, data: st.DataObject, seed: int, end: str) -> None:
        rng = np.random.default_rng(seed)
        branches = sorted(b for b, tip in self.tips.items() if self.states[tip])
        branch = data.draw(st.sampled_from(branches))
        state = {name: m.copy() for name, m in self.states[self.tips[branch]].items()}
        tx = self.repo.transaction(branch)
        added: dict[str, list[Batch]] = {name: [] for name in state}
        for _ in range(data.draw(st.integers(1, 4))):
            name = data.draw(st.sampled_from(sorted(state)))
            batch = self.append(tx, name, state[name], data, rng, added[name])
            if batch is not None:
                added[name].append(batch)
        if end == "abort":
            tx.abort()
            assert self.repo.resolve(branch) == self.tips[branch]
            return
        result = tx.commit()
        if not any(added.values()):
            assert result.snapshot_id == self.tips[branch]
            return
        for name, batches in added.items():
            if batches:
                same(result.object_ids[name], np.concatenate([b.new_ids for b in batches]))
        self.commit(branch, tx, state)

    def append(
        self,
        tx: zvv.Transaction,
        name: str,
        model: Model,
        data: st.DataObject,
        rng: np.random.Generator,
        before: list[Batch],
    ) -> Batch | None:
        n = data.draw(st.integers(0, 60))
        mode = data.draw(st.sampled_from(["default", "one", "dense", "shuffled", "sparse", "on"]))
        begun = np.concatenate([np.zeros(0, np.int64), *(b.new_ids for b in before)])
        if mode == "on":
            # Objects that this transaction began go on, and one more begins.
            ids: Any = rng.choice([*begun.tolist(), max(model.used, default=-1) + 1], n)
            ids = ids.astype(np.int64)
        else:
            ids = draw_ids(rng, mode, n, model)
        names = [a for a in ATTRIBUTES if rng.random() < 0.3]
        values = {
            a: (rng.random((n, *shape)) * 200).astype(dtype)
            for a, (dtype, shape) in ATTRIBUTES.items()
            if a in names
        }
        positions = coordinates(rng, n, model)
        expand = data.draw(st.booleans())
        if expand and n and model.dtype.kind == "f":
            positions[0] += np.asarray(model.chunk_shape, model.dtype) * 2
        used = model.used
        batch = model.append(positions, ids, values)
        result = tx.writer(name).append_vertices_sync(
            positions,
            object_ids=ids,
            attributes=values,
            out_of_bounds="expand" if expand else "raise",
        )
        if batch is None:
            assert (result["vertices_added"], result["new_objects"]) == (0, 0)
            return None
        cells = np.floor(batch.positions.astype(np.float64) / np.asarray(model.chunk_shape))
        assert result["vertices_added"] == n
        assert result["new_objects"] == len(model.used) - len(used)
        assert result["chunks_touched"] == len(np.unique(cells, axis=0))
        same(result["object_ids"], np.unique(batch.object_ids))
        return batch

    @precondition(lambda self: "try" not in self.tips)
    @rule()
    def branch_off(self) -> None:
        self.repo.create_branch("try", at="main")
        self.tips["try"] = self.tips["main"]

    @rule(data=st.data(), branch=st.sampled_from(["main", "try"]))
    def reset(self, data: st.DataObject, branch: str) -> None:
        if branch in self.tips:
            target = data.draw(st.integers(0, len(self.states) - 1))
            self.tips[branch] = list(self.states)[target]
            self.repo.reset_branch(branch, to=self.tips[branch])

    @invariant()
    def the_newest_view_reads_as_the_model(self) -> None:
        if hasattr(self, "views"):
            self.check(self.views[-1], np.random.default_rng(len(self.views)))


History.TestCase.settings = settings(
    max_examples=settings.default.max_examples // 5,
    stateful_step_count=12,
    # The line that is printed plays a failure again; making it smaller would take minutes.
    phases=set(Phase) - {Phase.shrink, Phase.explain},
)
TestHistory = History.TestCase
