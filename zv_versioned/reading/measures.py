"""What a level answers without handing out all that it has: counts, extents, samples, trees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

import numpy as np

from .._twins import twin
from ..geometry import Geometry, tree_of
from . import query, totals

if TYPE_CHECKING:
    from scipy.spatial import KDTree

    from ..level import Level


class Measures:
    """Answers about the vertices of a level; mixed into :class:`Level`."""

    def count(self: Level, **filters: Unpack[query.Filters]) -> int:  # type: ignore[misc]
        """How many vertices a read would give; only what that depends on is read.

        Parameters
        ----------
        **filters
            ``bbox``, ``near``, ``objects``, ``where``, ``batches``, ``limit``: as for
            :meth:`read`. Without any of them nothing is read.

        Raises
        ------
        ArrayError, NotFoundError
            As :meth:`read`.

        Examples
        --------
        >>> import numpy as np, zv_versioned as zvv
        >>> repo = zvv.Repository.create("memory://")
        >>> with repo.transaction() as tx:
        ...     ds = tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [10, 10]))
        ...     n = tx.writer("p").append_vertices_sync(np.array([[1, 1], [5, 5]], "f4"))
        >>> repo.view()["p"][0].count(near=([5, 6], 1))
        1
        """
        request = query.parse(self._reader, **filters)
        found = totals.count(self._reader, request)
        limit = request.query.limit
        return found if limit is None else min(found, limit)

    def bounds(  # type: ignore[misc]
        self: Level, **filters: Unpack[query.Filters]
    ) -> totals.Bounds | None:
        """Smallest and largest coordinates of the vertices that are there.

        Those of the dataset are what vertices *may* have. Without filters, and where
        nothing was removed, nothing is read.

        Parameters
        ----------
        **filters
            ``bbox``, ``near``, ``objects``, ``where``, ``batches``: as for :meth:`read`.

        Returns
        -------
        (lo, hi) or None
            Two tuples of D numbers, in the units of the coordinates; None where there
            is no such vertex.

        Raises
        ------
        ArrayError, NotFoundError
            As :meth:`read`; of a limit, which says nothing about an extent, too.
        """
        query.refuse_limit(filters, "bounds()")
        return totals.bounds(self._reader, query.parse(self._reader, **filters))

    def sample(  # type: ignore[misc]
        self: Level,
        n: int,
        seed: int | np.random.Generator | None = None,
        *,
        attributes: query.Names = (),
        **filters: Unpack[query.Filters],
    ) -> Geometry:
        """Vertices drawn at random, each at most once and all equally likely.

        The same seed draws the same ones of the same snapshot, with the same version
        of numpy. Only cells that drawn vertices lie in are read; with filters, what
        these depend on is, and eight bytes are kept for each vertex that matches.

        Parameters
        ----------
        n : int
            How many; all where there are fewer.
        seed : int or numpy.random.Generator, optional
            As ``numpy.random.default_rng`` takes it.
        attributes : sequence of str, or "all"
            As for :meth:`read`.
        **filters
            ``bbox``, ``near``, ``objects``, ``where``, ``batches``: as for :meth:`read`.

        Returns
        -------
        Geometry
            Without links, in the order of the level.

        Raises
        ------
        ArrayError, NotFoundError
            As :meth:`read`, and if `n`, the seed or a limit is not acceptable.
        """
        query.refuse_limit(filters, "sample()")
        request = query.parse(self._reader, attributes=attributes, **filters)
        return totals.sample(self._reader, request, n, seed)

    def kdtree(self: Level) -> KDTree:  # type: ignore[misc]
        """A k-d tree of all vertices, for nearest neighbours and pairs.

        Returns
        -------
        scipy.spatial.KDTree
            Its indices are the numbers of vertices (``vertex_ids``). For a part of the
            level there is :meth:`Geometry.kdtree`.

        Raises
        ------
        MissingExtraError
            If scipy is not installed.
        """
        return tree_of(self.positions)

    acount = twin(count)
    abounds = twin(bounds)
    asample = twin(sample)
    akdtree = twin(kdtree)
