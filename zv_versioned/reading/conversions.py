"""What a level can be turned into: the types of other tools."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Unpack

from .._twins import twin
from . import query

if TYPE_CHECKING:
    import dask.dataframe
    import pandas
    import pyarrow
    import xarray as xr

    from ..level import Level


class Conversions:
    """The part of :class:`Level` that hands data to other tools."""

    def to_xarray(self: Level) -> xr.Dataset:  # type: ignore[misc]
        """The level as an xarray Dataset, of which nothing is read yet.

        What is looked at is read: a slice of ``vertex`` reads the cells that these
        vertices lie in. ``.chunk()`` makes dask arrays, along batches and cells.

        Returns
        -------
        xarray.Dataset
            Dimensions ``vertex``, ``axis``, ``object``, ``link`` or ``face``. Along ``vertex``: the
            variable ``positions`` and one for each attribute, and the coordinates
            ``object_id``, ``batch`` (its slot), ``vertex_id`` and one an axis, such
            as ``x``. Along ``object``: the coordinate ``objects``, the ids, and a variable
            for each attribute of objects. Along ``link``: ``links``, pairs of vertices,
            and along ``face``, of meshes: ``faces``, triples; with their attributes. A
            name that is taken gets ``vertex_``, ``object_``, … in front. Attributes say
            which snapshot of which repository it is; ``units`` are those of the axes.

        Examples
        --------
        >>> import numpy as np, zv_versioned as zvv
        >>> repo = zvv.Repository.create("memory://")
        >>> with repo.transaction() as tx:
        ...     ds = tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [10, 10]))
        ...     n = tx.writer("p").append_vertices_sync(np.array([[1, 1], [5, 5]], "f4"))
        >>> float(repo.view()["p"][0].to_xarray().x.max())
        5.0
        """
        from ..interop.xarray import to_xarray

        return to_xarray(self)

    def to_pandas(  # type: ignore[misc]
        self: Level,
        what: str = "vertices",
        *,
        attributes: query.Names = "all",
        **filters: Unpack[query.Filters],
    ) -> pandas.DataFrame:
        """One table of the level as a pandas DataFrame.

        Parameters
        ----------
        what : {"vertices", "links", "objects"}
            Vertices: by ``vertex_id``, with ``object_id``, a column an axis, and the
            attributes, in the order of :meth:`read`; of lines also ``part``, which line
            of the table it is. Links: ``source`` and ``target``, of meshes ``a``, ``b``
            and ``c``, as vertex ids, with their attributes. Objects: by ``object_id``,
            with their attributes.
        attributes : sequence of str, or "all"
            One of C values makes C columns, ``NAME_0`` and so on. A name that is
            taken gets ``attribute_`` in front.
        **filters
            ``bbox``, ``near``, ``objects``, ``where``, ``batches``, ``limit``: as for
            :meth:`read`; of objects ``objects`` alone.

        Returns
        -------
        pandas.DataFrame
            ``attrs`` says which snapshot of which repository it is.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        ArrayError, NotFoundError
            As :meth:`read`.

        Examples
        --------
        >>> import numpy as np, zv_versioned as zvv
        >>> repo = zvv.Repository.create("memory://")
        >>> with repo.transaction() as tx:
        ...     ds = tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [10, 10]))
        ...     n = tx.writer("p").append_vertices_sync(np.array([[1, 1], [5, 5]], "f4"))
        >>> repo.view()["p"][0].to_pandas().x.tolist()
        [1.0, 5.0]
        """
        from ..interop.tables import to_pandas

        return to_pandas(self, what, attributes, filters)

    def to_arrow(  # type: ignore[misc]
        self: Level,
        what: str = "vertices",
        *,
        attributes: query.Names = "all",
        **filters: Unpack[query.Filters],
    ) -> pyarrow.Table:
        """One table of the level as an Arrow table.

        Numbers are not copied. polars, DuckDB and others take it as it is.

        Parameters
        ----------
        what, attributes, **filters
            As for :meth:`to_pandas`; but ``vertex_id`` and ``object_id`` are columns,
            the coordinates are one column ``position``, a list of fixed length, and so
            is an attribute of several values.

        Returns
        -------
        pyarrow.Table
            The schema's metadata says, under ``zv_versioned``, which snapshot of which
            repository it is.

        Raises
        ------
        MissingExtraError
            If pyarrow is not installed.
        ArrayError, NotFoundError
            As :meth:`read`.
        """
        from ..interop.tables import to_arrow

        return to_arrow(self, what, attributes, filters)

    def to_arrow_batches(  # type: ignore[misc]
        self: Level,
        *,
        attributes: query.Names = "all",
        rows: int | None = None,
        **filters: Unpack[query.Filters],
    ) -> pyarrow.RecordBatchReader:
        """The vertices as a stream of Arrow record batches, larger than memory if need be.

        It gives the rows of :meth:`to_arrow`, in their order, and needs memory for
        about a million vertices at a time; of lines for a whole batch of the level.

        Parameters
        ----------
        attributes, **filters
            As for :meth:`to_arrow`.
        rows : int, optional
            At most so many in a record batch.

        Returns
        -------
        pyarrow.RecordBatchReader

        Raises
        ------
        MissingExtraError
            If pyarrow is not installed.
        ArrayError, NotFoundError
            As :meth:`read`.
        """
        from ..interop.tables import to_arrow_batches

        return to_arrow_batches(self, attributes, rows, filters)

    def to_dask(  # type: ignore[misc]
        self: Level,
        *,
        attributes: query.Names = "all",
        partition_vertices: int = 1 << 20,
        **filters: Unpack[query.Filters],
    ) -> dask.dataframe.DataFrame:
        """The vertices as a dask DataFrame, in the order of the level.

        Partitions are runs of batches and cells, cut where a cell ends; each is read
        by the worker that it goes to, which opens the repository by itself, at this
        snapshot. The index is ``vertex_id``, and the divisions are known.

        Parameters
        ----------
        attributes : sequence of str, or "all"
            As for :meth:`to_pandas`.
        partition_vertices : int
            About how many vertices a partition has, before filters.
        **filters
            ``bbox``, ``near``, ``objects``, ``where``, ``batches``: as for :meth:`read`.
            Cells that cannot match are in no partition.

        Returns
        -------
        dask.dataframe.DataFrame
            The columns of :meth:`to_pandas`, without ``part``.

        Raises
        ------
        MissingExtraError
            If dask is not installed.
        ArrayError, NotFoundError
            As :meth:`read`.
        """
        from ..interop.dask import to_dask

        return to_dask(self, attributes, partition_vertices, filters)

    ato_xarray = twin(to_xarray)
    ato_pandas = twin(to_pandas)
    ato_arrow = twin(to_arrow)
    ato_dask = twin(to_dask)

    async def ato_arrow_batches(  # type: ignore[misc]
        self: Level,
        *,
        attributes: query.Names = "all",
        rows: int | None = None,
        **filters: Unpack[query.Filters],
    ) -> AsyncIterator[pyarrow.RecordBatch]:
        """The record batches of :meth:`to_arrow_batches`, each read when it is awaited.

        ``async for batch in level.ato_arrow_batches(): …``; parameters and errors are
        the same.
        """
        reader = await asyncio.to_thread(
            self.to_arrow_batches, attributes=attributes, rows=rows, **filters
        )
        batches = iter(reader)
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            yield batch

    def __arrow_c_stream__(self: Level, requested_schema: Any = None) -> Any:  # type: ignore[misc]
        return self.to_arrow_batches().__arrow_c_stream__(requested_schema)
