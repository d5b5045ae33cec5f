"""Chunks that are on their way while a merge still decides where they belong.

Whoever lost the race adds batches behind those of the tip as a rule, so that it is known
where their chunks will go before the tables are read. Where the merge finds otherwise, what
went ahead is taken back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from .. import _paths, _writes
from ..errors import StorageError
from ..format.metadata import CAPACITY, FAMILIES, DatasetMeta
from ..format.table import INDEX
from .index import Index, LevelIndex, defined_alike
from .merge_contents import arrays_of

Chunks = Mapping[str, _writes.Value]
Items = Sequence[tuple[str, _writes.Value]]


class Ahead:
    """Chunks of new batches, being written to a session at the tip.

    Used as a context, it waits for what it has begun in any case.

    Parameters
    ----------
    store : icechunk.IcechunkStore
        The session's.
    chunks : mapping of str to bytes
        Of a transaction, by the keys that it gave them.
    base, ours : Index
        What the transaction began at, and what is at the tip.
    """

    def __init__(self, store: Any, chunks: Chunks, base: Index, ours: Index) -> None:
        self._store = store
        self._chunks = _likely(chunks, base, ours)
        self._finish = _writes.set_ahead(store, list(self._chunks.items()))
        self._waits = True

    def rest(self, items: Items) -> Items:
        """What is still to be written of some chunks, once it is known which they are."""
        wanted = dict(items)
        stray = [key for key, value in self._chunks.items() if wanted.get(key) is not value]
        if stray:
            self.wait()
            _writes.delete_many(self._store, stray)
            self._chunks = {k: v for k, v in self._chunks.items() if k not in set(stray)}
        return [item for item in items if item[0] not in self._chunks]

    def wait(self) -> None:
        """Return when all is written.

        Raises
        ------
        StorageError
            If one could not be.
        """
        if self._waits:
            self._waits = False
            self._finish()

    def __enter__(self) -> Ahead:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.wait()
        except StorageError:
            if error is None:
                raise


def _likely(chunks: Chunks, base: Index, ours: Index) -> dict[str, _writes.Value]:
    """Chunks of new batches, under the keys that they get where these follow those of ours."""
    arrays: dict[str, tuple[int, int]] = {}
    for name, dataset in ours.items():
        before = base.get(name)
        for number, level in dataset.levels.items():
            known = None if before is None else before.levels.get(number)
            if before is not None and known is not None and defined_alike(level.facts, known.facts):
                slots = known.facts.slots, level.facts.slots
                for array in _common(dataset.meta, level, before.meta, known):
                    arrays[_paths.join(level.path, array)] = slots
    found = {}
    for key, value in chunks.items():
        array, at = _paths.parted(key)
        began, now = arrays.get(array, (at[0] + 1, 0))
        slot = at[0] - began + now
        if at[0] >= began and slot < CAPACITY:
            found[_paths.shard_key(array, slot, at[1:])] = value
    return found


def _common(
    meta: DatasetMeta, level: LevelIndex, before: DatasetMeta, known: LevelIndex
) -> set[str]:
    """The arrays of batches that a level has as it had them."""
    arrays = {"vertices", INDEX}
    if meta.link_width == before.link_width != 0:
        arrays.add("links")
    for family in FAMILIES:
        there = known.facts.family(family)
        for name, attribute in level.facts.family(family).items():
            if there.get(name) == attribute:
                arrays.update(arrays_of(attribute))
    return arrays
