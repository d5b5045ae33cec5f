"""`dataset.store` as a zarr store: complete, read-only, right for every range, never in the way."""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import pickle
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import cpu, default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import WrapperStore

import zv_versioned as zvv
from zv_versioned import _store
from zv_versioned.interop.zarr_vectors import _objects as ours

PROTOTYPE = default_buffer_prototype()
N = (300, 60, 5)


def filled(repo: zvv.Repository, name: str, seed: int = 0) -> None:
    """Three batches over two blocks; an attribute that only the first has, and one of the third."""
    rng = np.random.default_rng(seed)
    with repo.transaction() as tx:
        tx.create_dataset(
            name, kind="point_cloud", bounds=([-6, -6], [6, 6]), chunk_shape=[0.5, 0.5]
        )
        for batch, n in enumerate(N):
            values = (
                {"a": rng.random(n)} if batch == 0 else {"c": np.arange(n)} if batch == 2 else {}
            )
            tx.writer(name).append_vertices_sync(
                rng.uniform(-6, 6, (n, 2)).astype("f4"),
                object_ids=rng.permutation(n) + (0 if batch < 2 else 1000),
                attributes=values,
            )


@pytest.fixture(scope="module")
def dataset() -> zvv.Dataset:
    repo = zvv.Repository.create("memory://")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ours, "MANIFEST_BUCKET", 100)
        patch.setattr(ours, "ID_BUCKET", 64)
        filled(repo, "deep/p")
        found = repo.view()["deep/p"]
        yield found


def get(store: Store, key: str, span: ByteRequest | None = None) -> bytes | None:
    value = sync(store.get(key, PROTOTYPE, span))
    return None if value is None else value.to_bytes()


def listed(store: Store) -> list[str]:
    async def keys() -> list[str]:
        return [key async for key in store.list()]

    return sync(keys())


class Recording(WrapperStore[Any]):
    """Remembers which keys were asked for and are there."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.there: set[str] = set()

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        value = await self._store.get(key, prototype, byte_range)
        if value is not None:
            self.there.add(key)
        return value

    async def get_partial_values(self, prototype: Any, key_ranges: Any) -> Any:
        return [await self.get(key, prototype, span) for key, span in key_ranges]


# --- complete -----------------------------------------------------------------------------------


def test_every_key_that_is_listed_is_there_and_listed_once(dataset: zvv.Dataset) -> None:
    keys = listed(dataset.store)
    assert len(keys) == len(set(keys)) > 100
    for key in keys:
        assert get(dataset.store, key), key
        assert sync(dataset.store.exists(key)), key


def test_every_chunk_that_zarr_finds_is_listed_and_no_others(dataset: zvv.Dataset) -> None:
    store = Recording(dataset.store)
    group = zarr.open_group(store, mode="r")
    for _, array in group.members(max_depth=None):
        if isinstance(array, zarr.Array):
            array[...]
    chunks = {key for key in listed(dataset.store) if "/c/" in key}
    assert {key for key in store.there if "/c/" in key} == chunks


def test_folders_are_listed_as_their_keys_say(dataset: zvv.Dataset) -> None:
    keys = listed(dataset.store)
    folders = {"/".join(key.split("/")[:i]) for key in keys for i in range(key.count("/") + 1)}

    async def children(prefix: str) -> list[str]:
        return [child async for child in dataset.store.list_dir(prefix)]

    async def below(prefix: str) -> list[str]:
        return [key async for key in dataset.store.list_prefix(prefix)]

    for folder in itertools.islice(folders, 40):
        inside = folder + "/" if folder else ""
        expected = {key[len(inside) :].split("/")[0] for key in keys if key.startswith(inside)}
        for prefix in (folder, inside):
            found = sync(children(prefix))
            assert len(found) == len(expected)
            assert set(found) == expected
        assert sync(below(inside)) == [key for key in keys if key.startswith(inside)]
    assert sync(children("0/nothing")) == []


def test_the_chunks_that_are_not_empty_are_named_and_no_others(dataset: zvv.Dataset) -> None:
    group = zarr.open_group(dataset.store, mode="r")
    size = np.array(dataset.chunk_shape)
    batch = np.repeat(np.arange(len(N)), N)
    cells = np.floor(dataset[0].positions() / size).astype(int)
    expected = {f"{b}.{x}.{y}" for b, (x, y) in zip(batch, cells.tolist(), strict=True)}
    for name in ("vertices", "vertex_fragments", "vertex_attributes/a", "vertex_attributes/c"):
        found = group[f"0/{name}"].attrs["nonempty_chunks"]
        assert len(found) == len(expected)
        assert set(found) == expected
    assert group["0"].attrs["zarr_vectors_level"]["chunk_attribute_values"] == [0, 1, 2]


def test_zarr_reads_ids_and_manifests(dataset: zvv.Dataset) -> None:
    index = zarr.open_group(dataset.store, mode="r")["0/object_index"]
    ids = dataset[0].object_ids()
    assert index["object_ids"][:].tolist() == ids.tolist()
    assert len(index["manifests"][:]) == len(ids) == index.attrs["num_objects"]
    assert all(len(blob) % 33 in (4, 37) for blob in index["manifests"][:].tolist())


# --- parts of values ----------------------------------------------------------------------------

SPANS = [
    RangeByteRequest(0, 1),
    RangeByteRequest(3, 11),
    RangeByteRequest(0, 12),
    OffsetByteRequest(0),
    OffsetByteRequest(5),
    SuffixByteRequest(1),
    SuffixByteRequest(9),
]


def slice_of(value: bytes, span: ByteRequest) -> bytes:
    if isinstance(span, RangeByteRequest):
        return value[span.start : span.end]
    if isinstance(span, OffsetByteRequest):
        return value[span.offset :]
    assert isinstance(span, SuffixByteRequest)
    return value[len(value) - span.suffix :]


def samples(store: Store) -> list[str]:
    """A key of every kind, both those that are stored and those that are made."""
    keys = listed(store)
    kinds = {key.split("/c/")[0] + "/".join(key.split("/c/")[1:])[:1]: key for key in keys}
    return sorted(kinds.values())


@pytest.mark.parametrize("span", SPANS, ids=repr)
def test_a_part_of_a_value_is_that_part(dataset: zvv.Dataset, span: ByteRequest) -> None:
    store = dataset.store
    keys = samples(store)
    assert {key.split("/c/")[0] for key in keys} >= {"0/vertices", "0/object_index/manifests"}
    whole = {key: get(store, key) for key in keys}
    expected = [slice_of(whole[key] or b"", span) for key in keys]
    assert [get(store, key, span) for key in keys] == expected
    together = sync(store.get_partial_values(PROTOTYPE, [(key, span) for key in keys]))
    assert [value.to_bytes() for value in together] == expected


# --- what is not there --------------------------------------------------------------------------

ABSENT = [
    "", "x", "/", "c/0", "/c/", "x/c/y", ".zgroup", "zarr", "0", "1/zarr.json", "00/zarr.json",
    "0/zarr.jsonx", "0/nothing/zarr.json", "0/nothing/c/0", "0/c/0", "0/vertices", "0/vertices/c",
    "0/vertices/c/", "0/vertices/c/x", "0/vertices/c/0", "0/vertices/c/0/0", "0/vertices/c/0/0/0/0",
    "0/vertices/c/9/64/64", "0/vertices/c/-1/64/64", "0/vertices/c/0/99999999/0",
    "0/vertex_fragments/c/0", "0/vertex_fragments/c/0/1", "0/vertex_fragments/c/9/1030/1030",
    "0/vertex_fragments/c/0/0/99999999", "0/vertex_fragments/c/0/1030/1030/0",
    "0/object_index/c/0", "0/object_index/manifests/c/4", "0/object_index/manifests/c/-1",
    "0/object_index/manifests/c/0/0", "0/object_index/object_ids/c/6",
    "0/object_index/object_ids/c/-1", "0/vertex_attributes/c/0", "0/vertex_attributes/b/c/0/64/64",
    "0/vertex_attributes/a/c/0", "0/vertex_attributes/a/c/1/0/0", "0/vertex_attributes/a/c/9/64/64",
    "0/batches/zarr.json", "0/batches/table/zarr.json", "0/batches/table/c/0",
    "0/batches/index/c/0/0",
]  # fmt: skip


@pytest.mark.parametrize("key", ABSENT)
def test_a_key_that_is_not_listed_is_not_there(dataset: zvv.Dataset, key: str) -> None:
    assert key not in listed(dataset.store)
    assert get(dataset.store, key) is None
    assert get(dataset.store, key, RangeByteRequest(0, 4)) is None
    assert not sync(dataset.store.exists(key))


def test_no_number_of_a_cell_stands_for_another_cell(dataset: zvv.Dataset) -> None:
    key = next(k for k in listed(dataset.store) if k.startswith("0/vertex_fragments/c/"))
    slot, x, y = map(int, key.split("/")[-3:])
    width = dataset[0]._reader.state.facts.grid.shape[1]
    for alias in (f"{slot}/{x - 1}/{y + width}", f"{slot}/{x + 1}/{y - width}"):
        assert get(dataset.store, f"0/vertex_fragments/c/{alias}") is None


def test_a_dataset_at_the_root_shows_nothing_of_the_others() -> None:
    repo = zvv.Repository.create("memory://")
    filled(repo, "", seed=1)
    filled(repo, "other", seed=2)
    view = repo.view()
    root, other = view[""].store, view["other"].store
    assert not [key for key in listed(root) if "other" in key]
    assert {name for name, _ in zarr.open_group(root, mode="r").members()} == {"0"}
    for key in listed(other):
        assert get(root, f"other/{key}") is None
        assert not sync(root.exists(f"other/{key}"))


# --- read only, pinned --------------------------------------------------------------------------


def test_nothing_can_be_written(dataset: zvv.Dataset) -> None:
    store = dataset.store
    before = listed(store)
    value = cpu.Buffer.from_bytes(b"x")
    attempts: list[Coroutine[Any, Any, Any]] = [
        store.set("0/zarr.json", value),
        store.set("new", value),
        store.set_if_not_exists("new", value),
        store.delete("0/zarr.json"),
        store.delete_dir("0"),
        store.clear(),
    ]
    for attempt in attempts:
        with pytest.raises((ValueError, NotImplementedError)):
            sync(attempt)
    for mode in ("a", "r+", "w"):
        with pytest.raises(ValueError, match="read-only"):
            zarr.open_group(store, mode=mode)
    group = zarr.open_group(store, mode="r")
    with pytest.raises(ValueError, match="read-only"):
        group.attrs["x"] = 1
    assert store.read_only
    assert not store.supports_writes
    assert listed(store) == before


def test_nothing_can_be_written_to_one_that_says_it_is_not_read_only(dataset: zvv.Dataset) -> None:
    store = dataset.store.with_read_only(False)
    assert not store.read_only
    assert store.with_read_only(True).read_only
    assert listed(store) == listed(dataset.store)
    value = cpu.Buffer.from_bytes(b"x")
    for attempt in (store.set("0/zarr.json", value), store.delete("0/zarr.json")):
        with pytest.raises(zvv.ReadOnlyError, match="which never changes"):
            sync(attempt)
    with pytest.raises(zvv.ReadOnlyError):
        zarr.open_group(store, mode="r+").attrs["x"] = 1
    assert store == dataset.store


def test_what_is_committed_later_does_not_change_it() -> None:
    repo = zvv.Repository.create("memory://")
    filled(repo, "p")
    store = repo.view()["p"].store
    before = {key: get(store, key) for key in listed(store)}
    late = repo.view()["p"].store  # made now, and not yet asked for anything
    with repo.transaction() as tx:
        tx.writer("p").append_vertices_sync(
            np.full((4, 2), 9.0, "f4"), attributes={"z": np.ones(4)}, out_of_bounds="expand"
        )
    for same in (store, late):
        assert {key: get(same, key) for key in listed(same)} == before
    assert set(listed(repo.view()["p"].store)) > set(before)


def test_stores_of_the_same_dataset_and_snapshot_are_equal_and_others_are_not() -> None:
    repo = zvv.Repository.create("memory://")
    filled(repo, "p")
    filled(repo, "q")
    assert repo.view()["p"].store == repo.view()["p"].store
    assert repo.view()["p"].store != repo.view()["q"].store
    assert repo.view()["p"].store != repo.view("main~1")["p"].store
    assert "'p'" in repr(repo.view()["p"].store)


# --- from wherever it is used -------------------------------------------------------------------


def test_it_works_in_a_running_loop_and_from_many_threads(dataset: zvv.Dataset) -> None:
    keys = samples(dataset.store)
    expected = [get(dataset.store, key) for key in keys]
    store = dataset.store

    async def inside() -> list[bytes]:
        values = await asyncio.gather(*(store.get(key, PROTOTYPE) for key in keys))
        # The synchronous way too, though a loop is running in this thread.
        assert zarr.open_group(store, mode="r")["0/object_index/object_ids"][:].size
        return [value.to_bytes() for value in values]

    assert asyncio.run(inside()) == expected
    assert asyncio.run(inside()) == expected
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda key: get(store, key), keys * 4)) == expected * 4


def test_xarray_opens_it(dataset: zvv.Dataset) -> None:
    # Not decoded: xarray takes the attribute `dtype` of Zarr Vectors for one of its own.
    opened = xr.open_zarr(
        dataset.store, group="0", consolidated=False, chunks=None, decode_cf=False
    )
    assert opened["vertices"].dims == ("batch", "x", "y")
    address = zarr.open_group(dataset.store, mode="r")["0/vertices"].attrs["nonempty_chunks"][0]
    slot, x, y = map(int, address.split("."))
    origin = opened["vertices"].attrs["chunk_grid_origin"]
    raw = opened["vertices"][slot, x - origin[1], y - origin[2]].values.item()
    lo = np.array([x, y]) * dataset.chunk_shape
    found = dataset[0].read(bbox=(lo, lo + dataset.chunk_shape), batches=slot)
    assert raw == found.positions.tobytes()
    objects = xr.open_zarr(
        dataset.store, group="0/object_index", consolidated=False, chunks=None, decode_cf=False
    )
    assert objects["object_ids"].values.tolist() == dataset[0].object_ids().tolist()


def test_an_array_is_as_small_as_the_bounds_and_the_batches_allow(dataset: zvv.Dataset) -> None:
    group = zarr.open_group(dataset.store, mode="r")
    for name in ("vertices", "vertex_fragments", "vertex_attributes/a"):
        assert group["0"][name].shape == (3, 25, 25)
        assert group["0"][name].attrs["chunk_grid_origin"] == [0, -12, -12]


@pytest.mark.parametrize("array", ["vertices", "vertex_fragments", "vertex_attributes/a"])
def test_cells_that_are_asked_for_together_are_made_by_one_read(
    dataset: zvv.Dataset, array: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    for name in ("get_many", "get_parts"):
        get = getattr(_store, name)
        monkeypatch.setattr(_store, name, lambda *a, get=get: read.append(len(a[1])) or get(*a))
    store = dataset.store
    keys = [key for key in listed(store) if key.startswith(f"0/{array}/c/")]
    assert len(keys) > 100
    read.clear()

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*(store.get(key, PROTOTYPE) for key in keys))

    first = asyncio.run(all_at_once())
    assert sum(count > 0 for count in read) <= 3
    read.clear()
    again = asyncio.run(all_at_once())
    assert read == []
    assert [v.to_bytes() for v in first] == [v.to_bytes() for v in again]


def test_one_who_gives_up_does_not_take_the_bytes_from_the_others(dataset: zvv.Dataset) -> None:
    keys = [key for key in listed(dataset.store) if key.startswith("0/vertices/c/0/")][:5]
    expected = [get(dataset.store, key) for key in keys]
    store = dataset.store

    async def inside() -> list[bytes]:
        tasks = [asyncio.create_task(store.get(key, PROTOTYPE)) for key in keys]
        for _ in range(3):
            await asyncio.sleep(0)
        tasks[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        return [(await task).to_bytes() for task in tasks[1:]]

    assert asyncio.run(inside()) == expected[1:]


def test_damage_is_told_to_everybody_who_asked_and_again(tmp_path: Path) -> None:
    repo = zvv.Repository.create(tmp_path / "r")
    filled(repo, "p")
    dataset = zvv.Repository.open(tmp_path / "r").view()["p"]
    keys = [key for key in listed(dataset.store) if key.startswith("0/vertices/c/0/")][:3]
    for chunk in (tmp_path / "r" / "chunks").rglob("*"):
        if chunk.is_file():
            raw = bytearray(chunk.read_bytes())
            raw[: len(raw) // 2] = bytes(len(raw) // 2)
            chunk.write_bytes(raw)
    store = dataset.store

    async def inside() -> list[Any]:
        asked = (store.get(key, PROTOTYPE) for key in keys)
        return await asyncio.gather(*asked, return_exceptions=True)

    for _ in range(2):
        answers = asyncio.run(inside())
        assert [type(answer) for answer in answers] == [zvv.IntegrityError] * 3


def test_a_store_can_be_sent_to_another_process(tmp_path: Path) -> None:
    repo = zvv.Repository.create(tmp_path / "r")
    filled(repo, "p")
    store = repo.view()["p"].store
    for kept in (store, store.numbered()):
        sent = pickle.loads(pickle.dumps(kept))
        assert sent == kept
        assert listed(sent) == listed(kept)
    assert store != store.numbered()
