"""The demo's data: synapses, skeletons and meshes of five neurons, from the files of navis.

The neurons are olfactory projection neurons of the fly, from the hemibrain
connectome (Scheffer et al., eLife 2020). The navis wheel is used as a folder
of files; navis itself is never imported.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import NotFoundError

__all__ = [
    "INSTALL_COMMAND",
    "NANOMETRES_PER_VOXEL",
    "Mesh",
    "Neuron",
    "Skeleton",
    "find_folder",
    "load",
    "read_neuron",
]

INSTALL_COMMAND = 'python -m pip install --no-deps "navis==1.12.0"'
NANOMETRES_PER_VOXEL = 8


def _nothing(columns: int) -> NDArray[np.float32]:
    return np.zeros((0, columns), np.float32)


@dataclass(frozen=True)
class Skeleton:
    """The middle line of a neuron: a tree, or several.

    Attributes
    ----------
    voxels : (N, 3) float32
        Where the nodes are, in voxels.
    radius : (N,) float32
        In voxels.
    edges : (M, 2) int64
        (child, parent), rows of `voxels`.
    """

    voxels: NDArray[np.float32] = field(default_factory=lambda: _nothing(3))
    radius: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    edges: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), np.int64))


@dataclass(frozen=True)
class Mesh:
    """The surface of a neuron.

    Attributes
    ----------
    voxels : (N, 3) float32
        Where the vertices are, in voxels.
    faces : (M, 3) int64
        Rows of `voxels`.
    """

    voxels: NDArray[np.float32] = field(default_factory=lambda: _nothing(3))
    faces: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 3), np.int64))


@dataclass(frozen=True)
class Neuron:
    """One neuron: its synapses, its skeleton, its mesh.

    Attributes
    ----------
    id : int
        The neuron's id in the connectome.
    voxels : (N, 3) float32
        Where the synapses are, x, y, z, counted in voxels of 8 nm as in the file.
    is_presynaptic : (N,) uint8
        1 where the neuron sends (an output), 0 where it receives (an input).
    confidence : (N,) float32
        The detector's confidence, 0 to 1.
    skeleton : Skeleton
    mesh : Mesh
    """

    id: int
    voxels: NDArray[np.float32]
    is_presynaptic: NDArray[np.uint8]
    confidence: NDArray[np.float32]
    skeleton: Skeleton = field(default_factory=Skeleton)
    mesh: Mesh = field(default_factory=Mesh)

    def __len__(self) -> int:
        return len(self.voxels)

    @property
    def nanometres(self) -> NDArray[np.float32]:
        """The positions of the synapses in nanometres. Exact: a voxel is a power of two."""
        return self.voxels * np.float32(NANOMETRES_PER_VOXEL)


def find_folder() -> Path:
    """The folder of the synapse tables, one CSV file a neuron; skeletons and meshes lie beside it.

    Raises
    ------
    NotFoundError
        If the navis wheel is not installed; the message has the command that does it.
    """
    spec = find_spec("navis")
    for location in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(location) / "data" / "synapses"
        if any(folder.glob("*.csv")):
            return folder
    raise NotFoundError(
        "the demo's data is not installed: it takes five neurons from the navis "
        f"wheel. Install the wheel without its dependencies: {INSTALL_COMMAND}"
    )


def read_neuron(path: Path) -> Neuron:
    """Read one table of synapses, and the skeleton and the mesh of the same neuron.

    Parameters
    ----------
    path : Path
        ``synapses/ID.csv``; ``swc/ID.swc`` and ``obj/ID.obj`` lie beside it.

    Raises
    ------
    NotFoundError
        If a file or a column is missing.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        return Neuron(
            id=int(path.stem),
            voxels=np.array([(r["x"], r["y"], r["z"]) for r in rows], np.float32).reshape(-1, 3),
            is_presynaptic=np.array([r["type"] == "pre" for r in rows], np.uint8),
            confidence=np.array([r["confidence"] for r in rows], np.float32),
            skeleton=read_skeleton(path.parent.parent / "swc" / f"{path.stem}.swc"),
            mesh=read_mesh(path.parent.parent / "obj" / f"{path.stem}.obj"),
        )
    except KeyError as error:
        raise _other_data(f"{path.name} has no column {error}") from error
    except FileNotFoundError as error:
        raise _other_data(f"{error.filename} is not there") from error


def _other_data(what: str) -> NotFoundError:
    return NotFoundError(
        f"{what}: this is another version of the example data. "
        f"Install the one the demo knows: {INSTALL_COMMAND}"
    )


def read_skeleton(path: Path) -> Skeleton:
    """Read an SWC file: number, label, x, y, z, radius and parent of each node."""
    with path.open(encoding="utf-8") as file:
        table = np.loadtxt(file, ndmin=2)
    number, parent = table[:, 0].astype(np.int64), table[:, 6].astype(np.int64)
    by_number = np.argsort(number)
    children = np.flatnonzero(parent >= 0)
    at = by_number[np.searchsorted(number[by_number], parent[children])]
    return Skeleton(
        voxels=table[:, 2:5].astype(np.float32),
        radius=table[:, 5].astype(np.float32),
        edges=np.stack([children, at], axis=1),
    )


def read_mesh(path: Path) -> Mesh:
    """Read an OBJ file: its vertices and triangles."""
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    vertices = [row[1:4] for row in rows if row[:1] == ["v"]]
    # A corner may be followed by what else belongs to it: 7/7/3. The first vertex is 1.
    faces = [[corner.partition("/")[0] for corner in row[1:]] for row in rows if row[:1] == ["f"]]
    return Mesh(np.array(vertices, np.float32), np.array(faces, np.int64) - 1)


def load(folder: Path | None = None) -> list[Neuron]:
    """All neurons of `folder` (default: :func:`find_folder`), the smallest id first."""
    paths = (folder or find_folder()).glob("*.csv")
    return [read_neuron(path) for path in sorted(paths, key=lambda path: int(path.stem))]
