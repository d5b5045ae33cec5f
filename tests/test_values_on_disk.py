"""Attributes, removals and groups as docs/format.md has them: read by zarr and numpy alone."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
import zarr

import zv_versioned as zvv

N = (60, 45)


def columns(payload: bytes) -> dict[str, np.ndarray]:
    """A table of columns, by its definition."""
    magic, length = struct.unpack_from("<4sI", payload)
    assert magic == b"ZVC1"
    offset = 8 + length
    found = {}
    for name, dtype, shape in json.loads(payload[8:offset]):
        size = np.dtype(dtype).itemsize * int(np.prod(shape))
        found[name] = np.frombuffer(payload[offset : offset + size], dtype).reshape(shape)
        offset += size + -size % 8
    return found


def cell(array: Any, *index: int) -> bytes:
    return array[tuple(slice(i, i + 1) for i in index)].reshape(-1)[0]


@pytest.fixture
def repo() -> zvv.Repository:
    rng = np.random.default_rng(0)
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="polyline", bounds=([-20, 0], [20, 40]), chunk_shape=[10, 10])
        for n in N:
            lines = [rng.uniform([-20, 0], [20, 40], (5, 2)).astype("f4") for _ in range(n // 5)]
            tx.writer("p").append_polylines_sync(lines)
    with repo.transaction() as tx:
        writer = tx.writer("p")
        writer.add_attribute_sync("half", np.linspace(0, 1, sum(N)).astype("f2"))
        writer.add_attribute_sync("word", rng.choice(["axon", "größe"], sum(N)))
        writer.add_attribute_sync("day", np.arange(sum(N)).astype("M8[D]"))
        links = np.arange(sum(N) * 4 // 5, dtype="i2")
        writer.add_link_attribute_sync("step", np.stack([links, -links], axis=1))
        writer.add_object_attribute_sync("name", np.array(["a", None, "b"] * (sum(N) // 15)))
        writer.add_object_attribute_sync("size", np.arange(sum(N) // 5) / 2)
        writer.add_group_sync("größe", [3, 1])
        writer.add_group_sync("all", np.arange(sum(N) // 5))
    return repo


def opened(repo: zvv.Repository) -> Any:
    return zarr.open_group(repo.view()._store, mode="r", path="p/0")


def of_cells(array: Any) -> tuple[list[bytes], list[int]]:
    """Every cell that there is, by slot and in C order, and the slot of each."""
    # The grid reaches 1,024 cells beyond the bounds each way: look where they are.
    cells, slots = [], []
    for slot in range(len(N)):
        for x in range(1016, 1040):
            for raw in array[slot, x, 1016:1040].tolist():
                if raw:
                    cells.append(bytes(raw))
                    slots.append(slot)
    return cells, slots


def test_zarr_reads_values_of_vertices_and_links(repo: zvv.Repository) -> None:
    group, level = opened(repo), repo.view()["p"][0]
    for path, shape, values in (
        ("vertex_attributes/half", (), level.attribute("half")),
        ("vertex_attributes/day", (), level.attribute("day").view("i8")),
        ("link_attributes/step", (2,), level.link_attribute("step")),
    ):
        array = group[path]
        dtype = np.dtype(array.attrs["dtype"])
        cells, _ = of_cells(array)
        found = np.concatenate([np.frombuffer(raw, dtype).reshape(-1, *shape) for raw in cells])
        np.testing.assert_array_equal(found, values)
        assert tuple(array.attrs["row_shape"]) == shape
    assert group["vertex_attributes/day"].attrs["logical"] == "datetime64[D]"
    assert "logical" not in group["vertex_attributes/half"].attrs


def test_zarr_reads_text_as_codes_and_dictionaries(repo: zvv.Repository) -> None:
    group, level = opened(repo), repo.view()["p"][0]
    array = group["vertex_attributes/word"]
    assert (array.attrs["dtype"], array.attrs["logical"]) == ("int32", "str")
    found = []
    for raw, slot in zip(*of_cells(array), strict=True):
        table = columns(cell(group["dictionaries/vertex_attributes/word"], slot))
        ends = table["end"].tolist()
        assert ends == [4, 4 + len("größe".encode())]
        text = table["text"].tobytes()
        words = [text[a:b].decode() for a, b in zip([0, *ends], ends, strict=False)]
        found += [words[code] for code in np.frombuffer(raw, "<i4").tolist()]
    assert found == level.attribute("word").tolist()


def test_zarr_reads_values_of_objects(repo: zvv.Repository) -> None:
    group, level = opened(repo), repo.view()["p"][0]
    sizes = [np.frombuffer(cell(group["object_attributes/size"], slot), "f8") for slot in (0, 1)]
    assert [len(part) for part in sizes] == [n // 5 for n in N]
    np.testing.assert_array_equal(np.concatenate(sizes), level.object_attribute("size"))
    codes = np.frombuffer(cell(group["object_attributes/name"], 0), "<i4")
    assert codes[:3].tolist() == [0, -1, 1]


def test_zarr_reads_what_was_removed_and_the_groups(repo: zvv.Repository) -> None:
    with repo.transaction() as tx:
        tx.writer("p").remove_objects_sync([0, 3, 14])
    group = opened(repo)
    assert columns(cell(group["batches/removed"], 0))["row"].tolist() == [0, 3]
    assert columns(cell(group["batches/removed"], 1))["row"].tolist() == [2]
    table = columns(cell(group["batches/table"], 0))
    assert table["n_removed_objects"].tolist() == [2, 1]
    assert table["n_removed_vertices"].tolist() == [10, 5]
    assert table["n_removed_links"].tolist() == [8, 4]
    assert (table["content:batches/removed"] != 0).all()
    assert (table["content:vertex_attributes/half"] != 0).all()
    groups = columns(cell(group["groups"], 0))
    assert groups["name"].tobytes().decode() == "allgröße"
    assert groups["name_end"].tolist() == [3, 3 + len("größe".encode())]
    ids = sorted({*range(sum(N) // 5)} - {0, 3, 14})
    assert groups["member"].tolist() == [*ids, 1]
    assert groups["member_end"].tolist() == [len(ids), len(ids) + 1]
    facts = group.attrs["zv_versioned"]
    assert facts["groups"] != 0
    assert facts["link_count"] == sum(N) * 4 // 5 - 12
    assert facts["vertex_attributes"]["word"] == {
        "dtype": "int32",
        "row_shape": [],
        "logical": "str",
    }


def test_what_is_dropped_leaves_no_array_behind(repo: zvv.Repository) -> None:
    with repo.transaction() as tx:
        writer = tx.writer("p")
        writer.add_attribute_sync("day", np.zeros(sum(N)))
        writer.add_attribute_sync("word", np.zeros(sum(N)))
        writer.drop_attribute_sync("half")
        writer.drop_attribute_sync("name", "object")
    group = opened(repo)
    members = {path for path, _ in group.members(max_depth=None)}
    assert "vertex_attributes/half" not in members
    gone = {"dictionaries/vertex_attributes/word", "dictionaries/object_attributes/name"}
    assert gone & members == set()
    assert group["vertex_attributes/day"].attrs["dtype"] == "float64"
    assert "logical" not in group["vertex_attributes/day"].attrs
