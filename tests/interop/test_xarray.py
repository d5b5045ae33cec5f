"""Levels as xarray Datasets: lazy, the same numbers as `read`, and written back."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from test_link_attributes import KINDS, drawn

import zv_versioned as zvv
from zv_versioned.interop.xarray import ZVBackendEntrypoint
from zv_versioned.reading.reader import LevelReader

ROOT = Path(__file__).resolve().parents[2]
SIZES = (300, 1, 120)
TOTAL = sum(SIZES)
AXES = [{"name": name, "type": "space", "unit": "nanometer"} for name in "xyz"]


def filled(location: Any = "memory://") -> zvv.Repository:
    """Three batches with attributes of several forms, some without values."""
    rng = np.random.default_rng(2)
    repo = zvv.Repository.create(location)
    with repo.transaction() as tx:
        tx.create_dataset(
            "p", kind="point_cloud", bounds=([0] * 3, [10] * 3), axes=AXES, metadata={"by": "me"}
        )
        for number, size in enumerate(SIZES):
            attributes = {"a": rng.normal(size=size), "v": rng.normal(size=(size, 2)).astype("f4")}
            if number != 1:
                attributes["n"] = rng.integers(0, 9, size)
            tx.writer("p").append_vertices_sync(
                rng.uniform(0, 10, (size, 3)).astype("f4"),
                object_ids=rng.integers(0, 30, size) * 7 + 1000 * number,
                attributes=attributes,
            )
    return repo


@pytest.fixture(scope="module")
def level() -> zvv.Level:
    return filled().view()["p"][0]


@pytest.fixture(scope="module")
def expected(level: zvv.Level) -> dict[str, np.ndarray]:
    """What `read` gives, under the names of the variables."""
    whole = level.read(attributes="all")
    slots = np.repeat([batch.slot for batch in level.batches], SIZES)
    return {
        "positions": whole.positions,
        **dict(zip("xyz", whole.positions.T, strict=True)),
        "object_id": whole.object_ids,
        "vertex_id": whole.vertex_ids,
        "batch": slots,
        **whole.attributes,
    }


def test_a_dataset_has_all_that_read_gives(
    level: zvv.Level, expected: dict[str, np.ndarray]
) -> None:
    ds = level.to_xarray()
    assert set(ds.variables) == {*expected, "axis", "objects"}
    assert ds.sizes == {"vertex": TOTAL, "axis": 3, "v_channel": 2, "object": level.num_objects}
    for name, values in expected.items():
        np.testing.assert_array_equal(ds[name].values, values, err_msg=name)
        assert ds[name].dtype == values.dtype
    np.testing.assert_array_equal(ds["objects"].values, level.object_ids())
    assert ds["axis"].values.tolist() == ["x", "y", "z"]


def test_a_dataset_says_where_it_is_from(level: zvv.Level) -> None:
    ds = level.to_xarray()
    assert ds.attrs == {
        "repository": "memory://",
        "snapshot_id": level._dataset._view.snapshot_id,
        "branch": "main",
        "dataset": "p",
        "level": 0,
        "kind": "point_cloud",
        "metadata": '{"by": "me"}',
    }
    assert [ds[name].attrs["units"] for name in ("x", "z", "positions")] == ["nanometer"] * 3
    pinned = level._dataset._view._repository.view(ds.attrs["snapshot_id"])
    assert "branch" not in pinned["p"][0].to_xarray().attrs


keys = st.one_of(
    st.integers(-TOTAL, TOTAL - 1),
    st.slices(TOTAL),
    st.lists(st.integers(-TOTAL, TOTAL - 1), max_size=20),
    st.lists(st.booleans(), min_size=TOTAL, max_size=TOTAL).map(np.array),
)


@given(
    key=keys, again=st.one_of(st.none(), st.slices(5)), name=st.sampled_from(["x", "batch", "n"])
)
def test_what_is_selected_lazily_is_what_numpy_selects(
    level: zvv.Level, expected: dict[str, np.ndarray], key: Any, again: Any, name: str
) -> None:
    found = level.to_xarray()[name][key]
    values = expected[name][key]
    if again is not None and values.ndim:
        found, values = found[again], values[again]
    np.testing.assert_array_equal(found.values, values)


@given(key=keys, other=st.one_of(st.integers(0, 1), st.slices(2), st.just([1, 0, 1])))
def test_both_dimensions_of_an_attribute_are_selected_independently(
    level: zvv.Level, expected: dict[str, np.ndarray], key: Any, other: Any
) -> None:
    found = level.to_xarray()["v"].isel(vertex=key, v_channel=other)
    step = expected["v"][key]
    np.testing.assert_array_equal(found.values, step[..., other])


def test_points_picked_one_by_one_are_found(
    level: zvv.Level, expected: dict[str, np.ndarray]
) -> None:
    at = xr.DataArray([5, 400, 5], dims="pick")
    axis = xr.DataArray([0, 2, 1], dims="pick")
    found = level.to_xarray()["positions"].isel(vertex=at, axis=axis)
    np.testing.assert_array_equal(found.values, expected["positions"][at.values, axis.values])


def test_nothing_is_read_before_it_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    level = filled().view()["p"][0]
    read: list[str] = []
    rows_of = LevelReader.rows_of

    def watched(self: LevelReader, array: str, *rest: Any) -> np.ndarray:
        read.append(array)
        return rows_of(self, array, *rest)

    monkeypatch.setattr(LevelReader, "rows_of", watched)
    ds = level.to_xarray()
    repr(ds)
    part = ds.isel(vertex=slice(10, 20))
    chunked = ds.chunk(vertex=100)
    assert read == []
    assert part["a"].values.shape == (10,)
    assert read == ["vertex_attributes/a"]
    chunked["n"].sum().compute()
    assert set(read) == {"vertex_attributes/a", "vertex_attributes/n"}
    read.clear()
    assert (ds["a"].values == ds["a"].values).all()
    assert read == ["vertex_attributes/a"]


def test_chunks_follow_the_batches_unless_others_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, expected: dict[str, np.ndarray]
) -> None:
    level = filled().view()["p"][0]
    monkeypatch.setattr("zv_versioned.interop.xarray.CHUNK_VERTICES", 150)
    ds = xr.open_dataset(level, engine=ZVBackendEntrypoint, chunks={})
    sizes = ds.chunksizes["vertex"]
    assert sum(sizes) == TOTAL
    assert 300 in np.cumsum(sizes)
    assert max(sizes) <= 150
    np.testing.assert_array_equal(ds["positions"].values, expected["positions"])
    assert level.to_xarray().chunk(vertex=200).chunksizes["vertex"] == (200, 200, 21)


# ---- attributes that are called as something else ----------------------------------------------


def test_names_that_are_taken_are_told_apart() -> None:
    repo = zvv.Repository.create("memory://")
    names = ["x", "batch", "vertex", "vertex_x", "ok", "objects", "positions"]
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [1, 1]), axes=["x", "object_id"])
        tx.writer("p").append_vertices_sync(
            np.array([[0, 1]], "f4"), attributes={name: [i] for i, name in enumerate(names)}
        )
    ds = repo.view()["p"][0].to_xarray()
    assert float(ds["x"][0]) == 0
    assert float(ds["axis_object_id"][0]) == 1
    assert ds["axis"].values.tolist() == ["x", "object_id"]
    shown = {
        ds[n].attrs.get("zv_attribute", n): int(ds[n][0]) for n in ds.data_vars if n != "positions"
    }
    assert shown == {name: i for i, name in enumerate(names)}
    assert "ok" in ds
    result = ds.zv.to_zv(repo, "copy", axes=["x", "object_id"], object_ids=None)
    assert result.vertices_committed == 1
    assert repo.view()["copy"][0].attribute_names == sorted(names)


# ---- values of every kind ----------------------------------------------------------------------


def varied() -> zvv.Repository:
    """Text, times and attributes of objects; one object is removed."""
    repo = zvv.Repository.create("memory://")
    positions = np.random.default_rng(5).uniform(0, 9, (12, 2)).astype("f4")
    days = np.arange("2020-01-01", "2020-01-13", dtype="datetime64[D]")
    values = {
        "kind": np.array(["ä", "b", None] * 4, object),
        "day": days,
        "at": days.astype("datetime64[us]"),
        "fine": np.arange(12).astype("timedelta64[ps]"),
    }
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0] * 2, [9] * 2))
        writer = tx.writer("p")
        writer.append_vertices_sync(positions, object_ids=np.arange(12) // 3, attributes=values)
        writer.append_vertices_sync(positions, object_ids=np.arange(12) // 3 + 10)
        writer.add_object_attribute_sync("name", list("abcdefgh"))
        writer.add_object_attribute_sync("kind", np.arange(16.0).reshape(8, 2))
    with repo.transaction() as tx:
        tx.writer("p").remove_objects_sync([1, 12])
    return repo


def test_text_times_and_values_of_objects_are_variables_too() -> None:
    level = varied().view()["p"][0]
    ds = level.to_xarray()
    assert ds.sizes["vertex"] == 18
    assert ds.sizes["object"] == 6
    whole = level.read(attributes="all")
    for name in ("kind", "at"):
        np.testing.assert_array_equal(ds[name].values, whole.attributes[name])
        assert ds[name].dtype == whole.attributes[name].dtype
    # xarray knows no days and no picoseconds.
    assert ds["day"].dtype == "datetime64[s]"
    np.testing.assert_array_equal(ds["day"].values, whole.attributes["day"])
    assert ds["fine"].dtype == np.int64
    np.testing.assert_array_equal(ds["fine"].values, whole.attributes["fine"].astype("i8"))
    np.testing.assert_array_equal(ds["name"].values, level.object_attribute("name"))
    np.testing.assert_array_equal(ds["object_kind"].values, level.object_attribute("kind"))
    assert ds["object_kind"].dims == ("object", "object_kind_channel")
    assert ds["name"][[4, 1]].values.tolist() == [level.object_attribute("name")[i] for i in (4, 1)]
    for part in (slice(3, 15), slice(None, None, -4), [7, 2]):
        np.testing.assert_array_equal(ds["kind"][part].values, whole.attributes["kind"][part])
        np.testing.assert_array_equal(ds["object_id"][part].values, whole.object_ids[part])
    xr.testing.assert_identical(ds.chunk(vertex=5).compute(), ds.load())


@pytest.mark.parametrize("kind", KINDS)
def test_links_and_faces_are_variables_too(kind: str) -> None:
    repo, _ = drawn(kind)
    with repo.transaction() as tx:
        tx.writer("p").remove_objects_sync(repo.view()["p"][0].object_ids()[1:3])
    level = repo.view()["p"][0]
    ds = level.to_xarray()
    name, dims = ("faces", ("face", "corner")) if kind == "mesh" else ("links", ("link", "end"))
    assert ds[name].dims == dims
    links, numbers = level.links(), level.link_attribute("number")
    np.testing.assert_array_equal(ds[name].values, links)
    np.testing.assert_array_equal(ds["number"].values, numbers)
    np.testing.assert_array_equal(ds["positions"].values[ds[name].values], level.positions()[links])
    fresh = level.to_xarray()
    for part in (slice(30, 90), slice(None, None, -7), [5, 2, -1], [], 4):
        np.testing.assert_array_equal(fresh[name][part].values, links[part])
        np.testing.assert_array_equal(fresh["number"][part].values, numbers[part])
    chunked = ds.chunk({dims[0]: 50}).compute()
    np.testing.assert_array_equal(chunked[name].values, links)
    ds["doubled"] = ds["number"] * 2
    ds.zv.add_attributes(repo, "doubled")
    np.testing.assert_array_equal(repo.view()["p"][0].link_attribute("doubled"), 2 * numbers)


# ---- the engine --------------------------------------------------------------------------------


def test_the_engine_opens_a_location_at_a_ref(local_location: str) -> None:
    repo = filled(local_location)
    repo.create_tag("paper-v1")
    with repo.transaction() as tx:
        tx.create_dataset("q", kind="point_cloud", bounds=([0], [1]))
        tx.writer("p").append_vertices_sync(np.ones((5, 3), "f4"))
    opened = xr.open_dataset(
        local_location, engine=ZVBackendEntrypoint, dataset="p", ref="paper-v1"
    )
    assert opened.sizes["vertex"] == TOTAL
    assert opened.attrs["repository"] == local_location
    assert "branch" not in opened.attrs
    now = xr.open_dataset(
        local_location, engine=ZVBackendEntrypoint, dataset="p", level=0, drop_variables=["a", "x"]
    )
    assert now.sizes["vertex"] == TOTAL + 5
    assert "a" not in now
    assert "x" not in now
    xr.testing.assert_identical(
        opened.drop_attrs().load(), repo.view("paper-v1")["p"][0].to_xarray().drop_attrs().load()
    )
    for it in (repo, repo.view(), repo.view()["p"], repo.view()["p"][0]):
        options = {"dataset": "p"} if it is repo or isinstance(it, zvv.View) else {}
        assert xr.open_dataset(it, engine=ZVBackendEntrypoint, **options).sizes["vertex"] > TOTAL


def test_the_engine_takes_storage_options(s3_location: tuple[str, dict[str, Any]]) -> None:
    location, options = s3_location
    repo = zvv.Repository.create(location, **options)
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0] * 2, [1] * 2))
        tx.writer("p").append_vertices_sync(np.ones((5, 2), "f4"))
    ds = xr.open_dataset(location, engine=ZVBackendEntrypoint, storage_options=options)
    assert ds["x"].values.tolist() == [1] * 5
    assert options["secret_access_key"] not in repr(ds.attrs)


def test_a_wrong_question_to_the_engine_says_what_is_wrong(local_location: str) -> None:
    def opening(it: Any, **options: Any) -> xr.Dataset:
        return xr.open_dataset(it, engine=ZVBackendEntrypoint, **options)

    with pytest.raises(zvv.NotFoundError, match="no repository at"):
        opening(local_location)
    repo = zvv.Repository.create(local_location)
    with pytest.raises(zvv.NotFoundError, match="no dataset yet"):
        opening(local_location)
    with repo.transaction() as tx:
        for name in ("p", "q"):
            tx.create_dataset(name, kind="point_cloud", bounds=([0], [1]))
    with pytest.raises(zvv.MetadataError, match="several datasets; say which: dataset='p'"):
        opening(local_location)
    with pytest.raises(zvv.NotFoundError, match="no dataset 'r'"):
        opening(local_location, dataset="r")
    with pytest.raises(zvv.NotFoundError, match="'nowhere' is no branch"):
        opening(local_location, dataset="p", ref="nowhere")
    with pytest.raises(zvv.NotFoundError, match="level 3"):
        opening(local_location, dataset="p", level=3)
    level = repo.view()["p"][0]
    for options in ({"ref": "main"}, {"dataset": "p"}, {"storage_options": {"region": "r"}}):
        with pytest.raises(zvv.MetadataError, match=re.escape(repr(level))):
            opening(level, **options)


def test_the_engine_knows_what_it_can_open(tmp_path: Path) -> None:
    engine = ZVBackendEntrypoint()
    repo = filled(tmp_path / "here")
    with repo.transaction() as tx:
        tx.writer("p").append_vertices_sync(np.ones((1, 3), "f4"))
    for it in (tmp_path / "here", str(tmp_path / "here"), repo, repo.view(), repo.view()["p"][0]):
        assert engine.guess_can_open(it)
    for it in (tmp_path, "s3://bucket/x", 5, None):
        assert not engine.guess_can_open(it)


def test_the_engine_is_found_by_its_name(tmp_path: Path) -> None:
    """As pip installs it: the entry points of the project, in a folder on the path."""
    filled(tmp_path / "repo")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [
        f"{name} = {target}" for name, target in project["entry-points"]["xarray.backends"].items()
    ]
    info = tmp_path / "site" / "installed_by_a_test-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: installed-by-a-test\nVersion: 1\n")
    (info / "entry_points.txt").write_text("\n".join(["[xarray.backends]", *lines, ""]))
    where = str(tmp_path / "repo")
    code = f"import xarray as xr; print(xr.open_dataset({where!r}, engine='zv_versioned').sizes)"
    path = os.pathsep.join([str(tmp_path / "site"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"'vertex': {TOTAL}" in done.stdout, done.stderr


# ---- dask --------------------------------------------------------------------------------------


def test_two_states_of_a_branch_are_two_to_dask(local_location: str) -> None:
    """Of one location, one ref and one size: chunks of the same name would be mixed up."""
    repo = filled(local_location)
    base = repo.resolve("main")
    found = []
    for value in (1.0, 2.0):
        with repo.transaction() as tx:
            tx.writer("p").append_vertices_sync(np.full((9, 3), value, "f4"))
        found.append(xr.open_dataset(local_location, engine=ZVBackendEntrypoint, chunks={}))
        repo.reset_branch("main", to=base)
    assert found[0]["x"].data.name != found[1]["x"].data.name
    difference = (found[1]["x"] - found[0]["x"])[-9:]
    assert difference.compute().values.tolist() == [1.0] * 9
    chunked = [ds.drop_encoding().chunk(vertex=50)["x"].data.name for ds in found]
    assert chunked[0] != chunked[1]


def test_the_same_snapshot_has_the_same_name_to_dask(local_location: str) -> None:
    filled(local_location)
    names = [
        zvv.Repository.open(local_location)
        .view()["p"][0]
        .to_xarray()
        .chunk(vertex=50)[name]
        .data.name
        for name in ("x", "x", "y")
    ]
    assert names[0] == names[1] != names[2]


def test_a_lazy_dataset_crosses_to_another_process(local_location: str) -> None:
    ds = filled(local_location).view()["p"][0].to_xarray()
    again = pickle.loads(pickle.dumps(ds))
    xr.testing.assert_identical(again.load(), ds.load())


def test_a_dataset_in_memory_is_copied_and_chunked(level: zvv.Level) -> None:
    ds = level.to_xarray()
    xr.testing.assert_identical(ds.copy(deep=True).load(), ds.chunk(vertex=77).compute())


def test_a_dataset_is_written_to_zarr_as_any_other(level: zvv.Level, tmp_path: Path) -> None:
    ds = level.to_xarray()
    ds.to_zarr(tmp_path / "plain")
    ds.chunk(vertex=100).to_zarr(tmp_path / "chunked")
    for name in ("plain", "chunked"):
        again = xr.open_zarr(tmp_path / name, chunks=None)
        xr.testing.assert_identical(again.load(), ds.load())


# ---- writing -----------------------------------------------------------------------------------


def test_a_dataset_goes_to_a_new_repository_and_comes_back_the_same(
    level: zvv.Level, local_location: str
) -> None:
    ds = level.to_xarray()
    result = ds.zv.to_zv(local_location, "copy", message="from xarray", author="me")
    repo = zvv.Repository.open(local_location)
    assert (result.message, result.vertices_committed) == ("from xarray", TOTAL)
    assert repo.log()[0].author == "me"
    again = repo.view()["copy"][0]
    assert repo.view()["copy"].axes == level._dataset.axes
    assert again.attribute_names == level.attribute_names
    assert sorted(again.object_ids()) == sorted(level.object_ids())
    order = np.lexsort(ds["positions"].values.T)
    theirs = again.to_xarray()
    back = np.lexsort(theirs["positions"].values.T)
    for name in ("positions", "object_id", "a", "v", "n"):
        np.testing.assert_array_equal(theirs[name].values[back], ds[name].values[order])
    lo, hi = repo.view()["copy"].bounds
    np.testing.assert_array_equal(
        [lo, hi], [ds["positions"].min("vertex"), ds["positions"].max("vertex")]
    )


def some(n: int = 20, dim: str = "vertex") -> xr.Dataset:
    rng = np.random.default_rng(4)
    axes = {name: (dim, rng.uniform(0, 10, n).astype("f4"), {"units": "um"}) for name in "xyz"}
    return xr.Dataset(
        {"size": (dim, rng.normal(size=n)), "lonely": ("other", [1, 2])},
        {**axes, "object_id": (dim, np.arange(n) // 5 + 500)},
    )


def test_positions_whose_axes_nobody_names_are_written() -> None:
    repo = zvv.Repository.create("memory://")
    points = np.random.default_rng(1).uniform(0, 9, (50, 3)).astype("f4")
    xr.Dataset({"positions": (("vertex", "axis"), points)}).zv.to_zv(repo, "p", object_ids=None)
    assert [axis["name"] for axis in repo.view()["p"].axes] == ["x", "y", "z"]
    assert sorted(repo.view()["p"][0].positions().tolist()) == sorted(points.tolist())


@pytest.mark.parametrize("index", [-201, 100, 1000, [5, 1000]])
@pytest.mark.parametrize(
    "name", ["k", "positions", "object_id", "x", "vertex_id", "objects", "batch"]
)
def test_an_index_that_is_out_of_range_is_an_error(name: str, index: Any) -> None:
    repo = zvv.Repository.create("memory://")
    points = np.random.default_rng(0).uniform(0, 9, (100, 3)).astype("f4")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0] * 3, [9] * 3))
        tx.writer("p").append_vertices_sync(points, attributes={"k": np.arange(100)})
    variable = repo.view()["p"][0].to_xarray()[name]
    with pytest.raises(IndexError, match="is out of bounds for axis 0 with size 100"):
        variable.isel({variable.dims[0]: index}).load()
    first = variable.isel({variable.dims[0]: -100}).values
    assert (first == variable.values[0]).all()


def test_cells_of_what_is_written_fit_it() -> None:
    repo = zvv.Repository.create("memory://")
    ds = xr.Dataset({"x": ("vertex", np.arange(25_001, dtype="f4"))})
    ds.zv.to_zv(repo, "line", axes=["x"], object_ids=None)
    assert repo.view()["line"].chunk_shape == pytest.approx((25_000 / 11,))
    ds.zv.to_zv(repo, "wide", axes=["x"], object_ids=None, chunk_shape=[10_000])
    assert repo.view()["wide"].chunk_shape == (10_000,)
    ds.zv.to_zv(repo, "more", axes=["x"], object_ids=None, expected_vertices=250_000)
    assert repo.view()["more"].chunk_shape == pytest.approx((25_000 / 100,))


def test_a_new_dataset_that_is_refused_leaves_no_repository(local_location: str) -> None:
    for options in ({"bounds": ([9] * 3, [0] * 3)}, {"chunk_shape": [1, 1]}):
        with pytest.raises(zvv.MetadataError):
            some().zv.to_zv(local_location, "p", **options)
    assert not zvv.Repository.exists(local_location)


def test_the_message_is_that_of_the_transaction(local_location: str) -> None:
    repo = zvv.Repository.create(local_location)
    with repo.transaction() as tx, pytest.raises(zvv.MetadataError, match="leave them out"):
        some().zv.to_zv(tx, "p", object_ids="object_id", message="mine")
    assert repo.view().datasets == []


def test_vertices_are_appended_from_one_variable_an_axis() -> None:
    repo = filled()
    ds = some()
    result = ds.zv.append(repo, "p", branch="main", message="more", author="me")
    assert (result.vertices_committed, result.objects_committed) == (20, 4)
    now = repo.view()["p"][0].read(objects=[500, 503], attributes=["size", "a"])
    rows = [0, 1, 2, 3, 4, 15, 16, 17, 18, 19]
    assert sorted(now.attributes["size"]) == sorted(ds["size"].values[rows])
    assert np.isnan(now.attributes["a"]).all()
    with pytest.raises(zvv.ArrayError, match="overlap existing objects"):
        ds.zv.append(repo, "p")
    assert ds.zv.append(repo, "p", object_ids=None, attributes=[]).objects_committed == 20


@pytest.mark.parametrize("size", [1, 7, 20, 1000])
def test_appending_in_pieces_stages_as_many_batches(size: int) -> None:
    repo = filled()
    before = repo.resolve("main")
    with repo.transaction() as tx:
        added = some().chunk(vertex=3).zv.append(tx, "p", batch_vertices=size)
        assert added["vertices_added"] == 20
        assert added["object_ids"].tolist() == [500, 501, 502, 503]
        assert repo.resolve("main") == before
    now = repo.view()["p"][0]
    assert len(now.batches) == 3 + -(-20 // size)
    assert now.vertex_count == TOTAL + 20
    np.testing.assert_array_equal(
        sorted(now.read(objects=[500, 501, 502, 503]).positions[:, 0]), sorted(some()["x"].values)
    )


def test_other_names_of_dimension_axes_and_objects_are_fine() -> None:
    ds = some(dim="spot").rename(x="a", y="b", z="c", object_id="neuron")
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        added = ds.zv.to_zv(tx, "s", axes=["a", "b", "c"], dim="spot", object_ids="neuron")
    assert added["object_ids"].tolist() == [500, 501, 502, 503]
    assert repo.view()["s"].axes == [{"name": n, "type": "space", "unit": "um"} for n in "abc"]
    assert repo.view()["s"][0].attribute_names == ["size"]


def test_what_was_read_is_appended_where_it_came_from_under_new_ids() -> None:
    repo = filled()
    ds = repo.view()["p"][0].to_xarray().isel(vertex=slice(0, 10))
    assert ds.zv.append(repo, object_ids=None).vertices_committed == 10


def test_a_dataset_that_does_not_fit_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    repo = filled()
    tip, ds = repo.resolve("main"), some()
    refused: list[tuple[Any, type[Exception], str]] = [
        (lambda: ds.zv.append(repo), zvv.MetadataError, "dataset='…'"),
        (lambda: ds.drop_vars("x").zv.append(repo, "p"), zvv.ArrayError, "no variable 'x'"),
        (lambda: ds.zv.append(repo, "p", dim="spot"), zvv.ArrayError, "'spot' is none"),
        (lambda: ds.zv.append(repo, "p", attributes=["tall"]), zvv.ArrayError, "'tall'"),
        (lambda: ds.zv.append(repo, "p", attributes=["lonely"]), zvv.ArrayError, "'lonely'"),
        (lambda: ds.zv.append(repo, "p", object_ids="neuron"), zvv.ArrayError, "'neuron'"),
        (lambda: ds.zv.append(repo, "p", batch_vertices=0), zvv.ArrayError, "got 0"),
        (lambda: ds.zv.append(repo, "q"), zvv.NotFoundError, "'q'"),
        (lambda: ds.zv.to_zv(repo, "p"), zvv.MetadataError, "dataset 'p' exists"),
        (lambda: ds.drop_vars(list("xyz")).zv.to_zv(repo, "n"), zvv.ArrayError, "no positions"),
        (lambda: ds.zv.to_zv(repo, "n", axes=["u"]), zvv.ArrayError, "'u'"),
        (lambda: ds.isel(vertex=slice(0)).zv.to_zv(repo, "n"), zvv.ArrayError, "give bounds"),
        (lambda: ds.zv.to_zv(repo, "n", storage_options={"a": 1}), zvv.MetadataError, "location"),
    ]
    for call, error, words in refused:
        with pytest.raises(error, match=re.escape(words)):
            call()
    assert repo.resolve("main") == tip
    with pytest.raises(zvv.ArrayError, match="'u'"):
        ds.zv.to_zv(tmp_path / "new", "n", axes=["u"])
    assert not (tmp_path / "new").exists()
    with repo.transaction() as tx, pytest.raises(zvv.MetadataError, match="of the transaction"):
        ds.zv.append(tx, "p", branch="main")


def test_variables_are_written_back_as_attributes() -> None:
    repo = varied()
    ds = repo.view()["p"][0].to_xarray()
    ds["r"] = (ds["x"] ** 2 + ds["y"] ** 2).astype("f4")
    ds["object_kind"] = ds["object_kind"] * 2
    ds["size"] = ("object", np.arange(6))
    result = ds.zv.add_attributes(repo, ["r", "object_kind", "size"], message="radii")
    assert result.message == "radii"
    now = repo.view()["p"][0]
    np.testing.assert_array_equal(now.attribute("r"), (now.positions() ** 2).sum(axis=1))
    np.testing.assert_array_equal(now.object_attribute("kind"), ds["object_kind"].values)
    assert now.object_attribute("size").tolist() == list(range(6))
    with repo.transaction() as tx:
        # Attributes that were changed since do not matter: vertices and objects are the same.
        assert ds.zv.add_attributes(tx, "r") is None


def test_variables_of_other_vertices_are_not_written_back() -> None:
    repo = varied()
    ds = repo.view()["p"][0].to_xarray()
    ds["r"], ds["size"] = ds["x"] * 2, ("object", np.arange(6))
    tip = repo.resolve("main")

    def refused(it: xr.Dataset, name: str, words: str) -> None:
        with pytest.raises(zvv.ArrayError, match=re.escape(words)):
            it.zv.add_attributes(repo, name)

    refused(ds.isel(vertex=slice(5)), "r", "the 5 vertices of this Dataset are not the 18 that")
    refused(ds.isel(vertex=slice(None, None, -1)), "r", "in their order; read it anew")
    refused(ds.isel(object=[0]), "size", "the 1 objects of this Dataset are not the 6")
    refused(ds.drop_attrs().assign_attrs(dataset="p"), "r", "which snapshot")
    refused(ds, "s", "no variable 's'")
    refused(ds, "axis", "'vertex' is none")
    assert repo.resolve("main") == tip
    # As many vertices, but others.
    with repo.transaction() as tx:
        tx.writer("p").remove_objects_sync([0])
        tx.writer("p").append_vertices_sync(np.ones((3, 2), "f4"))
    refused(ds, "r", "the 18 vertices of this Dataset are not the 18 that")
