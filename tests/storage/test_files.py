"""icechunk's own files, read without icechunk: the same facts, and damage is an error of ours."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from typing import Any

import _rich
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zv_versioned as zvv
from zv_versioned import _io
from zv_versioned.errors import IntegrityError
from zv_versioned.storage import files, lookup
from zv_versioned.storage.durable import written_by


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> zvv.Repository:
    return _rich.make(tmp_path_factory.mktemp("files") / "r", kinds=("graph",), n=60)


def refs_of(folder: Path) -> files.RepoFile:
    root = folder / "repo"
    return (
        files.repo(root.read_bytes(), "repo") if root.exists() else files.refs_of_folder(folder)[0]
    )


def snapshot_of(folder: Path, name: str) -> files.SnapshotFile:
    return files.snapshot((folder / "snapshots" / name).read_bytes(), name)


def test_refs_are_those_that_icechunk_has(made: zvv.Repository) -> None:
    refs = refs_of(Path(made.location))
    visible = {n: s for n, s in refs.branches.items() if not n.startswith("zv_versioned.")}
    assert visible == {name: made.resolve(name) for name in made.list_branches()}
    assert len(refs.branches) == len(visible) + 1  # the parent of the merge
    assert refs.tags == {name: made.resolve(name) for name in made.list_tags()}


def test_every_snapshot_has_the_parent_and_the_nodes_that_icechunk_has(
    made: zvv.Repository,
) -> None:
    folder = Path(made.location)
    parents = refs_of(folder).parents
    for info in made._backend.ancestry(made.resolve("main")):
        found = snapshot_of(folder, info.id)
        assert found.id == info.id
        assert parents.get(info.id, found.parent) == info.parent_id
        written = info.written_at.timestamp() * 1e6
        assert abs(found.flushed_at - written) < 2
        store: Any = made._backend.read_store(info.id)

        async def documents(store: Any = store) -> dict[str, bytes]:
            from zarr.core.buffer import default_buffer_prototype

            keys = [key async for key in store.list() if key.endswith("zarr.json")]
            return {
                key.removesuffix("zarr.json").rstrip("/"): (
                    await store.get(key, default_buffer_prototype())
                ).to_bytes()
                for key in keys
            }

        if info.parent_id is not None:
            assert {n.path: n.document for n in found.nodes} == _io.run(documents())
        sizes = {p.name: p.stat().st_size for p in (folder / "manifests").iterdir()}
        assert all(sizes[name] == size for name, size in found.manifests.items())


def test_every_chunk_is_found_in_the_manifests(made: zvv.Repository) -> None:
    folder = Path(made.location)
    tip = made.resolve("main")
    session: Any = made._backend.read_store(tip).session
    for node in snapshot_of(folder, tip).nodes:
        if node.manifests is None:
            continue

        async def coordinates(path: str = node.path) -> set[tuple[int, ...]]:
            return {tuple(at) async for at in session.chunk_coordinates(f"/{path}", 1000)}

        index, names = set(), []
        for name in node.manifests:
            own, arrays = files.manifest((folder / "manifests" / name).read_bytes(), name)
            assert own == name
            refs = arrays[node.id]
            index |= set(map(tuple, refs.index.tolist()))
            names += [files.object_id(chunk) for chunk in refs.chunks()]
            ends = (refs.offset + refs.length)[refs.native]
            inline = [len(raw) for raw in refs.inline if raw is not None]
            assert len(inline) + len(ends) == len(refs.index)
            sizes = [(folder / "chunks" / files.object_id(c)).stat().st_size for c in refs.chunks()]
            assert sizes == ends.tolist()
        assert index == _io.run(coordinates())
        assert len(names) == len(set(names))


@pytest.mark.parametrize("few", [0, 1 << 30])
def test_a_chunk_that_is_looked_for_is_the_one_in_the_list(
    made: zvv.Repository, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "FEW", few)
    monkeypatch.setattr(lookup, "_ALONE", few)
    folder = Path(made.location)
    for path in sorted((folder / "manifests").iterdir()):
        raw = path.read_bytes()
        for node, refs in files.manifest(raw, path.name)[1].items():
            chunks = lookup.chunks_in(raw, node, path.name)
            assert chunks is not None
            coordinates = list(map(tuple, refs.index.tolist()))
            assert list(chunks) == coordinates
            for row, at in enumerate(coordinates):
                found = chunks.find(at)
                if refs.native[row]:
                    name = files.object_id(bytes(refs.chunk[row]))
                    assert found == (name, refs.offset[row], refs.length[row])
                else:
                    assert found == refs.inline[row]
            absent = (*coordinates[0], 0)
            assert chunks.find(absent) is None
            fresh = lookup.chunks_in(raw, node, path.name)
            assert fresh is not None
            some = [*coordinates, absent, coordinates[0]]
            assert fresh.find_all(some) == [chunks.find(at) for at in some]
        assert lookup.chunks_in(raw, b"8 bytes.", path.name) is None


@given(ids=st.lists(st.binary(min_size=12, max_size=12), max_size=20))
def test_names_of_many_files_are_those_of_each(ids: list[bytes]) -> None:
    raw = np.frombuffer(b"".join(ids), np.uint8).reshape(-1, 12)
    assert files.object_ids(raw) == [files.object_id(one) for one in ids]


def _look_for_all(raw: bytes, what: str, node: bytes) -> None:
    chunks = lookup.chunks_in(raw, node, what)
    for at in chunks or ():
        chunks.find(at)


def test_what_a_commit_wrote_is_what_appeared(tmp_path: Path) -> None:
    repo = _rich.make(tmp_path / "r", kinds=("polyline",), n=60)
    folder = tmp_path / "r"

    def there() -> set[str]:
        kinds = ("chunks", "manifests", "snapshots", "transactions")
        return {f"{kind}/{p.name}" for kind in kinds for p in (folder / kind).iterdir()}

    for branch in ("main", "try"):
        before, tip = there(), repo.resolve(branch)
        with repo.transaction(branch) as tx:
            _rich.append(tx.writer("polyline"), "polyline", np.random.default_rng(0), 500, 60)
        assert set(written_by(folder, tip, repo.resolve(branch))) == there() - before


@given(seed=st.integers(0, 2**32 - 1))
def test_damaged_files_are_read_or_refused_with_an_error_of_ours(
    made: zvv.Repository, seed: int
) -> None:
    rng = random.Random(seed)
    folder = Path(made.location)
    readers = {
        "snapshots": files.snapshot, "manifests": files.manifest,
        "transactions": files.transaction_id,
    }  # fmt: skip
    kind = rng.choice(list(readers))
    raw = bytearray(rng.choice(sorted((folder / kind).iterdir())).read_bytes())
    nodes = list(files.manifest(bytes(raw), "x")[1]) if kind == "manifests" else []
    if rng.random() < 0.5:
        # Behind the compression, where nothing else would notice.
        from numcodecs import zstd

        body = bytearray(zstd.decompress(bytes(raw[files.HEADER :])))
        for _ in range(rng.randrange(1, 4)):
            body[rng.randrange(len(body))] ^= rng.randrange(1, 256)
        raw = raw[:38] + b"\0" + body
    elif rng.random() < 0.5:
        raw[rng.randrange(len(raw))] ^= rng.randrange(1, 256)
    else:
        del raw[rng.randrange(len(raw)) :]
    with contextlib.suppress(IntegrityError):
        readers[kind](bytes(raw), "x")
    for node in nodes:
        with contextlib.suppress(IntegrityError):
            _look_for_all(bytes(raw), "x", node)
