"""What is either True or False is refused where it is neither, before anything happens."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zv_versioned as zvv
from zv_versioned.interop.xarray import to_xarray
from zv_versioned.maintenance import fsck

for package in ("laspy", "pyarrow", "xarray"):
    pytest.importorskip(package)

Call = Callable[[zvv.Repository, Path, dict[str, Any]], Any]


def _level(repo: zvv.Repository, dataset: str = "points") -> zvv.Level:
    return repo.view()[dataset][0]


def _append(name: str, *arguments: Any) -> Call:
    def call(repo: zvv.Repository, path: Path, flag: dict[str, Any]) -> None:
        with repo.transaction() as tx:
            getattr(tx.writer(name), f"append_{_METHOD[name]}_sync")(*arguments, **flag)

    return call


def _export(name: str) -> Call:
    return lambda repo, path, flag: getattr(zvv.interop, f"export_{name}")(
        _level(repo), path / "out", **flag
    )


_METHOD = {"points": "vertices", "lines": "polylines", "graph": "graph", "mesh": "mesh"}
_LINE = [np.eye(2)]

# Every function that takes a flag, with the flags that it takes.
CALLS: dict[str, tuple[list[str], Call]] = {
    "Repository.create": (
        ["durable"],
        lambda repo, path, flag: zvv.Repository.create(path / "new", **flag),
    ),
    "Repository.merge": (
        ["renumber", "dry_run", "copy"],
        lambda repo, path, flag: repo.merge("try", **flag),
    ),
    "Repository.cherry_pick": (
        ["renumber", "dry_run", "copy"],
        lambda repo, path, flag: repo.cherry_pick("try", **flag),
    ),
    "Repository.revert": (
        ["dry_run", "copy"],
        lambda repo, path, flag: repo.revert("main", **flag),
    ),
    "Repository.diff": (["values"], lambda repo, path, flag: repo.diff("main", "try", **flag)),
    "Repository.compact": (["dry_run"], lambda repo, path, flag: repo.compact(**flag)),
    "Repository.expire": (
        ["dry_run"],
        lambda repo, path, flag: repo.expire(keep_last=1, **flag),
    ),
    "Repository.gc": (["dry_run"], lambda repo, path, flag: repo.gc(**flag)),
    "Repository.stats": (["storage"], lambda repo, path, flag: repo.stats(**flag)),
    "Repository.fsck": (["read_data", "repair"], lambda repo, path, flag: repo.fsck(**flag)),
    "check_location": (
        ["read_data", "repair"],
        lambda repo, path, flag: fsck.check_location(path, lambda: repo, **flag),
    ),
    "Repository.digest": (["recompute"], lambda repo, path, flag: repo.digest(**flag)),
    "View.digest": (["recompute"], lambda repo, path, flag: repo.view().digest(**flag)),
    "Dataset.digest": (
        ["recompute"],
        lambda repo, path, flag: repo.view()["points"].digest(**flag),
    ),
    "Level.digest": (["recompute"], lambda repo, path, flag: _level(repo).digest(**flag)),
    "Level.digest of objects": (
        ["recompute"],
        lambda repo, path, flag: _level(repo).digest([0], **flag),
    ),
    "ZVWriter.append_vertices": (["extend"], _append("points", np.eye(2))),
    "ZVWriter.append_polylines": (["extend", "streamlines"], _append("lines", _LINE)),
    "ZVWriter.append_graph": (["extend", "tree"], _append("graph", np.eye(2), [[0, 1]])),
    "ZVWriter.append_mesh": (["extend"], _append("mesh", np.eye(3, 2), [[0, 1, 2]])),
    "export_csv": (["vertices_only", "overwrite"], _export("csv")),
    "export_parquet": (["vertices_only", "overwrite"], _export("parquet")),
    "export_las": (["vertices_only", "overwrite"], _export("las")),
    "export_zarr_vectors": (["by_number", "overwrite"], _export("zarr_vectors")),
    "import_geojson": (
        ["outlines", "append", "extend"],
        lambda repo, path, flag: zvv.interop.import_geojson(repo, path / "x", "new", **flag),
    ),
    "to_xarray": (["cache"], lambda repo, path, flag: to_xarray(_level(repo), **flag)),
    "ZarrVectorsStore.with_read_only": (
        ["read_only"],
        lambda repo, path, flag: repo.view()["points"].store.with_read_only(**flag),
    ),
}


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> zvv.Repository:
    repo = zvv.Repository.create(tmp_path_factory.mktemp("flags") / "repo")
    kinds = {"points": "point_cloud", "lines": "polyline", "graph": "graph", "mesh": "mesh"}
    with repo.transaction() as tx:
        for name, kind in kinds.items():
            tx.create_dataset(name, kind=kind, bounds=([0, 0], [9, 9]))
        tx.writer("points").append_vertices_sync(np.eye(2, dtype="f4"))
    repo.create_branch("try")
    for branch in ("main", "try"):
        with repo.transaction(branch) as tx:
            tx.writer("points").append_vertices_sync(np.eye(2, dtype="f4"))
    return repo


def _is_callable(member: object) -> bool:
    return inspect.isfunction(member) or inspect.ismethod(member)


def _state(repo: zvv.Repository) -> list[str]:
    return [info.snapshot_id for name in repo.list_branches() for info in repo.log(name)]


@pytest.mark.parametrize(
    ("name", "flag"), [(name, flag) for name, (flags, _) in CALLS.items() for flag in flags]
)
def test_a_flag_that_is_neither_true_nor_false_is_refused_before_anything_happens(
    repo: zvv.Repository, tmp_path: Path, name: str, flag: str
) -> None:
    before = _state(repo)
    for value in ("False", 0):
        wanted = re.escape(f"{flag} must be True or False, got {value!r}")
        with pytest.raises((zvv.MetadataError, zvv.ArrayError), match=wanted):
            CALLS[name][1](repo, tmp_path, {flag: value})
    assert _state(repo) == before
    assert list(tmp_path.iterdir()) == []


def test_numpy_booleans_are_flags(repo: zvv.Repository) -> None:
    assert repo.digest(recompute=np.True_) == repo.digest(recompute=np.False_)
    assert repo.gc(dry_run=np.True_).dry_run


def test_every_flag_of_the_public_surface_is_among_those_that_are_checked() -> None:
    checked = {(name.split(" ")[0], flag) for name, (flags, _) in CALLS.items() for flag in flags}
    owners = (zvv.Repository, zvv.View, zvv.Dataset, zvv.Level, zvv.Transaction, zvv.ZVWriter)
    found = {
        (f"{owner.__name__}.{method}", parameter.name)
        for owner in owners
        for method, function in inspect.getmembers(owner, _is_callable)
        if not method.startswith("_") and not method.endswith("_sync")
        for parameter in inspect.signature(function).parameters.values()
        if re.fullmatch(r"bool( \| None)?", str(parameter.annotation))
    }
    found |= {
        (name, parameter.name)
        for name in zvv.interop.__all__
        if inspect.isfunction(function := getattr(zvv.interop, name))
        for parameter in inspect.signature(function).parameters.values()
        if re.fullmatch(r"bool( \| None)?", str(parameter.annotation))
    }
    # The same checks under other names.
    same = {"open", "open_or_create", "append_lines", "add_node_attribute", "adigest"}
    found = {(name, flag) for name, flag in found if name.split(".")[-1] not in same}
    assert found <= checked
