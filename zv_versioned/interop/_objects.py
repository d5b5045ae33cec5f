"""The objects of a geometry one by one, for formats with a file an object."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..geometry import Geometry

__all__ = ["one_by_one"]


def one_by_one(found: Geometry) -> Iterator[tuple[int, Geometry]]:
    """The objects of a graph or a mesh, by ascending id, each a geometry of its own.

    Parameters
    ----------
    found : Geometry
        Whose links lie within objects.

    Yields
    ------
    object_id : int
    geometry : Geometry
        Vertices and links in the order that they have in `found`.
    """
    order = np.argsort(found.object_ids, kind="stable")
    ids, starts = np.unique(found.object_ids[order], return_index=True)
    bounds = [*starts.tolist(), len(order)]
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    width = 3 if found.faces is not None else 2
    links = found.faces if found.faces is not None else found.edges
    links = place[links] if links is not None else np.zeros((0, width), np.int64)
    # By the object that they are in, and otherwise as they come.
    owner = np.searchsorted(starts, links[:, 0], side="right")
    by_owner = np.argsort(owner, kind="stable")
    cuts = np.searchsorted(owner[by_owner], np.arange(1, len(ids) + 2))
    for at, number in enumerate(ids.tolist()):
        rows = order[bounds[at] : bounds[at + 1]]
        of_object = by_owner[cuts[at] : cuts[at + 1]]
        inside = links[of_object] - bounds[at]
        yield (
            number,
            replace(
                found,
                positions=found.positions[rows],
                vertex_ids=found.vertex_ids[rows],
                object_ids=found.object_ids[rows],
                attributes={name: values[rows] for name, values in found.attributes.items()},
                link_attributes={
                    n: values[of_object] for n, values in found.link_attributes.items()
                },
                edges=inside if width == 2 else None,
                faces=inside if width == 3 else None,
            ),
        )
