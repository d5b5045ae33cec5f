"""What the indexes of batches say: cells, fragments, objects; read in few calls, and kept.

An index never changes, so what was read of one is kept under the batch's uuid,
for all snapshots, in a memory of bounded size.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np
from zarr.abc.store import Store

from .. import _paths, _store
from .._cache import Cache
from .._memory import lent
from .._sets import distinct
from .._state import LevelState
from ..errors import IntegrityError
from ..format import batches, cells
from ..format.batches import BatchHead, FragmentPage, starts_of
from ..format.metadata import DatasetMeta
from ..format.table import INDEX
from ..spatial.assign import spans
from .selection import Selection, cell_of

Section = tuple[int, BatchHead, int]
"""The row of a batch, its head, and the place of a section of its index."""

WHOLE_INDEX_FRAGMENTS = 1 << 14
"""Of a batch of no more the index has some 100 KB at most, and is fetched as a whole."""
_WHOLE = "whole"


class BatchIndexes:
    """The indexes of the batches of one level of one snapshot.

    Parameters
    ----------
    store : zarr.abc.store.Store
        The snapshot.
    meta : DatasetMeta
    state : LevelState
    parts : Cache
        Parts of batch indexes, by batch; shared by all snapshots.
    """

    def __init__(self, store: Store, meta: DatasetMeta, state: LevelState, parts: Cache) -> None:
        self.store = store
        self.meta = meta
        self.state = state
        self.parts = parts
        self._keys: dict[int, str] = {}

    def _key(self, row: int) -> str:
        key = self._keys.get(row)
        if key is None:
            slot = int(self.state.table.slot[row])
            key = self._keys[row] = _paths.shard_key(self._array, slot, (0,))
        return key

    @cached_property
    def _array(self) -> str:
        return _paths.join(self.state.path, INDEX)

    def _uuid(self, row: int) -> tuple[bytes, int]:
        """What an index is known under: its batch, and whether its ids were given anew."""
        return self._uuids[row]

    @cached_property
    def _uuids(self) -> list[tuple[bytes, int]]:
        table = self.state.table
        return list(zip(map(bytes, table.uuid), table.content(INDEX).tolist(), strict=True))

    def heads(self, rows: Sequence[int]) -> list[BatchHead]:
        """The heads of some batches; those not known yet in one batched call."""
        known = {row: self.parts.get((self._uuid(row), batches.CELLS)) for row in rows}
        wanting = [row for row, head in known.items() if head is None]
        if wanting:
            known.update(self.fetch_heads(wanting)[0])
        return [known[row] for row in rows]

    def lacking(self, rows: Sequence[int]) -> list[int]:
        """Those of some batches of which the head is not known yet."""
        return [row for row in rows if self.parts.get((self._uuid(row), batches.CELLS)) is None]

    def fetch_heads(
        self, rows: Sequence[int], more: Sequence[_store.Request] = ()
    ) -> tuple[dict[int, BatchHead], list[memoryview | None]]:
        """Heads of some batches, and what else is fetched with them: None where it is not there."""
        table, rows = self.state.table, list(rows)
        keys = [self._key(row) for row in rows]
        sizes, counts = table.head_bytes[rows].tolist(), table.n_vertices[rows].tolist()
        whole = (table.n_fragments[rows] <= WHOLE_INDEX_FRAGMENTS).tolist()
        requests = [
            (key, 0, -1 if all_of_it else size)
            for key, size, all_of_it in zip(keys, sizes, whole, strict=True)
        ]
        values = _store.get_present(self.store, requests, more)
        read = _store.checked(requests, values[: len(rows)])
        found = {}
        for row, key, size, value in zip(rows, keys, sizes, read, strict=True):
            with _store.damage_in(key):
                found[row] = batches.decode_head(cells.decode(value[:size]), size)
        before = starts_of(joined([head.cell_vertices for head in found.values()]))
        bounds = before[starts_of([len(head.cells) for head in found.values()])].tolist()
        totals = [stop - start for start, stop in pairwise(bounds)]
        parts = zip(found.items(), counts, whole, read, totals, strict=True)
        for (row, head), count, all_of_it, value, n in parts:
            if n != count:
                raise IntegrityError(
                    f"batch {row} of {self.state.path!r} has {n} vertices in its index and "
                    f"{count} in the table"
                )
            uuid = self._uuid(row)
            self.parts.put((uuid, batches.CELLS), head, 48 * len(head.cells) + 2048)
            if all_of_it:
                # A copy where it is part of something larger, which would be kept with it.
                kept = value if len(value) == _held(value) else bytes(value)
                self.parts.put((uuid, _WHOLE), np.frombuffer(kept, np.uint8), len(kept))
        return found, values[len(rows) :]

    def unknown(
        self, sections: Iterable[Section]
    ) -> tuple[list[Section], list[_store.Request], dict[tuple[int, int], memoryview]]:
        """Those of some sections that are there and not known, how to ask for them, and the rest.

        What is known is handed out at once: a moment later it may be forgotten.
        """
        wanting, requests, known = [], [], {}
        at_hand: list[Section] = []
        stored: list[_store.Part] = []
        for row, head, section in sections:
            start, stop = head.section(section)
            if stop:
                uuid = self._uuid(row)
                payload = self.parts.get((uuid, section))
                if payload is not None:
                    known[row, section] = payload
                elif (index := self.parts.get((uuid, _WHOLE))) is not None:
                    at_hand.append((row, head, section))
                    stored.append((index, start, stop))
                else:
                    wanting.append((row, head, section))
                    requests.append((self._key(row), start, stop))
        if at_hand:
            known.update(self.keep(at_hand, stored))
        return wanting, requests, known

    def keep(
        self, sections: Sequence[Section], stored: Sequence[_store.Part]
    ) -> dict[tuple[int, int], memoryview]:
        """Decode sections as they are stored and keep them: by row and place."""
        names = [(row, place) for row, _, place in sections]
        found: dict[tuple[int, int], memoryview] = {}
        done = 0
        try:
            for payloads, held in cells.decode_each(stored, lent):
                those = names[done : done + len(payloads)]
                kept = [(self._uuid(row), place) for row, place in those]
                self.parts.put_together(kept, payloads, held)
                found.update(zip(those, payloads, strict=True))
                done += len(payloads)
        except IntegrityError:
            for (row, _), (raw, start, stop) in zip(names, stored, strict=True):
                with _store.damage_in(self._key(row)):
                    cells.decode(raw[start:stop].data)
            raise
        return found

    def _sections(self, wanted: Sequence[Section]) -> list[memoryview | None]:
        """Payloads of sections of indexes; None where a batch has no such section."""
        wanting, requests, found = self.unknown(wanted)
        if wanting:
            found.update(self.keep(wanting, _store.get_parts(self.store, requests)))
        return [found.get((row, section)) for row, _, section in wanted]

    def ids_sections(self, rows: Sequence[int]) -> list[Section]:
        """The sections that the ids of some batches are in; none of those that count on."""
        plain = self.state.table.plain
        wanted = [row for row in rows if not plain[row]]
        return [
            (row, head, batches.IDS) for row, head in zip(wanted, self.heads(wanted), strict=True)
        ]

    def ids(self, rows: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Object ids, by row, and which of them begin there, of some batches.

        Ascending, unless a merge has given some of a batch's ids anew.
        """
        table = self.state.table
        wanted = self.ids_sections(rows)
        payloads = {
            row: payload
            for (row, _, _), payload in zip(wanted, self._sections(wanted), strict=True)
        }
        return [
            batches.decode_ids(payloads.get(row), int(table.n_objects[row]), int(table.id_min[row]))
            for row in rows
        ]

    def pages_of(self, selections: Sequence[Selection]) -> list[Section]:
        """The pages that the fragments in the selected cells are in."""
        return [
            (s.row, s.head, batches.FRAGMENTS + page)
            for s in selections
            for page, _, _ in _by_page(s.head.cell_page_end, s.at)
        ]

    def fragments(self, selections: Sequence[Selection]) -> list[FragmentPage]:
        """The fragments in the selected cells."""
        payloads = iter(self._sections(self.pages_of(selections)))
        result = []
        for s in selections:
            read = []
            for page, first, part in _by_page(s.head.cell_page_end, s.at):
                found = batches.decode_fragments(_present(next(payloads), self._key(s.row)))
                at, starts = s.at[part], s.head.fragment_start
                if len(at) < int(s.head.cell_page_end[page]) - first:
                    counts = s.head.cell_fragments[at].astype(np.int64)
                    found = found.take(spans(starts[at] - starts[first], counts))
                read.append(found)
            result.append(FragmentPage.concatenate(read))
        return result

    def know_objects(self, wanted: Sequence[tuple[int, BatchHead, np.ndarray]]) -> None:
        """Read at once what :meth:`object_fragments` will need of some batches, one by one."""
        pages = [
            (row, head, batches.OBJECTS + page)
            for row, head, object_rows in wanted
            for page, _, _ in _by_page(head.object_page_end, object_rows)
        ]
        self._sections(pages)

    def object_fragments(
        self, row: int, head: BatchHead, object_rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fragments of some objects of a batch, in each object's own order.

        Parameters
        ----------
        row : int
        head : BatchHead
        object_rows : ndarray of int64, ascending

        Returns
        -------
        counts : ndarray of int64
            Fragments of each object.
        fragments : ndarray of int64
            Their numbers in the batch, objects one after the other.
        """
        pages = _by_page(head.object_page_end, object_rows)
        payloads = self._sections([(row, head, batches.OBJECTS + page) for page, _, _ in pages])
        counts, fragments = [], []
        # Page by page: all of them one behind the other would be much memory, for little of it.
        for (_, first, part), payload in zip(pages, payloads, strict=True):
            each, order = batches.decode_objects(_present(payload, self._key(row)))
            starts, local = starts_of(each), object_rows[part] - first
            if starts[-1] != len(order):
                raise IntegrityError(f"the batch index {self._key(row)!r} has stray fragments")
            picked = each[local].astype(np.int64)
            counts.append(picked)
            fragments.append(order[spans(starts[local], picked)])
        return joined(counts), joined(fragments)

    def object_cells(self, row: int, head: BatchHead, object_rows: np.ndarray) -> np.ndarray:
        """Positions of the cells that hold some objects of a batch, ascending."""
        _, fragments = self.object_fragments(row, head, object_rows)
        return distinct(cell_of(head, fragments))


def _by_page(ends: np.ndarray, items: np.ndarray) -> list[tuple[int, int, slice]]:
    """Cut ascending items (cells, objects) by the pages that they are in.

    Returns
    -------
    list of (page, first, part)
        The first item of each page, and which of the given ones are in it.
    """
    if len(ends) == 1:
        return [(0, 0, slice(0, len(items)))] if len(items) else []
    cuts = [0, *np.searchsorted(items, ends).tolist()]
    firsts = [0, *ends.tolist()]
    return [
        (page, firsts[page], slice(cuts[page], cuts[page + 1]))
        for page in range(len(ends))
        if cuts[page] < cuts[page + 1]
    ]


def _held(value: memoryview) -> int:
    """The bytes of what a value is part of."""
    return memoryview(value.obj).nbytes


def _present(payload: memoryview | None, key: str) -> memoryview:
    if payload is None:
        raise IntegrityError(f"the batch index {key!r} lacks a section that its head implies")
    return payload


def joined(arrays: list[np.ndarray]) -> np.ndarray:
    """Arrays one after the other; no int64 at all where there is none."""
    if len(arrays) == 1:
        return arrays[0]
    return np.concatenate(arrays) if arrays else np.zeros(0, np.int64)
