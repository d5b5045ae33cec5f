"""The benchmarks that need no other store run, in small."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def test_merges_reverts_and_processes_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    import history

    repo = history.branched(tmp_path / "r", 2, 100)
    shared, copied, written = history.merges(repo, tmp_path / "r", 1)
    assert min(shared, copied) > 0
    assert written > 0
    monkeypatch.setattr(history, "PROCESSES", 2)
    assert history.together(history.work, tmp_path / "r", 0) > 0
    history.Commits(tmp_path / "bare", 0)
    assert history.together(history.work_bare, tmp_path / "bare", 0) > 0
