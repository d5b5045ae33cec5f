"""icechunk's own files, decoded: snapshots, manifests, transaction logs, and what refs lead to.

icechunk answers for what it needs; whoever checks a repository has to see every
file of it, also those that nothing leads to. A file begins with a header of 39
bytes (a mark, the writer's name, the version of the format, the kind of file,
the compression), and the rest is a FlatBuffer, compressed with zstd as a rule.
Nothing in it is a checksum.

Source: the icechunk specification, versions 1 and 2, and its FlatBuffers schemas.
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numcodecs import zstd

from ..errors import IntegrityError
from .flat import FEW, Buffer, Table

MARK = "ICE\N{ICE CUBE}CHUNK".encode()
HEADER = 39
SNAPSHOT, MANIFEST, TRANSACTION, REPO = 1, 2, 4, 6
KINDS = {"snapshots": SNAPSHOT, "manifests": MANIFEST, "transactions": TRANSACTION}
"""The kind of the files in each folder."""
ID_BYTES = 12
"""Bytes of the id of a file."""
_SNAPSHOT_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{20}")
NEITHER = "a chunk is neither in a file of its own nor in the manifest"
_MOST = 1 << 31
_USUAL = 1 << 16
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_DIGITS = [a + b for a in _CROCKFORD for b in _CROCKFORD]
_SHIFTS = range(90, -1, -10)
_BITS = np.array([16, 8, 4, 2, 1], np.uint8)
_DIGIT = np.frombuffer(_CROCKFORD.encode(), np.uint8)


def read_file(path: str) -> bytes:
    """A small file, in as few calls as can be: where a commit waits, each of them counts."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        parts = [os.read(descriptor, _USUAL)]
        while len(parts[-1]) == _USUAL:
            parts.append(os.read(descriptor, _USUAL))
    finally:
        os.close(descriptor)
    return b"".join(parts)


def object_id(raw: bytes) -> str:
    """The name of a file, from the 12 bytes of its id: Crockford's base 32, 20 digits."""
    number = int.from_bytes(raw, "big") << 4
    return "".join([_DIGITS[number >> shift & 1023] for shift in _SHIFTS])


def object_ids(raw: np.ndarray) -> list[str]:
    """The names of many files, from their ids: (n, 12) uint8."""
    bits = np.zeros((len(raw), 100), np.uint8)
    bits[:, :96] = np.unpackbits(raw, axis=1)
    digits = _DIGIT[bits.reshape(-1, 20, 5) @ _BITS]
    return [name.decode() for name in digits.view("S20").reshape(-1).tolist()]


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Around the decoding of a file: what it cannot make sense of is an IntegrityError."""
    try:
        yield
    except (ValueError, IndexError, TypeError, KeyError, struct.error, MemoryError) as error:
        raise IntegrityError(f"{what} cannot be read: {error}") from error
    except RuntimeError as error:  # zstd
        raise IntegrityError(f"{what} cannot be decompressed: {error}") from error


def version(raw: bytes, what: str) -> int:
    """The version of the format that a file of icechunk's is of.

    Raises
    ------
    IntegrityError
        If it is no such file.
    """
    if len(raw) < HEADER or raw[:12] != MARK:
        raise IntegrityError(f"{what} does not begin as a file of icechunk's does")
    return raw[36]


def content(raw: bytes, kind: int, what: str) -> Table:
    """The root of a file of icechunk's.

    Raises
    ------
    IntegrityError
        If it is no such file or is cut short.
    """
    if len(raw) < HEADER or raw[:12] != MARK:
        raise IntegrityError(f"{what} does not begin as a file of icechunk's does")
    if raw[37] != kind:
        raise IntegrityError(f"{what} is of kind {raw[37]}, where {kind} belongs")
    with reading(what):
        body = raw[HEADER:]
        if raw[38] == 1:
            _refuse_monsters(body)
            body = bytes(zstd.decompress(body))
        elif raw[38] != 0:
            raise ValueError(f"compression {raw[38]} is unknown")
        return Buffer(body).root()


def _refuse_monsters(frame: bytes) -> None:
    """Refuse a zstd frame that claims more than any file of icechunk's has."""
    # Frame header: magic number, descriptor, window (absent in a single segment), dictionary id,
    # content size. RFC 8878, section 3.1.1.1.
    descriptor = frame[4]
    size_bytes = (1 if descriptor & 0x20 else 0, 2, 4, 8)[descriptor >> 6]
    at = 5 + (0 if descriptor & 0x20 else 1) + (0, 1, 2, 4)[descriptor & 3]
    claimed = int.from_bytes(frame[at : at + size_bytes], "little")
    if claimed > _MOST:
        raise ValueError(f"it claims to hold {claimed:,} bytes")


@dataclass(frozen=True)
class Node:
    """A group or an array of a snapshot.

    Parameters
    ----------
    id : bytes
    path : str
        Without the slash in front.
    document : bytes
        Its ``zarr.json``.
    manifests : tuple of str, or None
        Of an array: the manifests that its chunks stand in.
    """

    id: bytes
    path: str
    document: bytes
    manifests: tuple[str, ...] | None


@dataclass(frozen=True)
class SnapshotFile:
    """What a file in ``snapshots`` says.

    Parameters
    ----------
    id : str
    parent : str or None
        Version 2 keeps it in ``repo``.
    nodes : list of Node
    manifests : mapping of str to int
        All manifests of the snapshot, with their sizes in bytes.
    flushed_at : int
        Microseconds since 1970.
    message : str
        Of the commit, as icechunk has it.
    """

    id: str
    parent: str | None
    nodes: list[Node]
    manifests: Mapping[str, int]
    flushed_at: int
    message: str


def node_of(table: Table) -> Node:
    """A node of a snapshot, decoded."""
    manifests = None
    if table.u8(3) == 1:
        array = table.table(4)
        if array is None:
            raise ValueError("an array without its data")
        manifests = tuple(_id(ref, 0) for ref in array.tables(2))
    path = table.text(1).lstrip("/")
    return Node(table.struct(0, 8) or b"", path, table.blob(2) or b"", manifests)


def _id(table: Table, field: int) -> str:
    raw = table.struct(field, ID_BYTES)
    if raw is None:
        raise ValueError("a file's id is missing")
    return object_id(raw)


def _manifests(root: Table) -> dict[str, int]:
    # A struct is padded: 12 bytes of id, 4 of nothing, 8 of size, 4 of count, 4 of nothing.
    old = root.structs(6, 32)
    if len(old) == 0:
        if root.length(7) <= FEW:
            return {_id(row, 0): row.u64(1) for row in root.tables(7)}
        rows = root.columns(7)
        ids, found = rows.structs(0, ID_BYTES), rows.u64(1)
        return {object_id(bytes(i)): int(n) for i, n in zip(ids, found, strict=True)}
    sizes = np.ascontiguousarray(old[:, 16:24]).view("<u8").reshape(-1)
    return {object_id(bytes(i)): int(n) for i, n in zip(old[:, :ID_BYTES], sizes, strict=True)}


def snapshot(raw: bytes, what: str) -> SnapshotFile:
    """Read a file of ``snapshots``; `what` names it in errors."""
    root = content(raw, SNAPSHOT, what)
    with reading(what):
        parent = root.struct(1, ID_BYTES)
        return SnapshotFile(
            _id(root, 0),
            None if parent is None else object_id(parent),
            [node_of(table) for table in root.tables(2)],
            _manifests(root),
            root.u64(3),
            root.text(4),
        )


def manifests_of(raw: bytes, what: str) -> Mapping[str, int]:
    """The manifests of a snapshot and their sizes, without the rest of it."""
    root = content(raw, SNAPSHOT, what)
    with reading(what):
        return _manifests(root)


@dataclass(frozen=True)
class Refs:
    """Where the chunks of one array lie, as columns.

    Parameters
    ----------
    index : ndarray of int64, shape (n, ndim)
        Coordinates of the chunks.
    native : ndarray of bool, shape (n,)
        Whether a chunk is a file of its own; else its bytes lie in the manifest.
    chunk : ndarray of uint8, shape (n, 12)
        Ids of the files; see :func:`object_id`.
    inline : list of bytes or None
        The bytes of the others.
    offset, length : ndarray of int64, shape (n,)
        The part of the file.
    """

    index: np.ndarray
    native: np.ndarray
    chunk: np.ndarray
    inline: list[bytes | None]
    offset: np.ndarray
    length: np.ndarray

    def chunks(self) -> list[bytes]:
        """Ids of the files, of those chunks that are files."""
        ids = np.ascontiguousarray(self.chunk[self.native])
        return ids.view(f"V{ID_BYTES}").reshape(-1).tolist()


def manifest(raw: bytes, what: str) -> tuple[str, dict[bytes, Refs]]:
    """Read a file of ``manifests``: its id, and the chunks of each array, by node id."""
    root = content(raw, MANIFEST, what)
    with reading(what):
        arrays: dict[bytes, Refs] = {}
        for table in root.tables(1):
            rows = table.columns(1)
            native = rows.has(4)
            if not (native ^ rows.has(1)).all():
                raise ValueError(NEITHER)
            arrays[table.struct(0, 8) or b""] = Refs(
                rows.u32_vectors(0),
                native,
                rows.structs(4, ID_BYTES),
                rows.blobs(1),
                rows.u64(2),
                rows.u64(3),
            )
        return _id(root, 0), arrays


def transaction_id(raw: bytes, what: str) -> str:
    """The id of a transaction log, all of whose parts can be read."""
    root = content(raw, TRANSACTION, what)
    with reading(what):
        for field in range(1, 7):
            root.structs(field, 8)
        for table in root.tables(7):
            table.columns(1).u32_vectors(0)
        return _id(root, 0)


@dataclass(frozen=True)
class RepoFile:
    """What leads into a repository: the refs, and which snapshot came from which.

    Parameters
    ----------
    branches, tags : mapping of str to str
        Names to snapshot ids.
    parents : mapping of str to (str or None)
        All snapshots and what each came from; empty in version 1, where a
        snapshot says it itself.
    backups : tuple of str
        Earlier states of the file that it refers to, by their names in
        ``overwritten``.
    logs : frozenset of str
        Snapshots that have expired, and whose transaction logs icechunk keeps: to
        tell what the next one that is left has changed.
    """

    branches: Mapping[str, str]
    tags: Mapping[str, str]
    parents: Mapping[str, str | None]
    backups: tuple[str, ...] = ()
    logs: frozenset[str] = frozenset()


def repo(raw: bytes, what: str) -> RepoFile:
    """Read the file ``repo`` of version 2."""
    root = content(raw, REPO, what)
    with reading(what):
        rows = root.tables(4)
        ids = [_id(row, 0) for row in rows]
        steps = [row.i32(1) for row in rows]
        parents = {i: ids[step] if step >= 0 else None for i, step in zip(ids, steps, strict=True)}

        def refs(field: int) -> dict[str, str]:
            return {ref.text(0): ids[ref.u32(1)] for ref in root.tables(field)}

        backups = [update.text(3) for update in root.tables(7)] + [root.text(8)]
        names = tuple(dict.fromkeys(name for name in backups if name))
        logs = frozenset(object_id(bytes(log)) for row in rows for log in row.structs(5, ID_BYTES))
        return RepoFile(refs(2), refs(1), parents, names, logs)


def ref_target(raw: bytes) -> str:
    """The snapshot that a ref of version 1 names.

    Raises
    ------
    ValueError
        If it names none.
    """
    document: Any = json.loads(raw)
    target = document.get("snapshot") if isinstance(document, dict) else None
    if not isinstance(target, str) or not _SNAPSHOT_ID.fullmatch(target):
        raise ValueError(f"it names no snapshot, but {target!r}")
    return target


def refs_of_folder(folder: Path) -> tuple[RepoFile, dict[str, str]]:
    """The refs of version 1, which are files: and, by path, why one cannot be read."""
    found: dict[str, dict[str, str]] = {"branch": {}, "tag": {}}
    unreadable: dict[str, str] = {}
    root = folder / "refs"
    for path in sorted(root.glob("*/ref.json")):
        kind, _, name = path.parent.name.partition(".")
        if path.with_name("ref.json.deleted").exists():
            continue
        try:
            found[kind][name] = ref_target(path.read_bytes())
        except (OSError, ValueError) as error:
            unreadable[path.relative_to(folder).as_posix()] = str(error)
    return RepoFile(found["branch"], found["tag"], {}), unreadable
