"""Where zarr-vectors 0.9.2 reads something wrong: its answer beside ours.

Each of these fails once the peer is mended; docs/zarr-vectors.md has the list.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from zarr.storage import WrapperStore

import zv_versioned as zvv

peer = pytest.importorskip("zarr_vectors")
from zarr_vectors.core import arrays as peer_arrays  # noqa: E402
from zarr_vectors.exceptions import ZVError  # noqa: E402
from zarr_vectors.lazy.store import open_zv  # noqa: E402

LINES = [[[0, 0], [3, 3]], [[-1, -1], [-3, -3]]]


def dataset_of(kind: str, fill: Callable[[Any], Any], **options: Any) -> zvv.Dataset:
    repo = zvv.Repository.create("memory://")
    options = {"bounds": ([-4, -4], [4, 4]), "chunk_shape": [2, 2], **options}
    with repo.transaction() as tx:
        tx.create_dataset("d", kind=kind, **options)
        fill(tx.writer("d"))
    return repo.view()["d"]


def lines_of(kind: str, ids: list[int], **options: Any) -> zvv.Dataset:
    lines = [np.array(line, "f4") for line in LINES]
    return dataset_of(kind, lambda w: w.append_polylines_sync(lines, object_ids=ids, **options))


# --- lines --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["line", "polyline", "streamline"])
def test_it_leaves_out_lines_whose_ids_are_larger_than_their_number(kind: str) -> None:
    dataset = lines_of(kind, [0, 5813024015])
    opened = peer.open(dataset.store)[0]
    assert len(dataset[0].read().lines()) == 2
    assert len(opened.read().parts) == 1  # wrong: the other is left out without a word
    assert opened.objects[5813024015].positions.tolist() == LINES[1]
    # Numbered, all are there, with their ids beside them.
    numbered = peer.open(dataset.store.numbered())[0]
    assert [part.tolist() for part in numbered.read().polylines] == LINES
    ids = peer_arrays.read_object_attributes(numbered.store, "object_id")
    assert ids.tolist() == [0, 5813024015]


def test_it_joins_the_lines_of_an_object_into_one() -> None:
    dataset = lines_of("polyline", [0, 0])
    assert [line.tolist() for line in dataset[0].read().lines()] == LINES
    found = peer.open(dataset.store)[0].read()
    assert [part.tolist() for part in found.polylines] == [[*LINES[0], *LINES[1]]]  # wrong
    # What joins what is in the links: none of them goes from one line to the other.
    records = peer_arrays.read_links(peer.open(dataset.store)[0].store)
    assert sorted(records) == [
        (((0, -1, -1), 0), ((0, -2, -2), 0)),
        (((0, 0, 0), 0), ((0, 1, 1), 0)),
    ]


def test_of_an_object_of_two_vertex_lines_it_takes_the_first_end_and_the_last() -> None:
    dataset = lines_of("line", [0, 0])
    found = peer.open(dataset.store)[0].read()
    assert found.endpoints.tolist() == [[LINES[0][0], LINES[1][1]]]  # wrong: two lines made one
    assert [line.tolist() for line in dataset[0].read().lines()] == LINES


# --- attributes ---------------------------------------------------------------------------------


def test_it_gives_codes_for_the_text_of_anything_but_points() -> None:
    words = np.array(["b", "a", "a", "b"])
    dataset = lines_of("polyline", [0, 1], attributes={"word": words})
    mine = dataset[0].read(attributes="word").attributes["word"]
    assert mine.tolist() == words.tolist()
    opened = peer.open(dataset.store)[0]
    codes = opened.read().attributes["word"]
    assert codes.tolist() == [1, 0, 0, 1]  # wrong
    categories = opened.store.read_array_meta("vertex_attributes/word")["categories"]
    assert np.array(categories)[codes].tolist() == words.tolist()


def some_graph(writer: Any) -> None:
    points = np.array([[0, 0], [1, 1], [3, 3]], "f4")
    values = {"weight": np.array([1.0, 2.0, 3.0])}
    writer.append_graph_sync(points, [[0, 1], [1, 2]], object_ids=[7, 7, 8], attributes=values)


def test_it_has_no_attributes_of_graphs_within_a_box() -> None:
    dataset = dataset_of("graph", some_graph)
    box = ([-1, -1], [2, 2])
    found = peer.open(dataset.store)[0].select(bbox=box).read()
    assert not found.attributes_read  # it says so, at least
    mine = dataset[0].read(bbox=box, attributes="weight")
    assert mine.attributes["weight"].tolist() == [1.0, 2.0]


def test_it_does_not_read_graphs_and_meshes_by_object() -> None:
    dataset = dataset_of("graph", some_graph)
    opened = peer.open(dataset.store)[0]
    with pytest.raises(ZVError, match="not supported"):
        _ = opened.objects[7]
    mine = dataset[0].objects[7]
    assert mine.positions.tolist() == [[0, 0], [1, 1]]
    # Its manifests and fragments do say what an object has.
    parts = peer_arrays.read_object_vertices(opened.store, 7, ndim=2)
    assert np.concatenate(parts).tolist() == mine.positions.tolist()


# --- its lazy side ------------------------------------------------------------------------------


def lazily(store: Any) -> Any:
    """Level 0 of a store by the peer's older, lazy way, which wants it to be writable."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return open_zv(store.with_read_only(False))[0]


class Failing(WrapperStore[Any]):
    """A store that cannot read some chunks."""

    broken = ""

    def with_read_only(self, read_only: bool = False) -> Failing:
        twin = Failing(self._store.with_read_only(read_only))
        twin.broken = self.broken
        return twin

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        if self.broken and key.startswith(self.broken):
            raise OSError(f"{key} cannot be read")
        return await self._store.get(key, prototype, byte_range)


def points_of(dtype: str) -> zvv.Dataset:
    points = np.array([[-3, -3], [1, 1], [3, 3]], dtype)
    return dataset_of(
        "point_cloud",
        lambda w: w.append_vertices_sync(points, object_ids=[5, 6, 10**12]),
        vertex_dtype=dtype,
    )


def test_its_lazy_views_lose_what_cannot_be_read_and_ours_says_so() -> None:
    dataset = points_of("f4")
    store = Failing(dataset.store)
    view = lazily(store).filter(bbox=([-4, -4], [4, 4]))
    assert len(view.compute()["positions"]) == 3
    store.broken = "0/vertices/c/0/3"
    view = lazily(store).filter(bbox=([-4, -4], [4, 4]))
    assert len(view.compute()["positions"]) == 2  # wrong: one is lost without a word
    with pytest.raises(OSError, match="cannot be read"):
        peer.open(store)[0].read()


def test_its_lazy_views_take_every_coordinate_for_a_float32() -> None:
    dataset = points_of("f8")
    mine = dataset[0].read().positions
    found = lazily(dataset.store).vertices.compute()
    assert found.dtype == np.float32
    assert not np.isin(mine, found).any()  # wrong: none of the coordinates is there
    assert peer.open(dataset.store)[0].read().positions.tolist() == mine.tolist()


def test_its_lazy_views_take_rows_for_ids() -> None:
    dataset = points_of("f4")
    assert lazily(dataset.store).present_oids.tolist() == [0, 1, 2]  # wrong
    ids = peer.open(dataset.store)[0].objects.ids()
    assert ids.tolist() == dataset[0].object_ids().tolist() == [5, 6, 10**12]
