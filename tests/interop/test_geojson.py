"""GeoJSON: points or lines on a map."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _files import level_of, lines, memory, rows
from hypothesis import given, settings
from hypothesis import strategies as st

import zv_versioned as zvv
from zv_versioned.interop import _features, export_geojson, import_geojson
from zv_versioned.interop._features import features


@pytest.fixture
def repo() -> zvv.Repository:
    return memory()


def _feature(kind: str, coordinates: Any, properties: Any = None, **more: Any) -> dict[str, Any]:
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "properties": properties, "geometry": geometry, **more}


def _file(folder: Path, *found: dict[str, Any], name: str = "a.geojson", **more: Any) -> Path:
    document = {"type": "FeatureCollection", **more, "features": list(found)}
    (folder / name).write_text(json.dumps(document), encoding="utf-8")
    return folder / name


def test_points_come_with_ids_and_properties(repo: zvv.Repository, tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        _feature("Point", [7.5, 46.25], {"name": "Bern", "people": 134_000}, id=9),
        _feature("Point", [8.5, 47.375], {"name": "Zürich", "people": 421_000}, id=4),
        {"type": "Feature", "geometry": None, "properties": {}},
    )
    done = import_geojson(repo, path, "cities")
    level = level_of(repo, "cities")
    assert (done.kind, done.vertices, done.objects) == ("point_cloud", 2, 2)
    assert rows(level) == [((7.5, 46.25), 9), ((8.5, 47.375), 4)]
    people = dict(zip(level.object_ids().tolist(), level.object_attribute("people"), strict=True))
    assert people == {4: 421_000, 9: 134_000}
    assert [(a["name"], a["unit"]) for a in repo.view()["cities"].axes] == [
        ("longitude", "degree"),
        ("latitude", "degree"),
    ]


def test_lines_stay_whole_in_their_order(repo: zvv.Repository, tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        _feature("LineString", [[0, 0], [5, 5], [0, 0]]),
        _feature("MultiLineString", [[[1, 1], [2, 2]], [[3, 3], [4, 4]]]),
    )
    done = import_geojson(repo, path, "roads")
    level = level_of(repo, "roads")
    assert (done.kind, done.objects, done.links) == ("polyline", 2, 4)
    assert lines(level) == [[[0, 0], [5, 5], [0, 0]], [[1, 1], [2, 2]], [[3, 3], [4, 4]]]
    assert len(level.objects[1].lines()) == 2


def test_polygons_come_as_outlines_where_that_is_said(repo: zvv.Repository, tmp_path: Path) -> None:
    ring, hole = [[0, 0], [9, 0], [9, 9], [0, 0]], [[1, 1], [2, 1], [2, 2], [1, 1]]
    path = _file(tmp_path, _feature("Polygon", [ring, hole]))
    with pytest.raises(zvv.ArrayError, match="outlines=True"):
        import_geojson(repo, path, "p")
    import_geojson(repo, path, "p", outlines=True)
    assert lines(level_of(repo, "p")) == [ring, hole]


def test_heights_are_a_third_axis(repo: zvv.Repository, tmp_path: Path) -> None:
    import_geojson(repo, _file(tmp_path, _feature("Point", [7.5, 46.25, 540])), "p")
    assert [a["unit"] for a in repo.view()["p"].axes] == ["degree", "degree", "meter"]


def test_another_reference_system_is_not_called_degrees(
    repo: zvv.Repository, tmp_path: Path
) -> None:
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::2056"}}
    path = _file(tmp_path, _feature("Point", [2_600_000, 1_200_000]), crs=crs)
    import_geojson(repo, path, "p")
    dataset = repo.view()["p"]
    assert dataset.axes == [{"name": "x", "type": "space"}, {"name": "y", "type": "space"}]
    assert dataset.metadata == {"geojson": {"crs": crs}}
    export_geojson(dataset[0], tmp_path / "b.geojson")
    assert json.loads((tmp_path / "b.geojson").read_text())["crs"] == crs


def test_properties_are_what_all_their_values_are(repo: zvv.Repository, tmp_path: Path) -> None:
    values = [
        {"i": 1, "f": 1, "b": True, "t": "x", "j": [1, 2], "gap": 1, "mixed": 1, "big": 1},
        {
            "i": 2,
            "f": 1.5,
            "b": False,
            "t": None,
            "j": {"a": 1},
            "mixed": "1",
            "new": 3,
            "big": 2**70,
        },
    ]
    found = [_feature("Point", [i, i], v) for i, v in enumerate(values)]
    import_geojson(repo, _file(tmp_path, *found), "p")
    level = level_of(repo, "p")
    kinds = {n: level.object_attribute(n).dtype.kind for n in level.object_attribute_names}
    assert kinds == {
        "i": "i",
        "f": "f",
        "b": "b",
        "t": "O",
        "j": "O",
        "gap": "f",
        "mixed": "O",
        "new": "f",
        "big": "O",
    }
    assert level.object_attribute("j").tolist() == ["[1, 2]", '{"a": 1}']
    assert np.isnan(level.object_attribute("gap")).tolist() == [False, True]


def test_ids_that_are_no_numbers_or_come_twice_are_counted_on(
    repo: zvv.Repository, tmp_path: Path
) -> None:
    for at, ids in enumerate((["a", "b"], [3, 3], [-1, 4], [True, 5], [1.0, 2])):
        found = [_feature("Point", [i, i], {}, id=number) for i, number in enumerate(ids)]
        import_geojson(repo, _file(tmp_path, *found), f"p{at}")
        assert level_of(repo, f"p{at}").object_ids().tolist() == [0, 1]


def test_a_bare_geometry_and_lines_of_features_are_read(
    repo: zvv.Repository, tmp_path: Path
) -> None:
    (tmp_path / "bare.geojson").write_text('{"type": "MultiPoint", "coordinates": [[1,2],[3,4]]}')
    import_geojson(repo, tmp_path / "bare.geojson", "bare")
    assert rows(level_of(repo, "bare")) == [((1, 2), 0), ((3, 4), 0)]
    text = "".join(f"\x1e{json.dumps(_feature('Point', [i, i], {}))}\n" for i in range(3))
    (tmp_path / "l.geojsonl").write_text(text)
    assert import_geojson(repo, tmp_path / "l.geojsonl", "l").objects == 3


# ---- round trips -------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["geojson", "geojsonl"])
def test_what_goes_out_comes_in_the_same(suffix: str, repo: zvv.Repository, tmp_path: Path) -> None:
    with repo.transaction() as tx:
        tx.create_dataset("l", kind="polyline", bounds=([0, 0], [9, 9]), chunk_shape=(2, 2))
        tx.writer("l").append_polylines_sync(
            [np.array([[1, 1], [8.1, 8.1], [1, 1]], "f4"), np.array([[2, 2], [3, 3]], "f4")] * 2,
            object_ids=[50, 60, 50, 70],
            object_attributes={"w": np.array([0.1, np.nan, 3], "f4"), "n": ["a", None, "ü"]},
        )
    level = level_of(repo, "l")
    export_geojson(level, tmp_path / f"a.{suffix}")
    import_geojson(repo, tmp_path / f"a.{suffix}", "again", dtype="float32")
    again = level_of(repo, "again")
    assert again.object_ids().tolist() == [50, 60, 70]
    for number in (50, 60, 70):
        one, other = (x.objects[number].lines() for x in (level, again))
        assert [line.tolist() for line in one] == [line.tolist() for line in other]
    np.testing.assert_array_equal(
        again.object_attribute("w").astype("f4"), level.object_attribute("w")
    )
    assert again.object_attribute("n").tolist() == ["a", None, "ü"]


def test_values_of_points_become_properties(repo: zvv.Repository, tmp_path: Path) -> None:
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [9, 9]))
        tx.writer("p").append_vertices_sync(
            np.array([[1, 2], [3, 4]], "f4"),
            object_ids=[5, 5],
            attributes={
                "score": np.array([0.1, np.inf], "f4"),
                "when": np.array(["2024", "2025"], "M8[Y]"),
            },
            object_attributes={"name": ["x"]},
        )
    done = export_geojson(level_of(repo, "p"), tmp_path / "p.geojson")
    assert done.left_out == ("when",)
    found = json.loads((tmp_path / "p.geojson").read_text())["features"]
    assert [f["id"] for f in found] == [5, 5]
    assert [f["properties"] for f in found] == [
        {"name": "x", "score": 0.1},
        {"name": "x", "score": None},
    ]


def test_nothing_is_an_empty_collection(repo: zvv.Repository, tmp_path: Path) -> None:
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [9, 9]))
    export_geojson(level_of(repo, "p"), tmp_path / "p.geojson")
    assert json.loads((tmp_path / "p.geojson").read_text()) == {
        "type": "FeatureCollection",
        "features": [],
    }


def test_what_geojson_cannot_say_is_refused(repo: zvv.Repository, tmp_path: Path) -> None:
    with repo.transaction() as tx:
        tx.create_dataset("m", kind="mesh", bounds=([0, 0], [9, 9]))
        tx.create_dataset("p", kind="point_cloud", bounds=([0] * 4, [9] * 4))
    for name in "mp":
        with pytest.raises(zvv.MetadataError, match="points and lines in two or three axes"):
            export_geojson(level_of(repo, name), tmp_path / "x.geojson")


# ---- broken files ------------------------------------------------------------


@pytest.mark.parametrize("keep", range(0, 314, 13))
def test_a_file_that_is_cut_short_is_refused(
    keep: int, repo: zvv.Repository, tmp_path: Path
) -> None:
    path = _file(
        tmp_path,
        _feature("LineString", [[0, 0], [5.25, 5]], {"name": "a, b]}"}),
        _feature("MultiLineString", [[[1, 1], [2, 2]], [[3, 3], [4, 4]]], {"n": 1.5e3}),
        name="whole.geojson",
    )
    text = path.read_text()
    assert keep < len(text)
    (tmp_path / "a.geojson").write_text(text[:keep])
    with pytest.raises(zvv.ArrayError, match=r"a\.geojson"):
        import_geojson(repo, tmp_path / "a.geojson", "p")
    assert repo.view("main").datasets == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1, 2]", "'{' is expected"),
        ("{}", "a feature is expected"),
        ('{"type": "FeatureCollection", "features": {}}', r"'\[' is expected"),
        ('{"type": "FeatureCollection", "features": [1]}', "a feature is expected"),
        ('{"type": "FeatureCollection", "features": []} x', "comes after the end"),
        ('{"type": "FeatureCollection", "features": []}', "no point and no line"),
        ('{"type": "Blob", "coordinates": []}', "'Blob' is no geometry"),
        ('{"type": "GeometryCollection", "geometries": []}', "GeometryCollection"),
        ('{"type": "Point", "coordinates": ["a", 1]}', "no number"),
        ('{"type": "Point", "coordinates": [1, null]}', "no number|NaN"),
        ('{"type": "Point", "coordinates": [NaN, 1]}', "NaN or infinite"),
        ('{"type": "Point", "coordinates": 7}', "coordinates are expected"),
        ('{"type": "LineString", "coordinates": [7, 8]}', "a position is a list"),
        ('{"type": "LineString", "coordinates": [[1, 2], [1, 2, 3]]}', "3 numbers and others 2"),
        ('{"type": "Point", "coordinates": [1]}', "") ,
        ("\x00\x01", "cannot be read"),
    ],
)  # fmt: skip
def test_what_is_no_geojson_is_said(
    text: str, said: str, repo: zvv.Repository, tmp_path: Path
) -> None:
    (tmp_path / "a.geojson").write_text(text)
    if not said:
        assert import_geojson(repo, tmp_path / "a.geojson", "p").vertices == 1
        return
    with pytest.raises(zvv.ArrayError, match=rf"a\.geojson.*({said})"):
        import_geojson(repo, tmp_path / "a.geojson", "p")
    assert repo.view("main").datasets == []


def test_points_and_lines_do_not_go_together(repo: zvv.Repository, tmp_path: Path) -> None:
    path = _file(tmp_path, _feature("Point", [1, 2]), _feature("LineString", [[1, 2], [3, 4]]))
    with pytest.raises(zvv.ArrayError, match=r"points as well as lines \(feature 1"):
        import_geojson(repo, path, "p")


# ---- the parser --------------------------------------------------------------

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.floats(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=100)
@given(
    properties=st.lists(st.dictionaries(st.text(max_size=3), _JSON, max_size=3), max_size=4),
    extra=_JSON,
    more=st.integers(1, 40),
    indent=st.sampled_from([None, 1]),
)
def test_a_file_is_parsed_the_same_however_it_is_read(
    properties: list[Any], extra: Any, more: int, indent: int | None
) -> None:
    document = {
        "type": "FeatureCollection",
        "before": extra,
        "features": [_feature("Point", [i, 2.5], p) for i, p in enumerate(properties)],
        "after": extra,
    }
    facts: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_features, "_MORE", more)
        text = io.StringIO(json.dumps(document, indent=indent, ensure_ascii=False))
        found = list(features(text, facts, by_line=False))
    assert [f.properties for f in found] == properties
    assert [f.lines for f in found] == [[[[i, 2.5]]] for i in range(len(properties))]
    assert facts == {"before": extra, "after": extra}
