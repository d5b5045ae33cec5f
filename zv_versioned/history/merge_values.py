"""The merge of the values that the objects of one batch have, object by object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._values import Stored, Values, pack_texts
from ..format.metadata import TEXT, AttributeMeta


@dataclass(frozen=True)
class MergedValues:
    """Values of the objects that begin in one batch, where both sides wrote some.

    Parameters
    ----------
    values : ndarray, shape (n, *row_shape)
        Merged; of ours where the sides do not agree.
    theirs : ndarray, shape (n, *row_shape)
    clash : ndarray of int64
        Rows that both sides changed, differently.
    """

    values: np.ndarray
    theirs: np.ndarray
    clash: np.ndarray

    def chosen(self, choice: str | None) -> np.ndarray:
        """The values, once somebody has said which side's stand where they clash."""
        if choice != "theirs":
            return self.values
        values = self.values.copy()
        values[self.clash] = self.theirs[self.clash]
        return values


def merge_values(
    base: np.ndarray | None,
    ours: np.ndarray,
    theirs: np.ndarray,
    *,
    lost_by_ours: np.ndarray | None = None,
    lost_by_theirs: np.ndarray | None = None,
) -> MergedValues:
    """Merge values three ways, row by row.

    Parameters
    ----------
    base, ours, theirs : ndarray, shape (n, *row_shape)
        Texts are objects. A base of None differs from everything.
    lost_by_ours, lost_by_theirs : ndarray of bool, shape (n,), optional
        Objects that a side has removed: it has no say in their values.
    """
    none = np.zeros(len(ours), bool)
    mine_lost = none if lost_by_ours is None else lost_by_ours
    its_lost = none if lost_by_theirs is None else lost_by_theirs
    mine = ~mine_lost & (True if base is None else differs(ours, base))
    its = ~its_lost & (True if base is None else differs(theirs, base))
    taken = (its & ~mine) | (mine_lost & ~its_lost)
    values = ours.copy()
    values[taken] = theirs[taken]
    if base is not None:
        values[mine_lost & its_lost] = base[mine_lost & its_lost]
    return MergedValues(values, theirs, np.flatnonzero(mine & its & differs(ours, theirs)))


def differs(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mask of the rows of which some byte, or some text, is another."""
    n = len(a)
    if a.size == 0:
        return np.zeros(n, bool)
    one, other = (np.ascontiguousarray(x).reshape(n, -1) for x in (a, b))
    if a.dtype != object:
        one, other = one.view(np.uint8), other.view(np.uint8)
    return np.asarray((one != other).any(axis=1))


def stored_values(attribute: AttributeMeta, values: np.ndarray) -> Stored:
    """What is stored of values as they are read."""
    if attribute.logical != TEXT:
        values = np.ascontiguousarray(values).view(attribute.dtype)
    return Values(attribute, values).stored()


def stored_bytes(stored: Stored) -> np.ndarray:
    """All that is stored of some values, as bytes."""
    rows = np.ascontiguousarray(stored.rows).reshape(-1).view(np.uint8)
    texts = b"" if stored.texts is None else pack_texts(stored.texts)
    return np.concatenate([rows, np.frombuffer(texts, np.uint8)])
