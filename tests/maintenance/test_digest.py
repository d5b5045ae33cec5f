"""Digests: the same for the same content however it came about, another for any other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import _rich
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zv_versioned as zvv
from zv_versioned.errors import NotFoundError
from zv_versioned.format import digest as hashes
from zv_versioned.maintenance import digest as digests

KINDS = ("point_cloud", "polyline", "graph", "mesh")
WORDS = np.array([None, "", "axon", "dendrite", "søma"], object)


@dataclass
class Thing:
    """One object: its vertices, and links that name them."""

    id: int
    positions: np.ndarray
    values: np.ndarray
    words: np.ndarray
    links: np.ndarray
    weights: np.ndarray
    size: float


def things(kind: str, rng: np.random.Generator, count: int) -> list[Thing]:
    made = []
    width = {"graph": 2, "mesh": 3}.get(kind, 0)
    for number in range(count):
        n = int(rng.integers(4, 12))
        positions = rng.uniform(0, 100, (n, 3)).astype("f4")
        if width:
            links = np.stack([rng.permutation(n)[:width] for _ in range(n)])
        else:
            links = np.zeros((n - 1 if kind == "polyline" else 0, 2), int)
        values = rng.random(n).astype("f4")
        values[rng.random(n) < 0.2] = np.nan
        made.append(
            Thing(
                7 * number, positions, values, WORDS[rng.integers(0, len(WORDS), n)], links,
                rng.random(len(links)), float(rng.random()),
            )
        )  # fmt: skip
    return made


def append(writer: zvv.ZVWriter, kind: str, some: Sequence[Thing]) -> None:
    """Append some objects as one batch, in this order."""
    sizes = [len(thing.positions) for thing in some]
    ids = np.array([thing.id for thing in some])
    positions = np.concatenate([thing.positions for thing in some])
    given: dict[str, Any] = {
        "attributes": {
            "value": np.concatenate([thing.values for thing in some]),
            "word": np.concatenate([thing.words for thing in some]),
        },
        "object_attributes": {"size": np.array([thing.size for thing in some])},
    }
    starts = np.cumsum([0, *sizes[:-1]])
    links = np.concatenate([t.links + s for t, s in zip(some, starts, strict=True)])
    if kind != "point_cloud":
        given["link_attributes"] = {"weight": np.concatenate([t.weights for t in some])}
    if kind == "point_cloud":
        writer.append_vertices_sync(positions, object_ids=np.repeat(ids, sizes), **given)
    elif kind == "polyline":
        writer.append_polylines_sync([t.positions for t in some], object_ids=ids, **given)
    elif kind == "graph":
        writer.append_graph_sync(positions, links, object_ids=np.repeat(ids, sizes), **given)
    else:
        writer.append_mesh_sync(positions, links, object_ids=np.repeat(ids, sizes), **given)


def store(
    kind: str, batches: Sequence[Sequence[Thing]], *, chunk: float = 30.0, **dataset: Any
) -> zvv.Repository:
    """A repository with one dataset, the batches appended in turn."""
    repo = zvv.Repository.create("memory://")
    given = {"bounds": _rich.BOUNDS, "chunk_shape": [chunk] * 3, "vertex_dtype": "float32"}
    with repo.transaction() as tx:
        tx.create_dataset("d", kind=kind, **{**given, **dataset})
    for batch in batches:
        with repo.transaction() as tx:
            append(tx.writer("d"), kind, batch)
    return repo


def kept_is_right(repo: zvv.Repository, ref: str = "main") -> str:
    found = repo.digest(ref)
    assert found == repo.digest(ref, recompute=True)
    return found


# ---- the same ----------------------------------------------------------------


@settings(max_examples=12)
@given(st.sampled_from(KINDS), st.integers(0, 1 << 32), st.data())
def test_however_it_was_batched_the_digest_is_the_same(
    kind: str, seed: int, data: st.DataObject
) -> None:
    content = things(kind, np.random.default_rng(seed), 8)
    order = data.draw(st.permutations(content))
    cuts = sorted(data.draw(st.sets(st.integers(1, 7), max_size=4)))
    batches = [order[a:b] for a, b in zip([0, *cuts], [*cuts, 8], strict=True)]
    chunk = data.draw(st.sampled_from([20.0, 30.0, 100.0]))
    at_once = kept_is_right(store(kind, [content]))
    assert kept_is_right(store(kind, batches, chunk=chunk)) == at_once
    assert at_once.startswith("zvd1-")
    assert len(at_once) == 37


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_removed_counts_no_more(kind: str) -> None:
    content = things(kind, np.random.default_rng(1), 6)
    repo = store(kind, [content[:4], content[4:]])
    with repo.transaction() as tx:
        tx.writer("d").remove_objects_sync([content[1].id, content[5].id])
    rest = [thing for number, thing in enumerate(content) if number not in (1, 5)]
    assert kept_is_right(repo) == kept_is_right(store(kind, [rest]))


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_has_a_digest_of_its_own(kind: str) -> None:
    content = things(kind, np.random.default_rng(2), 6)
    level = store(kind, [content[:3], content[3:]]).view()["d"][0]
    alone = store(kind, [[content[4]]]).view()["d"][0]
    assert level.digest(content[4].id) == alone.digest() == alone.digest([content[4].id])
    two = store(kind, [[content[4]], [content[1]]]).view()["d"][0]
    assert level.digest([content[1].id, content[4].id]) == two.digest()
    assert len({level.digest(thing.id) for thing in content}) == 6
    with pytest.raises(NotFoundError, match="no object 5"):
        level.digest([5])


def test_an_object_that_went_on_is_as_if_it_had_come_at_once() -> None:
    (thing,) = things("point_cloud", np.random.default_rng(3), 1)
    repo = store("point_cloud", [[thing]])
    half = len(thing.positions) // 2
    parts = zvv.Repository.create("memory://")
    with parts.transaction() as tx:
        tx.create_dataset(
            "d", kind="point_cloud", bounds=_rich.BOUNDS, chunk_shape=[30.0] * 3,
            vertex_dtype="float32",
        )  # fmt: skip
    for rows in (slice(0, half), slice(half, None)):
        with parts.transaction() as tx:
            tx.writer("d").append_vertices_sync(
                thing.positions[rows],
                object_ids=np.full(len(thing.positions[rows]), thing.id),
                attributes={"value": thing.values[rows], "word": thing.words[rows]},
                object_attributes={"size": np.array([thing.size])} if rows.start == 0 else None,
                extend=rows.start != 0,
            )
    assert kept_is_right(parts) == kept_is_right(repo)


def test_a_value_that_was_never_written_is_one_that_is_missing() -> None:
    positions = np.random.default_rng(0).uniform(0, 100, (20, 3)).astype("f4")
    found = []
    for covered in (False, True):
        repo = store("point_cloud", [])
        for part in (slice(0, 10), slice(10, 20)):
            values = np.arange(10) + 0.5 if part.start == 0 else np.full(10, np.nan)
            with repo.transaction() as tx:
                tx.writer("d").append_vertices_sync(
                    positions[part],
                    attributes={"v": values} if covered or part.start == 0 else None,
                )
        found.append(kept_is_right(repo))
    assert found[0] == found[1]


def test_branches_that_were_merged_either_way_have_the_same_digest() -> None:
    found = []
    for into, source in (("main", "try"), ("try", "main")):
        content = things("graph", np.random.default_rng(4), 6)
        repo = store("graph", [content[:2]])
        repo.create_branch("try")
        for branch, some in (("main", content[2:4]), ("try", content[4:])):
            with repo.transaction(branch) as tx:
                append(tx.writer("d"), "graph", some)
        repo.merge(source, into=into)
        found.append(kept_is_right(repo, into))
        assert repo.digest(into) != repo.digest(source)
    assert found[0] == found[1]


def test_ids_that_a_merge_gave_anew_count_as_they_are_now() -> None:
    positions = np.random.default_rng(8).uniform(0, 100, (12, 3)).astype("f4")
    found = []
    for merged in (True, False):
        repo = store("point_cloud", [])
        repo.create_branch("try")
        for branch, rows in (("main", slice(0, 6)), ("try", slice(6, 12))):
            with repo.transaction(branch if merged else "main") as tx:
                tx.writer("d").append_vertices_sync(positions[rows])
        if merged:
            assert repo.merge("try", into="main").renumbered
        found.append(kept_is_right(repo))
    assert found[0] == found[1]


@pytest.mark.parametrize("kind", ["point_cloud", "polyline", "graph"])
def test_ids_that_were_given_and_clashed_count_as_they_are_now(kind: str) -> None:
    content = things(kind, np.random.default_rng(9), 6)
    clashing = [Thing(**{**thing.__dict__, "id": 3 + thing.id}) for thing in content[2:5]]
    clashing.append(Thing(**{**content[5].__dict__, "id": content[0].id}))
    repo = store(kind, [])
    repo.create_branch("try")
    for branch, some in (("main", content[:2]), ("try", clashing)):
        with repo.transaction(branch) as tx:
            append(tx.writer("d"), kind, some)
    ((old, new),) = repo.merge("try", into="main", renumber=True).renumbered.values()
    given = dict(zip(old.tolist(), new.tolist(), strict=True))
    moved = [Thing(**{**t.__dict__, "id": given.get(t.id, t.id)}) for t in clashing]
    assert kept_is_right(repo) == store(kind, [content[:2], moved]).digest()
    level = repo.view()["d"][0]
    assert level.digest(moved[-1].id) == store(kind, [moved[-1:]]).view()["d"][0].digest()
    report = repo.fsck()
    assert report.ok, report


def test_values_that_were_written_later_are_as_if_they_had_come_with_the_vertices() -> None:
    content = things("mesh", np.random.default_rng(5), 4)
    whole = store("mesh", [content])
    other = [Thing(**{**thing.__dict__, "values": -thing.values}) for thing in content]
    repo = store("mesh", [other])
    assert repo.digest() != whole.digest()
    with repo.transaction() as tx:
        values = repo.view()["d"][0].attribute("value")
        tx.writer("d").add_attribute_sync("value", -values)
    assert kept_is_right(repo) == whole.digest()


@pytest.mark.parametrize("ref", ["first", "main", "try"])
def test_what_was_kept_is_right_after_all_kinds_of_changes(ref: str) -> None:
    repo = _rich.make("memory://", n=60)
    assert kept_is_right(repo, ref) == repo.digest(repo.resolve(ref))


def test_the_digest_does_not_change_from_version_to_version() -> None:
    content = [
        Thing(
            3, np.array([[1, 2, 3], [4, 5, 6.5]], "f4"), np.array([0.25, np.nan], "f4"),
            np.array(["axon", None], object), np.array([[0, 1]]), np.array([2.0]), 0.5,
        )
    ]  # fmt: skip
    found = {kind: store(kind, [content]).digest() for kind in ("point_cloud", "polyline", "graph")}
    assert found == {
        "point_cloud": "zvd1-c9dc04a0c2645b80b9a73b5dd58ec46f",
        "polyline": "zvd1-4cc19f2aba5fb599ebe9bddb616217b0",
        "graph": "zvd1-ac06aba81520c542562e8c8efbcc0f94",
    }


# ---- another -----------------------------------------------------------------


def _change(thing: Thing, field: str, change: Callable[[np.ndarray], None]) -> Thing:
    value = np.array(getattr(thing, field), copy=True)
    change(value)
    return Thing(**{**thing.__dict__, field: value})


def _swap(array: np.ndarray) -> None:
    array[[0, 1]] = array[[1, 0]]


CHANGES: dict[str, Callable[[Thing], Thing]] = {
    "the last bit of a coordinate": lambda t: _change(
        t, "positions", lambda p: p.view("u4").reshape(-1).__setitem__(4, p.view("u4")[1, 1] ^ 1)
    ),
    "two coordinates of a vertex": lambda t: _change(t, "positions", lambda p: _swap(p[0])),
    "values of two vertices": lambda t: _change(t, "values", _swap),
    "words of two vertices": lambda t: _change(t, "words", _swap),
    "a value that is missing": lambda t: _change(t, "values", lambda v: v.__setitem__(2, np.nan)),
    "an id": lambda t: Thing(**{**t.__dict__, "id": t.id + 1}),
    "a value of the object": lambda t: Thing(**{**t.__dict__, "size": t.size + 1}),
}
OF_LINKS: dict[str, Callable[[Thing], Thing]] = {
    "values of two links": lambda t: _change(t, "weights", _swap),
    "a link the other way round": lambda t: _change(t, "links", lambda x: _swap(x[0])),
}


def known(kind: str) -> list[Thing]:
    """Objects of which no two values are alike, and none is missing."""
    content = things(kind, np.random.default_rng(6), 3)
    for thing in content:
        n = len(thing.positions)
        thing.values = np.arange(n, dtype="f4")
        thing.words = np.array([f"word {i}" for i in range(n)], object)
    return content


@pytest.mark.parametrize(
    ("kind", "what"),
    [(kind, what) for kind in KINDS for what in CHANGES]
    + [(kind, what) for kind in ("graph", "mesh") for what in OF_LINKS]
    + [("polyline", "values of two links")],
)
def test_whatever_changes_the_digest_changes(kind: str, what: str) -> None:
    content = known(kind)
    change = {**CHANGES, **OF_LINKS}[what]
    other = [content[0], change(content[1]), content[2]]
    assert store(kind, [other]).digest() != store(kind, [content]).digest()


def test_a_line_the_other_way_round_is_another() -> None:
    thing = known("polyline")[0]
    back = Thing(**{**thing.__dict__, "positions": thing.positions[::-1]})
    back.values, back.words = thing.values[::-1], thing.words[::-1]
    back.weights = thing.weights[::-1]
    assert store("polyline", [[back]]).digest() != store("polyline", [[thing]]).digest()


@pytest.mark.parametrize(
    "dataset",
    [
        {"metadata": {"unit of values": "mV"}},
        {"vertex_dtype": "float64"},
        {"axes": [{"name": n, "type": "space", "unit": "nanometer"} for n in "xyz"]},
    ],
    ids=["metadata", "dtype", "axes"],
)
def test_what_is_said_of_a_dataset_counts_and_how_it_is_stored_does_not(
    dataset: dict[str, Any],
) -> None:
    content = known("point_cloud")
    plain = store("point_cloud", [content]).digest()
    assert store("point_cloud", [content], **dataset).digest() != plain
    assert store("point_cloud", [content], chunk=50.0).digest() == plain


def test_groups_names_and_levels_count() -> None:
    repo = store("point_cloud", [known("point_cloud")])
    found = [kept_is_right(repo)]
    for change in (
        lambda tx: tx.writer("d").add_group_sync("odd", [7]),
        lambda tx: tx.writer("d").add_group_sync("odd", [7, 14]),
        lambda tx: tx.create_dataset("e", kind="point_cloud", bounds=_rich.BOUNDS),
        lambda tx: tx.create_dataset("f", kind="point_cloud", bounds=_rich.BOUNDS),
        lambda tx: tx.writer("d").set_metadata_sync({"by": "Ada"}),
    ):
        with repo.transaction() as tx:
            change(tx)
        found.append(kept_is_right(repo))
    assert len(set(found)) == len(found)


@settings(max_examples=200)
@given(st.integers(0, 1 << 32))
def test_no_two_of_many_small_numbers_are_hashed_alike(seed: int) -> None:
    """Neighbouring integers are what people have; sums of their hashes must not collide."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(-3, 4, (50, 3))
    changed = rows.copy()
    changed[rng.integers(0, 50), rng.integers(0, 3)] += rng.choice([-1, 1])
    one, other = (
        hashes.items("vertex", 50, None, [hashes.Column("p", r)]) for r in (rows, changed)
    )
    assert one[0] != other[0]
    assert one[1] != other[1]


# ---- kept --------------------------------------------------------------------


def test_what_was_appended_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    content = things("graph", np.random.default_rng(7), 6)
    repo = store("graph", [content[:2], content[2:4], content[4:]])
    expected = repo.digest(recompute=True)
    read: list[int] = []
    real = digests.batch_sums

    def counting(reader: Any, row: int) -> Any:
        read.append(row)
        return real(reader, row)

    monkeypatch.setattr(digests, "batch_sums", counting)
    assert repo.digest() == expected
    assert read == []
    with repo.transaction() as tx:
        tx.writer("d").remove_objects_sync([content[2].id])
    repo.digest()
    assert read == [1]  # only the batch that lost an object


def test_compaction_keeps_the_digest_and_leaves_everything_sound() -> None:
    repo = _rich.make("memory://", n=60)
    before = kept_is_right(repo)
    repo.compact()
    assert [len(repo.view()[kind][0].batches) for kind in KINDS] == [1] * 4
    assert kept_is_right(repo) == before
    report = repo.fsck()
    assert report.ok, report
