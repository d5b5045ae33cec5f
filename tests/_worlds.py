"""Levels in memory, with what every object truly is: what the merge of indexes is tested on.

A :class:`World` is a state together with everything that tables do not say. Each
object has a true name, `(uuid of the batch it began in, row)`, that no merge can
change, so that a test can tell whether an id still means what it meant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from hypothesis import strategies as st

from zv_versioned.format.metadata import AttributeMeta, DatasetMeta, LevelFacts
from zv_versioned.format.table import INDEX, REMOVED, BatchRow, BatchTable, new_content_id
from zv_versioned.history.index import DatasetIndex, Index, LevelIndex
from zv_versioned.history.merge import Merged, merge_index
from zv_versioned.history.merge_rows import Options
from zv_versioned.history.rows import Groups, Ids, Side
from zv_versioned.spatial.boxes import Box
from zv_versioned.spatial.grid import Grid

BOX = Box(np.zeros(2), np.full(2, 10.0))
NAME = "p"
True_ = tuple[bytes, int]


@dataclass(frozen=True)
class Batch:
    """What there is of one batch besides its row."""

    ids: np.ndarray
    new: np.ndarray
    truly: tuple[True_, ...]
    removed: frozenset[int] = frozenset()


@dataclass(frozen=True)
class World:
    """A level and its batches."""

    facts: LevelFacts
    table: BatchTable
    batches: Mapping[bytes, Batch] = field(default_factory=dict)
    groups: Groups = field(default_factory=dict)
    metadata: Mapping[str, object] = field(default_factory=dict)

    @property
    def state(self) -> Index:
        meta = DatasetMeta(
            NAME,
            "point_cloud",
            BOX,
            (1.0, 1.0),
            [{"name": "x", "type": "space"}, {"name": "y", "type": "space"}],
            np.dtype("f4"),
            dict(self.metadata),
        )
        return {NAME: DatasetIndex(meta, {0: LevelIndex(f"{NAME}/0", self.facts, self.table)})}

    @property
    def uuids(self) -> list[bytes]:
        return [bytes(uuid) for uuid in self.table.uuid]

    @property
    def objects(self) -> dict[True_, int]:
        """The id of every object, by its true name; fails where one has two."""
        found: dict[True_, int] = {}
        for uuid in self.uuids:
            batch = self.batches[uuid]
            for name, object_id in zip(batch.truly, batch.ids.tolist(), strict=True):
                assert found.setdefault(name, object_id) == object_id, "one object, two ids"
        return found

    def check(self) -> None:
        """What holds of every sound level."""
        assert len(set(self.objects.values())) == len(self.objects), "one id, two objects"
        begun = {n for u in self.uuids for n in self._begun(u)}
        for row, uuid in enumerate(self.uuids):
            batch, table = self.batches[uuid], self.table
            assert (table.id_min[row], table.id_max[row]) == (batch.ids.min(), batch.ids.max())
            assert batch.ids.max() <= self.facts.max_object_id
            assert table.n_removed_vertices[row] == len(batch.removed)
            assert (table.content(REMOVED)[row] != 0) == bool(batch.removed)
            if table.content(INDEX)[row] == 0 and batch.new.all():
                span = batch.ids.max() - batch.ids.min() + 1
                if span == len(batch.ids):
                    assert (np.diff(batch.ids) == 1).all(), "a run that is none"
            for at, name in enumerate(batch.truly):
                assert at in batch.removed or name in begun or batch.new[at]
        assert (np.diff(self.table.slot) > 0).all()
        assert len(self.table) == 0 or self.table.slot[-1] < self.facts.slots
        assert self.facts.vertex_count == self.table.live_vertices.sum()
        for attribute in self.table.contents.keys() - {REMOVED, INDEX}:
            name = attribute.split("/")[1]
            known = name in self.facts.attributes
            assert known or not self.table.content(attribute).any()
        there = {i for u in self.uuids for i in self._there(u)}
        for ids in self.groups.values():
            assert set(ids.tolist()) <= there, "a group with members that are not there"

    def _begun(self, uuid: bytes) -> list[True_]:
        batch = self.batches[uuid]
        return [name for name, new in zip(batch.truly, batch.new, strict=True) if new]

    def _there(self, uuid: bytes) -> list[int]:
        batch = self.batches[uuid]
        return [i for at, i in enumerate(batch.ids.tolist()) if at not in batch.removed]

    # -- changes -------------------------------------------------------------

    def append(
        self,
        uuid: bytes,
        new: int = 0,
        ids: Sequence[int] | None = None,
        goes_on: Sequence[True_] = (),
        attributes: Sequence[str] = (),
    ) -> World:
        """A batch of `new` objects by default, or of those with `ids`, and some that go on."""
        default = ids is None
        top = self.facts.max_object_id
        given = list(range(top + 1, top + 1 + new)) if ids is None else list(ids)
        old = {self.objects[name]: name for name in goes_on}
        order = sorted([*given, *old])
        is_new = np.array([i not in old for i in order])
        truly = tuple(old.get(i, (uuid, row)) for row, i in enumerate(order))
        row = BatchRow(
            uuid=np.frombuffer(uuid, np.uint8),
            slot=self.facts.slots,
            n_vertices=len(order),
            n_objects=len(order),
            n_new_objects=int(is_new.sum()),
            n_fragments=1,
            n_cells=1,
            id_min=order[0],
            id_max=order[-1],
            head_bytes=100,
            vertex_bytes=10,
            lo=np.ones(2),
            hi=np.full(2, 2.0),
            default_ids=int(default),
            contents={f"vertex_attributes/{name}": new_content_id() for name in attributes},
        )
        world = self
        for name in attributes:
            world = world.define(name)
        facts = replace(
            world.facts,
            slots=self.facts.slots + 1,
            vertex_count=self.facts.vertex_count + len(order),
            num_objects=self.facts.num_objects + row.n_new_objects,
            max_object_id=max(top, order[-1]),
        )
        table = BatchTable.concatenate([self.table, BatchTable.from_rows([row], 2)])
        batch = Batch(np.array(order, np.int64), is_new, truly)
        return replace(world, facts=facts, table=table, batches={**self.batches, uuid: batch})

    def define(self, name: str, dtype: str = "f4") -> World:
        if name in self.facts.attributes:
            return self
        meta = AttributeMeta(name, np.dtype(dtype), ())
        attributes = {**self.facts.attributes, name: meta}
        return replace(self, facts=replace(self.facts, attributes=attributes))

    def write(self, name: str, rows: Sequence[int]) -> World:
        world = self.define(name)
        content = world.table.content(f"vertex_attributes/{name}").copy()
        content[list(rows)] = [new_content_id() for _ in rows]
        table = world.table.with_columns({}, {f"vertex_attributes/{name}": content})
        return replace(world, table=table)

    def remove(self, names: Sequence[True_]) -> World:
        """Remove objects, everywhere, as the writer does."""
        columns = {n: self.table.scalars[n].copy() for n in ("n_removed_vertices",)}
        begun = self.table.n_removed_objects.copy()
        content = self.table.content(REMOVED).copy()
        batches, gone = dict(self.batches), set()
        for row, uuid in enumerate(self.uuids):
            batch = batches[uuid]
            fresh = {at for at, n in enumerate(batch.truly) if n in names} - batch.removed
            if fresh:
                batches[uuid] = replace(batch, removed=batch.removed | fresh)
                columns["n_removed_vertices"][row] += len(fresh)
                begun[row] += sum(bool(batch.new[at]) for at in fresh)
                content[row] = new_content_id()
                gone |= {int(batch.ids[at]) for at in fresh}
        table = self.table.with_columns({**columns, "n_removed_objects": begun}, {REMOVED: content})
        groups = {n: ids[~np.isin(ids, list(gone))] for n, ids in self.groups.items()}
        world = replace(self, table=table, batches=batches)
        if any(len(groups[n]) < len(self.groups[n]) for n in groups):
            world = world.regroup(groups)
        return world.counted()

    def drop(self, rows: Sequence[int]) -> World:
        """Take batches away, as a revert does."""
        keep = np.setdiff1d(np.arange(len(self.table)), np.array(rows, np.int64))
        return replace(self, table=self.table.take(keep)).counted()

    def regroup(self, groups: Groups) -> World:
        return replace(self, groups=groups, facts=replace(self.facts, groups=new_content_id()))

    def counted(self) -> World:
        facts = replace(
            self.facts,
            vertex_count=int(self.table.live_vertices.sum()),
            num_objects=int(self.table.live_new_objects.sum()),
        )
        return replace(self, facts=facts)


def empty() -> World:
    grid = Grid.for_bounds(BOX, (1.0, 1.0))
    return World(LevelFacts(0, grid, 0, 0, 0, -1, {}), BatchTable.empty(2))


class Known:
    """The details of three worlds."""

    def __init__(self, base: World, ours: World, theirs: World) -> None:
        self.sides: dict[str, World] = {"base": base, "ours": ours, "theirs": theirs}
        self.same: set[tuple[int, ...]] = set()

    def _batch(self, side: Side, row: int) -> Batch:
        world = self.sides[side]
        return world.batches[world.uuids[row]]

    def ids(self, side: Side, dataset: str, level: int, rows: Sequence[int]) -> list[Ids]:
        found = [self._batch(side, row) for row in rows]
        return [(batch.ids.copy(), batch.new.copy()) for batch in found]

    def removed(self, side: Side, dataset: str, level: int, row: int) -> np.ndarray:
        return np.array(sorted(self._batch(side, row).removed), np.int64)

    def lost(
        self, side: Side, dataset: str, level: int, row: int, removed: np.ndarray
    ) -> tuple[int, int, int]:
        return len(removed), 0, int(self._batch(side, row).new[removed].sum())

    def object_values(
        self, side: Side, dataset: str, level: int, attribute: AttributeMeta, row: int
    ) -> np.ndarray | None:
        return None

    def groups(self, side: Side, dataset: str, level: int) -> Groups:
        return self.sides[side].groups

    def equal(self, dataset: str, level: int, path: str, ours: int, theirs: int) -> bool:
        contents = (
            int(self.sides[side].table.content(path)[row])
            for side, row in (("ours", ours), ("theirs", theirs))
        )
        return tuple(contents) in self.same


def merge(
    base: World,
    ours: World,
    theirs: World,
    *,
    choice: str | None = None,
    same: set[tuple[int, ...]] = frozenset(),  # type: ignore[assignment]
    **options: bool,
) -> tuple[Merged, World]:
    """Merge, with one choice for all conflicts, and make the world that the plan says."""
    details = Known(base, ours, theirs)
    details.same |= same
    given = Options(choose=lambda _: choice, **options)
    merged = merge_index(base.state, ours.state, theirs.state, details, given)
    return merged, apply(merged, ours, theirs)


def apply(merged: Merged, ours: World, theirs: World) -> World:
    """What comes of a plan: ours, with chunks of theirs where the plan carries them."""
    plan = merged.datasets[NAME].levels[0]
    table = plan.index.table
    at = {int(slot): row for row, slot in enumerate(table.slot)}
    batches: dict[bytes, Batch] = {}
    carried = plan.carried.get("batches/index")
    index_of_theirs = set() if carried is None else set(carried[1].tolist())
    removed_of_theirs = {
        slot for array, (_, to) in plan.carried.items() if array == REMOVED for slot in to.tolist()
    }
    cleared = {s for a, slots in plan.cleared.items() if a == REMOVED for s in slots.tolist()}
    for row in range(len(table)):
        uuid, slot = bytes(table.uuid[row]), int(table.slot[row])
        from_theirs = slot in index_of_theirs
        batch = (theirs if from_theirs else ours).batches[uuid]
        if slot in removed_of_theirs:
            removed = theirs.batches[uuid].removed
        elif uuid in ours.batches and slot not in cleared:
            removed = ours.batches[uuid].removed
        else:
            removed = frozenset()
        if slot in plan.removed:
            removed = frozenset(plan.removed[slot].tolist())
        # Where the index says no ids they are a run, from the smallest in the table.
        run = table.id_max[row] - table.id_min[row] == len(batch.ids) - 1
        if run and table.content(INDEX)[row] == 0 and batch.new.all():
            ids = np.arange(table.id_min[row], table.id_max[row] + 1)
            batch = replace(batch, ids=ids)
        batches[uuid] = replace(batch, removed=removed)
    for rewrite, slot in plan.rewrites:
        uuid = bytes(table.uuid[at[slot]])
        side = ours if rewrite.side == "ours" else theirs
        assert len(rewrite.ids) == len(side.batches[uuid].ids)
        batches[uuid] = replace(batches[uuid], ids=rewrite.ids)
    groups = ours.groups if plan.index.facts.groups else {}
    if "groups" in plan.carried:
        groups = theirs.groups
    if plan.groups is not None:
        groups = plan.groups
    metadata = merged.datasets[NAME].meta.metadata
    return World(plan.index.facts, table, batches, groups, metadata)


# ---- worlds at random ----------------------------------------------------------------------------


def name(number: int) -> bytes:
    return number.to_bytes(16, "big")


def grow(world: World, data: st.DataObject, first: int, steps: int, only: str = "") -> World:
    """A world after some changes at random; `first` numbers its batches."""
    for step in range(steps):
        what = only or data.draw(
            st.sampled_from(["append", "append", "give", "go on", "write", "remove", "group"])
        )
        there = [n for n in world.objects if n not in gone(world)]
        uuid = name(first + step)
        if what == "append":
            attributes = data.draw(st.sets(st.sampled_from("ab")))
            world = world.append(uuid, data.draw(st.integers(1, 4)), attributes=sorted(attributes))
        elif what == "give":
            used = set(world.objects.values())
            ids = data.draw(st.sets(st.integers(0, 60), min_size=1, max_size=4)) - used
            world = world.append(uuid, ids=sorted(ids)) if ids else world
        elif what == "go on" and there:
            some = data.draw(st.sets(st.sampled_from(there), min_size=1, max_size=3))
            used = set(world.objects.values())
            ids = data.draw(st.sets(st.integers(0, 60), max_size=2)) - used
            world = world.append(uuid, ids=sorted(ids), goes_on=sorted(some))
        elif what == "write" and len(world.table):
            rows = st.sets(st.integers(0, len(world.table) - 1), min_size=1)
            world = world.write(data.draw(st.sampled_from("ab")), sorted(data.draw(rows)))
        elif what == "remove" and there:
            world = world.remove(sorted(data.draw(st.sets(st.sampled_from(there), max_size=2))))
        elif what == "group" and there:
            some = data.draw(st.sets(st.sampled_from(there), max_size=4))
            ids = np.array(sorted(world.objects[n] for n in some), np.int64)
            groups = {**world.groups, data.draw(st.sampled_from("gh")): ids}
            world = world.regroup(groups)
    world.check()
    return world


def gone(world: World) -> set[tuple[bytes, int]]:
    return {b.truly[at] for b in world.batches.values() for at in b.removed}
