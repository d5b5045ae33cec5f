"""Merge, revert and cherry-pick: the same three-way merge with other sides."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .._said import parse_message
from ..errors import ConflictError, MetadataError, NotFoundError, StorageError
from ..result import stage_name
from ..storage import hidden, leases
from ..storage.backend import discard
from ..storage.carry import SHARES
from ..storage.presence import LONGEST
from .conflicts import chooser
from .details import Nothing, Origin, Snapshot, Source, StoredDetails, Virtual
from .graph import History
from .index import Index, likely_documents, load_index, same_meta
from .merge import Merged, merge_index
from .merge_rows import Names, Options
from .named import named
from .results import MergeResult, counts_of
from .retry import until_published
from .sides import Sides, commit_of, merged_index, write
from .transplant import Report
from .values import loader

if TYPE_CHECKING:
    from ..repository import Repository

_VIRTUAL = Options(virtual=True)
_log = logging.getLogger("zv_versioned")


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
    options: Options
    own: Mapping[str, Any]
    dry_run: bool = False
    copy: bool = False
    second_parent: bool = False
    progress: Report | None = None

    def run(self) -> MergeResult:
        """Merge onto the tip, anew where the tip moves meanwhile, and publish."""
        with self._leased():
            return until_published(self.repository, self.branch, self.describe, self._once)

    @contextmanager
    def _leased(self) -> Iterator[None]:
        """Keep theirs from being collected while chunks of it are taken over by reference."""
        backend = self.repository._backend
        if backend.is_local or not SHARES or self.dry_run:
            # Locally nothing is collected while the lock is held, and what is copied is there.
            yield
            return
        until = datetime.now(UTC) + LONGEST
        lease = leases.take(backend, self.theirs_id, until, None)
        try:
            yield
        finally:
            try:
                leases.release(backend, lease)
            except StorageError as error:
                # No reason to call a merge failed that was made: the lease ends by itself.
                _log.warning("a lease of %s could not be released: %s", self.theirs_id, error)

    def _once(self) -> MergeResult:
        backend = self.repository._backend
        backend.require(self.theirs_id)
        session = backend.begin(self.branch)
        tip = session.snapshot_id
        store = backend.view_store(tip)
        documents = likely_documents(store, self.sides.theirs, self.sides.base)
        ours: Index = load_index(store, self.repository._parts, documents=documents)
        details = self.sides.details(ours, store, self.repository._parts)
        load = loader(self.repository, self.sides, ours, store)
        options = replace(self.options, load=load)
        merged = merged_index(self.sides, details, options, self.describe, self._commit_of)
        result = MergeResult(
            snapshot_id=tip,
            branch=self.branch,
            message=self.message,
            base=self.base_ids,
            ours=tip,
            theirs=self.theirs_id,
            changes=counts_of(ours, merged),
            conflicts=tuple(merged.conflicts),
            renumbered=_renumbered(merged, "theirs"),
            renumbered_ours=_renumbered(merged, "ours"),
            kind="dry run" if self.dry_run else "merge",
            verb=self.own["operation"],
        )
        nothing = _nothing(ours, merged)
        if nothing and not self.second_parent:
            discard(session)
            return replace(result, kind="nothing to do")
        try:
            name = self.own["transaction"]
            write(
                self.repository, session, self.sides, details, merged, name,
                copy=self.copy, root=documents.root_attributes(), progress=self.progress,
            )  # fmt: skip
            self.repository._audit(self.branch, session)
            if self.dry_run:
                discard(session)
                return result
            if self.progress is not None:
                self.progress("publish", 0, 1)
            own = {**self.own, "changes": result.changes}
            with self._kept_parent():
                snapshot = self.repository._commit(
                    session, self.branch, self.message, own, seen=not self.repository._checks
                )
        except BaseException:
            discard(session)
            raise
        return replace(result, snapshot_id=snapshot)

    def _commit_of(self, transaction: str) -> str | None:
        """The snapshot that a transaction made, of those that led to either side."""
        backend = self.repository._backend
        tip = backend.branch_tip(self.branch)
        return commit_of(backend, transaction, [tip, self.theirs_id, *self.base_ids])

    @contextmanager
    def _kept_parent(self) -> Iterator[None]:
        """Keep the second parent of a merge, from before the commit that names it."""
        if not self.second_parent:
            yield
            return
        backend = self.repository._backend
        # Locally nobody expires in between, and so takes it for one that no merge names.
        with backend.mutation(f"merge into {self.branch}"):
            new = hidden.keep_parent(backend, self.theirs_id)
            try:
                yield
            except ConflictError:
                # After any other error nobody knows for sure whether the commit was made.
                if new:
                    hidden.forget_parent(backend, self.theirs_id)
                raise


def _nothing(ours: Index, merged: Merged) -> bool:
    """Whether a merge leaves ours as it is."""
    index = merged.index
    return (
        not merged.levels
        and ours.keys() == index.keys()
        and all(same_meta(ours[name].meta, d.meta) for name, d in index.items())
    )


def _renumbered(merged: Merged, side: str) -> dict[str, Any]:
    maps = {key: getattr(plan, side) for key, plan in merged.levels.items()}
    return {stage_name(*key): changed.pairs() for key, changed in maps.items() if changed}


def merge(
    repository: Repository,
    source: str,
    into: str,
    *,
    on_conflict: Any,
    message: str | None,
    author: str | None,
    ff: str,
    renumber: bool,
    dry_run: bool,
    copy: bool,
    progress: Report | None,
) -> MergeResult:
    """Merge a branch, tag or snapshot into a branch; see :meth:`Repository.merge`."""
    if ff not in ("allow", "only", "no"):
        raise MetadataError(f'ff must be "allow", "only" or "no", got {ff!r}')
    message = parse_message(message)
    backend = repository._backend
    describe = f"merge {source!r} into {into!r}"
    resolved = named(backend, source)
    theirs_id = resolved.snapshot_id
    tip = backend.branch_tip(into)
    message = message or f"merge {source} into {into}"
    options = Options(chooser(on_conflict), renumber=renumber)
    history = History(backend)
    bases = history.merge_bases(tip, theirs_id)
    done = MergeResult(tip, into, message, tuple(bases), tip, theirs_id, kind="up to date")
    if theirs_id in bases:
        return done
    if bases == [tip] and ff != "no":
        repository._audit(into, snapshot_id=theirs_id)
        if dry_run:
            return replace(done, kind="dry run", changes=_between(repository, tip, theirs_id))
        changes = _between(repository, tip, theirs_id)
        try:
            backend.fast_forward(into, theirs_id, tip)
        except ConflictError:
            # The branch moved: by now there may be something to merge with, or nothing to do.
            return merge(
                repository, source, into, on_conflict=on_conflict, message=message, author=author,
                ff=ff, renumber=renumber, dry_run=dry_run, copy=copy, progress=progress,
            )  # fmt: skip
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
    store = backend.view_store(theirs_id)
    theirs = load_index(store, repository._parts)
    origin = _base(repository, history, bases, theirs)
    sides = Sides(*origin, theirs, Source(store, resolved.branch))
    own = repository._own_metadata(author) | {"operation": "merge", "merged": theirs_id}
    return _Job(
        repository, into, describe, message, sides, tuple(bases), theirs_id, options, own,
        dry_run=dry_run, copy=copy, second_parent=True, progress=progress,
    ).run()  # fmt: skip


def _between(repository: Repository, before: str, after: str) -> dict[str, Any]:
    """What a fast-forward brings."""
    backend, parts = repository._backend, repository._parts
    ours, theirs = (
        Snapshot(load_index(store, parts), Source(store), parts)
        for store in (backend.view_store(before), backend.view_store(after))
    )
    details = StoredDetails(ours, ours, theirs)
    return counts_of(ours.index, merge_index(ours.index, ours.index, theirs.index, details))


def _base(
    repository: Repository, history: History, bases: list[str], theirs: Index
) -> tuple[Index, Origin]:
    """What to compare with: the merge base, or all of them, merged.

    After a criss-cross there are several. They are merged among themselves first,
    with the same function; it needs no chunk for that, since it is only compared
    with. What is in conflict there is something that neither side has, and so in
    conflict again unless both sides have come to agree.
    """
    backend, parts = repository._backend, repository._parts
    if not bases:
        return {}, Nothing()
    snapshots = []
    for snapshot in bases:
        store = backend.view_store(snapshot)
        known = load_index(store, parts, documents=likely_documents(store, theirs))
        snapshots.append(Snapshot(known, Source(store), parts))
    index, origin = snapshots[0].index, snapshots[0]
    if len(bases) == 1:
        return index, origin
    if len(bases) > 2:
        # What the others have besides is on both sides already, and so in conflict at worst.
        bases, snapshots = bases[:2], snapshots[:2]
    deeper, deepest = _base(repository, history, history.merge_bases(*bases), theirs)
    details = StoredDetails(deepest, *snapshots)
    merged = merge_index(deeper, snapshots[0].index, snapshots[1].index, details, _VIRTUAL)
    return merged.index, Virtual(merged, details)


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
    progress: Report | None,
    renumber: bool = False,
) -> MergeResult:
    """Do ("cherry-pick") or undo ("revert") on a branch what one commit did.

    See :meth:`Repository.cherry_pick` and :meth:`Repository.revert`.
    """
    message = parse_message(message)
    backend = repository._backend
    backend.branch_tip(branch)
    picked = repository.resolve(snapshot)
    history = History(backend)
    before = _parent(history, picked, parent, verb)
    describe = f"{verb} {picked} on {branch!r}"
    reverting = verb == "revert"
    sides_of = (picked, before) if reverting else (before, picked)
    base_store, theirs_store = (backend.view_store(side) for side in sides_of)
    base = load_index(base_store, repository._parts)
    origin = Snapshot(base, Source(base_store), repository._parts)
    documents = likely_documents(theirs_store, base)
    theirs = load_index(theirs_store, repository._parts, documents=documents)
    sides = Sides(base, origin, theirs, Source(theirs_store))
    names = Names.of(f"the {verb}")
    options = Options(chooser(on_conflict), renumber=renumber, undo=reverting, names=names)
    said = history[picked].message
    own = repository._own_metadata(author) | {"operation": verb, "of": picked}
    return _Job(
        repository, branch, describe, message or f"{verb} {picked}: {said}", sides,
        (sides_of[0],), sides_of[1], options, own, dry_run=dry_run, copy=copy,
        progress=progress,
    ).run()  # fmt: skip


def _parent(history: History, snapshot: str, number: int | None, verb: str) -> str:
    """The parent that a commit is compared with.

    Raises
    ------
    MetadataError
        If it has none, or two and `number` does not say which.
    """
    info = history[snapshot]
    parents = history.parents(snapshot)
    if info.descent is not None and not info.descent.exact:
        raise NotFoundError(
            f"cannot {verb} {snapshot}: the commit before it has expired, and so what it alone did "
            "is not known any more"
        )
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
        there = "1 or 2" if len(parents) > 1 else f"1, for {snapshot} has one parent"
        raise MetadataError(f"parent must be {there}, got {number!r}")
    return parents[number - 1]
