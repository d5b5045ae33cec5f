"""What differs between two snapshots: from their indexes, and where it is asked for, values."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .._groups import load_groups
from .._sets import distinct, is_in, union, without
from ..format.metadata import FAMILIES, LINK_ATTRIBUTES, OBJECT_ATTRIBUTES, AttributeMeta
from ..format.table import REMOVED
from ..reading.links import link_values_of, whole
from ..reading.removed import removed_rows
from ..reading.values import object_values
from .diff_groups import GroupDiff, groups_between
from .diff_result import AttributeDiff, Diff, LevelDiff
from .index import DatasetIndex, LevelIndex, load_index, reader_of
from .rows import find
from .runs import reach
from .values import level_of

if TYPE_CHECKING:
    from ..reading.reader import LevelReader
    from ..repository import Repository

_NONE = np.zeros(0, np.int64)


def diff(repository: Repository, a: str, b: str, *, values: bool) -> Diff:
    """Compare two snapshots; see :meth:`Repository.diff`."""
    backend = repository._backend
    stores = backend.view_store(a), backend.view_store(b)
    before, after = (load_index(store, repository._parts) for store in stores)
    found = []
    for name in sorted(before.keys() | after.keys()):
        sides = (before.get(name), after.get(name))
        numbers = {n for side in sides if side is not None for n in side.levels}
        for number in sorted(numbers):
            pair = _Pair(repository, stores, sides, name, number)
            one = pair.diff(values=values)
            if one is not None:
                found.append(one)
    return Diff(a, b, found)


class _Pair:
    """One level on both sides."""

    def __init__(
        self,
        repository: Repository,
        stores: tuple[Any, Any],
        datasets: tuple[DatasetIndex | None, DatasetIndex | None],
        name: str,
        number: int,
    ) -> None:
        self.name, self.number = name, number
        self._stores, self._parts = stores, repository._parts
        there = next(d for d in datasets if d is not None)
        self._metas = [d.meta if d is not None else there.meta for d in datasets]
        self._alone = any(d is None or number not in d.levels for d in datasets)
        self.levels = [level_of(d, number, there) for d in datasets]

    @cached_property
    def rows(self) -> list[dict[bytes, int]]:
        """By side, the row of each batch."""
        return [level.rows() for level in self.levels]

    def reader(self, side: int) -> LevelReader:
        """Reads one side."""
        return reader_of(self._stores[side], self._metas[side], self.levels[side], self._parts)

    def diff(self, *, values: bool) -> LevelDiff | None:
        """What differs; None where nothing does."""
        a, b = self.levels
        metadata = {} if self.number else self._metadata()
        typed_alike = all(a.facts.family(f) == b.facts.family(f) for f in FAMILIES)
        groups = self._groups()
        same = not metadata and not groups and typed_alike
        if not self._alone and same and a.same_batches(b):
            return None
        added, removed, changed = self._objects()
        return LevelDiff(
            self.name,
            self.number,
            vertices=(a.facts.vertex_count, b.facts.vertex_count),
            objects=(a.facts.num_objects, b.facts.num_objects),
            links=(a.facts.link_count, b.facts.link_count),
            batches=(len(a.table), len(b.table)),
            stored_bytes=(int(a.table.vertex_bytes.sum()), int(b.table.vertex_bytes.sum())),
            bounds=(_box(a), _box(b)),
            batches_added=len(self.rows[1].keys() - self.rows[0].keys()),
            batches_removed=len(self.rows[0].keys() - self.rows[1].keys()),
            objects_added=added,
            objects_removed=removed,
            objects_changed=changed,
            attributes=list(self._attributes(values=values)),
            groups=groups,
            metadata=metadata,
            moved=self._moved(changed) if values and len(changed) else None,
        )

    def _groups(self) -> list[GroupDiff]:
        if self.levels[0].facts.groups == self.levels[1].facts.groups:
            return []
        before, after = (
            load_groups(store, level.path, level.facts, self._parts)
            for store, level in zip(self._stores, self.levels, strict=True)
        )
        return groups_between(before, after)

    def _metadata(self) -> dict[str, tuple[Any, Any]]:
        before, after = (meta.metadata for meta in self._metas)
        keys = sorted(before.keys() | after.keys())
        return {k: (before.get(k), after.get(k)) for k in keys if before.get(k) != after.get(k)}

    # -- objects -------------------------------------------------------------

    def _objects(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ids of objects that are new, gone, and in other batches than before."""
        only = [self._ids_of_batches(side) for side in (0, 1)]
        gone, back = self._ids_of_removals()
        before, after = union(only[0], gone), union(only[1], back)
        # An id in a batch that differs may have parts in batches that do not.
        both = union(before, after)
        there = [self._there(side, both, only[side]) for side in (0, 1)]
        added, removed = both[~there[0] & there[1]], both[there[0] & ~there[1]]
        return added, removed, both[there[0] & there[1]]

    def _ids_of_batches(self, side: int) -> np.ndarray:
        """Ids in the batches that only one side has."""
        uuids = self.rows[side].keys() - self.rows[1 - side].keys()
        rows = sorted(self.rows[side][uuid] for uuid in uuids)
        if not rows:
            return _NONE
        reader = self.reader(side)
        lost = removed_rows(reader, rows)
        tables = zip(rows, reader.ids(rows), strict=True)
        found = [np.delete(ids, lost[row]) if row in lost else ids for row, (ids, _) in tables]
        return distinct(np.concatenate(found))

    def _ids_of_removals(self) -> tuple[np.ndarray, np.ndarray]:
        """Ids removed from, or brought back to, batches that both sides have."""
        common = self.rows[0].keys() & self.rows[1].keys()
        contents = [level.table.content(REMOVED) for level in self.levels]
        differing = [
            (self.rows[0][u], self.rows[1][u])
            for u in common
            if contents[0][self.rows[0][u]] != contents[1][self.rows[1][u]]
        ]
        if not differing:
            return _NONE, _NONE
        readers = self.reader(0), self.reader(1)
        rows = [[pair[side] for pair in differing] for side in (0, 1)]
        lost = [removed_rows(readers[side], rows[side]) for side in (0, 1)]
        gone, back = [], []
        for (x, y), (ids, _) in zip(differing, readers[0].ids(rows[0]), strict=True):
            was, now = lost[0].get(x, _NONE), lost[1].get(y, _NONE)
            gone.append(ids[without(now, was)])
            back.append(ids[without(was, now)])
        return distinct(np.concatenate(gone)), distinct(np.concatenate(back))

    def _there(self, side: int, ids: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Which objects a side has; `known` are those in batches that it alone has."""
        there = is_in(ids, known)
        rest = ids[~there]
        if len(rest) == 0:
            return there
        table, others = self.levels[side].table, self.levels[1 - side].table
        common = (find(table.uuid, others.uuid) >= 0) & (table.live_vertices > 0)
        simple = common & table.plain & (table.content(REMOVED) == 0)
        runs = reach(table.id_min[simple], table.id_max[simple])
        found = runs.contains(rest)
        reader = self.reader(side)
        members = reader.members(common & ~simple, rest, strict=False)
        tables = zip(reader.ids(list(members)), members.values(), strict=True)
        parts = [of_batch[rows] for (of_batch, _), rows in tables]
        if parts:
            found |= is_in(rest, np.concatenate(parts))
        there[~there] = found
        return there

    def _moved(self, changed: np.ndarray) -> dict[str, float] | None:
        """How far vertices of objects moved that have as many as before."""
        squares, largest, n, objects = 0.0, 0.0, 0, 0
        for object_id in changed.tolist():
            pair = []
            for side in (0, 1):
                reader = self.reader(side)
                plan = reader.plan(object_ids=np.array([object_id]))
                _, wanted = reader.object_ids_of(plan)
                positions = reader.positions_of(plan)
                pair.append(positions if wanted is None else positions[wanted])
            if pair[0].shape == pair[1].shape:
                distance = np.linalg.norm(pair[1].astype("f8") - pair[0].astype("f8"), axis=1)
                squares += float((distance**2).sum())
                largest = max(largest, float(distance.max(initial=0)))
                n, objects = n + len(distance), objects + 1
        if not objects:
            return None
        return {"objects": objects, "largest": largest, "rms": float(np.sqrt(squares / max(n, 1)))}

    # -- attributes ----------------------------------------------------------

    def _attributes(self, *, values: bool) -> Iterator[AttributeDiff]:
        common = sorted(self.rows[0].keys() & self.rows[1].keys(), key=lambda u: self.rows[0][u])
        at = [np.array([rows[u] for u in common], np.int64) for rows in self.rows]
        for family in FAMILIES:
            known = [level.facts.family(family) for level in self.levels]
            for name in sorted(known[0].keys() | known[1].keys()):
                a, b = known[0].get(name), known[1].get(name)
                path = f"{family}/{name}"
                contents = [
                    level.table.content(path)[rows]
                    for level, rows in zip(self.levels, at, strict=True)
                ]
                differs = contents[0] != contents[1]
                if a == b and not differs.any():
                    continue
                change = _change(a, b)
                rows = [rows[differs].tolist() for rows in at]
                n = int(self._counts(family)[at[1]][differs].sum()) if differs.any() else 0
                compared = self._compare(a, b, rows) if values and a == b else (None, None)
                yield AttributeDiff(path, change, n, int(differs.sum()), *compared)

    def _counts(self, family: str) -> np.ndarray:
        table = self.levels[1].table
        if family == OBJECT_ATTRIBUTES:
            return table.live_new_objects
        return table.live_links if family == LINK_ATTRIBUTES else table.live_vertices

    def _compare(
        self, a: AttributeMeta | None, b: AttributeMeta | None, rows: list[list[int]]
    ) -> tuple[int | None, float | None]:
        """How many values differ, and by how much at most."""
        if a is None or b is None or not rows[0]:
            return None, None
        pair = [self._read(side, attribute, rows[side]) for side, attribute in enumerate((a, b))]
        if pair[0].shape != pair[1].shape:
            return None, None  # objects were removed in between
        if not len(pair[0]):
            return 0, None
        unequal = pair[0] != pair[1]
        if pair[0].dtype.kind == "f":
            unequal &= ~(np.isnan(pair[0]) & np.isnan(pair[1]))
        differing = int(unequal.reshape(len(unequal), -1).any(axis=1).sum())
        if pair[0].dtype.kind not in "iuf" or not differing:
            return differing, None
        apart = np.abs(pair[1][unequal].astype("f8") - pair[0][unequal].astype("f8"))
        return differing, float(np.nanmax(apart)) if not np.isnan(apart).all() else None

    def _read(self, side: int, attribute: AttributeMeta, rows: list[int]) -> np.ndarray:
        reader = self.reader(side)
        if attribute.family == OBJECT_ATTRIBUTES:
            return object_values(reader, attribute, rows)
        if attribute.family == LINK_ATTRIBUTES:
            return link_values_of(reader, attribute, whole(reader, rows))
        return reader.attribute_of(attribute, reader.plan(np.array(rows, np.int64)))


def _change(a: AttributeMeta | None, b: AttributeMeta | None) -> str:
    if a is None:
        return "added"
    return "dropped" if b is None else "written" if a == b else "retyped"


def _box(level: LevelIndex) -> Any:
    table = level.table.take(np.flatnonzero(level.table.live_vertices > 0))
    if len(table) == 0:
        return None
    return table.lo.min(axis=0).tolist(), table.hi.max(axis=0).tolist()
