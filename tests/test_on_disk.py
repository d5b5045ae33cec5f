"""What is written is plain Zarr v3: zarr reads all of it, and we read what zarr writes."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.metadata.v3 import ArrayV3Metadata
from zarr.core.sync import sync
from zarr.storage import MemoryStore

import zv_versioned as zvv
from zv_versioned._cache import Cache
from zv_versioned._cells_io import Blocks, encode_rows
from zv_versioned.format import arrays, batches, columns, metadata
from zv_versioned.format.axes import parse_axes
from zv_versioned.format.cells import HEADER
from zv_versioned.format.metadata import AttributeMeta
from zv_versioned.format.table import BUCKET, BatchTable
from zv_versioned.reading.fetch import read_rows
from zv_versioned.reading.wanted import Target, Wanted
from zv_versioned.spatial.boxes import Box
from zv_versioned.spatial.grid import Grid

ATTRIBUTES: dict[str, tuple[str, tuple[int, ...]]] = {
    "value": ("f8", ()),
    "normal": ("f4", (3,)),
    "flag": ("?", ()),
    "one": ("u1", (1,)),
    "c": ("i2", ()),
    "größe in nm": ("u8", ()),
}


def raw_store(repo: zvv.Repository, ref: str = "main") -> Any:
    return repo.view(ref)._store


@pytest.fixture(scope="module", params=[("", 3, "float32"), ("a/b", 2, "int16")])
def written(request: pytest.FixtureRequest) -> tuple[zvv.Repository, str]:
    """A repository with three batches, attributes missing in some, over several blocks."""
    name, ndim, dtype = request.param
    rng = np.random.default_rng(0)
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset(
            name,
            kind="point_cloud",
            bounds=([-50] * ndim, [50] * ndim),
            chunk_shape=[9.5] * ndim,
            vertex_dtype=dtype,
            metadata={"größe": 1},
        )
        writer = tx.writer(name)
        for names, n in ((list(ATTRIBUTES), 150), (["value", "c"], 80), ([], 1)):
            values = {
                name: (rng.random((n, *shape)) * 200).astype(dtype)
                for name, (dtype, shape) in ATTRIBUTES.items()
                if name in names
            }
            writer.append_vertices_sync(
                rng.integers(-50, 51, (n, ndim)).astype(dtype),
                object_ids=rng.integers(0, 40, n) * 10**6 if names else None,
                attributes=values,
            )
    return repo, name


def value_at(array: zarr.Array, index: tuple[int, ...]) -> bytes:
    """One value by slices of length one; by numbers zarr gives it wrapped, and not always alike."""
    values: Any = array[tuple(slice(i, i + 1) for i in index)]
    return values.reshape(-1)[0]


def stored_rows(array: zarr.Array, level: zvv.Level, dtype: Any, shape: tuple[int, ...]) -> list:
    """Every cell of an array, by zarr's own indexing, in the order of the level."""
    reader = level._reader
    found = []
    for row, selection in enumerate(reader.plan()):
        slot = int(reader.state.table.slot[row])
        for cell, n in zip(
            reader.state.facts.grid.coordinates(selection.head.cells).tolist(),
            selection.head.cell_vertices.tolist(),
            strict=True,
        ):
            raw = value_at(array, (slot, *cell))
            found.append(np.frombuffer(raw, dtype).reshape(-1, *shape))
            assert len(found[-1]) in (0, n)
    return found


def test_zarr_reads_the_vertices(written: tuple[zvv.Repository, str]) -> None:
    repo, name = written
    dataset = repo.view()[name]
    array = zarr.open_group(raw_store(repo), mode="r", path=name)["0/vertices"]
    rows = stored_rows(array, dataset[0], dataset.vertex_dtype, (len(dataset.chunk_shape),))
    assert np.concatenate(rows).tobytes() == dataset[0].positions().tobytes()


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_zarr_reads_the_attributes(written: tuple[zvv.Repository, str], attribute: str) -> None:
    repo, name = written
    level = repo.view()[name][0]
    group = zarr.open_group(raw_store(repo), mode="r", path=name)["0/vertex_attributes"]
    array = group[attribute]
    dtype, shape = ATTRIBUTES[attribute]
    rows = np.concatenate(stored_rows(array, level, dtype, shape))
    has_it = sum(b.vertex_count for b in level.batches[: 2 if attribute in "value c" else 1])
    assert len(rows) == has_it
    assert rows.tobytes() == level.attribute(attribute)[:has_it].tobytes()
    assert np.dtype(array.attrs["dtype"]) == np.dtype(dtype)
    assert tuple(array.attrs["row_shape"]) == shape


def test_zarr_reads_the_table_of_batches(written: tuple[zvv.Repository, str]) -> None:
    repo, name = written
    level = repo.view()[name][0]
    array = zarr.open_group(raw_store(repo), mode="r", path=name)["0/batches/table"]
    assert array.shape == (metadata.CAPACITY // BUCKET,)
    table = BatchTable.decode(memoryview(value_at(array, (0,))))
    assert table.n_vertices.tolist() == [b.vertex_count for b in level.batches]
    assert [bytes(u) for u in table.uuid] == [b.uuid.bytes for b in level.batches]
    assert [tuple(lo) for lo in table.lo.tolist()] == [b.bounds[0] for b in level.batches]


def test_zarr_reads_the_indexes_of_batches(written: tuple[zvv.Repository, str]) -> None:
    repo, name = written
    level = repo.view()[name][0]
    array = zarr.open_group(raw_store(repo), mode="r", path=name)["0/batches/index"]
    read = level.read()
    done = 0
    for batch in level.batches:
        sections = [bytes(raw) for raw in array[batch.slot].tolist()]
        head = batches.decode_head(memoryview(sections[batches.CELLS]), 0)
        assert [bool(s) for s in sections[1:]] == [bool(n) for n in head.section_stop[1:]]
        pages = range(len(head.cell_page_end))
        parts = [columns.unpack(memoryview(sections[batches.FRAGMENTS + page])) for page in pages]
        rows = np.concatenate([p["object"] for p in parts])
        counts = np.concatenate([p["vertices"] for p in parts])
        ids = columns.unpack(memoryview(sections[batches.IDS]))["id"] if sections[1] else None
        of_batch = read.object_ids[done : done + batch.vertex_count]
        if ids is None:
            ids = np.arange(of_batch.min(), of_batch.max() + 1)
        assert np.repeat(ids[rows], counts).tolist() == of_batch.tolist()
        done += batch.vertex_count


@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
def test_every_document_is_one_that_zarr_makes_itself(
    written: tuple[zvv.Repository, str],
) -> None:
    store = raw_store(written[0])

    async def documents() -> dict[str, Any]:
        prototype = default_buffer_prototype()
        keys = [key async for key in store.list() if key.endswith("zarr.json")]
        return {key: json.loads((await store.get(key, prototype)).to_bytes()) for key in keys}

    for key, document in sync(documents()).items():
        node = zarr.open(store, path=key.removesuffix("zarr.json").rstrip("/"), mode="r")
        assert document["node_type"] == ("array" if isinstance(node, zarr.Array) else "group")
        if isinstance(node, zarr.Array):
            own = node.metadata.to_dict()
            known = ("shape", "chunk_grid", "codecs", "dimension_names", "fill_value", "data_type")
            for field in known:
                again = ArrayV3Metadata.from_dict(document).to_dict()[field]
                assert json.dumps(again, default=str) == json.dumps(own[field], default=str)


def test_a_group_lists_all_that_is_in_it(written: tuple[zvv.Repository, str]) -> None:
    repo, name = written
    root = zarr.open_group(raw_store(repo), mode="r", path=name)
    members = {path for path, _ in root["0"].members(max_depth=None)}
    assert members == {
        "vertices", "batches", "batches/index", "batches/table", "vertex_attributes",
        *(f"vertex_attributes/{a}" for a in ATTRIBUTES),
    }  # fmt: skip
    assert root.attrs["zarr_vectors"]["geometry_types"] == ["point_cloud"]


# --- lines and links ----------------------------------------------------------------------------


def of_kind(kind: str) -> zvv.Repository:
    """A dataset of lines or links under "g": two batches over several cells and blocks."""
    rng = np.random.default_rng(0)
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("g", kind=kind, bounds=([-50] * 2, [50] * 2), chunk_shape=[3.5] * 2)
        writer = tx.writer("g")
        for n in (300, 40):
            given: dict[str, Any] = {"dtype": "float32", "link_attributes": {"w": rng.random(n)}}
            points = np.clip(np.cumsum(rng.normal(0, 2, (n + 1, 2)), axis=0), -50, 50)
            rows = np.arange(n)
            if kind == "polyline":
                writer.append_polylines_sync([points], **given)
            elif kind == "skeleton":
                edges = np.stack([rows + 1, rng.integers(0, rows + 1)], axis=1)
                writer.append_graph_sync(points, edges, **given)
            else:
                writer.append_mesh_sync(points, rng.integers(0, n + 1, (n, 3)), **given)
    return repo


@pytest.mark.parametrize("kind", ["polyline", "skeleton", "mesh"])
def test_zarr_reads_links_and_their_values(kind: str) -> None:
    repo = of_kind(kind)
    dataset = repo.view()["g"]
    level, group = dataset[0], zarr.open_group(raw_store(repo), mode="r", path="g")["0"]
    assert group["link_attributes/w"].attrs["name"] == "w"
    assert ("links" in group) == (dataset.kind != "polyline")
    links, values, base = [], [], 0
    for selection in level._reader.plan():
        head, slot = selection.head, int(level._reader.state.table.slot[selection.row])
        index = level._reader.state.facts.grid.coordinates(head.cells).tolist()
        for at, cell in enumerate(index):
            n = int(head.cell_links[at])
            raw = value_at(group["link_attributes/w"], (slot, *cell))
            values.append(np.frombuffer(raw, "f8"))
            assert len(values[-1]) == n
            if dataset.kind != "polyline":
                width = group["links"].attrs["link_width"]
                raw = value_at(group["links"], (slot, *cell))
                rows = np.frombuffer(raw, "i4").reshape(-1, width)
                assert len(rows) == n
                links.append(rows + head.vertex_start[at] + base)
        base += int(head.vertex_start[-1])
    assert np.concatenate(values).tolist() == level.link_attribute("w").tolist()
    if links:
        assert np.concatenate(links).tolist() == level.links().tolist()


def test_the_order_of_lines_follows_from_what_the_format_says() -> None:
    repo = of_kind("polyline")
    level = repo.view()["g"][0]
    array = zarr.open_group(raw_store(repo), mode="r", path="g")["0/batches/index"]
    found: list[int] = []
    base = 0
    for batch in level.batches:
        sections = [bytes(raw) for raw in array[batch.slot].tolist()]
        head = batches.decode_head(memoryview(sections[batches.CELLS]), 0)
        pages = range(len(head.cell_page_end))
        parts = [columns.unpack(memoryview(sections[batches.FRAGMENTS + page])) for page in pages]
        rank = np.concatenate([part["rank"] for part in parts])
        ends = np.concatenate([part["ends"] for part in parts])
        stops = np.cumsum(np.concatenate([part["vertices"] for part in parts]))
        starts = [0, *stops.tolist()]
        assert ends.sum() == 1
        assert rank[ends == 1].tolist() == [len(rank) - 1]
        for at in np.argsort(rank).tolist():
            found += range(base + starts[at], base + starts[at + 1])
        base += batch.vertex_count
    assert level.read().vertex_ids.tolist() == found


# --- written by zarr ----------------------------------------------------------------------------

GRID = Grid.for_bounds(Box(np.zeros(2), np.full(2, 20.0)), (1.0, 1.0))
AXES = parse_axes(None, 2)


def array_of(document: dict[str, Any]) -> tuple[MemoryStore, zarr.Array]:
    store = MemoryStore()
    sync(
        store.set(
            "a/zarr.json",
            default_buffer_prototype().buffer.from_bytes(metadata.dumps(document)),
        )
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return store, zarr.open_array(store, path="a", mode="r+")


@pytest.mark.parametrize(("dtype", "shape"), [("f4", (2,)), ("f8", ()), ("?", ()), ("i2", (3,))])
def test_cells_that_zarr_writes_are_read(dtype: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    attribute = AttributeMeta("a", np.dtype(dtype), shape)
    store, array = array_of(arrays.attribute_array(GRID, AXES, attribute))
    index = np.unique(rng.integers(1024, 1050, (60, 2)), axis=0)
    counts = rng.integers(1, 30, len(index))
    rows = (rng.random((counts.sum(), *shape)) * 100).astype(dtype)
    for at, part in zip(index.tolist(), np.split(rows, np.cumsum(counts)[:-1]), strict=True):
        value = np.empty((1, 1, 1), object)
        value[0, 0, 0] = part.tobytes()
        array[5, at[0] : at[0] + 1, at[1] : at[1] + 1] = value[0]
    cells = index @ GRID.strides
    wanted = [Wanted(5, cells, counts, len(cells), int(counts.sum()))]
    target = Target.empty("a", attribute.row_bytes, wanted)
    read_rows(store, GRID, [target], Cache(100))
    assert target.out[HEADER:].tobytes() == rows.tobytes()


def test_an_empty_place_reads_as_nothing_through_zarr() -> None:
    attribute = AttributeMeta("a", np.dtype("f4"), ())
    store, array = array_of(arrays.attribute_array(GRID, AXES, attribute))
    cells = np.array([1030, 1031, 1040]) * GRID.strides[0] + 1030
    blocks = Blocks.of(cells, GRID)
    rows, order = np.arange(6, dtype="f4"), np.arange(6)
    codec = arrays.vertex_codec(np.dtype("f4"))
    for block, shard in encode_rows(rows, order, np.array([1, 2, 3]), blocks, GRID.places, codec):
        key = "/".join(map(str, ("a", "c", 7, *block)))
        sync(store.set(key, default_buffer_prototype().buffer.from_bytes(shard)))
    found = [bytes(raw) for raw in array[7, 1029:1042, 1030].tolist()]
    assert [len(raw) // 4 for raw in found] == [0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0]
    assert np.frombuffer(b"".join(found), "f4").tolist() == rows.tolist()


# --- warnings -----------------------------------------------------------------------------------


def test_no_warning_reaches_who_uses_the_package(tmp_path: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        repo = zvv.Repository.create(tmp_path / "r")
        with repo.transaction() as tx:
            tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [1, 1]))
            tx.writer("p").append_vertices_sync(
                np.random.default_rng(0).random((50, 2)), dtype="f4", attributes={"a": np.ones(50)}
            )
        for level in (repo.view()["p"][0], zvv.Repository.open(tmp_path / "r").view()["p"][0]):
            level.read(bbox=([0, 0], [0.5, 0.5]), attributes="all")
            level.objects[3]
            repr(level)
        with level.writer() as writer:
            writer.append_vertices_sync(np.zeros((1, 2), "f4"))
        store = repo.view()["p"].store
        assert sync(store.exists("0/vertices/zarr.json"))
        assert sync(store.get("0/vertices/zarr.json", default_buffer_prototype()))
