"""Ctrl-C at each moment at which it may come."""

from __future__ import annotations

import dis
import itertools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any


@dataclass
class Came:
    """Whether the interrupt came, and where."""

    where: str | None = None


def _moments(code: CodeType) -> set[int]:
    """Where Python looks for signals: on entry, behind calls, and where it jumps back."""
    found = set()
    for step, after in itertools.pairwise(dis.get_instructions(code)):
        if step.opname.startswith("JUMP_BACKWARD"):
            found.add(step.offset)
        elif step.opname == "RESUME" or step.opname.startswith("CALL"):
            found.add(after.offset)
    return found


@contextmanager
def interrupted_at(moment: int, *modules: ModuleType) -> Iterator[Came]:
    """Raise KeyboardInterrupt at the n-th moment, from 1, of what runs in some modules.

    The block is to stand the interrupt itself.
    """
    files = {module.__file__ for module in modules}
    moments: dict[CodeType, set[int]] = {}
    came, left = Came(), moment

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        code = frame.f_code
        if code.co_filename not in files:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            if code not in moments:
                moments[code] = _moments(code)
            left -= frame.f_lasti in moments[code]
            if left == 0 and came.where is None:
                came.where = f"{Path(code.co_filename).name}:{frame.f_lineno}"
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield came
    finally:
        sys.settrace(before)
