"""How the demo's story goes on: two branches, their merges, and a bad commit taken back.

:func:`go_on` does it and returns the facts; it prints nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import IntegrityError
from ..history.log import CommitInfo
from ..repository import Repository
from .data import NANOMETRES_PER_VOXEL, Neuron
from .story import AUTHOR, DATASET, Measurement, measure

__all__ = ["CORRECTION", "NEW", "PAPER", "Event", "Sequel", "go_on"]

CORRECTION, NEW = "correction", "new-synapses"
PAPER = "paper-v2"
#: A new synapse at each so many nodes of a skeleton.
NODES_A_SYNAPSE = 20


@dataclass(frozen=True)
class Event:
    """Something that was done to a branch, and what the branch has since."""

    branch: str
    what: str
    snapshot_id: str
    synapses: int
    mean_confidence: float


@dataclass(frozen=True)
class Sequel:
    """What happened after the story, in order."""

    events: list[Event]
    bad: str
    before_revert: Measurement
    paper: Measurement
    paper_at_end: Measurement
    main_at_end: Measurement
    history: list[CommitInfo]


def go_on(location: str | Path, neurons: Sequence[Neuron]) -> Sequel:
    """Go on in the repository that :func:`.story.tell` made.

    Raises
    ------
    IntegrityError
        If the tagged snapshot answered anything else than before. It never does.
    """
    repo = Repository.open(location)
    events: list[Event] = []

    def note(branch: str, what: str) -> str:
        level = repo.view(branch)[DATASET][0]
        confidence = level.attribute("confidence")
        tip = repo.resolve(branch)
        events.append(
            Event(branch, what, tip, level.vertex_count, float(np.nanmean(confidence, dtype="f8")))
        )
        return tip

    repo.create_branch(CORRECTION, at="main")
    repo.create_branch(NEW, at="main")
    _correct(repo)
    note(CORRECTION, "recalibrate confidences")
    _append(repo, NEW, neurons[0], 0, NANOMETRES_PER_VOXEL)
    note(NEW, f"more of {neurons[0].id}")
    _append(repo, "main", neurons[1], 0, 1)  # voxels again
    bad = note("main", f"more of {neurons[1].id} in voxels")
    for source in (CORRECTION, NEW):
        repo.merge(source, into="main", author=AUTHOR)
        note("main", f"merge {source}")
    _append(repo, "main", neurons[-1], 0, NANOMETRES_PER_VOXEL)
    note("main", f"more of {neurons[-1].id}")
    before_revert = measure(repo.view("main"))
    repo.revert(bad, author=AUTHOR)
    note("main", "revert what came in voxels")

    repo.create_tag(PAPER, at="main")
    paper = measure(repo.view(tag=PAPER))
    _append(repo, "main", neurons[1], NODES_A_SYNAPSE // 2, NANOMETRES_PER_VOXEL)
    note("main", f"more of {neurons[1].id} rightly")
    paper_at_end = measure(repo.view(tag=PAPER))
    if paper != paper_at_end:
        raise IntegrityError(f"the snapshot of tag {PAPER} moved: {paper}, {paper_at_end}")
    return Sequel(
        events=events,
        bad=bad,
        before_revert=before_revert,
        paper=paper,
        paper_at_end=paper_at_end,
        main_at_end=measure(repo.view("main")),
        history=list(repo.log("main")),
    )


def _correct(repo: Repository) -> None:
    """Try on a branch what other confidences would do."""
    before = repo.view(CORRECTION)[DATASET][0].attribute("confidence")
    with repo.transaction(CORRECTION, message="recalibrate confidences", author=AUTHOR) as tx:
        tx.writer(DATASET).add_attribute_sync("confidence", before**2)


def _append(repo: Repository, branch: str, neuron: Neuron, first: int, unit: float) -> None:
    """Append more synapses of a neuron that is there, along its skeleton."""
    where = neuron.skeleton.voxels[first::NODES_A_SYNAPSE] * np.float32(unit)
    message = f"new synapses of {neuron.id}"
    with repo.transaction(branch, message=message, author=AUTHOR) as tx:
        tx.writer(DATASET).append_vertices_sync(
            where,
            object_ids=neuron.id,
            extend=True,
            attributes={
                "confidence": np.full(len(where), 0.9, np.float32),
                "is_presynaptic": np.ones(len(where), np.uint8),
            },
        )
