"""Zarr Vectors stores, written: a dataset of any snapshot, or part of it, as a folder."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from .. import _checks
from .._sets import distinct, is_in
from ..errors import IntegrityError, MetadataError
from ..format.metadata import LINES, POINTS
from ._export import ExportOptions, ExportResult, Part, Selected, lookup
from ._files import made
from ._import import append
from ._into import Into
from ._pieces import BATCH_VERTICES, Piece
from ._progress import Progress, Report

if TYPE_CHECKING:
    from ..geometry import Geometry
    from ..level import Level
    from ..repository import Repository
    from ..transaction import Transaction
    from .zarr_vectors import ZarrVectorsStore

__all__ = ["export_zarr_vectors"]

_KEYS_AT_ONCE = 256


def export_zarr_vectors(
    level: Level,
    target: str | os.PathLike[str],
    *,
    by_number: bool = False,
    batch_vertices: int = BATCH_VERTICES,
    **options: Unpack[ExportOptions],
) -> ExportResult:
    """Export a dataset as a Zarr Vectors 0.9 store in a folder, with everything that it has.

    Parameters
    ----------
    level : Level
        Of any snapshot. Of level 0, without a choice of anything, all levels of its
        dataset are exported. A coarser level, or a part, becomes a store of one level.
    target : path
        A folder; made whole or not at all.
    by_number : bool
        Objects go by number, and their ids become the attribute ``object_id`` of
        objects: see :meth:`ZarrVectorsStore.numbered`.
    batch_vertices : int
        Of a part: vertices, about, that are read at a time; whole objects.
    **options
        Those of all exports: :class:`ExportOptions`.

    Returns
    -------
    ExportResult
        `files` is the number of files in the folder.

    Raises
    ------
    MetadataError
        If the target is there already.
    NotFoundError
        If an object or an attribute is not there.

    Notes
    -----
    Source: Zarr Vectors 0.9. What is written is what :attr:`Dataset.store` shows. Of a
    part the vertices, links and objects are written with a repository of their own in a
    folder beside the target, which is removed again: their order may differ, and batches
    become larger or smaller. A box cuts lines, and what it leaves of lines of two
    vertices is of kind polyline.

    Examples
    --------
    >>> import numpy as np, tempfile, zarr, zv_versioned as zvv
    >>> repo = zvv.Repository.create("memory://")
    >>> with repo.transaction() as tx:
    ...     ds = tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [9, 9]))
    ...     n = tx.writer("p").append_vertices_sync(np.ones((3, 2), "f4"), object_ids=7)
    >>> folder = tempfile.mkdtemp() + "/p.zarrvectors"
    >>> zvv.interop.export_zarr_vectors(repo.view()["p"][0], folder).vertices
    3
    >>> zarr.open_group(folder, mode="r")["0"].attrs["zarr_vectors_level"]["vertex_count"]
    3
    """
    _checks.flags(by_number=by_number)
    part = Part(**options)
    chosen = Selected(level, part)
    whole = all(asked is None for asked in (part.bbox, part.objects, part.attributes))
    with made(target, overwrite=part.overwrite, folder=True) as path:
        if whole and level.number == 0:
            files = _copy(level._dataset.store, path, chosen.report, by_number=by_number)
            chosen.vertices, chosen.links = level.vertex_count, level.link_count
        else:
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{path.name}.") as scratch:
                store = _part(chosen, Path(scratch) / "part", batch_vertices)
                files = _copy(store, path, chosen.report, by_number=by_number)
    return chosen.result("zarr_vectors", target, files)


# ---- copying ----------------------------------------------------------------


def _copy(store: ZarrVectorsStore, folder: Path, report: Report, *, by_number: bool) -> int:
    """Write all keys of a store as files; how many."""
    source = store.numbered() if by_number else store
    keys = iter(sync(_keys(source)))
    files = 0
    while some := list(islice(keys, _KEYS_AT_ONCE)):
        for key, value in zip(some, sync(_values(source, some)), strict=True):
            file = folder / key
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(value)
        files += len(some)
        report(Progress("export", files, None, "files"))
    return files


async def _keys(store: ZarrVectorsStore) -> list[str]:
    return [key async for key in store.list()]


async def _values(store: ZarrVectorsStore, keys: Sequence[str]) -> list[bytes]:
    prototype = default_buffer_prototype()
    found = await asyncio.gather(*(store.get(key, prototype) for key in keys))
    for key, value in zip(keys, found, strict=True):
        if value is None:
            raise IntegrityError(f"{key} is listed by {store!r}, and is not there")
    return [value.to_bytes() for value in found if value is not None]


# ---- a part -----------------------------------------------------------------


def _part(chosen: Selected, folder: Path, batch_vertices: int) -> ZarrVectorsStore:
    """The part of a level as a dataset of its own, in a repository that is thrown away."""
    from ..repository import Repository

    dataset = chosen.level._dataset
    cut = dataset.kind == "line" and chosen.box is not None  # what is left may be one vertex
    kind = "polyline" if cut else dataset.kind
    scratch: Repository = Repository.create(folder)
    with scratch.transaction(message="a part of a dataset") as tx:
        tx.create_dataset(
            dataset.name,
            kind=kind,
            bounds=dataset.bounds,
            chunk_shape=chosen.level.chunk_shape,
            vertex_dtype=dataset.vertex_dtype,
            axes=dataset.axes,
            metadata=dataset.metadata,
        )
        # Links of a graph may go from object to object: then all of it is one piece.
        at_once = int(np.iinfo(np.int64).max) if dataset.kind == "graph" else batch_vertices
        written = [np.zeros(0, np.int64)]
        ids, values = chosen.object_values()
        for piece in _pieces(chosen, at_once, ids, values):
            with tx._staging(dataset.name, 0) as stage:
                append(stage, piece, Into(), 0)
            written.append(distinct(piece.object_ids))
        _groups(tx, chosen, dataset.name, np.concatenate(written))
    return scratch.view()[dataset.name].store


def _pieces(
    chosen: Selected, at_once: int, ids: np.ndarray, values: Mapping[str, np.ndarray]
) -> Iterator[Piece]:
    kind = chosen.level._dataset.kind
    for found in chosen.objects(at_once):
        if len(found):
            yield _piece(found, kind, ids, values)


def _piece(found: Geometry, kind: str, ids: np.ndarray, values: Mapping[str, np.ndarray]) -> Piece:
    """What was read, as it is appended."""
    _, first = np.unique(found.object_ids, return_index=True)
    mine = found.object_ids[np.sort(first)]  # values of objects go in this order
    piece = Piece(
        found.positions,
        object_ids=found.object_ids,
        attributes=found.attributes,
        link_attributes=found.link_attributes,
        object_attributes={name: lookup(ids, column, mine) for name, column in values.items()},
        name="the part that is exported",
    )
    if kind in LINES:
        if found.parts is None:
            raise MetadataError(f"lines of kind {kind!r} were read without their parts")
        return replace(piece, offsets=found.parts, object_ids=found.object_ids[found.parts[:-1]])
    if kind in POINTS:
        return replace(piece, link_attributes={})
    return replace(piece, links=found.faces if found.faces is not None else found.edges)


def _groups(tx: Transaction, chosen: Selected, dataset: str, written: np.ndarray) -> None:
    """The groups of the level, of the objects that were written."""
    for name, members in chosen.level.groups.items():
        kept = members[is_in(members, written)]
        if len(kept):
            tx.writer(dataset).add_group_sync(name, kept)
