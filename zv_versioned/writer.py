"""ZVWriter: what is written to one level, inside a transaction."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from . import _io
from .writing.writer_attributes import WritesAttributes
from .writing.writer_geometry import WritesGeometry
from .writing.writer_objects import WritesObjects

if TYPE_CHECKING:
    from .result import CommitResult
    from .transaction import Transaction


class ZVWriter(WritesGeometry, WritesAttributes, WritesObjects):
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
            If somebody else has changed the same thing since the transaction began;
            nothing is changed.
        ReadOnlyError
            If the transaction is over.
        """
        return self._transaction.commit(message).for_level(self.dataset, self.level)

    commit = _io.coroutine_of(commit_sync)

    def compact_sync(self) -> dict[str, Any]:
        """Commit what is pending, then merge the small batches of the level.

        Two commits: of what is pending, and of the compaction, as by
        :meth:`Repository.compact`.

        Returns
        -------
        dict
            ``compacted`` (True), ``num_objects`` and ``vertex_count`` of the level,
            ``batches_before``, ``batches_after``, ``snapshot_id`` and
            ``objects_committed``.

        Raises
        ------
        ConflictError, ViolationError, ReadOnlyError
            As for :meth:`commit_sync`.
        """
        return self._transaction._compact(self.dataset, self.level)

    compact = _io.coroutine_of(compact_sync)

    def abort_sync(self) -> None:
        """Abandon the whole transaction that this writer belongs to."""
        self._transaction.abort()

    abort = _io.coroutine_of(abort_sync)

    def __enter__(self) -> ZVWriter:
        self._transaction.__enter__()
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
        return self.__enter__()

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
