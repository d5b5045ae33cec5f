"""Writes to a zarr store, several at once and waited for; :mod:`zv_versioned._store` reads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import Future

from zarr.abc.store import Store
from zarr.core.buffer import cpu

from . import _io, _store
from .errors import StorageError, ZVError
from .storage.translate import reason

_WRITES_AT_ONCE = 16

Value = bytes | bytearray


async def _set_all(store: Store, items: Iterable[tuple[str, Value]]) -> None:
    free = asyncio.Semaphore(_WRITES_AT_ONCE)

    async def put(key: str, value: Value) -> None:
        async with free:
            try:
                await store.set(key, cpu.Buffer.from_bytes(value))
            except ZVError:
                raise
            except Exception as error:
                raise StorageError(f"writing chunk {key!r} failed: {reason(error)}") from error

    # A TaskGroup: when one write fails the others are stopped and waited for.
    async with asyncio.TaskGroup() as group:
        for key, value in items:
            group.create_task(put(key, value))


def begin_set(store: Store, items: Sequence[tuple[str, Value]]) -> Future[None]:
    """Begin to write values, as :func:`set_many` does, and return at once.

    Returns
    -------
    concurrent.futures.Future
        For :func:`wait_set`.
    """
    return _io.start(_set_all(store, items))


def wait_set(begun: Future[None]) -> None:
    """Return when all is written that :func:`begin_set` began; raises as :func:`set_many`."""
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
        wait_set(begin_set(store, items))


async def _copy_all(source: Store, target: Store, keys: Iterable[tuple[str, str]]) -> None:
    free = asyncio.Semaphore(_WRITES_AT_ONCE)

    async def copy(here: str, there: str) -> None:
        async with free:
            try:
                value = await _store.get(source, here)
                if value is None:
                    raise _store.missing(here)
                await target.set(there, cpu.Buffer.from_bytes(value))
            except ZVError:
                raise
            except Exception as error:
                raise StorageError(f"copying chunk {here!r} failed: {reason(error)}") from error

    async with asyncio.TaskGroup() as group:
        for here, there in keys:
            group.create_task(copy(here, there))


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
    if not keys:
        return
    try:
        _io.run(_copy_all(source, target, keys))
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from group


async def _delete_all(store: Store, keys: Iterable[str]) -> None:
    free = asyncio.Semaphore(_WRITES_AT_ONCE)

    async def delete(key: str) -> None:
        async with free:
            await store.delete(key)

    async with asyncio.TaskGroup() as group:
        for key in keys:
            group.create_task(delete(key))


def delete_many(store: Store, keys: Sequence[str]) -> None:
    """Delete values; it is no error where there is none."""
    if not keys:
        return
    try:
        _io.run(_delete_all(store, keys))
    except BaseExceptionGroup as group:
        error = group.exceptions[0]
        if isinstance(error, ZVError) or not isinstance(error, Exception):
            raise error from group
        raise StorageError(f"deleting chunks failed: {reason(error)}") from error


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
