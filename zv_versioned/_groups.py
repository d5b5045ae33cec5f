"""Groups of objects: names for sets of ids, small beside the data.

All groups of a level are one cell, written anew with each change under a new
content id, which the level's facts have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _checks, _paths, _store, _writes
from ._cache import Cache
from ._sets import is_in
from ._words import counted
from .errors import IntegrityError, NotFoundError
from .format import arrays, batches, cells, columns, metadata
from .format.metadata import LevelFacts
from .format.table import new_content_id

if TYPE_CHECKING:
    from zarr.abc.store import Store

    from .writing.stage import LevelStage


def encode_groups(groups: Mapping[str, np.ndarray]) -> bytes:
    """Groups, by name, as the payload of a cell; ids ascending."""
    names = sorted(groups)
    encoded = [name.encode() for name in names]
    members = [groups[name].astype("<i8", copy=False) for name in names]
    table: dict[str, np.ndarray] = {
        "name_end": np.cumsum([len(name) for name in encoded], dtype=np.int64),
        "name": np.frombuffer(b"".join(encoded), np.uint8),
        "member_end": np.cumsum([len(ids) for ids in members], dtype=np.int64),
        "member": np.concatenate([np.zeros(0, np.int64), *members]),
    }
    return columns.pack(table)


def decode_groups(payload: memoryview) -> dict[str, np.ndarray]:
    """Read what :func:`encode_groups` wrote."""
    table = columns.unpack(payload)
    if table.keys() != {"name_end", "name", "member_end", "member"}:
        raise IntegrityError(f"a table of groups has the columns {sorted(table)}")
    raw = table["name"].tobytes()
    ends = table["name_end"].tolist()
    starts = [0, *ends][: len(ends)]
    names = [raw[a:b].decode() for a, b in zip(starts, ends, strict=True)]
    members = np.split(table["member"], table["member_end"][:-1]) if names else []
    return dict(zip(names, members, strict=True))


def load_groups(store: Store, path: str, facts: LevelFacts, known: Cache) -> dict[str, np.ndarray]:
    """The groups of a level; arrays that are not to be changed.

    Parameters
    ----------
    store : zarr.abc.store.Store
    path : str
        The level's.
    facts : LevelFacts
    known : Cache
        Of what never changes.
    """
    if facts.groups == 0:
        return {}
    found: dict[str, np.ndarray] | None = known.get(("groups", facts.groups))
    if found is None:
        key = key_of(path)
        (raw,) = _store.get_many(store, [(key, 0, -1)])
        with _store.damage_in(key):
            payload = cells.decode(raw)
            found = decode_groups(payload)
        for ids in found.values():
            ids.flags.writeable = False
        known.put(("groups", facts.groups), found, len(payload) + 256 * len(found))
    return found


def key_of(path: str) -> str:
    """The chunk that has the groups of a level."""
    return _paths.shard_key(_paths.join(path, "groups"), 0, ())


def array_document() -> dict[str, Any]:
    """The array of the groups."""
    codecs = batches.CODEC.to_metadata()
    return arrays.bytes_array([1], [1], codecs, ["table"], {"zv_array": "groups"})


class Groups(Mapping[str, np.ndarray]):
    """The groups of a level: a mapping of names to the ids of their objects, ascending."""

    def __init__(self, groups: Mapping[str, np.ndarray], where: str) -> None:
        self._groups = groups
        self._where = where

    def __getitem__(self, name: str) -> np.ndarray:
        if not isinstance(name, str) or name not in self._groups:
            raise unknown_group(name, self._groups, self._where)
        return self._groups[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._groups))

    def __len__(self) -> int:
        return len(self._groups)

    def __contains__(self, name: object) -> bool:
        return name in self._groups

    def get(self, name: str, default: Any = None) -> Any:
        """The ids of the group of this name, or `default` where there is none."""
        return self._groups.get(name, default)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name!r}: {counted(len(ids), 'object')}" for name, ids in self.items())
        return f"<Groups of {self._where}: {shown or 'none'}>"


def unknown_group(name: object, groups: Mapping[str, Any], where: str) -> NotFoundError:
    """The error for a group that is not there."""
    there = ", ".join(map(repr, sorted(groups))) or "none"
    return NotFoundError(f"no group {name!r} in {where}; there are: {there}")


# ---- writing ----------------------------------------------------------------


def add_group(stage: LevelStage, name: Any, ids: Any) -> dict[str, Any]:
    """Name a set of objects; see :meth:`ZVWriter.add_group`."""
    _paths.check_name(name, "a group")
    members = _checks.ids_asked_for(ids)
    reader = stage.reader()
    if len(members):
        reader.members(reader.state.table.live_vertices > 0, members, strict=True)
    write_groups(stage, {**staged_groups(stage), name: members})
    return {"group": name, "num_objects": len(members)}


def remove_group(stage: LevelStage, name: Any) -> None:
    """Forget a name; see :meth:`ZVWriter.remove_group`."""
    groups = staged_groups(stage)
    if not isinstance(name, str) or name not in groups:
        raise unknown_group(name, groups, f"level {stage.path!r}")
    write_groups(stage, {n: ids for n, ids in groups.items() if n != name})


def without_members(stage: LevelStage, removed: np.ndarray) -> None:
    """Take objects that were removed out of all groups."""
    groups = staged_groups(stage)
    left = {name: ids[~is_in(ids, removed)] for name, ids in groups.items()}
    if any(len(left[name]) < len(groups[name]) for name in groups):
        write_groups(stage, left)


def staged_groups(stage: LevelStage) -> dict[str, np.ndarray]:
    """The groups as the transaction sees them."""
    return load_groups(stage.store, stage.path, stage.facts, stage.parts)


def write_groups(stage: LevelStage, groups: Mapping[str, np.ndarray]) -> None:
    """Upload all groups of a level and record their new content."""
    node = f"{_paths.join(stage.path, 'groups')}/zarr.json"
    with stage.uploading():
        if not stage.facts.groups:
            _writes.set_many(stage.store, [(node, metadata.dumps(array_document()))])
        cell = batches.CODEC.encode(encode_groups(groups))
        _writes.set_many(stage.store, [(key_of(stage.path), cell)])
    stage.regrouped(new_content_id())
