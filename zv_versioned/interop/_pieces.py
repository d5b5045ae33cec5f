"""What a file holds, as pieces of bounded size: between the formats and the writer.

A format is a pair of pure functions, whatever it is called: one that opens
files and says what is in them (:class:`Source`), and one that writes geometry.
A source is a list of parts that can be read apart from each other, each of them
an iterator of pieces; a piece becomes one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from ..errors import ArrayError
from ..spatial.boxes import Box, box_of

__all__ = [
    "BATCH_VERTICES",
    "Coarser",
    "Part",
    "Piece",
    "Scan",
    "Source",
    "grouped",
    "joined",
    "scan",
]

BATCH_VERTICES = 1_000_000
"""Vertices of a batch, about, where nothing else is asked for."""

Values: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Scan:
    """What looking through a part, or all of it, has told.

    Parameters
    ----------
    box : Box or None
        Of the vertices; None where there are none.
    pieces, vertices : int
    """

    box: Box | None
    pieces: int
    vertices: int

    def __or__(self, other: Scan) -> Scan:
        boxes = [s.box for s in (self, other) if s.box is not None]
        box = boxes[0] if len(boxes) == 1 else boxes[0].union(boxes[1]) if boxes else None
        return Scan(box, self.pieces + other.pieces, self.vertices + other.vertices)


@dataclass(frozen=True, eq=False)
class Piece:
    """Some of what a file holds; all of it belongs together.

    Parameters
    ----------
    positions : ndarray, shape (N, D)
    object_ids : ndarray of int64 or int, optional
        Of each vertex, or of each line.
    offsets : ndarray of int64, shape (P + 1,), optional
        Of lines: where each begins.
    links : ndarray of int64, shape (M, 2) or (M, 3), optional
        Of graphs and meshes: edges or faces, as rows of `positions`.
    attributes, link_attributes, object_attributes : mapping of str to array_like
    name : str
        What an error calls it, such as the file.
    weight : int
        How much of the source it is, in the source's unit.
    counted : bool
        Whether `object_ids` only count the objects of the source, from 0: they are
        then added to the first id that is free.
    """

    positions: np.ndarray
    object_ids: Any = None
    offsets: np.ndarray | None = None
    links: np.ndarray | None = None
    attributes: Values = field(default_factory=dict)
    link_attributes: Values = field(default_factory=dict)
    object_attributes: Values = field(default_factory=dict)
    name: str = ""
    weight: int = 0
    counted: bool = False

    def scan(self) -> Scan:
        """The box of the vertices.

        Raises
        ------
        ArrayError
            If a coordinate is NaN or infinite.
        """
        if len(self.positions) == 0:
            return Scan(None, 1, 0)
        box = box_of(self.positions)
        if not (np.isfinite(box.lo).all() and np.isfinite(box.hi).all()):
            bad = ~np.isfinite(self.positions).all(axis=1)
            first = int(np.argmax(bad))
            raise ArrayError(
                f"{self.name}: NaN or infinite coordinates in {int(bad.sum()):,} of "
                f"{len(bad):,} vertices, the first is vertex {first}: "
                f"{self.positions[first].tolist()}; "
                "correct the file, nothing was imported"
            )
        return Scan(box, 1, len(self.positions))


Part: TypeAlias = Callable[[], Iterator[Piece]]
"""Reads one part of a source. It can be pickled, and called more than once."""


@dataclass(frozen=True)
class Coarser:
    """A coarser level of a source.

    Parameters
    ----------
    level : int
    chunk_shape : tuple of float
    coarsened_from : int
    method : str
    parts : sequence of Part
    """

    level: int
    chunk_shape: tuple[float, ...]
    coarsened_from: int
    method: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Source:
    """Opened files: what is in them, and how to read it.

    Parameters
    ----------
    format : str
    kind : str
        The kind of geometry that it makes.
    ndim : int
    dtype : numpy.dtype
        Of the coordinates.
    parts : sequence of Part
    files : sequence of str
        Names, for messages.
    bounds : Box or None
        Where they are known without looking through the parts.
    axes : list of dict or None
        With units, where the files say.
    metadata : mapping
        What the files say beyond their geometry, for the dataset's metadata.
    total : int or None
        Of the weights of all pieces.
    unit : str
        What the weights count.
    groups : mapping of str to ndarray of int64
        Groups of objects: their ids.
    counted_groups : bool
        Whether these only count the objects of the source, from 0.
    chunk_shape : tuple of float, optional
        Edges of a cell, where the files have such.
    coarser : sequence of Coarser
        Ascending.
    texts : mapping of str to str
        Of attributes that are text, where a file could have meant numbers: the first
        that is none, and where it is.
    vertices : int, optional
        How many there are, where that is known without looking through the parts.
    """

    format: str
    kind: str
    ndim: int
    dtype: np.dtype[Any]
    parts: Sequence[Part]
    files: Sequence[str]
    bounds: Box | None = None
    axes: list[dict[str, str]] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    total: int | None = None
    unit: str = "bytes"
    groups: Mapping[str, np.ndarray] = field(default_factory=dict)
    counted_groups: bool = True
    chunk_shape: tuple[float, ...] | None = None
    coarser: Sequence[Coarser] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    vertices: int | None = None

    def pieces(self) -> Iterator[Piece]:
        """All of it, piece by piece."""
        for part in self.parts:
            yield from part()


def scan(part: Part, seen: Callable[[Piece], None] = lambda piece: None) -> Scan:
    """Look through a part, piece by piece."""
    found = Scan(None, 0, 0)
    for piece in part():
        found |= piece.scan()
        seen(piece)
    return found


def grouped(pieces: Iterable[Piece], batch_vertices: int) -> Iterator[Piece]:
    """Small pieces made into larger ones, of about `batch_vertices` vertices each.

    Pieces that do not have the same attributes are not joined.
    """
    held: list[Piece] = []
    size = 0
    for piece in pieces:
        if held and not _alike(held[-1], piece):
            yield joined(held)
            held, size = [], 0
        held.append(piece)
        size += len(piece.positions)
        if size >= batch_vertices:
            yield joined(held)
            held, size = [], 0
    if held:
        yield joined(held)


def _alike(one: Piece, other: Piece) -> bool:
    """Whether two pieces can be one."""
    families = (
        (one.attributes, other.attributes),
        (one.link_attributes, other.link_attributes),
        (one.object_attributes, other.object_attributes),
    )
    return one.counted == other.counted and all(
        a.keys() == b.keys() and all(a[n].shape[1:] == b[n].shape[1:] for n in a)
        for a, b in families
    )


def joined(pieces: Sequence[Piece]) -> Piece:
    """Pieces that are alike, as one."""
    if len(pieces) == 1:
        return pieces[0]
    bases = np.cumsum([0, *(len(piece.positions) for piece in pieces)])
    offsets = links = None
    if pieces[0].offsets is not None:
        starts = [p.offsets[:-1] + base for p, base in zip(pieces, bases, strict=False)]  # type: ignore[index]
        offsets = np.concatenate([*starts, bases[-1:]])
    if pieces[0].links is not None:
        links = np.concatenate([p.links + base for p, base in zip(pieces, bases, strict=False)])
    first = pieces[0].name
    return Piece(
        np.concatenate([piece.positions for piece in pieces]),
        object_ids=_joined_ids(pieces),
        offsets=offsets,
        links=links,
        attributes=_by_name([piece.attributes for piece in pieces]),
        link_attributes=_by_name([piece.link_attributes for piece in pieces]),
        object_attributes=_by_name([piece.object_attributes for piece in pieces]),
        name=first if first == pieces[-1].name else f"{first} to {pieces[-1].name}",
        weight=sum(piece.weight for piece in pieces),
        counted=pieces[0].counted,
    )


def _by_name(values: Sequence[Values]) -> dict[str, Any]:
    return {name: np.concatenate([v[name] for v in values]) for name in values[0]}


def _joined_ids(pieces: Sequence[Piece]) -> Any:
    ids = [piece.object_ids for piece in pieces]
    if all(one is None for one in ids):
        return None
    if all(isinstance(one, int) for one in ids) and len(set(ids)) == 1:
        return ids[0]
    return np.concatenate(
        [
            np.broadcast_to(np.asarray(one, np.int64), (_ids_of(piece),))
            for one, piece in zip(ids, pieces, strict=True)
        ]
    )


def _ids_of(piece: Piece) -> int:
    """How many ids a piece has: one a line, or one a vertex."""
    return len(piece.positions) if piece.offsets is None else len(piece.offsets) - 1
