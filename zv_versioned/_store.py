"""Reads from a zarr store, batched and waited for; with :mod:`zv_versioned._writes` the only
modules that call one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
from zarr.abc.store import RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype

from . import _io
from ._memory import room
from ._paths import chunk_key
from .errors import IntegrityError, NotFoundError, ZVError
from .storage.chunks import chunks_of, wrong_with
from .storage.translate import names_no_node, translated, unreadable

_PROTOTYPE = default_buffer_prototype()

Request = tuple[str, int, int]
"""A key and a byte range. (key, 0, -1) asks for the whole value, (key, -n, -1) for the last n
bytes."""


def _byte_range(start: int, stop: int) -> RangeByteRequest | SuffixByteRequest | None:
    if stop >= 0:
        return RangeByteRequest(start, stop)
    return SuffixByteRequest(-start) if start < 0 else None


def _view(buffer: Any) -> memoryview:
    return memoryview(buffer.as_numpy_array()).toreadonly()


async def get(store: Store, key: str) -> memoryview | None:
    buffer = await store.get(key, _PROTOTYPE)
    if buffer is None:
        # icechunk 1 also answers None where it could not read the snapshot; this then raises.
        await store.exists(key)
    return None if buffer is None else _view(buffer)


async def _get_partial(store: Store, requests: Sequence[Request]) -> list[memoryview | None]:
    if not requests:
        return []
    ranges = [(key, _byte_range(start, stop)) for key, start, stop in requests]
    buffers = await store.get_partial_values(_PROTOTYPE, ranges)
    return [None if buffer is None else _view(buffer) for buffer in buffers]


async def _get_alone(store: Store, request: Request) -> memoryview | None:
    key, start, stop = request
    buffer = await store.get(key, _PROTOTYPE, _byte_range(start, stop))
    return None if buffer is None else _view(buffer)


async def _get_mixed(
    store: Store, requests: Sequence[Request], large: Sequence[Request]
) -> list[memoryview | None]:
    """What is asked for in one batched call and, at the same time, by calls of its own."""
    alone = asyncio.gather(*(_get_alone(store, request) for request in large))
    batched, each = await asyncio.gather(_get_partial(store, requests), alone)
    return [*batched, *each]


async def _get_all(
    store: Store, keys: Sequence[str], chunks: Sequence[str]
) -> list[memoryview | None]:
    expected = (_get_expected(store, key) for key in chunks)
    return list(await asyncio.gather(*(get(store, key) for key in keys), *expected))


async def _get_expected(store: Store, key: str) -> memoryview | None:
    """A chunk of an array that need not be there, either."""
    try:
        with translated(key):
            return await _get_alone(store, (key, 0, -1))
    except NotFoundError:
        return None


def get_documents(store: Store, paths: Sequence[str]) -> list[dict[str, Any] | None]:
    """The documents of groups or arrays; see :func:`get_documents_and`."""
    return get_documents_and(store, paths, ())[0]


def get_documents_and(
    store: Store, paths: Sequence[str], chunks: Sequence[str]
) -> tuple[list[dict[str, Any] | None], list[memoryview | None]]:
    """The documents of groups or arrays, and some chunks, at the same time.

    Parameters
    ----------
    store : zarr.abc.store.Store
    paths : sequence of str
        Of groups or arrays.
    chunks : sequence of str
        Keys of small chunks that may be there.

    Returns
    -------
    documents : list of dict or None
    values : list of memoryview or None
        None where there is none, or none was found: nothing is looked into any further.

    Raises
    ------
    IntegrityError
        If a document is not JSON.
    StorageError
        If the storage fails.
    """
    keys = [f"{path}/zarr.json" if path else "zarr.json" for path in paths]
    try:
        local = chunks_of(store)
        if local is not None:
            _io.check_here()
            documents = [
                None if raw is None else _parse(path, raw)
                for path, raw in zip(keys, local.documents(paths), strict=True)
            ]
            return documents, local.get([(key, 0, -1) for key in chunks])
        values = _io.run(_get_all(store, keys, chunks))
    except ZVError:
        raise
    except Exception as error:
        raise unreadable(", ".join(keys), error, wrong_with(store)) from error
    found = zip(keys, values[: len(keys)], strict=True)
    return [None if v is None else _parse(key, v) for key, v in found], values[len(keys) :]


def get_json(store: Store, path: str) -> dict[str, Any] | None:
    """The document of one group or array, or None where there is none."""
    return get_documents(store, [path])[0]


def _parse(key: str, raw: bytes | memoryview) -> dict[str, Any]:
    try:
        document = json.loads(bytes(raw))
    except ValueError as error:
        raise IntegrityError(f"{key!r} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise IntegrityError(f"{key!r} is not a document but {type(document).__name__}")
    return document


def get_many(
    store: Store, requests: Sequence[Request], large: Sequence[Request] = ()
) -> list[memoryview]:
    """Many values or parts of values, all at the same time.

    Parameters
    ----------
    store : zarr.abc.store.Store
    requests : sequence of Request
        They go into one batched call, which is several times faster than many.
    large : sequence of Request
        Each goes into a call of its own: a batched one copies values once more, and
        so is twice as slow from a megabyte up.

    Returns
    -------
    list of memoryview
        Of `requests`, then of `large`.

    Raises
    ------
    IntegrityError
        If one that must be there is not.
    StorageError
        If the storage fails.
    """
    return checked([*requests, *large], get_present(store, requests, large))


Part = tuple[np.ndarray, int, int]
"""Some memory (uint8), and where in it a value begins and ends."""


def get_parts(
    store: Store, requests: Sequence[Request], large: Sequence[Request] = ()
) -> list[Part]:
    """As :func:`get_many`; what is read of a disk is in one piece of memory, which is lent.

    So it is for what is looked at and dropped, and not kept.
    """
    both = [*requests, *large]
    if not both:
        return []
    try:
        local = chunks_of(store)
        if local is not None:
            _io.check_here()
            found = local.together(both)
            if found is not None:
                raw, ends = found
                parts = [(raw, start, stop) for start, stop in zip([0, *ends], ends, strict=False)]
                _check_lengths(both, [stop - start for _, start, stop in parts])
                return parts
    except OSError as error:
        raise _unreadable(both, error, store) from error
    values = get_many(store, requests, large)
    return [(np.frombuffer(value, np.uint8), 0, len(value)) for value in values]


def get_wholes(
    store: Store,
    array: str,
    places: Sequence[tuple[int, ...]],
    room_of: Callable[[int], np.ndarray] = room,
) -> tuple[np.ndarray, np.ndarray]:
    """Many small chunks of one array, one behind the other.

    Parameters
    ----------
    store : zarr.abc.store.Store
    array : str
        Its path.
    places : sequence of tuple of int
        The coordinates of the chunks, all of which must be there.
    room_of : callable, optional
        Gives memory of so many bytes: what is read of a disk may go there.

    Returns
    -------
    raw : ndarray of uint8
    ends : ndarray of int64
        One past the last byte of each.

    Raises
    ------
    IntegrityError, StorageError
        As :func:`get_many`.
    """
    try:
        local = chunks_of(store)
        if local is not None:
            _io.check_here()
            found = local.whole(array, places, room_of)
            if found is not None:
                return found[0], np.array(found[1], np.int64)
    except OSError as error:
        raise unreadable(f"chunks of {array!r}", error, wrong_with(store)) from error
    # One by one where one is missing: the error then names it.
    values = get_many(store, [(chunk_key(array, at), 0, -1) for at in places])
    raw = np.frombuffer(b"".join(values), np.uint8)
    return raw, np.cumsum([len(value) for value in values], dtype=np.int64)


def checked(requests: Sequence[Request], values: Sequence[memoryview | None]) -> list[memoryview]:
    """What was asked for, all of which must have come; see :func:`get_many`."""
    found = []
    for (key, _, _), value in zip(requests, values, strict=True):
        if value is None:
            raise missing(key)
        found.append(value)
    _check_lengths(requests, list(map(len, found)))
    return found


def _check_lengths(requests: Sequence[Request], lengths: Sequence[int]) -> None:
    for (key, start, stop), length in zip(requests, lengths, strict=True):
        if stop >= 0 and length != stop - start:
            raise IntegrityError(
                f"chunk {key!r} ends before byte {stop}: it is cut short. Restore it from a copy"
            )


def is_local(store: Store) -> bool:
    """Whether chunks are read from the disk by whoever asks for them, and nothing else waits.

    Raises
    ------
    StorageError, IntegrityError
        If the snapshot's file cannot be read.
    """
    try:
        return chunks_of(store) is not None
    except OSError as error:
        raise unreadable("the snapshot", error, wrong_with(store)) from error


def get_present(
    store: Store, requests: Sequence[Request], large: Sequence[Request] = ()
) -> list[memoryview | None]:
    """As :func:`get_many`, of values that need not be there: None where one is not."""
    if not requests and not large:
        return []
    try:
        local = chunks_of(store)
        if local is not None:
            _io.check_here()
            return local.get([*requests, *large])
    except OSError as error:
        raise _unreadable([*requests, *large], error, store) from error
    try:
        return _io.run(_get_mixed(store, requests, large))
    except ZVError:
        raise
    except Exception:
        # The batched call says neither which value failed nor why; one by one does.
        return [_get_one(store, request) for request in (*requests, *large)]


def _unreadable(requests: Sequence[Request], error: OSError, store: Store) -> ZVError:
    keys = ", ".join(key for key, _, _ in requests[:3])
    return unreadable(keys, error, wrong_with(store))


def files_of(store: Store, keys: Sequence[str]) -> dict[str, Hashable]:
    """What names the bytes of chunks for ever, of those of which that is known without a read.

    Raises
    ------
    StorageError
        If the storage fails.
    """
    try:
        local = chunks_of(store)
        return {} if local is None else dict(local.files_of(keys))
    except OSError as error:
        raise unreadable(", ".join(keys[:3]), error, wrong_with(store)) from error


def _get_one(store: Store, request: Request) -> memoryview | None:
    key, start, stop = request
    try:
        buffer = _io.run(store.get(key, _PROTOTYPE, _byte_range(start, stop)))
    except ZVError:
        raise
    except Exception as error:
        if names_no_node(error):
            return None
        raise unreadable(f"chunk {key!r}", error, wrong_with(store)) from error
    return None if buffer is None else _view(buffer)


def missing(key: str) -> IntegrityError:
    return IntegrityError(
        f"a chunk that this snapshot needs is missing: {key}. Was it removed by hand, or collected "
        "while it was in use? zv-versioned fsck says which files are missing",
        missing=True,
    )


class damage_in:  # noqa: N801
    """Name the chunk in the errors of those who decode it: a context, entered for each."""

    __slots__ = ("_key",)

    def __init__(self, key: str) -> None:
        self._key = key

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, IntegrityError):
            raise IntegrityError(f"chunk {self._key!r}: {error}") from error


def children(store: Any, path: str) -> list[str]:
    """Names of the groups and arrays in a group, sorted.

    Raises
    ------
    StorageError
        If the storage fails.
    """

    async def names() -> list[str]:
        return [name async for name in store.list_dir(path)]

    try:
        found = _io.run(names())
    except ZVError:
        raise
    except Exception as error:
        raise unreadable(f"group {path!r}", error, wrong_with(store)) from error
    return sorted(name for name in found if name != "zarr.json")


def sizes(store: Any, paths: Sequence[str]) -> list[int]:
    """Stored bytes of groups or arrays, with all that lies in them; raises as `children`."""

    async def all_sizes() -> list[int]:
        return list(await asyncio.gather(*(store.getsize_prefix(path) for path in paths)))

    try:
        return _io.run(all_sizes())
    except ZVError:
        raise
    except Exception as error:
        raise unreadable(", ".join(paths[:3]), error, wrong_with(store)) from error
