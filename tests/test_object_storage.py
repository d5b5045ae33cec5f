"""The whole path on an object store: S3, served by moto on the loopback interface."""

from __future__ import annotations

import asyncio
from typing import Any

import _s3
import numpy as np
import pytest
import zarr
from conftest import S3_BUCKET

import zv_versioned as zvv
from zv_versioned.errors import (
    ArrayError,
    ConflictError,
    IntegrityError,
    MetadataError,
    NotFoundError,
    StorageError,
    ZVError,
)

Location = tuple[str, dict[str, Any]]
BOUNDS = ([0.0] * 3, [100.0] * 3)


def points(seed: int, n: int = 500) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 100, (n, 3)).astype("f4")


def append(repo: zvv.Repository, seed: int, **options: Any) -> zvv.CommitResult:
    with repo.transaction("main", message=f"batch {seed}") as tx:
        tx.writer("p").append_vertices_sync(
            points(seed), object_ids=np.arange(500) // 10 + 1000 * seed, **options
        )
    return tx.result


@pytest.fixture
def repo(s3_location: Location) -> zvv.Repository:
    """A repository on S3 with a dataset and one batch, opened anew."""
    location, options = s3_location
    created = zvv.Repository.create(location, **options)
    with created.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=BOUNDS)
    append(created, 1, attributes={"a": np.arange(500.0)})
    return zvv.Repository.open(location, **options)


def test_what_was_appended_is_read_back(repo: zvv.Repository) -> None:
    append(repo, 2)
    level = repo.view()["p"][0]
    expected = np.concatenate([points(1), points(2)])
    assert sorted(map(tuple, level.positions())) == sorted(map(tuple, expected))
    assert level.vertex_count == 1000
    assert level.object_ids().tolist() == [*range(1000, 1050), *range(2000, 2050)]
    box = level.read(bbox=([20] * 3, [60] * 3))
    inside = ((expected >= 20) & (expected < 60)).all(axis=1)
    assert sorted(map(tuple, box.positions)) == sorted(map(tuple, expected[inside]))
    one = level.objects[2003]
    assert sorted(map(tuple, one.positions)) == sorted(map(tuple, points(2)[30:40]))
    values = level.attribute("a")
    assert np.isnan(values[500:]).all()
    at = {tuple(p): i for i, p in enumerate(points(1))}
    assert values[:500].tolist() == [at[tuple(p)] for p in level.positions()[:500]]


def test_a_large_append_is_read_back_in_parts(repo: zvv.Repository) -> None:
    many = points(7, 200_000)
    with repo.transaction() as tx:
        tx.writer("p").append_vertices_sync(many, attributes={"a": many[:, 0].astype("f8")})
    found = repo.view()["p"][0].read(bbox=([10, 20, 30], [25, 35, 45]), attributes=["a"], batches=1)
    inside = ((many >= [10, 20, 30]) & (many < [25, 35, 45])).all(axis=1)
    assert sorted(map(tuple, found.positions)) == sorted(map(tuple, many[inside]))
    assert (found.attributes["a"] == found.positions[:, 0]).all()


def test_a_pinned_view_and_a_tag_stay_where_they_are(
    repo: zvv.Repository, s3_location: Location
) -> None:
    pinned = repo.view()
    repo.create_tag("paper", at="main")
    result = append(repo, 2)
    assert pinned["p"][0].vertex_count == 500
    assert repo.view(tag="paper")["p"][0].vertex_count == 500
    again = zvv.Repository.open(s3_location[0], **s3_location[1])
    assert again.list_tags() == ["paper"]
    assert again.view()["p"][0].vertex_count == 1000
    assert again.resolve("main") == result.snapshot_id
    assert [commit.message for commit in again.log()][:2] == ["batch 2", "batch 1"]


def test_a_branch_is_reset_and_goes_on_from_there(repo: zvv.Repository) -> None:
    good = repo.resolve("main")
    append(repo, 2)
    repo.create_branch("keep", at="main")
    repo.reset_branch("main", to=good)
    assert repo.view()["p"][0].vertex_count == 500
    append(repo, 2)  # the same ids again: they are free on this branch
    assert repo.view()["p"][0].vertex_count == repo.view("keep")["p"][0].vertex_count == 1000
    assert sorted(repo.list_branches()) == ["keep", "main"]


def test_a_commit_that_lost_the_race_is_merged_with_what_was_faster(
    repo: zvv.Repository, s3_location: Location
) -> None:
    other = zvv.Repository.open(s3_location[0], **s3_location[1])
    slow = repo.transaction("main")
    slow.writer("p").append_vertices_sync(points(2), object_ids=[2] * 500)
    won = append(other, 3)
    merged = slow.commit()
    assert repo.resolve("main") == merged.snapshot_id
    assert repo.log(limit=2)[1].snapshot_id == won.snapshot_id
    assert repo.view()["p"][0].vertex_count == 1500
    assert len(repo.view()["p"][0].objects[2]) == 500


def test_a_commit_that_lost_the_race_to_the_same_object_changes_nothing(
    repo: zvv.Repository, s3_location: Location
) -> None:
    other = zvv.Repository.open(s3_location[0], **s3_location[1])
    pair = repo.transaction("main"), other.transaction("main")
    for tx in pair:
        tx.writer("p").append_vertices_sync(points(2), object_ids=[2] * 500)
    won = pair[0].commit()
    with pytest.raises(ConflictError, match="objects 2 of dataset 'p'"):
        pair[1].commit()
    assert repo.resolve("main") == won.snapshot_id
    assert repo.view()["p"][0].vertex_count == 1000


def test_a_refused_append_and_an_abandoned_transaction_leave_no_trace(
    repo: zvv.Repository,
) -> None:
    tip = repo.resolve("main")
    with repo.transaction() as tx, pytest.raises(ArrayError, match="overlap existing objects"):
        tx.writer("p").append_vertices_sync(points(2), object_ids=1003)
    transaction = repo.transaction()
    transaction.writer("p").append_vertices_sync(points(2))
    transaction.abort()
    assert repo.resolve("main") == tip
    assert repo.view()["p"][0].vertex_count == 500


def test_writers_and_readers_work_in_a_running_loop(repo: zvv.Repository) -> None:
    async def work() -> int:
        async with repo.transaction() as tx:
            writer = tx.writer("p")
            for seed in (5, 6):
                await writer.append_vertices(points(seed))
        return repo.view()["p"][0].vertex_count

    assert asyncio.run(work()) == 1500


def test_the_store_of_a_dataset_is_read_by_zarr_and_by_the_peer(repo: zvv.Repository) -> None:
    append(repo, 2)
    dataset = repo.view()["p"]
    group = zarr.open_group(dataset.store, mode="r")
    assert group["0/object_index/object_ids"][:].tolist() == dataset[0].object_ids().tolist()
    peer = pytest.importorskip("zarr_vectors")
    opened = peer.open(dataset.store)[0]
    box = ([20.5] * 3, [45.5] * 3)
    found, mine = opened.select(bbox=box).read(), dataset[0].read(bbox=box, attributes=["a"])
    assert sorted(map(tuple, found.positions)) == sorted(map(tuple, mine.positions))
    assert len(found.positions) == len(mine) > 0
    ids = [1003, 2004]
    assert sorted(map(tuple, opened.objects[ids].positions)) == sorted(
        map(tuple, dataset[0].objects[ids].positions)
    )
    assert np.isnan(found.attributes["a"]).sum() == np.isnan(mine.attributes["a"]).sum()


def test_places_with_and_without_a_repository_are_told_apart(s3_location: Location) -> None:
    location, options = s3_location
    assert not zvv.Repository.exists(location, **options)
    with pytest.raises(NotFoundError):
        zvv.Repository.open(location, **options)
    zvv.Repository.open_or_create(location, **options)
    assert zvv.Repository.exists(location, **options)
    with pytest.raises(MetadataError):
        zvv.Repository.create(location, **options)
    assert _s3.SECRET not in repr(zvv.Repository.open(location, **options))


def test_a_chunk_that_was_deleted_is_an_integrity_error(
    repo: zvv.Repository, s3_location: Location, s3_endpoint: str
) -> None:
    many = points(7, 50_000)
    with repo.transaction() as tx:
        tx.writer("p").append_vertices_sync(many)
    s3, prefix = _s3.client(s3_endpoint), s3_location[0].removeprefix(f"s3://{S3_BUCKET}/")
    chunks = s3.list_objects_v2(Bucket=S3_BUCKET, Prefix=f"{prefix}/chunks/")["Contents"]
    largest = max(chunks, key=lambda chunk: chunk["Size"])
    s3.delete_object(Bucket=S3_BUCKET, Key=largest["Key"])
    level = zvv.Repository.open(s3_location[0], **s3_location[1]).view()["p"][0]
    with pytest.raises(IntegrityError, match="p/0/vertices"):
        level.positions()


@pytest.mark.long  # half a minute: icechunk tries again and again
def test_a_server_that_is_gone_is_an_error_and_not_an_empty_repository() -> None:
    with _s3.served() as endpoint:
        _s3.client(endpoint).create_bucket(Bucket="gone")
        options = _s3.options(endpoint)
        repo = zvv.Repository.create("s3://gone/r", **options)
        with repo.transaction() as tx:
            tx.create_dataset("p", kind="point_cloud", bounds=BOUNDS)
        append(repo, 1)
        view = zvv.Repository.open("s3://gone/r", **options).view()
    with pytest.raises(ZVError) as caught:
        view["p"][0].positions()
    assert isinstance(caught.value, StorageError)
