"""Ranges of history."""

from __future__ import annotations

import pytest

import zv_versioned as zvv
from zv_versioned.history.ranges import commits, ends


@pytest.fixture
def repo() -> zvv.Repository:
    """Commits a and b on main; c on branch try, which began at a."""
    repo = zvv.Repository.create("memory://")
    for branch, name in (("main", "a"), ("main", "b"), ("try", "c")):
        if branch == "try":
            repo.create_branch("try", at="main~1")
        with repo.transaction(branch, message=name) as tx:
            tx.create_dataset(name, kind="point_cloud", bounds=([0, 0], [1, 1]))
    return repo


def _messages(repo: zvv.Repository, text: str, limit: int | None = None) -> list[str]:
    return [commit.message for commit in commits(repo, text, limit)]


def test_a_ref_is_all_that_led_to_it(repo: zvv.Repository) -> None:
    assert _messages(repo, "try") == ["c", "a", "Repository initialized"]


def test_a_range_is_what_the_right_side_has_alone(repo: zvv.Repository) -> None:
    assert _messages(repo, "main..try") == ["c"]
    assert _messages(repo, "try..main") == ["b"]
    assert _messages(repo, "main..main") == []
    assert _messages(repo, "main~2..main", limit=1) == ["b"]


def test_a_side_that_is_left_out_is_main(repo: zvv.Repository) -> None:
    assert _messages(repo, "..try") == ["c"]
    assert _messages(repo, "try..") == ["b"]
    assert ends("a..b") == ("a", "b")
    assert ends("v1.0") == (None, "v1.0")


@pytest.mark.parametrize("text", ["..", "a..b..c", "a...b"])
def test_what_is_no_range_is_refused(text: str, repo: zvv.Repository) -> None:
    with pytest.raises(zvv.MetadataError, match="no range"):
        commits(repo, text)
