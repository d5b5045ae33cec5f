"""Repository's verbs for upkeep: what checks it, counts it and makes it smaller."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from . import _checks
from .maintenance import compact, expire, fsck, gc, policy, stats
from .maintenance.compact import Compaction
from .maintenance.expire import Expiry
from .maintenance.gc import Collection
from .maintenance.lease import TTL, Lease
from .maintenance.report import FsckReport
from .maintenance.stats import Stats

if TYPE_CHECKING:
    from .storage import Backend
    from .transaction import Transaction
    from .view import View


class Upkeep:
    """What keeps a :class:`Repository` sound and small."""

    _backend: Backend
    view: Callable[..., View]
    resolve: Callable[[str], str]

    def compact(
        self,
        branch: str = "main",
        *,
        dataset: str | None = None,
        level: int | None = None,
        target_vertices: int = policy.TARGET_VERTICES,
        max_batches: int | None = None,
        dry_run: bool = False,
        message: str | None = None,
        author: str | None = None,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> Compaction:
        """Merge small batches of a branch into larger ones, as one commit.

        What objects consist of stays as it is, with all values, links and groups;
        what was removed is left behind for good (the ids stay retired). Views of
        earlier snapshots are untouched. Vertices and links are numbered anew:
        :meth:`Level.vertex_map` says how. Where a batch has no values of an attribute
        and one that it is merged with has some, the missing ones become stored fill values.

        Works beside others who write: their appends are merged with it, and where
        they write to a batch that is being merged, it begins anew. What another
        *branch* did to such batches cannot be merged across a compaction, which is
        a :class:`ConflictError` there: merge first, then compact.

        Parameters
        ----------
        branch : str
        dataset : str, optional
            All of them where left out.
        level : int, optional
            All of them where left out.
        target_vertices : int
            Batches with fewer vertices are merged with their neighbours in space, up to
            about so many: what is held in memory at a time. Batches that lost objects
            are written anew whatever their size; of a level that has no object left
            the batches stay, for the ids that are retired.
        max_batches : int, optional
            How many batches of a level are merged at most, the smallest first; at
            least one of them has an object left.
        dry_run : bool
            Say what would be done, and do nothing.
        message, author : str, optional
            Of the commit.
        progress : callable, optional
            Told what is being done, how many batches are, and of how many.

        Returns
        -------
        Compaction

        Raises
        ------
        ConflictError
            If others kept writing to the same batches, eight times in a row.
        NotFoundError
            If there is no such branch, dataset or level.
        MetadataError
            If a number is not acceptable.

        Examples
        --------
        >>> import numpy as np, zv_versioned as zvv
        >>> repo = zvv.Repository.create("memory://")
        >>> with repo.transaction() as tx:
        ...     ds = tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [9, 9]))
        >>> for i in range(3):
        ...     with repo.transaction() as tx:
        ...         n = tx.writer("p").append_vertices_sync(np.eye(2, dtype="f4"))
        >>> repo.compact().batches_merged
        3
        >>> len(repo.view()["p"][0].batches)
        1
        """
        _checks.flags(dry_run=dry_run)
        _checks.told(progress)
        return compact.compact(
            self,  # type: ignore[arg-type]
            branch,
            dataset=dataset,
            level=level,
            target_vertices=target_vertices,
            max_batches=max_batches,
            dry_run=dry_run,
            message=message,
            author=author,
            progress=progress,
        )

    def expire(
        self,
        older_than: datetime | timedelta | None = None,
        *,
        keep_last: int | None = None,
        refs: str | Sequence[str] | None = None,
        dry_run: bool = True,
    ) -> Expiry:
        """Let go of old snapshots; :meth:`gc` then removes what only they needed.

        Always kept are: what a branch, a tag or a lease stands at; the second parents
        of merges that are kept; the best common ancestors of branches and tags, so that
        they can be merged as before; and what an open transaction began at. The log
        goes on from each kept snapshot to the nearest ancestor that is kept; a commit
        whose parent has expired cannot be reverted or picked any more.

        Parameters
        ----------
        older_than : datetime or timedelta, optional
            Snapshots that are not older stay. A timedelta is an age; a time without a
            zone is local time.
        keep_last : int, optional
            So many snapshots of each branch stay, counted from its tip over first
            parents. With both given, what either keeps stays.
        refs : str or sequence of str, optional
            Branches; what leads to any other branch stays. All of them where left out.
        dry_run : bool
            Say what would be done, and do nothing: the default.

        Returns
        -------
        Expiry

        Raises
        ------
        MetadataError
            If neither `older_than` nor `keep_last` is given, or one is not acceptable.
        NotFoundError
            If there is no such branch.

        Examples
        --------
        >>> import zv_versioned as zvv
        >>> repo = zvv.Repository.create("memory://")
        >>> with repo.transaction() as tx:
        ...     ds = tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [9, 9]))
        >>> repo.expire(keep_last=1).expired
        ()
        """
        _checks.flags(dry_run=dry_run)
        return expire.expire(
            self,  # type: ignore[arg-type]
            older_than,
            keep_last,
            refs,
            dry_run,
        )

    def gc(
        self, older_than: datetime | timedelta | None = None, *, dry_run: bool = True
    ) -> Collection:
        """Remove stored files that nobody needs.

        Needed is what a branch, tag or lease leads to, and what an open transaction
        staged. What else is there, transactions that were abandoned or killed, what
        led to deleted branches, and snapshots that :meth:`expire` let go, is removed. On a
        local disk also what icechunk never removes: its earlier states of the
        file ``repo``, files that were never finished, and seals of files that are
        gone.

        Works beside readers and writers. What is younger than the oldest open
        transaction, in any process, is left alone. On an object store nobody knows of
        those; there, what is younger than 25 hours is left alone, and a commit that took
        longer than a day is refused unless it held a lease.

        Parameters
        ----------
        older_than : datetime or timedelta, optional
            Files that are not older stay. Left out, as young as is safe.
        dry_run : bool
            Say what would be removed, and remove nothing: the default.

        Returns
        -------
        Collection

        Raises
        ------
        StorageError
            If `older_than` is younger than what an open transaction, or the lease of
            one, allows; it says whose.
        IntegrityError
            If damage makes it impossible to know what is needed. Nothing is removed.
        MetadataError
            If `older_than` is no time, or in the future.

        Examples
        --------
        >>> import zv_versioned as zvv
        >>> repo = zvv.Repository.create("memory://")
        >>> repo.gc().files_removed
        0
        """
        _checks.flags(dry_run=dry_run)
        return gc.gc(self, older_than, dry_run)  # type: ignore[arg-type]

    def lease(
        self, of: View | Transaction | str = "main", *, ttl: timedelta | float = TTL
    ) -> Lease:
        """Keep a snapshot, or what a transaction stages, from being collected for a while.

        Parameters
        ----------
        of : View, Transaction or str
            What is kept; a text is a ref, as in :meth:`resolve`.
        ttl : timedelta or float
            How long, or seconds.

        Returns
        -------
        Lease
            Also a context manager; it can be renewed.

        Raises
        ------
        NotFoundError
            If the snapshot has expired and is gone.
        MetadataError
            If `ttl` is not acceptable.

        Examples
        --------
        >>> import zv_versioned as zvv
        >>> repo = zvv.Repository.create("memory://")
        >>> with repo.lease("main", ttl=60) as lease:
        ...     lease.renew()
        """
        if isinstance(of, str):
            return Lease(self._backend, self.resolve(of), ttl)
        held: Lease = of.lease(ttl=ttl)
        return held

    def stats(self, refs: str | Sequence[str] | None = None, *, storage: bool = True) -> Stats:
        """Count what is there: vertices, objects, batches, cells and bytes, and what could go.

        Parameters
        ----------
        refs : str or sequence of str, optional
            Branches, tags or snapshots; all branches where left out.
        storage : bool
            Also look what the files are for: which only older snapshots need, and which
            nobody. On a local disk that reads all manifests.

        Returns
        -------
        Stats

        Raises
        ------
        NotFoundError
            If a ref is nothing.
        MetadataError
            If `refs` are no texts.
        IntegrityError
            With `storage`, if damage hides what files are for: what it hides is not
            counted as unused.

        Examples
        --------
        >>> import numpy as np, zv_versioned as zvv
        >>> repo = zvv.Repository.create("memory://")
        >>> with repo.transaction() as tx:
        ...     ds = tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [9, 9]))
        ...     n = tx.writer("p").append_vertices_sync(np.eye(2, dtype="f4"))
        >>> [(level.dataset, level.vertices, level.batches) for level in repo.stats().levels]
        [('p', 2, 1)]
        """
        _checks.flags(storage=storage)
        return stats.stats(self, refs, storage)  # type: ignore[arg-type]

    def fsck(
        self,
        ref: str | None = None,
        *,
        read_data: bool = True,
        subset: tuple[int, int] | None = None,
        repair: bool = False,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> FsckReport:
        """Check that everything is there and is what was written.

        On a local disk every stored file is looked at, and any flipped byte is found;
        an object store answers for its own files, and they are checked as far as
        snapshots need them. Then, wherever it lies, every snapshot is decoded and
        compared with what is said of it: counts, boxes, ids, links, lengths.

        Parameters
        ----------
        ref : str, optional
            Check this snapshot's contents alone; left out, all that branches and
            tags lead to, and all files.
        read_data : bool
            Whether to read coordinates, values and links. Without it, only what is
            said of them is checked, and that their files are there.
        subset : (int, int), optional
            ``(n, m)``: read the n-th of m parts of the data. Who reads another part
            each day has read everything in the end.
        repair : bool
            Put right what needs no guessing: seals, and counts, in a commit on each
            branch concerned. Damaged data comes back from a copy alone.
        progress : callable, optional
            Told what is being done, how much of it, and of how much.

        Returns
        -------
        FsckReport
            ``report.ok``; and with each finding its kind, its place and the remedy.

        Raises
        ------
        MetadataError
            If `subset` is not of this form.
        NotFoundError
            If `ref` is nothing.
        StorageError
            If an object store fails.

        Examples
        --------
        >>> import zv_versioned as zvv
        >>> repo = zvv.Repository.create("memory://")
        >>> repo.fsck().ok
        True
        """
        self._backend.check_process()
        return fsck.check(
            self,  # type: ignore[arg-type]
            ref,
            read_data=read_data,
            subset=subset,
            repair=repair,
            progress=progress,
        )

    def digest(self, ref: str = "main", *, recompute: bool = False) -> str:
        """A hash of all that a snapshot holds: two of equal content have the same.

        It does not depend on how the content came about: in how many appends and
        in what order, on which branch, compacted or not, in what grid of cells. It
        does on every coordinate, value, link, id, group, name and unit.

        Sums over what was appended are kept with each commit, so it is a matter of
        milliseconds where nothing was changed since; batches whose values were
        written later, or which lost objects, are read.

        Parameters
        ----------
        ref : str
            A branch, a tag, or a snapshot id.
        recompute : bool
            Read everything, rather than rely on what was kept.

        Returns
        -------
        str
            ``"zvd1-"`` and 32 hexadecimal digits.

        Raises
        ------
        NotFoundError
            If `ref` is nothing.
        IntegrityError
            If stored bytes that have to be read are damaged.

        Notes
        -----
        Sums of multilinear hashes, whose keys everybody can know: made to find what
        differs by accident, and no protection from somebody who wants two things to
        have the same digest. ``Dataset.digest`` and ``Level.digest`` do the same for
        a part. Source: Bellare and Micciancio, "A new paradigm for collision-free
        hashing", 1997.

        Examples
        --------
        >>> import zv_versioned as zvv
        >>> repo = zvv.Repository.create("memory://")
        >>> repo.digest() == zvv.Repository.create("memory://").digest()
        True
        """
        return self.view(ref).digest(recompute=recompute)
