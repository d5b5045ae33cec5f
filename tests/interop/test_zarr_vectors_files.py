"""Zarr Vectors stores in and out: written by zarr-vectors itself, and by us; whole, parts, broken."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
import zarr_vectors
from _files import edges, level_of, memory, points, rows, triangles
from _profiles import seeds
from zarr_vectors.multiresolution.coarsen import build_pyramid
from zarr_vectors.types.graphs import write_graph
from zarr_vectors.types.lines import write_lines
from zarr_vectors.types.meshes import write_mesh
from zarr_vectors.types.points import write_points
from zarr_vectors.types.polylines import write_polylines
from zarr_vectors.validate import validate

import zv_versioned as zvv
from zv_versioned.interop import (
    export_file,
    export_zarr_vectors,
    import_distributed,
    import_file,
    import_zarr_vectors,
    scan_file,
)
