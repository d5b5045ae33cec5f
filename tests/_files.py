"""Real files that tests read, and geometry as plain sets, to compare it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import zv_versioned as zvv


def _package(name: str) -> Path:
    spec = find_spec(name)
    assert spec is not None, f"{name} is not installed"
    assert spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations)))


NAVIS = _package("navis") / "data"
"""Neurons of the hemibrain: ``swc``, ``obj`` and ``synapses``, a file a neuron, and ``volumes``."""
TRACTS = _package("dipy") / "data" / "files" / "tracks300.trk"
"""300 streamlines."""
NIBABEL = _package("nibabel") / "tests" / "data"
"""Edge cases of TRK and TCK."""
NEURONS = (722817260, 754534424, 754538881, 1734350788, 1734350908)


def memory() -> zvv.Repository:
    """An empty repository."""
    return zvv.Repository.create("memory://")


def level_of(repo: zvv.Repository, dataset: str) -> zvv.Level:
    """Level 0 of a dataset on main."""
    return repo.view("main")[dataset][0]


def points(found: Any) -> list[tuple[float, ...]]:
    """Positions in an order of their own."""
    return sorted(map(tuple, np.asarray(found.positions, np.float64).tolist()))


def rows(level: zvv.Level, *names: str) -> list[tuple[Any, ...]]:
    """Positions with the object and some attributes of each vertex, in an order of their own."""
    found = level.read(attributes=list(names))
    columns = [found.positions.tolist(), found.object_ids.tolist()]
    columns += [found.attributes[name].tolist() for name in names]
    return sorted((tuple(r[0]), *r[1:]) for r in zip(*columns, strict=True))


def edges(found: Any) -> set[tuple[tuple[float, ...], tuple[float, ...]]]:
    """Edges by the coordinates of their ends."""
    at = found.positions.tolist()
    return {(tuple(at[a]), tuple(at[b])) for a, b in found.edges.tolist()}


def triangles(found: Any) -> list[tuple[tuple[float, ...], ...]]:
    """Triangles by their corners, the smallest corner first, winding kept."""
    at = list(map(tuple, np.asarray(found.positions, np.float64).tolist()))
    turned = []
    for face in found.faces.tolist():
        corners = [at[v] for v in face]
        first = corners.index(min(corners))
        turned.append(tuple(corners[first:] + corners[:first]))
    return sorted(turned)


def lines(level: zvv.Level) -> list[list[list[float]]]:
    """The lines of a level, in its order."""
    return [line.tolist() for line in level.read().lines()]


def cut(path: Path, to: Path, *, keep: int) -> Path:
    """A copy of a file that ends early; a negative number says how many bytes are missing."""
    to.write_bytes(path.read_bytes()[:keep])
    return to
