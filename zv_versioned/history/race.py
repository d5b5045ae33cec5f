"""A commit that lost the race: merged onto the new tip, and tried again.

What a transaction held is written now, where it belongs. What it uploaded is not
uploaded again: where icechunk can, its references are moved into the new session;
else the encoded bytes are copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from .. import _paths, _state, _writes
from ..result import stage_name
from ..storage.backend import discard
from ..storage.carry import Move, Staged
from .details import Held, Snapshot, Source
from .index import DatasetIndex, Index, LevelIndex, likely_documents, load_index
from .merge import Merged
from .merge_rows import Names, Options
from .retry import until_published
from .runs import IdMap
from .sides import Sides, commit_of, merged_index, write
from .transplant import all_carries

if TYPE_CHECKING:
    from ..format.metadata import DatasetMeta
    from ..repository import Repository
    from ..writing.stage import LevelStage


_OPTIONS = Options(names=Names.of("this transaction"))


@dataclass(frozen=True)
class Landed:
    """A staged commit that was merged and published.

    Parameters
    ----------
    snapshot_id : str
    index : Index
        Of the datasets concerned, as they are now.
    merged : Merged
    """

    snapshot_id: str
    index: Index
    merged: Merged

    def renumbered(self) -> dict[str, IdMap]:
        """The objects that got other ids than was said, by level."""
        return {
            stage_name(*key): plan.theirs for key, plan in self.merged.levels.items() if plan.theirs
        }


class Race:
    """A transaction that lost the race for its branch.

    Parameters
    ----------
    repository : Repository
    branch : str
    session : icechunk.Session
        The transaction's, with what it staged.
    base_snapshot_id : str
        Where it began.
    before, metas : mapping of str to DatasetMeta
        The datasets that it looked at, as they were and as it leaves them.
    stages : mapping of (str, int) to LevelStage
    held : sequence of (str, bytes)
        Chunks that were not written to the session.
    check : callable
        Called before it is published; see :meth:`Backend.publish`.
    """

    def __init__(
        self,
        repository: Repository,
        branch: str,
        session: Any,
        base_snapshot_id: str,
        before: Mapping[str, DatasetMeta],
        metas: Mapping[str, DatasetMeta],
        stages: Mapping[tuple[str, int], LevelStage],
        held: Sequence[tuple[str, _writes.Value]],
        check: Callable[[], None],
    ) -> None:
        self._check = check
        self._repository = repository
        self._branch = branch
        self._session = session
        self._staged = Staged(repository._backend, session)
        store = repository._backend.view_store(base_snapshot_id)
        base, source = None, Source(session.store)
        if session.has_uncommitted_changes:
            _writes.set_many(session.store, held)
        else:
            base, source = _known_base(before, stages), Held(session.store, held)
        if base is None:
            documents = _state.Documents(store, _paths_of(metas))
            base = load_index(store, repository._parts, metas, documents)
        theirs = {name: _staged_index(name, meta, stages, base) for name, meta in metas.items()}
        origin = Snapshot(base, Source(store), repository._parts)
        self._sides = Sides(base, origin, theirs, source)

    def publish(self, message: str, own: Mapping[str, Any], tip: Any = None) -> Landed:
        """Merge onto the tip and commit, anew as often as somebody else is faster.

        Parameters
        ----------
        message : str
        own : mapping
            What the commit says of itself.
        tip : icechunk.Session, optional
            A session that was begun at the tip just now.

        Raises
        ------
        ConflictError
            If both sides changed the same thing, or the branch moved too often.
        ViolationError
            If the result would not be sound.
        """
        describe = f"commit to {self._branch!r}, which moved meanwhile"
        begun = [] if tip is None else [tip]

        def once() -> Landed:
            self._check()
            session = begun.pop() if begun else self._repository._backend.begin(self._branch)
            return self._once(session, message, own, describe)

        return until_published(self._repository, self._branch, describe, once)

    def _once(self, session: Any, message: str, own: Mapping[str, Any], describe: str) -> Landed:
        repository = self._repository
        backend = repository._backend
        # Of chunks that are not written yet, none is in the session, but its base is in files.
        held = self._sides.source.unwritten is not None
        store = backend.base_store(session) if held else backend.view_store(session.snapshot_id)
        documents = likely_documents(store, self._sides.theirs, self._sides.base)
        ours: Index = load_index(store, repository._parts, self._sides.theirs, documents)
        details = self._sides.details(ours, store, repository._parts)
        merged = merged_index(
            self._sides, details, _OPTIONS, describe,
            lambda made: (
                None if made == own["transaction"]  # what it staged itself is no commit yet
                else commit_of(backend, made, [session.snapshot_id])
            ),
        )  # fmt: skip
        try:
            moves = all_carries(merged)
            shared = self._sides.source.unwritten is None and self._staged.shareable(
                session, [move.array for move in moves]
            )
            if shared:
                self._staged.carry(session, [m for m in map(_elsewhere, moves) if len(m.source)])
            root = documents.root_attributes()
            others = set(_state.dataset_names(root)) - ours.keys()
            index = write(
                repository, session, self._sides, details, merged, own["transaction"],
                copy=True, carried=shared, others=others, root=root,
            )  # fmt: skip
            repository._audit(self._branch, session)
            snapshot = repository._commit(
                session, self._branch, message, own, self._check, seen=not repository._checks
            )
        except BaseException:
            discard(session)
            raise
        return Landed(snapshot, index, merged)


def _paths_of(metas: Mapping[str, DatasetMeta]) -> Iterator[str]:
    """The documents that an index of some datasets is made of, as far as that can be told."""
    yield ""
    for name, meta in metas.items():
        yield name
        yield from (_paths.level_path(name, level) for level in meta.levels)


def _known_base(
    before: Mapping[str, DatasetMeta], stages: Mapping[tuple[str, int], LevelStage]
) -> dict[str, DatasetIndex] | None:
    """The index of what a transaction began at, where it is known without reading."""
    if any((name, number) not in stages for name, meta in before.items() for number in meta.levels):
        return None
    return {
        name: DatasetIndex(meta, {number: _base_of(stages[name, number]) for number in meta.levels})
        for name, meta in before.items()
    }


def _base_of(stage: LevelStage) -> LevelIndex:
    return LevelIndex(stage.path, stage.base, cache(stage.base_table))


def _elsewhere(move: Move) -> Move:
    """The part of a move that changes slots."""
    moved = move.source != move.target
    return Move(move.array, move.source[moved], move.target[moved])


def _staged_index(
    name: str,
    meta: DatasetMeta,
    stages: Mapping[tuple[str, int], LevelStage],
    base: Index,
) -> DatasetIndex:
    """A dataset as a transaction leaves it."""
    before = base[name].levels if name in base else {}
    levels = {}
    for number in meta.levels:
        stage = stages.get((name, number))
        if stage is None:
            levels[number] = before[number]
        else:
            known = before[number].table if number in before else None
            levels[number] = LevelIndex(stage.path, stage.facts, stage.table_after(known))
    return DatasetIndex(meta, levels)
