"""Which groups and arrays a level has in the form of Zarr Vectors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from ... import _paths
from ..._groups import load_groups
from ...format.metadata import OBJECT_ATTRIBUTES, POINTS, VERTEX_ATTRIBUTES
from ...reading.reader import LevelReader
from ._batches import Batches
from ._cells import FragmentsArray, ValuesArray, VerticesArray
from ._families import Families
from ._loader import Loader
from ._nodes import GroupNode, Node
from ._object_values import OBJECT_ID, ObjectValuesArray, OwnIdsArray
from ._objects import GroupsArray, IdsArray, ManifestsArray, ObjectRows

_VALUES = (VERTEX_ATTRIBUTES, OBJECT_ATTRIBUTES)


class LevelNodes:
    """The nodes of one level, each made when it is first asked for.

    Parameters
    ----------
    reader : LevelReader
    numbered : bool
        Whether objects go by the number of their row in place of their id.
    """

    def __init__(self, reader: LevelReader, *, numbered: bool) -> None:
        self._reader = reader
        self._numbered = numbered
        self._facts = reader.state.facts
        self._known: dict[str, Node | None] = {}
        self._lock = threading.RLock()
        self.loader = Loader()

    def known(self, path: str) -> tuple[bool, Node | None]:
        """Whether it is known already what lies at a path, and what."""
        return path in self._known, self._known.get(path)

    def node(self, path: str) -> Node | None:
        """What lies at a path of the level; this may read."""
        with self._lock:
            if path not in self._known:
                node = self._make(path)
                if node is None:
                    return None  # not remembered: there is no end of paths where nothing lies
                self._known[path] = node
            return self._known[path]

    def children(self, path: str) -> list[str]:
        """The names of the nodes in a group; this may read."""
        with self._lock:
            if path == "":
                names = ["vertices", "vertex_fragments", "object_index"]
                names += [family for family in _VALUES if self._names(family)]
                names += ["groups"] if self._groups else []
                return names if self._families is None else names + self._families.top()
            if path in _VALUES:
                return self._names(path)
            if path == "object_index":
                return ["manifests", "object_ids"]
            return [] if self._families is None else self._families.children(path)

    def _names(self, family: str) -> list[str]:
        """The names of the attributes of vertices or objects, sorted."""
        names = list(self._facts.family(family))
        if family == OBJECT_ATTRIBUTES and self._numbered:
            names.append(OBJECT_ID)
        return sorted(names)

    def walk(self, wanted: Callable[[str], bool], path: str = "") -> Iterator[Node]:
        """The node at a path and all below it, but for paths not wanted; this may read."""
        node = self.node(path) if wanted(path) else None
        if node is None:
            return
        yield node
        for name in self.children(path):
            yield from self.walk(wanted, _paths.join(path, name))

    # -- making nodes --------------------------------------------------------

    @cached_property
    def _batches(self) -> Batches:
        return Batches(self._reader)

    @cached_property
    def _families(self) -> Families | None:
        if self._reader.meta.kind in POINTS:
            return None
        return Families(self._batches, self._facts.link_attributes)

    @cached_property
    def _groups(self) -> Mapping[str, np.ndarray]:
        reader = self._reader
        return load_groups(reader.store, reader.state.path, self._facts, reader.parts)

    @cached_property
    def _objects(self) -> ObjectRows:
        return ObjectRows.of(self._reader, numbered=self._numbered)

    def _make(self, path: str) -> Node | None:
        family, _, name = path.partition("/")
        if path == "":
            return GroupNode("", self._level_attributes())
        if path == "vertices":
            return VerticesArray(self._batches)
        if path == "vertex_fragments":
            return FragmentsArray(self._batches)
        if family in _VALUES:
            return self._attribute(family, name)
        if path == "object_index":
            return GroupNode(path, self._objects.attributes(self._reader.meta.ndim))
        if path == "object_index/manifests":
            return ManifestsArray(self._batches, self._objects)
        if path == "object_index/object_ids":
            return IdsArray(self._objects)
        if path == "groups":
            return GroupsArray(self._groups, self._objects) if self._groups else None
        return None if self._families is None else self._families.node(path)

    def _attribute(self, family: str, name: str) -> Node | None:
        names = self._names(family)
        if not name:
            return GroupNode(family) if names else None
        if name not in names:
            return None
        if family == OBJECT_ATTRIBUTES and name == OBJECT_ID and self._numbered:
            return OwnIdsArray(self._reader, self._objects)
        attribute = self._facts.family(family)[name]
        if family == OBJECT_ATTRIBUTES:
            return ObjectValuesArray(self._reader, self._objects, attribute)
        return ValuesArray(self._batches, attribute)

    def _level_attributes(self) -> dict[str, Any]:
        group = self._facts.to_attributes(self._reader.meta.axes)
        level = group["zarr_vectors_level"]
        level["arrays_present"] = self.children("")
        if self._facts.slots:
            level["chunk_attribute_values"] = list(range(self._facts.slots))
        else:
            for key in ("chunk_attribute_name", "chunk_dims", "fragments_tile"):
                del level[key]
        return group
