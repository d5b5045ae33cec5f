"""``Dataset.zv``: per-vertex variables of an xarray Dataset, written to a repository."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from .._sets import distinct
from ..errors import ArrayError, MetadataError
from ..format.table import REMOVED
from ..repository import Repository
from ..spatial.grid import expected
from ..transaction import Transaction
from ..writing.datasets import new_dataset

if TYPE_CHECKING:
    from ..format.table import BatchTable
    from ..level import Level
    from ..result import CommitResult

OBJECT_ID = "object_id"
POSITIONS = "positions"


@xr.register_dataset_accessor("zv")  # type: ignore[no-untyped-call]
class ZVAccessor:
    """Writes the vertices of a Dataset: its positions, objects and attributes.

    Positions are the variable ``positions``, with dimensions (``vertex``,
    ``axis``), or one variable an axis, such as ``x``, ``y``, ``z``. The object of each
    vertex is the variable ``object_id``; without one every vertex is an object of
    its own. All other data variables along ``vertex`` are attributes. What
    :meth:`Level.to_xarray` gives is of this form. It is there once
    ``zv_versioned.interop.xarray`` was imported.

    Examples
    --------
    >>> import numpy as np, xarray as xr, zv_versioned as zvv
    >>> import zv_versioned.interop.xarray
    >>> ds = xr.Dataset({"size": ("vertex", [1.0, 2.0])}, {
    ...     "x": ("vertex", np.array([1, 2], "f4")), "y": ("vertex", np.array([3, 4], "f4"))})
    >>> repo = zvv.Repository.create("memory://")
    >>> ds.zv.to_zv(repo, "spots", axes=["x", "y"]).vertices_committed
    2
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    def append(
        self,
        to: Repository | Transaction,
        dataset: str | None = None,
        *,
        level: int = 0,
        branch: str | None = None,
        object_ids: str | None = OBJECT_ID,
        attributes: Sequence[str] | None = None,
        dim: str = "vertex",
        batch_vertices: int | None = None,
        out_of_bounds: str = "raise",
        message: str | None = None,
        author: str | None = None,
    ) -> CommitResult | dict[str, Any]:
        """Append the vertices to a dataset that exists.

        Parameters
        ----------
        to : Repository or Transaction
            A repository: in a transaction of its own, which is committed. A
            transaction: staged there, and published with it.
        dataset : str, optional
            Left out, the one that this Dataset was read from.
        level : int
        branch : str, optional
            With a repository; "main" where it is left out.
        object_ids : str or None
            The variable with the object of each vertex, if there is one; None
            makes every vertex an object of its own. Each id is used once, so what
            was read from a dataset does not go back into it with its ids.
        attributes : sequence of str, optional
            Which variables; left out, all data variables along `dim`.
        dim : str
            The dimension of the vertices.
        batch_vertices : int, optional
            Append so many vertices at a time, so that no more of a lazy Dataset is
            in memory at once; left out, all as one batch.
        out_of_bounds : {"raise", "expand"}
            As for :meth:`ZVWriter.append_vertices_sync`.
        message, author : str, optional
            Of the commit, with a repository.

        Returns
        -------
        CommitResult, or dict
            With a transaction, a dict with ``vertices_added`` and ``object_ids``.

        Raises
        ------
        ArrayError
            If a variable is missing or does not fit. A repository is then as it was;
            a transaction keeps what was staged before.
        MetadataError
            If no dataset is named.
        """
        name = self._target(dataset)
        if isinstance(to, Transaction):
            self._refuse_settings(branch, message, author)
            axes = [axis["name"] for axis in _axes_of(to, name, level)]
            pieces = self._pieces(dim, axes, object_ids, attributes, batch_vertices)
            added = [
                to.writer(name, level).append_vertices_sync(**piece, out_of_bounds=out_of_bounds)
                for piece in pieces
            ]
            return {
                "vertices_added": sum(a["vertices_added"] for a in added),
                "object_ids": distinct(np.concatenate([a["object_ids"] for a in added])),
            }
        with to.transaction(branch or "main", message=message, author=author) as tx:
            self.append(
                tx,
                name,
                level=level,
                object_ids=object_ids,
                attributes=attributes,
                dim=dim,
                batch_vertices=batch_vertices,
                out_of_bounds=out_of_bounds,
            )
        assert tx.result is not None
        return tx.result

    def to_zv(
        self,
        to: Repository | Transaction | str | os.PathLike[str],
        dataset: str,
        *,
        bounds: tuple[Sequence[float], Sequence[float]] | None = None,
        chunk_shape: Sequence[float] | None = None,
        expected_vertices: int | None = None,
        axes: Sequence[str] | None = None,
        object_ids: str | None = OBJECT_ID,
        attributes: Sequence[str] | None = None,
        dim: str = "vertex",
        batch_vertices: int | None = None,
        message: str | None = None,
        author: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> CommitResult | dict[str, Any]:
        """Create a point cloud of the vertices, in one commit.

        Parameters
        ----------
        to : Repository, Transaction, str or path
            A location is opened, or created where nothing is.
        dataset : str
            Its name; it must be new.
        bounds : (lo, hi), optional
            Left out, the smallest and largest coordinates.
        chunk_shape : sequence of float, optional
            Edges of a cell; left out, as many cells as these vertices need, and 8 an axis
            at least. See :meth:`Transaction.create_dataset`.
        expected_vertices : int, optional
            In place of `chunk_shape`, where more are to be appended: how many there will be.
        axes : sequence of str, optional
            Names of the axes, and where there is no variable ``positions``, of the
            variables that hold the coordinates. Left out, what ``axis`` says, else x,
            y, z as far as there are any. Their ``units`` become those of the axes.
        object_ids, attributes, dim, batch_vertices, message, author
            As for :meth:`append`.
        storage_options : mapping, optional
            With a location.

        Returns
        -------
        CommitResult, or dict
            As for :meth:`append`.

        Raises
        ------
        ArrayError, MetadataError
            If a variable is missing or does not fit, or the dataset exists.
        """
        names = self._axis_names(axes)
        sources = self._position_sources(dim, names)
        ndim = sum(1 if source.ndim == 1 else source.shape[1] for source in sources)
        if expected_vertices is None and chunk_shape is None:
            expected_vertices = expected(ndim, sources[0].shape[0])
        asked: dict[str, Any] = {
            "kind": "point_cloud",
            "bounds": self._bounds(sources) if bounds is None else bounds,
            "chunk_shape": chunk_shape,
            "expected_vertices": expected_vertices,
            "vertex_dtype": np.result_type(*(source.dtype for source in sources)),
            # Positions whose axes nobody names have those of any new dataset.
            "axes": [self._axis(name) for name in names] or None,
        }
        if isinstance(to, str | os.PathLike):
            # What is refused leaves no empty repository behind.
            new_dataset(dataset, **asked)
            to = Repository.open_or_create(to, **dict(storage_options or {}))
        elif storage_options:
            raise MetadataError(f"storage_options go with a location, not with {to!r}")
        if isinstance(to, Repository):
            with to.transaction(message=message, author=author) as tx:
                self._create(tx, dataset, asked, object_ids, attributes, dim, batch_vertices)
            assert tx.result is not None
            return tx.result
        self._refuse_settings(None, message, author)
        return self._create(to, dataset, asked, object_ids, attributes, dim, batch_vertices)

    def _create(
        self,
        tx: Transaction,
        dataset: str,
        asked: Mapping[str, Any],
        object_ids: str | None,
        attributes: Sequence[str] | None,
        dim: str,
        batch_vertices: int | None,
    ) -> CommitResult | dict[str, Any]:
        tx.create_dataset(dataset, **asked)
        return self.append(
            tx,
            dataset,
            object_ids=object_ids,
            attributes=attributes,
            dim=dim,
            batch_vertices=batch_vertices,
        )

    def add_attributes(
        self,
        to: Repository | Transaction,
        names: str | Sequence[str],
        dataset: str | None = None,
        *,
        level: int = 0,
        branch: str | None = None,
        message: str | None = None,
        author: str | None = None,
    ) -> CommitResult | None:
        """Write variables back as attributes of the level that this Dataset was read from.

        Parameters
        ----------
        to : Repository or Transaction
            As for :meth:`append`.
        names : str or sequence of str
            Variables along ``vertex``, ``object``, ``link`` or ``face``, all of it. An
            attribute of the same name is replaced.
        dataset : str, optional
            Left out, the one that this Dataset was read from.
        level, branch, message, author
            As for :meth:`append`.

        Returns
        -------
        CommitResult or None
            None with a transaction.

        Raises
        ------
        ArrayError
            If a variable is missing, or the level has other vertices, links or objects
            than this Dataset, or has them in another order.
        """
        name = self._target(dataset)
        if isinstance(to, Repository):
            with to.transaction(branch or "main", message=message, author=author) as tx:
                self.add_attributes(tx, names, name, level=level)
            return tx.result
        self._refuse_settings(branch, message, author)
        chosen = [names] if isinstance(names, str) else list(names)
        found = {}
        for variable in chosen:
            dims = self._dataset[variable].dims if variable in self._dataset else ()
            dim = next((d for d in ("object", "link", "face") if d in dims), "vertex")
            found[variable] = self._along(variable, dim)
        self._refuse_others(to, name, level, {str(v.dims[0]) for v in found.values()})
        writer = to.writer(name, level)
        write = {"object": writer.add_object_attribute_sync, "vertex": writer.add_attribute_sync}
        for variable, values in found.items():
            called = str(values.attrs.get("zv_attribute", variable))
            write.get(str(values.dims[0]), writer.add_link_attribute_sync)(
                called, np.asarray(values)
            )
        return None

    def _refuse_others(self, tx: Transaction, name: str, level: int, dims: set[str]) -> None:
        """Refuse variables of other vertices, links or objects than a level has now."""
        with tx._staging(name, level) as stage:
            reader = stage.reader()
            facts, table = stage.facts, reader.state.table
            objects = reader.object_ids() if "object" in dims else np.zeros(0, np.int64)
        for dim in sorted(dims):
            if dim == "object":
                ids = self._along("objects", dim).values
                count, same = len(ids), np.array_equal(ids, objects)
                there = facts.num_objects
            elif dim == "vertex":
                ids = self._along("vertex_id", dim).values
                count, there = len(ids), facts.vertex_count
                same = np.array_equal(ids, np.arange(there))
            else:
                count, there = self._dataset.sizes[dim], facts.link_count
                ends = self._along("faces" if dim == "face" else "links", dim).values
                same = count == there and np.array_equal(
                    ends, self._source(tx, name, level).links()
                )
            if not same or (dim != "object" and not self._same_order(tx, name, level, table)):
                what = {"vertex": "vertices", "face": "faces"}.get(dim, f"{dim}s")
                raise ArrayError(
                    f"the {count:,} {what} of this Dataset are not the {there:,} that {name!r} has "
                    "now, in their order; read it anew, whole, with to_xarray()"
                )

    def _source(self, tx: Transaction, name: str, level: int) -> Level:
        """The level that this Dataset was read from."""
        snapshot = self._dataset.attrs.get("snapshot_id")
        if snapshot is None:
            raise ArrayError("this Dataset does not say which snapshot it is of (attrs)")
        return tx._repository.view(snapshot_id=snapshot)[name][level]

    def _same_order(self, tx: Transaction, name: str, level: int, table: BatchTable) -> bool:
        """Whether a table has the vertices of the snapshot that this Dataset is of."""
        then = self._source(tx, name, level)._reader.state.table
        now, then = table.take(table.live_vertices > 0), then.take(then.live_vertices > 0)
        return bool(
            len(now) == len(then)
            and (now.uuid == then.uuid).all()
            and (now.content(REMOVED) == then.content(REMOVED)).all()
        )

    # -- the variables -------------------------------------------------------

    def _target(self, dataset: str | None) -> str:
        name = self._dataset.attrs.get("dataset") if dataset is None else dataset
        if not isinstance(name, str):
            raise MetadataError("which dataset is meant? give dataset='…'")
        return name

    def _refuse_settings(self, *settings: str | None) -> None:
        if any(setting is not None for setting in settings):
            raise MetadataError(
                "branch, message and author are those of the transaction; leave them out here"
            )

    def _axis_names(self, axes: Sequence[str] | None) -> list[str]:
        if axes is not None:
            return [axes] if isinstance(axes, str) else list(axes)
        if "axis" in self._dataset.coords:
            return [str(name) for name in self._dataset["axis"].values]
        return [name for name in "xyz" if name in self._dataset]

    def _axis(self, name: str) -> dict[str, str]:
        units = self._dataset[name].attrs.get("units") if name in self._dataset else None
        return {"name": name, "type": "space", **({"unit": units} if units else {})}

    def _position_sources(self, dim: str, axes: Sequence[str]) -> list[xr.DataArray]:
        """``positions``, or one variable an axis."""
        if POSITIONS in self._dataset:
            return [self._along(POSITIONS, dim)]
        if not axes:
            raise ArrayError(
                f"no positions: neither {POSITIONS!r} nor x, y, z are in {list(self._dataset)}; "
                "name the variables of the coordinates with axes=[…]"
            )
        return [self._along(name, dim) for name in axes]

    def _along(self, name: str, dim: str) -> xr.DataArray:
        if name not in self._dataset:
            raise ArrayError(
                f"there is no variable {name!r}; there are: {[*self._dataset.variables]}"
            )
        found = self._dataset[name]
        if dim not in found.dims:
            raise ArrayError(f"variable {name!r} has dimensions {found.dims}, and {dim!r} is none")
        return found.transpose(dim, ...)

    def _bounds(self, sources: Sequence[xr.DataArray]) -> tuple[list[float], list[float]]:
        if sources[0].shape[0] == 0:
            raise ArrayError("there are no vertices to take bounds from; give bounds=(lo, hi)")
        dim = str(sources[0].dims[0])
        lo = np.concatenate([np.atleast_1d(s.min(dim).values) for s in sources])
        hi = np.concatenate([np.atleast_1d(s.max(dim).values) for s in sources])
        return lo.astype(float).tolist(), hi.astype(float).tolist()

    def _attributes(
        self, dim: str, names: Sequence[str] | None, others: set[str]
    ) -> dict[str, xr.DataArray]:
        if names is None:
            names = [
                str(name)
                for name, variable in self._dataset.data_vars.items()
                if dim in variable.dims and name not in others
            ]
        found = {name: self._along(name, dim) for name in names}
        return {str(v.attrs.get("zv_attribute", name)): v for name, v in found.items()}

    def _pieces(
        self,
        dim: str,
        axes: Sequence[str],
        object_ids: str | None,
        attributes: Sequence[str] | None,
        size: int | None,
    ) -> Iterator[dict[str, Any]]:
        """Arguments of the appends, loaded one after the other."""
        sources = self._position_sources(dim, axes)
        ids = object_ids if object_ids in self._dataset else None
        if ids is None and object_ids not in (None, OBJECT_ID):
            self._along(str(object_ids), dim)
        chosen = self._attributes(dim, attributes, {POSITIONS, *axes, str(object_ids)})
        if size is not None and size < 1:
            raise ArrayError(f"batch_vertices must be a whole number from 1 up, got {size!r}")
        count = sources[0].shape[0]
        size = max(count, 1) if size is None else size
        owners = None if ids is None else self._along(ids, dim)
        for start in range(0, max(count, 1), size):
            rows = slice(start, start + size)
            parts = [np.asarray(source[rows]) for source in sources]
            positions = parts[0] if POSITIONS in self._dataset else np.stack(parts, axis=1)
            yield {
                "positions": positions,
                "object_ids": None if owners is None else np.asarray(owners[rows]),
                "attributes": {n: np.asarray(values[rows]) for n, values in chosen.items()},
            }


def _axes_of(tx: Transaction, dataset: str, level: int) -> Sequence[Mapping[str, str]]:
    with tx._staging(dataset, level) as stage:
        return stage.meta.axes
