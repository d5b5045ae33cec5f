"""Lines, polylines and streamlines: the peer goes along them as they were appended."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from _peer import comparable, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st

import zv_versioned as zvv
from zv_versioned.interop.zarr_vectors import _objects

peer = pytest.importorskip("zarr_vectors")
from zarr_vectors.core import arrays as peer_arrays  # noqa: E402
from zarr_vectors.validate import validate  # noqa: E402

Box = tuple[np.ndarray, np.ndarray]


@pytest.fixture(autouse=True)
def _no_fallback() -> Iterator[None]:
    """The peer warns where its fast path fails and it reads again slowly."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


class Story:
    """A dataset of lines, and each object's lines in the order in which they were appended."""

    def __init__(self, kind: str, ndim: int, cells: float, seed: int) -> None:
        self.kind, self.ndim = kind, ndim
        self.rng = np.random.default_rng(seed)
        self.repo = zvv.Repository.create("memory://")
        self.next_id = 0
        self.lines: dict[int, list[np.ndarray]] = {}
        self.values: dict[int, list[np.ndarray]] = {}
        self.weights: dict[int, list[np.ndarray]] = {}
        bounds = ([-3.0] * ndim, [2.0] * ndim)
        with self.repo.transaction() as tx:
            tx.create_dataset(
                "d", kind=kind, bounds=bounds, chunk_shape=[5 / cells] * ndim, vertex_dtype="f8"
            )

    @property
    def dataset(self) -> zvv.Dataset:
        return self.repo.view()["d"]

    def _line(self) -> np.ndarray:
        """A way that wanders, leaves cells and comes back; some have one vertex."""
        n = 2 if self.kind == "line" else int(self.rng.choice([1, 2, 30]))
        way = np.cumsum(self.rng.normal(0, 0.6, (n, self.ndim)), axis=0)
        return np.clip(way + self.rng.uniform(-3, 2, self.ndim), -3, 2)

    def append(self, *, extend: bool = False, values: bool = True) -> None:
        lines = [self._line() for _ in range(int(self.rng.integers(1, 6)))]
        first = self.next_id
        self.next_id += 12
        ids = first + np.arange(len(lines))
        if self.kind != "line":
            ids = first + self.rng.integers(0, 2 * len(lines), len(lines))
        if extend and self.lines:
            ids[: len(ids) // 2 + 1] = self.rng.choice(sorted(self.lines), len(ids) // 2 + 1)
        n = sum(map(len, lines))
        given = {"value": self.rng.random(n), "tag": self.rng.choice(["a", "bb"], n).astype(object)}
        weights = self.rng.random(n - len(lines))
        with self.dataset[0].writer() as writer:
            writer.append_polylines_sync(
                lines,
                object_ids=ids,
                attributes=given,
                link_attributes={"weight": weights} if values else None,
                extend=extend,
            )
        cuts = np.cumsum([len(line) for line in lines])
        for number, (object_id, line) in enumerate(zip(ids.tolist(), lines, strict=True)):
            stop = cuts[number]
            own = slice(stop - len(line), stop)
            links = slice(stop - len(line) - number, stop - number - 1)
            self.lines.setdefault(object_id, []).append(line)
            self.values.setdefault(object_id, []).append(given["value"][own])
            weight = weights[links] if values else np.full(len(line) - 1, np.nan)
            self.weights.setdefault(object_id, []).append(weight)

    def remove(self) -> None:
        gone = [i for i in sorted(self.lines) if self.rng.random() < 0.4]
        if gone:
            with self.dataset[0].writer() as writer:
                writer.remove_objects_sync(gone)
        for object_id in gone:
            del self.lines[object_id], self.values[object_id], self.weights[object_id]

    def links(self) -> list[bytes]:
        """The ends of all links with their values."""
        ends = [np.stack([line[:-1], line[1:]], axis=1) for own in self.lines.values()
                for line in own]  # fmt: skip
        weights = [weight for own in self.weights.values() for weight in own]
        return rows_of(np.concatenate(ends), np.concatenate(weights)) if ends else []

    def bridges(self) -> int:
        """How many links go from one cell to another."""
        size = np.array(self.dataset.chunk_shape)
        cells = [np.floor(line / size) for own in self.lines.values() for line in own]
        return sum(int((c[1:] != c[:-1]).any(axis=1).sum()) for c in cells)


def check_whole(story: Story, found: Any) -> None:
    """Every object is one part, its lines one after the other, with the values in their order."""
    assert sorted(found.part_objects.tolist()) == sorted(story.lines)
    for part, object_id in zip(found.parts, found.part_objects.tolist(), strict=True):
        assert found.positions[part].tolist() == np.concatenate(story.lines[object_id]).tolist()
        expected = np.concatenate(story.values[object_id])
        assert found.attributes["value"][part].tolist() == expected.tolist()


def check_links(story: Story) -> None:
    group = peer.open(story.dataset.store)[0].store
    chunks, numbers = peer_arrays.read_link_arrays(group)
    facts = group.read_array_meta("links/0")
    assert facts["num_links"] == facts["num_physical_records"] == len(numbers)
    known: dict[tuple[int, ...], np.ndarray] = {}
    for chunk in peer_arrays.list_chunk_keys(group):
        known[chunk] = peer_arrays.read_chunk_vertex_rows(group, chunk, ndim=story.ndim)
    ends = [
        [known[tuple(c)][i] for c, i in zip(link, own, strict=True)]
        for link, own in zip(chunks.tolist(), numbers.tolist(), strict=True)
    ]
    across = (chunks[:, 0] != chunks[:, 1]).any(axis=1) if len(chunks) else np.zeros(0, bool)
    assert across.sum() == story.bridges()
    if "weight" in story.dataset[0].link_attribute_names:
        # With values, the links within chunks are there too: each value has its link.
        weights = peer_arrays.read_link_attributes(group, "weight")
        found = rows_of(np.array(ends), weights) if len(ends) else []
        assert found == story.links()
        for chunk in peer_arrays.list_chunk_keys(group, "link_fragments"):
            fragments = peer_arrays.read_vertex_fragment_index(group, chunk)
            rows = peer_arrays.read_chunk_links(group, chunk, link_width=2)
            counts = [fragments.range(f)[1] for f in range(len(fragments))]
            assert [len(links) for links in rows] == [count - 1 for count in counts]
    else:
        assert across.all()


def check(story: Story) -> None:
    dataset = story.dataset
    level, opened = dataset[0], peer.open(dataset.store)[0]
    if story.lines:
        check_whole(story, opened.read())
    else:
        assert opened.read().vertex_count == 0
    mine = level.read(attributes="all")
    assert rows_of(opened.read().positions) == rows_of(mine.positions)
    for object_id in story.rng.permutation(sorted(story.lines))[:3].tolist():
        found = opened.objects[object_id]
        assert found.positions.tolist() == np.concatenate(story.lines[object_id]).tolist()
        assert found.positions.tolist() == level.objects[object_id].positions.tolist()
        assert object_id in opened.objects
    assert opened.objects.ids().tolist() == sorted(story.lines)
    assert opened.objects.count == level.num_objects == len(story.lines)
    check_links(story)


steps = st.lists(st.sampled_from(["append", "extend", "bare", "remove"]), max_size=4)


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**32),
    kind=st.sampled_from(["polyline", "streamline"]),
    ndim=st.integers(2, 3),
    cells=st.sampled_from([0.9, 2.3, 5.0]),
    steps=steps,
)
def test_the_peer_goes_along_lines_in_their_order(
    seed: int, kind: str, ndim: int, cells: float, steps: list[str]
) -> None:
    story = Story(kind, ndim, cells, seed)
    story.append(values=seed % 2 == 0)
    for step in steps:
        if step == "remove":
            story.remove()
        else:
            story.append(extend=step == "extend", values=step == "append")
    check(story)
    assert validate(story.dataset.store, level=5).errors == []


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32), ndim=st.integers(2, 3), n_batches=st.integers(1, 4))
def test_lines_of_two_vertices_are_found_by_their_ends(
    seed: int, ndim: int, n_batches: int
) -> None:
    story = Story("line", ndim, 2.3, seed)
    for _ in range(n_batches):
        story.append(values=False)
    story.remove()
    opened = peer.open(story.dataset.store)[0]
    ends = np.array([line for own in story.lines.values() for line in own]).reshape(-1, 2, ndim)
    found = opened.read()
    assert rows_of(found.endpoints if len(found.parts) else ends[:0]) == rows_of(ends)
    if story.lines:
        values = np.concatenate([v for own in story.values.values() for v in own])
        assert rows_of(found.positions, found.attributes["value"]) == rows_of(
            ends.reshape(-1, ndim), values
        )
    for object_id in list(story.lines)[:3]:
        assert opened.objects[object_id].endpoints[0].tolist() == story.lines[object_id][0].tolist()
    sides = np.sort(story.rng.uniform(-3, 2, (2, ndim)), axis=0)
    inside = ((ends >= sides[0]) & (ends <= sides[1])).all(axis=2).any(axis=1)
    found = opened.select(bbox=(sides[0], sides[1])).read()
    # The peer returns lines whole that have an end in the box; the ends in it are what we return.
    assert rows_of(found.endpoints if len(found.parts) else ends[:0]) == rows_of(ends[inside])
    check_box(story, found, (sides[0], sides[1]))
    assert validate(story.dataset.store, level=5).errors == []


def check_box(story: Story, found: Any, box: Box) -> None:
    within = ((found.positions >= box[0]) & (found.positions < box[1])).all(axis=1)
    mine = story.dataset[0].read(bbox=box, attributes="value")
    assert rows_of(found.positions[within]) == rows_of(mine.positions)


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_box_gives_whole_polylines_and_in_it_lies_what_we_find(ndim: int) -> None:
    story = Story("polyline", ndim, 4.0, ndim)
    for _ in range(3):
        story.append(values=False)
    for _ in range(5):
        sides = np.sort(story.rng.uniform(-3, 2, (2, ndim)), axis=0)
        found = peer.open(story.dataset.store)[0].select(bbox=(sides[0], sides[1])).read()
        objects = [] if found.part_objects is None else found.part_objects.tolist()
        for part, object_id in zip(found.parts, objects, strict=True):
            whole = np.concatenate(story.lines[object_id])
            assert found.positions[part].tolist() == whole.tolist()
        check_box(story, found, (sides[0], sides[1]))


@pytest.mark.parametrize("kind", ["line", "polyline", "streamline"])
def test_a_dataset_without_lines_is_read_as_empty(kind: str) -> None:
    dataset = Story(kind, 3, 2.0, 0).dataset
    opened = peer.open(dataset.store)[0]
    assert opened.read().vertex_count == len(opened.objects) == 0
    assert validate(dataset.store, level=5).errors == []


def one(kind: str, lines: list[Any], ids: Any, **options: Any) -> zvv.Dataset:
    return kept(kind, lines, ids, **options).view()["d"]


def kept(kind: str, lines: list[Any], ids: Any, **options: Any) -> zvv.Repository:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("d", kind=kind, bounds=([-4, -4], [4, 4]), chunk_shape=[2, 2])
        arrays = [np.array(line, "f4") for line in lines]
        tx.writer("d").append_polylines_sync(arrays, object_ids=ids, **options)
    return repo


def test_a_line_that_comes_back_has_a_fragment_for_each_time() -> None:
    way = [[-1, 1], [1, 1], [1.5, 1], [-1.5, 1], [1, 1], [1, -1]]
    dataset = one("streamline", [way], [0])
    opened = peer.open(dataset.store)[0]
    assert opened.objects.manifests() == {
        0: [((0, -1, 0), 0), ((0, 0, 0), 0), ((0, -1, 0), 1), ((0, 0, 0), 1), ((0, 0, -1), 0)]
    }
    assert opened.read().polylines[0].tolist() == way
    records = peer_arrays.read_links(opened.store)
    west, east, south = (0, -1, 0), (0, 0, 0), (0, 0, -1)
    assert sorted(records) == sorted(
        [
            ((west, 0), (east, 0)),
            ((east, 1), (west, 1)),
            ((west, 1), (east, 2)),
            ((east, 2), (south, 0)),
        ]
    )


# --- ids ----------------------------------------------------------------------------------------


def test_a_table_of_lines_has_a_row_for_every_id_up_to_the_largest() -> None:
    # For the peer reads the objects 0 to n - 1 where it reads all lines.
    lines = [[[0, 0], [1, 1]], [[2, 2], [3, 3]], [[-1, -1], [-3, -3]]]
    values = {"weight": [1.0, 2.0, 3.0], "name": ["a", "b", "c"]}
    dataset = one("polyline", lines, [2, 900, 5], object_attributes=values)
    opened = peer.open(dataset.store)[0]
    assert len(opened.objects) == 901
    assert opened.objects.count == 3
    assert opened.objects.ids().tolist() == [2, 5, 900]
    found = opened.read()
    assert found.part_objects.tolist() == [2, 5, 900]
    assert found.polylines[2].tolist() == lines[1]
    weights = peer_arrays.read_object_attributes(opened.store, "weight")
    assert weights[[2, 900, 5]].tolist() == [1.0, 2.0, 3.0]
    assert np.isnan(np.delete(weights, [2, 5, 900])).all()
    names = peer_arrays.read_object_attributes(opened.store, "name")
    assert names[[2, 900, 5, 3]].tolist() == ["a", "b", "c", ""]
    assert validate(dataset.store, level=5).errors == []


def test_rows_without_objects_are_no_more_than_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_objects, "FEW_ROWS", 10)
    line = [[0, 0], [1, 1]]
    for largest, rows in ((9, 10), (10, 2), (11, 2)):
        opened = peer.open(one("polyline", [line] * 2, [0, largest]).store)[0]
        assert len(opened.objects) == rows
        assert opened.objects.ids().tolist() == [0, largest]
        assert opened.objects[largest].positions.tolist() == line
    opened = peer.open(one("polyline", [line] * 4, [0, 5, 9, 15]).store)[0]
    assert len(opened.objects) == 16  # four times as many as there are objects


def test_text_and_numbers_of_lines_are_read_by_object_too() -> None:
    story = Story("polyline", 2, 3.0, 4)
    story.append()
    story.append()
    opened = peer.open(story.dataset.store)[0]
    some = sorted(story.lines)[::2]
    found = opened.objects[some]
    assert found.part_objects.tolist() == some
    expected = np.concatenate([v for i in some for v in story.values[i]])
    assert comparable(found.attributes["value"]).tolist() == expected.tolist()


# --- objects by number --------------------------------------------------------------------------


def test_objects_by_number_have_their_ids_beside_them_and_groups_too() -> None:
    ids = [5813024015, 7, 10**12]
    lines = [[[0, 0], [1, 1]], [[2, 2], [3, 3]], [[-1, -1], [-3, -3]]]
    repo = kept("polyline", lines, ids, object_attributes={"size": [1.0, 2.0, 3.0]})
    with repo.transaction() as tx:
        tx.writer("d").add_group_sync("far", [7, 10**12])
    dataset = repo.view()["d"]
    store = dataset.store.numbered()
    opened = peer.open(store)[0]
    own = peer_arrays.read_object_attributes(opened.store, "object_id")
    assert own.tolist() == dataset[0].object_ids().tolist() == sorted(ids)
    assert opened.objects.ids().tolist() == [0, 1, 2]
    for number, object_id in enumerate(own.tolist()):
        expected = dataset[0].objects[object_id].positions
        assert opened.objects[number].positions.tolist() == expected.tolist()
    assert opened.groups["far"].members.tolist() == [0, 2]
    assert set(opened.attribute_names("object")) == {"object_id", "size"}
    assert peer_arrays.read_object_attributes(opened.store, "size").tolist() == [2.0, 1.0, 3.0]
    assert validate(store, level=5).errors == []


def test_stores_by_number_and_by_id_are_told_apart() -> None:
    dataset = one("polyline", [[[0, 0], [1, 1]]], [5])
    by_id, by_number = dataset.store, dataset.store.numbered()
    assert by_number == dataset.store.numbered()
    assert by_number != by_id
    assert "by number" in repr(by_number)


def test_ids_do_not_take_the_place_of_values_of_the_same_name() -> None:
    dataset = one("polyline", [[[0, 0], [1, 1]]], [5], object_attributes={"object_id": [1.0]})
    with pytest.raises(zvv.MetadataError, match="have an attribute 'object_id'"):
        dataset.store.numbered()
