"""ZVWriter: what is written to one level, inside a transaction."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from . import _attributes, _io
from ._append import append_points
from ._remove import remove_objects

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike

    from .result import CommitResult
    from .transaction import Transaction


class ZVWriter:
    """Writes to one level of one dataset.

    Made by :meth:`Transaction.writer`, and then one of several writers of that
    transaction; or by :meth:`Level.writer`, and then with a transaction of its
    own, which leaving the ``with`` block commits. Plain names are coroutines,
    ``NAME_sync`` is the same for scripts; both work in a script, a notebook and
    a running event loop, from any thread.

    Examples
    --------
    >>> import numpy as np, zv_versioned as zvv
    >>> repo = zvv.Repository.create("memory://")
    >>> with repo.transaction("main", message="two synapses") as tx:
    ...     ds = tx.create_dataset("synapses", kind="point_cloud", bounds=([0, 0], [9, 9]))
    ...     writer = tx.writer("synapses")
    ...     points = np.array([[1, 2], [3, 4]], "f4")
    ...     result = writer.append_vertices_sync(points, object_ids=[7, 7])
    >>> result["vertices_added"], result["new_objects"]
    (2, 1)
    """

    def __init__(self, transaction: Transaction, dataset: str, level: int, *, owns: bool) -> None:
        self._transaction = transaction
        self._owns = owns
        self.dataset = dataset
        self.level = level

    def append_vertices_sync(
        self,
        positions: ArrayLike,
        *,
        object_ids: ArrayLike | None = None,
        dtype: DTypeLike | None = None,
        attributes: Mapping[str, ArrayLike] | None = None,
        out_of_bounds: str = "raise",
    ) -> dict[str, Any]:
        """Append vertices as one batch.

        The data is uploaded now and becomes visible when the transaction
        commits. Vertices that were there keep their numbers.

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
            If the storage fails; the transaction can then only be abandoned.

        Notes
        -----
        Source: Zarr Vectors 0.9, chapters on vertices and on chunking by
        attribute; the batch is the attribute.
        """
        with self._transaction._staging(self.dataset, self.level) as stage:
            return append_points(stage, positions, object_ids, dtype, attributes, out_of_bounds)

    async def append_vertices(
        self,
        positions: ArrayLike,
        *,
        object_ids: ArrayLike | None = None,
        dtype: DTypeLike | None = None,
        attributes: Mapping[str, ArrayLike] | None = None,
        out_of_bounds: str = "raise",
    ) -> dict[str, Any]:
        """Append vertices as one batch; the coroutine of :meth:`append_vertices_sync`."""
        return await _io.in_thread(
            self.append_vertices_sync,
            positions,
            object_ids=object_ids,
            dtype=dtype,
            attributes=attributes,
            out_of_bounds=out_of_bounds,
        )

    # -- attributes ----------------------------------------------------------

    def add_attribute_sync(
        self, name: str, values: ArrayLike, *, dtype: DTypeLike | None = None
    ) -> dict[str, Any]:
        """Write an attribute for all vertices of the level.

        Where there is one of this name, all its values are replaced, and its
        dtype and shape may change. No vertex is read or written again.

        Parameters
        ----------
        name : str
        values : array_like, shape (N,) or (N, C)
            One value for each vertex of the level, in its order
            (:meth:`Level.read`), with what this transaction has staged. Numbers
            of up to 8 bytes, booleans, text (``str``, or objects that are ``str``,
            or None where missing), datetimes and timedeltas with a unit.
        dtype : dtype-like, optional
            What to store them as; says that rounding is meant. By default they
            are stored as they are given.

        Returns
        -------
        dict
            ``attribute``, ``values_written``, ``batches_touched`` and ``dtype``.

        Raises
        ------
        ArrayError
            If the length, the shape, the dtype or a value does not fit. Nothing is
            written.
        MetadataError
            If the name is not acceptable.
        ReadOnlyError
            If the transaction is over.
        StorageError
            If the storage fails; the transaction can then only be abandoned.

        Notes
        -----
        Source: Zarr Vectors 0.9, chapter on vertex attributes.

        Examples
        --------
        >>> import numpy as np, zv_versioned as zvv
        >>> repo = zvv.Repository.create("memory://")
        >>> with repo.transaction() as tx:
        ...     ds = tx.create_dataset("p", kind="point_cloud", bounds=([0, 0], [9, 9]))
        ...     writer = tx.writer("p")
        ...     added = writer.append_vertices_sync(np.array([[8, 8], [1, 2]], "f4"))
        ...     done = writer.add_attribute_sync("score", [0.25, 0.75], dtype="float32")
        >>> level = repo.view()["p"][0]
        >>> level.attribute("score")
        array([0.25, 0.75], dtype=float32)
        """
        with self._transaction._staging(self.dataset, self.level) as stage:
            return _attributes.write_vertex_attribute(stage, name, values, dtype, "add_attribute")

    async def add_attribute(
        self, name: str, values: ArrayLike, *, dtype: DTypeLike | None = None
    ) -> dict[str, Any]:
        """Write a vertex attribute; the coroutine of :meth:`add_attribute_sync`."""
        return await _io.in_thread(self.add_attribute_sync, name, values, dtype=dtype)

    def add_node_attribute_sync(
        self, name: str, values: ArrayLike, *, dtype: DTypeLike | None = None
    ) -> dict[str, Any]:
        """Write an attribute for all nodes: :meth:`add_attribute_sync` in the words of graphs."""
        with self._transaction._staging(self.dataset, self.level) as stage:
            return _attributes.write_vertex_attribute(
                stage, name, values, dtype, "add_node_attribute"
            )

    async def add_node_attribute(
        self, name: str, values: ArrayLike, *, dtype: DTypeLike | None = None
    ) -> dict[str, Any]:
        """Write a node attribute; the coroutine of :meth:`add_node_attribute_sync`."""
        return await _io.in_thread(self.add_node_attribute_sync, name, values, dtype=dtype)

    def add_object_attribute_sync(
        self, name: str, values: ArrayLike, *, dtype: DTypeLike | None = None
    ) -> dict[str, Any]:
        """Write an attribute for all objects of the level.

        Parameters
        ----------
        name : str
        values : array_like, shape (O,) or (O, C)
            One value for each object, in the order of :meth:`Level.object_ids`:
            by batch, then by ascending id; those of this transaction last. As for
            :meth:`add_attribute_sync` in all else.
        dtype : dtype-like, optional

        Returns
        -------
        dict
            ``attribute``, ``values_written``, ``batches_touched`` and ``dtype``.

        Raises
        ------
        ArrayError
            If the length, the shape, the dtype or a value does not fit. Nothing is
            written.
        MetadataError
            If the name is not acceptable.
        ReadOnlyError
            If the transaction is over.
        StorageError
            If the storage fails; the transaction can then only be abandoned.

        Notes
        -----
        Source: Zarr Vectors 0.9, chapter on object attributes.
        """
        with self._transaction._staging(self.dataset, self.level) as stage:
            return _attributes.write_object_attribute(
                stage, name, values, dtype, "add_object_attribute"
            )

    async def add_object_attribute(
        self, name: str, values: ArrayLike, *, dtype: DTypeLike | None = None
    ) -> dict[str, Any]:
        """Write an object attribute; the coroutine of :meth:`add_object_attribute_sync`."""
        return await _io.in_thread(self.add_object_attribute_sync, name, values, dtype=dtype)

    def drop_attribute_sync(self, name: str, of: str = "vertex") -> None:
        """Drop an attribute from the level; earlier snapshots keep it.

        Parameters
        ----------
        name : str
        of : {"vertex", "link", "face", "object"}
            What its values belong to.

        Raises
        ------
        NotFoundError
            If there is no such attribute.
        ArrayError
            If `of` is none of these.
        """
        with self._transaction._staging(self.dataset, self.level) as stage:
            _attributes.drop_attribute(stage, name, of)

    async def drop_attribute(self, name: str, of: str = "vertex") -> None:
        """Drop an attribute; the coroutine of :meth:`drop_attribute_sync`."""
        await _io.in_thread(self.drop_attribute_sync, name, of)

    # -- objects -------------------------------------------------------------

    def remove_objects_sync(self, ids: ArrayLike) -> dict[str, Any]:
        """Remove objects, with all their vertices, links and values.

        They leave what is read, counted and numbered; earlier snapshots keep them.
        Their ids stay retired. No vertex is read or written.

        Parameters
        ----------
        ids : array_like of int
            In any order; repeats do not count.

        Returns
        -------
        dict
            ``objects_removed``, ``vertices_removed`` and ``links_removed``.

        Raises
        ------
        NotFoundError
            If one of them is not in the level, or was removed already. Nothing is
            removed.
        ArrayError
            If they are no whole numbers from 0 up.
        ReadOnlyError
            If the transaction is over.
        """
        with self._transaction._staging(self.dataset, self.level) as stage:
            return remove_objects(stage, ids)

    async def remove_objects(self, ids: ArrayLike) -> dict[str, Any]:
        """Remove objects; the coroutine of :meth:`remove_objects_sync`."""
        return await _io.in_thread(self.remove_objects_sync, ids)

    # -- the end -------------------------------------------------------------

    def commit_sync(self, message: str | None = None) -> CommitResult:
        """Commit the whole transaction that this writer belongs to.

        Parameters
        ----------
        message : str, optional
            Takes the place of the transaction's.

        Returns
        -------
        CommitResult
            ``result["objects_committed"]`` and ``result["object_ids"]`` count the
            objects of this writer's level.

        Raises
        ------
        ConflictError
            If somebody else has committed to the branch since the transaction
            began; nothing is changed.
        ReadOnlyError
            If the transaction is over.
        """
        return self._transaction.commit(message).for_level(self.dataset, self.level)

    async def commit(self, message: str | None = None) -> CommitResult:
        """Commit the whole transaction; the coroutine of :meth:`commit_sync`."""
        return await _io.in_thread(self.commit_sync, message)

    def abort_sync(self) -> None:
        """Abandon the whole transaction that this writer belongs to."""
        self._transaction.abort()

    async def abort(self) -> None:
        """Abandon the whole transaction; the coroutine of :meth:`abort_sync`."""
        await _io.in_thread(self.abort_sync)

    def __enter__(self) -> ZVWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._owns:
            self._transaction.__exit__(kind, error, trace)

    async def __aenter__(self) -> ZVWriter:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await _io.in_thread(self.__exit__, kind, error, trace)

    def __repr__(self) -> str:
        where = f"{self.dataset!r} level {self.level}"
        return f"<ZVWriter: {where}, {self._transaction._standing()}>"
