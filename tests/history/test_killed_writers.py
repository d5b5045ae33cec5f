"""Sudden death: a writer that is killed at any moment leaves whole commits, and a repository.

What there must be at the tip after a death is what the writer had told, or that
and the one thing that it was about to do: nothing else, and nothing in part.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import statistics
import time
from collections import deque
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import _writers
import icechunk
import pytest
from _writers import STEPS, Told

import zv_versioned as zvv

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")

_CHECK_ALL_EVERY = 25
# What the server of forks may have imported. icechunk 2 has threads from its import on, and hangs
# in a process that was forked after that, so that each writer has to import it by itself.
FORKS = icechunk.__version__.startswith("1.")
_BEFORE_FORKS = ["numpy", "xarray", "zarr", "numcodecs", "google_crc32c", "filelock"]


class Rounds:
    """A repository whose writer is killed again and again, and what must be in it."""

    def __init__(self, location: str, seed: int) -> None:
        self.random = random.Random(seed)
        self.repo = _writers.create(location)
        self.there: dict[tuple[int, int], Told] = {}
        self.told = 0
        self.did: set[str] = set()
        self._steps: deque[float] = deque([0.05], maxlen=9)
        _writers.compile_package()
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["zv_versioned"] if FORKS else _BEFORE_FORKS)
        self._next = self._start(0)

    def _start(self, who: int) -> tuple[Any, Connection]:
        ours, its = self._context.Pipe()
        process = self._context.Process(
            target=_writers.die, args=(its, self.repo.location, who), daemon=True
        )
        process.start()
        its.close()
        return process, ours

    def round(self, who: int) -> None:
        """One writer, one death."""
        first = self.random.randrange(len(STEPS))
        there = list(self.there.values())
        victims = [one.snapshot_id for one in self.random.sample(there, min(3, len(there)))]
        process, pipe = self._next
        assert pipe.recv() == "here"
        pipe.send((first, victims))
        heard = [pipe.recv() for _ in range(self.random.choice((0, 0, 1, 2)))]
        time.sleep(self.random.uniform(0, 1.2 * statistics.median(self._steps)))
        process.kill()
        self._next = self._start(who + 1)  # imports what it needs while this one is looked at
        process.join()
        with contextlib.suppress(EOFError, ConnectionResetError):
            while True:
                heard.append(pipe.recv())
        for number, (step, what, seconds) in enumerate(heard):
            self.told += 1
            self.did.add(STEPS[(first + number) % len(STEPS)])
            self._steps.append(seconds)
            if step == "append":
                self.there[what.name] = what
                victims.append(what.snapshot_id)
            else:
                victims.remove(what)
                self._take_out(what)
        self._look(who, len(heard), victims)

    def end(self) -> None:
        """Let the writer go that waits for the next round."""
        self._next[0].kill()
        self._next[0].join()

    def _take_out(self, snapshot_id: str) -> None:
        name = next(n for n, one in self.there.items() if one.snapshot_id == snapshot_id)
        del self.there[name]

    def _look(self, who: int, number: int, victims: list[str]) -> None:
        """Take in what the writer may have done last, and compare."""
        tip = {commit.snapshot_id for commit in self.repo.log()}
        assert tip >= {one.snapshot_id for one in self.there.values()}
        level = self.repo.view()["p"][0]
        batches = len(level.batches)
        mine = _writers.names(self.repo, ([who, 0, 0], [who + 0.5, 1e9, 1e9]))
        expected = {name for name in self.there if name[0] == who}
        if mine == expected | {(who, number)}:
            self._adopt(who, number)
        elif batches == len(self.there) - 1 and victims:
            self._take_out(victims[-1])
        else:
            assert mine == expected
        assert batches == len(self.there)
        assert level.vertex_count == batches * _writers.PER_BATCH

    def _adopt(self, who: int, number: int) -> None:
        """A batch that is there and that nobody was told of any more."""
        at = [who, number]
        found = self.repo.view()["p"][0].read(bbox=([*at, 0], [who + 0.5, number + 0.5, 1e9]))
        made = next(c for c in self.repo.log() if c.message == f"{who} {number}")
        ids = tuple(dict.fromkeys(found.object_ids.tolist()))
        self.there[who, number] = Told(who, number, made.snapshot_id, ids)

    def look_at_all(self) -> None:
        """Compare everything, as somebody else sees it."""
        _writers.check(zvv.Repository.open(self.repo.location), self.there.values())


def kill_again_and_again(location: str, rounds: int) -> None:
    seed = int(os.environ.get("KILL_SEED", random.randrange(2**32)))
    print(f"to play the same moments again: KILL_SEED={seed}")
    killed = Rounds(location, seed)
    for who in range(rounds):
        killed.round(who)
        if who % _CHECK_ALL_EVERY == 0:
            killed.look_at_all()
    killed.end()
    # The last writer repairs nothing, and waits for nobody.
    repo = zvv.Repository.open(location, lock_timeout=1)
    for number in range(3):
        one = _writers.append(repo, rounds, number)
        killed.there[one.name] = one
    killed.look_at_all()
    assert killed.told > rounds / 2
    assert killed.did == set(STEPS)


def test_writers_that_are_killed_leave_whole_commits(tmp_path: Path) -> None:
    kill_again_and_again(str(tmp_path / "r"), 100 if FORKS else 40)


@pytest.mark.long
def test_a_thousand_writers_that_are_killed_leave_whole_commits(tmp_path: Path) -> None:
    kill_again_and_again(str(tmp_path / "r"), 1_000)
