"""Carrying chunks from one snapshot into a session on another, under other slots.

The first axis of every array of batches is the slot; to carry a batch is to let
its chunks stand under another slot. icechunk 2 moves the references, whatever
their size: :func:`carry` forks a session at the source, re-indexes the fork and
merges its changes. That needs the array to be the same node on both sides; where
it is not (it was made on each side by itself), and in icechunk 1, the encoded
bytes are copied, :mod:`zv_versioned._store` a few at a time.

Source: icechunk's documentation of ``Session.fork``, ``merge``, ``reindex_array``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import icechunk as ic
import numpy as np

from .. import _io, _writes
from .._paths import chunk_key
from .._sets import is_in
from .hidden import session_at
from .translate import translated

if TYPE_CHECKING:
    from .backend import Backend

SHARES = hasattr(ic.Session, "reindex_array")
"""Whether this icechunk can carry chunks without copying them."""

# Sessions are Any below: icechunk 1 lacks half of what is called on them.
_ABSENT: Any = getattr(ic, "NodeNotFoundError", ())

Coordinates = tuple[int, ...]

_TOLD_EVERY = 256
"""How many chunks are copied at a time: many times what is on its way at once."""


@dataclass(frozen=True)
class Move:
    """Chunks of one array that are to be carried.

    Parameters
    ----------
    array : str
        The array's path.
    source, target : ndarray of int64, shape (M,)
        Slots in the source, and those they get.
    """

    array: str
    source: np.ndarray
    target: np.ndarray

    @property
    def slots(self) -> dict[int, int]:
        """Each source slot with its target."""
        return dict(zip(self.source.tolist(), self.target.tolist(), strict=True))


def coordinates(session: Any, array: str, slots: Iterable[int]) -> list[Coordinates]:
    """The chunks of an array that exist under some slots, also those not committed yet."""
    wanted = set(slots)

    async def collect() -> list[Coordinates]:
        found = session.chunk_coordinates(f"/{array}", 10_000)
        there = {tuple(at) async for at in found if at[0] in wanted}
        if session.read_only:
            return sorted(there)
        # Of a session with changes, icechunk also names what was deleted in it.
        store = session.store
        return [at for at in sorted(there) if await store.exists(chunk_key(array, at))]

    with translated(array):
        return _io.run(collect())


def same_node(a: Any, b: Any, array: str) -> bool:
    """Whether an array is one and the same node in two sessions, so that chunks can be shared."""
    if not SHARES:
        return False
    try:
        return bool(a.get_node_id(f"/{array}") == b.get_node_id(f"/{array}"))
    except _ABSENT:
        return False


def carry(
    backend: Backend,
    source: ic.IcechunkStore,
    target: Any,
    moves: Sequence[Move],
    *,
    branch: str | None = None,
    copy: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Carry chunks of a snapshot into a session.

    Parameters
    ----------
    backend : Backend
    source : icechunk.IcechunkStore
        Of the snapshot, as :meth:`Backend.read_store` gives it.
    target : icechunk.Session
        Where the chunks go; it has all the arrays.
    moves : sequence of Move
    branch : str, optional
        One whose tip the snapshot may be; that spares a ref.
    copy : bool
        Copy even where chunks could be shared.
    progress : callable, optional
        Told how many chunks are copied, and of how many; not called where all are shared.

    Returns
    -------
    int
        How many chunks were copied; none where all could be shared.
    """
    moves = [move for move in moves if len(move.source)]
    shared = [m for m in moves if not copy and same_node(source.session, target, m.array)]
    if shared:
        with _forkable(backend, source, branch) as session, translated(backend.location):
            fork = session.fork()
            for move in shared:
                _reindex(fork, move)
            target.merge(fork)
    keys = [key for m in moves if m not in shared for key in _keys_of(source, m)]
    for begin in range(0, len(keys), _TOLD_EVERY):
        if progress is not None:
            progress(begin, len(keys))
        _writes.copy_many(source, target.store, keys[begin : begin + _TOLD_EVERY])
    if progress is not None and keys:
        progress(len(keys), len(keys))
    return len(keys)


def _keys_of(source: ic.IcechunkStore, move: Move) -> list[tuple[str, str]]:
    """The keys of chunks where they are, and where they go."""
    slots = move.slots
    return [
        (chunk_key(move.array, at), chunk_key(move.array, (slots[at[0]], *at[1:])))
        for at in coordinates(source.session, move.array, slots)
    ]


def _forkable(backend: Backend, source: ic.IcechunkStore, branch: str | None) -> Any:
    if branch is not None:
        session = backend.begin(branch)
        if session.snapshot_id == source.session.snapshot_id:
            return nullcontext(session)
    return session_at(backend, source.session.snapshot_id)


def reindex_array(session: Any, array: str, forward: Any, backward: Any = None) -> None:
    """Re-index an array, all of whose manifests were read before.

    icechunk keeps the interpreter to itself while it re-indexes, also while it
    waits for the storage: every other thread would wait as long, and one that the
    storage needs for ever.
    """

    async def read_all() -> None:
        async for _ in session.chunk_coordinates(f"/{array}", 10_000):
            pass

    _io.run(read_all())
    session.reindex_array(f"/{array}", forward, backward)


def _reindex(session: Any, move: Move) -> None:
    slots = move.slots

    def forward(at: list[int]) -> list[int] | None:
        slot = slots.get(at[0])
        return None if slot is None else [slot, *at[1:]]

    reindex_array(session, move.array, forward)


# ---- what is staged, and not committed yet -----------------------------------


@dataclass
class Staged:
    """A session with changes of its own that lost the race for its branch.

    Its changes can be merged into a session on the new tip as they are; but where
    they lie under slots that somebody else has taken by now, they first have to
    be moved, and what they cover has to be put back. What was staged stays
    where it is, so that this may be done again when the race is lost again.

    Parameters
    ----------
    backend : Backend
    session : icechunk.Session
    """

    backend: Backend
    session: Any
    # By array, what earlier tries left in the session besides what was staged.
    _left: dict[str, set[Coordinates]] = field(default_factory=dict)

    def shareable(self, target: Any, arrays: Iterable[str]) -> bool:
        """Whether its changes can be merged into `target`, to which the tip has moved.

        Parameters
        ----------
        target : icechunk.Session
        arrays : iterable of str
            Paths of the arrays with chunks of it.
        """
        if not SHARES:
            return False
        with translated(self.backend.location):
            changes = self.session.status()
            made = changes.new_arrays | changes.new_groups
            if any(_exists(target, path) for path in made):
                return False
            there = [array for array in arrays if f"/{array}" not in made]
            return all(same_node(self.session, target, array) for array in there)

    def carry(self, target: Any, moves: Sequence[Move]) -> None:
        """Merge all its changes into a session on the new tip.

        Parameters
        ----------
        target : icechunk.Session
            Without changes.
        moves : sequence of Move
            For each array with staged chunks that have to go elsewhere, the slots
            they were staged under and those they get.
        """
        with translated(self.backend.location):
            with self._source(moves) as source:
                clean = target.fork()
                covered = {move.array: self._move(source, move) for move in moves}
                target.merge(source)
            stray = []
            for array, places in covered.items():
                theirs = _put_back(clean, array, {at[0] for at in places})
                stray += [chunk_key(array, at) for at in sorted(places - theirs)]
            target.merge(clean)
        _writes.delete_many(target.store, stray)

    def _source(self, moves: Sequence[Move]) -> AbstractContextManager[Any]:
        """The session itself, or another like it where moving would cover what was staged."""
        if not any(is_in(move.target, move.source).any() for move in moves):
            return nullcontext(self.session)
        return self._double()

    @contextmanager
    def _double(self) -> Iterator[Any]:
        with session_at(self.backend, self.session.snapshot_id) as session:
            session.merge(self.session)
            yield session

    def _move(self, session: Any, move: Move) -> set[Coordinates]:
        """Move staged chunks; returns all places that the session covers and ought not to."""
        slots = move.slots
        staged: set[Coordinates] = set()

        def forward(at: list[int]) -> list[int] | None:
            slot = slots.get(at[0])
            if slot is None:
                return None
            staged.add(tuple(at))
            return [slot, *at[1:]]

        reindex_array(session, move.array, forward)
        arrived = {(slots[at[0]], *at[1:]) for at in staged}
        left = self._left.setdefault(move.array, set())
        covered = (left | staged) - arrived
        if session is self.session:
            left |= arrived
        return covered


def _exists(session: Any, path: str) -> bool:
    try:
        session.get_node_id(path)
    except _ABSENT:
        return False
    return True


def _put_back(clean: Any, array: str, slots: set[int]) -> set[Coordinates]:
    """Let a fork of the tip say what it has under some slots; returns where it has something."""
    there: set[Coordinates] = set()
    if not _exists(clean, f"/{array}"):
        return there

    def same(at: list[int]) -> list[int] | None:
        if at[0] not in slots:
            return None
        there.add(tuple(at))
        return at

    reindex_array(clean, array, same)
    return there
