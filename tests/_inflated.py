"""How much is decompressed."""

from __future__ import annotations

import pytest

from zv_versioned.format import inflate


def decompressed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of each buffer that is decompressed from now on."""
    made: list[int] = []
    call = inflate.call

    def counted(source: int | bytes, out: int, size: int, threads: int) -> int:
        made.append(size)
        return call(source, out, size, threads)

    monkeypatch.setattr(inflate, "call", counted)
    return made
