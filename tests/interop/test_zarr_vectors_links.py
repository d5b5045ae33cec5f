"""Graphs, skeletons and meshes: the peer finds the edges and faces that were appended."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from _peer import assert_same, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore

import zv_versioned as zvv

peer = pytest.importorskip("zarr_vectors")
from zarr_vectors.core import arrays as peer_arrays  # noqa: E402
from zarr_vectors.validate import validate  # noqa: E402

KINDS = ("graph", "skeleton", "mesh")


@pytest.fixture(autouse=True)
def _no_fallback() -> Iterator[None]:
    """The peer warns where its fast path fails and it reads again slowly."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


@dataclass
class Batch:
    """What one append brought."""

    positions: np.ndarray
    ids: np.ndarray
    links: np.ndarray
    weights: np.ndarray
    names: np.ndarray


@dataclass
class Story:
    """A dataset of links, what was appended to it, and what is still there."""

    kind: str
    ndim: int
    cells: float
    seed: int
    batches: list[Batch] = field(default_factory=list)
    removed: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.repo = zvv.Repository.create("memory://")
        bounds = ([-3.0] * self.ndim, [2.0] * self.ndim)
        with self.repo.transaction() as tx:
            tx.create_dataset(
                "d", kind=self.kind, bounds=bounds, chunk_shape=[5 / self.cells] * self.ndim,
                vertex_dtype="f8",
            )  # fmt: skip

    @property
    def dataset(self) -> zvv.Dataset:
        return self.repo.view()["d"]

    def _links(self, n: int, ids: np.ndarray) -> np.ndarray:
        rng = self.rng
        if self.kind == "graph":
            links = rng.integers(0, n, (int(rng.integers(0, 2 * n)), 2))
            return links[links[:, 0] != links[:, 1]]
        if self.kind == "mesh":
            links = rng.integers(0, n, (int(rng.integers(0, 2 * n)), 3))
            return links[(ids[links] == ids[links[:, :1]]).all(axis=1)]
        # Each vertex but an object's first hangs on an earlier one of the same object.
        parents = [(i, rng.choice(np.flatnonzero(ids[:i] == ids[i]))) for i in range(1, n)
                   if (ids[:i] == ids[i]).any()]  # fmt: skip
        return np.array(parents, int).reshape(-1, 2)

    def append(self, *, values: bool = True) -> None:
        n = int(self.rng.integers(1, 30))
        ids = 100 * len(self.batches) + self.rng.integers(0, 5, n)
        links = self._links(n, ids)
        batch = Batch(
            self.rng.uniform(-3, 2, (n, self.ndim)),
            ids,
            links,
            self.rng.random((len(links), 2)) if values else np.full((len(links), 2), np.nan),
            self.rng.choice(np.array(["a", "", None], object), len(links)),
        )
        if not values:
            batch.names[:] = None
        given = {"weight": batch.weights, "name": batch.names} if values else None
        with self.dataset[0].writer() as writer:
            options: dict[str, Any] = {"object_ids": ids, "link_attributes": given}
            options["attributes"] = {"id": ids.astype("f8")}
            if self.kind == "mesh":
                writer.append_mesh_sync(batch.positions, links, **options)
            else:
                writer.append_graph_sync(batch.positions, links, **options)
        self.batches.append(batch)

    def remove(self) -> None:
        ids = self.dataset[0].object_ids()
        gone = ids[self.rng.random(len(ids)) < 0.4]
        if len(gone):
            with self.dataset[0].writer() as writer:
                writer.remove_objects_sync(gone)
            self.removed |= set(gone.tolist())

    def there(self) -> list[tuple[Batch, np.ndarray]]:
        """The batches, and which of their links are there."""
        gone = list(self.removed)
        return [(b, ~np.isin(b.ids[b.links], gone).any(axis=1)) for b in self.batches]

    def ends(self, inside: tuple[np.ndarray, np.ndarray] | None = None) -> list[bytes]:
        """The coordinates of the ends of all links, in the order given; or of those in a box."""
        found = [b.positions[b.links[there]] for b, there in self.there()]
        ends = np.concatenate([np.zeros((0, *found[0].shape[1:])), *found])
        if inside is not None:
            lo, hi = inside
            ends = ends[((ends >= lo) & (ends <= hi)).all(axis=(1, 2))]
        return rows_of(ends)

    def valued(self) -> list[bytes]:
        """The ends of all links with their values."""
        ends = [b.positions[b.links[there]] for b, there in self.there()]
        weights = [b.weights[there] for b, there in self.there()]
        names = [b.names[there] for b, there in self.there()]
        return rows_of(*map(np.concatenate, (ends, weights, names)))


def peer_links(group: Any) -> np.ndarray:
    """The coordinates of the ends of all links, in the order of their values: (M, L, D)."""
    return _ends(group, *peer_arrays.read_link_arrays(group))


def _ends(group: Any, chunks: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    ndim = chunks.shape[2] - 1
    known = {
        tuple(c): peer_arrays.read_chunk_vertex_rows(group, tuple(c), ndim=ndim)
        for c in np.unique(chunks.reshape(-1, ndim + 1), axis=0).tolist()
    }
    rows = [
        [known[tuple(c)][i] for c, i in zip(link, ends, strict=True)]
        for link, ends in zip(chunks.tolist(), numbers.tolist(), strict=True)
    ]
    return np.array(rows).reshape(*numbers.shape, ndim)


def texts(codes: np.ndarray, group: Any, array: str) -> np.ndarray:
    """Codes as the texts that the array's document has for them."""
    words = np.array([*group.read_array_meta(array)["categories"], None], object)
    return words[codes]


def peer_valued(group: Any, width: int, ndim: int) -> list[bytes]:
    """The ends of all links with their values, from the link families and from the faces'."""
    faces = width == 3
    chunks, numbers = peer_arrays.read_link_arrays(group, include_intra=not faces)
    families = peer_arrays.list_link_offsets(group)
    within = "_".join([".".join(["0"] * (ndim + 1))] * (width - 1))
    ends, weights, names = [], [], []
    if len(numbers):
        any_family = next(f for f in families if not (faces and f == within))
        ends.append(_ends(group, chunks, numbers))
        weights.append(peer_arrays.read_link_attributes(group, "weight"))
        codes = peer_arrays.read_link_attributes(group, "name")
        names.append(texts(codes, group, f"link_attributes/name/0/{any_family}"))
    for key in group.list_chunks(f"links/0/{within}") if faces else ():
        chunk = tuple(map(int, key.split(".")))
        rows = np.concatenate(peer_arrays.read_chunk_links(group, chunk, link_width=width))
        ends.append(peer_arrays.read_chunk_vertex_rows(group, chunk, ndim=ndim)[rows])
        weights.append(
            np.frombuffer(group.read_bytes("face_attributes/weight", key)).reshape(-1, 2)
        )
        codes = np.frombuffer(group.read_bytes("face_attributes/name", key), "i4")
        names.append(texts(codes, group, "face_attributes/name"))
    return rows_of(*map(np.concatenate, (ends, weights, names))) if ends else []


def check_fragments(group: Any, width: int, ndim: int) -> None:
    """Links within a chunk are split by the vertex fragment in which they begin."""
    for chunk in peer_arrays.list_chunk_keys(group, "link_fragments"):
        fragments = peer_arrays.read_vertex_fragment_index(group, chunk)
        groups = peer_arrays.read_chunk_links(group, chunk, link_width=width)
        assert len(groups) == len(fragments)
        assert sum(map(len, groups)) > 0
        for number, links in enumerate(groups):
            start, count = fragments.range(number)
            assert ((links.min(axis=1) >= start) & (links.min(axis=1) < start + count)).all()


def peer_ends(found: Any) -> list[bytes]:
    """The coordinates of the ends of all edges or faces that the peer read."""
    return rows_of(found.positions[found.edges if found.faces is None else found.faces])


def our_ends(found: zvv.Geometry) -> list[bytes]:
    """The coordinates of the ends of all edges or faces that we read."""
    return rows_of(found.positions[found.edges if found.faces is None else found.faces])


def check(story: Story) -> None:
    dataset = story.dataset
    level, opened = dataset[0], peer.open(dataset.store)[0]
    width = 3 if story.kind == "mesh" else 2
    found = opened.read()
    assert_same(found, level.read(attributes="all"), ["id"] if len(level.read()) else [], False)
    assert peer_ends(found) == our_ends(level.read()) == story.ends()
    sides = np.sort(story.rng.uniform(-3, 2, (2, story.ndim)), axis=0)
    box = sides[0], sides[1]
    inside = opened.select(bbox=box).read()
    assert rows_of(inside.positions) == rows_of(level.read(bbox=box).positions)
    assert peer_ends(inside) == our_ends(level.read(bbox=box)) == story.ends(box)
    group = opened.store
    facts = group.read_array_meta("links/0")
    assert facts["num_links"] == facts["num_physical_records"] == level.link_count
    if set(level.link_attribute_names) == {"weight", "name"}:
        assert peer_valued(group, width, story.ndim) == story.valued()
    check_fragments(group, width, story.ndim)
    for object_id in story.rng.choice(level.object_ids(), 2) if level.num_objects else ():
        parts = peer_arrays.read_object_vertices(group, int(object_id), "f8", story.ndim)
        expected = level.read(objects=int(object_id)).positions
        assert rows_of(np.concatenate(parts)) == rows_of(expected)


@settings(max_examples=10)
@given(
    seed=st.integers(0, 2**32),
    kind=st.sampled_from(KINDS),
    ndim=st.integers(2, 3),
    cells=st.sampled_from([0.9, 2.3, 4.0]),
    steps=st.lists(st.sampled_from(["append", "bare", "remove"]), max_size=3),
)
def test_the_peer_finds_the_links_that_are_there(
    seed: int, kind: str, ndim: int, cells: float, steps: list[str]
) -> None:
    story = Story(kind, ndim, cells, seed)
    story.append()
    for step in steps:
        if step == "remove":
            story.remove()
        else:
            story.append(values=step == "append")
    check(story)
    assert validate(story.dataset.store, level=5).errors == []


def dataset_of(kind: str, appends: list[tuple[Any, Any, dict[str, Any]]]) -> zvv.Dataset:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("d", kind=kind, bounds=([-4, -4], [4, 4]), chunk_shape=[2, 2])
        for positions, links, options in appends:
            writer = tx.writer("d")
            append = writer.append_mesh_sync if kind == "mesh" else writer.append_graph_sync
            append(np.array(positions, "f4"), np.array(links), **options)
    return repo.view()["d"]


def test_direction_and_winding_stay_whichever_way_the_cells_lie() -> None:
    corners = [[-3, -3], [-3, 3], [3, -3], [3, 3]]
    edges = [[i, j] for i in range(4) for j in range(4) if i != j]
    found = peer.open(dataset_of("graph", [(corners, edges, {})]).store)[0].read()
    assert sorted(found.positions[found.edges].tolist()) == sorted(
        [corners[i], corners[j]] for i, j in edges
    )
    faces = [[i, j, k] for i in range(4) for j in range(4) for k in range(4)]
    found = peer.open(dataset_of("mesh", [(corners, faces, {})]).store)[0].read()
    assert sorted(found.positions[found.faces].tolist()) == sorted(
        [corners[i] for i in face] for face in faces
    )


def test_a_batch_is_closed_and_its_links_stay_in_its_own_chunks() -> None:
    square = [[-1, -1], [1, -1], [1, 1]]
    dataset = dataset_of("graph", [(square, [[0, 1], [1, 2]], {}), (square, [[2, 0]], {})])
    group = peer.open(dataset.store)[0].store
    records = peer_arrays.read_links(group)
    assert sorted(records) == sorted(
        [
            (((0, -1, -1), 0), ((0, 0, -1), 0)),
            (((0, 0, -1), 0), ((0, 0, 0), 0)),
            (((1, 0, 0), 0), ((1, -1, -1), 0)),
        ]
    )
    assert peer_arrays.list_link_offsets(group) == ["0.+1.+1", "0.+1.0", "0.0.+1", "0.0.0"]


def test_the_families_are_named_and_stamped_as_the_peer_does_it() -> None:
    dataset = dataset_of("mesh", [([[-1, -1], [1, -1], [1, 1]], [[2, 0, 1]], {})])
    group = zarr.open_group(dataset.store, mode="r")["0"]
    assert dict(group["links/0"].attrs) == {
        "zv_array": "links_family",
        "level_delta": 0,
        "link_width": 3,
        "sid_ndim": 3,
        "directed": False,
        "store": "canonical",
        "num_links": 1,
        "num_physical_records": 1,
    }
    assert sorted(name for name, _ in group["links/0"].members()) == [
        "0.+1.0_0.+1.+1",
        "0.0.0_0.0.0",
    ]
    across = group["links/0/0.+1.0_0.+1.+1"]
    assert across.attrs["offsets"] == [[0, 1, 0], [0, 1, 1]]
    assert across.attrs["has_perm"] is True
    assert across.attrs["nonempty_chunks"] == ["0.-1.-1"]
    assert group["links/0/0.0.0_0.0.0"].attrs["nonempty_chunks"] == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_dataset_without_links_has_none(kind: str) -> None:
    width = 3 if kind == "mesh" else 2
    none = np.zeros((0, width), int)
    for appends in ([], [([[1, 1], [-1, 1]], none, {})]):
        dataset = dataset_of(kind, appends)
        found = peer.open(dataset.store)[0].read()
        links = found.faces if kind == "mesh" else found.edges
        assert found.vertex_count == (2 if appends else 0)
        assert len(links) == 0
        assert validate(dataset.store, level=5).errors == []


def test_more_links_than_one_page_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    from zv_versioned.interop.zarr_vectors import _links

    monkeypatch.setattr(_links, "PAGE_LINKS", 7)
    story = Story("mesh", 3, 2.3, 5)
    for _ in range(3):
        story.append()
    check(story)
    story.remove()
    check(story)


def test_the_next_snapshot_looks_at_the_new_links_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from zv_versioned.interop.zarr_vectors import _link_pages

    story = Story("graph", 2, 4.0, 1)
    looked = []
    links_of = _link_pages.link_rows_of
    monkeypatch.setattr(
        _link_pages, "link_rows_of", lambda *a: looked.extend(s.row for s in a[4]) or links_of(*a)
    )
    seen = []
    for _ in range(3):
        story.append()
        peer.open(story.dataset.store)[0].store.read_array_meta("links/0")
        seen.append(sorted(set(looked)))
        looked.clear()
    assert seen == [[0], [1], [2]]
    peer.open(story.dataset.store)[0].read()
    assert looked == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_of_a_snapshot_is_a_store_of_its_own(kind: str, tmp_path: Path) -> None:
    story = Story(kind, 3, 2.3, 8)
    for _ in range(3):
        story.append()
    story.remove()
    source, target = story.dataset.store, LocalStore(tmp_path / "copy")

    async def copy() -> None:
        async for key in source.list():
            value = await source.get(key, default_buffer_prototype())
            assert value is not None, key
            await target.set(key, value)

    sync(copy())
    here, there = peer.open(source)[0].read(), peer.open(tmp_path / "copy")[0].read()
    assert peer_ends(there) == peer_ends(here) == story.ends()
    assert rows_of(there.positions, there.attributes["id"]) == rows_of(
        here.positions, here.attributes["id"]
    )
    group = peer.open(tmp_path / "copy")[0].store
    assert peer_valued(group, 3 if kind == "mesh" else 2, 3) == story.valued()
    assert validate(tmp_path / "copy", level=5).errors == []


@pytest.mark.parametrize("kind", ["skeleton", "mesh"])
def test_what_two_branches_added_and_removed_is_read_after_their_merge(kind: str) -> None:
    story = Story(kind, 2, 3.0, 11)
    story.append()
    peer.open(story.dataset.store)[0].read()
    story.repo.create_branch("other")
    kept = {"main": story, "other": Story(kind, 2, 3.0, 12)}
    positions = {}
    for branch, own in kept.items():
        points = own.rng.uniform(-3, 2, (30, 2))
        links = own._links(30, np.zeros(30, int))
        given = {"weight": own.rng.random((len(links), 2))}
        with story.repo.transaction(branch) as tx:
            writer = tx.writer("d")
            append = writer.append_mesh_sync if kind == "mesh" else writer.append_graph_sync
            append(points, links, link_attributes=given)  # of one object, numbered by default
            if branch == "other":
                writer.remove_objects_sync([int(story.batches[0].ids[0])])
        positions[branch] = points, links
        # Each side is read, so that what is known of batches is known by their old slots.
        peer.open(story.repo.view(branch)["d"].store)[0].read()
    story.removed.add(int(story.batches[0].ids[0]))
    story.repo.merge("other", into="main")
    dataset = story.dataset
    found, mine = peer.open(dataset.store)[0].read(), dataset[0].read()
    assert rows_of(found.positions) == rows_of(mine.positions)
    ends = [points[links] for points, links in positions.values()]
    there = [b.positions[b.links[kept]] for b, kept in story.there()]
    assert peer_ends(found) == our_ends(mine) == rows_of(np.concatenate([*ends, *there]))
    assert peer.open(dataset.store)[0].objects.ids().tolist() == dataset[0].object_ids().tolist()
    assert validate(dataset.store, level=5).errors == []
