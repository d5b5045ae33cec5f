"""Zarr Vectors stores in and out: those of zarr-vectors itself, and ours; broken ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from _files import edges, level_of, memory, points, triangles
from _files import rows as rows_of

import zv_versioned as zvv
from zv_versioned.interop import (
    export_file,
    export_zarr_vectors,
    import_distributed,
    import_file,
    import_zarr_vectors,
    scan_file,
)

peer = pytest.importorskip("zarr_vectors")
from zarr_vectors.multiresolution.coarsen import build_pyramid  # noqa: E402
from zarr_vectors.types.graphs import write_graph  # noqa: E402
from zarr_vectors.types.lines import write_lines  # noqa: E402
from zarr_vectors.types.meshes import write_mesh  # noqa: E402
from zarr_vectors.types.points import write_points  # noqa: E402
from zarr_vectors.types.polylines import write_polylines  # noqa: E402
from zarr_vectors.validate import validate  # noqa: E402

CELLS: Any = {"chunk_shape": (50.0, 50.0, 50.0), "bounds": ([-50.0] * 3, [50.0] * 3)}
HALF = ([-50.0] * 3, [10.0, 50.0, 50.0])


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)


@pytest.fixture
def cloud(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(-50, 50, (300, 3)).astype("f4")


@pytest.fixture
def ways(rng: np.random.Generator) -> list[np.ndarray]:
    """Lines that leave cells and come back, of 2 to 40 vertices."""
    steps = [rng.normal(0, 9, (n, 3)) for n in (5, 40, 2, 33)]
    return [np.clip(np.cumsum(step, 0), -49, 49).astype("f4") for step in steps]


def _tree(rng: np.random.Generator, n: int) -> np.ndarray:
    """(child, parent) of a random tree."""
    return np.stack([np.arange(1, n), [rng.integers(0, i) for i in range(1, n)]], axis=1)


def _valid(path: Path) -> None:
    result = validate(str(path), level=5)
    assert result.ok, result


# ---- stores that zarr-vectors wrote ------------------------------------------------


def test_points_come_in_with_objects_attributes_and_groups(
    tmp_path: Path, cloud: np.ndarray, rng: np.random.Generator
) -> None:
    ids = rng.integers(0, 7, 300)
    number, vector = np.arange(300), rng.random((300, 3)).astype("f4")
    write_points(
        str(tmp_path / "p"), cloud, object_ids=ids, groups={0: [1, 2], 1: [3]},
        vertex_attributes={"number": number, "vector": vector},
        object_attributes={"weight": np.arange(7) / 4}, **CELLS,
    )  # fmt: skip
    repo = memory()
    done = import_file(repo, tmp_path / "p", "p")
    assert (done.format, done.kind, done.vertices, done.objects) == (
        "zarr_vectors", "point_cloud", 300, 7,
    )  # fmt: skip
    level = level_of(repo, "p")
    found = level.read(attributes="all")
    at = found.attributes["number"]
    np.testing.assert_array_equal(np.sort(at), number)
    np.testing.assert_array_equal(found.positions, cloud[at])
    np.testing.assert_array_equal(found.object_ids, ids[at])
    np.testing.assert_array_equal(found.attributes["vector"], vector[at])
    np.testing.assert_array_equal(level.object_attribute("weight"), np.arange(7) / 4)
    assert {name: ids.tolist() for name, ids in level.groups.items()} == {"0": [1, 2], "1": [3]}
    dataset = repo.view()["p"]
    assert (dataset.chunk_shape, dataset.bounds) == ((50,) * 3, ((-50,) * 3, (50,) * 3))


def test_what_a_store_is_chunked_by_is_an_attribute(tmp_path: Path, cloud: np.ndarray) -> None:
    gene = np.arange(300) % 3 * 10
    write_points(
        str(tmp_path / "p"), cloud, vertex_attributes={"gene": gene}, chunk_by_attribute="gene",
        **CELLS,
    )  # fmt: skip
    repo = memory()
    import_zarr_vectors(repo, tmp_path / "p", "p")
    expected = sorted((*p, g) for p, g in zip(cloud.tolist(), gene.tolist(), strict=True))
    found = level_of(repo, "p").read(attributes=["gene"])
    values = found.attributes["gene"].tolist()
    got = sorted((*p, g) for p, g in zip(found.positions.tolist(), values, strict=True))
    assert got == expected


def test_lines_come_in_as_they_go(tmp_path: Path, ways: list[np.ndarray]) -> None:
    write_polylines(
        str(tmp_path / "l"), ways, object_attributes={"weight": np.arange(4) / 4},
        vertex_attributes={"along": [np.arange(len(w), dtype="f4") for w in ways]}, **CELLS,
    )  # fmt: skip
    repo = memory()
    done = import_file(repo, tmp_path / "l", "l")
    assert (done.kind, done.objects, done.links) == ("streamline", 4, 76)
    level = level_of(repo, "l")
    for number, way in enumerate(ways):
        found = level.read(objects=[number], attributes=["along"])
        np.testing.assert_array_equal(found.positions, way)
        np.testing.assert_array_equal(found.attributes["along"], np.arange(len(way)))
    np.testing.assert_array_equal(level.object_attribute("weight"), np.arange(4) / 4)


def test_lines_of_two_vertices_keep_their_direction(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    ends = rng.uniform(-50, 50, (20, 2, 3)).astype("f4")
    write_lines(str(tmp_path / "l"), ends, **CELLS)
    repo = memory()
    import_file(repo, tmp_path / "l", "l")
    level = level_of(repo, "l")
    assert repo.view()["l"].kind == "line"
    for number, line in enumerate(ends):
        np.testing.assert_array_equal(level.objects[number].positions, line)


@pytest.mark.parametrize("kind", ["graph", "skeleton"])
def test_graphs_come_in_with_every_edge(
    tmp_path: Path, cloud: np.ndarray, rng: np.random.Generator, kind: str
) -> None:
    if kind == "skeleton":
        links, weights = _tree(rng, 300), None
    else:
        pairs = rng.integers(0, 300, (500, 2))
        links = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)
        weights = {"weight": np.arange(len(links), dtype="f8")}
    write_graph(
        str(tmp_path / "g"), cloud, links, kind=kind, link_attributes=weights,
        vertex_attributes={"number": np.arange(300)}, **CELLS,
    )  # fmt: skip
    repo = memory()
    done = import_file(repo, tmp_path / "g", "g")
    found = level_of(repo, "g").read(attributes="all", link_attributes="all")
    assert done.kind == kind
    assert found.edges is not None
    number = found.attributes["number"]
    np.testing.assert_array_equal(found.positions, cloud[number])
    ends = list(map(tuple, number[found.edges].tolist()))
    if kind == "skeleton":
        # zarr-vectors keeps the tree, and which end is the root as it likes.
        assert {frozenset(e) for e in ends} == {frozenset(e) for e in links.tolist()}
        assert len(set(number[found.edges][:, 0].tolist())) == len(links)
    else:
        mine = dict(zip(ends, found.link_attributes["weight"].tolist(), strict=True))
        assert weights is not None
        theirs = zip(map(tuple, links.tolist()), weights["weight"].tolist(), strict=True)
        assert {(frozenset(e), w) for e, w in mine.items()} == {
            (frozenset(e), w) for e, w in theirs
        }


def test_meshes_come_in_with_their_winding(
    tmp_path: Path, cloud: np.ndarray, rng: np.random.Generator
) -> None:
    faces = np.stack([rng.permutation(300)[:3] for _ in range(200)])
    write_mesh(
        str(tmp_path / "m"), cloud, faces, vertex_attributes={"number": np.arange(300)}, **CELLS
    )
    repo = memory()
    done = import_file(repo, tmp_path / "m", "m")
    assert (done.kind, done.vertices, done.links) == ("mesh", 300, 200)
    given = zvv.Geometry(cloud, np.arange(300), np.zeros(300, "i8"), faces=faces)
    assert triangles(level_of(repo, "m").read()) == triangles(given)


@pytest.mark.parametrize("shared", [False, True])
def test_coarser_levels_come_in_with_their_vertices(
    tmp_path: Path, cloud: np.ndarray, rng: np.random.Generator, shared: bool
) -> None:
    path = str(tmp_path / "p")
    ids = rng.integers(0, 7, 300) if shared else None
    write_points(path, cloud, object_ids=ids, bin_shape=(25,) * 3, **CELLS)
    build_pyramid(path, factors=[(4.0, 1.0)])
    there = zarr.open_group(path, mode="r")["1"].attrs["zarr_vectors_level"]
    theirs = peer.open(path)[1].read().positions
    repo = memory()
    import_zarr_vectors(repo, path, "p")
    assert repo.view()["p"].levels == [0, 1]
    assert len(repo.log("main")) == 2
    level = repo.view()["p"][1]
    assert not level.stale
    assert {tuple(p) for p in points(level.read())} == set(map(tuple, theirs.tolist()))
    if shared:  # each object has its own copy of a vertex that it shares
        assert level.vertex_count > there["vertex_count"]
        assert level.num_objects == 7
    else:
        assert level.vertex_count == there["vertex_count"]
    one = import_zarr_vectors(repo, path, "fine", levels=[0])
    assert (repo.view()["fine"].levels, one.vertices) == ([0], 300)


# ---- ours: out, and in again ---------------------------------------------------


def _ours(repo: zvv.Repository, rng: np.random.Generator) -> None:
    """A dataset of each family, in batches, with sparse ids, removals, text, metadata, levels."""
    place: Any = {"bounds": ([-50] * 3, [50] * 3), "chunk_shape": [50] * 3}
    axes = [{"name": n, "type": "space", "unit": "micrometer"} for n in "xyz"]
    cloud = lambda n: rng.uniform(-50, 50, (n, 3)).astype("f4")  # noqa: E731
    with repo.transaction() as tx:
        tx.create_dataset("points", kind="point_cloud", axes=axes, metadata={"a": [1]}, **place)
        for kind in ("streamline", "graph", "skeleton", "mesh", "line"):
            tx.create_dataset(kind, kind=kind, **place)
        for batch, first in enumerate((5813024015, 7)):
            tx.writer("points").append_vertices_sync(
                cloud(100), object_ids=first + np.arange(100) // 20,
                attributes={"score": rng.random(100), "word": rng.choice(["a", "ü"], 100)},
                object_attributes={"name": [f"{batch}-{i}" for i in range(5)]},
            )  # fmt: skip
            tx.writer("line").append_lines_sync(
                cloud(20).reshape(10, 2, 3), object_ids=first + np.arange(10)
            )
            tx.writer("streamline").append_polylines_sync(
                [np.clip(np.cumsum(rng.normal(0, 9, (30, 3)), 0), -49, 49) for _ in range(6)],
                object_ids=first + np.arange(6), dtype="float32",
                link_attributes={"speed": rng.random(6 * 29)},
            )  # fmt: skip
            for part in range(3):
                tx.writer("skeleton").append_graph_sync(
                    cloud(30), _tree(rng, 30), object_ids=first + part,
                    attributes={"radius": rng.random(30)},
                )  # fmt: skip
                pairs = np.array([[i, (i * 7 + 3) % 30] for i in range(30)])
                pairs = pairs[pairs[:, 0] != pairs[:, 1]]
                tx.writer("graph").append_graph_sync(
                    cloud(30), pairs, object_ids=first + part,
                    link_attributes={"weight": rng.random(len(pairs))},
                )  # fmt: skip
                faces = np.stack([rng.permutation(30)[:3] for _ in range(20)])
                tx.writer("mesh").append_mesh_sync(
                    cloud(30), faces, object_ids=first + part,
                    face_attributes={"area": rng.random(20)},
                )  # fmt: skip
        tx.writer("points").add_group_sync("left", [7, 9, 5813024016])
        tx.create_level("points", 1, method="every fifth")
        coarse = cloud(20)
        tx.writer("points", level=1).append_vertices_sync(coarse, object_ids=7)
    with repo.transaction() as tx:
        for name in ("points", "streamline", "graph", "skeleton", "mesh", "line"):
            tx.writer(name).remove_objects_sync([8])


def _everything(level: zvv.Level) -> dict[str, Any]:
    """What a level holds, by object, whatever the order of batches."""
    found: dict[str, Any] = {}
    for number in sorted(level.object_ids().tolist()):
        one = level.read(objects=[number], attributes="all", link_attributes="all")
        columns = [one.attributes[name].tolist() for name in sorted(one.attributes)]
        of = {"vertices": sorted(zip(one.positions.tolist(), *columns, strict=True))}
        if one.parts is not None:
            of["lines"] = sorted(line.tolist() for line in one.lines())
        elif one.edges is not None:
            of["edges"] = sorted(edges(one))
        elif one.faces is not None:
            of["faces"] = triangles(one)
        of["values"] = {n: sorted(v.tolist()) for n, v in one.link_attributes.items()}
        found[str(number)] = of
    found["objects"] = {
        name: dict(zip(level.object_ids().tolist(), level.object_attribute(name), strict=True))
        for name in level.object_attribute_names
    }
    found["groups"] = {name: sorted(ids.tolist()) for name, ids in level.groups.items()}
    return found


def test_what_goes_out_comes_back_the_same(tmp_path: Path, rng: np.random.Generator) -> None:
    repo = memory()
    _ours(repo, rng)
    for name in ("points", "streamline", "graph", "skeleton", "mesh", "line"):
        dataset = repo.view()[name]
        path = tmp_path / f"{name}.zarrvectors"
        done = export_file(dataset[0], path)
        assert (done.format, done.vertices, done.left_out) == (
            "zarr_vectors", dataset[0].vertex_count, (),
        )  # fmt: skip
        assert done.files == sum(file.is_file() for file in path.rglob("*"))
        _valid(path)
        assert peer.open(str(path))[0].vertex_count == dataset[0].vertex_count
        again = memory()
        came = import_file(again, path, name)
        assert (came.kind, came.objects) == (dataset.kind, dataset[0].num_objects)
        copy = again.view()[name]
        assert copy.levels == dataset.levels
        assert (copy.axes, copy.metadata, copy.bounds) == (
            dataset.axes, dataset.metadata, dataset.bounds,
        )  # fmt: skip
        for number in dataset.levels:
            assert _everything(copy[number]) == _everything(dataset[number])
    assert len(again.log("main")) == 2


@pytest.mark.parametrize(
    "name",
    [
        "points",
        "streamline",
        "mesh",
        *(pytest.param(name, marks=pytest.mark.long) for name in ("graph", "skeleton", "line")),
    ],
)
def test_a_part_goes_out_alone(tmp_path: Path, rng: np.random.Generator, name: str) -> None:
    repo = memory()
    _ours(repo, rng)
    level = level_of(repo, name)
    wanted = level.object_ids()[::2]
    done = export_zarr_vectors(level, tmp_path / "objects", objects=wanted)
    _valid(tmp_path / "objects")
    assert done.objects == len(wanted)
    again = memory()
    import_file(again, tmp_path / "objects", name)
    everything = _everything(level)
    copy = _everything(level_of(again, name))
    assert {k: copy[k] for k in map(str, wanted.tolist())} == {
        k: everything[k] for k in map(str, wanted.tolist())
    }
    assert level_of(again, name).num_objects == len(wanted)

    done = export_zarr_vectors(level, tmp_path / "box", bbox=HALF, attributes=[])
    _valid(tmp_path / "box")
    import_file(again, tmp_path / "box", "box")
    expected = level.read(bbox=HALF)
    assert points(level_of(again, "box").read()) == points(expected)
    assert done.vertices == len(expected)
    assert level_of(again, "box").attribute_names == []
    assert list(tmp_path.glob(".*")) == []


def test_a_coarser_level_goes_out_as_a_store_of_its_own(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    repo = memory()
    _ours(repo, rng)
    export_file(repo.view()["points"][1], tmp_path / "coarse.zv")
    _valid(tmp_path / "coarse.zv")
    assert peer.open(str(tmp_path / "coarse.zv"))[0].vertex_count == 20


def test_objects_by_number_are_all_found_by_zarr_vectors(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    repo = memory()
    _ours(repo, rng)
    level = level_of(repo, "streamline")
    export_file(level, tmp_path / "s.zarrvectors", by_number=True)
    assert len(peer.open(str(tmp_path / "s.zarrvectors"))[0].read().polylines) == 11
    export_file(level, tmp_path / "ids.zarrvectors")
    import_file(repo, tmp_path / "ids.zarrvectors", "ids")
    assert set(level_of(repo, "ids").object_ids()) == set(level.object_ids())


def test_a_store_of_a_view_comes_in_without_a_file(rng: np.random.Generator) -> None:
    repo, other = memory(), memory()
    _ours(repo, rng)
    import_zarr_vectors(other, repo.view()["mesh"].store, "mesh")
    assert _everything(level_of(other, "mesh")) == _everything(level_of(repo, "mesh"))


@pytest.mark.long
def test_small_batches_bring_the_same(tmp_path: Path, rng: np.random.Generator) -> None:
    repo = memory()
    _ours(repo, rng)
    for name in ("points", "streamline", "skeleton", "mesh", "line"):
        export_file(repo.view()[name][0], tmp_path / name, format="zarr_vectors")
        done = import_zarr_vectors(repo, tmp_path / name, f"{name}-2", batch_vertices=12)
        assert done.batches > 2
        assert _everything(level_of(repo, f"{name}-2")) == _everything(level_of(repo, name))


@pytest.mark.long
def test_many_processes_import_a_store(
    tmp_path: Path, rng: np.random.Generator, local_location: str
) -> None:
    distributed = pytest.importorskip("distributed")
    repo = zvv.Repository.create(local_location)
    _ours(repo, rng)
    export_file(repo.view()["points"][0], tmp_path / "p.zv")
    with (
        distributed.LocalCluster(2, processes=True, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        done = import_distributed(
            repo, tmp_path / "p.zv", "again", client=client, batch_vertices=40
        )
    assert done.batches > 2
    assert _everything(level_of(repo, "again")) == _everything(level_of(repo, "points"))
    assert repo.view()["again"].levels == [0, 1]


def test_a_store_is_added_to_a_dataset_that_is_there(tmp_path: Path, cloud: np.ndarray) -> None:
    write_points(str(tmp_path / "p"), cloud, object_ids=np.arange(300), **CELLS)
    repo = memory()
    import_file(repo, tmp_path / "p", "p")
    with pytest.raises(zvv.ArrayError, match="overlap existing objects"):
        import_file(repo, tmp_path / "p", "p", append=True)
    assert level_of(repo, "p").vertex_count == 300
    write_points(str(tmp_path / "more"), cloud[:10], object_ids=np.full(10, 999), **CELLS)
    import_file(repo, tmp_path / "more", "p", append=True)
    assert level_of(repo, "p").vertex_count == 310


# ---- looking, and what cannot be read -----------------------------------------


def test_looking_at_a_store_says_what_is_in_it(tmp_path: Path, ways: list[np.ndarray]) -> None:
    write_polylines(str(tmp_path / "l"), ways, object_attributes={"w": np.arange(4.0)}, **CELLS)
    told = scan_file(tmp_path / "l")
    assert (told.format, told.kind, told.vertices) == ("zarr_vectors", "streamline", 80)
    assert told.object_attributes == ("w",)


def _cut(path: Path, array: str) -> None:
    """Every chunk of an array ends early."""
    for file in (path / "0" / array / "c").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _without(path: Path, key: str, *where: str) -> None:
    document = json.loads((path / "zarr.json").read_text())
    part = document["attributes"]
    for name in where:
        part = part[name]
    del part[key]
    (path / "zarr.json").write_text(json.dumps(document))


def _other_kind(path: Path) -> None:
    document = json.loads((path / "zarr.json").read_text())
    document["attributes"]["zarr_vectors"]["geometry_types"] = ["sponge"]
    (path / "zarr.json").write_text(json.dumps(document))


BREAKS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "vertices cut short": (lambda p: _cut(p, "vertices"), "vertices"),
    "fragments cut short": (lambda p: _cut(p, "vertex_fragments"), "vertex_fragments"),
    "objects cut short": (lambda p: _cut(p, "object_index/manifests"), "object_index"),
    "values cut short": (lambda p: _cut(p, "vertex_attributes/c"), "vertex_attributes/c"),
    "a document that is no JSON": (lambda p: (p / "zarr.json").write_text("{"), "zarr.json|Zarr"),
    "an empty document": (lambda p: (p / "zarr.json").write_text(""), "Zarr Vectors"),
    "no facts": (lambda p: _without(p, "zarr_vectors"), "zarr_vectors"),
    "no bounds": (lambda p: _without(p, "bounds", "zarr_vectors"), "bounds"),
    "a kind that is unknown": (_other_kind, "sponge"),
    "no level 0": (lambda p: shutil.rmtree(p / "0"), "no level 0"),
    "no vertices": (lambda p: shutil.rmtree(p / "0" / "vertices"), "vertices"),
    "no fragments": (lambda p: shutil.rmtree(p / "0" / "vertex_fragments"), "vertex_fragments"),
    "no chunks of vertices": (lambda p: shutil.rmtree(p / "0" / "vertices" / "c"), "vertices"),
}


@pytest.mark.parametrize("how", BREAKS)
def test_a_broken_store_is_an_error_and_leaves_nothing(
    tmp_path: Path, cloud: np.ndarray, how: str
) -> None:
    path = tmp_path / "p"
    write_points(
        str(path), cloud, object_ids=np.arange(300) // 9, vertex_attributes={"c": cloud[:, 0]},
        **CELLS,
    )  # fmt: skip
    spoil, said = BREAKS[how]
    spoil(path)
    repo = memory()
    before = repo.resolve("main")
    with pytest.raises(zvv.ZVError, match=said):
        import_zarr_vectors(repo, path, "p", batch_vertices=50)
    assert repo.resolve("main") == before
    assert repo.view().datasets == []


def test_what_is_no_store_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "table.csv").write_text("x,y\n1,2\n")
    zarr.create_group(str(tmp_path / "other.zarr"))
    repo = memory()
    with pytest.raises(zvv.NotFoundError, match="there is no store at"):
        import_zarr_vectors(repo, tmp_path / "nowhere", "p")
    for name, kind in (("empty", zvv.ArrayError), ("other.zarr", zvv.ArrayError)):
        with pytest.raises(kind, match="Zarr Vectors"):
            import_file(repo, tmp_path / name, "p", format="zarr_vectors")
    with pytest.raises(zvv.MetadataError, match="one Zarr Vectors store"):
        import_file(repo, [tmp_path / "empty", tmp_path / "other.zarr"], "p", format="zarr_vectors")
    with pytest.raises(zvv.ZVError):
        import_file(repo, tmp_path / "table.csv", "p", format="zarr_vectors")
    assert repo.view().datasets == []


def test_levels_that_are_not_there_are_refused(tmp_path: Path, cloud: np.ndarray) -> None:
    write_points(str(tmp_path / "p"), cloud, **CELLS)
    for levels in ([1], [0, 1], [], [0, 0]):
        with pytest.raises(zvv.NotFoundError, match="has the levels 0"):
            import_zarr_vectors(memory(), tmp_path / "p", "p", levels=levels)


def test_an_export_that_fails_leaves_no_folder(tmp_path: Path, rng: np.random.Generator) -> None:
    repo = memory()
    _ours(repo, rng)
    level = level_of(repo, "points")
    with pytest.raises(zvv.NotFoundError, match="123456"):
        export_zarr_vectors(level, tmp_path / "p", objects=[123456])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "kept").write_text("kept")
    with pytest.raises(zvv.MetadataError, match="there already"):
        export_zarr_vectors(level, tmp_path / "full")
    assert (tmp_path / "full" / "kept").read_text() == "kept"
    assert [p.name for p in tmp_path.iterdir()] == ["full"]
    export_zarr_vectors(level, tmp_path / "full", overwrite=True)
    assert not (tmp_path / "full" / "kept").exists()
    _valid(tmp_path / "full")
    assert len(rows_of(level, "score")) == level.vertex_count
