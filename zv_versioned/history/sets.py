"""Three-way merges of sets of numbers, and of groups of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def merge_sets(base: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """What either side added, without what either took out; ascending int64."""
    kept = np.intersect1d(ours, theirs)
    added = np.union1d(np.setdiff1d(ours, base), np.setdiff1d(theirs, base))
    return np.union1d(kept, added).astype(np.int64)


def merge_groups(
    base: Mapping[str, np.ndarray], ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Groups as sets of (group, member): what either side added, without what either took out."""
    none = np.zeros(0, np.int64)
    merged = {}
    for name in sorted(ours.keys() | theirs.keys()):
        if name in base and (name not in ours or name not in theirs):
            kept = ours.get(name, theirs.get(name, none))
            if len(kept) == len(base[name]) and (kept == base[name]).all():
                continue  # taken out on one side, as it was on the other
        b, o, t = (side.get(name, none) for side in (base, ours, theirs))
        merged[name] = merge_sets(b, o, t)
    return merged
