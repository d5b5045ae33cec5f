"""Imports by many processes: parts are encoded and uploaded by dask workers, and published as one.

The client looks through the parts first, with the workers' help, and then gives
each of them slots, ids and a fork of its session. Workers never wait for each
other, nor for the branch. What they uploaded is merged into the client's
session and published as one commit: all of it, or nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _writes
from .._sets import distinct
from ..errors import MetadataError, StorageError
from ..format.metadata import FAMILIES, AttributeMeta
from ..spatial.boxes import Box
from ..storage import forks
from ..writing.objects import objects_of
from ._extras import need
from ._files import Paths
from ._formats import check_options, format_of
from ._import import (
    Added,
    ImportResult,
    add_groups,
    add_levels,
    begin,
    nothing_there,
    refuse_empty,
    result,
    target,
)
from ._into import ImportOptions, Into
from ._parts import Looked, Place, Task, Written, look, own_ids, tasks_of, write
from ._pieces import Scan, Source
from ._progress import Progress

if TYPE_CHECKING:
    from ..repository import Repository
    from ..transaction import Transaction
    from ..writing.stage import LevelStage

__all__ = ["import_distributed"]


def import_distributed(
    repo: Repository,
    source: Paths,
    dataset: str,
    *,
    client: Any = None,
    workers: int | None = None,
    format: str | None = None,
    **options: Any,
) -> ImportResult:
    """Import files with many processes, as one commit.

    What is in the repository afterwards is what :func:`import_file` would have put
    there: the same batches in the same slots, the same ids.

    Parameters
    ----------
    repo : Repository
        On a path that all workers see, or in an object store. Workers get a session
        with the storage's settings, and with credentials if it was opened with some.
    source : path, or sequence of paths
        As for :func:`import_file`; workers read the files themselves. The parts that
        they get are stretches of long tables (64 MB of a CSV file, a row group of a
        Parquet file, ``batch_vertices`` points of a LAS file or of streamlines of a
        TRX file), some files of skeletons or meshes, and else whole files.
    dataset : str
    client : distributed.Client, optional
        Of the cluster to use.
    workers : int, optional
        Without a client: how many processes to start on this machine for as long
        as the import takes.
    format : str, optional
    **options
        As for :func:`import_file`.

    Returns
    -------
    ImportResult

    Raises
    ------
    MissingExtraError
        If dask's scheduler, distributed, is not installed.
    StorageError
        If the repository lives in this process alone.
    MetadataError, NotFoundError, ArrayError, ConflictError
        As for :func:`import_file`. Nothing is committed, and the other parts are
        stopped.

    Notes
    -----
    An attribute has the dtype that it has in the first part that has it, as it has
    that of the first batch otherwise.
    """
    found = format_of(source, format)
    check_options(found, "importing", found.import_options, ImportOptions, options)
    into = Into(**{k: v for k, v in options.items() if k in ImportOptions.__annotations__})
    own = {key: value for key, value in options.items() if key in found.import_options}
    repo._backend.address()  # refuses a repository that no other process can open
    with _cluster(client, workers) as cluster:
        run = _Run(cluster, into)
        if "mapper" in found.open_options:
            own.update(mapper=run.map, report=into.report)
        return run.source(repo, found.opens(source, **own), dataset)


@contextmanager
def _cluster(client: Any, workers: int | None) -> Iterator[Any]:
    """The client that was given, or one of a cluster of our own."""
    if (client is None) == (workers is None):
        raise MetadataError("give a client of a dask cluster, or a number of workers to start")
    if client is not None:
        yield client
        return
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise MetadataError(f"workers must be a number from 1 up, got {workers!r}")
    distributed = need("distributed", "dask", "importing with several processes")
    with (
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",
            silence_logs=logging.ERROR,
        ) as cluster,
        distributed.Client(cluster) as own,
    ):
        yield own


class _Run:
    """One distributed import.

    Parameters
    ----------
    client : distributed.Client
    into : Into
    """

    def __init__(self, client: Any, into: Into) -> None:
        self._client = client
        self._into = into

    def map(self, function: Any, items: Iterable[Any]) -> Iterator[Any]:
        """Results of a function of each item, in their order, as :func:`map` gives them."""
        lost = need("distributed", "dask", "importing with several processes").KilledWorker
        futures = [self._client.submit(function, item, pure=False) for item in items]
        try:
            for future in futures:
                yield future.result()
        except lost as error:
            raise StorageError(
                f"a worker died again and again, perhaps for want of memory: {error}. Give smaller "
                "parts (batch_vertices) or workers with more memory; nothing was committed"
            ) from error
        finally:
            # After an error, or Ctrl-C, nothing is to go on behind the caller's back.
            self._client.cancel(futures)

    def source(self, repo: Repository, source: Source, dataset: str) -> ImportResult:
        """Import a source."""
        into = self._into
        with begin(repo, source, dataset, into) as tx:
            kind = tx._meta(dataset).kind if into.append else into.kind or source.kind
            looked = self._look(source, kind)
            refuse_empty(source, [told.scan.vertices for told in looked], into)
            counted = sum(told.scan.vertices for told in looked)
            kind = target(tx, source, dataset, into, self._bounds(source, looked), counted)
            with tx._staging(dataset, 0) as stage, stage.uploading():
                place, tasks = self._prepare(tx, stage, source, looked)
                written = self._write(tx, source, place, tasks)
            added = self._record(tx, dataset, written)
            done = sum(told.weight for told in written)
            add_groups(tx.writer(dataset), source, place.first_counted)
            add_levels(tx, source, dataset, into, done)
            into.report(Progress("publish", source.total or 0, source.total, source.unit))
        return result(tx, source, dataset, kind, into, added)

    # -- one step after the other --------------------------------------------

    def _look(self, source: Source, kind: str) -> list[Looked]:
        looked, done = [], 0
        for told in self.map(partial(look, kind=kind), source.parts):
            looked.append(told)
            done += told.weight
            self._into.report(Progress("scan", done, source.total, source.unit))
        return looked

    def _bounds(self, source: Source, looked: Sequence[Looked]) -> Box | None:
        if self._into.append:
            return None
        if self._into.bounds is not None:
            lo, hi = (np.asarray(side, np.float64) for side in self._into.bounds)
            return Box(lo, hi)
        found = Scan(None, 0, 0)
        for told in looked:
            found |= told.scan
        if source.bounds is None and found.box is None:
            raise nothing_there(source)
        return source.bounds or found.box

    def _prepare(
        self, tx: Transaction, stage: LevelStage, source: Source, looked: Sequence[Looked]
    ) -> tuple[Place, list[Task]]:
        """Declare all arrays, refuse ids that are taken, and give out slots and ids."""
        _declare(stage, _attributes(looked))
        first = stage.facts.max_object_id + 1
        every = distinct(np.concatenate([np.zeros(0, np.int64), *own_ids(looked, first)]))
        begun = np.zeros(0, np.int64)
        if len(every):
            objects = objects_of(stage, every, len(every), extend=self._into.extend)
            begun = objects.ids[~objects.is_new]
        largest = max(stage.facts.max_object_id, int(every[-1]) if len(every) else -1)
        place = Place(stage.meta, stage.facts, stage.origin, largest, first)
        return place, tasks_of(source.parts, looked, stage.facts.slots, first, begun)

    def _write(
        self, tx: Transaction, source: Source, place: Place, tasks: Sequence[Task]
    ) -> list[Written]:
        """Let the workers upload, and merge what they uploaded."""
        into, done, written = self._into, 0, []
        into.report(Progress("import", 0, source.total, source.unit))
        fork = forks.fork(tx._session)
        plain = replace(into, progress=None, extend=False)  # what goes on is known by now
        task = partial(write, place=place, into=plain, fork=fork)
        for told in self.map(task, tasks):
            forks.join(tx._session, [told.fork])
            written.append(replace(told, fork=None))
            done += told.weight
            into.report(Progress("import", done, source.total, source.unit))
        return written

    def _record(self, tx: Transaction, dataset: str, written: Sequence[Written]) -> Added:
        """Record the batches, in the order of their slots."""
        added = Added()
        with tx._staging(dataset, 0) as stage:
            for told in written:
                if not stage.meta.bounds.contains(told.meta.bounds):
                    grown = stage.meta.bounds.union(told.meta.bounds)
                    stage.meta = stage.meta.with_bounds(grown)
                for row, ids, new in zip(told.rows, told.ids, told.new_ids, strict=True):
                    stage.added(row, ids.array(), new)
                    added.take(
                        {
                            "vertices_added": row.n_vertices,
                            "links_added": row.n_links,
                            "new_objects": row.n_new_objects,
                        }
                    )
        return added


def _attributes(looked: Sequence[Looked]) -> dict[str, dict[str, AttributeMeta]]:
    """The attributes of all parts; where parts differ, as the first has them."""
    found: dict[str, dict[str, AttributeMeta]] = {family: {} for family in FAMILIES}
    for told in looked:
        for family, known in told.attributes.items():
            found[family] = {**known, **found[family]}
    return found


def _declare(stage: LevelStage, attributes: Mapping[str, Mapping[str, AttributeMeta]]) -> None:
    """Make the arrays of attributes that are new to the level."""
    for family, known in attributes.items():
        have = stage.facts.family(family)
        fresh = [meta for name, meta in known.items() if name not in have]
        _writes.set_many(stage.store, stage.documents_of(fresh))
        stage.facts = stage.facts.with_family(family, {**have, **{m.name: m for m in fresh}})
