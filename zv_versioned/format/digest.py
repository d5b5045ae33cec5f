"""Content hashes that do not know of batches: sums over vertices, lines and links.

Each item (a vertex, a line, a link, a value of an object, a member of a group)
is hashed with all that belongs to it, two lanes of 64 bits, and the hashes are
added. A sum knows no order and no batches, so what an append adds is added to
the digest, and batches that are put together keep it.

An item is a row of 32-bit words. In each lane it becomes a sum of products with
odd random keys (one for each word of each column, by the column's name; a
multilinear hash), which a finalizer then scrambles. A missing value adds
nothing, so that it is the same whether it was never written or written as
missing. All arithmetic is modulo 2**64, in numpy, in blocks that fit a cache.

The keys are public: this finds accidents, not forgeries. See design note 007.

Source: Carter and Wegman, "Universal classes of hash functions", 1979 (the
multilinear hash); Bellare and Micciancio, "A new paradigm for collision-free
hashing", 1997 (sums of hashes, and what they do not withstand); Steele and others,
"Fast splittable pseudorandom number generators", 2014 (the finalizer).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .table import INDEX, REMOVED

LANES = 2
_BLOCK = 1 << 13
_MASK = (1 << 64) - 1
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)

Sums = tuple[int, int]
"""One number of 64 bits for each lane."""

NOTHING: Sums = (0, 0)


def add(a: Sums, b: Sums) -> Sums:
    """The hash of two collections together."""
    return (a[0] + b[0]) & _MASK, (a[1] + b[1]) & _MASK


@lru_cache(maxsize=1024)
def _keys(name: str, count: int) -> np.ndarray:
    """Odd keys of a column: (LANES, count) uint64."""
    raw = b"".join(
        hashlib.blake2b(f"{lane} {word} {name}".encode(), digest_size=8, person=b"zvd1").digest()
        for lane in range(LANES)
        for word in range(count)
    )
    return np.frombuffer(raw, "<u8").reshape(LANES, count) | np.uint64(1)


def scramble(lanes: np.ndarray, scratch: np.ndarray) -> None:
    """Make every bit depend on every bit, in place."""
    for shift, factor in ((_S30, _FIRST), (_S27, _SECOND)):
        np.right_shift(lanes, shift, out=scratch)
        lanes ^= scratch
        lanes *= factor
    np.right_shift(lanes, _S31, out=scratch)
    lanes ^= scratch


def words_of(rows: np.ndarray) -> np.ndarray:
    """Rows as unsigned words of at most 32 bits: (n, words)."""
    flat = np.ascontiguousarray(rows).reshape(len(rows), -1)
    return flat.view(f"<u{min(flat.dtype.itemsize, 4)}")


@dataclass(frozen=True)
class Column:
    """What items have one of each.

    Parameters
    ----------
    name : str
        It goes into the hash.
    rows : ndarray, shape (N, ...)
        Numbers; of text, codes.
    missing : ndarray of one row, or None
        The value that adds nothing.
    texts : ndarray of uint64, shape (K + 1,), or None
        Of text: what stands for a missing one, and for each code.
    order : ndarray of int64, or None
        Which row each item has; None where they are in order.
    """

    name: str
    rows: np.ndarray
    missing: np.ndarray | None = None
    texts: np.ndarray | None = None
    order: np.ndarray | None = None

    def _part(self, start: int, stop: int) -> np.ndarray:
        rows = self.rows
        if self.order is None:
            part = rows[start:stop]
        else:
            part = rows.take(self.order[start:stop], axis=0, mode="clip")
        return words_of(part if self.texts is None else self.texts.take(part + 1))

    def add_to(self, lanes: np.ndarray, start: int, stop: int) -> None:
        """Add the products of the words of some items: lanes (LANES, stop - start)."""
        words = self._part(start, stop)
        keys = _keys(self.name, words.shape[1])
        wide = np.empty(stop - start, np.uint64)
        product = np.empty(stop - start, np.uint64)
        for word in range(words.shape[1]):
            wide[:] = words[:, word]
            for lane in range(LANES):
                np.multiply(wide, keys[lane, word], out=product)
                lanes[lane] += product
        if self.missing is not None:
            absent = words_of(self.missing.reshape(1, -1)).astype(np.uint64)
            lanes -= (keys * absent).sum(axis=1, dtype=np.uint64)[:, None]


@dataclass(frozen=True)
class Owners:
    """The object of each item.

    Parameters
    ----------
    ids : ndarray of int64, shape (O,)
    rows : ndarray of int, shape (N,)
        The object of each item, as a row of `ids`.
    """

    ids: np.ndarray
    rows: np.ndarray

    def add_to(self, lanes: np.ndarray, start: int, stop: int) -> None:
        """Add what stands for the objects of some items."""
        ids = self.ids.take(self.rows[start:stop], mode="clip")
        Column("object", ids).add_to(lanes, 0, stop - start)

    def tabled(self) -> Owners:
        """The same, with each object looked up rather than hashed where they are few."""
        if 4 * len(self.ids) > len(self.rows):
            return self
        table = np.zeros((LANES, len(self.ids)), np.uint64)
        Column("object", self.ids).add_to(table, 0, len(self.ids))
        return _Tabled(self.ids, self.rows, table)


@dataclass(frozen=True)
class _Tabled(Owners):
    table: np.ndarray

    def add_to(self, lanes: np.ndarray, start: int, stop: int) -> None:
        rows = self.rows[start:stop]
        for lane in range(LANES):
            lanes[lane] += self.table[lane].take(rows, mode="clip")


def _start(kind: str, count: int) -> np.ndarray:
    lanes = np.empty((LANES, count), np.uint64)
    lanes[:] = _keys(kind, 1)
    return lanes


def _blocks(n: int) -> Iterator[tuple[int, int]]:
    for start in range(0, n, _BLOCK):
        yield start, min(start + _BLOCK, n)


def _hashed(
    kind: str, owners: Owners | None, columns: Sequence[Column], start: int, stop: int
) -> np.ndarray:
    lanes = _start(kind, stop - start)
    if owners is not None:
        owners.add_to(lanes, start, stop)
    for column in columns:
        column.add_to(lanes, start, stop)
    scramble(lanes, np.empty_like(lanes))
    return lanes


def _sum(lanes: np.ndarray) -> Sums:
    a, b = (int(total) for total in np.add.reduce(lanes, axis=1))
    return a, b


def items(kind: str, n: int, owners: Owners | None, columns: Sequence[Column]) -> Sums:
    """The sum over `n` items of a kind, such as the vertices of a point cloud."""
    owners = None if owners is None else owners.tabled()
    total = NOTHING
    for start, stop in _blocks(n):
        total = add(total, _sum(_hashed(kind, owners, columns, start, stop)))
    return total


def present(kind: str, n: int, owners: Owners, column: Column, there: np.ndarray) -> Sums:
    """The sum over those of `n` items that have a value at all: a mask says which."""
    total = NOTHING
    for start, stop in _blocks(n):
        lanes = _hashed(kind, owners, [column], start, stop)
        lanes *= there[start:stop].astype(np.uint64)
        total = add(total, _sum(lanes))
    return total


# ---- vertices with links ------------------------------------------------------


def linked(
    n: int,
    owners: Owners,
    columns: Sequence[Column],
    links: np.ndarray,
    link_columns: Sequence[Column],
) -> Sums:
    """The sum over vertices and over the links that name them, in the order they are given in.

    Parameters
    ----------
    n : int
    owners : Owners
    columns : sequence of Column
        Of the vertices.
    links : ndarray of int, shape (M, L)
        Rows of vertices.
    link_columns : sequence of Column
    """
    hashes = np.empty((LANES, n), np.uint64)
    owners = owners.tabled()
    for start, stop in _blocks(n):
        hashes[:, start:stop] = _hashed("vertex", owners, columns, start, stop)
    total = _sum(hashes)
    keys = _keys("end", links.shape[1])
    for start, stop in _blocks(len(links)):
        lanes = _start("link", stop - start)
        for column, ends in enumerate(links[start:stop].T):
            for lane in range(LANES):
                lanes[lane] += hashes[lane].take(ends, mode="clip") * keys[lane, column]
        for attribute in link_columns:
            attribute.add_to(lanes, start, stop)
        scramble(lanes, np.empty_like(lanes))
        total = add(total, _sum(lanes))
    return total


def lines(
    owners: Owners,
    line_vertices: np.ndarray,
    columns: Sequence[Column],
    link_columns: Sequence[Column],
) -> Sums:
    """The sum over lines, each a sequence of vertices.

    Parameters
    ----------
    owners : Owners
        Of the lines.
    line_vertices : ndarray of int64, shape (P,)
        Vertices of each line, at least one.
    columns : sequence of Column
        Of the vertices, line after line.
    link_columns : sequence of Column
        Of the vertices, too: what the link to the next has; any value stands at
        the end of a line.
    """
    ends = np.cumsum(line_vertices)
    total, first, place = NOTHING, 0, _keys("place in its line", 1)
    while first < len(ends):
        start = int(ends[first - 1]) if first else 0
        stop_line = max(int(np.searchsorted(ends, start + _BLOCK, side="right")), first + 1)
        stop = int(ends[stop_line - 1])
        starts = ends[first:stop_line] - line_vertices[first:stop_line] - start
        lanes = _start("vertex of a line", stop - start)
        # Where every line of the block has one vertex, no link has a value to add.
        if link_columns and stop - start > stop_line - first:
            for column in link_columns:
                column.add_to(lanes, start, stop)
            lanes[:, ends[first:stop_line] - start - 1] = _keys("vertex of a line", 1)
        for column in columns:
            column.add_to(lanes, start, stop)
        ordinal = np.arange(stop - start) - np.repeat(starts, line_vertices[first:stop_line])
        lanes += ordinal.astype(np.uint64) * place
        scramble(lanes, np.empty_like(lanes))
        of_lines = np.add.reduceat(lanes, starts, axis=1)
        of_lines += _keys("line", 1)
        owners.add_to(of_lines, first, stop_line)
        scramble(of_lines, np.empty_like(of_lines))
        total = add(total, _sum(of_lines))
        first = stop_line
    return total


# ---- texts -------------------------------------------------------------------


def hash_texts(ends: np.ndarray, raw: np.ndarray) -> np.ndarray:
    """What stands for each text of a dictionary, behind a 0 for a missing one.

    Parameters
    ----------
    ends : ndarray of int64, shape (K,)
        Where each text ends among the bytes.
    raw : ndarray of uint8
        The texts as UTF-8, one after the other.

    Returns
    -------
    ndarray of uint64, shape (K + 1,)
    """
    starts = np.concatenate((np.zeros(1, np.int64), ends[:-1]))[: len(ends)]
    sums = np.zeros(len(raw) + 1, np.uint64)
    key, at = _keys("byte of a text", 2)[0]
    for start, stop in _blocks(len(raw)):
        place = np.arange(start, stop)
        place -= starts[np.searchsorted(starts, place, side="right") - 1] if len(starts) else 0
        hashes = raw[start:stop].astype(np.uint64) * key + place.astype(np.uint64) * at
        scramble(hashes, np.empty_like(hashes))
        sums[start + 1 : stop + 1] = hashes
    np.cumsum(sums, out=sums)
    found = np.zeros(len(ends) + 1, np.uint64)
    found[1:] = sums[ends] - sums[starts] + (ends - starts + 1).astype(np.uint64) * key
    scramble(found[1:], np.empty(len(ends), np.uint64))
    return found


def texts_column(texts: Sequence[str]) -> np.ndarray:
    """The same of a list of texts."""
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([len(text) for text in encoded], dtype=np.int64)
    return hash_texts(ends, np.frombuffer(b"".join(encoded), np.uint8))


# ---- what a digest was made of -----------------------------------------------


def made_of(contents: Mapping[str, int], id_min: int, id_max: int) -> int:
    """A number, never 0, for what the sums of a batch were taken over: contents and ids.

    Values of objects are summed apart and do not count. A run of ids that a merge
    gave anew stands in the table alone.
    """
    paths = counted(contents)
    return made_of_counted(paths, [contents[path] for path in paths], id_min, id_max)


def counted(paths: Iterable[str]) -> list[str]:
    """Those whose contents count, in the order that :func:`made_of_counted` takes them."""
    some = (p for p in paths if p in (REMOVED, INDEX) or p.startswith(("vertex_", "link_")))
    return sorted(some, key=lambda path: f"{path}=")


def made_of_counted(paths: Sequence[str], contents: Sequence[int], id_min: int, id_max: int) -> int:
    """As :func:`made_of`, which is quicker where many batches have the same paths."""
    parts = [f"{path}={content}" for path, content in zip(paths, contents, strict=True) if content]
    told = "\n".join([str(id_min), str(id_max), *parts])
    raw = hashlib.blake2b(told.encode(), digest_size=8, person=b"zvd1").digest()
    return int.from_bytes(raw, "little") >> 1 or 1


def signed(number: int) -> int:
    """A number of 64 bits as a column of int64 has it."""
    return number - (1 << 64) if number >> 63 else number


def final(*parts: bytes) -> str:
    """The digest that people see: ``zvd1-`` and 32 hexadecimal digits."""
    whole = hashlib.blake2b(digest_size=16, person=b"zvd1")
    for part in parts:
        whole.update(len(part).to_bytes(8, "little") + part)
    return f"zvd1-{whole.hexdigest()}"
