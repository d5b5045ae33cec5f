"""The zarr store: which key stands for what."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype

from ... import _checks, _paths
from ...errors import MetadataError, ReadOnlyError
from ...format.metadata import DatasetMeta
from ...reading.reader import LevelReader
from ...storage import snapshot_of
from ._level import LevelNodes
from ._nodes import ArrayNode, GroupNode, Index, Node, Place
from ._object_values import OBJECT_ID

if TYPE_CHECKING:
    from ...view import Dataset

_DOCUMENT = "zarr.json"


@dataclass(frozen=True)
class _Chunk:
    level: LevelNodes
    place: Place


class ZarrVectorsStore(Store):
    """A read-only zarr store: one dataset of one snapshot, as Zarr Vectors 0.9.

    Made by :attr:`Dataset.store`. Nothing is read before it is asked for.
    """

    supports_writes: bool = False
    supports_deletes: bool = False
    supports_listing: bool = True

    def __init__(
        self,
        readers: Mapping[int, LevelReader],
        meta: DatasetMeta,
        *,
        dataset: Dataset,
        numbered: bool = False,
    ) -> None:
        super().__init__(read_only=True)
        self._dataset = dataset
        self._meta = meta
        self._numbered = numbered
        self._readers = readers
        self._snapshot_id = snapshot_of(readers[0].store)
        self._levels = {
            str(n): LevelNodes(reader, numbered=numbered) for n, reader in readers.items()
        }

    def numbered(self) -> ZarrVectorsStore:
        """The same with objects that go by number, 0 to n - 1 on each level, in place of their id.

        Their ids are values of the objects then, under the name ``object_id``, and
        groups have the numbers too. For readers that take numbers for ids: so does
        zarr-vectors 0.9.2 where it reads all lines of a level.

        Returns
        -------
        ZarrVectorsStore

        Raises
        ------
        MetadataError
            If objects have an attribute of this name already.

        Examples
        --------
        >>> import numpy as np, zarr, zv_versioned as zvv
        >>> repo = zvv.Repository.create("memory://")
        >>> with repo.transaction() as tx:
        ...     ds = tx.create_dataset("t", kind="polyline", bounds=([0, 0], [9, 9]))
        ...     lines = [np.array([[1, 1], [8, 1]], "f4")]
        ...     n = tx.writer("t").append_polylines_sync(lines, object_ids=[5813024015])
        >>> group = zarr.open_group(repo.view()["t"].store.numbered(), mode="r")
        >>> group["0/object_index/object_ids"][:], group["0/object_attributes/object_id"][:]
        (array([0]), array([5813024015]))
        """
        taken = [
            n for n, r in self._readers.items() if OBJECT_ID in r.state.facts.object_attributes
        ]
        if taken:
            raise MetadataError(
                f"the objects of level {taken[0]} of dataset {self._meta.name!r} have an attribute "
                f"{OBJECT_ID!r}, where their ids would go; write it under another name"
            )
        return ZarrVectorsStore(self._readers, self._meta, dataset=self._dataset, numbered=True)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ZarrVectorsStore)
            and self._meta.name == other._meta.name
            and self._snapshot_id == other._snapshot_id
            and self._numbered == other._numbered
        )

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self._dataset, self._numbered)

    def __repr__(self) -> str:
        how = ", objects by number" if self._numbered else ""
        return f"<ZarrVectorsStore of dataset {self._meta.name!r} at {self._snapshot_id}{how}>"

    # -- nodes ---------------------------------------------------------------

    @cached_property
    def _root(self) -> GroupNode:
        return GroupNode("", self._meta.to_attributes())

    async def _node(self, path: str) -> tuple[LevelNodes | None, Node | None]:
        """What lies at a path, and the level it belongs to."""
        if path == "":
            return None, self._root
        number, _, rest = path.partition("/")
        level = self._levels.get(number)
        if level is None or path.endswith("/"):
            return None, None
        is_known, node = level.known(rest)
        if not is_known:
            node = await asyncio.to_thread(level.node, rest)
        return level, node

    async def _find(self, key: str) -> bytes | _Chunk | None:
        """What a key names: the bytes of a document, or a chunk of an array."""
        if key == _DOCUMENT or key.endswith("/" + _DOCUMENT):
            _, node = await self._node(key[: -len(_DOCUMENT)].removesuffix("/"))
            if node is not None and not node.is_encoded:
                await asyncio.to_thread(getattr, node, "encoded")
            return None if node is None else node.encoded
        path, _, chunk = key.rpartition("/c/")
        index = _index(chunk)
        if index is None or not path:
            return None
        level, node = await self._node(path)
        if level is None or not isinstance(node, ArrayNode) or len(index) != node.rank:
            return None
        place = node.place(index)
        return None if place is None else _Chunk(level, place)

    # -- reading -------------------------------------------------------------

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """The bytes of a key, or a part of them."""
        found = await self._find(key)
        if isinstance(found, _Chunk):
            unit = await found.level.loader.get(found.place.source, found.place.unit)
            found = unit.get(found.place.member)
        return None if found is None else prototype.buffer.from_bytes(_cut(found, byte_range))

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """The bytes of many keys, at the same time."""
        return list(
            await asyncio.gather(*(self.get(key, prototype, span) for key, span in key_ranges))
        )

    async def exists(self, key: str) -> bool:
        """Whether there is a value for a key; no chunk is made for it."""
        return await self._find(key) is not None

    # -- listing -------------------------------------------------------------

    def _keys(self, prefix: str) -> Iterator[str]:
        """All keys that begin with a prefix, node after node."""
        if _DOCUMENT.startswith(prefix):
            yield _DOCUMENT
        for number, level in self._levels.items():
            for node in level.walk(partial(_meet, prefix, number)):
                path = _paths.join(number, node.path)
                keys = itertools.chain([f"{path}/{_DOCUMENT}"], _chunk_keys(path, node))
                yield from (key for key in keys if key.startswith(prefix))

    async def list(self) -> AsyncIterator[str]:
        """All keys."""
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """All keys that begin with a prefix."""
        for key in await asyncio.to_thread(lambda: [*self._keys(prefix)]):
            yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """The names in a folder."""
        folder = prefix.strip("/")
        level, node = await self._node(folder)
        if isinstance(node, GroupNode):
            names = await asyncio.to_thread(self._children, level, node)
        elif isinstance(node, ArrayNode):
            names = [_DOCUMENT, *(["c"] if next(iter(node.chunks()), None) is not None else [])]
        else:
            names = await self._below(folder)
        for name in names:
            yield name

    def _children(self, level: LevelNodes | None, node: GroupNode) -> Sequence[str]:
        names = self._levels if level is None else level.children(node.path)
        return [_DOCUMENT, *names]

    async def _below(self, folder: str) -> Sequence[str]:
        """The names in a folder that is no node: within the chunks of an array."""
        inside = folder + "/"
        names = [key[len(inside) :].split("/")[0] async for key in self.list_prefix(inside)]
        return list(dict.fromkeys(names))

    # -- nothing can be written ----------------------------------------------

    def with_read_only(self, read_only: bool = False) -> ZarrVectorsStore:
        """The same store, which says of itself that it is read-only or not.

        zarr-vectors asks for one that is not also where it only reads, and leaves
        things out where there is none. It refuses to write either way.
        """
        _checks.flags(read_only=read_only)
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._read_only = read_only
        return twin

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse."""
        raise self._refusal(key)

    async def delete(self, key: str) -> None:
        """Refuse."""
        raise self._refusal(key)

    def _refusal(self, key: str) -> ReadOnlyError:
        self._check_writable()
        return ReadOnlyError(
            f"{key!r} cannot be written: this is dataset {self._meta.name!r} at snapshot "
            f"{self._snapshot_id}, which never changes. Write with repo.transaction(branch)"
        )


def _reopened(dataset: Dataset, numbered: bool) -> ZarrVectorsStore:
    return dataset.store.numbered() if numbered else dataset.store


def _meet(prefix: str, number: str, path: str) -> bool:
    """Whether keys at or below a path of a level can begin with a prefix."""
    folder = _paths.join(number, path) + "/"
    return prefix.startswith(folder) or folder.startswith(prefix)


def _chunk_keys(path: str, node: Node) -> Iterator[str]:
    if isinstance(node, ArrayNode):
        yield from (f"{path}/c/{'/'.join(map(str, index))}" for index in node.chunks())


def _index(chunk: str) -> Index | None:
    """The index that the end of a key writes out; None where it is not how one is written."""
    try:
        index = tuple(map(int, chunk.split("/")))
    except ValueError:
        return None
    written = "/".join(map(str, index)) == chunk and min(index) >= 0
    return index if written else None


def _cut(value: bytes, byte_range: ByteRequest | None) -> bytes:
    if isinstance(byte_range, RangeByteRequest):
        return value[byte_range.start : byte_range.end]
    if isinstance(byte_range, OffsetByteRequest):
        return value[byte_range.offset :]
    if isinstance(byte_range, SuffixByteRequest):
        return value[-byte_range.suffix :]
    return value
