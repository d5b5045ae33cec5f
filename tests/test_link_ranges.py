"""Links by number: exactly those, for every kind, also where some were removed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_link_attributes import KINDS, drawn

import zv_versioned as zvv
from zv_versioned.reading import link_ranges
from zv_versioned.reading.reader import LevelReader

REMOVED = {"whole": [], "with removed objects": [0, 3, 51]}


@pytest.fixture(scope="module", params=[(k, r) for k in KINDS for r in REMOVED], ids=" ".join)
def level(request: pytest.FixtureRequest) -> zvv.Level:
    """Three batches of links, the middle one without values."""
    kind, what = request.param
    repo, _ = drawn(kind, numbered=False)
    there = repo.view()["p"][0].object_ids()
    gone = [i for i in REMOVED[what] if i in there]
    if gone:
        with repo.transaction() as tx:
            tx.writer("p").remove_objects_sync(gone)
    return repo.view()["p"][0]


@pytest.fixture(scope="module")
def links(level: zvv.Level) -> np.ndarray:
    assert len(level.links()) == level.link_count > 60
    return level.links()


@given(data=st.data())
def test_a_range_of_links_is_that_part_of_the_whole(
    level: zvv.Level, links: np.ndarray, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(links)))
    stop = data.draw(st.integers(start, len(links)))
    reader = level._reader
    np.testing.assert_array_equal(link_ranges.read_links(reader, start, stop), links[start:stop])
    attribute = reader.state.facts.link_attributes["number"]
    values = link_ranges.read_link_values(reader, attribute, start, stop)
    np.testing.assert_array_equal(values, level.link_attribute("number")[start:stop])


@given(size=st.integers(1, 2000))
def test_pieces_of_links_cover_them(level: zvv.Level, links: np.ndarray, size: int) -> None:
    edges = link_ranges.link_edges(level._reader, size)
    assert edges[0] == 0
    assert edges[-1] == len(links)
    assert (np.diff(edges) > 0).all()


@pytest.mark.parametrize("kind", ["graph", "mesh"])
def test_only_the_cells_that_keep_the_links_are_read(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    level = drawn(kind)[0].view()["p"][0]
    cells: list[int] = []
    rows_of = link_ranges.level_links_of

    def watched(reader: LevelReader, selections: list[zvv.Level]) -> object:
        cells.extend(len(s.at) for s in selections)
        return rows_of(reader, selections)

    monkeypatch.setattr(link_ranges, "level_links_of", watched)
    first = int(link_ranges.link_bases(level._reader)[1])
    assert len(link_ranges.read_links(level._reader, first, first + 1)) == 1
    # Cells without links before the one that is meant are no bytes.
    assert sum(cells) < 20


def test_points_have_no_links() -> None:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="graph", bounds=([0] * 3, [1] * 3))
    reader = repo.view()["p"][0]._reader
    assert link_ranges.read_links(reader, 0, 0).shape == (0, 2)
    assert link_ranges.link_edges(reader, 5).tolist() == [0]
