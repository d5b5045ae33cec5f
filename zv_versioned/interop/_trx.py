"""TRX files: a zip of arrays, read with trx-python and written array by array."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from .._sets import distinct, is_in
from ..errors import ArrayError, MetadataError
from ._extras import need
from ._files import reading
from ._pieces import Piece, Source

__all__ = ["TrxWriter", "open_trx"]

OBJECT_ID = "object_id"
_BLANK = {"VOXEL_TO_RASMM": np.eye(4).tolist(), "DIMENSIONS": [1, 1, 1]}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    load = need("trx.trx_file_memmap", "streamlines", "reading TRX files").load
    with reading(path, "TRX"):
        file = load(str(path))
        try:
            yield file
        finally:
            file.close()


def open_trx(
    paths: Sequence[Path], skip: bool, batch_vertices: int, axes: list[dict[str, str]]
) -> Source:
    """Read the heads of TRX files; see :func:`open_streamlines`."""
    parts: list[partial[Iterator[Piece]]] = []
    groups: dict[str, list[np.ndarray]] = {}
    first: dict[str, Any] = {}
    total, dtype, named = 0, np.dtype(np.float32), 0
    for path in paths:
        with _opened(path) as file:
            lengths = np.asarray(file.streamlines._lengths, np.int64)[: _count(file)]
            own = np.asarray(file.streamlines._data).dtype
            dtype = np.result_type(dtype, own) if own.itemsize > 2 else dtype
            first = first or _kept(file)
            _check(path, file, lengths)
            ids = file.data_per_streamline.get(OBJECT_ID)
            named += ids is not None
            numbers = np.cumsum(lengths > 0) - 1 if skip else np.arange(len(lengths))
            numbers = numbers + total if ids is None else _column(np.array(ids)).astype(np.int64)
            for name, members in file.groups.items():
                rows = _group(path, name, members, len(lengths))
                rows = rows[lengths[rows] > 0] if skip else rows
                groups.setdefault(name, []).append(numbers[rows])
            parts += [
                partial(_pieces, path, a, b, skip) for a, b in _ranges(lengths, batch_vertices)
            ]
            total += int((lengths > 0).sum()) if skip else len(lengths)
    if named not in (0, len(paths)):
        raise MetadataError(f"{named} of {len(paths)} files have an {OBJECT_ID}; all must, or none")
    return Source(
        format="trx",
        kind="streamline",
        ndim=3,
        dtype=dtype,
        parts=parts,
        files=[path.name for path in paths],
        axes=axes,
        metadata={"trx": first},
        total=total,
        unit="streamlines",
        groups={name: np.concatenate(members) for name, members in groups.items()},
        counted_groups=not named,
    )


def _count(file: Any) -> int:
    return int(file.header["NB_STREAMLINES"])


def _kept(file: Any) -> dict[str, Any]:
    """What a file says beyond its arrays, as JSON."""
    kept: dict[str, Any] = {
        "VOXEL_TO_RASMM": np.asarray(file.header["VOXEL_TO_RASMM"], np.float64).tolist(),
        "DIMENSIONS": np.asarray(file.header["DIMENSIONS"]).tolist(),
    }
    of_groups = {
        group: {name: np.asarray(values).tolist() for name, values in data.items()}
        for group, data in file.data_per_group.items()
    }
    return {**kept, "data_per_group": of_groups} if of_groups else kept


def _check(path: Path, file: Any, lengths: np.ndarray) -> None:
    """Refuse offsets that do not fit the points."""
    vertices = int(file.header["NB_VERTICES"])
    if len(lengths) != _count(file) or (lengths < 0).any() or lengths.sum() != vertices:
        raise ArrayError(f"{path}: its offsets do not fit its {vertices:,} points; is it damaged?")


def _group(path: Path, name: str, members: np.ndarray, lines: int) -> np.ndarray:
    """The streamlines of a group."""
    rows = np.asarray(members).astype(np.int64)
    if len(rows) and (rows.min() < 0 or rows.max() >= lines):
        raise ArrayError(f"{path}: group {name!r} names streamlines that are not there")
    return rows


def _ranges(lengths: np.ndarray, batch: int) -> list[tuple[int, int]]:
    """Runs of streamlines of about `batch` points."""
    ends = np.cumsum(lengths)
    ranges, start = [], 0
    while start < len(lengths):
        before = int(ends[start - 1]) if start else 0
        stop = max(int(np.searchsorted(ends, before + batch, side="right")), start + 1)
        ranges.append((start, stop))
        start = stop
    return ranges


def _pieces(path: Path, start: int, stop: int, skip: bool) -> Iterator[Piece]:
    """The streamlines of a file from `start` to `stop`."""
    with _opened(path) as file:
        lengths = np.asarray(file.streamlines._lengths, np.int64)
        first = int(lengths[:start].sum())
        counts = lengths[start:stop]
        rows = slice(first, first + int(counts.sum()))
        points = np.array(file.streamlines._data[rows])
        kept = counts > 0
        if not kept.all() and not skip:
            raise ArrayError(
                f"{path}: streamline {start + int(np.argmin(kept)):,} has no points; leave such "
                'ones out with empty="skip"'
            )
        of_lines = {
            str(name): _column(np.array(values[start:stop])[kept])
            for name, values in file.data_per_streamline.items()
        }
        attributes = {
            str(name): _column(np.array(values._data[rows]))
            for name, values in file.data_per_vertex.items()
        }
    ids = of_lines.pop(OBJECT_ID, None)
    if ids is not None and (ids.ndim != 1 or ids.dtype.kind not in "iu"):
        raise ArrayError(f"{path}: its {OBJECT_ID} is no whole number for each streamline")
    if ids is not None and len(distinct(ids)) < len(ids):
        of_lines = _of_objects(path, ids, of_lines)
    yield Piece(
        points.astype(np.float32) if points.dtype == np.float16 else points,
        ids,
        offsets=np.concatenate([[0], np.cumsum(counts[kept])]).astype(np.int64),
        attributes=attributes,
        object_attributes=of_lines,
        name=f"{path}, streamline {start:,} and after",
        weight=len(counts),
    )


def _of_objects(
    path: Path, ids: np.ndarray, of_lines: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Values by object, of values by line that are the same for all lines of an object."""
    _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    for name, values in of_lines.items():
        same = (values == values[first][inverse]) | (values != values)
        if not same.all():
            raise ArrayError(
                f"{path}: {name!r} differs between streamlines of one object; leave {OBJECT_ID} "
                "out of the file to make each an object"
            )
    order = np.sort(first)
    return {name: values[order] for name, values in of_lines.items()}


def _column(values: np.ndarray) -> np.ndarray:
    """Values of one column as (N,)."""
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


# ---- writing ----------------------------------------------------------------


class TrxWriter:
    """Writes a TRX file: its arrays grow in a folder beside it, which becomes the zip.

    Parameters
    ----------
    path : Path
        Of the file.
    stored : mapping
        What :func:`open_trx` kept of the file that the dataset came with.
    """

    def __init__(self, path: Path, stored: Mapping[str, Any]) -> None:
        self._path = path
        self._folder = path.with_name(path.name + ".arrays")
        self._stored = stored
        self._files: dict[str, IO[bytes]] = {}
        self._ids: list[np.ndarray] = []
        self._vertices = 0
        self._lines = 0

    def __enter__(self) -> TrxWriter:
        self._folder.mkdir()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()
        shutil.rmtree(self._folder)

    def _close(self) -> None:
        for file in self._files.values():
            file.close()

    def _put(self, name: str, values: np.ndarray) -> None:
        """Write on at the end of an array, whose name has its columns and dtype."""
        columns = f".{values.shape[1]}" if values.ndim == 2 and values.shape[1] > 1 else ""
        full = f"{name}{columns}.{values.dtype.name}"
        if full not in self._files:
            path = self._folder / full
            path.parent.mkdir(parents=True, exist_ok=True)
            self._files[full] = path.open("wb")
        little = values.astype(values.dtype.newbyteorder("<"), copy=False)
        self._files[full].write(np.ascontiguousarray(little).tobytes())

    def add(
        self,
        positions: np.ndarray,
        counts: np.ndarray,
        ids: np.ndarray,
        of_points: Mapping[str, np.ndarray],
        of_lines: Mapping[str, np.ndarray],
    ) -> None:
        """Write some lines.

        Parameters
        ----------
        positions : ndarray, shape (N, 3)
        counts : ndarray of int64, shape (P,)
            Points of each line.
        ids : ndarray of int64, shape (P,)
            The object of each line.
        of_points, of_lines : mapping of str to ndarray
        """
        if positions.dtype.kind != "f":
            positions = positions.astype(np.float64)
        self._put("positions", positions)
        self._put("offsets", (self._vertices + np.cumsum(counts) - counts).astype(np.uint64))
        for name, values in of_points.items():
            self._put(f"dpv/{name}", values)
        for name, values in of_lines.items():
            self._put(f"dps/{name}", values)
        self._ids.append(ids)
        self._vertices += len(positions)
        self._lines += len(counts)

    def finish(self, groups: Mapping[str, np.ndarray]) -> None:
        """Write groups, ids and the header, and make the file.

        Parameters
        ----------
        groups : mapping of str to ndarray of int64
            Ids of objects.
        """
        if self._lines == 0:
            raise MetadataError(
                f"no line is in what is asked for, so there is no {self._path.name}"
            )
        ids = np.concatenate(self._ids)
        self._put("offsets", np.array([self._vertices], np.uint64))
        if not np.array_equal(ids, np.arange(len(ids))):
            self._put(f"dps/{OBJECT_ID}", ids)
        for name, members in groups.items():
            self._put(f"groups/{name}", np.flatnonzero(is_in(ids, members)).astype(np.uint32))
        for group, data in self._stored.get("data_per_group", {}).items():
            if group in groups:
                for name, values in data.items():
                    self._put(f"dpg/{group}/{name}", np.atleast_2d(np.asarray(values)))
        header = {
            **{key: self._stored.get(key, blank) for key, blank in _BLANK.items()},
            "NB_VERTICES": self._vertices,
            "NB_STREAMLINES": self._lines,
        }
        (self._folder / "header.json").write_text(json.dumps(header), encoding="utf-8")
        self._close()
        with zipfile.ZipFile(self._path, "w", zipfile.ZIP_STORED) as archive:
            for path in sorted(self._folder.rglob("*")):
                if path.is_file():
                    archive.write(path, path.relative_to(self._folder).as_posix())
