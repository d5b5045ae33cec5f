"""Values of links and of faces: in link order, after appends and removals, for every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import zv_versioned as zvv

KINDS = ("line", "polyline", "streamline", "graph", "skeleton", "mesh")
BOUNDS = ([0] * 3, [80] * 3)
CELL = 10.0


class Drawn:
    """Random geometry of one kind; each link has a number of its own as an attribute."""

    def __init__(self, kind: str, seed: int = 0) -> None:
        self.kind = kind
        self.rng = np.random.default_rng(seed)
        self.numbers = 0
        self.objects: list[np.ndarray] = []
        """Of each link, by its number: the objects of its ends."""
        self.inside: list[np.ndarray] = []
        """Of each link, by its number: whether its ends are in one cell."""

    def append(self, writer: zvv.ZVWriter, first: int, *, numbered: bool = True) -> None:
        """Append a batch with objects from `first` on."""
        rng = self.rng
        if self.kind in ("line", "polyline", "streamline"):
            counts = np.full(40, 2) if self.kind == "line" else rng.integers(1, 12, 40)
            owners = np.repeat(first + rng.integers(0, 9, 40), counts)
            starts = np.repeat(np.cumsum(counts) - counts, counts)
            sources = np.flatnonzero(np.roll(starts, -1)[:-1] == starts[:-1])
            links = np.stack([sources, sources + 1], axis=1)
        elif self.kind == "mesh":
            owners = first + np.repeat(np.arange(8), 20)
            links = (rng.random((300, 3)) * 20).astype(int) + 20 * rng.integers(0, 8, (300, 1))
        elif self.kind == "skeleton":
            owners = first + np.repeat(np.arange(8), 20)
            child = np.flatnonzero(np.arange(160) % 20)
            links = np.stack(
                [child, child - 1 - (rng.random(len(child)) * (child % 20)).astype(int)], 1
            )
            links = rng.permutation(links)
        else:
            owners = first + rng.integers(0, 9, 160)
            links = rng.integers(0, 160, (400, 2))
            links = links[links[:, 0] != links[:, 1]]
        # Steps of a walk: most links stay in their cell, some leave it.
        points = np.clip(
            rng.uniform(0, 80) + np.cumsum(rng.normal(0, 4, (len(owners), 3)), 0), 0, 80
        )
        points = points.astype("f4")
        number = self.numbers + np.arange(len(links))
        self.numbers += len(links)
        self.objects.append(owners[links])
        cells = np.floor(points.astype("f8") / CELL)[links]
        self.inside.append((cells == cells[:, :1]).all(axis=(1, 2)))
        given: dict[str, Any] = {"number": number} if numbered else {}
        if self.kind in ("line", "polyline", "streamline"):
            bounds = np.cumsum(counts) - counts
            writer.append_polylines_sync(
                points, offsets=bounds, object_ids=owners[bounds], link_attributes=given
            )
        elif self.kind == "mesh":
            writer.append_mesh_sync(points, links, object_ids=owners, face_attributes=given)
        else:
            writer.append_graph_sync(points, links, object_ids=owners, link_attributes=given)


def drawn(kind: str, *, numbered: bool = True) -> tuple[zvv.Repository, Drawn]:
    repo = zvv.Repository.create("memory://")
    made = Drawn(kind)
    with repo.transaction() as tx:
        tx.create_dataset("p", kind=kind, bounds=BOUNDS, chunk_shape=[CELL] * 3)
        for first in (0, 50, 100):
            made.append(tx.writer("p"), first, numbered=numbered or first != 50)
    return repo, made


def level(repo: zvv.Repository) -> zvv.Level:
    return repo.view()["p"][0]


@pytest.mark.parametrize("kind", KINDS)
def test_values_of_links_are_kept_in_the_order_that_appends_have(kind: str) -> None:
    repo, made = drawn(kind)
    number = level(repo).link_attribute("number", missing="raise")
    assert sorted(number.tolist()) == list(range(made.numbers)) != number.tolist()
    assert level(repo).link_count == made.numbers
    verb = "add_face_attribute_sync" if kind == "mesh" else "add_link_attribute_sync"
    columns = np.stack([number, -number], axis=1).astype("f4")
    with level(repo).writer() as writer:
        assert getattr(writer, verb)("text", number.astype(str))["values_written"] == len(number)
        getattr(writer, verb)("two", columns)
    now = level(repo)
    assert now.link_attribute_names == ["number", "text", "two"]
    get = now.face_attribute if kind == "mesh" else now.link_attribute
    assert get("text", missing="raise").tolist() == number.astype(str).tolist()
    np.testing.assert_array_equal(get("two"), columns)


@pytest.mark.parametrize("kind", KINDS)
def test_links_that_lost_an_end_are_gone_with_their_values(kind: str) -> None:
    repo, made = drawn(kind)
    before = level(repo).link_attribute("number")
    ids = level(repo).object_ids()
    gone = ids[::3]
    owners = np.concatenate(made.objects)
    with level(repo).writer() as writer:
        first = writer.remove_objects_sync(gone[:2])["links_removed"]
        second = writer.remove_objects_sync(gone[2:])["links_removed"]
    live = ~np.isin(owners, gone).any(axis=1)
    now = level(repo)
    assert first + second == (~live).sum() > 0
    assert now.link_count == live.sum()
    np.testing.assert_array_equal(now.link_attribute("number"), before[live[before]])
    number = now.link_attribute("number")
    with now.writer() as writer:
        writer.add_link_attribute_sync("again", number)
        writer.remove_objects_sync(ids[1:2])
    now = level(repo)
    np.testing.assert_array_equal(now.link_attribute("again"), now.link_attribute("number"))


@pytest.mark.parametrize("kind", KINDS)
def test_links_of_an_append_without_values_are_missing(kind: str) -> None:
    repo, made = drawn(kind, numbered=False)
    found = level(repo).link_attribute("number")
    counts = [len(part) for part in made.objects]
    assert (found[counts[0] : sum(counts[:2])] == -(2**63)).all()
    assert (found[: counts[0]] >= 0).all()
    with pytest.raises(zvv.ArrayError, match=rf"'number' lacks values for {counts[1]:,} of"):
        level(repo).link_attribute("number", missing="raise")
    with level(repo).writer() as writer:
        writer.add_link_attribute_sync("number", np.arange(made.numbers))
    np.testing.assert_array_equal(
        level(repo).link_attribute("number", missing="raise"), np.arange(made.numbers)
    )


@pytest.mark.parametrize("removed", [False, True])
def test_the_length_tells_whether_values_are_of_all_faces_or_of_those_inside_cells(
    removed: bool,
) -> None:
    repo, made = drawn("mesh")
    if removed:
        with level(repo).writer() as writer:
            writer.remove_objects_sync([1, 52, 53])
    number = level(repo).face_attribute("number")
    inside = np.concatenate(made.inside)[number]
    assert 0 < inside.sum() < len(inside)
    values = np.arange(inside.sum(), dtype="f8")
    with level(repo).writer() as writer:
        assert writer.add_face_attribute_sync("inside", values)["values_written"] == len(values)
        writer.add_face_attribute_sync("name", values.astype(str))
        writer.add_face_attribute_sync("all", number)
        with pytest.raises(zvv.ArrayError) as caught:
            writer.add_face_attribute_sync("x", values[1:])
    assert str(caught.value) == (
        f"add_face_attribute('x'): values length {len(values) - 1} != level face count "
        f"{len(number)}, nor {len(values)}, the faces inside one cell"
    )
    found = level(repo).face_attribute("inside")
    np.testing.assert_array_equal(found[inside], values)
    assert np.isnan(found[~inside]).all()
    names = level(repo).face_attribute("name")
    assert names[inside].tolist() == values.astype(str).tolist()
    assert set(names[~inside].tolist()) == {None}
    np.testing.assert_array_equal(level(repo).face_attribute("all"), number)


def test_a_wrong_number_of_links_says_how_many_there_are() -> None:
    repo, made = drawn("graph")
    with level(repo).writer() as writer:
        for length in (0, made.numbers + 1):
            with pytest.raises(zvv.ArrayError) as caught:
                writer.add_link_attribute_sync("x", np.zeros(length))
            counts = f"values length {length} != level link count {made.numbers}"
            assert str(caught.value) == f"add_link_attribute('x'): {counts}"


def test_what_a_kind_has_none_of_takes_no_values() -> None:
    for kind, verb, words in (
        ("point_cloud", "add_link_attribute", "no links; use add_attribute"),
        ("point_cloud", "add_face_attribute", "no faces"),
        ("graph", "add_face_attribute", "no faces; use add_link_attribute"),
    ):
        repo = zvv.Repository.create("memory://")
        with repo.transaction() as tx:
            tx.create_dataset("p", kind=kind, bounds=BOUNDS)
            with pytest.raises(zvv.MetadataError, match=words):
                getattr(tx.writer("p"), f"{verb}_sync")("x", [])


def test_an_attribute_of_links_is_dropped_under_either_name() -> None:
    repo, _ = drawn("mesh")
    with level(repo).writer() as writer:
        with pytest.raises(zvv.NotFoundError, match="no vertex attribute 'number'"):
            writer.drop_attribute_sync("number")
        writer.drop_attribute_sync("number", "face")
        with pytest.raises(zvv.NotFoundError, match="no link attribute 'number'"):
            writer.drop_attribute_sync("number", "link")
        with pytest.raises(zvv.ArrayError, match="'edge'"):
            writer.drop_attribute_sync("number", "edge")
    assert level(repo).link_attribute_names == []
