"""A storage that fails at any moment: afterwards everything is as it was, or all is done."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import icechunk
import numpy as np
import pytest

import zv_versioned as zvv

# What the storage is asked to do; the last ones change what everybody sees.
STORE = ("get", "get_partial_values", "exists", "set", "delete", "delete_dir")
SESSION = ("fork", "merge", "reindex_array", "chunk_coordinates")
REPOSITORY = ("writable_session", "readonly_session", "lookup_branch", "list_branches", "ancestry")
REFS = ("create_branch", "delete_branch", "reset_branch")
CALLS = (
    *((icechunk.IcechunkStore, name) for name in STORE),
    *((icechunk.Session, name) for name in (*SESSION, "commit")),
    *((icechunk.Repository, name) for name in (*REPOSITORY, *REFS)),
)


class Fault:
    """Lets the n-th call fail, counted from when it is armed, or lets its answer be lost."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left, self.lost, self.hit = 0, False, ""
        for owner, name in CALLS:
            if hasattr(owner, name):  # icechunk 1 has not all of them
                monkeypatch.setattr(owner, name, self._counted(getattr(owner, name), name))

    def _counted(self, real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def before() -> bool:
            """Whether this is the call; it is over then, unless only its answer is lost."""
            if self.lost and name not in ("commit", *REFS):
                return False
            self.left -= 1
            if self.left != 0:
                return False
            self.hit = name
            if not self.lost:
                raise icechunk.IcechunkError("the network is unreachable")
            return True

        async def call_async(*args: Any, **options: Any) -> Any:
            before()
            return await real(*args, **options)

        def call(*args: Any, **options: Any) -> Any:
            loses = before()
            answer = real(*args, **options)
            if loses:
                raise icechunk.IcechunkError("the connection was reset")
            return answer

        return call_async if inspect.iscoroutinefunction(real) else call

    @contextmanager
    def at(self, n: int, *, lost: bool) -> Iterator[None]:
        self.left, self.lost, self.hit = n, lost, ""
        try:
            yield
        finally:
            self.left = 0


def points(seed: int, n: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 9, (n, 3)).astype("f4")


def append(repo: zvv.Repository, seed: int, branch: str = "main") -> str:
    with repo.transaction(branch, message=f"append {seed}") as tx:
        stage(tx, seed)
    assert tx.result is not None
    return tx.result.snapshot_id


def stage(tx: zvv.Transaction, seed: int) -> None:
    tx.writer("p").append_vertices_sync(
        points(seed), object_ids=np.arange(40) // 4 + 100 * seed, attributes={"a": np.arange(40.0)}
    )


def state(repo: zvv.Repository) -> list[Any]:
    """All that is at the tip, and what one sees of the repository besides."""
    level = repo.view()["p"][0]
    whole = level.read(attributes="all")
    values = [whole.positions, whole.object_ids, *whole.attributes.values()]
    messages = [commit.message for commit in repo.log()]
    return [[v.tolist() for v in values], level.num_objects, messages, repo.list_branches()]


Prepared = Callable[[], Any]


def commit(repo: zvv.Repository) -> Prepared:
    tx = repo.transaction(message="append 5")
    stage(tx, 5)
    return tx.commit


def commit_that_lost_the_race(repo: zvv.Repository) -> Prepared:
    prepared = commit(repo)
    append(repo, 6)
    return prepared


def merge(repo: zvv.Repository) -> Prepared:
    return lambda: repo.merge("try", message="merge")


def revert(repo: zvv.Repository) -> Prepared:
    bad = next(c.snapshot_id for c in repo.log() if c.message == "append 1")
    return lambda: repo.revert(bad, message="revert")


VERBS = [commit, commit_that_lost_the_race, merge, revert]


@pytest.fixture
def repo() -> zvv.Repository:
    """Three appends on main, and a branch with another append and an attribute."""
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0] * 3, [9] * 3), chunk_shape=[4.5] * 3)
    append(repo, 0)
    append(repo, 1)
    repo.create_branch("try")
    append(repo, 3, "try")
    with repo.transaction("try", message="b") as tx:
        tx.writer("p").add_attribute_sync("b", np.arange(120))
    append(repo, 2)
    return repo


@pytest.mark.parametrize("lost", [False, True], ids=["fails", "answer lost"])
@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
def test_whatever_call_fails_all_is_as_it_was_or_all_is_done(
    repo: zvv.Repository,
    verb: Callable[[zvv.Repository], Prepared],
    lost: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tip = repo.resolve("main")
    verb(repo)()
    done = state(repo)
    fault = Fault(monkeypatch)
    failed: set[str] = set()
    for n in itertools.count(1):
        repo.reset_branch("main", to=tip)
        run = verb(repo)
        before = state(repo)
        try:
            with fault.at(n, lost=lost):
                run()
                over = fault.left > 0
        except zvv.StorageError:
            assert fault.hit
            failed.add(fault.hit)
            assert state(repo) == before, (n, fault.hit)
        else:
            assert state(repo) == done, (n, fault.hit)
            if fault.hit == "commit":
                # Nothing but its answer can be missing of a commit that counts as done.
                assert lost
                failed.add("answer")
            if over:
                break
    assert failed >= ({"answer"} if lost else {"commit", "set"}), failed


def test_a_commit_whose_answer_says_that_the_branch_moved_is_found_in_the_history(
    repo: zvv.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = repo._backend.publish
    wins = itertools.count()

    def publish(session: Any, branch: str, *more: Any, **how: Any) -> str:
        """The first answer is lost; asked again, the storage says that the tip is another."""
        began = session.snapshot_id
        made = real(session, branch, *more, **how)
        if next(wins) == 0:
            append(zvv.Repository(repo._backend), 7)
            raise repo._backend._moved(branch, made, began)
        return made

    run = commit(repo)
    monkeypatch.setattr(repo._backend, "publish", publish)
    monkeypatch.setattr(repo._backend, "is_local", False)
    result = run()
    messages = [one.message for one in repo.log()]
    assert messages[:2] == ["append 7", "append 5"]
    assert messages.count("append 5") == 1
    assert repo.log()[1].snapshot_id == result.snapshot_id
