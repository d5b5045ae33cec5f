"""Batches read whole and at once are those that are read one by one; damage is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zv_versioned as zvv
from tests._rich import BOUNDS, KINDS, append, points
from zv_versioned.errors import IntegrityError
from zv_versioned.format import batches as format_batches
from zv_versioned.format.batches import FragmentPage
from zv_versioned.reading import whole_rows
from zv_versioned.reading.batches import Batches
from zv_versioned.reading.links import ENDS, LINKS, link_rows_of, whole
from zv_versioned.reading.reader import LevelReader


def assert_is_what_is_read_one_by_one(reader: LevelReader, rows: list[int]) -> None:
    found, meta = Batches(reader, rows), reader.meta
    selections = whole(reader, rows)
    heads = [s.head for s in selections]
    for name in ("cells", "cell_vertices", "cell_fragments", "cell_links"):
        expected = np.concatenate([getattr(head, name) for head in heads])
        assert getattr(found, name).tolist() == expected.tolist(), name
    assert found.n_cells.tolist() == [len(head.cells) for head in heads]
    page = FragmentPage.concatenate(reader.fragments(selections))
    for name in ("object", "vertices", "rank", "ends"):
        one, other = getattr(found.fragments, name), getattr(page, name)
        assert (one is None) is (other is None), name
        assert one is None or one.tolist() == other.tolist(), name
    ids = reader.ids(rows)
    assert found.ids.tolist() == np.concatenate([each for each, _ in ids]).tolist()
    assert found.is_new.tolist() == np.concatenate([new for _, new in ids]).tolist()
    positions = reader.rows_of("vertices", meta.vertex_dtype, (meta.ndim,), selections)
    read = found.vertex_rows("vertices", meta.vertex_dtype, (meta.ndim,))
    assert read.tobytes() == positions.tobytes()
    for attribute in reader.state.facts.attributes.values():
        content = reader.state.table.content(attribute.path)
        of = attribute.path, attribute.dtype, attribute.row_shape
        some = [s for s in selections if content[s.row]]
        assert found.vertex_rows(*of).tobytes() == reader.rows_of(*of, some).tobytes()
    if meta.link_width:
        of_links = LINKS, ENDS, (meta.link_width,)
        stored = link_rows_of(reader, *of_links, selections)
        assert found.link_rows(*of_links).tobytes() == stored.tobytes()


def written(kind: str, seed: int, chunk: float, sizes: list[int]) -> LevelReader:
    """Batches of several sizes, some with a value more, over one block of cells or many."""
    rng = np.random.default_rng(seed)
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("d", kind=kind, bounds=BOUNDS, chunk_shape=[chunk] * 3)
    for number, n in enumerate(sizes):
        with repo.transaction() as tx:
            writer = tx.writer("d")
            append(writer, kind, rng, 100 * number, n)
            if number % 2 and kind == "point_cloud":
                ids = 100 * number + rng.integers(0, 12, n)
                writer.append_vertices_sync(points(rng, n), object_ids=ids, extend=True)
            if number == 1:
                writer.add_attribute_sync(
                    "late", rng.random(sum(sizes[:2]) + (n if kind == "point_cloud" else 0))
                )
    return repo.view()["d"][0]._reader


@settings(max_examples=12)
@given(
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 2**32 - 1),
    chunk=st.sampled_from([200.0, 30.0, 9.0]),
    sizes=st.lists(st.integers(21, 400), min_size=2, max_size=6),
    whole_bytes=st.sampled_from([0, 2000, 1 << 20]),
    piece=st.sampled_from([1, 9000, 1 << 24]),
    at_once=st.sampled_from([1, 50, 1 << 14]),
    page=st.sampled_from([20, 1 << 13]),
    data=st.data(),
)
def test_any_batches_read_at_once_are_those_that_are_read_one_by_one(
    kind: str,
    seed: int,
    chunk: float,
    sizes: list[int],
    whole_bytes: int,
    piece: int,
    at_once: int,
    page: int,
    data: st.DataObject,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(format_batches, "_PAGE_ROWS", page)
        patch.setattr(whole_rows, "WHOLE_BATCH_BYTES", whole_bytes)
        patch.setattr(whole_rows, "_PIECE_BYTES", piece)
        patch.setattr(whole_rows, "_CELLS_AT_ONCE", at_once)
        reader = written(kind, seed, chunk, sizes)
        count = len(reader.state.table)
        rows = data.draw(st.sets(st.integers(0, count - 1), min_size=1))
        assert_is_what_is_read_one_by_one(reader, sorted(rows))


def wrong(location: Path) -> str | None:
    """What is said of damage, where there is any."""
    try:
        reader = zvv.Repository.open(location).view()["p"][0]._reader
        found = Batches(reader, list(range(len(reader.state.table))))
        found.vertex_rows("vertices", reader.meta.vertex_dtype, (3,))
    except IntegrityError as error:
        return str(error)
    return None


def test_a_flipped_byte_of_any_of_many_batches_is_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    repo = zvv.Repository.create(tmp_path / "r")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=BOUNDS, chunk_shape=[30.0] * 3)
    for _ in range(12):
        with repo.transaction() as tx:
            tx.writer("p").append_vertices_sync(points(rng, 300))
    files = sorted((tmp_path / "r" / "chunks").iterdir())
    damaged = 0
    for path in [files[at] for at in rng.permutation(len(files))[:20]]:
        raw = bytearray(path.read_bytes())
        at = int(rng.integers(len(raw)))
        raw[at] ^= 1 << int(rng.integers(8))
        before = path.read_bytes()
        path.write_bytes(raw)
        tip = repo.log()[0].snapshot_id
        told = wrong(tmp_path / "r")
        if told is not None:
            damaged += 1
            assert "p/0/" in told
            with pytest.raises(IntegrityError):
                # Who has read it before remembers some of it as it was.
                zvv.Repository.open(tmp_path / "r").compact()
        path.write_bytes(before)
        assert repo.log()[0].snapshot_id == tip
    assert damaged
