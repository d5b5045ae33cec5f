"""Eight processes commit to one branch: no commit that was acknowledged is lost."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import _writers
import pytest

import zv_versioned as zvv

WRITERS, COMMITS = 8, 25
# The server of the tests is one Python process, and all eight ask it.
COMMITS_TO_SERVER = 3


@pytest.fixture(scope="module")
def pipes() -> Iterator[list[Connection]]:
    """Eight processes that wait for jobs."""
    _writers.compile_package()
    spawn = multiprocessing.get_context("spawn")
    started, ours = [], []
    for _ in range(WRITERS):
        mine, its = spawn.Pipe()
        process = spawn.Process(target=_writers.serve, args=(its,), daemon=True)
        process.start()
        its.close()
        started.append(process)
        ours.append(mine)
    yield ours
    for pipe in ours:
        pipe.send(None)
    for process in started:
        process.join(30)
    assert [process.exitcode for process in started] == [0] * WRITERS


def all_at_once(
    pipes: list[Connection], location: str, options: dict[str, Any], commits: int
) -> None:
    """Let all of them commit at the same time, and look at what is there then."""
    repo = _writers.create(location, **options)
    for who, pipe in enumerate(pipes):
        pipe.send((location, options, who, commits))
    for pipe in pipes:
        assert pipe.recv() == "ready"
    for pipe in pipes:
        pipe.send("go")
    answers = [pipe.recv() for pipe in pipes]
    assert [answer for answer in answers if isinstance(answer, str)] == []
    told = [one for answer in answers for one in answer]
    line = repo.log()
    messages = {commit.snapshot_id: commit.message for commit in line}
    assert len(messages) == len(line) == len(told) + 2
    assert {one.snapshot_id: f"{one.who} {one.number}" for one in told}.items() <= messages.items()
    _writers.check(repo, told)
    _writers.check(zvv.Repository.open(location, **options), told)


def test_eight_processes_lose_no_commit_on_a_filesystem(
    pipes: list[Connection], tmp_path: Path
) -> None:
    all_at_once(pipes, str(tmp_path / "r"), {}, COMMITS)


def test_eight_processes_lose_no_commit_on_object_storage(
    pipes: list[Connection], s3_location: tuple[str, dict[str, Any]]
) -> None:
    all_at_once(pipes, *s3_location, COMMITS_TO_SERVER)


@pytest.mark.long
def test_eight_processes_lose_no_commit_in_twenty_runs_on_a_filesystem(
    pipes: list[Connection], tmp_path: Path
) -> None:
    for run in range(20):
        all_at_once(pipes, str(tmp_path / f"r{run}"), {}, COMMITS)


@pytest.mark.long
def test_eight_processes_lose_no_commit_in_twenty_runs_on_object_storage(
    pipes: list[Connection], s3_location: tuple[str, dict[str, Any]]
) -> None:
    location, options = s3_location
    for run in range(20):
        all_at_once(pipes, f"{location}-{run}", options, COMMITS)
