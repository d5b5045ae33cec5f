"""CSV: points, a row each."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _files import NAVIS, NEURONS, cut, level_of, memory, points, rows
from hypothesis import given, settings
from hypothesis import strategies as st

import zv_versioned as zvv
from zv_versioned.interop import _csv_rows, export_csv, import_csv
from zv_versioned.interop import csv as csv_files

REAL = NAVIS / "synapses"


@pytest.fixture
def repo() -> zvv.Repository:
    return memory()


def _table(folder: Path, text: str, name: str = "p.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


# ---- real files --------------------------------------------------------------


def test_real_synapses_come_in_whole_and_go_out_the_same(
    repo: zvv.Repository, tmp_path: Path
) -> None:
    done = import_csv(repo, REAL, "synapses", objects="file", unit="nanometer")
    assert (done.files, done.vertices, done.objects) == (5, 14_836, 5)
    level = level_of(repo, "synapses")
    assert sorted(level.object_ids().tolist()) == sorted(NEURONS)
    with (REAL / "722817260.csv").open() as file:
        expected = list(csv.DictReader(file))
    neuron = level.objects[722817260]
    assert points(neuron) == sorted((float(r["x"]), float(r["y"]), float(r["z"])) for r in expected)
    assert sorted(neuron.attributes["connector_id"]) == sorted(
        int(r["connector_id"]) for r in expected
    )
    assert neuron.attributes["connector_id"].dtype == np.int64
    assert neuron.attributes["confidence"].dtype == np.float64
    assert set(neuron.attributes["type"]) == {"pre", "post"}

    export_csv(level, tmp_path / "out.csv")
    import_csv(repo, tmp_path / "out.csv", "again")
    names = level.attribute_names
    assert rows(level_of(repo, "again"), *names) == rows(level, *names)


# ---- which column is what ----------------------------------------------------


def test_columns_are_found_by_name(repo: zvv.Repository, tmp_path: Path) -> None:
    table = _table(tmp_path, "score,Z,object_id,Y,X\n0.5,3,7,2,1\n")
    import_csv(repo, table, "p")
    level = level_of(repo, "p")
    assert rows(level, "score") == [((1, 2, 3), 7, 0.5)]
    assert [axis["name"] for axis in repo.view()["p"].axes] == ["X", "Y", "Z"]


def test_columns_can_be_named_and_renamed(repo: zvv.Repository, tmp_path: Path) -> None:
    table = _table(tmp_path, "a,b,c,neuron,d\n1,2,3,7,x\n")
    import_csv(
        repo, table, "p", positions=["c", "a"], object_id="neuron", attributes={"d": "label"}
    )
    assert rows(level_of(repo, "p"), "label") == [((3, 1), 7, "x")]
    import_csv(repo, table, "q", positions=["a", "b"], attributes=[])
    assert level_of(repo, "q").attribute_names == []


def test_a_column_may_be_a_coordinate_and_an_attribute(
    repo: zvv.Repository, tmp_path: Path
) -> None:
    table = _table(tmp_path, "x,y\n1,2\n")
    import_csv(repo, table, "p", attributes={"y": "depth"})
    assert rows(level_of(repo, "p"), "depth") == [((1, 2), 0, 2)]


@pytest.mark.parametrize(
    ("objects", "ids"), [(None, [0, 1]), ("each", [0, 1]), ("file", [17]), (5, [5])]
)
def test_points_are_each_by_itself_a_file_or_one(
    objects: Any, ids: list[int], repo: zvv.Repository, tmp_path: Path
) -> None:
    table = _table(tmp_path, "x,y\n1,2\n3,4\n", "17.csv")
    import_csv(repo, table, "p", objects=objects)
    assert level_of(repo, "p").object_ids().tolist() == ids


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"positions": ["x", "w"]}, zvv.NotFoundError, "no column 'w'; it has: 'x', 'y'"),
        ({"object_id": "w"}, zvv.NotFoundError, "no column 'w'"),
        ({"attributes": ["w"]}, zvv.NotFoundError, "no column 'w'"),
        ({"positions": "xy"}, zvv.MetadataError, "1 to 4 columns"),
        ({"positions": []}, zvv.MetadataError, "1 to 4 columns"),
        ({"attributes": "x"}, zvv.MetadataError, "in a list"),
        ({"attributes": {"x": "a", "y": "a"}}, zvv.MetadataError, "one attribute"),
        ({"objects": "file"}, zvv.MetadataError, r"'p\.csv' is no number"),
        ({"objects": "some"}, zvv.MetadataError, "'some'"),
        ({"objects": True}, zvv.MetadataError, "True"),
        ({"delimiter": "::"}, zvv.MetadataError, "one character"),
        ({"object_id": "y"}, zvv.ArrayError, "no whole numbers"),
    ],
)
def test_what_does_not_fit_the_head_is_said(
    options: dict[str, Any],
    error: type[Exception],
    said: str,
    repo: zvv.Repository,
    tmp_path: Path,
) -> None:
    with pytest.raises(error, match=said):
        import_csv(repo, _table(tmp_path, "x,y\n1,2.5\n"), "p", **options)
    assert repo.view("main").datasets == []


def test_without_coordinates_the_error_lists_the_columns(
    repo: zvv.Repository, tmp_path: Path
) -> None:
    with pytest.raises(zvv.MetadataError, match="it has 'a', 'b'"):
        import_csv(repo, _table(tmp_path, "a,b\n1,2\n"), "p")


def test_all_files_must_have_the_columns(repo: zvv.Repository, tmp_path: Path) -> None:
    one = _table(tmp_path, "x,y,score\n1,2,3\n", "a.csv")
    other = _table(tmp_path, "x,y\n1,2\n", "b.csv")
    with pytest.raises(zvv.NotFoundError, match=r"b\.csv has no column 'score'"):
        import_csv(repo, [one, other], "p")


# ---- what is in the cells ----------------------------------------------------


def test_what_a_column_is_does_not_depend_on_its_first_rows(
    repo: zvv.Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_csv_rows, "_BLOCK_ROWS", 10)
    lines = [f"{i},{i},{i},{i},{i}" for i in range(50)]
    lines[40] = "40,40,4.5,,x"
    import_csv(repo, _table(tmp_path, "x,y,a,b,c\n" + "\n".join(lines)), "p", batch_vertices=10)
    level = level_of(repo, "p")
    kinds = {name: level.attribute(name).dtype.kind for name in "abc"}
    assert kinds == {"a": "f", "b": "f", "c": "O"}
    assert np.isnan(level.attribute("b")).sum() == 1
    assert sorted(level.attribute("c"))[-1] == "x"


def test_empty_cells_are_missing(repo: zvv.Repository, tmp_path: Path) -> None:
    import_csv(repo, _table(tmp_path, "x,y,a,b,c\n1,2,,,5\n3,4,1.5,t,6\n"), "p")
    level = level_of(repo, "p")
    at = int(np.argmin(level.positions()[:, 0]))
    assert np.isnan(level.attribute("a")[at])
    assert level.attribute("b")[at] is None
    assert level.attribute("c").dtype == np.int64


def test_quotes_line_ends_and_a_byte_order_mark_are_understood(
    repo: zvv.Repository, tmp_path: Path
) -> None:
    text = '\ufeffx,y,note\r\n1,2,"a, ""b""\r\nc"\r\n\r\n3,4,plain\r\n'
    import_csv(repo, _table(tmp_path, text), "p")
    assert rows(level_of(repo, "p"), "note") == [
        ((1, 2), 0, 'a, "b"\r\nc'),
        ((3, 4), 1, "plain"),
    ]


def test_tabs_and_semicolons_can_be_between_cells(repo: zvv.Repository, tmp_path: Path) -> None:
    import_csv(repo, _table(tmp_path, "x\ty\n1\t2\n", "p.tsv"), "p")
    import_csv(repo, _table(tmp_path, "x;y\n1;2\n"), "q", delimiter=";")
    for name in "pq":
        assert points(level_of(repo, name).read()) == [(1, 2)]


# ---- long files --------------------------------------------------------------


def test_a_long_file_is_cut_at_line_ends_and_every_row_read_once(
    repo: zvv.Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_csv_rows, "_RANGE_BYTES", 100)
    text = "x,y,n\n" + "".join(f"{i},{i * 1000},{i}\n" for i in range(300))
    source = csv_files.open_csv(_table(tmp_path, text))
    assert len(source.parts) > 10
    read = np.concatenate([piece.attributes["n"] for piece in source.pieces()])
    np.testing.assert_array_equal(read, np.arange(300))
    assert sum(piece.weight for piece in source.pieces()) == len(text) - len("x,y,n\n")


def test_a_file_with_quotes_is_not_cut(
    repo: zvv.Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_csv_rows, "_RANGE_BYTES", 100)
    text = "x,y,n\n" + "".join(f'{i},{i},"a\nb,{i}"\n' for i in range(300))
    source = csv_files.open_csv(_table(tmp_path, text))
    assert len(source.parts) == 1
    assert sum(len(piece.positions) for piece in source.pieces()) == 300


# ---- broken files ------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("\n", "is empty"),
        ("x,y\n1,2\n3\n", r"row 3 has 1 cells, and the head names 2 columns"),
        ("x,y\n1,2\n3,4,5\n", "row 3 has 3 cells"),
        ("x,y\n1,2\n3,\n", "row 3, column 'y' is empty, and a point needs"),
        ('x,y\n1,"2\n', "row 2"),
        ("x,x\n1,2\n", "two columns 'x'"),
        ("x,y,object_id\n1,2,\n", "no whole numbers"),
        ("x,y,object_id\n1,2,99999999999999999999\n", "to 9223372036854775807"),
        ("x,y,object_id\n1,2,-4\n", "0 or more"),
    ],
)
def test_what_is_broken_is_said_with_its_row(
    text: str, said: str, repo: zvv.Repository, tmp_path: Path
) -> None:
    with pytest.raises(zvv.ZVError, match=rf"p\.csv.*({said})"):
        import_csv(repo, _table(tmp_path, text), "p")
    assert repo.view("main").datasets == []


@pytest.mark.parametrize("keep", [-1, -9, 700])
def test_a_real_file_that_is_cut_within_a_row_is_refused(
    keep: int, repo: zvv.Repository, tmp_path: Path
) -> None:
    """Where a row ends early; one that lacks the end of its last number cannot be told."""
    broken = cut(REAL / "722817260.csv", tmp_path / "1.csv", keep=keep)
    text = broken.read_text()
    ragged = len(text.splitlines()[-1].split(",")) < 8
    if ragged:
        with pytest.raises(zvv.ArrayError, match="cut short"):
            import_csv(repo, broken, "p")
    else:
        assert import_csv(repo, broken, "p").vertices == len(text.splitlines()) - 1


@pytest.mark.parametrize("raw", [b"\x89PNG\r\n\x1a\n\x00\x00", b"x,y\n1,\xff\n", b"x,y\n1,2\x00\n"])
def test_what_is_no_text_is_no_csv(raw: bytes, repo: zvv.Repository, tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes(raw)
    with pytest.raises(zvv.ZVError, match=r"p\.csv"):
        import_csv(repo, path, "p")
    assert repo.view("main").datasets == []


# ---- export ------------------------------------------------------------------


def test_links_are_not_lost_unless_that_is_said(repo: zvv.Repository, tmp_path: Path) -> None:
    with repo.transaction() as tx:
        tx.create_dataset("m", kind="mesh", bounds=([0, 0], [9, 9]))
        tx.writer("m").append_mesh_sync(np.array([[1, 1], [2, 2], [3, 1]], "f4"), [[0, 1, 2]])
    level = level_of(repo, "m")
    with pytest.raises(zvv.MetadataError, match="its links would be lost"):
        export_csv(level, tmp_path / "m.csv")
    assert export_csv(level, tmp_path / "m.csv", vertices_only=True).vertices == 3


def test_two_columns_of_one_name_are_refused(repo: zvv.Repository, tmp_path: Path) -> None:
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [9, 9]))
        tx.writer("p").append_vertices_sync(
            np.ones((1, 2), "f4"), attributes={"x": np.array([1.0]), "v": np.ones((1, 2))}
        )
    level = level_of(repo, "p")
    with pytest.raises(zvv.MetadataError, match="two columns 'x'"):
        export_csv(level, tmp_path / "p.csv")
    export_csv(level, tmp_path / "p.csv", attributes=["v"])
    assert (tmp_path / "p.csv").read_text().splitlines()[0] == "object_id,x,y,v_0,v_1"


_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)


@settings(max_examples=60)
@given(data=st.data())
def test_whatever_is_in_a_level_comes_back_the_same(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    n = data.draw(st.integers(1, 6))
    real = st.floats(-100, 100, width=32)
    positions = np.array(data.draw(st.lists(st.tuples(real, real), min_size=n, max_size=n)), "f4")
    values: dict[str, Any] = {
        "f": np.array(data.draw(st.lists(st.floats(width=32), min_size=n, max_size=n)), "f4"),
        "i": np.array(data.draw(st.lists(st.integers(-9, 9), min_size=n, max_size=n)), "i8"),
        "b": np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n))),
        "t": np.array([*data.draw(st.lists(_TEXT, min_size=n, max_size=n))], object),
    }
    repo, folder = memory(), tmp_path_factory.mktemp("csv")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([-100, -100], [100, 100]))
        tx.writer("p").append_vertices_sync(positions, object_ids=np.arange(n), attributes=values)
    export_csv(level_of(repo, "p"), folder / "p.csv")
    import_csv(repo, folder / "p.csv", "q", dtype="float32")
    before, after = (level_of(repo, name).objects[range(n)] for name in "pq")
    a, b = np.argsort(before.object_ids), np.argsort(after.object_ids)
    np.testing.assert_array_equal(before.positions[a], after.positions[b])
    for name in "fib":
        got = after.attributes[name][b].astype(before.attributes[name].dtype)
        np.testing.assert_array_equal(before.attributes[name][a], got)
    # A text that looks like a number becomes one; an empty one is missing.
    texts = [str(value) if value else None for value in before.attributes["t"][a]]
    if after.attributes["t"].dtype == object:
        assert after.attributes["t"][b].tolist() == texts


def test_a_text_among_numbers_is_said_with_its_row_and_column(
    repo: zvv.Repository, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("x,y,c\n1,2,0.5\n")
    (tmp_path / "b.csv").write_text("x,y,c\n1,2,0.5\n1,2,\n1,2,abc\n1,2,x\n")
    (tmp_path / "c.csv").write_text("x,y,c\n1,2,0.5\n1,b,1\n")
    import_csv(repo, tmp_path / "a.csv", "p")
    before = repo.resolve("main")
    for name, said in (
        ("b", r"b\.csv, row 4, column 'c' is 'abc', which is no number, .*'c' of .*'p' is float64"),
        ("c", r"c\.csv, row 3, column 'y': 'b' is not a number"),
    ):
        with pytest.raises(zvv.ArrayError, match=said):
            import_csv(repo, tmp_path / f"{name}.csv", "p", append=True)
    with pytest.raises(zvv.ArrayError, match=r"b\.csv, row 2, column 'c' is '0.5'"):
        import_csv(repo, tmp_path / "b.csv", "q", object_id="c")
    assert repo.resolve("main") == before


def test_an_attribute_with_the_name_of_a_column_is_left_out_by_naming_the_others(
    repo: zvv.Repository, tmp_path: Path
) -> None:
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [9, 9]))
        values = {"object_id": [1, 2], "c": [1, 2]}
        tx.writer("p").append_vertices_sync(np.eye(2, dtype="f4"), attributes=values)
    with pytest.raises(zvv.MetadataError, match=r"'object_id'.*attributes=\['c'\]"):
        export_csv(level_of(repo, "p"), tmp_path / "p.csv")
    export_csv(level_of(repo, "p"), tmp_path / "p.csv", attributes=["c"])
