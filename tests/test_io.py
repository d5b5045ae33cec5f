"""The loop for storage calls, and threads, at the end of the interpreter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def test_a_script_that_ends_right_after_its_last_call_ends_well() -> None:
    script = (
        "import numpy as np, zv_versioned as zvv\n"
        "repo = zvv.Repository.create('memory://')\n"
        "with repo.transaction() as tx:\n"
        "    tx.create_dataset('p', kind='point_cloud', bounds=([0], [1]))\n"
        "    tx.writer('p').append_vertices_sync(np.random.rand(100_000, 1).astype('f4'))\n"
        "print(repo.view()['p'][0].vertex_count)\n"
    )
    # One script in twenty was aborted before its threads were ended.
    running = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) for _ in range(12)
    ]
    ended = [(process.communicate()[0], process.returncode) for process in running]
    assert ended == [(b"100000\n", 0)] * 12


@pytest.mark.parametrize(
    ("place", "when"), [("local", "before zv_versioned"), ("memory", "after it was used")]
)
def test_what_is_left_for_the_end_of_the_interpreter_is_written_and_read(
    tmp_path: Path, place: str, when: str
) -> None:
    location = str(tmp_path / "r") if place == "local" else "memory://left"
    before, after = "atexit.register(flush)\n", ""
    if when == "after it was used":
        before, after = after, before
    script = (
        "import atexit\n"
        "def flush():\n"
        "    points = np.random.default_rng(0).random((3_000_000, 3), 'f4')\n"
        "    for some in (points[:5], points):\n"
        "        with repo.transaction(message='flush') as tx:\n"
        "            tx.writer('p').append_vertices_sync(some)\n"
        "    level = zvv.Repository.open(location).view()['p'][0]\n"
        "    found = level.read(bbox=([0] * 3, [0.6] * 3)).positions\n"
        "    assert level.vertex_count == 3_000_005\n"
        "    assert abs(len(found) - (points < 0.6).all(axis=1).sum()) <= 5\n"
        "    print(repo.log()[0].message, repo.digest() == repo.digest('main'))\n"
        f"{before}"
        "import numpy as np, zv_versioned as zvv\n"
        f"location = {location!r}\n"
        "repo = zvv.Repository.create(location)\n"
        "with repo.transaction() as tx:\n"
        "    tx.create_dataset('p', kind='point_cloud', bounds=([0] * 3, [1] * 3))\n"
        f"{after}"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.stderr, done.stdout, done.returncode) == ("", "flush True\n", 0)
