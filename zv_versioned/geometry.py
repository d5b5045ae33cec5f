"""What a read returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape

import numpy as np


@dataclass(frozen=True, eq=False)
class Geometry:
    """Vertices that were read, with what belongs to them.

    Parameters
    ----------
    positions : ndarray, shape (N, D)
        Coordinates, in the units and the dtype of the dataset.
    vertex_ids : ndarray of int64, shape (N,)
        The number of each vertex in its level, ascending.
    object_ids : ndarray of int64, shape (N,)
        The object that each vertex belongs to.
    attributes : dict of str to ndarray, shape (N,) or (N, C)
        Values of the attributes that were asked for.
    edges, faces : ndarray or None
        Links as pairs, faces as triples of rows of `positions`; None where the
        kind of geometry has none.
    parts : ndarray or None
        Where each line begins among `positions`; None for points.

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

    def __len__(self) -> int:
        return len(self.positions)

    def _facts(self) -> list[tuple[str, str]]:
        facts = [
            ("vertices", f"{len(self):,} × {self.positions.shape[1]} {self.positions.dtype}"),
            ("objects", f"{len(np.unique(self.object_ids)):,}"),
        ]
        facts += [
            (f"attribute {name!r}", f"{values.dtype} {values.shape}")
            for name, values in self.attributes.items()
        ]
        return facts

    def __repr__(self) -> str:
        return "<Geometry: " + ", ".join(f"{key} {value}" for key, value in self._facts()) + ">"

    def _repr_html_(self) -> str:
        return html_table("Geometry", self._facts())


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
