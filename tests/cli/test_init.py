"""``zv-versioned init``"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from _cli import failed, run, run_json

import zv_versioned as zvv


def test_it_makes_a_repository(tmp_path: Path) -> None:
    text = run("init", tmp_path / "brain")
    assert text == f"Made an empty repository: {tmp_path / 'brain'}\n"
    assert zvv.Repository.open(tmp_path / "brain").view("main").datasets == []


def test_it_says_in_json_what_it_made(tmp_path: Path) -> None:
    data = run_json("init", "-r", tmp_path / "brain")
    repo = zvv.Repository.open(tmp_path / "brain")
    assert data == {
        "location": repo.location,
        "snapshot_id": repo.resolve("main"),
        "dataset": None,
        "chunk_shape": None,
    }


@pytest.mark.parametrize(
    "option",
    [
        ("--bounds", "0,0:1,1"),
        ("--chunk-shape", "1,1"),
        ("--expected-vertices", "9"),
        ("--unit", "nanometer"),
    ],
)
def test_what_is_of_a_dataset_wants_one(tmp_path: Path, option: tuple[str, str]) -> None:
    assert "it is of a dataset" in failed("init", tmp_path / "brain", *option, code=2)
    assert not (tmp_path / "brain").exists()


def test_it_makes_a_dataset_as_it_was_asked_to(tmp_path: Path) -> None:
    data = run_json(
        *("init", tmp_path / "brain", "--dataset", "synapses", "--kind", "point_cloud"),
        *("--bounds", "-8,0:16,32", "--chunk-shape", "4,8", "--dtype", "float64"),
        *("--unit", "nanometer", "-m", "begin"),
    )
    view = zvv.Repository.open(tmp_path / "brain").view("main")
    dataset = view["synapses"]
    assert data["dataset"] == "synapses"
    assert data["chunk_shape"] == [4, 8]
    assert data["snapshot_id"] == view.snapshot_id
    assert view.info.message == "begin"
    assert dataset.bounds == ((-8, 0), (16, 32))
    assert dataset.chunk_shape == (4, 8)
    assert dataset.vertex_dtype == "float64"
    assert [axis["unit"] for axis in dataset.axes] == ["nanometer"] * 2


def test_cells_fit_the_vertices_that_are_expected(tmp_path: Path) -> None:
    made = ("init", tmp_path / "brain", "--dataset", "p", "--bounds", "0,0,0:160,160,160")
    assert "its cells are 10 × 10 × 10" in run(*made, "--expected-vertices", "1e7")
    assert zvv.Repository.open(tmp_path / "brain").view()["p"].chunk_shape == pytest.approx(
        (10,) * 3
    )
    text = failed(*made, "--expected-vertices", "9", "--chunk-shape", "1,1,1", code=2)
    assert "give one of them" in text


@pytest.mark.parametrize("count", ["0", "-3", "1.5", "nan", "many", "1e13", "1e400", "٣x"])
def test_vertices_that_nobody_can_count_are_refused(tmp_path: Path, count: str) -> None:
    made = ("init", tmp_path / "brain", "--dataset", "p", "--bounds", "0,0,0:1,1,1")
    text = failed(*made, "--expected-vertices", count, code=2)
    assert "a whole number from 1 to 1,000,000,000,000" in " ".join(text.split())
    assert not (tmp_path / "brain").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--bounds", "5,5,5:1,1,1"), "bounds"),
        (("--bounds", "0,0,0:1,1,1", "--kind", "cloud"), "kind 'cloud' is unknown"),
        (("--bounds", "0,0,0:1,1,1", "--dtype", "complex64"), "complex64"),
        (("--bounds", "0,0,0:1,1,1", "--chunk-shape", "1,1"), "--chunk-shape must be 3"),
    ],
)
def test_a_dataset_that_is_refused_leaves_no_repository(
    options: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    text = failed("init", tmp_path / "brain", "--dataset", "p", *options, code=11)
    assert said in " ".join(text.split())
    assert not (tmp_path / "brain").exists()


def test_a_dataset_is_made_in_a_repository_that_is_there(known: Any) -> None:
    text = run("init", known.path, "-d", "more", "--bounds", "0,0,0:1,1,1")
    assert "Created dataset 'more'" in text
    assert known.repository.view("main").datasets == ["more", "synapses"]


def test_a_repository_is_not_made_twice(known: Any) -> None:
    before = known.repository.resolve("main")
    assert "Error" in failed("init", known.path, code=11)
    assert known.repository.resolve("main") == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "init LOCATION"),
        (["brain", "-d", "x"], "a dataset needs its bounds"),
        (["brain", "-d", "x", "--bounds", "0,0"], "two corners are expected"),
        (["brain", "-d", "x", "--bounds", "0,0:1"], "corners have 2 and 1 numbers"),
        (["brain", "-d", "x", "--bounds", "0,0:a,b"], "numbers with commas"),
    ],
)
def test_what_is_not_understood_makes_nothing(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in failed("init", *arguments, code=2)
    assert list(tmp_path.iterdir()) == []
