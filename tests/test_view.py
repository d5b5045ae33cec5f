"""Views: pinned for ever, read exactly, and not for writing where there is no branch."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import zv_versioned as zvv
from zv_versioned.reading import reader


def repository(**settings: Any) -> zvv.Repository:
    repo = zvv.Repository.create("memory://")
    arguments = {"kind": "point_cloud", "bounds": ([-4] * 2, [4] * 2), "chunk_shape": (1, 1)}
    with repo.transaction(message="begin") as tx:
        tx.create_dataset("p", **{**arguments, **settings})
    return repo


def append(repo: zvv.Repository, positions: Any, **arguments: Any) -> str:
    with repo.transaction() as tx:
        tx.writer("p").append_vertices_sync(np.asarray(positions, "f4"), **arguments)
    assert tx.result is not None
    return tx.result.snapshot_id


def level(repo: zvv.Repository, ref: str = "main") -> zvv.Level:
    return repo.view(ref)["p"][0]


LATTICE = np.array(list(itertools.product(np.arange(-4, 4.5, 0.5), repeat=2)), "f4")


@pytest.fixture(scope="module")
def lattice() -> zvv.Level:
    """Vertices on every corner, side and middle of the cells, in two batches, shuffled."""
    repo = repository()
    rng = np.random.default_rng(3)
    order = rng.permutation(len(LATTICE))
    for number, rows in enumerate(np.array_split(order, 2)):
        ids = 10 * rng.integers(0, 5, len(rows)) + number
        append(repo, LATTICE[rows], object_ids=ids, attributes={"row": rows})
    return level(repo)


# ---- boxes -------------------------------------------------------------------------------------

SIDES = [-np.inf, -4, -3.75, -0.5, 0, 0.25, 1, 4, np.nextafter(4, 5), np.inf]


@pytest.mark.parametrize("hi", SIDES)
@pytest.mark.parametrize("lo", SIDES)
def test_a_box_has_its_lower_sides_and_not_its_upper_ones(
    lattice: zvv.Level, lo: float, hi: float
) -> None:
    if lo > hi:
        with pytest.raises(zvv.ArrayError, match="reversed on axis 0"):
            lattice.read(bbox=([lo, 0], [hi, 1]))
        return
    whole = lattice.positions()
    expected = (whole[:, 0] >= lo) & (whole[:, 0] < hi) & (whole[:, 1] >= -1) & (whole[:, 1] < 0)
    got = lattice.read(bbox=([lo, -1], [hi, 0]), attributes=["row"])
    np.testing.assert_array_equal(got.vertex_ids, np.flatnonzero(expected))
    np.testing.assert_array_equal(LATTICE[got.attributes["row"]], got.positions)


def test_boxes_side_by_side_find_each_vertex_once(lattice: zvv.Level) -> None:
    sides = [-4, -1.5, -1, 0.1, 2, 4.001]
    found = [
        lattice.read(bbox=([a, c], [b, d])).vertex_ids
        for (a, b), (c, d) in itertools.product(itertools.pairwise(sides), repeat=2)
    ]
    assert sorted(np.concatenate(found).tolist()) == list(range(lattice.vertex_count))


def test_a_coordinate_is_compared_as_it_is_stored_and_not_as_it_was_meant() -> None:
    repo = repository()
    # In float32, 0.1 is a little more than 0.1, and 0.7 a little less than 0.7.
    append(repo, [[0.1, 0], [0.7, 0]])
    assert len(level(repo).read(bbox=([0.1, -1], [0.7, 1]))) == 2
    assert len(level(repo).read(bbox=([0.7, -1], [0.8, 1]))) == 0
    assert len(level(repo).read(bbox=([0.0, -1], [0.1, 1]))) == 0


@pytest.mark.parametrize(
    ("bbox", "words"),
    [
        (([0, 0, 0], [1, 1, 1]), ["3 axes", "2"]),
        (([0, 0], [1]), ["same length"]),
        (([np.nan, 0], [1, 1]), ["NaN"]),
        (5, ["pair (lo, hi)", "5"]),
        ("ab", ["pair (lo, hi)", "'ab'"]),
        (([0, 1], [1, 0]), ["reversed on axis 1"]),
    ],
)
def test_a_box_that_is_none_is_refused(lattice: zvv.Level, bbox: Any, words: list[str]) -> None:
    with pytest.raises(zvv.ArrayError) as caught:
        lattice.read(bbox=bbox)
    assert [word for word in words if word not in str(caught.value)] == []


# ---- objects, batches, limit, attributes ------------------------------------------------------


def test_objects_are_read_by_id_in_the_order_of_the_level(lattice: zvv.Level) -> None:
    whole = lattice.read()
    for asked in (20, [20], [31, 20, 20], np.array([20, 31], "u2"), np.int32(31)):
        got = lattice.objects[asked]
        expected = np.flatnonzero(np.isin(whole.object_ids, asked))
        np.testing.assert_array_equal(got.vertex_ids, expected)
        assert list(got.attributes) == ["row"]
    assert len(lattice.read(objects=[])) == 0


def test_the_objects_of_a_level_are_a_collection(lattice: zvv.Level) -> None:
    objects = lattice.objects
    assert sorted(objects) == [0, 1, 10, 11, 20, 21, 30, 31, 40, 41]
    assert len(objects) == lattice.num_objects == 10
    assert 20 in objects
    assert np.int64(31) in objects
    for absent in (22, -1, 2**63, 20.0, True, "20", None):
        assert absent not in objects


def test_an_object_that_exists_may_have_nothing_in_a_box_or_a_batch(lattice: zvv.Level) -> None:
    assert len(lattice.read(objects=20, bbox=([4.5, 4.5], [9, 9]))) == 0
    assert len(lattice.read(objects=20, batches=1)) == 0
    assert len(lattice.read(objects=[20, 31], bbox=([4.5, 4.5], [9, 9]), batches=[0])) == 0


@pytest.mark.parametrize("where", [{}, {"bbox": ([0, 0], [1, 1])}, {"bbox": ([8, 8], [9, 9])}])
def test_an_object_that_does_not_exist_is_said_to_be_absent(
    lattice: zvv.Level, where: dict[str, Any]
) -> None:
    with pytest.raises(zvv.NotFoundError, match="no object 22, 77 "):
        lattice.read(objects=[20, 77, 22], **where)


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"objects": -1}, zvv.ArrayError, ["-1"]),
        ({"objects": [1.5]}, zvv.ArrayError, ["1.5"]),
        ({"objects": True}, zvv.ArrayError, ["True"]),
        ({"objects": "20"}, zvv.ArrayError, ["'20'"]),
        ({"objects": [[20]]}, zvv.ArrayError, ["[[20]]"]),
        ({"objects": [20, [31, 41]]}, zvv.ArrayError, ["[20, [31, 41]]"]),
        ({"objects": 2**70}, zvv.ArrayError, [str(2**70)]),
        ({"batches": 2}, zvv.NotFoundError, ["2"]),
        ({"batches": -1}, zvv.NotFoundError, ["-1"]),
        ({"batches": 0.0}, zvv.ArrayError, ["0.0"]),
        ({"batches": [0, [1, 1]]}, zvv.ArrayError, ["[0, [1, 1]]"]),
        ({"limit": -1}, zvv.ArrayError, ["-1"]),
        ({"limit": 1.0}, zvv.ArrayError, ["1.0"]),
        ({"limit": True}, zvv.ArrayError, ["True"]),
        ({"attributes": "rows"}, zvv.NotFoundError, ["'rows'", "'row'"]),
        ({"attributes": ["row", ""]}, zvv.NotFoundError, ["''", "'row'"]),
        ({"attributes": 5}, zvv.ZVError, ["5"]),
        ({"attributes": [["row"]]}, zvv.ZVError, ["row"]),
    ],
    ids=str,
)
def test_a_wrong_question_is_refused_by_what_is_wrong_in_it(
    lattice: zvv.Level, wrong: dict[str, Any], error: type[Exception], words: Sequence[str]
) -> None:
    with pytest.raises(error) as caught:
        lattice.read(**wrong)
    assert [word for word in words if word not in str(caught.value)] == []


def test_a_limit_gives_the_first_ones_whatever_else_is_asked(lattice: zvv.Level) -> None:
    whole = lattice.read(bbox=([-2, -2], [2, 2]), objects=[10, 11])
    for limit in (0, 1, 5, len(whole), 10_000, np.int64(3)):
        got = lattice.read(bbox=([-2, -2], [2, 2]), objects=[10, 11], limit=limit)
        np.testing.assert_array_equal(got.vertex_ids, whole.vertex_ids[:limit])


def test_batches_are_read_by_slot(lattice: zvv.Level) -> None:
    first = lattice.batches[0].vertex_count
    for asked, expected in ((1, slice(first, None)), ([1, 0, 1], slice(None)), ([], slice(0))):
        got = lattice.read(batches=asked).vertex_ids
        np.testing.assert_array_equal(got, np.arange(lattice.vertex_count)[expected])


@pytest.mark.parametrize("window", [1, 3, 100])
def test_a_read_in_many_windows_gives_the_same(
    lattice: zvv.Level, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    query: dict[str, Any] = {"bbox": ([-3, -4], [3, 1]), "objects": [0, 11], "attributes": "all"}
    at_once = lattice.read(**query)
    monkeypatch.setattr(reader, "WINDOW_VERTICES", window)
    in_pieces = lattice.read(**query)
    np.testing.assert_array_equal(in_pieces.vertex_ids, at_once.vertex_ids)
    np.testing.assert_array_equal(in_pieces.object_ids, at_once.object_ids)
    np.testing.assert_array_equal(in_pieces.attributes["row"], at_once.attributes["row"])


def test_a_batch_without_values_reads_as_the_fill_value_or_raises() -> None:
    repo = repository()
    two = np.zeros((2, 2))
    append(repo, two)
    values = {"f": [1.0, 2.0], "i": np.array([1, 2], "i2"), "u": np.array([[1], [2]], "u1")}
    append(repo, two, attributes={**values, "b": [True, True]})
    append(repo, two, attributes={"f": [3.0, 4.0]})
    now = level(repo)
    np.testing.assert_array_equal(now.attribute("f"), [np.nan, np.nan, 1, 2, 3, 4])
    assert now.attribute("i").tolist() == [-32768, -32768, 1, 2, -32768, -32768]
    assert now.attribute("u").tolist() == [[255], [255], [1], [2], [255], [255]]
    assert now.attribute("b").tolist() == [False, False, True, True, False, False]
    with pytest.raises(zvv.ArrayError, match=r"'i' .* 4 of 6 vertices.*\[0, 2\].*missing=\"fill\""):
        now.attribute("i", missing="raise")
    with pytest.raises(zvv.ArrayError, match="'ignore'"):
        now.attribute("i", missing="ignore")
    with pytest.raises(zvv.NotFoundError, match=r"'x'.*'b', 'f', 'i', 'u'"):
        now.attribute("x")
    with pytest.raises(zvv.NotFoundError, match=r"'f'.*none"):
        level(repo, "main~2").attribute("f")


def test_a_level_without_vertices_reads_as_empty_arrays() -> None:
    empty = level(repository(vertex_dtype="int16"))
    for got in (empty.read(), empty.read(bbox=([0, 0], [1, 1]), limit=4), empty.read(limit=0)):
        assert (got.positions.shape, got.positions.dtype) == ((0, 2), np.int16)
        assert (got.vertex_ids.dtype, got.object_ids.dtype) == (np.int64, np.int64)
    assert empty.object_ids().dtype == np.int64
    assert (empty.batches, empty.attribute_names, list(empty.objects)) == ([], [], [])


# ---- large and many ----------------------------------------------------------------------------


def test_a_batch_of_many_shards_and_pages_is_read_in_part() -> None:
    """More vertices, cells and fragments than one shard or one page of an index has."""
    rng = np.random.default_rng(5)
    positions = rng.uniform(-4, 4, (150_000, 2)).astype("f4")
    repo = repository(chunk_shape=(0.1, 0.1))
    ids = rng.permutation(150_000) * 3
    append(repo, positions, object_ids=ids, attributes={"id": ids})
    now = level(repo)
    some = rng.choice(ids, 200, replace=False)
    got = now.read(objects=some, attributes="all")
    assert sorted(got.object_ids.tolist()) == sorted(some.tolist())
    np.testing.assert_array_equal(got.attributes["id"], got.object_ids)
    row_of = np.argsort(ids)
    np.testing.assert_array_equal(got.positions, positions[row_of[got.object_ids // 3]])
    for lo in (-4, -0.33, 3.9):
        got = now.read(bbox=([lo, lo], [lo + 0.5, lo + 0.25]), attributes=["id"])
        inside = (positions >= lo) & (positions < [lo + 0.5, lo + 0.25])
        assert sorted(got.attributes["id"].tolist()) == sorted(ids[inside.all(axis=1)].tolist())


def test_more_batches_than_one_bucket_of_the_table_holds() -> None:
    repo = repository()
    with repo.transaction() as tx:
        for number in range(100):
            values = {"a": [number]} if number % 3 else None
            writer = tx.writer("p")
            writer.append_vertices_sync(np.full((1, 2), number % 4, "f4"), attributes=values)
    for number in range(100, 150):
        append(repo, [[number % 4, 0]], attributes={f"b{number % 2}": [number]})
    now = level(repo)
    assert [batch.slot for batch in now.batches] == list(range(150))
    assert len({batch.uuid for batch in now.batches}) == 150
    np.testing.assert_array_equal(now.positions()[:, 0], np.arange(150) % 4)
    filled = np.where(np.arange(100) % 3, np.arange(100), np.iinfo(np.int64).min)
    np.testing.assert_array_equal(now.attribute("a")[:100], filled)
    assert now.attribute("b1")[101::2].tolist() == list(range(101, 150, 2))
    assert level(repo, "main~20").vertex_count == 130
    np.testing.assert_array_equal(now.read(batches=[63, 64, 128]).vertex_ids, [63, 64, 128])


# ---- pinned ------------------------------------------------------------------------------------


def test_a_view_never_changes_and_vertices_keep_their_numbers() -> None:
    repo = repository()
    rng = np.random.default_rng(7)
    views = [repo.view()]
    for _ in range(6):
        append(repo, rng.uniform(-4, 4, (30, 2)))
        views.append(repo.view())
    newest = views[-1]["p"][0].positions()
    for number, view in enumerate(views):
        assert view["p"][0].vertex_count == 30 * number
        np.testing.assert_array_equal(view["p"][0].positions(), newest[: 30 * number])
    repo.reset_branch("main", to="main~4")
    append(repo, np.zeros((7, 2)))
    np.testing.assert_array_equal(views[-1]["p"][0].positions(), newest)
    np.testing.assert_array_equal(level(repo).positions()[:60], newest[:60])
    assert level(repo).vertex_count == 67


@pytest.mark.parametrize("other", [3, None, "main"])
def test_a_vertex_map_is_one_from_a_view(other: Any) -> None:
    repo = repository()
    append(repo, [[0, 0]])
    with pytest.raises(zvv.MetadataError, match=f"an earlier view.*not {other!r}"):
        level(repo).vertex_map(other)


def test_a_view_is_a_mapping_of_its_datasets() -> None:
    repo = repository()
    view = repo.view()
    assert (list(view), len(view), "p" in view, "q" in view) == (["p"], 1, True, False)
    assert view["p"] is view["p"]
    assert view["p"][0] is view["p"][0]
    assert view.get("q") is None
    assert view.get("q", 5) == 5


@pytest.mark.parametrize("name", ["q", "", "p/", "/p", "p/0", "..", "p/vertices", "P", 5, None])
def test_a_dataset_that_is_not_there_is_named_with_those_that_are(name: Any) -> None:
    repo = repository()
    for ask in (repo.view().__getitem__, repo.transaction().writer):
        with pytest.raises(zvv.NotFoundError) as caught:
            ask(name)
        assert repr(name) in str(caught.value)
        assert "there are: 'p'" in str(caught.value)


@pytest.mark.parametrize("number", [1, -1, "0", 0.5, None, True])
def test_a_level_that_is_not_there_is_refused(number: Any) -> None:
    repo = repository()
    for ask in (repo.view()["p"].__getitem__, lambda n: repo.transaction().writer("p", n)):
        with pytest.raises(zvv.NotFoundError) as caught:
            ask(number)
        assert repr(number) in str(caught.value)


@pytest.mark.parametrize("pin", ["tag", "snapshot_id", "prefix", "ancestor"])
def test_a_view_without_a_branch_is_not_for_writing(pin: str) -> None:
    repo = repository()
    tip = append(repo, [[0, 0]])
    repo.create_tag("v1")
    view = {
        "tag": lambda: repo.view(tag="v1"),
        "snapshot_id": lambda: repo.view(snapshot_id=tip),
        "prefix": lambda: repo.view(tip[:8]),
        "ancestor": lambda: repo.view("main~0"),
    }[pin]()
    assert view.branch is None
    with pytest.raises(zvv.ReadOnlyError, match=rf"{tip}.*no branch.*transaction\(branch\)"):
        view["p"][0].writer()
    assert repo.resolve("main") == tip
    with repo.view("main")["p"][0].writer() as writer:
        writer.append_vertices_sync(np.zeros((1, 2), "f4"))
    assert view["p"][0].vertex_count == 1


def test_the_store_of_a_dataset_cannot_be_written_to() -> None:
    assert repository().view()["p"].store.read_only


def test_one_view_is_read_from_many_threads(lattice: zvv.Level) -> None:
    expected = lattice.positions()
    wrong: list[Any] = []

    def read() -> None:
        for _ in range(5):
            if not np.array_equal(lattice.read(attributes="all").positions, expected):
                wrong.append("read")

    threads = [threading.Thread(target=read, daemon=True) for _ in range(6)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 30
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    assert [thread.is_alive() for thread in threads] == [False] * 6
    assert wrong == []


def test_a_dataset_goes_over_its_levels() -> None:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [9, 9]))
        tx.create_level("p", 1)
    dataset = repo.view()["p"]
    assert [level.number for level in dataset] == [0, 1] == dataset.levels
    assert len(dataset) == 2
    assert (list(repo.view()), len(repo.view())) == (["p"], 1)
