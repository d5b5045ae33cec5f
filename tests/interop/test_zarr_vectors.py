"""The zarr-vectors package reads any snapshot through `dataset.store`, and reads what we read."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _peer import assert_same
from hypothesis import given, settings
from hypothesis import strategies as st

import zv_versioned as zvv
from zv_versioned.interop.zarr_vectors import _objects as ours

peer = pytest.importorskip("zarr_vectors")
from zarr_vectors.types.points import read_points, write_points  # noqa: E402
from zarr_vectors.validate import validate  # noqa: E402

KINDS: dict[str, tuple[int, str, str, tuple[float, float]]] = {
    # name of the dataset, D, dtype, bounds on every axis
    "plane": (2, "float32", "plane", (-7.0, 9.0)),
    "root": (3, "float64", "", (1e6, 1e6 + 30.0)),
    "time": (4, "float32", "time", (0.0, 4.0)),
    "voxels": (3, "int16", "deep/voxels", (-300, 300)),
}


@pytest.fixture(autouse=True)
def _no_fallback() -> Iterator[None]:
    """The peer warns where its fast path fails and it reads again slowly."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


def positions_in(rng: np.random.Generator, n: int, ndim: int, dtype: str, box: Any) -> np.ndarray:
    lo, hi = box
    if np.dtype(dtype).kind == "i":
        return rng.integers(lo, hi + 1, (n, ndim)).astype(dtype)
    inside = rng.uniform(lo, hi, (n, ndim)).astype(dtype)
    grown = np.clip(inside, np.dtype(dtype).type(lo), np.dtype(dtype).type(hi))
    grown[0] = lo
    return grown


def history(repo: zvv.Repository, kind: str, rng: np.random.Generator) -> list[str]:
    """Four commits: ids sparse, going on, given by default; attributes come and go; bounds grow."""
    ndim, dtype, name, (lo, hi) = KINDS[kind]
    # The peer takes about 10 ms a cell: few cells, whose edges binary floats cannot hold.
    edge = (hi - lo) / {2: 3.7, 3: 1.9, 4: 1.3}[ndim]
    tips = []

    def some(n: int) -> np.ndarray:
        return positions_in(rng, n, ndim, dtype, (lo, hi))

    with repo.transaction() as tx:
        tx.create_dataset(
            name,
            kind="point_cloud",
            bounds=([lo] * ndim, [hi] * ndim),
            chunk_shape=[edge] * ndim,
            vertex_dtype=dtype,
        )
        tx.writer(name).append_vertices_sync(
            some(200),
            object_ids=rng.integers(0, 30, 200) * 193_800_000,
            attributes={"a": rng.random(200), "c": rng.random((200, 3), "f4")},
        )
    tips.append(tx.result.snapshot_id)
    with repo.transaction() as tx:
        writer = tx.writer(name)
        ids = 10**12 + rng.integers(0, 20, 260)
        writer.append_vertices_sync(
            some(130), object_ids=ids[:130], attributes={"a": rng.random(130)}
        )
        writer.append_vertices_sync(
            some(130),
            object_ids=ids[130:],
            attributes={"c": rng.random((130, 3), "f4"), "u": rng.integers(0, 9, 130, "u8")},
        )
    tips.append(tx.result.snapshot_id)
    with repo.transaction() as tx:
        tx.writer(name).append_vertices_sync(
            some(40), attributes={"flag": rng.random(40) < 0.5, "i": rng.integers(-9, 9, 40, "i2")}
        )
    tips.append(tx.result.snapshot_id)
    with repo.transaction() as tx:
        far = some(25)
        far[0], far[1] = lo - (hi - lo) / 2, hi + (hi - lo)
        tx.writer(name).append_vertices_sync(
            far, attributes={"a": rng.random(25)}, out_of_bounds="expand"
        )
    tips.append(tx.result.snapshot_id)
    return tips


@pytest.fixture(scope="module", params=KINDS)
def told(request: pytest.FixtureRequest) -> tuple[list[zvv.Dataset], np.random.Generator]:
    """A dataset at every snapshot of its history."""
    rng = np.random.default_rng(sorted(KINDS).index(request.param))
    repo = zvv.Repository.create("memory://")
    tips = history(repo, request.param, rng)
    return [repo.view(tip)[KINDS[request.param][2]] for tip in tips], rng


def box_between(rng: np.random.Generator, dataset: zvv.Dataset) -> tuple[list[float], list[float]]:
    """A box with no vertex on its sides: the peer's are closed, ours are half open."""
    lo, hi = map(np.array, dataset.bounds)
    sides = np.sort(rng.uniform(lo, hi, (2, len(lo))), axis=0)
    if dataset.vertex_dtype.kind == "i":
        sides = np.floor(sides) + 0.5
    assert not np.isin(sides, dataset[0].positions()).any()
    return sides[0].tolist(), sides[1].tolist()


def test_the_peer_sees_the_same_dataset(told: Any) -> None:
    for dataset in told[0]:
        opened = peer.open(dataset.store)
        assert opened.levels == (0,)
        assert opened.kinds == ("point_cloud",)
        assert opened.ndim == len(dataset.chunk_shape)
        assert [side.tolist() for side in opened.bounds] == [list(s) for s in dataset.bounds]
        assert opened[0].vertex_count == dataset[0].vertex_count
        assert set(opened[0].attribute_names()) == set(dataset[0].attribute_names)
        assert [axis["name"] for axis in opened.axes] == [axis["name"] for axis in dataset.axes]


def test_whole_reads_are_the_same_at_every_snapshot(told: Any) -> None:
    for dataset in told[0]:
        level = dataset[0]
        names = level.attribute_names
        found = peer.open(dataset.store)[0].read()
        assert_same(found, level.read(attributes="all"), names, objects=False)


def test_boxes_hold_the_same_at_every_snapshot(told: Any) -> None:
    datasets, rng = told
    for dataset in datasets:
        opened = peer.open(dataset.store)
        for _ in range(3):
            box = box_between(rng, dataset)
            expected = dataset[0].read(bbox=box, attributes="all")
            found = opened[0].select(bbox=box).read()
            names = dataset[0].attribute_names
            assert_same(found, expected, names, objects=False)


def test_objects_are_the_same_at_every_snapshot(told: Any) -> None:
    datasets, rng = told
    for dataset in datasets:
        level, catalog = dataset[0], peer.open(dataset.store)[0].objects
        ids = level.object_ids()
        assert len(catalog) == catalog.count == level.num_objects == len(ids)
        assert catalog.ids().tolist() == ids.tolist()
        for some in (ids[-1:], rng.choice(ids, 7, replace=False)):
            found, expected = catalog[some.tolist()], level.objects[some]
            assert_same(found, expected, level.attribute_names, objects=True)
        assert int(ids[0]) in catalog
        assert int(ids.max()) + 1 not in catalog


def test_objects_within_a_box_are_the_same(told: Any) -> None:
    datasets, rng = told
    dataset = datasets[-1]
    ids, box = dataset[0].object_ids()[::3], box_between(rng, dataset)
    found = peer.open(dataset.store)[0].select(objects=ids.tolist(), bbox=box).read()
    expected = dataset[0].read(objects=ids, bbox=box, attributes="all")
    assert_same(found, expected, dataset[0].attribute_names, objects=True)


def test_missing_values_are_filled_batch_by_batch(told: Any) -> None:
    found = read_points(told[0][1].store, attribute_names=["a", "c", "u"])
    values = found["vertex_attributes"]
    assert {name: len(column) for name, column in values.items()} == {"a": 460, "c": 460, "u": 460}
    assert np.isnan(values["a"]).sum() == 130
    assert np.isnan(values["c"]).all(axis=1).sum() == np.isnan(values["c"]).any(axis=1).sum() == 130
    assert (values["u"] == 2**64 - 1).sum() == 330


def test_the_peer_reads_asynchronously(told: Any) -> None:
    dataset = told[0][-1]

    async def read() -> Any:
        return await peer.open(dataset.store)[0].aread()

    level = dataset[0]
    found = asyncio.run(read())
    assert_same(found, level.read(attributes="all"), level.attribute_names, objects=False)


QUIRK = "Point cloud but links array exists"


def test_the_peer_s_validator_finds_no_fault(told: Any) -> None:
    for dataset in (told[0][0], told[0][-1]):
        result = validate(dataset.store, level=5)
        assert result.errors == []
        assert result.warnings == [QUIRK]


@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
def test_the_one_warning_is_given_for_the_peer_s_own_stores_too(tmp_path: Path) -> None:
    positions = np.random.default_rng(0).random((50, 3), "f4")
    write_points(tmp_path / "own", positions, chunk_shape=(0.5, 0.5, 0.5))
    assert validate(tmp_path / "own", level=5).warnings == [QUIRK]


# --- at the edges -------------------------------------------------------------------------------


def dataset_of(appends: list[dict[str, Any]], ndim: int = 3, **options: Any) -> zvv.Dataset:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        options = {"bounds": ([-1] * ndim, [1] * ndim), "chunk_shape": [0.7] * ndim, **options}
        tx.create_dataset("p", kind="point_cloud", **options)
        for arguments in appends:
            tx.writer("p").append_vertices_sync(**arguments)
    return repo.view()["p"]


def test_a_dataset_without_vertices_is_read_as_empty() -> None:
    dataset = dataset_of([])
    level = peer.open(dataset.store)[0]
    assert level.read().vertex_count == level.vertex_count == 0
    assert len(level.objects) == 0
    assert validate(dataset.store, level=5).errors == []


@pytest.mark.parametrize(("manifests", "ids"), [(7, 11), (1, 1), (512, 65_536)])
def test_objects_are_found_whatever_bucket_their_row_is_in(
    manifests: int, ids: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours, "MANIFEST_BUCKET", manifests)
    monkeypatch.setattr(ours, "ID_BUCKET", ids)
    rng = np.random.default_rng(0)
    object_ids = rng.permutation(300) % 40 * 10
    dataset = dataset_of(
        [
            {"positions": rng.uniform(-1, 1, (100, 3)).astype("f4"), "object_ids": part}
            for part in np.split(object_ids, 3)
        ],
        chunk_shape=[1.1] * 3,
    )
    level, opened = dataset[0], peer.open(dataset.store)[0]
    assert level.num_objects == 40
    assert opened.objects.ids().tolist() == level.object_ids().tolist()
    assert_same(opened.objects[::2], level.objects[level.object_ids()[::2]], [], objects=True)
    for i in level.object_ids()[::7].tolist():
        assert_same(opened.objects[i], level.objects[i], [], objects=True)


def test_more_objects_than_one_bucket_holds() -> None:
    rng = np.random.default_rng(0)
    dataset = dataset_of(
        [{"positions": rng.uniform(-1, 1, (70_000, 3)).astype("f4")}], chunk_shape=[1.0] * 3
    )
    some = [0, 511, 512, 65_535, 65_536, 69_999]
    level, opened = dataset[0], peer.open(dataset.store)[0]
    assert opened.objects.ids(present=False)[some].tolist() == some
    assert_same(opened.objects[some], level.objects[some], [], objects=True)


def test_the_manifest_of_an_object_that_goes_on_names_both_batches() -> None:
    first, second = np.zeros((2, 3), "f4"), np.array([[-0.5, 0.5, 0.75]] * 3, "f4")
    dataset = dataset_of(
        [
            {"positions": first, "object_ids": [4, 7]},
            {"positions": second, "object_ids": [9, 4, 4]},
        ]
    )
    manifests = peer.open(dataset.store)[0].objects.manifests()
    assert manifests == {
        4: [((0, 0, 0, 0), 0), ((1, -1, 0, 1), 0)],
        7: [((0, 0, 0, 0), 1)],
        9: [((1, -1, 0, 1), 1)],
    }


@pytest.mark.parametrize(
    "ids", [[0, 2**62], [2**63 - 1, 5], [0, 2**63 - 1], [2**63 - 2, 2**63 - 1]]
)
def test_the_smallest_and_the_largest_ids_there_can_be(ids: list[int]) -> None:
    dataset = dataset_of([{"positions": np.array([[0.0] * 3, [0.5] * 3]), "object_ids": ids}])
    level, catalog = dataset[0], peer.open(dataset.store)[0].objects
    assert sorted(catalog.ids().tolist()) == sorted(level.object_ids().tolist()) == sorted(ids)
    for i in ids:
        assert catalog[i].positions.tolist() == level.objects[i].positions.tolist() != []


@pytest.mark.parametrize("name", ["c", "zarr", "größe in nm", "0", "a.b"])
def test_an_attribute_may_have_an_awkward_name(name: str) -> None:
    values = np.arange(9, dtype="f4")
    appends = [
        {"positions": np.random.default_rng(0).random((9, 3)), "attributes": {name: values}},
        {"positions": np.zeros((1, 3))},
    ]
    dataset = dataset_of(appends, vertex_dtype="f8")
    found = peer.open(dataset.store)[0].read()
    assert_same(found, dataset[0].read(attributes="all"), [name], objects=False)


def test_values_of_every_dtype_and_number_of_channels() -> None:
    rng = np.random.default_rng(0)
    shapes = {"one": (60,), "column": (60, 1), "four": (60, 4)}
    values = {
        f"{name} {dtype}": (rng.random(shape) * 2).astype(dtype)
        for dtype in ("bool", "i1", "i8", "u1", "u4", "u8", "f2", "f4", "f8")
        for name, shape in shapes.items()
    }
    appends = [
        {"positions": rng.uniform(-1, 1, (60, 2)), "attributes": values},
        {"positions": rng.uniform(-1, 1, (20, 2))},
    ]
    dataset = dataset_of(appends, ndim=2, chunk_shape=[1.3, 1.3], vertex_dtype="f8")
    found = peer.open(dataset.store)[0].read()
    assert_same(found, dataset[0].read(attributes="all"), sorted(values), objects=False)
    # One number a vertex comes flat, also where it was given as a column.
    assert {v.shape[1:] for v in found.attributes.values()} == {(), (4,)}


def test_of_one_dimension_the_peer_reads_everything_flat_and_no_boxes() -> None:
    # It takes a coordinate a vertex for a column without a second axis. We, and zarr, read them.
    dataset = dataset_of([{"positions": np.array([[0.5], [-0.5]]), "object_ids": [3, 4]}], ndim=1)
    assert dataset[0].positions().tolist() == [[-0.5], [0.5]]
    opened = peer.open(dataset.store)[0]
    assert opened.read().positions.tolist() == [-0.5, 0.5]
    assert opened.objects[3].positions.tolist() == [0.5]
    with pytest.raises((np.exceptions.AxisError, RuntimeWarning)):
        opened.select(bbox=([0], [1])).read()


@settings(max_examples=12)
@given(
    seed=st.integers(0, 2**32),
    ndim=st.integers(2, 4),
    n_batches=st.integers(1, 11),
    dtype=st.sampled_from(["float32", "float64", "uint8"]),
)
def test_random_histories_are_read_the_same(
    seed: int, ndim: int, n_batches: int, dtype: str
) -> None:
    rng = np.random.default_rng(seed)
    lo, hi = (0, 255) if dtype == "uint8" else (-1, 1)
    edge = (hi - lo) / rng.uniform(0.7, 2.5)
    options = {"bounds": ([lo] * ndim, [hi] * ndim), "chunk_shape": [edge] * ndim}
    appends = []
    for _ in range(n_batches):
        n = int(rng.integers(1, 40))
        attributes = {a: rng.random(n) for a in "abc" if rng.random() < 0.6}
        ids = rng.integers(0, 50, n) * 7 if rng.random() < 0.7 else None
        positions = positions_in(rng, n, ndim, "int64" if dtype == "uint8" else dtype, (lo, hi))
        appends.append({"positions": positions, "object_ids": ids, "attributes": attributes})
    dataset = dataset_of(appends, ndim, vertex_dtype=dtype, **options)
    level, opened = dataset[0], peer.open(dataset.store)[0]
    names = level.attribute_names
    assert_same(opened.read(), level.read(attributes="all"), names, objects=False)
    ids = rng.choice(level.object_ids(), 3)
    some = sorted(set(ids.tolist()))
    assert_same(opened.objects[some], level.objects[some], names, objects=True)
    sides = np.sort(rng.uniform(lo, hi, (2, ndim)), axis=0)
    expected = level.read(bbox=(sides[0], sides[1]), attributes="all")
    assert_same(opened.select(bbox=(sides[0], sides[1])).read(), expected, names, objects=False)
