"""The batches and the objects of a level."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np

from . import _checks
from ._twins import twin
from ._words import counted
from .errors import ArrayError, NotFoundError
from .geometry import Geometry, html_table
from .reading import query
from .reading.summary import summary
from .reading.totals import Bounds

if TYPE_CHECKING:
    from .level import Level


@dataclass(frozen=True)
class Batch:
    """What one append added.

    Parameters
    ----------
    slot : int
        Its place on this branch.
    uuid : UUID
        Its name on every branch.
    vertex_count, object_count : int
        Without those that were removed.
    bounds : (lo, hi)
        Smallest and largest coordinates of its vertices, as it was appended.
    """

    slot: int
    uuid: UUID
    vertex_count: int
    object_count: int
    bounds: Bounds

    def _repr_html_(self) -> str:
        lo, hi = (", ".join(f"{x:g}" for x in corner) for corner in self.bounds)
        rows = [
            ("uuid", str(self.uuid)),
            ("vertices", f"{self.vertex_count:,}"),
            ("objects", f"{self.object_count:,}"),
            ("bounds", f"({lo}) to ({hi})"),
        ]
        return html_table(f"Batch {self.slot}", rows)


class Objects:
    """The objects of a level, by id: ``level.objects[5813024015]`` or a list of ids.

    ``await level.objects.aread(ids)`` is the same, awaited.
    """

    def __init__(self, level: Level) -> None:
        self._level = level

    def __getitem__(self, ids: query.Ids) -> Geometry:
        return self.read(ids)

    def read(self, ids: query.Ids) -> Geometry:
        """All of some objects, with all attributes: what ``objects[ids]`` gives.

        Raises
        ------
        NotFoundError
            If one is not there.
        """
        return self._level.read(objects=ids, attributes="all", link_attributes="all")

    def summary(self, objects: query.Ids | None = None) -> dict[str, np.ndarray]:
        """How many vertices each object has, between what they lie, and how long it is.

        Memory is needed for a window of vertices; for lengths, for those of a batch.

        Parameters
        ----------
        objects : int or sequence of int, optional
            Ids of objects; all where left out.

        Returns
        -------
        dict of str to ndarray
            ``object_id`` (O,), int64, in the order of :meth:`Level.object_ids`;
            ``vertices`` (O,), int64; ``lo`` and ``hi`` (O, D), float64, the smallest and
            largest coordinates; and of lines and graphs ``length`` (O,), float64, the sum
            of the Euclidean lengths of its links, in the units of the coordinates.

        Raises
        ------
        NotFoundError
            If an object is not there.

        Examples
        --------
        >>> import numpy as np, zv_versioned as zvv
        >>> repo = zvv.Repository.create("memory://")
        >>> with repo.transaction() as tx:
        ...     ds = tx.create_dataset("p", kind="polyline", bounds=([0, 0], [10, 10]))
        ...     n = tx.writer("p").append_polylines_sync([np.array([[0, 0], [3, 4], [3, 5]])])
        >>> repo.view()["p"][0].objects.summary()["length"]
        array([6.])
        """
        return summary(self._level._reader, objects)

    aread = twin(read)
    asummary = twin(summary)

    def __len__(self) -> int:
        return self._level.num_objects

    def __iter__(self) -> Iterator[int]:
        return iter(self._level.object_ids().tolist())

    def __contains__(self, object_id: object) -> bool:
        if not _checks.is_whole(object_id):
            return False
        try:
            self._level._reader.plan(object_ids=_checks.ids_asked_for(object_id))
        except (NotFoundError, ArrayError):
            return False
        return True

    def __repr__(self) -> str:
        return f"<{counted(len(self), 'object')} of {self._level!r}>"

    def _repr_html_(self) -> str:
        ids = self._level.object_ids()
        shown = ", ".join(map(str, ids[:10].tolist())) + (", …" if len(ids) > 10 else "")
        level = self._level
        rows = [
            ("snapshot", level._dataset._view.snapshot_id),
            ("objects", f"{len(ids):,}"),
            ("ids", shown),
            *((f"attribute {name!r}", "of objects") for name in level.object_attribute_names),
        ]
        return html_table(f"Objects of level {level.number} of {level._dataset.name!r}", rows)
