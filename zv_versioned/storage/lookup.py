"""Where one node of a snapshot, or one chunk of an array, stands in icechunk's files.

Who reads few of many wants neither all nodes of a snapshot nor all chunks of a manifest
decoded: each is when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ..errors import IntegrityError
from .files import (
    ID_BYTES,
    MANIFEST,
    NEITHER,
    SNAPSHOT,
    Node,
    content,
    node_of,
    object_id,
    object_ids,
    reading,
)  # fmt: skip
from .flat import FEW, Table

# Of chunks as many are found one by one as take as long as all of them by column.
_ALONE = 20
_BY_COLUMN = 16


class Nodes:
    """The nodes of a snapshot, each decoded when it is asked for.

    Parameters
    ----------
    raw : bytes
        A file of ``snapshots``.
    what : str
        Names it in errors.
    """

    def __init__(self, raw: bytes, what: str) -> None:
        self._what = what
        self._root = content(raw, SNAPSHOT, what)
        self._tables: dict[bytes, Table] | None = None

    def find(self, path: str) -> Node | None:
        """The node at a path without a slash in front; None where there is none."""
        name = f"/{path}".encode()
        with reading(self._what):
            table = None
            if self._tables is None and self._root.length(2) > FEW:
                table = self._sought(name)
            if table is None:
                # What is not found may lie elsewhere in an order that is not known here.
                if self._tables is None:
                    self._tables = {t.blob(1) or b"": t for t in self._root.tables(2)}
                table = self._tables.get(name)
            return None if table is None else node_of(table)

    def _sought(self, path: bytes) -> Table | None:
        """By halves: icechunk sorts nodes by their paths."""
        low, high = 0, self._root.length(2)
        while low < high:
            middle = (low + high) // 2
            table = self._root.item(2, middle)
            found = table.blob(1) or b""
            if found == path:
                return table
            low, high = (middle + 1, high) if found < path else (low, middle)
        return None


class Chunk(NamedTuple):
    """Where a chunk lies that is a part of a file: its name, and which part."""

    file: str
    offset: int
    length: int


class Chunks:
    """The chunks of one array in one manifest.

    Each is decoded when it is asked for, and once many were, all that are files.

    Parameters
    ----------
    table : Table
        What the manifest says of the array.
    what : str
        Names the manifest in errors.
    """

    def __init__(self, table: Table, what: str) -> None:
        self._table = table
        self._what = what
        index: Iterable[Sequence[int]]
        if table.length(1) > FEW:
            index = table.columns(1).u32_vectors(0).tolist()
        else:
            index = (row.u32s(0) for row in table.tables(1))
        self._row = {tuple(at): row for row, at in enumerate(index)}
        self._left = _ALONE + len(self._row) // _BY_COLUMN
        self._native: list[Chunk | None] | None = None

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        """Their coordinates."""
        return iter(self._row)

    def find(self, at: tuple[int, ...]) -> Chunk | bytes | None:
        """Where a chunk lies, or its bytes where they stand in the manifest; None for none.

        Raises
        ------
        IntegrityError
            If it is neither of both.
        """
        row = self._row.get(at)
        if row is None:
            return None
        if self._native is None:
            self._expect(1)
        if self._native is not None and (chunk := self._native[row]) is not None:
            return chunk
        with reading(self._what):
            return self._one(row)

    def _one(self, row: int) -> Chunk | bytes:
        table = self._table.item(1, row)
        file, inline = table.struct(4, ID_BYTES), table.blob(1)
        if inline is not None and file is None:
            return inline
        if file is None or inline is not None:
            raise ValueError(NEITHER)
        return Chunk(object_id(file), table.u64(2), table.u64(3))

    def find_all(self, places: Sequence[tuple[int, ...]]) -> list[Chunk | bytes | None]:
        """The same of many, at less cost for each."""
        rows = list(map(self._row.get, places))
        asked = len(rows) - rows.count(None)
        if asked:
            self._expect(asked)
        native = self._native
        with reading(self._what):
            if native is None:
                return [None if row is None else self._one(row) for row in rows]
            return [None if row is None else native[row] or self._one(row) for row in rows]

    def _expect(self, count: int) -> None:
        """So many are asked for: once they are more than a few, all are decoded."""
        self._left -= count
        if self._native is None and self._left < 0:
            try:
                with reading(self._what):
                    self._native = self._all_native()
            except IntegrityError:  # some are damaged: each by itself says whether it is one
                self._native = [None] * len(self._row)

    def _all_native(self) -> list[Chunk | None]:
        """Where each lies that is in a file of its own, by row; None for the others."""
        rows = self._table.columns(1)
        native = (rows.has(4) & ~rows.has(1)).tolist()
        names = object_ids(rows.structs(4, ID_BYTES))
        parts = zip(native, names, rows.u64(2).tolist(), rows.u64(3).tolist(), strict=True)
        return [Chunk(name, offset, n) if own else None for own, name, offset, n in parts]


def chunks_in(raw: bytes, node: bytes, what: str) -> Chunks | None:
    """The chunks of one array, by its node's id, in a file of ``manifests``."""
    root = content(raw, MANIFEST, what)
    with reading(what):
        for table in root.tables(1):
            if table.struct(0, 8) == node:
                return Chunks(table, what)
    return None
