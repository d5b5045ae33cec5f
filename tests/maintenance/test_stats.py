"""What is counted is what is there, and what could be saved is what then is."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _story import Story

import zv_versioned as zvv
from zv_versioned.errors import IntegrityError, MetadataError, NotFoundError
from zv_versioned.maintenance.inventory import Inventory


def made(location: Any, **options: Any) -> Story:
    story = Story(location, **options)
    for number in range(4):
        story.append(f"m{number}")
    with story.repo.transaction(message="values") as tx:
        tx.writer("p").add_node_attribute_sync("score", np.arange(8, dtype="f4"))
        tx.writer("p").add_object_attribute_sync("size", np.arange(8, dtype="i4"))
    story.repo.create_branch("try", at=story.ids["m1"])
    return story


def test_by_branch_dataset_and_attribute(any_location: tuple[str, dict[str, Any]]) -> None:
    location, options = any_location
    repo = made(location, **options).repo
    counted = repo.stats()
    main, other = counted.levels
    assert (main.ref, main.dataset, main.level, main.kind) == ("main", "p", 0, "point_cloud")
    assert (main.vertices, main.objects, main.batches) == (8, 8, 4)
    assert main.batches_after_compaction == 1
    assert main.cells == 4
    assert (other.ref, other.vertices, other.batches) == ("try", 4, 2)
    assert {"vertices", "batches", "vertex_attributes/score", "object_attributes/size"} <= set(
        main.arrays
    )
    assert "vertex_attributes/score" not in other.arrays
    assert main.bytes == sum(main.arrays.values())
    assert min(main.arrays.values()) > 0
    assert counted.storage is not None
    assert counted.storage.chunks > 0
    assert counted.storage.unused >= 0
    assert repo.stats("try", storage=False) == zvv.Stats(repo.location, (other,), None)
    assert len(counted.to_pandas()) == len(main.arrays) + len(other.arrays)
    assert "8 vertices" in repr(counted)
    assert counted.to_dict()["levels"][0]["arrays"] == main.arrays


def test_what_could_be_saved_is_what_then_is(tmp_path: Path) -> None:
    repo = made(tmp_path / "r").repo
    before = repo.stats().storage
    assert before is not None
    assert before.total == sum(p.stat().st_size for p in tmp_path.rglob("*") if p.is_file())
    assert before.history
    assert before.live is not None
    after_compaction = repo.stats("main", storage=False).levels[0].batches_after_compaction
    time.sleep(0.06)
    assert repo.gc().bytes_removed == pytest.approx(before.unused, abs=4000)
    repo.gc(dry_run=False)
    repo.expire(keep_last=1, dry_run=False)
    time.sleep(0.06)
    repo.gc(dry_run=False)
    now = repo.stats().storage
    assert now is not None
    assert now.total is not None
    assert now.total < before.total - before.history
    repo.compact()
    assert repo.stats("main", storage=False).levels[0].batches == after_compaction


def test_bad_refs_are_refused(tmp_path: Path) -> None:
    repo = made(tmp_path / "r").repo
    with pytest.raises(NotFoundError, match="nobody"):
        repo.stats("nobody")
    with pytest.raises(MetadataError, match="refs"):
        repo.stats(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("which", ["snapshot", "manifest"])
@pytest.mark.parametrize("how", ["cut", "deleted"])
def test_what_damage_hides_is_not_counted_as_unused(tmp_path: Path, which: str, how: str) -> None:
    story = made(tmp_path / "r")
    repo, folder = story.repo, tmp_path / "r"
    repo.delete_branch("try")
    whole = repo.stats()
    inventory = Inventory.of(folder)
    earlier = repo.resolve("main~1")
    name = f"snapshots/{earlier}"
    if which == "manifest":
        of_tip = inventory.snapshots[repo.resolve("main")].manifests
        name = f"manifests/{min(inventory.snapshots[earlier].manifests.keys() - of_tip.keys())}"
    raw = (folder / name).read_bytes()
    (folder / name).unlink()
    if how == "cut":
        (folder / name).write_bytes(raw[:-7])
    with pytest.raises(IntegrityError, match=f"cannot be known: {name} cannot be read"):
        repo.stats()
    assert repo.stats(storage=False).levels == whole.levels
    (folder / name).write_bytes(raw)
    assert repo.stats() == whole
