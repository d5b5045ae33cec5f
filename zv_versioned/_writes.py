"""Writes to a zarr store, several at once and waited for; :mod:`zv_versioned._store` reads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from zarr.abc.store import Store
from zarr.core.buffer import cpu

from . import _io, _store
from ._begun import Begun
from .errors import StorageError, ZVError
from .storage.translate import reason

_AT_ONCE = 16

T = TypeVar("T")
Value = bytes | bytearray


async def _each(
    items: Iterable[T], key: Callable[[T], str], doing: str, do: Callable[[T], Awaitable[None]]
) -> None:
    """Do something with each, a few at a time; where one fails, its key is named."""
    free = asyncio.Semaphore(_AT_ONCE)

    async def one(item: T) -> None:
        async with free:
            try:
                await do(item)
            except ZVError:
                raise
            except Exception as error:
                text = f"{doing} chunk {key(item)!r} failed: {reason(error)}"
                raise StorageError(text) from error

    # A TaskGroup: when one fails the others are stopped and waited for.
    async with asyncio.TaskGroup() as group:
        for item in items:
            group.create_task(one(item))


def begin_set(store: Store, items: Sequence[tuple[str, Value]]) -> Begun[None]:
    """Begin to write values, as :func:`set_many` does, and return at once.

    Returns
    -------
    Begun
        For :func:`wait`.
    """

    async def put(item: tuple[str, Value]) -> None:
        await store.set(item[0], cpu.Buffer.from_bytes(item[1]))

    return _io.start(_each(items, lambda item: item[0], "writing", put))


def wait(begun: Begun[None]) -> None:
    """Return when all is done that was begun, or raise why one of it could not be."""
    try:
        begun.result()
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from group


def set_many(store: Store, items: Sequence[tuple[str, Value]]) -> None:
    """Write values, several at once; returns when all are written.

    Raises
    ------
    StorageError
        If one fails; the others are then stopped, none goes on behind the
        caller's back.
    """
    if items:
        wait(begin_set(store, items))


def copy_many(source: Store, target: Store, keys: Sequence[tuple[str, str]]) -> None:
    """Copy values from one store to another, as they are, a few at a time.

    Parameters
    ----------
    source, target : zarr.abc.store.Store
    keys : sequence of (str, str)
        Of each value in the source and in the target.

    Raises
    ------
    IntegrityError
        If one that must be there is not.
    StorageError
        If the storage fails; the others are then stopped.
    """

    async def copy(pair: tuple[str, str]) -> None:
        value = await _store.get(source, pair[0])
        if value is None:
            raise _store.missing(pair[0])
        await target.set(pair[1], cpu.Buffer.from_bytes(value))

    if keys:
        wait(_io.start(_each(keys, lambda pair: pair[0], "copying", copy)))


def delete_many(store: Store, keys: Sequence[str]) -> None:
    """Delete values; it is no error where there is none.

    Raises
    ------
    StorageError
        If one fails; the others are then stopped.
    """
    if keys:
        wait(_io.start(_each(keys, str, "deleting", store.delete)))


def delete_tree(store: Store, path: str) -> None:
    """Delete an array or a group with all that lies in it.

    Raises
    ------
    StorageError
        If the storage fails.
    """
    try:
        _io.run(store.delete_dir(path))
    except ZVError:
        raise
    except Exception as error:
        raise StorageError(f"deleting {path!r} failed: {reason(error)}") from error
