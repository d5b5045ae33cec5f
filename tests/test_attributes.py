"""Whole attributes: values for what is there, of every dtype, in the order of the level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import zv_versioned as zvv

BATCHES = (400, 1, 99)


@pytest.fixture
def repo() -> zvv.Repository:
    """Three batches over many cells; the objects of the last have ids of the user's."""
    rng = np.random.default_rng(0)
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0] * 3, [90] * 3), chunk_shape=[10] * 3)
        for number, n in enumerate(BATCHES):
            tx.writer("p").append_vertices_sync(
                rng.integers(0, 90, (n, 3)),
                object_ids=10**9 - rng.integers(0, 20, n) if number == 2 else None,
                attributes={"old": np.full(n, number)},
            )
    return repo


def level(repo: zvv.Repository) -> zvv.Level:
    return repo.view()["p"][0]


VALUES: dict[str, Any] = {
    "f2": np.linspace(0, 1, 500).astype("f2"),
    "f4": np.linspace(0, 1, 500).astype("f4"),
    "f8 columns": np.linspace(0, 1, 1500).reshape(500, 3),
    "one column": np.arange(500, dtype="u1")[:, None],
    "bool": np.arange(500) % 3 == 0,
    "i8": np.arange(500) * 2**50,
    "u8": np.full(500, 2**64 - 1, "u8"),
    "big-endian": np.arange(500, dtype=">i4"),
    "text": np.array(["axon", "dendrite", "", "größe", "点"] * 100),
    "objects": np.array(["axon", None, "soma", "a\0b", None] * 100, object),
    "StringDType": np.array(["axon", "dendrite"] * 250, np.dtypes.StringDType()),
    "columns of text": np.array([["a", "b"], ["c", None]] * 250, object),
    "dates": np.arange(500).astype("M8[D]"),
    "dates of 25 s": np.arange(500).astype("M8[25s]"),
    "spans": np.arange(1000).astype("m8[ns]").reshape(500, 2),
}


@pytest.mark.parametrize("case", VALUES)
def test_values_of_every_dtype_come_back_in_the_order_of_the_level(
    repo: zvv.Repository, case: str
) -> None:
    values = VALUES[case]
    positions = level(repo).positions()
    with level(repo).writer() as writer:
        result = writer.add_attribute_sync("x", values)
    assert result["values_written"] == 500
    found = level(repo).attribute("x", missing="raise")
    np.testing.assert_array_equal(found, values)
    kinds = "O" if values.dtype.kind in "UTO" else values.dtype.newbyteorder("=")
    assert found.dtype == np.dtype(kinds)
    np.testing.assert_array_equal(level(repo).positions(), positions)
    some = level(repo).read(bbox=([20] * 3, [60] * 3), attributes=["x", "old"])
    np.testing.assert_array_equal(some.attributes["x"], values[some.vertex_ids])


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("add_attribute", "level vertex count 500"),
        ("add_node_attribute", "level vertex count 500"),
        ("add_object_attribute", "level object count 421"),
    ],
)
@pytest.mark.parametrize("length", [0, 51, 501])
def test_a_wrong_length_says_what_it_is_compared_with(
    repo: zvv.Repository, verb: str, words: str, length: int
) -> None:
    tip = repo.resolve("main")
    with repo.transaction() as tx, pytest.raises(zvv.ArrayError) as caught:
        getattr(tx.writer("p"), f"{verb}_sync")("x", np.zeros(length))
    assert str(caught.value) == f"{verb}('x'): values length {length} != {words}"
    assert repo.resolve("main") == tip


def test_values_of_objects_are_in_the_order_of_their_ids(repo: zvv.Repository) -> None:
    ids = level(repo).object_ids()
    with level(repo).writer() as writer:
        writer.add_object_attribute_sync("id", ids)
        writer.add_object_attribute_sync("name", ids.astype(str))
        writer.add_object_attribute_sync("two", np.stack([ids % 2 == 0, ids % 3 == 0], axis=1))
    now = level(repo)
    assert now.object_attribute_names == ["id", "name", "two"]
    np.testing.assert_array_equal(now.object_attribute("id", missing="raise"), ids)
    assert now.object_attribute("name").tolist() == [str(i) for i in ids.tolist()]
    np.testing.assert_array_equal(now.object_attribute("two")[:, 1], ids % 3 == 0)


def test_a_dropped_attribute_is_gone_and_earlier_snapshots_keep_it(repo: zvv.Repository) -> None:
    before = level(repo)
    with before.writer() as writer:
        writer.drop_attribute_sync("old")
        with pytest.raises(zvv.NotFoundError, match="no vertex attribute 'old'"):
            writer.drop_attribute_sync("old")
    assert level(repo).attribute_names == []
    np.testing.assert_array_equal(before.attribute("old"), np.repeat([0, 1, 2], BATCHES))
    with level(repo).writer() as writer:
        writer.append_vertices_sync(np.ones((1, 3)), dtype="f4", attributes={"old": ["again"]})
    assert level(repo).attribute("old").tolist() == [None] * 500 + ["again"]


def test_an_attribute_is_replaced_with_another_dtype_and_shape(repo: zvv.Repository) -> None:
    for values in (VALUES["text"], VALUES["f8 columns"], VALUES["columns of text"], VALUES["f2"]):
        before = level(repo)
        with before.writer() as writer:
            writer.add_attribute_sync("old", values)
        np.testing.assert_array_equal(level(repo).attribute("old"), values)
    assert repo.view("main").snapshot_id != before._dataset._view.snapshot_id
    np.testing.assert_array_equal(before.attribute("old"), VALUES["columns of text"])
