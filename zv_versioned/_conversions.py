"""What a level can be turned into: the types of other tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr

    from .level import Level


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
        from .interop.xarray import to_xarray

        return to_xarray(self)
