"""Imports by many processes: the same as by one, as one commit, without a clash."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _files import NAVIS, TRACTS, level_of, memory

import zv_versioned as zvv
from zv_versioned.interop import (
    Progress,
    _csv_rows,
    export_streamlines,
    import_distributed,
    import_file,
    import_streamlines,
)
from zv_versioned.interop._parts import Looked, tasks_of
from zv_versioned.interop._pieces import Scan

pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A cluster of two processes."""
    import distributed

    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def repo(local_location: str) -> zvv.Repository:
    return zvv.Repository.create(local_location)


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """Six tables of 50 points; objects 0 to 9 are in several of them."""
    folder = tmp_path / "tables"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        rows = [
            f"{x},{y},{rng.integers(number, number + 5)},{x * 2},{'ab'[number % 2]}"
            for x, y in rng.uniform(0, 9, (50, 2)).round(3)
        ]
        (folder / f"{number}.csv").write_text("x,y,object_id,double,kind\n" + "\n".join(rows))
    return folder


def _same(repo: zvv.Repository, one: str, other: str) -> None:
    """Two datasets are the same, batch by batch."""
    a, b = level_of(repo, one), level_of(repo, other)
    assert [(x.slot, x.vertex_count, x.object_count, x.bounds) for x in a.batches] == [
        (x.slot, x.vertex_count, x.object_count, x.bounds) for x in b.batches
    ]
    assert (a.num_objects, a.link_count) == (b.num_objects, b.link_count)
    x, y = (level.read(attributes="all", link_attributes="all") for level in (a, b))
    np.testing.assert_array_equal(x.positions, y.positions)
    np.testing.assert_array_equal(x.object_ids, y.object_ids)
    assert x.attributes.keys() == y.attributes.keys()
    for name, values in x.attributes.items():
        np.testing.assert_array_equal(values, y.attributes[name])
    np.testing.assert_array_equal(a.links(), b.links())
    np.testing.assert_array_equal(a.object_ids(), b.object_ids())
    assert a.object_attribute_names == b.object_attribute_names
    for name in a.object_attribute_names:
        np.testing.assert_array_equal(a.object_attribute(name), b.object_attribute(name))
    assert repo.view()[one].bounds == repo.view()[other].bounds
    assert repo.view()[one].metadata == repo.view()[other].metadata


# ---- the same as by one process ------------------------------------------------


@pytest.mark.parametrize(
    ("source", "options"),
    [
        pytest.param(NAVIS / "synapses", {"objects": "file"}, marks=pytest.mark.long),
        pytest.param(NAVIS / "synapses", {}, marks=pytest.mark.long),
        (NAVIS / "swc", {"unit": "nanometer"}),
        pytest.param(NAVIS / "obj", {"dtype": "float32"}, marks=pytest.mark.long),
        (TRACTS, {"batch_vertices": 4000}),
    ],
    ids=["csv-files", "csv-points", "swc", "obj", "trk"],
)
def test_real_files_come_in_the_same(
    source: Path, options: dict[str, Any], client: Any, repo: zvv.Repository
) -> None:
    done = import_distributed(repo, source, "many", client=client, **options)
    alone = import_file(repo, source, "one", **options)
    _same(repo, "many", "one")
    for name in ("vertices", "links", "objects", "batches", "kind", "files", "format"):
        assert getattr(done, name) == getattr(alone, name)
    assert len(repo.log("main")) == 3


def test_objects_may_go_over_several_parts(client: Any, repo: zvv.Repository, tables: Path) -> None:
    done = import_distributed(repo, tables, "many", client=client)
    import_file(repo, tables, "one")
    assert (done.objects, done.batches) == (10, 6)
    _same(repo, "many", "one")
    level = level_of(repo, "many")
    for number in range(10):
        a, b = level.objects[number], level_of(repo, "one").objects[number]
        np.testing.assert_array_equal(a.positions, b.positions)


def test_one_long_table_is_read_by_several(
    client: Any, repo: zvv.Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_csv_rows, "_RANGE_BYTES", 2000)
    rng = np.random.default_rng(0)
    rows = [f"{x},{y},{x}" for x, y in rng.uniform(0, 9, (1000, 2)).round(4)]
    rows[700] = "1,2,"  # found by another worker than the one that finds whole numbers
    (tmp_path / "p.csv").write_text("x,y,v\n" + "\n".join(rows))
    done = import_distributed(repo, tmp_path / "p.csv", "many", client=client)
    assert done.batches > 5
    import_file(repo, tmp_path / "p.csv", "one")
    _same(repo, "many", "one")


def test_groups_and_ids_of_a_trx_file_survive(
    client: Any, repo: zvv.Repository, tmp_path: Path
) -> None:
    import_streamlines(repo, TRACTS, "t")
    with repo.transaction() as tx:
        tx.writer("t").add_group_sync("left", [250, 3, 17])
    export_streamlines(level_of(repo, "t"), tmp_path / "t.trx")
    import_distributed(repo, tmp_path / "t.trx", "many", client=client, batch_vertices=1000)
    import_file(repo, tmp_path / "t.trx", "one", batch_vertices=1000)
    _same(repo, "many", "one")
    assert level_of(repo, "many").groups["left"].tolist() == [3, 17, 250]


def test_counted_ids_go_on_from_the_largest(
    client: Any, repo: zvv.Repository, tmp_path: Path
) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.swc").write_text("1 1 0 0 0 1 -1\n2 0 9 9 9 1 1\n")
    for dataset in ("many", "one"):
        import_file(repo, tmp_path / "a.swc", dataset, object_ids=[41])
    source = [tmp_path / "b.swc", tmp_path / "c.swc"]
    import_distributed(repo, source, "many", client=client, append=True)
    import_file(repo, source, "one", append=True)
    _same(repo, "many", "one")
    assert level_of(repo, "many").object_ids().tolist() == [41, 42, 43]


def test_points_without_ids_are_counted_on(
    client: Any, repo: zvv.Repository, tmp_path: Path
) -> None:
    for number in range(4):
        (tmp_path / f"{number}.csv").write_text("x,y\n" + "1,2\n" * (number + 1))
    for dataset in ("many", "one"):
        import_file(repo, tmp_path / "0.csv", dataset, bounds=([0, 0], [9, 9]))
    source = [tmp_path / f"{n}.csv" for n in (1, 2, 3)]
    import_distributed(repo, source, "many", client=client, append=True)
    import_file(repo, source, "one", append=True)
    _same(repo, "many", "one")


# ---- what parts have and others have not -----------------------------------------


def test_an_attribute_of_a_later_part_is_missing_in_the_earlier(
    client: Any, repo: zvv.Repository, tmp_path: Path
) -> None:
    head = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\n"
    head += "property float z\n"
    face = "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    for number in range(20):
        more = number >= 16
        values = [f"{i} {i % 2} {number}" + (f" {i}" if more else "") for i in range(3)]
        text = head + ("property uchar tag\n" if more else "") + face
        (tmp_path / f"{number}.ply").write_text(text + "\n".join(values) + "\n3 0 1 2\n")
    import_distributed(repo, tmp_path, "many", client=client)
    import_file(repo, tmp_path, "one")
    _same(repo, "many", "one")
    assert level_of(repo, "many").attribute("tag").dtype == np.uint8


# ---- all or nothing ----------------------------------------------------------------


def test_what_one_part_cannot_read_leaves_nothing(
    client: Any, repo: zvv.Repository, tables: Path
) -> None:
    import_file(repo, tables / "0.csv", "there", bounds=([0, 0], [9, 9]))
    before = repo.resolve("main")
    (tables / "4.csv").write_text("x,y,object_id,double,kind\n1,2,3,4,a\n5,6\n")
    with pytest.raises(zvv.ArrayError, match=r"4\.csv, row 3 has 2 cells"):
        import_distributed(repo, tables, "many", client=client)
    (tables / "4.csv").write_text("x,y,object_id,double,kind\n1,20,3,4,a\n")
    with pytest.raises(zvv.ArrayError, match=r"4\.csv.*outside the bounds"):
        import_distributed(repo, tables, "many", client=client, bounds=([0, 0], [9, 9]))
    assert repo.resolve("main") == before
    import_distributed(
        repo, tables, "many", client=client, bounds=([0, 0], [9, 9]), out_of_bounds="expand"
    )
    assert repo.view()["many"].bounds == ((0, 0), (9, 20))


def test_ids_that_are_taken_are_refused_before_anything_is_uploaded(
    client: Any, repo: zvv.Repository, tables: Path
) -> None:
    import_file(repo, tables / "3.csv", "points", bounds=([0, 0], [9, 9]))
    before = repo.resolve("main")
    told: list[Progress] = []
    others = [tables / f"{n}.csv" for n in (0, 1, 5)]
    with pytest.raises(zvv.ArrayError, match="overlap existing objects"):
        import_distributed(repo, others, "points", client=client, append=True, progress=told.append)
    assert repo.resolve("main") == before
    assert {p.phase for p in told} == {"scan"}
    import_file(repo, tables / "3.csv", "one", bounds=([0, 0], [9, 9]))
    for dataset, run in (("points", {"client": client}), ("one", {})):
        function: Any = import_distributed if run else import_file
        function(repo, others, dataset, append=True, extend=True, **run)
    _same(repo, "points", "one")


def test_an_interrupt_leaves_nothing_and_stops_the_workers(
    client: Any, repo: zvv.Repository, tables: Path
) -> None:
    before = repo.resolve("main")

    def interrupt(progress: Progress) -> None:
        if progress.phase == "import" and progress.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_distributed(repo, tables, "many", client=client, progress=interrupt)
    assert repo.resolve("main") == before
    import_distributed(repo, tables, "many", client=client)


def test_somebody_elses_commit_meanwhile_is_kept(
    client: Any, repo: zvv.Repository, tables: Path
) -> None:
    import_file(repo, tables / "0.csv", "points", bounds=([0, 0], [9, 9]))
    append = [tables / f"{n}.csv" for n in (1, 2)]
    done = []

    def meanwhile(progress: Progress) -> None:
        if progress.phase == "import" and not done:
            done.append(1)
            with repo.transaction("main", message="meanwhile") as tx:
                tx.writer("points").append_vertices_sync(np.ones((7, 2)), object_ids=1000)

    import_distributed(
        repo, append, "points", client=client, append=True, extend=True, progress=meanwhile
    )
    level = level_of(repo, "points")
    assert level.vertex_count == 157
    assert len(level.objects[1000]) == 7
    assert [commit.message for commit in repo.log("main")][1] == "meanwhile"


def test_progress_goes_up_and_ends_with_publishing(
    client: Any, repo: zvv.Repository, tables: Path
) -> None:
    told: list[Progress] = []
    import_distributed(repo, tables, "many", client=client, progress=told.append)
    assert list(dict.fromkeys(p.phase for p in told)) == ["scan", "import", "publish"]
    done = [p.done for p in told if p.phase == "import"]
    assert done == sorted(done)
    assert len(done) == 7


# ---- clusters and places -------------------------------------------------------------


def test_workers_that_are_threads_do_not_share_a_session(
    repo: zvv.Repository, tables: Path
) -> None:
    import distributed

    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=3, processes=False, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        import_distributed(repo, tables, "many", client=client)
    import_file(repo, tables, "one")
    _same(repo, "many", "one")


def test_a_number_of_workers_starts_a_cluster_of_its_own(
    repo: zvv.Repository, tables: Path
) -> None:
    done = import_file(repo, tables, "many", workers=2)
    assert done.batches == 6
    import_file(repo, tables, "one")
    _same(repo, "many", "one")


def test_workers_upload_to_an_object_store(
    client: Any, s3_location: tuple[str, dict[str, Any]], tables: Path
) -> None:
    location, options = s3_location
    repo = zvv.Repository.create(location, **options)
    import_distributed(repo, tables, "many", client=client)
    import_file(repo, tables, "one")
    _same(repo, "many", "one")


def test_what_other_processes_cannot_see_is_refused(client: Any, tables: Path) -> None:
    repo = memory()
    with pytest.raises(zvv.StorageError, match="in this process alone"):
        import_distributed(repo, tables, "many", client=client)
    assert repo.view("main").datasets == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "give a client"),
        ({"workers": 0}, "from 1 up, got 0"),
        ({"workers": True}, "got True"),
        ({"workers": 1, "colour": 1}, "no option 'colour'"),
    ],
)
def test_what_is_not_understood_is_refused(
    options: dict[str, Any], said: str, repo: zvv.Repository, tables: Path
) -> None:
    with pytest.raises(zvv.MetadataError, match=said):
        import_distributed(repo, tables, "many", **options)


# ---- slots and ids -------------------------------------------------------------------


def test_each_part_gets_slots_and_ids_of_its_own() -> None:
    def told(pieces: int, unnamed: int, *ids: int) -> Looked:
        return Looked(Scan(None, pieces, 1), 1, np.array(ids, np.int64), False, unnamed)

    parts: Any = ["a", "b", "c", "d"]
    looked = [told(2, 5, 10, 11), told(0, 0), told(3, 4, 11, 12, 20), told(1, 0, 10, 12)]
    tasks = tasks_of(parts, looked, 7, 100, np.array([20]))
    assert [task.slot for task in tasks] == [7, 9, 9, 12]
    assert [task.first_unnamed for task in tasks] == [100, 105, 105, 109]
    assert [task.begun.tolist() for task in tasks] == [[], [], [11, 20], [10, 12]]
