"""A dataset of a snapshot as a Zarr Vectors 0.9 store.

What zv_versioned stores and what Zarr Vectors wants are the same facts, but
not always in the same place. Coordinates and attributes are passed through as
they are stored. What Zarr Vectors keeps in one growing table, or twice, is
made on the way out from the batches' indexes: the fragment tables of the
cells, the manifests and ids of the objects, the list of chunks that are not
empty, and values of an attribute where a batch has none.

Source: Zarr Vectors 0.9; the Zarr v3 core specification.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype

from .. import _paths
from .._cache import Cache
from .._cells_io import Blocks, encode_rows
from .._read import LevelReader
from .._selection import Selection, cell_of
from ..format import metadata
from ..format.fragments import encode_ranges
from ..format.manifests import encode_manifests
from ..format.metadata import AttributeMeta, DatasetMeta
from ..storage import snapshot_of

MANIFEST_BUCKET = 512
ID_BUCKET = 65_536
_NO_CODECS = [{"name": "vlen-bytes", "configuration": {}}]
_LITTLE = [{"name": "bytes", "configuration": {"endian": "little"}}]


class _LevelNodes:
    """The documents and the made-up chunks of one level."""

    def __init__(self, reader: LevelReader, meta: DatasetMeta) -> None:
        self._reader = reader
        self._meta = meta
        self._facts = reader.state.facts
        self._table = reader.state.table
        self._made_shards = Cache(32 << 20)

    @cached_property
    def _whole(self) -> list[Selection]:
        return self._reader.plan()

    @cached_property
    def _by_slot(self) -> dict[int, Selection]:
        return {int(self._table.slot[s.row]): s for s in self._whole}

    @cached_property
    def _addresses(self) -> list[np.ndarray]:
        """For each batch, its cells as (slot, absolute coordinates)."""
        grid = self._facts.grid
        return [
            np.column_stack(
                [
                    np.full(len(s.head.cells), self._table.slot[s.row]),
                    grid.coordinates(s.head.cells) + np.asarray(grid.origin),
                ]
            )
            for s in self._whole
        ]

    @cached_property
    def _nonempty(self) -> list[str]:
        # As text and sorted as text: that is how Zarr Vectors looks chunks up.
        return sorted(
            ".".join(map(str, address)) for part in self._addresses for address in part.tolist()
        )

    @cached_property
    def documents(self) -> dict[str, dict[str, Any]]:
        """The level's nodes by path, "" for its group."""
        facts, axes = self._facts, self._meta.axes
        group = facts.to_attributes(axes)
        level = group["zarr_vectors_level"]
        if facts.slots:
            level["chunk_attribute_values"] = list(range(facts.slots))
        else:
            for key in ("chunk_attribute_name", "chunk_dims", "fragments_tile"):
                del level[key]
        cells = {"nonempty_chunks": self._nonempty}
        vertices = metadata.vertices_array(facts.grid, axes, self._meta.vertex_dtype)
        vertices["attributes"].update(cells)
        nodes = {
            "": metadata.group(group),
            "vertices": vertices,
            "vertex_fragments": self._fragments_document(cells),
            **self._object_documents(),
        }
        if facts.attributes:
            nodes["vertex_attributes"] = metadata.group()
        for name, attribute in facts.attributes.items():
            document = metadata.attribute_array(facts.grid, axes, attribute)
            document["attributes"].update(cells)
            nodes[f"vertex_attributes/{name}"] = document
        return nodes

    def _fragments_document(self, cells: Mapping[str, Any]) -> dict[str, Any]:
        grid = self._facts.grid
        names = ["batch", *(axis["name"] for axis in self._meta.axes)]
        shape = [metadata.CAPACITY, *grid.shape]
        facts = {"zv_array": "vertex_fragments", "encoding": "fragment_index_v1", **cells}
        document = metadata.bytes_array(shape, [1] * len(shape), _NO_CODECS, names, facts)
        document["attributes"]["chunk_grid_origin"] = [0, *grid.origin]
        return document

    def _object_documents(self) -> dict[str, dict[str, Any]]:
        n = self._facts.num_objects
        table = self._table
        index = {
            "zv_array": "object_index",
            "num_objects": n,
            "num_present": n,
            "sid_ndim": self._meta.ndim + 1,
            "layout": "vlen_manifests_v2",
            "object_ids_sorted": bool((table.id_min[1:] > table.id_max[:-1]).all()),
        }
        ids = metadata.bytes_array([n], [ID_BUCKET], _LITTLE, ["object"], {})
        ids.update(data_type="int64", fill_value=0)
        return {
            "object_index": metadata.group(index),
            "object_index/manifests": metadata.bytes_array(
                [n], [MANIFEST_BUCKET], _NO_CODECS, ["object"], {}
            ),
            "object_index/object_ids": ids,
        }

    # -- chunks --------------------------------------------------------------

    def chunk_keys(self, array: str) -> Iterable[str]:
        """The keys, after ``c/``, of the chunks that an array of this level has."""
        n = self._facts.num_objects
        if array == "object_index/manifests":
            yield from (str(i) for i in range(-(-n // MANIFEST_BUCKET)))
        elif array == "object_index/object_ids":
            yield from (str(i) for i in range(-(-n // ID_BUCKET)))
        elif array == "vertex_fragments":
            origin = np.asarray([0, *self._facts.grid.origin])
            for part in self._addresses:
                yield from ("/".join(map(str, row)) for row in (part - origin).tolist())
        else:
            for selection in self._whole:
                slot = int(self._table.slot[selection.row])
                for block in Blocks.of(selection.head.cells, self._facts.grid).keys:
                    yield "/".join(map(str, (slot, *block)))

    def made_chunk(self, array: str, index: tuple[int, ...]) -> bytes | None:
        """A chunk that is not stored but follows from what is; None where there is none."""
        if array == "vertex_fragments":
            return self._fragment_chunk(index)
        if array == "object_index/manifests":
            return self._manifest_chunk(index[0])
        if array == "object_index/object_ids":
            return self._id_chunk(index[0])
        return None

    def _fragment_chunk(self, index: tuple[int, ...]) -> bytes | None:
        whole = self._by_slot.get(index[0])
        if whole is None:
            return None
        number = int(np.asarray(index[1:]) @ self._facts.grid.strides)
        at = int(np.searchsorted(whole.head.cells, number))
        if at == len(whole.head.cells) or whole.head.cells[at] != number:
            return None
        one = Selection(whole.row, whole.head, np.array([at]))
        (fragments,) = self._reader.fragments([one])
        return _vlen([encode_ranges(fragments.vertices)])

    @cached_property
    def _ids(self) -> np.ndarray:
        return self._reader.object_ids()

    def _id_chunk(self, bucket: int) -> bytes:
        chunk = np.zeros(ID_BUCKET, "<i8")
        ids = self._ids[bucket * ID_BUCKET : (bucket + 1) * ID_BUCKET]
        chunk[: len(ids)] = ids
        return chunk.tobytes()

    def _manifest_chunk(self, bucket: int) -> bytes:
        """Manifests of one bucket of rows; an object may have fragments in several batches."""
        first = bucket * MANIFEST_BUCKET
        wanted = self._ids[first : first + MANIFEST_BUCKET]
        order = np.argsort(wanted)
        owner, chunks, numbers = [], [], []
        starts = np.cumsum(self._table.n_new_objects) - self._table.n_new_objects
        for s, addresses in zip(self._whole, self._addresses, strict=True):
            begins = starts[s.row] < first + len(wanted) and first < (
                starts[s.row] + self._table.n_new_objects[s.row]
            )
            continues = self._table.n_new_objects[s.row] < self._table.n_objects[s.row]
            if not (begins or continues):
                continue
            ((ids, _),) = self._reader.ids([s.row])
            rows = np.flatnonzero(np.isin(ids, wanted, assume_unique=True))
            if len(rows) == 0:
                continue
            counts, fragments = self._reader.object_fragments(s.row, s.head, rows)
            at = cell_of(s.head, fragments)
            owner.append(np.repeat(order[np.searchsorted(wanted[order], ids[rows])], counts))
            chunks.append(addresses[at])
            numbers.append(fragments - s.head.fragment_start[at])
        owners = np.concatenate(owner)
        by_object = np.argsort(owners, kind="stable")
        blobs = encode_manifests(
            np.bincount(owners, minlength=len(wanted)),
            np.concatenate(chunks)[by_object],
            np.concatenate(numbers)[by_object],
        )
        return _vlen(blobs + [b""] * (MANIFEST_BUCKET - len(blobs)))

    def missing_shard(self, attribute: AttributeMeta, index: tuple[int, ...]) -> bytes | None:
        """A shard of fill values, for a batch that an attribute does not cover."""
        known: bytes | None = self._made_shards.get((attribute.name, index))
        if known is None:
            known = self._make_missing(attribute, index)
            if known is not None:
                self._made_shards.put((attribute.name, index), known, len(known))
        return known

    def _make_missing(self, attribute: AttributeMeta, index: tuple[int, ...]) -> bytes | None:
        s = self._by_slot.get(index[0])
        if s is None or self._table.content(attribute.path)[s.row]:
            return None
        grid = self._facts.grid
        blocks = Blocks.of(s.head.cells, grid)
        if index[1:] not in blocks.keys:
            return None
        rows = blocks.rows[blocks.keys.index(index[1:])]
        counts = s.head.cell_vertices[rows]
        one = Blocks([index[1:]], [np.arange(len(rows))], [grid.blocks(s.head.cells[rows])[1]])
        total = int(counts.sum())
        codec = metadata.vertex_codec(attribute.dtype)
        shards = encode_rows(
            attribute.fill(total), np.arange(total), counts, one, grid.places, codec
        )
        return bytes(next(shards)[1])


def _vlen(blobs: list[bytes]) -> bytes:
    parts = [struct.pack("<I", len(blobs))]
    for blob in blobs:
        parts += [struct.pack("<I", len(blob)), blob]
    return b"".join(parts)


def _cut(value: bytes, byte_range: ByteRequest | None) -> bytes:
    if isinstance(byte_range, RangeByteRequest):
        return value[byte_range.start : byte_range.end]
    if isinstance(byte_range, OffsetByteRequest):
        return value[byte_range.offset :]
    if isinstance(byte_range, SuffixByteRequest):
        return value[-byte_range.suffix :]
    return value


class ZarrVectorsStore(Store):
    """A read-only zarr store: one dataset of one snapshot, as Zarr Vectors 0.9.

    Made by :attr:`Dataset.store`.
    """

    supports_writes: bool = False
    supports_deletes: bool = False
    supports_listing: bool = True

    def __init__(self, readers: Mapping[int, LevelReader], meta: DatasetMeta) -> None:
        super().__init__(read_only=True)
        self._meta = meta
        self._readers = dict(readers)
        self._inner: Any = self._readers[0].store
        self._levels = {str(n): _LevelNodes(reader, meta) for n, reader in readers.items()}

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ZarrVectorsStore)
            and self._meta.name == other._meta.name
            and snapshot_of(self._inner) == snapshot_of(other._inner)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<ZarrVectorsStore of dataset {self._meta.name!r}>"

    def _document(self, path: str) -> dict[str, Any] | None:
        if path == "":
            return metadata.group(self._meta.to_attributes())
        level, _, rest = path.partition("/")
        nodes = self._levels.get(level)
        return None if nodes is None else nodes.documents.get(rest)

    def _find(self, key: str) -> bytes | str | None:
        """What a key stands for: bytes made here, the path of what is stored, or nothing."""
        if key == "zarr.json" or key.endswith("/zarr.json"):
            document = self._document(key[: -len("zarr.json")].removesuffix("/"))
            return None if document is None else metadata.dumps(document)
        level, _, rest = key.partition("/")
        array, _, chunk = rest.rpartition("/c/")
        nodes = self._levels.get(level)
        node = None if nodes is None else nodes.documents.get(array)
        if nodes is None or node is None or node["node_type"] != "array":
            return None
        parts = chunk.split("/")
        if len(parts) != len(node["shape"]) or not all(part.isdecimal() for part in parts):
            return None
        index = tuple(map(int, parts))
        chunk_shape = node["chunk_grid"]["configuration"]["chunk_shape"]
        if any(i * c >= n for i, c, n in zip(index, chunk_shape, node["shape"], strict=True)):
            return None
        family, _, name = array.partition("/")
        stored = _paths.join(self._meta.name, key)
        if family == "vertex_attributes":
            attribute = self._readers[int(level)].state.facts.attributes[name]
            return nodes.missing_shard(attribute, index) or stored
        return stored if family == "vertices" else nodes.made_chunk(array, index)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        found = await asyncio.to_thread(self._find, key)
        if isinstance(found, str):
            stored: Buffer | None = await self._inner.get(found, prototype, byte_range)
            return stored
        return None if found is None else prototype.buffer.from_bytes(_cut(found, byte_range))

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        return list(
            await asyncio.gather(*(self.get(key, prototype, span) for key, span in key_ranges))
        )

    async def exists(self, key: str) -> bool:
        found = await asyncio.to_thread(self._find, key)
        return await self._inner.exists(found) if isinstance(found, str) else found is not None

    def _keys(self) -> Iterable[str]:
        yield "zarr.json"
        for level, nodes in self._levels.items():
            for path, document in nodes.documents.items():
                node = _paths.join(level, path)
                yield f"{node}/zarr.json"
                if document["node_type"] == "array":
                    yield from (f"{node}/c/{chunk}" for chunk in nodes.chunk_keys(path))

    async def list(self) -> AsyncIterator[str]:
        for key in await asyncio.to_thread(lambda: [*self._keys()]):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        async for key in self.list():
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        inside = prefix.rstrip("/") + "/" if prefix.rstrip("/") else ""
        seen = set()
        async for key in self.list_prefix(inside):
            child = key[len(inside) :].split("/", 1)[0]
            if child not in seen:
                seen.add(child)
                yield child

    async def set(self, key: str, value: Buffer) -> None:
        self._check_writable()

    async def delete(self, key: str) -> None:
        self._check_writable()
