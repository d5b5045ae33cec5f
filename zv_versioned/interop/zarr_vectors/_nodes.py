"""What is handed out: groups and arrays, whose chunks are made in units.

A unit is a run of chunks that are made together, because they come from the
same bytes. The store keeps made units for a while and answers from them.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...format import metadata

Index = tuple[int, ...]
Unit = Hashable
Loaded = Mapping[Hashable, bytes]
"""The chunks of a unit, by member."""

NO_CODECS: list[dict[str, Any]] = [{"name": "vlen-bytes", "configuration": {}}]
LITTLE: list[dict[str, Any]] = [{"name": "bytes", "configuration": {"endian": "little"}}]
_FRAME = struct.Struct("<II")


class Source(ABC):
    """What chunks are made from, a unit at a time; several arrays may share one.

    Parameters
    ----------
    path : str
        Names it among the sources of its level.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    @abstractmethod
    def weight(self, unit: Unit) -> int:
        """About how many bytes a unit takes."""

    @abstractmethod
    def load(self, units: Sequence[Unit]) -> list[Loaded]:
        """Make units. This reads, and so may block."""


@dataclass(frozen=True)
class Place:
    """Where a chunk is found: a unit of a source, and which of its chunks."""

    source: Source
    unit: Unit
    member: Hashable


class Node(ABC):
    """A group or an array; everything here answers without reading.

    Parameters
    ----------
    path : str
        Within the level; "" is the level's group.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    @abstractmethod
    def document(self) -> dict[str, Any]:
        """What its ``zarr.json`` says."""

    @cached_property
    def encoded(self) -> bytes:
        """The bytes of its ``zarr.json``."""
        return metadata.dumps(self.document())

    @property
    def is_encoded(self) -> bool:
        """Whether these bytes are there already."""
        return "encoded" in vars(self)


class GroupNode(Node):
    """A group."""

    def __init__(self, path: str, attributes: Mapping[str, Any] | None = None) -> None:
        super().__init__(path)
        self._attributes = attributes

    def document(self) -> dict[str, Any]:
        """What its ``zarr.json`` says."""
        return metadata.group(self._attributes)


class ArrayNode(Node):
    """An array, whose chunks are made when they are asked for."""

    rank: int
    """Numbers of an index."""

    @abstractmethod
    def chunks(self) -> Iterable[Index]:
        """The indices of the chunks that there are."""

    @abstractmethod
    def place(self, index: Index) -> Place | None:
        """Where a chunk is found; None where there is no such chunk."""


def frame(payload: bytes | memoryview) -> bytes:
    """A chunk of one variable-length item."""
    return b"".join((_FRAME.pack(1, len(payload)), payload))


def frames(raw: memoryview, starts: np.ndarray, stops: np.ndarray) -> list[bytes]:
    """Chunks of one item each, cut from one buffer."""
    return [frame(raw[a:b]) for a, b in zip(starts.tolist(), stops.tolist(), strict=True)]


def vlen(items: Sequence[bytes]) -> bytes:
    """A chunk of several variable-length items."""
    parts = [struct.pack("<I", len(items))]
    for item in items:
        parts += [struct.pack("<I", len(item)), item]
    return b"".join(parts)
