"""Processes that write: for the tests of many writers and of sudden death.

Every batch has `PER_BATCH` vertices whose positions say which batch of which
writer they are of, so that what a repository holds is compared with what its
writers said.
"""

from __future__ import annotations

import compileall
import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

import zv_versioned as zvv

PER_BATCH = 20
WRITERS, BATCHES = 1024, 1 << 14
CLOUD: dict[str, Any] = {
    "kind": "point_cloud",
    "bounds": ([0, 0, 0], [WRITERS, BATCHES, PER_BATCH]),
    "chunk_shape": [WRITERS / 8, BATCHES / 2, PER_BATCH],
}


@dataclass(frozen=True)
class Told:
    """What a writer was told of a batch: that the commit is made, and the ids of the vertices."""

    who: int
    number: int
    snapshot_id: str
    ids: tuple[int, ...]

    @property
    def name(self) -> tuple[int, int]:
        """Whose batch it is, and which."""
        return self.who, self.number


def create(location: str, **options: Any) -> zvv.Repository:
    """A repository with an empty dataset ``p``."""
    repo = zvv.Repository.create(location, **options)
    with repo.transaction(message="create") as tx:
        tx.create_dataset("p", **CLOUD)
    return repo


def append(repo: zvv.Repository, who: int, number: int, branch: str = "main") -> Told:
    """Append a batch: under default ids, under given ones, or with an attribute."""
    steps = np.arange(PER_BATCH)
    at = np.stack([np.full(PER_BATCH, who), np.full(PER_BATCH, number), steps], axis=1)
    own_ids = (who * BATCHES + number + 1) * 10**6 + steps // 4
    with repo.transaction(branch, message=f"{who} {number}") as tx:
        tx.writer("p").append_vertices_sync(
            at.astype("f4"),
            object_ids=own_ids if number % 3 == 1 else None,
            attributes={"a": steps + 0.5} if number % 3 == 2 else None,
        )
    result = tx.result
    assert result is not None
    ids = result.object_ids["p"].tolist()
    return Told(who, number, result.snapshot_id, tuple(ids))


def names(repo: zvv.Repository, bbox: Any = None) -> set[tuple[int, int]]:
    """The batches that are at the tip, each of which must be whole."""
    found = repo.view()["p"][0].read(bbox=bbox, attributes="all")
    at = found.positions.astype(np.int64)
    batches, index, counts = np.unique(at[:, :2], axis=0, return_inverse=True, return_counts=True)
    assert (counts == PER_BATCH).all(), "a batch is not whole"
    index = index.ravel()
    order = np.lexsort((at[:, 2], index))
    assert (at[order, 2].reshape(-1, PER_BATCH) == np.arange(PER_BATCH)).all()
    values = found.attributes.get("a", np.full(len(found), np.nan))
    expected = np.where(at[:, 1] % 3 == 2, at[:, 2] + 0.5, np.nan)
    np.testing.assert_array_equal(values, expected)
    return {(int(who), int(number)) for who, number in batches}


def check(repo: zvv.Repository, told: Iterable[Told]) -> None:
    """All at the tip that writers were told of, under the ids that they were told, and no more."""
    expected = {one.name: one for one in told}
    assert names(repo) == expected.keys()
    level = repo.view()["p"][0]
    whole = level.read()
    assert level.vertex_count == len(whole) == PER_BATCH * len(level.batches)
    at = whole.positions.astype(np.int64)
    found: dict[tuple[int, int], set[int]] = {name: set() for name in expected}
    for who, number, i in zip(*at[:, :2].T.tolist(), whole.object_ids.tolist(), strict=True):
        found[who, number].add(i)
    assert found == {name: set(one.ids) for name, one in expected.items()}
    ids = level.object_ids()
    assert len(np.unique(ids)) == len(ids) == sum(len(one.ids) for one in expected.values())


def compile_package() -> None:
    """Compile the package, which every writer imports anew.

    Where Python is told to write no bytecode, that would be most of what they do.
    """
    compileall.compile_dir(Path(zvv.__file__).parent, quiet=2)


# ---- processes -----------------------------------------------------------------------------------


def serve(pipe: Connection) -> None:
    """Do one job after the other: open a repository, say so, wait for the sign, and write."""
    while (job := pipe.recv()) is not None:
        location, options, who, count = job
        repo = zvv.Repository.open(location, **options)
        pipe.send("ready")
        assert pipe.recv() == "go"
        try:
            pipe.send([append(repo, who, number) for number in range(count)])
        except zvv.ZVError:
            pipe.send(traceback.format_exc())


STEPS = ("default ids", "merge", "given ids", "revert", "attribute")


def die(pipe: Connection, location: str, who: int) -> None:
    """Write until the end comes from outside, telling what is done and how long it took.

    It says that it is here, and is told which of `STEPS` to begin with, and what
    commits may be reverted.
    """
    repo = zvv.Repository.open(location)
    pipe.send("here")
    first, victims = pipe.recv()
    began = time.perf_counter()
    for number in range(BATCHES):
        step = STEPS[(first + number) % len(STEPS)]
        if step == "revert" and victims:
            what: Any = ("revert", victims.pop())
            repo.revert(what[1])
        else:
            write = merged if step == "merge" else append
            what = ("append", write(repo, who, number))
            victims.append(what[1].snapshot_id)
        now = time.perf_counter()
        pipe.send((*what, now - began))
        began = now


def merged(repo: zvv.Repository, who: int, number: int) -> Told:
    """Append a batch on a branch, and merge the branch, which is no more then."""
    branch = f"of-{who}-{number}"
    repo.create_branch(branch)
    one = append(repo, who, number, branch)
    repo.merge(branch, into="main", ff="no")
    repo.delete_branch(branch)
    return one
