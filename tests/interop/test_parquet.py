"""Parquet: points, a row each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from _files import NAVIS, cut, level_of, memory, points, rows

import zv_versioned as zvv
from zv_versioned.interop import export_parquet, import_csv, import_parquet
from zv_versioned.interop.parquet import open_parquet


@pytest.fixture
def repo() -> zvv.Repository:
    return memory()


def _file(folder: Path, columns: dict[str, Any], name: str = "p.parquet", **options: Any) -> Path:
    pq.write_table(pa.table(columns), folder / name, **options)
    return folder / name


def test_real_synapses_go_out_and_come_in_the_same(repo: zvv.Repository, tmp_path: Path) -> None:
    import_csv(repo, NAVIS / "synapses", "s", objects="file", unit="nanometer", dtype="float32")
    level = level_of(repo, "s")
    done = export_parquet(level, tmp_path / "s.parquet")
    assert (done.vertices, done.objects) == (14_836, 5)
    import_parquet(repo, tmp_path / "s.parquet", "again")
    again = level_of(repo, "again")
    names = level.attribute_names
    assert rows(again, *names) == rows(level, *names)
    assert again.positions().dtype == np.float32
    assert {n: again.attribute(n).dtype for n in names} == {
        n: level.attribute(n).dtype for n in names
    }


def test_units_and_metadata_survive(repo: zvv.Repository, tmp_path: Path) -> None:
    axes = [{"name": "u", "type": "space", "unit": "micrometer"}, {"name": "v", "type": "space"}]
    with repo.transaction() as tx:
        tx.create_dataset(
            "p", kind="point_cloud", bounds=([0, 0], [9, 9]), axes=axes, metadata={"lab": 7}
        )
        tx.writer("p").append_vertices_sync(np.ones((2, 2), "f4"))
    export_parquet(level_of(repo, "p"), tmp_path / "p.parquet")
    import_parquet(repo, tmp_path / "p.parquet", "q", positions=["u", "v"])
    dataset = repo.view()["q"]
    assert dataset.axes == axes
    assert dataset.metadata == {"lab": 7}
    table = pq.read_table(tmp_path / "p.parquet")
    assert table.column_names == ["object_id", "u", "v"]


def test_values_of_every_kind_survive(repo: zvv.Repository, tmp_path: Path) -> None:
    values = {
        "bool": np.array([True, False, True]),
        "u1": np.array([0, 1, 255], "u1"),
        "i8": np.array([-(2**62), 0, 2**62], "i8"),
        "f2": np.array([0.5, 1, -2], "f4"),
        "f8": np.array([0.1, np.nan, np.inf]),
        "text": np.array(["a", None, "é"], object),
        "when": np.array(["2024-01-01", "NaT", "1970-01-01"], "M8[ms]"),
        "how_long": np.array([1, 2, 3], "m8[s]"),
        "colour": np.arange(9, dtype="u1").reshape(3, 3),
    }
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [9, 9]))
        tx.writer("p").append_vertices_sync(
            np.array([[1, 1], [2, 2], [3, 3]], "f4"), object_ids=[5, 6, 7], attributes=values
        )
    export_parquet(level_of(repo, "p"), tmp_path / "p.parquet")
    import_parquet(repo, tmp_path / "p.parquet", "q")
    before, after = (level_of(repo, name).objects[[5, 6, 7]] for name in "pq")
    for name in values:
        assert after.attributes[name].dtype == before.attributes[name].dtype
        np.testing.assert_array_equal(after.attributes[name], before.attributes[name])


def test_bounds_come_from_the_statistics_where_there_are_some(tmp_path: Path) -> None:
    columns = {"x": np.arange(10.0), "y": np.arange(10.0) * 2}
    with_statistics = _file(tmp_path, columns, row_group_size=3)
    source = open_parquet(with_statistics)
    assert source.bounds is not None
    assert (source.bounds.lo.tolist(), source.bounds.hi.tolist()) == ([0, 0], [9, 18])
    assert len(source.parts) == 4
    without = _file(tmp_path, columns, "q.parquet", write_statistics=False)
    assert open_parquet(without).bounds is None


def test_files_without_statistics_are_looked_through(repo: zvv.Repository, tmp_path: Path) -> None:
    path = _file(tmp_path, {"x": [1.0, 5.0], "y": [2.0, 3.0]}, write_statistics=False)
    import_parquet(repo, path, "p")
    assert repo.view()["p"].bounds == ((1, 2), (5, 3))


def test_coordinates_may_be_one_column_of_lists(repo: zvv.Repository, tmp_path: Path) -> None:
    flat = pa.array(np.arange(6, dtype="f4"))
    column = pa.FixedSizeListArray.from_arrays(flat, 3)
    import_parquet(repo, _file(tmp_path, {"position": column, "n": [1, 2]}), "p")
    level = level_of(repo, "p")
    assert level.positions().dtype == np.float32
    assert rows(level, "n") == [((0, 1, 2), 0, 1), ((3, 4, 5), 1, 2)]


def test_whole_numbers_can_be_coordinates(repo: zvv.Repository, tmp_path: Path) -> None:
    import_parquet(repo, _file(tmp_path, {"x": pa.array([1, 2], "int32"), "y": [3, 4]}), "p")
    assert points(level_of(repo, "p").read()) == [(1, 3), (2, 4)]


def test_nulls_are_missing_values(repo: zvv.Repository, tmp_path: Path) -> None:
    columns = {
        "x": [1.0, 2.0],
        "y": [1.0, 2.0],
        "f": pa.array([None, 1.5]),
        "i": pa.array([None, 3], "int16"),
        "u": pa.array([None, 3], "uint8"),
        "t": pa.array([None, "a"]),
        "d": pa.array([None, "a"]).dictionary_encode(),
    }
    import_parquet(repo, _file(tmp_path, columns), "p")
    level = level_of(repo, "p")
    at = int(np.argmin(level.positions()[:, 0]))
    assert np.isnan(level.attribute("f")[at])
    assert level.attribute("i")[at] == -(2**15)
    assert level.attribute("u")[at] == 255
    assert level.attribute("t")[at] is None
    assert level.attribute("d").tolist() == level.attribute("t").tolist()


@pytest.mark.parametrize(
    ("columns", "options", "said"),
    [
        ({"x": [1.0], "y": ["a"]}, {}, "coordinates are numbers"),
        ({"x": [1.0], "y": [None]}, {}, "coordinates are numbers|NaN"),
        ({"x": [1.0], "y": pa.array([None], "float64")}, {}, "NaN or infinite"),
        ({"x": [1.0], "y": [1.0], "b": pa.array([None], "bool")}, {}, "has nulls"),
        ({"x": [1.0], "y": [1.0], "l": [[1, 2]]}, {}, "no number, text, date or list"),
        ({"x": [1.0], "y": [1.0], "object_id": pa.array([None], "int64")}, {}, "every point"),
        ({"x": [1.0], "y": [1.0], "object_id": [0.5]}, {}, "must be integers"),
        ({"a": [1.0]}, {}, "no columns x, y, z"),
        ({"x": [1.0], "y": [1.0]}, {"positions": ["x", "w"]}, "no column 'w'"),
    ],
)
def test_what_cannot_be_kept_is_said(
    columns: dict[str, Any],
    options: dict[str, Any],
    said: str,
    repo: zvv.Repository,
    tmp_path: Path,
) -> None:
    with pytest.raises(zvv.ZVError, match=rf"p\.parquet.*({said})"):
        import_parquet(repo, _file(tmp_path, columns), "p", **options)
    assert repo.view("main").datasets == []


def test_files_whose_columns_differ_are_refused(repo: zvv.Repository, tmp_path: Path) -> None:
    one = _file(tmp_path, {"x": [1.0], "y": [1.0], "n": [1]}, "a.parquet")
    other = _file(tmp_path, {"x": [1.0], "y": [1.0], "n": ["1"]}, "b.parquet")
    with pytest.raises(zvv.ArrayError, match=r"'n' is string in .*b\.parquet and int64"):
        import_parquet(repo, [one, other], "p")


@pytest.mark.parametrize("keep", [0, 10, 500, -1, -20])
def test_a_file_that_is_cut_short_is_refused(
    keep: int, repo: zvv.Repository, tmp_path: Path
) -> None:
    whole = _file(tmp_path, {"x": np.arange(1000.0), "y": np.arange(1000.0)}, "whole.parquet")
    broken = cut(whole, tmp_path / "p.parquet", keep=keep)
    with pytest.raises(zvv.ArrayError, match=r"p\.parquet cannot be read as Parquet"):
        import_parquet(repo, broken, "p")
    assert repo.view("main").datasets == []


def test_bytes_that_are_damaged_in_the_middle_leave_nothing(
    repo: zvv.Repository, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    columns = {"x": rng.random(5000), "y": rng.random(5000)}
    path = _file(tmp_path, columns, write_page_checksum=True)
    raw = bytearray(path.read_bytes())
    raw[2000:2100] = bytes(100)
    path.write_bytes(raw)
    with pytest.raises(zvv.ArrayError, match=r"p\.parquet cannot be read as Parquet"):
        import_parquet(repo, path, "p")
    assert repo.view("main").datasets == []
