"""Attributes of every dtype, removed objects, groups and levels: the peer reads what we read."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import zarr
from _peer import assert_same, comparable
from hypothesis import given, settings
from hypothesis import strategies as st

import zv_versioned as zvv

peer = pytest.importorskip("zarr_vectors")
from zarr_vectors.core.arrays import (  # noqa: E402
    read_object_attribute_present_mask,
    read_object_attributes,
)
from zarr_vectors.validate import validate  # noqa: E402

WORDS = np.array(["axon", "", "größe", "a" * 30, None], object)


@pytest.fixture(autouse=True)
def _no_fallback() -> Iterator[None]:
    """The peer warns where its fast path fails and it reads again slowly."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


def values(rng: np.random.Generator, kind: str, shape: Any) -> np.ndarray:
    if kind == "text":
        return rng.choice(WORDS, shape)
    if kind == "bool":
        return rng.random(shape) < 0.5
    if kind[:2] in ("da", "ti"):
        times = rng.integers(-(10**6), 10**6, shape).astype(kind)
        return np.where(rng.random(shape) < 0.1, np.array("NaT", kind), times)
    return (rng.random(shape) * 99).astype(kind)


DTYPES = ["f4", "f8", "i2", "u1", "bool", "text", "datetime64[ns]", "timedelta64[25s]"]


class History:
    """A point cloud that things happen to, at random."""

    def __init__(self, seed: int, ndim: int, kind: str = "point_cloud") -> None:
        self.rng = np.random.default_rng(seed)
        self.ndim = ndim
        self.first_id = 0
        self.repo = zvv.Repository.create("memory://")
        cells = self.rng.choice([1.3, 2.6, 6.1]) if ndim < 3 else self.rng.choice([1.3, 2.6])
        bounds = ([-2.0] * ndim, [3.0] * ndim)
        with self.repo.transaction() as tx:
            tx.create_dataset(
                "p", kind=kind, bounds=bounds, chunk_shape=[5.0 / cells] * ndim, vertex_dtype="f8"
            )

    @property
    def dataset(self) -> zvv.Dataset:
        return self.repo.view()["p"]

    def append(self, attributes: bool = True) -> None:
        n = int(self.rng.integers(1, 40))
        ids = self.first_id + self.rng.integers(0, 12, n)
        self.first_id += int(self.rng.choice([12, 10**11]))
        given = {}
        if attributes and self.rng.random() < 0.5:
            given["with"] = values(self.rng, "text", n)
        with self.dataset[0].writer() as writer:
            writer.append_vertices_sync(
                self.rng.uniform(-2, 3, (n, self.ndim)), object_ids=ids, attributes=given
            )

    def add_values(self) -> None:
        level = self.dataset[0]
        name = str(self.rng.choice(DTYPES))
        channels = int(self.rng.choice([1, 3]))
        tail = () if channels == 1 else (channels,)
        with level.writer() as writer:
            for method, n in (
                (writer.add_attribute_sync, level.vertex_count),
                (writer.add_object_attribute_sync, level.num_objects),
            ):
                if n:
                    method(f"{name} {channels}", values(self.rng, name, (n, *tail)))

    def remove(self) -> None:
        level = self.dataset[0]
        ids = level.object_ids()
        if len(ids) < 2:
            return
        part = self.rng.choice([0.1, 0.5, 1.0])
        gone = ids[self.rng.random(len(ids)) < part]
        if len(gone):
            with level.writer() as writer:
                writer.remove_objects_sync(gone)

    def group(self) -> None:
        ids = self.dataset[0].object_ids()
        with self.dataset[0].writer() as writer:
            some = ids[self.rng.random(len(ids)) < 0.5]
            writer.add_group_sync(f"group {len(some) % 3}", some)


def check(dataset: zvv.Dataset, rng: np.random.Generator) -> None:
    level, opened = dataset[0], peer.open(dataset.store)[0]
    names = level.attribute_names
    assert opened.vertex_count == level.vertex_count
    assert_same(opened.read(), level.read(attributes="all"), names, objects=False)
    lo, hi = dataset.bounds
    sides = np.sort(rng.uniform(lo, hi, (2, len(lo))), axis=0)
    inside = opened.select(bbox=(sides[0], sides[1])).read()
    expected = level.read(bbox=(sides[0], sides[1]), attributes="all")
    assert_same(inside, expected, names, objects=False)
    ids = level.object_ids()
    assert opened.objects.count == len(opened.objects) == level.num_objects
    assert opened.objects.ids().tolist() == ids.tolist()
    some = ids[rng.random(len(ids)) < 0.3]
    if len(some):
        assert_same(opened.objects[some.tolist()], level.objects[some], names, objects=True)
    assert set(opened.attribute_names("object")) == set(level.object_attribute_names)
    for name in level.object_attribute_names:
        check_object_values(opened, level, name)
    assert {g.name: g.members.tolist() for g in opened.groups.values()} == {
        name: ids.tolist() for name, ids in level.groups.items()
    }
    for name, members in level.groups.items():
        if len(members):
            found = opened.groups[name].read()
            assert_same(found, level.read(objects=members, attributes="all"), names, objects=True)


def check_object_values(opened: Any, level: zvv.Level, name: str) -> None:
    expected = level.object_attribute(name)
    found = read_object_attributes(opened.store, name)
    if expected.dtype.kind == "O":
        expected = np.where(expected == np.array(None), "", expected)
    else:
        assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert comparable(found).tobytes() == comparable(expected).tobytes()


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32), ndim=st.integers(2, 3), steps=st.integers(2, 9))
def test_whatever_happens_to_points_the_peer_reads_what_is_left(
    seed: int, ndim: int, steps: int
) -> None:
    history = History(seed, ndim)
    history.append()
    for _ in range(steps):
        acts = [history.append, history.add_values, history.remove, history.group]
        acts[history.rng.choice(4, p=[0.4, 0.3, 0.2, 0.1])]()
    dataset = history.dataset
    check(dataset, history.rng)
    assert validate(dataset.store, level=5).errors == []


def test_the_dictionary_of_a_text_is_one_for_all_batches_and_sorted() -> None:
    repo = zvv.Repository.create("memory://")
    given = [["soma", None, "axon"], ["dendrite", "axon", "axon"], None]
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [4, 4]), chunk_shape=[4, 4])
        for texts in given:
            attributes = {} if texts is None else {"part": np.array(texts, object)}
            tx.writer("p").append_vertices_sync(np.ones((3, 2), "f4"), attributes=attributes)
    array = zarr.open_group(repo.view()["p"].store, mode="r")["0/vertex_attributes/part"]
    assert array.attrs["encoding"] == "dictionary"
    assert array.attrs["categories"] == ["axon", "dendrite", "soma"]
    assert array.attrs["_FillValue"] == -1
    cells = array[:].reshape(-1)
    codes = [np.frombuffer(cell, array.attrs["dtype"]) for cell in cells if len(cell)]
    assert [c.tolist() for c in codes] == [[2, -1, 0], [1, 0, 0], [-1, -1, -1]]


def test_an_object_without_a_value_is_absent_and_one_with_an_empty_text_is_too() -> None:
    # Zarr Vectors marks what is absent by the array's fill value, and of text that is "".
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [4, 4]))
        tx.writer("p").append_vertices_sync(np.ones((3, 2), "f4"))
        tx.writer("p").add_object_attribute_sync("name", ["a", None, ""])
        tx.writer("p").add_object_attribute_sync("size", np.array([1, 2, 3], "i4"))
        tx.writer("p").append_vertices_sync(np.ones((1, 2), "f4"))
    group = peer.open(repo.view()["p"].store)[0].store
    assert read_object_attribute_present_mask(group, "name").tolist() == [1, 0, 0, 0]
    assert read_object_attribute_present_mask(group, "size").tolist() == [1, 1, 1, 0]
    assert read_object_attributes(group, "size").tolist() == [1, 2, 3, -(2**31)]


def test_values_of_more_objects_than_one_bucket_holds() -> None:
    rng = np.random.default_rng(0)
    repo = zvv.Repository.create("memory://")
    n = 40_000
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [1, 1]), chunk_shape=[1, 1])
        writer = tx.writer("p")
        writer.append_vertices_sync(rng.random((n, 2), "f4"))
        writer.add_object_attribute_sync("size", rng.random((n, 2)))
        writer.add_object_attribute_sync("name", rng.choice(WORDS, n))
    level = repo.view()["p"][0]
    opened = peer.open(repo.view()["p"].store)[0]
    for name in ("size", "name"):
        check_object_values(opened, level, name)


def test_a_removed_object_is_as_if_it_had_never_been() -> None:
    rng = np.random.default_rng(0)
    repo = zvv.Repository.create("memory://")
    positions = rng.uniform(-4, 4, (90, 3)).astype("f4")
    ids = rng.integers(0, 5, 90)
    colour = rng.random(90)
    options: dict[str, Any] = {"bounds": ([-4] * 3, [4] * 3), "chunk_shape": [2] * 3}
    with repo.transaction() as tx:
        for name, there in (("all", np.ones(90, bool)), ("less", ids != 3)):
            tx.create_dataset(name, kind="point_cloud", **options)
            tx.writer(name).append_vertices_sync(
                positions[there], object_ids=ids[there], attributes={"c": colour[there]}
            )
    with repo.transaction() as tx:
        tx.writer("all").remove_objects_sync([3])

    def content(dataset: zvv.Dataset) -> dict[str, Any]:
        group = zarr.open_group(dataset.store, mode="r")["0"]
        arrays = {name: array for name, array in group.members(None) if hasattr(array, "shape")}
        return {name: (array[...].tolist(), dict(array.attrs)) for name, array in arrays.items()}

    view = repo.view()
    assert content(view["all"]) == content(view["less"])
    before = repo.view("main~1")["all"]
    assert peer.open(before.store)[0].read().vertex_count == 90


def test_a_level_whose_objects_are_all_removed_is_read_as_empty() -> None:
    history = History(3, 2)
    history.append()
    with history.dataset[0].writer() as writer:
        writer.remove_objects_sync(history.dataset[0].object_ids())
    opened = peer.open(history.dataset.store)[0]
    assert opened.read().vertex_count == opened.vertex_count == len(opened.objects) == 0
    assert validate(history.dataset.store, level=5).errors == []


@pytest.mark.parametrize("ndim", [2, 3])
def test_every_level_is_read_in_its_own_grid(ndim: int) -> None:
    rng = np.random.default_rng(ndim)
    repo = zvv.Repository.create("memory://")
    points = rng.uniform(-5, 5, (400, ndim))
    with repo.transaction() as tx:
        tx.create_dataset(
            "p", kind="point_cloud", bounds=([-5] * ndim, [5] * ndim), chunk_shape=[2.5] * ndim,
            vertex_dtype="f8",
        )  # fmt: skip
        tx.writer("p").append_vertices_sync(points, object_ids=np.arange(400) % 7)
        for number, shape in ((1, None), (2, [2.5 * (3 + d) for d in range(ndim)])):
            tx.create_level("p", number, chunk_shape=shape, method="every so many")
            some = points[:: 5**number]
            tx.writer("p", level=number).append_vertices_sync(
                some, object_ids=np.arange(len(some)) % 7, attributes={"w": rng.random(len(some))}
            )
    dataset = repo.view()["p"]
    opened = peer.open(dataset.store)
    assert opened.levels == (0, 1, 2)
    assert list(opened[2].scale) == [2.5 * (3 + d) for d in range(ndim)]
    for number in dataset.levels:
        names = dataset[number].attribute_names
        level = dataset[number]
        assert_same(opened[number].read(), level.read(attributes="all"), names, objects=False)
        box = ([-3.21] * ndim, [2.34] * ndim)
        found = opened[number].select(bbox=box).read()
        assert_same(found, level.read(bbox=box, attributes="all"), names, objects=False)
        assert_same(opened[number].objects[[2, 5]], level.read(objects=[2, 5], attributes="all"),
                    names, objects=True)  # fmt: skip
    assert validate(dataset.store, level=5).errors == []
