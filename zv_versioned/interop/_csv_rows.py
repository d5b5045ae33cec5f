"""The rows of CSV files: cut into ranges that can be read apart, and read by blocks of columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ArrayError, MetadataError

_RANGE_BYTES = 64 << 20
_LOOK = 1 << 20
_BLOCK_ROWS = 1 << 16


@dataclass(frozen=True)
class Range:
    """Rows of one file, from byte to byte; the head is never among them."""

    path: Path
    start: int
    stop: int
    delimiter: str
    names: tuple[str, ...]


def ranges_of(path: Path, delimiter: str | None) -> list[Range]:
    """The rows of a file, cut at ends of lines into ranges that can be read apart."""
    if delimiter is None:
        delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    if len(delimiter) != 1:
        raise MetadataError(f"a delimiter is one character, got {delimiter!r}")
    with path.open("rb") as file:
        head = file.readline(_LOOK)
        begin, size = file.tell(), path.stat().st_size
        names = _head(path, head, delimiter)
        # A quoted cell may have line ends in it: then where rows end is known from the start only.
        if b'"' in head or size - begin <= _RANGE_BYTES or _has_quotes(file):
            ends = [size]
        else:
            ends = _line_ends(file, begin, size)
    starts = [begin, *ends[:-1]]
    return [Range(path, a, b, delimiter, names) for a, b in zip(starts, ends, strict=True)]


def _head(path: Path, head: bytes, delimiter: str) -> tuple[str, ...]:
    if not head.strip():
        raise ArrayError(f"{path} is empty; the first line must name the columns")
    try:
        text = head.decode("utf-8-sig")
        row = next(csv.reader([text], delimiter=delimiter, strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ArrayError(f"{path} is no CSV file with a head in UTF-8: {error}") from error
    names = [name.strip() for name in row]
    if not head.endswith((b"\n", b"\r")) and len(head) >= _LOOK:
        raise ArrayError(f"{path} is no CSV file: its first line is over {_LOOK:,} bytes long")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise MetadataError(f"{path} has two columns {twice!r}; give each a name of its own")
    return tuple(names)


def _has_quotes(file: io.BufferedReader) -> bool:
    return any(b'"' in block for block in iter(lambda: file.read(_LOOK), b""))


def _line_ends(file: io.BufferedReader, begin: int, size: int) -> list[int]:
    ends = []
    for at in range(begin + _RANGE_BYTES, size, _RANGE_BYTES):
        file.seek(at)
        file.readline()
        ends.append(file.tell())
    return [*(end for end in dict.fromkeys(ends) if end < size), size]


class _Limited(io.RawIOBase):
    """A stretch of a file."""

    def __init__(self, path: Path, start: int, stop: int) -> None:
        self._file = path.open("rb", buffering=0)
        self._file.seek(start)
        self.left = stop - start

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        got = self._file.readinto(memoryview(buffer)[: self.left]) or 0
        self.left -= got
        return got

    def close(self) -> None:
        self._file.close()
        super().close()


@dataclass(frozen=True)
class Block:
    """Some rows of a range: cells by column.

    Parameters
    ----------
    cells : dict of str to sequence of str
    row : int
        Number of the first one, the head being 1.
    weight : int
        Bytes.
    """

    cells: dict[str, Sequence[str]]
    row: int
    weight: int


def blocks_of(of: Range, columns: Sequence[str]) -> Iterator[Block]:
    """All rows of a range, a few thousand at a time; one block at least."""
    places = {name: of.names.index(name) for name in columns}
    stretch = _Limited(of.path, of.start, of.stop)
    raw = io.BufferedReader(stretch, 1 << 20)
    rows: list[list[str]] = []
    row, left = 2, of.stop - of.start
    with io.TextIOWrapper(raw, "utf-8", newline="") as text:
        reader = csv.reader(text, delimiter=of.delimiter, strict=True)
        try:
            for cells in reader:
                if len(cells) != len(of.names):
                    if cells:
                        raise _ragged(of, row + len(rows), len(cells))
                    continue
                rows.append(cells)
                if len(rows) == _BLOCK_ROWS:
                    yield Block(_by_column(rows, places), row, left - stretch.left)
                    row, left, rows = row + len(rows), stretch.left, []
        except (UnicodeDecodeError, csv.Error) as error:
            raise ArrayError(f"{place_of(of, row + len(rows))}: {error}") from error
    if rows or row == 2:
        yield Block(_by_column(rows, places), row, left)


def place_of(of: Range, row: int) -> str:
    first = of.start <= _LOOK
    return f"{of.path}, row {row:,}" + ("" if first else f" after byte {of.start:,}")


def _ragged(of: Range, row: int, cells: int) -> ArrayError:
    return ArrayError(
        f"{place_of(of, row)} has {cells} cells, and the head names {len(of.names)} columns; is "
        f"the file cut short, or the delimiter not {of.delimiter!r}?"
    )


def _by_column(rows: list[list[str]], places: Mapping[str, int]) -> dict[str, Sequence[str]]:
    if not rows:
        return dict.fromkeys(places, ())
    columns = list(zip(*rows, strict=True))
    return {name: columns[at] for name, at in places.items()}
