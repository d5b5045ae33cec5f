"""Checking a level as a whole: its facts beside its table, its batches beside each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _paths, _store
from .._groups import array_document, load_groups
from .._sets import distinct, is_in
from .._state import LevelState
from ..format import arrays
from ..format.metadata import (
    FAMILIES,
    LINK_ATTRIBUTES,
    OBJECT_ATTRIBUTES,
    TEXT,
    VERTEX_ATTRIBUTES,
    DatasetMeta,
    LevelFacts,
)
from ..format.table import REMOVED, BatchTable
from ..history import checks
from ..history.index import DatasetIndex, LevelIndex
from ..history.runs import Runs, overlapping
from ..reading.reader import LevelReader
from ..reading.removed import removed_rows

if TYPE_CHECKING:
    from zarr.abc.store import Store

_NONE = np.zeros(0, np.int64)
_AT_ONCE = 256


def fact_faults(facts: LevelFacts, table: BatchTable) -> Iterator[str]:
    largest = int(table.id_max.max()) if len(table) else -1
    if largest > facts.max_object_id:
        yield f"it says that the largest id is {facts.max_object_id}, and {largest} is in use"
    if len(table) and int(table.slot[-1]) >= facts.slots:
        yield f"it has {facts.slots} slots, and a batch in slot {int(table.slot[-1])}"
    live = table.live_vertices
    if (live < 0).any() or (table.live_links < 0).any() or (table.live_new_objects < 0).any():
        yield "the table counts more removed than there was"


def faults_together(reader: LevelReader, number: int) -> Iterator[str]:
    """What is wrong with batches that are sound each by itself; number `number` is the level's."""
    state, meta = reader.state, reader.meta
    level = LevelIndex(state.path, state.facts, state.table)
    index = {meta.name: DatasetIndex(meta, {number: level})}
    for text in checks.violations(reader.store, reader.parts, index, [(meta.name, number)]):
        yield text.replace(" would ", " does ")
    twice = begun_twice(reader)
    if len(twice):
        yield f"objects {twice[:5].tolist()} begin in more than one batch"
    lost = going_on_alone(reader)
    if len(lost):
        yield f"batches go on with objects {lost[:5].tolist()}, which begin in none or were removed"
    groups = load_groups(reader.store, state.path, state.facts, reader.parts)
    for name, ids in groups.items():
        if (np.diff(ids) <= 0).any():
            yield f"the ids of group {name!r} do not ascend"


def begun_twice(reader: LevelReader) -> np.ndarray:
    """Ids of objects that begin in more than one batch; runs are compared by their ends."""
    table = reader.state.table
    plain = table.plain
    runs = np.stack([table.id_min[plain], table.id_max[plain]], axis=1)
    runs = runs[np.argsort(runs[:, 0], kind="stable")]
    twice = []
    if len(runs) > 1:
        first, reach = runs[1:, 0], np.maximum.accumulate(runs[:-1, 1])
        twice.append(first[first <= reach])
    rows = np.flatnonzero(~plain).tolist()
    if rows:
        ids = np.sort(np.concatenate([ids[is_new] for ids, is_new in reader.ids(rows)]))
        twice.append(ids[1:][ids[1:] == ids[:-1]])
        if len(runs):
            at = np.maximum(np.searchsorted(runs[:, 0], ids, side="right") - 1, 0)
            twice.append(ids[(ids >= runs[at, 0]) & (ids <= runs[at, 1])])
    return distinct(np.concatenate(twice)) if twice else np.zeros(0, np.int64)


def going_on_alone(reader: LevelReader) -> np.ndarray:
    """Ids that batches go on with, and that begin in none or were removed where they begin."""
    table = reader.state.table
    rows = np.flatnonzero(table.n_new_objects < table.n_objects).tolist()
    if not rows:
        return _NONE
    removed = removed_rows(reader, np.flatnonzero(table.content(REMOVED)).tolist())
    parts = []
    for row, (ids, is_new) in zip(rows, reader.ids(rows), strict=True):
        goes_on = ~is_new
        goes_on[removed.get(row, _NONE)] = False
        parts.append(ids[goes_on])
    ids = distinct(np.concatenate(parts))
    begins = np.zeros(len(ids), bool)
    near = overlapping(table.id_min, table.id_max, Runs.of(ids)) & (len(ids) > 0)
    there = np.flatnonzero(near & (table.n_new_objects > 0)).tolist()
    for some in (there[n : n + _AT_ONCE] for n in range(0, len(there), _AT_ONCE)):
        for row, (members, is_new) in zip(some, reader.ids(some), strict=True):
            stays = is_new.copy()
            stays[removed.get(row, _NONE)] = False
            begins |= is_in(ids, members[stays])
    return ids[~begins]


# ---- documents ---------------------------------------------------------------


def document_faults(store: Store, meta: DatasetMeta, state: LevelState) -> Iterator[str]:
    """Arrays whose documents are not what the level's facts imply."""
    expected = dict(_documents(meta, state.facts))
    paths = [_paths.join(state.path, path) for path in expected]
    found = _store.get_documents(store, paths)
    for (path, document), there in zip(expected.items(), found, strict=True):
        if there is None:
            yield f"the array {path} is missing"
            continue
        for key in ("node_type", "shape", "data_type", "chunk_grid", "codecs"):
            if there.get(key) != document.get(key):
                yield f"the document of {path} has another {key} than the level's facts imply"


def _documents(meta: DatasetMeta, facts: LevelFacts) -> Iterable[tuple[str, dict[str, Any]]]:
    grid, axes = facts.grid, meta.axes
    yield "vertices", arrays.vertices_array(grid, axes, meta.vertex_dtype)
    yield "batches/index", arrays.index_array()
    yield "batches/table", arrays.table_array()
    if meta.link_width:
        yield "links", arrays.links_array(grid, axes, meta.link_width)
    if facts.groups:
        yield "groups", array_document()
    for family in (VERTEX_ATTRIBUTES, LINK_ATTRIBUTES):
        for attribute in facts.family(family).values():
            yield attribute.path, arrays.attribute_array(grid, axes, attribute)
    for attribute in facts.family(OBJECT_ATTRIBUTES).values():
        yield attribute.path, arrays.object_attribute_array(attribute)
    for family in FAMILIES:
        for attribute in facts.family(family).values():
            if attribute.logical == TEXT:
                yield attribute.dictionary, arrays.dictionary_array(attribute)
