"""Compaction: fewer batches, the same objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tests._profiles  # noqa: F401
import zv_versioned as zvv
from tests._processes import new_processes
from tests._rich import BOUNDS, KINDS, append, make, points
from tests.maintenance._content import assert_same, content
from zv_versioned.maintenance.digest import batch_sums, kept_sums


def contents(repo: zvv.Repository, ref: str = "main") -> dict[str, Any]:
    view = repo.view(ref)
    return {f"{name}/{n}": content(view[name][n]) for name in view for n in view[name].levels}


def all_same(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert_same(a[name], b[name])


def small(location: Any = "memory://", batches: int = 4, n: int = 20) -> zvv.Repository:
    rng = np.random.default_rng(1)
    repo = zvv.Repository.create(location)
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=BOUNDS, chunk_shape=[30.0] * 3)
    for batch in range(batches):
        with repo.transaction() as tx:
            append(tx.writer("p"), "point_cloud", rng, 100 * batch, n)
    return repo


# ---- what stays the same ----------------------------------------------------


def test_every_kind_keeps_its_objects_with_all_that_belongs_to_them() -> None:
    repo = make("memory://", n=60)
    before, old, digest = contents(repo), repo.view("main"), repo.digest()
    result = repo.compact()
    assert repo.digest() == digest
    all_same(before, contents(repo))
    assert set(result.levels) == set(KINDS)
    for kind in KINDS:
        assert len(repo.view()[kind][0].batches) == 1
        assert_same(before[f"{kind}/0"], content(old[kind][0]))
    assert repo.fsck().ok
    assert repo.log("main", limit=1)[0].summary["operation"] == "compact"


def test_what_is_made_of_batches_that_kept_their_sums_keeps_them_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    repo, rng = zvv.Repository.create("memory://"), np.random.default_rng(2)
    with repo.transaction() as tx:
        for kind in KINDS:
            tx.create_dataset(kind, kind=kind, bounds=BOUNDS, chunk_shape=[40.0] * 3)
    for first in (0, 100, 200):
        with repo.transaction() as tx:
            for kind in KINDS:
                append(tx.writer(kind), kind, rng, first, 40)
    changed = {"mesh"}  # what was written to later has none to hand on
    with repo.transaction() as tx:
        ids = repo.view()["mesh"][0].object_ids()
        tx.writer("mesh").remove_objects_sync(ids[:1])
    digest = repo.digest()
    for kind in KINDS:
        level = repo.view()[kind][0]
        kept = [kept_sums(level._reader, row) for row in range(len(level.batches))]
        assert (None in kept) is (kind in changed)
    repo.compact()
    assert repo.digest(recompute=True) == digest
    read: list[str] = []

    def summed(reader: Any, row: int) -> Any:
        read.append(reader.meta.kind)
        return batch_sums(reader, row)

    monkeypatch.setattr("zv_versioned.maintenance.digest.batch_sums", summed)
    assert repo.digest() == digest
    assert set(read) == changed


class Random:
    """A random history of one dataset."""

    def __init__(self, kind: str, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.kind = kind
        self.repo = zvv.Repository.create("memory://")
        self.first = 0
        with self.repo.transaction() as tx:
            tx.create_dataset("d", kind=kind, bounds=BOUNDS, chunk_shape=[40.0] * 3)

    def act(self) -> None:
        level = self.repo.view()["d"][0]
        ids = level.object_ids()
        choice = self.rng.integers(0, 6) if len(ids) else 0
        with self.repo.transaction() as tx:
            writer = tx.writer("d")
            if choice <= 1:
                append(writer, self.kind, self.rng, self.first, int(self.rng.integers(30, 60)))
                self.first += 100
            elif choice == 2:
                self._extend(writer, self.rng.choice(ids, 2))
            elif choice == 3:
                some = self.rng.choice(ids, int(self.rng.integers(1, len(ids) + 1)), replace=False)
                writer.remove_objects_sync(some)
            elif choice == 4:
                writer.add_attribute_sync("late", self.rng.random(level.vertex_count))
                size = np.array(["s", None, "l"], object)[self.rng.integers(0, 3, len(ids))]
                writer.add_object_attribute_sync("size", size)
                days = self.rng.integers(0, 9, level.link_count).astype("M8[D]")
                if level.link_count:
                    writer.add_link_attribute_sync("day", days)
            else:
                writer.add_group_sync("some", np.unique(self.rng.choice(ids, 3)))

    def _extend(self, writer: zvv.ZVWriter, ids: np.ndarray) -> None:
        n = len(ids) * 4
        positions, owners = points(self.rng, n), np.repeat(ids, 4)
        if self.kind == "point_cloud":
            writer.append_vertices_sync(positions, object_ids=owners, extend=True)
        elif self.kind == "polyline":
            lines = list(positions.reshape(-1, 4, 3))
            writer.append_polylines_sync(lines, object_ids=ids, extend=True)
        elif self.kind == "graph":
            edges = np.stack([np.arange(0, n, 2), np.arange(1, n, 2)], axis=1)
            writer.append_graph_sync(positions, edges, object_ids=owners, extend=True)
        else:
            faces = np.arange(n).reshape(-1, 4)[:, :3]
            writer.append_mesh_sync(positions, faces, object_ids=owners, extend=True)


@settings(max_examples=10)
@given(
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 2**32 - 1),
    target=st.sampled_from([1, 60, 100, 10_000]),
    limit=st.sampled_from([None, 2, 3]),
)
def test_a_random_history_keeps_its_content(
    kind: str, seed: int, target: int, limit: int | None
) -> None:
    history = Random(kind, seed)
    for _ in range(2):
        for _ in range(4):
            history.act()
        before, digest = contents(history.repo), history.repo.digest()
        planned = history.repo.compact(target_vertices=target, max_batches=limit, dry_run=True)
        all_same(before, contents(history.repo))
        done = history.repo.compact(target_vertices=target, max_batches=limit)
        assert dict(done.levels) == dict(planned.levels)
        assert history.repo.digest() == digest
        all_same(before, contents(history.repo))
        for told in done.levels.values():
            assert len(history.repo.view()["d"][0].batches) == told.batches_after
    report = history.repo.fsck()
    assert report.ok, report


@pytest.mark.parametrize(("emptied", "most"), [(2, 2), (4, 5), (5, 5), (6, 5), (6, 7)])
def test_a_few_batches_at_a_time_become_one_however_many_are_wholly_removed(
    emptied: int, most: int
) -> None:
    repo = zvv.Repository.create("memory://")
    rng = np.random.default_rng(emptied)
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0] * 3, [100] * 3))
    for number in range(10):
        with repo.transaction() as tx:
            positions = rng.random((4, 3), np.float32) * 100
            tx.writer("p").append_vertices_sync(positions, object_ids=number)
    with repo.transaction() as tx:
        tx.writer("p").remove_objects_sync(list(range(emptied)))
    digest, left = repo.digest(), 10
    while left > 1:
        done = repo.compact(max_batches=most)
        assert done.batches_merged == min(most, left)
        left -= done.batches_merged - 1
        assert len(repo.view()["p"][0].batches) == left
    assert repo.compact(max_batches=most).levels == {}
    assert repo.digest() == digest
    with pytest.raises(zvv.ArrayError, match="0"), repo.transaction() as tx:
        tx.writer("p").append_vertices_sync(np.ones((1, 3), "f4"), object_ids=0)


def test_what_is_compact_is_left_alone() -> None:
    repo = small()
    first = repo.compact()
    again = repo.compact()
    assert again.levels == {}
    assert again.snapshot_id == first.snapshot_id == repo.resolve("main")


def test_batches_lie_side_by_side_where_they_do_not_fit_one() -> None:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=BOUNDS)
    corners = np.array([[x, y, z] for x in (10, 90) for y in (10, 90) for z in (10, 90)], "f4")
    rng = np.random.default_rng(0)
    for corner in rng.permutation(np.repeat(corners, 3, axis=0)):
        with repo.transaction() as tx:
            tx.writer("p").append_vertices_sync(corner + rng.random((10, 3)).astype("f4"))
    repo.compact(target_vertices=30)
    for batch in repo.view()["p"][0].batches:
        assert np.ptp(np.array(batch.bounds), axis=0).max() <= 1


def test_more_batches_than_a_bucket_has_become_one_and_appends_go_on() -> None:
    repo = small(batches=70, n=5)
    before = contents(repo)
    repo.compact()
    all_same(before, contents(repo))
    for first in (7000, 7100):
        with repo.transaction() as tx:
            append(tx.writer("p"), "point_cloud", np.random.default_rng(9), first, 20)
    fresh = zvv.Repository(repo._backend)
    assert [b.slot for b in fresh.view()["p"][0].batches] == [0, 1, 2]
    assert fresh.view()["p"][0].vertex_count == 70 * 5 + 40
    assert fresh.fsck().ok


def test_what_was_removed_is_gone_and_its_id_stays_retired() -> None:
    repo = small()
    with repo.transaction() as tx:
        tx.writer("p").remove_objects_sync([3, 104])
    before = contents(repo)
    result = repo.compact()
    assert result.levels["p"].vertices_dropped == 4
    level = repo.view()["p"][0]
    assert int(level._reader.state.table.n_vertices.sum()) == level.vertex_count
    all_same(before, contents(repo))
    assert 3 not in level.objects
    with repo.transaction() as tx, pytest.raises(zvv.ArrayError, match="overlap"):
        tx.writer("p").append_vertices_sync(np.ones((1, 3), "f4"), object_ids=[3])
    with repo.transaction() as tx, pytest.raises(zvv.ArrayError, match="removed"):
        tx.writer("p").append_vertices_sync(np.ones((1, 3), "f4"), object_ids=[104], extend=True)


def test_coarser_levels_stay_fresh() -> None:
    repo = small()
    with repo.transaction() as tx:
        tx.create_level("p", 1)
        tx.writer("p", level=1).append_vertices_sync(np.ones((2, 3), "f4"))
    repo.compact()
    assert not repo.view()["p"][1].stale
    assert len(repo.view()["p"][0].batches) == 1


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"target_vertices": 0}, zvv.MetadataError),
        ({"target_vertices": 1.5}, zvv.MetadataError),
        ({"max_batches": 1}, zvv.MetadataError),
        ({"level": 0}, zvv.MetadataError),
        ({"dataset": "no"}, zvv.NotFoundError),
        ({"dataset": "p", "level": 3}, zvv.NotFoundError),
        ({"branch": "no"}, zvv.NotFoundError),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_changes(asked: Any, error: Any) -> None:
    repo = small(batches=2)
    tip = repo.resolve("main")
    for dry_run in (True, False):
        with pytest.raises(error):
            repo.compact(**asked, dry_run=dry_run)
    assert repo.resolve("main") == tip


def test_progress_is_told() -> None:
    told: list[tuple[str, int, int]] = []
    small().compact(target_vertices=40, progress=lambda *one: told.append(one))
    assert [(done, total) for _, done, total in told] == [(2, 4), (4, 4)]


# ---- beside others ----------------------------------------------------------


def raced(repo: zvv.Repository, meanwhile: Any) -> zvv.Compaction:
    """Compact while somebody else commits, once, in the middle of it."""
    left = [meanwhile]

    def progress(what: str, done: int, total: int) -> None:
        if left:
            left.pop()(repo)

    return repo.compact(progress=progress)


def test_an_append_meanwhile_is_merged_with_it() -> None:
    repo = small()
    with repo.transaction() as tx:
        tx.writer("p").remove_objects_sync([3])

    def more(repo: zvv.Repository) -> None:
        with repo.transaction() as tx:
            writer = tx.writer("p")
            append(writer, "point_cloud", np.random.default_rng(5), 900, 20)
            writer.append_vertices_sync(np.ones((3, 3), "f4"), object_ids=[1] * 3, extend=True)

    raced(repo, more)
    twin = small()
    with twin.transaction() as tx:
        tx.writer("p").remove_objects_sync([3])
    more(twin)
    all_same(contents(twin), contents(repo))
    assert len(repo.view()["p"][0].batches) == 3
    assert repo.fsck().ok


def test_values_that_are_written_meanwhile_are_kept_and_it_begins_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def walked(*_: object) -> str:
        raise AssertionError("its own commit, which is none yet, was looked for in the history")

    monkeypatch.setattr("zv_versioned.history.race.commit_of", walked)
    repo = small()
    n = repo.view()["p"][0].vertex_count

    def write(repo: zvv.Repository) -> None:
        with repo.transaction() as tx:
            tx.writer("p").add_attribute_sync("late", np.arange(n))
            tx.writer("p").remove_objects_sync([2])

    raced(repo, write)
    twin = small()
    write(twin)
    all_same(contents(twin), contents(repo))
    assert len(repo.view()["p"][0].batches) == 1


def test_two_compactions_at_once_keep_everything_once() -> None:
    repo = small()
    before = contents(repo)
    raced(repo, lambda repo: repo.compact(target_vertices=40))
    all_same(before, contents(repo))


def _append_four(location: str, first: int) -> None:
    mine = zvv.Repository.open(location)
    for batch in range(4):
        with mine.transaction() as tx:
            rng = np.random.default_rng(first + batch)
            append(tx.writer("p"), "point_cloud", rng, first + 100 * batch, 20)


def test_nothing_is_lost_beside_processes_that_write(tmp_path: Path) -> None:
    repo = small(tmp_path / "r")
    context = new_processes()
    writers = [
        context.Process(target=_append_four, args=(repo.location, 10_000 * i)) for i in range(1, 4)
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        repo.compact()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    repo.compact()
    twin = small()
    for first in (10_000, 20_000, 30_000):
        for batch in range(4):
            with twin.transaction() as tx:
                rng = np.random.default_rng(first + batch)
                append(tx.writer("p"), "point_cloud", rng, first + 100 * batch, 20)
    all_same(contents(twin), contents(repo))
    assert len(repo.view()["p"][0].batches) == 1


# ---- merges and reverts across it -------------------------------------------


def test_a_branch_that_appended_is_merged_into_one_that_was_compacted() -> None:
    repo = small()
    repo.create_branch("try")
    with repo.transaction("try") as tx:
        append(tx.writer("p"), "point_cloud", np.random.default_rng(5), 900, 20)
    both = contents(repo, "try")
    for into, source in (("main", "try"), ("try", "main")):
        repo.create_branch(f"{into}-copy", at=into)
        repo.create_branch(f"{source}-compact", at=source)
        repo.compact(f"{source}-compact")
        repo.merge(f"{source}-compact", into=f"{into}-copy", ff="no")
        all_same(both, contents(repo, f"{into}-copy"))
    repo.compact()
    repo.merge("try")
    all_same(both, contents(repo))
    assert len(repo.view()["p"][0].batches) == 2


def _write(repo: zvv.Repository, branch: str) -> None:
    with repo.transaction(branch) as tx:
        tx.writer("p").add_attribute_sync("late", np.arange(80))


def _remove(repo: zvv.Repository, branch: str) -> None:
    with repo.transaction(branch) as tx:
        tx.writer("p").remove_objects_sync([3])


def _take_back(repo: zvv.Repository, branch: str) -> None:
    repo.revert(repo.resolve(f"{branch}~1"), branch)


def _compact(repo: zvv.Repository, branch: str) -> None:
    repo.compact(branch, target_vertices=40)


@pytest.mark.parametrize("change", [_write, _remove, _take_back, _compact])
@pytest.mark.parametrize("on_conflict", ["fail", "theirs", "ours"])
def test_what_another_branch_did_to_compacted_batches_is_a_conflict_with_a_way_out(
    change: Any, on_conflict: str
) -> None:
    repo = small()
    repo.create_branch("try")
    change(repo, "try")
    theirs = contents(repo, "try")
    compaction = repo.compact().snapshot_id
    for source, into in (("try", "main"), ("main", "try")):
        tip = repo.resolve(into)
        with pytest.raises(zvv.ConflictError, match="compact") as caught:
            repo.merge(source, into=into, on_conflict=on_conflict)
        assert caught.value.conflicts[0].kind == "compaction"
        assert compaction in str(caught.value) or change is _compact
        assert repo.resolve(into) == tip
    repo.revert(compaction)
    repo.merge("try")
    all_same(theirs, contents(repo))


def _values(tx: zvv.Transaction, vertices: int) -> None:
    tx.writer("p").add_attribute_sync("late", np.arange(float(vertices)))


def _removal(tx: zvv.Transaction, _: int) -> None:
    tx.writer("p").remove_objects_sync([3])


@pytest.mark.parametrize("earlier", [False, True], ids=["never", "once"])
@pytest.mark.parametrize(
    ("change", "did"), [(_values, "changed values of 'late'"), (_removal, "removed objects")]
)
def test_a_transaction_that_lost_to_a_compaction_is_told_that_one_and_nothing_else(
    change: Any, did: str, earlier: bool
) -> None:
    repo = small()
    if earlier:
        # What was compacted before both of them is no doing of either.
        repo.compact()
        with repo.transaction() as tx:
            append(tx.writer("p"), "point_cloud", np.random.default_rng(5), 900, 20)
    tx = repo.transaction()
    change(tx, repo.view()["p"][0].vertex_count)
    compaction = repo.compact().snapshot_id
    with pytest.raises(zvv.ConflictError) as caught:
        tx.commit()
    assert [c.kind for c in caught.value.conflicts] == ["compaction"]
    said = str(caught.value)
    assert f"the branch compacted batches, and this transaction {did} in them" in said
    assert compaction in said
    assert "begin a transaction" in said
    assert "both" not in said
    assert repo.resolve("main") == compaction


def test_appends_with_given_ids_and_a_compaction_go_together() -> None:
    repo = small()
    tx = repo.transaction()
    rng = np.random.default_rng(5)
    tx.writer("p").append_vertices_sync(rng.uniform(0, 9, (6, 3)).astype("f4"), object_ids=900)
    first = int(repo.view()["p"][0].object_ids()[0])
    tx.writer("p").append_vertices_sync(
        rng.uniform(0, 9, (4, 3)).astype("f4"), object_ids=first, extend=True
    )
    before = len(repo.view()["p"][0].objects[first])
    repo.compact()
    tx.commit()
    level = repo.view()["p"][0]
    assert len(level.objects[900]) == 6
    assert len(level.objects[first]) == before + 4
    assert repo.fsck().ok


def test_what_was_written_to_a_compaction_that_another_branch_undid_says_how_to_go_on() -> None:
    repo = small()
    compaction = repo.compact().snapshot_id
    repo.create_branch("try")
    _write(repo, "try")
    theirs = contents(repo, "try")
    repo.revert(compaction)
    with pytest.raises(zvv.ConflictError, match="this side undid a compaction") as caught:
        repo.merge("try")
    assert [c.kind for c in caught.value.conflicts] == ["compaction"]
    assert f"{compaction}, again on this side (a cherry-pick)" in str(caught.value)
    repo.cherry_pick(compaction)
    repo.merge("try")
    all_same(theirs, contents(repo))


def test_a_compaction_can_be_reverted_and_keeps_what_was_appended_since() -> None:
    repo = small()
    compaction = repo.compact().snapshot_id
    with repo.transaction() as tx:
        append(tx.writer("p"), "point_cloud", np.random.default_rng(5), 900, 20)
    now = contents(repo)
    repo.revert(compaction)
    all_same(now, contents(repo))
    assert len(repo.view()["p"][0].batches) == 5
    assert repo.fsck().ok


def test_a_compaction_whose_batch_was_written_to_since_is_not_reverted_silently() -> None:
    repo = small()
    compaction = repo.compact().snapshot_id
    _write(repo, "main")
    now = contents(repo)
    with pytest.raises(zvv.ConflictError, match="compact"):
        repo.revert(compaction)
    all_same(now, contents(repo))


def test_an_append_that_was_compacted_since_is_not_taken_back_by_half() -> None:
    repo = small()
    bad = repo.resolve("main")
    compaction = repo.compact().snapshot_id
    now = contents(repo)
    with pytest.raises(zvv.ConflictError, match="compact"):
        repo.revert(bad)
    all_same(now, contents(repo))
    repo.revert(compaction)
    repo.revert(bad)
    assert repo.view()["p"][0].vertex_count == 60


def test_a_commit_after_it_is_reverted_as_ever() -> None:
    repo = small()
    repo.compact()
    before = contents(repo)
    with repo.transaction() as tx:
        append(tx.writer("p"), "point_cloud", np.random.default_rng(5), 900, 20)
    repo.revert("main")
    all_same(before, contents(repo))


# ---- numbers of vertices, and other readers ---------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_map_of_vertices_leads_from_every_earlier_view_to_the_same_vertex(kind: str) -> None:
    repo = make("memory://", kinds=(kind,), n=60)
    views = [repo.view(f"main~{back}") for back in range(3)]
    repo.compact()
    with repo.transaction() as tx:
        tx.writer(kind).remove_objects_sync([7])
    views.append(repo.view())
    repo.compact()
    new = repo.view()[kind][0]
    positions = new.positions()
    for view in views:
        old = view[kind][0]
        found = new.vertex_map(view)
        kept = found >= 0
        np.testing.assert_array_equal(positions[found[kept]], old.positions()[kept])
        assert len(np.unique(found[kept])) == kept.sum()
        ids = old.read().object_ids[np.argsort(old.read().vertex_ids)]
        np.testing.assert_array_equal(np.unique(ids[~kept]), np.setdiff1d(ids, new.object_ids()))


def test_a_map_that_cannot_be_told_is_refused() -> None:
    repo = small()
    old = repo.view()
    with repo.transaction() as tx:
        tx.writer("p").append_vertices_sync(
            np.ones((3, 3), "f4"), object_ids=[1, 1, 101], extend=True
        )
    middle = repo.view()
    repo.compact()
    new = repo.view()["p"][0]
    with pytest.raises(zvv.MetadataError, match="later view"):
        new.vertex_map(old)
    found = new.vertex_map(middle)
    np.testing.assert_array_equal(new.positions()[found], middle["p"][0].positions())


@pytest.mark.parametrize("kind", KINDS)
def test_other_readers_take_a_compacted_snapshot(kind: str) -> None:
    validate = pytest.importorskip("zarr_vectors.validate").validate
    repo = make("memory://", kinds=(kind,), n=60)
    before = len(validate(repo.view()[kind].store, level=5).errors)
    repo.compact()
    assert len(validate(repo.view()[kind].store, level=5).errors) == before == 0
