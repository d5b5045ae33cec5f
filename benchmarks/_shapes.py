"""Lines, trees and a surface over the volume of the benchmarks."""

from __future__ import annotations

import numpy as np
from _harness import EXTENT


def walks(count: int, length: int, seed: int) -> np.ndarray:
    """Random walks with steps of about 3, kept inside the volume: (count, length, 3) float32."""
    random = np.random.default_rng(seed)
    steps = random.normal(0, 2, (count, length, 3))
    steps[:, 0] = random.uniform(0.1, 0.9, (count, 3)) * EXTENT
    return np.clip(np.cumsum(steps, axis=1), 0, np.nextafter(EXTENT, 0)).astype(np.float32)


def surface(side: int) -> tuple[np.ndarray, np.ndarray]:
    """A closed sheet, folded so that it lies in all of the 8 x 8 x 8 cells.

    Returns
    -------
    vertices : ndarray of float32, shape (side ** 2, 3)
    faces : ndarray of int64, shape (2 * side ** 2, 3)
    """
    part = (np.arange(side) + 0.5) / side
    u, v = np.meshgrid(part, part, indexing="ij")
    there_and_back = 1 - abs(2 * (8 * u % 1) - 1)
    vertices = np.stack([there_and_back, v, u], axis=-1).reshape(-1, 3) * EXTENT
    here = np.arange(side * side).reshape(side, side)
    down, right = np.roll(here, -1, axis=0), np.roll(here, -1, axis=1)
    across = np.roll(down, -1, axis=1)
    halves = [
        np.stack(corners, axis=-1) for corners in ((here, down, right), (down, across, right))
    ]
    return vertices.astype(np.float32), np.concatenate(halves).reshape(-1, 3)


def trees(count: int, nodes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Trees along random walks; one node in twenty begins a branch somewhere before it.

    Returns
    -------
    positions : ndarray of float32, shape (count * nodes, 3)
    edges : ndarray of int64, shape (count * (nodes - 1), 2)
        (child, parent).
    """
    random = np.random.default_rng(seed)
    within = np.tile(np.arange(nodes), count)
    number = np.arange(count * nodes)
    parent = number - 1
    branches = random.random(len(number)) < 0.05
    jump = (random.random(len(number)) * within).astype(np.int64)
    parent[branches] = (number - within + jump)[branches]
    children = np.flatnonzero(within > 0)
    edges = np.stack([children, parent[children]], axis=1)
    return walks(count, nodes, seed).reshape(-1, 3), edges
