"""Lines, graphs and meshes: written and read back, against plain lists."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zv_versioned as zvv
from zv_versioned.reading import reader

LINES = ("line", "polyline", "streamline")
WIDTH = {"graph": 2, "skeleton": 2, "mesh": 3}
SETTINGS: tuple[tuple[str, float, float, float], ...] = (
    ("float32", 0, 8, 2),
    ("float32", -4, 4, 1.5),
    ("float64", -1e4, 1e4, 4e3),
    ("int16", -20, 20, 7.5),
)


@dataclass
class Batch:
    """One append in the order in which its vertices were walked: of lines object by object."""

    positions: np.ndarray
    object_ids: np.ndarray
    value: np.ndarray
    line: np.ndarray
    links: np.ndarray
    weight: np.ndarray
    new_ids: list[int]
    number: np.ndarray = field(default_factory=lambda: np.zeros(0, int))


@dataclass
class Model:
    """A level as plain lists; what it says follows from the design, not from the package."""

    kind: str
    chunk: np.ndarray
    batches: list[Batch] = field(default_factory=list)
    removed: set[int] = field(default_factory=set)
    kinds_of_new: dict[int, str] = field(default_factory=dict)

    @property
    def is_lines(self) -> bool:
        return self.kind in LINES

    def add(self, batch: Batch) -> None:
        cells = np.floor(batch.positions.astype("f8") / self.chunk).astype(int)
        keys = [
            (*cells[i].tolist(), int(batch.object_ids[i]), i) for i in range(len(batch.positions))
        ]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        batch.number = np.empty(len(order), int)
        batch.number[order] = np.arange(len(order))
        fragment = {key: at for at, key in enumerate(sorted({k[:-1] for k in keys}))}
        first = [min(int(batch.number[v]) for v in link) for link in batch.links.tolist()]
        if self.is_lines:
            in_order = sorted(range(len(first)), key=lambda i: int(batch.number[batch.links[i, 0]]))
        else:
            in_order = sorted(
                range(len(first)), key=lambda i: (fragment[keys[order[first[i]]][:-1]], i)
            )
        batch.links, batch.weight = batch.links[in_order], batch.weight[in_order]
        self.batches.append(batch)

    @property
    def used(self) -> list[int]:
        return sorted({i for b in self.batches for i in b.new_ids})

    def live(self, batch: Batch) -> np.ndarray:
        return ~np.isin(batch.object_ids, [*self.removed])

    def level_number(self) -> Iterator[tuple[Batch, np.ndarray]]:
        """Each batch with the number of its vertices in the level; -1 of removed ones."""
        base = 0
        for batch in self.batches:
            live = self.live(batch)
            order = np.argsort(batch.number)
            numbers = np.full(len(live), -1)
            kept = order[live[order]]
            numbers[kept] = base + np.arange(len(kept))
            base += len(kept)
            yield batch, numbers

    def rows(self) -> list[tuple[int, Batch, int, int]]:
        """(level number, batch, vertex of it, slot), in the order of a read."""
        found = []
        for slot, (batch, numbers) in enumerate(self.level_number()):
            vertices = [v for v in range(len(numbers)) if numbers[v] >= 0]
            if not self.is_lines:
                vertices.sort(key=lambda v: int(numbers[v]))
            found += [(int(numbers[v]), batch, v, slot) for v in vertices]
        return found

    def links(self) -> list[tuple[list[int], float]]:
        """Ends as numbers of the level and weight of all links, in link order."""
        return [
            (numbers[link].tolist(), weight)
            for batch, numbers in self.level_number()
            for link, weight in zip(batch.links.tolist(), batch.weight.tolist(), strict=True)
            if (numbers[link] >= 0).all()
        ]


def line_batch(rng: np.random.Generator, model: Model, vertices: np.ndarray, ids: list[int]) -> Any:
    """Lines over some vertices: what to append, and the batch that comes of it."""
    n = len(vertices)
    if model.kind == "line":
        n = max(n - n % 2, 2)
        vertices = np.resize(vertices, (n, vertices.shape[1]))
        counts = np.full(n // 2, 2)
    else:
        cuts = np.sort(rng.choice(n, rng.integers(0, n), replace=False)) if n > 1 else np.zeros(0)
        counts = np.diff(np.unique([0, *cuts.tolist(), n])).astype(int)
    owner = rng.choice(ids, len(counts))
    value = rng.random(n)
    weight = rng.random(n - len(counts))
    starts = np.cumsum(counts) - counts
    of_link = {int(v): w for v, w in zip(sources(counts), weight, strict=True)}
    walked = [
        (line, v)
        for line in np.argsort(owner, kind="stable").tolist()
        for v in range(starts[line], starts[line] + counts[line])
    ]
    rows = np.array([v for _, v in walked])
    lines = np.array([line for line, _ in walked])
    links = [i for i in range(n - 1) if lines[i] == lines[i + 1]]
    batch = Batch(
        vertices[rows],
        owner[lines],
        value[rows],
        lines,
        np.array([(i, i + 1) for i in links], int).reshape(-1, 2),
        np.array([of_link[rows[i]] for i in links], float),
        [],
    )
    if rng.random() < 0.5:
        given: dict[str, Any] = {"lines": vertices, "offsets": starts}
        if rng.random() < 0.5:
            given["offsets"] = np.append(starts, n)
    else:
        given = {"lines": np.split(vertices, starts[1:])}
    return {**given, "object_ids": owner}, batch, value, weight


def sources(counts: np.ndarray) -> np.ndarray:
    last = np.cumsum(counts) - 1
    return np.setdiff1d(np.arange(counts.sum()), last)


def link_batch(rng: np.random.Generator, model: Model, vertices: np.ndarray, ids: list[int]) -> Any:
    """Edges or faces over some vertices: what to append, and the batch that comes of it."""
    n, width = len(vertices), WIDTH[model.kind]
    owner = rng.choice(ids, n)
    if model.kind == "graph":
        links = rng.integers(0, n, (rng.integers(0, 2 * n), 2))
        links = links[links[:, 0] != links[:, 1]]
    else:
        rows = []
        for i in sorted(set(ids)):
            (mine,) = np.nonzero(owner == i)
            mine = rng.permutation(mine)
            if model.kind == "skeleton":
                rows += [
                    (int(c), int(mine[rng.integers(0, at)]))
                    for at, c in enumerate(mine)
                    if at and rng.random() < 0.9
                ]
            elif len(mine):
                rows += rng.choice(mine, (rng.integers(0, 2 * len(mine)), 3)).tolist()
        links = rng.permutation(np.array(rows, int).reshape(-1, width))
    value, weight = rng.random(n), rng.random(len(links))
    # The order of the walk is that of the append, object ids and all.
    batch = Batch(vertices, owner, value, np.zeros(n, int), links, weight, [])
    name = "faces" if width == 3 else "edges"
    points = "vertices" if width == 3 else "positions"
    return {points: vertices, name: links, "object_ids": owner}, batch, value, weight


def draw_vertices(rng: np.random.Generator, n: int, ndim: int, setting: Any) -> np.ndarray:
    dtype, lo, hi, chunk = setting
    free = rng.uniform(lo, hi, (n, ndim))
    if rng.random() < 0.5 and n > 1:
        # A walk with small steps, which stays in cells for a while, jumps, and comes back.
        steps = rng.normal(0, chunk / 3, (n, ndim))
        steps[rng.random(n) < 0.1] *= 20
        free = np.clip(free[0] + np.cumsum(steps, axis=0), lo, hi)
    on_side = np.clip(np.round(free / chunk) * chunk, lo, hi)
    mixed = np.where(rng.random((n, ndim)) < 0.3, on_side, free)
    return (np.round(mixed) if dtype.startswith("int") else mixed).astype(dtype)


def append_some(
    rng: np.random.Generator, tx: zvv.Transaction, model: Model, ndim: int, setting: Any
) -> None:
    n = int(rng.integers(1, 40))
    vertices = draw_vertices(rng, n, ndim, setting)
    there = [i for i in model.used if i not in model.removed]
    fresh = [int(i) for i in rng.integers(0, 2**40, 3) if int(i) not in model.used]
    extend = bool(there) and rng.random() < 0.5
    ids = [*fresh, *rng.choice(there, 2).tolist()] if extend else fresh
    make = line_batch if model.is_lines else link_batch
    given, batch, value, weight = make(rng, model, vertices, ids)
    named = list(dict.fromkeys(np.asarray(given["object_ids"]).tolist()))
    batch.new_ids = sorted(set(named) - set(model.used))
    if rng.random() < 0.7:
        given["attributes"] = {"value": value}
    else:
        batch.value = np.full(len(batch.value), np.nan)
    if rng.random() < 0.7:
        given["link_attributes"] = {"weight": weight}
    else:
        batch.weight = np.full(len(weight), np.nan)
    if len(batch.new_ids) == len(named) and rng.random() < 0.7:
        given["object_attributes"] = {"name": [f"object {i}" for i in named]}
        model.kinds_of_new.update({i: f"object {i}" for i in named})
    writer = tx.writer("g")
    verb = {**dict.fromkeys(LINES, "polylines"), "mesh": "mesh"}.get(model.kind, "graph")
    result = getattr(writer, f"append_{verb}_sync")(**given, extend=extend)
    cells = np.unique(np.floor(batch.positions.astype("f8") / model.chunk), axis=0)
    assert result["vertices_added"] == len(batch.positions)
    assert result["links_added"] == len(batch.links)
    assert result["chunks_touched"] == len(cells)
    assert result["new_objects"] == len(batch.new_ids)
    assert result["object_ids"].tolist() == sorted(named)
    model.add(batch)


def check(level: zvv.Level, model: Model, rng: np.random.Generator) -> None:
    rows = model.rows()
    links = model.links()
    names = [i for b in model.batches for i in b.new_ids if i not in model.removed]
    assert (level.vertex_count, level.link_count) == (len(rows), len(links))
    assert level.links().tolist() == [ends for ends, _ in links]
    assert level.object_ids().tolist() == names
    if "weight" in level.link_attribute_names:
        same(level.link_attribute("weight"), [weight for _, weight in links])
    if "name" in level.object_attribute_names:
        told = level.object_attribute("name").tolist()
        assert told == [model.kinds_of_new.get(i) for i in names]
    by_number = sorted(rows, key=lambda row: row[0])
    assert level.positions().tolist() == [b.positions[v].tolist() for _, b, v, _ in by_number]
    check_read(level, model, {})
    for _ in range(3):
        query: dict[str, Any] = {}
        if rows and rng.random() < 0.7:
            some = [b.positions[v] for _, b, v, _ in rows]
            sides = np.array([some[i] for i in rng.integers(0, len(some), 2)], "f8")
            query["bbox"] = (sides.min(axis=0), sides.max(axis=0))
            query["bbox"][1][rng.random(sides.shape[1]) < 0.5] = np.inf
        if names and rng.random() < 0.4:
            query["objects"] = rng.choice(names, rng.integers(1, 4)).tolist()
        if model.batches and rng.random() < 0.3:
            query["batches"] = rng.choice(len(model.batches), 2).tolist()
        if rng.random() < 0.4:
            query["limit"] = int(rng.integers(0, len(rows) + 2))
        check_read(level, model, query)


def check_read(level: zvv.Level, model: Model, query: dict[str, Any]) -> None:
    def asked(row: tuple[int, Batch, int, int]) -> bool:
        _, batch, vertex, slot = row
        if "bbox" in query:
            position = batch.positions[vertex].astype("f8")
            lo, hi = query["bbox"]
            if not ((position >= lo) & (position < hi)).all():
                return False
        if "objects" in query and batch.object_ids[vertex] not in query["objects"]:
            return False
        return "batches" not in query or slot in query["batches"]

    rows = [row for row in model.rows() if asked(row)][: query.get("limit")]
    got = level.read(**query, attributes="all", link_attributes="all")
    assert got.vertex_ids.tolist() == [row[0] for row in rows]
    assert got.positions.tolist() == [b.positions[v].tolist() for _, b, v, _ in rows]
    assert got.object_ids.tolist() == [int(b.object_ids[v]) for _, b, v, _ in rows]
    if "value" in level.attribute_names:
        same(got.attributes["value"], [b.value[v] for _, b, v, _ in rows])
    place = {number: at for at, (number, *_) in enumerate(rows)}
    links = [
        ([place[v] for v in ends], weight)
        for ends, weight in model.links()
        if all(v in place for v in ends)
    ]
    if model.is_lines:
        links.sort()
        starts = {b for (_, b), _ in links}
        begins = [at for at in range(len(rows)) if at not in starts]
        assert got.parts is not None
        assert got.parts.tolist() == [*begins, len(rows)]
        assert [len(line) for line in got.lines()] == np.diff(got.parts).tolist()
    found = got.faces if model.kind == "mesh" else got.edges
    assert found is not None
    assert found.tolist() == [ends for ends, _ in links]
    if "weight" in level.link_attribute_names:
        same(got.link_attributes["weight"], [weight for _, weight in links])


def same(found: np.ndarray, expected: list[float]) -> None:
    np.testing.assert_array_equal(found, np.array(expected, float))


@pytest.mark.parametrize("kinds", [LINES, tuple(WIDTH)])
@given(
    data=st.data(),
    seed=st.integers(0, 2**32),
    ndim=st.integers(1, 4),
    setting=st.sampled_from(SETTINGS),
    window=st.sampled_from([1, 7, 1 << 20]),
)
def test_what_was_appended_is_read_back_whole_and_in_part(
    kinds: tuple[str, ...], data: st.DataObject, seed: int, ndim: int, setting: Any, window: int
) -> None:
    kind = data.draw(st.sampled_from(kinds))
    rng = np.random.default_rng(seed)
    dtype, lo, hi, chunk = setting
    model = Model(kind, np.full(ndim, chunk))
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset(
            "g",
            kind=kind,
            bounds=([lo] * ndim, [hi] * ndim),
            chunk_shape=[chunk] * ndim,
            vertex_dtype=dtype,
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "WINDOW_VERTICES", window)
        for _ in range(rng.integers(1, 4)):
            with repo.transaction() as tx:
                for _ in range(rng.integers(1, 3)):
                    append_some(rng, tx, model, ndim, setting)
                there = [i for i in model.used if i not in model.removed]
                if rng.random() < 0.4 and there:
                    gone = rng.choice(there, rng.integers(1, 3)).tolist()
                    tx.writer("g").remove_objects_sync(gone)
                    model.removed.update(gone)
            check(repo.view()["g"][0], model, rng)
