"""Levels as tables: pandas, Arrow, polars and DuckDB see what `read` gives, also as a stream."""

from __future__ import annotations

import json
import sys
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_link_attributes import KINDS, drawn
from test_queries import Whole, draw_query

import zv_versioned as zvv
from zv_versioned.reading import reader as _read


@pytest.fixture(scope="module", params=["point_cloud", "streamline", "graph"])
def whole(request: pytest.FixtureRequest) -> Whole:
    return Whole(request.param)


@pytest.fixture(scope="module")
def points() -> Whole:
    return Whole("point_cloud")


def same(found: Any, expected: np.ndarray) -> None:
    """Equal values, where a missing text may be None or NaN."""
    values = np.asarray(found)
    if expected.dtype == object:
        values = np.array([None if v is None or v != v else v for v in values.tolist()], object)
    np.testing.assert_array_equal(values, expected)


def flat(column: Any) -> np.ndarray:
    """The values of an Arrow column, those of lists one after the other."""
    array = column.combine_chunks()
    if pa.types.is_fixed_size_list(array.type):
        array = array.flatten()
    return array.to_numpy(zero_copy_only=False)


# ---- pandas ------------------------------------------------------------------------------------


def test_a_frame_has_what_read_gives(whole: Whole) -> None:
    frame, read = whole.level.to_pandas(), whole.read
    np.testing.assert_array_equal(frame.index, read.vertex_ids)
    assert frame.index.name == "vertex_id"
    np.testing.assert_array_equal(frame[["x", "y", "z"]].to_numpy(), read.positions)
    same(frame["object_id"], read.object_ids)
    for name, values in read.attributes.items():
        if values.ndim == 1:
            same(frame[name], values)
        else:
            same(frame[[f"{name}_{i}" for i in range(values.shape[1])]], values)
    if read.parts is not None:
        counts = np.diff(read.parts)
        same(frame["part"], np.repeat(np.arange(len(counts)), counts))
    else:
        assert "part" not in frame
    assert frame.attrs["snapshot_id"] == whole.level._dataset._view.snapshot_id
    assert frame.attrs["branch"] == "main"


@settings(max_examples=40)
@given(data=st.data())
def test_frames_and_tables_take_the_filters_of_read(whole: Whole, data: st.DataObject) -> None:
    query, _ = draw_query(data, whole)
    names = data.draw(st.lists(st.sampled_from(whole.level.attribute_names), unique=True))
    read = whole.level.read(attributes=names, **query)
    frame = whole.level.to_pandas(attributes=names, **query)
    table = whole.level.to_arrow(attributes=names, **query)
    same(frame.index, read.vertex_ids)
    same(table["vertex_id"], read.vertex_ids)
    for name in names:
        if read.attributes[name].ndim == 1:
            same(frame[name], read.attributes[name])
            same(table[name].to_numpy(zero_copy_only=False), read.attributes[name])
    assert not set(whole.level.attribute_names) - set(names) & set(table.column_names)


def objects_and_links() -> zvv.Repository:
    repo, _ = drawn("graph")
    level = repo.view()["p"][0]
    with repo.transaction() as tx:
        tx.writer("p").add_object_attribute_sync("name", [f"n{i}" for i in level.object_ids()])
        tx.writer("p").add_object_attribute_sync(
            "object_id", np.arange(2.0 * level.num_objects).reshape(-1, 2)
        )
        tx.writer("p").remove_objects_sync(level.object_ids()[2])
    return repo


def test_objects_are_a_table_too() -> None:
    level = objects_and_links().view()["p"][0]
    frame, table = level.to_pandas("objects"), level.to_arrow("objects")
    same(frame.index, level.object_ids())
    same(table["object_id"], level.object_ids())
    assert frame["name"].tolist() == [f"n{i}" for i in level.object_ids()]
    assert frame.columns.tolist() == ["name", "attribute_object_id_0", "attribute_object_id_1"]
    assert table.column_names == ["object_id", "name", "attribute_object_id"]
    some = level.object_ids()[[5, 1]]
    assert level.to_pandas("objects", objects=some, attributes=["name"]).index.tolist() == sorted(
        some
    )
    with pytest.raises(zvv.ArrayError, match="not bbox, limit"):
        level.to_pandas("objects", bbox=([0] * 3, [1] * 3), limit=3)
    with pytest.raises(zvv.NotFoundError, match="no object 99999"):
        level.to_arrow("objects", objects=99999)


@pytest.mark.parametrize("kind", KINDS)
def test_links_are_a_table_of_vertex_ids(kind: str) -> None:
    level = drawn(kind)[0].view()["p"][0]
    names = ["a", "b", "c"] if kind == "mesh" else ["source", "target"]
    frame, table = level.to_pandas("links"), level.to_arrow("links")
    by_number = {
        n: set(link)
        for n, link in zip(level.link_attribute("number"), level.links().tolist(), strict=True)
    }
    ends = frame[names].to_numpy()
    assert len(frame) == level.link_count
    assert all(
        set(link) == by_number[n] for n, link in zip(frame["number"], ends.tolist(), strict=True)
    )
    assert table.column_names == [*names, "number"]
    same(table[names[1]], ends[:, 1])
    box = ([0] * 3, [40] * 3)
    part = level.read(bbox=box, link_attributes="all")
    links = part.edges if part.faces is None else part.faces
    found = level.to_pandas("links", bbox=box)
    same(found[names], part.vertex_ids[links])
    same(found["number"], part.link_attributes["number"])


# ---- Arrow -------------------------------------------------------------------------------------


def test_an_arrow_table_has_lists_for_coordinates_(points: Whole) -> None:
    table = points.level.to_arrow()
    schema = table.schema
    assert schema.field("position").type == pa.list_(pa.float32(), 3)
    assert schema.field("color").type == pa.list_(pa.float64(), 3)
    assert schema.field("word").type == pa.large_string()
    assert schema.field("day").type == pa.timestamp("s")
    assert schema.field("good").type == pa.bool_()
    np.testing.assert_array_equal(flat(table["position"]), points.read.positions.reshape(-1))
    facts = json.loads(schema.metadata[b"zv_versioned"])
    view = points.level._dataset._view
    assert facts["snapshot_id"] == view.snapshot_id
    assert facts["axes"][0]["name"] == "x"
    assert facts["level"] == 0


def test_numbers_in_an_arrow_table_are_those_that_were_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    level = drawn("graph")[0].view()["p"][0]
    from zv_versioned.interop import tables

    read: list[Any] = []
    gather = tables.gather

    def watched(*args: Any, **options: Any) -> Any:
        read.append(gather(*args, **options))
        return read[-1]

    monkeypatch.setattr(tables, "gather", watched)
    table = level.to_arrow()
    numbers = table["position"].chunk(0).flatten().to_numpy(zero_copy_only=True)
    assert np.shares_memory(numbers, read[0].positions)


@settings(max_examples=40)
@given(data=st.data(), window=st.sampled_from([20, 100, 1 << 20]), rows=st.sampled_from([None, 7]))
def test_a_stream_has_the_rows_of_the_table(
    whole: Whole, data: st.DataObject, window: int, rows: int | None
) -> None:
    query, _ = draw_query(data, whole)
    table = whole.level.to_arrow(**query)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_read, "WINDOW_VERTICES", window)
        reader = whole.level.to_arrow_batches(rows=rows, **query)
        assert reader.schema.equals(table.schema, check_metadata=True)
        batches = list(reader)
    streamed = pa.Table.from_batches(batches, table.schema)
    for name in table.column_names:
        np.testing.assert_array_equal(flat(streamed[name]), flat(table[name]))
    if rows is not None:
        assert all(len(batch) <= rows for batch in batches)


def test_a_stream_reads_as_it_is_consumed(monkeypatch: pytest.MonkeyPatch, points: Whole) -> None:
    monkeypatch.setattr(_read, "WINDOW_VERTICES", 50)
    read: list[int] = []
    read_window = _read.LevelReader.read_window

    def watched(self: _read.LevelReader, *arguments: Any, **options: Any) -> Any:
        found = read_window(self, *arguments, **options)
        read.append(len(found[0]))
        return found

    monkeypatch.setattr(_read.LevelReader, "read_window", watched)
    stream = points.level.to_arrow_batches(attributes=[])
    assert sum(read) == 0
    stream.read_next_batch()
    assert 0 < sum(read) < points.level.vertex_count / 2


def test_a_level_without_vertices_is_an_empty_table() -> None:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="polyline", bounds=([0, 0], [1, 1]), axes=["u", "v"])
    level = repo.view()["p"][0]
    table = level.to_arrow()
    assert (table.num_rows, table.column_names) == (
        0,
        ["vertex_id", "object_id", "part", "position"],
    )
    assert level.to_arrow_batches().read_all().schema.equals(table.schema)
    assert level.to_pandas().columns.tolist() == ["object_id", "part", "u", "v"]
    assert level.to_arrow("links").num_rows == 0


def test_names_that_are_taken_are_told_apart() -> None:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [1, 1]))
        values = {"x": [1], "object_id": [2], "attribute_x": [3]}
        tx.writer("p").append_vertices_sync(np.zeros((1, 2), "f4"), attributes=values)
    level = repo.view()["p"][0]
    frame = level.to_pandas()
    assert frame.iloc[0].to_dict() == {
        "object_id": 0,
        "x": 0,
        "y": 0,
        "attribute_x": 3,
        "attribute_object_id": 2,
        "attribute_attribute_x": 1,
    }
    assert level.to_arrow().column_names[3:] == frame.columns.tolist()[3:]


# ---- those that read Arrow ---------------------------------------------------------------------


def test_polars_reads_a_level(points: Whole) -> None:
    for frame in (pl.from_arrow(points.level.to_arrow()), pl.DataFrame(points.level)):
        same(frame["vertex_id"].to_numpy(), points.read.vertex_ids)
        same(frame["position"].to_numpy(), points.read.positions)
        same(frame["word"].to_list(), points.read.attributes["word"])
        heavy = frame.filter(pl.col("weight") >= 1, pl.col("good"))
        rows = points.level.read(where=[("weight", ">=", 1), ("good", "==", True)])
        # To polars NaN is larger than any number.
        assert set(rows.vertex_ids) == set(heavy.filter(~pl.col("weight").is_nan())["vertex_id"])


def test_duckdb_queries_a_level(points: Whole) -> None:
    table = points.level.to_arrow()
    reader = points.level.to_arrow_batches(rows=50)
    query = "select object_id, count(*) n, max(position[1]) x from {} group by 1 order by 1"
    with duckdb.connect() as connection:
        for name, relation in (("whole", table), ("stream", reader)):
            connection.register(name, relation)
            found = connection.sql(query.format(name)).fetchnumpy()
            ids, counts = np.unique(points.read.object_ids, return_counts=True)
            same(found["object_id"], ids)
            same(found["n"], counts)
            largest = [points.read.positions[points.read.object_ids == i, 0].max() for i in ids]
            same(found["x"], np.array(largest))


def test_a_parquet_file_of_a_table_is_imported_again(points: Whole, tmp_path: Any) -> None:
    from zv_versioned.interop.parquet import import_parquet

    pq.write_table(points.level.to_arrow(attributes=["layer"]), tmp_path / "t.parquet")
    repo = zvv.Repository.create("memory://")
    import_parquet(repo, tmp_path / "t.parquet", "again")
    again = repo.view()["again"][0].read(attributes="all")
    np.testing.assert_array_equal(
        sorted(map(tuple, again.positions)), sorted(map(tuple, points.read.positions))
    )
    assert sorted(again.attributes["layer"]) == sorted(points.read.attributes["layer"])


# ---- what is wrong -----------------------------------------------------------------------------


def test_a_wrong_question_is_refused(points: Whole) -> None:
    level = points.level
    with pytest.raises(zvv.ArrayError, match="'vertices', 'links', 'objects', got 'edges'"):
        level.to_pandas("edges")
    with pytest.raises(zvv.MetadataError, match="has no links"):
        level.to_arrow("links")
    with pytest.raises(zvv.NotFoundError, match="'nothing'"):
        level.to_arrow(attributes=["nothing"])
    with pytest.raises(zvv.ArrayError, match="rows must be"):
        level.to_arrow_batches(rows=0)
    with pytest.raises(zvv.ArrayError, match="reversed"):
        level.to_arrow_batches(bbox=([1] * 3, [0] * 3))
    with pytest.raises(TypeError, match="box"):
        level.to_arrow(box=([0] * 3, [1] * 3))  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("module", "method", "extra"),
    [
        ("pandas", "to_pandas", "pandas"),
        ("pyarrow", "to_arrow", "arrow"),
        ("pyarrow", "to_arrow_batches", "arrow"),
    ],
)
def test_a_package_that_is_missing_is_asked_for(
    points: Whole, monkeypatch: pytest.MonkeyPatch, module: str, method: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        zvv.MissingExtraError, match=rf"{module}.*'zv-versioned\[{extra}\]'"
    ) as caught:
        getattr(points.level, method)()
    assert isinstance(caught.value, ImportError)
    assert caught.value.name == module
