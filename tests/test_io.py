"""The loop for storage calls: it ends before the interpreter does."""

from __future__ import annotations

import subprocess
import sys


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
