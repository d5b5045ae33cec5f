"""Groups: names for sets of objects, which follow what happens to these."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tests._profiles  # noqa: F401
import zv_versioned as zvv
from zv_versioned._groups import decode_groups, encode_groups


@pytest.fixture
def repo() -> zvv.Repository:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [9, 9]))
        points = np.random.default_rng(0).uniform(0, 9, (40, 2))
        tx.writer("p").append_vertices_sync(
            points, dtype="f4", object_ids=np.arange(40) // 4 + 10**9
        )
    return repo


def level(repo: zvv.Repository) -> zvv.Level:
    return repo.view()["p"][0]


IDS = [10**9 + 5, 10**9 + 1, 10**9 + 5]


def test_a_group_is_a_name_for_objects_that_can_be_read(repo: zvv.Repository) -> None:
    assert dict(level(repo).groups) == {}
    with level(repo).writer() as writer:
        result = writer.add_group_sync("left", IDS)
        assert result == {"group": "left", "num_objects": 2}
        writer.add_group_sync("größe > 5", [10**9 + 1])
        writer.add_group_sync("none", [])
    now = level(repo)
    assert list(now.groups) == ["größe > 5", "left", "none"]
    assert now.groups["left"].tolist() == [10**9 + 1, 10**9 + 5]
    got = now.read(objects=now.groups["left"])
    assert sorted(set(got.object_ids.tolist())) == [10**9 + 1, 10**9 + 5]
    assert len(now.read(objects=now.groups["none"])) == 0
    assert "2 objects" in repr(now.groups)
    with pytest.raises(zvv.NotFoundError, match=r"'right'.*'left'"):
        now.groups["right"]
    with pytest.raises(ValueError, match="read-only"):
        now.groups["left"][0] = 5


def test_a_group_may_have_objects_of_its_own_transaction(repo: zvv.Repository) -> None:
    with level(repo).writer() as writer:
        ids = writer.append_vertices_sync(np.ones((3, 2)), dtype="f4")["object_ids"]
        writer.add_group_sync("new", ids)
    assert level(repo).groups["new"].tolist() == ids.tolist()


def test_a_group_is_replaced_and_forgotten_and_earlier_snapshots_keep_it(
    repo: zvv.Repository,
) -> None:
    with level(repo).writer() as writer:
        writer.add_group_sync("left", IDS)
    before = level(repo)
    with before.writer() as writer:
        writer.add_group_sync("left", IDS[:1])
        assert writer.add_group_sync("x", [])["num_objects"] == 0
        writer.remove_group_sync("x")
        with pytest.raises(zvv.NotFoundError, match=r"no group 'x'.*'left'"):
            writer.remove_group_sync("x")
    assert {n: ids.tolist() for n, ids in level(repo).groups.items()} == {"left": IDS[:1]}
    assert before.groups["left"].tolist() == sorted(set(IDS))
    assert level(repo)._dataset._view.info.message == "change the groups of p"


def test_a_removed_object_leaves_its_groups(repo: zvv.Repository) -> None:
    with level(repo).writer() as writer:
        writer.add_group_sync("left", IDS)
        writer.add_group_sync("other", [10**9 + 7])
    with level(repo).writer() as writer:
        writer.remove_objects_sync([10**9 + 5, 10**9 + 7])
        with pytest.raises(zvv.NotFoundError, match=str(10**9 + 5)):
            writer.add_group_sync("again", IDS)
    found = {name: ids.tolist() for name, ids in level(repo).groups.items()}
    assert found == {"left": [10**9 + 1], "other": []}


@pytest.mark.parametrize("name", ["", "a/b", "..", 5, None, "a\n"])
def test_a_name_that_no_group_can_have_is_refused(repo: zvv.Repository, name: object) -> None:
    with level(repo).writer() as writer, pytest.raises(zvv.MetadataError):
        writer.add_group_sync(name, [])  # type: ignore[arg-type]


def test_an_unknown_member_is_refused_and_nothing_changes(repo: zvv.Repository) -> None:
    tip = repo.resolve("main")
    with level(repo).writer() as writer, pytest.raises(zvv.NotFoundError, match="no object 5 "):
        writer.add_group_sync("left", [*IDS, 5])
    assert repo.resolve("main") == tip


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
        hnp.arrays(np.int64, st.integers(0, 20), elements=st.integers(0, 2**63 - 1)),
        max_size=6,
    )
)
def test_groups_come_back_as_they_were(groups: dict[str, np.ndarray]) -> None:
    found = decode_groups(memoryview(encode_groups(groups)))
    assert found.keys() == groups.keys()
    for name, ids in groups.items():
        np.testing.assert_array_equal(found[name], ids)
