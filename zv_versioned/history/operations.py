"""Merge, revert and cherry-pick: the same three-way merge with other sides."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .. import _state, _store
from ..errors import ConflictError, MetadataError, ViolationError
from ..format import metadata
from ..storage import hidden
from .checks import violations
from .conflicts import CHOICES, chooser
from .graph import History
from .index import Index, load_index, same_meta, with_details
from .merge import Merged, merge_index
from .needs import needs
from .outcome import Choose
from .results import MergeResult, counts_of
from .retry import until_published
from .transplant import Source, transplant

if TYPE_CHECKING:
    from ..repository import Repository


@dataclass(frozen=True)
class Sides:
    """What is merged: three snapshots, and where theirs is.

    Parameters
    ----------
    base : Index
    theirs : Index
    source : Source
    base_store : Any
        The store of the base; None where it is made of several.
    """

    base: Index
    theirs: Index
    source: Source
    base_store: Any


# ---- one merge --------------------------------------------------------------


def merged_index(
    repository: Repository,
    sides: Sides,
    ours: Index,
    ours_store: Any,
    choose: Choose,
    *,
    reverting: bool = False,
) -> tuple[Merged, Index]:
    """Merge, after reading of the levels concerned what is asked for beyond their tables.

    Returns
    -------
    merged : Merged
    ours : mapping of str to DatasetIndex
        With those details.
    """
    stores = (sides.base_store, ours_store, sides.source.store)
    detailed = [dict(side) for side in (sides.base, ours, sides.theirs)]
    for name in ours.keys() & sides.theirs.keys():
        for number in ours[name].levels.keys() & sides.theirs[name].levels.keys():
            before = sides.base.get(name)
            levels = [
                None if before is None else before.levels.get(number),
                ours[name].levels[number],
                sides.theirs[name].levels[number],
            ]
            asked = needs(*levels)  # type: ignore[arg-type]
            if not asked:
                continue
            for side, store, level in zip(detailed, stores, levels, strict=True):
                if level is None or store is None:
                    continue
                dataset = side[name]
                more = with_details(
                    store,
                    dataset.meta,
                    level,
                    repository._parts,
                    removed=asked.removed,
                    ids=asked.ids,
                    groups=asked.groups,
                )
                side[name] = replace(dataset, levels={**dataset.levels, number: more})
    base, mine, theirs = detailed
    return merge_index(base, mine, theirs, choose, reverting=reverting), mine


def write(
    repository: Repository,
    session: Any,
    sides: Sides,
    ours: Index,
    merged: Merged,
    *,
    copy: bool,
    carried: bool = False,
    others: Set[str] = frozenset(),
) -> Index:
    """Write a merge into a session at the tip of ours, and check it.

    Raises
    ------
    ViolationError
        If the result would not be sound.
    """
    backend, parts = repository._backend, repository._parts
    index = transplant(
        backend, parts, session, sides.source, ours, merged,
        copy=copy, carried=carried, others=others,
    )  # fmt: skip
    wrong = violations(session.store, parts, index, merged.levels)
    if wrong:
        raise ViolationError(
            "the result would not be sound: " + "; ".join(wrong[:5]) + ". Nothing was changed",
            wrong,
        )
    return index


# ---- the verbs --------------------------------------------------------------


@dataclass(frozen=True)
class _Job:
    """One merge that is to be published on a branch."""

    repository: Repository
    branch: str
    describe: str
    message: str
    sides: Sides
    base_ids: tuple[str, ...]
    theirs_id: str
    choose: Choose
    own: Mapping[str, Any]
    reverting: bool = False
    dry_run: bool = False
    copy: bool = False
    second_parent: bool = False

    def run(self) -> MergeResult:
        """Merge onto the tip, anew where the tip moves meanwhile, and publish."""
        return until_published(self.repository, self.branch, self.describe, self._once)

    def _once(self) -> MergeResult:
        backend = self.repository._backend
        session = backend.begin(self.branch)
        tip = session.snapshot_id
        store = backend.read_store(tip)
        ours: Index = load_index(store)
        merged, ours = merged_index(
            self.repository, self.sides, ours, store, self._choose(store, ours),
            reverting=self.reverting,
        )  # fmt: skip
        result = MergeResult(
            snapshot_id=tip,
            branch=self.branch,
            message=self.message,
            base=self.base_ids,
            ours=tip,
            theirs=self.theirs_id,
            changes=counts_of(ours, merged),
            conflicts=tuple(merged.conflicts),
            renumbered={name: ids.pairs() for name, ids in merged.renumbered().items()},
            kind="dry run" if self.dry_run else "merge",
        )
        nothing = _nothing(ours, merged)
        if nothing and not self.second_parent:
            session.discard_changes()
            return replace(result, kind="nothing to do")
        try:
            write(self.repository, session, self.sides, ours, merged, copy=self.copy)
            if nothing:
                _mark_merged(session.store, self.theirs_id)
            self.repository._audit(session, self.branch)
            if self.dry_run:
                session.discard_changes()
                return result
            own = {**self.own, "changes": result.changes}
            snapshot = self.repository._commit(session, self.branch, self.message, own)
        except BaseException:
            session.discard_changes()
            raise
        if self.second_parent:
            hidden.keep_parent(backend, self.theirs_id)
        return replace(result, snapshot_id=snapshot)

    def _choose(self, store: Any, ours: Index) -> Choose:
        from .values import loader

        load = loader(self.repository, self.sides, ours, store)
        return lambda conflict: self.choose(replace(conflict, _load=load))


def _mark_merged(store: Any, theirs_id: str) -> None:
    """Let a merge that brings nothing differ from its parent: icechunk commits nothing else."""
    root = _state.root_attributes(store)
    root["zv_repository"] = {**root["zv_repository"], "merged": theirs_id}
    _store.set_many(store, [("zarr.json", metadata.dumps(metadata.group(root)))])


def _nothing(ours: Index, merged: Merged) -> bool:
    """Whether a merge leaves ours as it is."""
    return (
        not merged.levels
        and ours.keys() == merged.index.keys()
        and all(same_meta(ours[name].meta, d.meta) for name, d in merged.index.items())
    )


def merge(
    repository: Repository,
    source: str,
    into: str,
    *,
    on_conflict: Any,
    message: str | None,
    author: str | None,
    ff: str,
    dry_run: bool,
    copy: bool,
) -> MergeResult:
    """Merge a branch, tag or snapshot into a branch; see :meth:`Repository.merge`."""
    if ff not in ("allow", "only", "no"):
        raise MetadataError(f'ff must be "allow", "only" or "no", got {ff!r}')
    backend = repository._backend
    describe = f"merge {source!r} into {into!r}"
    theirs_id = repository.resolve(source)
    tip = backend.branch_tip(into)
    message = message or f"merge {source} into {into}"
    choose = chooser(on_conflict, describe)
    history = History(backend)
    bases = history.merge_bases(tip, theirs_id)
    done = MergeResult(tip, into, message, tuple(bases), tip, theirs_id, kind="up to date")
    if theirs_id in bases:
        return done
    if bases == [tip] and ff != "no":
        if dry_run:
            return replace(done, kind="dry run", changes=_between(repository, tip, theirs_id))
        changes = _between(repository, tip, theirs_id)
        backend.fast_forward(into, theirs_id, tip)
        return replace(done, snapshot_id=theirs_id, kind="fast-forward", changes=changes)
    if ff == "only":
        raise ConflictError(
            f"cannot {describe}: {into!r} has commits of its own, so it cannot be fast-forwarded; "
            'merge with ff="allow"',
            what="branch",
            where=into,
            ours=tip,
            theirs=theirs_id,
        )
    store = backend.read_store(theirs_id)
    base, base_store = _virtual_base(repository, history, bases)
    branch = source if source in backend.branches() else None
    sides = Sides(base, load_index(store), Source(store, branch), base_store)
    own = repository._own_metadata(author) | {"operation": "merge", "merged": theirs_id}
    return _Job(
        repository, into, describe, message, sides, tuple(bases), theirs_id, choose, own,
        dry_run=dry_run, copy=copy, second_parent=True,
    ).run()  # fmt: skip


def _between(repository: Repository, before: str, after: str) -> dict[str, Any]:
    """What a fast-forward brings."""
    backend = repository._backend
    ours, theirs = (load_index(backend.read_store(s)) for s in (before, after))
    return counts_of(ours, merge_index(ours, ours, theirs, lambda _: "theirs"))


def _virtual_base(repository: Repository, history: History, bases: list[str]) -> tuple[Index, Any]:
    """The index to compare with: that of the merge base, or of all of them, merged.

    After a criss-cross there are several. They are merged among themselves first,
    with the same function; it needs no chunk for that, since it is only compared
    with. What is in conflict there stays as one of them has it, and is then in
    conflict again, or not.
    """
    backend = repository._backend
    if not bases:
        return {}, None
    stores = [backend.read_store(snapshot) for snapshot in bases]
    index: Index = load_index(stores[0])
    for before, snapshot, store in zip(bases, bases[1:], stores[1:], strict=False):
        deeper, deeper_store = _virtual_base(
            repository, history, history.merge_bases(before, snapshot)
        )
        sides = Sides(deeper, load_index(store), Source(store), deeper_store)
        merged, _ = merged_index(repository, sides, index, stores[0], lambda _: CHOICES[0])
        index = merged.index
    return index, stores[0]


def replay(
    repository: Repository,
    verb: str,
    snapshot: str,
    branch: str,
    *,
    on_conflict: Any,
    message: str | None,
    author: str | None,
    parent: int | None,
    dry_run: bool,
    copy: bool,
) -> MergeResult:
    """Do ("cherry-pick") or undo ("revert") on a branch what one commit did.

    See :meth:`Repository.cherry_pick` and :meth:`Repository.revert`.
    """
    backend = repository._backend
    backend.branch_tip(branch)
    picked = repository.resolve(snapshot)
    history = History(backend)
    before = _parent(history, picked, parent, verb)
    describe = f"{verb} {picked} on {branch!r}"
    reverting = verb == "revert"
    sides_of = (picked, before) if reverting else (before, picked)
    base_store, theirs_store = (backend.read_store(side) for side in sides_of)
    sides = Sides(
        load_index(base_store), load_index(theirs_store), Source(theirs_store), base_store
    )
    said = history[picked].message
    own = repository._own_metadata(author) | {"operation": verb, "of": picked}
    return _Job(
        repository, branch, describe, message or f"{verb} {picked}: {said}", sides,
        (sides_of[0],), sides_of[1], chooser(on_conflict, describe), own,
        reverting=reverting, dry_run=dry_run, copy=copy,
    ).run()  # fmt: skip


def _parent(history: History, snapshot: str, number: int | None, verb: str) -> str:
    """The parent that a commit is compared with.

    Raises
    ------
    MetadataError
        If it has none, or two and `number` does not say which.
    """
    parents = history.parents(snapshot)
    if not parents:
        raise MetadataError(
            f"cannot {verb} {snapshot}: it is the repository's first commit, and did nothing"
        )
    if number is None:
        if len(parents) > 1:
            raise MetadataError(
                f"cannot {verb} {snapshot} as it is: it is a merge, of {' and '.join(parents)}. "
                "Say with parent=1 or parent=2 which of them is what it was before"
            )
        return parents[0]
    if isinstance(number, bool) or number not in range(1, len(parents) + 1):
        raise MetadataError(f"parent must be from 1 to {len(parents)}, got {number!r}")
    return parents[number - 1]
