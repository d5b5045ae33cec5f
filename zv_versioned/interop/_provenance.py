"""Where data came from: enough to read the same again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..level import Level


def provenance(level: Level) -> dict[str, Any]:
    """Facts that a table or a Dataset of another tool carries along.

    Returns
    -------
    dict
        ``repository``, ``snapshot_id``, ``dataset``, ``level``, ``kind``, and ``branch``
        where the view has one.
    """
    dataset = level._dataset
    view = dataset._view
    facts: dict[str, Any] = {
        "repository": view._repository.location,
        "snapshot_id": view.snapshot_id,
        "dataset": dataset.name,
        "level": level.number,
        "kind": dataset.kind,
    }
    if view.branch is not None:
        facts["branch"] = view.branch
    return facts
