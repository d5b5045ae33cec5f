"""Views: a read-only look at one snapshot, its datasets and their levels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _checks, _reopen, _state
from ._words import counted
from .errors import ZVError
from .format.metadata import DatasetMeta
from .geometry import html_table
from .interop.zarr_vectors import ZarrVectorsStore
from .level import Level
from .maintenance import digest
from .maintenance.lease import TTL, Lease
from .reading.reader import LevelReader
from .reading.totals import Bounds

if TYPE_CHECKING:
    from .history.log import CommitInfo
    from .repository import Repository


class View(Mapping[str, "Dataset"]):
    """One snapshot, pinned: what is committed later never changes what it reads.

    Made by :meth:`Repository.view`. A mapping of dataset names to datasets. It can
    be pickled, and so can its datasets and levels: what is sent is the location
    with its options, without secrets, and the snapshot id. A process that gets
    it opens the repository by itself, with credentials from its environment.

    Attributes
    ----------
    snapshot_id : str
    branch : str or None
        The branch it was taken from; None for a tag or a snapshot.

    Examples
    --------
    >>> import zv_versioned as zvv
    >>> repo = zvv.Repository.create("memory://")
    >>> repo.view("main").datasets
    []
    """

    def __init__(self, repository: Repository, snapshot_id: str, branch: str | None) -> None:
        self._repository = repository
        self._store = repository._backend.view_store(snapshot_id)
        self._known: dict[str, Dataset] = {}
        self.snapshot_id = snapshot_id
        self.branch = branch

    def __reduce__(self) -> tuple[Any, ...]:
        address = self._repository._backend.address()
        return _reopen.view, (address, self.snapshot_id, self.branch)

    def __deepcopy__(self, memo: dict[int, Any]) -> View:
        return self

    def __dask_tokenize__(self) -> tuple[str, ...]:
        return type(self).__name__, self._repository.location, self.snapshot_id

    @classmethod
    def of_session(cls, repository: Repository, session: Any, branch: str) -> View:
        """A view of what a session would publish: for checks, while it is not committed."""
        view = cls(repository, session.snapshot_id, branch)
        view._store = session.store
        return view

    @cached_property
    def datasets(self) -> list[str]:
        """Names of the datasets, sorted."""
        return _state.dataset_names(_state.root_attributes(self._store))

    @property
    def info(self) -> CommitInfo:
        """The commit that made this snapshot."""
        return self._repository.log(self.snapshot_id, limit=1)[0]

    def lease(self, *, ttl: timedelta | float = TTL) -> Lease:
        """Keep this snapshot from being collected for a while; see :meth:`Repository.lease`."""
        return Lease(self._repository._backend, self.snapshot_id, ttl)

    def digest(self, *, recompute: bool = False) -> str:
        """A hash of all that the snapshot holds; see :meth:`Repository.digest`."""
        _checks.flags(recompute=recompute)
        of = {name: self[name].digest(recompute=recompute) for name in self.datasets}
        return digest.of_snapshot(of)

    def __getitem__(self, name: str) -> Dataset:
        if not isinstance(name, str):
            raise _state.unknown_dataset(name, self.datasets)
        if name not in self._known:
            self._repository._backend.check_process()
            self._known[name] = Dataset(self, _state.load_dataset(self._store, name))
        return self._known[name]

    def get(self, name: str, default: Any = None) -> Any:
        """The dataset of this name, or `default` where there is none."""
        if name not in self:
            return default
        return self[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.datasets)

    def __len__(self) -> int:
        return len(self.datasets)

    def __contains__(self, name: object) -> bool:
        return name in self.datasets

    def _rows(self) -> list[tuple[str, str]]:
        rows = [("snapshot", self.snapshot_id), ("branch", self.branch or "none, pinned")]
        for name, dataset in self.items():
            level = dataset[0]
            vertices = counted(level.vertex_count, "vertex", "vertices")
            size = f"{vertices}, {counted(level.num_objects, 'object')}"
            rows.append((f"dataset {name!r}", f"{dataset.kind}, {size}"))
        return rows

    def __repr__(self) -> str:
        where = f" of {self.branch!r}" if self.branch else ""
        try:
            datasets = ", ".join(map(repr, self.datasets)) or "empty"
        except ZVError as error:  # to be seen where it is shown, rather than break what shows it
            datasets = str(error)
        return f"<View {self.snapshot_id}{where}: {datasets}>"

    def _repr_html_(self) -> str:
        return html_table("View", self._rows())


class Dataset:
    """A dataset of a view: its facts and its levels.

    ``dataset[0]`` is the level of full resolution; ``for level in dataset`` goes over
    all of them, and ``len(dataset)`` says how many there are.

    Attributes
    ----------
    name : str
    """

    def __init__(self, view: View, meta: DatasetMeta) -> None:
        self._view = view
        self._meta = meta
        self._levels: dict[int, Level] = {}
        self.name = meta.name

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen.dataset, (self._view, self.name)

    def __deepcopy__(self, memo: dict[int, Any]) -> Dataset:
        return self

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return (*self._view.__dask_tokenize__(), self.name)

    @property
    def kind(self) -> str:
        """The kind of geometry."""
        return self._meta.kind

    @property
    def bounds(self) -> Bounds:
        """Smallest and largest coordinates that vertices may have; closed."""
        return tuple(self._meta.bounds.lo.tolist()), tuple(self._meta.bounds.hi.tolist())

    @property
    def chunk_shape(self) -> tuple[float, ...]:
        """Edges of a cell, in the units of the coordinates."""
        return self._meta.chunk_shape

    @property
    def axes(self) -> list[dict[str, str]]:
        """Name, type and, where it is known, unit of each axis."""
        return [dict(axis) for axis in self._meta.axes]

    @property
    def vertex_dtype(self) -> np.dtype[Any]:
        """The dtype of coordinates."""
        return self._meta.vertex_dtype

    @property
    def metadata(self) -> dict[str, Any]:
        """Facts of your own: given when it was created, or by :meth:`ZVWriter.set_metadata`."""
        return dict(self._meta.metadata)

    @property
    def levels(self) -> list[int]:
        """Numbers of the resolution levels: 0 is full resolution."""
        return list(self._meta.levels)

    def digest(self, *, recompute: bool = False) -> str:
        """A hash of the content, the same however it was batched; see :meth:`Repository.digest`."""
        _checks.flags(recompute=recompute)
        readers = {number: self[number]._reader for number in self.levels}
        return digest.of_dataset(self._meta, readers, recompute=recompute)

    @property
    def store(self) -> ZarrVectorsStore:
        """This dataset as a read-only Zarr Vectors 0.9 store.

        ``zarr_vectors.open(dataset.store)`` reads it, and so does zarr.
        """
        readers = {level: self[level]._reader for level in self.levels}
        return ZarrVectorsStore(readers, self._meta, dataset=self)

    def __getitem__(self, level: int) -> Level:
        level = _state.check_level(self._meta, level)
        if level not in self._levels:
            state = _state.load_level(self._view._store, self._meta, level)
            reader = LevelReader(
                self._view._store, self._meta, state, self._view._repository._parts
            )
            self._levels[level] = Level(self, level, reader)
        return self._levels[level]

    def __iter__(self) -> Iterator[Level]:
        return (self[number] for number in self.levels)

    def __len__(self) -> int:
        return len(self.levels)

    def _rows(self) -> list[tuple[str, str]]:
        lo, hi = self.bounds
        axes = zip(self._meta.axes, lo, hi, self.chunk_shape, strict=True)
        rows = [("kind", self.kind), ("snapshot", self._view.snapshot_id)]
        for axis, low, high, size in axes:
            unit = f" {axis['unit']}" if "unit" in axis else ""
            rows.append((f"axis {axis['name']}", f"{low:g} to {high:g}{unit}, cells of {size:g}"))
        rows += [(f"level {number}", self[number]._told()) for number in self.levels]
        return rows

    def __repr__(self) -> str:
        return f"<Dataset {self.name!r}: {', '.join(f'{k} {v}' for k, v in self._rows())}>"

    def _repr_html_(self) -> str:
        return html_table(f"Dataset {self.name!r}", self._rows())
