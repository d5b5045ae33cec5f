"""SWC: skeletons, an object a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _files import NAVIS, NEURONS, cut, edges, level_of, memory
from hypothesis import given, settings
from hypothesis import strategies as st

import zv_versioned as zvv
from zv_versioned.interop import export_swc, import_swc
from zv_versioned.interop.swc import parse_swc

REAL = NAVIS / "swc"


@pytest.fixture
def repo() -> zvv.Repository:
    return memory()


def _parsed(path: Path) -> dict[int, tuple[Any, ...]]:
    """Nodes by number: position, type, radius, and the parent's number."""
    positions, links, values = parse_swc(path.read_text(), str(path))
    number = values["node_id"]
    parent = dict(zip(number[links[:, 0]].tolist(), number[links[:, 1]].tolist(), strict=True))
    return {
        int(n): (tuple(p), int(k), float(r), parent.get(int(n), -1))
        for n, p, k, r in zip(
            number, positions.tolist(), values["type"], values["radius"], strict=True
        )
    }


def test_real_skeletons_go_out_as_they_came_in(repo: zvv.Repository, tmp_path: Path) -> None:
    done = import_swc(repo, REAL, "skeletons", unit="nanometer")
    assert (done.files, done.vertices, done.links, done.objects) == (5, 23_221, 23_215, 5)
    level = level_of(repo, "skeletons")
    assert sorted(level.object_ids().tolist()) == sorted(NEURONS)
    positions, links, _ = parse_swc((REAL / "754534424.swc").read_text())
    expected = {(tuple(positions[a]), tuple(positions[b])) for a, b in links.tolist()}
    assert edges(level.objects[754534424]) == expected

    out = export_swc(level, tmp_path / "out")
    assert (out.files, out.vertices, out.links, out.left_out) == (5, 23_221, 23_215, ())
    for number in NEURONS:
        before, after = REAL / f"{number}.swc", tmp_path / "out" / f"{number}.swc"
        assert _parsed(before) == _parsed(after)
        head = [line for line in before.read_text().splitlines() if line.startswith("#")]
        assert after.read_text().splitlines()[: len(head)] == head


def test_comments_are_kept_once_where_all_files_have_the_same(
    repo: zvv.Repository, tmp_path: Path
) -> None:
    for number in (1, 2):
        (tmp_path / f"{number}.swc").write_text("# same\n1 1 0 0 0 1 -1\n2 0 9 9 9 1 1\n")
    import_swc(repo, tmp_path, "s")
    assert repo.view()["s"].metadata == {"swc": {"comments": ["# same"]}}
    assert level_of(repo, "s").object_attribute_names == []


def test_comments_that_differ_are_kept_by_object(repo: zvv.Repository, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in (1, 2):
        text = f"# neuron {number}\n# of two\n1 1 0 0 0 1 -1\n2 0 9 9 9 1 1\n"
        (folder / f"{number}.swc").write_text(text)
    import_swc(repo, folder, "s", dtype="float32")
    level = level_of(repo, "s")
    assert level.object_attribute("comments").tolist() == [
        "# neuron 1\n# of two",
        "# neuron 2\n# of two",
    ]
    export_swc(level, tmp_path / "out")
    for number in (1, 2):
        text = (tmp_path / "out" / f"{number}.swc").read_text()
        assert text.splitlines()[:2] == [f"# neuron {number}", "# of two"]


def test_the_unit_survives(repo: zvv.Repository, tmp_path: Path) -> None:
    (tmp_path / "1.swc").write_text("1 1 0 0 0 1 -1\n2 0 9 9 9 1 1\n")
    import_swc(repo, tmp_path / "1.swc", "s", unit="micrometer")
    export_swc(level_of(repo, "s"), tmp_path / "2.swc")
    assert "# unit: micrometer" in (tmp_path / "2.swc").read_text()
    import_swc(repo, tmp_path / "2.swc", "t")
    assert [axis["unit"] for axis in repo.view()["t"].axes] == ["micrometer"] * 3


# ---- ids ---------------------------------------------------------------------


def test_ids_are_the_names_of_the_files_or_given_or_counted(
    repo: zvv.Repository, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.swc").write_text("1 1 0 0 0 1 -1\n2 0 9 9 9 1 1\n")
    import_swc(repo, tmp_path, "counted")
    level = level_of(repo, "counted")
    assert level.object_ids().tolist() == [0, 1]
    assert level.object_attribute("name").tolist() == ["a", "b"]
    import_swc(repo, tmp_path, "given", object_ids=[70, 60])
    assert level_of(repo, "given").object_ids().tolist() == [60, 70]
    import_swc(repo, tmp_path, "named", object_ids={"a": 5, "b.swc": 6})
    assert level_of(repo, "named").object_ids().tolist() == [5, 6]
    with pytest.raises(zvv.MetadataError, match="1 object_ids are given for 2 files"):
        import_swc(repo, tmp_path, "x", object_ids=[1])
    with pytest.raises(zvv.MetadataError, match=r"no id for 'b\.swc'"):
        import_swc(repo, tmp_path, "x", object_ids={"a": 1})


def test_many_small_files_become_few_batches(repo: zvv.Repository, tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number}.swc").write_text(f"1 1 0 0 0 1 -1\n2 0 9 9 {number} 1 1\n")
    done = import_swc(repo, tmp_path, "s", batch_vertices=400)
    assert (done.objects, done.batches) == (300, 3)
    level = level_of(repo, "s")
    assert edges(level.objects[299]) == {((9, 9, 299), (0, 0, 0))}


# ---- parsing -----------------------------------------------------------------


def test_nodes_may_come_in_any_order_under_any_number() -> None:
    text = "  \n9 0 1 1 1 5 40\n# in between\n40 0 3 3 3 7 -1\n5 2 4.5 4 4 8 9\n"
    positions, links, values = parse_swc(text)
    assert positions.tolist() == [[1, 1, 1], [3, 3, 3], [4.5, 4, 4]]
    assert links.tolist() == [[0, 1], [2, 0]]
    assert values["node_id"].tolist() == [9, 40, 5]
    assert values["type"].tolist() == [0, 0, 2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no node"),
        ("# only a comment\n", "no node"),
        ("1 1 0 0 0 1\n", "6 columns"),
        ("1 1 0 0 0 1 -1 9\n", "8 columns"),
        ("1 1 0 0 0 x -1\n", "could not convert"),
        ("1.5 1 0 0 0 1 -1\n", "'1.5' must be a whole number"),
        ("1 1 0 0 0 1 nan\n", "'nan' must be a whole number"),
        ("1 1 0 0 0 1 -1\n1 1 0 0 0 1 -1\n", "two nodes have the number 1"),
        ("1 1 0 0 0 1 -1\n2 1 0 0 0 1 7\n", "node 2 has the parent 7, which is not there"),
        ("1 1 0 0 0 1 1\n", "1 to itself|itself"),
        ("1 1 0 0 0 1 2\n2 1 0 0 0 1 1\n", "circle"),
        ("1 5000000000 0 0 0 1 -1\n", "is no type"),
    ],
)
def test_what_is_no_skeleton_is_said(
    text: str, said: str, repo: zvv.Repository, tmp_path: Path
) -> None:
    (tmp_path / "7.swc").write_text(text)
    with pytest.raises(zvv.ArrayError, match=rf"7\.swc.*({said})"):
        import_swc(repo, tmp_path / "7.swc", "s")
    assert repo.view("main").datasets == []


@pytest.mark.parametrize("keep", [100, 2000, 100_001, -5])
def test_a_real_file_that_is_cut_short_is_refused(
    keep: int, repo: zvv.Repository, tmp_path: Path
) -> None:
    broken = cut(REAL / "722817260.swc", tmp_path / "7.swc", keep=keep)
    columns = len(broken.read_text().splitlines()[-1].split())
    assert columns != 7 or keep == -5
    with pytest.raises(zvv.ArrayError, match=r"7\.swc"):
        import_swc(repo, broken, "s")
    assert repo.view("main").datasets == []


def test_what_is_no_text_is_no_swc(repo: zvv.Repository, tmp_path: Path) -> None:
    (tmp_path / "7.swc").write_bytes(b"\xff\xfe1 1 0 0 0 1 -1")
    with pytest.raises(zvv.ArrayError, match=r"7\.swc cannot be read as SWC"):
        import_swc(repo, tmp_path / "7.swc", "s")


# ---- export ------------------------------------------------------------------


@settings(max_examples=40)
@given(data=st.data())
def test_a_forest_without_numbers_gets_some_with_parents_first(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    n = data.draw(st.integers(1, 12))
    parents = [data.draw(st.integers(-1, at - 1)) for at in range(n)]
    order = data.draw(st.permutations(range(n)))
    links = [(order[at], order[p]) for at, p in enumerate(parents) if p >= 0]
    positions = np.zeros((n, 3), "f4")
    positions[:, 0] = np.arange(n)
    repo, folder = memory(), tmp_path_factory.mktemp("swc")
    with repo.transaction() as tx:
        tx.create_dataset(
            "s", kind="skeleton", bounds=([0, 0, 0], [12, 1, 1]), chunk_shape=(3, 1, 1)
        )
        tx.writer("s").append_graph_sync(positions, links or np.zeros((0, 2), int), object_ids=3)
    export_swc(level_of(repo, "s"), folder / "3.swc")
    nodes = _parsed(folder / "3.swc")
    assert list(nodes) == sorted(nodes) == list(range(1, n + 1))
    assert all(parent < number for number, (_, _, _, parent) in nodes.items())
    at = {number: int(position[0]) for number, (position, _, _, _) in nodes.items()}
    found = {(at[number], at[parent]) for number, (_, _, _, parent) in nodes.items() if parent > 0}
    assert found == {(int(a), int(b)) for a, b in links}


def test_what_is_no_tree_cannot_be_swc(repo: zvv.Repository, tmp_path: Path) -> None:
    with repo.transaction() as tx:
        tx.create_dataset("g", kind="graph", bounds=([0, 0, 0], [9, 9, 9]))
        writer = tx.writer("g")
        nodes = np.arange(9, dtype="f4").reshape(3, 3)
        writer.append_graph_sync(nodes, [[0, 1], [0, 2]], object_ids=1)
        writer.append_graph_sync(nodes, [[0, 1], [1, 2], [2, 0]], object_ids=2)
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0, 0], [9, 9, 9]))
    level = level_of(repo, "g")
    with pytest.raises(zvv.MetadataError, match="object 1 is no tree: a node has two parents"):
        export_swc(level, tmp_path / "1.swc", objects=1)
    with pytest.raises(zvv.MetadataError, match=r"object 2 is no tree: .* circle"):
        export_swc(level, tmp_path / "2.swc", objects=2)
    with pytest.raises(zvv.MetadataError, match="'point_cloud'"):
        export_swc(level_of(repo, "p"), tmp_path / "p.swc")
    assert list(tmp_path.iterdir()) == []


def test_attributes_that_swc_lacks_are_left_out_and_named(
    repo: zvv.Repository, tmp_path: Path
) -> None:
    with repo.transaction() as tx:
        tx.create_dataset("s", kind="skeleton", bounds=([0, 0, 0], [9, 9, 9]))
        tx.writer("s").append_graph_sync(
            np.arange(6, dtype="f4").reshape(2, 3),
            [[1, 0]],
            attributes={"radius": np.array([np.nan, 2], "f4"), "myelin": np.array([1, 2])},
        )
    done = export_swc(level_of(repo, "s"), tmp_path / "s.swc")
    assert done.left_out == ("myelin", "object ids")
    assert export_swc(level_of(repo, "s"), tmp_path / "0.swc").left_out == ("myelin",)
    assert export_swc(level_of(repo, "s"), tmp_path / "folder").left_out == ("myelin",)
    assert [node[2] for node in _parsed(tmp_path / "s.swc").values()] == [0, 2]
    with pytest.raises(zvv.MetadataError, match="cannot hold the attributes 'myelin'"):
        export_swc(level_of(repo, "s"), tmp_path / "t.swc", attributes=["myelin"])


def test_a_box_cuts_branches(repo: zvv.Repository, tmp_path: Path) -> None:
    import_swc(repo, REAL / "722817260.swc", "s")
    level = level_of(repo, "s")
    lo, hi = (np.asarray(side) for side in level._dataset.bounds)
    box = (lo, (lo + hi) / 2)
    done = export_swc(level, tmp_path / "part.swc", bbox=box)
    expected = level.read(bbox=box)
    assert 0 < done.vertices == len(expected) < 4332
    assert (
        done.links
        == len(expected.edges)
        == sum(parent >= 0 for _, _, _, parent in _parsed(tmp_path / "part.swc").values())
    )
