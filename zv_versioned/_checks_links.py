"""What is accepted as lines, edges and faces; everything is checked before a byte is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ._checks import as_array
from .errors import ArrayError


def lines(values: Any, offsets: Any, ndim: int) -> tuple[Any, np.ndarray]:
    """Lines as points and the number of vertices of each.

    Parameters
    ----------
    values : sequence of array_like, shape (n_k, D); or array_like, shape (N, D)
        One array a line; or with `offsets` all points, one line after the other.
    offsets : array_like of int or None
        Where each line begins; N may stand at the end.
    ndim : int

    Returns
    -------
    points : array_like, shape (N, D)
        Not checked yet but for its number of axes.
    line_vertices : ndarray of int64, shape (P,)
    """
    if offsets is not None:
        points = as_array(values, "lines")
        if points.ndim != 2:
            raise ArrayError(
                f"with offsets, lines are points of shape (N, {ndim}); got shape {points.shape}"
            )
        return points, _line_vertices(offsets, len(points))
    if isinstance(values, np.ndarray) and values.ndim == 3:
        counts = np.full(len(values), values.shape[1], np.int64)
        _refuse_empty(counts)
        return (values.reshape(-1, values.shape[2]) if len(values) else np.zeros(0)), counts
    listed = (
        values.ndim == 1 and values.dtype == object
        if isinstance(values, np.ndarray)
        else (isinstance(values, Iterable) and not isinstance(values, str | bytes | Mapping))
    )
    if not listed:
        raise ArrayError(
            f"lines must be a list of arrays of shape (n, {ndim}), one a line, or points of shape "
            f"(N, {ndim}) with offsets; got {_shown(values)}"
        )
    arrays = [v if type(v) is np.ndarray else as_array(v, "a line") for v in values]
    counts = np.fromiter((len(a) if a.ndim else 0 for a in arrays), np.int64, len(arrays))
    _refuse_empty(counts)
    wrong = [i for i, a in enumerate(arrays) if a.ndim != 2 or a.shape[1] != ndim]
    if wrong:
        raise ArrayError(
            f"line {wrong[0]} must have shape (n, {ndim}), one row a vertex; got shape "
            f"{arrays[wrong[0]].shape}"
        )
    return (np.concatenate(arrays) if arrays else np.zeros(0)), counts


def endpoints(values: Any) -> np.ndarray:
    """The two ends of each line: (P, 2, D)."""
    array = as_array(values, "endpoints")
    if array.size == 0 and array.ndim < 3:
        return np.zeros((0, 2, 1))
    if array.ndim != 3 or array.shape[1] != 2:
        raise ArrayError(
            f"endpoints must have shape (P, 2, D), two ends a line; got shape {array.shape}"
        )
    return array


def by_endpoint(given: Any, n: int) -> Any:
    """Values of vertices that may come as (P, 2, ...), with one axis for both."""
    if not isinstance(given, Mapping):
        return given
    arrays = {name: as_array(values, f"attribute {name!r}") for name, values in given.items()}
    return {
        name: array.reshape(2 * n, *array.shape[2:]) if array.shape[:2] == (n, 2) else array
        for name, array in arrays.items()
    }


def one_mapping(face_attributes: Any, link_attributes: Any) -> Any:
    """What was given under either name, not under both."""
    if face_attributes is not None and link_attributes is not None:
        raise ArrayError(
            "face_attributes and link_attributes are two names of one thing; give one of them"
        )
    return link_attributes if face_attributes is None else face_attributes


def _line_vertices(offsets: Any, n: int) -> np.ndarray:
    array = as_array(offsets, "offsets")
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ArrayError(
            f"offsets must be whole numbers, one a line: where each begins; got {_shown(array)}"
        )
    if array.size and (int(array.min()) < 0 or int(array.max()) > n):
        raise ArrayError(
            f"offsets must be from 0 to {n}, the number of points; got {_shown(array)}"
        )
    starts = array.astype(np.int64)
    ends_with_n = len(starts) > 0 and starts[-1] == n
    bounds = starts if ends_with_n else np.append(starts, n)
    if (n and len(bounds) < 2) or (len(bounds) and bounds[0] != 0 and n):
        raise ArrayError(
            f"offsets must begin with 0, the first line's first point; got {array[:5]}"
        )
    counts = np.diff(bounds)
    if (counts < 0).any():
        at = int(np.argmax(counts < 0))
        raise ArrayError(
            f"offsets must ascend; entry {at + 1} is {bounds[at + 1]} after {bounds[at]}"
        )
    _refuse_empty(counts)
    return np.asarray(counts)


def _refuse_empty(counts: np.ndarray) -> None:
    empty = np.flatnonzero(counts == 0)
    if len(empty):
        raise ArrayError(
            f"line {empty[0]} is empty"
            + (f", and {len(empty) - 1:,} more" if len(empty) > 1 else "")
            + "; a line has one vertex at least, leave empty ones out"
        )


def links(values: Any, width: int, n: int) -> np.ndarray:
    """Edges or faces as rows of vertices: (M, width) int64.

    Raises
    ------
    ArrayError
        If the shape or the dtype is not right or a vertex is not there.
    """
    what, one = ("faces", "face") if width == 3 else ("edges", "edge")
    array = as_array(values, what)
    if array.size == 0:
        array = np.zeros((0, width), np.int64)
    if array.ndim != 2 or array.shape[1] != width:
        hint = ""
        if width == 3 and array.ndim == 2 and array.shape[1] > 3:
            hint = "; faces are triangles, split larger polygons first"
        raise ArrayError(
            f"{what} must have shape (M, {width}), one row {'a' if width == 3 else 'an'} {one}; "
            f"got shape {array.shape}{hint}"
        )
    if array.dtype.kind not in "iu":
        raise ArrayError(f"{what} must be whole numbers, rows of vertices; got dtype {array.dtype}")
    if len(array) >= 1 << 31:
        raise ArrayError(f"{len(array):,} {what} in one append; {(1 << 31) - 1:,} at most")
    if array.size and (int(array.min()) < 0 or int(array.max()) >= n):
        wrong = ((array < 0) | (array >= n)).any(axis=1)
        first = int(np.argmax(wrong))
        raise ArrayError(
            f"{int(wrong.sum()):,} of {len(array):,} {what} name vertices that this append does "
            f"not have, the first is {one} {first}: {array[first].tolist()}; vertices are numbered "
            f"from 0 to {n - 1}, by their row in this append"
        )
    return np.ascontiguousarray(array, np.int64)


def no_self_loops(edges: np.ndarray) -> None:
    """Refuse edges from a vertex to itself."""
    loops = np.flatnonzero(edges[:, 0] == edges[:, 1])
    if len(loops):
        raise ArrayError(
            f"{len(loops):,} of {len(edges):,} edges go from a vertex to itself, the first is edge "
            f"{loops[0]}: {edges[loops[0]].tolist()}; leave them out"
        )


def within_objects(links: np.ndarray, rows: np.ndarray, ids: np.ndarray, kind: str) -> None:
    """Refuse links between vertices of different objects."""
    of_end = rows[links]
    wrong = (of_end[:, 1:] != of_end[:, :1]).any(axis=1)
    if wrong.any():
        first = int(np.argmax(wrong))
        one = "face" if links.shape[1] == 3 else "edge"
        raise ArrayError(
            f"{int(wrong.sum()):,} of {len(links):,} {one}s lie between different objects, the "
            f"first is {one} {first}: {links[first].tolist()} of objects "
            f"{ids[of_end[first]].tolist()}; a {kind} is one object"
            + ("" if one == "face" else ', or create the dataset with kind="graph"')
        )


def tree(edges: np.ndarray, n: int) -> None:
    """Refuse edges (child, parent) that make no tree.

    Raises
    ------
    ArrayError
        If a vertex has two parents, or following parents leads in a circle.
    """
    child, parent = edges[:, 0], edges[:, 1]
    parents = np.bincount(child, minlength=n)
    many = np.flatnonzero(parents > 1)
    if len(many):
        raise ArrayError(
            f"{len(many):,} vertices have more than one parent, the first is vertex {many[0]}, "
            f"with {parents[many[0]]}; edges of a tree are (child, parent), and a child has one "
            'parent. For what is no tree create the dataset with kind="graph"'
        )
    if (parent < child).all() or (parent > child).all():
        return  # numbered from the roots on, or towards them: no way leads back
    # Follow the parents in steps that double: whoever is not at a root in the end is in a circle.
    above = np.full(n + 1, n)
    above[child] = parent
    going = child
    for _ in range(max(n, 1).bit_length() + 1):
        further = above[above[going]]
        above[going] = further
        going = going[further != n]
        if len(going) == 0:
            return
    raise ArrayError(
        f"the edges lead in a circle: following the parents from vertex {going[0]} never ends; a "
        'tree has no cycles. For what is no tree create the dataset with kind="graph"'
    )


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    return repr(value)[:80]
