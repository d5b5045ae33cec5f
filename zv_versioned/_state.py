"""The state of a dataset at one snapshot: its documents and its table of batches."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from zarr.abc.store import Store

from . import _paths, _store
from ._checks import is_whole
from .errors import IntegrityError, MetadataError, NotFoundError
from .format import cells
from .format.metadata import DatasetMeta, LevelFacts
from .format.table import BUCKET, BatchTable

if TYPE_CHECKING:
    from ._cache import Cache

_NO_CHUNKS: Mapping[str, memoryview] = MappingProxyType({})


@dataclass(frozen=True)
class LevelState:
    """A level at one snapshot.

    Parameters
    ----------
    path : str
        Its group.
    facts : LevelFacts
    table : BatchTable
        All of its batches, by slot.
    """

    path: str
    facts: LevelFacts
    table: BatchTable


class Documents:
    """The documents of one snapshot, each read once.

    Parameters
    ----------
    store : zarr.abc.store.Store
        It must not change.
    expected : iterable of str
        Paths of groups that will probably be asked for: they come along with the first.
    chunks : iterable of str
        Keys of chunks that will be: they come along, too.

    Attributes
    ----------
    chunks : dict of str to memoryview
        Those of the chunks that are there.
    """

    def __init__(
        self, store: Store, expected: Iterable[str] = (), chunks: Iterable[str] = ()
    ) -> None:
        self.store = store
        self.chunks: dict[str, memoryview] = {}
        self._expected, self._expected_chunks = list(expected), list(chunks)
        self._known: dict[str, dict[str, Any] | None] = {}

    def expect(self, paths: Iterable[str]) -> None:
        """Let more documents come along with the next that are read."""
        self._expected += paths

    def get(self, paths: Sequence[str]) -> list[dict[str, Any] | None]:
        """Some documents, those not known yet in one batched call; None where there is none."""
        if not self._known.keys() >= set(paths):
            wanted = {*paths, *self._expected} - self._known.keys()
            names, keys = sorted(wanted), self._expected_chunks
            self._expected, self._expected_chunks = [], []
            found, values = _store.get_documents_and(self.store, names, keys)
            self._known.update(zip(names, found, strict=True))
            there = zip(keys, values, strict=True)
            self.chunks.update({key: value for key, value in there if value is not None})
        return [self._known[path] for path in paths]

    def root_attributes(self) -> dict[str, Any]:
        """The attributes of the repository's root group; empty where there is none yet."""
        document = self.get([""])[0]
        return {} if document is None else dict(document.get("attributes", {}))


def root_attributes(store: Store) -> dict[str, Any]:
    """The attributes of the repository's root group; empty where there is none yet."""
    return Documents(store).root_attributes()


def dataset_names(attributes: dict[str, Any]) -> list[str]:
    """The datasets that a root group's attributes list, sorted."""
    return sorted(attributes.get("zv_repository", {}).get("datasets", []))


def unknown_dataset(name: object, there_are: Iterable[str]) -> NotFoundError:
    """The error for a dataset that is not there."""
    names = ", ".join(repr(n) for n in there_are) or "none yet"
    return NotFoundError(f"no dataset {name!r} in this snapshot; there are: {names}")


def is_level(dataset: object, level: object) -> bool:
    """Whether these can name a level at all."""
    return isinstance(dataset, str) and is_whole(level)


def check_level(meta: DatasetMeta, level: object) -> int:
    """Accept the number of a level that a dataset has.

    Raises
    ------
    NotFoundError
        If it is no number, or there is no such level.
    """
    if not is_whole(level) or level not in meta.levels:
        there = ", ".join(map(str, meta.levels))
        raise NotFoundError(f"dataset {meta.name!r} has no level {level!r}; it has: {there}")
    return int(level)


def _check_name(store: Store, name: object) -> None:
    try:
        _paths.check_dataset(name)
    except MetadataError as error:
        raise unknown_dataset(name, dataset_names(root_attributes(store))) from error


def load_dataset(store: Store, name: str) -> DatasetMeta:
    """Read a dataset's document.

    Raises
    ------
    NotFoundError
        If there is no such dataset.
    """
    _check_name(store, name)
    return _dataset(store, name, _store.get_json(store, name))


def _dataset(store: Store, name: str, document: dict[str, Any] | None) -> DatasetMeta:
    attributes = {} if document is None else document.get("attributes", {})
    if "zv_dataset" not in attributes:
        raise unknown_dataset(name, dataset_names(root_attributes(store)))
    return DatasetMeta.from_attributes(name, attributes)


def load_datasets(documents: Documents, names: Sequence[str]) -> list[DatasetMeta]:
    """Read the documents of datasets that are there, at the same time."""
    found = zip(names, documents.get(names), strict=True)
    return [_dataset(documents.store, name, one) for name, one in found]


def load_all_facts(
    documents: Documents, levels: Sequence[tuple[DatasetMeta, int]]
) -> list[LevelFacts]:
    """Read the documents of levels, at the same time.

    Raises
    ------
    IntegrityError
        If one is missing.
    """
    paths = [_paths.level_path(meta.name, level) for meta, level in levels]
    found = []
    for path, document in zip(paths, documents.get(paths), strict=True):
        if document is None:
            raise IntegrityError(f"the document of level {path!r} is missing", missing=True)
        found.append(LevelFacts.from_attributes(path, document.get("attributes", {})))
    return found


def load_facts(
    store: Store, name: str, level: object, meta: DatasetMeta | None = None
) -> tuple[DatasetMeta, LevelFacts]:
    """Read the documents of a dataset (unless `meta` is given) and of one of its levels.

    Raises
    ------
    NotFoundError
        If there is no such dataset, or it has no such level.
    """
    _check_name(store, name)
    path = _paths.join(name, str(level)) if is_whole(level) else name
    documents = _store.get_documents(store, [path] if meta else [path, name])
    if meta is None:
        meta = _dataset(store, name, documents[1])
    check_level(meta, level)
    if documents[0] is None:
        raise IntegrityError(f"the document of level {path!r} is missing", missing=True)
    return meta, LevelFacts.from_attributes(path, documents[0].get("attributes", {}))


def load_level(store: Store, meta: DatasetMeta, level: int) -> LevelState:
    """Read a level's document and its table of batches.

    Raises
    ------
    NotFoundError
        If the dataset has no such level.
    """
    path = _paths.level_path(meta.name, level)
    _, facts = load_facts(store, meta.name, level, meta)
    return LevelState(path, facts, load_table(store, path, facts, meta.ndim))


def load_table(
    store: Store,
    path: str,
    facts: LevelFacts,
    ndim: int,
    first_bucket: int = 0,
    *,
    parts: Cache | None = None,
    chunks: Mapping[str, memoryview] = _NO_CHUNKS,
) -> BatchTable:
    """Read a level's table of batches, in one batched call.

    Parameters
    ----------
    store : zarr.abc.store.Store
    path : str
        The level's group.
    facts : LevelFacts
    ndim : int
    first_bucket : int
        The first that is read.
    parts : Cache, optional
        Has buckets that were read before, under what their bytes hash to.
    chunks : mapping of str to memoryview
        What was read of the store already.
    """
    keys = table_keys(path, facts.slots, first_bucket)
    if not keys:
        return BatchTable.empty(ndim)
    names = {} if parts is None else _store.files_of(store, keys)
    # All buckets but the last are the same for long, and so is the table of them.
    head = ("buckets", *(names.get(key) for key in keys[:-1]))
    if parts is None or len(keys) < 3 or None in head:
        table = BatchTable.concatenate(_buckets(store, keys, names, parts, chunks))
    else:
        known: BatchTable | None = parts.get(head)
        fresh = keys if known is None else keys[-1:]
        *tables, last = _buckets(store, fresh, names, parts, chunks)
        if known is None:
            known = BatchTable.concatenate(tables)
            parts.put(head, known, 512 + known.nbytes)
        table = BatchTable.concatenate([known, last])
    slots = table.slot
    if len(slots) and (int(slots[-1]) >= facts.slots or (slots[1:] <= slots[:-1]).any()):
        raise IntegrityError(f"the table of batches of {path!r} does not fit its level's facts")
    return table


def _buckets(
    store: Store,
    keys: Sequence[str],
    names: Mapping[str, Hashable],
    parts: Cache | None,
    chunks: Mapping[str, memoryview],
) -> list[BatchTable]:
    """Some buckets of a table, those that were not read before in one batched call."""
    known: dict[str, BatchTable | None] = {}
    if parts is not None:
        known = {key: parts.get(("bucket", names[key])) for key in keys if key in names}
    missing = [key for key in keys if known.get(key) is None and key not in chunks]
    fetched = _store.get_many(store, [(key, 0, -1) for key in missing])
    values = {**chunks, **dict(zip(missing, fetched, strict=True))}
    tables = []
    for key in keys:
        table = known.get(key)
        if table is None:
            with _store.damage_in(key):
                table = _bucket(values[key], parts, names.get(key))
        tables.append(table)
    return tables


def _bucket(raw: memoryview, parts: Cache | None, name: Hashable = None) -> BatchTable:
    """Decode one bucket, unless it was before; all but the last ones are the same for long.

    Where it lies in a file of its own, that names it: files never change.
    """
    key = "bucket", hashlib.blake2b(raw, digest_size=16).digest() if name is None else name
    table: BatchTable | None = None if parts is None else parts.get(key)
    if table is None:
        table = BatchTable.decode(cells.decode(raw))
        if parts is not None:
            parts.put(key, table, 512 + 8 * len(raw))
    return table


def table_keys(path: str, slots: int, first_bucket: int = 0) -> list[str]:
    """The keys of a level's table, from a bucket on."""
    return [table_key(path, bucket) for bucket in range(first_bucket, -(-slots // BUCKET))]


def table_key(path: str, bucket: int) -> str:
    """The key of one bucket of a level's table."""
    return f"{_paths.join(path, 'batches', 'table')}/c/{bucket}"
