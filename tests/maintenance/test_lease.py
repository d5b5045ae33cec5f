"""A lease keeps what it is of, until it ends."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from _story import Story

import zv_versioned as zvv
from zv_versioned.errors import MetadataError, NotFoundError, ReadOnlyError
from zv_versioned.storage import leases


@pytest.fixture
def story(tmp_path: Path) -> Story:
    made = Story(tmp_path / "r")
    for number in range(4):
        made.append(f"m{number}")
    return made


def tidy(repo: zvv.Repository) -> None:
    time.sleep(0.06)
    repo.expire(keep_last=1, dry_run=False)
    repo.gc(dry_run=False)


def test_a_leased_view_can_be_read_whatever_expires(story: Story) -> None:
    view = story.repo.view(story.ids["m1"])
    with view.lease(ttl=timedelta(minutes=1)) as lease:
        assert lease.is_live
        assert "until" in repr(lease)
        tidy(zvv.Repository.open(story.repo.location))
        assert view["p"][0].positions().shape == (4, 2)
        again = zvv.Repository.open(story.repo.location)
        assert again.view(story.ids["m1"])["p"][0].vertex_count == 4
        assert story.log("main") == ["m3", "m1", "root"]
    assert not lease.is_live
    assert leases.leases(story.repo._backend) == []
    tidy(story.repo)
    assert story.log("main") == ["m3", "root"]
    with pytest.raises(NotFoundError):
        zvv.Repository.open(story.repo.location).view(story.ids["m1"])


def test_refs_views_and_transactions_can_be_leased(story: Story) -> None:
    repo = story.repo
    tx = repo.transaction()
    made = [repo.lease("main~1"), repo.lease(repo.view()), repo.lease(tx, ttl=5)]
    assert [lease.snapshot_id for lease in made] == [story.ids[m] for m in ("m2", "m3", "m3")]
    assert len(leases.leases(repo._backend)) == 3
    for lease in made:
        lease.release()
    tx.abort()
    with pytest.raises(ReadOnlyError):
        tx.lease()


def test_one_that_has_ended_keeps_nothing_and_goes(story: Story) -> None:
    lease = story.repo.lease("main~2", ttl=0.01)
    time.sleep(0.02)
    assert not lease.is_live
    tidy(story.repo)
    assert story.log("main") == ["m3", "root"]
    assert leases.leases(story.repo._backend) == []
    with pytest.raises(NotFoundError):
        lease.renew()
    lease.release()


def test_it_can_be_renewed_until_it_is_released(story: Story) -> None:
    lease = story.repo.lease("main~2", ttl=0.5)
    first = lease.expires
    lease.renew(ttl=3600)
    assert lease.expires > first + timedelta(minutes=50)
    assert [stored.until for stored in leases.leases(story.repo._backend)] == [
        lease.expires.replace(microsecond=lease.expires.microsecond // 1000 * 1000)
    ]
    lease.release()
    lease.release()
    with pytest.raises(ReadOnlyError, match="released"):
        lease.renew()


def test_it_is_seen_on_every_storage(any_location: tuple[str, dict[str, Any]]) -> None:
    location, options = any_location
    story = Story(location, **options)
    for number in range(3):
        story.append(f"m{number}")
    other = zvv.Repository.open(location, **options)
    with story.repo.lease("main~1"):
        (seen,) = leases.leases(other._backend)
        assert seen.is_live(other._backend, datetime.now(UTC))
        assert story.ids["m1"] not in other.expire(keep_last=1).expired
        assert other.list_branches() == ["main"]
    assert leases.leases(other._backend) == []


@pytest.mark.parametrize("ttl", [0, -1, "1h", True, timedelta(), timedelta(days=9999)])
def test_a_time_that_is_none_is_refused(story: Story, ttl: Any) -> None:
    with pytest.raises(MetadataError, match="ttl"):
        story.repo.lease(ttl=ttl)
    assert leases.leases(story.repo._backend) == []
