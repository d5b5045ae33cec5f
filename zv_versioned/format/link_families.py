"""The Zarr Vectors encoding of links: families by the offset between chunks.

A link is kept by the smallest chunk that it touches, its source; where the other
ends lie relative to it is in the name of the array, the *segment*: for each of
them the offset of its chunk, ``0.0.+1``, joined by ``_``. A row names each end
by its number in its own chunk. Links within one chunk (all offsets zero) keep the order
in which their ends were given. Those across are sorted by chunk and number,
and a first column says how to undo it: the permutation's Lehmer code.

A cell of the array without offsets holds int64 rows, split into groups by
``link_fragments``; one of any other holds ``i64 K``, then K byte offsets of
groups as int64, then the rows.

Source: Zarr Vectors 0.9, chapter on links; D. H. Lehmer, "Teaching combinatorial
tricks to a computer" (1960), for the code of a permutation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from math import factorial

import numpy as np

from ..errors import IntegrityError

_ONE_GROUP = np.array([1, 0], "<i8").tobytes()


@dataclass(frozen=True)
class Placed:
    """Links, and where they are kept.

    Parameters
    ----------
    source : ndarray of int64, shape (M,)
        The cell that keeps each link, by position.
    segment : ndarray of int64, shape (M,)
        Which of `segments` it belongs to.
    segments : list of tuple of tuple of int
        For each segment the offsets of the ends but the first; ascending.
    rows : ndarray of int64, shape (M, L)
        The number of each end in its cell, in the order in which they are kept.
    code : ndarray of int64, shape (M,)
        The Lehmer code of that order.
    """

    source: np.ndarray
    segment: np.ndarray
    segments: list[tuple[tuple[int, ...], ...]]
    rows: np.ndarray
    code: np.ndarray


def place(links: np.ndarray, vertex_start: np.ndarray, addresses: np.ndarray) -> Placed:
    """Find out where links are kept.

    Parameters
    ----------
    links : ndarray of int64, shape (M, L)
        Vertices, numbered cell after cell.
    vertex_start : ndarray of int64, shape (C + 1,)
        The first vertex of each cell.
    addresses : ndarray of int64, shape (C, K)
        The chunk coordinates of each cell; ascending.

    Returns
    -------
    Placed

    Examples
    --------
    >>> import numpy as np
    >>> cells = np.array([[0, 0], [0, 1]])  # of two vertices each
    >>> placed = place(np.array([[0, 1], [3, 1]]), np.array([0, 2, 4]), cells)
    >>> [segment_name(offsets) for offsets in placed.segments]
    ['0.0', '0.+1']
    >>> placed.rows.tolist(), placed.code.tolist()
    ([[0, 1], [1, 1]], [0, 1])
    """
    cells = np.searchsorted(vertex_start, links, side="right") - 1
    across = (cells != cells[:, :1]).any(axis=1)
    # Cells ascend as their chunks do, so the order of vertices is that of chunk and number.
    order = np.where(across[:, None], np.argsort(links, axis=1, kind="stable"), _identity(links))
    placed_cells = np.take_along_axis(cells, order, axis=1)
    rows = np.take_along_axis(links, order, axis=1) - vertex_start[placed_cells]
    source = placed_cells[:, 0]
    offsets = addresses[placed_cells[:, 1:]] - addresses[source][:, None, :]
    segment, segments = _distinct(offsets)
    return Placed(source, segment, segments, rows, lehmer_code(order))


def _identity(links: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.arange(links.shape[1]), links.shape)


def lehmer_code(order: np.ndarray) -> np.ndarray:
    """The code of each permutation, a number from 0 to L! - 1: (M, L) to (M,) int64."""
    length = order.shape[1]
    code = np.zeros(len(order), np.int64)
    for i in range(length - 1):
        smaller = (order[:, i + 1 :] < order[:, i : i + 1]).sum(axis=1)
        code += smaller * factorial(length - 1 - i)
    return code


def _distinct(
    offsets: np.ndarray,
) -> tuple[np.ndarray, list[tuple[tuple[int, ...], ...]]]:
    """Number equal offsets alike: (M, L - 1, K) to (M,), and what the numbers mean."""
    if len(offsets) == 0:
        return np.zeros(0, np.int64), []
    flat = offsets.reshape(len(offsets), -1)
    low = flat.min(axis=0)
    sizes = flat.max(axis=0) - low + 1
    if float(np.prod(sizes.astype(float))) < 2.0**62:
        # One number for each row of offsets: sorting these is many times as fast.
        weights = np.concatenate((np.cumprod(sizes[:0:-1])[::-1], [1])).astype(np.int64)
        _, first, segment = np.unique(
            (flat - low) @ weights, return_index=True, return_inverse=True
        )
    else:
        _, first, segment = np.unique(flat, axis=0, return_index=True, return_inverse=True)
    segments = [tuple(map(tuple, rows)) for rows in offsets[first].tolist()]
    return segment.reshape(-1), segments


def segment_name(offsets: Sequence[Sequence[int]]) -> str:
    """The name of the array of a segment: ``0.0.+1_0.+1.0``."""
    return "_".join(".".join(f"{c:+d}" if c else "0" for c in offset) for offset in offsets)


def is_within(offsets: Sequence[Sequence[int]]) -> bool:
    """Whether links with these offsets lie within one chunk."""
    return not any(map(any, offsets))


def encode_across(rows: np.ndarray, code: np.ndarray) -> bytes:
    """Encode the links of one cell that reach other cells.

    Parameters
    ----------
    rows : ndarray of int64, shape (M, L)
    code : ndarray of int64, shape (M,)

    Returns
    -------
    bytes
        The payload of the cell.
    """
    return _ONE_GROUP + np.column_stack([code, rows]).astype("<i8", copy=False).tobytes()


def decode_links(blob: bytes, width: int, *, across: bool, coded: bool) -> np.ndarray:
    """Read the links of one cell.

    Parameters
    ----------
    blob : bytes
    width : int
        Vertices of a link.
    across : bool
        Whether they reach other cells, and so come in groups.
    coded : bool
        Whether a first column says in which order the ends were given.

    Returns
    -------
    ndarray of int64, shape (M, 1 + width)
        The code (0 where there is none), and the number of each end in its cell.

    Raises
    ------
    IntegrityError
        If it is none.
    """
    try:
        values = np.frombuffer(blob, "<i8")
        if across and len(values):
            values = values[1 + int(values[0]) :]
        rows = values.reshape(-1, width + coded)
    except ValueError as error:
        raise IntegrityError(f"no links can be read: {error}") from error
    if coded:
        return rows.astype(np.int64)
    return np.concatenate([np.zeros((len(rows), 1), np.int64), rows], axis=1)


def as_given(code: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Ends of links in the order in which they were given: the inverse of :func:`place`.

    Parameters
    ----------
    code : ndarray of int64, shape (M,)
    ends : ndarray of int64, shape (M, L)
        In the order in which they are kept.

    Raises
    ------
    IntegrityError
        If a code is that of no permutation.
    """
    length = ends.shape[1]
    if len(code) and (int(code.min()) < 0 or int(code.max()) >= factorial(length)):
        raise IntegrityError(f"links have codes of permutations up to {int(code.max())}")
    orders = np.array(sorted(permutations(range(length))), np.int64)
    given = np.empty_like(ends)
    np.put_along_axis(given, orders[code], ends, axis=1)
    return given
