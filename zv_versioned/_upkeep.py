"""Repository's verbs for upkeep: what checks it, counts it and makes it smaller."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .maintenance import fsck
from .maintenance.report import FsckReport

if TYPE_CHECKING:
    from .storage import Backend
    from .view import View


class Upkeep:
    """What keeps a :class:`Repository` sound and small."""

    _backend: Backend
    view: Callable[..., View]

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
