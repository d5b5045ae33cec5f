"""icechunk's errors, in our words."""

from __future__ import annotations

import icechunk as ic
import pytest

import zv_versioned as zvv
from zv_versioned.storage.translate import translated


def test_a_repository_of_a_newer_icechunk_is_told_with_the_python_that_has_it() -> None:
    said = "this repository uses Icechunk v2 format, please upgrade the icechunk library"
    with (
        pytest.raises(zvv.StorageError, match=r"^brain was made with icechunk 2, .*Python 3\.12"),
        translated("brain"),
    ):
        raise ic.IcechunkError(f"  x {said}\n  |- context")
