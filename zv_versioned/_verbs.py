"""Repository's verbs for history: merge, revert, cherry-pick, compare, and what they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _checks
from ._said import default_author, parse_author
from .errors import ConflictError, MetadataError, StorageError, ViolationError, ZVError
from .format.table import new_transaction_id
from .history import operations
from .history.blame import Blame, blame, history_of
from .history.diff import diff
from .history.diff_result import Diff
from .history.log import OWN, CommitLog, encode_own, own_facts
from .history.results import MergeResult

if TYPE_CHECKING:
    from .history.transplant import Report
    from .storage import Backend
    from .view import View

_LOOK_BACK = 1_000
"""How many commits are looked through for one whose answer was lost."""


class Verbs:
    """What :class:`Repository` can do with its history."""

    _backend: Backend
    _checks: list[Callable[[View], Any]]

    def merge(
        self,
        source: str,
        into: str = "main",
        *,
        on_conflict: Any = "fail",
        message: str | None = None,
        author: str | None = None,
        ff: str = "allow",
        renumber: bool = False,
        dry_run: bool = False,
        copy: bool = False,
        progress: Report | None = None,
    ) -> MergeResult:
        """Merge a branch, a tag or a snapshot into a branch.

        A three-way merge: what either side did since the merge base is in the
        result. Two appends, an append and an attribute, two attributes, changes in
        different datasets: all go together. In conflict are the same attribute over
        the same batch, the same key of metadata, and objects of the same id that
        was given on both sides; objects that got it by default are numbered anew.

        Parameters
        ----------
        source : str
            As in :meth:`resolve`.
        into : str
            A branch.
        on_conflict : {"fail", "ours", "theirs"} or callable
            What to do where both sides changed the same thing. A function gets a
            :class:`Conflict` and returns "ours" or "theirs".
        message, author : str, optional
        ff : {"allow", "only", "no"}
            Whether to move the branch forward, without a commit, where it has none
            of its own since the merge base.
        renumber : bool
            Count ids that both sides gave to new objects anew, where the other side
            gave them; else they are a conflict.
        dry_run : bool
            Do everything but the commit.
        copy : bool
            Copy chunks even where they could be shared.
        progress : callable, optional
            Told what is being done, how much of it, and of how much: ``("copy", 512, 2000)``
            while chunks are copied, and ``("publish", 0, 1)`` before the commit.

        Returns
        -------
        MergeResult

        Raises
        ------
        ConflictError
            If there is a conflict that is not resolved. Nothing is changed.
        ViolationError
            If the result would not be sound, or a check refuses it.
        NotFoundError
            If there is no such branch or snapshot.

        Examples
        --------
        >>> import numpy as np, zv_versioned as zvv
        >>> repo = zvv.Repository.create("memory://")
        >>> with repo.transaction() as tx:
        ...     ds = tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [9, 9]))
        >>> branch = repo.create_branch("try")
        >>> for name in ("main", "try"):
        ...     with repo.transaction(name) as tx:
        ...         n = tx.writer("p").append_vertices_sync(np.ones((1, 2), "f4"))
        >>> repo.merge("try", into="main").kind
        'merge'
        >>> repo.view()["p"][0].object_ids().tolist()
        [0, 1]
        """
        _checks.flags(renumber=renumber, dry_run=dry_run, copy=copy)
        _checks.told(progress)
        return operations.merge(
            self,  # type: ignore[arg-type]
            source,
            into,
            on_conflict=on_conflict,
            message=message,
            author=author,
            ff=ff,
            renumber=renumber,
            dry_run=dry_run,
            copy=copy,
            progress=progress,
        )

    def cherry_pick(
        self,
        snapshot: str,
        branch: str = "main",
        *,
        on_conflict: Any = "fail",
        message: str | None = None,
        author: str | None = None,
        parent: int | None = None,
        renumber: bool = False,
        dry_run: bool = False,
        copy: bool = False,
        progress: Report | None = None,
    ) -> MergeResult:
        """Do on a branch what one commit did elsewhere.

        Parameters
        ----------
        snapshot : str
            The commit, as in :meth:`resolve`.
        branch : str
        parent : {1, 2}, optional
            Of a merge: which of its parents it is compared with.
        on_conflict, message, author, renumber, dry_run, copy, progress
            As in :meth:`merge`.

        Returns
        -------
        MergeResult

        Raises
        ------
        ConflictError, ViolationError, NotFoundError
            As :meth:`merge`.
        MetadataError
            If it is a merge and `parent` is left out.
        """
        _checks.flags(renumber=renumber, dry_run=dry_run, copy=copy)
        _checks.told(progress)
        return operations.replay(
            self,  # type: ignore[arg-type]
            "cherry-pick",
            snapshot,
            branch,
            on_conflict=on_conflict,
            message=message,
            author=author,
            parent=parent,
            renumber=renumber,
            dry_run=dry_run,
            copy=copy,
            progress=progress,
        )

    def revert(
        self,
        snapshot: str,
        branch: str = "main",
        *,
        on_conflict: Any = "fail",
        message: str | None = None,
        author: str | None = None,
        parent: int | None = None,
        dry_run: bool = False,
        copy: bool = False,
        progress: Report | None = None,
    ) -> MergeResult:
        """Undo on a branch what one commit did, and nothing that came after it.

        Of an append exactly its batches go, with the values that they were given
        since, and its ids may be used again; of an attribute that was written,
        what was there before comes back.

        Parameters
        ----------
        snapshot : str
            The commit, as in :meth:`resolve`.
        branch : str
        parent : {1, 2}, optional
            Of a merge: which of its parents is to be gone back to.
        on_conflict, message, author, dry_run, copy, progress
            As in :meth:`merge`.

        Returns
        -------
        MergeResult

        Raises
        ------
        ConflictError
            If what it did was changed again since.
        ViolationError
            If something that came later needs it, such as another part of an
            object that it began.
        MetadataError
            If it is a merge and `parent` is left out.
        """
        _checks.flags(dry_run=dry_run, copy=copy)
        _checks.told(progress)
        return operations.replay(
            self,  # type: ignore[arg-type]
            "revert",
            snapshot,
            branch,
            on_conflict=on_conflict,
            message=message,
            author=author,
            parent=parent,
            dry_run=dry_run,
            copy=copy,
            progress=progress,
        )

    def diff(self, a: str, b: str = "main", *, values: bool = False) -> Diff:
        """What differs between two snapshots, also of different branches.

        Parameters
        ----------
        a, b : str
            As in :meth:`resolve`; what `b` has and `a` has not was added.
        values : bool
            Compare the values of attributes, too, where their contents differ; else
            the index alone is looked at.

        Returns
        -------
        Diff
        """
        _checks.flags(values=values)
        return diff(self, self.resolve(a), self.resolve(b), values=values)  # type: ignore[arg-type, attr-defined]

    def history(
        self, object_id: int, *, dataset: str, level: int = 0, ref: str = "main"
    ) -> CommitLog:
        """The commits that appended to an object, or removed it, newest first.

        Parameters
        ----------
        object_id : int
        dataset : str
        level : int
        ref : str
            Where to look from, as in :meth:`resolve`.

        Raises
        ------
        NotFoundError
            If no commit that led to `ref` touched such an object.
        """
        return history_of(self, object_id, dataset, level, self.resolve(ref))  # type: ignore[arg-type, attr-defined]

    def blame(
        self,
        object_ids: int | Sequence[int] | np.ndarray | None = None,
        *,
        dataset: str,
        level: int = 0,
        ref: str = "main",
    ) -> Blame:
        """Which commits the vertices of objects came from.

        Parameters
        ----------
        object_ids : int or sequence of int, optional
            All objects where left out.
        dataset : str
        level : int
        ref : str
            As in :meth:`resolve`.

        Returns
        -------
        Blame
            At the cost of the index: no vertex is read. Commits that have expired are
            marked as such; of them no more than the batch and the transaction is known.
        """
        return blame(self, object_ids, dataset, level, self.resolve(ref))  # type: ignore[arg-type, attr-defined]

    def add_check(self, check: Callable[[View], Any]) -> None:
        """Look at everything that is to be published through this object: write, audit, publish.

        Parameters
        ----------
        check : callable
            Gets a view of what is to be published, on a branch. Whatever it
            returns that is not None, True or empty is a violation: a text, or a list
            of them. An exception stops the commit, too.

        Raises
        ------
        MetadataError
            If it cannot be called.
        """
        if not callable(check):
            raise MetadataError(f"a check is a function of a view, got {check!r}")
        self._checks.append(check)

    # -- what the verbs share ------------------------------------------------

    def _own_metadata(self, author: str | None) -> dict[str, Any]:
        return {
            "transaction": new_transaction_id(),
            "author": parse_author(author) or default_author(),
        }

    def _audit(self, branch: str, session: Any = None, snapshot_id: str | None = None) -> None:
        """Let the registered checks look at a session, or at a snapshot that a branch is to have.

        Raises
        ------
        ViolationError
            If one of them finds something.
        """
        if not self._checks:
            return
        from .view import View

        if snapshot_id is None:
            view = View.of_session(self, session, branch)  # type: ignore[arg-type]
        else:
            view = View(self, snapshot_id, branch)  # type: ignore[arg-type]
        found: list[str] = []
        for check in self._checks:
            said = check(view)
            if said is None or said is True:
                continue
            name = getattr(check, "__name__", repr(check))
            found += [said] if isinstance(said, str) else _texts(said, name)
        if found:
            raise ViolationError(
                f"refused by a check: {'; '.join(found[:5])}. Nothing was changed", found
            )

    def _commit(
        self,
        session: Any,
        branch: str,
        message: str,
        own: Mapping[str, Any],
        check: Callable[[], None] | None = None,
        *,
        seen: bool = False,
    ) -> str:
        """Commit a session; where the answer is lost, ask the history whether it was made.

        What was written may be what was there, byte for byte; then the snapshot
        is the one that the session began at, as where nothing was written.

        Raises
        ------
        ConflictError
            If the branch has moved.
        """
        began = str(session.snapshot_id)
        if not session.has_uncommitted_changes:
            return began
        try:
            said = {OWN: encode_own(own)}
            return self._backend.publish(session, branch, message, said, check, seen=seen)
        except (StorageError, ConflictError) as error:
            # It may be this very commit that moved the branch: a storage that was asked again,
            # since its first answer was lost, says that somebody was faster. A local one is locked.
            if isinstance(error, ConflictError) and self._backend.is_local:
                raise
            made = self._find_transaction(branch, own["transaction"], began, error)
            if made is None:
                raise
            return made

    def _find_transaction(self, branch: str, name: str, began: str, lost: ZVError) -> str | None:
        """The commit of a transaction, among those of a branch since it began."""
        try:
            line = self._backend.ancestry(self._backend.branch_tip(branch))
            for _, info in zip(range(_LOOK_BACK), line, strict=False):
                if info.id == began:
                    break
                if own_facts(info.metadata).get("transaction") == name:
                    return info.id
        except StorageError as error:
            raise StorageError(
                f"the answer to a commit to {branch!r} was lost ({lost}), and the history cannot "
                f"be read to see whether it was made ({error}). Look in the log for transaction "
                f"{name}"
            ) from lost
        return None


def _texts(said: Any, name: str) -> list[str]:
    if said is False:
        return [f"{name} returned False"]
    if isinstance(said, list | tuple):
        return [str(one) for one in said]
    raise MetadataError(
        f"check {name} must return None, True, a text or a list of texts, returned {said!r}"
    )
