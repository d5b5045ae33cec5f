"""Zarr Vectors stores, read in: any kind, several levels, through zarr alone."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import zarr

from ..errors import ArrayError, MetadataError, NotFoundError
from ..format.metadata import KINDS
from ..spatial.boxes import Box
from ._import import ImportResult, import_source
from ._into import ImportOptions, Into
from ._pieces import BATCH_VERTICES, Source
from ._zv_level import ZVLevel, quiet
from ._zv_links import EXPLICIT
from ._zv_pieces import LevelPieces

if TYPE_CHECKING:
    from zarr.abc.store import Store

    from ..repository import Repository

__all__ = ["SUFFIXES", "import_zarr_vectors", "is_store", "open_zarr_vectors"]

SUFFIXES = (".zarr", ".zarrvectors", ".zv")


def import_zarr_vectors(
    repo: Repository,
    source: str | os.PathLike[str] | Store,
    dataset: str,
    *,
    levels: Sequence[int] | None = None,
    batch_vertices: int = BATCH_VERTICES,
    **options: Unpack[ImportOptions],
) -> ImportResult:
    """Import a Zarr Vectors store: vertices, links, objects, groups and all their attributes.

    Parameters
    ----------
    repo : Repository
    source : path or URL that zarr opens, or zarr.abc.store.Store
        Of the store's root group.
    dataset : str
    levels : sequence of int, optional
        Which resolution levels: 0, 1 and so on without a gap; all where left out. With
        ``append=True`` level 0 alone, and what was coarsened from it is marked stale.
    batch_vertices : int
        Vertices, about, that are read and appended at a time: whole objects, or, of
        points without objects, cells. A store of kind graph, whose links may go from
        object to object, becomes one batch.
    **options
        Those of all imports: :class:`ImportOptions`. Bounds, cells, axes and units are
        those of the store.

    Returns
    -------
    ImportResult

    Raises
    ------
    NotFoundError
        If there is no such store or level.
    ArrayError
        If the store is damaged or not Zarr Vectors, or a link goes from object to
        object where that cannot be. Nothing is committed.
    MetadataError
        If it holds a kind of geometry that is not known.

    Notes
    -----
    Source: Zarr Vectors 0.9. Read with zarr; the ``zarr-vectors`` package is not
    needed. The order of a line is taken from the links between its fragments. Where a
    coarser level has vertices that several objects share, each gets its own. What a
    store is chunked by becomes an attribute of its vertices, but for the batches of
    our own. Attributes of fragments and of groups, and links from level to level, are
    left out.

    Examples
    --------
    >>> import numpy as np, tempfile, zv_versioned as zvv
    >>> repo = zvv.Repository.create("memory://")
    >>> with repo.transaction() as tx:
    ...     ds = tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [9, 9]))
    ...     n = tx.writer("p").append_vertices_sync(np.ones((3, 2), "f4"), object_ids=7)
    >>> folder = tempfile.mkdtemp() + "/p.zarrvectors"
    >>> done = zvv.interop.export_zarr_vectors(repo.view()["p"][0], folder)
    >>> again = zvv.interop.import_zarr_vectors(repo, folder, "again")
    >>> again.vertices, repo.view()["again"][0].object_ids()
    (3, array([7]))
    """
    into = Into(**options)
    if into.append and levels is None:
        levels = [0]
    opened = open_zarr_vectors(source, levels=levels, batch_vertices=batch_vertices)
    return import_source(repo, opened, dataset, into)


def is_store(path: Any) -> bool:
    """Whether a path is a folder with a Zarr Vectors store in it."""
    if not isinstance(path, str | os.PathLike):
        return False
    document = os.path.join(os.fspath(path), "zarr.json")
    if not os.path.isfile(document):
        return False
    with quiet(os.fspath(path)):
        return "zarr_vectors" in zarr.open_group(os.fspath(path), mode="r").attrs


def open_zarr_vectors(
    source: str | os.PathLike[str] | Store,
    *,
    levels: Sequence[int] | None = None,
    batch_vertices: int = BATCH_VERTICES,
) -> Source:
    """Read the documents of a store; parameters as for :func:`import_zarr_vectors`."""
    store = _one(source)
    facts, axes, there, metadata = _root(store)
    wanted = there if levels is None else list(levels)
    if not wanted or sorted(wanted) != list(range(len(wanted))) or not set(wanted) <= set(there):
        raise NotFoundError(
            f"{store} has the levels {', '.join(map(str, there))}; levels must be of these, 0, 1 "
            f"and so on, got {wanted}"
        )
    kind = facts["geometry_types"][0] if facts.get("geometry_types") else ""
    if kind not in KINDS:
        raise MetadataError(f"{store} holds {kind or 'nothing'!r}; known are {', '.join(KINDS)}")
    convention = facts.get("links_convention", EXPLICIT)
    made = {
        number: LevelPieces(ZVLevel(store, str(number)), kind, convention)
        for number in sorted(wanted)
    }
    lo, hi = (np.asarray(side, np.float64) for side in facts["bounds"])
    base = tuple(map(float, facts["chunk_shape"]))
    parts = {number: reader.parts(batch_vertices) for number, reader in made.items()}
    return Source(
        format="zarr_vectors",
        kind=kind,
        ndim=len(lo),
        dtype=made[0].level.dtype,
        parts=parts[0],
        files=[str(store)],
        bounds=Box(lo, hi),
        axes=axes,
        metadata=metadata,
        total=sum(reader.total for reader in made.values()),
        unit="vertices",
        groups=made[0].groups(),
        counted_groups=False,
        chunk_shape=base,
        coarser=[reader.coarser(base, parts[n]) for n, reader in made.items() if n > 0],
    )


def _one(source: Any) -> Any:
    """The store that is meant, as zarr opens it."""
    if isinstance(source, list | tuple):
        if len(source) != 1:
            raise MetadataError(
                f"one Zarr Vectors store is imported at a time, and {len(source)} are given"
            )
        source = source[0]
    return (
        os.path.expanduser(os.fspath(source)) if isinstance(source, str | os.PathLike) else source
    )


def _root(
    store: Any,
) -> tuple[dict[str, Any], list[dict[str, str]] | None, list[int], dict[str, Any]]:
    """What the root says: facts, axes, levels, and the metadata of a dataset of ours."""
    if isinstance(store, str) and "://" not in store and not os.path.exists(store):
        raise NotFoundError(f"there is no store at {store}")
    with quiet(str(store)):
        group: Any = zarr.open_group(store, mode="r")
        facts = group.attrs.get("zarr_vectors")
        if not isinstance(facts, Mapping):
            raise ArrayError(
                "it is no Zarr Vectors store: 'zarr_vectors' is not among its attributes"
            )
        scales = group.attrs.get("multiscales") or [{}]
        levels = sorted(int(name) for name, _ in group.members() if name.isdecimal())
        axes = [_axis(axis) for axis in scales[0].get("axes", [])] or None
        metadata = dict(group.attrs.get("zv_dataset", {}).get("metadata", {}))
        for name in ("bounds", "chunk_shape"):
            if name not in facts:
                raise ArrayError(f"its root says nothing of {name}")
    if 0 not in levels:
        raise ArrayError(f"{store} has no level 0")
    return dict(facts), axes, levels, metadata


def _axis(axis: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(axis[key]) for key in ("name", "type", "unit") if axis.get(key)}
