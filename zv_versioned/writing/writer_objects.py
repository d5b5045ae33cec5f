"""ZVWriter's verbs for objects, their groups, and the dataset's metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .. import _groups, _io
from .remove import remove_objects

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ..transaction import Transaction


class WritesObjects:
    """What :class:`ZVWriter` can do with objects, groups and metadata."""

    _transaction: Transaction
    dataset: str
    level: int

    def remove_objects_sync(self, ids: ArrayLike) -> dict[str, Any]:
        """Remove objects, with all their vertices, links and values.

        They leave what is read, counted and numbered, and the groups that they were
        in; earlier snapshots keep them. Their ids stay retired. No vertex is read or
        written.

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

    remove_objects = _io.coroutine_of(remove_objects_sync)

    def add_group_sync(self, name: str, ids: ArrayLike) -> dict[str, Any]:
        """Give a set of objects a name: :attr:`Level.groups`.

        A group of that name is replaced. An object may be in several groups, and
        leaves them when it is removed.

        Parameters
        ----------
        name : str
        ids : array_like of int
            Objects of the level, also of this transaction; repeats do not count.

        Returns
        -------
        dict
            ``group`` and ``num_objects``.

        Raises
        ------
        NotFoundError
            If one of them is not in the level. Nothing is changed.
        MetadataError
            If the name is not acceptable.
        ReadOnlyError
            If the transaction is over.

        Notes
        -----
        Source: Zarr Vectors 0.9, chapter on groups of objects.
        """
        with self._transaction._staging(self.dataset, self.level) as stage:
            return _groups.add_group(stage, name, ids)

    add_group = _io.coroutine_of(add_group_sync)

    def remove_group_sync(self, name: str) -> None:
        """Forget a group; its objects stay.

        Raises
        ------
        NotFoundError
            If there is no such group.
        """
        with self._transaction._staging(self.dataset, self.level) as stage:
            _groups.remove_group(stage, name)

    remove_group = _io.coroutine_of(remove_group_sync)

    # -- the dataset ---------------------------------------------------------

    def set_metadata_sync(self, mapping: Mapping[str, Any]) -> dict[str, Any]:
        """Change your own metadata of the dataset: :attr:`Dataset.metadata`.

        Parameters
        ----------
        mapping : mapping of str to JSON
            Keys to be set, and with None those to be deleted; others stay.

        Returns
        -------
        dict
            All of the metadata as it is now.

        Raises
        ------
        MetadataError
            If it is no mapping, or a value is nothing that JSON keeps.
        ReadOnlyError
            If the transaction is over.
        """
        return self._transaction._set_metadata(self.dataset, mapping)

    set_metadata = _io.coroutine_of(set_metadata_sync)
