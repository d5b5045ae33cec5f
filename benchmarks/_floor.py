"""The floor of a whole read: its bytes, read and decompressed, and nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
from numcodecs import blosc
from zarr.core.buffer import default_buffer_prototype

import zv_versioned as zvv
from zv_versioned import _io, _paths
from zv_versioned._cells_io import Blocks
from zv_versioned.format import shards
from zv_versioned.format.cells import CRC, HEADER, payload_size

ARRAYS = ("vertices", "vertex_attributes/value")


class Floor:
    """The shards of positions and of the attribute of a store of ours, also as plain files.

    Parameters
    ----------
    path : Path
        The repository.
    folder : Path
        Where the plain files go.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        level = zvv.Repository.open(str(path)).view("main")["points"][0]
        reader = level._reader
        self._store = reader.store
        grid = reader.state.facts.grid
        self._keys = [
            _paths.shard_key(f"points/0/{name}", int(reader.state.table.slot[s.row]), block)
            for name in ARRAYS
            for s in reader.plan()
            for block in Blocks.of(s.head.cells, grid).keys
        ]
        folder.mkdir()
        self._files = [folder / str(number) for number in range(len(self._keys))]
        self._cells: list[list[tuple[int, int, int]]] = []
        size = 0
        for file, shard in zip(self._files, self._fetch(), strict=True):
            file.write_bytes(shard)
            start, stop = shards.read_index(memoryview(shard), grid.places)
            there = np.flatnonzero(start >= 0)
            cells = [
                (a, b - CRC, payload_size(memoryview(shard)[a:b]) + HEADER)
                for a, b in zip(start[there].tolist(), stop[there].tolist(), strict=True)
            ]
            self._cells.append(cells)
            size += sum(cell[2] for cell in cells)
        if size - HEADER * sum(map(len, self._cells)) != 16 * level.vertex_count:
            raise AssertionError("the floor reads other bytes than the level has")
        self._size = size

    def _fetch(self) -> list[bytes]:
        prototype = default_buffer_prototype()

        async def all_of() -> list[bytes]:
            found = await asyncio.gather(*(self._store.get(k, prototype) for k in self._keys))
            return [buffer.as_numpy_array() for buffer in found if buffer is not None]

        return _io.run(all_of())

    def _decompress(self, shard: bytes | memoryview, number: int, out: np.ndarray, at: int) -> int:
        view = memoryview(shard)
        for start, stop, size in self._cells[number]:
            blosc.decompress(view[start:stop], out[at : at + size])
            at += size
        return at

    def files(self) -> None:
        """From plain files, one after the other."""
        out, at = np.empty(self._size, np.uint8), 0
        for number, file in enumerate(self._files):
            at = self._decompress(file.read_bytes(), number, out, at)

    def store(self) -> None:
        """From icechunk, all shards at the same time."""
        out, at = np.empty(self._size, np.uint8), 0
        for number, shard in enumerate(self._fetch()):
            at = self._decompress(shard, number, out, at)
