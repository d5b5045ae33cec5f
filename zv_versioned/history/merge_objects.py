"""Values of objects that both sides wrote over one batch: merged object by object.

What is stored of an object attribute is one cell a batch. Two people who correct
two objects of it have nothing to argue about.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..format.metadata import TEXT, AttributeMeta
from ..writing.values import Values, pack_texts


@dataclass(frozen=True)
class ByObject:
    """The values of the objects that begin in one batch, on both sides and merged.

    Parameters
    ----------
    ours, theirs : ndarray, shape (n, *row_shape)
    merged : ndarray, shape (n, *row_shape)
        With those of ours where both sides wrote different ones.
    clash : ndarray of int64
        The objects of which they did, by their place in the batch.
    """

    ours: np.ndarray
    theirs: np.ndarray
    merged: np.ndarray
    clash: np.ndarray

    @classmethod
    def of(
        cls,
        base: np.ndarray,
        ours: np.ndarray,
        theirs: np.ndarray,
        lost_by_ours: np.ndarray | None = None,
        lost_by_theirs: np.ndarray | None = None,
    ) -> ByObject:
        """Merge three times the same objects.

        Parameters
        ----------
        base, ours, theirs : ndarray, shape (n, *row_shape)
        lost_by_ours, lost_by_theirs : ndarray of bool, shape (n,), optional
            Objects that a side has removed: it has no say in their values.
        """
        gone, away = (
            np.zeros(len(ours), bool) if lost is None else lost
            for lost in (lost_by_ours, lost_by_theirs)
        )
        mine, its = differs(ours, base) & ~gone, differs(theirs, base) & ~away
        clash = mine & its & differs(ours, theirs)
        merged = ours.copy()
        take = (its & ~mine) | (gone & ~away)
        merged[take] = theirs[take]
        merged[gone & away] = base[gone & away]
        return cls(ours, theirs, merged, np.flatnonzero(clash))

    def decided(self, choice: str | None) -> np.ndarray:
        """The result, where theirs were chosen for what clashes with these."""
        if choice != "theirs":
            return self.merged
        result = self.merged.copy()
        result[self.clash] = self.theirs[self.clash]
        return result


@dataclass(frozen=True)
class ObjectValues:
    """Values that neither side has so, to be written for one batch of the result.

    Parameters
    ----------
    attribute : AttributeMeta
    values : ndarray, shape (n, *row_shape)
        As they are read.
    """

    attribute: AttributeMeta
    values: np.ndarray

    def as_values(self) -> Values:
        """The same, ready to be stored."""
        given = self.values
        if self.attribute.logical != TEXT:
            given = np.ascontiguousarray(given).view(self.attribute.dtype)
        return Values(self.attribute, given)

    def parts(self) -> list[np.ndarray]:
        """What a content id follows from."""
        stored = self.as_values().stored()
        texts = b"" if stored.texts is None else pack_texts(stored.texts)
        rows = np.ascontiguousarray(stored.rows).reshape(-1).view(np.uint8)
        path = self.attribute.path.encode()
        return [np.frombuffer(part, np.uint8) for part in (path, rows.data, texts)]


def differs(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mask of the objects whose values are not the same; a missing one is the same as itself.

    Parameters
    ----------
    a, b : ndarray, shape (n, *row_shape)
        Of one dtype.

    Examples
    --------
    >>> import numpy as np
    >>> differs(np.array([np.nan, 1.0]), np.array([np.nan, 2.0])).tolist()
    [False, True]
    """
    n = len(a)
    if a.size == 0:
        return np.zeros(n, bool)
    if a.dtype != object:
        a, b = (np.ascontiguousarray(x).reshape(n, -1).view(np.uint8) for x in (a, b))
    return np.asarray(np.asarray(a != b).reshape(n, -1).any(axis=1))
