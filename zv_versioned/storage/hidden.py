"""Refs of our own, which no list shows: they keep what icechunk would collect.

icechunk knows one parent of a snapshot, and its garbage collection goes by refs
and that parent alone. The second parent of a merge therefore gets a branch of
its own, under a prefix that users' branches cannot have. A second kind lives
for a moment only: a session can be forked nowhere but at the tip of a branch.
Two more are described where they are used: the lines of :mod:`.lineage`, and
the leases of :mod:`.leases`.

Branches, not tags: a tag that was deleted can never be made again.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import icechunk as ic

from ..errors import MetadataError, NotFoundError
from .translate import translated

if TYPE_CHECKING:
    from .backend import Backend
    from .handle import Handle

HIDDEN = "zv_versioned."
"""What the names of hidden branches begin with."""

PARENT = f"{HIDDEN}parent."
CARRY = f"{HIDDEN}carry."


def names(backend: Handle, prefix: str = HIDDEN) -> list[str]:
    """The names of hidden branches that begin with a prefix, sorted."""
    backend.check_process()
    with translated(backend.location):
        found = backend._repository.list_branches()
    return sorted(name for name in found if name.startswith(prefix))


def target(backend: Backend, name: str) -> str:
    """The snapshot that a hidden branch stands at."""
    backend.check_process()
    with translated(backend.location):
        return backend._repository.lookup_branch(name)


def targets(backend: Backend) -> dict[str, str]:
    """All hidden branches, with the snapshots that they stand at."""
    found = {}
    for name in names(backend):
        try:
            found[name] = target(backend, name)
        except NotFoundError:
            continue  # it was there for a moment only, or was released while we looked
    return found


def keep(backend: Backend, name: str, snapshot_id: str) -> bool:
    """Make a hidden branch; False where there is one of this name.

    Raises
    ------
    NotFoundError
        If there is no such snapshot any more.
    """
    with backend.mutation(f"keep {snapshot_id}"):
        backend.require(snapshot_id)
        with translated(backend.location):
            if name in backend._repository.list_branches():
                return False
        try:
            with translated(backend.location):
                backend._repository.create_branch(name, snapshot_id)
        except MetadataError:
            return False  # somebody else who keeps the same was faster
        return True


def let_go(backend: Backend, name: str) -> None:
    """Delete a hidden branch.

    Raises
    ------
    NotFoundError
        If there is none of this name.
    """
    with (
        backend.mutation(f"let go of {name}"),
        translated(backend.location),
        backend.deleting(f"branch.{name}"),
    ):
        backend._repository.delete_branch(name)


def keep_parent(backend: Backend, snapshot_id: str) -> bool:
    """Keep a snapshot, and what leads to it, from being collected; False where it is already."""
    return keep(backend, PARENT + snapshot_id, snapshot_id)


def forget_parent(backend: Backend, snapshot_id: str) -> None:
    """Let go of a snapshot that :func:`keep_parent` keeps."""
    let_go(backend, PARENT + snapshot_id)


def kept_parents(backend: Backend) -> list[str]:
    """The snapshots that are kept as parents of merges, sorted."""
    return [name[len(PARENT) :] for name in names(backend, PARENT)]


@contextmanager
def session_at(backend: Backend, snapshot_id: str) -> Iterator[ic.Session]:
    """A writable session that begins at any snapshot, to be forked and never to be published."""
    name = CARRY + secrets.token_hex(8)
    repository = backend._repository
    with backend.mutation(f"read {snapshot_id}"), translated(backend.location):
        with backend.mutation(f"read {snapshot_id}"):  # sealed before it is deleted again
            repository.create_branch(name, snapshot_id)
        try:
            session = repository.writable_session(name)
        finally:
            with backend.deleting(f"branch.{name}"):
                repository.delete_branch(name)
    yield session
