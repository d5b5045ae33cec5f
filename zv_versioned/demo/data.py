"""The demo's data: synapses of five neurons, from the example files of navis.

The neurons are olfactory projection neurons of the fly, from the hemibrain
connectome (Scheffer et al., eLife 2020). The navis wheel is used as a folder
of files; navis itself is never imported.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import NotFoundError

__all__ = [
    "INSTALL_COMMAND",
    "NANOMETRES_PER_VOXEL",
    "Neuron",
    "find_folder",
    "load",
    "read_neuron",
]

INSTALL_COMMAND = 'python -m pip install --no-deps "navis==1.12.0"'
NANOMETRES_PER_VOXEL = 8


@dataclass(frozen=True)
class Neuron:
    """The synapses of one neuron.

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
    """

    id: int
    voxels: NDArray[np.float32]
    is_presynaptic: NDArray[np.uint8]
    confidence: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.voxels)

    @property
    def nanometres(self) -> NDArray[np.float32]:
        """The positions in nanometres. Exact: whole numbers below 2**24."""
        return self.voxels * np.float32(NANOMETRES_PER_VOXEL)


def find_folder() -> Path:
    """The folder of the synapse tables, one CSV file a neuron.

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
        "the demo's data is not installed: it takes the synapses of five neurons from the navis "
        f"wheel. Install the wheel without its dependencies: {INSTALL_COMMAND}"
    )


def read_neuron(path: Path) -> Neuron:
    """Read one table; the file's name is the neuron's id.

    Raises
    ------
    NotFoundError
        If a column is missing.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        return Neuron(
            id=int(path.stem),
            voxels=np.array([(r["x"], r["y"], r["z"]) for r in rows], np.float32).reshape(-1, 3),
            is_presynaptic=np.array([r["type"] == "pre" for r in rows], np.uint8),
            confidence=np.array([r["confidence"] for r in rows], np.float32),
        )
    except KeyError as error:
        raise NotFoundError(
            f"{path.name} has no column {error}: this is another version of the example data. "
            f"Install the one the demo knows: {INSTALL_COMMAND}"
        ) from error


def load(folder: Path | None = None) -> list[Neuron]:
    """All neurons of `folder` (default: :func:`find_folder`), the smallest id first."""
    paths = (folder or find_folder()).glob("*.csv")
    return [read_neuron(path) for path in sorted(paths, key=lambda path: int(path.stem))]
