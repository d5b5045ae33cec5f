"""A level as an xarray Dataset, read when and where it is looked at.

:func:`to_xarray` is behind ``level.to_xarray()``; :class:`ZVBackendEntrypoint`
is behind ``xr.open_dataset(location, engine="zv_versioned", …)``. Both read
nothing but what opening the level reads. A slice reads the cells that its
vertices lie in, and no others.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import xarray as xr
from xarray.backends import BackendArray, BackendEntrypoint
from xarray.core import indexing

from .. import _ranges
from ..errors import MetadataError, NotFoundError
from ..level import Level
from ..repository import Repository
from ..storage.lock import LOCK_FILE
from ..view import Dataset, View
from . import xarray_accessor as xarray_accessor  # registers Dataset.zv

if TYPE_CHECKING:
    from .._read import LevelReader
    from ..format.metadata import AttributeMeta

CHUNK_VERTICES = 1 << 20
"""Vertices of a chunk where xarray is left to choose, about."""

_PIN = "zv_pin"
_OWN_NAMES = frozenset(
    {"axis", "batch", "object", "object_id", "objects", "positions", "vertex", "vertex_id"}
)


class LevelArray(BackendArray):
    """One variable of a level, read by slices or by numbers along its first axis.

    Parameters
    ----------
    level : Level
    what : str
        ``positions``, ``axis``, ``attribute``, ``object_id``, ``batch`` or
        ``vertex_id``: all by vertex; or ``objects`` (their ids) and
        ``object_attribute``, by object.
    name : str
        Of the attribute, or of the axis.
    """

    def __init__(self, level: Level, what: str, name: str = "") -> None:
        self.level = level
        self.what = what
        self.name = name
        self.shape, self.dtype = _form(level, what, name)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return (*self.level.__dask_tokenize__(), self.what, self.name)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, indexing.BasicIndexer | indexing.OuterIndexer):
            return self._get(key.tuple)
        # Points picked one by one: their rows first, and then of these.
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._get
        )

    def _get(self, key: tuple[Any, ...]) -> Any:
        first, rest = key[0], key[1:]
        if isinstance(first, slice):
            start, stop, step = first.indices(self.shape[0])
            if step == 1:
                rows = self._range(start, max(start, stop))
            else:
                rows = self._some(np.arange(start, stop, step))
        else:
            numbers = np.atleast_1d(np.asarray(first, np.int64))
            rows = self._some(np.where(numbers < 0, numbers + self.shape[0], numbers))
        if np.ndim(first) == 0 and not isinstance(first, slice):
            rows = rows[0]
            return rows[rest] if rest else rows
        return rows[(slice(None), *rest)] if rest else rows

    def _range(self, start: int, stop: int) -> np.ndarray:
        if self.what in _MADE:
            return _MADE[self.what](self.level, self.name, np.arange(start, stop))
        reader = self.level._reader
        return _ranges.read_range(reader, _reading(reader, self.what, self.name), start, stop)

    def _some(self, vertices: np.ndarray) -> np.ndarray:
        if self.what in _MADE:
            return _MADE[self.what](self.level, self.name, vertices)
        reader = self.level._reader
        return _ranges.read_some(reader, _reading(reader, self.what, self.name), vertices)


def _reading(reader: LevelReader, what: str, name: str) -> _ranges.Read:
    if what == "positions":
        return reader.positions_of
    if what == "axis":
        at = [axis["name"] for axis in reader.meta.axes].index(name)
        return lambda cells: np.ascontiguousarray(reader.positions_of(cells)[:, at])
    if what == "object_id":
        return lambda cells: reader.object_ids_of(cells)[0]
    attribute = reader.state.facts.attributes[name]
    dtype = _shown_dtype(attribute)
    return lambda cells: _shown(reader.attribute_of(attribute, cells), dtype)


def _shown_dtype(attribute: AttributeMeta) -> np.dtype[Any]:
    """The dtype of an attribute's variable: xarray has times of four units only."""
    dtype = attribute.logical_dtype
    if dtype.kind not in "mM" or np.datetime_data(dtype)[0] in ("s", "ms", "us", "ns"):
        return dtype
    # Coarser ones are whole numbers of seconds; finer ones would lose digits, so they stay numbers.
    coarser = np.datetime_data(dtype)[0] not in ("ps", "fs", "as")
    return np.dtype(f"{dtype.kind}8[s]") if coarser else attribute.dtype


def _shown(values: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    return values if values.dtype == dtype else values.astype(dtype)


def _batch_slots(level: Level, name: str, vertices: np.ndarray) -> np.ndarray:
    reader = level._reader
    row = np.searchsorted(reader.vertex_base, vertices, side="right") - 1
    return np.asarray(reader.state.table.slot[row])


def _object_values(level: Level, name: str, rows: np.ndarray) -> np.ndarray:
    dtype = _shown_dtype(level._reader.state.facts.object_attributes[name])
    return _shown(level.object_attribute(name)[rows], dtype)


_MADE: dict[str, Callable[[Level, str, np.ndarray], np.ndarray]] = {
    "batch": _batch_slots,
    "vertex_id": lambda level, name, vertices: vertices,
    "objects": lambda level, name, rows: level.object_ids()[rows],
    "object_attribute": _object_values,
}
"""What is not read by cells."""


def _form(level: Level, what: str, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """The shape and the dtype of a variable."""
    facts, count = level._reader.state.facts, level.vertex_count
    if what == "positions":
        return (count, level._reader.meta.ndim), level._dataset.vertex_dtype
    if what == "axis":
        return (count,), level._dataset.vertex_dtype
    if what == "objects":
        return (level.num_objects,), np.dtype(np.int64)
    if what in ("attribute", "object_attribute"):
        of_object = what == "object_attribute"
        attribute = (facts.object_attributes if of_object else facts.attributes)[name]
        length = level.num_objects if of_object else count
        return (length, *attribute.row_shape), _shown_dtype(attribute)
    return (count,), np.dtype(np.int64)


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
    variables, coordinates = _variables(level)
    if cache:
        for variable in (*variables.values(), *coordinates.values()):
            data = indexing.CopyOnWriteArray(variable._data)
            variable.data = indexing.MemoryCachedArray(data)  # type: ignore[no-untyped-call]
    axis = xr.Variable(("axis",), np.array([axis["name"] for axis in level._dataset.axes]))
    # Coordinates that are given as such would lose their class, and with it the pin.
    made = xr.Dataset({**variables, **coordinates}, {"axis": axis}, provenance(level))
    return made.set_coords(list(coordinates))


def provenance(level: Level) -> dict[str, Any]:
    """Where data came from: enough to read the same again.

    Returns
    -------
    dict
        ``repository``, ``snapshot_id``, ``dataset``, ``level``, ``kind``; and
        ``branch`` and ``metadata`` (JSON) where there are any.
    """
    dataset = level._dataset
    view = dataset._view
    facts: dict[str, Any] = {
        "repository": view._repository.location,
        "snapshot_id": view.snapshot_id,
        "dataset": dataset.name,
        "level": level.number,
        "kind": dataset.kind,
    }
    if view.branch is not None:
        facts["branch"] = view.branch
    if dataset.metadata:
        facts["metadata"] = json.dumps(dataset.metadata)
    return facts


def _variables(level: Level) -> tuple[dict[str, xr.Variable], dict[str, xr.Variable]]:
    """Data variables and coordinates, none of them read."""
    edges = _ranges.edges(level._reader, CHUNK_VERTICES)
    chunks = {"vertex": tuple(np.diff(edges).tolist())} if len(edges) > 1 else {}
    pin = "-".join(map(str, level.__dask_tokenize__()[2:]))

    def variable(dims: tuple[str, ...], what: str, name: str = "", **attrs: Any) -> _Pinned:
        data = indexing.LazilyIndexedArray(LevelArray(level, what, name))
        encoding: dict[str, Any] = {_PIN: pin}
        if "vertex" in dims and chunks:
            encoding["preferred_chunks"] = chunks
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
    taken = {*coordinates, *_OWN_NAMES}
    known = level._reader.state.facts
    for what, dim, attributes in (
        ("attribute", "vertex", known.attributes),
        ("object_attribute", "object", known.object_attributes),
    ):
        for name, attribute in sorted(attributes.items()):
            shown = free_name(name, dim, taken)
            dims = (dim, f"{shown}_channel") if attribute.row_shape else (dim,)
            facts = {} if shown == name else {"zv_attribute": name}
            variables[shown] = variable(dims, what, name, **facts)
            taken |= {shown, dims[-1]}
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
