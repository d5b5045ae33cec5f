"""Stores in memory for tests of the calls on one."""

from __future__ import annotations

import asyncio
from typing import Any

from zarr.core.buffer import cpu
from zarr.storage import MemoryStore


def filled(**values: bytes) -> MemoryStore:
    return MemoryStore({key: cpu.Buffer.from_bytes(value) for key, value in values.items()})


def contents(store: MemoryStore) -> dict[str, bytes]:
    return {key: value.to_bytes() for key, value in store._store_dict.items()}


class Failing(MemoryStore):
    """Fails at some keys, and tells which were asked for."""

    def __init__(self, bad: dict[str, Exception], *, data: dict[str, Any] | None = None) -> None:
        super().__init__(data)
        self.bad = bad
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.delay = 0.0

    async def _go(self, key: str) -> None:
        self.begun.append(key)
        if key in self.bad:
            raise self.bad[key]
        await asyncio.sleep(self.delay)

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        await self._go(key)
        return await super().get(key, prototype, byte_range)

    async def get_partial_values(self, prototype: Any, key_ranges: Any) -> Any:
        return [await self.get(key, prototype, span) for key, span in key_ranges]

    async def set(self, key: str, value: Any, byte_range: Any = None) -> None:
        await self._go(key)
        await super().set(key, value)
        self.ended.append(key)
