"""Calls on a store: batched, complete or an error that names the key, and nothing left running."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _stores import Failing, filled
from zarr.core.buffer import cpu
from zarr.storage import MemoryStore

import zv_versioned as zvv
from zv_versioned import _io
from zv_versioned._store import (
    get_documents,
    get_documents_and,
    get_json,
    get_many,
    get_parts,
    get_present,
)
from zv_versioned._writes import set_many
from zv_versioned.errors import IntegrityError, ReadOnlyError, StorageError, ZVError


def test_values_and_parts_of_values_come_in_the_order_of_the_requests() -> None:
    store = filled(a=b"0123456789", b=b"xyz")
    requests = [("b", 0, -1), ("a", 2, 5), ("a", -3, -1), ("a", 0, -1), ("a", 0, 10), ("b", 1, 2)]
    values = get_many(store, requests)
    assert [bytes(value) for value in values] == [
        b"xyz", b"234", b"789", b"0123456789", b"0123456789", b"y",
    ]  # fmt: skip
    assert all(value.readonly for value in values)


def test_parts_are_the_values_that_were_asked_for() -> None:
    store = filled(a=b"0123456789", b=b"xyz")
    parts = get_parts(store, [("b", 0, -1), ("a", 2, 5)], [("a", -3, -1)])
    assert [bytes(raw[start:stop]) for raw, start, stop in parts] == [b"xyz", b"234", b"789"]
    with pytest.raises(IntegrityError, match=r"missing: p/0/c/7"):
        get_parts(store, [("a", 0, -1), ("p/0/c/7", 0, 4)])
    with pytest.raises(IntegrityError, match="'a' ends before byte 11: it is cut short"):
        get_parts(store, [("a", 0, 11)])


def test_asking_for_nothing_asks_nobody() -> None:
    store = Failing({})
    assert get_many(store, []) == get_parts(store, []) == []
    set_many(store, [])
    assert store.begun == []


def test_a_chunk_that_is_missing_is_named() -> None:
    with pytest.raises(IntegrityError, match=r"missing: p/0/c/7"):
        get_many(filled(a=b"1"), [("a", 0, -1), ("p/0/c/7", 0, 4)])


@pytest.mark.parametrize(("start", "stop"), [(0, 11), (9, 12)])
def test_a_chunk_that_is_cut_short_is_named(start: int, stop: int) -> None:
    with pytest.raises(IntegrityError, match=f"'a' ends before byte {stop}: it is cut short"):
        get_many(filled(a=b"0123456789"), [("a", 0, 4), ("a", start, stop)])


def test_a_store_that_fails_is_told_from_damage_and_the_chunk_is_named() -> None:
    store = Failing({"b": OSError("connection reset\nmany details")}, data={})
    set_many(store, [("a", b"1")])
    with pytest.raises(
        StorageError, match=r"reading chunk 'b' failed: connection reset$"
    ) as caught:
        get_many(store, [("a", 0, -1), ("b", 0, -1)])
    assert isinstance(caught.value.__cause__, OSError)


def test_a_failure_that_passes_is_made_good_by_asking_one_by_one() -> None:
    class Once(MemoryStore):
        async def get_partial_values(self, prototype: Any, key_ranges: Any) -> Any:
            raise OSError("too many requests")

    store = Once({"a": cpu.Buffer.from_bytes(b"0123")})
    assert [bytes(v) for v in get_many(store, [("a", 1, 3), ("a", -1, -1)])] == [b"12", b"3"]


def test_no_chunk_is_there_of_an_array_that_is_not_there(
    any_location: tuple[str, dict[str, Any]],
) -> None:
    location, options = any_location
    repo = zvv.Repository.create(location, **options)
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0] * 3, [1] * 3))
        tx.writer("p").append_vertices_sync([[0.5] * 3])
    store = repo._backend.view_store(repo.resolve("main"))
    key, absent = "p/0/batches/table/c/0", "p/0/vertex_attributes/v/c/0/0/0/0"
    (there,) = get_many(store, [(key, 0, -1)])
    asked = [(key, 0, -1), (absent, 0, -1)]
    assert get_present(store, asked) == [there, None]
    assert get_present(store, [], asked) == [there, None]
    with pytest.raises(IntegrityError, match=absent):
        get_many(store, asked)


def test_an_error_of_our_own_is_passed_on_as_it_is() -> None:
    store = Failing({"a": ReadOnlyError("closed"), "a/zarr.json": ReadOnlyError("closed")})
    for call in (
        lambda: get_many(store, [("a", 0, -1)]),
        lambda: get_json(store, "a"),
        lambda: set_many(store, [("a", b"1")]),
    ):
        with pytest.raises(ReadOnlyError, match="closed"):
            call()


def test_documents_come_together_and_none_where_there_is_none() -> None:
    store = filled(**{"zarr.json": b'{"a":1}', "p/q/zarr.json": b'{"b":2}'})
    assert get_documents(store, ["p/q", "p", ""]) == [{"b": 2}, None, {"a": 1}]
    value, nothing = get_documents_and(store, [""], ["p/q/zarr.json", "x/c/0"])[1]
    assert (bytes(value or b""), nothing) == (b'{"b":2}', None)
    assert get_json(store, "") == {"a": 1}


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b"[1]", b"null", b"3"])
def test_a_document_that_is_none_is_named(raw: bytes) -> None:
    with pytest.raises(IntegrityError, match=r"'p/zarr.json' is not"):
        get_json(filled(**{"p/zarr.json": raw}), "p")


def test_a_store_that_fails_over_a_document_is_told_from_damage() -> None:
    store = Failing({"p/zarr.json": OSError("timed out")})
    with pytest.raises(StorageError, match=r"p/zarr.json failed: timed out"):
        get_json(store, "p")


def test_calls_work_inside_a_running_loop_and_from_threads() -> None:
    store = filled(a=b"0123")

    async def main() -> list[Any]:
        plain = bytes(get_many(store, [("a", 0, 2)])[0])
        threads = [asyncio.to_thread(get_many, store, [("a", 0, i + 1)]) for i in range(4)]
        return [plain, *(bytes(v[0]) for v in await asyncio.gather(*threads))]

    assert asyncio.run(main()) == [b"01", b"0", b"01", b"012", b"0123"]


# --- damage on disk -----------------------------------------------------------------------------

Damage = Callable[[Path], object]


def cut(path: Path) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 3] ^= 1
    path.write_bytes(raw)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which every kind of chunk is large enough to have a file of its own."""
    path = tmp_path_factory.mktemp("sound") / "repository"
    rng = np.random.default_rng(0)
    repo = zvv.Repository.create(path)
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0] * 3, [1] * 3))
        tx.writer("p").append_vertices_sync(
            rng.random((100_000, 3), "f4"),
            object_ids=rng.integers(0, 2**62, 100_000),
            attributes={"a": rng.random(100_000)},
        )
    return path


def file_of(repo_path: Path, array: str) -> Path:
    """The file that holds the one shard of an array, found by its bytes."""
    store = zvv.Repository.open(repo_path).view()._store

    async def shard() -> bytes:
        from zarr.core.buffer import default_buffer_prototype

        keys = [key async for key in store.list() if key.startswith(f"p/0/{array}/c/")]
        assert len(keys) == 1
        return (await store.get(keys[0], default_buffer_prototype())).to_bytes()

    wanted = _io.run(shard())
    (found,) = [p for p in repo_path.glob("chunks/*") if p.read_bytes() == wanted]
    return found


def whole(level: Any) -> Any:
    return level.read(attributes="all")


def part(level: Any) -> Any:
    return level.read(bbox=([0.4] * 3, [0.6] * 3), attributes="all")


@pytest.mark.parametrize("read", [whole, part])
@pytest.mark.parametrize("damage", [Path.unlink, cut, flip])
@pytest.mark.parametrize("array", ["vertices", "vertex_attributes/a", "batches/index"])
def test_a_damaged_file_is_an_integrity_error_that_names_the_chunk(
    sound: Path, tmp_path: Path, array: str, damage: Damage, read: Callable[[Any], Any]
) -> None:
    path = tmp_path / "copy"
    shutil.copytree(sound, path)
    damage(file_of(path, array))
    level = zvv.Repository.open(path).view()["p"][0]
    if damage is flip and not array.startswith("batches"):
        read = whole  # the damaged cell need not be in the box
    with pytest.raises(ZVError) as caught:
        read(level)
    assert f"p/0/{array}" in str(caught.value), "the chunk is not named"
    assert isinstance(caught.value, IntegrityError)


@pytest.mark.parametrize("damage", [Path.unlink, cut])
def test_a_snapshot_that_cannot_be_read_is_never_taken_for_an_empty_one(
    sound: Path, tmp_path: Path, damage: Damage
) -> None:
    path = tmp_path / "copy"
    shutil.copytree(sound, path)
    repo = zvv.Repository.open(path)
    snapshot_id = repo.resolve("main")
    damage(path / "snapshots" / snapshot_id)
    for ask in (lambda view: view.datasets, lambda view: view["p"]):
        with pytest.raises(ZVError) as caught:
            ask(zvv.Repository.open(path).view())
        assert "no dataset" not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_json_of_ours_is_compact_and_pure_ascii_or_utf8() -> None:
    from zv_versioned.format.metadata import dumps

    raw = dumps({"größe": [1, 2]})
    assert json.loads(raw) == {"größe": [1, 2]}
    assert b" " not in raw
