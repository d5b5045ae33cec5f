"""A few objects of cells that hold many: the same answer, from some blocks of each cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from _inflated import decompressed
from hypothesis import given
from hypothesis import strategies as st

import zv_versioned as zvv
from zv_versioned.errors import IntegrityError

N, OBJECTS = 60_000, 600
SIDE = 10.0


class World:
    """Points in two batches, the first in four cells and the second in one."""

    def __init__(self) -> None:
        rng = np.random.default_rng(5)
        self.objects = np.concatenate(
            [rng.integers(0, OBJECTS, N), rng.integers(OBJECTS - 50, OBJECTS + 100, 9_000)]
        )
        self.positions = rng.uniform(0, 2 * SIDE, (N + 9_000, 3)).astype("f4")
        self.positions[:, 2] /= 2
        self.positions[N:] /= 2
        self.values = rng.integers(0, 99, N).astype("f8")
        self.names = [f"name {n}" for n in rng.integers(0, 5, N + 9_000)]
        self.place = Path()

    def write(self, place: Path) -> zvv.Repository:
        """The same in a repository; `value` is of the first batch alone."""
        repo = zvv.Repository.create(str(place))
        with repo.transaction() as tx:
            bounds = ([0] * 3, [2 * SIDE] * 3)
            tx.create_dataset("p", kind="point_cloud", bounds=bounds, chunk_shape=(SIDE,) * 3)
            for part in (slice(0, N), slice(N, None)):
                attributes = {"name": self.names[part]}
                if part.start == 0:
                    attributes["value"] = self.values
                tx.writer("p").append_vertices_sync(
                    self.positions[part], object_ids=self.objects[part], attributes=attributes
                )
        return repo


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def repo(world: World, tmp_path_factory: pytest.TempPathFactory) -> zvv.Repository:
    return world.write(tmp_path_factory.mktemp("few") / "repo")


def rows(found: zvv.Geometry) -> list[tuple[object, ...]]:
    """What was read, in an order of its own."""
    values = [np.nan_to_num(found.attributes["value"], nan=-1), found.attributes["name"]]
    return sorted(
        zip(
            found.object_ids,
            *found.positions.T.tolist(),
            *(v.tolist() for v in values),
            strict=True,
        )
    )


def expected(world: World, mask: np.ndarray) -> list[tuple[object, ...]]:
    values = np.concatenate([world.values, np.full(len(mask) - N, -1.0)])
    names = np.array(world.names, object)
    columns = (c[mask].tolist() for c in (*world.positions.T, values, names))
    return sorted(zip(world.objects[mask], *columns, strict=True))


@given(
    ids=st.lists(st.integers(0, OBJECTS + 99), min_size=1, max_size=5, unique=True),
    boxed=st.booleans(),
)
def test_a_few_objects_of_full_cells_are_those_that_were_written(
    world: World, repo: zvv.Repository, ids: list[int], boxed: bool
) -> None:
    ids = [one for one in ids if (world.objects == one).any()]
    bbox = ([3.0] * 3, [12.0, 9.0, 8.0]) if boxed else None
    mask = np.isin(world.objects, ids)
    if bbox is not None:
        mask &= ((world.positions >= bbox[0]) & (world.positions < bbox[1])).all(axis=1)
    found = repo.view()["p"][0].read(objects=ids, bbox=bbox, attributes="all")
    assert rows(found) == expected(world, mask)


@given(ids=st.lists(st.integers(0, OBJECTS - 1), min_size=1, max_size=3), limit=st.integers(0, 300))
def test_a_limit_takes_the_first_of_a_few_objects(
    repo: zvv.Repository, ids: list[int], limit: int
) -> None:
    level = repo.view()["p"][0]
    every, some = level.read(objects=ids), level.read(objects=ids, limit=limit)
    np.testing.assert_array_equal(some.vertex_ids, every.vertex_ids[:limit])
    np.testing.assert_array_equal(some.positions, every.positions[:limit])


def test_a_few_objects_are_the_same_when_others_beside_them_are_removed(
    world: World, tmp_path: Path
) -> None:
    repo = world.write(tmp_path / "repo")
    with repo.transaction() as tx:
        tx.writer("p").remove_objects_sync(list(range(100, 400)))
    found = repo.view()["p"][0].read(objects=[7, 99, 400, 599], attributes="all")
    assert rows(found) == expected(world, np.isin(world.objects, [7, 99, 400, 599]))


def test_one_object_of_a_full_cell_does_not_decompress_the_cell(
    repo: zvv.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    level = repo.view()["p"][0]
    level.read(objects=[3], attributes=[])
    made = decompressed(monkeypatch)
    level.read(objects=[4], attributes=[])
    in_part = sum(made)
    made.clear()
    level.read(objects=[4], attributes=[], bbox=([0] * 3, [2 * SIDE] * 3))
    assert 0 < in_part < 0.6 * sum(made)


def test_damage_in_a_block_that_is_not_wanted_is_found_all_the_same(
    world: World, tmp_path: Path
) -> None:
    world.write(tmp_path / "repo")
    file = max((tmp_path / "repo" / "chunks").iterdir(), key=lambda one: one.stat().st_size)
    raw = bytearray(file.read_bytes())
    for place in range(1_000, len(raw) - 20_000, len(raw) // 8):
        raw[place] ^= 1
    file.chmod(0o644)
    file.write_bytes(raw)
    with pytest.raises(IntegrityError, match="checksum"):
        zvv.Repository.open(str(tmp_path / "repo")).view()["p"][0].read(objects=[4])
