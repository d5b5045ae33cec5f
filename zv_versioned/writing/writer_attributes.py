"""ZVWriter's verbs for attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import _io
from . import attributes

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike

    from ..transaction import Transaction


class WritesAttributes:
    """What :class:`ZVWriter` can do with attributes."""

    _transaction: Transaction
    dataset: str
    level: int

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
            return attributes.write_vertex_attribute(stage, name, values, dtype, "add_attribute")

    add_attribute = _io.coroutine_of(add_attribute_sync)

    def add_node_attribute_sync(
        self, name: str, values: ArrayLike, *, dtype: DTypeLike | None = None
    ) -> dict[str, Any]:
        """Write an attribute for all nodes: :meth:`add_attribute_sync` in the words of graphs."""
        with self._transaction._staging(self.dataset, self.level) as stage:
            return attributes.write_vertex_attribute(
                stage, name, values, dtype, "add_node_attribute"
            )

    add_node_attribute = _io.coroutine_of(add_node_attribute_sync)

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
            return attributes.write_object_attribute(
                stage, name, values, dtype, "add_object_attribute"
            )

    add_object_attribute = _io.coroutine_of(add_object_attribute_sync)

    def add_link_attribute_sync(
        self, name: str, values: ArrayLike, *, dtype: DTypeLike | None = None
    ) -> dict[str, Any]:
        """Write an attribute for all links of the level.

        Parameters
        ----------
        name : str
        values : array_like, shape (M,) or (M, C)
            One value for each link, in link order (:meth:`Level.link_attribute`): by
            batch, cell, fragment and row. Of lines, a link goes from each vertex but
            the last of its line to the next one; the links of a mesh are its faces.
            As for :meth:`add_attribute_sync` in all else.
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
            If the name is not acceptable, or the dataset has no links.
        ReadOnlyError
            If the transaction is over.
        StorageError
            If the storage fails; the transaction can then only be abandoned.

        Notes
        -----
        Source: Zarr Vectors 0.9, chapter on link attributes.
        """
        with self._transaction._staging(self.dataset, self.level) as stage:
            return attributes.write_link_attribute(stage, name, values, dtype, "add_link_attribute")

    add_link_attribute = _io.coroutine_of(add_link_attribute_sync)

    def add_face_attribute_sync(
        self, name: str, values: ArrayLike, *, dtype: DTypeLike | None = None
    ) -> dict[str, Any]:
        """Write an attribute for the faces of a mesh.

        Parameters
        ----------
        name : str
        values : array_like, shape (M,) or (M, C)
            One value for each face, in the order of the level's faces; or one for
            each of those faces that lie inside one cell, in that order: the length
            tells which is meant, and where both are as many it is all of them. Faces
            across cells are then missing. As for :meth:`add_attribute_sync` in all
            else.
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
            If the name is not acceptable, or the dataset is no mesh.
        ReadOnlyError
            If the transaction is over.
        StorageError
            If the storage fails; the transaction can then only be abandoned.

        Notes
        -----
        Source: Zarr Vectors 0.9, chapter on face attributes.
        """
        with self._transaction._staging(self.dataset, self.level) as stage:
            return attributes.write_face_attribute(stage, name, values, dtype, "add_face_attribute")

    add_face_attribute = _io.coroutine_of(add_face_attribute_sync)

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
            attributes.drop_attribute(stage, name, of)

    drop_attribute = _io.coroutine_of(drop_attribute_sync)
