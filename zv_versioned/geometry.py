"""What a read returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ._sets import distinct
from .errors import ArrayError

if TYPE_CHECKING:
    from collections.abc import Callable

    from scipy.spatial import KDTree


@dataclass(frozen=True, eq=False)
class Geometry:
    """Vertices that were read, with what belongs to them.

    Parameters
    ----------
    positions : ndarray, shape (N, D)
        Coordinates, in the units and the dtype of the dataset.
    vertex_ids : ndarray of int64, shape (N,)
        The number of each vertex in its level; ascending but for lines.
    object_ids : ndarray of int64, shape (N,)
        The object that each vertex belongs to.
    attributes : dict of str to ndarray, shape (N,) or (N, C)
        Values of the attributes that were asked for.
    edges : ndarray of int64, shape (M, 2), or None
        Of graphs and lines: links as rows of `positions`, those whose ends were
        both read. Of lines they follow the lines, each from a vertex to the next.
    faces : ndarray of int64, shape (M, 3), or None
        Of meshes: triangles as rows of `positions`, those all read.
    parts : ndarray of int64, shape (P + 1,), or None
        Of lines: where each of the P lines, or pieces of lines, begins among
        `positions`, and N at the end; see :meth:`lines`.
    link_attributes : dict of str to ndarray, shape (M,) or (M, C)
        Values of the attributes of `edges` or `faces` that were asked for.

    Examples
    --------
    >>> import numpy as np
    >>> from zv_versioned import Geometry
    >>> ids = np.array([0, 1])
    >>> len(Geometry(np.zeros((2, 3), "f4"), ids, ids))
    2
    """

    positions: np.ndarray
    vertex_ids: np.ndarray
    object_ids: np.ndarray
    attributes: dict[str, np.ndarray] = field(default_factory=dict)
    edges: np.ndarray | None = None
    faces: np.ndarray | None = None
    parts: np.ndarray | None = None
    link_attributes: dict[str, np.ndarray] = field(default_factory=dict)

    def lines(self) -> list[np.ndarray]:
        """The lines one by one: arrays of shape (n, D), views of `positions`.

        A line that was read in part comes as its pieces. The ids of their
        objects are ``object_ids[parts[:-1]]``.

        Raises
        ------
        ArrayError
            If these are no lines.
        """
        if self.parts is None:
            raise ArrayError("this geometry has no lines; see its positions, edges and faces")
        bounds = self.parts.tolist()
        return [self.positions[a:b] for a, b in pairwise(bounds)]

    def kdtree(self) -> KDTree:
        """A k-d tree of the vertices, for nearest neighbours and pairs.

        Returns
        -------
        scipy.spatial.KDTree
            Its indices are rows of `positions`.

        Raises
        ------
        MissingExtraError
            If scipy is not installed.

        Examples
        --------
        >>> import numpy as np
        >>> from zv_versioned import Geometry
        >>> ids = np.arange(2)
        >>> distance, row = Geometry(np.array([[0, 0], [3, 4]]), ids, ids).kdtree().query([3, 3])
        >>> int(row)
        1
        """
        return tree_of(lambda: self.positions)

    def __len__(self) -> int:
        return len(self.positions)

    def _facts(self) -> list[tuple[str, str]]:
        facts = [
            ("vertices", f"{len(self):,} × {self.positions.shape[1]} {self.positions.dtype}"),
            ("objects", f"{len(distinct(self.object_ids)):,}"),
        ]
        if self.parts is not None:
            facts.append(("lines", f"{len(self.parts) - 1:,}"))
        elif self.edges is not None:
            facts.append(("edges", f"{len(self.edges):,}"))
        if self.faces is not None:
            facts.append(("faces", f"{len(self.faces):,}"))
        facts += [
            (f"attribute {name!r}", f"{values.dtype} {values.shape}")
            for name, values in self.attributes.items()
        ]
        what = "face" if self.faces is not None else "link"
        facts += [
            (f"{what} attribute {name!r}", f"{values.dtype} {values.shape}")
            for name, values in self.link_attributes.items()
        ]
        return facts

    def __repr__(self) -> str:
        return "<Geometry: " + ", ".join(f"{key} {value}" for key, value in self._facts()) + ">"

    def _repr_html_(self) -> str:
        return html_table("Geometry", self._facts())


def tree_of(positions: Callable[[], np.ndarray]) -> KDTree:
    """A k-d tree of positions, which are read once scipy is there."""
    from .interop._extras import need

    tree: Any = need("scipy.spatial", "spatial", "kdtree()")
    made: KDTree = tree.KDTree(positions())
    return made


def html_table(title: str, rows: list[tuple[str, str]]) -> str:
    """A small table for notebooks, readable on light and on dark pages."""
    cell = "text-align:left;padding:2px 12px 2px 0;vertical-align:top"
    body = "".join(
        f"<tr><td style='{cell};opacity:.65'>{escape(key)}</td>"
        f"<td style='{cell}'>{escape(value)}</td></tr>"
        for key, value in rows
    )
    return (
        f"<div style='font-size:90%'><b>{escape(title)}</b>"
        f"<table style='border-collapse:collapse;margin-top:4px'>{body}</table></div>"
    )
