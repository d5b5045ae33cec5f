"""Removing objects: named batch by batch, never rewritten."""

from __future__ import annotations

from typing import Any

from .. import _checks, _paths, _writes
from .._groups import without_members
from .._sets import union
from ..format import arrays, batches, metadata
from ..format.table import REMOVED, new_content_id
from ..reading.links import live_links
from ..reading.removed import encode_rows, removals_of, removed_rows
from .stage import LevelStage


def remove_objects(stage: LevelStage, ids: Any) -> dict[str, Any]:
    """Remove objects; see :meth:`ZVWriter.remove_objects`."""
    wanted = _checks.ids_asked_for(ids)
    reader = stage.reader()
    table = reader.state.table
    members = reader.members(table.live_vertices > 0, wanted, strict=True)
    if not members:
        return {"objects_removed": 0, "vertices_removed": 0, "links_removed": 0}
    before = removed_rows(reader, list(members))
    begins = dict(zip(members, reader.beginning(list(members)), strict=True))
    columns = {
        name: table.scalars[name].copy()
        for name in ("n_removed_vertices", "n_removed_objects", "n_removed_links")
    }
    content = table.content(REMOVED).copy()
    with stage.uploading():
        if not content.any():
            _writes.set_many(stage.store, [_document(stage)])
        upload = stage.upload
        path = _paths.join(stage.path, REMOVED)
        gone = {r: union(at, before[r]) if r in before else at for r, at in members.items()}
        for row, removal in removals_of(reader, gone).items():
            columns["n_removed_vertices"][row] = removal.total[-1]
            if table.n_links[row]:
                live = live_links(reader, [row], {row: removal})[row]
                columns["n_removed_links"][row] = len(live) - int(live.sum())
            columns["n_removed_objects"][row] += int(begins[row][members[row]].sum())
            content[row] = new_content_id()
            cell = batches.CODEC.encode(encode_rows(gone[row]))
            upload.put(_paths.shard_key(path, int(table.slot[row]), ()), cell)
        upload.start()
    lost = {name: int((columns[name] - table.scalars[name]).sum()) for name in columns}
    stage.removed(table.with_columns(columns, {REMOVED: content}), wanted, lost)
    without_members(stage, wanted)
    return {
        "objects_removed": lost["n_removed_objects"],
        "vertices_removed": lost["n_removed_vertices"],
        "links_removed": lost["n_removed_links"],
    }


def _document(stage: LevelStage) -> tuple[str, bytes]:
    key = f"{_paths.join(stage.path, REMOVED)}/zarr.json"
    return key, metadata.dumps(arrays.batch_array("removed"))
