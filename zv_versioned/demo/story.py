"""What happens in the demo: five commits, one of them bad, and the way back.

:func:`tell` does it and returns the facts; it prints nothing.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ArrayError, IntegrityError
from ..geometry import Geometry
from ..repository import Repository
from ..view import View
from .data import NANOMETRES_PER_VOXEL, Neuron

__all__ = [
    "DATASET",
    "LATERAL_HORN",
    "MESHES",
    "SKELETONS",
    "TAG",
    "Append",
    "Measurement",
    "Story",
    "Version",
    "tell",
]

DATASET = "synapses"
SKELETONS = "skeletons"
MESHES = "meshes"
KINDS = {DATASET: "point_cloud", SKELETONS: "skeleton", MESHES: "mesh"}
TAG = "paper-v1"
AUTHOR = "demo"
AXES = [{"name": name, "type": "space", "unit": "nanometer"} for name in "xyz"]
#: A box around the lateral horn, where these neurons end, in nanometres.
LATERAL_HORN = ((10_000, 130_000, 95_000), (75_000, 195_000, 140_000))
#: The bounds of the datasets are rounded outward to this, in nanometres.
BOUNDS_STEP = 10_000
#: A picture of a skeleton has a point each so many nanometres.
PICTURE_STEP = 1_000


@dataclass(frozen=True)
class Append:
    """One neuron appended, as one commit."""

    neuron: int
    synapses: int
    nodes: int
    faces: int
    cells: int
    snapshot_id: str
    seconds: float


@dataclass(frozen=True)
class Measurement:
    """The analysis, on one snapshot. Equal measurements are equal to the last bit."""

    snapshot_id: str
    neurons: int
    synapses: int
    in_box: int
    outputs_in_box: int
    mean_confidence: float
    cable: float
    digest: str

    @property
    def share(self) -> float:
        """The part of all synapses that lies in the box, 0 to 1."""
        return self.in_box / self.synapses if self.synapses else 0.0


@dataclass(frozen=True)
class Version:
    """A line of the history."""

    snapshot_id: str
    message: str
    neurons: int | None
    synapses: int | None


@dataclass(frozen=True)
class Story:
    """Everything that happened, in order."""

    location: str
    bounds: tuple[tuple[int, ...], tuple[int, ...]]
    appends: list[Append]
    pinned: Measurement
    bad: Append
    main_after_bad: Measurement
    pinned_after_bad: Measurement
    main_after_reset: Measurement
    redone: Append
    main_at_end: Measurement
    pinned_at_end: Measurement
    history: list[Version]
    taken_back: Version
    positions_before: NDArray[np.float32]
    positions_after_bad: NDArray[np.float32]


def tell(location: str | Path, neurons: Sequence[Neuron]) -> Story:
    """Create a repository at `location` and live through the whole story.

    All neurons but the last are appended. A view is pinned and tagged. The last
    neuron comes in the wrong unit, is taken back, and comes again as it should.

    Raises
    ------
    ArrayError
        If there are fewer than two neurons.
    IntegrityError
        If the pinned view answered anything else than before. It never does.
    """
    if len(neurons) < 2:
        raise ArrayError(f"the demo needs at least 2 neurons, got {len(neurons)}")
    *good, last = neurons
    bounds = _bounds(neurons)
    repo = Repository.create(location)
    with repo.transaction("main", message="create three datasets", author=AUTHOR) as tx:
        for name, kind in KINDS.items():
            tx.create_dataset(name, kind=kind, bounds=bounds, axes=AXES)

    appends = [_append(repo, neuron, NANOMETRES_PER_VOXEL) for neuron in good]
    repo.create_tag(TAG, at="main")
    view = repo.view("main")
    pinned = measure(view)
    before = _to_draw(view)

    bad = _append(repo, last, 1)  # voxels, as they stand in the file
    view_after_bad = repo.view("main")
    main_after_bad, pinned_after_bad = measure(view_after_bad), measure(view)
    after_bad = _to_draw(view_after_bad)
    taken_back = _version(repo, bad.snapshot_id, f"append neuron {last.id}")

    repo.reset_branch("main", to=pinned.snapshot_id)
    main_after_reset = measure(repo.view("main"))
    redone = _append(repo, last, NANOMETRES_PER_VOXEL)
    main_at_end, pinned_at_end = measure(repo.view("main")), measure(view)

    if not pinned == pinned_after_bad == main_after_reset == pinned_at_end:
        raise IntegrityError(
            f"the view pinned to {pinned.snapshot_id} moved: {pinned}, {pinned_after_bad}, "
            f"{main_after_reset}, {pinned_at_end}"
        )
    return Story(
        location=str(location),
        bounds=bounds,
        appends=appends,
        pinned=pinned,
        bad=bad,
        main_after_bad=main_after_bad,
        pinned_after_bad=pinned_after_bad,
        main_after_reset=main_after_reset,
        redone=redone,
        main_at_end=main_at_end,
        pinned_at_end=pinned_at_end,
        history=[_version(repo, info.snapshot_id, info.message) for info in repo.log("main")],
        taken_back=taken_back,
        positions_before=before,
        positions_after_bad=after_bad,
    )


def measure(view: View) -> Measurement:
    """The analysis: how much of the wiring is in the lateral horn, and how sure that is."""
    level = view[DATASET][0]
    inside = level.read(bbox=LATERAL_HORN, attributes=["confidence", "is_presynaptic"])
    confidence = inside.attributes["confidence"].astype(np.float64)
    inside_skeletons = view[SKELETONS][0].read(bbox=LATERAL_HORN)
    digest = hashlib.sha256()
    for name in KINDS:
        whole = view[name][0].read()
        for array in (whole.positions, whole.object_ids, whole.edges, whole.faces):
            if array is not None:
                digest.update(np.ascontiguousarray(array).tobytes())
    return Measurement(
        snapshot_id=view.snapshot_id,
        neurons=level.num_objects,
        synapses=level.vertex_count,
        in_box=len(inside.positions),
        outputs_in_box=int(inside.attributes["is_presynaptic"].sum()),
        mean_confidence=float(confidence.mean()) if len(confidence) else 0.0,
        cable=_length(inside_skeletons) / 1000,
        digest=digest.hexdigest(),
    )


def _ends(skeletons: Geometry) -> NDArray[np.float64]:
    """Both ends of each edge: (M, 2, 3)."""
    assert skeletons.edges is not None  # of skeletons there always are
    ends: NDArray[np.float64] = skeletons.positions.astype(np.float64)[skeletons.edges]
    return ends


def _length(skeletons: Geometry) -> float:
    """The length of the cable, in nanometres."""
    ends = _ends(skeletons)
    return float(np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1).sum())


def _to_draw(view: View) -> NDArray[np.float32]:
    """The synapses, and points along the skeletons."""
    ends = _ends(view[SKELETONS][0].read())
    steps = 1 + (np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1) / PICTURE_STEP).astype(np.int64)
    edge = np.repeat(np.arange(len(ends)), steps)
    part = (np.arange(len(edge)) - np.repeat(np.cumsum(steps) - steps, steps)) / steps[edge]
    cable = ends[edge, 0] + part[:, None] * (ends[edge, 1] - ends[edge, 0])
    return np.concatenate([view[DATASET][0].positions(), cable.astype(np.float32)])


def _append(repo: Repository, neuron: Neuron, unit: float) -> Append:
    """Append all of a neuron as one commit; `unit` is what a voxel is taken for."""
    scale = np.float32(unit)
    started = time.perf_counter()
    with repo.transaction("main", message=f"append neuron {neuron.id}", author=AUTHOR) as tx:
        result = tx.writer(DATASET).append_vertices_sync(
            neuron.voxels * scale,
            object_ids=neuron.id,
            attributes={
                "confidence": neuron.confidence,
                "is_presynaptic": neuron.is_presynaptic,
            },
        )
        skeleton = tx.writer(SKELETONS).append_graph_sync(
            neuron.skeleton.voxels * scale,
            neuron.skeleton.edges,
            object_ids=neuron.id,
            attributes={"radius": neuron.skeleton.radius * scale},
        )
        mesh = tx.writer(MESHES).append_mesh_sync(
            neuron.mesh.voxels * scale, neuron.mesh.faces, object_ids=neuron.id
        )
    seconds = time.perf_counter() - started
    assert tx.result is not None  # the block was left without an error
    return Append(
        neuron=neuron.id,
        synapses=result["vertices_added"],
        nodes=skeleton["vertices_added"],
        faces=mesh["links_added"],
        cells=result["chunks_touched"],
        snapshot_id=tx.result.snapshot_id,
        seconds=seconds,
    )


def _bounds(neurons: Sequence[Neuron]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """From the corner that coordinates count from to the data's end, rounded outward."""
    all_of = [part for n in neurons for part in (n.voxels, n.skeleton.voxels, n.mesh.voxels)]
    highest = np.concatenate(all_of).max(axis=0).astype(np.float64) * NANOMETRES_PER_VOXEL
    steps = np.floor(highest / BOUNDS_STEP).astype(np.int64) + 1
    return (0, 0, 0), tuple(int(step) * BOUNDS_STEP for step in steps)


def _version(repo: Repository, snapshot_id: str, message: str) -> Version:
    view = repo.view(snapshot_id=snapshot_id)
    if DATASET not in view.datasets:
        return Version(snapshot_id, message, None, None)
    level = view[DATASET][0]
    return Version(snapshot_id, message, level.num_objects, level.vertex_count)
