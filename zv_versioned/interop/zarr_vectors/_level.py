"""Which groups and arrays a level has in the form of Zarr Vectors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

from ... import _paths
from ..._read import LevelReader
from ...format.metadata import VERTEX_ATTRIBUTES
from ._batches import Batches
from ._cells import FragmentsArray, ValuesArray, VerticesArray
from ._loader import Loader
from ._nodes import GroupNode, Node
from ._objects import IdsArray, ManifestsArray, ObjectRows


class LevelNodes:
    """The nodes of one level, each made when it is first asked for.

    Parameters
    ----------
    reader : LevelReader
    """

    def __init__(self, reader: LevelReader) -> None:
        self._reader = reader
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
        facts = self._facts
        if path == "":
            names = ["vertices", "vertex_fragments", "object_index"]
            return [*names, *([VERTEX_ATTRIBUTES] if facts.attributes else [])]
        if path == VERTEX_ATTRIBUTES:
            return sorted(facts.attributes)
        if path == "object_index":
            return ["manifests", "object_ids"]
        return []

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
    def _objects(self) -> ObjectRows:
        return ObjectRows.of(self._reader)

    def _make(self, path: str) -> Node | None:
        family, _, name = path.partition("/")
        if path == "":
            return GroupNode("", self._level_attributes())
        if path == "vertices":
            return VerticesArray(self._batches)
        if path == "vertex_fragments":
            return FragmentsArray(self._batches)
        if family == VERTEX_ATTRIBUTES:
            return self._vertex_attribute(name)
        if path == "object_index":
            return GroupNode(path, self._objects.attributes(self._reader.meta.ndim))
        if path == "object_index/manifests":
            return ManifestsArray(self._batches, self._objects)
        if path == "object_index/object_ids":
            return IdsArray(self._objects)
        return None

    def _vertex_attribute(self, name: str) -> Node | None:
        if not name:
            return GroupNode(VERTEX_ATTRIBUTES) if self._facts.attributes else None
        attribute = self._facts.attributes.get(name)
        return None if attribute is None else ValuesArray(self._batches, attribute)

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
