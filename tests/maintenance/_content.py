"""What objects consist of, in a form that does not depend on batches and numbers of vertices."""

from __future__ import annotations

from typing import Any

import numpy as np

import zv_versioned as zvv
from tests._peer import comparable


def keys_of(*columns: np.ndarray) -> np.ndarray:
    """Rows of several columns as fixed bytes."""
    n = len(columns[0])
    if n == 0:
        return np.zeros(0, object)
    parts = [np.ascontiguousarray(comparable(c)).reshape(n, -1) for c in columns]
    rows = [p.view(np.uint8).reshape(n, -1) for p in parts]
    return np.array([bytes(row) for row in np.concatenate(rows, axis=1)], object)


def content(level: zvv.Level) -> dict[str, Any]:
    """Vertices, links, lines, values and groups of a level, object by object."""
    g = level.read(attributes="all", link_attributes="all")
    found: dict[str, Any] = {
        "counts": (level.vertex_count, level.num_objects, level.link_count),
        "groups": {name: ids.tolist() for name, ids in level.groups.items()},
    }
    names = sorted(g.attributes)
    keys = keys_of(g.object_ids, g.positions, *(g.attributes[n] for n in names))
    found["vertices"] = sorted(keys.tolist())
    kind = level._dataset.kind
    if kind in ("line", "polyline", "streamline"):
        cuts = g.parts[1:-1]
        found["lines"] = sorted(b"|".join(part) for part in np.split(keys, cuts))
    links = g.edges if g.faces is None or len(g.faces) == 0 else g.faces
    values = [g.link_attributes[n] for n in sorted(g.link_attributes)]
    if links is not None and len(links):
        told = keys_of(*values) if values else np.full(len(links), b"", object)
        found["links"] = sorted(
            b"|".join([*keys[row], value]) for row, value in zip(links, told, strict=True)
        )
    ids = level.object_ids()
    found["objects"] = sorted(ids.tolist())
    for name in level.object_attribute_names:
        values = comparable(level.object_attribute(name))
        found[f"of objects: {name}"] = [v.tobytes() for v in values[np.argsort(ids)]]
    return found


def assert_same(a: dict[str, Any], b: dict[str, Any]) -> None:
    """Both are the same in each part."""
    assert a.keys() == b.keys()
    for name in a:
        assert a[name] == b[name], name
