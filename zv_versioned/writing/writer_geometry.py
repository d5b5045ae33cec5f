"""The writer's verbs that append: vertices, lines, graphs, meshes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .. import _checks_links, _io
from .append import Given, append_lines, append_links, append_points

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike

    from ..transaction import Transaction


class WritesGeometry:
    """The verbs of :class:`ZVWriter` that append."""

    _transaction: Transaction
    dataset: str
    level: int

    def append_vertices_sync(
        self,
        positions: ArrayLike,
        *,
        object_ids: ArrayLike | None = None,
        dtype: DTypeLike | None = None,
        attributes: Mapping[str, ArrayLike] | None = None,
        out_of_bounds: str = "raise",
        object_attributes: Mapping[str, ArrayLike] | None = None,
        extend: bool = False,
    ) -> dict[str, Any]:
        """Append vertices as one batch.

        The data is uploaded now and becomes visible when the transaction
        commits. Vertices that were there keep their numbers. In a dataset of
        lines the vertices of an object, in the order given, are one line; in one
        of graphs or meshes they have no links.

        Parameters
        ----------
        positions : array_like, shape (N, D)
            Coordinates, in the units of the dataset. Values of another dtype are
            converted where that changes none of them.
        object_ids : array_like of int, shape (N,), or int, optional
            The object of each vertex, from 0 to 2**63 - 1, in any order. Ids must
            be new to the level, or begun in this transaction. Left out, every
            vertex is an object of its own, counted on from the largest id.
        dtype : dtype-like, optional
            The level's own dtype: says that rounding to it is meant.
        attributes : mapping of str to array_like, shape (N,) or (N, C), optional
            Values by vertex, of any dtype that :meth:`add_attribute_sync` takes. A
            name that is new to the level makes a new attribute; one that is left
            out is missing for these vertices.
        out_of_bounds : {"raise", "expand"}
            What to do where vertices lie outside the dataset's bounds, which are
            closed: refuse the append, or let the bounds grow.
        object_attributes : mapping of str to array_like, shape (O,) or (O, C), optional
            Values by object: one for each distinct id of `object_ids`, in the
            order in which the ids first appear there; without ids, in the order
            of the vertices. All of the objects must begin in this append.
        extend : bool
            Whether objects that the level has already may be named: they go on
            with these vertices. An id that is new makes a new object all the same.

        Returns
        -------
        dict
            ``vertices_added``, ``new_objects``, ``chunks_touched`` (cells) and
            ``object_ids`` (ndarray of int64, the objects of this append,
            ascending).

        Raises
        ------
        ArrayError
            If a shape, length, dtype, value or id does not fit. Nothing is
            written.
        MetadataError
            If a name or `out_of_bounds` is not acceptable.
        ReadOnlyError
            If the transaction is over.
        StorageError
            If the storage fails; the transaction can then only be abandoned. Chunks
            are uploaded while the caller goes on, so that the next call or the
            commit may be the one that raises.

        Notes
        -----
        Source: Zarr Vectors 0.9, chapters on vertices and on chunking by
        attribute; the batch is the attribute.
        """
        given = Given(
            object_ids=object_ids,
            dtype=dtype,
            attributes=attributes,
            object_attributes=object_attributes,
            out_of_bounds=out_of_bounds,
            extend=extend,
        )
        with self._transaction._staging(self.dataset, self.level) as stage:
            return append_points(stage, positions, given)

    append_vertices = _io.coroutine_of(append_vertices_sync)

    def append_polylines_sync(
        self,
        lines: Iterable[ArrayLike] | ArrayLike,
        *,
        offsets: ArrayLike | None = None,
        object_ids: ArrayLike | None = None,
        dtype: DTypeLike | None = None,
        attributes: Mapping[str, ArrayLike] | None = None,
        link_attributes: Mapping[str, ArrayLike] | None = None,
        object_attributes: Mapping[str, ArrayLike] | None = None,
        out_of_bounds: str = "raise",
        extend: bool = False,
        streamlines: bool | None = None,
    ) -> dict[str, Any]:
        """Append lines as one batch, to a dataset of kind line, polyline or streamline.

        Each line is kept as it goes, however often it leaves a cell and comes
        back; the links between its vertices follow from their order.

        Parameters
        ----------
        lines : iterable of array_like, shape (n, D); or array_like, shape (N, D)
            One array a line, of one vertex at least; or, with `offsets`, the
            points of all lines, line after line.
        offsets : array_like of int, shape (P,) or (P + 1,), optional
            Where each of the P lines begins among the points; N may stand at the
            end.
        object_ids : array_like of int, shape (P,), or int, optional
            The object of each line. An id that comes twice makes an object of
            several lines, its *parts*, in the order given. Left out, every line
            is an object of its own, counted on from the largest id.
        dtype, out_of_bounds
            As for :meth:`append_vertices_sync`.
        attributes : mapping of str to array_like, shape (N,) or (N, C), optional
            Values by vertex, line after line.
        link_attributes : mapping of str to array_like, shape (N - P,) or (N - P, C), optional
            Values by link: of each line those between its vertices, one fewer
            than it has vertices, line after line.
        object_attributes : mapping of str to array_like, shape (O,) or (O, C), optional
            Values by object: one for each distinct id of `object_ids`, in the
            order in which the ids first appear there; without ids, in the order
            of the lines. All of the objects must begin in this append.
        extend : bool
            Whether objects that the level has already may be named: each line is
            then one more part of its object.
        streamlines : bool, optional
            True asserts that the dataset is of kind streamline, False that it is
            not.

        Returns
        -------
        dict
            As of :meth:`append_vertices_sync`, and ``links_added``.

        Raises
        ------
        ArrayError
            If a shape, length, dtype, value or id does not fit, or a line is
            empty. Nothing is written.
        MetadataError
            If the dataset is of another kind, or a name is not acceptable.
        ReadOnlyError, StorageError
            As for :meth:`append_vertices_sync`.

        Notes
        -----
        Source: Zarr Vectors 0.9, chapters on polylines, on streamlines and on
        implicit links.

        Examples
        --------
        >>> import numpy as np, zv_versioned as zvv
        >>> repo = zvv.Repository.create("memory://")
        >>> with repo.transaction() as tx:
        ...     ds = tx.create_dataset("t", kind="streamline", bounds=([0, 0], [9, 9]))
        ...     there_and_back = np.array([[1, 1], [8, 1], [1, 1]], "f4")
        ...     result = tx.writer("t").append_polylines_sync([there_and_back], object_ids=[5])
        >>> repo.view()["t"][0].objects[5].lines()[0][:, 0].tolist()
        [1.0, 8.0, 1.0]
        """
        given = Given(
            object_ids=object_ids,
            dtype=dtype,
            attributes=attributes,
            link_attributes=link_attributes,
            object_attributes=object_attributes,
            out_of_bounds=out_of_bounds,
            extend=extend,
        )
        with self._transaction._staging(self.dataset, self.level) as stage:
            return append_lines(stage, lines, offsets, streamlines, given)

    append_polylines = _io.coroutine_of(append_polylines_sync)

    def append_lines_sync(
        self,
        endpoints: ArrayLike,
        *,
        object_ids: ArrayLike | None = None,
        dtype: DTypeLike | None = None,
        attributes: Mapping[str, ArrayLike] | None = None,
        link_attributes: Mapping[str, ArrayLike] | None = None,
        object_attributes: Mapping[str, ArrayLike] | None = None,
        out_of_bounds: str = "raise",
        extend: bool = False,
    ) -> dict[str, Any]:
        """Append lines of two vertices as one batch, to a dataset of lines of any kind.

        Parameters
        ----------
        endpoints : array_like, shape (P, 2, D)
            The two ends of each line.
        object_ids, dtype, object_attributes, out_of_bounds, extend
            As for :meth:`append_polylines_sync`: one id a line.
        attributes : mapping of str to array_like, optional
            Values by vertex: shape (P, 2) or (P, 2, C), or line after line, shape
            (2 P,) or (2 P, C). An array whose shape begins with (P, 2) is taken
            for the former.
        link_attributes : mapping of str to array_like, shape (P,) or (P, C), optional
            Values by line.

        Returns
        -------
        dict
            As of :meth:`append_polylines_sync`.

        Raises
        ------
        ArrayError, MetadataError, ReadOnlyError, StorageError
            As for :meth:`append_polylines_sync`.
        """
        points = _checks_links.endpoints(endpoints)
        return self.append_polylines_sync(
            points,
            object_ids=object_ids,
            dtype=dtype,
            attributes=_checks_links.by_endpoint(attributes, len(points)),
            link_attributes=link_attributes,
            object_attributes=object_attributes,
            out_of_bounds=out_of_bounds,
            extend=extend,
        )

    append_lines = _io.coroutine_of(append_lines_sync)

    def append_graph_sync(
        self,
        positions: ArrayLike,
        edges: ArrayLike,
        *,
        object_ids: ArrayLike | None = None,
        tree: bool | None = None,
        dtype: DTypeLike | None = None,
        attributes: Mapping[str, ArrayLike] | None = None,
        link_attributes: Mapping[str, ArrayLike] | None = None,
        object_attributes: Mapping[str, ArrayLike] | None = None,
        out_of_bounds: str = "raise",
        extend: bool = False,
    ) -> dict[str, Any]:
        """Append vertices and edges as one batch, to a dataset of kind graph or skeleton.

        Edges name vertices of this append alone: a batch is closed.

        Parameters
        ----------
        positions : array_like, shape (N, D)
            As for :meth:`append_vertices_sync`.
        edges : array_like of int, shape (M, 2)
            Rows of `positions`; direction and order are kept. Of trees an edge is
            (child, parent). In a graph edges may lie between objects, in a
            skeleton not.
        object_ids : array_like of int, shape (N,), or int, optional
            The object of each vertex. Left out, all of this append is one object,
            under the id after the largest one.
        tree : bool, optional
            Whether to make sure that no vertex has two parents and no way leads
            in a circle. The default is to do so for skeletons, where it cannot be
            left; an object of a skeleton may consist of several trees.
        dtype, attributes, out_of_bounds
            As for :meth:`append_vertices_sync`.
        link_attributes : mapping of str to array_like, shape (M,) or (M, C), optional
            Values by edge, in the order of `edges`.
        object_attributes : mapping of str to array_like, shape (O,) or (O, C), optional
            Values by object: one for each distinct id of `object_ids`, in the
            order in which the ids first appear there; without ids, one value. All
            of the objects must begin in this append.
        extend : bool
            Whether objects that the level has already may be named: they go on
            with these vertices, which no edge joins to those that were there.

        Returns
        -------
        dict
            As of :meth:`append_vertices_sync`, and ``links_added``.

        Raises
        ------
        ArrayError
            If a shape, length, dtype, value or id does not fit, an edge names a
            vertex that is not there or one vertex twice, or a tree is none.
            Nothing is written.
        MetadataError
            If the dataset is of another kind, or a name is not acceptable.
        ReadOnlyError, StorageError
            As for :meth:`append_vertices_sync`.

        Notes
        -----
        Source: Zarr Vectors 0.9, chapters on graphs, on skeletons and on links.

        Examples
        --------
        >>> import numpy as np, zv_versioned as zvv
        >>> repo = zvv.Repository.create("memory://")
        >>> with repo.transaction() as tx:
        ...     ds = tx.create_dataset("s", kind="skeleton", bounds=([0, 0], [9, 9]))
        ...     nodes = np.array([[1, 1], [4, 4], [8, 1], [8, 8]], "f4")
        ...     result = tx.writer("s").append_graph_sync(
        ...         nodes, [[1, 0], [2, 1], [3, 1]], object_ids=722817260
        ...     )
        >>> result["links_added"], repo.view()["s"][0].link_count
        (3, 3)
        """
        given = Given(
            object_ids=object_ids,
            dtype=dtype,
            attributes=attributes,
            link_attributes=link_attributes,
            object_attributes=object_attributes,
            out_of_bounds=out_of_bounds,
            extend=extend,
        )
        with self._transaction._staging(self.dataset, self.level) as stage:
            return append_links(stage, positions, edges, 2, tree, given)

    append_graph = _io.coroutine_of(append_graph_sync)

    def append_mesh_sync(
        self,
        vertices: ArrayLike,
        faces: ArrayLike,
        *,
        object_ids: ArrayLike | None = None,
        dtype: DTypeLike | None = None,
        attributes: Mapping[str, ArrayLike] | None = None,
        face_attributes: Mapping[str, ArrayLike] | None = None,
        link_attributes: Mapping[str, ArrayLike] | None = None,
        object_attributes: Mapping[str, ArrayLike] | None = None,
        out_of_bounds: str = "raise",
        extend: bool = False,
    ) -> dict[str, Any]:
        """Append vertices and triangles as one batch, to a dataset of kind mesh.

        Faces name vertices of this append alone, and of one object: a batch is
        closed.

        Parameters
        ----------
        vertices : array_like, shape (N, D)
            As `positions` of :meth:`append_vertices_sync`.
        faces : array_like of int, shape (M, 3)
            Rows of `vertices`; winding and order are kept. A face may name a
            vertex twice, as real meshes have it.
        object_ids : array_like of int, shape (N,), or int, optional
            The object of each vertex. Left out, all of this append is one object,
            under the id after the largest one.
        dtype, attributes, out_of_bounds
            As for :meth:`append_vertices_sync`.
        face_attributes : mapping of str to array_like, shape (M,) or (M, C), optional
            Values by face, in the order of `faces`.
        link_attributes : mapping, optional
            Another name of `face_attributes`: faces are the links of a mesh.
        object_attributes : mapping of str to array_like, shape (O,) or (O, C), optional
            Values by object: one for each distinct id of `object_ids`, in the
            order in which the ids first appear there; without ids, one value. All
            of the objects must begin in this append.
        extend : bool
            Whether objects that the level has already may be named: they go on
            with these vertices, which no face joins to those that were there.

        Returns
        -------
        dict
            As of :meth:`append_vertices_sync`, and ``links_added``, the faces.

        Raises
        ------
        ArrayError
            If a shape, length, dtype, value or id does not fit, a face names a
            vertex that is not there, or vertices of two objects. Nothing is
            written.
        MetadataError
            If the dataset is of another kind, or a name is not acceptable.
        ReadOnlyError, StorageError
            As for :meth:`append_vertices_sync`.

        Notes
        -----
        Source: Zarr Vectors 0.9, chapters on meshes and on links.
        """
        given = Given(
            object_ids=object_ids,
            dtype=dtype,
            attributes=attributes,
            link_attributes=_checks_links.one_mapping(face_attributes, link_attributes),
            object_attributes=object_attributes,
            out_of_bounds=out_of_bounds,
            extend=extend,
        )
        with self._transaction._staging(self.dataset, self.level) as stage:
            return append_links(stage, vertices, faces, 3, None, given)

    append_mesh = _io.coroutine_of(append_mesh_sync)
