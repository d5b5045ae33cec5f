"""A level as an xarray Dataset, read when and where it is looked at.

:func:`to_xarray` is behind ``level.to_xarray()``; :class:`ZVBackendEntrypoint`
is behind ``xr.open_dataset(location, engine="zv_versioned", …)``. Both read
nothing but what opening the level reads. A slice reads the cells that its
vertices lie in, and no others.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from xarray.backends import BackendEntrypoint
from xarray.core import indexing

from .. import _checks
from ..errors import MetadataError, NotFoundError
from ..format.metadata import MESHES, POINTS
from ..level import Level
from ..reading import link_ranges, ranges
from ..repository import Repository
from ..storage.lock import LOCK_FILE
from ..view import Dataset, View
from . import xarray_accessor as xarray_accessor  # registers Dataset.zv
from ._provenance import provenance
from .xarray_arrays import LevelArray

CHUNK_VERTICES = 1 << 20
"""Vertices of a chunk where xarray is left to choose, about."""

_PIN = "zv_pin"
_OWN_NAMES = frozenset(
    {
        "axis",
        "batch",
        "corner",
        "end",
        "face",
        "faces",
        "link",
        "links",
        "object",
        "object_id",
        "objects",
        "positions",
        "vertex",
        "vertex_id",
    }
)


class _Pinned(xr.Variable):
    """A variable whose dask name says which snapshot it is of.

    xarray's ``open_dataset`` names chunks after the arguments it was called
    with. A branch moves, and two chunks of one name are one to dask.
    """

    __slots__ = ()

    def chunk(self, *args: Any, **kwargs: Any) -> Any:
        named = dict(kwargs.get("from_array_kwargs") or {})
        if named.get("name") and _PIN in self.encoding:
            named["name"] = f"{named['name']}-{self.encoding[_PIN]}"
            kwargs["from_array_kwargs"] = named
        return super().chunk(*args, **kwargs)


def to_xarray(level: Level, *, cache: bool = True) -> xr.Dataset:
    """A level as a lazy Dataset; see :meth:`Level.to_xarray`.

    Parameters
    ----------
    level : Level
    cache : bool
        Keep what was read whole, as ``xr.open_dataset`` does.
    """
    _checks.flags(cache=cache)
    variables, coordinates = _variables(level)
    if cache:
        for variable in (*variables.values(), *coordinates.values()):
            data = indexing.CopyOnWriteArray(variable._data)
            variable.data = indexing.MemoryCachedArray(data)  # type: ignore[no-untyped-call]
    axis = xr.Variable(("axis",), np.array([axis["name"] for axis in level._dataset.axes]))
    facts = provenance(level)
    if level._dataset.metadata:
        facts["metadata"] = json.dumps(level._dataset.metadata)
    # Coordinates that are given as such would lose their class, and with it the pin.
    made = xr.Dataset({**variables, **coordinates}, {"axis": axis}, facts)
    return made.set_coords(list(coordinates))


def _variables(level: Level) -> tuple[dict[str, xr.Variable], dict[str, xr.Variable]]:
    """Data variables and coordinates, none of them read."""
    is_mesh = level._dataset.kind in MESHES
    link = "face" if is_mesh else "link"
    chunks = {
        "vertex": np.diff(ranges.edges(level._reader, CHUNK_VERTICES)).tolist(),
        link: np.diff(link_ranges.link_edges(level._reader, CHUNK_VERTICES)).tolist(),
    }
    pin = "-".join(map(str, level.__dask_tokenize__()[2:]))

    def variable(dims: tuple[str, ...], what: str, name: str = "", **attrs: Any) -> _Pinned:
        data = indexing.LazilyIndexedArray(LevelArray(level, what, name))
        encoding: dict[str, Any] = {_PIN: pin}
        if chunks.get(dims[0]):
            encoding["preferred_chunks"] = {dims[0]: tuple(chunks[dims[0]])}
        return _Pinned(dims, data, attrs, encoding)

    coordinates: dict[str, xr.Variable] = {}
    for axis in level._dataset.axes:
        facts = {"units": axis["unit"]} if "unit" in axis else {}
        shown = free_name(axis["name"], "axis", _OWN_NAMES)
        coordinates[shown] = variable(("vertex",), "axis", axis["name"], **facts)
    for what in ("object_id", "batch", "vertex_id"):
        coordinates[what] = variable(("vertex",), what)
    coordinates["objects"] = variable(("object",), "objects")
    units = {axis.get("unit") for axis in level._dataset.axes}
    common: dict[str, Any] = {"units": units.pop()} if len(units) == 1 and None not in units else {}
    variables: dict[str, xr.Variable] = {
        "positions": variable(("vertex", "axis"), "positions", **common)
    }
    if level._dataset.kind not in POINTS:
        dims = ("face", "corner") if is_mesh else ("link", "end")
        variables["faces" if is_mesh else "links"] = variable(dims, "links")
    taken = {*coordinates, *_OWN_NAMES}
    known = level._reader.state.facts
    for what, dim, attributes in (
        ("attribute", "vertex", known.attributes),
        ("object_attribute", "object", known.object_attributes),
        ("link_attribute", link, known.link_attributes),
    ):
        for name, attribute in sorted(attributes.items()):
            shown = free_name(name, dim, taken)
            channel = (f"{shown}_channel",) if attribute.row_shape else ()
            facts = {} if shown == name else {"zv_attribute": name}
            variables[shown] = variable((dim, *channel), what, name, **facts)
            taken |= {shown, *channel}
    return variables, coordinates


def free_name(name: str, family: str, taken: Iterable[str]) -> str:
    """The name of an attribute's variable: its own, unless something else has it."""
    while name in taken:
        name = f"{family}_{name}"
    return name


class ZVBackendEntrypoint(BackendEntrypoint):
    """``xr.open_dataset(location, engine="zv_versioned", dataset=…, level=…, ref=…)``."""

    description = "zv_versioned: versioned stores of large vector geometry"
    open_dataset_parameters: ClassVar[tuple[str, ...]] = (
        "filename_or_obj",
        "drop_variables",
        "dataset",
        "level",
        "ref",
        "storage_options",
    )

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        dataset: str | None = None,
        level: int = 0,
        ref: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> xr.Dataset:
        """Open a level of a dataset.

        Parameters
        ----------
        filename_or_obj : str, path, Repository, View, Dataset or Level
            A location as :meth:`Repository.open` takes it, or what is open already.
        drop_variables : str or iterable of str, optional
        dataset : str, optional
            Left out, the only one that there is.
        level : int
        ref : str, optional
            A branch, tag, snapshot id, unique prefix or ``REF~N``; "main" where it
            is left out.
        storage_options : mapping, optional
            For :meth:`Repository.open`.

        Raises
        ------
        NotFoundError
            If there is no such repository, snapshot, dataset or level.
        MetadataError
            If `dataset` is left out and there are several, or something is given
            twice.
        """
        found = _find(filename_or_obj, dataset, level, ref, dict(storage_options or {}))
        opened = to_xarray(found, cache=False)
        dropped = [drop_variables] if isinstance(drop_variables, str) else drop_variables
        return opened.drop_vars(dropped or [], errors="ignore")

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether it is something of ours, or a folder with a local repository."""
        if isinstance(filename_or_obj, Repository | View | Dataset | Level):
            return True
        if not isinstance(filename_or_obj, str | os.PathLike):
            return False
        return os.path.isfile(os.path.join(filename_or_obj, LOCK_FILE))


def _find(
    it: Any, dataset: str | None, level: int, ref: str | None, options: dict[str, Any]
) -> Level:
    if options and isinstance(it, Repository | View | Dataset | Level):
        raise MetadataError(f"storage_options go with a location, not with {it!r}")
    if ref is not None and isinstance(it, View | Dataset | Level):
        raise MetadataError(
            f"ref={ref!r} goes with a repository; {it!r} is of one snapshot already"
        )
    if dataset is not None and isinstance(it, Dataset | Level):
        raise MetadataError(f"dataset={dataset!r} is given, and also {it!r}")
    if isinstance(it, Level):
        return it
    if isinstance(it, Dataset):
        return it[level]
    if not isinstance(it, Repository | View):
        it = Repository.open(it, **options)
    view = it.view(ref) if isinstance(it, Repository) else it
    return view[_only(view) if dataset is None else dataset][level]


def _only(view: View) -> str:
    if len(view.datasets) == 1:
        return view.datasets[0]
    if not view.datasets:
        raise NotFoundError(f"{view!r} has no dataset yet")
    raise MetadataError(
        f"there are several datasets; say which: dataset={view.datasets[0]!r}, or one of "
        f"{', '.join(map(repr, view.datasets[1:]))}"
    )
