"""The demo: ``zv-versioned demo``."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from _cli import failed, run_json
from rich.console import Console
from typer.testing import CliRunner

import zv_versioned as zvv
from zv_versioned.cli import app
from zv_versioned.demo import data
from zv_versioned.demo.branches import PAPER, Sequel, go_on
from zv_versioned.demo.data import Mesh, Neuron, Skeleton
from zv_versioned.demo.picture import draw
from zv_versioned.demo.show import show
from zv_versioned.demo.story import DATASET, MESHES, SKELETONS, TAG, Story, tell

runner = CliRunner()


def _neuron(number: int, seed: int, size: int = 400) -> Neuron:
    """Something like a neuron: half of it in the lateral horn, half elsewhere."""
    rng = np.random.default_rng(seed)
    low, high = (1_500, 17_000, 12_000), (9_000, 24_000, 17_000)
    horn = rng.uniform(low, high, (size // 2, 3))
    lobe = rng.uniform((14_000, 31_000, 24_000), (19_000, 37_000, 28_000), (size // 2, 3))
    voxels = np.floor(np.concatenate([horn, lobe])).astype(np.float32)
    children = np.arange(1, size)
    return Neuron(
        id=number,
        voxels=voxels,
        skeleton=Skeleton(
            voxels=voxels,
            radius=rng.uniform(1, 9, size).astype(np.float32),
            edges=np.stack([children, rng.integers(0, children)], axis=1),
        ),
        mesh=Mesh(voxels[:50], rng.integers(0, 50, (80, 3))),
        is_presynaptic=rng.integers(0, 2, size).astype(np.uint8),
        confidence=rng.uniform(0.5, 1, size).astype(np.float32),
    )


NEURONS = [_neuron(722817260, 1), _neuron(754534424, 2), _neuron(5813024015, 3)]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return tell(tmp_path_factory.mktemp("demo") / "repository", NEURONS)


@pytest.fixture(scope="module")
def sequel(tmp_path_factory: pytest.TempPathFactory) -> Sequel:
    location = tmp_path_factory.mktemp("demo") / "repository"
    tell(location, NEURONS)
    return go_on(location, NEURONS)


def _printed(
    story: Story,
    *,
    sequel: Sequel | None = None,
    encoding: str = "utf-8",
    width: int = 80,
    kept: bool = True,
) -> str:
    class Out(StringIO):
        pass

    Out.encoding = encoding  # type: ignore[misc,assignment]
    out = Out()
    show(story, Console(file=out, width=width, highlight=False), sequel=sequel, kept=kept)
    return out.getvalue()


# ---- what happens ------------------------------------------------------------


def test_each_neuron_is_a_commit_under_its_own_id(told: Story) -> None:
    assert [append.neuron for append in told.appends] == [722817260, 754534424]
    assert [append.synapses for append in told.appends] == [400, 400]
    assert len({append.snapshot_id for append in told.appends}) == 2
    assert all(append.cells > 1 for append in told.appends)


def test_the_bad_append_is_seen_at_main_and_not_in_the_pinned_view(told: Story) -> None:
    assert told.main_after_bad.synapses == 1_200
    assert told.main_after_bad.share < told.pinned.share
    assert told.pinned_after_bad == told.pinned
    assert told.pinned.synapses == 800


def test_the_reset_brings_back_the_pinned_snapshot(told: Story) -> None:
    assert told.main_after_reset == told.pinned
    assert told.bad.snapshot_id not in {version.snapshot_id for version in told.history}
    assert told.taken_back.snapshot_id == told.bad.snapshot_id


def test_the_last_neuron_comes_in_again_under_the_same_id(told: Story) -> None:
    assert told.redone.neuron == told.bad.neuron == 5813024015
    assert told.main_at_end.synapses == 1_200
    assert told.pinned_at_end == told.pinned
    assert [version.neurons for version in told.history][:3] == [3, 2, 1]


def test_the_measurement_is_what_numpy_says(told: Story) -> None:
    positions = np.concatenate([neuron.nanometres for neuron in NEURONS[:2]])
    confidence = np.concatenate([neuron.confidence for neuron in NEURONS[:2]])
    outputs = np.concatenate([neuron.is_presynaptic for neuron in NEURONS[:2]])
    low, high = (10_000, 130_000, 95_000), (75_000, 195_000, 140_000)
    inside = ((positions >= low) & (positions < high)).all(axis=1)
    assert 0 < told.pinned.in_box == inside.sum()
    assert told.pinned.outputs_in_box == outputs[inside].sum()
    assert told.pinned.mean_confidence == pytest.approx(confidence[inside].mean(), rel=1e-6)
    cable = 0.0
    for neuron in NEURONS[:2]:
        ends = (neuron.skeleton.voxels * 8.0)[neuron.skeleton.edges]
        ends = ends[((ends >= low) & (ends < high)).all(axis=(1, 2))]
        cable += np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1).sum()
    assert 0 < told.pinned.cable == pytest.approx(cable / 1000)


def test_synapses_skeleton_and_mesh_of_a_neuron_are_one_commit_under_one_id(told: Story) -> None:
    repo = zvv.Repository.open(told.location)
    for version, count in zip(told.history[:4], (3, 2, 1, 0), strict=True):
        view = repo.view(snapshot_id=version.snapshot_id)
        assert view.datasets == [MESHES, SKELETONS, DATASET]
        assert [view[name][0].num_objects for name in view.datasets] == [count] * 3
    neuron, view = NEURONS[2], repo.view("main")
    skeleton = view[SKELETONS][0].objects[neuron.id]
    expected = (neuron.skeleton.voxels * 8)[neuron.skeleton.edges]
    assert sorted(skeleton.positions[skeleton.edges].tolist()) == sorted(expected.tolist())
    mesh = view[MESHES][0].objects[neuron.id]
    expected = (neuron.mesh.voxels * 8)[neuron.mesh.faces]
    assert sorted(mesh.positions[mesh.faces].tolist()) == sorted(expected.tolist())
    assert [append.faces for append in told.appends] == [80, 80]


def test_the_repository_stays_and_holds_every_version(told: Story) -> None:
    repo = zvv.Repository.open(told.location)
    assert repo.view("main")[DATASET][0].vertex_count == 1_200
    assert repo.view(tag=TAG).snapshot_id == told.pinned.snapshot_id
    mistake = repo.view(snapshot_id=told.bad.snapshot_id)[DATASET][0]
    stored = mistake.objects[5813024015].positions
    assert sorted(map(tuple, stored)) == sorted(map(tuple, NEURONS[2].voxels))


def test_the_story_is_the_same_every_time(told: Story, tmp_path: Path) -> None:
    again = tell(tmp_path / "again", NEURONS)
    for name in ("pinned", "main_after_bad", "main_at_end"):
        one, other = getattr(told, name), getattr(again, name)
        assert replace(one, snapshot_id="") == replace(other, snapshot_id="")


def test_one_neuron_is_not_enough_for_a_story(tmp_path: Path) -> None:
    with pytest.raises(zvv.ArrayError, match="at least 2 neurons, got 1"):
        tell(tmp_path / "repository", NEURONS[:1])
    assert not zvv.Repository.exists(tmp_path / "repository")


# ---- how it goes on ----------------------------------------------------------


def test_main_has_what_both_branches_did_and_not_what_was_reverted(sequel: Sequel) -> None:
    # Twenty new synapses a neuron; those that came in voxels are taken back, and come again.
    assert [(event.branch, event.synapses) for event in sequel.events] == [
        ("correction", 1_200),
        ("new-synapses", 1_220),
        ("main", 1_220),
        ("main", 1_220),
        ("main", 1_240),
        ("main", 1_260),
        ("main", 1_240),
        ("main", 1_260),
    ]
    confidence = np.concatenate([neuron.confidence for neuron in NEURONS]).astype("f8")
    expected = (np.concatenate([confidence**2, np.full(40, 0.9)])).mean()
    assert sequel.events[-2].mean_confidence == pytest.approx(expected, rel=1e-6)
    messages = [commit.message for commit in sequel.history]
    assert sum("merge" in message for message in messages) == 2
    assert sequel.history[4].snapshot_id == sequel.history[3].parents[0]


def test_the_analysis_of_the_paper_gives_the_same_number_after_more_appends(
    sequel: Sequel,
) -> None:
    assert sequel.paper == sequel.paper_at_end
    assert sequel.paper.digest != sequel.main_at_end.digest
    assert sequel.paper.synapses == 1_240


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_what_goes_on_fits_80_columns(told: Story, sequel: Sequel, encoding: str) -> None:
    text = _printed(replace(told, location="demo"), sequel=sequel, encoding=encoding)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert PAPER in text
    assert sequel.paper.digest[:8] in text
    text.encode(encoding)


# ---- what is printed ---------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_story_fits_80_columns(told: Story, encoding: str) -> None:
    text = _printed(replace(told, location="demo"), encoding=encoding)
    assert max(map(len, text.splitlines())) <= 80
    text.encode(encoding)


def test_the_story_tells_the_numbers(told: Story) -> None:
    text = _printed(told)
    for fact in (
        told.bad.snapshot_id[:8],
        told.pinned.snapshot_id[:8],
        f"{told.pinned.mean_confidence:.4f}",
        "taken back",
        "5813024015",
        told.location,
    ):
        assert fact in text
    assert "\x1b" not in text


def test_a_repository_that_was_removed_is_not_offered(told: Story) -> None:
    assert told.location not in _printed(told, kept=False)


def test_how_to_open_it_can_be_pasted_into_python(told: Story) -> None:
    text = _printed(told)
    code = "\n".join(
        line.strip() for line in text[text.index("import zv_versioned") :].splitlines()
    )
    namespace: dict[str, object] = {}
    exec(code, namespace)
    assert len(namespace["part"]) == told.pinned.in_box  # type: ignore[arg-type]


def test_a_picture_puts_points_where_they_are() -> None:
    points = np.array([[0.5, 0.5], [9.5, 19.5], [99.0, 99.0]], np.float32)
    picture = draw(points, (10, 20), columns=5)
    assert picture.rows == ["⠁    ", *[" " * 5] * 3, "    ⢀"]
    assert picture.counts.sum() == 2
    assert draw(points, (10, 20), columns=5, ascii_only=True).rows[0] == ".    "


# ---- the data ----------------------------------------------------------------


def test_the_real_neurons_are_read() -> None:
    neurons = data.load()
    assert [neuron.id for neuron in neurons] == [
        722817260,
        754534424,
        754538881,
        1734350788,
        1734350908,
    ]
    assert [len(neuron) for neuron in neurons] == [3136, 3010, 2943, 2705, 3042]
    assert neurons[0].nanometres[0].tolist() == [38712.0, 181984.0, 126336.0]
    assert [len(n.skeleton.voxels) for n in neurons] == [4332, 4696, 4881, 4465, 4847]
    assert [len(n.skeleton.voxels) - len(n.skeleton.edges) for n in neurons] == [1, 1, 2, 1, 1]
    assert [len(n.mesh.faces) for n in neurons] == [13772, 13568, 13541, 13054, 14620]
    assert all(n.mesh.faces.max() == len(n.mesh.voxels) - 1 for n in neurons)


def test_a_skeleton_may_number_its_nodes_as_it_likes(tmp_path: Path) -> None:
    file = tmp_path / "17.swc"
    file.write_text("# x\n9 0 1 1 1 5 -1\n3 0 2 2 2 6 9\n40 0 3 3 3 7 3\n5 0 4 4 4 8 -1\n")
    skeleton = data.read_skeleton(file)
    assert skeleton.edges.tolist() == [[1, 0], [2, 1]]
    assert skeleton.radius.tolist() == [5, 6, 7, 8]


def test_corners_of_a_mesh_may_have_more_to_them(tmp_path: Path) -> None:
    file = tmp_path / "17.obj"
    file.write_text("# x\nv 1 2 3\nvn 0 0 1\nv 4 5 6\nv 7 8 9\nf 1/1/1 3//1 2\n")
    mesh = data.read_mesh(file)
    assert mesh.voxels.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert mesh.faces.tolist() == [[0, 2, 1]]


def test_reading_a_table_without_a_column_says_which(tmp_path: Path) -> None:
    table = tmp_path / "17.csv"
    table.write_text("connector_id,x,y,z\n0,1,2,3\n")
    with pytest.raises(zvv.NotFoundError, match=r"17\.csv has no column 'type'"):
        data.read_neuron(table)
    table.write_text("x,y,z,type,confidence\n1,2,3,pre,0.5\n")
    with pytest.raises(zvv.NotFoundError, match=r"17\.swc.* is not there"):
        data.read_neuron(table)


# ---- the command line --------------------------------------------------------


def test_the_demo_runs_on_real_data_outside_of_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "demo"
    done = subprocess.run(
        [sys.executable, "-m", "zv_versioned", "demo", "--path", str(path)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=_environment(PYTHONIOENCODING="utf-8"),
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    assert "1734350908" in done.stdout
    assert "\x1b" not in done.stdout
    assert zvv.Repository.open(path).view("main")[DATASET][0].vertex_count == 15_531


def _environment(**more: str) -> dict[str, str]:
    import os

    return {**os.environ, **more}


def _use(monkeypatch: pytest.MonkeyPatch, neurons: list[Neuron]) -> None:
    monkeypatch.setattr(data, "load", lambda: neurons)


def test_no_keep_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _use(monkeypatch, NEURONS)
    done = runner.invoke(app, ["demo", "--no-keep", "--path", str(tmp_path / "demo")])
    assert done.exit_code == 0, done.output
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("chapter 1")
    done = runner.invoke(app, ["demo", "--no-keep", "--path", str(tmp_path)])
    assert done.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_missing_data_is_an_error_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(data, "find_spec", lambda name: None)
    done = runner.invoke(app, ["demo"])
    assert done.exit_code == 40
    assert 'python -m pip install --no-deps "navis==1.12.0"' in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_package_of_that_name_without_the_data_is_no_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ModuleSpec("navis", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(data, "find_spec", lambda name: spec)
    with pytest.raises(zvv.NotFoundError, match="not installed"):
        data.find_folder()


def test_json_says_what_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _use(monkeypatch, NEURONS)
    data = run_json("demo", "--path", tmp_path / "demo")
    repo = zvv.Repository.open(data["location"])
    assert data["kept"]
    assert data["history"][0]["snapshot_id"] == repo.resolve("main")
    assert repo.view(tag=data["tag"])[data["dataset"]][0].vertex_count == 800


def test_an_error_of_the_story_ends_with_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _use(monkeypatch, NEURONS[:1])
    assert "at least 2 neurons" in failed("demo", "--path", tmp_path / "demo", code=11)
