"""Draw the picture of the README: the log of a real repository, with a branch and its merge.

    python docs/history_picture.py docs/images/history.svg

The repository is made in memory, by the calls that the documentation shows. What is
drawn is what :meth:`Repository.log` says of it, and nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

import zv_versioned as zvv

STEP, LANE, LEFT, TOP = 46, 30, 34, 40
WIDTH = 720
COLOURS = ("#2563eb", "#d97706", "#059669", "#9333ea")


def example() -> zvv.Repository:
    """A repository whose `main` has a merge, and an append that was taken back."""
    rng = np.random.default_rng(0)
    repo = zvv.Repository.create("memory://")

    def append(branch: str, neuron: int, count: int, message: str) -> str:
        with repo.transaction(branch, message=message) as tx:
            points = rng.uniform(0, 1000, (count, 3)).astype("f4")
            tx.writer("synapses").append_vertices_sync(points, object_ids=neuron)
        assert tx.result is not None
        return tx.result.snapshot_id

    with repo.transaction(message="create the dataset") as tx:
        tx.create_dataset("synapses", kind="point_cloud", bounds=([0] * 3, [1000] * 3))
    append("main", 722817260, 4_000, "append neuron 722817260")
    repo.create_branch("try")
    with repo.transaction("try", message="score every synapse") as tx:
        tx.writer("synapses").add_attribute_sync("score", rng.random(4_000, "f4"))
    wrong = append("main", 99, 800, "append batch 7, in the wrong unit")
    with repo.transaction("try", message="type every neuron") as tx:
        tx.writer("synapses").add_object_attribute_sync("type", ["KC"])
    append("main", 5813024015, 2_500, "append neuron 5813024015")
    repo.create_tag("paper-v1", at="main")
    repo.revert(wrong, message="take batch 7 back")
    repo.merge("try", message="merge try into main")
    append("main", 1734350788, 3_000, "append neuron 1734350788")
    return repo


def lanes(commits: Sequence[zvv.CommitInfo]) -> list[int]:
    """The lane of each commit, newest first: a first parent goes on in it, a second opens one.

    Parameters
    ----------
    commits : sequence of CommitInfo
        Newest first, as :meth:`Repository.log` has them.

    Returns
    -------
    list of int
    """
    waiting: list[str | None] = []  # which commit each lane goes on with
    found = []
    for commit in commits:
        mine = [n for n, wanted in enumerate(waiting) if wanted == commit.snapshot_id]
        lane = mine[0] if mine else _free(waiting)
        for other in mine[1:]:
            waiting[other] = None
        found.append(lane)
        waiting[lane] = commit.parents[0] if commit.parents else None
        for parent in commit.parents[1:]:
            if parent not in waiting:
                waiting[_free(waiting)] = parent
    return found


def _free(waiting: list[str | None]) -> int:
    if None not in waiting:
        waiting.append(None)
    return waiting.index(None)


def draw(repo: zvv.Repository, ref: str = "main") -> str:
    """The log of a ref as an SVG document.

    Parameters
    ----------
    repo : Repository
    ref : str

    Returns
    -------
    str
    """
    commits = [commit for commit in repo.log(ref) if commit.parents]  # without the empty first
    lane = lanes(commits)
    x = [LEFT + LANE * n for n in lane]
    y = [TOP + STEP * n for n in range(len(commits))]
    row = {commit.snapshot_id: n for n, commit in enumerate(commits)}
    names = _names(repo)
    text_x = LEFT + LANE * (max(lane) + 1)
    height = TOP + STEP * (len(commits) - 1) + 36
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" font-family="system-ui, Segoe UI, Helvetica, Arial, '
        'sans-serif" font-size="15" role="img" aria-labelledby="title">',
        '<title id="title">A history with a branch, its merge, and an append taken back</title>',
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="10" fill="#ffffff" '
        'stroke="#d4d4d8"/>',
    ]
    for n, commit in enumerate(commits):
        for parent in commit.parents:
            if parent in row:
                m = row[parent]
                side = n if lane[n] > lane[m] else m
                parts.append(_way(x[n], y[n], x[m], y[m], COLOURS[lane[side] % len(COLOURS)]))
    for n, commit in enumerate(commits):
        colour = COLOURS[lane[n] % len(COLOURS)]
        merge = len(commit.parents) > 1
        parts.append(
            f'<circle class="commit" cx="{x[n]}" cy="{y[n]}" r="7" stroke="{colour}" '
            f'stroke-width="3" fill="{"#ffffff" if merge else colour}"/>'
        )
        parts += _line(text_x, y[n], commit, names.get(commit.snapshot_id, []))
    return "\n".join([*parts, "</svg>", ""])


def _names(repo: zvv.Repository) -> dict[str, list[tuple[str, str]]]:
    """Branches and tags by the snapshot that they name."""
    found: dict[str, list[tuple[str, str]]] = {}
    for name in repo.list_branches():
        found.setdefault(repo.resolve(name), []).append((name, "#2563eb"))
    for name in repo.list_tags():
        found.setdefault(repo.resolve(name), []).append((name, "#52525b"))
    return found


def _way(x: int, y: int, to_x: int, to_y: int, colour: str) -> str:
    """From a commit down to its parent: straight, or with the bend at the end of the other lane."""
    if x == to_x:
        way = f"M{x} {y}V{to_y}"
    elif to_x > x:  # out to a branch that was merged: the bend is at the merge
        way = f"M{x} {y}C{x} {y + STEP * 0.7:g} {to_x} {y + STEP * 0.3:g} {to_x} {y + STEP}V{to_y}"
    else:  # back to where the branch began: the bend is at the parent
        bend = to_y - STEP
        way = (
            f"M{x} {y}V{bend}C{x} {bend + STEP * 0.7:g} {to_x} {bend + STEP * 0.3:g} {to_x} {to_y}"
        )
    return f'<path d="{way}" fill="none" stroke="{colour}" stroke-width="3"/>'


def _line(x: int, y: int, commit: zvv.CommitInfo, names: Sequence[tuple[str, str]]) -> list[str]:
    """The words beside a commit: what names it, its message, and what it added."""
    parts = []
    for name, colour in names:
        width = round(8.2 * len(name)) + 16
        parts.append(
            f'<rect x="{x}" y="{y - 11}" width="{width}" height="22" rx="11" fill="{colour}"/>'
            f'<text x="{x + width / 2:g}" y="{y + 4.5}" fill="#ffffff" font-size="13" '
            f'font-weight="600" text-anchor="middle">{escape(name)}</text>'
        )
        x += width + 8
    parts.append(f'<text x="{x}" y="{y + 5}" fill="#18181b">{escape(commit.message)}</text>')
    if (change := commit.vertices_added) != 0:
        parts.append(
            f'<text x="{WIDTH - 24}" y="{y + 5}" fill="#71717a" text-anchor="end" '
            f'font-size="13">{"+" if change > 0 else "−"}{abs(change):,} vertices</text>'
        )
    return parts


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(draw(example()), encoding="utf-8")
