"""What is said of a snapshot is counted again: every way to be wrong is found and named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import _rich
import numpy as np
import pytest

import zv_versioned as zvv
from zv_versioned import _paths, _store, _writes
from zv_versioned.format import arrays, batches, cells, columns, shards
from zv_versioned.format.metadata import dumps
from zv_versioned.format.table import new_content_id, ranges_of
from zv_versioned.maintenance.indexes import WholeIndex, read_whole

PATH = "graph/0"


@pytest.fixture(scope="module")
def made() -> zvv.Repository:
    return _rich.make("memory://", kinds=("graph", "polyline"), n=80)


@pytest.fixture
def branch(made: zvv.Repository, request: pytest.FixtureRequest) -> str:
    """A branch that a test may ruin."""
    name = f"ruin-{len(made.list_branches())}"
    made.create_branch(name)
    return name


def said(repo: zvv.Repository, branch: str) -> list[str]:
    report = repo.fsck(branch)
    assert all(f.kind in ("inconsistent", "damaged") and f.remedy for f in report.findings)
    return [f"{f.place}: {f.what}" for f in report.findings]


def write(repo: zvv.Repository, branch: str, key: str, value: bytes) -> None:
    session = repo._backend.begin(branch)
    _writes.set_many(session.store, [(key, value)])
    repo._backend.publish(session, branch, "sabotage", {})


def test_a_branch_that_nobody_ruined_is_sound(made: zvv.Repository, branch: str) -> None:
    assert said(made, branch) == []


# ---- the table and the facts -------------------------------------------------


@pytest.mark.parametrize(
    "column",
    [
        "n_vertices", "n_objects", "n_new_objects", "n_fragments", "n_cells", "n_links",
        "n_removed_vertices", "n_removed_objects", "n_removed_links", "id_min", "id_max",
        "head_bytes",
    ],
)  # fmt: skip
def test_a_wrong_number_in_the_table_is_found(
    made: zvv.Repository, branch: str, column: str
) -> None:
    with made.transaction(branch) as tx, tx._staging("graph", 0) as stage:
        table = stage.table()
        wrong = table.scalars[column].copy()
        wrong[0] += -1 if column == "id_min" else 1
        stage.replaced(table.with_columns({column: wrong}, {}))
        stage.changes["sabotage"] = 1
    found = said(made, branch)
    assert any("graph" in text for text in found), found
    assert not any("polyline" in text for text in found)


@pytest.mark.parametrize("narrowed", [(0, 18), (1, 19)])
def test_values_outside_the_range_of_their_batch_are_found(narrowed: tuple[int, int]) -> None:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0], [9]))
        values = {"i": np.arange(20), "word": np.array([*"ab"] * 10, object)}
        tx.writer("p").append_vertices_sync(np.zeros((20, 1)), attributes=values)
    assert repo.fsck().ok
    for range_, ok in (((0, 19), True), (narrowed, False)):
        with repo.transaction() as tx, tx._staging("p", 0) as stage:
            table = stage.table()
            content, path = np.array([new_content_id()]), "vertex_attributes/i"
            ranges = {path: ranges_of(content, np.array([range_], "f8"))}
            stage.replaced(table.with_columns({}, {path: content}, ranges))
            stage.changes["sabotage"] = 1
        assert repo.fsck("main").ok == ok
    assert ["'i' lie outside the range" in text for text in said(repo, "main")] == [True]
    assert repo.fsck("main", read_data=False).ok


@pytest.mark.parametrize("column", ["n_fragments", "n_cells", "n_links", "n_removed_links"])
def test_wrong_numbers_are_corrected_in_a_commit_on_request(column: str) -> None:
    repo = _rich.make("memory://", kinds=("graph",), n=80)
    right = repo.view()["graph"][0]._reader.state.table
    with repo.transaction() as tx, tx._staging("graph", 0) as stage:
        table = stage.table()
        stage.replaced(table.with_columns({column: table.scalars[column] + 7}, {}))
        stage.changes["sabotage"] = 1
    tip = repo.resolve("main")
    assert not repo.fsck().ok
    assert repo.resolve("main") == tip  # nothing is corrected without being asked for
    report = repo.fsck(repair=True)
    assert "level 0 of dataset 'graph' on branch 'main'" in report.repaired[0]
    assert repo.log()[0].message == "fsck: counts corrected"
    assert repo.log()[0].parents == (tip,)
    assert repo.fsck("main").ok
    assert repo.view()["graph"][0]._reader.state.table.same_as(right)


@pytest.mark.parametrize("fact", ["vertex_count", "num_objects", "link_count", "max_object_id"])
def test_wrong_counts_of_a_level_are_found_and_corrected(fact: str) -> None:
    repo = _rich.make("memory://", kinds=("graph",), n=80)
    before = repo.view()["graph"][0]._reader.state.facts
    with repo.transaction() as tx, tx._staging("graph", 0) as stage:
        wrong = getattr(stage.facts, fact) - 5
        stage.facts = replace(stage.facts, **{fact: 3 if fact == "max_object_id" else wrong})
        stage.changes["sabotage"] = 1
    report = repo.fsck("main")
    assert [f.kind for f in report.findings] == ["inconsistent"], report
    repo.fsck(repair=True)
    now = repo.view()["graph"][0]._reader.state.facts
    assert replace(now, version=before.version) == before
    assert repo.fsck("main").ok


def test_a_box_that_is_not_that_of_the_vertices_is_found(made: zvv.Repository, branch: str) -> None:
    with made.transaction(branch) as tx, tx._staging("graph", 0) as stage:
        table = stage.table()
        lo = table.lo.copy()
        lo[1, 0] -= 0.5
        stage.replaced(replace(table, lo=lo, scalars={**table.scalars, "default_ids": table.slot}))
        stage.changes["sabotage"] = 1
    assert any("batch 1: its box" in text for text in said(made, branch))


def test_an_attribute_that_the_level_does_not_have_is_found(
    made: zvv.Repository, branch: str
) -> None:
    with made.transaction(branch) as tx, tx._staging("graph", 0) as stage:
        table = stage.table()
        ids = np.ones(len(table), np.int64)
        stage.replaced(table.with_columns({}, {"vertex_attributes/ghost": ids}))
        stage.changes["sabotage"] = 1
    assert any("ghost" in text for text in said(made, branch))


def test_a_document_that_does_not_fit_is_found(made: zvv.Repository, branch: str) -> None:
    grid = made.view()["graph"][0]._reader.state.facts.grid
    other = arrays.vertices_array(grid, made.view()["graph"].axes, np.dtype("f8"))
    write(made, branch, f"{PATH}/vertices/zarr.json", dumps(other))
    assert any("codecs" in text for text in said(made, branch))


# ---- indexes -----------------------------------------------------------------


def index_of(repo: zvv.Repository, ref: str, path: str, slot: int = 0) -> tuple[str, WholeIndex]:
    key = _paths.shard_key(_paths.join(path, "batches", "index"), slot, (0,))
    (raw,) = _store.get_many(repo.view(ref)._store, [(key, 0, -1)])
    return key, read_whole(raw)


def encoded(index: WholeIndex, ids: np.ndarray, **changes: Any) -> bytes:
    """An index as it is stored, with something changed."""
    whole = batches.BatchIndex(
        cells=index.head.cells,
        cell_vertices=index.head.cell_vertices,
        cell_fragments=index.head.cell_fragments,
        fragment_object=index.page.object,
        fragment_vertices=index.page.vertices,
        object_ids=ids,
        object_is_new=np.ones(len(ids), bool),
        object_fragments=index.counts,
        order=index.order,
        cell_links=index.head.cell_links if index.head.cell_links.any() else None,
        fragment_rank=index.page.rank,
        fragment_ends=index.page.ends,
    )
    places = batches.encode(replace(whole, **changes))
    return bytes(shards.pack(batches.SECTIONS, [(place, [cell]) for place, cell in places]))


def swapped(values: np.ndarray, a: int = 0, b: int = 1) -> np.ndarray:
    again = np.array(values)
    again[[a, b]] = again[[b, a]]
    return again


def mixed(values: np.ndarray) -> np.ndarray:
    """The same values in another order."""
    return swapped(values, 0, int(np.flatnonzero(values != values[0])[0]))


SABOTAGE: dict[str, tuple[str, Callable[[WholeIndex], dict[str, Any]]]] = {
    "cells do not ascend": ("graph/0", lambda i: {"cells": swapped(i.head.cells)}),
    "outside the grid": ("graph/0", lambda i: {"cells": i.head.cells + 2**50}),
    "add up to its vertices": (
        "graph/0",
        lambda i: {"cell_vertices": mixed(i.head.cell_vertices)},
    ),
    "fragment of another": ("graph/0", lambda i: {"fragment_object": mixed(i.page.object)}),
    "to no object": ("graph/0", lambda i: {"fragment_object": i.page.object + 1000}),
    "twice, or to none": (
        "graph/0", lambda i: {"order": np.concatenate((i.order[:1], i.order[:-1]))},
    ),
    "there twice": ("graph/0", lambda i: {"object_ids": np.arange(len(i.counts)) // 2}),
    "order of their ranks": ("polyline/0", lambda i: {"fragment_rank": i.page.rank[::-1]}),
    "does not end": ("polyline/0", lambda i: {"fragment_ends": np.zeros(len(i.page.ends), bool)}),
    "in lines, and in lines alone": (
        "polyline/0", lambda i: {"fragment_rank": None, "fragment_ends": None},
    ),
}  # fmt: skip


@pytest.mark.parametrize("phrase", SABOTAGE)
def test_an_index_that_contradicts_itself_is_found(
    made: zvv.Repository, branch: str, phrase: str
) -> None:
    path, change = SABOTAGE[phrase]
    key, index = index_of(made, branch, path)
    ids = made.view(branch)[path.split("/")[0]][0]._reader.ids([0])[0][0]
    write(made, branch, key, encoded(index, ids, **change(index)))
    found = said(made, branch)
    assert any(phrase in text and "batch 0" in text for text in found), found


def test_an_object_that_begins_twice_is_found(made: zvv.Repository, branch: str) -> None:
    key, index = index_of(made, branch, "polyline/0", 1)
    ids = made.view(branch)["polyline"][0]._reader.ids([0])[0][0][: len(index.counts)]
    assert len(ids) == len(index.counts)
    write(made, branch, key, encoded(index, ids))
    with made.transaction(branch) as tx, tx._staging("polyline", 0) as stage:
        table = stage.table()
        columns_ = {name: table.scalars[name].copy() for name in ("id_min", "id_max")}
        columns_["id_min"][1], columns_["id_max"][1] = ids[0], ids[-1]
        sizes = table.scalars["head_bytes"].copy()
        sizes[1] = index_of(made, branch, "polyline/0", 1)[1].head_bytes
        stage.replaced(table.with_columns({**columns_, "head_bytes": sizes}, {}))
        stage.changes["sabotage"] = 1
    assert any("begin in more than one batch" in text for text in said(made, branch))


# ---- data --------------------------------------------------------------------


def shard_of(repo: zvv.Repository, branch: str, array: str) -> tuple[str, list[tuple[int, bytes]]]:
    """One shard of an array, as its cells' payloads by place."""
    reader = repo.view(branch)[array.split("/")[0]][0]._reader
    (head,) = reader.heads([0])
    has = head.cell_links > 0 if array.endswith("links") else head.cell_vertices > 0
    grid = reader.state.facts.grid
    block, _ = grid.blocks(head.cells[has][:1])
    key = _paths.shard_key(array, 0, block[0].tolist())
    (raw,) = _store.get_many(repo.view(branch)._store, [(key, 0, -1)])
    start, stop = shards.read_index(raw, grid.places)
    return key, [
        (place, bytes(cells.decode(raw[start[place] : stop[place]])))
        for place in np.flatnonzero(start >= 0).tolist()
    ]


def put_back(
    repo: zvv.Repository, branch: str, key: str, payloads: list[tuple[int, bytes]]
) -> None:
    places = repo.view(branch)[key.split("/")[0]][0]._reader.state.facts.grid.places
    codec = arrays.vertex_codec(np.dtype("f4"))
    packed = shards.pack(places, [(place, [codec.encode(raw)]) for place, raw in payloads])
    write(repo, branch, key, bytes(packed))


def test_a_vertex_in_a_wrong_cell_is_found(made: zvv.Repository, branch: str) -> None:
    key, payloads = shard_of(made, branch, "graph/0/vertices")
    at = max(range(len(payloads)), key=lambda i: len(payloads[i][1]))
    place, raw = payloads[at]
    rows = np.frombuffer(raw, "f4").reshape(-1, 3).copy()
    rows[0] = (rows[0] + 50) % 100
    payloads[at] = place, rows.tobytes()
    put_back(made, branch, key, payloads)
    assert any("outside its cell" in text for text in said(made, branch))


def test_a_vertex_that_is_no_number_is_found(made: zvv.Repository, branch: str) -> None:
    key, payloads = shard_of(made, branch, "polyline/0/vertices")
    rows = np.frombuffer(payloads[0][1], "f4").copy()
    rows[0] = np.nan
    payloads[0] = payloads[0][0], rows.tobytes()
    put_back(made, branch, key, payloads)
    assert any("not finite" in text for text in said(made, branch))


def test_values_that_are_not_as_many_as_vertices_are_found(
    made: zvv.Repository, branch: str
) -> None:
    key, payloads = shard_of(made, branch, "graph/0/vertex_attributes/confidence")
    payloads[0] = payloads[0][0], payloads[0][1] + b"\0\0\0\0"
    put_back(made, branch, key, payloads)
    found = said(made, branch)
    assert any("batch 0" in text and "confidence" in text for text in found), found


def test_a_code_that_the_dictionary_does_not_have_is_found(
    made: zvv.Repository, branch: str
) -> None:
    key, payloads = shard_of(made, branch, "graph/0/vertex_attributes/part")
    codes = np.frombuffer(payloads[0][1], "i4").copy()
    codes[0] = 99
    payloads[0] = payloads[0][0], codes.tobytes()
    put_back(made, branch, key, payloads)
    assert any("outside its dictionary" in text for text in said(made, branch))


@pytest.mark.parametrize(
    ("phrase", "value"),
    [("does not have", 10_000), ("does not have", -10_000)],
)
def test_a_link_to_a_vertex_that_is_not_there_is_found(
    made: zvv.Repository, branch: str, phrase: str, value: int
) -> None:
    key, payloads = shard_of(made, branch, "graph/0/links")
    rows = np.frombuffer(payloads[0][1], "i4").copy()
    rows[0] = value
    payloads[0] = payloads[0][0], rows.tobytes()
    put_back(made, branch, key, payloads)
    assert any(phrase in text for text in said(made, branch))


def test_a_link_in_a_wrong_cell_is_found(made: zvv.Repository, branch: str) -> None:
    reader = made.view(branch)["graph"][0]._reader
    (head,) = reader.heads([0])
    key, payloads = shard_of(made, branch, "graph/0/links")
    rows = np.frombuffer(payloads[0][1], "i4").copy()
    block, place = reader.state.facts.grid.blocks(head.cells)
    here = (place == payloads[0][0]) & (block == block[head.cell_links > 0][0]).all(axis=1)
    last = int(head.vertex_start[-1] - head.vertex_start[:-1][here][0]) - 1
    assert last > head.cell_vertices[here][0]
    rows[:2] = last, last - 1
    payloads[0] = payloads[0][0], rows.tobytes()
    put_back(made, branch, key, payloads)
    assert any("another cell" in text for text in said(made, branch))


def test_removed_rows_that_are_none_are_found(made: zvv.Repository, branch: str) -> None:
    cell = batches.CODEC.encode(columns.pack({"row": np.array([5, 4], "<i8")}))
    write(made, branch, f"{PATH}/batches/removed/c/0", cell)
    assert any("ascending rows" in text for text in said(made, branch))


def test_a_group_with_a_member_that_is_not_there_is_found(
    made: zvv.Repository, branch: str
) -> None:
    from zv_versioned._groups import encode_groups

    cell = batches.CODEC.encode(encode_groups({"odd": np.array([1, 3])}))
    write(made, branch, f"{PATH}/groups/c/0", cell)
    assert any("groups ['odd']" in text for text in said(made, branch))
