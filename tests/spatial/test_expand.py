"""Bounds that grow: within the margin nothing that is stored moves; beyond it is an error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zv_versioned as zvv
from zv_versioned import _io
from zv_versioned.errors import ArrayError
from zv_versioned.spatial.grid import MARGIN


async def _listed(store: Any) -> list[str]:
    return [key async for key in store.list()]


def chunks(repo: zvv.Repository, ref: str = "main") -> dict[str, bytes]:
    """All chunks that a snapshot stores, but for the table of batches, which is rewritten."""
    store = repo.view(ref)._store

    async def read() -> dict[str, bytes]:
        from zarr.core.buffer import default_buffer_prototype

        keys = [key for key in await _listed(store) if "/c/" in key and "/table/" not in key]
        return {key: (await store.get(key, default_buffer_prototype())).to_bytes() for key in keys}

    return _io.run(read())


def created(ndim: int, edge: float, first: np.ndarray) -> zvv.Repository:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset(
            "p",
            kind="point_cloud",
            bounds=([-2.0 * edge] * ndim, [2.0 * edge] * ndim),
            chunk_shape=[edge] * ndim,
            vertex_dtype="float64",
        )
        tx.writer("p").append_vertices_sync(first, attributes={"a": np.arange(len(first))})
    return repo


@settings(max_examples=20)
@given(
    ndim=st.integers(1, 3),
    edge=st.sampled_from([1.0, 0.1, 250.0]),
    reach=st.sampled_from([0.01, 1, 5, 100, MARGIN - 0.5]),
    seed=st.integers(0, 1000),
)
def test_growing_within_the_margin_moves_no_chunk_and_no_vertex(
    ndim: int, edge: float, reach: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    first = rng.uniform(-2 * edge, 2 * edge, (20, ndim))
    repo = created(ndim, edge, first)
    before, old = chunks(repo), repo.view()["p"]
    documents = repo.view()["p"]._meta, old[0]._reader.state.facts.grid
    more = rng.choice([-1, 1], (9, ndim)) * (2 + rng.uniform(0, reach, (9, ndim))) * edge
    more[0], more[1] = (2 + reach) * edge, -(2 + reach) * edge
    with repo.transaction() as tx:
        tx.writer("p").append_vertices_sync(more, out_of_bounds="expand")
    after = chunks(repo)
    assert {key: after[key] for key in before} == before
    new = repo.view()["p"]
    assert new[0]._reader.state.facts.grid == documents[1]
    assert new.bounds == (tuple(more.min(axis=0)), tuple(more.max(axis=0)))
    assert new.chunk_shape == old.chunk_shape
    positions = new[0].positions()
    assert (positions[:20] == old[0].positions()).all()
    assert sorted(map(tuple, positions[20:])) == sorted(map(tuple, more))
    assert old.bounds == repo.view("main~1")["p"].bounds


@pytest.mark.parametrize("far", [3.0 * MARGIN, -3.0 * MARGIN, 1e30, -1e308])
def test_growing_beyond_the_margin_is_an_error_that_asks_for_the_unit(far: float) -> None:
    repo = created(2, 1.0, np.zeros((1, 2)))
    tip, before = repo.resolve("main"), chunks(repo)
    with repo.transaction() as tx:
        writer = tx.writer("p")
        with pytest.raises(ArrayError, match="Check the unit"):
            writer.append_vertices_sync(np.array([[0.0, far]]), out_of_bounds="expand")
    assert repo.resolve("main") == tip
    assert chunks(repo) == before
    with repo.transaction() as tx:
        tx.writer("p").append_vertices_sync(np.array([[0.0, 3.0]]), out_of_bounds="expand")
    assert repo.view()["p"].bounds == ((-2, -2), (2, 3))


def test_the_last_cell_of_the_margin_can_be_filled_and_the_next_one_not() -> None:
    repo = created(1, 1.0, np.zeros((1, 1)))
    grid = repo.view()["p"][0]._reader.state.facts.grid
    edges = np.array([grid.extent.lo, np.nextafter(grid.extent.hi, 0)])
    with repo.transaction() as tx:
        writer = tx.writer("p")
        for beyond in (np.nextafter(grid.extent.lo, -np.inf), grid.extent.hi):
            with pytest.raises(ArrayError, match="as far as the grid of this level can grow"):
                writer.append_vertices_sync(beyond[None], out_of_bounds="expand")
        writer.append_vertices_sync(edges, out_of_bounds="expand")
    assert repo.view()["p"][0].positions()[1:].tolist() == edges.tolist()
